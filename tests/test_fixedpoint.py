"""The building blocks against Python integers and rationals, and against the C code's own case distinctions."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mpc_bridge.circuit import fixedpoint as fp
from mpc_bridge.errors import UnsupportedModelError

INT32 = st.integers(-(2**31), 2**31 - 1)
Q = st.integers(2**30, 2**31 - 1)


def truncating(a: int, b: int) -> int:
    """C's integer division for ``b > 0``."""
    return a // b if a >= 0 else -((-a) // b)


def c_srdhm(a: int, b: int) -> int:
    """gemmlowp's SaturatingRoundingDoublingHighMul, case by case."""
    product = a * b
    return truncating(product + (2**30 if product >= 0 else 1 - 2**30), 2**31)


def c_rdbpot(x: int, exponent: int) -> int:
    """gemmlowp's RoundingDivideByPOT, mask and threshold."""
    mask = (1 << exponent) - 1
    remainder = x & mask
    threshold = (mask >> 1) + (1 if x < 0 else 0)
    return (x >> exponent) + (1 if remainder > threshold else 0)


@given(INT32, Q)
@example(-(2**31), 2**31 - 1)
@example(-1, 2**30)
@example(1, 2**30)
def test_srdhm_is_the_c_code(a: int, b: int) -> None:
    assert int(fp.srdhm(a, b)) == c_srdhm(a, b)


@given(INT32, st.integers(0, 31))
@example(-1, 1)
@example(-3, 1)
@example(3, 1)
@example(2**31 - 1, 31)
@example(-(2**31), 31)
def test_rdbpot_is_the_c_code(x: int, exponent: int) -> None:
    assert int(fp.rdbpot(x, exponent)) == c_rdbpot(x, exponent)


@given(st.integers(-(2**50), 2**50), Q, st.integers(-31, 11))
def test_mbqm_is_exact_far_beyond_int32(x: int, q: int, shift: int) -> None:
    left, right = max(shift, 0), max(-shift, 0)
    assert int(fp.mbqm(x, q, shift)) == c_rdbpot(c_srdhm(x << left, q), right)


@given(st.integers(-(2**31), 2**31 - 1), Q, st.integers(-31, -1))
def test_double_rounding_collapses_to_one_shift(x: int, q: int, shift: int) -> None:
    right = -shift
    product = x * q + 2**30
    collapsed = (product + 2 ** (30 + right) - (2**31 if product < 0 else 0)) >> (31 + right)
    assert int(fp.mbqm(x, q, shift)) == collapsed


@given(st.integers(-(2**63), 2**63 - 2), Q, st.integers(-31, 30))
def test_mbqm_is_monotone_over_all_of_int64(x: int, q: int, shift: int) -> None:
    low, high = fp.mbqm(np.array([x, x + 1]), q, shift).tolist()
    assert low <= high


@given(st.floats(2.0**-40, 2.0**40))
@example(0.9999999999999999)
@example(2.0**-32)
@example(2.0**-33)
def test_quantize_multiplier_rounds_the_fraction(d: float) -> None:
    q, shift = fp.quantize_multiplier(d)
    if q == 0:
        assert shift == 0 and d < 2.0**-32
        return
    assert 2**30 <= q < 2**31 and shift >= -31
    error = abs(Fraction(q) * Fraction(2) ** (shift - 31) - Fraction(d))
    assert error <= Fraction(1, 2) * Fraction(2) ** (shift - 31)


@pytest.mark.parametrize("d", [-1.0, math.inf, math.nan])
def test_quantize_multiplier_refuses_what_is_no_scale(d: float) -> None:
    with pytest.raises(UnsupportedModelError):
        fp.quantize_multiplier(d)


def test_mbqm_refuses_a_shift_the_framework_does_not_define() -> None:
    with pytest.raises(UnsupportedModelError, match="31"):
        fp.mbqm(1, 2**30, 31)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_round_half_away(dtype: type[np.floating]) -> None:
    below = np.nextafter(dtype(0.5), dtype(0))
    x = np.array([0.5, -0.5, 1.5, -1.5, 2.5, -2.5, below, -below, 0.0, 2**23 + 1, -3.4], dtype)
    rounded = fp.round_half_away(x)
    assert rounded.dtype == dtype
    assert rounded.tolist() == [1, -1, 2, -2, 3, -3, 0, 0, 0, 2**23 + 1, -3]


@given(st.integers(-(2**50), 2**50), st.floats(2.0**-30, 2.0**10), st.integers(-128, 127))
def test_float64_rule_is_c_round_of_the_double_product(acc: int, m: float, zero_point: int) -> None:
    product = Fraction(float(acc) * m)
    magnitude = math.floor(abs(product) + Fraction(1, 2))
    expected = min(max((magnitude if product >= 0 else -magnitude) + zero_point, -128), 127)
    assert int(fp.requantize(acc, "float64_half_away", m, zero_point, -128, 127)) == expected


@pytest.mark.parametrize(("rule", "minus_two_and_a_half"), [("mbqm", -2), ("half_even", -2), ("float64_half_away", -3)])
def test_requantize_broadcasts_channels_and_clamps(rule: str, minus_two_and_a_half: int) -> None:
    acc = np.array([[3, 3], [-5, -5], [2**50, -(2**50)]])
    out = fp.requantize(acc, rule, [0.5, 1.0], 1, -10, 10)
    assert out.tolist() == [[3, 4], [minus_two_and_a_half + 1, -4], [10, -10]]


@settings(max_examples=500, deadline=None)
@given(
    st.one_of(st.integers(-(2**31), 2**31), st.integers(-(2**62), 2**62)),
    st.one_of(st.integers(0, 2**31 - 1), st.integers(0, 2**8)),
    st.integers(0, 100), st.integers(1, 2**23),
)
def test_half_even_is_the_rounded_rational(acc: int, numerator: int, power: int, count: int) -> None:
    multiplier = math.ldexp(numerator, -power)
    if multiplier >= 2**30:
        return
    n, d = fp.exact_ratio(multiplier, count)
    # what the ratio 0 stands for has a numerator too, up to which every product is below a half
    limit = 2**62 // max((Fraction(multiplier) / count).numerator, 1)
    # Python's round is half to even, and exact on fractions
    assert int(fp.half_even(acc, n, d)) == round(max(min(acc, limit), -limit) * Fraction(multiplier) / count)


@pytest.mark.parametrize(
    ("multiplier", "count"), [(1 + 2.0**-31, 1), (2.0**31, 1), (float("nan"), 1), (-1.0, 1), (0.5, 2**23 + 1)])
def test_what_no_ratio_of_31_bits_stands_for_is_refused(multiplier: float, count: int) -> None:
    with pytest.raises(UnsupportedModelError):
        fp.exact_ratio(multiplier, count)


def test_an_unknown_rule_is_named() -> None:
    with pytest.raises(UnsupportedModelError, match="half_down"):
        fp.requantize(1, "half_down", 1.0, 0, -128, 127)
