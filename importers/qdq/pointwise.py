"""Functions of one integer: a dequantized activation, and everything that only maps its elements one by one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpc_bridge.circuit.fixedpoint import requantize
from mpc_bridge.circuit.graph import INTEGER_RANGES
from mpc_bridge.importers.qdq.builder import Builder
from mpc_bridge.importers.qdq.formats import Format, Ints
from mpc_bridge.importers.qdq.functions import Floats
from mpc_bridge.importers.qdq.layout import Laid
from mpc_bridge.importers.qdq.refusals import QUANTIZE_IT, UnsupportedNodeError


@dataclass(frozen=True, eq=False)
class Pointwise:
    """``values[int]``.

    Attributes:
        source: the integers, 8 bits.
        values: float32 [256], by the source's integers ascending, as the framework computes them.
        lowest: integer of the source's type.
        scale: of the real numbers that the source's integers stand for here.
        span: least and greatest of the source's integers.
        affine: ``(factor, bias)`` where the function is exactly ``factor * (int - zero_point) + bias``; else None.
    """

    source: Laid
    values: Floats
    lowest: int
    scale: float
    span: tuple[int, int]
    affine: tuple[float, float] | None

    @property
    def increasing(self) -> bool:
        """Whether it commutes with comparisons."""
        return bool(np.all(self.values[1:] >= self.values[:-1]))

    def quantize(self, builder: Builder, form: Format, low: int, high: int) -> Laid:
        """A copy, a QUANTIZE where its exact rule gives the framework's float32 table, else the TABLE."""
        tensor = builder.tensors[self.source.tensor]
        table = np.clip(form.quantize(self.values), low, high)
        inputs = _inputs(tensor.dtype)
        used = (inputs >= self.span[0]) & (inputs <= self.span[1])
        if tensor.dtype == form.dtype and np.array_equal(table[used], inputs[used]):
            return Laid(builder.relabel(self.source.tensor, form.quantization), self.source.shape, self.source.order)
        multiplier = float(np.float32(self.scale) / np.float32(form.scale[0]))
        bounds = (int(table.min()), int(table.max()))
        if self._is_exact(builder, table, multiplier, form, *bounds):
            output = builder.op("QUANTIZE", (self.source.tensor,), tensor.shape, form.dtype, form.quantization,
                                requantization=("half_even", (multiplier,), *bounds))
        else:
            output = builder.op("TABLE", (self.source.tensor,), tensor.shape, form.dtype, form.quantization,
                                table=tuple(table.tolist()))
        return Laid(output, self.source.shape, self.source.order)

    def _is_exact(self, builder: Builder, table: Ints, multiplier: float, form: Format, low: int, high: int) -> bool:
        if not 2.0**-30 < multiplier < 2.0**30:
            return False
        zero_point = builder.quantization(self.source.tensor)[1]
        centred = _inputs(builder.tensors[self.source.tensor].dtype) - zero_point
        return np.array_equal(table, requantize(centred, "half_even", multiplier, form.zero_point[0], low, high))

    def integers(self, builder: Builder) -> tuple[Laid, float]:
        """Integers whose multiples of a factor are exactly this tensor, for what multiplies or sums integers.

        Returns:
            ``(integers, factor)``: the tensor is ``factor * (integers - their zero point)``.

        Raises:
            UnsupportedNodeError: no such integers.
        """
        if self.affine is not None and self.affine[1] == 0:
            return self.source, self.affine[0]
        # a relu of a dequantized tensor: its values are among those of the tensor's own integers
        tensor = builder.tensors[self.source.tensor]
        zero_point = builder.quantization(self.source.tensor)[1]
        inputs = _inputs(tensor.dtype)
        grid = (inputs - zero_point).astype(np.float32) * np.float32(self.scale)
        positions = np.clip(np.searchsorted(grid, self.values), 0, 255)
        if not np.array_equal(grid[positions], self.values):
            raise UnsupportedNodeError("a function of a tensor that is used before it is quantized", QUANTIZE_IT)
        output = builder.op("TABLE", (self.source.tensor,), tensor.shape, tensor.dtype, tensor.quantization,
                            table=tuple(inputs[positions].tolist()))
        return Laid(output, self.source.shape, self.source.order), self.scale


def dequantized(builder: Builder, source: Laid, form: Format, span: tuple[int, int]) -> Pointwise:
    """A Dequantize of an activation whose integers are in a span."""
    relabelled = Laid(builder.relabel(source.tensor, form.quantization), source.shape, source.order)
    inputs = _inputs(form.dtype)
    return Pointwise(relabelled, form.dequantize(inputs), int(inputs[0]), form.scale[0], span, (form.scale[0], 0.0))


def _inputs(dtype: str) -> Ints:
    low, high = INTEGER_RANGES[dtype]
    return np.arange(low, high + 1)
