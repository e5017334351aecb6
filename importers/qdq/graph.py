"""A quantized model as PyTorch and ONNX write it: a float graph with quantize and dequantize nodes, in neutral words.

A reader turns a file into a :class:`Graph`; what its regions compute in integers is decided in one place for all files
(:mod:`mpc_bridge.importers.qdq.convert`). Layouts are the frameworks': channels before rows and columns, convolution
weights output channel first.

Kinds and their attributes (a tuple of ints is one entry per spatial axis; axes may be negative):

``Quantize``, ``Dequantize``
    x; ``scale`` (floats), ``zero_point`` (ints), ``axis`` (None per tensor), ``dtype``, ``low``, ``high``: the integers
    used, which may be fewer than the type has.
``Conv``, ``ConvTranspose``
    x, weights, bias or ``""``; ``stride``, ``padding`` (pairs), ``dilation``, ``groups``; ConvTranspose also
    ``output_padding``. One or two spatial axes. ConvTranspose weights are input channel first.
``Linear``
    x, weights [O, K], bias or ``""``.
``MatMul``, ``Add``, ``Sub``, ``Mul``, ``Div``, ``Maximum``, ``Minimum``
    two tensors, broadcast.
``Relu``, ``Sigmoid``, ``Tanh``, ``HardSwish``, ``Silu``, ``Neg``, ``Abs``, ``Sqrt``, ``Exp``
    x. ``Gelu``: ``approximate`` (``"none"`` or ``"tanh"``). ``LeakyRelu``, ``Elu``: ``alpha``. ``HardSigmoid``:
    ``alpha``, ``beta``. ``Clip``: ``low``, ``high`` (floats, infinite where open). ``PRelu``: x, slope.
``Softmax``
    x; ``axis``, ``log`` (a bool).
``MaxPool``, ``AvgPool``
    x; ``window``, ``stride``, ``padding`` (pairs), ``ceil_mode``; MaxPool also ``dilation``, AvgPool
    ``count_include_pad`` and ``divisor`` (0: the number of cells).
``AdaptiveAvgPool``, ``AdaptiveMaxPool``
    x; ``size`` (one entry per spatial axis).
``Mean``, ``ReduceMax``, ``ReduceMin``
    x; ``axes``, ``keep_dims``. ``ArgMax``: ``axis``, ``keep_dims``.
``Reshape``
    x; ``shape`` (0 and -1 already resolved against the batch that was read, except one -1). ``Transpose``:
    ``permutation``. ``Squeeze``, ``Unsqueeze``: ``axes``. ``Flatten``: ``start``, ``end`` (inclusive).
``Concat``
    tensors; ``axis``. ``Stack``: ``axis``. ``Split``: ``axis``, ``sizes``, one output each.
``Slice``
    x; ``axis``, ``start``, ``end``, ``step``. ``Select``: ``axis``, ``index``. ``Tile``: ``multiples``. ``Expand``:
    ``shape``.
``Pad``
    x; ``paddings`` (a pair per axis), ``mode`` (``"constant"``, ``"reflect"``), ``value`` (float).
``ResizeNearest``, ``ResizeBilinear``
    x; ``size`` (rows, columns), ``align_corners``, ``half_pixel_centers``.
``DepthToSpace``, ``SpaceToDepth``
    x; ``block``, ``order`` (``"DCR"`` or ``"CRD"``).
``BatchNorm``
    x, scale, bias, mean, variance; ``epsilon``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

#: Attribute values: numbers, strings, None, and tuples of them.
Value = bool | int | float | str | None | tuple[Any, ...]

KINDS = frozenset({
    "Quantize", "Dequantize", "Conv", "ConvTranspose", "Linear", "MatMul", "Add", "Sub", "Mul", "Div", "Maximum",
    "Minimum", "Relu", "Sigmoid", "Tanh", "HardSwish", "Silu", "Neg", "Abs", "Sqrt", "Exp", "Gelu", "LeakyRelu", "Elu",
    "HardSigmoid", "Clip", "PRelu", "Softmax", "MaxPool", "AvgPool", "AdaptiveAvgPool", "AdaptiveMaxPool", "Mean",
    "ReduceMax", "ReduceMin", "ArgMax", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Concat", "Stack",
    "Split", "Slice", "Select", "Tile", "Expand", "Pad", "ResizeNearest", "ResizeBilinear", "DepthToSpace",
    "SpaceToDepth", "BatchNorm",
})

#: The kinds of the op list that circuits of these files can hold: the builder emits no others.
EMITTED = frozenset({
    "ARG_MAX", "AVERAGE", "BATCH_MATMUL", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "DEQUANTIZE",
    "FLOAT_SOFTMAX", "FLOAT_UNARY", "FULLY_CONNECTED", "MAXIMUM", "MAX_POOL_2D", "MEAN", "MINIMUM", "MIRROR_PAD", "MUL",
    "PAD", "QUANTIZE", "REDUCE_MAX", "REDUCE_MIN", "RESCALE", "RESHAPE", "RESIZE_NEAREST_NEIGHBOR", "SLICE",
    "STRIDED_SLICE", "TABLE", "TILE", "TRANSPOSE", "TRANSPOSE_CONV",
})


@dataclass(frozen=True)
class Node:
    """One operation. Tensors are named; an optional input that is missing is ``""``."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Port:
    """A model input: a symbolic batch has been read as 1."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Graph:
    """A model file, read and checked: names are unique, nodes are in execution order, every input exists.

    Attributes:
        source: ``"pytorch"`` or ``"onnx"``.
        profile: whose integers are meant, see the importer.
        constants: weights, biases and other stored tensors by name. Weights are the stored integers where the file
            holds integers; a Dequantize with its scales follows.
    """

    name: str
    source: str
    profile: str
    inputs: tuple[Port, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    constants: Mapping[str, npt.NDArray[np.generic]] = field(default_factory=dict, repr=False)
    sha256: str = ""
