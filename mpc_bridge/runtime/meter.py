"""Counts what a party really hands to its sockets, and the secure operations it takes part in, per phase and layer.

Rounds, messages and bytes are those of the frames sent (payload and framing); the operating system's count on the same
sockets agrees. Seconds are wall-clock and exclusive: a phase inside another one suspends it, so the phases add up.
Protocols say what they work off (:class:`Work`): once per operation on a whole tensor, before it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from mpc_bridge.runtime import rounds

PHASES = ("setup", "preprocessing", "online", "verification")
#: What an inference costs: all phases but the first, which is once per model.
SPENT = PHASES[1:]
#: Where cost goes that belongs to no layer.
NO_LAYER = ""


@dataclass
class Work:
    """Secure operations: what is computed, however it is computed. The same at every party that is in step.

    What counts is a product of which no factor is public; sums, and products with what everybody knows, are free. It
    does not matter how many parties hold a share of a factor: weights that one party knows are as secret as shared
    ones. Bits of a one-sided operand are public with a dealer (``additive``, ``spdz2k``: masked and opened) and nowhere
    else, so the same circuit has fewer AND gates there.

    Attributes:
        and_gates: gates of boolean circuits that multiply bits. One that sums several products counts once, as it needs
            one message, or one triple; lanes that fill a machine word up do not count.
        ring_multiplications: products of two ring elements in linear layers, by weights or of two computed tensors:
            ``Linear.macs``, cells of padding included. (Conversions need none in any protocol so far.)
        correlations: correlated randomness by name, counted in the phase and layer that use it up, not where it is
            made; empty where a protocol needs none. None of it is made and not used. Names:

            ``matrix_triples``
                masks of the operands of one linear step (a factor that one party knows has none), and their product.
            ``edabits``
                a random number shared both as a sum and bit by bit, with the products of neighbouring bits.
            ``and_triples``
                a share of the products of masks that one AND gate sums.
            ``dabits``
                a random bit shared both as a bit and as a sum.
            ``input_masks``, ``output_masks``
                a mask for one number that an owner enters or the receiver gets.
            ``base_ot``, ``ot``
                oblivious transfers: those from public-key operations, and those extended from them and then used.
            ``vole``
                one word of a vector oblivious linear evaluation: a digit of a factor times a mask.
    """

    and_gates: int = 0
    ring_multiplications: int = 0
    correlations: dict[str, int] = field(default_factory=dict)

    def add(self, other: Work) -> None:
        """Add other work of the same party."""
        self.and_gates += other.and_gates
        self.ring_multiplications += other.ring_multiplications
        for name, count in other.correlations.items():
            self.correlations[name] = self.correlations.get(name, 0) + count


@dataclass
class Cost:
    """Rounds, messages and bytes sent by one party, its seconds, and its work.

    Attributes:
        bytes_to: bytes sent per peer; :data:`CLIENT` stands for the launcher or receiver.
    """

    rounds: int = 0
    messages: int = 0
    seconds: float = 0.0
    bytes_to: dict[int, int] = field(default_factory=dict)
    work: Work = field(default_factory=Work)

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
        self.work.add(other.work)


#: The peer number of the launcher (owners and receiver).
CLIENT = -1


class CostMeter:
    """One party's cost so far, by (phase, layer). Starts outside any phase, where nothing may be sent."""

    def __init__(self) -> None:
        self._costs: dict[tuple[str, str], Cost] = {}
        self._round_bytes: dict[str, dict[int, int]] = {phase: {} for phase in PHASES}
        self._flights: dict[str, dict[int, int]] = {phase: {} for phase in PHASES}
        #: the flight that may go on: its phase, whether this party sends, and receives, in it; and its bytes so far
        self._way: tuple[str, bool, bool] | None = None
        self._way_bytes = 0
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

    def count_round(self, sent: int = 0, received: int = 0) -> None:
        """One exchange happened, in which ``sent`` bytes went to all peers together, framing included, and ``received``
        bytes came from the peer that sent most.
        """
        assert self._current is not None, "communication outside any phase"
        self._current.rounds += 1
        rounds.count(self._round_bytes[self._phases[-1]], sent)
        if sent or received:
            way = (self._phases[-1], sent > 0, received > 0)
            if way != self._way or (sent and received):
                self._land()
                self._way = way
            self._way_bytes += max(sent, received)

    def _land(self) -> None:
        if self._way is not None:
            rounds.count(self._flights[self._way[0]], self._way_bytes)
        self._way, self._way_bytes = None, 0

    def count_message(self, peer: int, size: int) -> None:
        """A frame of ``size`` bytes, framing included, was handed to the socket of ``peer``."""
        current = self._current
        assert current is not None, "communication outside any phase"
        current.messages += 1
        current.bytes_to[peer] = current.bytes_to.get(peer, 0) + size

    def count_work(self, *, and_gates: int = 0, ring_multiplications: int = 0,
                   correlations: Mapping[str, int] | None = None) -> None:
        """Secure operations on one tensor, as :class:`Work` defines them; every party says the same."""
        current = self._current
        assert current is not None, "work outside any phase"
        used = {name: count for name, count in (correlations or {}).items() if count}
        current.work.add(Work(and_gates, ring_multiplications, used))

    def phase_cost(self, phase: str) -> Cost:
        """Total of one phase."""
        return self._sum(lambda key: key[0] == phase)

    def round_bytes(self, phase: str) -> dict[int, int]:
        """How many of a phase's rounds had how many bytes (:mod:`~mpc_bridge.runtime.rounds`)."""
        return dict(self._round_bytes[phase])

    def flights(self, phase: str) -> dict[int, int]:
        """How many of a phase's flights had how many bytes, as what this party sent or received, whichever was more.

        A flight is a trip of messages that somebody waits for: on a network, half a round-trip time. A round is one;
        rounds in which this party only sends, one after the other, are one together, and so where it only receives.
        """
        self._land()
        return dict(self._flights[phase])

    def layer_cost(self, layer: str, *phases: str) -> Cost:
        """Total of one layer over these phases; over all but setup, where none is named."""
        return self._sum(lambda key: key[1] == layer and key[0] in (phases or SPENT))

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
