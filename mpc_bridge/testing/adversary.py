"""An adversary among three parties: one of them corrupted, whatever it does; and what the honest two make of it.

The parties are threads on real sockets, as in :mod:`mpc_bridge.testing.conformance`. The corrupted one runs the
protocol too, but

* its messages go through an :class:`Interference` on their way out (:class:`CorruptSession`), or
* its protocol object is one that cheats in what it computes (``adversary_cheats``, ``_coins``, ``_faults``), or both;
* it never tells anybody that it found something wrong, and goes on as long as the others do.

What must never happen is that the receiver reconstructs something else than the honest result, or that anybody waits
for ever.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from mpc_bridge.backends.base import Owner
from mpc_bridge.backends.replicated.malicious.checks import Check
from mpc_bridge.backends.replicated.malicious.owner import Rep3MacOwner
from mpc_bridge.backends.replicated.malicious.protocol import Rep3Mac
from mpc_bridge.backends.replicated.malicious.trust import PARTIES
from mpc_bridge.backends.sharing.engine import SharingEngine
from mpc_bridge.errors import MpcBridgeError, PeerError, PeerTimeout, ProtocolAbort
from mpc_bridge.kernels import Device, cpu_device
from mpc_bridge.lowering.program import Input, Output, Program
from mpc_bridge.runtime.executor import run_online, run_setup
from mpc_bridge.runtime.meter import CostMeter
from mpc_bridge.runtime.session import Session
from mpc_bridge.runtime.transport import Channel, Incoming, Kind, Outgoing, Transfer, Waiter, encode_header, flatten
from mpc_bridge.testing.conformance import Case, IntArray
from mpc_bridge.testing.parties import connect

if TYPE_CHECKING:
    from mpc_bridge.runtime.transport import Buffer

#: Seconds without any progress after which a message that is held back is sent after all.
PATIENCE = 0.25
#: Seconds without any progress after which a corrupted party that has done its worst leaves.
STAY = 0.5
#: Seconds for which a corrupted party that cannot go on leaves its connections open, so that the others speak first.
LINGER = 0.3
#: Nothing takes this long; a run that does hangs.
HANG_SECONDS = 60.0


@dataclass(frozen=True, order=True)
class MessageType:
    """What a message is, as far as its sender's place in the program goes; the same at every party.

    Attributes:
        phase, layer: of the sender's meter.
        label: what the protocol calls the step.
        occurrence: how many messages of the same phase, layer, label and direction went before.
        direction: 1 to the next party, 2 to the previous one.
    """

    phase: str
    layer: str
    label: str
    occurrence: int
    direction: int


class Interference:
    """What becomes of the corrupted party's messages; this one leaves all as they are and keeps a list of them.

    Attributes:
        seen: all message types so far, with their payload's size.
        struck: whether the party may leave as soon as nothing moves any more.
    """

    struck = False

    def __init__(self) -> None:
        self.seen: dict[MessageType, int] = {}

    def frames(self, message: MessageType, tag: int, payload: bytes) -> list[bytes]:
        """What goes out to the message's receiver now."""
        self.seen[message] = len(payload)
        return [frame(tag, payload)]

    def waited(self) -> dict[int, list[bytes]]:
        """Asked when nothing has moved for :data:`PATIENCE`: by direction, what goes out after all."""
        return {}

    def received(self, label: str, direction: int) -> None:
        """Told about every frame that has arrived: from the next party (1) or the previous one (2)."""


def frame(tag: int, payload: bytes) -> bytes:
    """A round's frame as it should be."""
    return encode_header(Kind.ROUND, tag, len(payload)) + payload


class CorruptSession(Session):
    """A session whose outgoing frames are an interference's; it tells nobody of failed checks."""

    def __init__(self, party: int, device: Device, channels: Mapping[int, Channel], interference: Interference, *,
                 timeout: float, identity: bytes, parties: int = PARTIES) -> None:
        super().__init__(party, parties, device, channels, timeout=timeout, identity=identity)
        self._interference = interference
        self._occurrences: Counter[tuple[str, str, str, int]] = Counter()
        self._impatient = Waiter(PATIENCE)
        #: set when both honest parties have ended
        self.settled = threading.Event()
        #: label, peer, payload → the payload it gets: for a cheat that says different things to the others
        self.rewrite: Callable[[str, int, bytes], bytes] = lambda label, peer, payload: payload

    def exchange(self, sends: Mapping[int, Sequence[Buffer]], receives: Mapping[int, Sequence[Buffer]],
                 label: str = "") -> None:
        """As the honest one, with the interference's frames."""
        tag = self._round
        self._round = tag + 1
        self.meter.count_round()
        transfers: list[Transfer] = []
        for peer, buffers in sends.items():
            payload = b"".join(flatten(buffers))
            if payload:
                payload = self.rewrite(label, peer, payload)
                message = self._type(peer, label)
                for raw in self._interference.frames(message, tag, payload):
                    transfers.append(self._raw(peer, raw))
        incoming: dict[int, int] = {}
        for peer, buffers in receives.items():
            views = flatten(buffers)
            if views:
                arrival = Incoming(self._channels[peer], Kind.ROUND, tag, views)
                incoming[id(arrival)] = peer
                transfers.append(arrival)
        self._drive(transfers, incoming, label)

    def rush(self, receives: Mapping[int, Sequence[Buffer]],
             sends: Callable[[], Mapping[int, Sequence[Buffer]]], label: str) -> None:
        """One round in which this party speaks last."""
        self.exchange({}, receives, label)
        self._round -= 1
        self.exchange(sends(), {}, label)

    def finish(self) -> None:
        """Everything still held back goes out."""
        transfers: list[Transfer] = []
        for direction, frames in self._interference.waited().items():
            transfers += [self._raw((self.party + direction) % self.parties, raw) for raw in frames]
        self._drive(transfers, {}, "")

    def abort(self) -> None:
        """A cheater keeps to itself what it finds."""

    def close(self) -> None:
        """The others may be on their way out."""
        if not self._interference.struck:
            self.settled.wait(LINGER)
        super().close()

    def _type(self, peer: int, label: str) -> MessageType:
        meter: CostMeter = self.meter
        key = (str(meter.current_phase), meter.current_layer, label, (peer - self.party) % self.parties)
        self._occurrences[key] += 1
        return MessageType(key[0], key[1], key[2], self._occurrences[key] - 1, key[3])

    def _raw(self, peer: int, raw: bytes) -> Outgoing:
        outgoing = Outgoing(self._channels[peer], Kind.ROUND, 0, [])
        outgoing.views = [memoryview(raw)]
        return outgoing

    def _drive(self, transfers: list[Transfer], incoming: dict[int, int], label: str) -> None:
        waiting = [transfer for transfer in transfers if isinstance(transfer, Incoming) or not transfer.advance()]
        since = time.monotonic()
        while waiting:
            try:
                left = self._impatient.advance(waiting)
            except PeerTimeout:
                if time.monotonic() > since + (STAY if self._interference.struck else self.timeout):
                    raise
                left = waiting
                for transfer in left:
                    transfer.deadline = 0.0
                for direction, frames in self._interference.waited().items():
                    left += [self._raw((self.party + direction) % self.parties, raw) for raw in frames]
            for transfer in waiting:
                if transfer not in left and id(transfer) in incoming:
                    self._interference.received(label, (incoming[id(transfer)] - self.party) % self.parties)
            waiting = left


#: Makes the corrupted party's protocol.
MakeProtocol = Callable[[Session, Program], Rep3Mac]


@dataclass
class Corruption:
    """Who is corrupted, and how.

    Attributes:
        party: the corrupted one.
        interference: with its messages.
        protocol: what it computes.
        output: what it does to its message for the receiver.
        owner: what an owner that is in league with it does to the messages for the parties.
    """

    party: int
    interference: Interference = field(default_factory=Interference)
    protocol: MakeProtocol = Rep3Mac
    device: Callable[[], Device] = cpu_device
    output: Callable[[bytes], bytes] = bytes
    owner: Callable[[list[bytes]], list[bytes]] = list


class Secrets(Protocol):
    """What a protocol keeps its keys in."""

    def keys(self) -> bytes:
        """All of them; zeros once they are erased."""
        ...


class Trusting(Protocol):
    """A protocol with keys."""

    @property
    def _trust(self) -> Secrets: ...


@dataclass
class PartyEnd:
    """How one party ended.

    Attributes:
        error: what it raised, None if it came to the end.
        outputs: messages for the receiver that left it, by output position.
        protocol: as it was at the end.
    """

    error: BaseException | None = None
    outputs: dict[int, bytes] = field(default_factory=dict)
    protocol: Trusting | None = None

    @property
    def check(self) -> str | None:
        """Name of the check that found something at this party."""
        mark = "check "
        if isinstance(self.error, ProtocolAbort) and mark in self.error.where:
            return self.error.where.split(mark)[1]
        return None


@dataclass
class Outcome:
    """How a run ended.

    Attributes:
        ends: by party.
        hung: parties that did not end.
        result: what the receiver reconstructed; None if it could not.
        refusal: why it could not.
    """

    cheater: int
    ends: list[PartyEnd]
    hung: tuple[int, ...]
    result: list[IntArray] | None = None
    refusal: MpcBridgeError | None = None

    @property
    def honest(self) -> list[PartyEnd]:
        """Ends of the honest parties."""
        return [end for party, end in enumerate(self.ends) if party != self.cheater]

    @property
    def found(self) -> set[str]:
        """Names of the checks that found something, at an honest party or the receiver."""
        names = {end.check for end in self.honest}
        if isinstance(self.refusal, ProtocolAbort):
            names.add(self.refusal.where.split("check ")[-1])
        return {name for name in names if name}

    @property
    def detected(self) -> bool:
        """Whether the cheating was seen for what it is: a check says why, and honest parties or receiver stop."""
        stopped = all(isinstance(end.error, ProtocolAbort) for end in self.honest)
        return bool(self.found) and (stopped or isinstance(self.refusal, ProtocolAbort))

    def violation(self, expected: Sequence[IntArray]) -> str | None:
        """What must never happen and did: None if nothing did.

        Args:
            expected: the honest result.
        """
        if self.hung:
            return f"parties {self.hung} did not end"
        for end in self.honest:
            if end.error is not None and not isinstance(end.error, (ProtocolAbort, PeerError)):
                return f"an honest party failed: {end.error!r}"
            if isinstance(end.error, ProtocolAbort):
                if end.outputs:
                    return "a party that detected cheating had sent an output"
                if end.protocol is not None and any(end.protocol._trust.keys()):
                    return "a party that detected cheating kept its keys"
        if self.result is None:
            return None
        for got, wanted in zip(self.result, expected, strict=True):
            if not np.array_equal(got, wanted):
                return "the receiver got a wrong output"
        return None


#: Compiled circuits of honest parties, shared by all runs: compiling takes longer than a run.
_programs: dict[object, object] = {}
_verified: dict[int, object] = {}


def share_compiled(protocol: Rep3Mac) -> Rep3Mac:
    """The protocol, taking compiled circuits from earlier runs."""
    protocol._programs = _programs  # type: ignore[assignment]
    protocol._verified = _verified  # type: ignore[assignment]
    return protocol


def run(case: Case, corruption: Corruption, *, timeout: float = 10.0) -> Outcome:
    """One run of the case's program.

    Args:
        timeout: of the honest parties, in seconds. Short for attacks that leave them without a message.
    """
    program, owner, cheater = case.program, Rep3MacOwner(), corruption.party
    shares = {value: corruption.owner([*owner.share(program.values[value], x)]) for value, x in case.inputs.items()}
    ends = [PartyEnd() for _ in range(PARTIES)]
    hung = launch(corruption, lambda session: _party(session, case, shares, corruption, ends[session.party]), timeout)
    outcome = Outcome(cheater, ends, hung)
    receive(outcome, owner, program, corruption.output)
    return outcome


def launch(corruption: Corruption, main: Callable[[Session], None], timeout: float, parties: int = PARTIES,
           helper: Callable[[Session], None] | None = None) -> tuple[int, ...]:
    """``main`` at every party, which does not raise; the parties that did not end.

    Args:
        helper: what one more thread does, which all parties' ``Session.helper`` leads to.
    """
    identity = secrets.token_bytes(32)
    sessions: list[Session] = []
    ends = connect(parties + (helper is not None))
    for party in range(parties):
        channels = {peer: channel for peer, channel in ends[party].items() if peer < parties}
        if party == corruption.party:
            sessions.append(CorruptSession(party, corruption.device(), channels, corruption.interference,
                                           timeout=timeout + 2 * PATIENCE, identity=identity, parties=parties))
        else:
            sessions.append(Session(party, parties, cpu_device(), channels, timeout=timeout, identity=identity))
        if helper is not None:
            session = sessions[party]
            session.helper = Session(party, parties, session.device, {parties: ends[party][parties]},
                                     meter=session.meter, timeout=timeout, identity=identity)
    cheater = sessions[corruption.party]
    assert isinstance(cheater, CorruptSession)
    threads = [threading.Thread(target=main, args=(session,), daemon=True) for session in sessions]
    if helper is not None:
        sessions.append(Session(parties, parties, cpu_device(), ends[parties], timeout=timeout, identity=identity))
        threads.append(threading.Thread(target=helper, args=(sessions[parties],), daemon=True))
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + HANG_SECONDS
    for thread in [thread for thread in threads[:parties] if thread is not threads[corruption.party]]:
        thread.join(max(0.0, deadline - time.monotonic()))
    cheater.settled.set()
    for thread in (threads[corruption.party], *threads[parties:]):
        thread.join(max(0.0, deadline - time.monotonic()))
    hung = tuple(party for party, thread in enumerate(threads) if thread.is_alive())
    for session in sessions:
        session.close()
    return hung


def _party(session: Session, case: Case, shares: Mapping[int, list[bytes]], corruption: Corruption,
           end: PartyEnd) -> None:
    program = case.program

    def read(_: int, step: Input) -> bytes:
        return shares[step.output][session.party]

    def write(_: int, step: Output, message: bytes) -> None:
        end.outputs[step.output] = message

    try:
        if session.party == corruption.party:
            protocol = corruption.protocol(session, program)
            protocol._trust.require = ignore  # type: ignore[method-assign]
        else:
            protocol = share_compiled(Rep3Mac(session, program))
        end.protocol = protocol
        engine = SharingEngine(protocol, program)
        with session.meter.phase("online"):
            prepared = run_setup(engine, program, read, session.meter)
            run_online(engine, program, prepared, read, write, session.meter)
        if isinstance(session, CorruptSession):
            session.finish()
    except BaseException as error:
        end.error = error
        # the others see a lost peer
        session.close()


def ignore(check: Check, condition: bool) -> None:
    """A cheater's checks."""


def receive(outcome: Outcome, owner: Owner, program: Program, tamper: Callable[[bytes], bytes]) -> None:
    """What the receiver makes of the outputs that left the parties."""
    results = []
    for step in program.steps:
        if isinstance(step, Output):
            value = program.values[step.inputs[0]]
            messages = [end.outputs.get(step.output) for end in outcome.ends]
            if messages[outcome.cheater] is None:
                # it could send anything; its honest message is the best it has
                messages[outcome.cheater] = bytes(owner.output_size(value, outcome.cheater))
            present = [message for message in messages if message is not None]
            if len(present) < len(messages):
                return
            present[outcome.cheater] = tamper(present[outcome.cheater])
            try:
                results.append(owner.reconstruct(value, present))
            except MpcBridgeError as error:
                outcome.refusal = error
                return
    outcome.result = results
