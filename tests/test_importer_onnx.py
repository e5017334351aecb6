"""ONNX files as onnxruntime's quantizer writes them, and the files that are refused, with what to do instead."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mpc_bridge.errors import MpcBridgeError, UnsupportedModelError, UsageError

onnx = pytest.importorskip("onnx", reason="the package onnx reads .onnx files")

from mpc_bridge.importers.onnx import importer, load_graph  # noqa: E402
from tests.onnx_models import FLOAT, INT64, UINT8, Net, cnn, helper, model, quantized  # noqa: E402

LAYOUTS = [(layout, activations, weights, per_channel) for layout in ("QDQ", "QOperator")
           for activations, weights in (("QUInt8", "QInt8"), ("QInt8", "QInt8"), ("QUInt8", "QUInt8"))
           for per_channel in (True, False)]


@pytest.mark.parametrize("layout, activations, weights, per_channel", LAYOUTS)
def test_files_of_the_quantizer(layout: str, activations: str, weights: str, per_channel: bool) -> None:
    """The same network in every layout: the same computation, with the file's integers."""
    pytest.importorskip("onnxruntime")
    graph = load_graph(quantized(cnn(), layout, activations, weights, per_channel), "net")
    assert (graph.name, graph.source, graph.profile, len(graph.sha256)) == ("net", "onnx", "onnx", 64)
    assert graph.inputs[0].shape == (1, 3, 16, 16) and graph.inputs[0].dtype == "float32"
    layers = [node.kind for node in graph.nodes if node.kind not in ("Quantize", "Dequantize")]
    assert [kind for kind in layers if kind not in ("Relu", "Clip", "Flatten")] == [
        "Conv", "Conv", "Conv", "Add", "MaxPool", "Conv", "Concat", "AdaptiveAvgPool", "Linear"]
    assert graph.nodes[-1].kind == "Dequantize" and graph.outputs == graph.nodes[-1].outputs
    kinds = [array.dtype.name for array in graph.constants.values()]
    assert kinds.count("int32") == 5 and len(kinds) == 10
    if (layout, weights, per_channel) != ("QOperator", "QUInt8", True):  # the quantizer writes some as int8 there
        assert kinds.count({"QInt8": "int8", "QUInt8": "uint8"}[weights]) == 5
    scales = [len(node.attributes["scale"]) for node in graph.nodes  # type: ignore[arg-type]
              if node.kind == "Dequantize" and node.inputs[0] in graph.constants]
    assert (max(scales) > 1) == per_channel
    produced = [name for node in graph.nodes for name in node.outputs]
    assert len(produced) == len(set(produced))


def test_an_open_batch_is_one_image() -> None:
    pytest.importorskip("onnxruntime")
    graph = load_graph(quantized(cnn(batch="N")))
    assert graph.inputs[0].shape == (1, 3, 16, 16)


def _qdq(net: Net, x: str) -> str:
    parameters = [net.constant(0.02), net.constant(120, "uint8")]
    return net.node("DequantizeLinear", net.node("QuantizeLinear", x, *parameters), *parameters)


def _after_qdq(kind: str, *more: Any, shape: tuple[Any, ...] = (1, 4, 6, 6), **attributes: Any) -> bytes:
    net = Net()
    x = _qdq(net, "x")
    inputs = [net.constant(value, np.asarray(value).dtype.name) for value in more]
    net.node(kind, x, *inputs, **attributes)
    data: bytes = net.build(shape, f"t{len(net.nodes) - 1}").SerializeToString()
    return data


def _float_cnn() -> bytes:
    data: bytes = cnn().SerializeToString()
    return data


def _dynamic() -> bytes:
    nodes = [helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
             helper.make_node("MatMulInteger", ["q", "w", "z"], ["i"]),
             helper.make_node("Cast", ["i"], ["y"], to=FLOAT)]
    data: bytes = model(nodes, {"x": (FLOAT, (1, 4))}, ["y"], {"w": np.ones((4, 2), np.int8)}).SerializeToString()
    return data


def _weight_only() -> bytes:
    nodes = [helper.make_node("DequantizeLinear", ["w", "s"], ["d"]), helper.make_node("MatMul", ["x", "d"], ["y"])]
    tensors = {"w": np.ones((4, 2), np.int8), "s": np.float32(0.1)}
    data: bytes = model(nodes, {"x": (FLOAT, (1, 4))}, ["y"], tensors).SerializeToString()
    return data


def _n_bits() -> bytes:
    node = helper.make_node("MatMulNBits", ["x", "w", "s"], ["y"], domain="com.microsoft", K=32, N=2, bits=4,
                            block_size=32)
    tensors = {"w": np.ones((2, 1, 16), np.uint8), "s": np.ones(2, np.float32)}
    data: bytes = model([node], {"x": (FLOAT, (1, 32))}, ["y"], tensors).SerializeToString()
    return data


def _opset(version: int) -> bytes:
    net = Net(opset=version)
    data: bytes = net.build((1, 4), _qdq(net, "x")).SerializeToString()
    return data


def _blockwise() -> bytes:
    net = Net(opset=21)
    parameters = [net.constant(np.full((1, 2), 0.1)), net.constant(np.zeros((1, 2)), "uint8")]
    output = net.node("DequantizeLinear", net.node("QuantizeLinear", "x", *parameters, axis=1, block_size=2),
                      *parameters, axis=1, block_size=2)
    data: bytes = net.build((1, 4), output).SerializeToString()
    return data


def _sixteen_bits() -> bytes:
    net = Net(opset=21)
    parameters = [net.constant(0.1), net.constant(0, "uint16")]
    data: bytes = net.build((1, 4), net.node("DequantizeLinear", net.node(
        "QuantizeLinear", "x", *parameters), *parameters)).SerializeToString()
    return data


def _function() -> bytes:
    written = onnx.load_from_string(_after_qdq("Relu"))
    written.functions.append(helper.make_function(
        "local", "Relu6", ["a"], ["b"], [helper.make_node("Relu", ["a"], ["b"])], [helper.make_opsetid("", 17)]))
    data: bytes = written.SerializeToString()
    return data


def _subgraph() -> bytes:
    branch = helper.make_graph([helper.make_node("Relu", ["t1"], ["r"])], "branch", [],
                               [helper.make_tensor_value_info("r", FLOAT, None)])
    net = Net()
    _qdq(net, "x")
    net.node("If", net.constant(True, "bool"), then_branch=branch, else_branch=branch)
    data: bytes = net.build((1, 4), "t2").SerializeToString()
    return data


def _computed_scale() -> bytes:
    net = Net()
    scale = net.node("ReduceMax", "x", keepdims=0)
    data: bytes = net.build((1, 4), net.node("QuantizeLinear", "x", scale)).SerializeToString()
    return data


@pytest.mark.parametrize("make, what, hint", [
    (_float_cnn, "is not quantized", "quantize_static"),
    (_dynamic, "quantized dynamically", "quantize_static"),
    (_weight_only, "weights alone", "quantize_static"),
    (_n_bits, "weights alone", "quantize_static"),
    (lambda: _opset(11), "operator set 11", "version_converter"),
    (lambda: _opset(99), "operator set 99", "opset_version=28"),
    (_blockwise, "blockwise", ""), (_sixteen_bits, "uint16", ""),
    (_function, "functions of its own (inline them: onnx.inliner.inline_local_functions)", ""),
    (_subgraph, "holds a graph", ""), (_computed_scale, "dynamic quantization", ""),
    (lambda: _after_qdq("Relu", shape=(1, 4, "rows", 6)), "extents that the file leaves open",
     "make_dynamic_shape_fixed"),
    (lambda: _after_qdq("Det", shape=(1, 4, 4)), "Det (1 times", "quant_pre_process"),
    (lambda: _after_qdq("FusedConv", domain="com.microsoft"), "com.microsoft.FusedConv", ""),
    (lambda: _after_qdq("Relu", domain="my.ops"), "my.ops.Relu", ""),
    (lambda: _after_qdq("Conv", np.ones((1, 4, 1, 1, 1), np.float32), shape=(1, 4, 5, 5, 5)), "3 spatial axes", ""),
    (lambda: _after_qdq("Gather", np.array([2, 0]), axis=1), "indices other than one", ""),
    (lambda: _after_qdq("Slice", np.array([3]), np.array([0]), np.array([2]), np.array([-1])), "steps below 0", ""),
    (lambda: _after_qdq("Pad", np.array([0, 0, 0, 1] * 2), mode="edge"), "the mode 'edge'", ""),
    (lambda: _after_qdq("Pad", np.array([0, 0, 0, -1] * 2)), "paddings below 0", ""),
    (lambda: _after_qdq("Resize", np.zeros(0, np.float32), np.array([1, 1, 1.5, 1.5], np.float32), mode="nearest"),
     "a factor that is not whole", ""),
    (lambda: _after_qdq("Resize", np.zeros(0, np.float32), np.array([1, 1, 2, 2], np.float32), mode="cubic"),
     "the mode 'cubic'", ""),
    (lambda: _after_qdq("ArgMax", select_last_index=1), "the last index", ""),
    (lambda: _after_qdq("Gemm", np.ones((4, 2), np.float32), alpha=-1.0, shape=(1, 4)), "alpha or beta of -1", ""),
    (lambda: _after_qdq("Cast", to=INT64), "a conversion of float32", ""),
    (lambda: _after_qdq("AveragePool", kernel_shape=[2, 2], dilations=[2, 2]), "dilated", ""),
    (lambda: _after_qdq("Dropout", np.float32(0.5), np.array(True)), "training", ""),
], ids=lambda value: value if isinstance(value, str) else "")
def test_refusals_teach(make: Any, what: str, hint: str) -> None:
    with pytest.raises(UnsupportedModelError) as refusal:
        load_graph(make())
    assert what in f"{refusal.value.what}\n{refusal.value.where}"
    assert hint in refusal.value.hint and refusal.value.hint


def test_all_reasons_are_listed_once() -> None:
    net = Net()
    x = _qdq(net, "x")
    for _ in range(3):
        net.node("Det", x)
    net.node("Erf", x)
    net.node("Relu", "t2")  # behind what is refused: not another reason
    data = net.build((1, 4, 4), "t5", "t6").SerializeToString()
    with pytest.raises(UnsupportedModelError) as refusal:
        load_graph(data)
    assert refusal.value.where.splitlines()[1:] == ["  Det (3 times, first at node 2 'det_2')",
                                                    "  Erf (1 times, first at node 5 'erf_5')"]


def test_nodes_in_any_order() -> None:
    """What is sorted by hand or by a tool that does not care; only cycles are errors."""
    straight = onnx.load_from_string(_after_qdq("Relu"))
    turned = onnx.ModelProto()
    turned.CopyFrom(straight)
    del turned.graph.node[:]
    turned.graph.node.extend(reversed(straight.graph.node))
    wanted, found = (load_graph(written.SerializeToString()) for written in (straight, turned))
    assert [node.kind for node in found.nodes] == [node.kind for node in wanted.nodes]


def test_names_are_printable_and_unique() -> None:
    text = "a\x1b[31m\nb"
    written = model([helper.make_node("QuantizeLinear", [text, "s", "z"], ["\x1b"], name="n\x00"),
                     helper.make_node("DequantizeLinear", ["\x1b", "s", "z"], ["a?[31m?b"])],
                    {text: (FLOAT, (1, 2))}, ["a?[31m?b"], {"s": np.float32(0.1), "z": np.uint8(0)})
    graph = load_graph(written.SerializeToString())
    names = [graph.inputs[0].name, *(name for node in graph.nodes for name in (*node.outputs, node.name))]
    assert all(name.isprintable() for name in names)
    assert graph.inputs[0].name != graph.outputs[0]


def test_integer_inputs() -> None:
    net = Net()
    output = net.node("DequantizeLinear", "x", net.constant(0.5), net.constant(3, "uint8"))
    graph = load_graph(model(net.nodes, {"x": (UINT8, ("N", 2))}, [output], net.tensors).SerializeToString())
    assert [(port.shape, port.dtype) for port in graph.inputs] == [((1, 2), "uint8")]


def test_plugin() -> None:
    data = _after_qdq("Relu")
    assert importer.sniff(data[:16])
    assert not importer.sniff(b"\x1c\x00\x00\x00TFL3") and not importer.sniff(b"PK\x03\x04")
    assert importer.suffixes == (".onnx",) and importer.profiles == ("onnx",)
    with pytest.raises(UsageError, match="unknown profile"):
        importer.load(data, "model", "litert")


def test_without_the_package(tmp_path: Path) -> None:
    """The importer is there without onnx, and says what to install."""
    (tmp_path / "onnx.py").write_text("raise ImportError('not installed')\n")
    script = ("import sys; from mpc_bridge.importers.onnx import importer; assert 'onnx' not in sys.modules\n"
              "from mpc_bridge.errors import UsageError\n"
              "try: importer.load(b'', 'm', 'onnx')\n"
              "except UsageError as error: print(error.hint)")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True,
                          env={"PYTHONPATH": ":".join([str(tmp_path), str(Path(__file__).parent.parent)])})
    assert done.stdout.strip() == "pip install 'mpc-bridge[onnx]'"


def test_errors_are_typed() -> None:
    with pytest.raises(MpcBridgeError):
        load_graph(b"")
