"""Layers: linear ops with their weights and biases, batch norms and means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from mpc_bridge.importers.qdq import attributes as read
from mpc_bridge.importers.qdq import linear
from mpc_bridge.importers.qdq.averages import Mean, Product, adaptive_average_pool, average_pool
from mpc_bridge.importers.qdq.constants import Constant, transposed
from mpc_bridge.importers.qdq.layout import Laid
from mpc_bridge.importers.qdq.refusals import UnsupportedNodeError, corrupt
from mpc_bridge.importers.qdq.regions import Region
from mpc_bridge.importers.qdq.site import Site
from mpc_bridge.importers.qdq.sums import Sum, Term
from mpc_bridge.importers.qdq.values import Value, as_sum, channels, integers, summed


def _conv(site: Site) -> Value:
    x, factor = integers(site.builder, site.value(0))
    convert = linear.convolution if site.node.kind == "Conv" else linear.transposed_convolution
    weights = site.constant(1, "weights")
    if site.node.kind == "ConvTranspose":
        site.builder.spend(linear.spread_size(site.node, weights))
    return _with_bias(site, convert(site.builder.layer, site.node, x, factor, weights, site.shape), 1)


def _linear(site: Site) -> Value:
    x, factor = integers(site.builder, site.value(0))
    return _product(site, x, factor, site.constant(1, "weights"))


def _product(site: Site, x: Laid, factor: float, weights: Constant) -> Value:
    """A Linear of integers."""
    return _with_bias(site, linear.linear(site.builder.layer, x, factor, weights, site.shape), len(site.shape) - 1)


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


LAYERS: dict[str, Callable[[Site], Value]] = {
    "Conv": _conv, "ConvTranspose": _conv, "Linear": _linear, "MatMul": _matmul, "BatchNorm": _batch_norm,
    "AvgPool": _average, "AdaptiveAvgPool": _average, "Mean": _average,
}
