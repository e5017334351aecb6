"""Cheating in local computation that fits the party's messages, hashes and later steps: always detected."""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import cache, partial

import numpy as np
import pytest

from mpc_bridge.backends.plaintext import backend as plaintext
from mpc_bridge.backends.replicated.malicious.boolean import BooleanVerifier
from mpc_bridge.backends.replicated.malicious.checks import BOOLEAN, INPUT_AGREEMENT, LINEAR, OPENING, OUTPUT
from mpc_bridge.backends.replicated.malicious.linear import LinearVerifier
from mpc_bridge.backends.replicated.malicious.protocol import Rep3Mac, WideWeights
from mpc_bridge.backends.replicated.roles import Third
from mpc_bridge.backends.sharing.circuit import INTERACTIVE, Circuit, Kind
from mpc_bridge.backends.sharing.planes import PlaneLane
from mpc_bridge.backends.sharing.shares import RingShare
from mpc_bridge.errors import MalformedFrame
from mpc_bridge.kernels import cpu_device
from mpc_bridge.lowering.program import Geometry, Linear, Program, Requantize
from mpc_bridge.runtime.session import Session
from mpc_bridge.testing import conformance
from mpc_bridge.testing.adversary import Corruption, Outcome, run, share_compiled
from mpc_bridge.testing.adversary_cheats import (
    Cheater,
    Compensating,
    Gate,
    WrongField,
    WrongGate,
    WrongProducts,
    WrongSummand,
    cheater,
)
from mpc_bridge.testing.adversary_faults import Fault, FaultyDevice
from mpc_bridge.testing.adversary_programs import programs

CASES = {case.name: case for case in programs()}


@cache
def expected(name: str) -> list[conformance.IntArray]:
    return conformance.run(plaintext, CASES[name], [cpu_device()])


def attack(name: str, corruption: Corruption) -> Outcome:
    outcome = run(CASES[name], corruption, timeout=30.0)
    violation = outcome.violation(expected(name))
    assert violation is None, violation
    return outcome


def assert_found(outcome: Outcome, check: str) -> None:
    assert outcome.found == {check}, [end.error for end in outcome.ends]
    assert outcome.detected


# Products -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("party", range(3))
@pytest.mark.parametrize(
    "errors",
    [
        {0: {0: 1}},
        {0: {23: 1 << 27}},
        {0: {5: -1 << 10}},
        {1: {7: 1 << 35}},
        {0: {0: 1, 1: -1}},
        {0: {3: 1}, 1: {3: -1}},
    ],
    ids=["one", "top-bit", "negative", "depthwise", "opposite", "two-layers"],
)
def test_a_wrong_product_is_found(party: int, errors: Mapping[int, Mapping[int, int]]) -> None:
    assert_found(attack("convolutions", Corruption(party, device=lambda: WrongProducts(errors))), LINEAR.name)


@pytest.mark.parametrize("party", range(3))
@pytest.mark.parametrize(
    "errors",
    [{0: {0: 1}}, {0: {23: 1 << 27}}, {1: {7: -1}}, {1: {0: 1 << 43}}, {0: {3: 1}, 1: {3: -1}}],
    ids=["elementwise", "top-bit", "dense", "dense-top-bit", "both"],
)
def test_a_wrong_product_of_two_computed_values_is_found(party: int, errors: Mapping[int, Mapping[int, int]]) -> None:
    assert_found(attack("products", Corruption(party, device=lambda: WrongProducts(errors))), LINEAR.name)


@pytest.mark.parametrize("party", range(3))
@pytest.mark.parametrize("error", [1, -1, 1 << 43, 1 << 44], ids=["one", "less-one", "top-bit", "above-the-ring"])
def test_a_wrong_summand_of_the_fresh_components_of_a_shown_sum_is_found(party: int, error: int) -> None:
    corruption = Corruption(party, protocol=cheater(errors={"fresh components": error}))
    assert_found(attack("products", corruption), LINEAR.name)


def test_other_operands_than_those_that_were_computed_are_found() -> None:
    """A party that multiplies with another component of the second operand, and checks with it as well."""
    for position, party in ((0, 0), (5, 1), (23, 2)):

        class Other(Cheater):
            def pack(self, step: Linear, weights: RingShare, bias: RingShare | None) -> WideWeights:
                for component in weights.components if self._values[step.inputs[1]].kind == "activation" else ():
                    component[position % component.size] += np.uint64(1)  # noqa: B023
                return super().pack(step, weights, bias)

        def make(session: Session, program: Program, other: type[Cheater] = Other) -> Rep3Mac:
            return share_compiled(other(session, program))

        outcome = attack("products", Corruption(party, protocol=make))
        assert outcome.detected and outcome.found <= {LINEAR.name, OPENING.name}


def twin_layers() -> conformance.Case:
    """Two products of the same geometry and the same weights' shapes, on the same input."""
    b = conformance.Builder(np.random.default_rng(8))
    x, g = b.input((1, 1, 2, 4), 28), Geometry(1, 1, 2, 4, 1, 2, 4)
    sums = []
    for name in ("first", "second"):
        w = b.weight((4, 1, 1, 4), 28, -128, 127)
        sums.append(b.add(Linear(0, name, (x, w), b.accumulator((1, 1, 2, 4), 28), g, False, 0, 28)))
    outs = [b.add(Requantize(0, "last", (acc,), b.activation((1, 1, 2, 4)), (1,), (0,), 9, 28)) for acc in sums]
    return b.finish("twins", outs[0])


def test_opposite_errors_in_two_layers_do_not_cancel() -> None:
    case = twin_layers()
    outcome = run(case, Corruption(2, device=lambda: WrongProducts({0: {0: 1}, 1: {0: -1}})))
    assert_found(outcome, LINEAR.name)


@pytest.mark.parametrize("party", range(3))
def test_an_error_taken_out_of_the_weighted_sum_is_found(party: int) -> None:
    """Error d on a product and minus chi psi d on the reshare of w: alpha_0 is secret and not one."""
    corruption = Corruption(party, device=lambda: WrongProducts({0: {0: 1}}), protocol=cheater(linear=Compensating))
    assert_found(attack("convolutions", corruption), LINEAR.name)


@pytest.mark.parametrize("party", range(3))
@pytest.mark.parametrize("label", ["MACs", "MAC of the sum", "weighted sum", "check value"])
def test_a_wrong_summand_of_the_product_check_is_found(party: int, label: str) -> None:
    def linear(*arguments: object) -> LinearVerifier:
        verifier = WrongSummand(*arguments)  # type: ignore[arg-type]
        verifier.errors = {label: 1}
        return verifier

    assert_found(attack("convolutions", Corruption(party, protocol=cheater(linear=linear))), LINEAR.name)


# Gates ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("party", range(3))
@pytest.mark.parametrize(
    ("label", "element"),
    [
        ("first fold", 0),
        ("first fold", 65),
        ("first fold", 4094),
        ("fold by 4", 0),
        ("fold by 4", 14),
        ("fold by 32", 1),
        ("masked product", 0),
        ("hidden difference", 0),
    ],
)
def test_a_wrong_summand_of_the_gate_check_is_found(party: int, label: str, element: int) -> None:
    def boolean(*arguments: object) -> BooleanVerifier:
        verifier = WrongField(*arguments)  # type: ignore[arg-type]
        verifier.errors = {label: element}
        return verifier

    assert_found(attack("comparisons", Corruption(party, protocol=cheater(boolean=boolean))), BOOLEAN.name)


@cache
def circuits(name: str) -> dict[tuple[Circuit, int], int]:
    """Circuits that an honest run evaluates, and the roles in which: by a party that plays it."""
    played: dict[tuple[Circuit, int], int] = {}

    class Recording(Rep3Mac):
        def _lane(self, circuit: Circuit, part: Third, slot: int) -> PlaneLane:
            played[circuit, part.role(self.party)] = self.party
            return super()._lane(circuit, part, slot)

    # parties that are the first to ask for a circuit at the same time each make their own
    attack(name, Corruption(0))
    for party in range(3):
        attack(name, Corruption(party, protocol=lambda session, program: share_compiled(Recording(session, program))))
    return played


def gates(name: str) -> list[tuple[int, Gate]]:
    """For every circuit, role and kind of gate in which the role sends something: the first, the last and a random one.

    Each with a party that computes it.
    """
    rng, found = random.Random(name), []
    for (circuit, role), party in circuits(name).items():
        wires = WrongGate(Gate(circuit, role, 0)).interactive
        for kind in sorted(INTERACTIVE):
            sending = [w for w in wires if circuit.gates[w].kind is kind and sends(circuit, role, w)]
            chosen = {sending[0], sending[-1], rng.choice(sending)} if sending else set()
            found += [(party, Gate(circuit, role, wire)) for wire in sorted(chosen)]
    return found


def sends(circuit: Circuit, role: int, wire: int) -> bool:
    kind = circuit.gates[wire].kind
    if kind is Kind.REVEAL:
        wrong = WrongGate(Gate(circuit, role, wire))
        wrong.verified()
        return wrong.changed > 0
    return {Kind.SHARE: role == 0, Kind.INNER: role != 0, Kind.REVEAL_INNER: role != 0}.get(kind, True)


@pytest.mark.parametrize("name", CASES)
def test_every_kind_of_gate_computed_wrongly_is_found(name: str) -> None:
    kinds = set()
    for party, gate in gates(name):
        outcome = attack(name, Corruption(party, protocol=cheater(gate=gate)))
        protocol, kind = outcome.ends[party].protocol, gate.circuit.gates[gate.wire].kind
        assert isinstance(protocol, Cheater) and protocol.met
        # a revealed plane is the party's own component, and using another one shows in the next opening
        possible = {BOOLEAN.name, OPENING.name} if kind is Kind.REVEAL else {BOOLEAN.name}
        assert outcome.detected and outcome.found <= possible, f"{kind.name} {gate.wire} by role {gate.role}"
        kinds.add(kind)
    assert kinds == INTERACTIVE


# Anything -------------------------------------------------------------------------------------------------------------

#: Calls of each device method that get a fault, spread evenly over the run.
SPREAD = 6


@pytest.mark.parametrize("name", CASES)
def test_no_fault_of_a_device_leads_to_a_wrong_output(name: str) -> None:
    counting = FaultyDevice()
    attack(name, Corruption(0, device=lambda: counting))
    calls = dict(counting.calls)
    detected = 0
    for number, (method, count) in enumerate(sorted(calls.items())):
        for call in sorted({count * i // SPREAD for i in range(SPREAD)} | {count - 1}):
            fault = Fault(method, call)
            outcome = attack(name, Corruption((number + call) % 3, device=partial(FaultyDevice, fault)))
            detected += outcome.detected
    assert detected > sum(min(SPREAD, count) for count in calls.values()) // 2


# Owners and receiver --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("party", range(3))
def test_an_owner_that_gives_different_components_is_found(party: int) -> None:
    """``party`` gets a component that is not its other holder's."""

    def equivocate(messages: list[bytes]) -> list[bytes]:
        messages[party] = bytes([messages[party][0] ^ 1]) + messages[party][1:]
        return messages

    for corrupted in range(3):
        outcome = attack("sums", Corruption(corrupted, owner=equivocate))
        if corrupted == party:  # it lies about what it got, and the other holder sees that
            continue
        assert_found(outcome, INPUT_AGREEMENT.name)


def test_an_owner_s_message_of_the_wrong_size_is_refused() -> None:
    outcome = attack("sums", Corruption(0, owner=lambda messages: [message[:-1] for message in messages]))
    assert all(isinstance(end.error, MalformedFrame) for end in outcome.honest)


@pytest.mark.parametrize("party", range(3))
@pytest.mark.parametrize("position", [0, -1], ids=["component", "hash"])
@pytest.mark.parametrize("name", ["comparisons", "products"])
def test_a_wrong_output_message_is_found_by_the_receiver(name: str, party: int, position: int) -> None:
    def tamper(message: bytes) -> bytes:
        changed = bytearray(message)
        changed[position] ^= 1
        return bytes(changed)

    outcome = attack(name, Corruption(party, output=tamper))
    assert_found(outcome, OUTPUT.name)
    assert outcome.result is None


@pytest.mark.parametrize("name", ["comparisons", "products"])
def test_a_short_output_message_is_refused(name: str) -> None:
    outcome = attack(name, Corruption(1, output=lambda message: message[:-1]))
    assert isinstance(outcome.refusal, MalformedFrame)
    assert outcome.result is None


def test_the_harness_sees_a_wrong_output() -> None:
    """The judge of all these tests can say no."""
    outcome = run(CASES["comparisons"], Corruption(0))
    assert outcome.result is not None
    assert outcome.violation(expected("comparisons")) is None
    assert outcome.violation([array + 1 for array in expected("comparisons")]) == "the receiver got a wrong output"
