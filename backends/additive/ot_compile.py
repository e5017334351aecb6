"""What each gate is between two parties without a dealer: the left operand is party 0's, the right one party 1's.

Per lane, in bits that each party sends; ``lambda`` and ``mu`` are masks that party 0 and party 1 draw for a wire:

``share``  party 0 has it, party 1 has zero.                                                                        0
``inner``  per product of a shared x with a right c: party 0 opens ``X = x_0 ^ lambda``, party 1 ``C = c ^ mu``; with
           shares of ``lambda * mu`` from oblivious transfers, ``x_0 c = x_0 C ^ X mu ^ lambda mu``, and ``x_1 c`` is
           local.                                                                                 1 per wire opened
``dot``    as with a dealer; ``lambda_x * lambda_y`` is made of two local products and two transfers.
                                                                                                  1 per wire opened

Each product of masks, party 0's of one wire and party 1's of another, is one oblivious transfer per lane, however many
gates use it: :func:`mask_products`. The microprogram of :func:`compile_preparation` hands this party's masks out and
sums the shares of the products that come back to its summand of each gate: :func:`dealt`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from mpc_bridge.backends.additive.compile import PartyCompiler, base, pad_of_mask, pads
from mpc_bridge.backends.sharing.circuit import ONE, Circuit, Gate, Kind, reached
from mpc_bridge.backends.sharing.microcode import Assembler, Microprogram, Op

#: Who knows left operands and chooses in transfers; the other one is party 1.
LEFT = 0
_OWN = 0
_PEER = 0


class MaskProduct(NamedTuple):
    """Party 0's mask of wire ``left`` times party 1's of wire ``right``."""

    left: int
    right: int


def _cross_products(circuit: Circuit, gate: Gate) -> list[MaskProduct]:
    """The products of masks that a gate needs."""
    if gate.kind is Kind.INNER:
        return [MaskProduct(base(circuit, x)[0], c) for x, c in gate.pairs if c != ONE]
    if gate.kind is Kind.DOT:
        ends = [(base(circuit, x)[0], base(circuit, y)[0]) for x, y in gate.pairs]
        return [product for x, y in ends for product in (MaskProduct(x, y), MaskProduct(y, x))]
    return []


@lru_cache(maxsize=512)
def dealt(circuit: Circuit) -> tuple[int, ...]:
    """Gates with products of masks that an output needs, in order."""
    return tuple(wire for wire in reached(circuit) if _cross_products(circuit, circuit.gates[wire]))


@lru_cache(maxsize=512)
def mask_products(circuit: Circuit) -> tuple[MaskProduct, ...]:
    """All of them, each once: a transfer per lane."""
    return tuple(dict.fromkeys(product for wire in dealt(circuit)
                               for product in _cross_products(circuit, circuit.gates[wire])))


class TwoPartyCompiler(PartyCompiler):
    """As the base class says; clear planes are left ones, which party 0 fills, then right ones, which party 1 fills."""

    INTERACTIVE = frozenset({Kind.DOT, Kind.INNER})

    def __init__(self, circuit: Circuit, party: int) -> None:
        super().__init__(circuit, parties=2, first=party == LEFT, takes_corrections=True)
        self._left = party == LEFT
        #: at party 1: party 0's masked summand of a wire; at party 0: party 1's masked right wire
        self._heard: dict[int, int] = {}
        self._said: set[int] = set()

    def _dealt_wires(self) -> tuple[int, ...]:
        return dealt(self._circuit)

    def _clear_planes(self) -> int:
        return self._circuit.left_inputs + self._circuit.right_inputs

    def _clear_input(self, gate: Gate) -> int:
        return gate.index + (self._circuit.left_inputs if gate.kind is Kind.RIGHT_INPUT else 0)

    def _open(self, products: Sequence[int]) -> None:
        gates = self._circuit.gates
        wires = self._unopened([wire for wire in products if gates[wire].kind is Kind.DOT])
        own = [self._send_masked(wire, self._share(wire)) for wire in wires]
        crossing = [product for wire in products if gates[wire].kind is Kind.INNER
                    for product in _cross_products(self._circuit, gates[wire])]
        left, right = (list(dict.fromkeys(side)) for side in zip(*crossing, strict=True)) if crossing else ([], [])
        said, heard = (left, right) if self._left else (right, left)
        for wire in said:
            self._send_once(wire)
        self._code.cut()
        self._receive_opened(wires, own)
        for wire in heard:
            if wire not in self._heard:
                self._heard[wire] = self._code.receive(_PEER)

    def _send_once(self, wire: int) -> None:
        """Open this party's side of an ``inner`` product, unless an earlier round has."""
        if wire not in self._said:
            self._said.add(wire)
            self._send_masked(wire, self._share(wire) if self._left else self._public_wire(wire))

    def _heard_value(self, wire: int) -> int:
        """At party 1: what party 0 sent of a shared wire or of its complement."""
        bottom, complement = base(self._circuit, wire)
        if complement and wire not in self._heard:
            self._heard[wire] = self._code.emit(Op.NOT, self._heard[bottom])
        return self._heard[wire]

    def _emit_share(self, wire: int, gate: Gate) -> int | None:
        if gate.kind is Kind.SHARE:
            return self._public_wire(gate.operands[0]) if self._left else None
        if gate.kind is Kind.LIFT:
            return None if self._left else self._public_wire(gate.operands[0])
        return super()._emit_share(wire, gate)

    def _emit_inner(self, wire: int, gate: Gate) -> int | None:
        total = self._dealt(wire) if wire in self._corrections else self._code.emit(Op.ZERO)
        for x, c in gate.pairs:
            share = self._share(x)
            if c == ONE:
                if share is not None:
                    self._code.update(Op.XOR, total, total, share)
            elif self._left:
                if share is not None:
                    self._code.update(Op.XORAND, total, share, self._heard[c])
            else:
                self._code.update(Op.XORAND, total, self._heard_value(x), self._masks[c])
                if share is not None:
                    self._code.update(Op.XORAND, total, share, self._public_wire(c))
        if not self._left:
            for constant in gate.operands:
                self._code.update(Op.XOR, total, total, self._public_wire(constant))
        return total


def compile_two(circuit: Circuit, party: int) -> Microprogram:
    """The microprogram of one of two parties."""
    return TwoPartyCompiler(circuit, party).compile()


def compile_preparation(circuit: Circuit, party: int) -> Microprogram:
    """From masks to summands: sends this party's factor of every mask product, receives its share of each.

    Outputs: a plane per gate of :func:`dealt`. The pads are those of the circuit's own program, under the same domain.
    """
    code = Assembler(links=1, inputs=0)
    masks: dict[int, int] = {}

    def mask(wire: int) -> int:
        if wire not in masks:
            masks[wire] = code.emit(Op.PRF, _OWN, pad_of_mask(wire))
        return masks[wire]

    products = mask_products(circuit)
    for product in products:
        code.send(_PEER, mask(product[party]))
    code.cut()
    shares = {product: code.receive(_PEER) for product in products}
    totals = []
    for wire in dealt(circuit):
        gate = circuit.gates[wire]
        total = code.emit(Op.ZERO)
        for product in _cross_products(circuit, gate):
            code.update(Op.XOR, total, total, shares[product])
        if gate.kind is Kind.DOT:
            for x, y in gate.pairs:
                code.update(Op.XORAND, total, mask(base(circuit, x)[0]), mask(base(circuit, y)[0]))
        totals.append(total)
    code.output(totals)
    return code.finish(pads(circuit))
