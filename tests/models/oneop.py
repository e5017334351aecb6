"""One-op .tflite models at the corners of every op's attributes, and inputs that reach the corners of their values.

``cases()`` is deterministic: each case draws from a generator seeded by its own id, so adding one changes no other.
Every case loads in LiteRT's reference interpreter. Run as a script to write the files into a folder.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tflite

from tests.models.tflite_writer import TensorSpec, write

Array = npt.NDArray[np.generic]
Pair = tuple[int, int]
Case = tuple[str, bytes]

LOW = {"int8": -128, "uint8": 0}
HIGH = {"int8": 127, "uint8": 255}
MIDDLE = {"int8": 0, "uint8": 128}
ACTIVATION = {name: getattr(tflite.ActivationFunctionType, name) for name in ("NONE", "RELU", "RELU_N1_TO_1", "RELU6")}
PADDING = {"SAME": tflite.Padding.SAME, "VALID": tflite.Padding.VALID}


def cases() -> list[Case]:
    """Every model as ``(id, bytes)``; ids are unique and start with the op."""
    return [
        *_convolutions(), *_depthwise(), *_fully_connected(), *_add(), *_pools(), *_mean(),
        *_moves(), *_concatenation(), *_quantize(), *_softmax(), *_relu(),
    ]


def samples(tensors: Sequence[tuple[tuple[int, ...], str]], seed: int = 0) -> list[list[Array]]:
    """Inputs for a model whose inputs have these ``(shape, dtype)``: extremes, ramps through all values, random.

    Floats range over ``±200`` scales of 1/32 and hold exact ties, infinitesimals and both zeros.
    """
    generator = np.random.default_rng(seed)

    def draw(kind: str, position: int, shape: tuple[int, ...], dtype: str) -> Array:
        size = int(np.prod(shape))
        if dtype == "float32":
            if kind == "random":
                return generator.normal(0, 60, shape).astype(np.float32)
            steps = np.arange(size) - size // 2
            values = steps / 64 if kind == "rising" else np.where(steps % 2, 1e-42, -0.0) + steps * 0.5
            return values.astype(np.float32).reshape(shape)
        low, high = LOW[dtype], HIGH[dtype]
        if kind == "random":
            return generator.integers(low, high + 1, shape).astype(dtype)
        if kind == "extremes":
            return generator.choice([low, low + 1, high - 1, high], shape).astype(dtype)
        ramp = np.arange(size) % 256 + low
        if kind == "crossing" and position % 2:
            ramp = ramp[::-1]
        if kind in ("rising", "crossing"):
            return ramp.astype(dtype).reshape(shape)
        # inputs alternate in "mixed", so that sums and differences both reach their ends
        top = kind == "highest" or (kind == "mixed" and position % 2 == 0)
        return np.full(shape, high if top else low, dtype)

    kinds = ("random", "random", "rising", "crossing", "extremes", "lowest", "highest", "mixed")
    return [[draw(kind, i, shape, dtype) for i, (shape, dtype) in enumerate(tensors)] for kind in kinds]


def _generator(name: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(name.encode()))


def _tensor(shape: tuple[int, ...], dtype: str, scale: float = 0.05, zero_point: int | None = None) -> TensorSpec:
    return TensorSpec(shape, dtype, (scale,), (MIDDLE[dtype] if zero_point is None else zero_point,))


def _scale(generator: np.random.Generator) -> float:
    """A scale with no structure, as a converter's calibration gives."""
    return float(np.float32(np.exp(generator.uniform(np.log(0.002), np.log(0.5)))))


def _out_extent(size: int, kernel: int, stride: int, dilation: int, padding: str) -> int:
    return -(-size // stride) if padding == "SAME" else (size - (kernel - 1) * dilation - 1) // stride + 1


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
    data: Array | None = None,
) -> Case:
    generator = _generator(name)
    x = _tensor(shape, dtype, s_x, z_x)
    weights = _weights(generator, (channels, *kernel, shape[3]), dtype, 0, per_channel and dtype == "int8", s_w, z_w)
    if data is not None:
        weights = TensorSpec(weights.shape, dtype, weights.scale, weights.zero_point, 0, data.reshape(weights.shape))
    fan_in = kernel[0] * kernel[1] * shape[3]
    rows, columns = (_out_extent(shape[1 + i], kernel[i], stride[i], dilation[i], padding) for i in (0, 1))
    out = _tensor((shape[0], rows, columns, channels), dtype,
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
        yield _conv(f"{dtype}-multiplier-above-one", dtype, shape=(1, 16, 16, 1), kernel=(1, 1), s_x=0.3, s_w=0.7,
                    s_out=0.11, bias="zero", data=weights)
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
    x = _tensor(shape, dtype, s_x, z_x)
    weights = _weights(generator, (1, *kernel, channels), dtype, 3, per_channel and dtype == "int8", s_w, z_w)
    rows, columns = (_out_extent(shape[1 + i], kernel[i], stride[i], dilation[i], padding) for i in (0, 1))
    out = _tensor((shape[0], rows, columns, channels), dtype,
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
    x = _tensor(shape, dtype, s_x, z_x)
    weights = _weights(generator, (channels, depth), dtype, 0, per_channel, s_w, z_w)
    if data is not None:
        weights = TensorSpec(weights.shape, dtype, weights.scale, weights.zero_point, 0, data.reshape(weights.shape))
    rows = (int(np.prod(shape)) // depth,)
    out = _tensor((*(shape[:-1] if keep else rows), channels), dtype,
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
        yield _fc(f"{dtype}-near-ties", dtype, shape=(256, 1), channels=3, s_x=0.1, s_w=0.3, s_out=0.06, bias="absent",
                  data=weights)
    yield _fc("int8-per-channel", "int8", per_channel=True)
    yield _fc("int8-per-channel-RELU", "int8", per_channel=True, activation="RELU")
    for zero_point in (0, 255):
        yield _fc(f"uint8-weight-zero-point-{zero_point}", "uint8", z_w=zero_point)


def _sum(
    name: str, dtype: str, first: tuple[int, ...], second: tuple[int, ...] | None, scales: tuple[float, float, float],
    zero_points: tuple[int | None, int | None, int | None] = (None, None, None), activation: str = "NONE",
) -> Case:
    """``second`` None adds the first input to itself."""
    x = _tensor(first, dtype, scales[0], zero_points[0])
    y = x if second is None else _tensor(second, dtype, scales[1], zero_points[1])
    out = _tensor(np.broadcast_shapes(first, y.shape), dtype, scales[2], zero_points[2])
    fields = {"FusedActivationFunction": ACTIVATION[activation], "PotScaleInt16": False}
    return f"ADD-{name}", write("ADD", 2 if dtype == "int8" else 1, [x, y], out, "AddOptions", fields)


def _add() -> Iterator[Case]:
    image = (1, 8, 8, 8)
    for dtype in ("int8", "uint8"):
        low, high = LOW[dtype], HIGH[dtype]
        yield _sum(f"{dtype}", dtype, image, image, (0.0431, 0.0275, 0.0612))
        yield _sum(f"{dtype}-equal-scales", dtype, image, image, (0.05, 0.05, 0.05))
        yield _sum(f"{dtype}-to-itself", dtype, image, None, (0.05, 0.05, 0.1))
        for label, second in (("channels", (8,)), ("rows", (1, 8, 1, 1)), ("scalar", (1, 1, 1, 1)), ("rank0", ())):
            yield _sum(f"{dtype}-broadcast-{label}", dtype, image, second, (0.0431, 0.0275, 0.0612))
        yield _sum(f"{dtype}-broadcast-both", dtype, (1, 8, 1, 4), (1, 1, 6, 4), (0.0431, 0.0275, 0.0612))
        yield _sum(f"{dtype}-first-scale-dominates", dtype, image, image, (1.7, 0.0007, 1.9))
        yield _sum(f"{dtype}-second-scale-dominates", dtype, image, image, (2.0**-20, 0.9, 0.8))
        yield _sum(f"{dtype}-ties", dtype, image, image, (0.5, 0.25, 1.0))
        yield _sum(f"{dtype}-saturating", dtype, image, image, (0.9, 0.7, 0.01))
        yield _sum(f"{dtype}-zero-points", dtype, image, image, (0.04, 0.03, 0.05), (low, high, low))
        yield _sum(f"{dtype}-zero-points-crossed", dtype, image, image, (0.04, 0.03, 0.05), (high, low, high))
        for activation in ("RELU", "RELU6", "RELU_N1_TO_1"):
            yield _sum(f"{dtype}-{activation}", dtype, image, image, (0.0431, 0.0275, 0.0612), activation=activation)


def _pool(
    name: str, kind: str, dtype: str, shape: tuple[int, int, int, int], window: Pair, stride: Pair, padding: str,
    activation: str = "NONE", zero_point: int | None = None,
) -> Case:
    x = _tensor(shape, dtype, 0.047, zero_point)
    rows, columns = (_out_extent(shape[1 + i], window[i], stride[i], 1, padding) for i in (0, 1))
    out = _tensor((shape[0], rows, columns, shape[3]), dtype, 0.047, zero_point)
    fields = {
        "Padding": PADDING[padding], "StrideH": stride[0], "StrideW": stride[1], "FilterHeight": window[0],
        "FilterWidth": window[1], "FusedActivationFunction": ACTIVATION[activation],
    }
    return f"{kind}-{name}", write(kind, 2 if dtype == "int8" else 1, [x], out, "Pool2DOptions", fields)


def _pools() -> Iterator[Case]:
    for kind in ("AVERAGE_POOL_2D", "MAX_POOL_2D"):
        for dtype in ("int8", "uint8"):
            yield _pool(f"{dtype}-halving", kind, dtype, (1, 8, 16, 4), (2, 2), (2, 2), "VALID")
            yield _pool(f"{dtype}-partial-windows", kind, dtype, (1, 7, 8, 5), (3, 3), (2, 2), "SAME")
            yield _pool(f"{dtype}-overlapping", kind, dtype, (2, 6, 7, 3), (3, 2), (1, 1), "SAME")
            yield _pool(f"{dtype}-window-beyond-image", kind, dtype, (1, 3, 4, 6), (5, 7), (1, 2), "SAME")
            yield _pool(f"{dtype}-global", kind, dtype, (1, 7, 7, 16), (7, 7), (7, 7), "VALID")
            yield _pool(f"{dtype}-skipping", kind, dtype, (1, 9, 9, 3), (2, 2), (4, 3), "VALID")
            for activation in ("RELU", "RELU6", "RELU_N1_TO_1"):
                yield _pool(f"{dtype}-{activation}", kind, dtype, (1, 8, 16, 2), (2, 2), (1, 1), "VALID", activation,
                            LOW[dtype] + 20)


def _mean_of(
    name: str, dtype: str, shape: tuple[int, ...], axes: tuple[int, ...], keep: bool, scales: tuple[float, float],
    zero_points: tuple[int | None, int | None] = (None, None),
) -> Case:
    x = _tensor(shape, dtype, scales[0], zero_points[0])
    reduced = {axis % len(shape) for axis in axes}
    kept = tuple(1 if i in reduced else extent for i, extent in enumerate(shape) if keep or i not in reduced)
    axis = TensorSpec((len(axes),), "int32", data=np.array(axes, np.int32))
    out = _tensor(kept, dtype, scales[1], zero_points[1])
    return f"MEAN-{name}", write("MEAN", 2 if dtype == "int8" else 1, [x, axis], out, "ReducerOptions",
                                 {"KeepDims": keep})


def _mean() -> Iterator[Case]:
    for dtype in ("int8", "uint8"):
        low, high = LOW[dtype], HIGH[dtype]
        yield _mean_of(f"{dtype}-image", dtype, (1, 7, 7, 16), (1, 2), True, (0.0235, 0.0117))
        yield _mean_of(f"{dtype}-image-dropped", dtype, (2, 5, 6, 9), (1, 2), False, (0.0235, 0.0117))
        yield _mean_of(f"{dtype}-same-scale", dtype, (1, 4, 4, 32), (1, 2), False, (0.05, 0.05))
        yield _mean_of(f"{dtype}-same-scale-ties", dtype, (1, 2, 1, 256), (1, 2), False, (0.05, 0.05))
        yield _mean_of(f"{dtype}-channels", dtype, (1, 6, 5, 12), (3,), True, (0.0235, 0.031))
        yield _mean_of(f"{dtype}-negative-axes", dtype, (1, 6, 5, 12), (-1, 1), False, (0.0235, 0.031))
        yield _mean_of(f"{dtype}-everything-but-batch", dtype, (2, 3, 5, 7), (1, 2, 3), False, (0.0235, 0.003))
        yield _mean_of(f"{dtype}-one-axis", dtype, (3, 33, 7), (1,), False, (0.0235, 0.02))
        yield _mean_of(f"{dtype}-large", dtype, (1, 64, 63, 2), (2, 1), True, (0.0235, 0.0008))
        yield _mean_of(f"{dtype}-zero-points", dtype, (1, 7, 7, 16), (1, 2), True, (0.02, 0.03), (low, high))
        yield _mean_of(f"{dtype}-zero-points-crossed", dtype, (1, 7, 7, 16), (1, 2), True, (0.03, 0.004), (high, low))


def _moves() -> Iterator[Case]:
    for dtype in ("int8", "uint8"):
        x = _tensor((1, 4, 6, 5), dtype, 0.04, LOW[dtype] + 9)
        for label, target, stated in (
            ("flat", (1, 120), (1, 120)), ("inferred", (4, 30), (4, -1)), ("up", (1, 2, 2, 6, 5), (1, 2, 2, 6, 5)),
        ):
            shape = TensorSpec((len(stated),), "int32", data=np.array(stated, np.int32))
            out = _tensor(target, dtype, 0.04, LOW[dtype] + 9)
            yield f"RESHAPE-{dtype}-{label}", write("RESHAPE", 1, [x, shape], out, "ReshapeOptions")
        for label, shape_in, paddings in (
            ("image", (1, 4, 6, 5), ((0, 0), (1, 2), (3, 0), (0, 0))),
            ("every-axis", (2, 3, 2, 2), ((1, 0), (0, 1), (2, 2), (1, 3))),
            ("matrix", (3, 5), ((0, 2), (1, 0))),
            ("nothing", (1, 4, 6, 5), ((0, 0), (0, 0), (0, 0), (0, 0))),
        ):
            data = np.array(paddings, np.int32)
            extents = tuple(n + a + b for n, (a, b) in zip(shape_in, paddings, strict=True))
            yield f"PAD-{dtype}-{label}", write(
                "PAD", 2 if dtype == "int8" else 1,
                [_tensor(shape_in, dtype, 0.04, LOW[dtype] + 9), TensorSpec(data.shape, "int32", data=data)],
                _tensor(extents, dtype, 0.04, LOW[dtype] + 9), "PadOptions")


def _concatenated(
    name: str, dtype: str, shapes: Sequence[tuple[int, ...]], axis: int, quantization: Sequence[tuple[float, int]],
    target: tuple[float, int],
) -> Case:
    inputs = [_tensor(shape, dtype, *pair) for shape, pair in zip(shapes, quantization, strict=True)]
    extents = list(shapes[0])
    extents[axis] = sum(shape[axis] for shape in shapes)
    fields = {"Axis": axis, "FusedActivationFunction": ACTIVATION["NONE"]}
    version = 2 if dtype == "int8" else 1
    return f"CONCATENATION-{name}", write("CONCATENATION", version, inputs, _tensor(tuple(extents), dtype, *target),
                                          "ConcatenationOptions", fields)


def _concatenation() -> Iterator[Case]:
    for dtype in ("int8", "uint8"):
        same = (0.04, MIDDLE[dtype] + 5)
        yield _concatenated(f"{dtype}-channels", dtype, [(1, 4, 4, 3), (1, 4, 4, 5)], 3, [same] * 2, same)
        yield _concatenated(f"{dtype}-last", dtype, [(2, 3), (2, 1), (2, 7)], -1, [same] * 3, same)
        yield _concatenated(f"{dtype}-rows", dtype, [(1, 2, 5), (1, 3, 5), (1, 1, 5), (1, 4, 5)], 1, [same] * 4, same)
    wide = [(1, 256), (1, 256), (1, 256)]
    yield _concatenated("uint8-rescaled", "uint8", wide, 1, [(0.0431, 100), (0.09, 3), (0.0275, 255)], (0.0612, 120))
    yield _concatenated("uint8-moved-zero-point", "uint8", wide, 1, [(0.05, 10), (0.05, 128), (0.05, 0)], (0.05, 128))
    yield _concatenated("uint8-rescaled-ties", "uint8", wide, 1, [(0.5, 1), (0.25, 7), (2.0, 128)], (1.0, 90))
    yield _concatenated("uint8-rescaled-saturating", "uint8", wide, 1, [(7.0, 0), (1.0, 255), (0.01, 5)], (0.3, 128))


def _quantize() -> Iterator[Case]:
    def requantize(name: str, x: TensorSpec, out: TensorSpec, version: int = 2) -> Case:
        return f"QUANTIZE-{name}", write("QUANTIZE", version, [x], out, "QuantizeOptions")

    every = (4, 64)
    for source in ("int8", "uint8"):
        for target in ("int8", "uint8"):
            x = _tensor(every, source, 0.0431, LOW[source] + 77)
            yield requantize(f"{source}-{target}", x, _tensor(every, target, 0.0612, LOW[target] + 90))
            yield requantize(f"{source}-{target}-finer", x, _tensor(every, target, 0.0071, LOW[target] + 250))
            yield requantize(f"{source}-{target}-coarser-ties", x, _tensor(every, target, 0.0431 * 4))
            yield requantize(f"{source}-{target}-same-scale", _tensor(every, source), _tensor(every, target))
            yield requantize(f"{source}-{target}-ratio-300", x, _tensor(every, target, 0.0431 / 300))
    for target in ("int8", "uint8"):
        real = TensorSpec((4, 200), "float32")
        yield requantize(f"float32-{target}-ties", real, _tensor((4, 200), target, 0.03125))
        yield requantize(f"float32-{target}-odd", real, _tensor((4, 200), target, 0.0431, LOW[target] + 3))
        yield requantize(f"float32-{target}-coarse", real, _tensor((4, 200), target, 1.7, HIGH[target]))
        for label, scale, zero_point in (("", 0.0431, LOW[target] + 77), ("-tiny", 1e-30, HIGH[target])):
            x = _tensor(every, target, scale, zero_point)
            yield (f"DEQUANTIZE-{target}{label}",
                   write("DEQUANTIZE", 2, [x], TensorSpec(every, "float32"), "DequantizeOptions"))


def _softmax() -> Iterator[Case]:
    for dtype in ("int8", "uint8"):
        for label, shape, scale, beta in (
            ("", (4, 64), 0.1, 1.0), ("-beta-half", (4, 64), 0.1, 0.5), ("-beta-10", (4, 64), 0.04, 10.0),
            ("-steep", (4, 64), 2.0, 1.0), ("-flat", (4, 64), 0.0003, 1.0), ("-one", (3, 1), 0.1, 1.0),
            ("-pair", (256, 2), 0.07, 1.0), ("-wide", (1, 511), 0.1, 1.0), ("-image", (1, 3, 4, 12), 0.2, 1.0),
            ("-saturated-multiplier", (4, 64), 40.0, 1.0),
        ):
            out = _tensor(shape, dtype, 1 / 256, LOW[dtype])
            yield (f"SOFTMAX-{dtype}{label}",
                   write("SOFTMAX", 2 if dtype == "int8" else 1, [_tensor(shape, dtype, scale)], out, "SoftmaxOptions",
                         {"Beta": beta}))


def _relu() -> Iterator[Case]:
    for kind in ("RELU", "RELU6"):
        for dtype in ("int8", "uint8"):
            low = LOW[dtype]
            for label, x, out in (
                ("", (0.0431, low + 77), (0.0275, low)), ("-same", (0.0431, low + 77), (0.0431, low + 77)),
                ("-ties", (0.125, low + 64), (0.25, low + 11)), ("-finer", (0.0431, low + 200), (0.0012, low + 40)),
                ("-six-beyond-range", (0.0235, low + 128), (0.01, low)), ("-ratio", (0.1, low + 20), (0.3, low + 3)),
            ):
                yield f"{kind}-{dtype}{label}", write(kind, 2 if dtype == "int8" else 1,
                                                      [_tensor((4, 64), dtype, *x)], _tensor((4, 64), dtype, *out))


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for case, content in cases():
        (folder / f"{case}.tflite").write_bytes(content)
