"""Small ONNX models: written node by node, and quantized by onnxruntime's own quantizer."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[Any]
FLOAT, INT8, UINT8, INT32, INT64 = (
    TensorProto.FLOAT, TensorProto.INT8, TensorProto.UINT8, TensorProto.INT32, TensorProto.INT64)


def model(nodes: Sequence[onnx.NodeProto], inputs: Mapping[str, tuple[int, Sequence[int | str]]],
          outputs: Mapping[str, int] | Sequence[str], tensors: Mapping[str, Array] | None = None, opset: int = 17,
          ir_version: int = 9) -> onnx.ModelProto:
    """A model of nodes. ``inputs``: name → (type, shape); ``outputs``: name → type, float32 where a list names them."""
    kinds = outputs if isinstance(outputs, Mapping) else dict.fromkeys(outputs, FLOAT)
    graph = helper.make_graph(
        list(nodes), "test", [helper.make_tensor_value_info(name, kind, shape)
                              for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in kinds.items()],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in (tensors or {}).items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset),
                                                   helper.make_opsetid("com.microsoft", 1)], ir_version=ir_version)


class Net:
    """A float network that grows by layers, for the quantizer, with seeded weights."""

    def __init__(self, seed: int = 0, opset: int = 17) -> None:
        self.random = np.random.default_rng(seed)
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: dict[str, Array] = {}

    def constant(self, array: Any, dtype: str = "float32") -> str:
        """A stored tensor."""
        name = f"c{len(self.tensors)}"
        self.tensors[name] = np.asarray(array, dtype)
        return name

    def weights(self, *shape: int) -> str:
        """Random weights whose channels differ in range."""
        spread = np.exp(self.random.normal(0, 0.5, (shape[0],) + (1,) * (len(shape) - 1)))
        return self.constant(self.random.normal(0, 1, shape) * spread / np.sqrt(np.prod(shape[1:]) or 1))

    def node(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        """Append a node; the name of its (first) output."""
        name = f"t{len(self.nodes)}"
        names = [name, *(f"{name}_{index}" for index in range(1, outputs))]
        self.nodes.append(helper.make_node(kind, list(inputs), names, name=f"{kind.lower()}_{len(self.nodes)}",
                                           **attributes))
        return name

    def conv(self, x: str, channels: int, outputs: int, kernel: Sequence[int] = (3, 3), group: int = 1,
             **attributes: Any) -> str:
        """A convolution with a bias."""
        weights = self.weights(outputs, channels // group, *kernel)
        return self.node("Conv", x, weights, self.weights(outputs), group=group, **attributes)

    def build(self, shape: Sequence[int | str], *outputs: str) -> onnx.ModelProto:
        """The model with one input ``x``."""
        return model(self.nodes, {"x": (FLOAT, shape)}, outputs, self.tensors, self.opset)


def cnn(opset: int = 17, batch: int | str = 1) -> onnx.ModelProto:
    """Conv, depthwise, residual add, max and average pooling, concatenation, linear."""
    net = Net(1, opset)
    stem = net.node("Relu", net.conv("x", 3, 8, pads=[1, 1, 1, 1], strides=[2, 2]))
    deep = net.node("Clip", net.conv(stem, 8, 8, group=8, pads=[1, 1, 1, 1]), net.constant(0.0), net.constant(6.0))
    point = net.conv(deep, 8, 8, (1, 1))
    total = net.node("Relu", net.node("Add", stem, point))
    pooled = net.node("MaxPool", total, kernel_shape=[2, 2], strides=[2, 2])
    both = net.node("Concat", pooled, net.conv(pooled, 8, 4, (1, 1)), axis=1)
    mean = net.node("GlobalAveragePool", both)
    flat = net.node("Flatten", mean)
    logits = net.node("Gemm", flat, net.weights(10, 12), net.weights(10), transB=1)
    return net.build((batch, 3, 16, 16), logits)


class Calibration:
    """Batches of seeded noise for the quantizer."""

    def __init__(self, shape: Sequence[int], count: int = 8, seed: int = 5) -> None:
        random = np.random.default_rng(seed)
        self._batches: Iterator[dict[str, Array]] = iter(
            [{"x": random.normal(0, 1, shape).astype(np.float32)} for _ in range(count)])

    def get_next(self) -> dict[str, Array] | None:
        """The next batch; None at the end."""
        return next(self._batches, None)


def quantized(float_model: onnx.ModelProto, layout: str = "QDQ", activations: str = "QUInt8", weights: str = "QInt8",
              per_channel: bool = True, **options: Any) -> bytes:
    """A model as ``onnxruntime.quantization.quantize_static`` writes it."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    shape = [axis.dim_value or 1 for axis in float_model.graph.input[0].type.tensor_type.shape.dim]
    reader: Callable[[], CalibrationDataReader] = type("Reader", (Calibration, CalibrationDataReader), {
        "__init__": lambda self: Calibration.__init__(self, shape)})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        result = Path(folder) / "quantized.onnx"
        onnx.save(float_model, path)
        quantize_static(path, result, reader(), quant_format=QuantFormat[layout], per_channel=per_channel,
                        activation_type=QuantType[activations], weight_type=QuantType[weights], **options)
        return result.read_bytes()
