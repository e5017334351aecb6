"""spdz2k parties that compute something else: every opening, MAC share and dealt value; and every check is needed."""

from __future__ import annotations

import ast
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import mpc_bridge
from mpc_bridge.backends.additive.compile import CORRECTED
from mpc_bridge.backends.plaintext import backend as plaintext
from mpc_bridge.backends.sharing.checks import Check
from mpc_bridge.backends.spdz2k import checks
from mpc_bridge.backends.spdz2k.checks import CHECKS
from mpc_bridge.backends.spdz2k.demands import SIGMA, Bits, Entry, Exit, Factor, Gates, Product, RingExit
from mpc_bridge.backends.spdz2k.masks import OPENING_BYTES
from mpc_bridge.kernels import cpu_device
from mpc_bridge.lowering.program import Affine
from mpc_bridge.testing import conformance
from mpc_bridge.testing.adversary import CorruptSession, Interference, Outcome
from mpc_bridge.testing.adversary_dealt import DealtCorruption, MakeSpdz2k, honest, planned, run
from mpc_bridge.testing.adversary_messages import Withheld, flip_bit
from mpc_bridge.testing.adversary_programs import programs
from mpc_bridge.testing.adversary_shares import forced_coin, forged_sum, tampered, wrong_mac, wrong_opening
from mpc_bridge.testing.conformance import Case

RING = 44


def shown() -> Case:
    """A program that shows its input."""
    b = conformance.Builder(np.random.default_rng(5))
    return b.finish("shown", b.input((24,), 0, True))


def summed() -> Case:
    """A program that shows multiples of its input."""
    b = conformance.Builder(np.random.default_rng(6))
    x = b.input((24,), RING)
    return b.finish("summed", b.add(Affine(0, "sum", (x,), b.accumulator((24,), RING), (3,), 7, ring=RING)))


CASES = {case.name: case for case in (*programs(), shown(), summed())}
OPENINGS = [("convolutions", "masked weights"), ("convolutions", "masked operand"), ("sums", "masked accumulator"),
            ("sums", "masked bits"), ("sums", "circuit round 0"), ("sums", "circuit round 2"),
            ("comparisons", "masked output"), ("products", "masked weights"), ("products", "masked output")]


@cache
def expected(name: str) -> list[conformance.IntArray]:
    return conformance.run(plaintext, CASES[name], [cpu_device()])


def attack(name: str, parties: int, corruption: DealtCorruption) -> Outcome:
    outcome = run(CASES[name], parties, corruption)
    violation = outcome.violation(expected(name))
    assert violation is None or violation == "the receiver got a wrong output", violation
    return outcome


def wrong(name: str, outcome: Outcome) -> bool:
    return outcome.violation(expected(name)) is not None


def assert_found(name: str, outcome: Outcome, *checks: str) -> None:
    assert not wrong(name, outcome)
    assert outcome.result is None
    assert outcome.found and outcome.found <= set(checks), outcome.found


@pytest.mark.parametrize("parties", [2, 3])
@pytest.mark.parametrize(("name", "label"), OPENINGS)
def test_a_wrong_share_of_any_opening_is_found(name: str, label: str, parties: int) -> None:
    for party in range(parties):
        outcome = attack(name, parties, DealtCorruption(party, make=wrong_opening(label)))
        assert_found(name, outcome, "ring-mac", "bit-mac")


@pytest.mark.parametrize("parties", [2, 3])
@pytest.mark.parametrize("kind", ["ring", "bit"])
def test_a_wrong_mac_is_found(kind: str, parties: int) -> None:
    for party in range(parties):
        outcome = attack("sums", parties, DealtCorruption(party, make=wrong_mac(kind)))
        assert_found("sums", outcome, f"{kind}-mac")


def add_and_subtract(bits: int, error: int) -> Callable[[np.ndarray], None]:
    """Errors on the first two elements of a message, equal and opposite."""

    def spoil(message: np.ndarray) -> None:
        value = int.from_bytes(message.tobytes(), "little")
        for at, sign in ((0, 1), (1, -1)):
            mask = ((1 << bits) - 1) << at * bits
            element = (((value & mask) >> at * bits) + sign * error) % (1 << bits)
            value = (value & ~mask) | element << at * bits
        message[:] = np.frombuffer(value.to_bytes(len(message), "little"), np.uint8)

    return spoil


@pytest.mark.parametrize("error", [1, 1 << RING - 1, (1 << RING - 1) + (1 << RING + SIGMA - 1)])
def test_errors_that_cancel_are_found(error: int) -> None:
    """In one opening, up to the ring's highest bit; weights differ from element to element."""
    spoil = add_and_subtract(RING + SIGMA, error)
    outcome = attack("summed", 2, DealtCorruption(0, make=wrong_opening("masked output", spoil)))
    assert_found("summed", outcome, "ring-mac")


def test_equal_errors_in_two_openings_are_found() -> None:
    for label in ("masked bits", "circuit round 1"):
        outcome = attack("sums", 2, DealtCorruption(1, make=wrong_opening(label, occurrences=(0, 1))))
        assert_found("sums", outcome, "bit-mac")


@pytest.mark.parametrize("height", [0, 1, SIGMA - 1])
def test_errors_above_the_ring_change_nothing(height: int) -> None:
    """Found or not: what they are added to is used modulo the ring."""
    for _ in range(4):
        spoil = add_and_subtract(RING + SIGMA, 1 << RING + height)
        outcome = attack("summed", 2, DealtCorruption(0, make=wrong_opening("masked output", spoil)))
        assert not wrong("summed", outcome)
        assert outcome.result is not None or outcome.found == {"ring-mac"}


def sections(size: int) -> list[int]:
    """A byte of every part of a demand's corrections: first, last, and in between."""
    return sorted({size * number // 7 for number in range(7)} | {size - 1})


@pytest.mark.parametrize("name", ["convolutions", "sums", "comparisons", "products"])
def test_whatever_the_dealer_gave_is_needed(name: str) -> None:
    """A demand of each kind, its corrections changed at several places; or, elsewhere, its streams."""
    plan = planned(CASES[name].program)
    kinds: set[type] = set()
    for number, demand in enumerate((*plan.setup, *plan.sample)):
        if type(demand) in kinds and not isinstance(demand, Gates):
            continue
        kinds.add(type(demand))
        places = sections(demand.size) if demand.size else []
        found = 0
        for party, at in [(CORRECTED, at) for at in places] + [(1, 0)]:
            outcome = attack(name, 2, DealtCorruption(party, make=tampered(number, at)))
            assert not wrong(name, outcome), f"{demand} at {at}"
            if outcome.result is None:
                assert outcome.found <= {"ring-mac", "bit-mac", "input-mask", "output-mask"}, outcome.found
                found += 1
        # a bit with a public factor that happens to be zero, or above the ring, is not looked at
        assert outcome.result is None, f"{demand}: other streams"
        assert found > 1 or not places, f"{demand}: found {found} of {len(places)}"


def test_the_programs_have_every_kind_of_demand() -> None:
    kinds = {type(demand) for case in CASES.values() for plan in (planned(case.program),)
             for demand in (*plan.setup, *plan.sample)}
    assert kinds == {Factor, Product, Gates, Bits, Entry, Exit, RingExit}


@pytest.mark.parametrize("parties", [2, 3])
@pytest.mark.parametrize("at", [0, OPENING_BYTES - 1, OPENING_BYTES, -1])
def test_a_mask_that_is_not_the_dealers_stops_its_owner(parties: int, at: int) -> None:
    def tamper(mask: bytes) -> bytes:
        changed = bytearray(mask)
        changed[at] ^= 1
        return bytes(changed)

    for party in range(parties):
        outcome = attack("shown", parties, DealtCorruption(party, mask=tamper))
        assert_found("shown", outcome, "input-mask")
        assert not any(end.outputs for end in outcome.honest)


@pytest.mark.parametrize("name", ["shown", "summed"])
@pytest.mark.parametrize(("at", "check"), [(0, "output-agreement"), (-1, "output-mask"), (-100, "output-mask")])
def test_a_receiver_takes_nothing_but_what_the_parties_agreed_on(name: str, at: int, check: str) -> None:
    def tamper(message: bytes) -> bytes:
        changed = bytearray(message)
        changed[at] ^= 1
        return bytes(changed)

    for party in range(3):
        assert_found(name, attack(name, 3, DealtCorruption(party, output=tamper)), check)


def one_differs(messages: list[bytes]) -> list[bytes]:
    return [flip_bit(messages[0]), *messages[1:]]


@pytest.mark.parametrize("parties", [2, 3])
def test_an_owner_has_to_tell_all_the_same(parties: int) -> None:
    outcome = attack("shown", parties, DealtCorruption(0, owner=one_differs))
    assert_found("shown", outcome, "input-agreement")


def two_faced(label: str) -> MakeSpdz2k:
    """Says something else to the last party."""

    def make(session: object, program: object) -> object:
        assert isinstance(session, CorruptSession)
        last = session.parties - 1
        session.rewrite = lambda at, peer, data: flip_bit(data) if (at, peer) == (label, last) else data
        return honest(session, program)  # type: ignore[arg-type]

    return make  # type: ignore[return-value]


@pytest.mark.parametrize("label", ["masked weights", "masked operand", "masked accumulator", "circuit round 1"])
def test_saying_different_things_is_found_before_the_check(label: str) -> None:
    assert_found("convolutions", attack("convolutions", 3, DealtCorruption(0, make=two_faced(label))), "broadcast")


def test_a_change_that_is_held_back_until_others_have_opened_is_found() -> None:
    record = Interference()
    run(CASES["convolutions"], 3, DealtCorruption(0, record))
    for message in [kind for kind in record.seen if kind.label in ("masked operand", "masked output")]:
        held = Withheld(message, flip_bit)
        outcome = attack("convolutions", 3, DealtCorruption(0, held))
        assert not wrong("convolutions", outcome)
        assert held.met and held.openings == [] and outcome.result is None


# Every check is needed ----------------------------------------------------------------------------------------------


def last_byte(message: bytes) -> bytes:
    return message[:-1] + bytes([message[-1] ^ 1])


def other_mask(message: bytes) -> bytes:
    return flip_bit(message)


def in_exit(message: bytes) -> bytes:
    """Another key behind 24 bytes of output."""
    return message[:24] + flip_bit(message[24:])


#: Check → program, parties, attack, whether without the check a wrong output is taken for right.
ATTACKS: dict[str, tuple[str, int, Callable[[], DealtCorruption], bool]] = {
    "ring-mac": ("summed", 2, lambda: DealtCorruption(0, make=wrong_opening("masked output")), True),
    "bit-mac": ("shown", 2, lambda: DealtCorruption(0, make=wrong_opening("masked output")), True),
    "mac-commitment": ("summed", 2, lambda: DealtCorruption(0, make=forged_sum("masked output")), True),
    "coin-opening": ("summed", 2, lambda: DealtCorruption(0, make=forced_coin(RING)), True),
    "input-mask": ("shown", 2, lambda: DealtCorruption(1, mask=other_mask), True),
    "output-mask": ("shown", 2, lambda: DealtCorruption(1, output=in_exit), True),
    "output-agreement": ("shown", 2, lambda: DealtCorruption(0, output=flip_bit), True),
    # what these find is found later too, as something else: they come before the challenge
    "broadcast": ("summed", 3, lambda: DealtCorruption(0, make=two_faced("masked output")), False),
    "commitment-echo": ("summed", 3, lambda: DealtCorruption(0, make=two_faced("commitments")), False),
    "input-agreement": ("shown", 2, lambda: DealtCorruption(0, owner=one_differs), False),
}


def test_every_check_has_its_attack() -> None:
    assert ATTACKS.keys() == CHECKS.keys()


@pytest.mark.parametrize("check", ATTACKS)
def test_with_the_check_the_attack_is_found(check: str) -> None:
    name, parties, make, _ = ATTACKS[check]
    assert_found(name, attack(name, parties, make()), check)


@pytest.mark.parametrize("check", ATTACKS)
def test_without_the_check_it_is_not(check: str) -> None:
    name, parties, make, succeeds = ATTACKS[check]
    with CHECKS.switched_off(check):
        outcome = attack(name, parties, make())
    assert check not in outcome.found
    assert wrong(name, outcome) == succeeds


def test_every_check_is_required_somewhere() -> None:
    """That no ProtocolAbort comes from elsewhere: tests/test_adversary_mutation.py."""
    folder = Path(mpc_bridge.__file__).parent / "backends" / "spdz2k"
    sources = [path for path in (*folder.glob("*.py"), folder.parent / "sharing" / "trust.py")
               if path.name != "checks.py"]
    registered = {name for name, value in vars(checks).items() if isinstance(value, Check)}
    assert {vars(checks)[name] for name in registered} == set(CHECKS.values())
    used = {node.id for path in sources for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    assert registered <= used
