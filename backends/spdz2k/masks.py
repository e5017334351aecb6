"""Masks of what owners enter and receivers get: one summand per party, each a key that the dealer has committed to.

The dealer tells every party SHA-256 of each party's key and nonce (its *seal*). A party that shows its key shows all
parties' seals too, so whoever collects the keys of all of them, one of which is honest, gets the dealer's masks or
notices. Values are masked in ranges of :data:`SLAB` elements, each under keys of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from hmac import compare_digest

import numpy as np

from mpc_bridge.backends.sharing.checks import Check
from mpc_bridge.backends.sharing.shares import DeviceBuffer
from mpc_bridge.errors import MalformedFrame
from mpc_bridge.kernels import Device, packed_bytes
from mpc_bridge.kernels.prf import KEY_BYTES

#: Elements that are treated at once: what the dealer sends for them is one message.
SLAB = 8192
#: A key and its nonce.
OPENING_BYTES = KEY_BYTES + 32
SEAL_BYTES = 32


def slabs(size: int, unit: int = 1) -> list[slice]:
    """Ranges of at most :data:`SLAB` elements, whole multiples of ``unit`` each (of one, where it is greater)."""
    step = max(1, SLAB // unit) * unit
    return [slice(start, min(size, start + step)) for start in range(0, size, step)]


def seal(party: int, opening: bytes) -> bytes:
    """The dealer's commitment to a party's key and nonce."""
    return sha256(b"mpc-bridge mask" + bytes([party]) + opening).digest()


def mask_words(device: Device, opening: bytes, size: int, width: int) -> DeviceBuffer:
    """``size`` numbers below ``2**width``, one word each."""
    stream = device.prf_fill(opening[:KEY_BYTES], 0, device.empty(packed_bytes(size, width), np.uint8))
    return device.unpack_bits(stream, size, width)


def shown_size(size: int, parties: int) -> int:
    """Bytes of what one party shows of the masks of ``size`` elements."""
    return len(slabs(size)) * (OPENING_BYTES + SEAL_BYTES * parties)


def collect(shown: Sequence[bytes], size: int, check: Check, where: str) -> list[list[bytes]]:
    """Keys and nonces from all parties' messages of :func:`shown_size` bytes: by range, by party.

    A message holds for each range the party's key and nonce, then all parties' seals.

    Raises:
        MalformedFrame: a message has another size.
        ProtocolAbort: by ``check``: the seals differ, or a key is not the sealed one.
    """
    parties = len(shown)
    for party, message in enumerate(shown):
        if len(message) != shown_size(size, parties):
            raise MalformedFrame(
                f"party {party} sent {len(message)} bytes of masks instead of {shown_size(size, parties)}",
                where=where,
                hint="run the same version of mpc-bridge at every party",
            )
    found = []
    step = OPENING_BYTES + SEAL_BYTES * parties
    for at in range(0, len(slabs(size)) * step, step):
        openings = [message[at : at + OPENING_BYTES] for message in shown]
        seals = [message[at + OPENING_BYTES : at + step] for message in shown]
        right = b"".join(seal(party, opening) for party, opening in enumerate(openings))
        if not check.holds(all(compare_digest(right, other) for other in seals)):
            raise check.error(where)
        found.append(openings)
    return found


def sum_of_masks(
    device: Device, openings: Sequence[Sequence[bytes]], size: int, width: int, ring: bool
) -> DeviceBuffer:
    """The XOR (``ring``: the sum) of all parties' masks of ``size`` elements, one word each."""
    parts = []
    for part, keys in zip(slabs(size), openings, strict=True):
        count = part.stop - part.start
        total = device.zeros(count, np.uint64)
        for opening in keys:
            mask = mask_words(device, opening, count, width)
            total = device.ring_add(total, mask, total) if ring else device.bits_xor(total, mask, total)
        parts.append(total)
    return device.concatenate(parts) if parts else device.empty(0, np.uint64)
