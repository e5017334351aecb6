"""The search for requantise constants: the fewest bits with which ``(acc * m + c) >> s`` equals a function everywhere.

A function given by its thresholds (:mod:`mpc_bridge.lowering.thresholds`) equals ``(acc * m + c) >> s`` iff for every
threshold ``T`` of output ``u``::

    T * m + c >= u * 2**s        (where T is reached)
    (T - 1) * m + c < u * 2**s   (where T is missed)

so, for given s and m, iff c lies in an interval. That interval is empty exactly when the bounds of two thresholds i, k
contradict each other, and then ``m * (T_k - 1 - T_i) <= (u_k - u_i) * 2**s - 1`` is violated: a bound on m from one
side that no other m may break either. Following these cuts finds an m or proves that there is none (a cutting-plane
search; in the plane it is the recognition of digital lines). What works for s works for s + 1 with 2m and 2c, so the
least s of a layer is the greatest of its channels'.

Double rounding has another constant where the output is at most the zero point, and half to even where it is odd: the
*tie* form uses one c for some levels and ``c - delta`` for the others, with the same m.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mpc_bridge.lowering.thresholds import Ints, Thresholds

#: What a secure backend adds to ring and carry chain per kept bit above the shift (two top bits decide saturation).
TOP_BITS = 10
#: Stands for an end that an interval does not have.
UNBOUNDED = np.int64(2**62)
_CUTS = 64
#: A shift above the least one leaves rounder deltas, so fewer bits to look at twice: how many to try.
TIE_SHIFTS = 8


@dataclass(frozen=True)
class Parity:
    """The levels of half to even that use the other constant: ``level % 2 == value``."""

    value: int


#: Which levels may use the other constant: those up to a stored level, or those of one parity.
Tie = int | Parity


def tie_of(rule: str, zero: int) -> Tie:
    """The tie form that fits a rounding rule.

    Args:
        zero: stored level of the output's zero point. Half to even rounds before it is added, so that odd means an odd
            distance from it.
    """
    return Parity((zero + 1) % 2) if rule == "half_even" else zero


def chosen(tie: Tie | None, level: Ints) -> npt.NDArray[np.bool_]:
    """Which stored levels may use the other constant."""
    if tie is None:
        return np.zeros(level.shape, bool)
    return np.asarray(level % 2 == tie.value if isinstance(tie, Parity) else level <= tie)


@dataclass(frozen=True)
class Constants:
    """``u = (acc * multiplier + constant) >> shift`` per channel; see :class:`~mpc_bridge.lowering.program.Requantize`.

    Attributes:
        multiplier, constant: one per channel.
        delta: per channel, what is subtracted before the shift for the outputs that :class:`Tie` chooses; empty without
            a tie rule.
        tie_bit: every delta is a multiple of ``2**tie_bit``.
        bits: N.
    """

    multiplier: tuple[int, ...]
    constant: tuple[int, ...]
    shift: int
    bits: int
    delta: tuple[int, ...] = ()
    tie_bit: int = 0


@dataclass(frozen=True)
class _Slopes:
    """Per channel: a slope, and the interval of constants for the plain levels and for those the tie chooses."""

    found: npt.NDArray[np.bool_]
    multiplier: Ints
    plain: tuple[Ints, Ints]
    chosen: tuple[Ints, Ints]


def search(thresholds: Thresholds, tie: Tie | None) -> Constants | None:
    """The exact constants of one layer with the least shift, in the plain form if it exists, else in the tie form.

    Args:
        thresholds: of all channels (equal channels should be given once).
        tie: which stored levels the tie form may give the other constant; None: plain form only.

    Returns:
        None when neither form exists in 64 bits.
    """
    if not thresholds.level.size:
        nothing = (0,) * len(thresholds.slope)
        return Constants(nothing, nothing, 1, 1 + TOP_BITS)
    other = chosen(tie, thresholds.level)
    nowhere = np.zeros_like(other)
    shift = _least_shift(thresholds, nowhere)
    if shift is not None:
        slopes = _slopes(thresholds, shift, nowhere)
        found = _constants(thresholds, shift, slopes.multiplier, pick(*slopes.plain), None)
    else:
        found = _search_tie(thresholds, other, isinstance(tie, Parity)) if other.any() else None
    assert found is None or agrees(found, thresholds, tie), "a search ended with constants that are not exact"
    return found


def agrees(constants: Constants, thresholds: Thresholds, tie: Tie | None) -> bool:
    """Whether the constants, evaluated on both sides of every threshold, give the function: the proof, always made."""
    multiplier, constant, delta = (
        np.array(row, np.int64)[:, None] for row in (constants.multiplier, constants.constant, constants.delta)
    )

    def reaches(acc: Ints) -> npt.NDArray[np.bool_]:
        z = acc * multiplier + constant
        q = z >> constants.shift
        if constants.delta:
            q = q - (((z & ((1 << constants.shift) - 1)) < delta) & chosen(tie, q))
        return np.asarray(q >= thresholds.level)

    late = thresholds.reached & ~reaches(thresholds.at)
    early = thresholds.missed & reaches(thresholds.at - 1)
    return not (late.any() or early.any())


def _search_tie(thresholds: Thresholds, other: npt.NDArray[np.bool_], lowered: bool) -> Constants | None:
    """The cheapest tie form among the least shifts that have one; the ``other`` levels use ``c - delta``.

    Args:
        lowered: whether N bits must hold what is left after delta too.
    """
    best: Constants | None = None
    shift, last = _least_shift(thresholds, other), _greatest_shift(thresholds)
    while shift is not None and shift <= last:
        slopes = _slopes(thresholds, shift, other)
        picked = pick_tie(shift, slopes.plain, slopes.chosen)
        if picked is not None:
            constant, delta, bit = picked
            found = _constants(thresholds, shift, slopes.multiplier, constant, (delta, bit), lowered)
            if found is not None and (best is None or tie_cost(found) < tie_cost(best)):
                last = last if best is not None else min(last, shift + TIE_SHIFTS - 1)
                best = found
        shift += 1
    return best


def tie_cost(constants: Constants) -> int:
    """Tenths of a bit sent: about 3.2 bits per ring bit, 2.3 more per bit between the tie bit and the shift."""
    return 32 * constants.bits + 23 * (constants.shift - constants.tie_bit)


def _greatest_shift(thresholds: Thresholds) -> int:
    """The greatest shift worth trying: bits are left above it, and all products of the search stay within ``2**60``."""
    largest = max(float((np.abs(thresholds.at).max(axis=1) * thresholds.slope).max()), float(thresholds.level[-1]), 1.0)
    return min(64 - TOP_BITS, 60 - math.frexp(largest)[1])


def _least_shift(thresholds: Thresholds, other: npt.NDArray[np.bool_]) -> int | None:
    """The least shift that serves every channel; the ``other`` levels may use another constant."""
    if not _slopes(thresholds, _greatest_shift(thresholds), other).found.all():
        return None
    channels = len(thresholds.slope)
    # a few channels first: what is too small for one of them is too small for the layer
    some = np.unique(np.linspace(0, channels - 1, 6).astype(np.intp))
    shift = 1
    for pending in (some, np.arange(channels)):
        while len(pending):
            pending = pending[~_slopes(thresholds.rows(pending), shift, other).found]
            shift += bool(len(pending))
    return shift


def _slopes(thresholds: Thresholds, shift: int, other: npt.NDArray[np.bool_]) -> _Slopes:
    """An m per channel for which constants exist with this shift, by cuts from the real slope."""
    at, level = thresholds.at, thresholds.level << shift
    lower, upper = thresholds.reached, thresholds.missed
    channels = len(at)
    largest = np.abs(at).max(axis=1) + 1
    least, greatest = np.zeros(channels, np.int64), 2**61 // largest
    multiplier = np.clip(np.rint(np.ldexp(thresholds.slope, shift)), least, greatest).astype(np.int64)
    found = np.zeros(channels, bool)
    ends = np.empty((4, channels), np.int64)
    pending = np.arange(channels)
    groups = [np.flatnonzero(~other), np.flatnonzero(other)]
    for _ in range(_CUTS):
        m = multiplier[pending]
        part = pending if len(pending) < channels else slice(None)
        offset = level[None, :] - at[part] * m[:, None]
        low, high = least[pending], greatest[pending]
        good = np.ones(len(pending), bool)
        for group, columns in enumerate(groups):
            kept = columns if len(columns) < len(other) else slice(None)
            bottom, top, i, k = _interval(offset[:, kept], lower[part][:, kept], upper[part][:, kept], m)
            ends[2 * group : 2 * group + 2, pending] = bottom, top
            bad = np.nonzero(bottom > top)[0]
            good[bad] = False
            rows = pending[bad]
            # without levels there is no contradiction, and nothing to index
            first, last = (columns[i[bad]], columns[k[bad]]) if len(columns) else (i[bad], k[bad])
            run = at[rows, last] - 1 - at[rows, first]
            rise = level[last] - level[first] - 1
            with np.errstate(divide="ignore"):
                bound = np.where(run > 0, rise // np.maximum(run, 1), -(rise // np.maximum(-run, 1)))
            high[bad] = np.where(run > 0, np.minimum(high[bad], bound), np.where(run == 0, -1, high[bad]))
            low[bad] = np.where(run < 0, np.maximum(low[bad], bound), low[bad])
        found[pending[good]] = True
        least[pending], greatest[pending] = low, high
        multiplier[pending[~good]] = np.clip(m, low, high)[~good]
        pending = pending[~good & (low <= high)]
        if not len(pending):
            break
    return _Slopes(found, multiplier, (ends[0], ends[1]), (ends[2], ends[3]))


def _interval(
    offset: Ints, lower: npt.NDArray[np.bool_], upper: npt.NDArray[np.bool_], multiplier: Ints
) -> tuple[Ints, Ints, npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Least and greatest c per channel, and the columns that say so, from ``offset = u * 2**s - T * m``."""
    channels, columns = offset.shape
    if not columns:
        none = np.zeros(channels, np.intp)
        return np.full(channels, -UNBOUNDED), np.full(channels, UNBOUNDED), none, none
    floor = offset if lower.all() else np.where(lower, offset, -UNBOUNDED)
    ceiling = offset if upper.all() else np.where(upper, offset, UNBOUNDED)
    i, k = np.argmax(floor, axis=1), np.argmin(ceiling, axis=1)
    row = np.arange(channels)
    top = ceiling[row, k]
    return floor[row, i], np.where(top == UNBOUNDED, top, top + multiplier - 1), i, k


def pick(bottom: Ints, top: Ints) -> Ints:
    """The middle of each interval; its only end where it has one; 0 where it has none."""
    middle = bottom + ((top - bottom) >> 1)
    no_bottom, no_top = bottom == -UNBOUNDED, top == UNBOUNDED
    return np.where(no_bottom, np.where(no_top, 0, top), np.where(no_top, bottom, middle))


def pick_tie(shift: int, plain: tuple[Ints, Ints], other: tuple[Ints, Ints]) -> tuple[Ints, Ints, int] | None:
    """Per channel c and delta, ``0 <= delta < 2**shift``, and the greatest bit with ``2**bit`` dividing every delta."""
    ends = [tuple(int(end) for end in row) for row in np.stack((*plain, *other), axis=1)]
    # delta = c - c' for any c in [bottom, top], c' in [low, high]
    spans = [
        (max(bottom - high, 0), min(top - low, 2**shift - 1)) for bottom, top, low, high in ends
    ]
    if any(least > greatest for least, greatest in spans):
        return None
    # (least - 1, greatest] holds a multiple of 2**b iff the two differ in bit b or above
    bit = min(((least - 1) ^ greatest).bit_length() - 1 if least else shift - 1 for least, greatest in spans)
    bit = min(bit, shift - 1)
    delta = np.array([-(-least >> bit) << bit for least, _ in spans], np.int64)
    bottom, top = plain
    low, high = other
    constant = pick(
        np.maximum(bottom, np.where(low == -UNBOUNDED, low, low + delta)),
        np.minimum(top, np.where(high == UNBOUNDED, high, high + delta)),
    )
    return constant, delta, bit


def signed_bits(z: int) -> int:
    """Bits of the least two's complement that holds z."""
    return (z if z >= 0 else ~z).bit_length() + 1


def _constants(
    thresholds: Thresholds, shift: int, multiplier: Ints, constant: Ints, tie: tuple[Ints, int] | None,
    lowered: bool = False,
) -> Constants | None:
    """Constants with the bits they need over the whole accumulator range; None above 64."""
    bits = shift + TOP_BITS
    delta, bit = ((), 0) if tie is None else (tuple(int(d) for d in tie[0]), tie[1])
    rows = zip(thresholds.least, thresholds.greatest, multiplier, constant, delta or (0,) * len(constant), strict=True)
    for least, greatest, m, c, d in rows:
        ends = (int(least) * int(m) + int(c), int(greatest) * int(m) + int(c))
        bits = max(bits, *map(signed_bits, ends), signed_bits(min(ends) - d * lowered))
    if bits > 64:
        return None
    return Constants(tuple(int(m) for m in multiplier), tuple(int(c) for c in constant), shift, bits, delta, bit)
