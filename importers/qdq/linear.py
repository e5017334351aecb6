"""Convolutions and matrix products of integers: accumulators, bare or requantized in one op."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mpc_bridge.circuit.graph import INTEGER_RANGES, Quantization
from mpc_bridge.importers.qdq import attributes as read
from mpc_bridge.importers.qdq.builder import Builder
from mpc_bridge.importers.qdq.constants import Constant
from mpc_bridge.importers.qdq.formats import ACTIVATIONS, Format, Ints
from mpc_bridge.importers.qdq.graph import Node
from mpc_bridge.importers.qdq.layout import IMAGE, Laid, arranged, laid, stored_shape
from mpc_bridge.importers.qdq.refusals import UnsupportedNodeError
from mpc_bridge.importers.qdq.shapes import Shape

_QUANTIZE_WEIGHTS = "quantize the weights to int8 as well, per tensor or per output channel"

#: Most weights that a transposed convolution in groups may become.
MAX_SPREAD = 2**26

#: The requantization of a bare accumulator.
_NONE = ("none", (), 0, 0)


@dataclass(frozen=True, eq=False)
class Accumulator:
    """``sum (x - zero_point) * (w - zero_point_w)``, and an int32 bias where the file stores one at this scale.

    Attributes:
        layer: its name.
        kind, attributes: of the op.
        x: the integers it reads.
        weights, scales: as the op stores them; ``scales[c]`` is the real value of one step of output channel c, the
            float32 product of the scales of x and of the weights ([1] or [C]).
        shape, axes: of the output in the framework, and its axes as stored, channels last.
        bias: int64 [C], or None.
        bound: greatest magnitude of the accumulator, whatever the weights: what follows from it is public.
    """

    layer: str
    kind: str
    attributes: dict[str, Any]
    x: Laid
    x_axes: tuple[int, ...]
    weights: npt.NDArray[np.generic]
    weight_format: Quantization
    scales: npt.NDArray[np.float64]
    shape: Shape
    axes: tuple[int, ...]
    bias: Ints | None
    bound: int
    _weights: dict[Builder, int] = field(default_factory=dict)

    @property
    def channels(self) -> int:
        """Output channels."""
        return self.shape[self.axes[-1]]

    def _inputs(self, builder: Builder) -> tuple[int, int]:
        builder.layer = self.layer
        if builder not in self._weights:
            self._weights[builder] = builder.constant(self.weights, self.weight_format)
        return arranged(builder, self.x, self.x_axes), self._weights[builder]

    def bare(self, builder: Builder) -> Laid:
        """The int32 accumulator, without its bias."""
        output = builder.op(self.kind, self._inputs(builder), stored_shape(self.shape, self.axes), "int32",
                            requantization=_NONE, **self.attributes)
        return laid(output, self.shape, self.axes)

    def requantized(self, builder: Builder, multipliers: tuple[float, ...], bias: Ints | None, form: Format,
                    low: int, high: int) -> Laid:
        """``clamp(rne((accumulator + bias) * multiplier) + zero_point)``."""
        index = -1 if bias is None else builder.constant(bias.astype(np.int32))
        output = builder.op(self.kind, (*self._inputs(builder), index), stored_shape(self.shape, self.axes), form.dtype,
                            form.quantization, requantization=("half_even", multipliers, low, high), **self.attributes)
        return laid(output, self.shape, self.axes)


def _stored(weights: Constant, axis: int) -> tuple[npt.NDArray[np.generic], Format]:
    """Integers of the weights and their format, whose channels are along ``axis`` where there are several scales."""
    if weights.integers is None or weights.format is None:
        raise UnsupportedNodeError("weights that are not quantized", _QUANTIZE_WEIGHTS)
    form = weights.format
    if form.dtype not in ACTIVATIONS:
        raise UnsupportedNodeError(f"{form.dtype} weights", _QUANTIZE_WEIGHTS)
    if len(form.scale) > 1 and form.axis != axis:
        raise UnsupportedNodeError("weights quantized along another axis than their output channels", _QUANTIZE_WEIGHTS)
    return weights.integers, form


def _accumulator(layer: str, kind: str, attributes: dict[str, Any], x: Laid, x_scale: float, x_axes: tuple[int, ...],
                 weights: npt.NDArray[np.generic], form: Format, channel_axis: int, shape: Shape,
                 axes: tuple[int, ...]) -> Accumulator:
    with np.errstate(all="ignore"):
        scales = (np.float32(x_scale) * np.array(form.scale, np.float32)).astype(np.float64)
    if not np.all(np.isfinite(scales) & (scales > np.finfo(np.float32).tiny)):
        raise UnsupportedNodeError("scales whose product is outside float32", "quantize with ordinary scales")
    axis = channel_axis if len(form.scale) > 1 else None
    low, high = INTEGER_RANGES[form.dtype]
    furthest = max(max(high - zero, zero - low) for zero in form.zero_point)
    return Accumulator(
        layer, kind, attributes, x, x_axes, weights,
        Quantization(form.scale, form.zero_point, axis), scales, shape, axes, None,
        255 * furthest * (weights.size // weights.shape[channel_axis]))


def linear(layer: str, x: Laid, x_scale: float, weights: Constant, shape: Shape) -> Accumulator:
    """Linear: weights [O, K]."""
    integers, form = _stored(weights, 0)
    axes = tuple(range(len(shape)))
    return _accumulator(layer, "FULLY_CONNECTED", {"keep_num_dims": True}, x, x_scale, axes, integers, form, 0, shape,
                        axes)


def _two_axes(values: tuple[Any, ...], filler: Any) -> tuple[Any, ...]:
    """Of the rows and columns that one spatial axis is stored as."""
    return values if len(values) == 2 else (filler, *values)


def convolution(layer: str, node: Node, x: Laid, x_scale: float, weights: Constant, shape: Shape) -> Accumulator:
    """Conv: weights [O, I, ...], one or two spatial axes."""
    integers, form = _stored(weights, 0)
    spatial = integers.ndim - 2
    stride, dilation = read.steps(node, "stride", spatial), read.steps(node, "dilation", spatial)
    padding, groups = read.pairs(node, "padding", spatial), read.integer(node, "groups", 1)
    attributes: dict[str, Any] = {
        "stride": _two_axes(stride, 1), "dilation": _two_axes(dilation, 1), "padding": _two_axes(padding, (0, 0))}
    if spatial == 1:
        integers = integers[:, :, None]
    axes = IMAGE[spatial]
    if groups > 1 and groups == x.shape[1]:
        attributes["depth_multiplier"] = shape[1] // groups
        return _accumulator(layer, "DEPTHWISE_CONV_2D", attributes, x, x_scale, axes, integers.transpose(1, 2, 3, 0),
                            form, 3, shape, axes)
    return _accumulator(layer, "CONV_2D", attributes, x, x_scale, axes, integers.transpose(0, 2, 3, 1), form, 0, shape,
                        axes)


def spread_size(node: Node, weights: Constant) -> int:
    """Bytes of a transposed convolution's weights without groups and dilation; 0 where it has neither."""
    spatial = weights.array.ndim - 2
    groups, dilation = read.integer(node, "groups", 1), read.steps(node, "dilation", spatial)
    if groups == 1 and set(dilation) == {1}:
        return 0
    reach = ((cells - 1) * apart + 1 for cells, apart in zip(weights.array.shape[2:], dilation, strict=True))
    size = int(weights.array.shape[0] * weights.array.shape[1] * groups * math.prod(reach))
    if size > MAX_SPREAD:
        raise UnsupportedNodeError("a transposed convolution with many groups or a great dilation",
                                   "use one group and dilation 1")
    return size


def _spread(integers: npt.NDArray[np.generic], form: Format, groups: int, dilation: tuple[int, ...],
            ) -> tuple[npt.NDArray[np.generic], Format]:
    """Weights [I, O / groups, ...] as [I, O, ...] of one group and with dilation 1, and their format."""
    if groups == 1 and set(dilation) == {1}:
        return integers, form
    inputs, outputs = integers.shape[0] // groups, integers.shape[1]
    reach = tuple((cells - 1) * apart + 1 for cells, apart in zip(integers.shape[2:], dilation, strict=True))
    shape = (integers.shape[0], outputs * groups, *reach)
    if len(form.scale) > 1:
        form = replace(form, scale=form.scale * groups, zero_point=form.zero_point * groups)
    zeros = np.array(form.zero_point, np.int64).reshape(-1, *(1,) * len(dilation))
    result = np.broadcast_to(zeros, shape).astype(integers.dtype)
    cells = tuple(slice(None, None, apart) for apart in dilation)
    for group in range(groups):
        rows = slice(group * inputs, (group + 1) * inputs)
        result[(rows, slice(group * outputs, (group + 1) * outputs), *cells)] = integers[rows]
    return result, form


def transposed_convolution(
        layer: str, node: Node, x: Laid, x_scale: float, weights: Constant, shape: Shape) -> Accumulator:
    """ConvTranspose: weights [I, O / groups, ...], one or two spatial axes.

    The op knows neither groups nor dilation: weights that are not there are stored as their zero points.
    """
    integers, form = _stored(weights, 1)
    spatial = integers.ndim - 2
    groups, dilation = read.integer(node, "groups", 1), read.steps(node, "dilation", spatial)
    integers, form = _spread(integers, form, groups, dilation)
    origin = tuple(before for before, _ in read.pairs(node, "padding", spatial))
    if any(before >= cells for before, cells in zip(origin, integers.shape[2:], strict=True)):
        raise UnsupportedNodeError("a transposed convolution with more padding than its kernel has cells",
                                   "use less padding")
    if spatial == 1:
        integers = integers[:, :, None]
    attributes = {"stride": _two_axes(read.steps(node, "stride", spatial), 1), "origin": _two_axes(origin, 0)}
    axes = IMAGE[spatial]
    return _accumulator(layer, "TRANSPOSE_CONV", attributes, x, x_scale, axes, integers.transpose(1, 2, 3, 0), form, 0,
                        shape, axes)
