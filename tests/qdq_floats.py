"""A small interpreter of the neutral float graph, in double, and what builds such graphs by hand.

It shares nothing with the converter: convolutions and pools are loops over output cells, in the frameworks' layout.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mpc_bridge.importers.qdq.graph import Graph, Node, Port

Array = npt.NDArray[Any]
RANGES = {"int8": (-128, 127), "uint8": (0, 255), "int32": (-(2**31), 2**31 - 1)}


class Net:
    """A graph under construction; methods return tensor names."""

    def __init__(self, source: str = "pytorch", profile: str = "", seed: int = 0) -> None:
        self.source = source
        self.profile = profile or source
        self.rng = np.random.default_rng(seed)
        self.ports: list[Port] = []
        self.nodes: list[Node] = []
        self.constants: dict[str, Array] = {}
        self._names = itertools.count()

    def name(self) -> str:
        return f"t{next(self._names)}"

    def node(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        names = tuple(self.name() for _ in range(outputs))
        self.nodes.append(Node(kind, f"{kind}_{names[0]}", inputs, names, attributes))
        return names[0] if outputs == 1 else names

    def const(self, array: Any, dtype: Any = np.float32) -> str:
        name = self.name()
        self.constants[name] = np.asarray(array, dtype)
        return name

    def _format(self, scale: Any, zero_point: Any, dtype: str, axis: int | None = None) -> dict[str, Any]:
        scales = tuple(float(np.float32(item)) for item in np.atleast_1d(scale))
        zeros = tuple(int(item) for item in np.broadcast_to(zero_point, len(scales)))
        low, high = RANGES[dtype]
        return {"scale": scales, "zero_point": zeros, "axis": axis, "dtype": dtype, "low": low, "high": high}

    def quantize(self, x: str, scale: Any, zero_point: Any = 0, dtype: str = "int8", axis: int | None = None) -> str:
        return str(self.node("Quantize", x, **self._format(scale, zero_point, dtype, axis)))

    def dequantize(self, x: str, scale: Any, zero_point: Any = 0, dtype: str = "int8", axis: int | None = None) -> str:
        return str(self.node("Dequantize", x, **self._format(scale, zero_point, dtype, axis)))

    def input(self, shape: Sequence[int], scale: float = 0.0, zero_point: int | None = None,
              dtype: str = "int8") -> str:
        """Integers that come from outside, dequantized."""
        name = self.name()
        self.ports.append(Port(name, tuple(shape), dtype))
        zero = self.zero(dtype) if zero_point is None else zero_point
        return self.dequantize(name, scale or self.scale(), zero, dtype)

    def scale(self, low: float = 0.01, high: float = 0.1) -> float:
        return float(np.float32(self.rng.uniform(low, high)))

    def zero(self, dtype: str) -> int:
        return int(self.rng.integers(RANGES[dtype][0] // 3, RANGES[dtype][1] // 3 + 1))

    def weights(self, shape: Sequence[int], axis: int | None = 0, dtype: str = "int8", zero_point: Any = 0) -> str:
        """Stored integers, dequantized per channel along ``axis``."""
        low, high = RANGES[dtype]
        count = 1 if axis is None else shape[axis]
        stored = self.const(self.rng.integers(low, high + 1, shape), dtype)
        return self.dequantize(stored, self.rng.uniform(0.001, 0.01, count), zero_point, dtype, axis)

    def graph(self, *outputs: str) -> Graph:
        return Graph("net", self.source, self.profile, tuple(self.ports), outputs, tuple(self.nodes), self.constants)

    def integers(self, count: int = 1) -> list[list[Array]]:
        """Random inputs, ``count`` times."""
        return [[self.rng.integers(RANGES[port.dtype][0], RANGES[port.dtype][1] + 1, port.shape).astype(port.dtype)
                 if port.dtype in RANGES else self.rng.normal(size=port.shape).astype(np.float32)
                 for port in self.ports] for _ in range(count)]


class Floats:
    """One evaluation. ``margins``: how far from a tie every element of a Quantize was, in steps."""

    def __init__(self, graph: Graph, inputs: Sequence[Array]) -> None:
        self.values: dict[str, Array] = dict(graph.constants)
        self.margins: dict[str, Array] = {}
        self.values.update({port.name: x for port, x in zip(graph.inputs, inputs, strict=True)})
        for node in graph.nodes:
            arguments = [self.values[name] if name else None for name in node.inputs]
            results = self._run(node, arguments)
            self.values.update(zip(node.outputs, results if isinstance(results, list) else [results], strict=True))

    def _run(self, node: Node, x: list[Any]) -> Any:
        a: Mapping[str, Any] = node.attributes
        kind = node.kind
        if kind in ("Quantize", "Dequantize"):
            along = [-1 if axis == a["axis"] else 1 for axis in range(x[0].ndim)]
            scale = np.array(a["scale"]).reshape(along)
            zero = np.array(a["zero_point"]).reshape(along)
            if kind == "Dequantize":
                return (x[0].astype(np.float64) - zero) * scale
            steps = x[0].astype(np.float64) / scale
            inside = (steps + zero > a["low"] - 1) & (steps + zero < a["high"] + 1)
            self.margins[node.outputs[0]] = np.where(inside, np.abs(steps - np.floor(steps) - 0.5), np.inf)
            return np.clip(np.rint(steps) + zero, a["low"], a["high"]).astype(a["dtype"])
        if kind == "Split":
            return np.split(x[0], np.cumsum(a["sizes"])[:-1], a["axis"])
        if kind in _SIMPLE:
            return _SIMPLE[kind](x, a)
        return _MORE[kind](x, a)


def _conv(x: list[Any], a: Mapping[str, Any]) -> Array:
    spatial = len(a["stride"])
    padded = np.pad(x[0], ((0, 0), (0, 0), *a["padding"]))
    weights, groups = x[1], a["groups"]
    reach = [(cells - 1) * apart + 1 for cells, apart in zip(weights.shape[2:], a["dilation"], strict=True)]
    counts = [(extent - far) // step + 1
              for extent, far, step in zip(padded.shape[2:], reach, a["stride"], strict=True)]
    out = np.zeros((x[0].shape[0], weights.shape[0], *counts))
    per = weights.shape[0] // groups
    for cell in itertools.product(*map(range, counts)):
        window = padded[(slice(None), slice(None), *(
            slice(i * step, i * step + far, apart)
            for i, step, far, apart in zip(cell, a["stride"], reach, a["dilation"], strict=True)))]
        for group in range(groups):
            part = window[:, group * weights.shape[1]:(group + 1) * weights.shape[1]]
            own = weights[group * per:(group + 1) * per]
            out[(slice(None), slice(group * per, (group + 1) * per), *cell)] = np.tensordot(
                part, own, (tuple(range(1, spatial + 2)), tuple(range(1, spatial + 2))))
    return out if len(x) < 3 or x[2] is None else out + x[2].reshape(-1, *(1,) * spatial)


def _conv_transpose(x: list[Any], a: Mapping[str, Any]) -> Array:
    weights, spatial = x[1], len(a["stride"])
    full = [(extent - 1) * step + (cells - 1) * apart + 1 + more for extent, step, cells, apart, more in zip(
        x[0].shape[2:], a["stride"], weights.shape[2:], a["dilation"], a["output_padding"], strict=True)]
    groups = a["groups"]
    inputs, outputs = weights.shape[0] // groups, weights.shape[1]
    out = np.zeros((x[0].shape[0], outputs * groups, *full))
    for cell in itertools.product(*map(range, x[0].shape[2:])):
        for tap in itertools.product(*map(range, weights.shape[2:])):
            where = tuple(i * step + k * apart for i, step, k, apart in zip(
                cell, a["stride"], tap, a["dilation"], strict=True))
            for group in range(groups):
                part = slice(group * inputs, (group + 1) * inputs)
                out[(slice(None), slice(group * outputs, (group + 1) * outputs), *where)] += (
                    x[0][(slice(None), part, *cell)] @ weights[(part, slice(None), *tap)])
    out = out[(slice(None), slice(None), *(
        slice(before, extent - after) for (before, after), extent in zip(a["padding"], full, strict=True)))]
    return out if len(x) < 3 or x[2] is None else out + x[2].reshape(-1, *(1,) * spatial)


def _pool(x: list[Any], a: Mapping[str, Any], average: bool) -> Array:
    image = x[0].shape[2:]
    counts = []
    for extent, cells, step, (before, after) in zip(image, a["window"], a["stride"], a["padding"], strict=True):
        room = extent + before + after - cells
        count = (math.ceil(room / step) if a["ceil_mode"] else math.floor(room / step)) + 1
        if a["ceil_mode"] and (count - 1) * step >= extent + before:
            count -= 1
        counts.append(count)
    out = np.zeros((*x[0].shape[:2], *counts))
    for cell in itertools.product(*map(range, counts)):
        inside, counted = [], 1
        for i, extent, cells, step, (before, after) in zip(
                cell, image, a["window"], a["stride"], a["padding"], strict=True):
            start, end = i * step - before, min(i * step - before + cells, extent + after)
            inside.append(slice(max(start, 0), min(end, extent)))
            counted *= end - start if average and a["count_include_pad"] else min(end, extent) - max(start, 0)
        window = x[0][(slice(None), slice(None), *inside)]
        axes = tuple(range(2, window.ndim))
        where = (slice(None), slice(None), *cell)
        out[where] = window.sum(axes) / (a["divisor"] or counted) if average else window.max(axes)
    return out


def _adaptive(x: list[Any], a: Mapping[str, Any], average: bool) -> Array:
    image = x[0].shape[2:]
    out = np.zeros((*x[0].shape[:2], *a["size"]))
    for cell in itertools.product(*map(range, a["size"])):
        window = x[0][(slice(None), slice(None), *(
            slice(i * extent // count, -(-(i + 1) * extent // count))
            for i, extent, count in zip(cell, image, a["size"], strict=True)))]
        axes = tuple(range(2, window.ndim))
        out[(slice(None), slice(None), *cell)] = window.mean(axes) if average else window.max(axes)
    return out


def _softmax(x: list[Any], a: Mapping[str, Any]) -> Array:
    shifted = x[0] - x[0].max(a["axis"], keepdims=True)
    logarithm = shifted - np.log(np.exp(shifted).sum(a["axis"], keepdims=True))
    return logarithm if a["log"] else np.exp(logarithm)


def _slice(x: list[Any], a: Mapping[str, Any]) -> Array:
    where = [slice(None)] * x[0].ndim
    where[a["axis"]] = slice(a["start"], a["end"], a["step"])
    return np.asarray(x[0][tuple(where)])


def _blocks(x: list[Any], a: Mapping[str, Any]) -> Array:
    n, channels, rows, columns = x[0].shape
    block = a["block"]
    out = np.zeros((n, channels // block**2, rows * block, columns * block))
    extents = (out.shape[1], block, block, rows, columns)
    for c, i, j, r, s in itertools.product(*map(range, extents)):
        source = (c * block + i) * block + j if a["order"] == "CRD" else (i * block + j) * out.shape[1] + c
        out[:, c, r * block + i, s * block + j] = x[0][:, source, r, s]
    return out


def _unblocks(x: list[Any], a: Mapping[str, Any]) -> Array:
    n, channels, rows, columns = x[0].shape
    block = a["block"]
    out = np.zeros((n, channels * block**2, rows // block, columns // block))
    for c, i, j in itertools.product(range(channels), range(block), range(block)):
        target = (c * block + i) * block + j if a["order"] == "CRD" else (i * block + j) * channels + c
        out[:, target] = x[0][:, c, i::block, j::block]
    return out


def _nearest(x: list[Any], a: Mapping[str, Any]) -> Array:
    result = x[0]
    for axis, extent in zip((2, 3), a["size"], strict=True):
        offset = 0.5 if a["half_pixel_centers"] else 0
        ratio = x[0].shape[axis] / extent
        cells = [min(math.floor((i + offset) * ratio), x[0].shape[axis] - 1) for i in range(extent)]
        result = result.take(cells, axis)
    return result


def _norm(x: list[Any], a: Mapping[str, Any]) -> Array:
    gamma, beta, mean, variance = (item.astype(np.float64).reshape(-1, *(1,) * (x[0].ndim - 2)) for item in x[1:])
    return np.asarray((x[0] - mean) / np.sqrt(variance + a["epsilon"]) * gamma + beta)


def _prelu(x: list[Any], a: Mapping[str, Any]) -> Array:
    return np.where(x[0] >= 0, x[0], x[0] * x[1].reshape(-1, *(1,) * (x[0].ndim - 2)))


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


_SIMPLE: dict[str, Any] = {
    "Linear": lambda x, a: x[0] @ x[1].T + (0 if len(x) < 3 or x[2] is None else x[2]),
    "MatMul": lambda x, a: x[0] @ x[1], "Add": lambda x, a: x[0] + x[1], "Sub": lambda x, a: x[0] - x[1],
    "Mul": lambda x, a: x[0] * x[1], "Div": lambda x, a: x[0] / x[1], "Maximum": lambda x, a: np.maximum(*x),
    "Minimum": lambda x, a: np.minimum(*x), "Relu": lambda x, a: np.maximum(x[0], 0),
    "Sigmoid": lambda x, a: _sigmoid(x[0]), "Tanh": lambda x, a: np.tanh(x[0]),
    "HardSwish": lambda x, a: x[0] * np.clip(x[0] + 3, 0, 6) / 6, "Silu": lambda x, a: x[0] * _sigmoid(x[0]),
    "Neg": lambda x, a: -x[0], "Abs": lambda x, a: np.abs(x[0]), "Sqrt": lambda x, a: np.sqrt(x[0]),
    "Exp": lambda x, a: np.exp(x[0]), "LeakyRelu": lambda x, a: np.where(x[0] >= 0, x[0], x[0] * a["alpha"]),
    "Elu": lambda x, a: np.where(x[0] > 0, x[0], a["alpha"] * np.expm1(x[0])),
    "HardSigmoid": lambda x, a: np.clip(a["alpha"] * x[0] + a["beta"], 0, 1),
    "Gelu": lambda x, a: x[0] * 0.5 * (1 + (
        np.vectorize(math.erf)(x[0] / math.sqrt(2)) if a["approximate"] == "none"
        else np.tanh(math.sqrt(2 / math.pi) * (x[0] + 0.044715 * x[0]**3)))),
    "Clip": lambda x, a: np.clip(x[0], a["low"], a["high"]),
    "Mean": lambda x, a: x[0].mean(a["axes"], keepdims=a["keep_dims"]),
    "ReduceMax": lambda x, a: x[0].max(a["axes"], keepdims=a["keep_dims"]),
    "ReduceMin": lambda x, a: x[0].min(a["axes"], keepdims=a["keep_dims"]),
    "ArgMax": lambda x, a: x[0].argmax(a["axis"]),
    "Reshape": lambda x, a: x[0].reshape(a["shape"]), "Transpose": lambda x, a: x[0].transpose(a["permutation"]),
    "Squeeze": lambda x, a: np.squeeze(x[0], a["axes"]), "Unsqueeze": lambda x, a: np.expand_dims(x[0], a["axes"]),
    "Flatten": lambda x, a: x[0].reshape(
        *x[0].shape[:a["start"]], -1, *x[0].shape[a["end"] % x[0].ndim + 1:]),
    "Concat": lambda x, a: np.concatenate(x, a["axis"]), "Stack": lambda x, a: np.stack(x, a["axis"]),
    "Select": lambda x, a: x[0].take(a["index"], a["axis"]), "Tile": lambda x, a: np.tile(x[0], a["multiples"]),
    "Expand": lambda x, a: np.broadcast_to(x[0], a["shape"]),
    "Pad": lambda x, a: (np.pad(x[0], a["paddings"], constant_values=a["value"]) if a["mode"] == "constant"
                         else np.pad(x[0], a["paddings"], mode="reflect")),
}
_MORE: dict[str, Any] = {
    "Conv": _conv, "ConvTranspose": _conv_transpose, "MaxPool": lambda x, a: _pool(x, a, False),
    "AvgPool": lambda x, a: _pool(x, a, True), "AdaptiveAvgPool": lambda x, a: _adaptive(x, a, True),
    "AdaptiveMaxPool": lambda x, a: _adaptive(x, a, False), "Softmax": _softmax, "Slice": _slice,
    "DepthToSpace": _blocks, "SpaceToDepth": _unblocks, "ResizeNearest": _nearest, "BatchNorm": _norm, "PRelu": _prelu,
}
