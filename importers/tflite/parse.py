"""A TensorFlow Lite file as plain Python: tensors, operators and buffers, with every index and size checked.

Nothing is judged here beyond the file's own consistency; :mod:`~mpc_bridge.importers.tflite.convert` decides what is
supported.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mpc_bridge.importers.base import printable
from mpc_bridge.importers.tflite import schema
from mpc_bridge.importers.tflite.flatbuffer import Reader, Table

#: Limits on what one file may hold. The largest models in use have a few thousand tensors.
MAX_TENSORS = 65_536
MAX_OPERATORS = 65_536
MAX_RANK = 8
MAX_ELEMENTS = 2**28
MAX_CHANNELS = 2**20
MAX_OPERANDS = 4096

_NAME_BYTES = 4096

#: Types whose constants can be read: name in the file → numpy dtype (little endian, as the file is).
_CONSTANT_DTYPES = {"int8": "i1", "uint8": "u1", "int16": "<i2", "int32": "<i4", "int64": "<i8", "float32": "<f4"}


@dataclass(frozen=True)
class FileTensor:
    """One Tensor of the file.

    Attributes:
        shape: static extents, each at least 0.
        buffer: index; 0 means no data.
        oddities: what makes it more than a plain dense tensor, in words for the unsupported list.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    buffer: int
    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int
    oddities: tuple[str, ...]


@dataclass(frozen=True)
class FileOperator:
    """One Operator of the file. ``kind`` is the built-in name, ``CUSTOM`` with its own name, or an unknown number."""

    index: int
    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options_type: int
    options: Table | None
    oddities: tuple[str, ...]


@dataclass(frozen=True)
class FileModel:
    """The first subgraph of a file; ``oddities`` say what else the file has."""

    reader: Reader
    tensors: tuple[FileTensor, ...]
    operators: tuple[FileOperator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    buffers: tuple[memoryview, ...]
    oddities: tuple[str, ...]

    def is_constant(self, index: int) -> bool:
        """Whether the file holds data for the tensor."""
        tensor = self.tensors[index]
        return tensor.buffer != 0 and len(self.buffers[tensor.buffer]) > 0

    def constant(self, index: int) -> npt.NDArray[np.generic]:
        """A copy of a constant tensor's data, aligned and native.

        Raises:
            ModelFormatError: the buffer's size is not that of the tensor.
        """
        tensor = self.tensors[index]
        data = self.buffers[tensor.buffer]
        dtype = np.dtype(_CONSTANT_DTYPES[tensor.dtype])
        size = math.prod(tensor.shape) * dtype.itemsize
        if size != len(data):
            raise self.reader.error(f"tensor {index} '{tensor.name}' needs {size} bytes of data and has {len(data)}")
        self.reader.charge(size)
        array = np.frombuffer(data, dtype=dtype).reshape(tensor.shape).astype(dtype.newbyteorder("="), copy=True)
        array.flags.writeable = False
        return array


def parse(data: bytes, source: str) -> FileModel:
    """Read the structure of a file.

    Args:
        data: the whole file.
        source: its name, for errors.

    Raises:
        ModelFormatError: the file is corrupt, truncated, oversized or not a TensorFlow Lite model.
    """
    reader = Reader(data, source)
    if data[4:8] != schema.IDENTIFIER:
        raise reader.error("not a TensorFlow Lite model: it does not have the identifier TFL3 at byte 4")
    model = reader.root()
    version = model.integer(schema.Model.Version, "I")
    if version != schema.SCHEMA_VERSION:
        raise reader.error(f"schema version {version}; TensorFlow Lite files have version {schema.SCHEMA_VERSION}")
    codes = [_operator_kind(code) for code in model.tables(schema.Model.OperatorCodes, "operator code", MAX_OPERATORS)]
    buffers, external = _buffers(model)
    subgraphs = model.count(schema.Model.Subgraphs)
    graph = next(model.tables(schema.Model.Subgraphs, "subgraph", MAX_OPERATORS), None)
    if graph is None:
        raise reader.error("the model has no graph")
    tensors = tuple(
        _tensor(table, index, len(buffers), external)
        for index, table in enumerate(graph.tables(schema.SubGraph.Tensors, "tensor", MAX_TENSORS)))
    operators = tuple(
        _operator(table, index, codes, len(tensors))
        for index, table in enumerate(graph.tables(schema.SubGraph.Operators, "operator", MAX_OPERATORS)))
    return FileModel(
        reader, tensors, operators,
        _indices(graph, schema.SubGraph.Inputs, len(tensors), optional=False),
        _indices(graph, schema.SubGraph.Outputs, len(tensors), optional=False),
        buffers, () if subgraphs == 1 else (f"{subgraphs} subgraphs, where one is supported",))


def _operator_kind(code: Table) -> str:
    # the number moved from a byte to an int when 127 operators were not enough; writers fill both or either
    number = max(code.integer(schema.OperatorCode.DeprecatedBuiltinCode, "b"),
                 code.integer(schema.OperatorCode.BuiltinCode, "i"))
    if number == schema.CUSTOM:
        name = printable(code.text(schema.OperatorCode.CustomCode, _NAME_BYTES), "without a name", 64)
        return f"CUSTOM '{name}'"
    return schema.OPERATORS[number] if 0 <= number < len(schema.OPERATORS) else f"operator number {number}"


def _buffers(model: Table) -> tuple[tuple[memoryview, ...], frozenset[int]]:
    """The data of all buffers, and which of them keep their data outside the flatbuffer."""
    views = []
    external = set()
    for index, buffer in enumerate(model.tables(schema.Model.Buffers, "buffer", MAX_TENSORS)):
        views.append(buffer.data(schema.Buffer.Data))
        # 0 and 1 are placeholders that writers of small files leave behind
        if buffer.integer(schema.Buffer.Offset, "Q") > 1:
            external.add(index)
    return tuple(views), frozenset(external)


def _tensor(table: Table, index: int, buffers: int, external: frozenset[int]) -> FileTensor:
    error = table.reader.error
    name = printable(table.text(schema.Tensor.Name, _NAME_BYTES), f"tensor_{index}")
    shape = table.integers(schema.Tensor.Shape, "i", MAX_RANK)
    if any(extent < 0 for extent in shape):
        raise error(f"tensor {index} '{name}' has the shape {shape}")
    # an extent of 0 does not excuse the others: numpy refuses shapes whose other extents overflow
    if math.prod(max(extent, 1) for extent in shape) > MAX_ELEMENTS:
        raise error(f"tensor {index} '{name}' has the shape {shape}, more than {MAX_ELEMENTS} elements")
    number = table.integer(schema.Tensor.Type, "b")
    dtype = schema.TENSOR_TYPES[number] if 0 <= number < len(schema.TENSOR_TYPES) else f"type number {number}"
    buffer = table.integer(schema.Tensor.Buffer, "I")
    if buffer >= buffers and buffer != 0:
        raise error(f"tensor {index} '{name}' uses buffer {buffer} of {buffers}")
    oddities = []
    if table.integer(schema.Tensor.IsVariable, "?"):
        oddities.append("a variable tensor")
    if table.has(schema.Tensor.Sparsity):
        oddities.append("a sparse tensor")
    if table.count(schema.Tensor.VariantTensors):
        oddities.append("a variant tensor")
    if buffer in external or table.integer(schema.TENSOR_EXTERNAL_BUFFER, "I"):
        oddities.append("data outside the flatbuffer")
    scale: tuple[float, ...] = ()
    zero_point: tuple[int, ...] = ()
    axis = 0
    quantization = table.table(schema.Tensor.Quantization, f"the quantization of tensor {index}")
    if quantization is not None:
        scale = tuple(map(float, quantization.numbers(schema.QuantizationParameters.Scale, "f", MAX_CHANNELS)))
        zero_point = quantization.integers(schema.QuantizationParameters.ZeroPoint, "q", MAX_CHANNELS)
        axis = quantization.integer(schema.QuantizationParameters.QuantizedDimension, "i")
        if quantization.integer(schema.QuantizationParameters.DetailsType, "B"):
            oddities.append("custom or blockwise quantization")
        if not zero_point:
            zero_point = (0,) * len(scale)
        elif scale and len(zero_point) != len(scale):
            raise error(f"tensor {index} '{name}' has {len(scale)} scales and {len(zero_point)} zero points")
    return FileTensor(index, name, shape, dtype, buffer, scale, zero_point, axis, tuple(oddities))


def _operator(table: Table, index: int, codes: list[str], tensors: int) -> FileOperator:
    code = table.integer(schema.Operator.OpcodeIndex, "I")
    if code >= len(codes):
        raise table.reader.error(f"operator {index} has code {code} of {len(codes)}")
    oddities = []
    if any(table.integers(schema.Operator.MutatingVariableInputs, "B", MAX_OPERANDS)):
        oddities.append("inputs that it changes")
    if table.integers(schema.Operator.Intermediates, "i", MAX_OPERANDS):
        oddities.append("intermediate tensors")
    return FileOperator(
        index, codes[code],
        _indices(table, schema.Operator.Inputs, tensors, optional=True),
        _indices(table, schema.Operator.Outputs, tensors, optional=False),
        table.integer(schema.Operator.BuiltinOptionsType, "B"),
        table.table(schema.Operator.BuiltinOptions, f"the options of operator {index}"),
        tuple(oddities))


def _indices(table: Table, slot: int, tensors: int, optional: bool) -> tuple[int, ...]:
    indices = table.integers(slot, "i", MAX_OPERANDS)
    for index in indices:
        if not (-1 if optional else 0) <= index < tensors:
            raise table.reader.error(f"{table.label} uses tensor {index} of {tensors}")
    return indices
