"""AVERAGE_POOL_2D, MAX_POOL_2D, MEAN.

Source: ``tensorflow/lite/kernels/internal/reference/{pooling.h,integer_ops/pooling.h,reduce.h}``.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from mpc_bridge.circuit.fixedpoint import mbqm, quantize_multiplier
from mpc_bridge.circuit.reference.operands import Array, Operands, integer_range, zero_point
from mpc_bridge.circuit.reference.windows import padded, windows
from mpc_bridge.errors import UnsupportedModelError


def average_pool_2d(operands: Operands) -> Array:
    """Mean of the raw values (no zero point) of each window's valid cells, half away from zero, then the bounds.

    uint8: ``(sum + n/2) / n``; int8: ``sum > 0 ? (sum + n/2) / n : (sum - n/2) / n``; divisions truncate.
    """
    window, stride, padding = operands.pair("window"), operands.pair("stride"), operands.padding()
    image = operands.array(0).astype(np.int64)

    def total(cells: Array) -> Array:
        return cast(Array, windows(padded(cells, padding, 0), window, stride, (1, 1)).sum(axis=(4, 5)))

    sums, count = total(image), total(np.ones_like(image))
    # the magnitude is floored: that is C's truncation, and a sum of 0 gives 0 in either branch
    mean = np.sign(sums) * ((np.abs(sums) + count // 2) // count)
    return cast(Array, np.clip(mean, *operands.pair("bounds")))


def max_pool_2d(operands: Operands) -> Array:
    """Maximum over each window's valid cells, then the bounds."""
    low, _ = integer_range(operands.tensor(0))
    image = padded(operands.array(0).astype(np.int64), operands.padding(), low)
    view = windows(image, operands.pair("window"), operands.pair("stride"), (1, 1))
    return cast(Array, np.clip(view.max(axis=(4, 5)), *operands.pair("bounds")))


def mean(operands: Operands) -> Array:
    """The sum over ``axes``, requantized with the count folded into the quantized multiplier.

    ``(q, s) = QM(multiplier)``; ``k = min(floor(log2 n), 32, 31 + s)``; ``MBQM(sum, floor(q * 2**k / n), s - k)``.

    Raises:
        UnsupportedModelError: a rule other than ``"mbqm"``.
    """
    rule, multipliers, low, high = operands.requantization()
    if rule != "mbqm":
        raise UnsupportedModelError(f"MEAN has no rounding rule {rule!r}", where=f"op {operands.op.name}")
    x = operands.centred(0)
    axes = cast("tuple[int, ...]", operands.op.attributes["axes"])
    count = int(np.prod([x.shape[axis] for axis in axes], dtype=np.int64))
    q, shift = quantize_multiplier(multipliers[0])
    k = min(count.bit_length() - 1, 32, 31 + shift)
    scaled = mbqm(x.sum(axis=axes), (q << k) // count, shift - k)
    return np.clip(scaled + zero_point(operands.output), low, high).reshape(operands.output.shape)
