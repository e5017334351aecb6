"""Local arithmetic on ring values with MACs: whatever is done to a summand is done to that of the MAC.

A value has two components, wide ``[size, 2]``: summands of ``x`` and of ``alpha * x``. A public constant is added by
one party to the first and, times its summand of alpha, by everybody to the second.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpc_bridge.backends.additive.source import Ticket
from mpc_bridge.backends.sharing.shares import DeviceBuffer, RingShare
from mpc_bridge.backends.spdz2k.demands import SIGMA
from mpc_bridge.backends.spdz2k.source import SealedSource
from mpc_bridge.kernels import Device, packed_bytes
from mpc_bridge.kernels.wide import wide_from_int


class Authenticated:
    """One party's arithmetic.

    Args:
        source: whose keys count.
        first: whether this party takes public constants.
    """

    def __init__(self, device: Device, source: SealedSource, first: bool) -> None:
        self.device, self.source, self.first = device, source, first

    def ones(self) -> tuple[int, int]:
        """What the public constant one adds to this party's summands of a value and of its MAC."""
        return int(self.first), self.source.keys.alpha

    # Dealt values ---------------------------------------------------------------------------------------------------

    def stream(self, ticket: Ticket, stream: int, size: int) -> DeviceBuffer:
        """One of the demand's streams, wide ``[size, 2]``."""
        out = self.device.empty((size, 2), np.uint64)
        return self.device.prf_fill(self.source.key, ticket.domain + stream, out)

    def dealt(
        self, ticket: Ticket, stream: int, size: int, ring: int, corrections: DeviceBuffer | None, at: int
    ) -> DeviceBuffer:
        """Own summands of what preprocessing shares: a stream, or the corrections from byte ``at`` on."""
        if corrections is None:
            return self.stream(ticket, stream, size)
        bits = ring + SIGMA
        return self.device.wide_unpack(corrections[at : at + packed_bytes(size, bits)], size, bits)

    def dealt_pair(self, ticket: Ticket, stream: int, size: int, ring: int, corrections: DeviceBuffer | None,
                   at: int) -> RingShare:
        """A value that preprocessing shares, and its MAC: two streams, or corrections one after the other."""
        half = packed_bytes(size, ring + SIGMA)
        value = self.dealt(ticket, stream, size, ring, corrections, at)
        return RingShare((value, self.dealt(ticket, stream + 1, size, ring, corrections, at + half)), size, ring)

    # Arithmetic -----------------------------------------------------------------------------------------------------

    def zeros(self, size: int, ring: int) -> RingShare:
        """The public value zero."""
        return RingShare(tuple(self.device.zeros((size, 2), np.uint64) for _ in range(2)), size, ring)

    def plus(self, x: RingShare, constant: int) -> RingShare:
        """``x + constant``; x itself stays as it is."""
        if not constant:
            return x
        one = wide_from_int(1)
        parts = [self.device.wide_channel_affine(c, one, wide_from_int(constant * unit))
                 for c, unit in zip(x.components, self.ones(), strict=True)]
        return RingShare(tuple(parts), x.size, x.width)

    def minus(self, x: RingShare, y: RingShare) -> RingShare:
        """``x - y``."""
        parts = [self.device.wide_sub(a, b) for a, b in zip(x.components, y.components, strict=True)]
        return RingShare(tuple(parts), x.size, x.width)

    def add(self, total: RingShare, x: RingShare) -> None:
        """``total += x``, in place."""
        for target, addend in zip(total.components, x.components, strict=True):
            self.device.wide_add(target, addend, target)

    def affine(self, x: RingShare, multiplier: Sequence[int], constant: Sequence[int]) -> RingShare:
        """``x * multiplier + constant`` by channel, the fastest axis (a single one: for all)."""
        m = self.row(multiplier)
        parts = [
            self.device.wide_channel_affine(c, m, self.row([unit * value for value in constant]))
            for c, unit in zip(x.components, self.ones(), strict=True)
        ]
        return RingShare(tuple(parts), x.size, x.width)

    def row(self, values: Sequence[int]) -> DeviceBuffer:
        """Public numbers as wide elements."""
        return self.device.concatenate([wide_from_int(value) for value in values])

    def unmask(self, opened: DeviceBuffer, masks: RingShare, width: int) -> RingShare:
        """The numbers ``opened ^ r``, where ``masks`` share r's bits: all lowest ones, then the next."""
        parts = [self.device.wide_unmask_bits(opened, c, width, unit)
                 for c, unit in zip(masks.components, self.ones(), strict=True)]
        return RingShare(tuple(parts), opened.size, masks.width)

    def joined(self, parts: Sequence[RingShare]) -> RingShare:
        """Values one after the other."""
        if len(parts) == 1:
            return parts[0]
        components = [self.device.concatenate([part.components[side] for part in parts]).reshape(-1, 2)
                      for side in range(2)]
        return RingShare(tuple(components), sum(part.size for part in parts), parts[0].width)
