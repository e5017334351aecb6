"""Functions of one stored byte, in the cheapest form that is exact."""

from __future__ import annotations

from typing import cast

import numpy as np

from mpc_bridge.circuit.graph import INTEGER_RANGES
from mpc_bridge.circuit.reference.operands import zero_point
from mpc_bridge.lowering.builder import Builder
from mpc_bridge.lowering.constants import search, tie_of
from mpc_bridge.lowering.program import Affine, Lookup, Move
from mpc_bridge.lowering.tables import byte_table
from mpc_bridge.lowering.thresholds import Ints, table_thresholds


def lower_elementwise(builder: Builder, index: int) -> None:
    """QUANTIZE of integers, RESCALE of one activation, TABLE, the RELUs, HARD_SWISH, …: a function of one byte."""
    op = builder.circuit.ops[index]
    source = builder.stored(op.inputs[0])
    builder.finish(index, byte_function(builder, index, source, byte_table(builder.circuit, op), op.inputs[0]))


def byte_function(builder: Builder, index: int, source: int, table: Ints, tensor: int) -> int:
    """A function of one stored byte: a Move if it is a copy, else an affine floor if one is exact, else a Lookup."""
    circuit, op = builder.circuit, builder.circuit.ops[index]
    x = builder.values[source]
    base = builder.offsets[op.outputs[0]]
    first = x.offset - INTEGER_RANGES[circuit.tensors[tensor].dtype][0]
    stored = table[first : first + x.high + 1] - base
    if np.array_equal(stored, np.arange(len(stored))):
        output = builder.activation(index, x.high, shape=x.shape)
        builder.steps.append(Move(index, op.name, (source,), output, "reshape"))
        return output
    rules = cast("tuple[str, ...]", op.attributes.get("requantization", ("half_even" if op.kind == "RESCALE" else "",)))
    tie = tie_of(rules[0], zero_point(circuit.tensors[op.outputs[0]]) - base)
    found = search(table_thresholds(stored), tie) if np.all(np.diff(stored) >= 0) else None
    if found is None:
        output = builder.activation(index, int(stored.max()), shape=x.shape)
        padded = np.pad(stored, (0, 256 - len(stored)), mode="edge")
        builder.steps.append(Lookup(index, op.name, (source,), output, tuple(padded.tolist())))
        return output
    acc = builder.accumulator(index, x.shape)
    builder.steps.append(Affine(index, op.name, (source,), acc, ring=found.bits))
    return builder.requantize(index, acc, found, None, (int(stored[0]), int(stored[-1])), tie, x.shape)
