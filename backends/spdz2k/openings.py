"""Opening under MACs: what is opened, that all hear the same, and the check of everything that was opened.

Opening y tells each party the sum of all summands; the party keeps ``d_i = m_i - alpha_i * y`` with its summand
``m_i`` of y's MAC (of a bit ``m_i ^ y * Delta_i``). In an honest run ``sum d_i = 0``. :meth:`Openings.verify` checks
all that gathered: transcripts compared, a coin ``chi`` after all of it arrived, ``s_i = sum_j chi_j d_ij`` committed
to, then opened, and their sum has to be zero: modulo ``2^(k+sigma)`` for each ring, and over GF(2^64). Zero shares
under keys of every pair of parties are added to ``s_i``, so that no more than the sum is told.

An error e of ring values that is not zero modulo ``2^k`` goes unnoticed in a whole session with chance ``(sigma + 2)
/ 2^sigma`` at most. ``S = sum chi_j e_j`` is divisible by ``2^(k+t)`` with chance ``2^-(t+1)``, as chi is uniform
over the ring and unknown when e is chosen; then ``alpha * S`` has ``2^(sigma-t)`` equally likely values, of which the
cheater has to name one. What it may learn of alpha in earlier checks, by errors that are zero modulo ``2^k``, it pays
for with the same chance: a wrong guess ends the session. Of bits, over GF(2^64): ``2 / 2^64``.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from hashlib import sha256
from math import log2

import numpy as np

from mpc_bridge.backends.sharing.shares import DeviceBuffer
from mpc_bridge.backends.sharing.trust import Trust
from mpc_bridge.backends.spdz2k.checks import BIT_MAC, BROADCAST, MAC_COMMITMENT, RING_MAC
from mpc_bridge.backends.spdz2k.demands import SIGMA
from mpc_bridge.kernels.prf import KEY_BYTES, fresh_key
from mpc_bridge.kernels.wide import wide_to_int
from mpc_bridge.runtime.session import Session

#: Bytes of records after which a check is made although nothing is revealed yet.
BATCH_BYTES = 1 << 27
#: A cheater's chance to get past all checks of a session.
RING_ERROR, BIT_ERROR = (SIGMA + 2) / 2.0**SIGMA, 2.0 / 2.0**64
_ELEMENT = 16


class Openings:
    """One party's side.

    Args:
        trust: whose coins and commitments the check uses.
    """

    def __init__(self, session: Session, trust: Trust) -> None:
        self._session, self._trust = session, trust
        self.device = session.device
        self._pair_keys: dict[int, bytes] = {}
        self._transcript = sha256()
        self._rings: dict[int, list[DeviceBuffer]] = {}
        self._bits: list[DeviceBuffer] = []
        self._gathered = 0
        self._opened = False
        self._ring_checked = self._bits_checked = False

    def setup(self) -> None:
        """A key for every pair of parties, drawn by the lower one; one round."""
        own, peers = self._trust.party, self._trust.peers
        fresh = {peer: fresh_key() for peer in peers if peer > own}
        received = {peer: bytearray(KEY_BYTES) for peer in peers if peer < own}
        self._session.exchange({peer: [key] for peer, key in fresh.items()},
                               {peer: [key] for peer, key in received.items()}, label="keys")
        self._pair_keys = {**fresh, **{peer: bytes(key) for peer, key in received.items()}}

    def erase(self) -> None:
        """Forget keys and records."""
        self._pair_keys.clear()
        self._rings.clear()
        self._bits.clear()

    # Opening --------------------------------------------------------------------------------------------------------

    def exchange(
        self, own: DeviceBuffer, label: str, buffers: Sequence[DeviceBuffer] | None = None
    ) -> list[DeviceBuffer]:
        """The same bytes to everybody: one round. The other parties', which all have to have heard alike."""
        peers, device = self._trust.peers, self.device
        if buffers is None:
            buffers = [device.empty(len(own), np.uint8) for _ in peers]
        incoming = dict(zip(peers, buffers, strict=True))
        self._session.exchange({peer: [own] for peer in peers}, {peer: [b] for peer, b in incoming.items()}, label)
        if len(peers) > 1:
            # of two parties each has said, and heard, everything itself
            for party in range(self._session.parties):
                self._transcript.update(own if party == self._trust.party else incoming[party])
        self._opened = True
        return list(incoming.values())

    def open_planes(self, own: DeviceBuffer, incoming: Sequence[DeviceBuffer], label: str) -> DeviceBuffer:
        """As :meth:`open_bytes`, where the others' bytes are wanted in these buffers too, by party."""
        total = own
        for other in self.exchange(own, label, incoming):
            total = self.device.bits_xor(total, other)
        return total

    def open_ring(self, own: DeviceBuffer, bits: int, label: str) -> DeviceBuffer:
        """Sum ``[n, 2]`` of all parties' elements, right modulo ``2**bits``: that many bits each are sent."""
        device, size = self.device, own.size // 2
        message = device.wide_pack(own, bits)
        others = self.exchange(message, label)
        total = device.wide_unpack(message, size, bits)
        summand = device.empty((size, 2), np.uint64)
        for other in others:
            device.wide_add(total, device.wide_unpack(other, size, bits, summand), total)
        return total

    def open_bytes(self, own: DeviceBuffer, label: str) -> DeviceBuffer:
        """The XOR of all parties' bytes."""
        total = own
        for other in self.exchange(own, label):
            total = self.device.bits_xor(total, other)
        return total

    def record_ring(self, difference: DeviceBuffer, bits: int) -> None:
        """MAC shares of opened elements less alpha's summand times what was opened, modulo ``2**bits``."""
        self._rings.setdefault(bits, []).append(difference)
        self._gathered += difference.size * 8

    def record_bits(self, difference: DeviceBuffer) -> None:
        """MAC shares of opened bits less Delta's summand where the bit is one: words."""
        self._bits.append(difference.reshape(-1))
        self._gathered += difference.size * 8

    # Checking -------------------------------------------------------------------------------------------------------

    @property
    def pending(self) -> bool:
        """Whether something was opened and not checked yet."""
        return self._opened

    @property
    def soundness_bits(self) -> float | None:
        """-log2 of the chance that cheating went unnoticed so far; None before anything was checked."""
        error = RING_ERROR * self._ring_checked + BIT_ERROR * self._bits_checked
        return -log2(error) if error else None

    def settle(self) -> None:
        """Check if enough has gathered."""
        if self._gathered >= BATCH_BYTES:
            self.verify()

    def verify(self) -> None:
        """Everything opened so far. Raises ProtocolAbort."""
        if not self._opened:
            return
        with self._phase():
            self._verify()

    def _phase(self) -> AbstractContextManager[None]:
        """Checks of the weights belong to setup, all others to verification."""
        meter = self._session.meter
        return nullcontext() if meter.current_phase == "setup" else meter.phase("verification")

    def _verify(self) -> None:
        trust = self._trust
        if len(trust.peers) > 1:
            heard = trust.compare([self._transcript.digest()], "transcript")
            trust.require(BROADCAST, all(heard))
            self._transcript = sha256()
        coin = trust.coin()
        widths = sorted(self._rings)
        own = self._combined(coin, widths)
        others = trust.simultaneously(own, "mac check", MAC_COMMITMENT)
        messages = [own, *others.values()]
        for position, width in enumerate(widths):
            at = position * _ELEMENT
            total = sum(int.from_bytes(message[at : at + _ELEMENT], "little") for message in messages)
            trust.require(RING_MAC, total % (1 << width) == 0)
        bits = 0
        for message in messages:
            bits ^= int.from_bytes(message[len(widths) * _ELEMENT :], "little")
        trust.require(BIT_MAC, bits == 0)
        self._ring_checked |= bool(self._rings)
        self._bits_checked |= bool(self._bits)
        self._rings, self._bits, self._gathered, self._opened = {}, [], 0, False

    def _combined(self, coin: bytes, widths: list[int]) -> bytes:
        """Own sums, 16 bytes for each ring and 8 for the bits, under zero shares. A domain of the coin per record."""
        device, domain = self.device, self._session.domain()
        sums, number = [], 0
        for width in widths:
            total = 0
            for record in self._rings[width]:
                weights = device.prf_fill(coin, number, device.empty((record.size // 2, 2), np.uint64))
                total += wide_to_int(device.wide_dot(record, weights))
                number += 1
            sums.append(total)
        bits = 0
        for record in self._bits:
            bits ^= device.gf_weighted_sum(record, coin, number)
            number += 1
        for peer, key in self._pair_keys.items():
            stream = device.prf_fill(key, domain, device.empty(_ELEMENT * (len(sums) + 1), np.uint8))
            pad = bytes(device.to_host(stream))
            words = [int.from_bytes(pad[at : at + _ELEMENT], "little") for at in range(0, len(pad), _ELEMENT)]
            sign = 1 if peer > self._trust.party else -1
            sums = [total + sign * word for total, word in zip(sums, words, strict=False)]
            bits ^= words[-1] % (1 << 64)
        parts = [(total % (1 << width)).to_bytes(_ELEMENT, "little") for total, width in zip(sums, widths, strict=True)]
        return b"".join(parts) + bits.to_bytes(8, "little")
