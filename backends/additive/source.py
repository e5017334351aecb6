"""Where a party's correlated randomness comes from: one interface, and its first implementation, a dealer's stream."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from mpc_bridge.backends.additive.compile import CORRECTED
from mpc_bridge.backends.additive.demands import DOMAINS
from mpc_bridge.backends.sharing.shares import DeviceBuffer
from mpc_bridge.kernels.prf import KEY_BYTES
from mpc_bridge.runtime.session import Session

#: Corrections that travel as one message, unless a single demand has more.
BATCH_BYTES = 16 << 20
#: Corrections that are fetched before a sample's input arrives; the rest streams in while it is evaluated.
AHEAD_BYTES = 1 << 30


class Demand(Protocol):
    """One piece of correlated randomness, as far as its receiver has to know it."""

    @property
    def size(self) -> int:
        """Bytes of its corrections."""
        ...

    @property
    def correlations(self) -> Mapping[str, int]:
        """What it is, as ``runtime.meter.Work`` names and counts it."""
        ...


class Plan(Protocol):
    """Demands in order: once per program, and once per sample."""

    @property
    def setup(self) -> Sequence[Demand]: ...

    @property
    def sample(self) -> Sequence[Demand]: ...


AnyDemand = TypeVar("AnyDemand", bound=Demand)


@dataclass(frozen=True)
class Ticket:
    """A demand met: the party's own PRF streams start at ``domain``; ``corrections`` at the corrected party only."""

    demand: Demand
    domain: int
    corrections: DeviceBuffer | None


class Source(Protocol):
    """Correlated randomness for one party. Demands are met in the order of the plan."""

    @property
    def key(self) -> bytes:
        """The key of this party's PRF streams."""
        ...

    def start_setup(self) -> None:
        """Agree on keys; the setup's demands come next."""
        ...

    def start_sample(self) -> None:
        """A sample's demands come next: fetch as many as fit into memory."""
        ...

    def take(self, demand: Demand) -> Ticket:
        """The next demand, which the caller names."""
        ...


def batches(demands: Sequence[AnyDemand]) -> Iterator[tuple[AnyDemand, ...]]:
    """Demands in the groups whose corrections travel together."""
    group: list[AnyDemand] = []
    total = 0
    for demand in demands:
        if group and total + demand.size > BATCH_BYTES:
            yield tuple(group)
            group, total = [], 0
        group.append(demand)
        total += demand.size
    if group:
        yield tuple(group)


class DealtSource:
    """A dealer's stream: a key at the beginning, then one message per batch to the corrected party alone.

    Args:
        session: with the other parties; its ``helper`` is the session with the dealer.
        plan: what the program demands.
    """

    def __init__(self, session: Session, plan: Plan) -> None:
        if session.helper is None:
            raise ValueError("this session has no dealer")
        self._session = session
        self._dealer = session.helper
        self._plan = plan
        self._domain = 0
        self._waiting: deque[tuple[Demand, ...]] = deque()
        self._ready: deque[Ticket] = deque()
        self._key = b""

    @property
    def key(self) -> bytes:
        return self._key

    def start_setup(self) -> None:
        key = bytearray(KEY_BYTES)
        self._dealer.exchange({}, {self._session.parties: [key]}, label="the dealer's key")
        self._key = bytes(key)
        self._start(self._plan.setup)

    def start_sample(self) -> None:
        self._start(self._plan.sample)

    def take(self, demand: Demand) -> Ticket:
        if not self._ready:
            with self._session.meter.phase("preprocessing"):
                self._fetch()
        ticket = self._ready.popleft()
        if ticket.demand != demand or ticket.demand.size != demand.size:
            raise ValueError(f"{demand} out of turn: the plan has {ticket.demand}")
        self._session.meter.count_work(correlations=demand.correlations)
        return ticket

    def _start(self, demands: Sequence[Demand]) -> None:
        if self._ready or self._waiting:
            raise ValueError("correlated randomness is left over from the sample before")
        self._waiting.extend(batches(demands))
        ahead = self._fetch() if self._waiting else 0
        while self._waiting and ahead < AHEAD_BYTES:
            self._keep_step()
            ahead += self._fetch()

    def _keep_step(self) -> None:
        """The corrected party says that it has come this far: the others wait for it, and slow links take their time.

        One round of one byte, after every batch but the last, whatever is in them.
        """
        session, said = self._session, bytearray(1)
        if session.party == CORRECTED:
            session.exchange({peer: [said] for peer in session.peers}, {}, label="keeping step")
        else:
            session.exchange({}, {CORRECTED: [said]}, label="keeping step")

    def _fetch(self) -> int:
        """Receive the next batch; its bytes, at the party that gets them: all are equally far ahead."""
        batch = self._waiting.popleft()
        device = self._session.device
        corrected = self._session.party == CORRECTED
        buffers = [device.empty(demand.size, np.uint8) if corrected else None for demand in batch]
        wanted = [buffer for buffer in buffers if buffer is not None and len(buffer)]
        if wanted:
            self._dealer.exchange({}, {self._session.parties: wanted}, label="the dealer's corrections")
        for demand, buffer in zip(batch, buffers, strict=True):
            self._ready.append(Ticket(demand, self._domain, buffer))
            self._domain += DOMAINS
        return sum(demand.size for demand in batch)
