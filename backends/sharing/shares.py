"""What a party holds of a value: components of a ring sharing, of a bit sharing, or both.

A linear secret-sharing scheme gives every party a fixed number of components (rep3: two, additive: one); whatever is
local and linear is done to each of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

#: A device buffer (on the CPU a numpy array): opaque to everything but the device's kernels.
DeviceBuffer = Any


@dataclass(frozen=True)
class RingShare:
    """Components of integers modulo ``2**width``.

    Uint64 buffers of ``size`` elements, bits above ``width`` arbitrary.
    """

    components: tuple[DeviceBuffer, ...]
    size: int
    width: int


@dataclass(frozen=True)
class BitShare:
    """XOR components of unsigned 8-bit values: uint8 buffers of ``size`` elements."""

    components: tuple[DeviceBuffer, ...]
    size: int


@dataclass(frozen=True)
class IndexShare:
    """XOR components of the indices an arg-max leaves: uint64 buffers, ``width`` bits each."""

    components: tuple[DeviceBuffer, ...]
    size: int
    width: int


@dataclass(frozen=True)
class SharedTensor:
    """One value in the forms its consumers need (``Value.ring``, ``Value.bits``)."""

    shape: tuple[int, ...]
    ring: RingShare | None = None
    bits: BitShare | None = None
    index: IndexShare | None = None
