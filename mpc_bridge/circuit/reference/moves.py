"""Ops that only move elements: raw integers are copied, whatever the tensors' scales say.

Source: ``tensorflow/lite/kernels/internal/reference/{transpose,slice,strided_slice,resize_nearest_neighbor,pad,
space_to_depth,depth_to_space}.h`` and
``tensorflow/lite/kernels/{split,split_v,unpack,pack,tile,squeeze,expand_dims,reshape,mirror_pad}.cc``.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from mpc_bridge.circuit.fixedpoint import Ints, round_half_away
from mpc_bridge.circuit.reference.operands import Array, Operands, zero_point

Extents = tuple[int, ...]


def reshape(operands: Operands) -> Array:
    """RESHAPE, SQUEEZE, EXPAND_DIMS: to the output tensor's shape, row-major."""
    return operands.array(0).reshape(operands.output.shape)


def pad(operands: Operands) -> Array:
    """With the output's zero point; ``paddings`` is ``((before, after), ...)`` per axis."""
    paddings = cast("tuple[tuple[int, int], ...]", operands.op.attributes["paddings"])
    return np.pad(operands.array(0), paddings, constant_values=zero_point(operands.output))


def transpose(operands: Operands) -> Array:
    """Output axis i is input axis ``permutation[i]``."""
    return operands.array(0).transpose(cast(Extents, operands.op.attributes["permutation"]))


def strided_slice(operands: Operands) -> Array:
    """SLICE and STRIDED_SLICE: element i along an axis is input element ``begin + i * stride``."""
    x, attributes = operands.array(0), operands.op.attributes
    begin, size = cast(Extents, attributes["begin"]), cast(Extents, attributes["size"])
    strides = cast(Extents, attributes.get("strides", (1,) * x.ndim))
    for axis in range(x.ndim):
        x = x.take(begin[axis] + np.arange(size[axis]) * strides[axis], axis=axis)
    return x.reshape(operands.output.shape)


def part(operands: Operands) -> Array:
    """SPLIT, SPLIT_V, UNPACK: ``extent`` (UNPACK: one) positions from ``start`` along ``axis``."""
    attributes = operands.op.attributes
    start, extent = cast(int, attributes["start"]), cast(int, attributes.get("extent", 1))
    taken = operands.array(0).take(range(start, start + extent), axis=cast(int, attributes["axis"]))
    return taken.reshape(operands.output.shape)


def pack(operands: Operands) -> Array:
    """Equal shapes along a new axis."""
    arrays = [operands.array(position) for position in range(len(operands.arrays))]
    return np.stack(arrays, axis=cast(int, operands.op.attributes["axis"]))


def tile(operands: Operands) -> Array:
    """Repeated along its axes."""
    return np.tile(operands.array(0), cast(Extents, operands.op.attributes["multiples"]))


def resize_nearest_neighbor(operands: Operands) -> Array:
    """Rows and columns at :func:`nearest`."""
    x = operands.array(0)
    corners, centers = (bool(operands.op.attributes[name]) for name in ("align_corners", "half_pixel_centers"))
    for axis in (1, 2):
        x = x.take(nearest(x.shape[axis], operands.output.shape[axis], corners, centers), axis=axis)
    return x


def nearest(source: int, target: int, align_corners: bool, half_pixel_centers: bool) -> Ints:
    """``GetNearestNeighbor``, float32 throughout: which of ``source`` cells each of ``target`` cells copies."""
    corners = align_corners and target > 1
    scale = (np.float32(source - 1) / np.float32(target - 1)) if corners else np.float32(source) / np.float32(target)
    position = (np.arange(target, dtype=np.float32) + np.float32(0.5 if half_pixel_centers else 0)) * scale
    rounded = round_half_away(position) if align_corners else np.floor(position)
    return np.clip(rounded.astype(np.int64), 0, source - 1)


def space_to_depth(operands: Operands) -> Array:
    """Output channel ``(i * block + j) * C + c`` of a cell is channel c at row i and column j of its block."""
    x, block = operands.array(0), cast(int, operands.op.attributes["block"])
    parts = [x[:, i::block, j::block] for i in range(block) for j in range(block)]
    return np.concatenate(parts, axis=3)


def depth_to_space(operands: Operands) -> Array:
    """The inverse of :func:`space_to_depth`."""
    x, block = operands.array(0), cast(int, operands.op.attributes["block"])
    result = np.empty(operands.output.shape, x.dtype)
    for position, channels in enumerate(np.split(x, block**2, axis=3)):
        result[:, position // block :: block, position % block :: block] = channels
    return result


def mirror_pad(operands: Operands) -> Array:
    """As a mirror at the border shows: with the cells at the border repeated (``symmetric``) or not."""
    paddings = cast("tuple[tuple[int, int], ...]", operands.op.attributes["paddings"])
    if operands.op.attributes["symmetric"]:
        return np.pad(operands.array(0), paddings, mode="symmetric")
    return np.pad(operands.array(0), paddings, mode="reflect")
