"""Functions of one 8-bit value.

Source: ``tensorflow/lite/kernels/activations.cc`` (Sigmoid, Tanh, HardSwish and LeakyRelu: prepare),
``lut.h`` (LUTPopulate) and ``internal/reference/{leaky_relu,hard_swish}.h``.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Context, Decimal
from typing import cast

import numpy as np

from mpc_bridge.circuit.fixedpoint import Ints, mbqm, quantize_multiplier, rdbpot, round_half_away
from mpc_bridge.circuit.reference.operands import Array, Operands, integer_range, scale, zero_point
from mpc_bridge.errors import UnsupportedModelError

#: Enough digits for ``exp(2 x) - 1`` of the least positive float32.
_DIGITS = Context(prec=100)
#: From here on exp is beyond float32, and the logistic and tanh are at their ends.
_FAR = 89.0
_INT16 = (-(2**15), 2**15 - 1)


def leaky_relu(operands: Operands) -> Array:
    """``MBQM(x - z, QM(m)) + z_out``; m is the requantization's multiplier, ``alpha_multiplier`` where x < z."""
    _, (identity,), low, high = operands.requantization()
    x = operands.centred(0)
    alpha = cast(float, operands.op.attributes["alpha_multiplier"])
    scaled = np.where(x >= 0, mbqm(x, *quantize_multiplier(identity)), mbqm(x, *quantize_multiplier(alpha)))
    return np.asarray(np.clip(scaled + zero_point(operands.output), low, high))


def hard_swish(operands: Operands) -> Array:
    """``x * relu6(x + 3) / 6`` in saturating int16 fixed point; ``multipliers`` as in :mod:`mpc_bridge.circuit.ops`."""
    low, high = integer_range(operands.output)
    multipliers = cast("tuple[float, float]", operands.op.attributes["multipliers"])
    (output, output_exponent), (reluish, exponent) = (_int16_multiplier(multiplier) for multiplier in multipliers)
    hires = operands.centred(0) << 7
    on_output_scale = _srdhm16(hires, output)
    gate = _srdhm16(_saturated(hires << max(exponent - 1, 0)), reluish)
    gate = _saturated(gate << 1) if exponent > 0 else rdbpot(gate, -exponent)
    # from [-1, 1) to [0, 1)
    gate = (gate + 2**15) >> 1
    product = gate * on_output_scale
    halved = np.where(product < 0, -(-product >> 15), product >> 15)
    return np.clip(rdbpot(halved, -output_exponent) + zero_point(operands.output), low, high)


def _int16_multiplier(multiplier: float) -> tuple[int, int]:
    """QM in 16 bits: ``DownScaleInt32ToInt16Multiplier``."""
    q, exponent = quantize_multiplier(multiplier)
    return min((q + 2**15) >> 16, 2**15 - 1), exponent


def _saturated(x: Ints) -> Ints:
    return np.clip(x, *_INT16)


def _srdhm16(a: Ints, b: int) -> Ints:
    """gemmlowp's SaturatingRoundingDoublingHighMul on int16: ``(a*b + 2**14) >> 15``; ``b`` is positive."""
    return np.asarray((a * b + 2**14) >> 15, np.int64)


def logistic(operands: Operands) -> Array:
    """``1 / (1 + exp(-x))``, every step rounded to float32."""
    return _tabulated(operands, _logistic)


def tanh(operands: Operands) -> Array:
    """``tanh(x)`` in float32."""
    return _tabulated(operands, _tanh)


def _logistic(x: np.float32) -> np.float32:
    exponential = np.float32(np.inf) if -x > _FAR else _float32(_DIGITS.exp(Decimal(float(-x))))
    return np.float32(1) / (np.float32(1) + exponential)


def _tanh(x: np.float32) -> np.float32:
    if abs(x) > _FAR:
        return np.float32(np.sign(x))
    exponential = _DIGITS.exp(Decimal(2 * float(x)))
    return _float32(_DIGITS.divide(_DIGITS.subtract(exponential, Decimal(1)), _DIGITS.add(exponential, Decimal(1))))


def _float32(x: Decimal) -> np.float32:
    return np.float32(float(x))


def _tabulated(operands: Operands, function: Callable[[np.float32], np.float32]) -> Array:
    """``LUTPopulate``: ``round_half_away(f(s * (x - z)) * (1 / s_out)) + z_out``, every step in float32.

    The C library's exp and tanh are within a few units in the last place, and differ between libraries; here they are
    the nearest float32, so that all parties tabulate the same. That changes an entry only where the function comes
    within such a unit of a tie.

    Raises:
        UnsupportedModelError: the output's scale has no reciprocal in float32.
    """
    x = operands.array(0)
    source, target = operands.tensor(0), operands.output
    (least, most), (low, high) = integer_range(source), integer_range(target)
    values = np.arange(least, most + 1)
    with np.errstate(all="ignore"):
        reals = np.float32(scale(source)) * (values - zero_point(source)).astype(np.float32)
        inverse = np.float32(1) / np.float32(scale(target))
        if not np.isfinite(inverse):
            raise UnsupportedModelError(
                f"{operands.op.kind} with an output scale of {scale(target)}", where=f"op {operands.op.name}")
        outputs = np.array([function(real) for real in reals], np.float32) * inverse
    # bounded while still float: far beyond the type's ends
    rounded = np.clip(round_half_away(outputs), -(2.0**30), 2.0**30).astype(np.int64)
    table = np.clip(rounded + zero_point(target), low, high)
    return cast(Array, table[x.astype(np.int64) - least])
