"""Functions of one or two bytes, tabulated by the reference interpreter's own formulas."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np

from mpc_bridge.circuit.graph import INTEGER_RANGES, Circuit, Op
from mpc_bridge.circuit.reference import evaluate_ops
from mpc_bridge.lowering.thresholds import Ints


def byte_table(circuit: Circuit, op: Op, position: int = 0) -> Ints:
    """Output integer of an elementwise op for every value of its input's type, ascending: int64 [256].

    For a CONCATENATION, what becomes of the input at ``position``.
    """
    return _evaluate(circuit, op, (op.inputs[position],), ((256,),), (256,))


def pair_table(circuit: Circuit, op: Op) -> Ints:
    """Output integer of a two-input op for every pair of values, ascending: int64 [256, 256]."""
    return _evaluate(circuit, op, op.inputs[:2], ((256, 1), (1, 256)), (256, 256))


def is_copy(circuit: Circuit, op: Op, position: int = 0) -> bool:
    """Whether every value keeps its distance from its type's least value: a copy of the stored integer."""
    low, high = INTEGER_RANGES[circuit.tensors[op.outputs[0]].dtype]
    return bool(np.array_equal(byte_table(circuit, op, position), np.arange(low, high + 1)))


def _evaluate(
    circuit: Circuit, op: Op, sources: tuple[int, ...], shapes: tuple[tuple[int, ...], ...], result: tuple[int, ...]
) -> Ints:
    tensors = [replace(circuit.tensors[source], shape=shape) for source, shape in zip(sources, shapes, strict=True)]
    values = {}
    for index, tensor in enumerate(tensors):
        low, high = INTEGER_RANGES[tensor.dtype]
        values[index] = np.arange(low, high + 1).astype(tensor.dtype).reshape(tensor.shape)
    target = len(tensors)
    attributes, inputs = op.attributes, tuple(range(target))
    if op.kind == "CONCATENATION":
        attributes = dict(attributes, axis=0)
    elif op.kind == "RESCALE":
        # without a bias, and with one multiplier for all channels
        terms = cast("tuple[tuple[int, ...], ...]", attributes["multipliers"])
        attributes, inputs = dict(attributes, multipliers=tuple(term[:1] for term in terms)), (*inputs, -1)
    small = Circuit(
        name=circuit.name, source=circuit.source, profile=circuit.profile,
        tensors=(*tensors, replace(circuit.tensors[op.outputs[0]], shape=result)),
        ops=(replace(op, inputs=inputs, outputs=(target,), attributes=attributes),),
        inputs=tuple(range(target)), outputs=(target,),
    )
    return evaluate_ops(small, (0,), values)[target].astype(np.int64)
