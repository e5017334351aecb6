"""CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED at the corners of their attributes."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from tests.models.oneop_parts import (
    ACTIVATION,
    HIGH,
    LOW,
    MIDDLE,
    NEARLY_5_PERCENT,
    PADDING,
    Case,
    Pair,
    out_extent,
    tensor,
)
from tests.models.tflite_writer import TensorSpec, write

Array = npt.NDArray[np.generic]


def cases() -> Iterator[Case]:
    """Every linear case."""
    yield from _convolutions()
    yield from _depthwise()
    yield from _fully_connected()
    yield from _transposed()


def _generator(name: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(name.encode()))


def _scale(generator: np.random.Generator) -> float:
    """A scale with no structure, as a converter's calibration gives."""
    return float(np.float32(np.exp(generator.uniform(np.log(0.002), np.log(0.5)))))


def _weights(
    generator: np.random.Generator, shape: tuple[int, ...], dtype: str, axis: int, per_channel: bool,
    scale: float | None, zero_point: int | None,
) -> TensorSpec:
    low = -127 if dtype == "int8" else 0
    data = generator.integers(low, HIGH[dtype] + 1, shape).astype(dtype)
    channels = shape[axis] if per_channel else 1
    scales = tuple(_scale(generator) if scale is None else scale for _ in range(channels))
    zero = MIDDLE[dtype] if zero_point is None else zero_point
    return TensorSpec(shape, dtype, scales, (zero,) * channels, axis, data)


def _bias(generator: np.random.Generator, x: TensorSpec, weights: TensorSpec, channels: int, kind: str) -> TensorSpec:
    """``kind``: ``random``; ``zero``; ``dead``: half of the channels are constant, as trained files really have."""
    values = generator.integers(-8000, 8000, channels) * (kind != "zero")
    if kind == "dead":
        values[::2] = generator.choice([-(2**30), 2**30, 2**31 - 2**26, -(2**31) + 2**26], values[::2].shape)
    scales = tuple(float(np.float32(x.scale[0]) * np.float32(scale)) for scale in weights.scale)
    return TensorSpec((channels,), "int32", scales, (0,) * len(scales), 0, values.astype(np.int32))


def _filling(x: TensorSpec, weights: TensorSpec, fan_in: int) -> float:
    """An output scale at which random inputs fill the output's range and little more."""
    return float(np.float32(x.scale[0] * float(np.median(weights.scale)) * 91 * fan_in**0.5))


def _conv(
    name: str, dtype: str, *, shape: tuple[int, int, int, int] = (1, 7, 6, 3), channels: int = 5, kernel: Pair = (3, 3),
    stride: Pair = (1, 1), dilation: Pair = (1, 1), padding: str = "SAME", activation: str = "NONE",
    per_channel: bool = True, s_x: float = 0.0235, z_x: int | None = None, s_w: float | None = None,
    z_w: int | None = None, s_out: float | None = None, z_out: int | None = None, bias: str = "random",
    data: Array | None = None, groups: int = 1,
) -> Case:
    generator = _generator(name)
    x = tensor(shape, dtype, s_x, z_x)
    depth = shape[3] // groups
    weights = _weights(generator, (channels, *kernel, depth), dtype, 0, per_channel and dtype == "int8", s_w, z_w)
    if data is not None:
        weights = TensorSpec(weights.shape, dtype, weights.scale, weights.zero_point, 0, data.reshape(weights.shape))
    fan_in = kernel[0] * kernel[1] * depth
    rows, columns = (out_extent(shape[1 + i], kernel[i], stride[i], dilation[i], padding) for i in (0, 1))
    out = tensor((shape[0], rows, columns, channels), dtype,
                  _filling(x, weights, fan_in) if s_out is None else s_out, z_out)
    # LiteRT's quantized CONV_2D insists on a bias
    inputs = [x, weights, _bias(generator, x, weights, channels, bias)]
    fields = {
        "Padding": PADDING[padding], "StrideH": stride[0], "StrideW": stride[1], "DilationHFactor": dilation[0],
        "DilationWFactor": dilation[1], "FusedActivationFunction": ACTIVATION[activation],
    }
    version = 3 if dtype == "int8" else 2 if dilation != (1, 1) else 1
    return f"CONV_2D-{name}", write("CONV_2D", version, inputs, out, "Conv2DOptions", fields)


def _convolutions() -> Iterator[Case]:
    every = np.array([1, -1, 2, -2, 3])
    for dtype in ("int8", "uint8"):
        extreme = HIGH[dtype]
        yield _conv(f"{dtype}-same", dtype)
        yield _conv(f"{dtype}-valid", dtype, padding="VALID")
        yield _conv(f"{dtype}-stride2-same", dtype, stride=(2, 2))
        yield _conv(f"{dtype}-stride23-valid", dtype, stride=(2, 3), padding="VALID")
        yield _conv(f"{dtype}-dilated", dtype, dilation=(2, 2), kernel=(2, 3))
        yield _conv(f"{dtype}-dilated-valid", dtype, dilation=(3, 1), kernel=(3, 2), padding="VALID")
        yield _conv(f"{dtype}-wide-kernel-same", dtype, kernel=(5, 9), stride=(2, 1))
        yield _conv(f"{dtype}-pointwise-batch2", dtype, kernel=(1, 1), shape=(2, 4, 4, 8))
        for activation in ("RELU", "RELU6", "RELU_N1_TO_1"):
            yield _conv(f"{dtype}-{activation}", dtype, activation=activation, z_out=LOW[dtype] + 17)
        yield _conv(f"{dtype}-RELU6-inside", dtype, activation="RELU6", s_out=0.09, s_w=0.004, z_out=LOW[dtype])
        yield _conv(f"{dtype}-dead-channels", dtype, bias="dead", activation="RELU")
        yield _conv(f"{dtype}-dead-channels-linear", dtype, bias="dead")
        yield _conv(f"{dtype}-zero-points-high", dtype, z_x=extreme, z_out=extreme)
        yield _conv(f"{dtype}-zero-points-low", dtype, z_x=LOW[dtype], z_out=LOW[dtype])
        yield _conv(f"{dtype}-saturating", dtype, s_w=0.5, s_out=0.01)
        yield _conv(f"{dtype}-tiny-multiplier", dtype, s_w=2.0**-14, s_out=3.0, z_out=1)
        # multipliers 1/2, 1/4, ...: every second, fourth, ... accumulator is an exact tie
        weights = (every + MIDDLE[dtype]).astype(dtype)
        for bits in (0, 1, 2, 5):
            yield _conv(f"{dtype}-ties-{bits}", dtype, shape=(1, 16, 16, 1), kernel=(1, 1), s_x=0.5, s_w=0.5,
                        s_out=0.25 * 2.0**bits, bias="zero", data=weights)
        yield _conv(f"{dtype}-ties-odd-zero-point", dtype, shape=(1, 16, 16, 1), kernel=(1, 1), s_x=0.5, s_w=0.5,
                    s_out=0.5, z_x=LOW[dtype] + 3, z_out=LOW[dtype] + 101, bias="zero", data=weights)
        yield _conv(f"{dtype}-near-ties", dtype, shape=(1, 16, 16, 1), kernel=(1, 1), s_x=NEARLY_5_PERCENT, s_w=0.1,
                    s_out=0.01, bias="zero", data=weights)
        yield _conv(f"{dtype}-multiplier-above-one", dtype, shape=(1, 16, 16, 1), kernel=(1, 1), s_x=0.3, s_w=0.7,
                    s_out=0.11, bias="zero", data=weights)
        six = (1, 7, 6, 6)
        yield _conv(f"{dtype}-groups", dtype, shape=six, channels=9, groups=3)
        yield _conv(f"{dtype}-groups-of-one", dtype, shape=six, channels=12, groups=6, kernel=(3, 2))
        yield _conv(f"{dtype}-groups-stride23", dtype, shape=(2, 7, 8, 8), channels=4, groups=2, stride=(2, 3),
                    padding="VALID", activation="RELU", z_out=LOW[dtype] + 17)
        yield _conv(f"{dtype}-groups-dilated-rows", dtype, shape=six, channels=4, groups=2, dilation=(2, 1))
        yield _conv(f"{dtype}-groups-dilated-columns", dtype, shape=six, channels=4, groups=2, dilation=(1, 2))
        yield _conv(f"{dtype}-groups-dilated", dtype, shape=six, channels=4, groups=2, dilation=(2, 2), z_x=extreme)
        yield _conv(f"{dtype}-groups-pointwise", dtype, shape=six, channels=4, groups=2, kernel=(1, 1))
    yield _conv("int8-per-tensor", "int8", per_channel=False)
    yield _conv("int8-per-tensor-RELU6", "int8", per_channel=False, activation="RELU6")
    for zero_point in (0, 1, 255):
        yield _conv(f"uint8-weight-zero-point-{zero_point}", "uint8", z_w=zero_point)


def _depth(
    name: str, dtype: str, *, shape: tuple[int, int, int, int] = (1, 7, 6, 3), multiplier: int = 1,
    kernel: Pair = (3, 3), stride: Pair = (1, 1), dilation: Pair = (1, 1), padding: str = "SAME",
    activation: str = "NONE", per_channel: bool = True, s_x: float = 0.0235, z_x: int | None = None,
    s_w: float | None = None, z_w: int | None = None, s_out: float | None = None, z_out: int | None = None,
    bias: str = "random",
) -> Case:
    generator = _generator(name)
    channels = shape[3] * multiplier
    x = tensor(shape, dtype, s_x, z_x)
    weights = _weights(generator, (1, *kernel, channels), dtype, 3, per_channel and dtype == "int8", s_w, z_w)
    rows, columns = (out_extent(shape[1 + i], kernel[i], stride[i], dilation[i], padding) for i in (0, 1))
    out = tensor((shape[0], rows, columns, channels), dtype,
                  _filling(x, weights, kernel[0] * kernel[1]) if s_out is None else s_out, z_out)
    inputs = [x, weights] + ([] if bias == "absent" else [_bias(generator, x, weights, channels, bias)])
    fields = {
        "Padding": PADDING[padding], "StrideH": stride[0], "StrideW": stride[1], "DilationHFactor": dilation[0],
        "DilationWFactor": dilation[1], "DepthMultiplier": multiplier,
        "FusedActivationFunction": ACTIVATION[activation],
    }
    version = 3 if dtype == "int8" else 2 if dilation != (1, 1) else 1
    return (f"DEPTHWISE_CONV_2D-{name}",
            write("DEPTHWISE_CONV_2D", version, inputs, out, "DepthwiseConv2DOptions", fields))


def _depthwise() -> Iterator[Case]:
    for dtype in ("int8", "uint8"):
        yield _depth(f"{dtype}-same", dtype)
        yield _depth(f"{dtype}-valid-stride2", dtype, padding="VALID", stride=(2, 2))
        yield _depth(f"{dtype}-same-stride2-batch2", dtype, shape=(2, 5, 8, 4), stride=(2, 2), kernel=(5, 3))
        yield _depth(f"{dtype}-dilated", dtype, dilation=(2, 3))
        yield _depth(f"{dtype}-multiplier2", dtype, multiplier=2)
        yield _depth(f"{dtype}-one-channel-multiplier8", dtype, shape=(1, 9, 8, 1), multiplier=8, kernel=(4, 4),
                     stride=(2, 2), activation="RELU")
        for activation in ("RELU", "RELU6", "RELU_N1_TO_1"):
            yield _depth(f"{dtype}-{activation}", dtype, activation=activation, z_out=LOW[dtype] + 30)
        yield _depth(f"{dtype}-no-bias", dtype, bias="absent")
        yield _depth(f"{dtype}-dead-channels", dtype, bias="dead", activation="RELU6", shape=(1, 5, 5, 8))
        yield _depth(f"{dtype}-zero-points", dtype, z_x=HIGH[dtype], z_out=LOW[dtype])
        yield _depth(f"{dtype}-ties", dtype, kernel=(1, 1), shape=(1, 16, 16, 3), s_x=0.5, s_w=0.25, s_out=8.0,
                     bias="absent")
    yield _depth("int8-per-tensor", "int8", per_channel=False)
    for zero_point in (0, 255):
        yield _depth(f"uint8-weight-zero-point-{zero_point}", "uint8", z_w=zero_point)


def _fc(
    name: str, dtype: str, *, shape: tuple[int, ...] = (2, 40), channels: int = 9, activation: str = "NONE",
    keep: bool = False, per_channel: bool = False, s_x: float = 0.0235, z_x: int | None = None,
    s_w: float | None = None, z_w: int | None = None, s_out: float | None = None, z_out: int | None = None,
    bias: str = "random", fan_in: int | None = None, data: Array | None = None,
) -> Case:
    generator = _generator(name)
    depth = shape[-1] if fan_in is None else fan_in
    x = tensor(shape, dtype, s_x, z_x)
    weights = _weights(generator, (channels, depth), dtype, 0, per_channel, s_w, z_w)
    if data is not None:
        weights = TensorSpec(weights.shape, dtype, weights.scale, weights.zero_point, 0, data.reshape(weights.shape))
    rows = (int(np.prod(shape)) // depth,)
    out = tensor((*(shape[:-1] if keep else rows), channels), dtype,
                  _filling(x, weights, depth) if s_out is None else s_out, z_out)
    inputs: list[TensorSpec | None] = [x, weights]
    inputs.append(None if bias == "absent" else _bias(generator, x, weights, channels, bias))
    fields = {"FusedActivationFunction": ACTIVATION[activation], "KeepNumDims": keep}
    version = 5 if keep else 4 if dtype == "int8" else 1
    return f"FULLY_CONNECTED-{name}", write("FULLY_CONNECTED", version, inputs, out, "FullyConnectedOptions", fields)


def _fully_connected() -> Iterator[Case]:
    signs = np.array([1, -1, 3])
    for dtype in ("int8", "uint8"):
        yield _fc(f"{dtype}", dtype)
        yield _fc(f"{dtype}-flattens", dtype, shape=(2, 2, 3, 5), fan_in=30)
        yield _fc(f"{dtype}-keeps-dimensions", dtype, shape=(2, 3, 7), keep=True)
        for activation in ("RELU", "RELU6", "RELU_N1_TO_1"):
            yield _fc(f"{dtype}-{activation}", dtype, activation=activation, z_out=LOW[dtype] + 60)
        yield _fc(f"{dtype}-no-bias", dtype, bias="absent")
        yield _fc(f"{dtype}-dead-channels", dtype, bias="dead")
        yield _fc(f"{dtype}-zero-points", dtype, z_x=LOW[dtype], z_out=HIGH[dtype])
        yield _fc(f"{dtype}-saturating", dtype, s_w=0.5, s_out=0.01)
        weights = (signs + MIDDLE[dtype]).astype(dtype)
        for bits in (0, 1, 3):
            yield _fc(f"{dtype}-ties-{bits}", dtype, shape=(256, 1), channels=3, s_x=0.5, s_w=0.5,
                      s_out=0.25 * 2.0**bits, bias="absent", data=weights)
        yield _fc(f"{dtype}-near-ties", dtype, shape=(256, 1), channels=3, s_x=NEARLY_5_PERCENT, s_w=0.1, s_out=0.01,
                  bias="absent", data=weights)
    yield _fc("int8-per-channel", "int8", per_channel=True)
    yield _fc("int8-per-channel-RELU", "int8", per_channel=True, activation="RELU")
    for zero_point in (0, 255):
        yield _fc(f"uint8-weight-zero-point-{zero_point}", "uint8", z_w=zero_point)


def _transpose_conv(
    name: str, dtype: str, *, shape: tuple[int, int, int, int] = (1, 4, 5, 3), channels: int = 4, kernel: Pair = (3, 3),
    stride: Pair = (2, 2), padding: str = "SAME", out: Pair | None = None, activation: str = "NONE",
    per_channel: bool = True, z_x: int | None = None, z_w: int | None = None, z_out: int | None = None,
    bias: str = "random",
) -> Case:
    generator = _generator(name)
    x = tensor(shape, dtype, 0.0235, z_x)
    weights = _weights(generator, (channels, *kernel, shape[3]), dtype, 0, per_channel and dtype == "int8", None, z_w)
    grown = (extent * step if padding == "SAME" else (extent - 1) * step + cells
             for extent, step, cells in zip(shape[1:3], stride, kernel, strict=True))
    target = (shape[0], *(out or grown), channels)
    output = tensor(target, dtype, _filling(x, weights, int(np.prod(kernel)) * shape[3]), z_out)
    stated = TensorSpec((4,), "int32", data=np.array(target, np.int32))
    inputs: list[TensorSpec | None] = [stated, weights, x]
    if bias != "absent":
        inputs.append(_bias(generator, x, weights, channels, bias))
    fields = {"Padding": PADDING[padding], "StrideH": stride[0], "StrideW": stride[1],
              "FusedActivationFunction": ACTIVATION[activation]}
    version = 4 if activation != "NONE" else 1 if bias == "absent" and dtype == "uint8" else 3
    return f"TRANSPOSE_CONV-{name}", write("TRANSPOSE_CONV", version, inputs, output, "TransposeConvOptions", fields)


def _transposed() -> Iterator[Case]:
    for dtype in ("int8", "uint8"):
        low, high = LOW[dtype], HIGH[dtype]
        yield _transpose_conv(f"{dtype}", dtype)
        yield _transpose_conv(f"{dtype}-valid", dtype, padding="VALID")
        yield _transpose_conv(f"{dtype}-stride-1", dtype, stride=(1, 1))
        yield _transpose_conv(f"{dtype}-uneven", dtype, shape=(2, 3, 4, 2), kernel=(2, 4), stride=(1, 3))
        yield _transpose_conv(f"{dtype}-gaps", dtype, kernel=(1, 2), stride=(3, 4), bias="absent")
        yield _transpose_conv(f"{dtype}-odd-output", dtype, kernel=(4, 4), out=(7, 9))
        yield _transpose_conv(f"{dtype}-zero-points", dtype, z_x=low, z_out=high)
        yield _transpose_conv(f"{dtype}-zero-points-crossed", dtype, z_x=high, z_out=low)
        yield _transpose_conv(f"{dtype}-dead-channels", dtype, bias="dead", channels=8)
        yield _transpose_conv(f"{dtype}-RELU6", dtype, activation="RELU6", z_out=low + 40)
    yield _transpose_conv("int8-per-tensor", "int8", per_channel=False)
    yield _transpose_conv("uint8-weight-zero-point", "uint8", z_w=3)
