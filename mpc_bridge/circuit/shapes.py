"""Shape inference: the output shape of every kind of op, and what its input shapes and attributes must satisfy.

Every function assumes attributes of the right Python types (the verifier checks those first) and raises ValueError, in
words, where shapes and attributes do not fit together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mpc_bridge.circuit.graph import Op
from mpc_bridge.circuit.interpolation import mixture

Shape = tuple[int, ...]
Rule = Callable[[dict[str, Any], Sequence[Shape], Shape], Shape]

#: Axes of an NHWC tensor that a window moves along.
_ROWS_COLUMNS = (1, 2)


def infer_shape(op: Op, shapes: Sequence[Shape], declared: Shape) -> Shape:
    """The output's shape.

    Args:
        op: its attributes have the right types.
        shapes: of the inputs; ``()`` where an optional input is missing.
        declared: the output's shape as the graph has it, which is what RESHAPE goes to.

    Raises:
        ValueError: what does not fit, in words.
    """
    return _RULES[op.kind](dict(op.attributes), shapes, declared)


def _window_shape(attributes: dict[str, Any], image: Shape, window: tuple[int, int]) -> tuple[int, int]:
    """Output rows and columns of a window that moves over an NHWC image."""
    dilation = attributes.get("dilation", (1, 1))
    extents = []
    for position, axis in enumerate(_ROWS_COLUMNS):
        before, after = attributes["padding"][position]
        reach = (window[position] - 1) * dilation[position] + 1
        padded = image[axis] + before + after
        if padded < reach:
            raise ValueError(f"a window of {reach} cells does not fit into {padded}")
        extents.append((padded - reach) // attributes["stride"][position] + 1)
    return extents[0], extents[1]


def _need_rank(shape: Shape, rank: int, what: str) -> None:
    if len(shape) != rank:
        raise ValueError(f"{what} of shape {shape} should have {rank} axes")


def _need_bias(shapes: Sequence[Shape], channels: int) -> None:
    if len(shapes) == 3 and shapes[2] not in ((), (channels,)):
        raise ValueError(f"bias of shape {shapes[2]} for {channels} channels")


def _conv_2d(attributes: dict[str, Any], shapes: Sequence[Shape], declared: Shape) -> Shape:
    x, weights = shapes[0], shapes[1]
    _need_rank(x, 4, "input")
    _need_rank(weights, 4, "weights")
    if x[3] % weights[3] or weights[0] % (x[3] // weights[3]):
        raise ValueError(f"{weights[0]} filters of {weights[3]} channels on an input of {x[3]}")
    _need_bias(shapes, weights[0])
    return (x[0], *_window_shape(attributes, x, (weights[1], weights[2])), weights[0])


def _depthwise_conv_2d(attributes: dict[str, Any], shapes: Sequence[Shape], declared: Shape) -> Shape:
    x, weights = shapes[0], shapes[1]
    _need_rank(x, 4, "input")
    _need_rank(weights, 4, "weights")
    if weights[0] != 1 or weights[3] != x[3] * attributes["depth_multiplier"]:
        raise ValueError(f"weights of shape {weights} and depth multiplier {attributes['depth_multiplier']} "
                         f"on an input of {x[3]} channels")
    _need_bias(shapes, weights[3])
    return (x[0], *_window_shape(attributes, x, (weights[1], weights[2])), weights[3])


def _fully_connected(attributes: dict[str, Any], shapes: Sequence[Shape], declared: Shape) -> Shape:
    x, weights = shapes[0], shapes[1]
    _need_rank(weights, 2, "weights")
    outputs, inputs = weights
    _need_bias(shapes, outputs)
    if attributes["keep_num_dims"]:
        if not x or x[-1] != inputs:
            raise ValueError(f"weights for {inputs} values on an input of shape {x}")
        return (*x[:-1], outputs)
    if math.prod(x) % inputs:
        raise ValueError(f"weights for {inputs} values on an input of shape {x}")
    return (math.prod(x) // inputs, outputs)


def _transpose_conv(attributes: dict[str, Any], shapes: Sequence[Shape], declared: Shape) -> Shape:
    x, weights = shapes[0], shapes[1]
    for shape, what in ((x, "input"), (weights, "weights"), (declared, "output")):
        _need_rank(shape, 4, what)
    if weights[3] != x[3]:
        raise ValueError(f"weights for {weights[3]} channels on an input of {x[3]}")
    if any(before >= extent for before, extent in zip(attributes["origin"], weights[1:3], strict=True)):
        raise ValueError(f"origin {attributes['origin']} outside a kernel of shape {weights[1:3]}")
    _need_bias(shapes, weights[0])
    return (x[0], *declared[1:3], weights[0])


def _broadcast(attributes: dict[str, Any], shapes: Sequence[Shape], declared: Shape) -> Shape:
    return tuple(int(extent) for extent in np.broadcast_shapes(shapes[0], shapes[1]))


def _batch_matmul(attributes: dict[str, Any], shapes: Sequence[Shape], declared: Shape) -> Shape:
    for shape in shapes:
        if len(shape) < 2:
            raise ValueError(f"an operand of shape {shape} is no matrix")
    (rows, depth), (inner, columns) = (
        shape[-2:][::-1] if attributes[name] else shape[-2:] for name, shape in zip(("adj_x", "adj_y"), shapes,
                                                                                   strict=True))
    if depth != inner:
        raise ValueError(f"matrices of {depth} columns times matrices of {inner} rows")
    batch = np.broadcast_shapes(shapes[0][:-2], shapes[1][:-2])
    return (*(int(extent) for extent in batch), rows, columns)


def _prelu(attributes: dict[str, Any], shapes: Sequence[Shape], declared: Shape) -> Shape:
    if _broadcast(attributes, shapes, declared) != shapes[0]:
        raise ValueError(f"alpha of shape {shapes[1]} for an input of shape {shapes[0]}")
    return shapes[0]


def _pool(attributes: dict[str, Any], shapes: Sequence[Shape], declared: Shape) -> Shape:
    x, window, stride = shapes[0], attributes["window"], attributes["stride"]
    _need_rank(x, 4, "input")
    extents = _window_shape(attributes, x, window)
    for position, axis in enumerate(_ROWS_COLUMNS):
        before = attributes["padding"][position][0]
        last = (extents[position] - 1) * stride[position] - before
        if before >= window[position] or last >= x[axis]:
            raise ValueError("a window that covers no cell of the image")
    return (x[0], *extents, x[3])


def _average(attributes: dict[str, Any], shapes: Sequence[Shape], declared: Shape) -> Shape:
    x, window, stride, padding = shapes[0], attributes["window"], attributes["stride"], attributes["padding"]
    _need_rank(x, 4, "input")
    _need_rank(declared, 4, "output")
    for position, axis in enumerate(_ROWS_COLUMNS):
        before, after = padding[position]
        last = (declared[axis] - 1) * stride[position] - before
        if before >= window[position] or last >= x[axis]:
            raise ValueError("a window that covers no cell of the image")
        if window[0] * window[1] > 2**23:
            raise ValueError(f"a window of {window[0]} x {window[1]} cells")
        # one more position would still fit: a framework with or without ceil_mode has it
        if last + stride[position] + window[position] <= x[axis] + after:
            raise ValueError(f"{declared[axis]} windows along axis {axis}, where more fit")
    return (x[0], *declared[1:3], x[3])


def _rescale(attributes: dict[str, Any], shapes: Sequence[Shape], declared: Shape) -> Shape:
    terms, bias = shapes[:-1], shapes[-1]
    result = tuple(int(extent) for extent in np.broadcast_shapes(*terms))
    channels = result[-1] if result else 1
    if bias not in ((), (channels,)):
        raise ValueError(f"bias of shape {bias} for {channels} channels")
    return result


def _float_softmax(attributes: dict[str, Any], shapes: Sequence[Shape], declared: Shape) -> Shape:
    if attributes["axis"] >= len(shapes[0]):
        raise ValueError(f"axis {attributes['axis']} of an input of shape {shapes[0]}")
    return shapes[0]


def _reduce(attributes: dict[str, Any], shapes: Sequence[Shape], declared: Shape) -> Shape:
    x, axes = shapes[0], attributes["axes"]
    if axes[-1] >= len(x):
        raise ValueError(f"axes {axes} of an input of shape {x}")
    if attributes["keep_dims"]:
        return tuple(1 if axis in axes else extent for axis, extent in enumerate(x))
    return tuple(extent for axis, extent in enumerate(x) if axis not in axes)


def _arg_max(attributes: dict[str, Any], shapes: Sequence[Shape], declared: Shape) -> Shape:
    x, axis = shapes[0], attributes["axis"]
    if axis >= len(x):
        raise ValueError(f"axis {axis} of an input of shape {x}")
    return (*x[:axis], *x[axis + 1:])


def _reshape(attributes: dict[str, Any], shapes: Sequence[Shape], declared: Shape) -> Shape:
    if math.prod(shapes[0]) != math.prod(declared):
        raise ValueError(f"shape {shapes[0]} cannot become {declared}: the number of elements differs")
    return declared


def _transpose(attributes: dict[str, Any], shapes: Sequence[Shape], declared: Shape) -> Shape:
    _need_length("permutation", attributes["permutation"], shapes[0])
    return tuple(shapes[0][axis] for axis in attributes["permutation"])


def _need_length(name: str, value: tuple[int, ...], x: Shape) -> None:
    if len(value) != len(x):
        raise ValueError(f"{name} of {len(value)} axes for an input of shape {x}")


def _slice(attributes: dict[str, Any], shapes: Sequence[Shape], declared: Shape) -> Shape:
    x, begin, size = shapes[0], attributes["begin"], attributes["size"]
    strides, dropped = attributes.get("strides", (1,) * len(x)), attributes.get("dropped", ())
    for name, value in (("begin", begin), ("size", size), ("strides", strides)):
        _need_length(name, value, x)
    for axis, extent in enumerate(x):
        last = begin[axis] + (size[axis] - 1) * strides[axis]
        if not (begin[axis] < extent and 0 <= last < extent):
            raise ValueError(f"cells {begin[axis]} to {last} along axis {axis} of an input of shape {x}")
    if any(axis >= len(x) or size[axis] != 1 for axis in dropped):
        raise ValueError(f"dropped axes {dropped} of a slice of shape {size}")
    return tuple(extent for axis, extent in enumerate(size) if axis not in dropped)


def _part(attributes: dict[str, Any], shapes: Sequence[Shape], declared: Shape) -> Shape:
    x, axis, start, extent = shapes[0], attributes["axis"], attributes["start"], attributes.get("extent", 1)
    if axis >= len(x) or start + extent > x[axis]:
        raise ValueError(f"cells {start} to {start + extent - 1} along axis {axis} of an input of shape {x}")
    return (*x[:axis], *([extent] if "extent" in attributes else []), *x[axis + 1:])


def _pack(attributes: dict[str, Any], shapes: Sequence[Shape], declared: Shape) -> Shape:
    first, axis = shapes[0], attributes["axis"]
    if axis > len(first) or any(shape != first for shape in shapes):
        raise ValueError(f"inputs of shapes {', '.join(map(str, dict.fromkeys(shapes)))} along a new axis {axis}")
    return (*first[:axis], len(shapes), *first[axis:])


def _tile(attributes: dict[str, Any], shapes: Sequence[Shape], declared: Shape) -> Shape:
    _need_length("multiples", attributes["multiples"], shapes[0])
    return tuple(extent * times for extent, times in zip(shapes[0], attributes["multiples"], strict=True))


def _resize(attributes: dict[str, Any], shapes: Sequence[Shape], declared: Shape) -> Shape:
    _need_rank(shapes[0], 4, "input")
    _need_rank(declared, 4, "output")
    return (shapes[0][0], *declared[1:3], shapes[0][3])


def _resize_bilinear(attributes: dict[str, Any], shapes: Sequence[Shape], declared: Shape) -> Shape:
    result = _resize(attributes, shapes, declared)
    for axis in _ROWS_COLUMNS:
        mixture(shapes[0][axis], result[axis], attributes["align_corners"], attributes["half_pixel_centers"])
    return result


def _space_to_depth(attributes: dict[str, Any], shapes: Sequence[Shape], declared: Shape) -> Shape:
    x, block = shapes[0], attributes["block"]
    _need_rank(x, 4, "input")
    if x[1] % block or x[2] % block:
        raise ValueError(f"blocks of {block} in an image of {x[1]} x {x[2]}")
    return (x[0], x[1] // block, x[2] // block, x[3] * block**2)


def _depth_to_space(attributes: dict[str, Any], shapes: Sequence[Shape], declared: Shape) -> Shape:
    x, block = shapes[0], attributes["block"]
    _need_rank(x, 4, "input")
    if x[3] % block**2:
        raise ValueError(f"blocks of {block} from {x[3]} channels")
    return (x[0], x[1] * block, x[2] * block, x[3] // block**2)


def _mirror_pad(attributes: dict[str, Any], shapes: Sequence[Shape], declared: Shape) -> Shape:
    padded = _pad(attributes, shapes, declared)
    for extent, sides in zip(shapes[0], attributes["paddings"], strict=True):
        if max(sides) > (extent if attributes["symmetric"] else extent - 1):
            raise ValueError(f"a mirror of {extent} cells does not show {max(sides)}")
    return padded


def _pad(attributes: dict[str, Any], shapes: Sequence[Shape], declared: Shape) -> Shape:
    x, paddings = shapes[0], attributes["paddings"]
    if len(paddings) != len(x):
        raise ValueError(f"paddings of {len(paddings)} axes for an input of shape {x}")
    return tuple(before + extent + after for extent, (before, after) in zip(x, paddings, strict=True))


def _concatenation(attributes: dict[str, Any], shapes: Sequence[Shape], declared: Shape) -> Shape:
    first, axis = shapes[0], attributes["axis"]
    if axis >= len(first):
        raise ValueError(f"axis {axis} of an input of shape {first}")
    for shape in shapes[1:]:
        if len(shape) != len(first) or shape[:axis] != first[:axis] or shape[axis + 1:] != first[axis + 1:]:
            raise ValueError(f"inputs of shapes {first} and {shape} along axis {axis}")
    return (*first[:axis], sum(shape[axis] for shape in shapes), *first[axis + 1:])


def _elementwise(attributes: dict[str, Any], shapes: Sequence[Shape], declared: Shape) -> Shape:
    return shapes[0]


def _softmax(attributes: dict[str, Any], shapes: Sequence[Shape], declared: Shape) -> Shape:
    if not shapes[0]:
        raise ValueError("an input without axes")
    return shapes[0]


_RULES: dict[str, Rule] = {
    "CONV_2D": _conv_2d,
    "DEPTHWISE_CONV_2D": _depthwise_conv_2d,
    "FULLY_CONNECTED": _fully_connected,
    "TRANSPOSE_CONV": _transpose_conv,
    "ADD": _broadcast,
    "SUB": _broadcast,
    "MUL": _broadcast,
    "BATCH_MATMUL": _batch_matmul,
    "MAXIMUM": _broadcast,
    "MINIMUM": _broadcast,
    "AVERAGE_POOL_2D": _pool,
    "MAX_POOL_2D": _pool,
    "MEAN": _reduce,
    "ARG_MAX": _arg_max,
    "REDUCE_MAX": _reduce,
    "REDUCE_MIN": _reduce,
    "RESHAPE": _reshape,
    "SQUEEZE": _reshape,
    "EXPAND_DIMS": _reshape,
    "TRANSPOSE": _transpose,
    "SLICE": _slice,
    "STRIDED_SLICE": _slice,
    "SPLIT": _part,
    "SPLIT_V": _part,
    "UNPACK": _part,
    "PACK": _pack,
    "TILE": _tile,
    "RESIZE_NEAREST_NEIGHBOR": _resize,
    "RESIZE_BILINEAR": _resize_bilinear,
    "SPACE_TO_DEPTH": _space_to_depth,
    "DEPTH_TO_SPACE": _depth_to_space,
    "MIRROR_PAD": _mirror_pad,
    "PAD": _pad,
    "CONCATENATION": _concatenation,
    "QUANTIZE": _elementwise,
    "DEQUANTIZE": _elementwise,
    "SOFTMAX": _softmax,
    "RELU": _elementwise,
    "RELU6": _elementwise,
    "RELU_N1_TO_1": _elementwise,
    "LEAKY_RELU": _elementwise,
    "PRELU": _prelu,
    "HARD_SWISH": _elementwise,
    "LOGISTIC": _elementwise,
    "TANH": _elementwise,
    "RESCALE": _rescale,
    "TABLE": _elementwise,
    "AVERAGE": _average,
    "FLOAT_SOFTMAX": _float_softmax,
    "FLOAT_UNARY": _elementwise,
}
