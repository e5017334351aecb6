"""Quantize and dequantize, of PT2E graphs (``quantized_decomposed``)."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from mpc_bridge.importers.pytorch.site import Site
from mpc_bridge.importers.qdq.graph import Value

_RANGES = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-(2**15), 2**15 - 1), "int32": (-(2**31), 2**31 - 1)}


def _scalar(site: Site, name: str) -> float | int:
    """A number that may also be stored as a tensor of one element."""
    value = site.get(name)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    stored = site.stored(site.tensor(name))
    if stored is None:
        site.refuse(f"its {name} is computed from the input (dynamic quantization)")
    if stored.size != 1:
        site.wrong(f"{name} is no single number")
    number = stored.reshape(-1)[0].item()
    return int(number) if stored.dtype.kind in "iu" else float(number)


def _parameters(site: Site, scale: tuple[float, ...], zero_point: tuple[int, ...],
                axis: int | None) -> dict[str, Value]:
    dtype = site.get("dtype")
    if not isinstance(dtype, str) or dtype not in _RANGES:
        site.refuse(f"integers of type {dtype}; int8 and uint8 are read")
    low, high = _RANGES[dtype]
    least, most = _scalar(site, "quant_min"), _scalar(site, "quant_max")
    if not (isinstance(least, int) and isinstance(most, int) and low <= least < most <= high):
        site.wrong("quant_min and quant_max do not fit the element type")
    if not scale or any(not (math.isfinite(value) and value > 0) for value in scale):
        site.wrong("a scale is not a positive number")
    if len(zero_point) != len(scale) or any(not low <= value <= high for value in zero_point):
        site.wrong("the zero points do not fit the scales or the element type")
    if site.get("out_dtype") not in (None, "float32"):
        site.refuse(f"it dequantizes to {site.get('out_dtype')}; float32 is read")
    return {"scale": scale, "zero_point": zero_point, "axis": axis, "dtype": dtype, "low": least, "high": most}


def _per_tensor(site: Site) -> dict[str, Value]:
    zero_point = _scalar(site, "zero_point")
    if not isinstance(zero_point, int):
        site.wrong("the zero point is no integer")
    return _parameters(site, (float(_scalar(site, "scale")),), (zero_point,), None)


def _per_channel(site: Site, tensor: str) -> dict[str, Value]:
    scales = site.stored(site.tensor("scales"))
    if scales is None or scales.ndim != 1 or scales.dtype.kind != "f":
        site.refuse("its scales are not stored in the file (dynamic quantization)")
    points: npt.NDArray[np.generic] | None = np.zeros(scales.shape, np.int64)
    if site.get("zero_points") is not None:
        points = site.stored(site.tensor("zero_points"))
    if points is None or points.shape != scales.shape or points.dtype.kind not in "iu":
        site.wrong("the zero points do not fit the scales")
    shape = site.shape(tensor)
    axis = site.axis("axis", len(shape))
    if not shape or shape[axis] != scales.size:
        site.wrong("the scales do not fit the tensor's axis")
    return _parameters(site, tuple(float(value) for value in scales.tolist()),
                       tuple(int(value) for value in points.tolist()), axis)


def _quantize(site: Site, tensor: str, parameters: dict[str, Value]) -> None:
    stored = site.stored(tensor)
    if stored is None:
        site.emit("Quantize", (tensor,), parameters=parameters)
        return
    if stored.dtype != np.float32:
        site.refuse("it quantizes a stored tensor that is not float32")
    site.charge(stored.nbytes)
    site.state.constants[site.call.outputs[0]] = quantized(stored, parameters)


def quantized(value: npt.NDArray[np.generic], parameters: dict[str, Value]) -> npt.NDArray[np.generic]:
    """A stored float32 tensor as PT2E quantizes it: ``clamp(rne(x * (1 / scale)) + zero_point)`` in float32.

    Per channel the inverse of a float32 scale is a float32; per tensor it is a double, rounded to float32.
    """
    scale, points, axis = parameters["scale"], parameters["zero_point"], parameters["axis"]
    assert isinstance(scale, tuple) and isinstance(points, tuple)
    shape = [1] * value.ndim
    if isinstance(axis, int):
        shape[axis] = len(scale)
        inverse = np.float32(1) / np.array(scale, np.float32).reshape(shape)
    else:
        inverse = np.array([1.0 / scale[0]], np.float64).astype(np.float32).reshape(shape)
    with np.errstate(all="ignore"):
        rounded = np.round(value.astype(np.float32) * inverse) + np.array(points, np.float32).reshape(shape)
        clamped = np.clip(np.nan_to_num(rounded, nan=0.0), parameters["low"], parameters["high"])
    integers: npt.NDArray[np.generic] = clamped.astype(str(parameters["dtype"]))
    return integers


def _dequantize(site: Site, tensor: str, parameters: dict[str, Value]) -> None:
    if site.meta(tensor).dtype != parameters["dtype"]:
        site.wrong("it dequantizes another element type")
    site.emit("Dequantize", (tensor,), parameters=parameters)


def quantize_per_tensor(site: Site) -> None:
    """``quantize_per_tensor(input, scale, zero_point, quant_min, quant_max, dtype)``."""
    _quantize(site, site.tensor("input"), _per_tensor(site))


def quantize_per_channel(site: Site) -> None:
    """``quantize_per_channel(input, scales, zero_points, axis, quant_min, quant_max, dtype)``."""
    tensor = site.tensor("input")
    _quantize(site, tensor, _per_channel(site, tensor))


def dequantize_per_tensor(site: Site) -> None:
    """``dequantize_per_tensor(input, scale, zero_point, quant_min, quant_max, dtype)``."""
    _dequantize(site, site.tensor("input"), _per_tensor(site))


def dequantize_per_channel(site: Site) -> None:
    """``dequantize_per_channel(input, scales, zero_points, axis, quant_min, quant_max, dtype)``."""
    tensor = site.tensor("input")
    _dequantize(site, tensor, _per_channel(site, tensor))


OPERATORS = {
    "quantized_decomposed.quantize_per_tensor.default": quantize_per_tensor,
    "quantized_decomposed.quantize_per_tensor.tensor": quantize_per_tensor,
    "quantized_decomposed.quantize_per_tensor.tensor2": quantize_per_tensor,
    "quantized_decomposed.dequantize_per_tensor.default": dequantize_per_tensor,
    "quantized_decomposed.dequantize_per_tensor.tensor": dequantize_per_tensor,
    "quantized_decomposed.dequantize_per_tensor.tensor2": dequantize_per_tensor,
    "quantized_decomposed.quantize_per_channel.default": quantize_per_channel,
    "quantized_decomposed.dequantize_per_channel.default": dequantize_per_channel,
}
