"""Elementwise functions in float32, as the frameworks evaluate them: for tables of one byte and for stored constants.

Sums, products and comparisons follow the frameworks' own order of operations. Transcendental functions are evaluated in
double and rounded once, which is at most half a unit from what any framework's float32 routine means.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from mpc_bridge.importers.qdq import attributes as read
from mpc_bridge.importers.qdq.graph import Node

Floats = npt.NDArray[np.float32]


def _double(function: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]) -> Callable[[Floats], Floats]:
    def rounded(x: Floats) -> Floats:
        return function(x.astype(np.float64)).astype(np.float32)
    return rounded


def _sigmoid(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return 1 / (1 + np.exp(-x))


def _f(value: float) -> np.float32:
    return np.float32(value)


def _hard_swish(node: Node, source: str, x: Floats) -> Floats:
    if source == "onnx":
        return np.asarray(x * np.maximum(_f(0), np.minimum(_f(1), _f(1 / 6) * x + _f(0.5))), np.float32)
    return np.asarray(x * np.minimum(np.maximum(x + _f(3), _f(0)), _f(6)) / _f(6), np.float32)


def _gelu(node: Node, source: str, x: Floats) -> Floats:
    values = x.astype(np.float64)
    if read.text(node, "approximate", ("none", "tanh")) == "tanh":
        inner = np.tanh(math.sqrt(2 / math.pi) * (values + 0.044715 * values**3))
    else:
        inner = np.array([math.erf(value / math.sqrt(2)) for value in values.reshape(-1)]).reshape(values.shape)
    return np.asarray(0.5 * values * (1 + inner), np.float32)


def _elu(node: Node, source: str, x: Floats) -> Floats:
    alpha = read.number(node, "alpha")
    return np.where(x > 0, x, (alpha * np.expm1(np.minimum(x, 0).astype(np.float64))).astype(np.float32))


def _leaky_relu(node: Node, source: str, x: Floats) -> Floats:
    return np.where(x >= 0, x, x * _f(read.number(node, "alpha")))


def _hard_sigmoid(node: Node, source: str, x: Floats) -> Floats:
    linear = _f(read.number(node, "alpha")) * x + _f(read.number(node, "beta"))
    return np.asarray(np.maximum(_f(0), np.minimum(_f(1), linear)), np.float32)


def _plain(function: Callable[[Floats], Floats]) -> Callable[[Node, str, Floats], Floats]:
    return lambda node, source, x: function(x)


_UNARY: dict[str, Callable[[Node, str, Floats], Floats]] = {
    "Sigmoid": _plain(_double(_sigmoid)), "Tanh": _plain(_double(np.tanh)),
    "Silu": _plain(_double(lambda x: x * _sigmoid(x))), "Exp": _plain(_double(np.exp)), "Sqrt": _plain(np.sqrt),
    "Neg": _plain(np.negative), "Abs": _plain(np.abs), "Relu": _plain(lambda x: np.maximum(x, _f(0))),
    "HardSwish": _hard_swish, "Gelu": _gelu, "Elu": _elu, "LeakyRelu": _leaky_relu, "HardSigmoid": _hard_sigmoid,
    "Clip": lambda node, source, x: np.minimum(np.maximum(x, _f(read.number(node, "low", False))),
                                               _f(read.number(node, "high", False))),
}

_BINARY: dict[str, Callable[[Floats, Floats], Floats]] = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide, "Maximum": np.maximum,
    "Minimum": np.minimum,
}

UNARY = frozenset(_UNARY)
BINARY = frozenset(_BINARY)


def unary(node: Node, source: str, x: Floats) -> Floats:
    """A node of one of the kinds in :data:`UNARY` on float32.

    Args:
        source: the graph's: frameworks order the operations of some functions differently.
    """
    with np.errstate(all="ignore"):
        return np.asarray(_UNARY[node.kind](node, source, x), np.float32)


def binary(kind: str, a: Floats, b: Floats) -> Floats:
    """A node of one of the kinds in :data:`BINARY` on float32, broadcast."""
    with np.errstate(all="ignore"):
        return np.asarray(_BINARY[kind](a, b), np.float32)
