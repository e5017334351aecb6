"""The frameworks' fixed-point building blocks, literally, on int64 numpy arrays.

The C++ kernels work on int32 and leave the result of an overflow undefined. Here every function takes int64 and extends
the same formula to all of int64: exact up to ``±2**61`` before the multiplication and saturated beyond, so every
function of the accumulator is defined and monotone, and equals the kernel wherever the kernel's own int32 arithmetic
does not overflow.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from mpc_bridge.errors import UnsupportedModelError

Ints = npt.NDArray[np.int64]
IntsLike = npt.ArrayLike

_SATURATION_BITS = 61


def round_half_away(x: npt.ArrayLike) -> npt.NDArray[np.floating]:
    """C's ``round``: to the nearest integer, ties away from zero; float32 stays float32, the rest is float64."""
    values = np.asarray(x)
    if values.dtype != np.float32:
        values = values.astype(np.float64)
    whole = np.trunc(values)
    # values - whole is exact, where adding a half first would round 0.49999999999999994 up
    rounded: npt.NDArray[np.floating] = np.where(np.abs(values - whole) >= 0.5, whole + np.copysign(1, values), whole)
    return rounded.astype(values.dtype, copy=False)


def quantize_multiplier(d: float) -> tuple[int, int]:
    """QM: ``d`` as ``q * 2**(shift - 31)`` with ``2**30 <= q < 2**31``, or ``(0, 0)`` when ``d`` is below ``2**-32``.

    Args:
        d: finite, not negative.

    Returns:
        ``(q, shift)``; ``shift`` is at least -31, and not bounded above.

    Raises:
        UnsupportedModelError: ``d`` is negative, infinite or NaN.
    """
    if not math.isfinite(d) or d < 0:
        raise UnsupportedModelError(
            f"a multiplier of {d} cannot be quantized", hint="scales must be finite and positive")
    if d == 0:
        return 0, 0
    fraction, shift = math.frexp(d)
    scaled = fraction * 2**31
    q = math.floor(scaled)
    if scaled - q >= 0.5:
        q += 1
    if q == 2**31:
        q //= 2
        shift += 1
    return (0, 0) if shift < -31 else (q, shift)


def srdhm(a: IntsLike, b: IntsLike) -> Ints:
    """SRDHM: ``(a*b + 2**30) >> 31``, half up for both signs, without overflow.

    Args:
        a: ``|a| <= 2**61``.
        b: ``0 <= b < 2**31`` (or, for ``|a| <= 2**31``, any int32).

    Returns:
        int64, broadcast.
    """
    left = np.asarray(a, np.int64)
    right = np.asarray(b, np.int64)
    # a = high * 2**31 + low with 0 <= low < 2**31: high * b is a multiple of the divisor and leaves the floor exact
    high = left >> 31
    low = left & (2**31 - 1)
    return np.asarray(high * right + ((low * right + 2**30) >> 31), np.int64)


def rdbpot(v: IntsLike, exponent: IntsLike) -> Ints:
    """RDBPOT: ``v / 2**exponent`` to the nearest integer, ties away from zero. ``0 <= exponent <= 61``."""
    values = np.asarray(v, np.int64)
    shift = np.asarray(exponent, np.int64)
    half = np.where(shift > 0, np.int64(1) << np.maximum(shift - 1, 0), 0)
    return np.asarray((values + half - ((values < 0) & (shift > 0))) >> shift, np.int64)


def mbqm(x: IntsLike, q: IntsLike, shift: IntsLike) -> Ints:
    """MBQM, TFLite's MultiplyByQuantizedMultiplier with double rounding: ``RDBPOT(SRDHM(x << L, q), R)``.

    Monotone in ``x``. ``x << L`` saturates at ``±2**61``, where TFLite's int32 overflows long before.

    Args:
        x: any int64.
        q, shift: of :func:`quantize_multiplier`; scalars or arrays that broadcast with ``x``.

    Raises:
        UnsupportedModelError: a shift above 30, which the framework does not define.
    """
    exponent = np.asarray(shift, np.int64)
    if np.any(exponent > 30) or np.any(exponent < -31):
        raise UnsupportedModelError(
            f"a quantized multiplier's shift of {int(np.max(exponent))} is outside [-31, 30]",
            hint="the ratio of the op's scales is too extreme for the framework's int32 arithmetic")
    left = np.maximum(exponent, 0)
    limit = np.int64(1) << (_SATURATION_BITS - left)
    shifted = np.clip(np.asarray(x, np.int64), -limit, limit) << left
    return rdbpot(srdhm(shifted, q), np.maximum(-exponent, 0))


def exact_ratio(multiplier: float, count: int = 1) -> tuple[int, int]:
    """``multiplier / count`` as numerator and denominator for :func:`half_even`, exactly.

    A denominator of ``2**63`` or more makes every product below a half, and the ratio 0 stands for it.

    Args:
        multiplier: finite, not negative, of at most 31 significant bits, below ``2**30``.
        count: positive; a sum of more than ``2**23`` 8-bit values may be beyond what :func:`half_even` is exact for.

    Returns:
        ``(n, d)``, ``0 <= n < 2**31``, ``0 < d < 2**63``.

    Raises:
        UnsupportedModelError: the multiplier is none of these, or the count is greater than that.
    """
    if count > 2**23:
        raise UnsupportedModelError(f"a mean of {count} values", hint="at most 2**23 are supported")
    ratio = Fraction(multiplier) / count if math.isfinite(multiplier) and multiplier >= 0 else Fraction(2**31)
    if ratio.numerator >= 2**31:
        raise UnsupportedModelError(
            f"a multiplier of {multiplier!r} is not a number of 31 bits", hint="scales must be finite and positive")
    return (0, 1) if ratio.denominator >= 2**63 else (ratio.numerator, ratio.denominator)


def rounded_half_even(numerator: IntsLike, denominator: IntsLike) -> Ints:
    """``numerator / denominator`` to the nearest integer, ties to even; ``0 < denominator``; any int64."""
    n, d = np.asarray(numerator, np.int64), np.asarray(denominator, np.int64)
    floor = n // d
    rest = n - floor * d
    return np.asarray(floor + ((rest > d - rest) | ((rest == d - rest) & (floor & 1 == 1))), np.int64)


def half_even(x: IntsLike, numerator: IntsLike, denominator: IntsLike) -> Ints:
    """``x * numerator / denominator`` to the nearest integer, ties to even, on the exact rational. Monotone in ``x``.

    Args:
        x: any int64; saturates where its product with the numerator is beyond ``±2**62``.
        numerator, denominator: of :func:`exact_ratio`; scalars or arrays that broadcast with ``x``.
    """
    n = np.asarray(numerator, np.int64)
    limit = 2**62 // np.maximum(n, 1)
    return rounded_half_even(np.clip(np.asarray(x, np.int64), -limit, limit) * n, denominator)


def requantize(acc: IntsLike, rule: str, multiplier: npt.ArrayLike, zero_point: int, low: int, high: int) -> Ints:
    """One accumulator to one output: ``clamp(round(acc * multiplier) + zero_point, low, high)``, rounded by ``rule``.

    Monotone in ``acc`` for every rule. For ``"float64_half_away"`` an accumulator beyond ``±2**53`` is first rounded to
    a double, as the C++ conversion does.

    Args:
        acc: any int64.
        rule: ``"mbqm"``, ``"half_even"`` or ``"float64_half_away"``, see :mod:`mpc_bridge.circuit.ops`.
        multiplier: real multipliers, float64, a scalar or an array that broadcasts with ``acc`` ([C] when per channel).
        zero_point, low, high: of the output's type.

    Returns:
        int64 in ``[low, high]``, broadcast.

    Raises:
        UnsupportedModelError: an unknown rule, or a multiplier the rule does not define.
    """
    values = np.asarray(acc, np.int64)
    if rule == "mbqm":
        multipliers = np.asarray(multiplier, np.float64)
        pairs = np.array([quantize_multiplier(float(m)) for m in multipliers.reshape(-1)], np.int64).reshape(-1, 2)
        scaled = mbqm(values, pairs[:, 0].reshape(multipliers.shape), pairs[:, 1].reshape(multipliers.shape))
    elif rule == "half_even":
        multipliers = np.asarray(multiplier, np.float64)
        ratios = np.array([exact_ratio(float(m)) for m in multipliers.reshape(-1)], np.int64).reshape(-1, 2)
        scaled = half_even(values, ratios[:, 0].reshape(multipliers.shape), ratios[:, 1].reshape(multipliers.shape))
    elif rule == "float64_half_away":
        products = round_half_away(values.astype(np.float64) * np.asarray(multiplier, np.float64))
        scaled = np.clip(products, -(2.0**_SATURATION_BITS), 2.0**_SATURATION_BITS).astype(np.int64)
    else:
        raise UnsupportedModelError(f"an integer accumulator has no rounding rule {rule!r}")
    return np.asarray(np.clip(scaled + zero_point, low, high), np.int64)
