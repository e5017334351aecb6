"""QOperator nodes, which hold the scales of what they read and write: each becomes Dequantize, the op, Quantize.

``QLinearConv``, ``QLinearMatMul``, ``QuantizeLinear`` and ``DequantizeLinear`` are ONNX's own; the others are
onnxruntime's (domain ``com.microsoft``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from mpc_bridge.importers.onnx import layers, moves, pointwise
from mpc_bridge.importers.onnx.build import Activation, Constant, Quantization, Stored, UnsupportedNodeError
from mpc_bridge.importers.onnx.fold import FoldError, quantize
from mpc_bridge.importers.onnx.proto import dtype_name
from mpc_bridge.importers.onnx.site import ACTIVATION_DTYPES, Site


def _no_blocks(site: Site) -> None:
    if site.integer("block_size", 0):
        raise UnsupportedNodeError("blockwise quantization")


def _quantize(site: Site) -> None:
    site.count(2, 3)
    _no_blocks(site)
    if site.integer("precision", 0) not in (0, 1):
        raise UnsupportedNodeError("a division in another precision than float32")
    number, zeros = site.integer("output_dtype", 0), site.constant(2)
    dtype = dtype_name(number) if number else zeros.dtype.name if zeros is not None else "uint8"
    value, axis = site.real(0), site.integer("axis", 1)
    if isinstance(value, Stored):
        raise UnsupportedNodeError("stored integers that are quantized again")
    shape = value.shape if isinstance(value, Activation) else tuple(value.array.shape)
    quantization = site.quantization(1, 2, dtype, shape, axis)
    name = site.node.outputs[0]
    if isinstance(value, Activation):
        if dtype not in ACTIVATION_DTYPES:
            raise UnsupportedNodeError(f"activations quantized to {dtype}")
        site.results[0] = site.builder.quantized(value, quantization, name)
        return
    site.builder.charge(value.array.nbytes)
    try:
        integers = quantize(value.array, np.array(quantization.scale, np.float32),
                            np.array(quantization.zero_point, dtype), quantization.axis or 0)
    except FoldError as error:
        raise site.corrupt(str(error)) from error
    site.alias(Constant(name, integers))


def _dequantize(site: Site) -> None:
    site.count(2, 3)
    _no_blocks(site)
    if site.integer("output_dtype", 1) not in (0, 1):
        raise UnsupportedNodeError("dequantization to another type than float32")
    site.alias(site.dequantize(0, 1, 2, site.integer("axis", 1)))


def _input(site: Site, position: int, axis: int = 0) -> Activation:
    """The activation at ``position``, whose scale and zero point follow it, as reals."""
    value = site.dequantize(position, position + 1, position + 2, axis)
    if not isinstance(value, Activation):
        raise UnsupportedNodeError("a constant in place of an activation")
    return value


def _bias(site: Site, position: int, x: float, weights: Quantization) -> Stored | None:
    """An int32 bias at accumulator scale."""
    value = site.operand(position)
    if value is None:
        return None
    if not isinstance(value, Constant) or value.array.dtype.name != "int32":
        raise UnsupportedNodeError("a bias that is not a stored int32 tensor")
    scale = tuple(float(np.float32(x) * np.float32(entry)) for entry in weights.scale)
    if not all(entry > 0 for entry in scale):
        raise site.corrupt("scales whose product is not a positive number")
    axis = None if len(scale) == 1 else 0
    if axis == 0 and value.array.shape[-1:] != (len(scale),):
        raise site.corrupt(f"a bias of shape {value.array.shape} for {len(scale)} channels")
    axis = None if axis is None else value.array.ndim - 1
    return Stored(f"{value.name}.real", value.array, Quantization(scale, (0,) * len(scale), axis, "int32"))


def _stored(site: Site, position: int, axis: int) -> Stored:
    """Stored integers at ``position``, whose scale and zero point follow them."""
    value = site.dequantize(position, position + 1, position + 2, axis)
    if not isinstance(value, Stored):
        raise UnsupportedNodeError("weights that are computed when the model runs")
    return value


def _scale(site: Site, position: int) -> float:
    scale = site.scalar(position)
    if scale is None:
        raise site.corrupt(f"input {position} is missing")
    return scale


def _conv(site: Site) -> None:
    site.count(8, 9)
    x, weights = _input(site, 0), _stored(site, 3, 0)
    site.quantize_to(6, 7)
    layers.convolve(site, x, weights, _bias(site, 8, _scale(site, 1), weights.quantization))


def _matmul(site: Site) -> None:
    site.count(8, 8)
    a = _input(site, 0)
    b = site.dequantize(3, 4, 5, -1)
    site.quantize_to(6, 7)
    layers.multiply(site, a, b)


def _gemm(site: Site) -> None:
    site.count(6, 9)
    a = _input(site, 0)
    b = site.dequantize(3, 4, 5, 0 if site.integer("transB", 0) else 1)
    alpha = site.number("alpha", 1.0)
    c = None
    if site.operand(6) is not None:
        if not isinstance(b, Stored):
            raise UnsupportedNodeError("a bias with two activations")
        scaled = layers.scaled(site, b, alpha)
        assert isinstance(scaled, Stored)
        c = _bias(site, 6, _scale(site, 1), scaled.quantization)
    if site.operand(7) is not None:
        site.quantize_to(7, 8)
    layers.gemm(site, a, b, c, alpha, 1.0)


def _two(kind: str) -> Callable[[Site], None]:
    def convert(site: Site) -> None:
        site.count(7, 8)
        a, b = site.dequantize(0, 1, 2), site.dequantize(3, 4, 5)
        site.quantize_to(6, 7)
        pointwise.binary(site, kind, a, b)
    return convert


def _average_pool(site: Site) -> None:
    layers.average_pool(site, _one(site))


def _global_average_pool(site: Site) -> None:
    layers.global_pool(site, _one(site), "AdaptiveAvgPool")


def _one(site: Site) -> Activation:
    """The only activation; results are quantized with the next two inputs."""
    site.count(4, 5)
    if site.integer("channels_last", 0):
        raise UnsupportedNodeError("channels last: save the model before onnxruntime optimizes it")
    x = _input(site, 0)
    site.quantize_to(3, 4, _dtype(site))
    return x


def _dtype(site: Site) -> str:
    """Type of the first input, which is that of the results."""
    value = site.required(0)
    return value.dtype if isinstance(value, Activation) else "uint8"


def _sigmoid(site: Site) -> None:
    pointwise.unary(site, _one(site), "Sigmoid")


def _leaky_relu(site: Site) -> None:
    pointwise.unary(site, _one(site), "LeakyRelu", {"alpha": site.number("alpha", 0.01)})


def _softmax(site: Site) -> None:
    x = _one(site)
    if site.integer("opset", 13) < 13 and site.integer("axis", -1) not in (-1, len(x.shape) - 1):
        raise UnsupportedNodeError("a softmax over several axes")
    pointwise.softmax(site, x, False)


def _concat(site: Site) -> None:
    site.count(5, 4097)
    if (len(site.operands) - 2) % 3:
        raise site.corrupt(f"it has {len(site.operands)} inputs")
    parts = [site.dequantize(position, position + 1, position + 2) for position in range(2, len(site.operands), 3)]
    site.quantize_to(0, 1)
    moves.concatenate(site, parts, site.integer("axis", 0))


QUANTIZATION: Mapping[str, Callable[[Site], None]] = {"QuantizeLinear": _quantize, "DequantizeLinear": _dequantize}

STANDARD: Mapping[str, Callable[[Site], None]] = {
    **QUANTIZATION, "QLinearConv": _conv, "QLinearMatMul": _matmul,
}

MICROSOFT: Mapping[str, Callable[[Site], None]] = {
    **QUANTIZATION, "QGemm": _gemm, "QLinearAdd": _two("Add"), "QLinearMul": _two("Mul"),
    "QLinearAveragePool": _average_pool, "QLinearGlobalAveragePool": _global_average_pool,
    "QLinearSigmoid": _sigmoid, "QLinearLeakyRelu": _leaky_relu,
    "QLinearSoftmax": _softmax, "QLinearConcat": _concat, "Gelu": pointwise.POINTWISE["Gelu"],
}
