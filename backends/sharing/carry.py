"""Carries of ``A + B`` with A a left operand and B a right one: block outputs, prefix nodes, trees.

A block of up to three positions turns all its monomials in A's bits into shared wires (one SHARE each); every
function of the block's A and B bits is then one INNER, whatever it is: the generate bit G (carry out with none in),
the propagate bit P.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from mpc_bridge.backends.sharing.circuit import ONE, Circuit

#: Positions per block: 3 costs the fewest bits (2: 4 % more, 4: 20 % more).
BLOCK = 3

Monomial = tuple[int, ...]
#: Monomial → right wire; the empty monomial is the constant term.
Coefficients = dict[Monomial, int]


@dataclass(frozen=True)
class GeneratePropagate:
    """``carry_out = generate + propagate * carry_in``; no propagate where no carry can come in."""

    generate: int
    propagate: int | None


def _add_coefficient(circuit: Circuit, coefficients: Coefficients, monomial: Monomial, wire: int) -> None:
    known = coefficients.get(monomial)
    coefficients[monomial] = wire if known is None else circuit.clear_xor(known, wire)


def propagate_coefficients(circuit: Circuit, positions: Sequence[int], b: Sequence[int]) -> Coefficients:
    """``prod_i (a_i + b_i)`` over ``positions`` as a polynomial in the a's."""
    coefficients: Coefficients = {}
    for size in range(len(positions) + 1):
        for monomial in combinations(positions, size):
            wire = ONE
            for i in positions:
                if i not in monomial:
                    wire = circuit.clear_and(wire, b[i])
            coefficients[monomial] = wire
    return coefficients


def generate_coefficients(circuit: Circuit, length: int, b: Sequence[int]) -> Coefficients:
    """The carry out of ``length`` positions, ``sum_i a_i b_i prod_{j>i} (a_j + b_j)``."""
    coefficients: Coefficients = {}
    for i in range(length):
        above = propagate_coefficients(circuit, range(i + 1, length), b)
        for monomial, wire in above.items():
            _add_coefficient(circuit, coefficients, (i, *monomial), circuit.clear_and(wire, b[i]))
    return coefficients


class Block:
    """Up to :data:`BLOCK` positions of A, all monomials shared."""

    def __init__(self, circuit: Circuit, a: Sequence[int]) -> None:
        self._circuit = circuit
        self._monomials: dict[Monomial, int] = {}
        for size in range(1, len(a) + 1):
            for monomial in combinations(range(len(a)), size):
                wire = ONE
                for i in monomial:
                    wire = circuit.clear_and(wire, a[i])
                self._monomials[monomial] = circuit.share(wire)
        #: the shared bits of A in this block
        self.bits = [self._monomials[(i,)] for i in range(len(a))]

    def output(self, coefficients: Coefficients) -> int:
        """The function with these coefficients: one INNER."""
        pairs = [(self._monomials[m], wire) for m, wire in coefficients.items() if m]
        return self._circuit.inner(pairs, coefficients.get(()))

    def generate(self, b: Sequence[int]) -> int:
        """The carry out of the first ``len(b)`` positions."""
        return self.output(generate_coefficients(self._circuit, len(b), b))

    def propagate(self, b: Sequence[int]) -> int:
        """Whether all of the first ``len(b)`` positions pass a carry on. Free for a single position."""
        if len(b) == 1:
            return self._circuit.xor(self.bits[0], self._circuit.lift(b[0]))
        return self.output(propagate_coefficients(self._circuit, range(len(b)), b))


def spans(low: int, high: int) -> list[tuple[int, int]]:
    """``[low, high)`` cut into blocks."""
    return [(i, min(i + BLOCK, high)) for i in range(low, high, BLOCK)]


def combine(circuit: Circuit, high: GeneratePropagate, low: GeneratePropagate) -> GeneratePropagate:
    """The prefix node ``high o low``."""
    assert high.propagate is not None
    generate = circuit.xor(high.generate, circuit.conjunction(high.propagate, low.generate))
    propagate = None if low.propagate is None else circuit.conjunction(high.propagate, low.propagate)
    return GeneratePropagate(generate, propagate)


def append(circuit: Circuit, high: GeneratePropagate, carry: int) -> int:
    """The carry out of ``high`` when ``carry`` comes in."""
    assert high.propagate is not None
    return circuit.xor(high.generate, circuit.conjunction(high.propagate, carry))


def tree(circuit: Circuit, blocks: Sequence[GeneratePropagate]) -> GeneratePropagate:
    """All blocks, lowest first, as one: a binary tree."""
    layer = list(blocks)
    while len(layer) > 1:
        merged = [combine(circuit, layer[i + 1], layer[i]) for i in range(0, len(layer) - 1, 2)]
        layer = merged + layer[len(layer) - len(layer) % 2 :]
    return layer[0]


def all_of(circuit: Circuit, wires: Sequence[int]) -> int:
    """The AND of shared wires: a binary tree."""
    layer = list(wires)
    while len(layer) > 1:
        merged = [circuit.conjunction(layer[i], layer[i + 1]) for i in range(0, len(layer) - 1, 2)]
        layer = merged + layer[len(layer) - len(layer) % 2 :]
    return layer[0]


def negated(circuit: Circuit, bits: Sequence[int]) -> list[int]:
    """The clear bits of ``-x`` modulo ``2**len(bits)``."""
    inverted = [circuit.clear_not(bit) for bit in bits]
    carry, result = ONE, []
    for bit in inverted:
        result.append(circuit.clear_xor(bit, carry))
        carry = circuit.clear_and(bit, carry)
    return result
