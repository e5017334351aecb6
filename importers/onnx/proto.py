"""An ONNX file as plain Python: nodes in execution order, attributes and tensors, every size and name checked.

The ``onnx`` package only turns bytes into messages here (protocol buffers, counted before they are parsed:
:mod:`~mpc_bridge.importers.onnx.wire`). Its checker, its shape inference and its conversion of tensors, which opens
files that a tensor names, are not used. Nothing is judged beyond the file's own consistency;
:mod:`~mpc_bridge.importers.onnx.read` decides what is supported.
"""

from __future__ import annotations

import heapq
import importlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mpc_bridge.errors import ModelFormatError, UnsupportedModelError, UsageError
from mpc_bridge.importers.base import printable
from mpc_bridge.importers.onnx.wire import WireError, count_parts

#: Limits on what one file may hold. The largest models in use have a few thousand nodes.
MAX_NODES = 65_536
MAX_TENSORS = 65_536
MAX_RANK = 8
MAX_ELEMENTS = 2**28
MAX_OPERANDS = 4096
MAX_ATTRIBUTES = 64

#: Versions of the operator set whose operators are known. 13 is where quantization got its axis.
OPSETS = (13, 28)

Array = npt.NDArray[Any]
Attribute = int | float | str | tuple[int, ...] | tuple[float, ...] | Array

#: TensorProto.DataType: number → numpy name, little endian as the file is, and the field that holds unpacked values.
_DTYPES = {1: ("<f4", "float_data"), 2: ("u1", "int32_data"), 3: ("i1", "int32_data"), 4: ("<u2", "int32_data"),
           5: ("<i2", "int32_data"), 6: ("<i4", "int32_data"), 7: ("<i8", "int64_data"), 9: ("?", "int32_data"),
           11: ("<f8", "double_data"), 12: ("<u4", "uint64_data"), 13: ("<u8", "uint64_data")}
_OTHER_DTYPES = {8: "string", 10: "float16", 14: "complex64", 15: "complex128", 16: "bfloat16", 17: "float8",
                 18: "float8", 19: "float8", 20: "float8", 21: "uint4", 22: "int4", 23: "float4"}
_EXTERNAL = 1


@dataclass(frozen=True)
class FileNode:
    """One NodeProto. ``domain`` is ``""`` for ONNX's own operators; ``oddities`` are attributes that no op may have."""

    index: int
    kind: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute]
    oddities: tuple[str, ...]


@dataclass(frozen=True)
class FilePort:
    """A graph input. An extent is None where the file does not fix it; ``shape`` is None where it says nothing."""

    name: str
    shape: tuple[int | None, ...] | None
    dtype: str


@dataclass(frozen=True)
class FileModel:
    """A checked file.

    Attributes:
        opset: version of ONNX's operator set.
        nodes: in execution order; no tensor is produced twice.
        tensors: stored tensors by name.
        oddities: what makes the file more than one graph of operators.
    """

    source: str
    opset: int
    inputs: tuple[FilePort, ...]
    outputs: tuple[str, ...]
    nodes: tuple[FileNode, ...]
    tensors: Mapping[str, Array]
    oddities: tuple[str, ...]

    def error(self, what: str) -> ModelFormatError:
        """The error for a file that contradicts itself."""
        return corrupt(what, self.source)


def corrupt(what: str, source: str) -> ModelFormatError:
    """The error for a file that is not sound ONNX."""
    return ModelFormatError(what, where=source, hint="the file is corrupt or not an ONNX model: export it again")


def dtype_name(number: int) -> str:
    """A tensor's type, as numpy calls it where numpy has it."""
    if number in _DTYPES:
        return np.dtype(_DTYPES[number][0]).name
    return _OTHER_DTYPES.get(number, f"type number {number}")


def parse(data: bytes, source: str) -> FileModel:
    """Read the structure of a file.

    Args:
        data: the whole file.
        source: its name, for errors.

    Raises:
        ModelFormatError: the file is corrupt, truncated, oversized or not an ONNX model.
        UnsupportedModelError: parts of it are in other files, or it is of an operator set before 13.
        UsageError: the package ``onnx`` is not installed.
    """
    model = _message(data, source)
    try:
        return _model(model, source)
    except UnicodeDecodeError as error:
        raise corrupt("a name is not UTF-8 text", source) from error


def _message(data: bytes, source: str) -> Any:
    try:
        onnx = importlib.import_module("onnx")
        decode_error: type[Exception] = importlib.import_module("google.protobuf.message").DecodeError
    except ImportError as error:
        raise UsageError("reading .onnx files takes the package onnx, which is not installed", where=source,
                         hint="pip install 'mpc-bridge[onnx]'") from error
    model = onnx.ModelProto()
    try:
        count_parts(data)
        model.ParseFromString(data)
    except WireError as error:
        raise corrupt(f"not an ONNX model: its protocol buffer has {error}", source) from error
    except (decode_error, RecursionError, ValueError) as error:
        raise corrupt("not an ONNX model: its protocol buffer does not parse", source) from error
    return model


def _model(model: Any, source: str) -> FileModel:
    if not model.HasField("graph"):
        raise corrupt("not an ONNX model: it has no graph", source)
    graph = model.graph
    for what, count, most in (("nodes", len(graph.node), MAX_NODES), ("tensors", len(graph.initializer), MAX_TENSORS),
                              ("inputs", len(graph.input), MAX_OPERANDS), ("outputs", len(graph.output), MAX_OPERANDS)):
        if count > most:
            raise corrupt(f"the graph has {count} {what}, more than {most}", source)
    opset = _opset(model, source)
    oddities = [text for field, text in (
        (model.functions, "functions of its own (inline them: onnx.inliner.inline_local_functions)"),
        (graph.sparse_initializer, "sparse tensors"), (model.training_info, "training information")) if field]
    tensors: dict[str, Array] = {}
    for tensor in graph.initializer:
        name = str(tensor.name)
        if name in tensors or not name:
            raise corrupt(f"two stored tensors are called '{printable(name, '', 64)}'", source)
        tensors[name] = tensor_array(tensor, source)
    inputs = tuple(_port(port, source) for port in graph.input if port.name not in tensors)
    nodes = tuple(_node(node, index, source) for index, node in enumerate(graph.node))
    outputs = tuple(str(port.name) for port in graph.output)
    return FileModel(source, opset, inputs, outputs, _sorted(nodes, inputs, outputs, tensors, source), tensors,
                     tuple(oddities))


def _opset(model: Any, source: str) -> int:
    versions = {str(entry.domain): int(entry.version) for entry in model.opset_import}
    version = versions.get("", versions.get("ai.onnx"))
    if version is None or version < 1:
        raise corrupt("not an ONNX model: it does not name its operator set", source)
    least, most = OPSETS
    if version < least:
        raise UnsupportedModelError(
            f"the model uses operator set {version}, and quantization is exact from {least} on", where=source,
            hint=f"convert it: onnx.save(onnx.version_converter.convert_version(onnx.load(path), {least}), path)")
    if version > most:
        raise UnsupportedModelError(f"the model uses operator set {version}; {least} to {most} are known", where=source,
                                    hint=f"export it with opset_version={most} or less")
    return version


def _port(port: Any, source: str) -> FilePort:
    name = str(port.name)
    if not port.type.HasField("tensor_type"):
        raise UnsupportedModelError(f"the input '{printable(name, '', 64)}' is not a tensor", where=source,
                                    hint="sequences, maps and optional inputs are not supported")
    kind = port.type.tensor_type
    shape: tuple[int | None, ...] | None = None
    if kind.HasField("shape"):
        if len(kind.shape.dim) > MAX_RANK:
            raise corrupt(f"the input '{printable(name, '', 64)}' has {len(kind.shape.dim)} axes", source)
        shape = tuple(int(axis.dim_value) if axis.HasField("dim_value") else None for axis in kind.shape.dim)
        # some exporters write -1 or 0 where they mean an open extent
        shape = tuple(None if extent is not None and extent <= 0 else extent for extent in shape)
    return FilePort(name, shape, dtype_name(int(kind.elem_type)))


def _node(node: Any, index: int, source: str) -> FileNode:
    if max(len(node.input), len(node.output)) > MAX_OPERANDS or len(node.attribute) > MAX_ATTRIBUTES:
        raise corrupt(f"node {index} has too many operands or attributes", source)
    domain = "" if node.domain == "ai.onnx" else str(node.domain)
    attributes: dict[str, Attribute] = {}
    oddities = []
    for attribute in node.attribute:
        name = printable(str(attribute.name), "without a name", 64)
        if name in attributes:
            raise corrupt(f"node {index} has two attributes '{name}'", source)
        value = _attribute(attribute, source)
        if value is None:
            oddities.append(f"the attribute {name} holds a graph, or what is no number, text or tensor")
        else:
            attributes[name] = value
    return FileNode(index, printable(str(node.op_type), "without a name", 64), printable(domain, "", 64),
                    str(node.name), tuple(map(str, node.input)), tuple(map(str, node.output)), attributes,
                    tuple(oddities))


def _attribute(attribute: Any, source: str) -> Attribute | None:
    """None for graphs, sparse tensors, types, references to a function's arguments, and lists of strings or tensors."""
    if attribute.ref_attr_name:
        return None
    kind = int(attribute.type)
    if kind == 1:
        return float(attribute.f)
    if kind == 2:
        return int(attribute.i)
    if kind == 3:
        return printable(bytes(attribute.s).decode("utf-8", "replace"), "", 64)
    if kind == 4:
        return tensor_array(attribute.t, source)
    if kind in (6, 7):
        values = attribute.floats if kind == 6 else attribute.ints
        if len(values) > MAX_OPERANDS:
            raise corrupt(f"an attribute has {len(values)} entries, more than {MAX_OPERANDS}", source)
        return tuple(map(float, values)) if kind == 6 else tuple(map(int, values))
    return None


def tensor_array(tensor: Any, source: str) -> Array:
    """A stored tensor's values, checked against its shape.

    Raises:
        ModelFormatError: shape and data do not fit together.
        UnsupportedModelError: the values are in another file, or of a type that numpy does not have.
    """
    name = f"the tensor '{printable(str(tensor.name), 'without a name', 64)}'"
    if int(tensor.data_location) == _EXTERNAL or len(tensor.external_data):
        raise UnsupportedModelError(
            f"{name} is kept in another file, and a model file is read alone", where=source,
            hint="put it all into one: onnx.save_model(onnx.load(path), new_path, save_as_external_data=False)")
    shape = tuple(int(extent) for extent in tensor.dims[: MAX_RANK + 1])
    # an extent of 0 does not excuse the others: numpy refuses shapes whose other extents overflow
    if (len(shape) > MAX_RANK or any(extent < 0 for extent in shape)
            or math.prod(max(extent, 1) for extent in shape) > MAX_ELEMENTS):
        raise corrupt(f"{name} has the shape {shape}", source)
    number = int(tensor.data_type)
    if number not in _DTYPES:
        raise UnsupportedModelError(f"{name} holds {dtype_name(number)} values", where=source,
                                    hint="int8 and uint8 models with float32 scales are supported")
    if tensor.HasField("segment"):
        raise UnsupportedModelError(f"{name} is stored in segments", where=source, hint="store it in one piece")
    little, field = _DTYPES[number]
    dtype = np.dtype(little)
    count = math.prod(shape)
    if tensor.HasField("raw_data"):
        raw = tensor.raw_data
        if len(raw) != count * dtype.itemsize:
            raise corrupt(f"{name} of shape {shape} has {len(raw)} bytes of data, not {count * dtype.itemsize}", source)
        array = np.frombuffer(raw, dtype).reshape(shape).astype(dtype.newbyteorder("="))
    else:
        values = getattr(tensor, field)
        if len(values) != count:
            raise corrupt(f"{name} of shape {shape} has {len(values)} values", source)
        wide = np.array(values, np.float64 if dtype.kind == "f" else np.uint64 if dtype.kind == "u" else np.int64)
        array = wide.astype(dtype.newbyteorder("=")).reshape(shape)
        if dtype.kind in "iu" and not np.array_equal(array.reshape(-1).astype(wide.dtype), wide):
            raise corrupt(f"{name} has values outside {dtype.name}", source)
    if dtype.kind == "b" and tensor.HasField("raw_data"):
        array = np.asarray(array.view(np.uint8) != 0)
    array.flags.writeable = False
    return array


def _sorted(nodes: Sequence[FileNode], inputs: Sequence[FilePort], outputs: Sequence[str],
            tensors: Mapping[str, Array], source: str) -> tuple[FileNode, ...]:
    """The nodes in execution order, the file's own wherever it is one.

    Raises:
        ModelFormatError: a tensor has two producers or none, or the graph has a cycle.
    """
    producer: dict[str, int] = {}
    known = {"", *tensors}
    for port in inputs:
        if port.name in known:
            raise corrupt(f"two inputs are called '{printable(port.name, '', 64)}'", source)
        known.add(port.name)
    for node in nodes:
        for name in node.outputs:
            if name and (name in producer or name in known):
                raise corrupt(f"two nodes produce the tensor '{printable(name, '', 64)}'", source)
            if name:
                producer[name] = node.index
    waiting = []
    consumers: dict[int, list[int]] = {}
    for node in nodes:
        needed = set()
        for name in node.inputs:
            if name in producer:
                needed.add(producer[name])
            elif name not in known:
                raise corrupt(f"nothing produces the tensor '{printable(name, '', 64)}' that node {node.index} reads",
                              source)
        waiting.append(len(needed))
        for index in needed:
            consumers.setdefault(index, []).append(node.index)
    for name in outputs:
        if not name or (name not in producer and name not in known):
            raise corrupt(f"nothing produces the output '{printable(name, '', 64)}'", source)
    ready = [index for index, count in enumerate(waiting) if count == 0]
    order = []
    while ready:
        index = heapq.heappop(ready)
        order.append(nodes[index])
        for consumer in consumers.get(index, ()):
            waiting[consumer] -= 1
            if waiting[consumer] == 0:
                heapq.heappush(ready, consumer)
    if len(order) != len(nodes):
        raise corrupt("the graph has a cycle", source)
    return tuple(order)
