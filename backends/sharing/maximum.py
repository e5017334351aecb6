"""Maxima over windows and arg-max: a tournament of pairwise comparisons, each level one pass over all pairs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from mpc_bridge.backends.sharing.circuit import Circuit
from mpc_bridge.backends.sharing.compare import clamp_circuit, maximum_circuit
from mpc_bridge.backends.sharing.planes import PlaneSink, PlaneSource
from mpc_bridge.backends.sharing.protocol import SharingProtocol
from mpc_bridge.backends.sharing.requantize import WIDTH
from mpc_bridge.backends.sharing.shares import BitShare, DeviceBuffer
from mpc_bridge.lowering.program import Geometry, Maximum, Value

_Index = npt.NDArray[np.int64]


@lru_cache(maxsize=64)
def duel_circuit(payload: int) -> Circuit:
    """The comparison of one pair: 8-bit values, and ``payload`` bits that travel with the winner."""
    return maximum_circuit(WIDTH, payload)


def tournament_circuits(step: Maximum, x: Value) -> list[Circuit]:
    """What :func:`tournament` and the final clamp run, for compiling ahead."""
    circuits = [duel_circuit(max(1, (x.shape[-1] - 1).bit_length()) if step.argmax else 0)]
    if not step.argmax and (step.low > 0 or step.high < (1 << WIDTH) - 1):
        circuits.append(clamp_circuit(WIDTH, step.low, step.high))
    return circuits


def window_index(geometry: Geometry) -> _Index:
    """``[outputs, cells]`` flat positions of every window's cells in the NHWC input, -1 outside the image."""
    g = geometry
    rows = np.arange(g.out_height)[:, None] * g.stride[0] + np.arange(g.kernel[0]) * g.dilation[0] - g.pad_top
    columns = np.arange(g.out_width)[:, None] * g.stride[1] + np.arange(g.kernel[1]) * g.dilation[1] - g.pad_left
    inside = ((rows >= 0) & (rows < g.in_height))[:, None, :, None] & ((columns >= 0) & (columns < g.in_width))[
        None, :, None
    ]
    pixel = np.where(inside, rows[:, None, :, None] * g.in_width + columns[None, :, None], -1)
    pixel = pixel.reshape(1, g.out_height * g.out_width, 1, g.kernel[0] * g.kernel[1])
    image = np.arange(g.batch).reshape(-1, 1, 1, 1) * (g.in_height * g.in_width)
    channel = np.arange(g.in_channels).reshape(1, 1, -1, 1)
    flat = np.where(pixel >= 0, (pixel + image) * g.in_channels + channel, -1)
    return np.ascontiguousarray(flat.reshape(-1, g.kernel[0] * g.kernel[1]), dtype=np.int64)


@dataclass(frozen=True)
class Candidates:
    """``[rows, count]`` shared 8-bit values, and optionally their numbers, in rows one after the other."""

    values: tuple[DeviceBuffer, ...]
    numbers: tuple[DeviceBuffer, ...] | None
    rows: int
    count: int

    @classmethod
    def plain(cls, protocol: SharingProtocol, source: BitShare, index: _Index) -> Candidates:
        """The elements at ``index`` ``[rows, count]``; -1 stands for zero, which no maximum is below."""
        return cls(_select(protocol, source.components, index), None, *index.shape)

    @classmethod
    def numbered(
        cls, protocol: SharingProtocol, source: BitShare, index: _Index, numbers: tuple[DeviceBuffer, ...]
    ) -> Candidates:
        """Likewise, with the components of numbers 0, 1, … along each row."""
        return cls(_select(protocol, source.components, index), numbers, *index.shape)


def _select(protocol: SharingProtocol, components: tuple[DeviceBuffer, ...], index: _Index) -> tuple[DeviceBuffer, ...]:
    device, flat = protocol.device, np.ascontiguousarray(index.reshape(-1))
    result = []
    for component in components:
        target = device.empty(flat.size, component.dtype)
        gather = device.gather_u8 if component.dtype == np.uint8 else device.gather_u64
        gather(component, flat, 0, target)
        result.append(target)
    return tuple(result)


def tournament(protocol: SharingProtocol, entrants: Candidates, width: int) -> Candidates:
    """The greatest of each row, the first of equals; ``width`` bits of its number where there are numbers.

    ``ceil(log2(count))`` levels of ``1 + log2(8) + 1`` rounds.
    """
    current = entrants
    while current.count > 1:
        current = _level(protocol, current, width)
    return current


def _level(protocol: SharingProtocol, current: Candidates, width: int) -> Candidates:
    rows, count, pairs = current.rows, current.count, current.count // 2
    position = np.arange(rows * count, dtype=np.int64).reshape(rows, count)
    sources, sinks = [], [PlaneSink(WIDTH)]
    for side in (0, 1):
        chosen = position[:, side : 2 * pairs : 2]
        sources.append(PlaneSource(_select(protocol, current.values, chosen), WIDTH))
        if current.numbers is not None:
            sources.append(PlaneSource(_select(protocol, current.numbers, chosen), width))
    if current.numbers is not None:
        sinks.append(PlaneSink(width, wide=True))
    winners = protocol.evaluate(duel_circuit(width), sources, sinks, rows * pairs)
    if count % 2:
        # the odd one out goes on as it is, behind the winners: order decides ties
        merged = np.concatenate([np.arange(rows * pairs).reshape(rows, pairs), rows * pairs + position[:, -1:]], axis=1)
        olds = [current.values] if current.numbers is None else [current.values, current.numbers]
        winners = [
            _select(
                protocol,
                tuple(protocol.device.concatenate([w, o]) for w, o in zip(won, old, strict=True)),
                merged,
            )
            for won, old in zip(winners, olds, strict=True)
        ]
    return Candidates(winners[0], winners[1] if len(winners) > 1 else None, rows, pairs + count % 2)
