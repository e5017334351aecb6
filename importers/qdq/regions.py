"""Regions: everything between the Dequantize nodes and one Quantize, in normal form.

    q = Quantize( moves( clamp[low, high]( base ) ) )

The base is a float tensor whose every element is known in terms of integers: most often
``sum_i scale_i[c] * (int_i - zero_point_i) + bias[c]`` (:mod:`mpc_bridge.importers.qdq.sums`), or any function of one
integer (:mod:`mpc_bridge.importers.qdq.pointwise`), a mean, a product, a float input of the model. A quantizer is
monotone, so clamps become bounds on integers, and what only moves or compares elements (reshape, pad, concat, max-pool)
happens to the integers after it: a region is one requantization.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from mpc_bridge.importers.qdq.builder import Builder
from mpc_bridge.importers.qdq.formats import Format
from mpc_bridge.importers.qdq.layout import Laid
from mpc_bridge.importers.qdq.refusals import UnsupportedNodeError
from mpc_bridge.importers.qdq.shapes import Shape

#: Most moves of one region, and joins within each other; real models have a handful.
MAX_MOVES = 64
MAX_DEPTH = 16


class Base(Protocol):
    """What a region rounds."""

    def quantize(self, builder: Builder, form: Format, low: int, high: int) -> Laid:
        """Integers of the format, clamped to ``[low, high]``.

        Raises:
            UnsupportedNodeError: this base has no exact integers.
        """
        ...


@dataclass(frozen=True)
class Move:
    """What happens to elements without any arithmetic.

    Attributes:
        apply: on integers, or on floats after the reveal.
        pure: it only moves elements: it commutes with every function of one element. Otherwise it also compares them,
            and commutes with every monotone one.
        fill: the real value of cells that it adds; None where it adds none.
    """

    apply: Callable[[Builder, Laid], Laid]
    pure: bool = True
    fill: float | None = None


@dataclass(frozen=True, eq=False)
class Region:
    """A float tensor in normal form.

    Attributes:
        base: before clamp and moves.
        shape: after them, in the framework.
        low, high: of the clamp, infinite where open.
        moves: in order.
    """

    base: Base
    shape: Shape
    low: float = -math.inf
    high: float = math.inf
    moves: tuple[Move, ...] = ()

    @property
    def bare(self) -> bool:
        """Neither clamp nor moves."""
        return not self.moves and (self.low, self.high) == (-math.inf, math.inf)

    def clamped(self, low: float, high: float) -> Region:
        """A clamp of the result: it commutes with every move."""
        def clamp(value: float) -> float:
            return min(max(value, low), high)
        moves = tuple(move if move.fill is None else _refilled(move, clamp(move.fill)) for move in self.moves)
        return replace(self, low=clamp(self.low), high=clamp(self.high), moves=moves)

    def moved(self, move: Move, shape: Shape) -> Region:
        """One more move."""
        if len(self.moves) >= MAX_MOVES:
            raise UnsupportedNodeError(f"more than {MAX_MOVES} ops that move elements before they are quantized",
                                       "quantize the tensor between them")
        return replace(self, moves=(*self.moves, move), shape=shape)

    def quantize(self, builder: Builder, form: Format) -> Laid:
        """The region's integers, computed once."""
        known = builder.quantized.get((self, form))
        if not isinstance(known, Laid):
            known = builder.quantized[self, form] = self._quantize(builder, form)
        return known

    def _quantize(self, builder: Builder, form: Format) -> Laid:
        result = self.base.quantize(builder, form, form.bound(self.low), form.bound(self.high))
        for move in self.moves:
            if move.fill is not None and form.bound(move.fill) != form.zero_point[0]:
                raise UnsupportedNodeError(
                    f"a padding with {move.fill:g} of a tensor that is not quantized yet",
                    "pad with 0, or quantize the tensor before it is padded")
            result = move.apply(builder, result)
        return result


def _refilled(move: Move, fill: float) -> Move:
    return replace(move, fill=fill)


@dataclass(frozen=True)
class Joined:
    """Regions that become one tensor without arithmetic: side by side, or the greater of two."""

    join: Callable[[Builder, list[Laid]], Laid]
    parts: tuple[Region, ...]
    #: how many joins are within each other, this one included
    depth: int = field(init=False)

    def __post_init__(self) -> None:
        # once: a part may be there a thousand times, and each of its own
        depth = 1 + max((part.base.depth for part in self.parts if isinstance(part.base, Joined)), default=0)
        object.__setattr__(self, "depth", depth)
        if depth > MAX_DEPTH:
            raise UnsupportedNodeError(f"more than {MAX_DEPTH} tensors joined within each other",
                                       "quantize the tensors between the joins")

    def quantize(self, builder: Builder, form: Format, low: int, high: int) -> Laid:
        """See :class:`Base`: every part by itself, then the join."""
        bounded = replace(form, low=low, high=high)
        return self.join(builder, [part.quantize(builder, bounded) for part in self.parts])


@dataclass(frozen=True)
class Entry:
    """A float input of the model: its owner quantizes it."""

    tensor: Laid

    def quantize(self, builder: Builder, form: Format, low: int, high: int) -> Laid:
        """See :class:`Base`: in the framework's own float32."""
        rule, multiplier = (("float32_divide_even", form.scale[0]) if form.divides
                            else ("float32_multiply_even", form.inverse[0]))
        shape = builder.shape(self.tensor.tensor)
        output = builder.op("QUANTIZE", (self.tensor.tensor,), shape, form.dtype, form.quantization,
                            requantization=(rule, (multiplier,), low, high))
        return Laid(output, self.tensor.shape, self.tensor.order)
