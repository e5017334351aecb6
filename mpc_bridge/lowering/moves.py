"""Ops that only move elements: one or two Moves each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from mpc_bridge.circuit.graph import Circuit, Op
from mpc_bridge.circuit.reference.moves import nearest
from mpc_bridge.circuit.reference.operands import zero_point
from mpc_bridge.lowering.builder import Builder
from mpc_bridge.lowering.program import Move

Extents = tuple[int, ...]


def lower_reshape(builder: Builder, index: int) -> None:
    """RESHAPE, SQUEEZE, EXPAND_DIMS."""
    op = builder.circuit.ops[index]
    source = builder.stored(op.inputs[0])
    output = builder.activation(index, builder.values[source].high)
    builder.steps.append(Move(index, op.name, (source,), output, "reshape"))
    builder.finish(index, output)


def lower_pad(builder: Builder, index: int) -> None:
    """PAD."""
    circuit, op = builder.circuit, builder.circuit.ops[index]
    source = builder.stored(op.inputs[0])
    fill = zero_point(circuit.tensors[op.outputs[0]]) - builder.offsets[op.outputs[0]]
    output = builder.activation(index, max(builder.values[source].high, fill))
    paddings = cast("tuple[tuple[int, int], ...]", op.attributes["paddings"])
    builder.steps.append(Move(index, op.name, (source,), output, "pad", paddings, fill=fill))
    builder.finish(index, output)


def lower_transpose(builder: Builder, index: int) -> None:
    """TRANSPOSE."""
    op = builder.circuit.ops[index]
    source = builder.stored(op.inputs[0])
    output = builder.activation(index, builder.values[source].high)
    permutation = cast(Extents, op.attributes["permutation"])
    builder.steps.append(Move(index, op.name, (source,), output, "transpose", permutation=permutation))
    builder.finish(index, output)


def lower_take(builder: Builder, index: int) -> None:
    """SLICE, STRIDED_SLICE, SPLIT, SPLIT_V, UNPACK, TILE, RESIZE_NEAREST_NEIGHBOR, MIRROR_PAD."""
    op = builder.circuit.ops[index]
    source = builder.stored(op.inputs[0])
    output = builder.activation(index, builder.values[source].high)
    taken = _taken(builder.circuit, op)
    builder.steps.append(Move(index, op.name, (source,), output, "take", taken=taken))
    builder.finish(index, output)


def _taken(circuit: Circuit, op: Op) -> tuple[Sequence[int], ...]:
    """Per axis of the input, the positions that the output holds."""
    x, out = (circuit.tensors[tensor].shape for tensor in (op.inputs[0], op.outputs[0]))
    attributes = op.attributes
    if op.kind in ("SLICE", "STRIDED_SLICE"):
        begin, size = cast(Extents, attributes["begin"]), cast(Extents, attributes["size"])
        strides = cast(Extents, attributes.get("strides", (1,) * len(x)))
        return tuple(range(b, b + n * s, s) for b, n, s in zip(begin, size, strides, strict=True))
    if op.kind == "TILE":
        multiples = cast(Extents, attributes["multiples"])
        return tuple(
            range(extent) if times == 1 else tuple(range(extent)) * times
            for extent, times in zip(x, multiples, strict=True)
        )
    if op.kind == "MIRROR_PAD":
        paddings = cast("tuple[tuple[int, int], ...]", attributes["paddings"])
        # without its last cell repeated, the mirrored half starts one cell further
        skipped = 0 if attributes["symmetric"] else 1
        return tuple(
            (*range(before - 1 + skipped, skipped - 1, -1), *range(extent),
             *range(extent - 1 - skipped, extent - 1 - skipped - after, -1))
            for extent, (before, after) in zip(x, paddings, strict=True)
        )
    whole = [range(extent) for extent in x]
    if op.kind == "RESIZE_NEAREST_NEIGHBOR":
        corners, centers = (bool(attributes[name]) for name in ("align_corners", "half_pixel_centers"))
        rows, columns = (tuple(nearest(x[axis], out[axis], corners, centers).tolist()) for axis in (1, 2))
        return (whole[0], rows, columns, whole[3])
    axis, start = cast(int, attributes["axis"]), cast(int, attributes["start"])
    whole[axis] = range(start, start + cast(int, attributes.get("extent", 1)))
    return tuple(whole)


def lower_blocks(builder: Builder, index: int) -> None:
    """SPACE_TO_DEPTH, DEPTH_TO_SPACE: the axes of the blocks apart, then in their new order."""
    op = builder.circuit.ops[index]
    source = builder.stored(op.inputs[0])
    block, high = cast(int, op.attributes["block"]), builder.values[source].high
    batch, height, width, channels = builder.values[source].shape
    if op.kind == "SPACE_TO_DEPTH":
        shape = (batch, height // block, block, width // block, block, channels)
    else:
        shape = (batch, height, width, block, block, channels // block**2)
    cells = builder.activation(index, high, shape=shape)
    builder.steps.append(Move(index, op.name, (source,), cells, "reshape"))
    output = builder.activation(index, high)
    builder.steps.append(Move(index, op.name, (cells,), output, "transpose", permutation=(0, 1, 3, 2, 4, 5)))
    builder.finish(index, output)


def broadcast(builder: Builder, index: int, source: int, shape: Extents) -> int:
    """A value in a shape that it broadcasts to by numpy's rules; the value itself where it has that shape already."""
    x, name = builder.values[source], builder.circuit.ops[index].name
    padded = (1,) * (len(shape) - len(x.shape)) + x.shape
    source = reshaped(builder, index, source, padded)
    if padded == shape:
        return source
    wide = builder.new(replace(x, name=f"{x.name}/wide", shape=shape))
    taken = tuple(
        range(extent) if extent == target else (0,) * target for extent, target in zip(padded, shape, strict=True))
    builder.steps.append(Move(index, name, (source,), wide, "take", taken=taken))
    return wide


def reshaped(builder: Builder, index: int, source: int, shape: Extents) -> int:
    """A value in another shape; the value itself where it has that shape already."""
    x = builder.values[source]
    if x.shape == shape:
        return source
    output = builder.new(replace(x, name=f"{x.name}/shape", shape=shape))
    builder.steps.append(Move(index, builder.circuit.ops[index].name, (source,), output, "reshape"))
    return output


def transposed(builder: Builder, index: int, source: int, permutation: Extents, shape: Extents) -> int:
    """A value with its axes in another order, in a shape of the same elements."""
    x = builder.values[source]
    output = builder.new(replace(x, name=f"{x.name}/turned", shape=shape))
    builder.steps.append(Move(index, builder.circuit.ops[index].name, (source,), output, "transpose",
                              permutation=permutation))
    return output


def lower_pack(builder: Builder, index: int) -> None:
    """PACK: every input in its new shape, side by side."""
    circuit, op = builder.circuit, builder.circuit.ops[index]
    axis = cast(int, op.attributes["axis"])
    shape = circuit.tensors[op.outputs[0]].shape
    parts = []
    for tensor in op.inputs:
        source = builder.stored(tensor)
        high = builder.values[source].high
        part = builder.activation(index, high, shape=(*shape[:axis], 1, *shape[axis + 1:]))
        builder.steps.append(Move(index, op.name, (source,), part, "reshape"))
        parts.append(part)
    output = builder.activation(index, max(builder.values[part].high for part in parts))
    builder.steps.append(Move(index, op.name, tuple(parts), output, "concatenate", axis=axis))
    builder.finish(index, output)
