"""How values come in from their owners and go out to the receiver: under masks that no proper subset of parties knows.

An owner adds up all parties' masks and shows everybody the masked value, whose bits thus have MACs without a message:
nobody can enter what its type does not hold, and no party can change it. A receiver gets the masked output, opened and
checked, from every party, and every party's mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

import numpy as np

from mpc_bridge.backends.sharing.entry import component_size, input_width
from mpc_bridge.backends.sharing.shares import BitShare, DeviceBuffer, RingShare
from mpc_bridge.backends.sharing.trust import Trust
from mpc_bridge.backends.spdz2k.authenticated import Authenticated
from mpc_bridge.backends.spdz2k.checks import INPUT_AGREEMENT
from mpc_bridge.backends.spdz2k.circuits import Circuits
from mpc_bridge.backends.spdz2k.demands import SIGMA, Exit, RingExit, mask_opening
from mpc_bridge.backends.spdz2k.masks import mask_words, slabs
from mpc_bridge.backends.spdz2k.openings import Openings
from mpc_bridge.backends.spdz2k.planner import entries
from mpc_bridge.backends.spdz2k.source import SealedTicket
from mpc_bridge.errors import MalformedFrame
from mpc_bridge.kernels import Device
from mpc_bridge.lowering.program import Value


class Borders:
    """One party's side."""

    def __init__(self, trust: Trust, openings: Openings, arithmetic: Authenticated, circuits: Circuits) -> None:
        self._trust, self._openings, self._arithmetic, self._circuits = trust, openings, arithmetic, circuits
        self._device = openings.device
        self._source = arithmetic.source
        #: what an owner was told last: tickets, and own keys
        self._entered: list[tuple[SealedTicket, bytes]] = []

    def _opening(self, ticket: SealedTicket) -> bytes:
        return mask_opening(self._device, self._source.key, ticket.domain)

    # In -------------------------------------------------------------------------------------------------------------

    def mask(self, value: Value) -> bytes:
        """For the value's owner: this party's masks of it, and the dealer's seals of all parties' masks."""
        tickets = [self._source.take_sealed(demand) for demand in entries(value)]
        self._entered = [(ticket, self._opening(ticket)) for ticket in tickets]
        return b"".join(opening + ticket.seals for ticket, opening in self._entered)

    def load(self, value: Value, message: bytes) -> tuple[RingShare | None, BitShare | None]:
        """The masked value, compared among all parties, is taken off its mask: one round.

        Raises:
            MalformedFrame: the message has the wrong size. ProtocolAbort: the parties got different ones.
        """
        if len(message) != component_size(value):
            raise MalformedFrame(
                f"the owner of {value.name} sent {len(message)} bytes instead of {component_size(value)}",
                where=f"party {self._trust.party}, input",
                hint="run the same version of mpc-bridge at every party",
            )
        agreed = self._trust.compare([sha256(message).digest()], "input agreement")
        self._trust.require(INPUT_AGREEMENT, all(agreed))
        device, width = self._device, input_width(value)
        masked = device.unpack_bits(device.from_host(np.frombuffer(message, np.uint8)), value.size, width)
        rings, planes = [], []
        for part, (ticket, opening) in zip(slabs(value.size), self._entered, strict=True):
            public, at = masked[part], 0
            if value.bits:
                mask = mask_words(device, opening, len(public), width)
                own = device.bits_xor(mask, public) if self._arithmetic.first else mask
                planes.append((device.low_bytes(own), *self._circuits.known(ticket, public, width, ticket.corrections)))
                at = 8 * width * len(public)
            if value.ring:
                count = width * len(public)
                masks = self._arithmetic.dealt_pair(ticket, 2, count, value.ring, ticket.corrections, at)
                rings.append(self._arithmetic.unmask(public, masks, width))
        self._entered = []
        ring = self._arithmetic.plus(self._arithmetic.joined(rings), value.low) if rings else None
        bits = BitShare(joined(device, planes), value.size) if planes else None
        return ring, bits

    # Out ------------------------------------------------------------------------------------------------------------

    def reveal(self, components: tuple[DeviceBuffer, ...], width: int) -> bytes:
        """This party's message to the receiver, of ``width``-bit numbers shared by XOR, once everything is checked."""
        device, masked, shown = self._device, [], []
        for part in slabs(len(components[0])):
            own, *rows = (component[part] for component in components)
            ticket = self._source.take_sealed(Exit(len(own), width))
            opening = self._opening(ticket)
            words = device.words_of(own) if own.dtype == np.uint8 else own
            hidden = device.bits_xor(words, mask_words(device, opening, len(own), width))
            opened = self._openings.open_bytes(device.pack_bits(hidden, width), "masked output")
            masked.append(device.unpack_bits(opened, len(own), width))
            # bits that a number has no plane for are zero, and so are their MACs
            rows += [device.zeros(len(own), np.uint64)] * (width - len(rows))
            self._circuits.opened(ticket, masked[-1], rows, ticket.corrections)
            shown.append(opening + ticket.seals)
        return self._leave(masked, shown, width)

    def reveal_ring(self, x: RingShare) -> bytes:
        """As :meth:`reveal`, of sums modulo ``2^k``: opened under ``r + 2^k u``, of which the receiver gets r."""
        device, masked, shown, ring = self._device, [], [], x.width
        for part in slabs(x.size):
            own, mac = (component[part] for component in x.components)
            ticket = self._source.take_sealed(RingExit(len(own), ring))
            opening = self._opening(ticket)
            mask = device.wide_shift_left(self._arithmetic.stream(ticket, 2, len(own)), ring)
            device.wide_add(mask, device.wide_from_ring(mask_words(device, opening, len(own), ring)), mask)
            mask_mac = self._arithmetic.dealt(ticket, 3, len(own), ring, ticket.corrections, 0)
            hidden = RingShare((device.wide_add(own, mask), device.wide_add(mac, mask_mac)), len(own), ring)
            opened = open_ring(self._openings, self._arithmetic, hidden, ring + SIGMA, "masked output")
            masked.append(device.wide_low(opened, ring))
            shown.append(opening + ticket.seals)
        return self._leave(masked, shown, ring)

    def _leave(self, masked: Sequence[DeviceBuffer], shown: Sequence[bytes], width: int) -> bytes:
        self._openings.verify()
        # nobody's mask leaves before all others have found nothing wrong either
        self._trust.barrier()
        if self._openings.pending:
            raise RuntimeError("an output would be revealed before it is verified")
        device = self._device
        return bytes(device.to_host(device.pack_bits(device.concatenate(masked), width))) + b"".join(shown)


def open_ring(
    openings: Openings, arithmetic: Authenticated, x: RingShare, bits: int, label: str
) -> DeviceBuffer:
    """Opens masked ring values modulo ``2**bits``, and records them for the check: wide ``[size, 2]``."""
    own, mac = x.components
    opened = openings.open_ring(own, bits, label)
    device = arithmetic.device
    openings.record_ring(device.wide_sub(mac, device.wide_scale(opened, arithmetic.source.keys.alpha)), bits)
    return opened


def joined(device: Device, parts: Sequence[tuple[DeviceBuffer, ...]]) -> tuple[DeviceBuffer, ...]:
    """Components of parts one after the other."""
    if len(parts) == 1:
        return parts[0]
    return tuple(device.concatenate(pieces) for pieces in zip(*parts, strict=True))
