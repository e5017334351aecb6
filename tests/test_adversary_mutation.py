"""Every check is necessary: with it, an attack is found and found by it; without it, the same attack succeeds.

A check that is registered without an attack here fails the first test; one that raises unregistered, the last.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import mpc_bridge
from mpc_bridge.backends.plaintext import backend as plaintext
from mpc_bridge.backends.replicated.malicious import checks
from mpc_bridge.backends.replicated.malicious.checks import CHECKS, switched_off
from mpc_bridge.backends.replicated.malicious.protocol import refresh_circuit
from mpc_bridge.backends.replicated.malicious.trust import Trust
from mpc_bridge.backends.sharing.requantize import WIDTH
from mpc_bridge.errors import PeerError, ProtocolAbort
from mpc_bridge.kernels import cpu_device
from mpc_bridge.runtime.session import Session
from mpc_bridge.testing import conformance
from mpc_bridge.testing.adversary import Corruption, launch, run
from mpc_bridge.testing.adversary_cheats import Gate, WrongGate, WrongProducts, cheater, wide_value
from mpc_bridge.testing.adversary_coins import ForcedCoin, ForgedOpening, NotingTrust, TwoFaced
from mpc_bridge.testing.adversary_programs import convolutions, products


@dataclass(frozen=True)
class Verdict:
    """What came of an attack: whether it had what it wanted, and which checks found something."""

    success: bool
    found: frozenset[str]


def shown() -> conformance.Case:
    """A program that shows its input."""
    b = conformance.Builder(np.random.default_rng(5))
    return b.finish("shown", b.input((24,), 0, True))


SHOWN, MULTIPLIED, SUMMED = shown(), convolutions(), products()


def wrong_output(case: conformance.Case, corruption: Corruption) -> Verdict:
    """Success: the receiver takes a wrong output for right."""
    expected = conformance.run(plaintext, case, [cpu_device()])
    outcome = run(case, corruption)
    wrong = outcome.violation(expected) == "the receiver got a wrong output"
    return Verdict(wrong, frozenset(outcome.found))


def first_gate() -> Gate:
    """The first one of the circuit that makes components fresh, at party 2."""
    circuit = refresh_circuit(WIDTH)
    return Gate(circuit, 2, WrongGate(Gate(circuit, 2, -1)).interactive[0])


def wrong_product() -> Verdict:
    """An error on one product."""
    return wrong_output(MULTIPLIED, Corruption(1, device=lambda: WrongProducts({0: {0: 1 << 20}})))


def wrong_gate() -> Verdict:
    """A complemented AND."""
    return wrong_output(SHOWN, Corruption(2, protocol=cheater(gate=first_gate())))


def forged_opening() -> Verdict:
    """A complemented AND, and an opened value that makes up for it."""
    protocol = cheater(gate=first_gate(), trust=NotingTrust, boolean=ForgedOpening)
    return wrong_output(SHOWN, Corruption(2, protocol=protocol))


def forced_coin() -> Verdict:
    """Errors on two products that cancel under the coin that the cheater wants, which it then opens last."""
    device = cpu_device()
    chi = [wide_value(words) for words in device.prf_fill(ForcedCoin.wanted, 0, device.empty((4, 2), np.uint64))]
    errors = {0: {0: chi[1], 1: -chi[0]}}
    corruption = Corruption(0, protocol=cheater(trust=ForcedCoin), device=lambda: WrongProducts(errors))
    return wrong_output(MULTIPLIED, corruption)


def two_coins() -> Verdict:
    """Success: the honest parties draw different coins, and nobody notices."""
    coins: dict[int, bytes] = {}
    found: set[str] = set()

    def draw(session: Session) -> None:
        trust = TwoFaced(session) if session.party == 0 else Trust(session)
        try:
            with session.meter.phase("online"):
                trust.setup()
                coins[session.party] = trust.coin()
        except ProtocolAbort as error:
            if session.party != 0 and "check " in error.where:
                found.add(error.where.split("check ")[1])
        except PeerError:
            session.close()

    assert launch(Corruption(0), draw, 10.0) == ()
    return Verdict({1, 2} <= coins.keys() and coins[1] != coins[2], frozenset(found))


def two_inputs() -> Verdict:
    """Success: parties 1 and 2 hold different components of an input, and the run goes through.

    Its owner is in league with party 0, the only one that could see it later, in an opening.
    """

    def equivocate(messages: list[bytes]) -> list[bytes]:
        return [messages[0], messages[1][:-1] + bytes([messages[1][-1] ^ 1]), messages[2]]

    outcome = run(SHOWN, Corruption(0, owner=equivocate))
    return Verdict(outcome.result is not None, frozenset(outcome.found))


def two_outputs() -> Verdict:
    """The receiver is told another component."""
    return wrong_output(SHOWN, Corruption(1, output=lambda message: bytes([message[0] ^ 1]) + message[1:]))


def wrong_computed_product() -> Verdict:
    """An error on one product of two computed values, of which the sum is shown."""
    return wrong_output(SUMMED, Corruption(1, device=lambda: WrongProducts({1: {0: 1}})))


def wrong_fresh_component() -> Verdict:
    """An error on the last message before a sum is shown."""
    return wrong_output(SUMMED, Corruption(2, protocol=cheater(errors={"fresh components": 1 << 43})))


def two_sums() -> Verdict:
    """The receiver is told another component of a sum."""
    return wrong_output(SUMMED, Corruption(1, output=lambda message: bytes([message[0] ^ 1]) + message[1:]))


ATTACKS: dict[str, Callable[[], Verdict]] = {
    checks.LINEAR.name: wrong_product,
    checks.BOOLEAN.name: wrong_gate,
    checks.OPENING.name: forged_opening,
    checks.COIN_OPENING.name: forced_coin,
    checks.COMMITMENT_ECHO.name: two_coins,
    checks.INPUT_AGREEMENT.name: two_inputs,
    checks.OUTPUT.name: two_outputs,
}


@pytest.mark.parametrize("name", CHECKS)
def test_each_check_finds_an_attack_that_succeeds_without_it(name: str) -> None:
    assert name in ATTACKS, f"no attack shows that the check {name} is needed"
    guarded = ATTACKS[name]()
    assert guarded.found == {name}
    assert not guarded.success
    with switched_off(name):
        free = ATTACKS[name]()
    assert free.found == set()
    assert free.success


@pytest.mark.parametrize(
    ("name", "attack"),
    [
        (checks.LINEAR.name, wrong_computed_product),
        (checks.LINEAR.name, wrong_fresh_component),
        (checks.OUTPUT.name, two_sums),
    ],
)
def test_sums_that_are_shown_need_the_checks_too(name: str, attack: Callable[[], Verdict]) -> None:
    guarded = attack()
    assert guarded.found == {name} and not guarded.success
    with switched_off(name):
        free = attack()
    assert free.found == set() and free.success


def test_switching_off_ends_with_its_block() -> None:
    check = checks.LINEAR
    with switched_off(check.name):
        assert check.holds(False)
    assert not check.holds(False)
    with pytest.raises(KeyError), switched_off("no such check"):
        pass


# Nothing goes around the registry ------------------------------------------------------------------------------------

PACKAGE = Path(mpc_bridge.__file__).parent
#: Where a ProtocolAbort is made: by a registered check, and by a party that another one told to stop.
MAKERS = {"backends/sharing/checks.py", "runtime/transport.py"}
#: Coins and commitments of every protocol that checks.
TRUST = "backends/sharing/trust.py"


def calls(name: str) -> set[tuple[str, str, str]]:
    """File, object and first argument of every call of a function or method of that name in the package."""
    found = set()
    for path in (*PACKAGE.rglob("*.py"), *(PACKAGE / "backends").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == name:
                owner = ast.unparse(node.func.value) if isinstance(node.func, ast.Attribute) else ""
                argument = ast.unparse(node.args[0]) if node.args else ""
                found.add((path.relative_to(PACKAGE).as_posix(), owner, argument))
    return found


def test_only_registered_checks_raise_protocol_abort() -> None:
    assert {file for file, _, _ in calls("ProtocolAbort")} == MAKERS
    registered = {variable for variable, value in vars(checks).items() if isinstance(value, checks.Check)}
    assert {vars(checks)[variable] for variable in registered} == set(CHECKS.values())
    # a caller names the check of its commitments
    required = {argument for file, _, argument in calls("require") if "malicious" in file or file == TRUST} - {"check"}
    held = {owner for file, owner, _ in calls("holds") if "malicious" in file and owner != "check"}
    assert required | held == registered
    # abort is for what require found, and nothing else
    assert {(file, argument) for file, _, argument in calls("abort") if "backends" in file and argument} == {
        (TRUST, "check")
    }
