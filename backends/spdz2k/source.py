"""What the dealer of spdz2k gives a party: keys at the beginning, then batch by batch corrections and seals."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mpc_bridge.backends.additive.compile import CORRECTED
from mpc_bridge.backends.additive.demands import DOMAINS
from mpc_bridge.backends.additive.source import DealtSource, Ticket, batches
from mpc_bridge.backends.sharing.planes import Scratch
from mpc_bridge.backends.spdz2k.demands import SIGMA, Dealing, Demand
from mpc_bridge.backends.spdz2k.masks import SEAL_BYTES
from mpc_bridge.backends.spdz2k.planner import Plan, plan
from mpc_bridge.kernels.prf import KEY_BYTES, fresh_key
from mpc_bridge.lowering.program import Program
from mpc_bridge.runtime.session import Session

_WORD = 8


@dataclass
class Keys:
    """One party's secrets: the key of its streams, and its summands of the two MAC keys."""

    stream: bytes
    alpha: int
    delta: int

    def encode(self) -> bytes:
        """As the dealer sends it."""
        return self.stream + self.alpha.to_bytes(_WORD, "little") + self.delta.to_bytes(_WORD, "little")

    @classmethod
    def decode(cls, message: bytes) -> Keys:
        """The inverse; alpha is cut to its bits."""
        alpha, delta = (int.from_bytes(message[at : at + _WORD], "little") for at in (KEY_BYTES, KEY_BYTES + _WORD))
        return cls(message[:KEY_BYTES], alpha % (1 << SIGMA), delta)

    @classmethod
    def fresh(cls) -> Keys:
        """From the system's random numbers."""
        return cls(fresh_key(), secrets.randbits(SIGMA), secrets.randbits(64))

    def erase(self) -> None:
        """Nothing of them is left here."""
        self.stream, self.alpha, self.delta = bytes(KEY_BYTES), 0, 0


_KEYS_BYTES = KEY_BYTES + 2 * _WORD


@dataclass(frozen=True)
class SealedTicket(Ticket):
    """A demand met; ``seals`` has one seal per party where the demand is sealed."""

    seals: bytes = b""


class SealedSource(DealtSource):
    """One party's end of the dealer's stream."""

    def __init__(self, session: Session, demands: Plan) -> None:
        super().__init__(session, demands)
        self.keys = Keys(bytes(KEY_BYTES), 0, 0)

    @property
    def key(self) -> bytes:
        return self.keys.stream

    def start_setup(self) -> None:
        message = bytearray(_KEYS_BYTES)
        self._dealer.exchange({}, {self._session.parties: [message]}, label="the dealer's key")
        self.keys = Keys.decode(bytes(message))
        self._start(self._plan.setup)

    def erase(self) -> None:
        """Keys go, and what was dealt and not used; corrections, of which there may be much, are overwritten."""
        self.keys.erase()
        for ticket in self._ready:
            if ticket.corrections is not None:
                self._session.device.bits_xor(ticket.corrections, ticket.corrections, ticket.corrections)
        self._ready.clear()
        self._waiting.clear()

    def take_sealed(self, demand: Demand) -> SealedTicket:
        """The next demand, which the caller names."""
        ticket = self.take(demand)
        assert isinstance(ticket, SealedTicket)
        return ticket

    def _fetch(self) -> int:
        """Receive the next batch; the bytes of its corrections, at whichever party."""
        batch = self._waiting.popleft()
        session = self._session
        corrected = session.party == CORRECTED
        buffers = [session.device.empty(demand.size, np.uint8) if corrected else None for demand in batch]
        seals = [bytearray(SEAL_BYTES * session.parties if getattr(demand, "sealed", False) else 0) for demand in batch]
        wanted = [buffer for buffer in (*buffers, *seals) if buffer is not None and len(buffer)]
        if wanted or any(demand.size for demand in batch):
            # also where all of it is for others: the dealer counts a round
            self._dealer.exchange({}, {session.parties: wanted}, label="the dealer's corrections")
        for demand, buffer, seal in zip(batch, buffers, seals, strict=True):
            self._ready.append(SealedTicket(demand, self._domain, buffer, bytes(seal)))
            self._domain += DOMAINS
        return sum(demand.size for demand in batch)


class Dealer:
    """Serves one program (``backends.base.Helper``): a process of its own that sees no weight, input, output or share.

    It is trusted not to collude with any party, and to deal what it should: it knows every mask and both MAC keys.
    """

    def __init__(self, session: Session, program: Program) -> None:
        self._session = session
        self._plan = plan(program)
        self._keys = [Keys.fresh() for _ in range(session.parties)]
        delta = 0
        for keys in self._keys:
            delta ^= keys.delta
        self._dealing = Dealing(session.device, [keys.stream for keys in self._keys],
                                sum(keys.alpha for keys in self._keys), delta, Scratch(session.device))
        self._domain = 0

    def setup(self) -> None:
        """Keys, and what the weights need."""
        self._session.exchange({party: [keys.encode()] for party, keys in enumerate(self._keys)}, {},
                               label="the dealer's key")
        for circuit in self._plan.circuits():
            self._dealing.program(circuit)
        self._deal(self._plan.setup)

    def sample(self) -> None:
        """What one inference needs."""
        self._deal(self._plan.sample)

    def _deal(self, demands: Sequence[Demand]) -> None:
        for batch in batches(demands):
            found = []
            for demand in batch:
                found.append(demand.deal(self._dealing, self._domain))
                self._domain += DOMAINS
            seals = [dealt.seals for dealt in found if dealt.seals]
            corrections = [buffer for dealt in found for buffer in dealt.corrections if len(buffer)]
            sends = {party: list(seals) for party in range(self._session.parties)}
            sends[CORRECTED] = [*corrections, *seals]
            if corrections or seals:
                self._session.exchange(sends, {}, label="the dealer's corrections")
