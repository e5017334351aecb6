"""The owners' and receiver's side of additive sharing: a fresh seed for each party but one, which gets what is missing.

All sizes depend on shapes only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpc_bridge.backends.additive.compile import CORRECTED
from mpc_bridge.backends.base import IntArray
from mpc_bridge.errors import MalformedFrame
from mpc_bridge.kernels import Device, cpu_device, packed_bytes
from mpc_bridge.kernels.prf import KEY_BYTES, fresh_key
from mpc_bridge.lowering.program import Value

#: PRF domains under a seed: the ring summand of a value, and its bit summand.
RING_DOMAIN, BITS_DOMAIN = 0, 1


def explicit_size(value: Value) -> int:
    """Bytes of one party's explicit summand of a value in the forms it needs."""
    return (packed_bytes(value.size, value.ring) if value.ring else 0) + (value.size if value.bits else 0)


def output_width(value: Value) -> int:
    """Bits per element of an output message."""
    if value.kind == "accumulator":
        return value.ring
    return value.high.bit_length() if value.high > 255 else 8


class AdditiveOwner:
    """Splits and reconstructs (``backends.base.Owner``). Every call draws fresh seeds from the system."""

    def __init__(self, parties: int, device: Device | None = None) -> None:
        self._parties = parties
        self._device = device if device is not None else cpu_device()

    def share(self, value: Value, tensor: IntArray) -> Sequence[bytes]:
        """One message per party; ``tensor`` holds stored integers of ``value.shape``."""
        if tuple(tensor.shape) != value.shape:
            raise ValueError(f"{value.name}: expected shape {value.shape}, got {tuple(tensor.shape)}")
        device, size = self._device, value.size
        seeds = [fresh_key() for _ in range(self._parties - 1)]
        flat = np.ascontiguousarray(tensor.reshape(-1), dtype=np.int64)
        parts = []
        if value.ring:
            missing = flat.view(np.uint64).copy()
            pad = device.empty(size, np.uint64)
            for seed in seeds:
                device.ring_sub(missing, device.prf_fill(seed, RING_DOMAIN, pad), missing)
            parts.append(device.pack_bits(missing, value.ring).tobytes())
        if value.bits:
            hidden = flat.astype(np.uint8)
            mask = device.empty(size, np.uint8)
            for seed in seeds:
                device.bits_xor(hidden, device.prf_fill(seed, BITS_DOMAIN, mask), hidden)
            parts.append(hidden.tobytes())
        seeds.insert(CORRECTED, b"".join(parts))
        return seeds

    def share_size(self, value: Value, party: int) -> int:
        """Bytes of the message for ``party``."""
        return explicit_size(value) if party == CORRECTED else KEY_BYTES

    def output_size(self, value: Value, party: int) -> int:
        """Bytes of the message that ``party`` sends for an output."""
        return packed_bytes(value.size, output_width(value))

    def reconstruct(self, value: Value, messages: Sequence[bytes]) -> IntArray:
        """The sum of the parties' summands: modulo ``2**ring`` and signed for an accumulator, XOR otherwise.

        Raises:
            MalformedFrame: a message has the wrong size.
        """
        width, device = output_width(value), self._device
        total = device.zeros(value.size, np.uint64)
        for party, message in enumerate(messages):
            if len(message) != packed_bytes(value.size, width):
                raise MalformedFrame(
                    f"party {party} sent {len(message)} bytes for an output of {packed_bytes(value.size, width)}",
                    where=f"output {value.name}",
                    hint="run the same version of mpc-bridge at every party",
                )
            summand = device.unpack_bits(np.frombuffer(message, np.uint8), value.size, width)
            if value.kind == "accumulator":
                device.ring_add(total, summand, total)
            else:
                device.bits_xor(total, summand, total)
        result = np.asarray(device.to_host(total))
        if value.kind == "accumulator":
            above = np.uint64(64 - width)
            return np.asarray((result << above).view(np.int64) >> np.int64(64 - width), np.int64).reshape(value.shape)
        return result.astype(np.int64).reshape(value.shape)
