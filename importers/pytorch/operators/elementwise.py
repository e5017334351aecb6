"""Arithmetic of two tensors, and functions of single elements."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from mpc_bridge.importers.pytorch.calls import Ref
from mpc_bridge.importers.pytorch.site import Site


def _binary(kind: str) -> Callable[[Site], None]:
    def convert(site: Site) -> None:
        first, second = site.operand("self"), site.operand("other")
        if site.get("rounding_mode") is not None:
            site.refuse("a division that rounds")
        alpha = site.number("alpha", 1)
        opposite = {"Add": "Sub", "Sub": "Add"}
        if alpha not in (1, -1) or (alpha == -1 and kind not in opposite):
            site.refuse(f"a factor alpha of {alpha}; 1 is read")
        actual = opposite[kind] if alpha == -1 else kind
        site.emit(actual, (first, second))
    return convert


def rsub(site: Site) -> None:
    """``rsub(self, other, alpha=1)``: other - self."""
    if site.number("alpha", 1) != 1:
        site.refuse("a factor alpha other than 1")
    site.emit("Sub", (site.operand("other"), site.operand("self")))


def _unary(kind: str) -> Callable[[Site], None]:
    def convert(site: Site) -> None:
        site.emit(kind, (site.tensor("self"),))
    return convert


def _clip(site: Site, low: float | None, high: float | None) -> None:
    least = -math.inf if low is None else float(np.float32(low))
    most = math.inf if high is None else float(np.float32(high))
    if math.isnan(least) or math.isnan(most):
        site.wrong("a bound is not a number")
    site.emit("Clip", (site.tensor("self"),), low=least, high=most)


def _bound(site: Site, name: str) -> float | None:
    return None if site.get(name) is None else site.number(name)


def clamp(site: Site) -> None:
    """``clamp(self, min=None, max=None)``, ``clamp_min(self, min)``, ``clamp_max(self, max)``."""
    _clip(site, _bound(site, "min"), _bound(site, "max"))


def hardtanh(site: Site) -> None:
    """``hardtanh(self, min_val=-1, max_val=1)``."""
    _clip(site, site.number("min_val", -1), site.number("max_val", 1))


def relu6(site: Site) -> None:
    """``relu6(self)``."""
    _clip(site, 0.0, 6.0)


def leaky_relu(site: Site) -> None:
    """``leaky_relu(self, negative_slope=0.01)``."""
    site.emit("LeakyRelu", (site.tensor("self"),), alpha=site.number("negative_slope", 0.01))


def elu(site: Site) -> None:
    """``elu(self, alpha=1, scale=1, input_scale=1)``."""
    if site.number("scale", 1) != 1 or site.number("input_scale", 1) != 1:
        site.refuse("scales other than 1 (selu, celu)")
    site.emit("Elu", (site.tensor("self"),), alpha=site.number("alpha", 1))


def prelu(site: Site) -> None:
    """``prelu(self, weight)``: the slopes belong to axis 1."""
    x, slope = site.tensor("self"), site.tensor("weight")
    rank, shape = len(site.shape(x)), site.shape(slope)
    if len(shape) == 1 and shape[0] > 1 and rank > 2:
        # numpy's rules would put them at the last axis
        column = site.between("slope", shape + (1,) * (rank - 2))
        site.emit("Reshape", (slope,), column, shape=shape + (1,) * (rank - 2))
        slope = column
    site.emit("PRelu", (x, slope))


def greater(site: Site) -> None:
    """``gt(self, other)``: ``x > 0``, for :func:`where`."""
    if site.number("other") != 0:
        site.refuse("a comparison with another number than 0")
    site.state.positive[site.call.outputs[0]] = site.tensor("self")
    site.unavailable(0, "it reads a comparison: only where(x > 0, x, slope * x) is read")


def where(site: Site) -> None:
    """``where(x > 0, x, slope * x)``: what a prelu decomposes into."""
    condition, other = site.get("condition"), site.tensor("other")
    x = site.state.positive.get(condition.name, "") if isinstance(condition, Ref) else ""
    product = site.state.producers.get(other)
    if not x or site.tensor("self") != x or product is None or product.kind != "Mul" or x not in product.inputs:
        site.refuse("only where(x > 0, x, slope * x) is read")
    slope = product.inputs[1] if product.inputs[0] == x else product.inputs[0]
    if site.stored(slope) is None:
        site.refuse("its slope is not stored")
    site.emit("PRelu", (x, slope))


def gelu(site: Site) -> None:
    """``gelu(self, *, approximate='none')``."""
    approximate = site.get("approximate", "none")
    if approximate not in ("none", "tanh"):
        site.wrong("an unknown approximation")
    site.emit("Gelu", (site.tensor("self"),), approximate=approximate)


def hardsigmoid(site: Site) -> None:
    """``hardsigmoid(self)``: relu6(x + 3) / 6."""
    site.emit("HardSigmoid", (site.tensor("self"),), alpha=1 / 6, beta=0.5)


def _softmax(log: bool) -> Callable[[Site], None]:
    def convert(site: Site) -> None:
        x = site.tensor("self")
        if site.get("dtype") not in (None, "float32") or site.boolean("half_to_float"):
            site.refuse("a softmax in another element type")
        site.emit("Softmax", (x,), axis=site.axis("dim", len(site.shape(x))), log=log)
    return convert


def identity(site: Site) -> None:
    """Operators that return their argument's values: copies, casts to the same type, dropout in evaluation."""
    site.same(site.tensor("input" if "input" in site.call.arguments else "self"))


def dropout(site: Site) -> None:
    """``dropout(input, p, train)``."""
    if site.boolean("train"):
        site.refuse("dropout in training mode: model.eval() before the export")
    identity(site)


def cast(site: Site) -> None:
    """``to.dtype(self, dtype, …)``, ``_to_copy(self, *, dtype=None, …)``: to the type it has."""
    dtype = site.get("dtype")
    if dtype is not None and dtype != site.meta(site.tensor("self")).dtype:
        site.refuse(f"a cast to {dtype}")
    identity(site)


OPERATORS: dict[str, Callable[[Site], None]] = {
    "aten.rsub.Scalar": rsub, "aten.rsub.Tensor": rsub,
    "aten.clamp.default": clamp, "aten.clamp_.default": clamp, "aten.clamp_min.default": clamp,
    "aten.clamp_min_.default": clamp, "aten.clamp_max.default": clamp, "aten.clamp_max_.default": clamp,
    "aten.hardtanh.default": hardtanh, "aten.hardtanh_.default": hardtanh,
    "aten.relu6.default": relu6, "aten.relu6_.default": relu6,
    "aten.leaky_relu.default": leaky_relu, "aten.leaky_relu_.default": leaky_relu,
    "aten.elu.default": elu, "aten.elu_.default": elu,
    "aten.prelu.default": prelu, "aten._prelu_kernel.default": prelu,
    "aten.gt.Scalar": greater, "aten.where.self": where,
    "aten.gelu.default": gelu, "aten.gelu_.default": gelu,
    "aten.hardsigmoid.default": hardsigmoid, "aten.hardsigmoid_.default": hardsigmoid,
    "aten.softmax.int": _softmax(False), "aten._softmax.default": _softmax(False),
    "aten.log_softmax.int": _softmax(True), "aten._log_softmax.default": _softmax(True),
    "aten.dropout.default": dropout, "aten.feature_dropout.default": dropout,
    "aten.clone.default": identity, "aten.contiguous.default": identity, "aten.alias.default": identity,
    "aten.detach.default": identity, "aten.detach_.default": identity, "aten.lift_fresh_copy.default": identity,
    "aten.to.dtype": cast, "aten._to_copy.default": cast, "aten.to.dtype_layout": cast,
}
for _kind, _names in {"Add": ("add", "add_"), "Sub": ("sub", "sub_"), "Mul": ("mul", "mul_"),
                      "Div": ("div", "div_")}.items():
    for _name in _names:
        for _overload in ("Tensor", "Scalar"):
            OPERATORS[f"aten.{_name}.{_overload}"] = _binary(_kind)
OPERATORS |= {"aten.div.Tensor_mode": _binary("Div"), "aten.maximum.default": _binary("Maximum"),
              "aten.minimum.default": _binary("Minimum"), "aten.max.other": _binary("Maximum"),
              "aten.min.other": _binary("Minimum")}
for _kind, _name in {"Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh", "HardSwish": "hardswish", "Silu": "silu",
                     "Neg": "neg", "Abs": "abs", "Sqrt": "sqrt", "Exp": "exp"}.items():
    OPERATORS[f"aten.{_name}.default"] = OPERATORS[f"aten.{_name}_.default"] = _unary(_kind)
