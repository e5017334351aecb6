"""What only moves or compares elements, on stored tensors in whatever order their axes are.

Every function returns what a node does to a :class:`~mpc_bridge.importers.qdq.layout.Laid` tensor; shapes have been
checked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from mpc_bridge.circuit.graph import INTEGER_RANGES
from mpc_bridge.importers.qdq import attributes as read
from mpc_bridge.importers.qdq.builder import Builder
from mpc_bridge.importers.qdq.graph import Node
from mpc_bridge.importers.qdq.layout import (
    IMAGE,
    Laid,
    all_axes,
    arranged,
    laid,
    reshaped,
    stored_shape,
    transposed,
)
from mpc_bridge.importers.qdq.refusals import UnsupportedNodeError
from mpc_bridge.importers.qdq.regions import Move
from mpc_bridge.importers.qdq.shapes import Shape, slice_range

_Apply = Callable[[Builder, Laid], Laid]

#: Most windows of an adaptive pooling that are written out one by one.
MAX_WINDOWS = 1024


def _stored(builder: Builder, x: Laid) -> tuple[int, tuple[int, ...]]:
    """The tensor with all of the framework's axes, in the order stored."""
    axes = all_axes(builder, x)
    return arranged(builder, x, axes), axes


def _along(axes: Sequence[int], values: Sequence[int]) -> tuple[int, ...]:
    return tuple(values[axis] for axis in axes)


def reshape(shape: Shape) -> Move:
    """To a shape, in the framework's order of elements."""
    return Move(lambda builder, x: reshaped(builder, x, shape))


def _transpose(node: Node, x: Shape, shape: Shape) -> Move:
    permutation = tuple(axis % len(x) for axis in read.integers(node, "permutation"))
    return Move(lambda builder, value: transposed(value, permutation))


def take(axis: int, begin: int, size: int, step: int = 1) -> _Apply:
    """Cells ``begin``, ``begin + step``, … along an axis."""
    def apply(builder: Builder, x: Laid) -> Laid:
        if (begin, size, step) == (0, x.shape[axis], 1):
            return x
        source, axes = _stored(builder, x)
        rank = len(x.shape)
        shape = (*x.shape[:axis], size, *x.shape[axis + 1:])
        begins = _along(axes, [begin if a == axis else 0 for a in range(rank)])
        sizes = stored_shape(shape, axes)
        if step == 1:
            result = builder.move("SLICE", source, sizes, begin=begins, size=sizes)
        else:
            strides = _along(axes, [step if a == axis else 1 for a in range(rank)])
            result = builder.move("STRIDED_SLICE", source, sizes, begin=begins, size=sizes, strides=strides, dropped=())
        return laid(result, shape, axes)
    return apply


def _slice(node: Node, x: Shape, shape: Shape) -> Move:
    axis = read.axis(node, "axis", len(x))
    return Move(take(axis, *slice_range(node, x[axis])))


def _select(node: Node, x: Shape, shape: Shape) -> Move:
    axis = read.axis(node, "axis", len(x))
    cell = take(axis, read.integer(node, "index") % x[axis], 1)
    return Move(lambda builder, value: reshaped(builder, cell(builder, value), shape))


def _tile(node: Node, x: Shape, shape: Shape) -> Move:
    rank = len(shape)

    def apply(builder: Builder, value: Laid) -> Laid:
        value = reshaped(builder, value, (1,) * (rank - len(x)) + x)
        source, axes = _stored(builder, value)
        multiples = tuple(shape[axis] // value.shape[axis] for axis in axes)
        if set(multiples) == {1}:
            return value
        return laid(builder.move("TILE", source, stored_shape(shape, axes), multiples=multiples), shape, axes)
    return Move(apply)


def _pad(node: Node, x: Shape, shape: Shape) -> Move:
    paddings = read.pairs(node, "paddings", len(x))
    reflect = read.text(node, "mode", ("constant", "reflect")) == "reflect"

    def apply(builder: Builder, value: Laid) -> Laid:
        if not any(sum(sides) for sides in paddings):
            return value
        source, axes = _stored(builder, value)
        stored, sides = stored_shape(shape, axes), tuple(paddings[axis] for axis in axes)
        result = (builder.move("MIRROR_PAD", source, stored, paddings=sides, symmetric=False) if reflect
                  else builder.move("PAD", source, stored, paddings=sides))
        return laid(result, shape, axes)
    return Move(apply) if reflect else Move(apply, fill=read.number(node, "value", finite=False))


def _resize(node: Node, x: Shape, shape: Shape) -> Move:
    attributes = {name: read.flag(node, name) for name in ("align_corners", "half_pixel_centers")}

    def apply(builder: Builder, value: Laid) -> Laid:
        source = arranged(builder, value, IMAGE[2])
        return laid(builder.move("RESIZE_NEAREST_NEIGHBOR", source, stored_shape(shape, IMAGE[2]), **attributes),
                    shape, IMAGE[2])
    return Move(apply)


def _blocks(node: Node, x: Shape, shape: Shape) -> Move:
    """Blocks of cells and channels, as a reshape, a transpose and a reshape say it."""
    block = read.integer(node, "block")
    channels_last = read.text(node, "order", ("DCR", "CRD")) == "DCR"
    if node.kind == "DepthToSpace":
        parts = (block, block, shape[1]) if channels_last else (shape[1], block, block)
        first: Shape = (x[0], *parts, x[2], x[3])
        permutation = (0, 3, 4, 1, 5, 2) if channels_last else (0, 1, 4, 2, 5, 3)
    else:
        first = (x[0], x[1], x[2] // block, block, x[3] // block, block)
        permutation = (0, 3, 5, 1, 2, 4) if channels_last else (0, 1, 3, 5, 2, 4)
    return Move(lambda builder, value: reshaped(
        builder, transposed(reshaped(builder, value, first), permutation), shape))


def max_pool(window: tuple[int, ...], stride: tuple[int, ...], padding: tuple[read.Pair, ...], shape: Shape) -> Move:
    """The greatest cell of windows; the padding is as the output needs it, and its cells do not exist."""
    def apply(builder: Builder, x: Laid) -> Laid:
        axes = IMAGE[len(window)]
        two = [1] * (2 - len(window))
        result = builder.move(
            "MAX_POOL_2D", arranged(builder, x, axes), stored_shape(shape, axes), window=(*two, *window),
            stride=(*two, *stride), padding=(*(((0, 0),) * len(two)), *padding),
            bounds=INTEGER_RANGES.get(builder.tensors[x.tensor].dtype, (0, 0)))
        return laid(result, shape, axes)
    return Move(apply, pure=False)


def _max_pool(node: Node, x: Shape, shape: Shape) -> Move:
    window = read.steps(node, "window")
    count = len(window)
    stride, padding = read.steps(node, "stride", count), read.pairs(node, "padding", count)
    if set(read.steps(node, "dilation", count)) != {1}:
        raise UnsupportedNodeError("a pooling with dilation", "use dilation 1")
    exact = []
    for cells, step, (before, after), extent, positions in zip(
            window, stride, padding, x[2:], shape[2:], strict=True):
        if before >= cells or (positions - 1) * step - before >= extent:
            raise UnsupportedNodeError("a window that covers no cell of the image", "use less padding")
        # ceil_mode: the last window may hang over; without it cells may be left over
        exact.append((before, max(0, (positions - 1) * step + cells - extent - before)))
        if positions * step + cells <= extent + before + max(after, exact[-1][1]):
            raise UnsupportedNodeError("windows that end before the image does", "use less padding")
    return max_pool(window, stride, tuple(exact), shape)


def _adaptive_max_pool(node: Node, x: Shape, shape: Shape) -> Move:
    window = adaptive_window(x[2:], shape[2:])
    if window is not None:
        return max_pool(window, window, ((0, 0),) * len(window), shape)
    spatial = tuple(range(2, len(x)))

    def greatest(builder: Builder, part: Laid) -> Laid:
        return _reduced("REDUCE_MAX", builder, part, spatial)
    return Move(over_windows(x, shape, greatest), pure=False)


def adaptive_window(extents: Shape, size: Shape) -> tuple[int, ...] | None:
    """The window of an adaptive pooling whose windows are all alike; None where they differ."""
    if any(extent % count for extent, count in zip(extents, size, strict=True)):
        return None
    return tuple(extent // count for extent, count in zip(extents, size, strict=True))


def over_windows(x: Shape, shape: Shape, pool: _Apply) -> _Apply:
    """An adaptive pooling by single windows: cell i reads cells ``floor(i * n / m)`` to ``ceil((i + 1) * n / m)``.

    Args:
        x, shape: of the input and the output, in the framework.
        pool: what becomes of one window; it keeps the axes.
    """
    if math.prod(shape[2:]) > MAX_WINDOWS:
        raise UnsupportedNodeError(
            f"an adaptive pooling from {x[2:]} to {shape[2:]}, with more than {MAX_WINDOWS} windows that differ",
            "use an output size that divides the input's")

    def along(builder: Builder, part: Laid, axis: int) -> Laid:
        if axis == len(x):
            return pool(builder, part)
        extent, count = x[axis], shape[axis]
        bounds = [(i * extent // count, -(-(i + 1) * extent // count)) for i in range(count)]
        parts = [along(builder, take(axis, start, end - start)(builder, part), axis + 1) for start, end in bounds]
        return concatenated(axis, (*parts[0].shape[:axis], count, *parts[0].shape[axis + 1:]))(builder, parts)
    return lambda builder, value: along(builder, value, 2)


def _reduce(node: Node, x: Shape, shape: Shape) -> Move:
    reduced = read.axes(node, "axes", len(x))
    kind = "REDUCE_MAX" if node.kind == "ReduceMax" else "REDUCE_MIN"
    return Move(lambda builder, value: reshaped(builder, _reduced(kind, builder, value, reduced), shape), pure=False)


def _reduced(kind: str, builder: Builder, x: Laid, reduced: Sequence[int]) -> Laid:
    """The greatest or least along axes, which stay with extent 1."""
    long = [axis for axis in reduced if x.shape[axis] > 1]
    if not long:
        return x
    source, axes = _stored(builder, x)
    kept = tuple(1 if axis in long else extent for axis, extent in enumerate(x.shape))
    return laid(builder.move(kind, source, stored_shape(kept, axes), keep_dims=True,
                             axes=tuple(sorted(axes.index(axis) for axis in long))), kept, axes)


def concatenated(axis: int, shape: Shape) -> Callable[[Builder, list[Laid]], Laid]:
    """Side by side along an axis."""
    def join(builder: Builder, parts: list[Laid]) -> Laid:
        most = max(parts, key=lambda part: len(part.order))
        axes = all_axes(builder, most)
        tensors = [arranged(builder, part, axes) for part in parts]
        position = axes.index(axis)
        while len(tensors) > 1:
            groups = [tensors[start:start + 64] for start in range(0, len(tensors), 64)]
            tensors = [_beside(builder, group, position) for group in groups]
        return laid(tensors[0], shape, axes)
    return join


def _beside(builder: Builder, tensors: list[int], position: int) -> int:
    if len(tensors) == 1:
        return tensors[0]
    shapes = [builder.shape(tensor) for tensor in tensors]
    whole = (*shapes[0][:position], sum(shape[position] for shape in shapes), *shapes[0][position + 1:])
    first = builder.tensors[tensors[0]]
    return builder.op("CONCATENATION", tuple(tensors), whole, first.dtype, first.quantization, axis=position)


def extreme(kind: str, shape: Shape) -> Callable[[Builder, list[Laid]], Laid]:
    """MAXIMUM or MINIMUM of two tensors that are quantized alike; broadcast."""
    def join(builder: Builder, parts: list[Laid]) -> Laid:
        parts = [reshaped(builder, part, (1,) * (len(shape) - len(part.shape)) + part.shape) for part in parts]
        axes = all_axes(builder, max(parts, key=lambda part: math.prod(part.shape)))
        a, b = (arranged(builder, part, axes) for part in parts)
        first = builder.tensors[a]
        return laid(builder.op(kind, (a, b), stored_shape(shape, axes), first.dtype, first.quantization), shape, axes)
    return join


def split(node: Node, x: Shape, output: int) -> Move:
    """One output of a Split."""
    axis, sizes = read.axis(node, "axis", len(x)), read.integers(node, "sizes", 1)
    return Move(take(axis, sum(sizes[:output]), sizes[output]))


def _to_shape(node: Node, x: Shape, shape: Shape) -> Move:
    return reshape(shape)


#: Kind → the move of a node with one input and one output, given the node and both shapes.
MOVES: dict[str, Callable[[Node, Shape, Shape], Move]] = {
    **{kind: _to_shape for kind in ("Reshape", "Squeeze", "Unsqueeze", "Flatten")},
    "Transpose": _transpose, "Slice": _slice, "Select": _select, "Tile": _tile, "Expand": _tile, "Pad": _pad,
    "ResizeNearest": _resize, "DepthToSpace": _blocks, "SpaceToDepth": _blocks, "MaxPool": _max_pool,
    "AdaptiveMaxPool": _adaptive_max_pool, "ReduceMax": _reduce, "ReduceMin": _reduce,
}
