"""Small one-operator .tflite files for the importer's tests: tensors by their role, and a few operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tflite

from mpc_bridge.importers.tflite import load
from tests.models.tflite_writer import TensorSpec, write

Attributes = Mapping[str, Any]
INT32 = np.int32


def activation(*shape: int, dtype: str = "int8", scale: float = 0.5, zero: int = 0) -> TensorSpec:
    return TensorSpec(shape, dtype, (scale,), (zero,))


def weights(
    *shape: int, dtype: str = "int8", scale: Sequence[float] = (0.25,), zero: int = 0, axis: int = 0
) -> TensorSpec:
    data = np.ones(shape, dtype)
    return TensorSpec(shape, dtype, tuple(scale), (zero,) * len(scale), axis, data)


def public(values: npt.ArrayLike, dtype: str = "int32") -> TensorSpec:
    data = np.array(values, dtype)
    return TensorSpec(data.shape, dtype, data=data)


def attributes(data: bytes, profile: str = "litert") -> Attributes:
    (op,) = load(data, profile).ops
    return op.attributes


def convolution(x: TensorSpec, kernel: TensorSpec, output: TensorSpec, **fields: int) -> bytes:
    fields = {
        "StrideH": 1,
        "StrideW": 1,
        "DilationHFactor": 1,
        "DilationWFactor": 1,
        "Padding": tflite.Padding.SAME,
    } | fields
    return write("CONV_2D", 3, [x, kernel, None], output, "Conv2DOptions", fields)


def sliced(begin: Sequence[int], end: Sequence[int], strides: Sequence[int], out: TensorSpec, **fields: int) -> bytes:
    inputs = [activation(4, 5), public(begin), public(end), public(strides)]
    return write("STRIDED_SLICE", 1, inputs, out, "StridedSliceOptions", fields)


def squeezed(axes: Sequence[int], out: tuple[int, ...]) -> bytes:
    """A SQUEEZE of shape [1, 3, 1]."""
    return write("SQUEEZE", 1, [activation(1, 3, 1)], activation(*out), "SqueezeOptions", {"SqueezeDims": axes})
