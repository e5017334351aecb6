"""Functions of single elements, sums and products of tensors, and softmax."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from mpc_bridge.importers.onnx.build import Activation, Operand, UnsupportedNodeError
from mpc_bridge.importers.onnx.site import Site, shape_of
from mpc_bridge.importers.qdq.graph import Value


def unary(site: Site, x: Activation, kind: str, attributes: dict[str, Value] | None = None) -> None:
    """A function of single elements."""
    site.emit(kind, (x,), x.shape, attributes)


def _plain(kind: str) -> Callable[[Site], None]:
    def convert(site: Site) -> None:
        site.count(1, 1)
        unary(site, site.activation(), kind)
    return convert


def _with_alpha(kind: str, default: float) -> Callable[[Site], None]:
    def convert(site: Site) -> None:
        site.count(1, 1)
        unary(site, site.activation(), kind, {"alpha": site.number("alpha", default)})
    return convert


def _hard_sigmoid(site: Site) -> None:
    site.count(1, 1)
    unary(site, site.activation(), "HardSigmoid",
          {"alpha": site.number("alpha", 0.2), "beta": site.number("beta", 0.5)})


def _gelu(site: Site) -> None:
    site.count(1, 1)
    approximate = site.text("approximate", "none")
    if approximate not in ("none", "tanh"):
        raise site.corrupt(f"its approximation is '{approximate}'")
    unary(site, site.activation(), "Gelu", {"approximate": approximate})


def _swish(site: Site) -> None:
    site.count(1, 1)
    if site.number("alpha", 1.0) != 1.0:
        raise UnsupportedNodeError("an alpha other than 1")
    unary(site, site.activation(), "Silu")


def _clip(site: Site) -> None:
    site.count(1, 3)
    low, high = site.scalar(1), site.scalar(2)
    low, high = -math.inf if low is None else low, math.inf if high is None else high
    if not low <= high:
        raise UnsupportedNodeError(f"bounds {low:g} and {high:g}")
    unary(site, site.activation(), "Clip", {"low": low, "high": high})


def _prelu(site: Site) -> None:
    site.count(2, 2)
    x, slope = site.activation(0), site.real(1)
    if isinstance(slope, Activation):
        raise UnsupportedNodeError("slopes that are computed when the model runs")
    if site.broadcast(x.shape, shape_of(slope)) != x.shape:
        raise site.corrupt(f"slopes of shape {shape_of(slope)} for an input of shape {x.shape}")
    site.emit("PRelu", (x, slope), x.shape)


def softmax(site: Site, x: Activation, log: bool) -> None:
    """Softmax of any format, along one axis."""
    axis, rank = site.integer("axis", -1), len(x.shape)
    if not -rank <= axis < rank:
        raise site.corrupt(f"axis {axis} of {rank}")
    site.emit("Softmax", (x,), x.shape, {"axis": axis % rank, "log": log})


def _softmax(log: bool) -> Callable[[Site], None]:
    def convert(site: Site) -> None:
        site.count(1, 1)
        softmax(site, site.activation(), log)
    return convert


def binary(site: Site, kind: str, a: Operand, b: Operand, final: bool = True) -> Activation:
    """Two tensors, broadcast."""
    if not isinstance(a, Activation) and not isinstance(b, Activation):
        raise UnsupportedNodeError("arithmetic on stored integers alone")
    return site.emit(kind, (a, b), site.broadcast(shape_of(a), shape_of(b)), final=final)


def _two(kind: str) -> Callable[[Site], None]:
    def convert(site: Site) -> None:
        site.count(2, 2)
        binary(site, kind, site.real(0), site.real(1))
    return convert


def _many(kind: str) -> Callable[[Site], None]:
    """Variadic in ONNX: one after the other."""
    def convert(site: Site) -> None:
        site.count(1, 64)
        operands = [site.real(position) for position in range(len(site.operands))]
        if len(operands) == 1:
            site.alias(operands[0])
            return
        result = operands[0]
        for position, operand in enumerate(operands[1:]):
            result = binary(site, kind, result, operand, position == len(operands) - 2)
    return convert


POINTWISE: Mapping[str, Callable[[Site], None]] = {
    **{kind: _plain(kind) for kind in ("Relu", "Sigmoid", "Tanh", "HardSwish", "Neg", "Abs", "Sqrt", "Exp")},
    **{kind: _two(kind) for kind in ("Add", "Sub", "Mul", "Div")},
    "Max": _many("Maximum"), "Min": _many("Minimum"), "Sum": _many("Add"),
    "LeakyRelu": _with_alpha("LeakyRelu", 0.01), "Elu": _with_alpha("Elu", 1.0), "HardSigmoid": _hard_sigmoid,
    "Gelu": _gelu, "Swish": _swish, "Clip": _clip, "PRelu": _prelu, "Softmax": _softmax(False),
    "LogSoftmax": _softmax(True),
}
