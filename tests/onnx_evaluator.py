"""What a neutral graph means in float32, with torch's operators: a second opinion on what a reader wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from mpc_bridge.importers.qdq.graph import Graph, Node

Array = npt.NDArray[Any]

_UNARY = {"Relu": torch.relu, "Sigmoid": torch.sigmoid, "Tanh": torch.tanh, "HardSwish": F.hardswish, "Silu": F.silu,
          "Neg": torch.neg, "Abs": torch.abs, "Sqrt": torch.sqrt, "Exp": torch.exp}
_BINARY = {"MatMul": torch.matmul, "Add": torch.add, "Sub": torch.sub, "Mul": torch.mul, "Div": torch.div,
           "Maximum": torch.maximum, "Minimum": torch.minimum}


def evaluate(graph: Graph, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Every tensor of the graph, by name."""
    values: dict[str, torch.Tensor] = {"": None}  # type: ignore[dict-item]
    for name, array in {**graph.constants, **inputs}.items():
        values[name] = torch.from_numpy(np.array(array))
    for port in graph.inputs:
        assert tuple(values[port.name].shape) == port.shape
    for node in graph.nodes:
        results = _node(node, [values[name] for name in node.inputs])
        for name, result in zip(node.outputs, results, strict=True):
            assert name not in values
            values[name] = result
    return {name: value.numpy() for name, value in values.items() if name}


def _channels(values: Any, axis: int | None, rank: int, dtype: torch.dtype) -> torch.Tensor:
    tensor = torch.tensor(values, dtype=dtype)
    return tensor.reshape([-1 if position == axis else 1 for position in range(rank)]) if axis is not None else tensor


def _padded(x: torch.Tensor, padding: Any, value: float) -> torch.Tensor:
    flat = [cells for pair in reversed(padding) for cells in pair]
    return F.pad(x, flat, value=value)


def _node(node: Node, x: list[torch.Tensor]) -> list[torch.Tensor]:
    a: Any = node.attributes
    kind = node.kind
    if kind in ("Quantize", "Dequantize"):
        scale = _channels(a["scale"], a["axis"], x[0].ndim, torch.float32)
        zero = _channels(a["zero_point"], a["axis"], x[0].ndim, torch.int64)
        if kind == "Dequantize":
            assert str(x[0].dtype) == f"torch.{a['dtype']}"
            return [(x[0].to(torch.int64) - zero).float() * scale]
        assert x[0].dtype == torch.float32
        return [(torch.round(x[0] / scale) + zero).clamp(a["low"], a["high"]).to(getattr(torch, a["dtype"]))]
    assert all(t is None or t.dtype == torch.float32 for t in x), (kind, [t.dtype for t in x])
    if kind in _UNARY:
        return [_UNARY[kind](x[0])]
    if kind in _BINARY:
        return [_BINARY[kind](x[0], x[1])]
    if kind == "Conv":
        function = F.conv1d if x[0].ndim == 3 else F.conv2d
        return [function(_padded(x[0], a["padding"], 0.0), x[1], x[2], a["stride"], 0, a["dilation"], a["groups"])]
    if kind == "ConvTranspose":
        function = F.conv_transpose1d if x[0].ndim == 3 else F.conv_transpose2d
        begin = [pair[0] for pair in a["padding"]]
        extra = [more + before - after for more, (before, after) in zip(a["output_padding"], a["padding"], strict=True)]
        if min(extra) < 0:
            full = function(x[0], x[1], x[2], a["stride"], 0, 0, a["groups"], a["dilation"])
            for axis, (pair, more) in enumerate(zip(a["padding"], a["output_padding"], strict=True)):
                assert more == 0
                full = full.narrow(2 + axis, pair[0], full.shape[2 + axis] - sum(pair))
            return [full]
        return [function(x[0], x[1], x[2], a["stride"], begin, extra, a["groups"], a["dilation"])]
    if kind == "Linear":
        return [F.linear(x[0], x[1], x[2])]
    if kind == "Gelu":
        return [F.gelu(x[0], approximate=a["approximate"])]
    if kind == "LeakyRelu":
        return [F.leaky_relu(x[0], a["alpha"])]
    if kind == "Elu":
        return [F.elu(x[0], a["alpha"])]
    if kind == "HardSigmoid":
        return [(a["alpha"] * x[0] + a["beta"]).clamp(0, 1)]
    if kind == "Clip":
        return [x[0].clamp(a["low"], a["high"])]
    if kind == "PRelu":
        return [torch.where(x[0] >= 0, x[0], x[0] * x[1])]
    if kind == "Softmax":
        return [(F.log_softmax if a["log"] else F.softmax)(x[0], a["axis"])]
    if kind == "MaxPool":
        function = F.max_pool1d if x[0].ndim == 3 else F.max_pool2d
        padded = _padded(x[0], a["padding"], -torch.inf)
        result = function(padded, a["window"], a["stride"], 0, a["dilation"], a["ceil_mode"])
        assert torch.isfinite(result).all()
        return [result]
    if kind == "AvgPool":
        function = F.avg_pool1d if x[0].ndim == 3 else F.avg_pool2d
        assert a["divisor"] == 0 and all(before == after for before, after in a["padding"])
        begin = tuple(pair[0] for pair in a["padding"])
        return [function(x[0], a["window"], a["stride"], begin, a["ceil_mode"], a["count_include_pad"])]
    if kind == "AdaptiveAvgPool":
        return [(F.adaptive_avg_pool1d if x[0].ndim == 3 else F.adaptive_avg_pool2d)(x[0], a["size"])]
    if kind == "AdaptiveMaxPool":
        return [(F.adaptive_max_pool1d if x[0].ndim == 3 else F.adaptive_max_pool2d)(x[0], a["size"])]
    if kind == "Mean":
        return [x[0].mean(a["axes"], a["keep_dims"])]
    if kind in ("ReduceMax", "ReduceMin"):
        return [(torch.amax if kind == "ReduceMax" else torch.amin)(x[0], a["axes"], a["keep_dims"])]
    if kind == "ArgMax":
        return [torch.argmax(x[0], a["axis"], a["keep_dims"])]
    if kind == "Reshape":
        return [x[0].reshape(a["shape"])]
    if kind == "Transpose":
        return [x[0].permute(a["permutation"])]
    if kind == "Squeeze":
        return [x[0].squeeze(a["axes"])]
    if kind == "Unsqueeze":
        for axis in a["axes"]:
            x[0] = x[0].unsqueeze(axis)
        return [x[0]]
    if kind == "Flatten":
        return [x[0].flatten(a["start"], a["end"])]
    if kind == "Concat":
        return [torch.cat(x, a["axis"])]
    if kind == "Split":
        return list(torch.split(x[0], a["sizes"], a["axis"]))
    if kind == "Slice":
        return [x[0].index_select(a["axis"], torch.arange(a["start"], a["end"], a["step"]))]
    if kind == "Select":
        return [x[0].select(a["axis"], a["index"])]
    if kind == "Tile":
        return [x[0].tile(a["multiples"])]
    if kind == "Expand":
        return [x[0].expand(a["shape"]).contiguous()]
    if kind == "Pad":
        if a["mode"] == "constant":
            return [_padded(x[0], a["paddings"], a["value"])]
        return [torch.from_numpy(np.pad(x[0].numpy(), a["paddings"], mode="reflect"))]
    if kind == "ResizeNearest":
        assert not a["align_corners"]
        mode = "nearest-exact" if a["half_pixel_centers"] else "nearest"
        return [F.interpolate(x[0], a["size"], mode=mode)]
    if kind == "ResizeBilinear":
        assert a["align_corners"] or a["half_pixel_centers"]
        return [F.interpolate(x[0], a["size"], mode="bilinear", align_corners=a["align_corners"])]
    if kind in ("DepthToSpace", "SpaceToDepth"):
        n, c, h, w = x[0].shape
        b = a["block"]
        if kind == "SpaceToDepth":
            return [x[0].reshape(n, c, h // b, b, w // b, b).permute(0, 3, 5, 1, 2, 4).reshape(n, -1, h // b, w // b)]
        if a["order"] == "CRD":
            return [F.pixel_shuffle(x[0], b)]
        return [x[0].reshape(n, b, b, -1, h, w).permute(0, 3, 4, 1, 5, 2).reshape(n, -1, h * b, w * b)]
    assert kind == "BatchNorm", kind
    return [F.batch_norm(x[0], x[3], x[4], x[1], x[2], eps=a["epsilon"])]
