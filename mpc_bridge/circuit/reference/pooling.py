"""AVERAGE_POOL_2D, AVERAGE, MAX_POOL_2D, MEAN.

Source: ``tensorflow/lite/kernels/internal/reference/{pooling.h,integer_ops/pooling.h,reduce.h}``.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from mpc_bridge.circuit.fixedpoint import Ints, exact_ratio, half_even, mbqm, quantize_multiplier
from mpc_bridge.circuit.graph import Op
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


def average(operands: Operands) -> Array:
    """``sum(x - z) / count`` of each window's cells inside the image, times the multiplier, half to even at once.

    Source: PyTorch's and ONNX's definition of average pooling with ``count_include_pad``, ``divisor`` and ceil_mode.
    """
    _, (multiplier,), low, high = operands.requantization()
    window, stride, (rows, columns) = operands.pair("window"), operands.pair("stride"), operands.padding()
    x, shape = operands.centred(0), operands.output.shape
    reach = [(shape[axis] - 1) * stride[axis - 1] + window[axis - 1] for axis in (1, 2)]
    # as many cells after the image as the last window covers
    sides = tuple((before, max(0, reach[i] - before - x.shape[1 + i])) for i, (before, _) in enumerate((rows, columns)))
    view = windows(padded(x, cast("tuple[tuple[int, int], tuple[int, int]]", sides), 0), window, stride, (1, 1))
    sums = view[:, : shape[1], : shape[2]].sum(axis=(4, 5))
    counts = average_counts(operands.op, x.shape, shape)
    ratios = np.array([exact_ratio(multiplier, int(count)) for count in counts.reshape(-1)], np.int64)
    n, d = (ratios[:, i].reshape(*counts.shape, 1) for i in (0, 1))
    return np.clip(half_even(sums, n, d) + zero_point(operands.output), low, high)


def average_counts(op: Op, image: tuple[int, ...], output: tuple[int, ...]) -> Ints:
    """What an AVERAGE divides each window's sum by, int64 [rows, columns]; image and output shapes NHWC."""
    divisor = cast(int, op.attributes["divisor"])
    if divisor:
        return np.full(output[1:3], divisor, np.int64)
    padding = cast("tuple[tuple[int, int], tuple[int, int]]", op.attributes["padding"])
    window, stride = (cast("tuple[int, int]", op.attributes[name]) for name in ("window", "stride"))
    along = []
    for axis, (before, after) in enumerate(padding):
        start = np.arange(output[1 + axis], dtype=np.int64) * stride[axis] - before
        include = bool(op.attributes["count_include_pad"])
        first, last = (-before, image[1 + axis] + after) if include else (0, image[1 + axis])
        along.append(np.minimum(start + window[axis], last) - np.maximum(start, first))
    return cast(Ints, np.multiply.outer(along[0], along[1]))


def max_pool_2d(operands: Operands) -> Array:
    """Maximum over each window's valid cells, then the bounds."""
    low, _ = integer_range(operands.tensor(0))
    image = padded(operands.array(0).astype(np.int64), operands.padding(), low)
    view = windows(image, operands.pair("window"), operands.pair("stride"), (1, 1))
    return cast(Array, np.clip(view.max(axis=(4, 5)), *operands.pair("bounds")))


def mean(operands: Operands) -> Array:
    """The sum over ``axes``, requantized with the count folded into the multiplier.

    ``"mbqm"``: ``(q, s) = QM(multiplier)``; ``k = min(floor(log2 n), 32, 31 + s)``;
    ``MBQM(sum, floor(q * 2**k / n), s - k)``. ``"half_even"``: of the exact ``sum * multiplier / n``.

    Raises:
        UnsupportedModelError: another rule.
    """
    rule, multipliers, low, high = operands.requantization()
    if rule not in ("mbqm", "half_even"):
        raise UnsupportedModelError(f"MEAN has no rounding rule {rule!r}", where=f"op {operands.op.name}")
    x = operands.centred(0)
    axes = cast("tuple[int, ...]", operands.op.attributes["axes"])
    count = int(np.prod([x.shape[axis] for axis in axes], dtype=np.int64))
    if rule == "half_even":
        means = half_even(x.sum(axis=axes), *exact_ratio(multipliers[0], count))
        return np.clip(means + zero_point(operands.output), low, high).reshape(operands.output.shape)
    q, shift = quantize_multiplier(multipliers[0])
    k = min(count.bit_length() - 1, 32, 31 + shift)
    scaled = mbqm(x.sum(axis=axes), (q << k) // count, shift - k)
    return np.clip(scaled + zero_point(operands.output), low, high).reshape(operands.output.shape)
