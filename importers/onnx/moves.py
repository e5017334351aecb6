"""Nodes that only move elements, reals and the integers that stand for them, with their public shapes and axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

import numpy as np

from mpc_bridge.importers.onnx.build import Activation, Constant, Stored, UnsupportedNodeError
from mpc_bridge.importers.onnx.fold import FoldError, fold, reshape_target, slices
from mpc_bridge.importers.onnx.proto import MAX_RANK, Array
from mpc_bridge.importers.onnx.site import MAX_STEP, Site


def _stored(site: Site) -> bool:
    """A move of stored integers with scales: done here, when its channels can be followed."""
    value = site.required(0)
    if not isinstance(value, Stored):
        return False
    arrays: list[Array | None] = [value.array, *(site.constant(i) for i in range(1, len(site.operands)))]
    try:
        moved = fold(site.node.kind, arrays, site.node.attributes)
        axis = value.quantization.axis
        if axis is not None:
            # where the channels went: the same move on an array that numbers them
            extent = value.array.shape[axis]
            numbers = np.arange(extent).reshape([extent if a == axis else 1 for a in range(value.array.ndim)])
            where = fold(site.node.kind, [np.broadcast_to(numbers, value.array.shape), *arrays[1:]],
                         site.node.attributes)
            axis = _channel_axis(where, extent)
    except FoldError as error:
        raise UnsupportedNodeError(f"stored integers: {error}") from error
    old = value.quantization
    site.builder.charge(moved.nbytes)
    site.alias(Stored(site.node.outputs[0], moved, old.__class__(old.scale, old.zero_point, axis, old.dtype)))
    return True


def _channel_axis(numbers: Array, extent: int) -> int:
    for axis in range(numbers.ndim):
        shape = [extent if a == axis else 1 for a in range(numbers.ndim)]
        if numbers.shape[axis] == extent and np.array_equal(
                numbers, np.broadcast_to(np.arange(extent).reshape(shape), numbers.shape)):
            return axis
    raise UnsupportedNodeError("a move that mixes the channels of stored integers")


def _axis(site: Site, axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise site.corrupt(f"axis {axis} of {rank}")
    return axis % rank


def _axes(site: Site, position: int, rank: int) -> tuple[int, ...] | None:
    axes = site.integers(position)
    if axes is None:
        return None
    found = tuple(_axis(site, axis, rank) for axis in axes)
    if len(set(found)) != len(found):
        raise site.corrupt(f"axes {axes}")
    return found


def _reshape(site: Site) -> None:
    site.count(2, 2)
    if _stored(site):
        return
    x, target = site.moved(), site.integers(1)
    if target is None:
        raise site.corrupt("its target shape is missing")
    try:
        shape = reshape_target(target, x.shape, site.integer("allowzero", 0) != 0)
    except FoldError as error:
        raise site.corrupt(str(error)) from error
    site.emit("Reshape", (x,), shape, {"shape": shape})


def _flatten(site: Site) -> None:
    site.count(1, 1)
    x = site.moved()
    axis, rank = site.integer("axis", 1), len(x.shape)
    if not -rank <= axis <= rank:
        raise site.corrupt(f"axis {axis} of {rank}")
    axis += rank if axis < 0 else 0
    shape = (math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))
    if axis == 1 and rank > 1:
        site.emit("Flatten", (x,), shape, {"start": 1, "end": rank - 1})
    else:
        site.emit("Reshape", (x,), shape, {"shape": shape})


def _transpose(site: Site) -> None:
    site.count(1, 1)
    if _stored(site):
        return
    x = site.moved()
    permutation = site.entries("perm") or tuple(reversed(range(len(x.shape))))
    if sorted(permutation) != list(range(len(x.shape))):
        raise site.corrupt(f"the permutation {permutation[:8]} of {len(x.shape)} axes")
    site.emit("Transpose", (x,), [x.shape[axis] for axis in permutation], {"permutation": permutation})


def _squeeze(site: Site) -> None:
    site.count(1, 2)
    if _stored(site):
        return
    x = site.moved()
    axes = _axes(site, 1, len(x.shape))
    if axes is None:
        axes = tuple(axis for axis, extent in enumerate(x.shape) if extent == 1)
    if any(x.shape[axis] != 1 for axis in axes):
        raise site.corrupt(f"axes {axes} of the shape {x.shape}")
    site.emit("Squeeze", (x,), [e for axis, e in enumerate(x.shape) if axis not in axes], {"axes": axes})


def _unsqueeze(site: Site) -> None:
    site.count(2, 2)
    if _stored(site):
        return
    x, given = site.moved(), site.integers(1)
    if not given:
        raise site.corrupt("its axes are missing")
    rank = len(x.shape) + len(given)
    axes = _axes(site, 1, rank) or ()
    if rank > MAX_RANK:
        raise site.corrupt(f"{rank} axes")
    rest = iter(x.shape)
    site.emit("Unsqueeze", (x,), [1 if axis in axes else next(rest) for axis in range(rank)],
              {"axes": tuple(sorted(axes))})


def concatenate(site: Site, parts: Sequence[Activation | Stored | Constant], axis: int) -> None:
    """Concat of any format."""
    shapes = [part.array.shape if isinstance(part, Constant) else part.shape for part in parts]
    rank = len(shapes[0])
    axis = _axis(site, axis, rank)
    if any(len(shape) != rank or shape[:axis] != shapes[0][:axis] or shape[axis + 1 :] != shapes[0][axis + 1 :]
           for shape in shapes):
        raise site.corrupt(f"the shapes {shapes[:4]} do not fit together")
    total = sum(shape[axis] for shape in shapes)
    site.emit("Concat", parts, (*shapes[0][:axis], total, *shapes[0][axis + 1 :]), {"axis": axis})


def _concat(site: Site) -> None:
    site.count(1, 4096)
    values = [site.required(position) for position in range(len(site.operands))]
    parts = [site.moved(position) if isinstance(value, Activation) else site.real(position)
             for position, value in enumerate(values)]
    concatenate(site, parts, site.integer("axis", 0))


def _split(site: Site) -> None:
    site.count(1, 2, outputs=4096)
    x = site.moved()
    axis = _axis(site, site.integer("axis", 0), len(x.shape))
    count, extent = len(site.node.outputs), x.shape[axis]
    sizes = site.integers(1)
    if sizes is None:
        # the last one gets what is left over (num_outputs, operator set 18)
        size = -(-extent // count)
        sizes = [min(size, extent - position * size) for position in range(count)]
    if len(sizes) != count or sum(sizes) != extent or not all(0 < size for size in sizes):
        raise site.corrupt(f"sizes {sizes[:8]} of {extent} for {count} outputs")
    site.emit_several("Split", (x,), [(*x.shape[:axis], size, *x.shape[axis + 1 :]) for size in sizes],
                      {"axis": axis, "sizes": tuple(sizes)})


def _slice(site: Site) -> None:
    site.count(3, 5)
    x = site.moved()
    try:
        parts = slices([None, *(site.constant(position) for position in range(1, len(site.operands)))], x.shape)
    except FoldError as error:
        raise site.corrupt(str(error)) from error
    parts = [part for part in parts if part[1:] != (0, x.shape[part[0]], 1)]
    if any(part[3] < 0 for part in parts):
        raise UnsupportedNodeError("steps below 0")
    _slices(site, x, parts)


def _slices(site: Site, x: Activation, parts: Sequence[tuple[int, int, int, int]]) -> None:
    """One Slice after the other; of none a Slice of everything."""
    for position, (axis, start, end, step) in enumerate(parts or [(0, 0, x.shape[0], 1)] if x.shape else ()):
        shape = (*x.shape[:axis], len(range(start, end, step)), *x.shape[axis + 1 :])
        x = site.emit("Slice", (x,), shape, {"axis": axis, "start": start, "end": end, "step": step},
                      final=position == max(len(parts), 1) - 1)


def _gather(site: Site) -> None:
    site.count(2, 2)
    if isinstance(site.required(1), Activation):
        raise UnsupportedNodeError("indices that are computed when the model runs")
    x, indices = site.moved(), site.constant(1)
    assert indices is not None
    axis = _axis(site, site.integer("axis", 0), len(x.shape))
    extent = x.shape[axis]
    if indices.dtype.kind not in "iu" or np.any(indices < -extent) or np.any(indices >= extent):
        raise site.corrupt(f"indices outside of {extent} entries")
    if indices.ndim == 0:
        shape = (*x.shape[:axis], *x.shape[axis + 1 :])
        site.emit("Select", (x,), shape, {"axis": axis, "index": int(indices) % extent})
        return
    found = indices.astype(np.int64) % extent
    step = int(found[1] - found[0]) if found.ndim == 1 and found.size > 1 else 1
    if found.ndim != 1 or not found.size or step < 1 or not np.array_equal(
            found, np.arange(found[0], found[-1] + 1, step)):
        raise UnsupportedNodeError("indices other than one, or a rising progression")
    _slices(site, x, [(axis, int(found[0]), int(found[-1]) + 1, step)])


def _tile(site: Site) -> None:
    site.count(2, 2)
    x, multiples = site.moved(), site.integers(1)
    if multiples is None or len(multiples) != len(x.shape) or not all(1 <= m <= MAX_STEP for m in multiples):
        raise site.corrupt(f"repeats {multiples} of {len(x.shape)} axes")
    site.emit("Tile", (x,), [extent * m for extent, m in zip(x.shape, multiples, strict=True)],
              {"multiples": tuple(multiples)})


def _expand(site: Site) -> None:
    site.count(2, 2)
    x, target = site.moved(), site.integers(1)
    shape = site.broadcast(x.shape, target or ())
    site.emit("Expand", (x,), shape, {"shape": shape})


def _pad(site: Site) -> None:
    site.count(2, 4)
    mode = site.text("mode", "constant")
    if mode not in ("constant", "reflect"):
        raise UnsupportedNodeError(f"the mode '{mode}'")
    x, pads = site.moved(), site.integers(1)
    axes = _axes(site, 3, len(x.shape)) or tuple(range(len(x.shape)))
    if pads is None or len(pads) != 2 * len(axes) or not all(abs(pad) <= MAX_STEP for pad in pads):
        raise site.corrupt(f"pads {pads} of {len(axes)} axes")
    if any(pad < 0 for pad in pads):
        raise UnsupportedNodeError("paddings below 0")
    value = site.scalar(2) or 0.0
    if site.requantize is not None:
        # the value is an integer then, 0 when it is left out
        value = site.requantize.scale[0] * (value - site.requantize.zero_point[0])
    pairs = [(0, 0)] * len(x.shape)
    for position, axis in enumerate(axes):
        pairs[axis] = (pads[position], pads[position + len(axes)])
    if mode == "reflect" and any(max(pair) >= extent for pair, extent in zip(pairs, x.shape, strict=True)):
        raise site.corrupt(f"reflected paddings {pairs} of the shape {x.shape}")
    site.emit("Pad", (x,), [sum(pair) + extent for pair, extent in zip(pairs, x.shape, strict=True)],
              {"paddings": tuple(pairs), "mode": mode, "value": value})


def _nearest(extent: int, size: int, transform: str, rounding: str) -> list[int] | None:
    """Which cell each result copies, for transforms that are rational; None for others."""
    if transform == "align_corners":
        ratio = Fraction(extent - 1, size - 1) if size > 1 else Fraction(0)
        places = [ratio * cell for cell in range(size)]
    elif transform == "asymmetric":
        places = [Fraction(extent, size) * cell for cell in range(size)]
    elif transform == "half_pixel" or (transform == "pytorch_half_pixel" and size > 1):
        places = [Fraction(extent, size) * (cell + Fraction(1, 2)) - Fraction(1, 2) for cell in range(size)]
    else:
        return None
    half = Fraction(1, 2)
    round_to: Mapping[str, Callable[[Fraction], int]] = {
        "floor": math.floor, "ceil": math.ceil, "round_prefer_floor": lambda place: math.ceil(place - half),
        "round_prefer_ceil": lambda place: math.floor(place + half)}
    if rounding not in round_to:
        return None
    return [min(max(round_to[rounding](place), 0), extent - 1) for place in places]


def _resize(site: Site) -> None:
    site.count(1, 4)
    x = site.moved()
    scales, sizes = site.constant(2), site.integers(3)
    if len(x.shape) != 4:
        raise UnsupportedNodeError(f"{len(x.shape)} axes; images of 4 are supported")
    if site.entries("axes") is not None or site.integer("antialias", 0) or site.text(
            "keep_aspect_ratio_policy", "stretch") != "stretch":
        raise UnsupportedNodeError("axes, antialiasing or an aspect ratio policy")
    if sizes:
        shape = tuple(sizes)
    elif scales is not None and scales.size and scales.dtype.kind == "f":
        factors = scales.reshape(-1).astype(np.float64).tolist()
        if not all(math.isfinite(factor) and 0 < factor <= MAX_STEP for factor in factors):
            raise site.corrupt("scales that are not positive numbers")
        shape = tuple(math.floor(extent * factor) for extent, factor in zip(x.shape, factors, strict=False))
        if len(factors) != 4 or any(Fraction(factor) * extent != size
                                    for factor, extent, size in zip(factors, x.shape, shape, strict=False)):
            raise UnsupportedNodeError("scales that do not lead to whole extents; state sizes instead")
    else:
        raise site.corrupt("it has neither scales nor sizes")
    if len(shape) != 4 or not all(0 < extent <= MAX_STEP for extent in shape):
        raise site.corrupt(f"an output of shape {shape}")
    if shape[:2] != x.shape[:2]:
        raise UnsupportedNodeError("resizing of the batch or the channels")
    mode, transform = site.text("mode", "nearest"), site.text("coordinate_transformation_mode", "half_pixel")
    rounding = site.text("nearest_mode", "round_prefer_floor")
    flags = {"align_corners": transform == "align_corners",
             "half_pixel_centers": transform in ("half_pixel", "pytorch_half_pixel")}
    if mode == "linear":
        if transform not in ("align_corners", "half_pixel", "pytorch_half_pixel", "asymmetric"):
            raise UnsupportedNodeError(f"the coordinates '{transform}'")
        if transform == "pytorch_half_pixel" and 1 in shape[2:]:
            raise UnsupportedNodeError("pytorch_half_pixel coordinates of one cell")
        site.emit("ResizeBilinear", (x,), shape, {"size": shape[2:], **flags})
        return
    if mode != "nearest":
        raise UnsupportedNodeError(f"the mode '{mode}'")
    image = x.shape[2:]
    if any(a % b and b % a for a, b in zip(image, shape[2:], strict=True)):
        raise UnsupportedNodeError("nearest resizing by a factor that is not whole")
    wanted = [_nearest(extent, size, transform, rounding) for extent, size in zip(image, shape[2:], strict=True)]
    for ours, word, how in ((dict.fromkeys(flags, False), "asymmetric", "floor"),
                            ({"align_corners": False, "half_pixel_centers": True}, "half_pixel", "round_prefer_ceil")):
        if wanted == [_nearest(extent, size, word, how) for extent, size in zip(image, shape[2:], strict=True)]:
            site.emit("ResizeNearest", (x,), shape, {"size": shape[2:], **ours})
            return
    raise UnsupportedNodeError(f"nearest resizing with coordinates '{transform}' and rounding '{rounding}'")


def _blocks(site: Site) -> None:
    site.count(1, 1)
    x, block = site.moved(), site.integer("blocksize", 0)
    if len(x.shape) != 4 or not 1 <= block <= MAX_STEP:
        raise site.corrupt(f"blocks of {block} in an input of shape {x.shape}")
    batch, channels, rows, columns = x.shape
    order = site.text("mode", "DCR")
    if order not in ("DCR", "CRD"):
        raise site.corrupt(f"its mode is '{order}'")
    if site.node.kind == "DepthToSpace":
        if channels % block**2:
            raise site.corrupt(f"blocks of {block} in an input of shape {x.shape}")
        shape = (batch, channels // block**2, rows * block, columns * block)
    else:
        if rows % block or columns % block:
            raise site.corrupt(f"blocks of {block} in an input of shape {x.shape}")
        shape = (batch, channels * block**2, rows // block, columns // block)
    site.emit(site.node.kind, (x,), shape, {"block": block, "order": order})


def _identity(site: Site) -> None:
    site.count(1, 1)
    site.alias(site.required(0))


def _dropout(site: Site) -> None:
    site.count(1, 3)
    training = site.constant(2)
    if training is not None and np.any(training != 0):
        raise UnsupportedNodeError("training mode")
    site.alias(site.required(0))


def _cast(site: Site) -> None:
    site.count(1, 1)
    value, number = site.required(0), site.integer("to", 0)
    dtype = value.dtype if isinstance(value, Activation) else "float32"
    # an index is an index in either type
    if not ((dtype == "float32" and number == 1) or (dtype == "int64" and number in (6, 7))
            or (dtype == "uint8" and number == 2) or (dtype == "int8" and number == 3)):
        raise UnsupportedNodeError(f"a conversion of {dtype} to type number {number}")
    site.alias(value)


MOVES: Mapping[str, Callable[[Site], None]] = {
    "Reshape": _reshape, "Flatten": _flatten, "Transpose": _transpose, "Squeeze": _squeeze, "Unsqueeze": _unsqueeze,
    "Concat": _concat, "Split": _split, "Slice": _slice, "Gather": _gather, "Tile": _tile, "Expand": _expand,
    "Pad": _pad, "Resize": _resize, "DepthToSpace": _blocks, "SpaceToDepth": _blocks, "Identity": _identity,
    "Dropout": _dropout, "Cast": _cast,
}
