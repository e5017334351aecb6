"""The normal form's sum: ``clamp[low[c], high[c]](sum_i scale_i[c] * (int_i - zero_point_i) + bias[c])``, rounded once.

Two roundings, by where the bias lives. An int32 bias at the accumulator's scale (ONNX files, qnnpack) is one more
summand of the integer: ``rne((acc + b) * M) + zero_point`` with the framework's float32 ``M = s_x * s_w / s_y``, which
is the linear op itself with rule ``"half_even"``. A float bias (PyTorch) is added at product scale after the
multiplication: a RESCALE of bare accumulators, with integer multipliers ``round(M * 2**shift)`` of 31 bits for the
greatest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from mpc_bridge.circuit.graph import Quantization
from mpc_bridge.importers.qdq.builder import Builder
from mpc_bridge.importers.qdq.formats import Format
from mpc_bridge.importers.qdq.layout import Laid, all_axes, arranged, laid, stored_shape, with_rank
from mpc_bridge.importers.qdq.linear import Accumulator
from mpc_bridge.importers.qdq.refusals import QUANTIZE_IT, UnsupportedNodeError
from mpc_bridge.importers.qdq.shapes import Shape

Doubles = npt.NDArray[np.float64]

MAX_TERMS = 64
_MAX_SHIFT = 62
#: Sums stay below, so that int64 holds them, and a half more.
_MAX_SUM = 2.0**60
#: Steps of the output's scale that are more than any output has, beside its zero point.
_BEYOND = 1024
#: Fractional bits of a step in which a float bias is rounded where the sum itself is revealed.
_REVEALED_BITS = 12

_EXTREME = "quantize with scales that are closer to each other"


@dataclass(frozen=True, eq=False)
class Term:
    """``scale[c] * (int - zero_point)``; ``scale`` is [1], or [C] along the sum's channels."""

    source: Laid | Accumulator
    scale: Doubles

    @property
    def shape(self) -> Shape:
        """In the framework."""
        return self.source.shape

    @property
    def bound(self) -> int:
        """Greatest magnitude of the integer, a public fact."""
        return self.source.bound if isinstance(self.source, Accumulator) else 255


def _open(limit: float) -> Doubles:
    return np.array([limit])


@dataclass(frozen=True, eq=False)
class Sum:
    """A float tensor of shape ``shape``.

    ``bias``, ``low`` and ``high`` are [1] or [C], infinite where there is no limit; ``axis`` is C's, None where nothing
    is per channel.
    """

    terms: tuple[Term, ...]
    bias: Doubles
    axis: int | None
    shape: Shape
    profile: str
    low: Doubles = field(default_factory=lambda: _open(-np.inf))
    high: Doubles = field(default_factory=lambda: _open(np.inf))

    @property
    def is_clamped(self) -> bool:
        """Whether there is a limit."""
        return bool(np.any(np.isfinite(self.low)) or np.any(np.isfinite(self.high)))

    def clamped(self, low: float, high: float) -> Sum:
        """Between two limits, after those it has."""
        return replace(self, low=np.clip(self.low, low, high), high=np.clip(self.high, low, high))

    def scaled(self, factor: Doubles, axis: int | None) -> Sum:
        """Times a constant per tensor or per channel."""
        own = self._axis(axis)
        with np.errstate(invalid="ignore"):
            limits = [np.where(factor == 0, 0, limit * factor) for limit in (self.low, self.high)]
        return replace(self, terms=tuple(replace(term, scale=term.scale * factor) for term in self.terms),
                       bias=self.bias * factor, axis=own, low=np.minimum(*limits), high=np.maximum(*limits))

    def shifted(self, amount: Doubles, axis: int | None) -> Sum:
        """Plus a constant per tensor or per channel."""
        own = self._axis(axis)
        return replace(self, bias=self.bias + amount, axis=own, low=self.low + amount, high=self.high + amount)

    def plus(self, other: Sum, sign: int, shape: Shape) -> Sum:
        """Plus or minus another sum; numpy broadcasting."""
        if self.is_clamped or other.is_clamped:
            raise UnsupportedNodeError("a sum with a tensor that is clamped before it is quantized", QUANTIZE_IT)
        a, b = (part._with_rank(len(shape)) for part in (self, other))
        terms = (*a.terms, *(replace(term, scale=term.scale * sign) for term in b.terms))
        if len(terms) > MAX_TERMS:
            raise UnsupportedNodeError(f"a sum of more than {MAX_TERMS} tensors", "quantize a part of the sum")
        axis = a._axis(b.axis)
        return Sum(terms, a.bias + sign * b.bias, axis, shape, self.profile)

    def _with_rank(self, rank: int) -> Sum:
        more = rank - len(self.shape)
        if more == 0:
            return self
        if any(isinstance(term.source, Accumulator) for term in self.terms):
            raise UnsupportedNodeError("a sum of a convolution or matrix product and a tensor with more axes")
        terms = tuple(replace(term, source=with_rank(term.source, rank)) for term in self.terms
                      if isinstance(term.source, Laid))
        return replace(self, terms=terms, axis=None if self.axis is None else self.axis + more,
                       shape=(1,) * more + self.shape)

    def _axis(self, axis: int | None) -> int | None:
        if axis is not None and self.axis is not None and axis != self.axis:
            raise UnsupportedNodeError("a sum with constants along two different axes",
                                       "use constants per tensor or per channel, or quantize in between")
        return self.axis if axis is None else axis

    def _fused(self) -> Accumulator | None:
        """The accumulator, where this is one with an int32 bias."""
        source = self.terms[0].source
        if len(self.terms) > 1 or not isinstance(source, Accumulator) or self.profile == "pytorch" or (
                not np.array_equal(self.terms[0].scale, source.scales)):
            return None
        return source if self.profile == "qnnpack" or not self.bias.any() else None

    def quantize(self, builder: Builder, form: Format, low: int, high: int) -> Laid:
        """See :class:`mpc_bridge.importers.qdq.regions.Base`."""
        lows, highs = (np.clip(form.quantize(limit.astype(np.float32)), low, high) for limit in (self.low, self.high))
        # limits that differ are the model's parameters: secret constants, and no bounds of the op
        result = self._rounded(builder, form, int(lows.min()) if lows.min() == lows.max() else low,
                               int(highs.max()) if highs.min() == highs.max() else high)
        for kind, limits in (("MAXIMUM", lows), ("MINIMUM", highs)):
            if limits.min() < limits.max():
                # per channel, which is the last axis stored
                index = builder.constant(limits.astype(form.dtype), form.quantization)
                output = builder.op(kind, (result.tensor, index), builder.shape(result.tensor), form.dtype,
                                    form.quantization)
                result = replace(result, tensor=output)
        return result

    def _rounded(self, builder: Builder, form: Format, low: int, high: int) -> Laid:
        fused = self._fused()
        if fused is not None:
            with np.errstate(all="ignore"):
                quotients = fused.scales.astype(np.float32) / np.float32(form.scale[0])
            if not np.all((quotients > 0) & (quotients < 2.0**30)):
                raise UnsupportedNodeError("a multiplier outside (0, 2**30)", _EXTREME)
            bias = fused.bias
            if self.profile == "qnnpack" and self.bias.any():
                steps = np.rint(self.bias.astype(np.float32) / fused.scales.astype(np.float32))
                own = np.broadcast_to(steps.astype(np.int64), (fused.channels,))
                bias = own if bias is None else bias + own
            if bias is not None and np.any(np.abs(bias) >= 2**31):
                raise UnsupportedNodeError("a bias beyond int32", _EXTREME)
            return fused.requantized(
                builder, tuple(float(m) for m in quotients), bias, form, low, high)
        axes, tensors, scales, bias_ = self._stored(builder)
        step = form.scale[0]
        factors = [self._quotient(scale, step) for scale in scales]
        if not np.all(np.isfinite(bias_)):
            raise UnsupportedNodeError("scales and constants outside float32", _EXTREME)
        # a bias so far out that the output is constant may as well be the nearest such: the shift does not tell it
        reach = sum(float(np.abs(factor).max()) * term.bound for factor, term in zip(factors, self.terms, strict=True))
        furthest = reach + _BEYOND
        shift = self._shift(factors, reach + furthest)
        multipliers = tuple(tuple(int(m) for m in np.rint(factor * 2.0**shift)) for factor in factors)
        index = -1
        if bias_.any():
            channels = self.shape[axes[-1]] if axes else 1
            limits = np.clip(bias_, -furthest * step, furthest * step)
            unit = Fraction(2**shift) / Fraction(step)
            index = builder.constant(np.array(
                [math.floor(Fraction(float(b)) * unit) for b in np.broadcast_to(limits, (channels,))], np.int64))
        output = builder.op(
            "RESCALE", (*tensors, index), stored_shape(self.shape, axes), form.dtype, form.quantization,
            multipliers=multipliers, shift=shift, low=low, high=high)
        return laid(output, self.shape, axes)

    def _quotient(self, scale: Doubles, step: float) -> Doubles:
        # one accumulator: fbgemm's float32 quotient of its float32 product; sums of several: the exact one
        if len(self.terms) == 1 and isinstance(self.terms[0].source, Accumulator):
            return (scale.astype(np.float32) / np.float32(step)).astype(np.float64)
        return scale / step

    def _stored(self, builder: Builder) -> tuple[tuple[int, ...], list[int], list[Doubles], Doubles]:
        """Axes as stored, the terms stored so, their scales, and the bias with what accumulators' own come to."""
        accumulators = [term.source for term in self.terms if isinstance(term.source, Accumulator)]
        if accumulators:
            axes = accumulators[0].axes
        else:
            first = next((term.source for term in self.terms if term.shape == self.shape), self.terms[0].source)
            assert isinstance(first, Laid)
            axes = all_axes(builder, first)
        if self.axis is not None and axes and axes[-1] != self.axis:
            if accumulators:
                raise UnsupportedNodeError("a constant along another axis than the channels",
                                           "use constants per tensor or per channel, or quantize in between")
            axes = (*(axis for axis in axes if axis != self.axis), self.axis)
        bias, tensors = self.bias, []
        for term in self.terms:
            source = term.source
            if isinstance(source, Accumulator):
                if source.bias is not None:
                    bias = bias + term.scale * source.bias
                source = source.bare(builder)
            tensors.append(arranged(builder, source, axes))
        return axes, tensors, [term.scale for term in self.terms], bias

    def _shift(self, factors: Sequence[Doubles], total: float) -> int:
        """The shift at which the greatest multiplier has 31 bits, less where sums of up to ``total`` steps are too
        great."""
        greatest = max(float(np.abs(factor).max()) for factor in factors)
        if not math.isfinite(total):
            raise UnsupportedNodeError("scales and constants outside float32", _EXTREME)
        shift = min(_MAX_SHIFT, 31 - math.frexp(greatest)[1]) if greatest else 0
        while shift >= 0 and (round(greatest * 2.0**shift) >= 2**31 or total * 2.0**shift >= _MAX_SUM):
            shift -= 1
        if shift < 0:
            raise UnsupportedNodeError("a multiplier beyond 2**31", _EXTREME)
        return shift

    def revealed(self, builder: Builder) -> Laid:
        """The float tensor for the receiver: the sum itself is revealed, per channel at a fraction of its scale."""
        axes, tensors, scales, bias = self._stored(builder)
        channels = self.shape[axes[-1]] if axes else 1
        steps = np.max([np.broadcast_to(np.abs(scale), (channels,)) for scale in scales], axis=0)
        if not np.all(steps > 0):
            raise UnsupportedNodeError("a channel that is multiplied with 0", "let the model end with a Quantize")
        simple = len(self.terms) == 1
        bits = 0 if simple and not bias.any() else _REVEALED_BITS if simple else 2 * _REVEALED_BITS
        units = (steps / 2.0**bits).astype(np.float32).astype(np.float64)
        multipliers, total = [], float(np.max(np.abs(bias) / units))
        for scale, term in zip(scales, self.terms, strict=True):
            quotients = np.rint(np.broadcast_to(scale, (channels,)) / units)
            same = quotients.min() == quotients.max()
            multipliers.append(tuple(int(m) for m in (quotients[:1] if same else quotients)))
            total += float(np.abs(quotients).max()) * term.bound
        if total >= _MAX_SUM:
            raise UnsupportedNodeError("scales and constants outside float32", _EXTREME)
        index = builder.constant(np.broadcast_to(np.rint(bias / units), (channels,)).astype(np.int64)) \
            if bias.any() else -1
        if units.min() == units.max():
            quantization = Quantization((float(units[0]),), (0,))
        else:
            quantization = Quantization(tuple(float(unit) for unit in units), (0,) * channels, len(axes) - 1)
        shape = stored_shape(self.shape, axes)
        total_ = builder.op("RESCALE", (*tensors, index), shape, "int64", quantization,
                            multipliers=tuple(multipliers), shift=0, low=0, high=0)
        return laid(builder.op("DEQUANTIZE", (total_,), shape, "float32"), self.shape, axes)
