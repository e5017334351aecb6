"""What the owners share: the model's constants and the data in the form the Program stores them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from mpc_bridge.circuit.graph import Circuit
from mpc_bridge.circuit.reference import evaluate_ops
from mpc_bridge.errors import CircuitError, InputError
from mpc_bridge.lowering.linear import bias_tensor, bound, weight_zeros
from mpc_bridge.lowering.program import Affine, Input, Linear, Output, Program, Requantize
from mpc_bridge.lowering.rescale_bounds import stored_bias
from mpc_bridge.lowering.scope import enters
from mpc_bridge.lowering.thresholds import Ints


def canonicalise(circuit: Circuit, program: Program) -> dict[int, Ints]:
    """The model owner's tensors in stored form, by source tensor: what to share for each of their Input steps.

    Weights less their zero point in the layout of their Linear step; activations less their offset; every bias replaced
    by the nearest one within the public bound of its channel, which gives the same output for every possible input.

    Args:
        circuit: with its constants.
        program: lowered from it.

    Raises:
        CircuitError: the circuit holds no constants.
    """
    stored: dict[int, Ints] = {}
    bases = {step.op: step for step in program.steps if isinstance(step, Requantize)}
    products = {step.output: step.inputs[0] for step in program.steps if isinstance(step, Linear)}
    for step in program.steps:
        if isinstance(step, Input) and step.owner == "model":
            value = program.values[step.output]
            if step.source not in circuit.constants:
                raise CircuitError(
                    "a constant of the model is missing", where=f"tensor {value.name}",
                    hint="a public circuit holds no weights; the model's owner needs the circuit that was imported",
                )
            if value.kind == "activation":
                stored[step.source] = circuit.constants[step.source].astype(np.int64) - value.offset
        elif isinstance(step, Linear) and program.values[step.inputs[1]].kind == "weight":
            op = circuit.ops[step.op]
            stored[op.inputs[1]] = _weights(circuit, step)
            bias = bias_tensor(op)
            if bias >= 0:
                base = program.values[bases[step.op].output].offset
                bounded = bound(circuit, op, program.values[step.inputs[0]], base)
                values = circuit.constants[bias].astype(np.int64).reshape(-1)
                if bounded.bias is not None:
                    least, greatest = bounded.bias
                    values = np.clip(values, least[bounded.channel], greatest[bounded.channel])
                stored[bias] = values
        elif isinstance(step, Affine) and program.values[step.inputs[-1]].kind == "weight":
            op = circuit.ops[step.op]
            terms = [program.values[products.get(value, value)] for value in step.inputs[:-1]]
            given = circuit.constants[op.inputs[-1]].astype(np.int64)
            stored[op.inputs[-1]] = stored_bias(circuit, op, terms, given)
    return stored


def _weights(circuit: Circuit, step: Linear) -> Ints:
    """Weights of a layer as its Linear step reads them."""
    op, geometry = circuit.ops[step.op], step.geometry
    centred = circuit.constants[op.inputs[1]].astype(np.int64) - weight_zeros(circuit, op)
    if op.kind == "TRANSPOSE_CONV":
        return np.asarray(centred[:, ::-1, ::-1], np.int64)
    if step.depthwise and op.kind == "CONV_2D":
        # in groups, as lowering.linear.geometry has them: columns of a group's channels, zeros where it is dilated
        _, rows, _, depth = centred.shape
        spread = np.zeros((rows, geometry.kernel[1] // depth, depth, len(centred)), np.int64)
        spread[:, :: cast("tuple[int, int]", op.attributes["dilation"])[1]] = centred.transpose(1, 2, 3, 0)
        return spread.reshape(*geometry.kernel, len(centred))
    if step.depthwise:
        return np.asarray(centred[0], np.int64)
    return centred.reshape(geometry.out_channels, *geometry.kernel, geometry.in_channels)


def stored_inputs(circuit: Circuit, program: Program, inputs: Sequence[npt.NDArray[Any]]) -> dict[int, Ints]:
    """The data owner's tensors in stored form, by source tensor: what to share for each of their Input steps.

    Args:
        circuit: may be public.
        inputs: one sample: an array per model input, in the model's order, of the tensor's shape and dtype.

    Raises:
        InputError: another number, shape or dtype of inputs, or NaN.
    """
    if len(inputs) != len(circuit.inputs):
        raise InputError(f"{len(inputs)} inputs given, the model takes {len(circuit.inputs)}", where=circuit.name)
    known: dict[int, npt.NDArray[Any]] = {}
    for index, array in zip(circuit.inputs, inputs, strict=True):
        tensor = circuit.tensors[index]
        if array.shape != tensor.shape or array.dtype != np.dtype(tensor.dtype):
            raise InputError(
                f"input is {array.dtype} {array.shape}, the model takes {tensor.dtype} {tensor.shape}",
                where=f"tensor {tensor.name}",
            )
        known[index] = array
    known.update(evaluate_ops(circuit, [i for i, op in enumerate(circuit.ops) if enters(circuit, op)], known))
    return {
        step.source: known[step.source].astype(np.int64) - program.values[step.output].offset
        for step in program.steps if isinstance(step, Input) and step.owner == "data"
    }


def model_outputs(circuit: Circuit, program: Program, revealed: Sequence[Ints]) -> list[npt.NDArray[Any]]:
    """The receiver's work on one sample: framework integers from stored ones, then the trailing ops.

    Args:
        circuit: may be public.
        revealed: stored integers per program output.

    Returns:
        Per output, an array in the model's own dtype and shape; int64 indices of shape [batch] with
        ``reveal="argmax"``.
    """
    outputs: list[npt.NDArray[Any]] = []
    carriers = {step.output: step.inputs[0] for step in program.steps if isinstance(step, Output)}
    for position, (tail, array) in enumerate(zip(program.tails, revealed, strict=True)):
        if program.reveal == "argmax":
            outputs.append(array)
            continue
        tensor = circuit.tensors[tail.tensor]
        plain = (array + program.values[carriers[position]].offset).reshape(tensor.shape).astype(tensor.dtype)
        values = {tail.tensor: plain, **evaluate_ops(circuit, tail.ops, {tail.tensor: plain})}
        outputs.append(values[circuit.outputs[position]])
    return outputs
