"""The two-slope search for ADD: exact on every pair of bytes, or honest that there is nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mpc_bridge.circuit.fixedpoint import mbqm, quantize_multiplier
from mpc_bridge.lowering.sum_constants import SumConstants, search_sum
from mpc_bridge.lowering.thresholds import Ints


def framework_add(scales: tuple[float, float, float], zeros: tuple[int, int, int], low: int) -> Ints:
    """TFLite's ADD of every pair of uint8 values, stored from ``low``."""
    first, second, out = scales
    twice = 2 * max(first, second)
    x = np.arange(256, dtype=np.int64)
    left = mbqm((x - zeros[0]) << 20, *quantize_multiplier(first / twice))
    right = mbqm((x - zeros[1]) << 20, *quantize_multiplier(second / twice))
    total = mbqm(left[:, None] + right[None], *quantize_multiplier(twice / (2**20 * out)))
    return np.clip(total + zeros[2], low, 255) - low


def apply(found: SumConstants, tie_zero: int, high: int) -> Ints:
    x = np.arange(256, dtype=np.int64)
    constants = found.constants
    z = x[:, None] * found.coefficients[0] + x[None] * found.coefficients[1] + constants.constant[0]
    assert np.all(z < 1 << constants.bits - 1) and np.all(z >= -(1 << constants.bits - 1))
    q = z >> constants.shift
    if constants.delta:
        q = np.where(q <= tie_zero, (z - constants.delta[0]) >> constants.shift, q)
    return np.clip(q, 0, high)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_calibrated_scales_have_one_exact_form(data: st.DataObject) -> None:
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    first, second = (float(np.float32(s)) for s in np.exp(generator.uniform(-5, -1, 2)))
    out = float(np.float32(max(first, second) * generator.uniform(0.8, 2)))
    zeros = tuple(int(z) for z in generator.integers(0, 256, 3))
    low = data.draw(st.sampled_from([0, zeros[2]]))
    table = framework_add((first, second, out), (zeros[0], zeros[1], zeros[2]), low)
    found = search_sum(table, 0, 255 - low, (first / out, second / out), zeros[2] - low)
    assume(found is not None)  # the next test says how rare the others are
    assert found is not None
    np.testing.assert_array_equal(apply(found, zeros[2] - low, 255 - low), table)


def test_nearly_every_calibrated_add_has_one() -> None:
    generator = np.random.default_rng(11)
    bits = []
    for _ in range(40):
        first, second = (float(np.float32(s)) for s in np.exp(generator.uniform(-5, -1, 2)))
        out = float(np.float32(max(first, second) * generator.uniform(0.8, 2)))
        zeros = tuple(int(z) for z in generator.integers(0, 256, 3))
        table = framework_add((first, second, out), (zeros[0], zeros[1], zeros[2]), 0)
        found = search_sum(table, 0, 255, (first / out, second / out), zeros[2])
        if found is not None:
            np.testing.assert_array_equal(apply(found, zeros[2], 255), table)
            bits.append(found.constants.bits)
    assert len(bits) >= 38
    assert max(bits) <= 34


@pytest.mark.parametrize("tie", [False, True])
def test_a_sum_whose_ties_go_away_from_zero_needs_the_rule(tie: bool) -> None:
    x = np.arange(256, dtype=np.int64)
    doubled = x[:, None] + x[None] - 200
    halved = np.where(doubled >= 0, (doubled + 1) >> 1, -((-doubled + 1) >> 1))
    table = np.clip(halved + 100, 0, 255)
    found = search_sum(table, 0, 255, (0.5, 0.5), 100 if tie else None)
    if found is None:
        assert not tie
    else:
        np.testing.assert_array_equal(apply(found, 100, 255), table)


def test_a_bent_table_has_none() -> None:
    x = np.arange(256, dtype=np.int64)
    table = np.minimum(x[:, None] + x[None] // 2, 255)
    bent = np.where(table > 100, np.minimum(100 + (table - 100) // 3, 255), table)
    assert search_sum(bent, 0, 255, (1.0, 0.5), 50) is None
