"""The adversary of :mod:`mpc_bridge.testing.adversary` among any number of spdz2k parties, with a dealer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mpc_bridge.backends.sharing.circuit import Circuit
from mpc_bridge.backends.spdz2k.engine import Spdz2kEngine
from mpc_bridge.backends.spdz2k.owner import Spdz2kOwner
from mpc_bridge.backends.spdz2k.planner import Plan, plan
from mpc_bridge.backends.spdz2k.protocol import Spdz2k
from mpc_bridge.backends.spdz2k.source import Dealer, SealedSource
from mpc_bridge.errors import MpcBridgeError, PeerError, PeerLost
from mpc_bridge.lowering.program import Input, Output, Program
from mpc_bridge.runtime.executor import run_online, run_setup
from mpc_bridge.runtime.session import Session
from mpc_bridge.testing.adversary import Corruption, CorruptSession, Outcome, PartyEnd, ignore, launch, receive
from mpc_bridge.testing.conformance import Case
from mpc_bridge.testing.owners import Desk

#: Makes the corrupted party's protocol.
MakeSpdz2k = Callable[[Session, Program], Spdz2k]
#: Compiled circuits, shared by all runs: by number of parties and party (of the dealer: of parties).
_compiled: dict[tuple[int, int], dict[Circuit, object]] = {}
_plans: dict[int, tuple[Program, Plan]] = {}


def planned(program: Program) -> Plan:
    """The plan of a program, made once."""
    known = _plans.get(id(program))
    if known is None:
        known = _plans[id(program)] = program, plan(program)
    return known[1]


def honest(session: Session, program: Program, source: type[SealedSource] = SealedSource) -> Spdz2k:
    """A party's protocol, on compiled circuits from earlier runs."""
    demands = planned(program)
    protocol = Spdz2k(session, source(session, demands), demands)
    share_compiled(protocol, session)
    return protocol


def share_compiled(protocol: Spdz2k, session: Session) -> None:
    """Take compiled circuits from earlier runs."""
    programs = _compiled.setdefault((session.parties, session.party), {})
    protocol._circuits._programs = programs  # type: ignore[assignment]


@dataclass
class DealtCorruption(Corruption):
    """Who is corrupted, and how.

    Attributes:
        make: what it computes.
        mask: what it does to its message for an owner.
    """

    make: MakeSpdz2k = honest
    mask: Callable[[bytes], bytes] = bytes


class _WatchfulDesk(Desk):
    """Notes why an owner stopped; to the parties it is gone."""

    refusal: MpcBridgeError | None = None

    def ask(self, engine: Spdz2kEngine, party: int, step: Input) -> bytes:
        """As :meth:`read`."""
        try:
            return self.read(engine, party, step)
        except PeerError:
            raise
        except MpcBridgeError as error:
            self.refusal = error
            raise PeerLost("the owner is gone", where="owner", hint="see what it says") from None


def run(case: Case, parties: int, corruption: DealtCorruption, *, timeout: float = 10.0) -> Outcome:
    """One run of the case's program.

    Args:
        timeout: of the honest parties, in seconds.
    """
    program, owner, cheater = case.program, Spdz2kOwner(parties), corruption.party
    desk = _WatchfulDesk(owner, program, case.inputs, parties, timeout, corruption.owner)
    ends = [PartyEnd() for _ in range(parties)]

    def dealer(session: Session) -> None:
        helper = Dealer(session, program)
        helper._dealing.programs = _compiled.setdefault((parties, parties), {})  # type: ignore[assignment]
        try:
            with session.meter.phase("preprocessing"):
                helper.setup()
                helper.sample()
        except MpcBridgeError:
            session.close()

    def party(session: Session) -> None:
        _party(session, case, desk, corruption, ends[session.party])

    outcome = Outcome(cheater, ends, launch(corruption, party, timeout, parties, dealer))
    receive(outcome, owner, program, corruption.output)
    outcome.refusal = desk.refusal or outcome.refusal
    return outcome


def _party(session: Session, case: Case, desk: _WatchfulDesk, corruption: DealtCorruption, end: PartyEnd) -> None:
    program = case.program

    def write(_: int, step: Output, message: bytes) -> None:
        end.outputs[step.output] = message

    try:
        if session.party == corruption.party:
            protocol = corruption.make(session, program)
            protocol._trust.require = ignore  # type: ignore[method-assign]
            show = protocol.mask
            protocol.mask = lambda value: corruption.mask(show(value))  # type: ignore[method-assign]
        else:
            protocol = honest(session, program)
        engine = Spdz2kEngine(protocol, program)
        end.protocol = protocol

        def read(_: int, step: Input) -> bytes:
            if isinstance(session, CorruptSession):
                # the others cannot ask the owner for anything before they have what was held back
                session.finish()
            return desk.ask(engine, session.party, step)

        with session.meter.phase("online"):
            prepared = run_setup(engine, program, read, session.meter)
            engine.preprocess()
            run_online(engine, program, prepared, read, write, session.meter)
        if isinstance(session, CorruptSession):
            session.finish()
    except BaseException as error:
        end.error = error
        # the others see a lost peer
        session.close()
        desk.close()
