"""How a tensor is quantized: what a Quantize or Dequantize node says, and the framework's rounding of a float."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mpc_bridge.circuit.graph import INTEGER_RANGES, Quantization
from mpc_bridge.importers.qdq.functions import Floats
from mpc_bridge.importers.qdq.graph import Node
from mpc_bridge.importers.qdq.refusals import UnsupportedNodeError, corrupt
from mpc_bridge.importers.qdq.shapes import Shape

Ints = npt.NDArray[np.int64]

ACTIVATIONS = ("int8", "uint8")


@dataclass(frozen=True)
class Format:
    """``real = scale * (q - zero_point)``.

    Attributes:
        scale: float32 values, one per tensor or per channel.
        inverse: ``float32(1 / scale)``, of the scale as the file has it.
        zero_point: one per scale.
        axis: of the channels; None per tensor.
        dtype: of the integers.
        low, high: least and greatest integer used.
        divides: whether the framework divides by the scale (ONNX) or multiplies by its inverse (PyTorch).
    """

    scale: tuple[float, ...]
    inverse: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int | None
    dtype: str
    low: int
    high: int
    divides: bool

    @property
    def quantization(self) -> Quantization:
        """Of an activation."""
        return Quantization(self.scale[:1], self.zero_point[:1])

    def _along(self, values: tuple[float, ...] | tuple[int, ...], rank: int) -> npt.NDArray[np.float64]:
        return np.array(values, np.float64).reshape(
            tuple(-1 if axis == self.axis else 1 for axis in range(rank)))

    def quantize(self, x: Floats) -> Ints:
        """``clamp(rne(x / scale) + zero_point)`` in float32, as the framework computes it; NaN becomes the least."""
        rank = x.ndim
        with np.errstate(all="ignore"):
            steps = (x / self._along(self.scale, rank).astype(np.float32) if self.divides
                     else x * self._along(self.inverse, rank).astype(np.float32))
            rounded = np.rint(steps).astype(np.float64) + self._along(self.zero_point, rank)
        finite = np.nan_to_num(rounded, nan=self.low, posinf=self.high, neginf=self.low)
        return np.asarray(np.clip(finite, self.low, self.high), np.int64)

    def dequantize(self, q: npt.NDArray[np.generic]) -> Floats:
        """``(q - zero_point) * scale`` in float32."""
        rank = q.ndim
        centred = q.astype(np.int64) - self._along(self.zero_point, rank).astype(np.int64)
        return np.asarray(centred.astype(np.float32) * self._along(self.scale, rank).astype(np.float32), np.float32)

    def bound(self, real: float) -> int:
        """The integer of one float, infinite ones too."""
        return int(self.quantize(np.array(real, np.float32)))


def read_format(node: Node, source: str, shape: Shape) -> Format:
    """The format that a Quantize or Dequantize node states.

    Args:
        shape: of its tensor.

    Raises:
        ModelFormatError: a contradiction.
    """
    attributes = node.attributes
    scale, zero_point = attributes.get("scale"), attributes.get("zero_point")
    dtype, low, high = attributes.get("dtype"), attributes.get("low"), attributes.get("high")
    axis = attributes.get("axis")
    if not isinstance(scale, tuple) or not isinstance(zero_point, tuple) or not 1 <= len(scale) == len(zero_point):
        raise corrupt(node, "its scales and zero points are not lists of one length")
    if not isinstance(dtype, str):
        raise corrupt(node, "its type is unknown")
    if dtype not in INTEGER_RANGES:
        raise UnsupportedNodeError(f"{dtype} integers", "quantize activations and weights to int8 or uint8")
    least, most = INTEGER_RANGES[dtype]
    for value in (*zero_point, low, high):
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise corrupt(node, f"a zero point or a bound outside {dtype}")
    assert isinstance(low, int) and isinstance(high, int)
    if low > high:
        raise corrupt(node, f"bounds {low} and {high}")
    if axis is None:
        if len(scale) != 1:
            raise corrupt(node, f"{len(scale)} scales without an axis")
    elif isinstance(axis, bool) or not isinstance(axis, int) or not -len(shape) <= axis < len(shape) or (
            shape[axis] != len(scale)):
        raise corrupt(node, f"{len(scale)} scales along axis {axis} of shape {shape}")
    else:
        axis %= len(shape)
    scales, inverses = [], []
    for item in scale:
        if isinstance(item, bool) or not isinstance(item, int | float) or not math.isfinite(item) or item <= 0:
            raise corrupt(node, "a scale that is not positive")
        with np.errstate(all="ignore"):
            rounded, inverse = np.float32(item), np.float32(1 / float(item))
        if not np.isfinite(rounded) or rounded < np.finfo(np.float32).tiny or not np.isfinite(inverse) or not inverse:
            raise corrupt(node, "a scale outside float32")
        scales.append(float(rounded))
        inverses.append(float(inverse))
    return Format(tuple(scales), tuple(inverses), zero_point, axis, dtype, low, high, divides=source == "onnx")


def activation_format(node: Node, source: str, shape: Shape) -> Format:
    """The same for an activation: 8 bits, per tensor.

    Raises:
        ModelFormatError: a contradiction.
        UnsupportedNodeError: other activations.
    """
    form = read_format(node, source, shape)
    if form.dtype not in ACTIVATIONS:
        raise UnsupportedNodeError(f"{form.dtype} activations", "quantize activations to int8 or uint8")
    if len(form.scale) != 1:
        raise UnsupportedNodeError("activations quantized per channel", "quantize activations per tensor")
    return form
