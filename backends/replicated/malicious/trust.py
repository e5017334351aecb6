"""Keys and openings of three parties, on top of what any number of them trusts in (:mod:`backends.sharing.trust`).

Holders: party i has component i (*own*) and i+1 (*next*); the one it lacks is own at party i-1 and next at party i+1.

*Opening*: the value from one holder, its SHA-256 from the other, compared before use.
"""

from __future__ import annotations

from hashlib import sha256
from hmac import compare_digest

from mpc_bridge.backends.replicated.malicious.checks import OPENING
from mpc_bridge.backends.sharing import trust
from mpc_bridge.backends.sharing.trust import DIGEST_BYTES
from mpc_bridge.kernels.prf import KEY_BYTES, fresh_key
from mpc_bridge.runtime.session import Session

PARTIES = 3


class Trust(trust.Trust):
    """One party's side of everything that is not a product or a gate.

    Args:
        session: the party's; all messages here are exchanges of it.
    """

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.previous = (session.party - 1) % PARTIES
        self.next = (session.party + 1) % PARTIES
        self._own = bytearray(KEY_BYTES)
        self._following = bytearray(KEY_BYTES)

    def setup(self) -> None:
        """Key i is drawn by party i and sent to party i - 1; then the first coins are committed to."""
        self._own[:] = fresh_key()
        self._session.exchange({self.previous: [self._own]}, {self.next: [self._following]}, label="keys")
        super().setup()

    def keys(self) -> bytes:
        """Own key, then next key."""
        return bytes(self._own + self._following)

    def erase(self) -> None:
        """Overwrite the keys and forget what was not opened."""
        self._own[:] = self._following[:] = bytes(KEY_BYTES)
        super().erase()

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
