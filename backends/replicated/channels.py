"""A requantise step's public constants for any range of elements, wherever among the channels it begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mpc_bridge.backends.sharing.requantize import tie_operands
from mpc_bridge.backends.sharing.shares import DeviceBuffer
from mpc_bridge.kernels import Device
from mpc_bridge.lowering.program import Requantize


@dataclass(frozen=True)
class ChannelConstants:
    """Public constants of a requantise step, from some channel on, one per channel.

    ``moved`` is what the tie rule adds to the right operand to look again; None without the rule.
    """

    multiplier: DeviceBuffer
    constant: DeviceBuffer
    moved: DeviceBuffer | None


class Channels:
    """Constants on the device, made once per step and first channel."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._known: dict[tuple[int, int], ChannelConstants] = {}

    def constants(self, step: Requantize, first: int) -> ChannelConstants:
        """The step's constants for elements from ``first`` on, whose channel is the first one of the result."""
        offset = first % len(step.multiplier)
        key = (step.output, offset)
        known = self._known.get(key)
        if known is None:

            def turned(values: Sequence[int]) -> DeviceBuffer:
                return self._device.from_host(np.roll(np.array([v % 2**64 for v in values], np.uint64), -offset))

            constant, moved = tie_operands(step)
            known = ChannelConstants(
                turned(step.multiplier), turned(constant), None if moved is None else turned(moved)
            )
            self._known[key] = known
        return known

    def affine(self, x: DeviceBuffer, m: DeviceBuffer, c: DeviceBuffer | None = None) -> DeviceBuffer:
        """``x * m + c`` with channels along x; the last round of channels may be incomplete."""
        out = self._device.empty(len(x), np.uint64)
        whole = len(x) // len(m) * len(m)
        if whole:
            self._device.ring_channel_affine(x[:whole], m, c, out[:whole])
        if whole < len(x):
            rest = len(x) - whole
            self._device.ring_channel_affine(x[whole:], m[:rest], None if c is None else c[:rest], out[whole:])
        return out
