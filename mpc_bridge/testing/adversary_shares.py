"""What a corrupted spdz2k party may compute wrongly: openings, MAC shares, what it was dealt, its part of a check."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mpc_bridge.backends.sharing.checks import Check
from mpc_bridge.backends.sharing.shares import DeviceBuffer
from mpc_bridge.backends.sharing.trust import NONCE_BYTES
from mpc_bridge.backends.spdz2k.demands import SIGMA, Demand
from mpc_bridge.backends.spdz2k.protocol import Spdz2k
from mpc_bridge.backends.spdz2k.source import SealedSource, SealedTicket
from mpc_bridge.kernels import packed_bytes
from mpc_bridge.kernels.prf import KEY_BYTES
from mpc_bridge.kernels.wide import wide_from_int, wide_to_int
from mpc_bridge.lowering.program import Program
from mpc_bridge.runtime.session import Session
from mpc_bridge.testing.adversary import CorruptSession
from mpc_bridge.testing.adversary_dealt import MakeSpdz2k, honest

#: What becomes of the bytes of an opening.
Spoil = Callable[[DeviceBuffer], None]


def flip(message: DeviceBuffer) -> None:
    """The lowest bit of the first element."""
    message[0] ^= 1


def wrong_opening(label: str, spoil: Spoil = flip, occurrences: Sequence[int] = (0,)) -> MakeSpdz2k:
    """Opens something else than it should, and goes on as if that were right."""

    def make(session: Session, program: Program) -> Spdz2k:
        protocol = honest(session, program)
        exchange, seen = protocol._openings.exchange, [0]

        def cheating(own: DeviceBuffer, at: str, buffers: Any = None) -> list[DeviceBuffer]:
            if at == label:
                if seen[0] in occurrences:
                    spoil(own)
                seen[0] += 1
            return exchange(own, at, buffers)

        protocol._openings.exchange = cheating  # type: ignore[assignment, method-assign]
        return protocol

    return make


def wrong_mac(kind: str) -> MakeSpdz2k:
    """Its part of the MAC of one opened ring element, or bit, is off by one."""

    def make(session: Session, program: Program) -> Spdz2k:
        protocol = honest(session, program)
        openings = protocol._openings
        if kind == "ring":
            record = openings.record_ring

            def ring(difference: DeviceBuffer, bits: int) -> None:
                difference.reshape(-1)[0] += np.uint64(1)
                record(difference, bits)

            openings.record_ring = ring  # type: ignore[method-assign]
        else:
            record_bits = openings.record_bits

            def bits(difference: DeviceBuffer) -> None:
                difference.reshape(-1)[0] ^= np.uint64(1)
                record_bits(difference)

            openings.record_bits = bits  # type: ignore[method-assign]
        return protocol

    return make


def tampered(number: int, at: int) -> MakeSpdz2k:
    """What the dealer gave it for one demand, numbered from the start, is not what it uses.

    Args:
        at: which of the corrections' bytes is another one; a party that gets none uses streams of another domain.
    """

    class Tampering(SealedSource):
        taken = 0

        def take_sealed(self, demand: Demand) -> SealedTicket:
            return self.take(demand)

        def take(self, demand: Any) -> SealedTicket:
            ticket = super().take(demand)
            assert isinstance(ticket, SealedTicket)
            self.taken += 1
            if self.taken - 1 != number:
                return ticket
            if ticket.corrections is None:
                return replace(ticket, domain=ticket.domain + (1 << 40))
            ticket.corrections[at] ^= 1
            return ticket

    return lambda session, program: honest(session, program, Tampering)


def forged_sum(spoil_label: str) -> MakeSpdz2k:
    """A wrong opening, and a part of the check that makes up for it: chosen after the others' parts were opened."""

    def make(session: Session, program: Program) -> Spdz2k:
        assert isinstance(session, CorruptSession)
        protocol = wrong_opening(spoil_label)(session, program)
        trust = protocol._trust

        def simultaneously(own: bytes, purpose: str, check: Check) -> dict[int, bytes]:
            trust._committed(bytes(32), f"commitment to {purpose}")
            opened = {peer: bytearray(len(own) + NONCE_BYTES) for peer in trust.peers}

            def answer() -> dict[int, list[bytes]]:
                forged = b""
                others = [bytes(other[: len(own)]) for other in opened.values()]
                for start in range(0, len(own) - 8, 16):
                    total = sum(int.from_bytes(other[start : start + 16], "little") for other in others)
                    forged += (-total % (1 << 128)).to_bytes(16, "little")
                bits = 0
                for other in others:
                    bits ^= int.from_bytes(other[-8:], "little")
                forged += bits.to_bytes(8, "little") + bytes(NONCE_BYTES)
                return {peer: [forged] for peer in opened}

            session.rush({peer: [buffer] for peer, buffer in opened.items()}, answer, purpose)
            return {peer: bytes(other[: len(own)]) for peer, other in opened.items()}

        trust.simultaneously = simultaneously  # type: ignore[method-assign]
        return protocol

    return make


def forced_coin(ring: int) -> MakeSpdz2k:
    """The last coin is zero, whatever the others open; errors of two shown sums cancel under that coin's weights."""

    def make(session: Session, program: Program) -> Spdz2k:
        assert isinstance(session, CorruptSession)
        bits, device = ring + SIGMA, session.device

        def spoil(message: DeviceBuffer) -> None:
            count = len(message) * 8 // bits
            elements = device.wide_unpack(message, count, bits)
            weights = device.prf_fill(bytes(KEY_BYTES), 0, device.empty((count, 2), np.uint64))
            for at, factor in ((0, wide_to_int(weights[1])), (1, -wide_to_int(weights[0]))):
                elements[at] = wide_from_int(wide_to_int(elements[at]) + factor)
            message[:] = device.wide_pack(elements, bits)
            assert packed_bytes(count, bits) == len(message)

        protocol = wrong_opening("masked output", spoil)(session, program)
        trust = protocol._trust
        coin = trust.coin

        def forced() -> bytes:
            if session.meter.current_phase == "setup":
                return coin()
            trust.barrier()
            trust._used += 1
            opened = {peer: bytearray(KEY_BYTES + NONCE_BYTES) for peer in trust.peers}

            def answer() -> dict[int, list[bytes]]:
                seed = bytes(KEY_BYTES)
                for other in opened.values():
                    seed = bytes(a ^ b for a, b in zip(seed, other, strict=False))
                return {peer: [seed + bytes(NONCE_BYTES)] for peer in opened}

            session.rush({peer: [buffer] for peer, buffer in opened.items()}, answer, "coin")
            return bytes(KEY_BYTES)

        trust.coin = forced  # type: ignore[method-assign]
        return protocol

    return make
