"""Means and products of integers, each one op that rounds half to even on the exact value."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mpc_bridge.circuit.graph import Quantization
from mpc_bridge.importers.qdq import attributes as read
from mpc_bridge.importers.qdq.builder import Builder
from mpc_bridge.importers.qdq.formats import Format
from mpc_bridge.importers.qdq.graph import Node
from mpc_bridge.importers.qdq.layout import IMAGE, Laid, all_axes, arranged, laid, reshaped, stored_shape
from mpc_bridge.importers.qdq.linear import Accumulator
from mpc_bridge.importers.qdq.moves import adaptive_window, over_windows
from mpc_bridge.importers.qdq.refusals import UnsupportedNodeError
from mpc_bridge.importers.qdq.shapes import Shape

#: Most weights of a convolution that is a sum over windows.
MAX_ONES = 2**24

_EXTREME = "quantize with scales that are closer to each other, and multiply with positive constants only"


def _requantization(factor: float, form: Format, low: int, high: int) -> tuple[Any, ...]:
    """Rule, the float32 quotient of the scales, and the bounds."""
    with np.errstate(all="ignore"):
        multiplier = float(np.float32(factor) / np.float32(form.scale[0]))
    if not 0 < multiplier < 2.0**30:
        raise UnsupportedNodeError("a multiplier outside (0, 2**30)", _EXTREME)
    return ("half_even", (multiplier,), low, high)


def _ones(layer: str, x: Laid, scale: float, window: tuple[int, ...], stride: tuple[int, ...],
          padding: tuple[read.Pair, ...], shape: Shape, axes: tuple[int, ...]) -> Accumulator:
    """Sums over windows, ``scale`` each step."""
    more = 2 - len(window)
    attributes = {"stride": (*(1,) * more, *stride), "dilation": (1, 1), "padding": (*((0, 0),) * more, *padding),
                  "depth_multiplier": 1}
    weights = np.ones((1, *(1,) * more, *window, x.shape[1]), np.int8)
    return Accumulator(layer, "DEPTHWISE_CONV_2D", attributes, x, IMAGE[len(window)], weights,
                       Quantization((1.0,), (0,)), np.array([scale]), shape, axes, None, 255 * math.prod(window))


@dataclass(frozen=True)
class Mean:
    """``factor * mean over axes of (x - zero_point)``."""

    x: Laid
    factor: float
    axes: tuple[int, ...]
    shape: Shape

    def scaled(self, factor: float) -> Mean:
        """Times a constant."""
        return replace(self, factor=self.factor * factor)

    def accumulator(self, layer: str) -> Accumulator | None:
        """As a term of a sum: a convolution with ones, where the mean is over all of an image's cells."""
        rank = len(self.x.shape)
        if rank not in (3, 4) or self.axes != tuple(range(2, rank)):
            return None
        extents = self.x.shape[2:]
        if math.prod(self.x.shape[1:]) > MAX_ONES:
            return None
        axes = IMAGE[rank - 2] if len(self.shape) == rank else (0, -1, -1, 1)
        return _ones(layer, self.x, self.factor / math.prod(extents), extents, extents, ((0, 0),) * len(extents),
                     self.shape, axes)

    def quantize(self, builder: Builder, form: Format, low: int, high: int) -> Laid:
        """See :class:`mpc_bridge.importers.qdq.regions.Base`."""
        axes = all_axes(builder, self.x)
        kept = tuple(1 if axis in self.axes else extent for axis, extent in enumerate(self.x.shape))
        output = builder.op(
            "MEAN", (arranged(builder, self.x, axes),), stored_shape(kept, axes), form.dtype, form.quantization,
            axes=tuple(sorted(axes.index(axis) for axis in self.axes)), keep_dims=True,
            requantization=_requantization(self.factor, form, low, high))
        return reshaped(builder, laid(output, kept, axes), self.shape)


@dataclass(frozen=True)
class Average:
    """``factor * mean over windows of (x - zero_point)``; ``window`` to ``divisor`` as AVERAGE has them."""

    x: Laid
    factor: float
    window: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[read.Pair, ...]
    count_include_pad: bool
    divisor: int
    shape: Shape

    def scaled(self, factor: float) -> Average:
        """Times a constant."""
        return replace(self, factor=self.factor * factor)

    def accumulator(self, layer: str) -> Accumulator | None:
        """As a term of a sum: a convolution with ones, where all windows have as many cells."""
        plain_windows = not any(map(any, self.padding)) or self.count_include_pad or self.divisor
        inside = all((count - 1) * step + cells <= extent + sum(sides) for count, step, cells, extent, sides in zip(
            self.shape[2:], self.stride, self.window, self.x.shape[2:], self.padding, strict=True))
        if not plain_windows or not inside or math.prod(self.window) * self.x.shape[1] > MAX_ONES:
            return None
        count = self.divisor or math.prod(self.window)
        return _ones(layer, self.x, self.factor / count, self.window, self.stride, self.padding, self.shape,
                     IMAGE[len(self.window)])

    def quantize(self, builder: Builder, form: Format, low: int, high: int) -> Laid:
        """See :class:`mpc_bridge.importers.qdq.regions.Base`."""
        axes = IMAGE[len(self.window)]
        one = (1,) * (2 - len(self.window))
        output = builder.op(
            "AVERAGE", (arranged(builder, self.x, axes),), stored_shape(self.shape, axes), form.dtype,
            form.quantization, window=(*one, *self.window), stride=(*one, *self.stride),
            padding=(*(((0, 0),) * len(one)), *self.padding), count_include_pad=self.count_include_pad,
            divisor=self.divisor, requantization=_requantization(self.factor, form, low, high))
        return laid(output, self.shape, axes)


def average_pool(node: Node, x: Laid, factor: float, shape: Shape) -> Average:
    """An AvgPool."""
    window = read.steps(node, "window")
    count = len(window)
    stride, padding = read.steps(node, "stride", count), read.pairs(node, "padding", count)
    for cells, step, (before, _), extent, positions in zip(
            window, stride, padding, x.shape[2:], shape[2:], strict=True):
        if before >= cells or (positions - 1) * step - before >= extent:
            raise UnsupportedNodeError("a window that covers no cell of the image", "use less padding")
    return Average(x, factor, window, stride, padding, read.flag(node, "count_include_pad"),
                   read.integer(node, "divisor", 0), shape)


@dataclass(frozen=True)
class Windows:
    """``factor * mean over the windows of an adaptive pooling of (x - zero_point)``, where the windows differ."""

    x: Laid
    factor: float
    shape: Shape

    def scaled(self, factor: float) -> Windows:
        """Times a constant."""
        return replace(self, factor=self.factor * factor)

    def quantize(self, builder: Builder, form: Format, low: int, high: int) -> Laid:
        """See :class:`mpc_bridge.importers.qdq.regions.Base`."""
        spatial = tuple(range(2, len(self.shape)))

        def mean(builder: Builder, part: Laid) -> Laid:
            kept = (*part.shape[:2], *(1,) * len(spatial))
            return Mean(part, self.factor, spatial, kept).quantize(builder, form, low, high)
        return over_windows(self.x.shape, self.shape, mean)(builder, self.x)


def adaptive_average_pool(x: Laid, factor: float, shape: Shape) -> Mean | Average | Windows:
    """An AdaptiveAvgPool."""
    window = adaptive_window(x.shape[2:], shape[2:])
    if window is None:
        return Windows(x, factor, shape)
    if set(shape[2:]) == {1}:
        return Mean(x, factor, tuple(range(2, len(shape))), shape)
    return Average(x, factor, window, window, ((0, 0),) * len(window), True, 0, shape)


@dataclass(frozen=True)
class Product:
    """``factor * (a - zero_point) * (b - zero_point)``, elementwise or as matrices over the last two axes."""

    kind: str
    a: Laid
    b: Laid
    factor: float
    shape: Shape

    def scaled(self, factor: float) -> Product:
        """Times a constant."""
        return replace(self, factor=self.factor * factor)

    def quantize(self, builder: Builder, form: Format, low: int, high: int) -> Laid:
        """See :class:`mpc_bridge.importers.qdq.regions.Base`."""
        requantization = _requantization(self.factor, form, low, high)
        rank = len(self.shape)
        a, b = (reshaped(builder, part, (1,) * (rank - len(part.shape)) + part.shape) for part in (self.a, self.b))
        if self.kind == "BATCH_MATMUL":
            axes = tuple(range(rank))
            attributes: dict[str, Any] = {"adj_x": False, "adj_y": False}
        else:
            axes, attributes = all_axes(builder, a if a.shape == self.shape else b), {}
        output = builder.op(
            self.kind, (arranged(builder, a, axes), arranged(builder, b, axes)), stored_shape(self.shape, axes),
            form.dtype, form.quantization, requantization=requantization, **attributes)
        return laid(output, self.shape, axes)
