"""Arithmetic on what the file stores: shapes that exporters compute with operators, and weights kept as floats.

Results are small (:data:`MAX_FOLDED` elements), but for what only moves or quantizes a stored tensor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mpc_bridge.circuit.graph import INTEGER_RANGES
from mpc_bridge.importers.onnx.proto import MAX_RANK, Array, Attribute

#: Greatest result of arithmetic on constants; targets of a Reshape have a few entries.
MAX_FOLDED = 2**16

#: ONNX's numbers of types that a Cast of constants may name.
CASTS = {1: "float32", 2: "uint8", 3: "int8", 6: "int32", 7: "int64", 9: "bool", 11: "float64"}

Attributes = Mapping[str, Attribute]
Inputs = Sequence[Array | None]


class FoldError(Exception):
    """Why constants cannot be combined: the node contradicts itself, or asks for too much."""


def _given(inputs: Inputs, position: int) -> Array:
    array = inputs[position] if position < len(inputs) else None
    if array is None:
        raise FoldError(f"input {position} is missing")
    return array


def integers(array: Array, most: int = MAX_FOLDED) -> list[int]:
    """The entries of an integer tensor."""
    if array.dtype.kind not in "iu" or array.size > most:
        raise FoldError(f"a {array.dtype.name} tensor of shape {array.shape} in place of a few integers")
    return [int(entry) for entry in array.reshape(-1).tolist()]


def _integer(attributes: Attributes, name: str, default: int) -> int:
    value = attributes.get(name, default)
    if not isinstance(value, int):
        raise FoldError(f"its attribute {name} is not an integer")
    return value


def _axes(inputs: Inputs, rank: int) -> tuple[int, ...] | None:
    if len(inputs) < 2 or inputs[1] is None:
        return None
    axes = tuple(integers(inputs[1], MAX_RANK))
    if not all(-rank <= axis < rank for axis in axes) or len({axis % rank for axis in axes}) != len(axes):
        raise FoldError(f"axes {axes} of {rank}")
    return tuple(axis % rank for axis in axes)


def _small(shape: Sequence[int]) -> tuple[int, ...]:
    if len(shape) > MAX_RANK or any(extent < 0 for extent in shape) or math.prod(shape) > MAX_FOLDED:
        raise FoldError(f"a computed constant of shape {tuple(shape)}")
    return tuple(shape)


def reshape_target(target: Sequence[int], shape: Sequence[int], keep_zero: bool) -> tuple[int, ...]:
    """The shape that a Reshape's target means for an input of ``shape``."""
    if len(target) > MAX_RANK or target.count(-1) > 1 or any(extent < -1 for extent in target):
        raise FoldError(f"the target shape {tuple(target)}")
    result = list(target)
    if not keep_zero:
        if any(extent == 0 and axis >= len(shape) for axis, extent in enumerate(result)):
            raise FoldError(f"the target shape {tuple(target)} for an input of shape {tuple(shape)}")
        result = [shape[axis] if extent == 0 else extent for axis, extent in enumerate(result)]
    if -1 in result:
        known = math.prod(extent for extent in result if extent != -1)
        if known == 0 or math.prod(shape) % known:
            raise FoldError(f"the target shape {tuple(target)} for an input of shape {tuple(shape)}")
        result[result.index(-1)] = math.prod(shape) // known
    if math.prod(result) != math.prod(shape):
        raise FoldError(f"the target shape {tuple(target)} for an input of shape {tuple(shape)}")
    return tuple(result)


def _transpose(inputs: Inputs, attributes: Attributes) -> Array:
    x = _given(inputs, 0)
    permutation = attributes.get("perm", tuple(reversed(range(x.ndim))))
    if not isinstance(permutation, tuple) or sorted(permutation) != list(range(x.ndim)):
        raise FoldError(f"the permutation {permutation} of {x.ndim} axes")
    return x.transpose(tuple(int(axis) for axis in permutation))


def _reshape(inputs: Inputs, attributes: Attributes) -> Array:
    x = _given(inputs, 0)
    target = integers(_given(inputs, 1), MAX_RANK)
    return x.reshape(reshape_target(target, x.shape, bool(_integer(attributes, "allowzero", 0))))


def _squeeze(inputs: Inputs, attributes: Attributes) -> Array:
    x = _given(inputs, 0)
    axes = _axes(inputs, x.ndim)
    if axes is None:
        axes = tuple(axis for axis, extent in enumerate(x.shape) if extent == 1)
    if any(x.shape[axis] != 1 for axis in axes):
        raise FoldError(f"axes {axes} of the shape {x.shape}")
    return x.squeeze(axes)


def _unsqueeze(inputs: Inputs, attributes: Attributes) -> Array:
    x = _given(inputs, 0)
    axes = integers(_given(inputs, 1), MAX_RANK)
    rank = x.ndim + len(axes)
    if rank > MAX_RANK or not all(-rank <= axis < rank for axis in axes) or len({a % rank for a in axes}) != len(axes):
        raise FoldError(f"axes {axes} of {rank}")
    return np.expand_dims(x, tuple(axes))


def _identity(inputs: Inputs, attributes: Attributes) -> Array:
    return _given(inputs, 0)


def quantize(x: Array, scale: Array, zero_point: Array, axis: int) -> Array:
    """QuantizeLinear of a stored float tensor, as onnxruntime computes it: ``rne(x / scale)`` in float32, saturated.

    Args:
        x: float32, any shape.
        scale: float32, one entry, or one per index of ``axis``.
        zero_point: int8, uint8 or int32, the shape of ``scale``; its type is the result's.
    """
    if scale.size > 1:
        shape = [1] * x.ndim
        shape[axis] = scale.size
        scale, zero_point = scale.reshape(shape), zero_point.reshape(shape)
    else:
        scale, zero_point = scale.reshape(()), zero_point.reshape(())
    low, high = INTEGER_RANGES[zero_point.dtype.name]
    with np.errstate(all="ignore"):
        rounded = np.rint(np.asarray(x, np.float32) / np.asarray(scale, np.float32)).astype(np.float64)
    if not np.all(np.isfinite(rounded)):
        raise FoldError("a stored tensor with values that are not numbers")
    return np.clip(rounded + zero_point.astype(np.float64), low, high).astype(zero_point.dtype)


#: Kinds that only move a constant: any size.
MOVES: Mapping[str, Callable[[Inputs, Attributes], Array]] = {
    "Identity": _identity, "Transpose": _transpose, "Reshape": _reshape, "Squeeze": _squeeze, "Unsqueeze": _unsqueeze,
}


def _binary(function: Callable[[Array, Array], Array]) -> Callable[[Inputs, Attributes], Array]:
    def fold(inputs: Inputs, attributes: Attributes) -> Array:
        a, b = _given(inputs, 0), _given(inputs, 1)
        if len(inputs) > 2:
            raise FoldError(f"{len(inputs)} inputs")
        try:
            _small(np.broadcast_shapes(a.shape, b.shape))
        except ValueError as error:
            raise FoldError(f"shapes {a.shape} and {b.shape}") from error
        with np.errstate(all="ignore"):
            return function(a, b)
    return fold


def _divide(a: Array, b: Array) -> Array:
    if a.dtype.kind == "f":
        return np.asarray(np.true_divide(a, b), a.dtype)
    if np.any(b == 0):
        raise FoldError("a division by zero")
    quotient = np.abs(a.astype(np.int64)) // np.abs(b.astype(np.int64))
    return np.asarray(quotient * np.sign(a.astype(np.int64)) * np.sign(b.astype(np.int64)), a.dtype)


def _unary(function: Callable[[Array], Array]) -> Callable[[Inputs, Attributes], Array]:
    def fold(inputs: Inputs, attributes: Attributes) -> Array:
        x = _given(inputs, 0)
        with np.errstate(all="ignore"):
            return np.asarray(function(x), x.dtype)
    return fold


def _gather(inputs: Inputs, attributes: Attributes) -> Array:
    x, indices = _given(inputs, 0), _given(inputs, 1)
    axis = _integer(attributes, "axis", 0)
    if not -x.ndim <= axis < x.ndim or indices.dtype.kind not in "iu":
        raise FoldError(f"axis {axis} of {x.ndim}")
    axis %= x.ndim
    _small((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))
    if np.any(indices < -x.shape[axis]) or np.any(indices >= x.shape[axis]):
        raise FoldError(f"indices outside of {x.shape[axis]} entries")
    return np.asarray(np.take(x, indices.astype(np.int64), axis))


def _concat(inputs: Inputs, attributes: Attributes) -> Array:
    arrays = [_given(inputs, position) for position in range(len(inputs))]
    if not arrays or sum(array.size for array in arrays) > MAX_FOLDED or len({array.dtype for array in arrays}) > 1:
        raise FoldError("constants that do not fit together")
    try:
        return np.concatenate(arrays, _integer(attributes, "axis", 0))
    except ValueError as error:
        raise FoldError("shapes that do not fit together") from error


def slice_bounds(start: int, end: int, step: int, extent: int) -> tuple[int, int, int]:
    """A Slice along one axis as ``range`` bounds within the axis, for any step but 0."""
    if step == 0:
        raise FoldError("a step of 0")
    first, last, step = slice(start, end, step).indices(extent)
    return first, last, step


def slices(inputs: Inputs, shape: Sequence[int]) -> list[tuple[int, int, int, int]]:
    """``(axis, start, end, step)`` of a Slice of an input of ``shape``; inputs after the first are constants."""
    starts, ends = integers(_given(inputs, 1), MAX_RANK), integers(_given(inputs, 2), MAX_RANK)
    axes = integers(_given(inputs, 3), MAX_RANK) if len(inputs) > 3 and inputs[3] is not None else range(len(starts))
    steps = integers(_given(inputs, 4), MAX_RANK) if len(inputs) > 4 and inputs[4] is not None else [1] * len(starts)
    rank = len(shape)
    if not len(starts) == len(ends) == len(axes) == len(steps) or not all(-rank <= axis < rank for axis in axes):
        raise FoldError("starts, ends, axes and steps that do not fit together")
    if len({axis % rank for axis in axes}) != len(axes):
        raise FoldError("an axis that is named twice")
    found = []
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        first, last, step = slice_bounds(start, end, step, shape[axis % rank])
        found.append((axis % rank, first, last, step))
    return found


def _slice(inputs: Inputs, attributes: Attributes) -> Array:
    x = _given(inputs, 0)
    _small(x.shape)
    for axis, start, end, step in slices(inputs, x.shape):
        x = np.take(x, np.arange(start, end, step), axis)
    return x


def _cast(inputs: Inputs, attributes: Attributes) -> Array:
    x = _given(inputs, 0)
    number = _integer(attributes, "to", 0)
    _small(x.shape)
    if number not in CASTS:
        raise FoldError(f"a cast to type number {number}")
    with np.errstate(all="ignore"):
        return x.astype(CASTS[number])


def _constant_of_shape(inputs: Inputs, attributes: Attributes) -> Array:
    value = attributes.get("value", np.zeros(1, np.float32))
    if not isinstance(value, np.ndarray) or value.size != 1:
        raise FoldError("a value that is not a scalar")
    return np.full(_small(integers(_given(inputs, 0), MAX_RANK)), value.reshape(-1)[0], value.dtype)


def _range(inputs: Inputs, attributes: Attributes) -> Array:
    arrays = [_given(inputs, position) for position in range(3)]
    start, end, step = (integers(array, 1)[0] if array.size == 1 else 0 for array in arrays)
    if step == 0 or len(range(start, end, step)) > MAX_FOLDED:
        raise FoldError("its bounds")
    return np.array(range(start, end, step), arrays[0].dtype)


def _expand(inputs: Inputs, attributes: Attributes) -> Array:
    x, target = _given(inputs, 0), integers(_given(inputs, 1), MAX_RANK)
    try:
        shape = _small(np.broadcast_shapes(x.shape, tuple(target)))
    except ValueError as error:
        raise FoldError(f"the shape {tuple(target)} for {x.shape}") from error
    return np.broadcast_to(x, shape).copy()


def _where(inputs: Inputs, attributes: Attributes) -> Array:
    condition, a, b = (_given(inputs, position) for position in range(3))
    try:
        _small(np.broadcast_shapes(condition.shape, a.shape, b.shape))
    except ValueError as error:
        raise FoldError("shapes that do not fit together") from error
    return np.where(condition != 0, a, b).astype(a.dtype)


def _product(inputs: Inputs, attributes: Attributes) -> Array:
    x = _given(inputs, 0)
    axes = _axes(inputs, x.ndim)
    with np.errstate(all="ignore"):
        return np.asarray(np.prod(x, axis=axes, keepdims=bool(_integer(attributes, "keepdims", 1))), x.dtype)


#: Kinds that compute; each refuses results beyond :data:`MAX_FOLDED`.
ARITHMETIC: Mapping[str, Callable[[Inputs, Attributes], Array]] = {
    "Add": _binary(np.add), "Sub": _binary(np.subtract), "Mul": _binary(np.multiply), "Div": _binary(_divide),
    "Max": _binary(np.maximum), "Min": _binary(np.minimum), "Equal": _binary(np.equal),
    "Greater": _binary(np.greater), "Less": _binary(np.less),
    "Neg": _unary(np.negative), "Abs": _unary(np.abs), "Floor": _unary(np.floor), "Ceil": _unary(np.ceil),
    "Sqrt": _unary(np.sqrt), "Exp": _unary(np.exp),
    "Gather": _gather, "Concat": _concat, "Slice": _slice, "Cast": _cast, "ConstantOfShape": _constant_of_shape,
    "Range": _range, "Expand": _expand, "Where": _where, "ReduceProd": _product,
}


def fold(kind: str, inputs: Inputs, attributes: Attributes) -> Array:
    """The value of a node all of whose inputs are constants.

    Raises:
        FoldError: the node contradicts itself, the result is too large, or the kind is not folded.
    """
    if kind in MOVES:
        return MOVES[kind](inputs, attributes)
    if kind not in ARITHMETIC:
        raise FoldError("its inputs are all constants")
    if sum(array.size for array in inputs if array is not None) > 4 * MAX_FOLDED:
        raise FoldError("it computes with large constants; save the model after constant folding")
    return np.asarray(ARITHMETIC[kind](inputs, attributes))
