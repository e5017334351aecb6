"""What every op of the interpreter gets: the node, its input arrays and what is public about its tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from mpc_bridge.circuit.fixedpoint import Ints, requantize
from mpc_bridge.circuit.graph import INTEGER_RANGES, Op, Tensor
from mpc_bridge.errors import CircuitError

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Operands:
    """One op about to run. A missing optional input is ``None`` in both tuples."""

    op: Op
    arrays: tuple[Array | None, ...]
    tensors: tuple[Tensor | None, ...]
    output: Tensor

    def array(self, position: int) -> Array:
        """The input at ``position``, in the tensor's own dtype.

        Raises:
            CircuitError: the op has no such input.
        """
        array = self.arrays[position] if position < len(self.arrays) else None
        if array is None:
            raise CircuitError(f"{self.op.kind} lacks its input {position}", where=f"op {self.op.name}")
        return array

    def tensor(self, position: int) -> Tensor:
        """What is public about the input at ``position``.

        Raises:
            CircuitError: the op has no such input.
        """
        tensor = self.tensors[position] if position < len(self.tensors) else None
        if tensor is None:
            raise CircuitError(f"{self.op.kind} lacks its input {position}", where=f"op {self.op.name}")
        return tensor

    def centred(self, position: int) -> Ints:
        """The input at ``position`` minus its zero point (per channel along its axis), int64."""
        array, tensor = self.array(position).astype(np.int64), self.tensor(position)
        quantization = tensor.quantization
        if quantization is None:
            raise CircuitError("tensor is not quantized", where=f"tensor {tensor.name}, op {self.op.name}")
        zero_points = np.array(quantization.zero_point, np.int64)
        if zero_points.size == 1 or quantization.axis is None:
            return cast(Ints, array - zero_points[0])
        shape = [1] * array.ndim
        shape[quantization.axis] = zero_points.size
        return cast(Ints, array - zero_points.reshape(shape))

    def pair(self, name: str) -> tuple[int, int]:
        """An attribute of the form ``(rows, columns)``."""
        return cast("tuple[int, int]", self.op.attributes[name])

    def padding(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """The ``padding`` attribute: ``((top, bottom), (left, right))``."""
        return cast("tuple[tuple[int, int], tuple[int, int]]", self.op.attributes["padding"])

    def requantization(self) -> tuple[str, tuple[float, ...], int, int]:
        """The ``requantization`` attribute: ``(rule, multipliers, low, high)``."""
        return cast("tuple[str, tuple[float, ...], int, int]", self.op.attributes["requantization"])

    def requantized(self, acc: Ints) -> Ints:
        """``acc`` (channels last) to the output by the op's ``requantization``; as it is by the rule ``"none"``."""
        rule, multipliers, low, high = self.requantization()
        if rule == "none":
            return acc
        return requantize(acc, rule, multipliers, zero_point(self.output), low, high)


Kernel = Callable[[Operands], Array]


def zero_point(tensor: Tensor) -> int:
    """The tensor's one zero point.

    Raises:
        CircuitError: the tensor is not quantized per tensor.
    """
    if tensor.quantization is None or len(tensor.quantization.zero_point) != 1:
        raise CircuitError("tensor is not quantized per tensor", where=f"tensor {tensor.name}")
    return tensor.quantization.zero_point[0]


def scale(tensor: Tensor) -> float:
    """The tensor's one scale: a float32 value as a Python float.

    Raises:
        CircuitError: the tensor is not quantized per tensor.
    """
    if tensor.quantization is None or len(tensor.quantization.scale) != 1:
        raise CircuitError("tensor is not quantized per tensor", where=f"tensor {tensor.name}")
    return tensor.quantization.scale[0]


def integer_range(tensor: Tensor) -> tuple[int, int]:
    """Least and greatest value of the tensor's integer type.

    Raises:
        CircuitError: the tensor is not an integer tensor.
    """
    if tensor.dtype not in INTEGER_RANGES:
        raise CircuitError(f"an integer tensor was expected, not {tensor.dtype}", where=f"tensor {tensor.name}")
    return INTEGER_RANGES[tensor.dtype]
