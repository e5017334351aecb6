"""One operator of a file while it is being converted: typed access to its operands, and the two ways to refuse it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mpc_bridge.circuit.graph import INTEGER_RANGES, Attribute
from mpc_bridge.errors import ModelFormatError
from mpc_bridge.importers.tflite import schema
from mpc_bridge.importers.tflite.flatbuffer import Table
from mpc_bridge.importers.tflite.parse import FileModel, FileOperator, FileTensor
from mpc_bridge.importers.tflite.scales import activation_bounds

ACTIVATION_DTYPES = ("int8", "uint8")

#: Greatest stride, dilation or window extent; beyond it only corrupt files go.
MAX_STEP = 2**16


class UnsupportedOperatorError(Exception):
    """Why one operator cannot be evaluated; the converter collects these into one report."""


@dataclass(frozen=True)
class Node:
    """A converted operator: the file's tensor indices that remain inputs, and the circuit's attributes."""

    inputs: tuple[int, ...]
    attributes: dict[str, Attribute]
    #: position among the operator's outputs: an operator with several becomes a node per output
    output: int = 0


@dataclass(frozen=True)
class Site:
    """One operator in its model.

    Methods raise :class:`UnsupportedOperatorError` for what is sound and not supported, ModelFormatError for what the
    framework itself would refuse.
    """

    model: FileModel
    operator: FileOperator
    profile: str

    @property
    def place(self) -> str:
        """Which operator this is, for people."""
        name = self.model.tensors[self.operator.outputs[0]].name if self.operator.outputs else ""
        return f"operator {self.operator.index} '{name}'"

    def corrupt(self, what: str) -> ModelFormatError:
        """The error for an operator that contradicts itself."""
        return self.model.reader.error(f"{self.operator.kind}, {self.place}: {what}")

    def operands(self, least: int, most: int, outputs: int = 1) -> None:
        """Check the numbers of inputs and outputs."""
        count = len(self.operator.inputs)
        if not least <= count <= most:
            raise self.corrupt(f"it has {count} inputs")
        if len(self.operator.outputs) != outputs:
            raise self.corrupt(f"it has {len(self.operator.outputs)} outputs")

    def tensor(self, position: int) -> FileTensor | None:
        """An input; None when it is left out."""
        if position >= len(self.operator.inputs) or self.operator.inputs[position] < 0:
            return None
        return self.model.tensors[self.operator.inputs[position]]

    def required(self, position: int) -> FileTensor:
        """An input that must be there."""
        tensor = self.tensor(position)
        if tensor is None:
            raise self.corrupt(f"input {position} is missing")
        return tensor

    def activation(self, position: int, constant_allowed: bool = False) -> FileTensor:
        """An input that is an activation."""
        tensor = self.quantized(self.required(position))
        if not constant_allowed and self.model.is_constant(tensor.index):
            raise UnsupportedOperatorError("a constant in place of an activation")
        return tensor

    def output(self, position: int = 0) -> FileTensor:
        """An output (the only one of most operators), an activation."""
        return self.quantized(self.model.tensors[self.operator.outputs[position]])

    def quantized(self, tensor: FileTensor) -> FileTensor:
        """Check that a tensor has a supported activation's type and quantization."""
        if tensor.dtype not in ACTIVATION_DTYPES:
            raise UnsupportedOperatorError(f"{tensor.dtype} tensors")
        self._scales(tensor)
        if len(tensor.scale) != 1:
            raise UnsupportedOperatorError("activations quantized per channel")
        return tensor

    def _scales(self, tensor: FileTensor) -> None:
        if not tensor.scale:
            raise UnsupportedOperatorError(f"{tensor.dtype} tensors without a scale")
        if not all(math.isfinite(scale) and scale > 0 for scale in tensor.scale):
            raise self.corrupt(f"tensor '{tensor.name}' has a scale that is not a positive number")
        low, high = INTEGER_RANGES[tensor.dtype]
        if not all(low <= zero <= high for zero in tensor.zero_point):
            raise self.corrupt(f"tensor '{tensor.name}' has a zero point outside {tensor.dtype}")

    def same_dtype(self, *tensors: FileTensor) -> None:
        """Check that all tensors have one type."""
        dtypes = {tensor.dtype for tensor in tensors}
        if len(dtypes) > 1:
            raise UnsupportedOperatorError(f"a mixture of {' and '.join(sorted(dtypes))} tensors")

    def weights(self, position: int, dtype: str, axis: int, rank: int) -> FileTensor:
        """A constant weight tensor of an activation's type, per tensor or (int8) per channel along ``axis``."""
        tensor = self.required(position)
        if tensor.dtype != dtype:
            raise UnsupportedOperatorError(f"{tensor.dtype} weights with {dtype} activations")
        if not self.model.is_constant(tensor.index):
            raise UnsupportedOperatorError("weights that are not constant")
        if len(tensor.shape) != rank:
            raise self.corrupt(f"its weights have the shape {tensor.shape}")
        self._scales(tensor)
        if len(tensor.scale) > 1:
            if dtype != "int8":
                raise UnsupportedOperatorError(f"{dtype} weights quantized per channel")
            if tensor.axis != axis or tensor.shape[axis] != len(tensor.scale):
                raise self.corrupt(
                    f"its weights of shape {tensor.shape} have {len(tensor.scale)} scales along axis {tensor.axis}")
        if dtype == "int8" and any(tensor.zero_point):
            raise UnsupportedOperatorError("int8 weights with a zero point")
        return tensor

    def bias(self, position: int, channels: int) -> int:
        """Index of the int32 bias; -1 when there is none. Its own scale and axis play no part in any formula."""
        tensor = self.tensor(position)
        if tensor is None:
            return -1
        if tensor.dtype != "int32":
            raise UnsupportedOperatorError(f"a bias of type {tensor.dtype}")
        if not self.model.is_constant(tensor.index):
            raise UnsupportedOperatorError("a bias that is not constant")
        if any(tensor.zero_point):
            raise UnsupportedOperatorError("a bias with a zero point")
        if tensor.shape != (channels,):
            raise self.corrupt(f"its bias has the shape {tensor.shape} for {channels} channels")
        return tensor.index

    def public_integers(self, position: int) -> npt.NDArray[np.int64]:
        """A constant int32 or int64 input that becomes an attribute: a shape, axes, paddings."""
        tensor = self.required(position)
        if tensor.dtype not in ("int32", "int64"):
            raise self.corrupt(f"input {position} has the type {tensor.dtype}, not int32")
        if math.prod(tensor.shape) == 0:
            return np.zeros(tensor.shape, np.int64)
        if not self.model.is_constant(tensor.index):
            raise UnsupportedOperatorError("a shape, axis or padding that is computed when the model runs")
        if math.prod(tensor.shape) > 64:
            raise self.corrupt(f"input {position} has the shape {tensor.shape}")
        return self.model.constant(tensor.index).astype(np.int64)

    def axis(self, value: int, rank: int) -> int:
        """An axis that may be counted from the end, from 0 on."""
        if not -rank <= value < rank:
            raise self.corrupt(f"axis {value} of {rank}")
        return int(value) % rank

    def options(self, expected: schema.Options) -> Table:
        """The operator's options table."""
        table = self.operator.options
        if table is None or self.operator.options_type != expected:
            raise self.corrupt(f"its options are not {expected.name}")
        return table

    def steps(self, options: Table, rows: int, columns: int, default: int = 0) -> tuple[int, int]:
        """A pair of options, each at least 1: a stride, a dilation, a window."""
        pair = (options.integer(rows, "i", default), options.integer(columns, "i", default))
        if not all(1 <= step <= MAX_STEP for step in pair):
            raise self.corrupt(f"it has a stride, dilation or window of {pair}")
        return pair

    def padding(self, options: Table, slot: int, image: tuple[int, int], window: tuple[int, int],
                stride: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
        """SAME or VALID as explicit cells: ``ComputePaddingHeightWidth``, the odd cell after the image.

        Args:
            window: extents with the dilation in them.
        """
        number = options.integer(slot, "b")
        if not 0 <= number < len(schema.PADDINGS):
            raise self.corrupt(f"it has padding number {number}")
        pairs = []
        for extent, cells, step in zip(image, window, stride, strict=True):
            if schema.PADDINGS[number] == "SAME":
                total = max((-(-extent // step) - 1) * step + cells - extent, 0)
            elif cells > extent:
                raise self.corrupt(f"a window of {cells} cells does not fit into {extent}")
            else:
                total = 0
            pairs.append((total // 2, total - total // 2))
        return pairs[0], pairs[1]

    def bounds(self, activation: str, output: FileTensor) -> tuple[int, int]:
        """Bounds of a fused activation on the output."""
        bounds = activation_bounds(activation, output.dtype, output.scale[0], output.zero_point[0])
        if bounds is None:
            raise self.corrupt(f"the activation {activation} leaves no value at the output's scale")
        return bounds

    def fused(self, options: Table, slot: int, output: FileTensor) -> tuple[int, int]:
        """Bounds of the activation that the options name."""
        number = options.integer(slot, "b")
        name = schema.ACTIVATIONS[number] if 0 <= number < len(schema.ACTIVATIONS) else f"number {number}"
        if name not in ("NONE", "RELU", "RELU6", "RELU_N1_TO_1"):
            raise UnsupportedOperatorError(f"the fused activation {name}")
        return self.bounds(name, output)

    def requantization(self, rule: str, multipliers: tuple[float, ...], bounds: tuple[int, int],
                       below: float = 2.0**30) -> Attribute:
        """The attribute; refuses multipliers that the framework's fixed point does not define."""
        if not all(0 < multiplier < below for multiplier in multipliers):
            raise UnsupportedOperatorError(f"scales whose ratio is outside (0, {below:g})")
        return (rule, multipliers, *bounds)
