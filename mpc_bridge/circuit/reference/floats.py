"""FLOAT_SOFTMAX and FLOAT_UNARY: what the receiver computes on revealed values, every step in float32.

The frameworks' own exp and tanh differ in the last place from library to library; these are numpy's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

import numpy as np
import numpy.typing as npt

from mpc_bridge.circuit.reference.operands import Array, Operands

Floats = npt.NDArray[np.float32]


def softmax(operands: Operands) -> Array:
    """``exp(x - max) / sum`` along ``axis``; with ``log``, ``x - max - log(sum)``."""
    axis = cast(int, operands.op.attributes["axis"])
    x = _input(operands)
    shifted = x - x.max(axis=axis, keepdims=True)
    exponentials = np.exp(shifted)
    total = exponentials.sum(axis=axis, keepdims=True, dtype=np.float32)
    return cast(Array, shifted - np.log(total) if operands.op.attributes["log"] else exponentials / total)


def unary(operands: Operands) -> Array:
    """One of :data:`mpc_bridge.circuit.ops.FLOAT_FUNCTIONS`."""
    with np.errstate(over="ignore", invalid="ignore"):
        function = FUNCTIONS[cast(str, operands.op.attributes["function"])]
        return function(_input(operands))


def _input(operands: Operands) -> Floats:
    """Row-major, as sums and vector instructions may differ in the last place between layouts."""
    return np.asarray(operands.array(0), np.float32, order="C")


def _sigmoid(x: Floats) -> Floats:
    return cast(Floats, np.float32(1) / (np.float32(1) + np.exp(-x)))


def _gate(x: Floats) -> Floats:
    return cast(Floats, np.clip(x + np.float32(3), np.float32(0), np.float32(6)) / np.float32(6))


FUNCTIONS: Mapping[str, Callable[[Floats], Array]] = {
    "abs": np.abs,
    "exp": np.exp,
    "hard_swish": lambda x: x * _gate(x),
    "neg": np.negative,
    "relu": lambda x: np.maximum(x, np.float32(0)),
    "sigmoid": _sigmoid,
    "silu": lambda x: x * _sigmoid(x),
    "sqrt": np.sqrt,
    "tanh": np.tanh,
}
