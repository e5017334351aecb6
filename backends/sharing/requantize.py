"""The fused requantise: from an accumulator's two halves to clamped 8-bit values, and on to a ring sharing again.

``A + B = acc * m + c`` modulo ``2**N`` with A known to the left holder and B to the right holders. The result is
``q = clamp(floor((A + B) / 2**s), 0, 255)``, with the sign-dependent tie rule where asked, then a narrower clamp:

1. carry into bit s: a tree over blocks;
2. the eight kept bits: three blocks with outputs at every position, their prefix ready before the carry is;
3. saturation from the top bits: all propagate / all cancel;
4. ties: the floor changes when the channel's ``delta`` is subtracted; the sign rule then subtracts one from the
   result, half to even changes its lowest bit.

``b2a`` converts 8 shared bits to a value the left holder knows masked by rho, a right operand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from mpc_bridge.backends.sharing.carry import (
    Block,
    GeneratePropagate,
    all_of,
    append,
    combine,
    negated,
    spans,
    tree,
)
from mpc_bridge.backends.sharing.circuit import ONE, Circuit, Sum
from mpc_bridge.backends.sharing.compare import at_most, clamp
from mpc_bridge.lowering.program import Requantize

#: Kept bits of a requantised value.
WIDTH = 8


class TieShape(NamedTuple):
    """A tie rule without its deltas, which are multiples of ``2**bit`` below ``2**shift``.

    ``zero`` bounds the results that the sign rule chooses; with a ``parity`` that chooses instead.
    """

    bit: int
    zero: int = 0
    parity: int | None = None


@dataclass(frozen=True)
class RequantizeShape:
    """Everything public a requantise circuit depends on.

    Attributes:
        bits: N, width of ``A + B``.
        shift: s.
        low, high: the final clamp, within 0..255.
        tie: the tie rule, or None.
        ring: width k of the ring sharing wanted afterwards, 0 for none.
        planes: whether the shared bits themselves are wanted.
    """

    bits: int
    shift: int
    low: int = 0
    high: int = 255
    tie: TieShape | None = None
    ring: int = 0
    planes: bool = False

    @property
    def tie_planes(self) -> int:
        """Right planes that the tie rule adds: bits ``bit..shift`` of the moved B (:func:`tie_operands`)."""
        return 0 if self.tie is None else self.shift - self.tie.bit + 1


def tie_operands(step: Requantize) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """Per channel, the constant that A takes, and what moves B to where the tie rule looks too (None without one).

    The sign rule and odd results take ``acc * m + c`` and look at it less delta. Where even results are chosen, the
    roles are swapped: A takes ``c - delta``, and delta is added. Half to even is then the same either way but for one
    XOR (:func:`_half_even`), and nothing borrows.
    """
    if step.tie is None:
        return step.constant, None
    if step.tie.parity == 0:
        return tuple(c - d for c, d in zip(step.constant, step.tie.delta, strict=True)), step.tie.delta
    return step.constant, tuple(-delta for delta in step.tie.delta)


def _low_carry(
    circuit: Circuit, a: Sequence[int], b: Sequence[int], shift: int, tie_bit: int, moved_b: Sequence[int]
) -> tuple[int, int | None]:
    """Carry into bit ``shift``, and the tie indicator (None without the rule, when ``moved_b`` is empty)."""

    def outputs(span: tuple[int, int], block: Block, operand: Sequence[int]) -> GeneratePropagate:
        low, high = span
        bits = operand[low:high]
        return GeneratePropagate(block.generate(bits), block.propagate(bits) if low > 0 else None)

    if not moved_b:
        parts = spans(0, shift)
        return tree(circuit, [outputs(p, Block(circuit, a[p[0] : p[1]]), b) for p in parts]).generate, None
    # The rule looks at bits tie_bit..shift-1 of A + (B moved by delta): the same blocks of A against another B.
    below, above = spans(0, tie_bit), spans(tie_bit, shift)
    blocks = {p: Block(circuit, a[p[0] : p[1]]) for p in below + above}
    shifted = [*b[:tie_bit], *moved_b[:-1]]
    plain = tree(circuit, [outputs(p, blocks[p], b) for p in above])
    moved = tree(circuit, [outputs(p, blocks[p], shifted) for p in above])
    if below:
        carry = tree(circuit, [outputs(p, blocks[p], b) for p in below]).generate
        first, second = append(circuit, plain, carry), append(circuit, moved, carry)
    else:
        first, second = plain.generate, moved.generate
    # delta < 2**shift, so B - delta borrows from bit `shift` (B + delta carries into it) iff that bit changed; the
    # floor changes iff exactly one of (carry into the bit changed, bit changed) holds.
    changed = circuit.clear_xor(b[shift], moved_b[-1])
    return first, circuit.xor(first, second, circuit.lift(changed))


def _kept_bits(circuit: Circuit, a: Sequence[int], b: Sequence[int], carry: int) -> tuple[list[int], int]:
    """The :data:`WIDTH` bits of A + B from here on, and the carry out of them."""
    parts = spans(0, WIDTH)
    blocks = [Block(circuit, a[low:high]) for low, high in parts]
    inside = [
        [
            GeneratePropagate(block.generate(b[low : low + j]), block.propagate(b[low : low + j]))
            for j in range(1, high - low + 1)
        ]
        for (low, high), block in zip(parts, blocks, strict=True)
    ]
    carries = {0: carry}
    prefix: GeneratePropagate | None = None
    for (_, high), outputs in zip(parts, inside, strict=True):
        prefix = outputs[-1] if prefix is None else combine(circuit, outputs[-1], prefix)
        carries[high] = append(circuit, prefix, carry)
    for (low, high), outputs in zip(parts, inside, strict=True):
        for j in range(1, high - low):
            carries[low + j] = append(circuit, outputs[j - 1], carries[low])
    bits = []
    for (low, _), block in zip(parts, blocks, strict=True):
        for j, bit in enumerate(block.bits):
            bits.append(circuit.xor(bit, circuit.lift(b[low + j]), carries[low + j]))
    return bits, carries[WIDTH]


def _saturation(circuit: Circuit, a: Sequence[int], b: Sequence[int], carry: int) -> tuple[int, int]:
    """(in range, negative) of the top part ``T = a + b + carry``, a signed number: zero, below zero.

    E1 = all bits propagate (T is 0 with a carry), E0 = ``[a = -b]`` (T is 0 without one).
    """
    sign = len(a) - 1
    minus = negated(circuit, b)
    equal = [circuit.clear_not(bit) for bit in minus]
    outputs, cancels = [], []
    for low, high in spans(0, sign):
        block = Block(circuit, a[low:high])
        outputs.append(GeneratePropagate(block.generate(b[low:high]), block.propagate(b[low:high])))
        cancels.append(block.propagate(equal[low:high]))
    top = Block(circuit, a[sign:])
    sign_sum = top.propagate(b[sign:])
    cancels.append(top.propagate(equal[sign:]))
    below = tree(circuit, outputs)
    assert below.propagate is not None
    all_propagate = circuit.conjunction(below.propagate, sign_sum)
    all_cancel = all_of(circuit, cancels)
    in_range = circuit.xor(all_cancel, circuit.conjunction(carry, circuit.xor(all_cancel, all_propagate)))
    negative = circuit.xor(sign_sum, below.generate, circuit.conjunction(below.propagate, carry))
    return in_range, negative


def _subtract_tie(
    circuit: Circuit, q: Sequence[int], kept: Sequence[int], tie: int, in_range: int, zero: int
) -> list[int]:
    """``q - 1`` where the tie holds, ``1 <= q <= zero`` and q did not saturate; q elsewhere."""
    if zero < 1:
        return list(q)
    clear = [circuit.negate(bit) for bit in kept]
    # below[i]: bits 0..i-1 are all zero (a balanced prefix, depth 3)
    pair_23, pair_45, pair_67 = (circuit.conjunction(clear[i], clear[i + 1]) for i in (2, 4, 6))
    two = circuit.conjunction(clear[0], clear[1])
    four = circuit.conjunction(two, pair_23)
    six = circuit.conjunction(four, pair_45)
    below = [
        clear[0],
        two,
        circuit.conjunction(two, clear[2]),
        four,
        circuit.conjunction(four, clear[4]),
        six,
        circuit.conjunction(six, clear[6]),
    ]
    nonzero = circuit.negate(circuit.conjunction(six, pair_67))
    applies = circuit.conjunction(in_range, nonzero)
    if zero < (1 << WIDTH) - 1:
        tie = circuit.conjunction(tie, at_most(circuit, kept, zero))
    fix = circuit.conjunction(tie, applies)
    flips = [fix, *(circuit.conjunction(fix, prefix) for prefix in below)]
    return [circuit.xor(bit, flip) for bit, flip in zip(q, flips, strict=True)]


def _half_even(circuit: Circuit, kept: Sequence[int], tie: int, parity: int) -> list[int]:
    """The kept bits after half to even: only the lowest one may change, before saturation and so exact at both ends.

    With parity 1 the kept bits are the half up's: at a tie the odd ones are one too great, so their lowest bit goes.
    With parity 0 they are the half down's (:func:`tie_operands`): at a tie the even ones are one too small, so their
    lowest bit comes.
    """
    odd = circuit.conjunction(kept[0], tie)
    return [circuit.xor(kept[0], odd) if parity else circuit.xor(kept[0], odd, tie), *kept[1:]]


def requantize(
    circuit: Circuit, a: Sequence[int], b: Sequence[int], moved_b: Sequence[int], shape: RequantizeShape
) -> list[int]:
    """Shared bits of the clamped result.

    ``a``, ``b``: N left and N right wires, lowest first; ``moved_b``: the tie rule's ``tie_planes`` right wires.
    """
    s, top = shape.shift, shape.shift + WIDTH
    carry, tie = _low_carry(circuit, a, b, s, 0 if shape.tie is None else shape.tie.bit, moved_b)
    kept, carry_out = _kept_bits(circuit, a[s:top], b[s:top], carry)
    if tie is not None and shape.tie is not None and shape.tie.parity is not None:
        kept, tie = _half_even(circuit, kept, tie, shape.tie.parity), None
    in_range, negative = _saturation(circuit, a[top:], b[top:], carry_out)
    # in range and negative exclude each other, so the saturated value is linear in them
    full = circuit.negate(circuit.xor(in_range, negative))
    q = [circuit.xor(circuit.conjunction(in_range, bit), full) for bit in kept]
    if tie is not None and shape.tie is not None:
        q = _subtract_tie(circuit, q, kept, tie, in_range, shape.tie.zero)
    return clamp(circuit, q, shape.low, shape.high)


def to_ring(circuit: Circuit, q: Sequence[int], rho: Sequence[int]) -> list[int]:
    """Left wires of ``w = q - rho`` modulo ``2**len(rho)``: with rho, a two-sided additive sharing of q.

    Low bits by a Sklansky borrow chain, opened to the left holder; the high bits of ``-rho >> len(q)`` less the
    borrow are one REVEAL_INNER each, in the round of the last low bit. w is uniform, so the left holder learns
    nothing. Bits of q beyond the ring are dropped.
    """
    q = q[: len(rho)]
    width = len(q)
    inverted = [circuit.negate(bit) for bit in q]
    masks = [circuit.lift(mask) for mask in rho]
    layer = [
        GeneratePropagate(circuit.inner([(bit, rho[i])]), circuit.xor(bit, masks[i]) if i else None)
        for i, bit in enumerate(inverted)
    ]
    distance = 1
    while distance < width:
        layer = [
            combine(circuit, node, layer[i // distance * distance - 1]) if i & distance else node
            for i, node in enumerate(layer)
        ]
        distance *= 2
    borrows = [node.generate for node in layer]
    low = [circuit.xor(q[i], masks[i]) for i in range(width)]
    low = [circuit.xor(bit, borrows[i - 1]) if i else bit for i, bit in enumerate(low)]
    high = []
    flip = ONE  # a bit of x and of x - 1 differ iff all lower bits of x are zero
    for bit in negated(circuit, rho[width:]):
        high.append(circuit.reveal_inner([(borrows[-1], flip)], bit))
        flip = circuit.clear_and(flip, circuit.clear_not(bit))
    w = [*low, *(circuit.opened(wire) for wire in high)]
    total = tuple(q[i] if i < width else None for i in range(len(rho)))
    circuit.sums.append(Sum(tuple(w), tuple(masks), total))
    first, second = circuit.component(0, len(w)), circuit.component(1, len(w))
    circuit.sums.append(Sum(tuple(first), tuple(second), tuple(w)))
    return [*(circuit.reveal(bit) for bit in low), *high]


@lru_cache(maxsize=256)
def requantize_circuit(shape: RequantizeShape) -> Circuit:
    """Left inputs: A's N planes. Right inputs: B's N planes, ``tie_planes``, then rho's k planes when ``ring`` is set.

    Component inputs, for verification: both summands of A (N planes of component 0, N of component 1), then both of w.
    Left outputs: w's k planes. Shared outputs: the 8 result planes, when ``planes`` is set.
    """
    circuit = Circuit()
    a, b = circuit.left(shape.bits), circuit.right(shape.bits)
    first, second = circuit.component(0, shape.bits), circuit.component(1, shape.bits)
    q = requantize(circuit, a, b, circuit.right(shape.tie_planes), shape)
    circuit.sums.append(Sum(tuple(first), tuple(second), tuple(circuit.share(bit) for bit in a)))
    if shape.ring:
        circuit.left_outputs = to_ring(circuit, q, circuit.right(shape.ring))
    if shape.planes or not shape.ring:
        circuit.shared_outputs = q
    return circuit


@lru_cache(maxsize=64)
def to_ring_circuit(ring: int, width: int = WIDTH) -> Circuit:
    """Shared inputs: ``width`` planes. Right inputs: rho's k planes. Left outputs: w's k planes.

    Component inputs, for verification: both summands of w.
    """
    circuit = Circuit()
    circuit.left_outputs = to_ring(circuit, circuit.shared(width), circuit.right(ring))
    return circuit
