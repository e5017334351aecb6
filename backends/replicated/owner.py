"""The owners' and receiver's side of rep3: splitting tensors into components, putting components together.

Components 0 and 1 are PRF streams of fresh seeds, component 2 is what is missing: party 0 gets two seeds, party 1 a
seed and component 2, party 2 component 2 and a seed. All sizes depend on shapes only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mpc_bridge.errors import MalformedFrame
from mpc_bridge.kernels import Device, cpu_device, packed_bytes
from mpc_bridge.kernels.prf import KEY_BYTES, fresh_key
from mpc_bridge.lowering.program import Value

PARTIES = 3
#: PRF domains under a seed: the ring components of a value, and its bit components.
RING_DOMAIN, BITS_DOMAIN = 0, 1

IntArray = npt.NDArray[np.int64]


def output_width(value: Value) -> int:
    """Bits per element of an output message: of an index, of an activation, of an accumulator's ring."""
    if value.kind == "accumulator":
        return value.ring
    return value.high.bit_length() if value.high > 255 else 8


def joined(value: Value, components: Sequence[npt.NDArray[np.uint64]]) -> IntArray:
    """What the three components of an output say: their XOR; an accumulator is their sum, signed modulo its ring."""
    total = np.zeros(value.size, np.uint64)
    if value.kind != "accumulator":
        for component in components:
            total ^= component
        return total.astype(np.int64).reshape(value.shape)
    for component in components:
        total += component
    above = 64 - value.ring
    return ((total << np.uint64(above)).view(np.int64) >> above).reshape(value.shape)


def explicit_size(value: Value) -> int:
    """Bytes of component 2 of a value in the forms it needs."""
    return (packed_bytes(value.size, value.ring) if value.ring else 0) + (value.size if value.bits else 0)


def read_share(
    value: Value, party: int, message: bytes, explicit: int
) -> tuple[tuple[bytes | None, bytes | None], bytes]:
    """A party's message taken apart: the seeds of its own and next component (None: explicit), and the explicit part.

    Args:
        explicit: bytes of component 2.

    Raises:
        MalformedFrame: the message has another size.
    """
    expected = 2 * KEY_BYTES if party == 0 else KEY_BYTES + explicit
    if len(message) != expected:
        raise MalformedFrame(
            f"the owner of {value.name} sent {len(message)} bytes instead of {expected}",
            where=f"party {party}, input",
            hint="run the same version of mpc-bridge at every party",
        )
    if party == 0:
        return (message[:KEY_BYTES], message[KEY_BYTES:]), b""
    if party == 1:
        return (message[:KEY_BYTES], None), message[KEY_BYTES:]
    return (None, message[explicit:]), message[:explicit]


class Rep3Owner:
    """Splits and reconstructs (``backends.base.Owner``). Every call draws fresh seeds from the system."""

    def __init__(self, device: Device | None = None) -> None:
        self._device = device if device is not None else cpu_device()

    def share(self, value: Value, tensor: IntArray) -> Sequence[bytes]:
        """Messages for the three parties; ``tensor`` holds stored integers of ``value.shape``."""
        if tuple(tensor.shape) != value.shape:
            raise ValueError(f"{value.name}: expected shape {value.shape}, got {tuple(tensor.shape)}")
        device, size = self._device, value.size
        seeds = [fresh_key(), fresh_key()]
        flat = np.ascontiguousarray(tensor.reshape(-1), dtype=np.int64)
        parts = []
        if value.ring:
            missing = flat.view(np.uint64).copy()
            pad = device.empty(size, np.uint64)
            for seed in seeds:
                device.prf_fill(seed, RING_DOMAIN, pad)
                device.ring_sub(missing, pad, missing)
            parts.append(device.pack_bits(missing, value.ring).tobytes())
        if value.bits:
            hidden = flat.astype(np.uint8)
            mask = device.empty(size, np.uint8)
            for seed in seeds:
                device.prf_fill(seed, BITS_DOMAIN, mask)
                hidden ^= mask
            parts.append(hidden.tobytes())
        explicit = b"".join(parts)
        return [seeds[0] + seeds[1], seeds[1] + explicit, explicit + seeds[0]]

    def share_size(self, value: Value, party: int) -> int:
        """Bytes of the message for ``party``."""
        return 2 * KEY_BYTES if party == 0 else KEY_BYTES + explicit_size(value)

    def output_size(self, value: Value, party: int) -> int:
        """Bytes of the message that ``party`` sends for an output."""
        return packed_bytes(value.size, output_width(value))

    def reconstruct(self, value: Value, messages: Sequence[bytes]) -> IntArray:
        """The three parties' own components, put together.

        Raises:
            MalformedFrame: a message has the wrong size.
        """
        width, components = output_width(value), []
        for party, message in enumerate(messages):
            if len(message) != packed_bytes(value.size, width):
                raise MalformedFrame(
                    f"party {party} sent {len(message)} bytes for an output of {packed_bytes(value.size, width)}",
                    where=f"output {value.name}",
                    hint="run the same version of mpc-bridge at every party",
                )
            components.append(self._device.unpack_bits(np.frombuffer(message, np.uint8), value.size, width))
        return joined(value, components)
