"""The reference of RESCALE, TABLE, AVERAGE, half to even and the receiver's floats, against exact fractions."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc_bridge.circuit import reference
from mpc_bridge.circuit.graph import INTEGER_RANGES
from mpc_bridge.circuit.ops import FLOAT_FUNCTIONS
from mpc_bridge.circuit.reference.operands import zero_point
from mpc_bridge.errors import InputError, UnsupportedModelError
from tests.float_nets import FloatNet


def run(net: FloatNet, output: int, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    """Random inputs, and the op's output on them."""
    inputs = net.sample(seed)
    return inputs, reference.evaluate(net.circuit(output), inputs)[0]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_rescale_is_the_rounded_rational(data: st.DataObject) -> None:
    net = FloatNet("int8", data.draw(st.integers(0, 2**32)))
    count, channels = data.draw(st.integers(1, 3)), 4
    terms = tuple(net.input((3, 4), zero=int(net.rng.integers(0, 100)), dtype=data.draw(
        st.sampled_from(["int8", "uint8"]))) for _ in range(count))
    bits = data.draw(st.sampled_from([1, 3, 8, 31]))
    shift = data.draw(st.integers(0, min(62, bits + 9)))
    multipliers = tuple(
        tuple(int(m) for m in net.rng.integers(1 - 2**bits, 2**bits, data.draw(st.sampled_from([1, channels]))))
        for _ in range(count))
    real = None
    bias = None
    if data.draw(st.booleans()):
        # a real bias, and the floor that stands for it: never a tie but when it is an integer itself
        real = [Fraction(int(net.rng.integers(-(10**9), 10**9)), 10**6) for _ in range(channels)]
        bias = [math.floor(b * 2**shift) for b in real]
    output = net.rescale(terms, multipliers, shift, bias=bias)
    inputs, got = run(net, output, 3)
    low, high = (int(net.ops[0].attributes[name]) for name in ("low", "high"))  # type: ignore[arg-type]
    for row in range(3):
        for channel in range(channels):
            z = sum(m[channel % len(m)] * (int(x[row, channel]) - zero_point(net.tensors[t]))
                    for m, x, t in zip(multipliers, inputs, terms, strict=True))
            if bias is None:
                rounded = round(Fraction(z, 2**shift))
            else:
                exact = Fraction(z + bias[channel], 2**shift)
                rounded = math.floor(exact + Fraction(1, 2))
                # what the framework rounds lies within the bias's last unit above
                assert real is not None
                framework = Fraction(z, 2**shift) + real[channel]
                assert exact <= framework < exact + Fraction(1, 2**shift)
                assert shift < 1 or rounded in (math.floor(framework + Fraction(1, 2)), round(framework))
            assert got[row, channel] == min(max(rounded + zero_point(net.tensors[output]), low), high)


def test_rescale_sums_of_more_than_61_bits_are_refused() -> None:
    net = FloatNet()
    x = net.input((1, 1, 1, 2**13))
    acc = net.convolved(x, 1, rule="none", kernel=1)
    circuit = net.circuit(net.rescale((acc,) * 64, ((2**31 - 1,),) * 64, 62))
    inputs = [np.full((1, 1, 1, 2**13), -128, np.int8)]
    weights = np.full((1, 1, 1, 2**13), 127, circuit.constants[circuit.ops[0].inputs[1]].dtype)
    circuit.constants[circuit.ops[0].inputs[1]] = weights  # type: ignore[index]
    with pytest.raises(UnsupportedModelError, match="61 bits"):
        reference.evaluate(circuit, inputs)


@pytest.mark.parametrize("source", ["int8", "uint8"])
@pytest.mark.parametrize("target", ["int8", "uint8"])
def test_table_entries_are_in_the_order_of_the_values(source: str, target: str) -> None:
    net = FloatNet()
    x = net.input((256,), dtype=source)
    low, high = INTEGER_RANGES[target]
    entries = tuple(int(v) for v in net.rng.integers(low, high + 1, 256))
    circuit = net.circuit(net.op("TABLE", (x,), net.activation((256,), target), table=entries))
    values = np.arange(*INTEGER_RANGES[source], dtype=np.int64).tolist() + [INTEGER_RANGES[source][1]]
    (output,) = reference.evaluate(circuit, [np.array(values).astype(source)])
    assert output.tolist() == list(entries) and output.dtype == target


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_average_is_the_rounded_rational(data: st.DataObject) -> None:
    net = FloatNet("int8", data.draw(st.integers(0, 2**32)))
    draw = data.draw
    size, window, stride, before, after = (
        [draw(st.integers(low, high)) for _ in range(2)] for low, high in ((2, 7), (1, 4), (1, 3), (0, 3), (0, 3)))
    before = [min(b, w - 1) for b, w in zip(before, window, strict=True)]
    after = [min(a, w - 1) for a, w in zip(after, window, strict=True)]
    extents, ceil_mode = [], draw(st.booleans())
    for i in range(2):
        room = size[i] + before[i] + after[i] - window[i]
        if room < 0:
            return
        count = room // stride[i] + 1
        # PyTorch: one more where it starts inside the image or the padding before it
        count += ceil_mode and room % stride[i] > 0 and count * stride[i] < size[i] + before[i]
        # every window covers a cell of the image
        if (count - 1) * stride[i] - before[i] >= size[i]:
            return
        extents.append(count)
    x = net.input((1, *size, 2), zero=int(net.rng.integers(-128, 128)))
    output = net.activation((1, *extents, 2))
    ratio = draw(st.sampled_from([1.0, 0.5, float(np.float32(net.rng.uniform(0.2, 3)))]))
    divisor, include = draw(st.sampled_from([0, 0, 3])), draw(st.booleans())
    padding = tuple(zip(before, after, strict=True))
    low, high = net.bounds(output)
    net.op("AVERAGE", (x,), output, window=tuple(window), stride=tuple(stride), padding=padding,
           count_include_pad=include, divisor=divisor, requantization=("half_even", (ratio,), low, high))
    (image,), got = run(net, output)
    for row, column in np.ndindex(*extents):
        cells = []
        counted = 0
        for i, j in np.ndindex(*window):
            r, c = row * stride[0] + i - before[0], column * stride[1] + j - before[1]
            inside = 0 <= r < size[0] and 0 <= c < size[1]
            padded = -before[0] <= r < size[0] + after[0] and -before[1] <= c < size[1] + after[1]
            counted += inside or include and padded
            if inside:
                cells.append(image[0, r, c].astype(int) - zero_point(net.tensors[x]))
        total = np.sum(cells, axis=0)
        for channel in range(2):
            exact = Fraction(int(total[channel])) * Fraction(ratio) / (divisor or counted)
            wanted = min(max(round(exact) + zero_point(net.tensors[output]), low), high)
            assert got[0, row, column, channel] == wanted


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_mean_half_even_is_the_rounded_rational(data: st.DataObject) -> None:
    net = FloatNet("int8", data.draw(st.integers(0, 2**32)))
    x = net.input((2, 3, 4), zero=7)
    output = net.activation((2, 4))
    ratio = data.draw(st.sampled_from([1.0, 1.5, float(np.float32(net.rng.uniform(0.2, 3)))]))
    low, high = net.bounds(output)
    net.op("MEAN", (x,), output, axes=(1,), keep_dims=False, requantization=("half_even", (ratio,), low, high))
    (values,), got = run(net, output)
    for row, column in np.ndindex(2, 4):
        exact = Fraction(int((values[row, :, column].astype(int) - 7).sum())) * Fraction(ratio) / 3
        assert got[row, column] == min(max(round(exact) + zero_point(net.tensors[output]), low), high)


def test_float_inputs_are_quantized_as_their_framework_does() -> None:
    values = np.array([0.5, 1.5, -0.5, -2.5, 1e9, -np.inf, 0.3, 12.25], np.float32)
    wanted = {
        "float32_divide": [1, 2, -1, -3, 127, -128, 0, 12],
        "float32_divide_even": [0, 2, 0, -2, 127, -128, 0, 12],
        "float32_multiply_even": [0, 2, 0, -2, 127, -128, 0, 12],
    }
    for rule, expected in wanted.items():
        net = FloatNet()
        x = net.input((8,), dtype="float32")
        output = net.tensor((8,), 1.0, 0, "int8")
        circuit = net.circuit(net.op("QUANTIZE", (x,), output, requantization=(rule, (1.0,), -128, 127)))
        assert reference.evaluate(circuit, [values])[0].tolist() == expected
        with pytest.raises(InputError):
            reference.evaluate(circuit, [np.full(8, np.nan, np.float32)])


def test_dividing_and_multiplying_by_a_scale_differ() -> None:
    scale = float(np.float32(0.0123))
    inverse = float(np.float32(1) / np.float32(scale))
    rng = np.random.default_rng(0)
    ties = (np.arange(-100, 100) + 0.5).astype(np.float32) * np.float32(scale)
    values = np.concatenate([ties, rng.normal(0, 1, 824).astype(np.float32)])
    outputs = []
    for rule, multiplier in (("float32_divide_even", scale), ("float32_multiply_even", inverse)):
        net = FloatNet()
        x = net.input((1024,), dtype="float32")
        output = net.tensor((1024,), scale, 0, "int8")
        circuit = net.circuit(net.op("QUANTIZE", (x,), output, requantization=(rule, (multiplier,), -128, 127)))
        outputs.append(reference.evaluate(circuit, [values])[0])
    steps = [np.rint(values / np.float32(scale)), np.rint(values * np.float32(inverse))]
    for output, step in zip(outputs, steps, strict=True):
        assert np.array_equal(output, np.clip(step, -128, 127))
    assert not np.array_equal(*outputs)


def test_the_receivers_floats() -> None:
    exact = {
        "abs": abs, "exp": math.exp, "hard_swish": lambda v: v * min(max(v + 3, 0), 6) / 6, "neg": lambda v: -v,
        "relu": lambda v: max(v, 0.0), "sigmoid": lambda v: 1 / (1 + math.exp(-v)),
        "silu": lambda v: v / (1 + math.exp(-v)), "sqrt": lambda v: math.sqrt(v) if v >= 0 else math.nan,
        "tanh": math.tanh,
    }
    assert set(exact) == set(FLOAT_FUNCTIONS)
    for function in FLOAT_FUNCTIONS:
        net = FloatNet()
        x = net.input((256,), scale=0.04, zero=3)
        circuit = net.circuit(net.floats("FLOAT_UNARY", net.floats("DEQUANTIZE", x), function=function))
        values = np.arange(-128, 128).astype(np.int8)
        (output,) = reference.evaluate(circuit, [values])
        assert output.dtype == np.float32
        scale = float(np.float32(0.04))
        wanted = [exact[function](scale * (int(v) - 3)) for v in values]
        np.testing.assert_allclose(output, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_float_softmax_sums_to_one(axis: int) -> None:
    net = FloatNet()
    floats = net.floats("DEQUANTIZE", net.input((3, 4, 5)))
    plain = net.floats("FLOAT_SOFTMAX", floats, axis=axis, log=False)
    logarithm = net.floats("FLOAT_SOFTMAX", floats, axis=axis, log=True)
    probabilities, logarithms = reference.evaluate(net.circuit(plain, logarithm), net.sample(1))
    np.testing.assert_allclose(probabilities.sum(axis=axis), 1, rtol=1e-6)
    np.testing.assert_allclose(np.exp(logarithms), probabilities, rtol=1e-5)


def test_float_results_do_not_depend_on_the_layout_of_memory() -> None:
    net = FloatNet()
    x = net.input((7, 9, 11))
    turned = net.op("TRANSPOSE", (x,), net.like(x, (11, 9, 7)), permutation=(2, 1, 0))
    probabilities = net.floats("FLOAT_SOFTMAX", net.floats("DEQUANTIZE", turned), axis=0, log=False)
    circuit = net.circuit(probabilities)
    (array,) = net.sample(0)
    values = reference.trace(circuit, [array])
    again = reference.evaluate_ops(circuit, (1, 2), {turned: np.ascontiguousarray(values[turned])})
    assert again[probabilities].tobytes() == values[probabilities].tobytes()


def test_sums_are_dequantized_per_channel() -> None:
    net = FloatNet()
    x = net.input((2, 3), zero=-5)
    sums = net.rescale((x,), ((1, -2, 2**30),), 0, bias=[0, 2**40, -7], output=net.sums((2, 3), 3))
    (array,), output = run(net, net.floats("DEQUANTIZE", sums))
    quantization = net.tensors[sums].quantization
    assert quantization is not None
    whole = (array.astype(int) + 5) * np.array([1, -2, 2**30]) + np.array([0, 2**40, -7])
    assert output.dtype == np.float32
    np.testing.assert_array_equal(output, (np.array(quantization.scale) * whole).astype(np.float32))
