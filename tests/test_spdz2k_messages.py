"""Every message of an spdz2k run, attacked by its sender among two or three parties: stopped, or still right."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import pytest

from mpc_bridge.backends.plaintext import backend as plaintext
from mpc_bridge.errors import PeerError
from mpc_bridge.kernels import cpu_device
from mpc_bridge.testing import conformance
from mpc_bridge.testing.adversary import Interference, MessageType, Outcome
from mpc_bridge.testing.adversary_dealt import DealtCorruption, run
from mpc_bridge.testing.adversary_messages import (
    CERTAIN,
    DELIVERIES,
    POSSIBLE,
    UNGUARDED,
    Change,
    Changed,
    OneMessage,
    Silent,
    Withheld,
)
from mpc_bridge.testing.adversary_programs import programs

CASES = {case.name: case for case in programs()}
#: Nobody reads what a barrier's message says: that it came is all.
MEANINGLESS = "barrier"
#: Who waits for an echo of commitments has all commitments, and its own part is committed to.
LATE = (*UNGUARDED, "commitment echo")
#: Honest parties' patience with one that says nothing.
SHORT = 3.0
Kind = tuple[str, str, str, int]


@cache
def expected(name: str) -> list[conformance.IntArray]:
    return conformance.run(plaintext, CASES[name], [cpu_device()])


@cache
def sent_by(name: str, parties: int, party: int) -> frozenset[MessageType]:
    """What one party sends in an honest run."""
    record = Interference()
    outcome = run(CASES[name], parties, DealtCorruption(party, record))
    assert outcome.violation(expected(name)) is None
    assert outcome.result is not None
    return frozenset(record.seen)


@cache
def types(name: str, parties: int) -> tuple[tuple[MessageType, ...], ...]:
    """The message types of a program, each with its occurrences; messages of setup in the first program alone."""
    found: dict[Kind, list[MessageType]] = {}
    for message in sorted({message for party in range(parties) for message in sent_by(name, parties, party)}):
        if name == next(iter(CASES)) or message.phase != "setup" or message.label == "masked weights":
            found.setdefault((message.phase, message.layer, message.label, message.direction), []).append(message)
    return tuple(map(tuple, found.values()))


def attacks(name: str, parties: int, attack: str, make: Callable[[MessageType], OneMessage]
            ) -> list[tuple[MessageType, OneMessage, Outcome]]:
    """The attack on every message type of the program; occurrences and corrupted senders take turns."""
    turn = [*CERTAIN, *POSSIBLE, *DELIVERIES, "withhold"].index(attack)

    def one(message: MessageType, party: int) -> tuple[MessageType, OneMessage, Outcome]:
        interference = make(message)
        return message, interference, run(CASES[name], parties, DealtCorruption(party, interference), timeout=30.0)

    work = []
    for number, occurrences in enumerate(types(name, parties)):
        message = occurrences[(number + turn) % len(occurrences)]
        senders = [party for party in range(parties) if message in sent_by(name, parties, party)]
        # one party takes the dealer's corrections, so the first attack is made by each of them
        chosen = senders if turn == 0 else [senders[(number + turn) % len(senders)]]
        work += [(message, party) for party in chosen]
    # most of a run is waiting
    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(lambda task: one(*task), work))
    for message, interference, outcome in done:
        assert interference.met, f"{message} was not sent"
        violation = outcome.violation(expected(name))
        assert violation is None, f"{attack} on {message} from party {outcome.cheater}: {violation}"
    return done


def stopped(outcome: Outcome) -> bool:
    """A check says why, and nobody goes on; who waits for an owner hears no more than that it is gone."""
    return bool(outcome.found) and outcome.result is None and all(end.error is not None for end in outcome.honest)


def changed(change: Change) -> Callable[[MessageType], OneMessage]:
    return lambda kind: Changed(kind, change)


@pytest.mark.parametrize("attack", CERTAIN)
@pytest.mark.parametrize("parties", [2, 3])
@pytest.mark.parametrize("name", CASES)
def test_a_changed_value_is_detected_with_certainty(name: str, parties: int, attack: str) -> None:
    for kind, _, outcome in attacks(name, parties, attack, changed(CERTAIN[attack])):
        if kind.label == MEANINGLESS:
            assert outcome.result is not None, f"{kind} has no meaning, yet {[end.error for end in outcome.ends]}"
        else:
            assert stopped(outcome), f"{attack} on {kind} by {outcome.cheater}: {[end.error for end in outcome.ends]}"


@pytest.mark.parametrize("attack", POSSIBLE)
@pytest.mark.parametrize(("name", "parties"), [("convolutions", 3), ("sums", 2), ("comparisons", 2), ("products", 3)])
def test_no_changed_value_leads_to_a_wrong_output(name: str, parties: int, attack: str) -> None:
    for kind, _, outcome in attacks(name, parties, attack, changed(POSSIBLE[attack])):
        assert stopped(outcome) or outcome.result is not None, f"{kind}: {[end.error for end in outcome.ends]}"


@pytest.mark.parametrize("attack", DELIVERIES)
@pytest.mark.parametrize(("name", "parties"), [("convolutions", 3), ("sums", 2)])
def test_what_does_not_come_as_it_should_stops_the_run(name: str, parties: int, attack: str) -> None:
    for kind, _, outcome in attacks(name, parties, attack, DELIVERIES[attack]):
        # a second copy of the last message on a link is never looked at, and so harmless
        if outcome.result is None:
            assert any(end.error is not None for end in outcome.honest), f"{attack} on {kind}"


@pytest.mark.parametrize(("name", "parties"), [("convolutions", 3), ("products", 2)])
def test_nothing_is_opened_to_a_party_that_holds_a_message_back(name: str, parties: int) -> None:
    for kind, interference, outcome in attacks(name, parties, "withhold", Withheld):
        assert isinstance(interference, Withheld)
        if not kind.label.startswith(LATE):
            assert interference.openings == [], f"{kind}: {interference.openings}"
        assert outcome.result is not None, f"{kind} came late, that is all: {[end.error for end in outcome.ends]}"


@pytest.mark.parametrize("label", ["commitments", "masked operand", "circuit round 1", "coin", "mac check"])
def test_silence_ends_too(label: str) -> None:
    message = next(one for group in types("convolutions", 3) for one in group if one.label == label)
    interference = Silent(message)
    outcome = run(CASES["convolutions"], 3, DealtCorruption(1, interference), timeout=SHORT)
    assert interference.met
    assert outcome.violation(expected("convolutions")) is None
    assert all(isinstance(end.error, PeerError) for end in outcome.honest)


def test_the_programs_reach_every_kind_of_message() -> None:
    labels = {message.label for name in CASES for group in types(name, 3) for message in group}
    assert {label for label in labels if not label.startswith("circuit round")} == {
        "keys", "commitments", "commitment echo", "input agreement", "masked weights", "masked operand",
        "masked accumulator", "masked bits", "masked output", "transcript", "barrier", "coin",
        "commitment to mac check", "mac check",
    }
    assert {f"circuit round {number}" for number in range(5)} <= labels
