"""What each gate of a boolean circuit is in additive sharing with a left operand that preprocessing made up.

A shared wire is the XOR of one plane per party. The left wires of a circuit are bits of a random number that nobody
but preprocessing knows; the right wires are public. Per lane, in bits sent by each party to each other one:

``share``  comes from preprocessing, whatever function of left bits it is.                                             0
``inner``  a public combination of shared wires: local.                                                                0
``dot``    Beaver with one mask per wire: ``X = x ^ lambda_x`` is opened once, however many products x is in, and
           ``xy = X*y ^ Y*lambda_x ^ lambda_x*lambda_y``, whose last term preprocessing shares.        1 per wire opened

A wire and its complement have one mask. What preprocessing has to correct at one party (the others' summands are pads)
is one plane per ``share`` and per ``dot``, in the order of their wires: :func:`corrected`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from mpc_bridge.backends.sharing.circuit import ONE, Circuit, Gate, Kind, reached
from mpc_bridge.backends.sharing.microcode import Assembler, Microprogram, Op

#: The party whose summands preprocessing corrects; it also takes public constants.
CORRECTED = 0
#: The one outgoing link: what a party sends goes to every other one.
_BROADCAST = 0
#: A party's only key slot.
_OWN = 0
#: What takes a round where right wires are public.
DOTS = frozenset({Kind.DOT})


@lru_cache(maxsize=512)
def corrected(circuit: Circuit) -> tuple[int, ...]:
    """Wires whose shares preprocessing corrects, in order: the ``share`` and ``dot`` gates that an output needs."""
    return tuple(wire for wire in reached(circuit) if circuit.gates[wire].kind in (Kind.SHARE, Kind.DOT))


def base(circuit: Circuit, wire: int) -> tuple[int, bool]:
    """The wire whose mask a shared wire has, and whether it is the other one's complement."""
    gate = circuit.gates[wire]
    return (gate.operands[0], True) if gate.kind is Kind.NOT else (wire, False)


def levels(circuit: Circuit, interactive: frozenset[Kind]) -> dict[int, int]:
    """Rounds after which each wire that an output needs is known: only ``interactive`` gates take one."""
    found: dict[int, int] = {ONE: 0}
    for wire in reached(circuit):
        gate = circuit.gates[wire]
        ends = [*gate.operands, *(end for pair in gate.pairs for end in pair)]
        found[wire] = max((found[end] for end in ends), default=0) + (gate.kind in interactive)
    return found


@lru_cache(maxsize=512)
def rounds(circuit: Circuit, interactive: frozenset[Kind] = DOTS) -> tuple[tuple[int, ...], ...]:
    """The interactive gates that an output needs, by the round that they take."""
    found = levels(circuit, interactive)
    depth = max((found[wire] for wire in circuit.shared_outputs), default=0)
    return tuple(
        tuple(wire for wire in reached(circuit) if found[wire] == level and circuit.gates[wire].kind in interactive)
        for level in range(1, depth + 1)
    )


def operands(circuit: Circuit, products: Sequence[int]) -> dict[int, None]:
    """Wires whose masks the operands of ``dot`` gates have, each once, in order."""
    return dict.fromkeys(base(circuit, end)[0] for wire in products
                         for pair in circuit.gates[wire].pairs for end in pair)


@lru_cache(maxsize=512)
def openings(circuit: Circuit) -> tuple[tuple[int, ...], ...]:
    """Wires that are opened under their masks, round by round: the operands of products, each of them once."""
    opened: dict[int, None] = {}
    found = []
    for products in rounds(circuit):
        found.append(tuple(wire for wire in operands(circuit, products) if wire not in opened))
        opened |= dict.fromkeys(found[-1])
    return tuple(found)


def pad_of_mask(wire: int) -> int:
    """Pad plane of a wire's mask."""
    return 2 * wire


def pad_of_share(wire: int) -> int:
    """Pad plane of a party's summand of a ``share`` or ``dot``."""
    return 2 * wire + 1


def pads(circuit: Circuit) -> int:
    """How many pad planes a circuit may use."""
    return 2 * len(circuit.gates)


class PartyCompiler:
    """Compiles one circuit for one party.

    Inputs: the planes of clear operands, then the party's planes of the shared inputs, then, where they are explicit
    (``takes_corrections``), its summands of what preprocessing shares. Outputs: its planes of the shared outputs. Local
    work is emitted when its first user needs it.
    """

    #: gates that take a round
    INTERACTIVE = DOTS

    def __init__(self, circuit: Circuit, parties: int, first: bool, takes_corrections: bool) -> None:
        self._circuit = circuit
        self._first = first
        self._takes_corrections = takes_corrections
        self._peers = parties - 1
        self._corrections = {wire: number for number, wire in enumerate(self._dealt_wires())}
        self._correction_base = self._clear_planes() + circuit.shared_inputs
        inputs = self._correction_base + (len(self._corrections) if takes_corrections else 0)
        self._code = Assembler(links=self._peers, inputs=inputs)
        self._public: dict[int, int] = {}
        self._shared: dict[int, int | None] = {}
        self._masks: dict[int, int] = {}
        self._opened: dict[int, int] = {}

    def _dealt_wires(self) -> tuple[int, ...]:
        """Wires of which preprocessing shares a part."""
        return corrected(self._circuit)

    def _clear_planes(self) -> int:
        """Planes of clear operands among the inputs."""
        return self._circuit.right_inputs

    def _clear_input(self, gate: Gate) -> int:
        """Register of a clear operand's plane."""
        return gate.index

    def compile(self) -> Microprogram:
        """One stage per level of interactive gates, and the one that leaves the outputs."""
        for gates in rounds(self._circuit, self.INTERACTIVE):
            self._open(gates)
        self._code.output([self._plane(self._share(wire)) for wire in self._circuit.shared_outputs])
        return self._code.finish(pads(self._circuit))

    def _open(self, products: Sequence[int]) -> None:
        """A round: the operands of these products, masked, those that are not open yet."""
        wires = self._unopened(products)
        own = [self._send_masked(wire, self._share(wire)) for wire in wires]
        self._code.cut()
        self._receive_opened(wires, own)

    def _unopened(self, products: Sequence[int]) -> list[int]:
        """Shared operands of ``dot`` gates that have not been opened so far."""
        return [wire for wire in operands(self._circuit, products) if wire not in self._opened]

    def _send_masked(self, wire: int, plane: int | None) -> int:
        """Send a plane (None: zeros) under the wire's mask; the register of what was sent."""
        if wire not in self._masks:
            self._masks[wire] = self._code.emit(Op.PRF, _OWN, pad_of_mask(wire))
        mask = self._masks[wire]
        masked = mask if plane is None else self._code.emit(Op.XOR, plane, mask)
        self._code.send(_BROADCAST, masked)
        return masked

    def _receive_opened(self, wires: Sequence[int], own: Sequence[int]) -> None:
        """What the others sent of these wires, added to what this party did."""
        for wire, masked in zip(wires, own, strict=True):
            total = masked
            for peer in range(self._peers):
                total = self._code.emit(Op.XOR, total, self._code.receive(peer))
            self._opened[wire] = total

    def _open_value(self, wire: int) -> int:
        """Register of a wire XOR its mask."""
        bottom, complement = base(self._circuit, wire)
        if complement and wire not in self._opened:
            self._opened[wire] = self._code.emit(Op.NOT, self._opened[bottom])
        return self._opened[wire]

    # Registers of wires ---------------------------------------------------------------------------------------------

    def _plane(self, register: int | None) -> int:
        return self._code.emit(Op.ZERO) if register is None else register

    def _public_wire(self, wire: int) -> int:
        register = self._public.get(wire)
        if register is None:
            register = self._public[wire] = self._emit_public(wire)
        return register

    def _emit_public(self, wire: int) -> int:
        if wire == ONE:
            return self._code.emit(Op.ONES)
        gate = self._circuit.gates[wire]
        if gate.kind in (Kind.LEFT_INPUT, Kind.RIGHT_INPUT):
            return self._clear_input(gate)
        operands = [self._public_wire(operand) for operand in gate.operands]
        if gate.kind is Kind.CLEAR_NOT:
            return self._code.emit(Op.NOT, operands[0])
        return self._code.emit(Op.XOR if gate.kind is Kind.CLEAR_XOR else Op.AND, *operands)

    def _share(self, wire: int) -> int | None:
        """Register of this party's summand, None where it is zero."""
        if wire not in self._shared:
            self._shared[wire] = self._emit_share(wire, self._circuit.gates[wire])
        return self._shared[wire]

    def _emit_share(self, wire: int, gate: Gate) -> int | None:
        if gate.kind is Kind.SHARED_INPUT:
            return self._clear_planes() + gate.index
        if gate.kind is Kind.LIFT:
            return self._public_wire(gate.operands[0]) if self._first else None
        if gate.kind is Kind.NOT:
            share = self._share(gate.operands[0])
            if not self._first:
                return share
            return self._public_wire(ONE) if share is None else self._code.emit(Op.NOT, share)
        if gate.kind is Kind.XOR:
            a, b = (self._share(operand) for operand in gate.operands)
            return (b if a is None else a) if a is None or b is None else self._code.emit(Op.XOR, a, b)
        if gate.kind is Kind.INNER:
            return self._emit_inner(wire, gate)
        total = self._dealt(wire)
        if gate.kind is Kind.DOT:
            for x, y in gate.pairs:
                share = self._share(y)
                if share is not None:
                    self._code.update(Op.XORAND, total, self._open_value(x), share)
                self._code.update(Op.XORAND, total, self._open_value(y), self._masks[base(self._circuit, x)[0]])
            return total
        assert gate.kind is Kind.SHARE, f"additive sharing has no {gate.kind.name} gate"
        return total

    def _emit_inner(self, wire: int, gate: Gate) -> int | None:
        total = self._code.emit(Op.ZERO)
        for wire, coefficient in gate.pairs:
            share = self._share(wire)
            if share is None:
                continue
            if coefficient == ONE:
                self._code.update(Op.XOR, total, total, share)
            else:
                self._code.update(Op.XORAND, total, share, self._public_wire(coefficient))
        if self._first:
            for constant in gate.operands:
                self._code.update(Op.XOR, total, total, self._public_wire(constant))
        return total

    def _dealt(self, wire: int) -> int:
        """A fresh register with this party's summand of what preprocessing shares."""
        if self._takes_corrections:
            return self._code.emit(Op.COPY, self._correction_base + self._corrections[wire])
        return self._code.emit(Op.PRF, _OWN, pad_of_share(wire))


class DealerCompiler:
    """Compiles what a dealer computes for one circuit, with every party's key in the slot of its number.

    Inputs: the left planes. Outputs: the corrections.
    """

    def __init__(self, circuit: Circuit, parties: int) -> None:
        self._circuit = circuit
        self._parties = parties
        self._code = Assembler(links=1, inputs=circuit.left_inputs)
        self._left: dict[int, int] = {}
        self._masks: dict[int, int] = {}

    def compile(self) -> Microprogram:
        """A single stage."""
        self._code.output([self._correction(wire) for wire in corrected(self._circuit)])
        return self._code.finish(pads(self._circuit))

    def _correction(self, wire: int) -> int:
        """What preprocessing shares, less the other parties' pads."""
        total = self._value(wire, self._circuit.gates[wire])
        for party in range(self._parties):
            if party != CORRECTED:
                self._code.update(Op.XPRF, total, party, pad_of_share(wire))
        return total

    def _value(self, wire: int, gate: Gate) -> int:
        """A fresh register with what preprocessing shares of a ``share`` or ``dot``."""
        if gate.kind is Kind.SHARE:
            total = self._code.emit(Op.COPY, self._left_wire(gate.operands[0]))
        else:
            total = self._code.emit(Op.ZERO)
            for x, y in gate.pairs:
                self._code.update(Op.XORAND, total, self._mask(x), self._mask(y))
        return total

    def _left_wire(self, wire: int) -> int:
        register = self._left.get(wire)
        if register is None:
            gate = self._circuit.gates[wire]
            if gate.kind is Kind.LEFT_INPUT:
                register = gate.index
            else:
                operands = [self._left_wire(operand) for operand in gate.operands]
                kinds = {Kind.CLEAR_NOT: Op.NOT, Kind.CLEAR_XOR: Op.XOR, Kind.CLEAR_AND: Op.AND}
                register = self._code.emit(kinds[gate.kind], *operands)
            self._left[wire] = register
        return register

    def _mask(self, wire: int) -> int:
        """The sum of all parties' masks of a wire."""
        wire, _ = base(self._circuit, wire)
        if wire not in self._masks:
            total = self._masks[wire] = self._code.emit(Op.PRF, 0, pad_of_mask(wire))
            for party in range(1, self._parties):
                self._code.update(Op.XPRF, total, party, pad_of_mask(wire))
        return self._masks[wire]


def compile_party(circuit: Circuit, parties: int, party: int) -> Microprogram:
    """The microprogram of one party."""
    return PartyCompiler(circuit, parties, party == CORRECTED, party == CORRECTED).compile()
