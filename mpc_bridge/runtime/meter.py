"""Counts what a party really hands to its sockets, per phase and per layer.

Rounds, messages and bytes are those of the frames sent (payload and framing); the operating system's count on the same
sockets agrees. Seconds are wall-clock and exclusive: a phase inside another one suspends it, so the phases add up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

PHASES = ("setup", "preprocessing", "online", "verification")
#: Where cost goes that belongs to no layer.
NO_LAYER = ""


@dataclass
class Cost:
    """Rounds, messages and bytes sent by one party, and its seconds.

    Attributes:
        bytes_to: bytes sent per peer; :data:`CLIENT` stands for the launcher or receiver.
    """

    rounds: int = 0
    messages: int = 0
    seconds: float = 0.0
    bytes_to: dict[int, int] = field(default_factory=dict)

    @property
    def bytes_sent(self) -> int:
        """All peers together."""
        return sum(self.bytes_to.values())

    def add(self, other: Cost) -> None:
        """Add another cost of the same party."""
        self.rounds += other.rounds
        self.messages += other.messages
        self.seconds += other.seconds
        for peer, count in other.bytes_to.items():
            self.bytes_to[peer] = self.bytes_to.get(peer, 0) + count


#: The peer number of the launcher (owners and receiver).
CLIENT = -1


class CostMeter:
    """One party's cost so far, by (phase, layer). Starts outside any phase, where nothing may be sent."""

    def __init__(self) -> None:
        self._costs: dict[tuple[str, str], Cost] = {}
        self._phases: list[str] = []
        self._layers: list[str] = [NO_LAYER]
        self._current: Cost | None = None
        self._since = 0.0

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Everything inside belongs to this phase; a phase around it is suspended."""
        if name not in PHASES:
            raise ValueError(f"unknown phase {name!r}")
        self._phases.append(name)
        self._switch()
        try:
            yield
        finally:
            self._phases.pop()
            self._switch()

    @contextmanager
    def layer(self, name: str) -> Iterator[None]:
        """Everything inside belongs to this layer of the current phase."""
        self._layers.append(name)
        self._switch()
        try:
            yield
        finally:
            self._layers.pop()
            self._switch()

    @property
    def current_phase(self) -> str | None:
        """The innermost phase, None outside any."""
        return self._phases[-1] if self._phases else None

    @property
    def current_layer(self) -> str:
        """The innermost layer."""
        return self._layers[-1]

    def _switch(self) -> None:
        now = time.perf_counter()
        if self._current is not None:
            self._current.seconds += now - self._since
        self._since = now
        self._current = self._costs.setdefault((self._phases[-1], self._layers[-1]), Cost()) if self._phases else None

    def count_round(self) -> None:
        """One exchange happened."""
        assert self._current is not None, "communication outside any phase"
        self._current.rounds += 1

    def count_message(self, peer: int, size: int) -> None:
        """A frame of ``size`` bytes, framing included, was handed to the socket of ``peer``."""
        current = self._current
        assert current is not None, "communication outside any phase"
        current.messages += 1
        current.bytes_to[peer] = current.bytes_to.get(peer, 0) + size

    def phase_cost(self, phase: str) -> Cost:
        """Total of one phase."""
        return self._sum(lambda key: key[0] == phase)

    def layer_cost(self, layer: str) -> Cost:
        """Total of one layer over all phases but setup."""
        return self._sum(lambda key: key[1] == layer and key[0] != "setup")

    def total(self) -> Cost:
        """Total of everything."""
        return self._sum(lambda key: True)

    def layers(self) -> tuple[str, ...]:
        """Layer names in order of first use, outside setup."""
        return tuple(dict.fromkeys(layer for phase, layer in self._costs if layer != NO_LAYER and phase != "setup"))

    def _sum(self, wanted: Callable[[tuple[str, str]], bool]) -> Cost:
        total = Cost()
        for key, cost in self._costs.items():
            if wanted(key):
                total.add(cost)
        return total
