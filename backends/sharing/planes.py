"""Running a microprogram on a device: registers, inputs into planes, outputs out of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mpc_bridge.backends.sharing.microcode import Microprogram
from mpc_bridge.backends.sharing.shares import DeviceBuffer
from mpc_bridge.kernels import Device

#: Rows start on a vector boundary.
_ALIGNMENT = 64
#: Rows that are a multiple of this apart would all fall into the same cache sets.
_PAGE = 4096


@dataclass(frozen=True)
class PlaneSource:
    """``count`` planes per component: the low bits of uint8 or uint64 elements."""

    components: tuple[DeviceBuffer, ...]
    count: int


@dataclass(frozen=True)
class PlaneSink:
    """``count`` planes per component, back into uint64 elements (``wide``) or uint8 ones."""

    count: int
    wide: bool = False


class Scratch:
    """Named device buffers that grow and are used again: fresh pages cost as much as the work on them."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._buffers: dict[str, DeviceBuffer] = {}

    def take(self, name: str, size: int) -> DeviceBuffer:
        """``size`` bytes of uint8, contents arbitrary, valid until the name is taken again."""
        buffer = self._buffers.get(name)
        if buffer is None or len(buffer) < size:
            buffer = self._buffers[name] = self._device.empty(size + size // 4, np.uint8)
        return buffer[:size]


class Arena:
    """Device memory handed out piece by piece and taken back all at once.

    It grows by blocks, each twice the one before, so that small work stays small.
    """

    def __init__(self, device: Device, block: int = 1 << 20) -> None:
        self._device = device
        self._block = block
        self._blocks: list[DeviceBuffer] = []
        self._current = 0
        self._used = 0

    def take(self, size: int) -> DeviceBuffer:
        """``size`` bytes of uint8, contents arbitrary, valid until :meth:`reset`."""
        size = -(-size // _ALIGNMENT) * _ALIGNMENT
        while self._current < len(self._blocks):
            block = self._blocks[self._current]
            if self._used + size <= len(block):
                self._used += size
                return block[self._used - size : self._used]
            self._current, self._used = self._current + 1, 0
        self._blocks.append(self._device.empty(max(size, self._block), np.uint8))
        self._block *= 2
        self._used = size
        return self._blocks[-1][:size]

    def reset(self) -> None:
        """Everything that was handed out is free again."""
        self._current = self._used = 0


def plane_stride(lanes: int) -> int:
    """Bytes from one register to the next."""
    stride = -(-lanes // (8 * _ALIGNMENT)) * _ALIGNMENT
    return stride + _ALIGNMENT if stride % _PAGE == 0 else stride


class PlaneLane:
    """One microprogram on one range of lanes.

    Args:
        lanes: bits per plane.
        planes: the registers, ``program.registers * plane_stride(lanes)`` bytes.
        keys: 16 bytes per key slot of the pads.
        domain: PRF counter domain of the pads, used nowhere else with these keys.
        slot: tells lanes that are alive at once apart.
    """

    def __init__(
        self,
        device: Device,
        scratch: Scratch,
        program: Microprogram,
        lanes: int,
        planes: DeviceBuffer,
        keys: bytes,
        domain: int,
        slot: int,
    ) -> None:
        self._device, self._scratch, self._slot = device, scratch, slot
        self._keys, self._domain = keys, domain
        self.program = program
        self.lanes = lanes
        self.bytes = -(-lanes // 8)
        self.planes = planes.reshape(program.registers, plane_stride(lanes))
        self.incoming = scratch.take(f"incoming {slot}", 0)

    def fill(self, register: int, source: DeviceBuffer, count: int, low: int = 0) -> None:
        """Bits ``low..low+count-1`` of ``lanes`` elements into ``count`` registers."""
        rows = self.planes[register : register + count]
        if source.dtype == np.uint8:
            self._device.bytes_slice(source, low, count, rows)
        else:
            self._device.bits_slice(source, low, count, rows)

    def drain(self, output: int, count: int, target: DeviceBuffer) -> None:
        """``count`` outputs, from number ``output`` on, into ``lanes`` elements."""
        first = self.program.outputs + output
        rows = self.planes[first : first + count]
        if target.dtype == np.uint8:
            self._device.bytes_unslice(rows, self.lanes, target)
        else:
            self._device.bits_unslice(rows, self.lanes, target)

    def load(self, register: int, rows: DeviceBuffer) -> None:
        """Whole planes, as messages hold them, into registers."""
        count = len(rows) // self.bytes
        self._device.planes_load(rows, self.planes[register : register + count], self.bytes)

    def save(self, register: int, count: int) -> DeviceBuffer:
        """``count`` registers as messages hold planes."""
        return self._device.planes_save(self.planes[register : register + count], self.bytes)

    def run(self, stage: int) -> list[DeviceBuffer]:
        """Runs one stage on :attr:`incoming`; one outgoing buffer per link."""
        part = self.program.stages[stage]
        outgoing = self._scratch.take(f"outgoing {self._slot}", sum(part.sends) * self.bytes)
        self._device.planes_run(self.planes, self.bytes, part.code, self._keys, self._domain, self.incoming, outgoing)
        return self._split(outgoing, part.sends)

    def expect(self, stage: int) -> list[DeviceBuffer]:
        """One buffer per link for what arrives before ``stage``."""
        part = self.program.stages[stage]
        self.incoming = self._scratch.take(f"incoming {self._slot}", sum(part.receives) * self.bytes)
        return self._split(self.incoming, part.receives)

    def _split(self, buffer: DeviceBuffer, counts: Sequence[int]) -> list[DeviceBuffer]:
        parts, at = [], 0
        for count in counts:
            parts.append(buffer[at : at + count * self.bytes])
            at += count * self.bytes
        return parts
