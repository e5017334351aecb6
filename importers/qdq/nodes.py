"""One function per kind of node: from the values of its inputs to the value of its output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mpc_bridge.importers.qdq import attributes as read
from mpc_bridge.importers.qdq import functions, linear
from mpc_bridge.importers.qdq.averages import Average, Mean, Product, Windows, adaptive_average_pool, average_pool
from mpc_bridge.importers.qdq.builder import Builder
from mpc_bridge.importers.qdq.constants import Constant, transposed
from mpc_bridge.importers.qdq.formats import activation_format
from mpc_bridge.importers.qdq.graph import Node
from mpc_bridge.importers.qdq.layout import Laid, plain, reshaped
from mpc_bridge.importers.qdq.moves import MOVES, concatenated, extreme, split
from mpc_bridge.importers.qdq.pointwise import Pointwise, dequantized
from mpc_bridge.importers.qdq.refusals import QUANTIZE_IT, UnsupportedNodeError, corrupt
from mpc_bridge.importers.qdq.regions import Joined, Region
from mpc_bridge.importers.qdq.shapes import Shape
from mpc_bridge.importers.qdq.sums import Doubles, Sum, Term
from mpc_bridge.importers.qdq.values import (
    Indices,
    Integers,
    Value,
    as_sum,
    channels,
    integers,
    moved,
    moved_integers,
    pointwise,
    region,
    span,
    summed,
)


@dataclass(frozen=True)
class Site:
    """A node with the values of its inputs (None where one is left out) and the shapes of its outputs."""

    builder: Builder
    node: Node
    inputs: tuple[Value | None, ...]
    input_shapes: tuple[Shape, ...]
    shapes: tuple[Shape, ...]

    @property
    def source(self) -> str:
        """The graph's framework."""
        return self.builder.graph.source

    @property
    def profile(self) -> str:
        """The graph's engine."""
        return self.builder.graph.profile

    @property
    def shape(self) -> Shape:
        """Of the only output."""
        return self.shapes[0]

    def value(self, position: int) -> Value:
        """An input that is there."""
        value = self.inputs[position]
        assert value is not None
        return value

    def constant(self, position: int, what: str) -> Constant:
        """An input that is stored."""
        value = self.value(position)
        if not isinstance(value, Constant):
            raise UnsupportedNodeError(f"{what} that are not stored in the file", "only activations may be computed")
        return value


def _quantize(site: Site) -> Value:
    form = activation_format(site.node, site.source, site.shape)
    return Integers(region(site.value(0)).quantize(site.builder, form), span(form))


def _dequantize(site: Site) -> Value:
    value = site.value(0)
    if not isinstance(value, Integers):
        raise corrupt(site.node, "it dequantizes a tensor that is not of integers")
    form = activation_format(site.node, site.source, site.shape)
    if form.dtype != site.builder.tensors[value.tensor.tensor].dtype:
        raise corrupt(site.node, f"it reads another type than {form.dtype}")
    return Region(dequantized(site.builder, value.tensor, form, value.span), site.shape)


def _with_bias(site: Site, accumulator: linear.Accumulator, axis: int) -> Region:
    """The accumulator and its bias: an int32 one at its own scale joins it, any other is a float."""
    bias, float_bias = None, np.zeros(1)
    if len(site.inputs) == 3 and site.inputs[2] is not None:
        stored = site.constant(2, "biases")
        form = stored.format
        if (stored.integers is not None and form is not None and form.dtype == "int32" and not any(form.zero_point)
                and np.allclose(np.array(form.scale), accumulator.scales, rtol=1e-6, atol=0)):
            bias = stored.integers.astype(np.int64)
        else:
            float_bias, _ = channels(stored, (accumulator.channels,))
    accumulator = replace(accumulator, bias=bias)
    return summed(Sum((Term(accumulator, accumulator.scales),), float_bias, axis, site.shape, site.profile))


def _conv(site: Site) -> Value:
    x, factor = integers(site.builder, site.value(0))
    convert = linear.convolution if site.node.kind == "Conv" else linear.transposed_convolution
    weights = site.constant(1, "weights")
    return _with_bias(site, convert(site.builder.layer, site.node, x, factor, weights, site.shape), 1)


def _linear(site: Site) -> Value:
    x, factor = integers(site.builder, site.value(0))
    return _product(site, x, factor, site.constant(1, "weights"))


def _product(site: Site, x: Laid, factor: float, weights: Constant) -> Value:
    """A Linear of integers."""
    return _with_bias(site, linear.linear(site.builder.layer, x, factor, weights, site.shape), len(site.shape) - 1)


def _matmul(site: Site) -> Value:
    second = site.value(1)
    if isinstance(second, Constant):
        if second.array.ndim != 2:
            raise UnsupportedNodeError("stored matrices in a batch", "multiply with one stored matrix")
        x, factor = integers(site.builder, site.value(0))
        return _product(site, x, factor, transposed(second))
    (a, a_factor), (b, b_factor) = (integers(site.builder, site.value(position)) for position in (0, 1))
    return Region(Product("BATCH_MATMUL", a, b, a_factor * b_factor, site.shape), site.shape)


def _batch_norm(site: Site) -> Value:
    gamma, beta, mean, variance = (site.constant(i, "statistics").floats.astype(np.float64) for i in range(1, 5))
    with np.errstate(all="ignore"):
        factor = gamma / np.sqrt(variance + read.number(site.node, "epsilon"))
    if not np.all(np.isfinite(factor)):
        raise corrupt(site.node, "its statistics are not numbers")
    own = as_sum(site.builder, site.value(0), site.profile)
    return summed(own.scaled(factor, 1).shifted(beta - mean * factor, 1))


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
    """A sum, times the slope where it is negative: the greater of sum and slope * sum (the lesser where slopes are
    above 1), each rounded once."""
    own = as_sum(site.builder, site.value(0), site.profile)
    if slope.min() < 1 < slope.max():
        raise UnsupportedNodeError("slopes below and above 1 on a sum that is not quantized", QUANTIZE_IT)
    kind = "MAXIMUM" if slope.max() <= 1 else "MINIMUM"
    return Region(Joined(extreme(kind, site.shape), (summed(own), summed(own.scaled(slope, axis)))), site.shape)


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
        return _joined(site, extreme(kind.upper(), site.shape), (a, b))
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


def _average(site: Site) -> Value:
    x, factor = integers(site.builder, site.value(0))
    if site.node.kind == "AvgPool":
        return Region(average_pool(site.node, x, factor, site.shape), site.shape)
    if site.node.kind == "AdaptiveAvgPool":
        return Region(adaptive_average_pool(x, factor, site.shape), site.shape)
    axes = read.axes(site.node, "axes", len(x.shape))
    if not axes:
        raise UnsupportedNodeError("a mean over no axes", "name the axes")
    return Region(Mean(x, factor, axes, site.shape), site.shape)


def _move(site: Site) -> Value:
    return _moved(site, 0)


def _moved(site: Site, output: int) -> Value:
    x, shape, value = site.input_shapes[0], site.shapes[output], site.value(0)
    move = (split(site.node, x, output) if site.node.kind == "Split"
            else MOVES[site.node.kind](site.node, x, shape))
    if isinstance(value, Integers):
        return moved_integers(site.builder, value, move)
    return moved(site.builder, region(value), move, shape)


def _joined(site: Site, join: Callable[[Builder, list[Laid]], Laid], parts: Sequence[Region]) -> Region:
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


def _concat(site: Site) -> Value:
    values = [site.value(position) for position in range(len(site.inputs))]
    axis = read.axis(site.node, "axis", len(site.shape))
    if site.node.kind == "Stack":
        flat = tuple(1 if position == axis else extent for position, extent in enumerate(site.shape))
    else:
        flat = ()
    join = concatenated(axis, site.shape)

    def beside(builder: Builder, parts: list[Laid]) -> Laid:
        return join(builder, [reshaped(builder, part, flat) if flat else part for part in parts])

    own = [value for value in values if isinstance(value, Integers)]
    if len(own) == len(values):
        tensor = site.builder.tensors[own[0].tensor.tensor]
        if any(site.builder.tensors[value.tensor.tensor].dtype != tensor.dtype for value in own):
            raise corrupt(site.node, "integers of different types")
        assert tensor.quantization is not None
        parts = [replace(value.tensor, tensor=site.builder.relabel(value.tensor.tensor, tensor.quantization))
                 for value in own]
        return Integers(beside(site.builder, parts), (min(value.span[0] for value in own),
                                                      max(value.span[1] for value in own)))
    return _joined(site, beside, [region(value) for value in values])


def _arg_max(site: Site) -> Value:
    value = site.value(0)
    if isinstance(value, Integers):
        tensor, factor = value.tensor, 1.0
    else:
        tensor, factor = integers(site.builder, value)
    axis = read.axis(site.node, "axis", len(tensor.shape))
    if read.flag(site.node, "keep_dims") and len(site.shape):
        raise UnsupportedNodeError("it keeps the axis", "let it drop the axis (keepdims false)")
    if factor < 0:
        raise UnsupportedNodeError("an ArgMax of a tensor times a negative constant", "take the ArgMin away")
    return Indices(site.builder.op("ARG_MAX", (plain(site.builder, tensor),), site.shape, "int64", axis=axis))


def _receiver(site: Site) -> Value:
    raise UnsupportedNodeError(
        {"Softmax": "in the middle of the model: it is computed by the receiver, on the model's last tensors only",
         "ResizeBilinear": "float interpolation"}[site.node.kind],
        {"Softmax": "let the model end with it", "ResizeBilinear": "resize with nearest neighbours"}[site.node.kind])


KINDS: dict[str, Callable[[Site], Value]] = {
    "Quantize": _quantize, "Dequantize": _dequantize, "Conv": _conv, "ConvTranspose": _conv, "Linear": _linear,
    "MatMul": _matmul, "BatchNorm": _batch_norm, "PRelu": _prelu, "AvgPool": _average, "AdaptiveAvgPool": _average,
    "Mean": _average, "Concat": _concat, "Stack": _concat, "ArgMax": _arg_max, "Softmax": _receiver,
    "ResizeBilinear": _receiver,
    **{kind: _unary for kind in functions.UNARY}, **{kind: _binary for kind in functions.BINARY},
    **{kind: _move for kind in MOVES},
}


def convert_node(site: Site) -> list[Value]:
    """The values of a node's outputs.

    Raises:
        ModelFormatError: it contradicts itself.
        UnsupportedNodeError: it cannot be evaluated exactly.
        OpaqueError: one of its inputs is a float tensor that cannot.
    """
    if site.node.kind == "Split":
        return [_moved(site, output) for output in range(len(site.shapes))]
    return [KINDS[site.node.kind](site)]

