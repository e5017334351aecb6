"""Where a monotone integer function of an accumulator steps: its exact thresholds.

Every requantised op is a monotone function f from an integer accumulator to ``[low, high]``, one function per channel.
It is the same thing as its thresholds: ``T_j`` = the least accumulator with ``f >= j``, for ``low < j <= high``. They
are guessed from the real slope and then corrected with f itself until ``f(T_j) >= j`` and ``f(T_j - 1) < j``: that
check, made for every one, is the proof that whatever agrees with the thresholds agrees with f everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mpc_bridge.circuit.fixedpoint import (
    exact_ratio,
    half_even,
    mbqm,
    quantize_multiplier,
    round_half_away,
)
from mpc_bridge.errors import UnsupportedModelError

Ints = npt.NDArray[np.int64]

#: Accumulators beyond the frameworks' int32 do not occur.
INT32_REACH = 2**31 - 1


@dataclass(frozen=True)
class Rounding:
    """A family of monotone functions, one per channel.

    Attributes:
        evaluate: ``evaluate(acc, channel)``: the function itself before clamping, on arrays that broadcast.
        slope: float64 [C], its approximate slope; may be 0 for a constant function.
        origin: float64 [C], an accumulator where it is approximately ``zero_point``.
        zero_point: see ``origin``.
        low, high: the clamp.
    """

    evaluate: Callable[[Ints, Ints], Ints]
    slope: npt.NDArray[np.float64]
    origin: npt.NDArray[np.float64]
    zero_point: int
    low: int
    high: int

    @property
    def channels(self) -> int:
        """Number of functions."""
        return len(self.slope)


@dataclass(frozen=True)
class Thresholds:
    """The steps of clamped functions on a bounded accumulator, in stored units.

    Attributes:
        level: int64 [J], ascending, positive: the stored output ``u`` each column is about.
        at: int64 [C, J]: the least accumulator in ``[least, greatest + 1]`` with output ``>= u``; ``greatest + 1``:
            there is none.
        least, greatest: int64 [C]: every accumulator lies in between, ends included.
        slope: float64 [C], approximate.
    """

    level: Ints
    at: Ints
    least: Ints
    greatest: Ints
    slope: npt.NDArray[np.float64]

    def within(self, least: Ints, greatest: Ints) -> Thresholds:
        """The same functions on other bounds, which must hold every step not to lose one."""
        at = np.clip(self.at, least[:, None], greatest[:, None] + 1)
        return Thresholds(self.level, at, least, greatest, self.slope)

    def rows(self, chosen: npt.NDArray[np.intp]) -> Thresholds:
        """Some of the channels."""
        return Thresholds(
            self.level, self.at[chosen], self.least[chosen], self.greatest[chosen], self.slope[chosen]
        )

    @property
    def reached(self) -> npt.NDArray[np.bool_]:
        """[C, J]: outputs ``>= u`` occur."""
        return np.asarray(self.at <= self.greatest[:, None])

    @property
    def missed(self) -> npt.NDArray[np.bool_]:
        """[C, J]: outputs ``< u`` occur."""
        return np.asarray(self.at > self.least[:, None])


def multiplied(multipliers: npt.ArrayLike, rule: str, zero_point: int, low: int, high: int, shift: int = 0) -> Rounding:
    """``round((acc + shift) * multiplier) + zero_point`` by a rule of :mod:`mpc_bridge.circuit.fixedpoint`.

    Raises:
        UnsupportedModelError: an unknown rule, or a multiplier outside what the rule defines.
    """
    slope = np.asarray(multipliers, np.float64).reshape(-1)
    if rule == "mbqm":
        pairs = np.array([quantize_multiplier(float(m)) for m in slope], np.int64).reshape(-1, 2)
        return _fixed_point(pairs[:, 0], pairs[:, 1], zero_point, low, high, shift)
    if rule == "half_even":
        ratios = np.array([exact_ratio(float(m)) for m in slope], np.int64).reshape(-1, 2)
        return rational(ratios[:, 0], ratios[:, 1], zero_point, low, high, np.full(len(slope), shift, np.int64))
    if rule != "float64_half_away":
        raise UnsupportedModelError(f"rounding rule {rule!r} is not one of an integer accumulator")

    def evaluate(acc: Ints, channel: Ints) -> Ints:
        product = round_half_away((acc + shift).astype(np.float64) * slope[channel])
        return np.asarray(np.clip(product, -(2.0**61), 2.0**61).astype(np.int64) + zero_point, np.int64)

    return Rounding(evaluate, slope, np.full(len(slope), float(-shift)), zero_point, low, high)


def rational(
    numerators: Ints, denominators: Ints, zero_point: int, low: int, high: int, shifts: Ints
) -> Rounding:
    """``rne((acc + shifts[c]) * numerators[c] / denominators[c]) + zero_point``: half to even, exact.

    Args:
        numerators, denominators: int64 [C], of :func:`~mpc_bridge.circuit.fixedpoint.exact_ratio`.
    """

    def evaluate(acc: Ints, channel: Ints) -> Ints:
        return half_even(acc + shifts[channel], numerators[channel], denominators[channel]) + zero_point

    slope = numerators.astype(np.float64) / denominators.astype(np.float64)
    return Rounding(evaluate, slope, -shifts.astype(np.float64), zero_point, low, high)


def mean(multiplier: float, count: int, shift: int, zero_point: int, low: int, high: int) -> Rounding:
    """TFLite's MEAN of ``count`` cells: the count is folded into the quantized multiplier.

    Args:
        multiplier: ``s_in / s_out``.
        shift: what to add to the accumulator to get ``sum(x) - count * zero_point_in``.
    """
    q, exponent = quantize_multiplier(multiplier)
    fold = min(count.bit_length() - 1, 32, 31 + exponent)
    folded = np.array([(q << fold) // count], np.int64)
    return _fixed_point(folded, np.array([exponent - fold], np.int64), zero_point, low, high, shift)


def _fixed_point(q: Ints, exponent: Ints, zero_point: int, low: int, high: int, shift: int) -> Rounding:
    def evaluate(acc: Ints, channel: Ints) -> Ints:
        return mbqm(acc + shift, q[channel], exponent[channel]) + zero_point

    slope = np.ldexp(q.astype(np.float64), exponent.astype(np.int32) - 31)
    return Rounding(evaluate, slope, np.full(len(slope), float(-shift)), zero_point, low, high)


def average(counts: Ints, offset: int, away_from_zero: bool, low: int, high: int) -> Rounding:
    """AVERAGE_POOL_2D of ``counts[c]`` stored cells ``u = x - offset``, on raw values ``x``.

    Args:
        away_from_zero: int8: half away from zero; uint8: half up.
    """

    def evaluate(acc: Ints, channel: Ints) -> Ints:
        count = counts[channel]
        total = acc + count * offset
        up = (np.abs(total) + count // 2) // count
        return np.asarray(np.where(total > 0, up, -up) if away_from_zero else (total + count // 2) // count, np.int64)

    slope, origin = 1 / counts.astype(np.float64), (-offset * counts).astype(np.float64)
    return Rounding(evaluate, slope, origin, 0, low, high)


def find_thresholds(rounding: Rounding, base: int, least: Ints, greatest: Ints) -> Thresholds:
    """Every threshold of clamped functions, each checked against the function itself.

    Args:
        base: offset of the stored output: ``u = out - base``.
        least, greatest: int64 [C], bounds of the accumulator.

    Raises:
        UnsupportedModelError: the function is not the nearly linear one its slope announces.
    """
    outputs = np.arange(rounding.low + 1, rounding.high + 1, dtype=np.int64)
    bottom, top = least[:, None], greatest[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        guess = (outputs - rounding.zero_point - 0.5)[None, :] / rounding.slope[:, None] + rounding.origin[:, None]
    at = np.clip(np.ceil(np.clip(guess, -(2.0**40), 2.0**40)).astype(np.int64), bottom, top + 1)
    channel = np.arange(rounding.channels)
    step = _correction(rounding, at, outputs, bottom, top, channel[:, None])
    rows, columns = np.nonzero(step)
    move = step[rows, columns]
    for _ in range(16):
        if not len(rows):
            return Thresholds(outputs - base, at, least, greatest, rounding.slope)
        at[rows, columns] += move
        move = _correction(rounding, at[rows, columns], outputs[columns], least[rows], greatest[rows], rows)
        wrong = move != 0
        rows, columns, move = rows[wrong], columns[wrong], move[wrong]
    raise UnsupportedModelError(
        "a requantisation does not follow its own multiplier",
        where=f"channel {int(rows[0])}, output {int(outputs[columns[0]])}",
        hint="the scales of this op are too extreme for the framework's own arithmetic",
    )


def _correction(rounding: Rounding, at: Ints, wanted: Ints, low: Ints, high: Ints, channel: Ints) -> Ints:
    """+1 where a threshold is too low, -1 where it is too high, 0 where it is proved."""
    too_low = (at <= high) & (rounding.evaluate(np.minimum(at, high), channel) < wanted)
    too_high = (at > low) & (rounding.evaluate(np.maximum(at - 1, low), channel) >= wanted)
    return too_low.astype(np.int64) - too_high


def table_thresholds(table: Ints) -> Thresholds:
    """Thresholds of one non-decreasing table of stored outputs over the inputs ``0..len(table) - 1``.

    Only levels above the least output count: the caller clamps below them.
    """
    level = np.arange(int(table[0]) + 1, int(table[-1]) + 1, dtype=np.int64)
    at = np.searchsorted(table, level, side="left").astype(np.int64)[None, :]
    # between the first and the last step: beyond them the function is clamped
    run = int(at[0, -1] - at[0, 0]) if level.size else 0
    slope = np.array([(level.size - 1) / run if run else float(level.size)])
    return Thresholds(level, at, np.array([0], np.int64), np.array([len(table) - 1], np.int64), slope)
