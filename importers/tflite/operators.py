"""One function per supported operator: from the file's operands and options to the circuit's attributes.

The attributes' exact meaning is in :mod:`mpc_bridge.circuit.ops`; the circuit's verifier checks shapes afterwards.
"""

from __future__ import annotations

from collections.abc import Callable

from mpc_bridge.circuit.graph import Attribute
from mpc_bridge.circuit.ops import BY_NAME
from mpc_bridge.importers.tflite import functions, moves, products, schema
from mpc_bridge.importers.tflite.parse import FileTensor
from mpc_bridge.importers.tflite.scales import (
    convolution_multipliers,
    per_tensor_multiplier,
)
from mpc_bridge.importers.tflite.site import Node, Site, UnsupportedOperatorError

#: How far TFLite shifts ADD's 8-bit inputs left before it rescales them.
_ADD_LEFT_SHIFT = 20


def _dilated(window: tuple[int, int], dilation: tuple[int, int]) -> tuple[int, int]:
    return (window[0] - 1) * dilation[0] + 1, (window[1] - 1) * dilation[1] + 1


def _image(site: Site, tensor: FileTensor) -> tuple[int, int]:
    if len(tensor.shape) != 4 or 0 in tensor.shape:
        raise site.corrupt(f"its input has the shape {tensor.shape}")
    return tensor.shape[1], tensor.shape[2]


def _fixed_point_multipliers(x: FileTensor, weights: FileTensor, output: FileTensor) -> tuple[float, ...]:
    if x.dtype == "uint8":
        return (per_tensor_multiplier(x.scale[0], weights.scale[0], output.scale[0]),)
    return convolution_multipliers(x.scale[0], weights.scale, output.scale[0])


def _convolution(site: Site, depthwise: bool) -> Node:
    site.operands(2, 3)
    x, output = site.activation(0), site.output()
    site.same_dtype(x, output)
    weights = site.weights(1, x.dtype, axis=3 if depthwise else 0, rank=4)
    image = _image(site, x)
    slots: type[schema.Conv2DOptions] | type[schema.DepthwiseConv2DOptions]
    if depthwise:
        slots = schema.DepthwiseConv2DOptions
        options = site.options(schema.Options.DepthwiseConv2DOptions)
        channels = weights.shape[3]
        if channels == 0 or channels % x.shape[3] or weights.shape[0] != 1:
            raise site.corrupt(f"weights of shape {weights.shape} on an input of shape {x.shape}")
    else:
        slots = schema.Conv2DOptions
        options = site.options(schema.Options.Conv2DOptions)
        channels = weights.shape[0]
        if weights.shape[3] != x.shape[3]:
            depth = weights.shape[3]
            if depth == 0 or x.shape[3] % depth or channels % (x.shape[3] // depth):
                raise site.corrupt(f"weights of shape {weights.shape} on an input of shape {x.shape}")
    bias = site.bias(2, channels)
    stride = site.steps(options, slots.StrideH, slots.StrideW)
    dilation = site.steps(options, slots.DilationHFactor, slots.DilationWFactor, default=1)
    window = _dilated((weights.shape[1], weights.shape[2]), dilation)
    node = Node((x.index, weights.index, bias), {
        "stride": stride,
        "dilation": dilation,
        "padding": site.padding(options, slots.Padding, image, window, stride),
        "requantization": site.requantization("mbqm", _fixed_point_multipliers(x, weights, output),
                                              site.fused(options, slots.FusedActivationFunction, output)),
    })
    if depthwise:
        node.attributes["depth_multiplier"] = channels // x.shape[3]
    return node


def _conv_2d(site: Site) -> Node:
    return _convolution(site, depthwise=False)


def _depthwise_conv_2d(site: Site) -> Node:
    return _convolution(site, depthwise=True)


def _transpose_conv(site: Site) -> Node:
    # its first input is the output's shape
    site.operands(3, 4)
    x, output = site.activation(2), site.output()
    site.same_dtype(x, output)
    weights = site.weights(1, x.dtype, axis=0, rank=4)
    _image(site, x)
    if weights.shape[3] != x.shape[3] or 0 in weights.shape:
        raise site.corrupt(f"weights of shape {weights.shape} on an input of shape {x.shape}")
    if tuple(site.public_integers(0).reshape(-1).tolist()) != output.shape or len(output.shape) != 4:
        raise site.corrupt(f"its output's shape is not {output.shape}")
    options, slots = site.options(schema.Options.TransposeConvOptions), schema.TransposeConvOptions
    stride, window = site.steps(options, slots.StrideH, slots.StrideW), (weights.shape[1], weights.shape[2])
    # the padding of the convolution from the output to the input
    (top, _), (left, _) = site.padding(options, slots.Padding, _image(site, output), window, stride)
    return Node((x.index, weights.index, site.bias(3, weights.shape[0])), {
        "stride": stride,
        "origin": (top, left),
        "requantization": site.requantization("mbqm", _fixed_point_multipliers(x, weights, output),
                                              site.fused(options, slots.FusedActivationFunction, output)),
    })


def _fully_connected(site: Site) -> Node:
    site.operands(2, 3)
    x, output = site.activation(0), site.output()
    site.same_dtype(x, output)
    weights = site.weights(1, x.dtype, axis=0, rank=2)
    options = site.options(schema.Options.FullyConnectedOptions)
    if options.integer(schema.FullyConnectedOptions.WeightsFormat, "b"):
        raise UnsupportedOperatorError("shuffled weights")
    if site.profile == "litert":
        rule = "float64_half_away"
        multipliers = convolution_multipliers(x.scale[0], weights.scale, output.scale[0])
    else:
        rule = "mbqm"
        multipliers = (convolution_multipliers(x.scale[0], weights.scale, output.scale[0]) if len(weights.scale) > 1
                       else (per_tensor_multiplier(x.scale[0], weights.scale[0], output.scale[0]),))
    bounds = site.fused(options, schema.FullyConnectedOptions.FusedActivationFunction, output)
    return Node((x.index, weights.index, site.bias(2, weights.shape[0])), {
        "keep_num_dims": bool(options.integer(schema.FullyConnectedOptions.KeepNumDims, "?")),
        "requantization": site.requantization(rule, multipliers, bounds),
    })


def _add(site: Site) -> Node:
    site.operands(2, 2)
    a, b, output = site.activation(0, constant_allowed=True), site.activation(1, constant_allowed=True), site.output()
    site.same_dtype(a, b, output)
    slots = schema.SubOptions if site.operator.kind == "SUB" else schema.AddOptions
    options = site.options(schema.Options[slots.__name__])
    twice = 2 * max(a.scale[0], b.scale[0])
    inputs = (a.scale[0] / twice, b.scale[0] / twice)
    if not all(0 < multiplier < 1 for multiplier in inputs):
        raise UnsupportedOperatorError("scales whose ratio is outside (0, 1)")
    multiplier = twice / (2**_ADD_LEFT_SHIFT * output.scale[0])
    return Node((a.index, b.index), {
        "left_shift": _ADD_LEFT_SHIFT,
        "input_multipliers": inputs,
        # QuantizeMultiplierSmallerThanOneExp stops the framework's process at 1 and above
        "requantization": site.requantization(
            "mbqm", (multiplier,), site.fused(options, slots.FusedActivationFunction, output), below=1.0),
    })


def _maximum(site: Site) -> Node:
    site.operands(2, 2)
    a, b, output = site.activation(0, constant_allowed=True), site.activation(1, constant_allowed=True), site.output()
    site.same_dtype(a, b, output)
    return Node((a.index, b.index), {})


def _arg_max(site: Site) -> Node:
    site.operands(2, 2)
    x, output = site.activation(0), site.model.tensors[site.operator.outputs[0]]
    if output.dtype not in ("int32", "int64"):
        raise site.corrupt(f"its output has the type {output.dtype}")
    axes = site.public_integers(1).reshape(-1).tolist()
    if len(axes) != 1:
        raise site.corrupt(f"it has {len(axes)} axes")
    return Node((x.index,), {"axis": site.axis(axes[0], len(x.shape))})


def _pool(site: Site) -> Node:
    site.operands(1, 1)
    x, output = site.activation(0), site.output()
    site.same_dtype(x, output)
    options = site.options(schema.Options.Pool2DOptions)
    slots = schema.Pool2DOptions
    window = site.steps(options, slots.FilterHeight, slots.FilterWidth)
    stride = site.steps(options, slots.StrideH, slots.StrideW)
    return Node((x.index,), {
        "window": window,
        "stride": stride,
        "padding": site.padding(options, slots.Padding, _image(site, x), window, stride),
        "bounds": site.fused(options, slots.FusedActivationFunction, output),
    })


def _reduced(site: Site) -> tuple[FileTensor, FileTensor, dict[str, Attribute]]:
    """Input and output of a reduction, and its attributes."""
    site.operands(2, 2)
    x, output = site.activation(0), site.output()
    site.same_dtype(x, output)
    rank = len(x.shape)
    axes = site.public_integers(1).reshape(-1).tolist()
    if not axes:
        raise UnsupportedOperatorError("no axes")
    if not all(-rank <= axis < rank for axis in axes):
        raise site.corrupt(f"axes {axes} of an input of shape {x.shape}")
    options = site.options(schema.Options.ReducerOptions)
    return x, output, {
        "axes": tuple(sorted({int(axis) % rank for axis in axes})),
        "keep_dims": bool(options.integer(schema.ReducerOptions.KeepDims, "?")),
    }


def _mean(site: Site) -> Node:
    x, output, attributes = _reduced(site)
    attributes["requantization"] = site.requantization(
        "mbqm", (x.scale[0] / output.scale[0],), site.bounds("NONE", output))
    return Node((x.index,), attributes)


def _reduce_max(site: Site) -> Node:
    x, output, attributes = _reduced(site)
    if (x.scale, x.zero_point) != (output.scale, output.zero_point):
        raise UnsupportedOperatorError("an input quantized differently from the output")
    return Node((x.index,), attributes)


def _concatenation(site: Site) -> Node:
    site.operands(1, 4096)
    most = BY_NAME["CONCATENATION"].inputs[1]
    if len(site.operator.inputs) > most:
        raise UnsupportedOperatorError(f"more than {most} inputs")
    inputs = [site.activation(position) for position in range(len(site.operator.inputs))]
    output = site.output()
    site.same_dtype(*inputs, output)
    options = site.options(schema.Options.ConcatenationOptions)
    if options.integer(schema.ConcatenationOptions.FusedActivationFunction, "b"):
        raise UnsupportedOperatorError("a fused activation")
    rank = len(output.shape)
    axis = options.integer(schema.ConcatenationOptions.Axis, "i")
    if not -rank <= axis < rank:
        raise site.corrupt(f"axis {axis} of an output of shape {output.shape}")
    own = (output.scale, output.zero_point)
    if output.dtype == "int8" and any((x.scale, x.zero_point) != own for x in inputs):
        raise UnsupportedOperatorError("int8 inputs quantized differently from the output")
    return Node(tuple(x.index for x in inputs), {"axis": axis % rank})


def _quantize(site: Site) -> Node:
    site.operands(1, 1)
    x, output = site.required(0), site.output()
    bounds = site.bounds("NONE", output)
    if x.dtype == "float32":
        if x.index not in site.model.inputs:
            raise UnsupportedOperatorError("float32 tensors inside the model")
        return Node((x.index,), {"requantization": site.requantization("float32_divide", output.scale, bounds)})
    x = site.activation(0)
    return Node((x.index,), {
        "requantization": site.requantization("mbqm", (x.scale[0] / output.scale[0],), bounds)})


def _dequantize(site: Site) -> Node:
    site.operands(1, 1)
    x, output = site.activation(0), site.model.tensors[site.operator.outputs[0]]
    if output.dtype != "float32":
        raise UnsupportedOperatorError(f"{output.dtype} tensors")
    return Node((x.index,), {})


#: Operator → its conversion.
CONVERSIONS: dict[str, Callable[[Site], Node | tuple[Node, ...]]] = {
    "CONV_2D": _conv_2d,
    "DEPTHWISE_CONV_2D": _depthwise_conv_2d,
    "FULLY_CONNECTED": _fully_connected,
    "TRANSPOSE_CONV": _transpose_conv,
    "ADD": _add,
    "SUB": _add,
    "AVERAGE_POOL_2D": _pool,
    "MAX_POOL_2D": _pool,
    "MAXIMUM": _maximum,
    "MINIMUM": _maximum,
    "ARG_MAX": _arg_max,
    "MEAN": _mean,
    "REDUCE_MAX": _reduce_max,
    "REDUCE_MIN": _reduce_max,
    **moves.CONVERSIONS,
    **products.CONVERSIONS,
    "CONCATENATION": _concatenation,
    "QUANTIZE": _quantize,
    "DEQUANTIZE": _dequantize,
    **functions.CONVERSIONS,
}
