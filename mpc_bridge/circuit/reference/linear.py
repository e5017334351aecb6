"""CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED, TRANSPOSE_CONV: exact accumulators, then the op's requantization.

Source: ``tensorflow/lite/kernels/internal/reference/{,integer_ops/}{conv,depthwise_conv,fully_connected,
transpose_conv}.h``.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from mpc_bridge.circuit.fixedpoint import Ints
from mpc_bridge.circuit.reference.operands import Array, Operands
from mpc_bridge.circuit.reference.windows import padded, windows


def _product(rows: Array, weights: Array) -> Ints:
    """``rows @ weights.T`` ([M, K] and [O, K]) through BLAS.

    Exact: 8-bit operands give sums below ``K * 2**17``, and doubles are exact to ``2**53``.
    """
    return (rows.astype(np.float64) @ weights.astype(np.float64).T).astype(np.int64)


def _with_bias(operands: Operands, acc: Ints) -> Ints:
    if len(operands.arrays) < 3 or operands.arrays[2] is None:
        return acc
    return acc + operands.array(2).astype(np.int64)


def conv_2d(operands: Operands) -> Array:
    """``sum (x - zx)(w - zw) + b`` over each window; x NHWC, weights OHWI, in groups where I is a part of x's."""
    # centred first, so that padded cells contribute nothing
    image = padded(operands.centred(0), operands.padding(), 0)
    weights = operands.centred(1)
    depth = weights.shape[3]
    groups = image.shape[3] // depth
    view = windows(image, weights.shape[1:3], operands.pair("stride"), operands.pair("dilation"))
    patches = view.transpose(0, 1, 2, 4, 5, 3)
    sums = [
        _product(patches[..., g * depth : (g + 1) * depth].reshape(-1, part[0].size), part.reshape(len(part), -1))
        for g, part in enumerate(np.split(weights, groups))
    ]
    acc = np.concatenate(sums, axis=1).reshape(*view.shape[:3], len(weights))
    return operands.requantized(_with_bias(operands, acc))


def depthwise_conv_2d(operands: Operands) -> Array:
    """Output channel ``c * depth_multiplier + m`` reads input channel ``c``; x NHWC, weights 1HWC."""
    multiplier = cast(int, operands.op.attributes["depth_multiplier"])
    image = np.repeat(padded(operands.centred(0), operands.padding(), 0), multiplier, axis=3)
    weights = operands.centred(1)[0]
    view = windows(image, weights.shape[:2], operands.pair("stride"), operands.pair("dilation"))
    acc = np.zeros(view.shape[:4], np.int64)
    for row, column in np.ndindex(*weights.shape[:2]):
        acc += view[..., row, column] * weights[row, column]
    return operands.requantized(_with_bias(operands, acc))


def fully_connected(operands: Operands) -> Array:
    """x is read as rows of K, whatever its shape; weights [O, K]."""
    weights = operands.centred(1)
    acc = _product(operands.centred(0).reshape(-1, weights.shape[1]), weights)
    return operands.requantized(_with_bias(operands, acc)).reshape(operands.output.shape)


def transpose_conv(operands: Operands) -> Array:
    """Every input cell adds its products to a window of the output: cell ``i * stride - origin + kernel cell``."""
    x, weights = operands.centred(0), operands.centred(1)
    stride, origin = operands.pair("stride"), operands.pair("origin")
    acc = np.zeros(operands.output.shape, np.int64)
    for kernel in np.ndindex(*weights.shape[1:3]):
        target, source = [], []
        for axis in (0, 1):
            at = np.arange(x.shape[1 + axis]) * stride[axis] - origin[axis] + kernel[axis]
            inside = (at >= 0) & (at < acc.shape[1 + axis])
            target.append(at[inside])
            source.append(np.flatnonzero(inside))
        seen = x[:, source[0][:, None], source[1]]
        products = _product(seen.reshape(-1, x.shape[3]), weights[:, kernel[0], kernel[1]])
        acc[:, target[0][:, None], target[1]] += products.reshape(*seen.shape[:3], len(weights))
    return operands.requantized(_with_bias(operands, acc))
