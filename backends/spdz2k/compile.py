"""What a boolean circuit does to the MACs of its wires.

A wire's MAC is ``Delta`` times the wire over GF(2^64), shared by XOR like the wire: so a party does to its summand of
the MAC what it does to its summand of the wire (:mod:`backends.additive.compile`), and adds its summand of ``Delta``
where the constant one is added. Public bits are the circuit's right wires and what was opened; nothing is sent, so a
circuit's MACs are computed in one go once all its rounds are over.

What preprocessing gives on top, a word per lane each: the MACs of what it shares and of the masks, :func:`dealt`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from mpc_bridge.backends.additive.compile import DealerCompiler, base, corrected, openings
from mpc_bridge.backends.sharing.circuit import ONE, Circuit, Gate, Kind
from mpc_bridge.backends.sharing.microcode import Microprogram


class MacOp(IntEnum):
    """Instructions ``(op, d, a, b)``; values are part of the native interface (``mpcb.h``)."""

    BIT_ONES = 0
    BIT_LOAD = 1
    BIT_XOR = 2
    BIT_AND = 3
    BIT_NOT = 4
    ZERO = 5
    LOAD = 6
    PRF = 7
    XOR = 8
    XORAND = 9
    XORKEY = 10
    STORE = 11


#: By instruction: the register file (w, b or none) of d, a and b.
_FILES = {
    MacOp.BIT_ONES: "b  ", MacOp.BIT_LOAD: "b  ", MacOp.BIT_XOR: "bbb", MacOp.BIT_AND: "bbb", MacOp.BIT_NOT: "bb ",
    MacOp.ZERO: "w  ", MacOp.LOAD: "w  ", MacOp.PRF: "w  ", MacOp.XOR: "www", MacOp.XORAND: "wwb", MacOp.XORKEY: "w b",
    MacOp.STORE: " w ",
}  # fmt: skip


@dataclass(frozen=True)
class MacProgram:
    """Code for ``Device.macs_run``: the instructions, how many word and bit registers, and how many rows it stores."""

    code: npt.NDArray[np.int32]
    registers: tuple[int, int]
    stores: int


@dataclass
class MacAssembler:
    """Collects instructions on virtual registers, then packs those into few real ones by their lifetimes."""

    _code: list[tuple[MacOp, int, int, int]] = field(default_factory=list)
    _next: int = 0
    _stores: int = 0

    def emit(self, op: MacOp, a: int = 0, b: int = 0) -> int:
        """An instruction with a fresh destination, which is returned."""
        self._next += 1
        self._code.append((op, self._next - 1, a, b))
        return self._next - 1

    def update(self, op: MacOp, register: int, a: int, b: int = 0) -> None:
        """An instruction that accumulates into ``register``."""
        self._code.append((op, register, a, b))

    def store(self, register: int) -> None:
        """The next row of the results."""
        self._code.append((MacOp.STORE, 0, register, self._stores))
        self._stores += 1

    def finish(self) -> MacProgram:
        """Assign real registers."""
        last: dict[int, int] = {}
        for at, (op, *numbers) in enumerate(self._code):
            for file, number in zip(_FILES[op], numbers, strict=True):
                if file != " ":
                    last[number] = at
        assigned: dict[int, int] = {}
        free: dict[str, list[int]] = {"w": [], "b": []}
        used = {"w": 0, "b": 0}
        table = []
        for at, (op, *numbers) in enumerate(self._code):
            files = _FILES[op]
            named = {number: file for file, number in zip(files, numbers, strict=True) if file != " "}
            d = numbers[0]
            # every instruction works lane by lane, so a result may take the place of an operand it ends
            for number, file in named.items():
                if last[number] == at and not (files[0] != " " and number == d):
                    free[file].append(assigned[number])
            if files[0] != " " and d not in assigned:
                if not free[files[0]]:
                    free[files[0]].append(used[files[0]])
                    used[files[0]] += 1
                assigned[d] = free[files[0]].pop()
            if files[0] != " " and last[d] == at:
                free[files[0]].append(assigned[d])
            real = [assigned[number] if file != " " else number for file, number in zip(files, numbers, strict=True)]
            table.append((int(op), *real))
        return MacProgram(np.array(table, np.int32).reshape(-1, 4), (used["w"], used["b"]), self._stores)


def dealt(circuit: Circuit) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Wires whose shares preprocessing gives, and those whose masks it gives: a row of MACs for each, in this order."""
    return corrected(circuit), tuple(wire for wires in openings(circuit) for wire in wires)


class MacCompiler:
    """Compiles the MACs of one circuit for one party.

    Planes: the right inputs, then what was opened, in order. Rows: the MACs of the shared inputs, then, at the
    corrected party, those of :func:`dealt`; elsewhere these are pads, numbered alike. Results: the MACs of the shared
    outputs, then for each opened bit its MAC share less the opened bit times ``Delta``'s.
    """

    def __init__(self, circuit: Circuit, takes_corrections: bool) -> None:
        self._circuit = circuit
        self._first = takes_corrections
        self._code = MacAssembler()
        shares, masks = dealt(circuit)
        self._row_of_share = {wire: number for number, wire in enumerate(shares)}
        self._row_of_mask = {wire: len(shares) + number for number, wire in enumerate(masks)}
        self._plane_of = {wire: circuit.right_inputs + number for number, wire in enumerate(masks)}
        self._bits: dict[tuple[int, bool], int] = {}
        self._public: dict[int, int] = {}
        self._macs: dict[int, int] = {}
        self._masks: dict[int, int] = {}
        self._one: int | None = None

    def compile(self) -> MacProgram:
        """Records are computed as soon as their wires are known, and stored after the outputs' rows."""
        code, records = self._code, []
        for wires in openings(self._circuit):
            for wire in wires:
                self._masks[wire] = self._dealt(self._row_of_mask[wire])
                record = code.emit(MacOp.XOR, self._mac(wire), self._masks[wire])
                code.update(MacOp.XORKEY, record, 0, self._opened(wire, False))
                records.append(record)
        for wire in self._circuit.shared_outputs:
            code.store(self._mac(wire))
        for record in records:
            code.store(record)
        return code.finish()

    def _dealt(self, row: int) -> int:
        if self._first:
            return self._code.emit(MacOp.LOAD, 0, self._circuit.shared_inputs + row)
        return self._code.emit(MacOp.PRF, 0, row)

    def _opened(self, wire: int, complement: bool) -> int:
        """Register of a wire XOR its mask, or its complement."""
        known = self._bits.get((wire, complement))
        if known is None:
            if complement:
                known = self._code.emit(MacOp.BIT_NOT, self._opened(wire, False))
            else:
                known = self._code.emit(MacOp.BIT_LOAD, 0, self._plane_of[wire])
            self._bits[wire, complement] = known
        return known

    def _bit(self, wire: int) -> int:
        """Register of a right wire."""
        if wire not in self._public:
            self._public[wire] = self._emit_bit(wire)
        return self._public[wire]

    def _emit_bit(self, wire: int) -> int:
        if wire == ONE:
            return self._code.emit(MacOp.BIT_ONES)
        gate = self._circuit.gates[wire]
        if gate.kind is Kind.RIGHT_INPUT:
            return self._code.emit(MacOp.BIT_LOAD, 0, gate.index)
        operands = [self._bit(operand) for operand in gate.operands]
        if gate.kind is Kind.CLEAR_NOT:
            return self._code.emit(MacOp.BIT_NOT, operands[0])
        return self._code.emit(MacOp.BIT_XOR if gate.kind is Kind.CLEAR_XOR else MacOp.BIT_AND, *operands)

    def _constant(self, bit: int) -> int:
        register = self._code.emit(MacOp.ZERO)
        self._code.update(MacOp.XORKEY, register, 0, bit)
        return register

    def _mac(self, wire: int) -> int:
        """Register of this party's summand of a wire's MAC."""
        if wire not in self._macs:
            self._macs[wire] = self._emit_mac(wire, self._circuit.gates[wire])
        return self._macs[wire]

    def _emit_mac(self, wire: int, gate: Gate) -> int:
        code = self._code
        if gate.kind is Kind.SHARED_INPUT:
            return code.emit(MacOp.LOAD, 0, gate.index)
        if gate.kind is Kind.LIFT:
            return self._constant(self._bit(gate.operands[0]))
        if gate.kind is Kind.NOT:
            if self._one is None:
                self._one = self._constant(self._bit(ONE))
            return code.emit(MacOp.XOR, self._mac(gate.operands[0]), self._one)
        if gate.kind is Kind.XOR:
            return code.emit(MacOp.XOR, *(self._mac(operand) for operand in gate.operands))
        if gate.kind is Kind.INNER:
            total = code.emit(MacOp.ZERO)
            for other, coefficient in gate.pairs:
                if coefficient == ONE:
                    code.update(MacOp.XOR, total, total, self._mac(other))
                else:
                    code.update(MacOp.XORAND, total, self._mac(other), self._bit(coefficient))
            for constant in gate.operands:
                code.update(MacOp.XORKEY, total, 0, self._bit(constant))
            return total
        total = self._dealt(self._row_of_share[wire])
        for x, y in gate.pairs if gate.kind is Kind.DOT else ():
            (x_wire, x_not), (y_wire, y_not) = base(self._circuit, x), base(self._circuit, y)
            code.update(MacOp.XORAND, total, self._mac(y), self._opened(x_wire, x_not))
            code.update(MacOp.XORAND, total, self._masks[x_wire], self._opened(y_wire, y_not))
        return total


class MacDealerCompiler(DealerCompiler):
    """As the additive dealer's, with more outputs: after the corrections the bits of all of :func:`dealt`."""

    def compile(self) -> Microprogram:
        """A single stage."""
        shares, masks = dealt(self._circuit)
        values = [self._value(wire, self._circuit.gates[wire]) for wire in shares]
        bits = [*values, *(self._mask(wire) for wire in masks)]
        self._code.output([self._correction(wire) for wire in shares] + bits)
        return self._code.finish(2 * len(self._circuit.gates))


def opening_program(width: int, masked: bool, takes_corrections: bool) -> MacProgram:
    """MACs where ``width`` planes are opened, or known, under dealt masks.

    Planes: the public bits. Rows: the MACs of the masked wires where ``masked``; then, at the corrected party, those of
    the masks. Results: with the first, what each opened bit leaves for its check; else the MACs of the bits.
    """
    code = MacAssembler()
    for bit in range(width):
        row = (width if masked else 0) + bit
        total = code.emit(MacOp.LOAD, 0, row) if takes_corrections else code.emit(MacOp.PRF, 0, bit)
        if masked:
            total = code.emit(MacOp.XOR, total, code.emit(MacOp.LOAD, 0, bit))
        code.update(MacOp.XORKEY, total, 0, code.emit(MacOp.BIT_LOAD, 0, bit))
        code.store(total)
    return code.finish()


