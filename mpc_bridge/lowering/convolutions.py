"""Convolutions and matrix products: the Linear step, and its requantisation."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from mpc_bridge.circuit.graph import INTEGER_RANGES
from mpc_bridge.circuit.reference.operands import zero_point
from mpc_bridge.errors import UnsupportedModelError
from mpc_bridge.lowering import linear, moves
from mpc_bridge.lowering.builder import Builder
from mpc_bridge.lowering.constants import search, tie_of
from mpc_bridge.lowering.program import Geometry, Linear, Move

Pair = tuple[int, int]
Requantization = tuple[str, tuple[float, ...], int, int]


def lower_linear(builder: Builder, index: int) -> None:
    """CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED: Linear, Requantize; TRANSPOSE_CONV: after its cells moved apart.

    A bare accumulator (rule ``"none"``) is left to its consumer, which knows the ring: :func:`bare_sum`.
    """
    circuit, op = builder.circuit, builder.circuit.ops[index]
    rule, _, low, high = cast(Requantization, op.attributes["requantization"])
    if rule == "none":
        return
    source = _arranged(builder, index)
    base = builder.offsets[op.outputs[0]]
    bounded = linear.bound(circuit, op, builder.values[source], base)
    tie = tie_of(rule, zero_point(circuit.tensors[op.outputs[0]]) - base)
    found = builder.proven(index, search(bounded.thresholds, tie))
    acc = _linear(builder, index, source, found.bits)
    rows = bounded.channel.tolist()
    builder.finish(index, builder.requantize(index, acc, found, rows, (low - base, high - base), tie))


def bare_sum(builder: Builder, index: int, ring: int) -> int:
    """The accumulator of a linear op with rule ``"none"``, modulo ``2**ring``."""
    return _linear(builder, index, _arranged(builder, index), ring)


def _arranged(builder: Builder, index: int) -> int:
    """The input of a linear op as :func:`mpc_bridge.lowering.linear.geometry` reads it."""
    op = builder.circuit.ops[index]
    source = builder.stored(op.inputs[0])
    if op.kind == "TRANSPOSE_CONV":
        return _apart(builder, index, source)
    return _in_groups(builder, index, source) if linear.groups(builder.circuit, op) > 1 else source


def _linear(builder: Builder, index: int, source: int, ring: int) -> int:
    """Append the Linear step and return its accumulator."""
    circuit, op = builder.circuit, builder.circuit.ops[index]
    geometry, depthwise = linear.geometry(circuit, op)
    out = circuit.tensors[op.outputs[0]].shape
    inputs = [source, builder.constant(
        index, op.inputs[1], weight_shape(geometry, depthwise), linear.weight_limits(circuit, op)
    )]
    bias = linear.bias_tensor(op)
    if bias >= 0:
        inputs.append(builder.constant(index, bias, (geometry.out_channels,), INTEGER_RANGES["int32"]))
    acc = builder.accumulator(index, out)
    zero = zero_point(circuit.tensors[op.inputs[0]]) - builder.values[source].offset
    builder.steps.append(Linear(index, op.name, tuple(inputs), acc, geometry, depthwise, zero, ring))
    return acc


def _apart(builder: Builder, index: int, source: int) -> int:
    """The image of a TRANSPOSE_CONV with ``stride - 1`` zero points after every row and column.

    Raises:
        UnsupportedModelError: its weights serve another kind of layer too, which reads them another way round.
    """
    circuit, op = builder.circuit, builder.circuit.ops[index]
    if any(other.kind != op.kind and op.inputs[1] in other.inputs for other in circuit.ops):
        raise UnsupportedModelError(
            "a constant that is used in two different ways",
            where=f"op {op.name}, tensor {circuit.tensors[op.inputs[1]].name}")
    x = builder.values[source]
    batch, height, width, channels = x.shape
    rows, columns = cast(Pair, op.attributes["stride"])
    fill = zero_point(circuit.tensors[op.inputs[0]]) - x.offset
    cells = builder.new(replace(x, name=f"{x.name}/cells", shape=(batch, height, 1, width, 1, channels)))
    builder.steps.append(Move(index, op.name, (source,), cells, "reshape"))
    image = builder.new(replace(
        x, name=f"{x.name}/apart", shape=(batch, height * rows, width * columns, channels), high=max(x.high, fill)))
    paddings = ((0, 0), (0, 0), (0, rows - 1), (0, 0), (0, columns - 1), (0, 0))
    builder.steps.append(Move(index, op.name, (cells,), image, "pad", paddings, fill=fill))
    return image


def _in_groups(builder: Builder, index: int, source: int) -> int:
    """The image of a convolution in groups as :func:`mpc_bridge.lowering.linear.geometry` reads it."""
    x, groups = builder.values[source], linear.groups(builder.circuit, builder.circuit.ops[index])
    batch, height, width, channels = x.shape
    depth = channels // groups
    parts = moves.reshaped(builder, index, source, (batch, height, width, groups, depth))
    return moves.transposed(builder, index, parts, (0, 1, 2, 4, 3), (batch, height, width * depth, groups))


def weight_shape(geometry: Geometry, depthwise: bool) -> tuple[int, ...]:
    """Layout in which a Linear step reads its weights."""
    if depthwise:
        return (*geometry.kernel, geometry.out_channels)
    return (geometry.out_channels, *geometry.kernel, geometry.in_channels)
