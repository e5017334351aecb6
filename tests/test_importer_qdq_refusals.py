"""What has no exact integers is refused with the op, the reason and what to do; what contradicts itself as corrupt."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc_bridge.errors import ModelFormatError, MpcBridgeError, UnsupportedModelError
from mpc_bridge.importers.qdq import builder
from mpc_bridge.importers.qdq.convert import convert
from mpc_bridge.importers.qdq.graph import Graph, Node, Port
from tests.qdq_floats import Net
from tests.test_importer_qdq import conv, pool


def refused(net: Net, *outputs: str) -> UnsupportedModelError:
    with pytest.raises(UnsupportedModelError) as caught:
        convert(net.graph(*outputs))
    assert caught.value.hint
    return caught.value


def _float_model(net: Net) -> str:
    net.ports.append(Port("x", (1, 4), "float32"))
    return str(net.node("Linear", "x", net.const(np.zeros((2, 4))), ""))


def _weight_only(net: Net) -> str:
    net.ports.append(Port("x", (1, 4), "float32"))
    return str(net.node("Linear", "x", net.weights((2, 4)), ""))


def _float_weights(net: Net) -> str:
    return net.quantize(net.node("Linear", net.input((1, 4)), net.const(np.zeros((2, 4))), ""), 0.1)


def _float_activation(net: Net) -> str:
    y = conv(net, net.input((1, 2, 4, 4)), (2, 2))
    return net.quantize(conv(net, y, (2, 2)), 0.1)


def _wrong_weight_axis(net: Net) -> str:
    return net.quantize(net.node("Linear", net.input((1, 4)), net.weights((2, 4), 1), ""), 0.1)


def _int32_weights(net: Net) -> str:
    weights = net.dequantize(net.const(np.zeros((2, 4)), np.int32), 0.1, 0, "int32")
    return net.quantize(net.node("Linear", net.input((1, 4)), weights, ""), 0.1)


def _int32_activation(net: Net) -> str:
    return net.quantize(net.input((1, 4)), 0.1, 0, "int32")


def _per_channel_activation(net: Net) -> str:
    return net.quantize(net.input((1, 4)), (0.1, 0.2, 0.3, 0.4), 0, "int8", 1)


def _softmax_in_the_middle(net: Net) -> str:
    x = net.node("Softmax", net.input((1, 4)), axis=1, log=False)
    return net.quantize(net.node("Linear", net.dequantize(net.quantize(x, 0.01), 0.01), net.weights((2, 4)), ""), 0.1)


def _softmax_that_ends_and_goes_on(net: Net) -> str:
    # the one quantized softmax is an output of the model and read by a layer
    y = net.quantize(net.node("Softmax", net.input((1, 4)), axis=1, log=False), 1 / 256)
    return net.quantize(net.node("Linear", net.dequantize(y, 1 / 256), net.weights((2, 4)), ""), 0.1) + " " + y


def _function_of_a_sum(net: Net) -> str:
    return net.quantize(net.node("Silu", conv(net, net.input((1, 2, 4, 4)), (2, 2))), 0.1)


def _sum_with_a_clamped_sum(net: Net) -> str:
    y = net.node("Relu", conv(net, net.input((1, 2, 4, 4)), (2, 2)))
    return net.quantize(net.node("Add", y, net.input((1, 2, 4, 4))), 0.1)


def _pooled_sum(net: Net) -> str:
    return net.quantize(pool(net, "AvgPool", conv(net, net.input((1, 2, 4, 4)), (2, 2)), (2, 2)), 0.1)


def _quotient(net: Net) -> str:
    return net.quantize(net.node("Div", net.input((1, 4)), net.input((1, 4))), 0.1)


def _constant_along_two_axes(net: Net) -> str:
    return net.quantize(net.node("Add", net.input((1, 4, 3)), net.const(np.ones((4, 3)))), 0.1)


def _constants_along_different_axes(net: Net) -> str:
    y = net.node("Mul", net.input((1, 4, 3)), net.const(np.arange(4)[:, None]))
    return net.quantize(net.node("Add", y, net.const(np.arange(3))), 0.1)


def _larger_constant(net: Net) -> str:
    return net.quantize(net.node("Add", net.input((1, 4, 1)), net.const(np.ones(3))), 0.1)


def _bilinear(net: Net) -> str:
    x = net.node("ResizeBilinear", net.input((1, 2, 4, 4)), size=(8, 8), align_corners=False, half_pixel_centers=True)
    return net.quantize(x, 0.1)


def _padding_with_one(net: Net) -> str:
    x = net.node("Pad", conv(net, net.input((1, 2, 4, 4)), (2, 2)), paddings=((0, 0), (0, 0), (1, 1), (1, 1)),
                 mode="constant", value=1.0)
    return net.quantize(x, 0.1)


def _dilated_pool(net: Net) -> str:
    return net.quantize(pool(net, "MaxPool", net.input((1, 2, 8, 8)), (2, 2), dilation=(2, 2)), 0.1)


def _window_in_the_padding(net: Net) -> str:
    return net.quantize(pool(net, "AvgPool", net.input((1, 2, 8, 8)), (2, 2), padding=((2, 0), (0, 0))), 0.1)


def _argmax_of_floats(net: Net) -> str:
    return str(net.node("ArgMax", conv(net, net.input((1, 2, 4, 4)), (2, 2)), axis=1, keep_dims=False))


def _argmax_with_its_axis(net: Net) -> str:
    return str(net.node("ArgMax", net.input((1, 2, 4, 4)), axis=1, keep_dims=True))


def _float_pool_at_the_end(net: Net) -> str:
    return pool(net, "AvgPool", net.input((1, 2, 4, 4)), (2, 2), padding=((1, 0), (0, 0)), count_include_pad=False)


def _extreme_scales(net: Net) -> str:
    return net.quantize(net.node("Linear", net.input((1, 4), 1e20), net.weights((2, 4)), net.const([0, 1])), 1e-15)


def _batch_of_stored_matrices(net: Net) -> str:
    return net.quantize(net.node("MatMul", net.input((2, 3, 4)), net.weights((2, 4, 5), None)), 0.1)


def _computed_weights(net: Net) -> str:
    x = net.input((1, 2, 4, 4))
    y = net.node("Conv", x, net.input((3, 2, 3, 3)), "", stride=(1, 1), padding=((0, 0), (0, 0)), dilation=(1, 1),
                 groups=1)
    return net.quantize(y, 0.1)


REFUSALS: dict[Callable[[Net], str], str] = {
    _float_model: "not quantized", _weight_only: "weights are quantized and its activations are float32",
    _float_weights: "weights that are not quantized", _float_activation: "input is not quantized",
    _wrong_weight_axis: "another axis than their output channels", _int32_weights: "int32 weights",
    _int32_activation: "int32 activations", _per_channel_activation: "activations quantized per channel",
    _softmax_in_the_middle: "middle of the model", _function_of_a_sum: "a sum that is not quantized",
    _sum_with_a_clamped_sum: "clamped before it is quantized", _pooled_sum: "input is not quantized",
    _quotient: "a quotient of two activations", _constant_along_two_axes: "several axes",
    _constants_along_different_axes: "two different axes", _larger_constant: "larger than the tensor",
    _bilinear: "float interpolation", _padding_with_one: "a padding with 1", _dilated_pool: "dilation",
    _window_in_the_padding: "covers no cell", _argmax_of_floats: "not quantized",
    _argmax_with_its_axis: "keeps the axis", _float_pool_at_the_end: "is not quantized", _extreme_scales: "2**31",
    _batch_of_stored_matrices: "in a batch",
    _computed_weights: "not stored in the file",
}


@pytest.mark.parametrize("build", REFUSALS, ids=lambda build: build.__name__.strip("_"))
def test_refusals(build: Callable[[Net], str]) -> None:
    net = Net(seed=1)
    output = build(net)
    error = refused(net, output)
    assert REFUSALS[build] in str(error)


def test_a_softmax_that_ends_and_goes_on() -> None:
    net = Net()
    error = refused(net, *_softmax_that_ends_and_goes_on(net).split())
    assert "Softmax: in the middle" in error.where


def test_everything_refused_is_listed_at_once_with_its_place() -> None:
    net = Net(seed=2)
    first = _softmax_in_the_middle(net)
    second = _function_of_a_sum(net)
    third = net.quantize(net.node("Silu", conv(net, net.dequantize(second, 0.1), (2, 2))), 0.1)
    error = refused(net, first, third)
    assert "Softmax: in the middle" in error.where
    assert "Silu: its input is a sum that is not quantized (2 times, first at 'Silu_" in error.where
    assert "quantize the tensor between" in error.hint


def corrupt(net: Net, *outputs: str) -> ModelFormatError:
    with pytest.raises(ModelFormatError) as caught:
        convert(net.graph(*outputs))
    return caught.value


@pytest.mark.parametrize("kind, attributes, shape", [
    ("Reshape", {"shape": (3, 5)}, (1, 4)), ("Reshape", {"shape": (-1, -1)}, (1, 4)),
    ("Reshape", {"shape": (0, 4)}, (4,)),
    ("Transpose", {"permutation": (0, 0)}, (1, 4)), ("Squeeze", {"axes": (1,)}, (1, 4)),
    ("Slice", {"axis": 1, "start": 4, "end": 9, "step": 1}, (1, 4)), ("Select", {"axis": 1, "index": 4}, (1, 4)),
    ("Slice", {"axis": 1, "start": 0, "end": 1, "step": 0}, (1, 4)), ("Tile", {"multiples": (2,)}, (1, 4)),
    ("Tile", {"multiples": (2**20, 2**20)}, (1, 4)), ("Unsqueeze", {"axes": (0,) * 9}, (1, 4)),
    ("Pad", {"paddings": ((0, 1),), "mode": "constant", "value": 0.0}, (1, 4)),
    ("Pad", {"paddings": ((0, 0), (4, 0)), "mode": "reflect", "value": 0.0}, (1, 4)),
    ("Mean", {"axes": (2,), "keep_dims": True}, (1, 4)), ("Mean", {"axes": (1, -1), "keep_dims": True}, (1, 4)),
    ("DepthToSpace", {"block": 2, "order": "CRD"}, (1, 3, 2, 2)), ("Split", {"axis": 1, "sizes": (3,)}, (1, 4)),
    ("MaxPool", {"window": (5,), "stride": (1,), "padding": ((0, 0),), "dilation": (1,), "ceil_mode": False},
     (1, 2, 4)),
    ("Flatten", {"start": 1, "end": 0}, (1, 4)), ("Expand", {"shape": (3,)}, (1, 4)), ("Nonsense", {}, (1, 4)),
    ("Clip", {"low": "a", "high": 1.0}, (1, 4)), ("Quantize", {}, (1, 4)),
])
def test_nodes_that_contradict_themselves(kind: str, attributes: dict[str, Any], shape: tuple[int, ...]) -> None:
    net = Net(seed=3)
    y = net.node(kind, net.input(shape), **attributes)
    assert kind in str(corrupt(net, net.quantize(y, 0.1)))


def test_shapes_that_do_not_fit_together() -> None:
    for build in (
            lambda net: net.node("Add", net.input((1, 4)), net.input((1, 3))),
            lambda net: net.node("MatMul", net.input((2, 4)), net.input((3, 2))),
            lambda net: net.node("Linear", net.input((2, 4)), net.weights((2, 3)), ""),
            lambda net: net.node("Linear", net.input((2, 4)), net.weights((2, 4)), net.const([1, 2, 3])),
            lambda net: net.node("Concat", net.input((1, 4, 2)), net.input((1, 4, 3)), axis=1),
            lambda net: net.node("Stack", net.input((1, 4)), net.input((1, 3)), axis=0),
            lambda net: conv(net, net.input((1, 3, 4, 4)), (2, 2)),
            lambda net: conv(net, net.input((1, 2, 4)), (2, 2)),
            lambda net: net.node("Relu", "nowhere"),
            lambda net: net.node("Linear", net.input((1, 3)), net.dequantize(
                net.const(np.zeros((2, 3)), np.int8), (1.0, 2.0), 0, "int8", 1), "")):
        net = Net(seed=4)
        corrupt(net, net.quantize(build(net), 0.1))


@pytest.mark.parametrize("change", [
    {"scale": (0.0,)}, {"scale": (float("nan"),)}, {"scale": (1e-45,)}, {"scale": (1e300,)}, {"scale": ()},
    {"scale": (0.1, 0.2)}, {"zero_point": (128,)}, {"zero_point": (0.0,)}, {"low": 5, "high": 4}, {"high": 300},
    {"axis": 7}, {"dtype": None}, {"axis": 0.0}, {"scale": [0.1]}, {"scale": (True,)}])
@pytest.mark.parametrize("position", [0, -1])
def test_quantizers_that_contradict_themselves(change: dict[str, Any], position: int) -> None:
    net = Net(seed=5)
    output = net.quantize(net.node("Relu", net.input((1, 4))), 0.1)
    node = net.nodes[position]
    net.nodes[position] = replace(node, attributes={**node.attributes, **change})
    corrupt(net, output)


def _doubled(net: Net) -> str:
    x = conv(net, net.input((1, 2, 4, 4)), (2, 2))
    for _ in range(40):
        x = net.node("Maximum", x, x)
    return net.quantize(x, 0.1)


def _many_moves(net: Net) -> str:
    x = conv(net, net.input((1, 2, 4, 4)), (2, 2))
    for _ in range(3000):
        x = net.node("Transpose", x, permutation=(0, 1, 3, 2))
    return net.quantize(x, 0.1)


def _long_end(net: Net) -> str:
    x = net.input((1, 2))
    for _ in range(3000):
        x = net.node("Tanh", net.node("Softmax", x, axis=1, log=False))
    return str(x)


def _many_terms(net: Net) -> str:
    x = conv(net, net.input((1, 2, 4, 4)), (2, 2))
    for _ in range(40):
        x = net.node("Add", x, x)
    return net.quantize(x, 0.1)


def _many_windows(net: Net) -> str:
    x = net.input((1, 1, 31, 33))
    return net.quantize(net.node("AdaptiveAvgPool", x, size=(64, 64)), 0.1)


def _wide_transposed_convolution(net: Net) -> str:
    weights = net.dequantize(net.const(np.zeros((2**13, 2, 1, 1)), np.int8), 0.1)
    y = net.node("ConvTranspose", net.input((1, 2**13, 1, 1)), weights, "", stride=(1, 1), padding=((0, 0), (0, 0)),
                 dilation=(1, 1), groups=2**13, output_padding=(0, 0))
    return net.quantize(y, 0.1)


BOMBS: dict[Callable[[Net], str], str] = {
    _doubled: "joined within each other", _many_moves: "ops that move elements", _long_end: "in the middle",
    _many_terms: "a sum of more than", _many_windows: "windows", _wide_transposed_convolution: "many groups",
}


@pytest.mark.parametrize("build", BOMBS, ids=lambda build: build.__name__.strip("_"))
def test_small_files_do_not_become_large_circuits(build: Callable[[Net], str]) -> None:
    net = Net(seed=8)
    output = build(net)
    assert BOMBS[build] in str(refused(net, output))


def test_one_stored_tensor_in_very_many_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builder, "MAX_CONSTANT_BYTES", 2**16)
    net, outputs = Net(seed=9), []
    x, weights = net.input((1, 64)), net.weights((64, 64))
    for _ in range(20):
        outputs.append(net.quantize(net.node("Linear", x, weights, ""), 0.1))
    convert(net.graph(*outputs[:15]))
    assert "4 GiB of constants" in str(refused(net, *outputs))


def test_an_output_that_nothing_computes() -> None:
    net = Net(seed=6)
    stored = net.const([1.0])
    corrupt(net, net.quantize(net.input((1, 4)), 0.1), stored)
    corrupt(net, net.quantize(net.input((1, 4)), 0.1), "nowhere")


def _sample() -> Graph:
    """Some of everything, small."""
    net = Net("onnx", seed=7)
    net.ports.append(Port("x", (1, 4, 6, 6), "float32"))
    x = net.dequantize(net.quantize("x", 0.02), 0.02)
    y = net.node("Relu", conv(net, x, (4, 4), groups=2))
    y = net.dequantize(net.quantize(pool(net, "MaxPool", y, (2, 2), ceil_mode=True), 0.05), 0.05)
    y = net.node("Add", y, net.node("Slice", y, axis=1, start=0, end=1, step=1))
    y = net.dequantize(net.quantize(net.node("Clip", y, low=0.0, high=6.0), 0.1), 0.1)
    y = net.node("Concat", y, conv(net, y, (4, 2), kind="ConvTranspose"), axis=1)
    y = net.dequantize(net.quantize(net.node("Pad", y, paddings=((0, 0), (0, 0), (1, 0), (0, 1)), mode="constant",
                                             value=0.0), 0.1), 0.1)
    z = net.node("Mean", y, axes=(2, 3), keep_dims=False)
    z = net.dequantize(net.quantize(z, 0.05), 0.05)
    z = net.node("Mul", z, net.node("HardSigmoid", z, alpha=0.2, beta=0.5))
    z = net.dequantize(net.quantize(z, 0.05), 0.05)
    logits = net.node("Linear", net.node("Reshape", z, shape=(1, -1)), net.weights((3, 6)), net.const([1, 2, 3]))
    average = net.quantize(pool(net, "AvgPool", y, (3, 3), padding=((1, 1), (1, 1)), count_include_pad=False), 0.1)
    tiled = net.node("Tile", y, multiples=(1, 2, 1, 1))
    turned = net.quantize(net.node("DepthToSpace", tiled, block=2, order="CRD"), 0.1)
    return net.graph(net.node("Softmax", logits, axis=1, log=True), average, turned)


SAMPLE = _sample()
#: What a hostile file may put anywhere.
ODD: list[Any] = [None, True, -1, 0, 1, 2, 7, 2**31, -(2**63), 0.0, -1.5, float("inf"), float("nan"), "", "reflect", (),
                  (0,), (1, 1), (3, -1), (2, 2, 2), ((0, 0), (1, 1)), ((9, 9), (9, 9), (9, 9), (9, 9)), (0.1,), (-0.1,),
                  (2**40,), "int8", "uint8", "int32"]


def test_the_sample_converts() -> None:
    assert len(convert(SAMPLE).ops) > 15


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_hostile_graphs_raise_typed_errors_only(data: st.DataObject) -> None:
    draw = data.draw
    nodes = [copy.copy(node) for node in SAMPLE.nodes]
    ports, constants = list(SAMPLE.inputs), dict(SAMPLE.constants)
    names = [name for node in nodes for name in node.outputs] + list(constants) + ["x", "", "nowhere"]
    for _ in range(draw(st.integers(1, 3))):
        index = draw(st.integers(0, len(nodes) - 1))
        node = nodes[index]
        change = draw(st.sampled_from(("attribute", "missing", "input", "kind", "drop", "port", "constant")))
        if change == "attribute" and node.attributes:
            key = draw(st.sampled_from(sorted(node.attributes)))
            nodes[index] = replace(node, attributes={**node.attributes, key: draw(st.sampled_from(ODD))})
        elif change == "missing" and node.attributes:
            key = draw(st.sampled_from(sorted(node.attributes)))
            nodes[index] = replace(node, attributes={k: v for k, v in node.attributes.items() if k != key})
        elif change == "input" and node.inputs:
            position = draw(st.integers(0, len(node.inputs) - 1))
            inputs = (*node.inputs[:position], draw(st.sampled_from(names)), *node.inputs[position + 1:])
            nodes[index] = replace(node, inputs=inputs)
        elif change == "kind":
            other = draw(st.sampled_from(nodes))
            both = {**other.attributes, **node.attributes}
            nodes[index] = Node(other.kind, node.name, node.inputs, node.outputs, both)
        elif change == "drop":
            nodes[index] = replace(node, inputs=node.inputs[:-1])
        elif change == "port":
            shape = draw(st.sampled_from((
                (), (1,), (1, 4, 6), (0, 4, 6, 6), (2**20, 2**20), (1, 4, 7, 6), (1, 4, 1, 1))))
            ports[0] = Port("x", shape, draw(st.sampled_from(("float32", "int8", "float64", "int64"))))
        elif change == "constant":
            key = draw(st.sampled_from(sorted(constants)))
            constants[key] = draw(st.sampled_from((
                np.zeros(()), np.zeros((0,)), np.full((3, 3), np.nan), np.zeros(constants[key].shape, np.int64),
                np.array(["a"]), constants[key][..., None])))
    graph = replace(SAMPLE, nodes=tuple(nodes), inputs=tuple(ports), constants=constants)
    try:
        convert(graph)
    except MpcBridgeError as error:
        assert error.what and len(str(error)) < 20_000
