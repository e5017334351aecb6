"""Products of two tensors: MUL, BATCH_MATMUL, PRELU.

Source: ``tensorflow/lite/kernels/{mul,batch_matmul,activations}.cc`` and
``internal/reference/{mul,integer_ops/mul,batch_matmul,prelu}.h``.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from mpc_bridge.circuit.fixedpoint import requantize
from mpc_bridge.circuit.reference.operands import Array, Operands, zero_point


def mul(operands: Operands) -> Array:
    """``(x1 - z1) * (x2 - z2)`` requantized; broadcasts."""
    return operands.requantized(operands.centred(0) * operands.centred(1))


def batch_matmul(operands: Operands) -> Array:
    """``sum_k (x - zx)[..., m, k] * (y - zy)[..., k, n]`` requantized; leading axes broadcast.

    Exact through BLAS: 8-bit operands give sums below ``K * 2**16``, and doubles are exact to ``2**53``.
    """
    x, y = (
        operands.centred(position).swapaxes(-1, -2) if operands.op.attributes[name] else operands.centred(position)
        for position, name in enumerate(("adj_x", "adj_y"))
    )
    return operands.requantized((x.astype(np.float64) @ y.astype(np.float64)).astype(np.int64))


def prelu(operands: Operands) -> Array:
    """``x - z`` requantized where it is not negative, else ``(x - z)(alpha - z_alpha)`` by ``alpha_multiplier``."""
    rule, (identity,), low, high = operands.requantization()
    steep = cast(float, operands.op.attributes["alpha_multiplier"])
    x, alpha, zero = operands.centred(0), operands.centred(1), zero_point(operands.output)
    return np.where(x >= 0, requantize(x, rule, identity, zero, low, high),
                    requantize(x * alpha, rule, steep, zero, low, high))
