"""Real multipliers and activation bounds, in the framework's own float arithmetic.

Which products are float32 and which are double decides output bits, so each function says which TFLite function it
follows.
"""

from __future__ import annotations

import math

import numpy as np

from mpc_bridge.circuit.graph import INTEGER_RANGES


def float32_product(a: float, b: float) -> float:
    """``float32(a * b)``, as ``GetQuantizedConvolutionMultipler`` multiplies two float32 scales."""
    with np.errstate(all="ignore"):
        return float(np.float32(a) * np.float32(b))


def float32_quotient(a: float, b: float) -> float:
    """``float32(a / b)``, as ``ReluPrepare`` divides two float32 scales. ``b`` is not 0."""
    with np.errstate(all="ignore"):
        return float(np.float32(a) / np.float32(b))


def convolution_multipliers(
        input_scale: float, weight_scales: tuple[float, ...], output_scale: float) -> tuple[float, ...]:
    """Per channel ``s_x * s_w / s_o`` in double: ``PopulateConvolutionQuantizationParams`` for int8."""
    return tuple(input_scale * scale / output_scale for scale in weight_scales)


def per_tensor_multiplier(input_scale: float, weight_scale: float, output_scale: float) -> float:
    """``double(float32(s_x * s_w)) / s_o``: ``GetQuantizedConvolutionMultipler`` (uint8, old fully connected)."""
    return float32_product(input_scale, weight_scale) / output_scale


def activation_bounds(activation: str, dtype: str, scale: float, zero_point: int) -> tuple[int, int] | None:
    """Bounds of a fused activation in the output's integer type: ``CalculateActivationRangeQuantized``.

    Args:
        activation: ``"NONE"``, ``"RELU"``, ``"RELU6"`` or ``"RELU_N1_TO_1"``.
        dtype, scale, zero_point: of the output.

    Returns:
        ``(low, high)``; None where the framework refuses because a bound overflows int32, or where nothing is between.
    """
    low, high = INTEGER_RANGES[dtype]
    real_low, real_high = {
        "NONE": (None, None), "RELU": (0.0, None), "RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0)}[activation]
    for real, lower in ((real_low, True), (real_high, False)):
        if real is None:
            continue
        steps = float32_quotient(real, scale)
        if not -(2**31) <= steps < 2**31:
            return None
        # C's round: ties away from zero; a float32 plus a half is exact in double
        bound = zero_point + int(math.copysign(math.floor(abs(steps) + 0.5), steps))
        if lower:
            low = max(low, bound)
        else:
            high = min(high, bound)
    return (low, high) if low <= high else None
