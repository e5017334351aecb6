"""Every kind of region against a float evaluation of the same graph.

An element may differ by one step only where the float value is within :data:`TIE` of a tie: the frameworks' own float32
is no more exact than that. Where scales are powers of two nothing may differ, ties included.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc_bridge.backends.plaintext import execute
from mpc_bridge.circuit.graph import Circuit
from mpc_bridge.circuit.reference import evaluate
from mpc_bridge.importers.qdq.convert import convert
from mpc_bridge.importers.qdq.graph import Port
from mpc_bridge.lowering import canonicalise, lower, model_outputs, stored_inputs
from tests.qdq_floats import Floats, Net

#: In steps of the output: 8 bits times a few roundings of float32.
TIE = 1e-4


def kinds(circuit: Circuit) -> list[str]:
    return [op.kind for op in circuit.ops]


def check(net: Net, *outputs: str, exact: bool = False, trials: int = 2) -> Circuit:
    """Convert, compare every output on random inputs, and what lowering makes of the circuit with the circuit."""
    graph = net.graph(*outputs)
    circuit = convert(graph)
    program = lower(circuit.public())
    stored = canonicalise(circuit, program)
    for inputs in net.integers(trials):
        floats = Floats(graph, inputs)
        results = evaluate(circuit, inputs)
        revealed = execute(program, {**stored, **stored_inputs(circuit, program, inputs)})
        for computed, result in zip(model_outputs(circuit, program, revealed), results, strict=True):
            np.testing.assert_array_equal(computed, result)
        for name, got in zip(outputs, results, strict=True):
            want = floats.values[name]
            assert got.shape == want.shape
            if got.dtype == np.float32:
                scale = max(float(np.abs(want).max()), 1e-6)
                np.testing.assert_allclose(got, want, rtol=1e-5, atol=2e-6 * scale)
                continue
            assert got.dtype == want.dtype
            difference = np.abs(got.astype(np.int64) - want.astype(np.int64))
            if exact or name not in floats.margins:
                assert not difference.any()
            else:
                assert difference.max() <= 1
                assert not difference[floats.margins[name] > TIE].any()
    return circuit


def conv(net: Net, x: str, channels: tuple[int, int], kernel: tuple[int, ...] = (3, 3), bias: bool = True,
         groups: int = 1, kind: str = "Conv", **attributes: Any) -> str:
    """Weights per output channel and a float bias."""
    spatial = len(kernel)
    own = {"stride": (1,) * spatial, "padding": ((1, 1),) * spatial, "dilation": (1,) * spatial, "groups": groups}
    if kind == "ConvTranspose":
        shape: tuple[int, ...] = (channels[0], channels[1] // groups, *kernel)
        own["output_padding"] = (0,) * spatial
        weights = net.weights(shape, 1)
    else:
        weights = net.weights((channels[1], channels[0] // groups, *kernel))
    stored = net.const(net.rng.normal(0, 2, channels[1])) if bias else ""
    return str(net.node(kind, x, weights, stored, **{**own, **attributes}))


def test_conv_relu_is_one_requantization() -> None:
    net = Net(seed=1)
    y = net.node("Relu", conv(net, net.input((2, 3, 6, 7), dtype="uint8"), (3, 5)))
    circuit = check(net, net.quantize(y, 0.3, -100))
    assert kinds(circuit)[1:3] == ["CONV_2D", "RESCALE"]


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_convolutions(data: st.DataObject) -> None:
    draw = data.draw
    net = Net(seed=draw(st.integers(0, 2**32)))
    spatial = draw(st.sampled_from((1, 2)))
    groups = draw(st.sampled_from((1, 1, 2, 4)))
    channels = (groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 3)))
    per_axis = st.tuples(*[st.integers(1, 2)] * spatial)
    kernel = draw(st.tuples(*[st.integers(1, 3)] * spatial))
    dilation = draw(per_axis)
    x = net.input((draw(st.integers(1, 2)), channels[0], *draw(st.tuples(*[st.integers(5, 8)] * spatial))),
                  dtype=draw(st.sampled_from(("int8", "uint8"))))
    y = conv(net, x, channels, kernel, bias=draw(st.booleans()), groups=groups, stride=draw(per_axis),
             dilation=dilation, padding=draw(st.tuples(*[st.tuples(st.integers(0, 2), st.integers(0, 2))] * spatial)))
    if draw(st.booleans()):
        y = net.node("Clip", y, low=-1.0, high=draw(st.sampled_from((3.0, float("inf")))))
    dtype = draw(st.sampled_from(("int8", "uint8")))
    check(net, net.quantize(y, net.scale(0.05, 0.3), net.zero(dtype), dtype))


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_transposed_convolutions(data: st.DataObject) -> None:
    draw = data.draw
    net = Net(seed=draw(st.integers(0, 2**32)))
    spatial = draw(st.sampled_from((1, 2)))
    kernel = draw(st.tuples(*[st.integers(1, 3)] * spatial))
    stride, dilation = (draw(st.tuples(*[st.integers(1, most)] * spatial)) for most in (3, 2))
    groups = draw(st.sampled_from((1, 1, 2, 4)))
    x = net.input((1, 4, *[4] * spatial))
    y = conv(net, x, (4, 4), kernel, kind="ConvTranspose", stride=stride, groups=groups, dilation=dilation,
             padding=tuple((draw(st.integers(0, cells - 1)), draw(st.integers(0, 1))) for cells in kernel),
             output_padding=tuple(draw(st.integers(0, step - 1)) for step in stride))
    check(net, net.quantize(y, net.scale(0.05, 0.3)))


@pytest.mark.parametrize("profile", ["onnx", "qnnpack"])
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_an_int32_bias_joins_the_accumulator(profile: str, dtype: str) -> None:
    net = Net("onnx" if profile == "onnx" else "pytorch", profile, seed=2)
    scale = net.scale()
    x = net.input((1, 4, 6, 6), scale, dtype=dtype)
    weights = net.weights((6, 4, 3, 3))
    products = np.float32(scale) * np.array(net.nodes[-1].attributes["scale"], np.float32)
    bias = net.rng.integers(-3000, 3000, 6)
    if profile == "onnx":
        stored = net.dequantize(net.const(bias, np.int32), products, 0, "int32", 0)
    else:
        stored = net.const(bias * products.astype(np.float64))
    y = net.node("Conv", x, weights, stored, stride=(1, 1), padding=((1, 1), (1, 1)), dilation=(1, 1), groups=1)
    circuit = check(net, net.quantize(net.node("Relu", y), 0.2, 7, dtype))
    assert kinds(circuit) == ["TRANSPOSE", "CONV_2D", "TRANSPOSE"]
    assert circuit.ops[1].attributes["requantization"][0] == "half_even"  # type: ignore[index]
    (index,) = (i for i in circuit.constant_tensors if circuit.tensors[i].dtype == "int32")
    np.testing.assert_array_equal(circuit.constants[index], bias)


def test_qnnpack_rounds_a_float_bias_to_the_accumulator_s_scale() -> None:
    net = Net(profile="qnnpack", seed=3)
    y = conv(net, net.input((1, 2, 4, 4), 0.02), (2, 3))
    circuit = convert(net.graph(net.quantize(y, 0.2)))
    weights, bias = net.nodes[1], net.constants[net.nodes[2].inputs[2]]
    products = np.float32(0.02) * np.array(weights.attributes["scale"], np.float32)
    (index,) = (i for i in circuit.constant_tensors if circuit.tensors[i].dtype == "int32")
    np.testing.assert_array_equal(circuit.constants[index], np.rint(bias / products))


def test_a_float_bias_in_an_onnx_file_stays_one() -> None:
    net = Net("onnx", seed=4)
    circuit = check(net, net.quantize(conv(net, net.input((1, 2, 4, 4)), (2, 3)), 0.2))
    assert "RESCALE" in kinds(circuit)


@pytest.mark.parametrize("zero_point", [0, 3, (1, -2, 0)])
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_weights_with_zero_points(dtype: str, zero_point: Any) -> None:
    if dtype == "uint8":
        zero_point = np.add(zero_point, 128)
    net = Net("onnx", seed=5)
    weights = net.weights((3, 2, 3, 3), None if np.ndim(zero_point) == 0 else 0, dtype, zero_point)
    y = net.node("Conv", net.input((1, 2, 5, 5)), weights, "", stride=(1, 1), padding=((1, 1), (1, 1)), dilation=(1, 1),
                 groups=1)
    check(net, net.quantize(y, 0.2))


def test_float_weights_are_quantized_as_the_framework_does() -> None:
    net = Net("onnx", seed=6)
    scales = (0.01, 0.02, 0.013)
    floats = net.const(net.rng.normal(0, 0.5, (3, 4)))
    weights = net.dequantize(net.quantize(floats, scales, 0, "int8", 0), scales, 0, "int8", 0)
    check(net, net.quantize(net.node("Linear", net.input((2, 4)), weights, ""), 0.1))


def test_linear_of_more_axes_and_matmul_with_stored_weights() -> None:
    net = Net(seed=7)
    x = net.input((2, 3, 5))
    a = net.node("Linear", x, net.weights((4, 5)), net.const(net.rng.normal(size=4)))
    b = net.node("Add", net.node("MatMul", x, net.weights((5, 4), 1)), net.const(net.rng.normal(size=4)))
    turned = net.node("Transpose", net.weights((4, 5)), permutation=(1, 0))
    c = net.node("MatMul", x, turned)
    circuit = check(net, *(net.quantize(y, 0.05) for y in (a, b, c)))
    assert kinds(circuit) == ["FULLY_CONNECTED", "RESCALE"] * 3


def test_x86_conv_add_relu_is_one_region() -> None:
    net = Net(seed=8)
    other = net.input((1, 4, 5, 5), dtype="uint8")
    y = net.node("Add", conv(net, net.input((1, 3, 5, 5), dtype="uint8"), (3, 4)), other)
    circuit = check(net, net.quantize(net.node("Relu", y), 0.1, 0, "uint8"))
    assert kinds(circuit).count("RESCALE") == 1
    assert [len(op.inputs) for op in circuit.ops if op.kind == "RESCALE"] == [3]


def test_two_convolutions_in_one_sum() -> None:
    net = Net(seed=9)
    x = net.input((1, 3, 5, 5))
    y = net.node("Sub", conv(net, x, (3, 4)), conv(net, x, (3, 4), (1, 1), padding=((0, 0), (0, 0))))
    circuit = check(net, net.quantize(y, 0.3))
    assert kinds(circuit).count("CONV_2D") == 2


def test_batch_norm_after_a_convolution_is_part_of_the_sum() -> None:
    net = Net(seed=10)
    statistics = [net.const(net.rng.normal(1, 0.5, 4)) for _ in range(3)] + [net.const(net.rng.uniform(0.5, 2, 4))]
    y = net.node("BatchNorm", conv(net, net.input((1, 3, 5, 5)), (3, 4)), *statistics, epsilon=1e-5)
    check(net, net.quantize(net.node("Relu", y), 0.2))


def test_batch_norm_after_a_relu_has_limits_per_channel() -> None:
    """As torchcrepe's network has it: the sum's clamp is scaled and shifted with it, both ways round."""
    for source in ("pytorch", "onnx"):
        net = Net(source, seed=30)
        gamma = net.const([1.5, -0.7, 0.3, 0.0])
        others = [net.const(net.rng.normal(0, 0.5, 4)) for _ in range(2)] + [net.const(net.rng.uniform(0.5, 2, 4))]
        y = net.node("Relu", conv(net, net.input((1, 3, 6, 6)), (3, 4)))
        y = pool(net, "MaxPool", net.node("BatchNorm", y, gamma, *others, epsilon=1e-5), (2, 2))
        circuit = check(net, net.quantize(y, 0.1), net.quantize(net.node("Relu", y), 0.1))
        assert kinds(circuit).count("MAXIMUM") == kinds(circuit).count("MINIMUM") == 2


@pytest.mark.parametrize("slopes", [(0.1, 0.3, -0.2, 1.0), (1.5, 1.0, 2.0, 3.0), (0.2, 1.7, -1.5, 1.0)])
def test_prelu_of_a_sum_is_the_greater_of_two(slopes: tuple[float, ...]) -> None:
    net = Net(seed=31)
    y = net.node("PRelu", conv(net, net.input((1, 3, 7, 6)), (3, 4)), net.const(slopes))
    y = net.quantize(pool(net, "MaxPool", y, (2, 2), ceil_mode=True), 0.2, -3)
    z = net.quantize(net.node("LeakyRelu", conv(net, net.input((1, 3, 7, 6)), (3, 4)), alpha=0.2), 0.1)
    check(net, y, z)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_sums(data: st.DataObject) -> None:
    """Any number of terms, signs, broadcasts, constants per tensor and per channel, and clamps."""
    draw = data.draw
    net = Net(draw(st.sampled_from(("pytorch", "onnx"))), seed=draw(st.integers(0, 2**32)))
    shape = draw(st.sampled_from(((2, 3, 4, 5), (2, 6), (1, 4, 3))))
    y = net.input(shape, dtype=draw(st.sampled_from(("int8", "uint8"))))
    for _ in range(draw(st.integers(1, 4))):
        step = draw(st.sampled_from(("Add", "Sub", "scale", "shift", "channel", "Neg", "broadcast")))
        if step in ("Add", "Sub"):
            y = net.node(step, y, net.input(shape, dtype=draw(st.sampled_from(("int8", "uint8")))))
        elif step == "scale":
            y = net.node(draw(st.sampled_from(("Mul", "Div"))), y, net.const(draw(st.sampled_from((0.7, 1.3, -1.1)))))
        elif step == "shift":
            y = net.node(draw(st.sampled_from(("Add", "Sub"))), y, net.const([0.3]))
        elif step == "channel":
            amount = net.const(net.rng.normal(1, 0.4, (shape[1], *(1,) * (len(shape) - 2))))
            y = net.node(draw(st.sampled_from(("Mul", "Add"))), y, amount)
        elif step == "broadcast":
            y = net.node("Add", y, net.input((1, shape[1], *(1,) * (len(shape) - 2))))
        else:
            y = net.node("Neg", y)
    if draw(st.booleans()):
        y = net.node("Relu", y)
    dtype = draw(st.sampled_from(("int8", "uint8")))
    check(net, net.quantize(y, net.scale(0.1, 0.2), net.zero(dtype), dtype))


def test_sums_at_powers_of_two_break_every_tie_to_even() -> None:
    net = Net(seed=11)
    y = net.node("Sub", net.input((4, 500), 0.5, 3), net.input((4, 500), 0.25, 7, "uint8"))
    check(net, net.quantize(y, 1.0, 5), exact=True)


def test_accumulators_at_powers_of_two_break_every_tie_to_even() -> None:
    for source in ("pytorch", "onnx"):
        net = Net(source, seed=12)
        weights = net.dequantize(net.const(net.rng.integers(-8, 8, (20, 10)), np.int8), 0.25)
        check(net, net.quantize(net.node("Linear", net.input((50, 10), 0.5), weights, ""), 2.0), exact=True)


@pytest.mark.parametrize("kind, attributes", [
    ("Sigmoid", {}), ("Tanh", {}), ("HardSwish", {}), ("Silu", {}), ("Neg", {}), ("Abs", {}), ("Exp", {}), ("Relu", {}),
    ("Gelu", {"approximate": "none"}), ("Gelu", {"approximate": "tanh"}), ("LeakyRelu", {"alpha": 0.1}),
    ("Elu", {"alpha": 0.9}), ("HardSigmoid", {"alpha": 0.2, "beta": 0.5}), ("Clip", {"low": -1.0, "high": 2.0}),
])
@pytest.mark.parametrize("source", ["pytorch", "onnx"])
def test_functions_of_one_integer(kind: str, attributes: dict[str, float], source: str) -> None:
    net = Net(source, seed=13)
    x = net.input((2, 300), 0.03, dtype="uint8")
    y = net.node(kind, net.node("Mul", x, net.const(1.7)), **attributes)
    circuit = check(net, net.quantize(y, 0.04, 11), trials=3)
    assert kinds(circuit) in (["TABLE"], ["QUANTIZE"])


def test_a_function_written_out_in_products_is_one_table() -> None:
    net = Net("onnx", seed=14)
    x = net.input((1, 200), 0.05)
    y = net.node("Mul", x, net.node("HardSigmoid", x, alpha=1 / 6, beta=0.5))
    gate = net.node("Div", net.node("Clip", net.node("Add", x, net.const(3.0)), low=0.0, high=6.0), net.const(6.0))
    circuit = check(net, net.quantize(y, 0.04, -3), net.quantize(net.node("Mul", x, gate), 0.04, -3))
    assert set(kinds(circuit)) == {"TABLE"}


def test_quantizing_alike_is_no_op_and_otherwise_half_even() -> None:
    net = Net(seed=15)
    x = net.input((1, 300), 0.5, 4)
    again = net.quantize(x, 0.5, 4)
    other = net.quantize(x, 1.0, 2, "uint8")
    circuit = check(net, again, other, exact=True)
    assert kinds(circuit) == ["QUANTIZE"]


@pytest.mark.parametrize("shape", [(), (1,)])
def test_prelu_with_one_slope_is_a_table(shape: tuple[int, ...]) -> None:
    net = Net(seed=16)
    circuit = check(net, net.quantize(net.node("PRelu", net.input((1, 4, 30)), net.const(np.full(shape, 0.2))), 0.05))
    assert kinds(circuit) == ["TABLE"]


def test_prelu_per_channel() -> None:
    for source, shape in (("pytorch", (4,)), ("onnx", (4, 1, 1))):
        net = Net(source, seed=17)
        slope = net.const(net.rng.uniform(-0.3, 0.3, shape))
        check(net, net.quantize(net.node("PRelu", net.input((1, 4, 5, 6)), slope), 0.05, 9))


def test_products_of_two_activations() -> None:
    net = Net(seed=18)
    a, b = net.input((2, 3, 4, 5), dtype="uint8"), net.input((2, 3, 1, 1), dtype="uint8")
    gated = net.quantize(net.node("Relu", net.node("Mul", a, b)), 0.05, 1, "uint8")
    x, y = net.input((2, 3, 4)), net.input((2, 4, 5))
    multiplied = net.quantize(net.node("Div", net.node("MatMul", x, y), net.const(2.0)), 0.1)
    circuit = check(net, gated, multiplied)
    assert {"MUL", "BATCH_MATMUL"} <= set(kinds(circuit))


def pool(net: Net, kind: str, x: str, window: tuple[int, ...], **attributes: Any) -> str:
    own: dict[str, Any] = {"window": window, "stride": window, "padding": ((0, 0),) * len(window), "ceil_mode": False}
    own.update({"dilation": (1,) * len(window)} if kind == "MaxPool" else {"count_include_pad": True, "divisor": 0})
    return str(net.node(kind, x, **{**own, **attributes}))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_pools(data: st.DataObject) -> None:
    draw = data.draw
    net = Net(seed=draw(st.integers(0, 2**32)))
    spatial = draw(st.sampled_from((1, 2)))
    window = draw(st.tuples(*[st.integers(1, 4)] * spatial))
    shape = (draw(st.integers(1, 2)), 3, *draw(st.tuples(*[st.integers(4, 9)] * spatial)))
    kind = draw(st.sampled_from(("MaxPool", "AvgPool")))
    attributes: dict[str, Any] = {
        "stride": draw(st.tuples(*[st.integers(1, 3)] * spatial)), "ceil_mode": draw(st.booleans()),
        "padding": tuple((side, side) for side in (draw(st.integers(0, cells // 2)) for cells in window))}
    if kind == "AvgPool":
        attributes |= {"count_include_pad": draw(st.booleans()), "divisor": draw(st.sampled_from((0, 0, 5)))}
    scale = draw(st.sampled_from((0.5, 0.07)))
    x = net.input(shape, scale, dtype=draw(st.sampled_from(("int8", "uint8"))))
    check(net, net.quantize(pool(net, kind, x, window, **attributes), scale, 3))


@pytest.mark.parametrize("kind", ["AdaptiveAvgPool", "AdaptiveMaxPool"])
@pytest.mark.parametrize("shape, size", [
    ((1, 3, 8, 6), (4, 2)), ((1, 3, 7, 5), (4, 3)), ((2, 2, 9), (6,)), ((2, 3, 5, 7), (1, 1)), ((1, 2, 12), (3,))])
def test_adaptive_pools(kind: str, shape: tuple[int, ...], size: tuple[int, ...]) -> None:
    net = Net(seed=19)
    check(net, net.quantize(net.node(kind, net.input(shape, dtype="uint8"), size=size), 0.06, 20, "uint8"))


@pytest.mark.parametrize("axes, keep", [((2, 3), False), ((-1,), True), ((1, 2, 3), False), ((0, 3), True)])
def test_means(axes: tuple[int, ...], keep: bool) -> None:
    net = Net(seed=20)
    x = net.input((2, 4, 4, 8), 0.25, dtype="uint8")
    y = net.quantize(net.node("Mean", x, axes=axes, keep_dims=keep), 0.25, 9)
    z = net.quantize(net.node("Mul", net.node("Mean", x, axes=axes, keep_dims=keep), net.const(1.3)), 0.2, 9)
    check(net, y, z)
    net = Net(seed=20)
    check(net, net.quantize(net.node("Mean", net.input((2, 4, 4, 8), 0.25), axes=axes, keep_dims=keep), 0.25, 9),
          exact=True, trials=20)


def test_means_and_pools_as_terms_and_at_the_end() -> None:
    net = Net(seed=32)
    x = net.input((2, 3, 4, 6), dtype="uint8")
    pooled = pool(net, "AvgPool", x, (2, 3), padding=((1, 1), (1, 1)), stride=(1, 2))
    floats = [net.node("Mean", x, axes=(2, 3), keep_dims=keep) for keep in (True, False)]
    row = net.node("Mean", net.input((1, 3, 9)), axes=(2,), keep_dims=False)
    summed = net.node("Add", pooled, net.input((2, 3, 5, 3)))
    shifted = net.node("Sub", floats[1], net.const([0.5, -0.5, 1.0]))
    check(net, pooled, *floats, row, net.quantize(net.node("Relu", summed), 0.05), net.quantize(shifted, 0.03))


def test_a_max_pool_after_a_clamped_convolution_works_on_its_integers() -> None:
    net = Net(seed=21)
    y = pool(net, "MaxPool", net.node("Relu", conv(net, net.input((1, 3, 8, 8)), (3, 4))), (2, 2))
    circuit = check(net, net.quantize(net.node("Clip", y, low=-9.0, high=2.5), 0.1))
    assert [kind for kind in kinds(circuit) if kind not in ("TRANSPOSE", "RESHAPE")] == [
        "CONV_2D", "RESCALE", "MAX_POOL_2D"]


MOVES: list[tuple[str, dict[str, Any], int]] = [
    ("Reshape", {"shape": (2, -1)}, 1), ("Reshape", {"shape": (2, 4, 24)}, 1), ("Flatten", {"start": 1, "end": -1}, 1),
    ("Flatten", {"start": 0, "end": 1}, 1), ("Transpose", {"permutation": (0, 2, 3, 1)}, 1),
    ("Transpose", {"permutation": (0, 3, 1, 2)}, 1), ("Unsqueeze", {"axes": (1, -1)}, 1),
    ("Slice", {"axis": 1, "start": 1, "end": 2**62, "step": 2}, 1),
    ("Slice", {"axis": -1, "start": -1, "end": -(2**62), "step": -2}, 1),
    ("Slice", {"axis": 2, "start": 0, "end": 3, "step": 1}, 1), ("Select", {"axis": 1, "index": -1}, 1),
    ("Split", {"axis": 1, "sizes": (1, 2, 1)}, 3), ("Tile", {"multiples": (1, 2, 1, 3)}, 1),
    ("Expand", {"shape": (3, 2, 4, 4, 6)}, 1),
    ("Pad", {"paddings": ((0, 0), (1, 0), (2, 1), (0, 3)), "mode": "constant", "value": 0.0}, 1),
    ("Pad", {"paddings": ((0, 0), (0, 0), (2, 1), (1, 3)), "mode": "reflect", "value": 0.0}, 1),
    ("ResizeNearest", {"size": (8, 9), "align_corners": False, "half_pixel_centers": False}, 1),
    ("DepthToSpace", {"block": 2, "order": "DCR"}, 1), ("DepthToSpace", {"block": 2, "order": "CRD"}, 1),
    ("SpaceToDepth", {"block": 2, "order": "DCR"}, 1), ("SpaceToDepth", {"block": 2, "order": "CRD"}, 1),
    ("ReduceMax", {"axes": (1, 3), "keep_dims": False}, 1), ("ReduceMin", {"axes": (2,), "keep_dims": True}, 1),
]


@pytest.mark.parametrize("kind, attributes, outputs", MOVES)
@pytest.mark.parametrize("before", ["integers", "convolution", "function", "float", "raw"])
def test_moves(kind: str, attributes: dict[str, Any], outputs: int, before: str) -> None:
    """Of integers, of a convolution's float sum, of a function of integers, of a float input, of bare integers."""
    net = Net(seed=22)
    if before == "float":
        x = "x"
        net.ports.append(Port("x", (2, 4, 4, 6), "float32"))
    else:
        x = net.input((2, 4, 4, 6))
    if before == "convolution":
        x = conv(net, x, (4, 4))
    elif before == "function":
        x = net.node("Neg", x)
    elif before == "raw":
        net.nodes.pop()
        x = net.ports[0].name
        if "value" in attributes and attributes["mode"] == "constant":
            attributes = {**attributes, "value": 6.0}
    names = net.node(kind, x, outputs=outputs, **attributes)
    names = (names,) if outputs == 1 else names
    if before == "raw":
        names = tuple(net.dequantize(name, 0.1, 6) for name in names)
    check(net, *(net.quantize(name, 0.1, 6) for name in names), exact=before == "raw")


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_chains_of_moves_between_layers(data: st.DataObject) -> None:
    """Whatever the order of stored axes, elements come out where the framework has them."""
    draw = data.draw
    net = Net(seed=draw(st.integers(0, 2**32)))
    shape: tuple[int, ...] = (2, 4, 3, 6)
    # a pool of single cells: stored with channels last from here on
    x = pool(net, "MaxPool", net.input(shape, 0.5), (1, 1))
    for _ in range(draw(st.integers(1, 5))):
        step = draw(st.sampled_from(("Transpose", "Reshape", "Relu", "Slice", "Unsqueeze", "Squeeze", "pool")))
        if step == "Transpose":
            order = draw(st.permutations(range(len(shape))))
            x, shape = net.node("Transpose", x, permutation=tuple(order)), tuple(shape[axis] for axis in order)
        elif step == "Reshape":
            size = int(np.prod(shape))
            first = draw(st.sampled_from([n for n in range(1, size + 1) if size % n == 0]))
            shape = (first, size // first)
            x = net.node("Reshape", x, shape=shape)
        elif step == "Slice":
            axis = draw(st.integers(0, len(shape) - 1))
            x = net.node("Slice", x, axis=axis, start=shape[axis] // 2, end=shape[axis], step=1)
            shape = tuple(n - n // 2 if a == axis else n for a, n in enumerate(shape))
        elif step == "Unsqueeze" and len(shape) < 6:
            axis = draw(st.integers(0, len(shape)))
            x, shape = net.node("Unsqueeze", x, axes=(axis,)), (*shape[:axis], 1, *shape[axis:])
        elif step == "Squeeze" and 1 in shape:
            axis = shape.index(1)
            x, shape = net.node("Squeeze", x, axes=(axis,)), (*shape[:axis], *shape[axis + 1:])
        elif step == "pool" and len(shape) in (3, 4):
            x = pool(net, "MaxPool", x, (1,) * (len(shape) - 2))
        else:
            x = net.node("Relu", x)
    check(net, net.quantize(x, 0.5), x, exact=True)


@pytest.mark.parametrize("kind", ["Concat", "Stack"])
@pytest.mark.parametrize("alike", [True, False])
def test_tensors_side_by_side(kind: str, alike: bool) -> None:
    net = Net(seed=23)
    first = net.input((1, 3, 4, 5), 0.05, 3)
    second = net.input((1, 3, 4, 5), 0.05, 3) if alike else conv(net, net.input((1, 2, 4, 5)), (2, 3))
    y = net.node(kind, first, second, first, axis=1 if kind == "Concat" else -1)
    circuit = check(net, net.quantize(y, 0.05, 3))
    assert ("RESCALE" in kinds(circuit)) != alike


@pytest.mark.parametrize("kind", ["Maximum", "Minimum"])
def test_the_greater_of_two(kind: str) -> None:
    net = Net(seed=24)
    y = net.node(kind, net.input((1, 3, 4, 5)), net.input((3, 1, 1)))
    clamped = net.node(kind, conv(net, net.input((1, 3, 4, 5)), (3, 2)), net.const(0.5))
    check(net, net.quantize(y, 0.05, 3), net.quantize(clamped, 0.1))


@pytest.mark.parametrize("source", ["pytorch", "onnx"])
def test_a_float_input_is_quantized_by_the_framework_s_float32_rule(source: str) -> None:
    net = Net(source, seed=25)
    net.ports.append(Port("x", (1, 2, 50), "float32"))
    scale = np.float32(0.0173)
    q = net.quantize(net.node("Relu", "x"), scale, -5)
    circuit = convert(net.graph(q))
    x = net.rng.normal(0, 2, (1, 2, 50)).astype(np.float32)
    x[0, 0] = (np.arange(50) + 0.5) * scale
    clamped = np.maximum(x, np.float32(0))
    steps = clamped / scale if source == "onnx" else clamped * np.float32(1 / float(scale))
    np.testing.assert_array_equal(evaluate(circuit, [x])[0], np.clip(np.rint(steps) - 5, -128, 127))


def test_the_float_end_is_the_receiver_s() -> None:
    net = Net(seed=26)
    x = net.input((2, 6), 0.04)
    logits = net.node("Linear", x, net.weights((5, 6)), net.const(net.rng.normal(size=5)))
    y = net.node("Softmax", logits, axis=-1, log=False)
    z = net.node("Softmax", net.node("Mul", logits, net.const(0.5)), axis=1, log=True)
    small = net.node("Sigmoid", net.node("Transpose", net.node("Reshape", x, shape=(3, 4)), permutation=(1, 0)))
    first, second = net.node("Split", net.node("Tanh", logits), axis=1, sizes=(2, 3), outputs=2)
    circuit = check(net, logits, y, z, small, first, second, x)
    assert {"DEQUANTIZE", "FLOAT_SOFTMAX", "FLOAT_UNARY", "RESCALE"} <= set(kinds(circuit))


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_softmax_that_is_quantized_at_the_end(after: int) -> None:
    """Quantizers write its integers: the receiver computes them, moves them and makes floats of them."""
    net = Net("onnx", seed=26)
    logits = net.node("Linear", net.input((2, 6), 0.04), net.weights((5, 6), None), "")
    x = net.dequantize(net.quantize(logits, 0.1, 3), 0.1, 3)
    y = net.quantize(net.node("Softmax", x, axis=-1, log=False), 1 / 256, -128)
    if after:
        y = net.dequantize(y, 1 / 256, -128)
    if after > 1:
        y = net.node("Transpose", y, permutation=(1, 0))
    found = kinds(check(net, y))
    assert found[found.index("FLOAT_SOFTMAX"):] == ["FLOAT_SOFTMAX", "QUANTIZE", "DEQUANTIZE", "TRANSPOSE"][:2 + after]


def test_a_float_image_at_the_end() -> None:
    net = Net(seed=27)
    y = conv(net, net.input((1, 3, 5, 6)), (3, 4))
    row = net.node("Relu", conv(net, net.input((1, 2, 7)), (2, 3), (3,)))
    check(net, y, net.node("Add", y, net.input((1, 4, 5, 6))), row)


def test_arg_max_is_the_last_op() -> None:
    net = Net(seed=28)
    x = net.dequantize(net.quantize(conv(net, net.input((1, 3, 5, 6)), (3, 4)), 0.3), 0.3)
    circuit = convert(net.graph(net.node("ArgMax", x, axis=1, keep_dims=False), net.nodes[-2].outputs[0]))
    for inputs in net.integers(2):
        indices, integers = evaluate(circuit, inputs)
        np.testing.assert_array_equal(indices, integers.argmax(1))


def test_equal_graphs_give_equal_circuits_and_dead_nodes_nothing() -> None:
    def build(dead: bool) -> Circuit:
        net = Net(seed=29)
        x = net.input((1, 3, 5, 5))
        y = net.quantize(conv(net, x, (3, 4)), 0.2)
        if dead:
            net.node("Softmax", x, axis=1, log=False)
        return convert(net.graph(y))

    assert build(False) == build(True)
