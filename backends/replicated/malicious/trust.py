"""What malicious security rests on between three parties: keys, barriers, coins, openings, and how to stop.

Holders: party i has component i (*own*) and i+1 (*next*); the one it lacks is own at party i-1 and next at party i+1.

*Barrier*: a party needs no message from one of its neighbours to go on, so a cheater could hold back its last
reshare, see an early opening and choose its error then. Before any coin or value is opened, each party tells both
others that all it expects has arrived.

*Coin*: committed to at the start (``H(session, party, index, seed, nonce)``, the commitments compared by hash),
opened after a barrier; one coin per challenge. *Opening*: the value from one holder, its SHA-256 from the other,
compared before use.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from hashlib import sha256
from hmac import compare_digest
from typing import NoReturn

from mpc_bridge.backends.replicated.malicious.checks import (
    COIN_OPENING,
    COMMITMENT_ECHO,
    OPENING,
    Check,
)
from mpc_bridge.kernels.prf import KEY_BYTES, fresh_key
from mpc_bridge.runtime.session import Session

PARTIES = 3
DIGEST_BYTES = 32
_NONCE_BYTES = 32
_OPENING_BYTES = KEY_BYTES + _NONCE_BYTES
#: Coins committed to at a time; the next ones are when these are used up.
_COINS = 64


class Trust:
    """One party's side of everything that is not a product or a gate.

    Args:
        session: the party's; all messages here are exchanges of it.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        # a party that another one tells to stop, or that loses one, has no more use for its keys either
        session.on_failure = self.erase
        self.party = session.party
        self.previous = (session.party - 1) % PARTIES
        self.next = (session.party + 1) % PARTIES
        self._own = bytearray(KEY_BYTES)
        self._following = bytearray(KEY_BYTES)
        self._openings: list[bytes] = []
        self._commitments: dict[int, list[bytes]] = {}
        self._used = 0
        self._first = 0

    # Keys -----------------------------------------------------------------------------------------------------------

    def setup(self) -> None:
        """Key i is drawn by party i and sent to party i - 1; then the first coins are committed to."""
        self._own[:] = fresh_key()
        self._session.exchange({self.previous: [self._own]}, {self.next: [self._following]}, label="keys")
        self._commit()

    def keys(self) -> bytes:
        """Own key, then next key."""
        return bytes(self._own + self._following)

    def erase(self) -> None:
        """Overwrite the keys and forget what was not opened."""
        self._own[:] = self._following[:] = bytes(KEY_BYTES)
        self._openings.clear()

    # Stopping -------------------------------------------------------------------------------------------------------

    def require(self, check: Check, condition: bool) -> None:
        """Go on only if the check holds. Raises ProtocolAbort."""
        if not check.holds(condition):
            self.abort(check)

    def abort(self, check: Check) -> NoReturn:
        """Tell the others, erase the keys, raise ProtocolAbort."""
        self._session.abort()
        self.erase()
        raise check.error(f"party {self.party}")

    # Coins ----------------------------------------------------------------------------------------------------------

    def barrier(self) -> None:
        """Returns only when both others have everything they expected so far. One round."""
        arrived = {peer: bytearray(1) for peer in (self.previous, self.next)}
        self._session.exchange(
            {peer: [b"\x01"] for peer in arrived}, {peer: [buffer] for peer, buffer in arrived.items()}, label="barrier"
        )

    def coin(self) -> bytes:
        """A fresh key that nobody knew before all earlier messages had arrived. A barrier and a round."""
        if self._used == len(self._openings):
            self._commit()
        self.barrier()
        index = self._used
        self._used += 1
        opened = {peer: bytearray(_OPENING_BYTES) for peer in (self.previous, self.next)}
        self._session.exchange(
            {peer: [self._openings[index]] for peer in opened},
            {peer: [buffer] for peer, buffer in opened.items()},
            label="coin",
        )
        seed = bytearray(self._openings[index][:KEY_BYTES])
        for peer, opening in opened.items():
            committed = self._commitments[peer][index]
            known = compare_digest(self._commitment(peer, self._first + index, bytes(opening)), committed)
            self.require(COIN_OPENING, known)
            seed = bytearray(a ^ b for a, b in zip(seed, opening, strict=False))
        return bytes(seed)

    def _commitment(self, party: int, index: int, opening: bytes) -> bytes:
        identity = self._session.identity
        header = b"mpc-bridge coin" + len(identity).to_bytes(4, "little") + identity
        return sha256(header + bytes([party]) + index.to_bytes(8, "little") + opening).digest()

    def _commit(self) -> None:
        """Two rounds: commitments to both others, then a hash of all of them, compared."""
        self._first += len(self._openings)
        self._used = 0
        self._openings = [os.urandom(_OPENING_BYTES) for _ in range(_COINS)]
        own = b"".join(self._commitment(self.party, self._first + i, o) for i, o in enumerate(self._openings))
        arrived = {peer: bytearray(len(own)) for peer in (self.previous, self.next)}
        self._session.exchange(
            {peer: [own] for peer in arrived}, {peer: [b] for peer, b in arrived.items()}, label="commitments"
        )
        everything = {self.party: own, **{peer: bytes(buffer) for peer, buffer in arrived.items()}}
        echo = sha256(b"".join(everything[party] for party in range(PARTIES))).digest()
        self.require(COMMITMENT_ECHO, all(self.compare([echo], label="commitment echo")))
        self._commitments = {
            peer: [bytes(b[i : i + DIGEST_BYTES]) for i in range(0, len(b), DIGEST_BYTES)]
            for peer, b in arrived.items()
        }

    # Comparing and opening ------------------------------------------------------------------------------------------

    def compare(self, digests: Sequence[bytes], label: str) -> list[bool]:
        """Whether both others have the same digests. One round."""
        own = b"".join(digests)
        arrived = {peer: bytearray(len(own)) for peer in (self.previous, self.next)}
        self._session.exchange({p: [own] for p in arrived}, {p: [b] for p, b in arrived.items()}, label=label)
        return [compare_digest(own, bytes(buffer)) for buffer in arrived.values()]

    def open(self, own: bytes, following: bytes, label: str) -> bytes:
        """The component this party lacks, of a value that the others open at the same time. A barrier and a round.

        The previous party sends it, the next one its hash. Raises ProtocolAbort where they disagree.
        """
        self.barrier()
        value = bytearray(len(own))
        digest = bytearray(DIGEST_BYTES)
        self._session.exchange(
            {self.next: [own], self.previous: [sha256(following).digest()]},
            {self.previous: [value], self.next: [digest]},
            label=label,
        )
        self.require(OPENING, compare_digest(sha256(value).digest(), bytes(digest)))
        return bytes(value)
