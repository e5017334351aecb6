"""The owners' and receiver's side of rep3-mac: everything enters as bits, so nobody can input what is outside the type.

A tensor's elements, less its least value, are unsigned numbers of as many bits as their range has, 8 at least, shared
by XOR as in ``replicated.owner``; both holders of a component compare it before first use. An output component comes
from one holder, with the other's SHA-256 of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from hmac import compare_digest

import numpy as np

from mpc_bridge.backends.replicated.malicious.checks import OUTPUT
from mpc_bridge.backends.replicated.malicious.trust import PARTIES
from mpc_bridge.backends.replicated.owner import BITS_DOMAIN, IntArray, joined, output_width
from mpc_bridge.backends.sharing.entry import component_size, input_width
from mpc_bridge.backends.sharing.trust import DIGEST_BYTES
from mpc_bridge.errors import MalformedFrame
from mpc_bridge.kernels import Device, cpu_device, packed_bytes
from mpc_bridge.kernels.prf import KEY_BYTES, fresh_key
from mpc_bridge.lowering.program import Value


class Rep3MacOwner:
    """Splits and reconstructs (``backends.base.Owner``). Every call draws fresh seeds from the system."""

    def __init__(self, device: Device | None = None) -> None:
        self._device = device if device is not None else cpu_device()

    def share(self, value: Value, tensor: IntArray) -> Sequence[bytes]:
        """Messages for the three parties; ``tensor`` holds stored integers of ``value.shape``.

        Raises:
            ValueError: another shape, or an element outside the value's range.
        """
        if tuple(tensor.shape) != value.shape:
            raise ValueError(f"{value.name}: expected shape {value.shape}, got {tuple(tensor.shape)}")
        if tensor.size and (tensor.min() < value.low or tensor.max() > value.high):
            raise ValueError(f"{value.name}: an element is outside {value.low}..{value.high}")
        unsigned = (np.ascontiguousarray(tensor.reshape(-1), dtype=np.int64) - value.low).astype(np.uint64)
        explicit = self._device.pack_bits(unsigned, input_width(value))
        seeds = [fresh_key(), fresh_key()]
        pad = self._device.empty(explicit.size, np.uint8)
        for seed in seeds:
            explicit ^= self._device.prf_fill(seed, BITS_DOMAIN, pad)
        missing = explicit.tobytes()
        return [seeds[0] + seeds[1], seeds[1] + missing, missing + seeds[0]]

    def share_size(self, value: Value, party: int) -> int:
        """Bytes of the message for ``party``."""
        return 2 * KEY_BYTES if party == 0 else KEY_BYTES + component_size(value)

    def output_size(self, value: Value, party: int) -> int:
        """Bytes of the message that ``party`` sends for an output."""
        return packed_bytes(value.size, output_width(value)) + DIGEST_BYTES

    def reconstruct(self, value: Value, messages: Sequence[bytes]) -> IntArray:
        """The parties' own components put together, each compared with what its other holder says.

        Raises:
            MalformedFrame: a message has the wrong size.
            ProtocolAbort: two holders of a component disagree.
        """
        width = output_width(value)
        size = packed_bytes(value.size, width)
        for party, message in enumerate(messages):
            if len(message) != size + DIGEST_BYTES:
                raise MalformedFrame(
                    f"party {party} sent {len(message)} bytes for an output of {size + DIGEST_BYTES}",
                    where=f"output {value.name}",
                    hint="run the same version of mpc-bridge at every party",
                )
        for party in range(PARTIES):
            component = messages[(party + 1) % PARTIES][:size]
            if not OUTPUT.holds(compare_digest(sha256(component).digest(), messages[party][size:])):
                raise OUTPUT.error(f"output {value.name}, receiver")
        return joined(
            value,
            [self._device.unpack_bits(np.frombuffer(m[:size], np.uint8), value.size, width) for m in messages],
        )
