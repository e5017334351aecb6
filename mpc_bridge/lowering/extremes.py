"""MAXIMUM, MINIMUM, REDUCE_MAX, REDUCE_MIN: the greatest of a few candidates, as one window of a max pool; ARG_MAX.

The candidates are moved into an image ``[1, candidates, 1, elements]`` whose one window covers all rows. A minimum is
the maximum of the complements ``255 - u``, complemented.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from mpc_bridge.errors import UnsupportedModelError
from mpc_bridge.lowering import moves
from mpc_bridge.lowering.builder import Builder
from mpc_bridge.lowering.program import Geometry, Lookup, Maximum, Move, Value

_COMPLEMENT = tuple(range(255, -1, -1))


def lower_pair(builder: Builder, index: int) -> None:
    """MAXIMUM, MINIMUM: both operands in the output's shape, one above the other."""
    circuit, op = builder.circuit, builder.circuit.ops[index]
    shape = circuit.tensors[op.outputs[0]].shape
    size = int(np.prod(shape, dtype=np.int64))
    rows = []
    for tensor in op.inputs:
        source = moves.broadcast(builder, index, builder.stored(tensor), shape)
        row = builder.activation(index, builder.values[source].high, shape=(1, 1, 1, size))
        builder.steps.append(Move(index, op.name, (source,), row, "reshape"))
        rows.append(row)
    high = max(builder.values[row].high for row in rows)
    image = builder.activation(index, high, shape=(1, len(rows), 1, size))
    builder.steps.append(Move(index, op.name, tuple(rows), image, "concatenate", axis=1))
    _extreme(builder, index, image)


def lower_reduce(builder: Builder, index: int) -> None:
    """REDUCE_MAX, REDUCE_MIN: the reduced axes first."""
    op = builder.circuit.ops[index]
    source = builder.stored(op.inputs[0])
    x = builder.values[source]
    axes = cast("tuple[int, ...]", op.attributes["axes"])
    count = int(np.prod([x.shape[axis] for axis in axes], dtype=np.int64))
    order = (*axes, *(axis for axis in range(len(x.shape)) if axis not in axes))
    image = builder.activation(index, x.high, shape=(1, count, 1, x.size // count))
    builder.steps.append(Move(index, op.name, (source,), image, "transpose", permutation=order))
    _extreme(builder, index, image)


def lower_arg_max(builder: Builder, index: int) -> None:
    """ARG_MAX: its axis last.

    Raises:
        UnsupportedModelError: there is nothing to choose from.
    """
    circuit, op = builder.circuit, builder.circuit.ops[index]
    source = builder.stored(op.inputs[0])
    x = builder.values[source]
    axis = cast(int, op.attributes["axis"])
    count = x.shape[axis]
    if count < 2:
        raise UnsupportedModelError("an ARG_MAX of one element", where=f"op {op.name}")
    if axis != len(x.shape) - 1:
        order = (*(other for other in range(len(x.shape)) if other != axis), axis)
        shape = tuple(x.shape[other] for other in order)
        moved = builder.new(Value(f"{x.name}/moved", shape, "activation", x.offset, x.high))
        builder.steps.append(Move(index, op.name, (source,), moved, "transpose", permutation=order))
        source = moved
    target = circuit.tensors[op.outputs[0]]
    output = builder.new(Value(target.name, target.shape, "index", 0, count - 1))
    builder.steps.append(Maximum(index, op.name, (source,), output, argmax=True, high=count - 1))
    builder.finish(index, output)


def _extreme(builder: Builder, index: int, image: int) -> None:
    """The greatest or least of every column becomes the op's output."""
    op, x = builder.circuit.ops[index], builder.values[image]
    _, count, _, size = x.shape
    geometry = Geometry(1, count, 1, size, 1, 1, size, (count, 1))
    least = op.kind in ("MINIMUM", "REDUCE_MIN")
    if least:
        image = _complement(builder, index, image, 255)
    output = builder.activation(index, 255 if least else x.high)
    builder.steps.append(Maximum(index, op.name, (image,), output, geometry))
    builder.finish(index, _complement(builder, index, output, x.high) if least else output)


def _complement(builder: Builder, index: int, source: int, high: int) -> int:
    output = builder.activation(index, high, shape=builder.values[source].shape)
    builder.steps.append(Lookup(index, builder.circuit.ops[index].name, (source,), output, _COMPLEMENT))
    return output
