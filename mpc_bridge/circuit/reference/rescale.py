"""RESCALE and TABLE: what a float region between dequantize and quantize nodes computes, in integers.

Source: our own definition (:mod:`mpc_bridge.circuit.ops`), which importers show to equal their framework.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from mpc_bridge.circuit.fixedpoint import Ints, rounded_half_even
from mpc_bridge.circuit.reference.operands import Array, Operands, integer_range, zero_point
from mpc_bridge.errors import UnsupportedModelError

#: Sums of terms stay below this, so that a bias and a half can be added in int64.
MAX_SUM = 2**61


def rescale(operands: Operands) -> Array:
    """``z = sum_i multipliers[i] * (x_i - zero_point_i)``, then the bias, the shift and the clamp.

    Raises:
        UnsupportedModelError: the sum of the terms' magnitudes is :data:`MAX_SUM` or more.
    """
    attributes = operands.op.attributes
    multipliers = cast("tuple[tuple[int, ...], ...]", attributes["multipliers"])
    shift, low, high = (cast(int, attributes[name]) for name in ("shift", "low", "high"))
    z: Ints = np.zeros((), np.int64)
    magnitude = 0
    for position, multiplier in enumerate(multipliers):
        centred = _term(operands, position)
        magnitude += max(map(abs, multiplier)) * int(np.abs(centred).max())
        z = z + np.array(multiplier, np.int64) * centred
    if magnitude >= MAX_SUM:
        raise UnsupportedModelError("sums of more than 61 bits", where=f"op {operands.op.name}")
    z = z.reshape(operands.output.shape)
    bias = operands.arrays[-1]
    if bias is not None:
        z = z + bias.astype(np.int64)
    if operands.output.dtype == "int64":
        return z
    if bias is None:
        q = rounded_half_even(z, np.int64(1 << shift))
    else:
        q = (z + (1 << shift >> 1)) >> shift
    return np.asarray(np.clip(q + zero_point(operands.output), low, high))


def _term(operands: Operands, position: int) -> Ints:
    """An activation less its zero point, or a bare accumulator, int64."""
    if operands.tensor(position).quantization is None:
        return operands.array(position).astype(np.int64)
    return operands.centred(position)


def table(operands: Operands) -> Array:
    """``table[x - least]``: entries in the order of the input type's values."""
    least, _ = integer_range(operands.tensor(0))
    entries = np.array(cast("tuple[int, ...]", operands.op.attributes["table"]), np.int64)
    return cast(Array, entries[operands.array(0).astype(np.int64) - least])
