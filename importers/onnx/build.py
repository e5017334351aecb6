"""The neutral graph while it grows: what each tensor of the file is, and the nodes written so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mpc_bridge.importers.base import printable
from mpc_bridge.importers.onnx.proto import MAX_NODES, Array, corrupt
from mpc_bridge.importers.qdq.graph import Node, Value

#: Bytes that copies of stored tensors may take: some, and as often what the file holds.
FREE_COPIES, COPIES = 2**26, 8


@dataclass(frozen=True)
class Quantization:
    """Scales and zero points: one entry, or one per index of ``axis``. ``dtype`` is the integers' type."""

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int | None
    dtype: str


@dataclass(frozen=True, eq=False)
class Constant:
    """A stored or folded tensor of numbers."""

    name: str
    array: Array


@dataclass(frozen=True, eq=False)
class Stored:
    """Stored integers with their scales: a weight or bias after its DequantizeLinear."""

    name: str
    array: Array
    quantization: Quantization

    @property
    def shape(self) -> tuple[int, ...]:
        """Extents of the tensor."""
        return tuple(self.array.shape)


@dataclass(frozen=True, eq=False)
class Activation:
    """A tensor that is computed, or an input. ``quantization`` is what integers mean, where that is known."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    quantization: Quantization | None = None


Operand = Constant | Stored | Activation


class Builder:
    """Collects nodes and constants under unique, printable names."""

    def __init__(self, source: str, stored: int) -> None:
        """``stored``: bytes of all tensors of the file."""
        self.source = source
        self.nodes: list[Node] = []
        self.constants: dict[str, Array] = {}
        self._names: set[str] = set()
        self._written: dict[Operand, str] = {}
        self._left = FREE_COPIES + COPIES * stored

    def fresh(self, name: str) -> str:
        """A unique printable name, ``name`` itself where it is one."""
        base = printable(name, "tensor", 200)
        unique, count = base, 1
        while unique in self._names:
            count += 1
            unique = f"{base}#{count}"
            if count > 64:
                base, count = f"{base}#{len(self._names)}", 1
        self._names.add(unique)
        return unique

    def charge(self, size: int) -> None:
        """Count bytes that are copied.

        Raises:
            ModelFormatError: the file asks for many times its own size.
        """
        self._left -= size
        if self._left < 0:
            raise corrupt("its constants, as the nodes combine them, take many times their own size", self.source)

    def write(self, kind: str, name: str, inputs: Sequence[str], outputs: Sequence[str],
              attributes: dict[str, Value]) -> None:
        """Append a node.

        Raises:
            ModelFormatError: too many nodes.
        """
        if len(self.nodes) >= 4 * MAX_NODES:
            raise corrupt("the graph takes too many nodes", self.source)
        self.nodes.append(Node(kind, name, tuple(inputs), tuple(outputs), attributes))

    def operand(self, value: Operand | None) -> str:
        """The name under which a node may read a value; constants are written where they are first read."""
        if value is None:
            return ""
        if isinstance(value, Activation):
            return value.name
        if value not in self._written:
            self.charge(value.array.nbytes)
            array = np.ascontiguousarray(value.array).reshape(value.array.shape)
            array.flags.writeable = False
            name = self.fresh(value.name)
            if isinstance(value, Stored):
                stored = self.fresh(f"{value.name}.integers")
                self.constants[stored] = array
                self.write("Dequantize", name, (stored,), (name,), quantization_attributes(value.quantization))
            else:
                self.constants[name] = array
            self._written[value] = name
        return self._written[value]

    def dequantized(self, x: Activation, quantization: Quantization, name: str) -> Activation:
        """``x``, integers, as the floats that they mean."""
        name = self.fresh(name)
        self.write("Dequantize", name, (x.name,), (name,), quantization_attributes(quantization))
        return Activation(name, x.shape, "float32")

    def quantized(self, x: Activation, quantization: Quantization, name: str) -> Activation:
        """``x``, floats, as integers."""
        name = self.fresh(name)
        self.write("Quantize", name, (x.name,), (name,), quantization_attributes(quantization))
        return Activation(name, x.shape, quantization.dtype, quantization)


def quantization_attributes(quantization: Quantization) -> dict[str, Value]:
    """Attributes of a Quantize or Dequantize node."""
    limits = np.iinfo(quantization.dtype)
    return {"scale": quantization.scale, "zero_point": quantization.zero_point, "axis": quantization.axis,
            "dtype": quantization.dtype, "low": int(limits.min), "high": int(limits.max)}


class UnsupportedNodeError(Exception):
    """Why one node cannot be evaluated; the reader collects these into one report."""

