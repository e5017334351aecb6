"""Writes .tflite files with one operator, straight through the flatbuffers schema: no framework needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import flatbuffers
import numpy as np
import numpy.typing as npt
import tflite

DTYPES = {
    "int8": tflite.TensorType.INT8,
    "uint8": tflite.TensorType.UINT8,
    "int16": tflite.TensorType.INT16,
    "int32": tflite.TensorType.INT32,
    "int64": tflite.TensorType.INT64,
    "float32": tflite.TensorType.FLOAT32,
}


#: What an options table may hold: numbers, and vectors of int32.
Field = int | float | bool | Sequence[int]


@dataclass(frozen=True)
class TensorSpec:
    """One tensor of the file; a constant when it has ``data``, else an input or output of the model."""

    shape: tuple[int, ...]
    dtype: str
    scale: tuple[float, ...] = ()
    zero_point: tuple[int, ...] = ()
    axis: int = 0
    data: npt.NDArray[np.generic] | None = None


def write(
    operator: str,
    version: int,
    inputs: Sequence[TensorSpec | None],
    output: TensorSpec | Sequence[TensorSpec],
    options: str = "",
    fields: Mapping[str, Field] | None = None,
) -> bytes:
    """A model of one op. Its inputs are the op's non-constant inputs, in order; its outputs the op's.

    Args:
        operator: name in ``BuiltinOperator``.
        version: of the operator.
        inputs: ``None`` is a missing optional input; the same object twice is one tensor read twice.
        output: the op's output, or its outputs.
        options: name of the options table, empty for none.
        fields: of the options table, by the schema's CamelCase names.
    """
    builder = flatbuffers.Builder(1024)
    tensors: list[TensorSpec] = []
    outputs = [output] if isinstance(output, TensorSpec) else list(output)
    for spec in (*inputs, *outputs):
        if spec is not None and not any(spec is known for known in tensors):
            tensors.append(spec)
    index = {id(spec): position for position, spec in enumerate(tensors)}

    # buffer 0 is empty by convention: tensors without data name it
    buffers = [_buffer(builder, None)]
    offsets = []
    for position, spec in enumerate(tensors):
        buffer = 0
        if spec.data is not None:
            buffer = len(buffers)
            buffers.append(_buffer(builder, spec.data))
        offsets.append(_tensor(builder, spec, f"tensor{position}", buffer))

    operands = [-1 if spec is None else index[id(spec)] for spec in inputs]
    results = [index[id(spec)] for spec in outputs]
    variable = list(dict.fromkeys(index[id(spec)] for spec in inputs if spec is not None and spec.data is None))
    node = _operator(builder, operands, results, options, fields or {})
    subgraph = _subgraph(builder, offsets, variable, results, node)
    return _model(builder, operator, version, subgraph, buffers)


def _offsets(builder: flatbuffers.Builder, items: Sequence[int]) -> int:
    builder.StartVector(4, len(items), 4)
    for item in reversed(items):
        builder.PrependUOffsetTRelative(item)
    return int(builder.EndVector())


def _int32s(builder: flatbuffers.Builder, items: Sequence[int]) -> int:
    return int(builder.CreateNumpyVector(np.array(items, np.int32)))


def _buffer(builder: flatbuffers.Builder, data: npt.NDArray[np.generic] | None) -> int:
    vector = None
    if data is not None:
        raw = np.frombuffer(data.tobytes(), np.uint8)
        # kernels read constants in place: aligned to 16 bytes, as the converter writes them
        builder.StartVector(1, len(raw), 16)
        builder.head -= len(raw)
        builder.Bytes[builder.head : builder.head + len(raw)] = raw.tobytes()
        vector = builder.EndVector()
    tflite.BufferStart(builder)
    if vector is not None:
        tflite.BufferAddData(builder, vector)
    return int(tflite.BufferEnd(builder))


def _tensor(builder: flatbuffers.Builder, spec: TensorSpec, name: str, buffer: int) -> int:
    quantization = 0
    if spec.scale:
        scales = builder.CreateNumpyVector(np.array(spec.scale, np.float32))
        zero_points = builder.CreateNumpyVector(np.array(spec.zero_point, np.int64))
        tflite.QuantizationParametersStart(builder)
        tflite.QuantizationParametersAddScale(builder, scales)
        tflite.QuantizationParametersAddZeroPoint(builder, zero_points)
        tflite.QuantizationParametersAddQuantizedDimension(builder, spec.axis)
        quantization = tflite.QuantizationParametersEnd(builder)
    label = builder.CreateString(name)
    shape = _int32s(builder, spec.shape)
    tflite.TensorStart(builder)
    tflite.TensorAddShape(builder, shape)
    tflite.TensorAddType(builder, DTYPES[spec.dtype])
    tflite.TensorAddBuffer(builder, buffer)
    tflite.TensorAddName(builder, label)
    if quantization:
        tflite.TensorAddQuantization(builder, quantization)
    return int(tflite.TensorEnd(builder))


def _operator(
    builder: flatbuffers.Builder,
    inputs: Sequence[int],
    outputs: Sequence[int],
    options: str,
    fields: Mapping[str, Field],
) -> int:
    table = 0
    if options:
        vectors = {field: _int32s(builder, value) for field, value in fields.items() if isinstance(value, Sequence)}
        getattr(tflite, f"{options}Start")(builder)
        for field, value in {**fields, **vectors}.items():
            getattr(tflite, f"{options}Add{field}")(builder, value)
        table = getattr(tflite, f"{options}End")(builder)
    input_vector, output_vector = _int32s(builder, inputs), _int32s(builder, outputs)
    tflite.OperatorStart(builder)
    tflite.OperatorAddOpcodeIndex(builder, 0)
    tflite.OperatorAddInputs(builder, input_vector)
    tflite.OperatorAddOutputs(builder, output_vector)
    if options:
        tflite.OperatorAddBuiltinOptionsType(builder, getattr(tflite.BuiltinOptions, options))
        tflite.OperatorAddBuiltinOptions(builder, table)
    return int(tflite.OperatorEnd(builder))


def _subgraph(
    builder: flatbuffers.Builder, tensors: Sequence[int], inputs: Sequence[int], outputs: Sequence[int], node: int
) -> int:
    tensor_vector, operators = _offsets(builder, tensors), _offsets(builder, [node])
    input_vector, output_vector = _int32s(builder, inputs), _int32s(builder, outputs)
    tflite.SubGraphStart(builder)
    tflite.SubGraphAddTensors(builder, tensor_vector)
    tflite.SubGraphAddInputs(builder, input_vector)
    tflite.SubGraphAddOutputs(builder, output_vector)
    tflite.SubGraphAddOperators(builder, operators)
    return int(tflite.SubGraphEnd(builder))


def _model(builder: flatbuffers.Builder, operator: str, version: int, subgraph: int, buffers: Sequence[int]) -> bytes:
    code = getattr(tflite.BuiltinOperator, operator)
    tflite.OperatorCodeStart(builder)
    tflite.OperatorCodeAddDeprecatedBuiltinCode(builder, code)
    tflite.OperatorCodeAddBuiltinCode(builder, code)
    tflite.OperatorCodeAddVersion(builder, version)
    codes = _offsets(builder, [tflite.OperatorCodeEnd(builder)])
    subgraphs, buffer_vector = _offsets(builder, [subgraph]), _offsets(builder, buffers)
    tflite.ModelStart(builder)
    tflite.ModelAddVersion(builder, 3)
    tflite.ModelAddOperatorCodes(builder, codes)
    tflite.ModelAddSubgraphs(builder, subgraphs)
    tflite.ModelAddBuffers(builder, buffer_vector)
    builder.Finish(tflite.ModelEnd(builder), b"TFL3")
    return bytes(builder.Output())
