"""What each gate of a boolean circuit is in replicated sharing (Araki et al., CCS 2016) with one-sided operands.

Components ``c0 ^ c1 ^ c2``; role i holds ``c_i`` (*own*) and ``c_{i+1}`` (*next*), and the PRF keys of the same
numbers. The left holder is role 0 (it knows c0 and c1 of an arithmetic value, hence their sum); the right holders are
roles 1 and 2 (they know c2). Per lane, in bits sent by all three together:

``share``        c1 = PRF(key 1), c0 = value ^ c1: role 0 → role 2.                                                    1
``inner``        mu = PRF(key 2), c0 = PRF(key 0); role 1 → 0: sum c1*coef ^ mu; role 2 → 1: the rest ^ c0 ^ mu.       2
``dot``          z_i = x_i*y_i + x_i*y_{i+1} + x_{i+1}*y_i ^ PRF(key i) ^ PRF(key i+1): role i → role i-1.             3
``reveal``       c2 to role 0, from role 1 and role 2 in turn.                                                         1
``reveal_inner`` role 1 → 0: const ^ (c1 ^ c2)*coef ^ mu; role 2 → 0: c0*coef ^ mu.                                    2
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from mpc_bridge.backends.sharing.circuit import INTERACTIVE, ONE, Circuit, Gate, Kind, reached
from mpc_bridge.backends.sharing.microcode import Assembler, Microprogram, Op

#: Links: outgoing 0 goes to the previous role, 1 to the next; incoming 0 comes from the next role, 1 from the previous.
TO_PREVIOUS, TO_NEXT = 0, 1
FROM_NEXT, FROM_PREVIOUS = 0, 1
#: Key slots of the pads.
OWN, NEXT = 0, 1

#: A shared wire in one role: registers of its own and next component, None where the component is zero.
Components = tuple["int | None", "int | None"]


@lru_cache(maxsize=512)
def needed_messages(circuit: Circuit) -> tuple[int, ...]:
    """Interactive wires that an output of a finished circuit depends on, in order."""
    return tuple(wire for wire in reached(circuit) if circuit.gates[wire].kind in INTERACTIVE)


class RoleCompiler:
    """Compiles one circuit for one of the three roles.

    Local work is emitted when its first user needs it, so that planes live briefly.
    """

    def __init__(self, circuit: Circuit, role: int) -> None:
        self._circuit = circuit
        self._role = role
        left = circuit.left_inputs if role == 0 else 0
        right = circuit.right_inputs if role != 0 else 0
        self._clear_base = 0
        self._shared_base = left + right
        inputs = left + right + 2 * circuit.shared_inputs + self._extra_inputs()
        self._code = Assembler(links=2, inputs=inputs)
        self._clear: dict[int, int] = {}
        self._shared: dict[int, Components] = {}
        self._interactive = needed_messages(circuit)
        self._pad = {wire: number for number, wire in enumerate(self._interactive)}

    def compile(self) -> Microprogram:
        """Stages 0..depth. Outputs: left outputs (role 0 only), then own and next components of the shared ones."""
        self._emit_rounds()
        self._output()
        return self._code.finish(len(self._interactive))

    def _extra_inputs(self) -> int:
        """Further input planes, behind the shared ones."""
        return 0

    def _emit_rounds(self) -> None:
        circuit = self._circuit
        by_level: dict[int, list[int]] = {}
        for wire in self._interactive:
            by_level.setdefault(circuit.levels[wire], []).append(wire)
        for level in range(circuit.depth):
            sending = by_level.get(level + 1, [])
            for wire in sending:
                self._send(wire)
            self._code.cut()
            for wire in sending:
                self._receive(wire)

    def _output(self) -> None:
        outputs = []
        if self._role == 0:
            outputs += [self._clear_wire(wire) for wire in self._circuit.left_outputs]
        for side in (OWN, NEXT):
            outputs += [self._plane(self._components(wire)[side]) for wire in self._circuit.shared_outputs]
        self._code.output(outputs)

    # Registers of wires ---------------------------------------------------------------------------------------------

    def _plane(self, register: int | None) -> int:
        return self._code.emit(Op.ZERO) if register is None else register

    def _clear_wire(self, wire: int) -> int:
        register = self._clear.get(wire)
        if register is None:
            register = self._clear[wire] = self._emit_clear(wire)
        return register

    def _emit_clear(self, wire: int) -> int:
        if wire == ONE:
            return self._code.emit(Op.ONES)
        gate = self._circuit.gates[wire]
        if gate.kind in (Kind.LEFT_INPUT, Kind.RIGHT_INPUT):
            return self._clear_base + gate.index
        operands = [self._clear_wire(operand) for operand in gate.operands]
        if gate.kind is Kind.CLEAR_NOT:
            return self._code.emit(Op.NOT, operands[0])
        return self._code.emit(Op.XOR if gate.kind is Kind.CLEAR_XOR else Op.AND, *operands)

    def _components(self, wire: int) -> Components:
        known = self._shared.get(wire)
        if known is None:
            known = self._shared[wire] = self._emit_shared(wire, self._circuit.gates[wire])
        return known

    def _emit_shared(self, wire: int, gate: Gate) -> Components:
        if gate.kind is Kind.SHARED_INPUT:
            first = self._shared_base + gate.index
            return first, first + self._circuit.shared_inputs
        if gate.kind is Kind.LIFT:
            if self._role == 0:
                return None, None
            plane = self._clear_wire(gate.operands[0])
            return (None, plane) if self._role == 1 else (plane, None)
        own, following = self._components(gate.operands[0])
        if gate.kind is Kind.NOT:  # component 0 is flipped by both its holders
            if self._role == 0:
                own = self._complement(own)
            elif self._role == 2:
                following = self._complement(following)
            return own, following
        other_own, other_following = self._components(gate.operands[1])
        return self._sum(own, other_own), self._sum(following, other_following)

    def _complement(self, register: int | None) -> int:
        return self._clear_wire(ONE) if register is None else self._code.emit(Op.NOT, register)

    def _sum(self, a: int | None, b: int | None) -> int | None:
        if a is None or b is None:
            return b if a is None else a
        return self._code.emit(Op.XOR, a, b)

    # Messages -------------------------------------------------------------------------------------------------------

    def _accumulate(self, total: int, a: int | None, coefficient: int) -> None:
        """``total ^= a * coefficient`` with a clear wire."""
        if a is None:
            return
        if coefficient == ONE:
            self._code.update(Op.XOR, total, total, a)
        else:
            self._code.update(Op.XORAND, total, a, self._clear_wire(coefficient))

    def _send(self, wire: int) -> None:
        gate, pad = self._circuit.gates[wire], self._pad[wire]
        if gate.kind is Kind.DOT:
            self._send_dot(wire, gate, pad)
        elif gate.kind is Kind.SHARE:
            self._send_share(wire, gate, pad)
        elif gate.kind is Kind.INNER:
            self._send_inner(wire, gate, pad)
        elif gate.kind is Kind.REVEAL:
            self._send_reveal(gate, pad)
        else:
            self._send_reveal_inner(wire, gate, pad)

    def _receive(self, wire: int) -> None:
        gate, code, role = self._circuit.gates[wire], self._code, self._role
        if gate.kind is Kind.DOT or (gate.kind is Kind.INNER and role != 2):
            self._shared[wire] = (self._shared[wire][OWN], code.receive(FROM_NEXT))
        elif gate.kind is Kind.SHARE and role == 2:
            self._shared[wire] = (None, code.receive(FROM_NEXT))
        elif gate.kind is Kind.REVEAL and role == 0:
            hidden = code.receive(FROM_NEXT if self._pad[wire] % 2 == 0 else FROM_PREVIOUS)
            own, following = self._components(gate.operands[0])
            opened = self._sum(self._sum(hidden, own), following)
            assert opened is not None
            self._clear[wire] = opened
        elif gate.kind is Kind.REVEAL_INNER and role == 0:
            self._clear[wire] = code.emit(Op.XOR, code.receive(FROM_NEXT), code.receive(FROM_PREVIOUS))

    def _send_dot(self, wire: int, gate: Gate, pad: int) -> None:
        code = self._code
        total = code.emit(Op.PRF, OWN, pad)
        code.update(Op.XPRF, total, NEXT, pad)
        for x, y in gate.pairs:
            x_own, x_next = self._components(x)
            y_own, y_next = self._components(y)
            both = self._sum(y_own, y_next)
            if x_own is not None and both is not None:
                code.update(Op.XORAND, total, x_own, both)
            if x_next is not None and y_own is not None:
                code.update(Op.XORAND, total, x_next, y_own)
        code.send(TO_PREVIOUS, total)
        self._shared[wire] = (total, None)

    def _send_share(self, wire: int, gate: Gate, pad: int) -> None:
        code = self._code
        if self._role == 0:
            c1 = code.emit(Op.PRF, NEXT, pad)
            c0 = code.emit(Op.XOR, self._clear_wire(gate.operands[0]), c1)
            code.send(TO_PREVIOUS, c0)
            self._shared[wire] = (c0, c1)
        elif self._role == 1:
            self._shared[wire] = (code.emit(Op.PRF, OWN, pad), None)

    def _send_inner(self, wire: int, gate: Gate, pad: int) -> None:
        code = self._code
        if self._role == 0:
            self._shared[wire] = (code.emit(Op.PRF, OWN, pad), None)
            return
        if self._role == 1:
            total = code.emit(Op.PRF, NEXT, pad)
            for shared, coefficient in gate.pairs:
                self._accumulate(total, self._components(shared)[OWN], coefficient)
            self._shared[wire] = (total, None)
        else:
            c0 = code.emit(Op.PRF, NEXT, pad)
            total = code.emit(Op.PRF, OWN, pad)
            code.update(Op.XOR, total, total, c0)
            for shared, coefficient in gate.pairs:
                c2, own_c0 = self._components(shared)
                self._accumulate(total, self._sum(c2, own_c0), coefficient)
            for constant in gate.operands:
                code.update(Op.XOR, total, total, self._clear_wire(constant))
            self._shared[wire] = (total, c0)
        code.send(TO_PREVIOUS, total)

    def _send_reveal(self, gate: Gate, pad: int) -> None:
        sender, side, link = (1, NEXT, TO_PREVIOUS) if pad % 2 == 0 else (2, OWN, TO_NEXT)
        if self._role == sender:
            self._code.send(link, self._plane(self._components(gate.operands[0])[side]))

    def _send_reveal_inner(self, wire: int, gate: Gate, pad: int) -> int | None:
        """The plane this role sent, None where it sends none."""
        code = self._code
        if self._role == 0:
            return None
        total = code.emit(Op.PRF, NEXT if self._role == 1 else OWN, pad)
        for shared, coefficient in gate.pairs:
            own, following = self._components(shared)
            part = self._sum(own, following) if self._role == 1 else following
            self._accumulate(total, part, coefficient)
        if self._role == 1:
            for constant in gate.operands:
                code.update(Op.XOR, total, total, self._clear_wire(constant))
        code.send(TO_PREVIOUS if self._role == 1 else TO_NEXT, total)
        return total


def compile_roles(circuit: Circuit, roles: Sequence[int] = (0, 1, 2)) -> dict[int, Microprogram]:
    """Microprograms of the asked roles."""
    return {role: RoleCompiler(circuit, role).compile() for role in roles}
