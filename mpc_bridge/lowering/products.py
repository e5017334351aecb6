"""Products of two values that the model computes (or of one and a constant): MUL, BATCH_MATMUL, PRELU.

An element-by-element product is a depthwise convolution of one cell, a matrix product a dense one; the second operand
takes the place of the weights. Everything before that is moves, which cost no message.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from mpc_bridge.circuit.graph import INTEGER_RANGES
from mpc_bridge.circuit.reference.operands import zero_point
from mpc_bridge.lowering import moves
from mpc_bridge.lowering.builder import Builder
from mpc_bridge.lowering.constants import Constants, search, tie_of
from mpc_bridge.lowering.program import Geometry, Linear, Lookup, Maximum, Move
from mpc_bridge.lowering.tables import pair_table
from mpc_bridge.lowering.thresholds import find_thresholds, multiplied

Shape = tuple[int, ...]

#: Products of all batches together up to which one step computes them all, each operand repeated for every row or
#: column it meets; from there on every batch is a step, and a round, of its own.
TOGETHER = 2**20


@dataclass(frozen=True)
class _Factor:
    """A stored activation, and the stored integer that stands for zero."""

    value: int
    zero: int


def _factor(builder: Builder, index: int, position: int) -> _Factor:
    tensor = builder.circuit.ops[index].inputs[position]
    value = builder.stored(tensor)
    return _Factor(value, zero_point(builder.circuit.tensors[tensor]) - builder.values[value].offset)


def _constants(
    builder: Builder, index: int, factors: tuple[_Factor, _Factor], depth: int, multiplier: float
) -> Constants:
    """Exact constants for sums of ``depth`` products."""
    op = builder.circuit.ops[index]
    rule, _, low, high = cast("tuple[str, tuple[float], int, int]", op.attributes["requantization"])
    zero, base = zero_point(builder.circuit.tensors[op.outputs[0]]), builder.offsets[op.outputs[0]]
    ends = [(-factor.zero, builder.values[factor.value].high - factor.zero) for factor in factors]
    corners = [depth * a * b for a in ends[0] for b in ends[1]]
    thresholds = find_thresholds(
        multiplied((multiplier,), rule, zero, low, high), base, np.array([min(corners)]), np.array([max(corners)]))
    return builder.proven(index, search(thresholds, tie_of(rule, zero - base)))


def _linear(
    builder: Builder, index: int, x: _Factor, y: _Factor, geometry: Geometry, depthwise: bool, ring: int
) -> int:
    """Append the product; its accumulator is in the geometry's own order."""
    g = geometry
    acc = builder.accumulator(index, (g.batch, g.out_height, g.out_width, g.out_channels))
    builder.steps.append(Linear(
        index, builder.circuit.ops[index].name, (x.value, y.value), acc, geometry, depthwise, x.zero, ring, y.zero))
    return acc


def _rounded(builder: Builder, index: int, acc: int, found: Constants, shape: Shape) -> int:
    """The requantised accumulator, in another shape of as many elements."""
    op = builder.circuit.ops[index]
    rule, _, low, high = cast("tuple[str, tuple[float], int, int]", op.attributes["requantization"])
    zero, base = zero_point(builder.circuit.tensors[op.outputs[0]]), builder.offsets[op.outputs[0]]
    return builder.requantize(index, acc, found, None, (low - base, high - base), tie_of(rule, zero - base), shape)


def _elementwise(builder: Builder, index: int, x: _Factor, y: _Factor, ring: int) -> int:
    """The accumulator of ``x * y``, broadcast to the output's shape.

    A second operand without the output's leading axes is a filter of as many channels as it has elements.
    """
    shape = builder.circuit.tensors[builder.circuit.ops[index].outputs[0]].shape
    if builder.values[x.value].shape != shape and builder.values[y.value].shape == shape:
        x, y = y, x
    kept = builder.values[y.value].shape
    while kept and kept[0] == 1:
        kept = kept[1:]
    if kept != shape[len(shape) - len(kept):]:
        y, kept = replace(y, value=moves.broadcast(builder, index, y.value, shape)), shape
    x = replace(x, value=moves.broadcast(builder, index, x.value, shape))
    channels = math.prod(kept)
    geometry = Geometry(math.prod(shape) // channels, 1, 1, channels, 1, 1, channels)
    return _linear(builder, index, x, y, geometry, True, ring)


def lower_mul(builder: Builder, index: int) -> None:
    """MUL: Linear, Requantize."""
    circuit, op = builder.circuit, builder.circuit.ops[index]
    _, (multiplier,), _, _ = cast("tuple[str, tuple[float], int, int]", op.attributes["requantization"])
    x, y = (_factor(builder, index, position) for position in (0, 1))
    found = _constants(builder, index, (x, y), 1, multiplier)
    acc = _elementwise(builder, index, x, y, found.bits)
    builder.finish(index, _rounded(builder, index, acc, found, circuit.tensors[op.outputs[0]].shape))


def lower_prelu(builder: Builder, index: int) -> None:
    """PRELU: of ``min(x, zero) * alpha`` requantized, and of a table that is 0 where x is negative, the greater.

    Where x is not negative, the product is 0 and its requantized form the output's zero point, the least entry that
    the table has there.
    """
    circuit, op = builder.circuit, builder.circuit.ops[index]
    shape = circuit.tensors[op.outputs[0]].shape
    x, alpha = (_factor(builder, index, position) for position in (0, 1))
    source = builder.values[x.value]
    first = source.offset - INTEGER_RANGES[circuit.tensors[op.inputs[0]].dtype][0]
    # a column of the table of all pairs: where x is not negative, alpha plays no part
    table = pair_table(circuit, op)[first : first + source.high + 1, 0] - builder.offsets[op.outputs[0]]
    table[: max(x.zero, 0)] = 0
    positive = builder.activation(index, int(table.max()), shape=shape)
    padded = np.pad(table, (0, 256 - len(table)), mode="edge")
    lookup = Lookup(index, op.name, (x.value,), positive, tuple(padded.tolist()))
    if x.zero <= 0:
        builder.steps.append(lookup)
        builder.finish(index, positive)
        return
    if x.zero < source.high:
        negative = builder.new(replace(source, name=f"{source.name}/negative", high=x.zero))
        geometry = Geometry(1, 1, 1, source.size, 1, 1, source.size)
        builder.steps.append(Maximum(index, op.name, (x.value,), negative, geometry, high=x.zero))
        x = replace(x, value=negative)
    found = _constants(builder, index, (x, alpha), 1, cast(float, op.attributes["alpha_multiplier"]))
    product = _rounded(builder, index, _elementwise(builder, index, x, alpha, found.bits), found, shape)
    if x.zero >= source.high:
        builder.finish(index, product)
        return
    builder.steps.append(lookup)
    size = math.prod(shape)
    rows = []
    for part in (product, positive):
        rows.append(builder.activation(index, builder.values[part].high, shape=(1, 1, 1, size)))
        builder.steps.append(Move(index, op.name, (part,), rows[-1], "reshape"))
    high = max(builder.values[row].high for row in rows)
    pairs = builder.activation(index, high, shape=(1, 2, 1, size))
    builder.steps.append(Move(index, op.name, tuple(rows), pairs, "concatenate", axis=1))
    output = builder.activation(index, high)
    builder.steps.append(Maximum(index, op.name, (pairs,), output, Geometry(1, 2, 1, size, 1, 1, size, (2, 1))))
    builder.finish(index, output)


def lower_batch_matmul(builder: Builder, index: int) -> None:
    """BATCH_MATMUL: one Linear where an operand is one matrix or the batches are small, else one per batch."""
    circuit, op = builder.circuit, builder.circuit.ops[index]
    _, (multiplier,), _, _ = cast("tuple[str, tuple[float], int, int]", op.attributes["requantization"])
    shape = circuit.tensors[op.outputs[0]].shape
    batch, (rows, columns) = shape[:-2], shape[-2:]
    factors = []
    for position, name in enumerate(("adj_x", "adj_y")):
        factor = _factor(builder, index, position)
        # the axis of the sum last
        if bool(op.attributes[name]) == (position == 0):
            factor = replace(factor, value=_turned(builder, index, factor.value))
        factors.append(factor)
    x, y = factors
    depth = builder.values[x.value].shape[-1]
    found = _constants(builder, index, (x, y), depth, multiplier)
    matrices = [builder.values[factor.value].size // (extent * depth)
                for factor, extent in ((x, rows), (y, columns))]
    if 1 in matrices:
        turned = matrices[1] != 1
        if turned:
            x, y, rows, columns = y, x, columns, rows
        geometry = Geometry(builder.values[x.value].size // depth, 1, 1, depth, 1, 1, columns)
        acc = _linear(builder, index, x, y, geometry, False, found.bits)
        output = _rounded(builder, index, acc, found, (*batch, rows, columns))
        builder.finish(index, _turned(builder, index, output) if turned else output)
        return
    count = math.prod(batch)
    x, y = (
        replace(factor, value=moves.reshaped(
            builder, index, moves.broadcast(builder, index, factor.value, (*batch, extent, depth)),
            (count, extent, depth)))
        for factor, extent in ((x, rows), (y, columns)))
    if count * rows * columns * depth <= TOGETHER:
        acc = _together(builder, index, x, y, found.bits)
        output = _rounded(builder, index, acc, found, (rows, count, columns))
        builder.finish(index, moves.transposed(builder, index, output, (1, 0, 2), shape))
    else:
        acc = _one_by_one(builder, index, x, y, found.bits)
        builder.finish(index, _rounded(builder, index, acc, found, shape))


def _together(builder: Builder, index: int, x: _Factor, y: _Factor, ring: int) -> int:
    """All batches of ``x [B, M, K] @ y [B, N, K]`` in one step, as ``[M, B, N]``.

    A depthwise convolution over K cells: M images of ``B * N`` channels, and a filter per channel.
    """
    count, rows, depth = builder.values[x.value].shape
    columns = builder.values[y.value].shape[1]
    image = moves.transposed(builder, index, x.value, (1, 2, 0), (rows, depth, count, 1))
    image = moves.broadcast(builder, index, image, (rows, depth, count, columns))
    filters = moves.transposed(builder, index, y.value, (2, 0, 1), (depth, count, columns))
    channels = count * columns
    geometry = Geometry(rows, depth, 1, channels, 1, 1, channels, (depth, 1))
    return _linear(builder, index, replace(x, value=image), replace(y, value=filters), geometry, True, ring)


def _one_by_one(builder: Builder, index: int, x: _Factor, y: _Factor, ring: int) -> int:
    """All batches of ``x [B, M, K] @ y [B, N, K]``, a step each, as ``[B, M, N]``."""
    count, rows, depth = builder.values[x.value].shape
    columns = builder.values[y.value].shape[1]
    name = builder.circuit.ops[index].name
    sums = []
    for number in range(count):
        parts = []
        for factor in (x, y):
            whole = builder.values[factor.value]
            part = builder.new(replace(whole, name=f"{whole.name}/{number}", shape=(1, *whole.shape[1:])))
            taken = ((number,), *(range(extent) for extent in whole.shape[1:]))
            builder.steps.append(Move(index, name, (factor.value,), part, "take", taken=taken))
            parts.append(replace(factor, value=part))
        geometry = Geometry(rows, 1, 1, depth, 1, 1, columns)
        sums.append(_linear(builder, index, parts[0], parts[1], geometry, False, ring))
    acc = builder.accumulator(index, (count * rows, 1, 1, columns))
    builder.steps.append(Move(index, name, tuple(sums), acc, "concatenate", axis=0))
    return acc


def _turned(builder: Builder, index: int, source: int) -> int:
    """Its last two axes the other way round."""
    shape = builder.values[source].shape
    order = (*range(len(shape) - 2), len(shape) - 1, len(shape) - 2)
    return moves.transposed(builder, index, source, order, (*shape[:-2], shape[-1], shape[-2]))
