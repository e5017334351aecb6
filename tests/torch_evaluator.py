"""Runs a neutral graph with torch's own functions: a second meaning of every kind, for tests of readers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional

from mpc_bridge.importers.qdq.graph import Graph, Node

_DTYPES = {"int8": torch.int8, "uint8": torch.uint8, "int32": torch.int32}


def evaluate(graph: Graph, *inputs: torch.Tensor) -> list[torch.Tensor]:
    """The outputs of a graph; quantize and dequantize in float32 as torch's decomposed reference does them."""
    values: dict[str, Any] = {"": None}
    values |= {name: torch.from_numpy(np.array(array)) for name, array in graph.constants.items()}
    for port, tensor in zip(graph.inputs, inputs, strict=True):
        assert tuple(tensor.shape) == port.shape
        values[port.name] = tensor
    for node in graph.nodes:
        results = _run(node, [values[name] for name in node.inputs])
        values.update(zip(node.outputs, results, strict=True))
    return [values[name] for name in graph.outputs]


def _run(node: Node, x: list[Any]) -> list[torch.Tensor]:
    a: dict[str, Any] = dict(node.attributes)
    if node.kind == "Split":
        return list(torch.split(x[0], list(a["sizes"]), a["axis"]))
    return [_KINDS[node.kind](a, *x)]


def _quantize(a: dict[str, Any], x: torch.Tensor) -> torch.Tensor:
    assert a["axis"] is None
    rounded = torch.round(x * (1.0 / a["scale"][0])) + a["zero_point"][0]
    return torch.clamp(rounded, a["low"], a["high"]).to(_DTYPES[a["dtype"]])


def _dequantize(a: dict[str, Any], x: torch.Tensor) -> torch.Tensor:
    assert x.dtype == _DTYPES[a["dtype"]]
    if a["axis"] is None:
        return (x.to(torch.float32) - a["zero_point"][0]) * a["scale"][0]
    shape = [1] * x.ndim
    shape[a["axis"]] = len(a["scale"])
    points = torch.tensor(a["zero_point"]).reshape(shape)
    return (x - points).to(torch.float32) * torch.tensor(a["scale"], dtype=torch.float32).reshape(shape)


def _conv(a: dict[str, Any], x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    flat = [amount for pair in reversed(a["padding"]) for amount in pair]
    run = functional.conv1d if x.ndim == 3 else functional.conv2d
    return run(functional.pad(x, flat), weight, bias, a["stride"], 0, a["dilation"], a["groups"])


def _conv_transpose(a: dict[str, Any], x: torch.Tensor, weight: torch.Tensor,
                    bias: torch.Tensor | None) -> torch.Tensor:
    run = functional.conv_transpose1d if x.ndim == 3 else functional.conv_transpose2d
    assert all(before == after for before, after in a["padding"])
    return run(x, weight, bias, a["stride"], tuple(pair[0] for pair in a["padding"]), a["output_padding"], a["groups"],
               a["dilation"])


def _max_pool(a: dict[str, Any], x: torch.Tensor) -> torch.Tensor:
    run = functional.max_pool1d if x.ndim == 3 else functional.max_pool2d
    return run(x, a["window"], a["stride"], [pair[0] for pair in a["padding"]], a["dilation"], a["ceil_mode"])


def _avg_pool(a: dict[str, Any], x: torch.Tensor) -> torch.Tensor:
    padding = [pair[0] for pair in a["padding"]]
    if x.ndim == 3:
        assert not a["divisor"]
        return functional.avg_pool1d(x, a["window"], a["stride"], padding, a["ceil_mode"], a["count_include_pad"])
    return functional.avg_pool2d(x, a["window"], a["stride"], padding, a["ceil_mode"], a["count_include_pad"],
                                 a["divisor"] or None)


def _adaptive(one: Any, two: Any) -> Callable[[dict[str, Any], torch.Tensor], torch.Tensor]:
    return lambda a, x: (one if x.ndim == 3 else two)(x, a["size"])


def _pad(a: dict[str, Any], x: torch.Tensor) -> torch.Tensor:
    pairs = list(a["paddings"])
    while a["mode"] == "reflect" and len(pairs) > x.ndim - 2:
        assert pairs.pop(0) == (0, 0)  # torch reflects spatial axes alone
    flat = [amount for pair in reversed(pairs) for amount in pair]
    if a["mode"] == "reflect":
        return functional.pad(x, flat, mode="reflect")
    return functional.pad(x, flat, value=a["value"])


def _resize(mode: str) -> Callable[[dict[str, Any], torch.Tensor], torch.Tensor]:
    def run(a: dict[str, Any], x: torch.Tensor) -> torch.Tensor:
        corners = a["align_corners"] if mode == "bilinear" else None
        assert a["half_pixel_centers"] == (mode == "bilinear" and not corners)
        return functional.interpolate(x, a["size"], mode=mode, align_corners=corners)
    return run


def _slice(a: dict[str, Any], x: torch.Tensor) -> torch.Tensor:
    return x[(slice(None),) * a["axis"] + (slice(a["start"], a["end"], a["step"]),)]


def _clip(a: dict[str, Any], x: torch.Tensor) -> torch.Tensor:
    return torch.clamp(x, None if a["low"] == -math.inf else a["low"], None if a["high"] == math.inf else a["high"])


_KINDS: dict[str, Callable[..., torch.Tensor]] = {
    "Quantize": _quantize, "Dequantize": _dequantize, "Conv": _conv, "ConvTranspose": _conv_transpose,
    "Linear": lambda a, x, weight, bias: functional.linear(x, weight, bias),
    "MatMul": lambda a, x, y: x @ y,
    "Add": lambda a, x, y: x + y, "Sub": lambda a, x, y: x - y, "Mul": lambda a, x, y: x * y,
    "Div": lambda a, x, y: x / y, "Maximum": lambda a, x, y: torch.maximum(x, y),
    "Minimum": lambda a, x, y: torch.minimum(x, y),
    "Relu": lambda a, x: torch.relu(x), "Sigmoid": lambda a, x: torch.sigmoid(x), "Tanh": lambda a, x: torch.tanh(x),
    "HardSwish": lambda a, x: functional.hardswish(x), "Silu": lambda a, x: functional.silu(x),
    "Neg": lambda a, x: -x, "Abs": lambda a, x: torch.abs(x), "Sqrt": lambda a, x: torch.sqrt(x),
    "Exp": lambda a, x: torch.exp(x), "Gelu": lambda a, x: functional.gelu(x, approximate=a["approximate"]),
    "LeakyRelu": lambda a, x: functional.leaky_relu(x, a["alpha"]), "Elu": lambda a, x: functional.elu(x, a["alpha"]),
    "HardSigmoid": lambda a, x: torch.clamp(x * a["alpha"] + a["beta"], 0, 1), "Clip": _clip,
    "PRelu": lambda a, x, slope: torch.where(x > 0, x, x * slope),
    "Softmax": lambda a, x: functional.log_softmax(x, a["axis"]) if a["log"] else functional.softmax(x, a["axis"]),
    "MaxPool": _max_pool, "AvgPool": _avg_pool,
    "AdaptiveAvgPool": _adaptive(functional.adaptive_avg_pool1d, functional.adaptive_avg_pool2d),
    "AdaptiveMaxPool": _adaptive(functional.adaptive_max_pool1d, functional.adaptive_max_pool2d),
    "Mean": lambda a, x: x.mean(a["axes"], keepdim=a["keep_dims"]),
    "ReduceMax": lambda a, x: torch.amax(x, a["axes"], keepdim=a["keep_dims"]),
    "ReduceMin": lambda a, x: torch.amin(x, a["axes"], keepdim=a["keep_dims"]),
    "ArgMax": lambda a, x: torch.argmax(x, a["axis"], keepdim=a["keep_dims"]),
    "Reshape": lambda a, x: x.reshape(a["shape"]), "Transpose": lambda a, x: x.permute(a["permutation"]),
    "Squeeze": lambda a, x: torch.squeeze(x, a["axes"]), "Unsqueeze": lambda a, x: torch.unsqueeze(x, *a["axes"]),
    "Concat": lambda a, *x: torch.cat(x, a["axis"]), "Stack": lambda a, *x: torch.stack(x, a["axis"]),
    "Slice": _slice, "Select": lambda a, x: torch.select(x, a["axis"], a["index"]),
    "Tile": lambda a, x: x.repeat(a["multiples"]), "Expand": lambda a, x: x.expand(a["shape"]), "Pad": _pad,
    "ResizeNearest": _resize("nearest"), "ResizeBilinear": _resize("bilinear"),
    "DepthToSpace": lambda a, x: functional.pixel_shuffle(x, a["block"]),
    "SpaceToDepth": lambda a, x: functional.pixel_unshuffle(x, a["block"]),
    "BatchNorm": lambda a, x, scale, bias, mean, variance: functional.batch_norm(x, mean, variance, scale, bias,
                                                                                 eps=a["epsilon"]),
}
