"""Boolean circuits on bit planes, written once for every secret-sharing protocol.

A wire is one bit per lane. Three kinds of wire exist:

*left*   clear, known to the left holder(s) of an operand (in rep3 the party that knows two components' sum);
*right*  clear, known to the right holder(s) (in rep3 the two parties that know the third component);
*shared* secret-shared by the protocol.

Free gates: XOR, NOT, and any function of clear wires of one side. Gates that cost one round, and a protocol must offer:

==================  ============================================  ======================
gate                meaning                                       rep3, bits in all
==================  ============================================  ======================
``share``           a left wire becomes shared                    1
``inner``           sum of shared x right, plus a right wire      2
``dot``             sum of shared x shared                        3
``reveal``          a shared wire is opened to the left holder    1
``reveal_inner``    like ``inner``, opened to the left holder     2
==================  ============================================  ======================

``level`` of a wire is the number of rounds after which it is known; :attr:`Circuit.depth` is the circuit's round count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache


class Kind(IntEnum):
    """What computes a wire."""

    LEFT_INPUT = 0
    RIGHT_INPUT = 1
    SHARED_INPUT = 2
    CLEAR_XOR = 3
    CLEAR_AND = 4
    CLEAR_NOT = 5
    LIFT = 6
    XOR = 7
    NOT = 8
    SHARE = 9
    INNER = 10
    DOT = 11
    REVEAL = 12
    REVEAL_INNER = 13
    COMPONENT = 14
    OPENED = 15

    # gates are kept in dictionaries; an enumeration's own hash goes through its name
    __hash__ = int.__hash__


#: The clear wire that is one in every lane; a zero coefficient is left out instead.
ONE = -1

#: Gates that need a message.
INTERACTIVE = frozenset({Kind.SHARE, Kind.INNER, Kind.DOT, Kind.REVEAL, Kind.REVEAL_INNER})

#: Gates that everybody can compute who knows the operands.
_LOCAL = frozenset({Kind.CLEAR_XOR, Kind.CLEAR_AND, Kind.CLEAR_NOT, Kind.LIFT, Kind.XOR, Kind.NOT})

Pair = tuple[int, int]


@dataclass(frozen=True)
class Sum:
    """A claim for a verifying protocol: ``left + right = total`` modulo ``2**len(total)``, lowest bits first.

    All are shared wires; a missing high bit (None) is zero.
    """

    left: tuple[int, ...]
    right: tuple[int, ...]
    total: tuple[int | None, ...]


@dataclass(frozen=True)
class Gate:
    """``operands`` are wires; ``pairs`` the products of the summing gates, ``(shared, right or shared)``.

    ``index`` numbers the planes of an input; ``component`` is which one a COMPONENT wire's plane is.
    """

    kind: Kind
    operands: tuple[int, ...] = ()
    pairs: tuple[Pair, ...] = ()
    index: int = 0
    component: int = 0


@dataclass(eq=False)
class Circuit:
    """Gates in topological order; wire ``i`` is the output of ``gates[i]``.

    ``shared_outputs`` and ``left_outputs`` are the wires a caller wants, in order. ``sums`` say how the circuit's
    arithmetic operands and results belong together: protocols that verify turn them into relations, others ignore
    them.
    """

    gates: list[Gate] = field(default_factory=list)
    levels: list[int] = field(default_factory=list)
    left_inputs: int = 0
    right_inputs: int = 0
    shared_inputs: int = 0
    component_inputs: list[int] = field(default_factory=list)
    sums: list[Sum] = field(default_factory=list)
    shared_outputs: list[int] = field(default_factory=list)
    left_outputs: list[int] = field(default_factory=list)
    _known: dict[Gate, int] = field(default_factory=dict, repr=False)

    @property
    def depth(self) -> int:
        """Rounds: the greatest level of an output."""
        return max((self.levels[w] for w in (*self.shared_outputs, *self.left_outputs)), default=0)

    def count(self, kind: Kind) -> int:
        """How many gates of one kind there are."""
        return sum(gate.kind is kind for gate in self.gates)

    def _add(self, gate: Gate) -> int:
        known = self._known.get(gate)
        if known is not None:
            return known
        levels = self.levels
        level = 0
        for wire in gate.operands:
            if wire != ONE and levels[wire] > level:
                level = levels[wire]
        for left, right in gate.pairs:
            level = max(level, levels[left], 0 if right == ONE else levels[right])
        wire = len(self.gates)
        self.gates.append(gate)
        levels.append(level + (gate.kind in INTERACTIVE))
        self._known[gate] = wire
        return wire

    # Inputs ---------------------------------------------------------------------------------------------------------

    def left(self, count: int) -> list[int]:
        """``count`` further planes that the left holder feeds in."""
        first, self.left_inputs = self.left_inputs, self.left_inputs + count
        return [self._add(Gate(Kind.LEFT_INPUT, index=first + i)) for i in range(count)]

    def right(self, count: int) -> list[int]:
        """``count`` further planes that the right holders feed in."""
        first, self.right_inputs = self.right_inputs, self.right_inputs + count
        return [self._add(Gate(Kind.RIGHT_INPUT, index=first + i)) for i in range(count)]

    def shared(self, count: int) -> list[int]:
        """``count`` further planes that enter as shares."""
        first, self.shared_inputs = self.shared_inputs, self.shared_inputs + count
        return [self._add(Gate(Kind.SHARED_INPUT, index=first + i)) for i in range(count)]

    def component(self, number: int, count: int) -> list[int]:
        """``count`` further planes that are component ``number`` of a shared wire whose other components are zero.

        Only verification reads them: they are filled, in order, after the last round.
        """
        first = len(self.component_inputs)
        wires = [self._add(Gate(Kind.COMPONENT, index=first + i, component=number)) for i in range(count)]
        self.component_inputs += wires
        return wires

    # Clear wires of one side ----------------------------------------------------------------------------------------

    def clear_not(self, a: int) -> int:
        """One minus a clear wire (not ONE: its complement has no wire)."""
        gate = self.gates[a]
        return gate.operands[0] if gate.kind is Kind.CLEAR_NOT else self._add(Gate(Kind.CLEAR_NOT, (a,)))

    def clear_xor(self, a: int, b: int) -> int:
        """Sum of two different clear wires of one side."""
        if a == ONE:
            return self.clear_not(b)
        if b == ONE:
            return self.clear_not(a)
        return self._add(Gate(Kind.CLEAR_XOR, (a, b) if a < b else (b, a)))

    def clear_and(self, a: int, b: int) -> int:
        """Product of two clear wires of one side."""
        if a == ONE or a == b:
            return b
        if b == ONE:
            return a
        return self._add(Gate(Kind.CLEAR_AND, (a, b) if a < b else (b, a)))

    # Shared wires, without a message --------------------------------------------------------------------------------

    def lift(self, right: int) -> int:
        """A right wire as a shared one."""
        return self._add(Gate(Kind.LIFT, (right,)))

    def xor(self, *wires: int) -> int:
        """Sum of shared wires."""
        total = wires[0]
        for wire in wires[1:]:
            total = self._add(Gate(Kind.XOR, (total, wire) if total < wire else (wire, total)))
        return total

    def negate(self, a: int) -> int:
        """One minus a shared wire."""
        gate = self.gates[a]
        return gate.operands[0] if gate.kind is Kind.NOT else self._add(Gate(Kind.NOT, (a,)))

    def opened(self, revealed: int) -> int:
        """What a REVEAL_INNER told the left holder, as a shared wire: the two messages are its components."""
        return self._add(Gate(Kind.OPENED, (revealed,)))

    # One round ------------------------------------------------------------------------------------------------------

    def share(self, left: int) -> int:
        """A left wire as a shared one."""
        return self._add(Gate(Kind.SHARE, (left,)))

    def inner(self, pairs: Sequence[Pair], constant: int | None = None) -> int:
        """``sum shared * right + right``, shared."""
        return self._add(Gate(Kind.INNER, () if constant is None else (constant,), tuple(pairs)))

    def dot(self, pairs: Sequence[Pair]) -> int:
        """``sum shared * shared``, shared."""
        return self._add(Gate(Kind.DOT, (), tuple(pairs)))

    def conjunction(self, a: int, b: int) -> int:
        """AND of two shared wires."""
        return self.dot([(a, b) if a < b else (b, a)])

    def reveal(self, a: int) -> int:
        """A shared wire, opened to the left holder: a left wire."""
        return self._add(Gate(Kind.REVEAL, (a,)))

    def reveal_inner(self, pairs: Sequence[Pair], constant: int) -> int:
        """``sum shared * right + right``, opened to the left holder only: a left wire."""
        return self._add(Gate(Kind.REVEAL_INNER, (constant,), tuple(pairs)))


@lru_cache(maxsize=512)
def and_gates(circuit: Circuit, right_is_public: bool = False) -> int:
    """AND gates per lane of a finished circuit, as ``runtime.meter.Work`` defines them.

    Args:
        right_is_public: as where right operands are opened: a product with what is made of them alone is local.
    """
    public, total = {ONE}, 0
    for wire in reached(circuit):
        gate = circuit.gates[wire]
        zero = gate.kind is Kind.XOR and gate.operands[0] == gate.operands[1]
        if (zero or (right_is_public and gate.kind is Kind.RIGHT_INPUT)
                or (gate.kind in _LOCAL and public.issuperset(gate.operands))):
            public.add(wire)
        total += any(public.isdisjoint(pair) for pair in gate.pairs)
    return total


@lru_cache(maxsize=512)
def reached(circuit: Circuit) -> tuple[int, ...]:
    """Wires that an output of a finished circuit depends on, in order."""
    found = set()
    stack = [*circuit.shared_outputs, *circuit.left_outputs]
    while stack:
        wire = stack.pop()
        if wire == ONE or wire in found:
            continue
        found.add(wire)
        gate = circuit.gates[wire]
        stack.extend(gate.operands)
        for pair in gate.pairs:
            stack.extend(pair)
    return tuple(sorted(found))
