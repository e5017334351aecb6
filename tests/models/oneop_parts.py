"""What the one-op models are made of: the types' ranges, the schema's words, activations and output extents."""

from __future__ import annotations

import numpy as np
import tflite

from tests.models.tflite_writer import TensorSpec

Pair = tuple[int, int]
Case = tuple[str, bytes]

LOW = {"int8": -128, "uint8": 0}
HIGH = {"int8": 127, "uint8": 255}
MIDDLE = {"int8": 0, "uint8": 128}
ACTIVATION = {name: getattr(tflite.ActivationFunctionType, name) for name in ("NONE", "RELU", "RELU_N1_TO_1", "RELU6")}
#: 0.05 but for its last bit: 5/2 of 0.02, and 1/2 of 0.01 / 0.1, are exact ties in one order or precision of the float
#: arithmetic that forms a multiplier, and not in any other
NEARLY_5_PERCENT = float(np.float32(5) * np.float32(0.01))
PADDING = {"SAME": tflite.Padding.SAME, "VALID": tflite.Padding.VALID}


def tensor(shape: tuple[int, ...], dtype: str, scale: float = 0.05, zero_point: int | None = None) -> TensorSpec:
    """An activation; the zero point defaults to the middle of the type."""
    return TensorSpec(shape, dtype, (scale,), (MIDDLE[dtype] if zero_point is None else zero_point,))


def out_extent(size: int, kernel: int, stride: int, dilation: int, padding: str) -> int:
    """Rows or columns of a convolution's or pool's output."""
    return -(-size // stride) if padding == "SAME" else (size - (kernel - 1) * dilation - 1) // stride + 1
