"""Ops that treat elements one by one, and the concatenation, which may rescale them.

Source: ``tensorflow/lite/kernels/internal/reference/{add,sub,concatenation,requantize,quantize,dequantize,
maximum_minimum,reduce,arg_min_max}.h`` and ``reference_ops.h`` (QuantizedReluX).
"""

from __future__ import annotations

from typing import cast

import numpy as np

from mpc_bridge.circuit.fixedpoint import mbqm, quantize_multiplier, round_half_away
from mpc_bridge.circuit.ops import FLOAT_RULES
from mpc_bridge.circuit.reference.operands import Array, Operands, integer_range, scale, zero_point
from mpc_bridge.errors import InputError, UnsupportedModelError


def add(operands: Operands) -> Array:
    """ADD and SUB: ``u_1 + u_2`` or ``u_1 - u_2`` requantized; broadcasts.

    ``u_i = MBQM((x_i - z_i) << left_shift, QM(input_multipliers[i]))``.
    """
    left_shift = cast(int, operands.op.attributes["left_shift"])
    multipliers = cast("tuple[float, float]", operands.op.attributes["input_multipliers"])
    first, second = (
        mbqm(operands.centred(position) << left_shift, *quantize_multiplier(multiplier))
        for position, multiplier in enumerate(multipliers)
    )
    return operands.requantized(first - second if operands.op.kind == "SUB" else first + second)


def maximum(operands: Operands) -> Array:
    """MAXIMUM, MINIMUM: of raw integers; broadcasts."""
    function = np.maximum if operands.op.kind == "MAXIMUM" else np.minimum
    return np.asarray(function(operands.array(0), operands.array(1)))


def reduce_max(operands: Operands) -> Array:
    """REDUCE_MAX, REDUCE_MIN: of raw integers, over ``axes``."""
    axes = cast("tuple[int, ...]", operands.op.attributes["axes"])
    function = np.max if operands.op.kind == "REDUCE_MAX" else np.min
    return np.asarray(function(operands.array(0), axis=axes, keepdims=bool(operands.op.attributes["keep_dims"])))


def arg_max(operands: Operands) -> Array:
    """Index of the first greatest along ``axis``."""
    return np.asarray(np.argmax(operands.array(0), axis=cast(int, operands.op.attributes["axis"])))


def relu(operands: Operands) -> Array:
    """RELU, RELU6, RELU_N1_TO_1: requantized; the bounds are the op's."""
    return operands.requantized(operands.centred(0))


def quantize(operands: Operands) -> Array:
    """Integer to integer: requantized. Float to integer: ``round(float32(x / s)) + zero_point``.

    Half away from zero by ``"float32_divide"``, else half to even; ``"float32_multiply_even"`` multiplies.

    A float beyond the integer range saturates, infinities too, where C++ leaves the conversion undefined.

    Raises:
        InputError: a NaN.
    """
    rule, multipliers, low, high = operands.requantization()
    if rule not in FLOAT_RULES:
        return operands.requantized(operands.centred(0))
    x = operands.array(0)
    if np.isnan(x).any():
        raise InputError("an input holds NaN, which has no quantized value", where=f"op {operands.op.name}")
    with np.errstate(over="ignore"):
        factor = np.float32(multipliers[0])
        steps = x * factor if rule == "float32_multiply_even" else x / factor
    # bounded while still float, since infinities have no integer; far beyond any bound of the output
    limited = np.clip(steps, np.float32(-(2.0**31)), np.float32(2.0**31))
    bounded = round_half_away(limited) if rule == "float32_divide" else np.rint(limited)
    return np.clip(bounded.astype(np.int64) + zero_point(operands.output), low, high)


def dequantize(operands: Operands) -> Array:
    """``float32(double(scale) * (q - zero_point))``; a sum may have a scale per channel of its last axis."""
    quantization = operands.tensor(0).quantization
    scales = np.array(quantization.scale if quantization is not None else (), np.float64)
    real: Array = (scales * operands.centred(0).astype(np.float64)).astype(np.float32)
    return real


def concatenation(operands: Operands) -> Array:
    """Along ``axis``; an input quantized unlike the output is rescaled in float32 (defined for uint8 only).

    ``r = s_i * (1 / s_o)``; ``round_half_away(x * r + (-z_i * r)) + z_o``, every step rounded to float32.

    Raises:
        UnsupportedModelError: inputs of another type than uint8 with differing quantization.
    """
    target = operands.output
    low, high = integer_range(target)
    parts = []
    for position in range(len(operands.arrays)):
        x, tensor = operands.array(position), operands.tensor(position)
        if (scale(tensor), zero_point(tensor)) != (scale(target), zero_point(target)):
            if target.dtype != "uint8":
                raise UnsupportedModelError(
                    f"CONCATENATION of {target.dtype} tensors with differing quantization",
                    where=f"op {operands.op.name}, input {tensor.name}")
            ratio = np.float32(scale(tensor)) * (np.float32(1) / np.float32(scale(target)))
            bias = np.float32(-zero_point(tensor)) * ratio
            rounded = round_half_away(x.astype(np.float32) * ratio + bias).astype(np.int64)
            x = np.clip(rounded + zero_point(target), low, high).astype(np.uint8)
        parts.append(x)
    return np.concatenate(parts, axis=cast(int, operands.op.attributes["axis"]))
