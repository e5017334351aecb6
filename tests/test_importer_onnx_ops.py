"""Every ONNX op that is read: its neutral nodes compute in float32 what onnxruntime computes from the file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the package onnx reads .onnx files")
ort = pytest.importorskip("onnxruntime", reason="onnxruntime is the reference")
torch = pytest.importorskip("torch", reason="the second opinion uses torch's operators")

from mpc_bridge.importers.onnx import load_graph  # noqa: E402
from tests.onnx_evaluator import evaluate  # noqa: E402
from tests.onnx_models import FLOAT, INT8, INT32, INT64, UINT8, Array, Net, helper, model  # noqa: E402

torch.set_num_threads(1)
IMAGE = (1, 4, 6, 8)
Case = tuple[str, tuple[int, ...], Callable[[Net, str], str]]


def run(data: bytes, feed: dict[str, Array], optimize: bool = False) -> list[Array]:
    """onnxruntime's outputs."""
    options = ort.SessionOptions()
    level = ort.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_EXTENDED if optimize else level.ORT_DISABLE_ALL
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    results: list[Array] = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"]).run(None, feed)
    return results


def scales(net: Net, scale: Any, zero_point: Any, dtype: str = "uint8") -> list[str]:
    return [net.constant(scale), net.constant(zero_point, dtype)]


def through(net: Net, x: str, scale: float = 0.02, zero_point: int = 120) -> str:
    """Quantized and back."""
    parameters = scales(net, scale, zero_point)
    return net.node("DequantizeLinear", net.node("QuantizeLinear", x, *parameters), *parameters)


def stored(net: Net, *shape: int, axis: int | None = 0, dtype: str = "int8") -> str:
    """Stored integers with their scales."""
    count = shape[axis] if axis is not None else 0
    info = np.iinfo(dtype)
    integers = net.constant(net.random.integers(info.min, info.max + 1, shape), dtype)
    scale = net.random.uniform(0.01, 0.02, count or None)
    zero = np.zeros(count or (), int) + (117 if dtype == "uint8" else 0)
    return net.node("DequantizeLinear", integers, *scales(net, scale, zero, dtype), axis=0 if axis is None else axis)


def bias(net: Net, channels: int) -> str:
    return net.node("DequantizeLinear", net.constant(net.random.integers(-999, 999, channels), "int32"),
                    net.constant(net.random.uniform(1e-4, 2e-4, channels)), axis=0)


def ints(net: Net, *values: int) -> str:
    return net.constant(values, "int64")


def unary(kind: str, inputs: tuple[Any, ...] = (), **attributes: Any) -> Callable[[Net, str], str]:
    """One node, whose other inputs are constants."""
    def build(net: Net, x: str) -> str:
        more = ["" if value is None else net.constant(value, np.asarray(value).dtype.name.replace("float64", "float32"))
                for value in inputs]
        return net.node(kind, x, *more, **attributes)
    return build


def conv(shape: tuple[int, ...], dtype: str = "int8", axis: int | None = 0, biased: bool = True,
         **attributes: Any) -> Callable[[Net, str], str]:
    def build(net: Net, x: str) -> str:
        weights = stored(net, *shape, axis=axis, dtype=dtype)
        return net.node("Conv", x, weights, *([bias(net, shape[0])] if biased else []), **attributes)
    return build


def conv_transpose(shape: tuple[int, ...], **attributes: Any) -> Callable[[Net, str], str]:
    return lambda net, x: net.node("ConvTranspose", x, stored(net, *shape, axis=1), bias(
        net, shape[1] * attributes.get("group", 1)), **attributes)


def gemm(weights: tuple[int, int], c: str = "bias", **attributes: Any) -> Callable[[Net, str], str]:
    def build(net: Net, x: str) -> str:
        columns = weights[0] if attributes.get("transB") else weights[1]
        addends = {"bias": lambda: bias(net, columns), "float": lambda: net.weights(1, columns),
                   "scalar": lambda: net.constant(0.3), "none": lambda: "",
                   "column": lambda: net.weights(3, 1)}
        axis = 0 if attributes.get("transB") else 1
        return net.node("Gemm", x, stored(net, *weights, axis=axis), addends[c](), **attributes)
    return build


def moved_weights(net: Net, x: str) -> str:
    """Weights stored output channel first, turned by a node: what PyTorch's exporter writes."""
    turned = net.node("Transpose", stored(net, 5, 8), perm=[1, 0])
    return net.node("MatMul", x, turned)


def reshaped_weights(net: Net, x: str) -> str:
    return net.node("Conv", x, net.node("Unsqueeze", stored(net, 5, 4, 3), ints(net, 2)), pads=[0, 1, 0, 1])


def float_weights(net: Net, x: str) -> str:
    """Weights kept as floats and quantized by the graph."""
    parameters = scales(net, net.random.uniform(0.001, 0.01, 5), np.zeros(5), "int8")
    integers = net.node("QuantizeLinear", net.weights(5, 4, 1, 1), *parameters, axis=0)
    return net.node("Conv", x, net.node("DequantizeLinear", integers, *parameters, axis=0))


def shape_arithmetic(net: Net, x: str) -> str:
    """``x.reshape(x.shape[0], -1, x.shape[1] * 2)``, as exporters write it."""
    shape = net.node("Shape", x)
    first = net.node("Unsqueeze", net.node("Gather", shape, net.constant(0, "int64")), ints(net, 0))
    second = net.node("Gather", shape, net.constant(1, "int64"))
    last = net.node("Unsqueeze", net.node("Mul", second, net.node("Constant", value_int=2)), ints(net, 0))
    return net.node("Reshape", x, net.node("Concat", first, ints(net, -1), last, axis=0))


def two(kind: str, shape: tuple[int, ...] | None = None) -> Callable[[Net, str], str]:
    """With itself, quantized differently; or with stored integers of ``shape``."""
    def build(net: Net, x: str) -> str:
        other = through(net, x, 0.03, 99) if shape is None else stored(net, *shape, axis=None)
        return net.node(kind, x, other)
    return build


def split(net: Net, x: str) -> str:
    first = net.node("Split", x, ints(net, 1, 3), outputs=2, axis=1)
    return net.node("Concat", f"{first}_1", first, axis=1)


def shape_then_max(net: Net, x: str) -> str:
    return net.node("Max", x, net.node("Neg", x), net.constant(0.5))


ROW, WINDOW = (1, 4, 9), {"kernel_shape": [3, 3]}
CASES: list[Case] = [
    ("conv", IMAGE, conv((5, 4, 3, 3), pads=[1, 0, 2, 1], strides=[2, 1])),
    ("conv uint8 weights", IMAGE, conv((5, 4, 3, 3), "uint8", None, kernel_shape=[3, 3])),
    ("conv groups", IMAGE, conv((8, 2, 3, 3), group=2, dilations=[1, 2])),
    ("conv depthwise", IMAGE, conv((4, 1, 3, 3), group=4, auto_pad="SAME_UPPER", strides=[2, 2])),
    ("conv same lower", IMAGE, conv((5, 4, 2, 2), auto_pad="SAME_LOWER", strides=[1, 1])),
    ("conv valid", IMAGE, conv((5, 4, 2, 2), auto_pad="VALID", biased=False)),
    ("conv1d", ROW, conv((5, 4, 3), pads=[1, 1], dilations=[2])),
    ("conv turned weights", IMAGE, reshaped_weights), ("conv float weights", IMAGE, float_weights),
    ("convtranspose", IMAGE, conv_transpose((4, 3, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1])),
    ("convtranspose groups", IMAGE, conv_transpose((4, 3, 2, 2), strides=[2, 2], group=2)),
    ("convtranspose same", IMAGE, conv_transpose((4, 3, 3, 3), strides=[2, 2], auto_pad="SAME_UPPER")),
    ("convtranspose same lower", IMAGE, conv_transpose((4, 3, 3, 3), strides=[2, 2], auto_pad="SAME_LOWER")),
    ("convtranspose output shape", IMAGE, conv_transpose((4, 3, 4, 3), strides=[2, 2], output_shape=[13, 15])),
    ("convtranspose1d", ROW, conv_transpose((4, 3, 3), strides=[2], pads=[0, 2])),
    ("gemm", (3, 8), gemm((8, 5))), ("gemm transB", (3, 8), gemm((5, 8), transB=1)),
    ("gemm transA", (8, 3), gemm((8, 5), "none", transA=1)), ("gemm float bias", (3, 8), gemm((8, 5), "float")),
    ("gemm scalar", (3, 8), gemm((8, 5), "scalar", alpha=0.5, beta=2.0)),
    ("gemm alpha beta", (3, 8), gemm((5, 8), transB=1, alpha=1.5, beta=0.25)),
    ("gemm column", (3, 8), gemm((8, 5), "column")),
    ("matmul", (2, 3, 8), lambda net, x: net.node("MatMul", x, stored(net, 8, 5, axis=1))),
    ("matmul turned weights", (2, 3, 8), moved_weights),
    ("matmul of two", (2, 4, 4), two("MatMul")), ("matmul vector", (1, 6), two("MatMul", (6, 1))),
    *((kind.lower(), IMAGE, two(kind)) for kind in ("Add", "Sub", "Mul", "Max", "Min", "Sum")),
    ("add stored", IMAGE, two("Add", (4, 1, 1))), ("mul stored", IMAGE, two("Mul", ())),
    ("div", IMAGE, unary("Div", (3.0,))), ("max of three", IMAGE, shape_then_max),
    *((kind.lower(), IMAGE, unary(kind)) for kind in (
        "Relu", "Sigmoid", "Tanh", "HardSwish", "HardSigmoid", "Elu", "LeakyRelu", "Neg", "Abs", "Exp", "Softmax",
        "LogSoftmax", "Identity", "Dropout", "GlobalAveragePool", "GlobalMaxPool", "Flatten", "Transpose", "Squeeze",
        "ReduceMax", "ReduceMin", "ReduceMean")),
    ("sqrt", IMAGE, lambda net, x: net.node("Sqrt", net.node("Relu", x))),
    ("clip", IMAGE, unary("Clip", (0.0, 1.5))), ("clip above", IMAGE, unary("Clip", (None, 1.5))),
    ("clip stored", IMAGE, lambda net, x: net.node("Clip", x, *(net.node("DequantizeLinear", net.constant(
        bound, "uint8"), *scales(net, 0.01, 100)) for bound in (90, 220)))),
    ("leakyrelu alpha", IMAGE, unary("LeakyRelu", alpha=0.3)), ("elu alpha", IMAGE, unary("Elu", alpha=0.5)),
    ("hardsigmoid alpha", IMAGE, unary("HardSigmoid", alpha=0.3, beta=0.1)),
    ("prelu", IMAGE, lambda net, x: net.node("PRelu", x, net.weights(4, 1, 1))),
    ("prelu stored", IMAGE, lambda net, x: net.node("PRelu", x, stored(net, 1, axis=None))),
    ("softmax axis", IMAGE, unary("Softmax", axis=1)),
    ("maxpool", IMAGE, unary("MaxPool", kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 0, 1])),
    ("maxpool ceil", IMAGE, unary("MaxPool", **WINDOW, strides=[2, 2], ceil_mode=1)),
    ("maxpool dilated", IMAGE, unary("MaxPool", kernel_shape=[2, 2], dilations=[2, 3])),
    ("maxpool same", IMAGE, unary("MaxPool", **WINDOW, strides=[2, 2], auto_pad="SAME_UPPER")),
    ("maxpool1d", ROW, unary("MaxPool", kernel_shape=[3], strides=[3])),
    ("averagepool", IMAGE, unary("AveragePool", **WINDOW, strides=[2, 2], pads=[1, 1, 1, 1])),
    ("averagepool include", IMAGE, unary("AveragePool", **WINDOW, pads=[1, 1, 1, 1], count_include_pad=1)),
    ("averagepool ceil", IMAGE, unary("AveragePool", **WINDOW, strides=[2, 2], ceil_mode=1)),
    ("averagepool ceil pads", (1, 4, 7, 10), unary("AveragePool", **WINDOW, strides=[3, 3], pads=[1] * 4, ceil_mode=1)),
    ("averagepool1d", ROW, unary("AveragePool", kernel_shape=[2], strides=[2])),
    ("reducemean axes", IMAGE, unary("ReduceMean", axes=[-1, -2], keepdims=0)),
    ("argmax", IMAGE, unary("ArgMax", axis=1, keepdims=0)),
    ("argmax cast", (1, 9), lambda net, x: net.node("Cast", net.node("ArgMax", x, axis=-1), to=INT64)),
    ("batchnorm", IMAGE, lambda net, x: net.node(
        "BatchNormalization", x, net.weights(4), net.weights(4), net.weights(4),
        net.constant(net.random.uniform(0.5, 2, 4)), epsilon=1e-3)),
    ("reshape", IMAGE, unary("Reshape", (np.array([0, -1, 2]),))),
    ("reshape computed", IMAGE, shape_arithmetic),
    ("flatten 2", IMAGE, unary("Flatten", axis=2)), ("flatten 0", IMAGE, unary("Flatten", axis=0)),
    ("transpose perm", IMAGE, unary("Transpose", perm=[0, 2, 3, 1])),
    ("squeeze axes", (1, 4, 1), unary("Squeeze", (np.array([-1]),))),
    ("unsqueeze", IMAGE, unary("Unsqueeze", (np.array([-1, 1]),))),
    ("concat", IMAGE, lambda net, x: net.node("Concat", x, net.node("Relu", x), axis=-1)),
    ("split", IMAGE, split), ("split even", IMAGE, lambda net, x: net.node("Split", x, outputs=2, axis=3)),
    ("slice", IMAGE, unary("Slice", (
        np.array([1, -5]), np.array([2**63 - 1, -1]), np.array([1, 3]), np.array([1, 2])))),
    ("gather", IMAGE, unary("Gather", (np.array(-2),), axis=2)),
    ("gather range", IMAGE, unary("Gather", (np.array([0, 2, 4]),), axis=2)),
    ("tile", IMAGE, unary("Tile", (np.array([1, 2, 1, 3]),))),
    ("expand", (1, 4, 1, 8), unary("Expand", (np.array([6, 1]),))),
    ("pad", IMAGE, unary("Pad", (np.array([0, 0, 1, 2, 0, 0, 3, 0]), np.array(-1.5, np.float32)))),
    ("pad reflect", IMAGE, unary("Pad", (np.array([0, 0, 1, 2, 0, 0, 3, 0]),), mode="reflect")),
    *((f"resize {transform} {rounding}", IMAGE, unary(
        "Resize", (None, np.array([1, 1, 2, 3], np.float32)), mode="nearest",
        coordinate_transformation_mode=transform, nearest_mode=rounding))
      for transform, rounding in (("asymmetric", "floor"), ("half_pixel", "round_prefer_floor"),
                                  ("half_pixel", "round_prefer_ceil"), ("pytorch_half_pixel", "round_prefer_floor"))),
    ("resize sizes", IMAGE, unary("Resize", (None, None, np.array([1, 4, 12, 32])), mode="nearest")),
    ("resize down", IMAGE, unary("Resize", (None, None, np.array([1, 4, 3, 4])), mode="nearest",
                                 coordinate_transformation_mode="asymmetric", nearest_mode="floor")),
    ("resize linear", IMAGE, unary("Resize", (None, np.array([1, 1, 2, 2], np.float32)), mode="linear")),
    ("resize linear corners", IMAGE, unary("Resize", (None, None, np.array([1, 4, 9, 9])), mode="linear",
                                           coordinate_transformation_mode="align_corners")),
    ("depthtospace", IMAGE, unary("DepthToSpace", blocksize=2)),
    ("depthtospace crd", IMAGE, unary("DepthToSpace", blocksize=2, mode="CRD")),
    ("spacetodepth", IMAGE, unary("SpaceToDepth", blocksize=2)),
]


@pytest.mark.parametrize("name, shape, build", CASES, ids=[case[0].replace(" ", "-") for case in CASES])
def test_op_between_floats(name: str, shape: tuple[int, ...], build: Callable[[Net, str], str]) -> None:
    net = Net(3)
    output = build(net, through(net, "x"))
    written = model(net.nodes, {"x": (FLOAT, shape)},
                    {output: INT64 if name.startswith("argmax") else FLOAT}, net.tensors)
    _compare(written.SerializeToString(), shape, np.random.default_rng(7))


@pytest.mark.parametrize("kind, opset, build", [
    ("ReduceMean", 18, unary("ReduceMean", (np.array([2, 3]),), keepdims=0)),
    ("ReduceMax", 20, unary("ReduceMax", (np.array([1]),))),
    ("Split", 18, lambda net, x: net.node("Split", x, outputs=3, axis=3, num_outputs=3)),
    ("Pad", 19, unary("Pad", (np.array([1, 2]), np.array(0.5, np.float32), np.array([3])))),
    ("Gelu", 20, unary("Gelu")), ("Gelu tanh", 20, unary("Gelu", approximate="tanh")),
    ("AveragePool", 22, unary("AveragePool", **WINDOW, strides=[2, 2], pads=[1] * 4, ceil_mode=1)),
    ("Conv", 13, conv((5, 4, 3, 3))), ("Squeeze", 13, unary("Squeeze", (np.array([0]),))),
], ids=lambda value: str(value) if not callable(value) else "")
def test_op_of_operator_set(kind: str, opset: int, build: Callable[[Net, str], str]) -> None:
    net = Net(3, opset)
    output = build(net, through(net, "x"))
    _compare(net.build(IMAGE, output).SerializeToString(), IMAGE, np.random.default_rng(7))


def _compare(data: bytes, shape: tuple[int, ...], random: np.random.Generator) -> None:
    graph = load_graph(data)
    for _ in range(3):
        x = random.normal(0, 1.5, shape).astype(np.float32)
        ours, (theirs,) = evaluate(graph, {graph.inputs[0].name: x})[graph.outputs[0]], run(data, {"x": x})
        assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-5)


# moves of the integers themselves: what stands between nodes of QOperator files

@pytest.mark.parametrize("build", [
    unary("MaxPool", kernel_shape=[2, 2]), unary("Transpose"), unary("Reshape", (np.array([1, -1]),)),
    unary("Pad", (np.array([0, 0, 1, 1, 0, 0, 1, 1]), np.array(7, np.uint8))),
    unary("Pad", (np.array([0, 0, 1, 1, 0, 0, 1, 1]),)),
    unary("Slice", (np.array([1]), np.array([3]), np.array([2]))),
    lambda net, x: net.node("Concat", x, x, axis=1), unary("Flatten"), unary("DepthToSpace", blocksize=2),
    unary("Resize", (None, np.array([1, 1, 2, 2], np.float32)), mode="nearest"),
], ids=["maxpool", "transpose", "reshape", "pad", "pad0", "slice", "concat", "flatten", "depthtospace", "resize"])
@pytest.mark.parametrize("entry", ["quantized", "input"])
def test_moves_of_integers_are_exact(entry: str, build: Callable[[Net, str], str]) -> None:
    net = Net(3)
    parameters = scales(net, 0.02, 120)
    x = net.node("QuantizeLinear", "x", *parameters) if entry == "quantized" else "x"
    output = net.node("DequantizeLinear", build(net, x), *parameters)
    data = model(net.nodes, {"x": (FLOAT if entry == "quantized" else UINT8, IMAGE)}, [output],
                 net.tensors).SerializeToString()
    graph = load_graph(data)
    random = np.random.default_rng(2)
    feed = (random.normal(0, 1.5, IMAGE).astype(np.float32) if entry == "quantized"
            else random.integers(0, 256, IMAGE).astype(np.uint8))
    ours, (theirs,) = evaluate(graph, {"x": feed})[graph.outputs[0]], run(data, {"x": feed})
    np.testing.assert_array_equal(ours, theirs)
    quantizations = {(node.attributes["scale"], node.attributes["zero_point"])  # an input's meaning is found as well
                     for node in graph.nodes if node.kind in ("Quantize", "Dequantize")}
    assert quantizations == {((float(np.float32(0.02)),), (120,))}


# QOperator nodes

def qlinear(kind: str, domain: str = "com.microsoft", **attributes: Any) -> Callable[[Net, str, str], list[str]]:
    def build(net: Net, x: str, dtype: str) -> list[str]:
        zero = 120 if dtype == "uint8" else -8
        inputs = [x, *scales(net, 0.02, zero, dtype)]
        if kind in ("QLinearAdd", "QLinearMul"):
            inputs += [x, *scales(net, 0.03, zero + 1, dtype)]
        out = scales(net, 0.05, zero - 2, dtype)
        if kind == "QLinearConcat":
            inputs = [*out, *inputs, x, *scales(net, 0.03, zero + 1, dtype)]
        elif kind == "QLinearConv":
            weights = net.constant(net.random.integers(-128, 128, (5, 4, 3, 3)), "int8")
            inputs += [weights, *scales(net, net.random.uniform(0.005, 0.01, 5), np.zeros(5), "int8"), *out,
                       net.constant(net.random.integers(-5000, 5000, 5), "int32")]
        elif kind == "QLinearMatMul":
            weights = net.constant(net.random.integers(-128, 128, (8, 5)), "int8")
            inputs += [weights, *scales(net, net.random.uniform(0.005, 0.01, 5), np.zeros(5), "int8"), *out]
        elif kind == "QGemm":
            inputs[0] = net.node("Flatten", net.node("Transpose", x, perm=[0, 1, 3, 2]), axis=3)
            weights = net.constant(net.random.integers(-128, 128, (5, 6)), "int8")
            inputs += [weights, *scales(net, net.random.uniform(0.005, 0.01, 5), np.zeros(5), "int8"),
                       net.constant(net.random.integers(-5000, 5000, 5), "int32"), *out]
        else:
            inputs += out
        return [net.node(kind, *inputs, domain=domain, **attributes)]
    return build


QOPERATORS = {
    "QLinearConv": qlinear("QLinearConv", "", strides=[2, 1], pads=[1, 1, 1, 1]),
    "QLinearMatMul": qlinear("QLinearMatMul", ""),
    "QGemm": qlinear("QGemm", transB=1), "QLinearAdd": qlinear("QLinearAdd"), "QLinearMul": qlinear("QLinearMul"),
    "QLinearAveragePool": qlinear("QLinearAveragePool", kernel_shape=[2, 2], strides=[2, 2]),
    "QLinearGlobalAveragePool": qlinear("QLinearGlobalAveragePool"),
    "QLinearConcat": qlinear("QLinearConcat", axis=1), "QLinearSigmoid": qlinear("QLinearSigmoid"),
    "QLinearLeakyRelu": qlinear("QLinearLeakyRelu", alpha=0.2),
    "QLinearSoftmax": qlinear("QLinearSoftmax", axis=-1, opset=13),
}


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("kind", QOPERATORS)
def test_qoperator(kind: str, dtype: str) -> None:
    """Within a unit of onnxruntime's integers. Float sums break ties by chance, and means of a few cells have many."""
    net = Net(4)
    (output,) = QOPERATORS[kind](net, "x", dtype)
    data = model(net.nodes, {"x": (UINT8 if dtype == "uint8" else INT8, IMAGE)},
                 {output: UINT8 if dtype == "uint8" else INT8}, net.tensors).SerializeToString()
    graph = load_graph(data)
    different = total = 0
    for seed in range(10):
        x = np.random.default_rng(seed).integers(*((0, 256) if dtype == "uint8" else (-128, 128)), IMAGE).astype(dtype)
        (theirs,) = run(data, {"x": x})
        ours = evaluate(graph, {"x": x})[graph.outputs[0]]
        assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
        distance = np.abs(ours.astype(int) - theirs.astype(int))
        assert distance.max() <= 1
        different, total = different + int((distance > 0).sum()), total + distance.size
    assert different <= total // (20 if "Pool" in kind else 100), f"{different} of {total}"


def test_constants_are_what_the_file_holds() -> None:
    net = Net(5)
    output = conv((5, 4, 3, 3))(net, through(net, "x"))
    graph = load_graph(net.build(IMAGE, output).SerializeToString())
    kinds = sorted((array.dtype.name, array.shape) for array in graph.constants.values())
    assert kinds == [("int32", (5,)), ("int8", (5, 4, 3, 3))]
    integers = [array for name, array in net.tensors.items() if array.dtype == np.int8 and array.ndim == 4]
    assert any(np.array_equal(array, integers[0]) for array in graph.constants.values())


@pytest.mark.parametrize("scale", [0.1, 1.0])
def test_float_weights_are_quantized_as_onnxruntime_does(scale: float) -> None:
    """Ties, saturation, both zero points: the folded integers are onnxruntime's."""
    values = np.concatenate([np.arange(-400, 400) * scale / 2, np.random.default_rng(0).normal(0, 50 * scale, 999)])
    values = values.astype(np.float32)
    for dtype, zero in (("int8", 0), ("uint8", 117)):
        nodes = [helper.make_node("QuantizeLinear", ["w", "s", "z"], ["q"]),
                 helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
                 helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
                 helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xd"]),
                 helper.make_node("Add", ["xd", "d"], ["y"])]
        tensors = {"w": values, "s": np.float32(scale), "z": np.array(zero, dtype)}
        kind = INT8 if dtype == "int8" else UINT8
        graph = load_graph(model(nodes, {"x": (FLOAT, values.shape)}, ["y"], tensors).SerializeToString())
        shown = model(nodes[:1], {"w": (FLOAT, values.shape)}, {"q": kind}, {"s": tensors["s"], "z": tensors["z"]})
        (theirs,) = run(shown.SerializeToString(), {"w": values})
        (ours,) = [array for array in graph.constants.values() if array.shape == values.shape]
        np.testing.assert_array_equal(ours, theirs)


def test_int32_is_what_a_cast_of_indices_may_name() -> None:
    net = Net(1)
    output = net.node("Cast", net.node("ArgMax", through(net, "x"), axis=1), to=INT32)
    graph = load_graph(model(net.nodes, {"x": (FLOAT, IMAGE)}, {output: INT32}, net.tensors).SerializeToString())
    assert graph.nodes[-1].kind == "ArgMax" and graph.outputs == graph.nodes[-1].outputs
