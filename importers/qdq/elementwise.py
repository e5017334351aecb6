"""Elementwise nodes: functions, clamps, sums, products and comparisons of float tensors in normal form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from mpc_bridge.importers.qdq import attributes as read
from mpc_bridge.importers.qdq import functions
from mpc_bridge.importers.qdq.averages import Average, Mean, Product, Windows
from mpc_bridge.importers.qdq.builder import Builder
from mpc_bridge.importers.qdq.constants import Constant
from mpc_bridge.importers.qdq.layout import Laid
from mpc_bridge.importers.qdq.moves import extreme
from mpc_bridge.importers.qdq.pointwise import Pointwise
from mpc_bridge.importers.qdq.refusals import QUANTIZE_IT, UnsupportedNodeError
from mpc_bridge.importers.qdq.regions import Joined, Region
from mpc_bridge.importers.qdq.site import Site
from mpc_bridge.importers.qdq.sums import Doubles, Sum, Term
from mpc_bridge.importers.qdq.values import Value, as_sum, channels, integers, pointwise, region, summed


def _clamp(site: Site, low: float, high: float) -> Value:
    if low > high:
        raise UnsupportedNodeError("a clamp whose lower bound is above its upper one", "use ordered bounds")
    value = region(site.value(0))
    function = pointwise(value)
    if function is None:
        return value.clamped(low, high)
    return Region(_mapped(function, np.minimum(np.maximum(function.values, np.float32(low)), np.float32(high))),
                  value.shape)


def _mapped(function: Pointwise, values: functions.Floats) -> Pointwise:
    """The function with other values; still affine where they are the same for every integer that occurs."""
    lowest = function.lowest
    used = slice(function.span[0] - lowest, function.span[1] - lowest + 1)
    same = np.array_equal(values[used], function.values[used])
    return replace(function, values=values, affine=function.affine if same else None)


def _unary(site: Site) -> Value:
    if site.node.kind == "Relu":
        return _clamp(site, 0.0, float("inf"))
    if site.node.kind == "Clip":
        return _clamp(site, read.number(site.node, "low", False), read.number(site.node, "high", False))
    value = region(site.value(0))
    function = pointwise(value)
    if function is not None:
        values = functions.unary(site.node, site.source, function.values)
        changed = replace(function, values=values, affine=None)
        if site.node.kind == "Neg" and function.affine is not None:
            changed = replace(changed, affine=(-function.affine[0], -function.affine[1]))
        return Region(changed, value.shape)
    if site.node.kind == "Neg":
        return summed(as_sum(site.builder, value, site.profile).scaled(np.array([-1.0]), None))
    if site.node.kind == "LeakyRelu":
        return _bent(site, np.array([read.number(site.node, "alpha")]), None)
    raise UnsupportedNodeError("its input is a sum that is not quantized", QUANTIZE_IT)


def _bent(site: Site, slope: Doubles, axis: int | None) -> Region:
    """A sum, times the slope where it is negative: the greater of sum and slope * sum, the lesser where the slope is
    above 1, each rounded once."""
    own = as_sum(site.builder, site.value(0), site.profile)

    def extreme_of(kind: str, a: Region, b: Region) -> Region:
        return Region(Joined(extreme(kind, site.shape), (a, b)), site.shape)
    greater = extreme_of("MAXIMUM", summed(own), summed(own.scaled(np.minimum(slope, 1), axis)))
    if slope.max() <= 1:
        return greater
    steep = own.scaled(np.maximum(slope, 1), axis)
    if slope.min() >= 1:
        return extreme_of("MINIMUM", summed(own), summed(steep))
    # per channel: no limit from above where the slope is at most 1
    return extreme_of("MINIMUM", greater, summed(replace(steep, low=np.where(slope > 1, steep.low, np.inf))))


def _prelu(site: Site) -> Value:
    slope = site.constant(1, "slopes")
    if slope.array.ndim == 1 and site.source == "pytorch" and len(site.shape) > 1:
        slope = Constant(slope.floats.reshape(-1, *(1,) * (len(site.shape) - 2)))
    amount, axis = channels(slope, site.shape)
    function = pointwise(region(site.value(0)))
    if function is None:
        return _bent(site, amount, axis)
    if axis is None:
        values = np.where(function.values >= 0, function.values, function.values * np.float32(amount[0]))
        return Region(replace(function, values=values, affine=None), site.shape)
    # the positive and the negative part of the integers, each a table, and their sum with two factors
    positive, negative = (
        replace(function, values=part, affine=None).integers(site.builder)
        for part in (np.maximum(function.values, np.float32(0)), np.minimum(function.values, np.float32(0))))
    return summed(Sum((Term(positive[0], np.array([positive[1]])), Term(negative[0], negative[1] * amount)),
                      np.zeros(1), axis, site.shape, site.profile))


def _binary(site: Site) -> Value:
    first, second = site.value(0), site.value(1)
    if isinstance(second, Constant):
        return _with_constant(site, region(first), second, swapped=False)
    if isinstance(first, Constant):
        return _with_constant(site, region(second), first, swapped=True)
    a, b, kind = region(first), region(second), site.node.kind
    own, other = pointwise(a), pointwise(b)
    if own is not None and other is not None and own.source == other.source:
        affine = None
        if kind in ("Add", "Sub") and own.affine is not None and other.affine is not None:
            sign = 1 if kind == "Add" else -1
            affine = (own.affine[0] + sign * other.affine[0], own.affine[1] + sign * other.affine[1])
        return Region(replace(own, values=functions.binary(kind, own.values, other.values), affine=affine), a.shape)
    if kind in ("Add", "Sub"):
        sums = [as_sum(site.builder, value, site.profile) for value in (a, b)]
        return summed(sums[0].plus(sums[1], 1 if kind == "Add" else -1, site.shape))
    if kind == "Mul":
        (x, x_factor), (y, y_factor) = (integers(site.builder, value) for value in (a, b))
        return Region(Product("MUL", x, y, x_factor * y_factor, site.shape), site.shape)
    if kind in ("Maximum", "Minimum"):
        return joined(site, extreme(kind.upper(), site.shape), (a, b))
    raise UnsupportedNodeError("a quotient of two activations", "divide by a constant")


def _with_constant(site: Site, x: Region, constant: Constant, swapped: bool) -> Value:
    """An activation and a stored tensor; ``swapped``: the stored one comes first."""
    kind, function = site.node.kind, pointwise(x)
    if x.shape != site.shape:
        raise UnsupportedNodeError("a constant that is larger than the tensor it is combined with",
                                   "expand the tensor first")
    amount, axis = channels(constant, x.shape)
    if function is not None and axis is None:
        scalar = constant.floats.reshape(())
        values = functions.binary(kind, *((scalar, function.values) if swapped else (function.values, scalar)))
        return Region(replace(function, values=values,
                              affine=_affine(kind, function.affine, float(amount[0]), swapped)), x.shape)
    if kind in ("Maximum", "Minimum") and axis is None:
        bounds = (float(amount[0]), float("inf"))
        return x.clamped(*(bounds if kind == "Maximum" else (-bounds[1], bounds[0])))
    if kind == "Div" and not swapped and amount.all():
        kind, amount = "Mul", 1 / amount
    if kind == "Mul":
        if x.bare and axis is None and isinstance(x.base, Mean | Average | Product | Windows):
            return Region(x.base.scaled(float(amount[0])), x.shape)
        return summed(as_sum(site.builder, x, site.profile).scaled(amount, axis))
    if kind in ("Add", "Sub"):
        own = as_sum(site.builder, x, site.profile)
        if kind == "Sub" and swapped:
            own = own.scaled(np.array([-1.0]), None)
        return summed(own.shifted(-amount if kind == "Sub" and not swapped else amount, axis))
    raise UnsupportedNodeError("it combines a tensor that is not quantized with a constant", QUANTIZE_IT)


def _affine(kind: str, affine: tuple[float, float] | None, amount: float, swapped: bool) -> tuple[float, float] | None:
    if affine is None:
        return None
    factor, bias = affine
    if kind == "Add":
        return factor, bias + amount
    if kind == "Sub":
        return (-factor, amount - bias) if swapped else (factor, bias - amount)
    if kind == "Mul":
        return factor * amount, bias * amount
    if kind == "Div" and not swapped and amount:
        return factor / amount, bias / amount
    return None


def joined(site: Site, join: Callable[[Builder, list[Laid]], Laid], parts: Sequence[Region]) -> Region:
    """At once where all parts are the same function of integers that are quantized alike, else after the quantizer."""
    bases = [pointwise(part) for part in parts]
    first = bases[0]
    alike = [base for base in bases if base is not None and first is not None and _alike(site.builder, base, first)]
    if first is None or len(alike) < len(bases) or not first.increasing:
        return Region(Joined(join, tuple(parts)), site.shape)
    spans = [base.span for base in alike]
    source = join(site.builder, [base.source for base in alike])
    return Region(replace(first, source=source, span=(min(low for low, _ in spans), max(high for _, high in spans))),
                  site.shape)


def _alike(builder: Builder, a: Pointwise, b: Pointwise) -> bool:
    x, y = builder.tensors[a.source.tensor], builder.tensors[b.source.tensor]
    return (x.dtype, x.quantization) == (y.dtype, y.quantization) and np.array_equal(a.values, b.values)


ELEMENTWISE: dict[str, Callable[[Site], Value]] = {
    "PRelu": _prelu, **{kind: _unary for kind in functions.UNARY}, **{kind: _binary for kind in functions.BINARY},
}
