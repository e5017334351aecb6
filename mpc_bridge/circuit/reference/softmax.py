"""SOFTMAX on 8-bit integers, in gemmlowp fixed point: no float after the multiplier is quantized.

Source: ``tensorflow/lite/kernels/internal/reference/softmax.h`` and gemmlowp ``fixedpoint/fixedpoint.h``
(``exp_on_negative_values``, ``one_over_one_plus_x_for_x_in_0_1``). Qm.n is an int32 with n fractional bits.
"""

from __future__ import annotations

import math
from typing import cast

import numpy as np

from mpc_bridge.circuit.fixedpoint import Ints, quantize_multiplier, rdbpot, srdhm
from mpc_bridge.circuit.reference.operands import Array, Operands, integer_range, scale
from mpc_bridge.errors import UnsupportedModelError

_ONE = 2**31 - 1  # 1.0 in Q0.31, as near as int32 comes
_EXP_MINUS_EIGHTH = 1895147668
_THIRD = 715827883
_48_OVER_17 = 1515870810  # Q2.29
_MINUS_32_OVER_17 = -1010580540
#: ``exp(-2**e)`` in Q0.31 for e = -2 .. 4
_EXP_POWERS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)


def _shifted_left(x: Ints, exponent: int) -> Ints:
    """Times ``2**exponent``, saturated to int32."""
    return cast(Ints, np.clip(x << exponent, -(2**31), 2**31 - 1))


def _exp_of_small(a: Ints) -> Ints:
    """``exp(a)`` for ``a`` in ``[-1/4, 0)``, Q0.31: a fourth-order Taylor series about -1/8."""
    x = a + 2**28
    x2 = srdhm(x, x)
    x3 = srdhm(x2, x)
    x4 = srdhm(x2, x2)
    series = rdbpot(srdhm(rdbpot(x4, 2) + x3, _THIRD) + x2, 1)
    return _EXP_MINUS_EIGHTH + srdhm(x + series, _EXP_MINUS_EIGHTH)


def exp_on_negative_values(a: Ints) -> Ints:
    """``exp(a)`` for ``a <= 0`` in Q5.26, as Q0.31."""
    quarter = 1 << 24
    small = (a & (quarter - 1)) - quarter
    result = _exp_of_small(_shifted_left(small, 5))
    remainder = small - a
    for position, power in enumerate(_EXP_POWERS, start=24):
        result = np.where(remainder & (1 << position), srdhm(result, power), result)
    return np.where(a == 0, _ONE, result)


def _reciprocal(x: Ints) -> Ints:
    """``1 / (1 + x)`` for ``x`` in ``[0, 1)``, Q0.31: three Newton steps in Q2.29."""
    # the half sum rounds away from zero, and the sum is positive
    half_denominator = (x + _ONE + 1) // 2
    y = _48_OVER_17 + srdhm(_MINUS_32_OVER_17, half_denominator)
    for _ in range(3):
        error = 2**29 - srdhm(y, half_denominator)
        y = y + _shifted_left(srdhm(y, error), 2)
    return _shifted_left(y, 1)


def softmax(operands: Operands) -> Array:
    """Along the last axis; the output's scale is 1/256 and its zero point the type's least value.

    Where the exponentials sum to 512 or more (hundreds of nearly equal inputs) LiteRT aborts, and older versions shift
    an int32 by more than 31; here the same formula goes on in int64.

    Raises:
        UnsupportedModelError: ``beta * scale * 2**26 <= 1``, on which the framework aborts.
    """
    x = operands.array(0).astype(np.int64)
    low, high = integer_range(operands.output)
    beta = cast(float, operands.op.attributes["beta"])
    multiplier = min(beta * scale(operands.tensor(0)) * 2**26, 2.0**31 - 1)
    if multiplier <= 1:
        raise UnsupportedModelError(f"SOFTMAX with a multiplier of {multiplier}", where=f"op {operands.op.name}")
    q, shift = quantize_multiplier(multiplier)
    differences = x - x.max(axis=-1, keepdims=True)
    counted = differences >= -math.floor(31 * 2**26 / 2**shift)
    scaled = srdhm(np.where(counted, differences, 0) << shift, q)
    exps = np.where(counted, exp_on_negative_values(scaled), 0)
    sums = rdbpot(exps, 12).sum(axis=-1, keepdims=True)
    # clz32 of a sum in [2**19, 2**32): frexp's exponent is the bit length
    headroom = 32 - np.frexp(sums.astype(np.float64))[1].astype(np.int64)
    reciprocal = _reciprocal((sums << headroom) - 2**31)
    out = rdbpot(srdhm(reciprocal, exps), 12 - headroom + 23) + low
    return np.where(counted, np.clip(out, low, high), low)
