"""Every message of a malicious run, attacked by its sender: honest parties stop, or the result is right."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import pytest

from mpc_bridge.backends.plaintext import backend as plaintext
from mpc_bridge.errors import PeerError
from mpc_bridge.kernels import cpu_device
from mpc_bridge.lowering.program import Affine, Linear, Output, Requantize
from mpc_bridge.testing import conformance
from mpc_bridge.testing.adversary import Corruption, Interference, MessageType, Outcome, run
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
#: Honest parties' patience with one that says nothing.
SHORT = 3.0


@cache
def expected(name: str) -> list[conformance.IntArray]:
    return conformance.run(plaintext, CASES[name], [cpu_device()])


@cache
def sent_by(name: str, party: int) -> frozenset[MessageType]:
    """What one party sends in an honest run."""
    record = Interference()
    outcome = run(CASES[name], Corruption(party, record))
    assert outcome.violation(expected(name)) is None
    assert outcome.result is not None
    return frozenset(record.seen)


@cache
def types(name: str) -> tuple[tuple[MessageType, ...], ...]:
    """The message types of a program that no earlier one has, each with its occurrences."""
    earlier: set[tuple[str, str, str, int]] = set()
    found: dict[tuple[str, str, str, int], list[MessageType]] = {}
    for other in CASES:
        for message in sorted({message for party in range(3) for message in sent_by(other, party)}):
            key = (message.phase, message.layer, message.label, message.direction)
            if other == name:
                found.setdefault(key, []).append(message)
            else:
                earlier.add(key)
        if other == name:
            break
    return tuple(tuple(messages) for key, messages in found.items() if key not in earlier)


def attacks(name: str, attack: str, make: Callable[[MessageType], OneMessage]
            ) -> list[tuple[MessageType, OneMessage, Outcome]]:
    """The attack on every message type of the program; occurrences and corrupted senders take turns."""
    turn = [*CERTAIN, *POSSIBLE, *DELIVERIES, "withhold"].index(attack)

    def one(message: MessageType, party: int) -> tuple[MessageType, OneMessage, Outcome]:
        interference = make(message)
        return message, interference, run(CASES[name], Corruption(party, interference), timeout=30.0)

    work = []
    for number, occurrences in enumerate(types(name)):
        message = occurrences[(number + turn) % len(occurrences)]
        senders = [party for party in range(3) if message in sent_by(name, party)]
        # parties play different roles in a circuit, so the first attack is made by each of them
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


def changed(change: Change) -> Callable[[MessageType], OneMessage]:
    return lambda kind: Changed(kind, change)


@pytest.mark.parametrize("attack", CERTAIN)
@pytest.mark.parametrize("name", CASES)
def test_a_changed_value_is_detected_with_certainty(name: str, attack: str) -> None:
    for kind, _, outcome in attacks(name, attack, changed(CERTAIN[attack])):
        if kind.label == MEANINGLESS:
            assert outcome.result is not None, f"{kind} has no meaning, yet {[end.error for end in outcome.ends]}"
        else:
            assert outcome.detected, f"{attack} on {kind} by {outcome.cheater}: {[end.error for end in outcome.ends]}"


@pytest.mark.parametrize("attack", POSSIBLE)
@pytest.mark.parametrize("name", CASES)
def test_no_changed_value_leads_to_a_wrong_output(name: str, attack: str) -> None:
    for kind, _, outcome in attacks(name, attack, changed(POSSIBLE[attack])):
        assert outcome.detected or outcome.result is not None, f"{kind}: {[end.error for end in outcome.ends]}"


@pytest.mark.parametrize("attack", DELIVERIES)
@pytest.mark.parametrize("name", CASES)
def test_what_does_not_come_as_it_should_stops_the_run(name: str, attack: str) -> None:
    for kind, _, outcome in attacks(name, attack, DELIVERIES[attack]):
        # a second copy of the last message on a link is never looked at, and so harmless
        if outcome.result is None:
            assert any(end.error is not None for end in outcome.honest), f"{attack} on {kind}"


@pytest.mark.parametrize("name", CASES)
def test_nothing_is_opened_to_a_party_that_holds_a_message_back(name: str) -> None:
    for kind, interference, outcome in attacks(name, "withhold", Withheld):
        assert isinstance(interference, Withheld)
        if not kind.label.startswith(UNGUARDED):
            assert interference.openings == [], f"{kind}: {interference.openings}"
        assert outcome.result is not None, f"{kind} came late, that is all: {[end.error for end in outcome.ends]}"


@pytest.mark.parametrize("label", ["commitments", "product", "first fold", "coin", "open the check"])
def test_silence_ends_too(label: str) -> None:
    message = next(one for group in types("convolutions") for one in group if one.label == label)
    interference = Silent(message)
    outcome = run(CASES["convolutions"], Corruption(1, interference), timeout=SHORT)
    assert interference.met
    assert outcome.violation(expected("convolutions")) is None
    assert all(isinstance(end.error, PeerError) for end in outcome.honest)


def test_the_programs_reach_every_primitive_and_every_round() -> None:
    reached = {step.primitive for case in CASES.values() for step in case.program.steps}
    assert reached == {"input", "linear", "affine", "requantize", "maximum", "lookup", "move", "output"}
    steps = [(case.program, step) for case in CASES.values() for step in case.program.steps]
    assert {"activation", "weight"} == {p.values[s.inputs[1]].kind for p, s in steps if isinstance(s, Linear)}
    assert {"activation", "accumulator"} == {
        p.values[s.inputs[0]].kind for p, s in steps if isinstance(s, Output)
    }
    ties = [s.tie.parity for _, s in steps if isinstance(s, Requantize) and s.tie is not None]
    assert None in ties and len(set(ties)) > 1
    assert any(isinstance(c, tuple) for _, s in steps if isinstance(s, Affine) for c in s.coefficients)
    labels = {message.label for name in CASES for group in types(name) for message in group}
    assert labels >= {
        "keys", "commitments", "commitment echo", "input agreement", "product", "first component", "barrier", "coin",
        "MACs", "MAC of the sum", "weighted sum", "check value", "first fold", "masked product", "open o",
        "hidden difference",
        "open the check", "fresh components",
    }
