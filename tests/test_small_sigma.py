"""The MAC check with few statistical bits: wrong products pass as often as the stated bound says, and no more."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest

from mpc_bridge.backends.replicated.malicious import protocol as replicated
from mpc_bridge.backends.replicated.malicious.checks import LINEAR
from mpc_bridge.backends.replicated.malicious.linear import LinearVerifier, soundness_error
from mpc_bridge.backends.sharing.shares import RingShare
from mpc_bridge.lowering.program import Geometry
from mpc_bridge.runtime.session import Session
from tests.linear_trials import Cheating, Dealt, Errors, verdicts
from tests.trios import Judge, linear_program, share_ring, three

RING, SIGMA, TRIALS = 12, 4, 800
#: Standard deviations: a false alarm of 2.6e-7 per comparison.
DEVIATIONS = 5.0


def margin(probability: float, trials: int) -> float:
    return DEVIATIONS * sqrt(probability * (1 - probability) / trials)


def rate(errors: Errors, sigma: int, trials: int = TRIALS) -> float:
    def deal(rng: np.random.Generator) -> list[Dealt]:
        return [Dealt(rng, 2, 2, 2, RING, errors)]

    found = verdicts(LinearVerifier, Cheating, trials, deal, ring=RING, sigma=sigma)
    return sum(found) / trials


@pytest.mark.parametrize("sigma", [2, SIGMA])
def test_the_best_error_passes_as_often_as_the_bound_says(sigma: int) -> None:
    bound = soundness_error(sigma)
    measured = rate({(0, 0): 1 << (RING - 1)}, sigma)
    print(f"sigma {sigma}: accepted {measured:.4f}, bound {bound:.4f}")
    # the bound is what this error reaches, so it is met from both sides
    assert abs(measured - bound) <= margin(bound, TRIALS)
    assert measured > 0


@pytest.mark.parametrize(
    "errors", [{(0, 0): 1 << (RING - 1), (1, 1): 1 << (RING - 1)}, {(0, 0): 1}, {(1, 0): 3 << (RING - 2)}],
    ids=["two products", "least bit", "two top bits"],
)
def test_no_other_error_passes_more_often(errors: Errors) -> None:
    bound = soundness_error(SIGMA)
    measured = rate(errors, SIGMA)
    print(f"accepted {measured:.4f}, bound {bound:.4f}")
    assert measured <= bound + margin(bound, TRIALS)


def test_a_layer_of_a_smaller_ring_is_bound_as_well() -> None:
    """It is scaled up to the greatest ring, its error with it."""
    ring, bound = RING - 5, soundness_error(SIGMA)

    def deal(rng: np.random.Generator) -> list[Dealt]:
        return [Dealt(rng, 1, 1, 1, RING, {}), Dealt(rng, 2, 1, 1, ring, {(1, 0): 1 << (ring - 1)})]

    found = verdicts(LinearVerifier, Cheating, TRIALS, deal, ring=RING, sigma=SIGMA)
    print(f"smaller ring: accepted {sum(found) / TRIALS:.4f}, bound {bound:.4f}")
    assert abs(sum(found) / TRIALS - bound) <= margin(bound, TRIALS)


def test_honest_products_always_pass() -> None:
    assert rate({}, SIGMA, 100) == 1.0


def test_the_whole_protocol_with_a_small_sigma(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real product of a real party, whose reshare message is changed on its way out."""
    g, ring, trials, corrupted = Geometry(1, 1, 2, 3, 1, 2, 2), 21, 800, 2
    program, step = linear_program(g, ring)
    monkeypatch.setattr(replicated, "Trust", Judge)

    def party(session: Session) -> list[bool]:
        rng = np.random.default_rng(3)
        protocol = replicated.Rep3Mac(session, program, sigma=SIGMA)
        protocol.setup()
        exchange = session.exchange

        def cheat(sends: dict, receives: dict, label: str = "") -> None:
            if label == "product":
                ((_, (message,)),) = sends.items()
                wrong = session.device.wide_unpack(message, 4, ring + SIGMA)
                wrong[1, 0] ^= np.uint64(1 << (ring - 1))
                session.device.wide_pack(wrong, ring + SIGMA, message)
            exchange(sends, receives, label=label)

        if session.party == corrupted:
            session.exchange = cheat  # type: ignore[method-assign]
        for _ in range(trials):
            x, w = share_ring(rng.integers(0, 256, 6), rng), share_ring(rng.integers(-128, 128, 6), rng)
            own, following = session.party, (session.party + 1) % 3
            packed = protocol.pack(step, RingShare((w[own], w[following]), 6, ring), None)
            protocol.product(step, RingShare((x[own], x[following]), 6, ring), packed)
            protocol.verify()
        return protocol._trust.accepted(LINEAR)  # type: ignore[attr-defined]

    accepted = three(party)
    assert len(accepted[0]) == trials and accepted[0] == accepted[1]
    measured, bound = sum(accepted[0]) / trials, soundness_error(SIGMA)
    print(f"rep3-mac, sigma {SIGMA}: accepted {measured:.4f}, bound {bound:.4f}")
    assert 0 < measured <= bound + margin(bound, trials)
