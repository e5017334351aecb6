"""Thresholds and requantise constants: exact against the frameworks' literal functions, near every step and beyond."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc_bridge.circuit.fixedpoint import mbqm, quantize_multiplier, requantize
from mpc_bridge.errors import UnsupportedModelError
from mpc_bridge.lowering.constants import Constants, agrees, search
from mpc_bridge.lowering.linear import with_bias
from mpc_bridge.lowering.thresholds import (
    INT32_REACH,
    Ints,
    Rounding,
    Thresholds,
    average,
    find_thresholds,
    mean,
    multiplied,
    table_thresholds,
)


def apply(constants: Constants, acc: Ints, base: int, high: int, tie_zero: int | None) -> Ints:
    """Framework output of the fused form, in Python integers, and a check that N bits hold every intermediate."""
    out = np.empty(acc.shape, np.int64)
    for c, row in enumerate(acc):
        for i, a in enumerate(row.tolist()):
            z = a * constants.multiplier[c] + constants.constant[c]
            assert -(1 << constants.bits - 1) <= z < 1 << constants.bits - 1
            q = z >> constants.shift
            if constants.delta and tie_zero is not None and q <= tie_zero:
                q = (z - constants.delta[c]) >> constants.shift
            out[c, i] = min(max(q, 0), high) + base
    return out


def probes(thresholds: Thresholds, generator: np.random.Generator) -> Ints:
    """Per channel: accumulators on both sides of every step, both ends, zero's neighbours and random ones."""
    near = np.concatenate([thresholds.at + d for d in (-2, -1, 0, 1)], axis=1)
    wide = generator.integers(thresholds.least, thresholds.greatest + 1, (64, len(thresholds.least))).T
    ends = np.stack([thresholds.least, thresholds.greatest, *(0 * thresholds.least + d for d in (-1, 0, 1))], axis=1)
    points = np.concatenate([near, wide, ends], axis=1)
    return np.clip(points, thresholds.least[:, None], thresholds.greatest[:, None])


def linear_layer(rounding: Rounding, reach: int) -> Thresholds:
    ends = np.full(rounding.channels, INT32_REACH, np.int64)
    thresholds = find_thresholds(rounding, rounding.low, -ends, ends)
    return with_bias(thresholds, reach)[0]


@pytest.mark.parametrize("rule", ["mbqm", "float64_half_away"])
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_linear_layers_are_exact_for_any_scale_and_clamp(rule: str, data: st.DataObject) -> None:
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    exponent = data.draw(st.floats(-17, 3))
    multipliers = np.exp2(exponent + generator.uniform(-3, 0, data.draw(st.integers(1, 5))))
    zero = data.draw(st.integers(-128, 127))
    low = data.draw(st.sampled_from([-128, zero]))
    high = data.draw(st.integers(low, 127))
    reach = data.draw(st.integers(1, 2**21))
    thresholds = linear_layer(multiplied(multipliers, rule, zero, low, high), reach)
    constants = search(thresholds, zero - low)
    assert constants is not None
    assert (low < zero) or not constants.delta
    acc = probes(thresholds, generator)
    expected = requantize(acc, rule, multipliers[:, None], zero, low, high)
    np.testing.assert_array_equal(apply(constants, acc, low, high - low, zero - low), expected)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_thresholds_are_where_the_function_steps(data: st.DataObject) -> None:
    multiplier = np.exp2(data.draw(st.floats(-33, 20)))
    zero, reach = data.draw(st.integers(0, 255)), data.draw(st.integers(0, 2**31))
    ends = np.array([reach], np.int64)
    found = find_thresholds(multiplied((multiplier,), "mbqm", zero, 0, 255), 0, -ends, ends)
    for level, at in zip(found.level.tolist(), found.at[0].tolist(), strict=True):
        assert -reach <= at <= reach + 1
        assert at > reach or int(requantize(at, "mbqm", multiplier, zero, 0, 255)) >= level
        assert at == -reach or int(requantize(at - 1, "mbqm", multiplier, zero, 0, 255)) < level


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_mean_is_exact_on_every_sum(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 60))
    multiplier = np.exp2(data.draw(st.floats(-4, 3)))
    zero_in, zero = data.draw(st.integers(0, 255)), data.draw(st.integers(0, 255))
    q, shift = quantize_multiplier(multiplier)
    fold = min(count.bit_length() - 1, 32, 31 + shift)
    sums = np.arange(count * 255 + 1, dtype=np.int64)[None]
    expected = np.clip(mbqm(sums - count * zero_in, (q << fold) // count, shift - fold) + zero, 0, 255)
    rounding = mean(multiplier, count, -count * zero_in, zero, 0, 255)
    constants = search(find_thresholds(rounding, 0, sums[:, 0], sums[:, -1]), zero)
    assert constants is not None
    np.testing.assert_array_equal(apply(constants, sums, 0, 255, zero), expected)


@pytest.mark.parametrize("offset", [-128, 0])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 8, 9, 25, 36, 49])
def test_average_pool_is_one_affine_floor_on_every_sum(count: int, offset: int) -> None:
    sums = np.arange(count * 255 + 1, dtype=np.int64)[None]
    raw = sums[0] + count * offset
    # C's division truncates; the int8 kernel moves half a count away from zero first
    expected = [int((total + (count // 2 if total > 0 or offset == 0 else -(count // 2))) / count) for total in raw]
    rounding = average(np.array([count]), offset, offset < 0, offset, offset + 255)
    constants = search(find_thresholds(rounding, offset, sums[:, 0], sums[:, -1]), None)
    assert constants is not None and not constants.delta
    np.testing.assert_array_equal(apply(constants, sums, offset, 255, None)[0], expected)


def test_deltas_differ_between_channels_of_different_scale() -> None:
    multipliers = np.array([0.003, 0.0007, 0.0021])
    thresholds = linear_layer(multiplied(multipliers, "mbqm", 5, -128, 127), 9 * 255 * 128)
    constants = search(thresholds, 133)
    assert constants is not None and len(set(constants.delta)) == 3
    assert all(delta % (1 << constants.tie_bit) == 0 and delta < 1 << constants.shift for delta in constants.delta)
    # without the rule the same constants are wrong: the ties are real
    assert not agrees(constants, thresholds, -1)
    assert search(thresholds, None) is None


def test_agrees_refuses_constants_that_are_off_by_one_unit_of_the_accumulator() -> None:
    thresholds = linear_layer(multiplied((0.0123,), "mbqm", -128, -128, 127), 1000)
    good = search(thresholds, None)
    assert good is not None and agrees(good, thresholds, None)
    for shift in (-good.multiplier[0], good.multiplier[0]):
        moved = Constants(good.multiplier, (good.constant[0] + shift,), good.shift, good.bits)
        assert not agrees(moved, thresholds, None)


@pytest.mark.parametrize("multiplier", [0.0123, 0.00031, 0.9])
def test_no_smaller_shift_is_exact(multiplier: float) -> None:
    thresholds = linear_layer(multiplied((multiplier,), "mbqm", -128, -128, 127), 50)
    found = search(thresholds, None)
    assert found is not None
    shift = found.shift - 1
    at, level = thresholds.at[0].astype(object), thresholds.level.astype(object)
    for m in range(int(multiplier * 2**shift) - 300, int(multiplier * 2**shift) + 300):
        least = max(u * 2**shift - t * m for u, t in zip(level, at, strict=True))
        greatest = min(u * 2**shift - (t - 1) * m for u, t in zip(level, at, strict=True)) - 1
        assert least > greatest


def test_constant_functions_need_no_slope() -> None:
    ends = np.array([10**6], np.int64)
    vanishing = find_thresholds(multiplied((2.0**-40,), "mbqm", 17, 0, 255), 0, -ends, ends)
    constants = search(vanishing, 17)
    assert constants is not None
    assert set(apply(constants, np.array([[-(10**6), -1, 0, 1, 10**6]]), 0, 255, 17)[0].tolist()) == {17}


def test_tables_that_step_irregularly_have_no_constants() -> None:
    steady = np.clip((np.arange(256) * 3 + 7) >> 2, 0, 150).astype(np.int64)
    assert search(table_thresholds(steady), None) is not None
    bent = np.where(np.arange(256) < 100, np.arange(256), 100 + (np.arange(256) - 100) // 7).astype(np.int64)
    assert search(table_thresholds(bent), None) is None


def test_ties_that_floats_break_either_way_have_none() -> None:
    # 5 * 0.7 is 3.5 and 45 * 0.7 is 31.499999999999996 in float64
    assert requantize([5, 45], "float64_half_away", 0.7, 0, -128, 127).tolist() == [4, 31]
    assert search(linear_layer(multiplied((0.7,), "float64_half_away", 0, -128, 127), 1000), 128) is None


def test_a_function_unlike_its_slope_is_refused() -> None:
    straight = multiplied((0.01,), "mbqm", 0, -128, 127)
    wrong = Rounding(straight.evaluate, straight.slope * 2, straight.origin, 0, -128, 127)
    ends = np.array([2**20], np.int64)
    with pytest.raises(UnsupportedModelError, match="does not follow its own multiplier"):
        find_thresholds(wrong, -128, -ends, ends)
