"""An opening without the barrier before it, attacked by a party that holds its last message back; and the real one."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import numpy as np
import pytest

from mpc_bridge.backends.replicated.malicious.checks import LINEAR, OPENING
from mpc_bridge.backends.replicated.malicious.linear import LinearVerifier
from mpc_bridge.backends.replicated.malicious.trust import DIGEST_BYTES
from mpc_bridge.errors import PeerError
from mpc_bridge.kernels.device import packed_bytes
from mpc_bridge.kernels.prf import KEY_BYTES
from mpc_bridge.runtime.session import Session
from tests.linear_trials import Dealt, verdicts
from tests.trios import Judge, three

RING, SIGMA = 24, 52
WRONG = 1 << (RING - 1)


class NoBarrier(Judge):
    def barrier(self) -> None:
        """Go on at once."""


class OtherHolder(NoBarrier):
    """The next party sends the value, the previous one its hash."""

    def open(self, own: bytes, following: bytes, label: str) -> bytes:
        value, digest = bytearray(len(own)), bytearray(DIGEST_BYTES)
        self._session.exchange(
            {self.previous: [following], self.next: [sha256(own).digest()]},
            {self.next: [value], self.previous: [digest]},
            label=label,
        )
        self.require(OPENING, sha256(value).digest() == digest)
        return bytes(value)


class Holding(LinearVerifier):
    """Holds its last reshare back from the previous party; the next one does not need it in order to open."""

    def _reshare(self, local: Any, label: str) -> Any:
        if label != "check value":
            return super()._reshare(local, label)
        device, trust, keys = self._device, self._trust, self._trust.keys()
        device.wide_add_zero_share(keys[:KEY_BYTES], keys[KEY_BYTES:], self._session.domain(), local)
        incoming = device.empty(packed_bytes(1, self._bits), np.uint8)
        self._session.exchange({}, {trust.next: [incoming]})
        assert isinstance(trust, Rushing)
        trust.held = self._bits
        return local.reshape(-1, 2), device.wide_unpack(incoming, 1, self._bits)


class Rushing(Judge):
    """Sees what the next party opens, then chooses what it has held back."""

    held = 0

    def open(self, own: bytes, following: bytes, label: str) -> bytes:
        bits, self.held = self.held, 0
        if not bits:
            return super().open(own, following, label)
        modulus, size, session = 1 << bits, len(own), self._session
        known = int.from_bytes(own, "little") + int.from_bytes(following, "little")
        last = session._round - 1
        total = self.early(known, modulus, size)
        own = ((int.from_bytes(own, "little") - total) % modulus).to_bytes(size, "little")
        opening = session._round
        session._round = last
        session.exchange({self.previous: [own]}, {})
        session._round = opening - 1
        return self.late(own, following, size)

    def early(self, known: int, modulus: int, size: int) -> int:
        """The check value, from what has come too early."""
        raise NotImplementedError

    def late(self, own: bytes, following: bytes, size: int) -> bytes:
        """This party's part of the opening."""
        raise NotImplementedError


class RushingOnValue(Rushing, OtherHolder):
    def early(self, known: int, modulus: int, size: int) -> int:
        value = bytearray(size)
        self._session.exchange({}, {self.next: [value]})
        return (known + int.from_bytes(value, "little")) % modulus

    def late(self, own: bytes, following: bytes, size: int) -> bytes:
        digest = bytearray(DIGEST_BYTES)
        self._session.exchange(
            {self.previous: [following], self.next: [sha256(own).digest()]}, {self.previous: [digest]}
        )
        return bytes(size)


class RushingOnHash(Rushing, NoBarrier):
    """The check value is a multiple of the product's error, of which there are few when sigma is small."""

    def early(self, known: int, modulus: int, size: int) -> int:
        digest = bytearray(DIGEST_BYTES)
        self._session.exchange({}, {self.next: [digest]})
        for total in range(0, modulus, WRONG):
            if sha256(((total - known) % modulus).to_bytes(size, "little")).digest() == digest:
                return total
        raise AssertionError("no multiple of the error fits")

    def late(self, own: bytes, following: bytes, size: int) -> bytes:
        value = bytearray(size)
        self._session.exchange(
            {self.next: [own], self.previous: [sha256(following).digest()]}, {self.previous: [value]}
        )
        return bytes(value)


def wrong_product(rng: np.random.Generator) -> list[Dealt]:
    return [Dealt(rng, 1, 2, 1, RING, {(0, 0): WRONG})]


@pytest.mark.parametrize("corrupted", range(3))
@pytest.mark.parametrize(
    ("honest", "rushing", "sigma"), [(OtherHolder, RushingOnValue, SIGMA), (NoBarrier, RushingOnHash, 6)]
)
def test_without_the_barrier_a_rushing_party_has_every_wrong_product_accepted(
    honest: type[Judge], rushing: type[Rushing], sigma: int, corrupted: int
) -> None:
    def trust(session: Session) -> Judge:
        return (rushing if session.party == corrupted else honest)(session)

    options = {"ring": RING, "sigma": sigma, "corrupted": corrupted}
    assert all(verdicts(LinearVerifier, Holding, 40, wrong_product, trust=trust, **options))  # type: ignore[arg-type]


class Waiting(Rushing):
    """Against the real opening: says that all has arrived, and waits for an opening that comes too early."""

    def open(self, own: bytes, following: bytes, label: str) -> bytes:
        session = self._session
        session._waiter.timeout = 0.3
        arrived = bytearray(1)
        # the previous party, still without the last message, would take nothing else
        session.exchange({self.next: [b"\x01"]}, {self.next: [arrived]})
        session.exchange({}, {self.next: [bytearray(DIGEST_BYTES)]})
        raise AssertionError("an opening came before its last message had been sent")


@pytest.mark.parametrize("corrupted", range(3))
def test_with_the_barrier_nothing_is_opened_before_everything_has_arrived(corrupted: int) -> None:
    def party(session: Session) -> str:
        cheats = session.party == corrupted
        trust = (Waiting if cheats else Judge)(session)
        trust.setup()
        verifier = (Holding if cheats else LinearVerifier)(session, trust, RING, SIGMA)
        for layer in wrong_product(np.random.default_rng(1)):
            verifier.add(layer.layer(session.party, session.device))
        try:
            verifier.verify()
        except PeerError as error:
            session.close()
            return type(error).__name__
        return "verified" if trust.accepted(LINEAR) else "nothing"

    outcomes = three(party)
    assert outcomes[corrupted] == "PeerTimeout"
    assert outcomes[(corrupted + 1) % 3] == outcomes[(corrupted + 2) % 3] == "PeerLost"
