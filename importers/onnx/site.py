"""One node of a file while it is being read: typed access to its operands, and what it becomes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mpc_bridge.errors import ModelFormatError
from mpc_bridge.importers.base import printable
from mpc_bridge.importers.onnx.build import (
    Activation,
    Builder,
    Constant,
    Operand,
    Quantization,
    Stored,
    UnsupportedNodeError,
)
from mpc_bridge.importers.onnx.fold import FoldError, integers
from mpc_bridge.importers.onnx.proto import MAX_ELEMENTS, MAX_RANK, Array, FileModel, FileNode
from mpc_bridge.importers.qdq.graph import Value

ACTIVATION_DTYPES = ("int8", "uint8")

#: Greatest stride, dilation, padding or window extent; beyond it only corrupt files go.
MAX_STEP = 2**16

Pairs = tuple[tuple[int, int], ...]


@dataclass
class Site:
    """One node in its model.

    Methods raise :class:`UnsupportedNodeError` for what is sound and not supported, ModelFormatError for what ONNX
    itself does not allow.

    Attributes:
        operands: the node's inputs; None where one is left out.
        results: what the node's outputs are, by position.
        requantize: set by :meth:`moved` and :meth:`quantize_to`: results are floats that have to be quantized again.
    """

    model: FileModel
    node: FileNode
    builder: Builder
    operands: Sequence[Operand | None]
    results: dict[int, Operand] = field(default_factory=dict)
    requantize: Quantization | None = None

    @property
    def name(self) -> str:
        """The node's own name, or that of its first output."""
        return printable(self.node.name or (self.node.outputs[0] if self.node.outputs else ""), self.node.kind, 200)

    @property
    def place(self) -> str:
        """Which node this is, for people."""
        return f"node {self.node.index} '{self.name}'"

    def corrupt(self, what: str) -> ModelFormatError:
        """The error for a node that contradicts itself."""
        return self.model.error(f"{self.node.kind}, {self.place}: {what}")

    # attributes

    def integer(self, name: str, default: int) -> int:
        """An integer attribute."""
        value = self.node.attributes.get(name, default)
        if not isinstance(value, int):
            raise self.corrupt(f"its attribute {name} is not an integer")
        return value

    def number(self, name: str, default: float) -> float:
        """A finite float attribute."""
        value = self.node.attributes.get(name, default)
        if not isinstance(value, float) or not math.isfinite(value):
            raise self.corrupt(f"its attribute {name} is not a number")
        return value

    def text(self, name: str, default: str) -> str:
        """A string attribute."""
        value = self.node.attributes.get(name, default)
        if not isinstance(value, str):
            raise self.corrupt(f"its attribute {name} is not a text")
        return value

    def entries(self, name: str) -> tuple[int, ...] | None:
        """A list of integers; None when it is left out."""
        value = self.node.attributes.get(name)
        if value is None:
            return None
        if not isinstance(value, tuple) or not all(isinstance(entry, int) for entry in value):
            raise self.corrupt(f"its attribute {name} is not a list of integers")
        return tuple(int(entry) for entry in value)

    def steps(self, name: str, count: int) -> tuple[int, ...]:
        """Strides or dilations: an entry per spatial axis, 1 when left out."""
        values = self.entries(name) or (1,) * count
        if len(values) != count or not all(1 <= value <= MAX_STEP for value in values):
            raise self.corrupt(f"its attribute {name} is {values[:8]}")
        return values

    # operands

    def count(self, least: int, most: int, outputs: int = 1) -> None:
        """Check the numbers of inputs and of outputs that are used."""
        if not least <= len(self.operands) <= most:
            raise self.corrupt(f"it has {len(self.operands)} inputs")
        if not self.node.outputs or not self.node.outputs[0]:
            raise self.corrupt("it has no output")
        if len(self.node.outputs) > outputs and any(self.node.outputs[outputs:]):
            raise UnsupportedNodeError(f"more than {outputs} output{'s' if outputs > 1 else ''}")

    def operand(self, position: int) -> Operand | None:
        """An input; None when it is left out."""
        return self.operands[position] if position < len(self.operands) else None

    def required(self, position: int) -> Operand:
        """An input that must be there."""
        value = self.operand(position)
        if value is None:
            raise self.corrupt(f"input {position} is missing")
        return value

    def constant(self, position: int) -> Array | None:
        """A constant input, as numbers; None when it is left out."""
        value = self.operand(position)
        if value is None:
            return None
        if not isinstance(value, Constant):
            raise UnsupportedNodeError(f"input {position} is computed when the model runs, where a constant is needed")
        return value.array

    def integers(self, position: int) -> list[int] | None:
        """A small constant integer input: a shape, axes, paddings."""
        array = self.constant(position)
        if array is None:
            return None
        try:
            return integers(array, 4 * MAX_RANK)
        except FoldError as error:
            raise self.corrupt(f"input {position}: {error}") from error

    def scalar(self, position: int) -> float | None:
        """A constant float input with one entry; quantizers write some as integers."""
        value = self.operand(position)
        if isinstance(value, Stored) and value.array.size == 1:
            scale, zero_point = value.quantization.scale[0], value.quantization.zero_point[0]
            return float(np.float32(int(value.array.reshape(-1)[0]) - zero_point) * np.float32(scale))
        array = self.constant(position)
        if array is None:
            return None
        if array.size != 1 or array.dtype.kind not in "fiu":
            raise self.corrupt(f"input {position} is not a scalar")
        return float(array.reshape(-1)[0])

    def real(self, position: int) -> Operand:
        """An input that is real numbers: computed, stored as floats, or stored as integers with scales."""
        value = self.required(position)
        if isinstance(value, Activation) and value.dtype != "float32":
            raise UnsupportedNodeError(f"arithmetic on {value.dtype} tensors; a DequantizeLinear has to come first")
        if isinstance(value, Constant) and value.array.dtype.name != "float32":
            raise UnsupportedNodeError(f"a constant of type {value.array.dtype.name} in place of float32")
        return value

    def activation(self, position: int = 0) -> Activation:
        """An input that is computed, and real."""
        value = self.real(position)
        if not isinstance(value, Activation):
            raise UnsupportedNodeError("a constant in place of an activation")
        return value

    def moved(self, position: int = 0) -> Activation:
        """An input of a node that keeps order and values: real, or integers, which become real for this node."""
        value = self.required(position)
        if not isinstance(value, Activation):
            raise UnsupportedNodeError("a constant in place of an activation")
        if value.dtype in ACTIVATION_DTYPES:
            quantization = value.quantization or Quantization((1.0,), (0,), None, value.dtype)
            if quantization.axis is not None:
                raise UnsupportedNodeError("activations quantized per channel")
            if self.requantize not in (None, quantization):
                raise UnsupportedNodeError("integer tensors of several scales")
            self.requantize = quantization
            return self.builder.dequantized(value, quantization, f"{value.name}.real")
        if value.dtype != "float32":
            raise UnsupportedNodeError(f"{value.dtype} tensors")
        return value

    def quantization(self, scale: int, zero_point: int, dtype: str, shape: Sequence[int],
                     axis: int = 0) -> Quantization:
        """Scales and zero points that are inputs of the node.

        Args:
            scale: position; the input is a float32 constant.
            zero_point: position; the input may be left out (0).
            dtype: of the integers.
            shape: of the tensor that is quantized.
            axis: that entries belong to, when there are several.
        """
        if not isinstance(self.required(scale), Constant):
            raise UnsupportedNodeError("a scale that is computed when the model runs: dynamic quantization")
        scales, zeros = self.constant(scale), self.constant(zero_point)
        assert scales is not None
        if dtype not in (*ACTIVATION_DTYPES, "int32"):
            raise UnsupportedNodeError(f"{dtype} quantization; int8 and uint8 are supported")
        if scales.dtype.name != "float32":
            raise UnsupportedNodeError(f"scales of type {scales.dtype.name}")
        if scales.ndim > 1 and scales.size > 1:
            raise UnsupportedNodeError("blockwise quantization")
        values = scales.reshape(-1)
        if values.size > 1 and (not -len(shape) <= axis < len(shape) or shape[axis] != values.size):
            raise self.corrupt(f"{values.size} scales along axis {axis} of the shape {tuple(shape)}")
        if not values.size or not np.all(np.isfinite(values)) or not np.all(values > 0):
            raise self.corrupt("a scale that is not a positive number")
        if zeros is not None and (zeros.dtype.name != dtype or zeros.size != values.size):
            raise self.corrupt(f"{zeros.size} zero points of type {zeros.dtype.name} for {values.size} {dtype} scales")
        points = tuple(int(zero) for zero in zeros.reshape(-1)) if zeros is not None else (0,) * values.size
        if values.size == 1:
            return Quantization((float(values[0]),), points, None, dtype)
        return Quantization(tuple(map(float, values)), points, axis % len(shape), dtype)

    def dequantize(self, position: int, scale: int, zero_point: int, axis: int = 0) -> Stored | Activation:
        """An integer input as the reals that it means by two other inputs of the node."""
        value = self.required(position)
        if isinstance(value, Stored):
            raise UnsupportedNodeError("a DequantizeLinear of real numbers")
        dtype = value.dtype if isinstance(value, Activation) else value.array.dtype.name
        shape = value.shape if isinstance(value, Activation) else tuple(value.array.shape)
        quantization = self.quantization(scale, zero_point, dtype, shape, axis)
        name = self.node.outputs[0] if self.node.kind == "DequantizeLinear" else f"{value.name}.real"
        if isinstance(value, Activation):
            return self.builder.dequantized(value, quantization, name)
        return Stored(name, value.array, quantization)

    def quantize_to(self, scale: int, zero_point: int, dtype: str | None = None) -> None:
        """Results are quantized with two of the node's inputs; the zero point's type is theirs unless named."""
        zeros = self.constant(zero_point)
        found = dtype or (zeros.dtype.name if zeros is not None else "uint8")
        self.requantize = self.quantization(scale, zero_point, found, ())

    # results

    def emit(self, kind: str, inputs: Sequence[Operand | None], shape: Sequence[int],
             attributes: dict[str, Value] | None = None, final: bool = True, output: int = 0,
             dtype: str = "float32") -> Activation:
        """Write a node of the neutral graph.

        Args:
            final: it computes the file's node's output; otherwise a step on the way.
            output: which output of the file's node.
        """
        return self.emit_several(kind, inputs, [shape], attributes, final, output, dtype)[0]

    def emit_several(self, kind: str, inputs: Sequence[Operand | None], shapes: Sequence[Sequence[int]],
                     attributes: dict[str, Value] | None = None, final: bool = True, output: int = 0,
                     dtype: str = "float32") -> list[Activation]:
        """The same with an output per shape; the file's node's, from ``output`` on, when ``final``."""
        for shape in shapes:
            if any(extent < 1 for extent in shape) or len(shape) > MAX_RANK or math.prod(shape) > MAX_ELEMENTS:
                raise self.corrupt(f"its output has the shape {tuple(shape)}")
        again = self.requantize if final and dtype == "float32" else None
        names = [self.builder.fresh(self.node.outputs[output + position] + (".real" if again else "") if final
                                    else f"{self.node.outputs[0]}.{kind}") for position in range(len(shapes))]
        self.builder.write(kind, self.name, [self.builder.operand(value) for value in inputs], names, attributes or {})
        results = [Activation(name, tuple(map(int, shape)), dtype)
                   for name, shape in zip(names, shapes, strict=True)]
        if final:
            for position, result in enumerate(results):
                self.results[output + position] = self.builder.quantized(
                    result, again, self.node.outputs[output + position]) if again else result
        return results

    def alias(self, value: Operand) -> None:
        """The node changes nothing."""
        self.results[0] = value

    def broadcast(self, a: Sequence[int], b: Sequence[int]) -> tuple[int, ...]:
        """The shape of two operands together."""
        try:
            return tuple(np.broadcast_shapes(tuple(a), tuple(b)))
        except ValueError as error:
            raise self.corrupt(f"shapes {tuple(a)} and {tuple(b)} do not fit together") from error


def shape_of(value: Operand) -> tuple[int, ...]:
    """Extents of any operand."""
    return tuple(value.array.shape) if isinstance(value, Constant) else value.shape
