"""From a checked file to the neutral graph: every node read, or everything unsupported said at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from mpc_bridge.errors import UnsupportedModelError
from mpc_bridge.importers.base import printable
from mpc_bridge.importers.onnx import fold
from mpc_bridge.importers.onnx.build import (
    Activation,
    Builder,
    Constant,
    Operand,
    Quantization,
    UnsupportedNodeError,
)
from mpc_bridge.importers.onnx.layers import LAYERS
from mpc_bridge.importers.onnx.moves import MOVES
from mpc_bridge.importers.onnx.pointwise import POINTWISE
from mpc_bridge.importers.onnx.proto import MAX_ELEMENTS, Array, FileModel, FileNode, FilePort
from mpc_bridge.importers.onnx.qoperators import MICROSOFT, STANDARD
from mpc_bridge.importers.onnx.refusals import refuse_other_quantization
from mpc_bridge.importers.onnx.site import ACTIVATION_DTYPES, Site
from mpc_bridge.importers.qdq.graph import Graph, Port

CONVERSIONS: Mapping[str, Mapping[str, Callable[[Site], None]]] = {
    "": {**LAYERS, **POINTWISE, **MOVES, **STANDARD}, "com.microsoft": MICROSOFT,
}

MAX_INPUTS = 64

#: What makes a quantized tensor out of one: it says what the integers of an input stand for.
_READS = ("DequantizeLinear", "QLinearConv", "QLinearMatMul", "QGemm", "QLinearAdd", "QLinearMul", "QLinearAveragePool",
          "QLinearGlobalAveragePool", "QLinearSigmoid", "QLinearLeakyRelu", "QLinearSoftmax")


def read(model: FileModel, name: str, profile: str, sha256: str) -> Graph:
    """The neutral graph of a file.

    Raises:
        ModelFormatError: a node contradicts itself.
        UnsupportedModelError: lists every node kind and reason, how often, and where first.
    """
    refuse_other_quantization(model)
    return _Reader(model).read(name, profile, sha256)


class _Reader:
    def __init__(self, model: FileModel) -> None:
        self.model = model
        attributes = (value for node in model.nodes for value in node.attributes.values())
        stored = [*model.tensors.values(), *(value for value in attributes if isinstance(value, np.ndarray))]
        self.builder = Builder(model.source, sum(array.nbytes for array in stored))
        #: None: the node that produces it was refused
        self.values: dict[str, Operand | None] = {
            name: Constant(name, array) for name, array in model.tensors.items()}
        #: (kind, reason) → how often, and where first
        self.refused: dict[tuple[str, str], tuple[int, str]] = {}

    def read(self, name: str, profile: str, sha256: str) -> Graph:
        if len(self.model.inputs) > MAX_INPUTS:
            raise self.model.error(f"the graph has {len(self.model.inputs)} inputs, more than {MAX_INPUTS}")
        ports = tuple(self._input(port) for port in self.model.inputs)
        for oddity in self.model.oddities:
            self._refuse("the file", oddity, "")
        for node in self.model.nodes:
            self._node(node)
        outputs = tuple(self._output(output) for output in self.model.outputs)
        if self.refused:
            raise UnsupportedModelError(
                "the model uses what this version cannot evaluate exactly", where="\n".join(
                    [self.model.source, *(_entry(*key, *value) for key, value in self.refused.items())]),
                hint="`mpc-bridge ops` lists what is supported; fixed shapes and constant folding help: "
                     "onnxruntime.quantization.shape_inference.quant_pre_process(path, new_path)")
        return Graph(name, "onnx", profile, ports, outputs, tuple(self.builder.nodes), self.builder.constants, sha256)

    def _refuse(self, kind: str, reason: str, place: str) -> None:
        count, first = self.refused.get((kind, reason), (0, place))
        self.refused[kind, reason] = (count + 1, first)

    def _input(self, port: FilePort) -> Port:
        where = f"the input '{printable(port.name, '', 64)}'"
        if port.dtype not in ("float32", *ACTIVATION_DTYPES):
            raise UnsupportedModelError(f"{where} holds {port.dtype} values", where=self.model.source,
                                        hint="float32, int8 and uint8 inputs are supported")
        if port.shape is None or any(extent is None for extent in port.shape[1:]):
            raise UnsupportedModelError(
                f"{where} has extents that the file leaves open", where=self.model.source,
                hint="fix all but the batch: python -m onnxruntime.tools.make_dynamic_shape_fixed "
                     "--input_name NAME --input_shape 1,3,224,224 model.onnx fixed.onnx")
        # a batch that is open is read as one image
        shape = tuple(1 if extent is None else extent for extent in port.shape)
        size = 1
        for extent in shape:
            size *= extent
        if size > MAX_ELEMENTS:
            raise self.model.error(f"{where} has the shape {shape}, more than {MAX_ELEMENTS} elements")
        meaning = self._meaning(port.name, port.dtype) if port.dtype != "float32" else None
        value = Activation(self.builder.fresh(port.name), shape, port.dtype, meaning)
        self.values[port.name] = value
        return Port(value.name, shape, port.dtype)

    def _meaning(self, name: str, dtype: str) -> Quantization | None:
        """What an integer input stands for: what the first node says that reads it, or a move of it."""
        same = {name}
        for node in self.model.nodes:
            if not node.inputs or node.inputs[0] not in same:
                continue
            if node.kind in _READS and len(node.inputs) > 2:
                scale, zero = (self.model.tensors.get(operand) for operand in node.inputs[1:3])
                if scale is None or scale.size != 1 or (zero is not None and zero.size != 1):
                    return None
                value = float(scale.reshape(-1)[0])
                point = int(zero.reshape(-1)[0]) if zero is not None else 0
                limits = np.iinfo(dtype)
                if 0 < value < float("inf") and limits.min <= point <= limits.max:
                    return Quantization((value,), (point,), None, dtype)
                return None
            same.update(node.outputs)
        return None

    def _node(self, node: FileNode) -> None:
        operands = [self.values.get(name) if name else None for name in node.inputs]
        if any(name and value is None for name, value in zip(node.inputs, operands, strict=True)):
            # what feeds it was refused: the first reason is enough
            self.values.update(dict.fromkeys(node.outputs))
            return
        site = Site(self.model, node, self.builder, operands)
        try:
            if node.oddities:
                raise UnsupportedNodeError(node.oddities[0])
            if not self._folded(site):
                handlers = CONVERSIONS.get(node.domain, {})
                if node.kind not in handlers:
                    raise UnsupportedNodeError("")
                handlers[node.kind](site)
        except UnsupportedNodeError as error:
            kind = f"{node.domain}.{node.kind}" if node.domain else node.kind
            self._refuse(kind, str(error), site.place)
        for position, name in enumerate(node.outputs):
            if name:
                self.values[name] = site.results.get(position)

    def _folded(self, site: Site) -> bool:
        """Whether the node only computes with constants and shapes; its result is a constant then."""
        node = site.node
        if node.domain or len(node.outputs) != 1 or not node.outputs[0]:
            return False
        name = node.outputs[0]
        if node.kind == "Constant":
            site.results[0] = Constant(name, _constant(site))
        elif node.kind == "Shape":
            site.count(1, 1)
            value = site.required(0)
            shape = value.array.shape if isinstance(value, Constant) else value.shape
            start, end = site.integer("start", 0), site.integer("end", len(shape))
            site.results[0] = Constant(name, np.array(shape[start:end], np.int64))
        elif node.kind not in STANDARD and node.inputs and all(
                value is None or isinstance(value, Constant) for value in site.operands):
            arrays = [value.array if isinstance(value, Constant) else None for value in site.operands]
            try:
                array = fold.fold(node.kind, arrays, node.attributes)
            except fold.FoldError as error:
                raise UnsupportedNodeError(str(error)) from error
            if node.kind == "Reshape":
                self.builder.charge(array.nbytes)
            site.results[0] = Constant(name, array)
        else:
            return False
        return True

    def _output(self, name: str) -> str:
        value = self.values.get(name)
        if isinstance(value, Activation):
            return value.name
        if value is not None:
            self._refuse("the model's outputs", "a constant", f"'{printable(name, '', 64)}'")
        return ""


def _constant(site: Site) -> Array:
    attributes = site.node.attributes
    if len(attributes) != 1:
        raise UnsupportedNodeError("a value that is no number or tensor")
    name, value = next(iter(attributes.items()))
    if name == "value" and isinstance(value, np.ndarray):
        return value
    if name in ("value_float", "value_floats") and not isinstance(value, (str, np.ndarray)):
        return np.array(value, np.float32)
    if name in ("value_int", "value_ints") and not isinstance(value, (str, np.ndarray)):
        return np.array(value, np.int64)
    raise UnsupportedNodeError("a value that is no number or tensor")


def _entry(kind: str, reason: str, count: int, place: str) -> str:
    text = f"  {kind}: {reason}" if reason else f"  {kind}"
    return f"{text} ({count} times, first at {place})" if place else text
