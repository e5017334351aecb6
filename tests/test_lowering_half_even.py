"""Half to even as constants: the parity form of the search, exact on every accumulator, and whole circuits of it."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc_bridge.circuit.fixedpoint import exact_ratio, requantize, rounded_half_even
from mpc_bridge.errors import UnsupportedModelError
from mpc_bridge.lowering import lower
from mpc_bridge.lowering.constants import Constants, Parity, Tie, agrees, search, tie_of
from mpc_bridge.lowering.linear import with_bias
from mpc_bridge.lowering.program import Lookup, Move, Requantize
from mpc_bridge.lowering.sum_constants import search_sum
from mpc_bridge.lowering.thresholds import INT32_REACH, Ints, Thresholds, find_thresholds, multiplied, rational
from tests.float_nets import FloatNet
from tests.test_lowering_rescale import check


def apply(constants: Constants, acc: Ints, high: int, tie: Tie) -> Ints:
    """Stored output of the fused form as a Requantize defines it, in Python integers; N bits hold everything."""
    out = np.empty(acc.shape, np.int64)
    for c, row in enumerate(acc):
        for i, a in enumerate(row.tolist()):
            z = a * constants.multiplier[c] + constants.constant[c]
            q = z >> constants.shift
            if constants.delta:
                assert isinstance(tie, Parity)
                assert -(1 << constants.bits - 1) <= z - constants.delta[c]
                if q % 2 == tie.value and (z - constants.delta[c]) >> constants.shift != q:
                    q -= 1
            assert -(1 << constants.bits - 1) <= z < 1 << constants.bits - 1
            out[c, i] = min(max(q, 0), high)
    return out


def probes(thresholds: Thresholds, generator: np.random.Generator) -> Ints:
    """Both sides of every step, both ends, and random ones."""
    near = np.concatenate([thresholds.at + d for d in (-2, -1, 0, 1)], axis=1)
    wide = generator.integers(thresholds.least, thresholds.greatest + 1, (64, len(thresholds.least))).T
    points = np.concatenate([near, wide, np.stack([thresholds.least, thresholds.greatest], axis=1)], axis=1)
    return np.clip(points, thresholds.least[:, None], thresholds.greatest[:, None])


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_linear_layers_are_exact_for_any_scale_and_clamp(data: st.DataObject) -> None:
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    exponent = data.draw(st.floats(-17, 3))
    # few significant bits make exact ties, float32 ones nearly never
    bits = data.draw(st.sampled_from([1, 2, 5, 24, 31]))
    fractions, exponents = np.frexp(np.exp2(exponent + generator.uniform(-3, 0, data.draw(st.integers(1, 4)))))
    multipliers = np.ldexp(np.rint(fractions * 2**bits), exponents - bits)
    zero = data.draw(st.integers(-128, 127))
    low = data.draw(st.sampled_from([-128, zero]))
    high = data.draw(st.integers(low, 127))
    ends = np.full(len(multipliers), INT32_REACH, np.int64)
    thresholds = find_thresholds(multiplied(multipliers, "half_even", zero, low, high), low, -ends, ends)
    thresholds = with_bias(thresholds, data.draw(st.integers(1, 2**21)))[0]
    tie = tie_of("half_even", zero - low)
    constants = search(thresholds, tie)
    assert constants is not None
    acc = probes(thresholds, generator)
    expected = requantize(acc, "half_even", multipliers[:, None], zero, low, high) - low
    np.testing.assert_array_equal(apply(constants, acc, high - low, tie), expected)


@pytest.mark.parametrize("zero", [-128, -3, 0, 6])
@pytest.mark.parametrize("multiplier", [0.5, 0.25, 1.5, 2.5, 0.75, 0.125])
def test_ties_of_both_signs_go_to_even(multiplier: float, zero: int) -> None:
    acc = np.arange(-3000, 3001)[None]
    thresholds = find_thresholds(
        multiplied((multiplier,), "half_even", zero, -128, 127), -128, acc[:, 0], acc[:, -1])
    tie = tie_of("half_even", zero + 128)
    constants = search(thresholds, tie)
    assert constants is not None and constants.delta
    exact = [min(max(round(Fraction(multiplier) * a) + zero, -128), 127) + 128 for a in acc[0].tolist()]
    assert apply(constants, acc, 255, tie)[0].tolist() == exact
    # the other parity is wrong, and the proof says so
    assert isinstance(tie, Parity)
    assert not agrees(constants, thresholds, Parity(1 - tie.value))
    assert not agrees(replace(constants, delta=(), tie_bit=0), thresholds, None)


def test_no_tie_no_parity() -> None:
    # an odd numerator over 2**40: a tie needs an accumulator of 2**39
    multiplier = (2**30 + 1) / 2**40
    ends = np.array([2**21])
    thresholds = find_thresholds(multiplied((multiplier,), "half_even", 0, -128, 127), -128, -ends, ends)
    constants = search(thresholds, tie_of("half_even", 128))
    assert constants is not None and not constants.delta


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_means_are_exact_on_every_sum(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 60))
    ratio = data.draw(st.sampled_from([1.0, 0.5, 2.0, float(np.float32(data.draw(st.floats(0.1, 4.0))))]))
    zero_in, zero = data.draw(st.integers(0, 255)), data.draw(st.integers(0, 255))
    n, d = exact_ratio(ratio, count)
    sums = np.arange(count * 255 + 1, dtype=np.int64)[None]
    expected = np.clip(rounded_half_even((sums - count * zero_in) * n, d) + zero, 0, 255)
    rounding = rational(np.array([n]), np.array([d]), zero, 0, 255, np.array([-count * zero_in]))
    tie = tie_of("half_even", zero)
    constants = search(find_thresholds(rounding, 0, sums[:, 0], sums[:, -1]), tie)
    assert constants is not None
    np.testing.assert_array_equal(apply(constants, sums, 255, tie), expected)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_sums_of_two_bytes_are_exact_on_every_pair(data: st.DataObject) -> None:
    bits = data.draw(st.sampled_from([1, 3, 24]))
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    shift = bits + data.draw(st.integers(0, 2))
    m = generator.integers(1, 2**bits + 1, 2)
    zero = int(generator.integers(-128, 128))
    x = np.arange(-128, 128, dtype=np.int64)
    table = np.clip(rounded_half_even(x[:, None] * m[0] + x * m[1], np.int64(2**shift)) + zero, -128, 127) + 128
    tie = tie_of("half_even", zero + 128)
    found = search_sum(table, 0, 255, (float(m[0]) / 2**shift, float(m[1]) / 2**shift), tie)
    if found is None:
        return
    u = np.arange(256, dtype=np.int64)
    acc = (u[:, None] * found.coefficients[0] + u * found.coefficients[1]).reshape(1, -1)
    np.testing.assert_array_equal(apply(found.constants, acc, 255, tie).reshape(256, 256), table)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32))
def test_random_circuits(seed: int) -> None:
    net = FloatNet("int8", seed)
    x = net.input((1, 6, 5, 4), dtype=str(net.rng.choice(["int8", "uint8"])))
    first = net.convolved(x, 6, rule="half_even", biased=bool(seed % 2))
    deep = net.convolved(first, 6, rule="half_even", depthwise=True)
    short = (2.0**-6, 0.75 * 2**-6, 2.0**-7, 0.02001953125)
    grouped = net.convolved(deep, 4, rule="half_even", groups=2, multipliers=short)
    low, high = net.bounds(output := net.activation((1, 3, 3, 4)))
    pooled = net.op("AVERAGE", (grouped,), output, window=(2, 2), stride=(2, 2), padding=((0, 0), (1, 0)),
                    count_include_pad=bool(seed % 3), divisor=0, requantization=("half_even", (1.0,), low, high))
    low, high = net.bounds(output := net.activation((1, 4)))
    mean = net.op("MEAN", (pooled,), output, axes=(1, 2), keep_dims=False,
                  requantization=("half_even", (float(np.float32(net.rng.uniform(0.5, 2))),), low, high))
    low, high = net.bounds(output := net.activation((1, 4)))
    quantized = net.op("QUANTIZE", (mean,), output, requantization=("half_even", (1.5,), low, high))
    program = check(net, net.circuit(net.floats("DEQUANTIZE", quantized)), 2)
    assert len(program.tails[0].ops) == 1


@pytest.mark.parametrize("target", ["int8", "uint8"])
def test_tables_are_the_cheapest_exact_form(target: str) -> None:
    shift = 0 if target == "int8" else 128
    for entries, kind in (
        (tuple(v + shift for v in range(-128, 128)), Move),
        (tuple(v // 3 + shift for v in range(-128, 128)), Requantize),
        (tuple((v * v) % 97 + shift - 50 for v in range(-128, 128)), Lookup),
    ):
        net = FloatNet()
        x = net.input((256,))
        circuit = net.circuit(net.op("TABLE", (x,), net.activation((256,), target), table=entries))
        program = check(net, circuit)
        assert any(isinstance(step, kind) for step in program.steps)


def test_a_quantization_after_the_receivers_floats_is_the_receivers() -> None:
    net = FloatNet()
    x = net.input((1, 7))
    floats = net.floats("FLOAT_SOFTMAX", net.floats("DEQUANTIZE", x), axis=1, log=False)
    output = net.tensor((1, 7), 1 / 256, -128, "int8")
    net.op("QUANTIZE", (floats,), output, requantization=("float32_divide_even", (1 / 256,), -128, 127))
    program = check(net, net.circuit(net.floats("DEQUANTIZE", output)))
    assert len(program.tails[0].ops) == 4
    assert lower(net.circuit(output)).steps == program.steps


def test_float_inputs_are_the_data_owners() -> None:
    for rule, multiplier in (("float32_divide_even", 0.5), ("float32_multiply_even", 2.0)):
        net = FloatNet()
        x = net.input((1, 7), dtype="float32")
        output = net.tensor((1, 7), 0.5, 3, "uint8")
        net.op("QUANTIZE", (x,), output, requantization=(rule, (multiplier,), 0, 255))
        check(net, net.circuit(net.rescale((output,), ((3,),), 2)))


def test_averages_of_too_many_sizes_are_refused() -> None:
    """Every number of cells has constants of its own: a small file must not ask for a million searches."""
    net = FloatNet("int8", 2)
    x = net.input((1, 128, 128, 1), 0.05, 0, "int8")
    output = net.tensor((1, 128, 128, 1), 0.05, 0, "int8")
    net.op("AVERAGE", (x,), output, window=(128, 128), stride=(1, 1), padding=((64, 63), (64, 63)),
           count_include_pad=False, divisor=0, requantization=("half_even", (1.0,), -128, 127))
    circuit = net.circuit(output)
    with pytest.raises(UnsupportedModelError, match="different numbers of cells"):
        lower(circuit)
