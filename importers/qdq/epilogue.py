"""The float end of a model: what the receiver computes from the last quantized values, in float32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mpc_bridge.circuit.graph import Quantization
from mpc_bridge.importers.base import printable
from mpc_bridge.importers.qdq import attributes as read
from mpc_bridge.importers.qdq.averages import Average, Mean
from mpc_bridge.importers.qdq.builder import Builder
from mpc_bridge.importers.qdq.formats import activation_format
from mpc_bridge.importers.qdq.graph import Node
from mpc_bridge.importers.qdq.layout import Laid, laid, plain
from mpc_bridge.importers.qdq.moves import MOVES, split
from mpc_bridge.importers.qdq.pointwise import Pointwise
from mpc_bridge.importers.qdq.refusals import UnsupportedNodeError
from mpc_bridge.importers.qdq.regions import Entry, Region
from mpc_bridge.importers.qdq.shapes import Shape
from mpc_bridge.importers.qdq.sums import Sum
from mpc_bridge.importers.qdq.values import Opaque, OpaqueError, Value, as_sum, pointwise

#: Kind → the receiver's function.
FUNCTIONS: dict[str, str] = {
    "Abs": "abs", "Exp": "exp", "HardSwish": "hard_swish", "Neg": "neg", "Relu": "relu", "Sigmoid": "sigmoid",
    "Silu": "silu", "Sqrt": "sqrt", "Tanh": "tanh"}

_RECEIVERS = (*FUNCTIONS, "Softmax", "Split", "Quantize", "Dequantize")

#: Longest chain of float ops at the end; real ones have a handful.
_MAX_CHAIN = 64


def ending(nodes: Sequence[Node]) -> set[int]:
    """The nodes, by id, behind which the receiver's ops alone lead to the outputs: it computes quantizers there too."""
    consumers: dict[str, list[Node]] = {}
    for node in nodes:
        for name in node.inputs:
            consumers.setdefault(name, []).append(node)
    found: set[int] = set()
    for node in reversed(nodes):
        if (node.kind in _RECEIVERS or node.kind in MOVES) and all(
                id(consumer) in found for name in node.outputs for consumer in consumers.get(name, ())):
            found.add(id(node))
    return found


class Epilogue:
    """Reveals float tensors of a converted graph."""

    def __init__(self, builder: Builder, values: Mapping[str, Value], shapes: Mapping[str, Shape],
                 producers: Mapping[str, Node]) -> None:
        self._builder = builder
        self._values = values
        self._shapes = shapes
        self._producers = producers

    def reveal(self, name: str) -> int:
        """The float32 tensor of a name, in the framework's layout.

        Raises:
            UnsupportedNodeError: the receiver cannot compute it.
            OpaqueError: the same, because of an op before it.
        """
        return plain(self._builder, self._reveal(name, 0))

    def _reveal(self, name: str, depth: int) -> Laid:
        value, node = self._values[name], self._producers.get(name)
        if node is not None:
            self._builder.layer = printable(node.name, node.kind)
        if depth > _MAX_CHAIN:
            raise UnsupportedNodeError(f"more than {_MAX_CHAIN} float ops at the model's end", "quantize the model")
        if isinstance(value, Region) and value.bare:
            revealed = self._base(value)
            if revealed is not None:
                return revealed
        try:
            return self._computed(name, depth)
        except UnsupportedNodeError:
            if isinstance(value, Opaque):
                raise OpaqueError(value) from None
            function = pointwise(value) if isinstance(value, Region) else None
            if function is None:
                raise
            # values of the tensor's own integers, which a table gives
            return self._dequantized(*function.integers(self._builder), self._shapes[name])

    def _computed(self, name: str, depth: int) -> Laid:
        """What the receiver's own op makes of what it reads."""
        node = self._producers.get(name)
        if node is None or not (node.kind in _RECEIVERS or node.kind in MOVES):
            raise UnsupportedNodeError("its result is an output of the model and is not quantized",
                                       "quantize the model's output (a Quantize and a Dequantize after this op)")
        x = self._reveal(node.inputs[0], depth + 1)
        self._builder.layer = printable(node.name, node.kind)
        return self._apply(node, name, x)

    def _base(self, value: Region) -> Laid | None:
        """A dequantized tensor, or a sum of them."""
        builder, base = self._builder, value.base
        if isinstance(base, Sum):
            return None if base.is_clamped else base.revealed(builder)
        if isinstance(base, Mean | Average) and base.accumulator("") is not None:
            return as_sum(builder, value, builder.graph.profile).revealed(builder)
        if not isinstance(base, Pointwise) or base.affine is None:
            return None
        factor, bias = base.affine
        if bias or factor <= 0 or not np.float32(factor) > np.finfo(np.float32).tiny:
            return as_sum(builder, value, builder.graph.profile).revealed(builder) if factor else None
        return self._dequantized(base.source, factor, value.shape)

    def _dequantized(self, source: Laid, factor: float, shape: Shape) -> Laid:
        builder = self._builder
        tensor = builder.relabel(source.tensor, Quantization(
            (float(np.float32(factor)),), (builder.quantization(source.tensor)[1],)))
        return Laid(builder.op("DEQUANTIZE", (tensor,), builder.shape(tensor), "float32"), shape, source.order)

    def _apply(self, node: Node, name: str, x: Laid) -> Laid:
        builder = self._builder
        if node.kind == "Softmax":
            output = builder.op("FLOAT_SOFTMAX", (plain(builder, x),), x.shape, "float32",
                                axis=read.axis(node, "axis", len(x.shape)), log=read.flag(node, "log"))
            return laid(output, x.shape)
        if node.kind == "Quantize":
            form = activation_format(node, builder.graph.source, x.shape)
            return Entry(x).quantize(builder, form, form.low, form.high)
        if node.kind == "Dequantize":
            form = activation_format(node, builder.graph.source, x.shape)
            if builder.tensors[x.tensor].quantization != form.quantization:
                raise UnsupportedNodeError("other scales than the tensor was quantized with", "use the same ones")
            return Laid(builder.op("DEQUANTIZE", (x.tensor,), builder.shape(x.tensor), "float32"), x.shape, x.order)
        if node.kind in FUNCTIONS:
            output = builder.op("FLOAT_UNARY", (x.tensor,), builder.shape(x.tensor), "float32",
                                function=FUNCTIONS[node.kind])
            return Laid(output, x.shape, x.order)
        if node.kind == "Split":
            return split(node, x.shape, node.outputs.index(name)).apply(builder, x)
        return MOVES[node.kind](node, x.shape, self._shapes[name]).apply(builder, x)
