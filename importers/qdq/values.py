"""What a tensor of the neutral graph is while it is being converted, and the step from one form to another."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mpc_bridge.importers.qdq.averages import Average, Mean
from mpc_bridge.importers.qdq.builder import Builder
from mpc_bridge.importers.qdq.constants import Constant
from mpc_bridge.importers.qdq.formats import Format
from mpc_bridge.importers.qdq.graph import Node
from mpc_bridge.importers.qdq.layout import Laid
from mpc_bridge.importers.qdq.pointwise import Pointwise
from mpc_bridge.importers.qdq.refusals import QUANTIZE_IT, UnsupportedNodeError
from mpc_bridge.importers.qdq.regions import Entry, Move, Region
from mpc_bridge.importers.qdq.shapes import Shape
from mpc_bridge.importers.qdq.sums import Doubles, Sum, Term


@dataclass(frozen=True, eq=False)
class Integers:
    """A quantized activation; ``span``: its least and greatest integer."""

    tensor: Laid
    span: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Indices:
    """What an ArgMax computes: nothing reads it."""

    tensor: int


@dataclass(frozen=True, eq=False)
class Opaque:
    """A float tensor that no region covers: the receiver may compute it, and nothing else may read it."""

    node: Node
    error: UnsupportedNodeError


class OpaqueError(Exception):
    """Something reads an :class:`Opaque` tensor."""

    def __init__(self, value: Opaque) -> None:
        super().__init__(value.error.reason)
        self.value = value


Value = Constant | Integers | Indices | Region | Opaque


def region(value: Value) -> Region:
    """The value as a float tensor in normal form."""
    if isinstance(value, Opaque):
        raise OpaqueError(value)
    if isinstance(value, Constant):
        raise UnsupportedNodeError("a stored tensor in place of an activation", "let the exporter fold constants")
    if not isinstance(value, Region):
        raise UnsupportedNodeError("a float op on integers", "a Dequantize belongs between integers and a float op")
    return value


def pointwise(value: Region) -> Pointwise | None:
    """The function of one integer that the region is, if it is one."""
    return value.base if value.bare and isinstance(value.base, Pointwise) else None


def integers(builder: Builder, value: Value) -> tuple[Laid, float]:
    """``(integers, factor)``: see :meth:`Pointwise.integers`."""
    function = pointwise(region(value))
    if function is None:
        raise _not_quantized(region(value), "its input is not quantized")
    return function.integers(builder)


def _not_quantized(value: Region, reason: str) -> UnsupportedNodeError:
    if isinstance(value.base, Entry):
        return UnsupportedNodeError(
            "arithmetic on the model's float input, which is not quantized before it",
            "use a quantizer that annotates this op, or prepare the input before it is given to the model")
    return UnsupportedNodeError(reason, QUANTIZE_IT)


def as_sum(builder: Builder, value: Value, profile: str) -> Sum:
    """The value as a sum with its limits."""
    source = region(value)
    if not source.moves and isinstance(source.base, Sum):
        return source.base.clamped(source.low, source.high)
    if source.bare and isinstance(source.base, Mean | Average):
        accumulator = source.base.accumulator(builder.layer)
        if accumulator is not None:
            return Sum((Term(accumulator, accumulator.scales),), np.zeros(1), None, source.shape, profile)
    function = pointwise(source)
    if function is None:
        raise _not_quantized(source, "a sum with a tensor that is pooled or moved before it is quantized")
    if function.affine is not None:
        tensor, (factor, bias) = function.source, function.affine
    else:
        tensor, factor = function.integers(builder)
        bias = 0.0
    return Sum((Term(tensor, np.array([factor])),), np.array([bias]), None, source.shape, profile)


def summed(value: Sum) -> Region:
    """The region that is a sum."""
    return Region(value, value.shape)


def moved(builder: Builder, value: Region, move: Move, shape: Shape) -> Region:
    """A move of a region: of the integers themselves where it is a function of one integer that commutes with it."""
    function = pointwise(value)
    if function is not None and (move.pure or function.increasing) and (
            move.fill is None or move.fill == _at_zero(builder, function)):
        tensor = move.apply(builder, function.source)
        span = _spanned(builder, function.source, function.span, move)
        return Region(replace(function, source=tensor, span=span), shape)
    return value.moved(move, shape)


def _spanned(builder: Builder, source: Laid, span: tuple[int, int], move: Move) -> tuple[int, int]:
    """The integers after a move: a padding adds the zero point, which need not be among those used."""
    if move.fill is None:
        return span
    zero_point = builder.quantization(source.tensor)[1]
    return min(span[0], zero_point), max(span[1], zero_point)


def _at_zero(builder: Builder, function: Pointwise) -> float:
    """The function's value at its source's zero point, which is what a PAD of the source adds."""
    return float(function.values[builder.quantization(function.source.tensor)[1] - function.lowest])


def moved_integers(builder: Builder, value: Integers, move: Move) -> Integers:
    """A move of quantized integers."""
    if move.fill is not None and move.fill != builder.quantization(value.tensor.tensor)[1]:
        raise UnsupportedNodeError("a padding of integers with another value than their zero point",
                                   "pad with the zero point")
    return Integers(move.apply(builder, value.tensor), _spanned(builder, value.tensor, value.span, move))


def channels(constant: Constant, shape: Shape) -> tuple[Doubles, int | None]:
    """A constant as ``[1]``, or ``[C]`` and its axis in the tensor of the given shape that it is combined with.

    Raises:
        UnsupportedNodeError: it varies along several axes, or makes the tensor larger.
    """
    array = constant.floats.astype(np.float64)
    if not np.all(np.isfinite(array)):
        raise UnsupportedNodeError("a constant that is not finite", "the file is inconsistent")
    if array.size == 1:
        return array.reshape(1), None
    long = [axis - array.ndim for axis, extent in enumerate(array.shape) if extent > 1]
    if len(long) > 1:
        raise UnsupportedNodeError("a constant that varies along several axes",
                                   "use constants per tensor or per channel, or quantize the constant's sum")
    axis = long[0] + len(shape)
    if axis < 0 or shape[axis] != array.size:
        raise UnsupportedNodeError("a constant that is larger than the tensor it is combined with",
                                   "expand the tensor first")
    return array.reshape(-1), axis


def span(form: Format) -> tuple[int, int]:
    """Least and greatest integer of a format."""
    return form.low, form.high
