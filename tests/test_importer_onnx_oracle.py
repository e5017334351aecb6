"""Circuits of ONNX files against onnxruntime: node by node on its own intermediate values, and op by op.

Every test prints its mismatch rate. What is promised: at most 16 elements in a million differ, by one unit each
(float32 rounds a product onto a tie, or a float sum breaks one); means of a few cells, whose exact ties onnxruntime's
floats break by chance, differ by at most one unit.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the package onnx reads .onnx files")
ort = pytest.importorskip("onnxruntime", reason="onnxruntime is the reference")
pytest.importorskip("torch", reason="the cases are shared with the float tests")

from mpc_bridge.circuit import reference  # noqa: E402
from mpc_bridge.errors import UnsupportedModelError  # noqa: E402
from mpc_bridge.importers.onnx import load  # noqa: E402
from tests.onnx_models import FLOAT, INT8, INT64, UINT8, Array, Net, cnn, helper, model, quantized  # noqa: E402
from tests.test_importer_onnx_ops import CASES, IMAGE, QOPERATORS, conv, run, scales, unary  # noqa: E402

#: Greatest share of elements that may differ, by one unit: the project's promise for onnxruntime.
PROMISE = 16e-6


def session(data: bytes, optimize: bool) -> ort.InferenceSession:
    """onnxruntime with its fusions, or node by node as the file says."""
    options, level = ort.SessionOptions(), ort.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_EXTENDED if optimize else level.ORT_DISABLE_ALL
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def compare(ours: Array, theirs: Array) -> tuple[int, int]:
    """How many elements differ, and of how many; none by more than one unit."""
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
    distance = np.abs(ours.astype(np.int64) - theirs.astype(np.int64))
    assert distance.max() <= 1
    return int((distance > 0).sum()), distance.size


def integer_tensors(message: onnx.ModelProto) -> list[str]:
    """Every tensor that nodes quantize, in execution order."""
    return [node.output[0] for node in message.graph.node
            if node.op_type == "QuantizeLinear" or node.op_type.startswith("QLinear") or node.op_type == "QGemm"]


def pieces(message: onnx.ModelProto) -> Iterator[tuple[str, list[str], list[onnx.NodeProto]]]:
    """What computes each quantized tensor from other quantized tensors: its name, theirs, and the nodes between."""
    producer = {name: node for node in message.graph.node for name in node.output}
    marks = set(integer_tensors(message))
    for name in integer_tensors(message):
        needed: set[str] = set()
        sources: set[str] = set()
        stack = [producer[name]]
        while stack:
            node = stack.pop()
            needed.add(node.output[0])
            for operand in node.input:
                if operand in marks:
                    sources.add(operand)
                elif operand in producer:
                    stack.append(producer[operand])
                elif operand in {port.name for port in message.graph.input}:
                    sources.add(operand)
        yield name, sorted(sources), [node for node in message.graph.node if node.output[0] in needed]


@pytest.mark.parametrize("optimize", [False, True], ids=["plain", "fused"])
@pytest.mark.parametrize("layout, activations, weights, per_channel", [
    ("QDQ", "QUInt8", "QInt8", True), ("QDQ", "QInt8", "QInt8", True), ("QDQ", "QInt8", "QInt8", False),
    ("QDQ", "QUInt8", "QUInt8", False), ("QOperator", "QUInt8", "QInt8", True), ("QOperator", "QInt8", "QInt8", False),
    ("QOperator", "QUInt8", "QUInt8", False)])
def test_node_by_node(layout: str, activations: str, weights: str, per_channel: bool, optimize: bool,
                      capsys: pytest.CaptureFixture[str]) -> None:
    """Each piece of the quantizer's network on the integers that onnxruntime itself computed before it."""
    message = onnx.load_from_string(quantized(cnn(), layout, activations, weights, per_channel))
    kind = UINT8 if activations == "QUInt8" else INT8
    names = integer_tensors(message)
    exposed = onnx.ModelProto()
    exposed.CopyFrom(message)
    exposed.graph.output.extend(helper.make_tensor_value_info(name, kind, None) for name in names
                                if name not in {port.name for port in message.graph.output})
    runner = session(exposed.SerializeToString(), optimize)
    inputs = np.random.default_rng(1).normal(0, 1, (250, 1, 3, 16, 16)).astype(np.float32)
    found = [runner.run(names, {"x": x}) for x in inputs]
    traces = {"x": inputs, **{name: np.stack([values[index] for values in found]) for index, name in enumerate(names)}}
    different = total = 0
    for name, sources, nodes in pieces(message):
        used = {operand for node in nodes for operand in node.input}
        tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in message.graph.initializer
                   if tensor.name in used}
        piece = model(nodes, {source: (FLOAT if source == "x" else kind, traces[source].shape[1:])
                              for source in sources}, {name: kind}, tensors)
        (ours,) = reference.evaluate_samples(load(piece.SerializeToString()), [traces[source] for source in sources])
        wrong, count = compare(ours, traces[name])
        different, total = different + wrong, total + count
    with capsys.disabled():
        print(f" {different} of {total} elements ({1e6 * different / total:.1f} ppm) ", end="")
    assert total > 500_000 and different <= PROMISE * total


@pytest.mark.parametrize("layout, activations", [("QDQ", "QUInt8"), ("QDQ", "QInt8"), ("QOperator", "QUInt8")])
def test_end_to_end(layout: str, activations: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole network: logits equal, or a unit apart where a node before was."""
    data = quantized(cnn(), layout, activations, "QInt8")
    circuit = load(data)
    inputs = np.random.default_rng(2).normal(0, 1, (300, 1, 3, 16, 16)).astype(np.float32)
    (ours,) = reference.evaluate_samples(circuit, [inputs])
    runner = session(data, True)
    theirs = np.stack([runner.run(None, {"x": x})[0] for x in inputs])
    unit = next(circuit.tensors[op.inputs[0]].quantization for op in circuit.ops if op.kind == "DEQUANTIZE")
    assert unit is not None
    steps = np.rint((ours - theirs) / unit.scale[0])
    with capsys.disabled():
        print(f" {int((steps != 0).sum())} of {steps.size} logits ", end="")
    assert np.abs(steps).max() <= 1 and (steps != 0).mean() <= 0.005
    assert len(np.unique(ours)) > 100


#: Cases that a converter may refuse, saying why; what it accepts has to be exact.
REFUSABLE = {"gemm column": "", "softmax": "receiver", "logsoftmax": "receiver", "softmax axis": "receiver",
             "maxpool dilated": "dilation", "pad": "padding", "resize linear": "interpolation",
             "resize linear corners": "interpolation"}


def _between_integers(shape: tuple[int, ...], build: Callable[[Net, str], str], opset: int = 17) -> bytes:
    """x uint8, dequantized, the op, quantized to a scale that fits its range and makes no ties on purpose."""
    net = Net(3, opset)
    output = build(net, net.node("DequantizeLinear", "x", *scales(net, 0.0213, 120)))
    floats = model(net.nodes, {"x": (UINT8, shape)}, [output], net.tensors, opset).SerializeToString()
    random = np.random.default_rng(9)
    values = np.concatenate([run(floats, {"x": random.integers(0, 256, shape).astype(np.uint8)})[0].reshape(-1)
                             for _ in range(5)])
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    scale = (high - low) / 241.3
    result = net.node("QuantizeLinear", output, *scales(net, scale, round(-low / scale)))
    data: bytes = model(net.nodes, {"x": (UINT8, shape)}, {result: UINT8}, net.tensors, opset).SerializeToString()
    return data


def _samples(dtype: str, shape: tuple[int, ...], seed: int = 4) -> Array:
    info = np.iinfo(dtype)
    count = max(4, 12_000 // math.prod(shape))
    return np.random.default_rng(seed).integers(info.min, info.max + 1, (count, *shape)).astype(dtype)


def _gate(name: str, different: int, total: int) -> None:
    """The promise; few elements are compared per op, so one is let through. Means break ties by chance."""
    assert different <= (total // 50 if "averagepool" in name.lower() else max(1, math.ceil(PROMISE * total))), (
        f"{different} of {total}")


@pytest.mark.parametrize("name, shape, build", [
    case for case in CASES if not case[0].startswith("argmax") and not case[0].startswith("gemm")],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "")
def test_op(name: str, shape: tuple[int, ...], build: Callable[[Net, str], str]) -> None:
    data = _between_integers(shape, build)
    try:
        circuit = load(data)
    except UnsupportedModelError as error:
        assert name in REFUSABLE and REFUSABLE[name] in str(error)
        return
    inputs = _samples("uint8", shape)
    (ours,) = reference.evaluate_samples(circuit, [inputs])
    runner = session(data, False)
    theirs = np.stack([runner.run(None, {"x": x})[0] for x in inputs])
    assert len(np.unique(theirs)) > 3
    _gate(name, *compare(ours, theirs))


@pytest.mark.parametrize("name, build", [("Gelu", unary("Gelu")), ("GeluTanh", unary("Gelu", approximate="tanh")),
                                         ("HardSwish", unary("HardSwish"))])
def test_functions_of_later_operator_sets(name: str, build: Callable[[Net, str], str]) -> None:
    data = _between_integers(IMAGE, build, 20)
    x = np.arange(192, dtype=np.uint8).reshape(IMAGE)
    inputs = np.stack([x, x + 64])  # every byte
    (ours,) = reference.evaluate_samples(load(data), [inputs])
    theirs = np.stack([session(data, False).run(None, {"x": sample})[0] for sample in inputs])
    _gate(name, *compare(ours, theirs))


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("kind", [kind for kind in QOPERATORS if kind != "QLinearSoftmax"])
def test_qoperator(kind: str, dtype: str) -> None:
    net = Net(4)
    (output,) = QOPERATORS[kind](net, "x", dtype)
    stored = UINT8 if dtype == "uint8" else INT8
    data = model(net.nodes, {"x": (stored, IMAGE)}, {output: stored}, net.tensors).SerializeToString()
    inputs = _samples(dtype, IMAGE)
    (ours,) = reference.evaluate_samples(load(data), [inputs])
    runner = session(data, True)
    theirs = np.stack([runner.run(None, {"x": x})[0] for x in inputs])
    different, total = compare(ours, theirs)
    if kind == "QLinearAveragePool":
        # four cells at these scales: a tenth of the sums are ties
        assert different <= total // 10
    else:
        _gate(kind, different, total)


def test_arg_max() -> None:
    net = Net(3)
    output = net.node("ArgMax", net.node("DequantizeLinear", "x", *scales(net, 0.02, 120)), axis=1, keepdims=0)
    data = model(net.nodes, {"x": (UINT8, (1, 10))}, {output: INT64}, net.tensors).SerializeToString()
    inputs = np.random.default_rng(0).integers(0, 12, (500, 1, 10)).astype(np.uint8)  # with ties
    (ours,) = reference.evaluate_samples(load(data), [inputs])
    runner = session(data, False)
    np.testing.assert_array_equal(ours.reshape(-1), np.stack(
        [runner.run(None, {"x": x})[0] for x in inputs]).reshape(-1))


@pytest.mark.parametrize("kind", ["Softmax", "LogSoftmax", "Sigmoid"])
def test_a_float_end_is_the_receivers(kind: str) -> None:
    net = Net(3)
    parameters = scales(net, 0.1, 120)
    flat = net.node("Flatten", net.node("GlobalAveragePool", conv((5, 4, 3, 3), biased=False)(
        net, net.node("DequantizeLinear", "x", *scales(net, 0.02, 120)))))
    output = net.node(kind, net.node("DequantizeLinear", net.node("QuantizeLinear", flat, *parameters), *parameters))
    data = model(net.nodes, {"x": (UINT8, IMAGE)}, [output], net.tensors).SerializeToString()
    with pytest.raises(UnsupportedModelError, match="quantized"):  # between the convolution and the mean it is float
        load(data)
    net.nodes.clear()
    x = conv((5, 4, 3, 3), biased=False)(net, net.node("DequantizeLinear", "x", *scales(net, 0.02, 120)))
    output = net.node(kind, net.node("Flatten", net.node("DequantizeLinear", net.node(
        "QuantizeLinear", x, *parameters), *parameters)))
    data = model(net.nodes, {"x": (UINT8, IMAGE)}, [output], net.tensors).SerializeToString()
    inputs = _samples("uint8", IMAGE)[:20]
    (ours,) = reference.evaluate_samples(load(data), [inputs])
    theirs = np.stack([session(data, False).run(None, {"x": x})[0] for x in inputs])
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_what_pytorch_exports() -> None:
    """Padding and reshaping computed from shapes, an open batch, and a float softmax at the end."""
    torch = pytest.importorskip("torch")

    class Net(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = torch.nn.Conv2d(3, 8, 3, 2, 1), torch.nn.BatchNorm2d(8)
            self.depth, self.slopes = torch.nn.Conv2d(8, 8, 3, 1, 1, groups=8), torch.nn.PReLU(8)
            self.grow, self.linear = torch.nn.Upsample(scale_factor=2), torch.nn.Linear(16, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = torch.nn.functional.relu6(self.norm(self.conv(x)))
            y = self.slopes(self.depth(x))
            x = torch.cat([x + y, torch.nn.functional.hardswish(y)], 1)
            x = self.grow(torch.nn.functional.max_pool2d(x, 3, 2, 1, ceil_mode=True))
            x = torch.nn.functional.pad(x, (1, 0, 0, 1)).mean((2, 3))
            return torch.softmax(self.linear(x.view(x.size(0), -1)), 1)

    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.onnx"
        torch.onnx.export(Net().eval(), (torch.zeros(1, 3, 16, 16),), str(path), dynamo=False, opset_version=17,
                          input_names=["x"], dynamic_axes={"x": {0: "batch"}})
        # with its integers too, as quantize_static writes it unless it is told not to
        files = [quantized(onnx.load(path), nodes_to_exclude=names) for names in (["/Softmax"], [])]
    inputs = np.random.default_rng(2).normal(0, 1, (60, 1, 3, 16, 16)).astype(np.float32)
    for data, last in zip(files, (["FLOAT_SOFTMAX"], ["FLOAT_SOFTMAX", "QUANTIZE", "DEQUANTIZE"]), strict=True):
        circuit = load(data)
        assert [op.kind for op in circuit.ops[-len(last):]] == last
        (ours,) = reference.evaluate_samples(circuit, [inputs])
        theirs = np.stack([session(data, False).run(None, {"x": x})[0] for x in inputs])
        assert (np.abs(ours - theirs) > 1e-6).mean() < 0.01
        np.testing.assert_array_equal(ours.max(-1), np.take_along_axis(ours, theirs.argmax(-1)[..., None], -1)[..., 0])
