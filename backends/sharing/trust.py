"""What malicious security rests on between any number of parties: barriers, coins, commitments, and how to stop.

*Barrier*: a cheater could hold back a message, see an early opening and choose its error then. Before any challenge is
opened, each party tells all others that all it expects has arrived.

*Coin*: committed to at the start (``H(session, party, index, seed, nonce)``, the commitments compared by hash), opened
after a barrier; one coin per challenge.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from hashlib import sha256
from hmac import compare_digest
from typing import NoReturn

from mpc_bridge.backends.sharing.checks import COIN_OPENING, COMMITMENT_ECHO, Check
from mpc_bridge.kernels.prf import KEY_BYTES
from mpc_bridge.runtime.session import Session

DIGEST_BYTES = 32
NONCE_BYTES = 32
_OPENING_BYTES = KEY_BYTES + NONCE_BYTES
#: Coins committed to at a time; the next ones are when these are used up.
_COINS = 64


class Trust:
    """One party's side of everything that is not a product or a gate.

    Args:
        session: the party's; all messages here are exchanges of it.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        # a party that another one tells to stop, or that loses one, has no more use for its secrets either
        session.on_end = self.erase
        if session.helper is not None:
            session.helper.on_end = self.erase
        self.party = session.party
        self.peers = [peer for peer in range(session.parties) if peer != session.party]
        self._openings: list[bytes] = []
        self._commitments: dict[int, list[bytes]] = {}
        self._used = 0
        self._first = 0

    def setup(self) -> None:
        """The first coins are committed to."""
        self._commit()

    def erase(self) -> None:
        """Forget what was not opened."""
        self._openings.clear()

    # Stopping -------------------------------------------------------------------------------------------------------

    def require(self, check: Check, condition: bool) -> None:
        """Go on only if the check holds. Raises ProtocolAbort."""
        if not check.holds(condition):
            self.abort(check)

    def abort(self, check: Check) -> NoReturn:
        """Tell the others, erase the secrets, raise ProtocolAbort."""
        self._session.abort()
        self.erase()
        raise check.error(f"party {self.party}")

    # Coins ----------------------------------------------------------------------------------------------------------

    def barrier(self) -> None:
        """Returns only when all others have everything they expected so far. One round."""
        self._all_to_all(b"\x01", "barrier")

    def coin(self) -> bytes:
        """A fresh key that nobody knew before all earlier messages had arrived. A barrier and a round."""
        if self._used == len(self._openings):
            self._commit()
        self.barrier()
        index = self._used
        self._used += 1
        own = self._openings[index]
        seed = bytearray(own[:KEY_BYTES])
        for peer, opening in self._all_to_all(own, "coin").items():
            committed = self._commitments[peer][index]
            known = compare_digest(self._commitment(peer, self._first + index, opening), committed)
            self.require(COIN_OPENING, known)
            seed = bytearray(a ^ b for a, b in zip(seed, opening, strict=False))
        return bytes(seed)

    def _commitment(self, party: int, index: int, opening: bytes) -> bytes:
        return sha256(self._header(b"mpc-bridge coin") + bytes([party]) + index.to_bytes(8, "little")
                      + opening).digest()

    def _header(self, purpose: bytes) -> bytes:
        identity = self._session.identity
        return purpose + len(identity).to_bytes(4, "little") + identity

    def _commit(self) -> None:
        """Two rounds: commitments to all others, then a hash of all of them, compared."""
        self._first += len(self._openings)
        self._used = 0
        self._openings = [os.urandom(_OPENING_BYTES) for _ in range(_COINS)]
        own = b"".join(self._commitment(self.party, self._first + i, o) for i, o in enumerate(self._openings))
        arrived = self._committed(own, "commitments")
        self._commitments = {
            peer: [b[i : i + DIGEST_BYTES] for i in range(0, len(b), DIGEST_BYTES)] for peer, b in arrived.items()
        }

    def _committed(self, own: bytes, label: str) -> dict[int, bytes]:
        """Everybody's commitments, the same at every honest party: a hash of all of them is compared."""
        arrived = self._all_to_all(own, label)
        everything = {self.party: own, **arrived}
        echo = sha256(b"".join(everything[party] for party in sorted(everything))).digest()
        self.require(COMMITMENT_ECHO, all(self.compare([echo], label="commitment echo")))
        return arrived

    def simultaneously(self, own: bytes, purpose: str, check: Check) -> dict[int, bytes]:
        """Every other party's bytes, as many as here, chosen before any of them was seen. Three rounds.

        Raises ProtocolAbort by ``check`` where a party opens something else than it had committed to.
        """
        def sealed(party: int, opening: bytes) -> bytes:
            return sha256(self._header(b"mpc-bridge commitment") + bytes([party]) + opening).digest()

        opening = own + os.urandom(NONCE_BYTES)
        committed = self._committed(sealed(self.party, opening), f"commitment to {purpose}")
        opened = self._all_to_all(opening, purpose)
        for peer, other in opened.items():
            self.require(check, compare_digest(sealed(peer, other), committed[peer]))
        return {peer: other[: len(own)] for peer, other in opened.items()}

    # Comparing ------------------------------------------------------------------------------------------------------

    def compare(self, digests: Sequence[bytes], label: str) -> list[bool]:
        """Whether each other party has the same digests. One round."""
        own = b"".join(digests)
        return [compare_digest(own, other) for other in self._all_to_all(own, label).values()]

    def _all_to_all(self, own: bytes, label: str) -> dict[int, bytes]:
        """The same bytes to everybody, as many from everybody. One round."""
        arrived = {peer: bytearray(len(own)) for peer in self.peers}
        self._session.exchange(
            {peer: [own] for peer in arrived}, {peer: [buffer] for peer, buffer in arrived.items()}, label=label
        )
        return {peer: bytes(buffer) for peer, buffer in arrived.items()}
