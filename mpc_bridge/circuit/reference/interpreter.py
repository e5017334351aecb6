"""Runs a circuit op by op and checks every array against what the circuit says of its tensor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from mpc_bridge.circuit.graph import Circuit
from mpc_bridge.circuit.reference import (
    elementwise,
    floats,
    functions,
    linear,
    moves,
    pooling,
    products,
    rescale,
    resize,
)
from mpc_bridge.circuit.reference.operands import Array, Kernel, Operands
from mpc_bridge.circuit.reference.softmax import softmax
from mpc_bridge.errors import CircuitError, InputError

#: One function per row of :data:`mpc_bridge.circuit.ops.OPS`.
KERNELS: Mapping[str, Kernel] = {
    "CONV_2D": linear.conv_2d,
    "DEPTHWISE_CONV_2D": linear.depthwise_conv_2d,
    "FULLY_CONNECTED": linear.fully_connected,
    "TRANSPOSE_CONV": linear.transpose_conv,
    "ADD": elementwise.add,
    "SUB": elementwise.add,
    "MUL": products.mul,
    "BATCH_MATMUL": products.batch_matmul,
    "MAXIMUM": elementwise.maximum,
    "MINIMUM": elementwise.maximum,
    "ARG_MAX": elementwise.arg_max,
    "REDUCE_MAX": elementwise.reduce_max,
    "REDUCE_MIN": elementwise.reduce_max,
    "AVERAGE": pooling.average,
    "AVERAGE_POOL_2D": pooling.average_pool_2d,
    "MAX_POOL_2D": pooling.max_pool_2d,
    "MEAN": pooling.mean,
    "RESHAPE": moves.reshape,
    "SQUEEZE": moves.reshape,
    "EXPAND_DIMS": moves.reshape,
    "TRANSPOSE": moves.transpose,
    "SLICE": moves.strided_slice,
    "STRIDED_SLICE": moves.strided_slice,
    "SPLIT": moves.part,
    "SPLIT_V": moves.part,
    "UNPACK": moves.part,
    "PACK": moves.pack,
    "TILE": moves.tile,
    "RESIZE_NEAREST_NEIGHBOR": moves.resize_nearest_neighbor,
    "RESIZE_BILINEAR": resize.resize_bilinear,
    "SPACE_TO_DEPTH": moves.space_to_depth,
    "DEPTH_TO_SPACE": moves.depth_to_space,
    "MIRROR_PAD": moves.mirror_pad,
    "PAD": moves.pad,
    "CONCATENATION": elementwise.concatenation,
    "QUANTIZE": elementwise.quantize,
    "DEQUANTIZE": elementwise.dequantize,
    "SOFTMAX": softmax,
    "RELU": elementwise.relu,
    "RELU6": elementwise.relu,
    "RELU_N1_TO_1": elementwise.relu,
    "LEAKY_RELU": functions.leaky_relu,
    "PRELU": products.prelu,
    "HARD_SWISH": functions.hard_swish,
    "LOGISTIC": functions.logistic,
    "TANH": functions.tanh,
    "RESCALE": rescale.rescale,
    "TABLE": rescale.table,
    "FLOAT_SOFTMAX": floats.softmax,
    "FLOAT_UNARY": floats.unary,
}


def evaluate_ops(circuit: Circuit, op_indices: Iterable[int], values: Mapping[int, Array]) -> dict[int, Array]:
    """Run some ops, in the order given: what a data owner does before sharing, or a receiver after the reveal.

    Args:
        circuit: may be public when the ops need no constants.
        op_indices: into ``circuit.ops``.
        values: tensor index → array in the tensor's dtype, for every input that is neither a constant of the circuit
            nor an output of an earlier op of this call.

    Returns:
        Tensor index → array in the tensor's dtype and shape, for the outputs of these ops alone.

    Raises:
        CircuitError: a value is missing, or an op does not produce what its output tensor says.
        UnsupportedModelError: an op whose parameters the framework does not define.
        InputError: NaN in a float input.
    """
    known = {**circuit.constants, **values}
    outputs: dict[int, Array] = {}
    for index in op_indices:
        op = circuit.ops[index]
        present = [position for position in op.inputs if position >= 0]
        missing = [circuit.tensors[position].name for position in present if position not in known]
        if missing:
            raise CircuitError(
                f"no value for {', '.join(missing)}", where=f"op {op.name} ({op.kind})",
                hint="a public circuit holds no weights; evaluate the circuit that was imported")
        if op.kind not in KERNELS:
            raise CircuitError(f"unknown op kind {op.kind}", where=f"op {op.name}")
        target = circuit.tensors[op.outputs[0]]
        operands = Operands(
            op,
            tuple(known[position] if position >= 0 else None for position in op.inputs),
            tuple(circuit.tensors[position] if position >= 0 else None for position in op.inputs),
            target,
        )
        result = KERNELS[op.kind](operands)
        if result.shape != target.shape:
            raise CircuitError(
                f"{op.kind} gives shape {result.shape}, its output tensor says {target.shape}",
                where=f"op {op.name}, tensor {target.name}")
        outputs[op.outputs[0]] = known[op.outputs[0]] = result.astype(target.dtype, copy=False)
    return outputs


def trace(circuit: Circuit, inputs: Sequence[Array]) -> dict[int, Array]:
    """Run the whole circuit and keep every op's output.

    Args:
        circuit: with its constants.
        inputs: one array per model input, in the model's order, of the tensor's exact shape and dtype.

    Returns:
        Tensor index → array, for the model's inputs and every op output.

    Raises:
        InputError: wrong number, shape or dtype of inputs, or NaN.
        CircuitError, UnsupportedModelError: as :func:`evaluate_ops`.
    """
    if len(inputs) != len(circuit.inputs):
        raise InputError(f"{len(inputs)} inputs given, the model takes {len(circuit.inputs)}", where=circuit.name)
    values: dict[int, Array] = {}
    for index, array in zip(circuit.inputs, inputs, strict=True):
        tensor = circuit.tensors[index]
        if array.shape != tensor.shape or array.dtype != np.dtype(tensor.dtype):
            raise InputError(
                f"input is {array.dtype} {array.shape}, the model takes {tensor.dtype} {tensor.shape}",
                where=f"tensor {tensor.name}")
        values[index] = array
    return {**values, **evaluate_ops(circuit, range(len(circuit.ops)), values)}


def evaluate(circuit: Circuit, inputs: Sequence[Array]) -> list[Array]:
    """The model's outputs for one sample, in the model's raw output dtypes. Arguments and errors as :func:`trace`."""
    values = trace(circuit, inputs)
    return [values[index] for index in circuit.outputs]


def evaluate_samples(circuit: Circuit, inputs: Sequence[Array]) -> list[Array]:
    """The model's outputs for many samples.

    Args:
        circuit: with its constants.
        inputs: one array of shape ``(S,) + input shape`` per model input.

    Returns:
        Per output an array of shape ``(S,) + output shape``.

    Raises:
        InputError: no samples, inputs with different numbers of samples, or as :func:`trace`.
    """
    counts = {len(array) for array in inputs}
    if len(counts) != 1 or 0 in counts:
        raise InputError(f"the inputs hold {sorted(counts)} samples", where=circuit.name,
                         hint="every input needs the same number of samples, at least one")
    per_sample = [evaluate(circuit, sample) for sample in zip(*inputs, strict=True)]
    return [np.stack(outputs) for outputs in zip(*per_sample, strict=True)]
