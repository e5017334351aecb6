"""Operators that only move elements: their public shapes, axes and steps, resolved as the framework resolves them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from mpc_bridge.circuit.ops import BY_NAME
from mpc_bridge.importers.tflite import schema
from mpc_bridge.importers.tflite.parse import FileTensor
from mpc_bridge.importers.tflite.site import Node, Site, UnsupportedOperatorError


def _copied(site: Site, least: int, most: int) -> tuple[FileTensor, FileTensor]:
    """The input and the only output of an operator with this many inputs."""
    site.operands(least, most)
    x, output = site.activation(0), site.output()
    site.same_dtype(x, output)
    return x, output


def _per_axis(site: Site, position: int, rank: int) -> list[int]:
    """A public input with an entry per axis."""
    values = site.public_integers(position).reshape(-1).tolist()
    if len(values) != rank:
        raise site.corrupt(f"input {position} has {len(values)} entries for {rank} axes")
    return values


def _need_shape(site: Site, shape: Sequence[int], output: FileTensor) -> None:
    # the framework computes the output's shape and ignores what the file says
    if tuple(shape) != output.shape:
        raise site.corrupt(f"its output has the shape {tuple(shape)} and is stated as {output.shape}")


def _reshape(site: Site) -> Node:
    site.operands(1, 2)
    x, output = site.activation(0), site.output()
    site.same_dtype(x, output)
    if site.tensor(1) is not None:
        target = site.public_integers(1).reshape(-1).tolist()
    else:
        target = list(site.options(schema.Options.ReshapeOptions).integers(schema.ReshapeOptions.NewShape, "i", 64))
    # the framework computes the output's shape from the target and ignores what the file says
    known = math.prod(extent for extent in target if extent != -1)
    if target.count(-1) == 1 and known > 0:
        target[target.index(-1)] = math.prod(x.shape) // known
    if tuple(target) != output.shape:
        raise site.corrupt(f"its target shape {tuple(target)} is not the output's shape {output.shape}")
    return Node((x.index,), {})


def _pad(site: Site) -> Node:
    site.operands(2, 2)
    x, output = site.activation(0), site.output()
    site.same_dtype(x, output)
    return Node((x.index,), {"paddings": _paddings(site, x)})


def _paddings(site: Site, x: FileTensor) -> tuple[tuple[int, int], ...]:
    paddings = site.public_integers(1)
    if paddings.shape != (len(x.shape), 2) or not np.all((paddings >= 0) & (paddings <= 2**16)):
        raise site.corrupt(f"paddings of shape {paddings.shape} for an input of shape {x.shape}")
    return tuple((int(before), int(after)) for before, after in paddings)


def _mirror_pad(site: Site) -> Node:
    x, _ = _copied(site, 2, 2)
    mode = site.options(schema.Options.MirrorPadOptions).integer(schema.MirrorPadOptions.Mode, "b")
    if mode not in (0, 1):
        raise site.corrupt(f"it has mirror mode {mode}")
    return Node((x.index,), {"paddings": _paddings(site, x), "symmetric": mode == 1})


def _blocks(site: Site) -> Node:
    x, _ = _copied(site, 1, 1)
    if site.operator.kind == "SPACE_TO_DEPTH":
        block = site.options(schema.Options.SpaceToDepthOptions).integer(schema.SpaceToDepthOptions.BlockSize, "i")
    else:
        block = site.options(schema.Options.DepthToSpaceOptions).integer(schema.DepthToSpaceOptions.BlockSize, "i")
    if not 1 <= block <= 2**16:
        raise site.corrupt(f"it has blocks of {block}")
    return Node((x.index,), {"block": block})


def _squeeze(site: Site) -> Node:
    x, output = _copied(site, 1, 1)
    options = site.options(schema.Options.SqueezeOptions)
    named = options.integers(schema.SqueezeOptions.SqueezeDims, "i", 8)
    axes = {site.axis(axis, len(x.shape)) for axis in named}
    if any(x.shape[axis] != 1 for axis in axes):
        raise site.corrupt(f"axes {named} of an input of shape {x.shape}")
    left_out = axes or {axis for axis, extent in enumerate(x.shape) if extent == 1}
    _need_shape(site, [extent for axis, extent in enumerate(x.shape) if axis not in left_out], output)
    return Node((x.index,), {})


def _expand_dims(site: Site) -> Node:
    x, output = _copied(site, 2, 2)
    (value,) = _per_axis(site, 1, 1)
    axis = site.axis(value, len(x.shape) + 1)
    _need_shape(site, (*x.shape[:axis], 1, *x.shape[axis:]), output)
    return Node((x.index,), {})


def _transpose(site: Site) -> Node:
    x, _ = _copied(site, 2, 2)
    rank = len(x.shape)
    permutation = tuple(site.axis(axis, rank) for axis in _per_axis(site, 1, rank))
    if len(set(permutation)) != rank:
        raise site.corrupt(f"the permutation {permutation}")
    return Node((x.index,), {"permutation": permutation})


def _slice(site: Site) -> Node:
    x, _ = _copied(site, 3, 3)
    begin, size = (_per_axis(site, position, len(x.shape)) for position in (1, 2))
    # -1 is all that follows
    size = [extent - at if count == -1 else count for extent, at, count in zip(x.shape, begin, size, strict=True)]
    if any(not (0 <= at and 0 < count <= extent - at) for extent, at, count in zip(x.shape, begin, size, strict=True)):
        raise site.corrupt(f"a box of shape {tuple(size)} at {tuple(begin)} in an input of shape {x.shape}")
    return Node((x.index,), {"begin": tuple(begin), "size": tuple(size)})


def _strided_slice(site: Site) -> Node:
    x, _ = _copied(site, 4, 4)
    rank = len(x.shape)
    options, slots = site.options(schema.Options.StridedSliceOptions), schema.StridedSliceOptions
    if options.integer(slots.EllipsisMask, "i") or options.integer(slots.NewAxisMask, "i"):
        raise UnsupportedOperatorError("an ellipsis or a new axis")
    if options.integer(slots.Offset, "?"):
        raise UnsupportedOperatorError("an end that is counted from the begin")
    given = site.public_integers(1).size
    if not 0 < given <= rank:
        raise site.corrupt(f"it slices {given} axes of an input of shape {x.shape}")
    begins, ends, strides = (_per_axis(site, position, given) for position in (1, 2, 3))
    open_begin, open_end, shrink = (
        options.integer(slot, "i") for slot in (slots.BeginMask, slots.EndMask, slots.ShrinkAxisMask))
    box, dropped = [], []
    for axis, extent in enumerate(x.shape):
        if axis >= given:
            box.append((0, extent, 1))
            continue
        stride, drops = strides[axis], bool(shrink >> axis & 1)
        if stride == 0 or (drops and stride < 0):
            raise site.corrupt(f"a stride of {stride} along axis {axis}")
        bounds = slice(None if open_begin >> axis & 1 else begins[axis], None if open_end >> axis & 1 else ends[axis],
                       stride).indices(extent)
        count = 1 if drops else len(range(*bounds))
        if count == 0 or not 0 <= bounds[0] < extent:
            raise site.corrupt(f"nothing is left along axis {axis} of an input of shape {x.shape}")
        box.append((bounds[0], count, stride))
        if drops:
            dropped.append(axis)
    begin, size, steps = zip(*box, strict=True)
    return Node((x.index,), {"begin": begin, "size": size, "strides": steps, "dropped": tuple(dropped)})


def _parts(site: Site, x: FileTensor, axis: int, extents: Sequence[int]) -> tuple[Node, ...]:
    """A node per output, each a part of x along an axis."""
    site.same_dtype(x, *(site.output(position) for position in range(len(extents))))
    if sum(extents) != x.shape[axis] or min(extents) < 1:
        raise site.corrupt(f"parts {tuple(extents)} along axis {axis} of an input of shape {x.shape}")
    return tuple(
        Node((x.index,), {"axis": axis, "start": sum(extents[:position]), "extent": extent}, position)
        for position, extent in enumerate(extents))


def _split(site: Site) -> tuple[Node, ...]:
    count = site.options(schema.Options.SplitOptions).integer(schema.SplitOptions.NumSplits, "i")
    site.operands(2, 2, count)
    x = site.activation(1)
    (value,) = _per_axis(site, 0, 1)
    axis = site.axis(value, len(x.shape))
    if count < 1 or x.shape[axis] % count:
        raise site.corrupt(f"{count} equal parts along axis {axis} of an input of shape {x.shape}")
    return _parts(site, x, axis, [x.shape[axis] // count] * count)


def _split_v(site: Site) -> tuple[Node, ...]:
    count = site.options(schema.Options.SplitVOptions).integer(schema.SplitVOptions.NumSplits, "i")
    site.operands(3, 3, count)
    x = site.activation(0)
    (value,) = _per_axis(site, 2, 1)
    axis = site.axis(value, len(x.shape))
    extents = _per_axis(site, 1, count)
    if not extents:
        raise site.corrupt("it has no parts")
    if extents.count(-1) == 1:
        extents[extents.index(-1)] = x.shape[axis] - sum(extents) - 1
    return _parts(site, x, axis, extents)


def _unpack(site: Site) -> tuple[Node, ...]:
    options = site.options(schema.Options.UnpackOptions)
    count = options.integer(schema.UnpackOptions.Num, "i")
    site.operands(1, 1, count)
    x = site.activation(0)
    axis = site.axis(options.integer(schema.UnpackOptions.Axis, "i"), len(x.shape))
    parts = _parts(site, x, axis, [1] * count) if count > 0 else ()
    for part in parts:
        del part.attributes["extent"]
    return parts


def _pack(site: Site) -> Node:
    options = site.options(schema.Options.PackOptions)
    count = options.integer(schema.PackOptions.ValuesCount, "i")
    site.operands(count, count)
    most = BY_NAME["PACK"].inputs[1]
    if not 1 <= count <= most:
        raise UnsupportedOperatorError(f"more than {most} inputs")
    inputs, output = [site.activation(position) for position in range(count)], site.output()
    site.same_dtype(*inputs, output)
    own = (output.scale, output.zero_point)
    if any((x.scale, x.zero_point) != own for x in inputs):
        raise UnsupportedOperatorError("inputs quantized differently from the output")
    axis = site.axis(options.integer(schema.PackOptions.Axis, "i"), len(inputs[0].shape) + 1)
    return Node(tuple(x.index for x in inputs), {"axis": axis})


def _tile(site: Site) -> Node:
    x, _ = _copied(site, 2, 2)
    multiples = tuple(_per_axis(site, 1, len(x.shape)))
    if not all(1 <= times <= 2**16 for times in multiples):
        raise site.corrupt(f"multiples {multiples}")
    return Node((x.index,), {"multiples": multiples})


def _resize_nearest_neighbor(site: Site) -> Node:
    x, output = _copied(site, 2, 2)
    if len(x.shape) != 4:
        raise site.corrupt(f"its input has the shape {x.shape}")
    options, slots = site.options(schema.Options.ResizeNearestNeighborOptions), schema.ResizeNearestNeighborOptions
    _need_shape(site, (x.shape[0], *_per_axis(site, 1, 2), x.shape[3]), output)
    return Node((x.index,), {
        "align_corners": bool(options.integer(slots.AlignCorners, "?")),
        "half_pixel_centers": bool(options.integer(slots.HalfPixelCenters, "?")),
    })


#: Operator → its conversion.
CONVERSIONS: dict[str, Callable[[Site], Node | tuple[Node, ...]]] = {
    "RESHAPE": _reshape,
    "SQUEEZE": _squeeze,
    "EXPAND_DIMS": _expand_dims,
    "TRANSPOSE": _transpose,
    "SLICE": _slice,
    "STRIDED_SLICE": _strided_slice,
    "SPLIT": _split,
    "SPLIT_V": _split_v,
    "UNPACK": _unpack,
    "PACK": _pack,
    "TILE": _tile,
    "RESIZE_NEAREST_NEIGHBOR": _resize_nearest_neighbor,
    "SPACE_TO_DEPTH": _blocks,
    "DEPTH_TO_SPACE": _blocks,
    "MIRROR_PAD": _mirror_pad,
    "PAD": _pad,
}
