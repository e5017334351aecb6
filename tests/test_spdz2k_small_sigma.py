"""spdz2k's check with few statistical bits: a wrong opening passes as often as is computed, and below the stated bound.

The parties' own code opens, records and checks. The cheater shows a wrong summand, and afterwards what the error is
worth if the other party's summand of alpha, of ``sigma`` bits, is zero: as good a guess as any.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np
import pytest

from mpc_bridge.backends.sharing.checks import Check
from mpc_bridge.backends.sharing.trust import Trust
from mpc_bridge.backends.spdz2k.checks import RING_MAC
from mpc_bridge.backends.spdz2k.openings import Openings
from mpc_bridge.kernels import cpu_device
from mpc_bridge.kernels.wide import wide_from_int, wide_to_int
from mpc_bridge.runtime.session import Session
from mpc_bridge.testing.parties import run_parties

RING, TRIALS, CHEATER = 8, 800, 1
TOP = 1 << RING - 1
#: Standard deviations: a false alarm of 2.6e-7 per comparison.
DEVIATIONS = 5.0


class Judge(Trust):
    """Notes what its checks found, and goes on: many trials in one session."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.passed: list[bool] = []

    def require(self, check: Check, condition: bool) -> None:
        """Checks of commitments hold here; the others are noted."""
        if check is RING_MAC:
            self.passed.append(check.holds(condition))
        else:
            super().require(check, condition)


class Guessing(Openings):
    """Adds to its part of the check what its errors need if the other summand of alpha is zero."""

    errors: Sequence[int] = ()
    alpha = 0

    def _combined(self, coin: bytes, widths: list[int]) -> bytes:
        own = super()._combined(coin, widths)
        chi = self.device.prf_fill(coin, 0, np.empty((len(self.errors), 2), np.uint64))
        total = int.from_bytes(own[:16], "little")
        total += self.alpha * sum(wide_to_int(c) * e for c, e in zip(chi, self.errors, strict=True))
        return (total % (1 << widths[0])).to_bytes(16, "little") + own[16:]


def rate(errors: Sequence[int], sigma: int, trials: int = TRIALS) -> float:
    """How often errors on the opened elements pass, as the honest party sees it."""
    bits = RING + sigma

    def wide(numbers: Sequence[int]) -> np.ndarray:
        return np.stack([wide_from_int(number % (1 << bits)) for number in numbers])

    def party(session: Session) -> list[bool]:
        rng, own, device = np.random.default_rng(3), session.party, session.device
        trust = Judge(session)
        openings = (Guessing if own == CHEATER else Openings)(session, trust)
        openings.setup()
        trust.setup()

        def draw(below: int, count: int = len(errors)) -> list[int]:
            return [int(number) for number in rng.integers(0, below, count)]

        for _ in range(trials):
            # what a dealer gives both, drawn alike by both
            alpha = draw(1 << sigma, 2)
            values, first = [draw(1 << bits), draw(1 << bits)], draw(1 << bits)
            macs = [first, [sum(alpha) * (a + b) - m for a, b, m in zip(*values, first, strict=True)]]
            wrong = errors if own == CHEATER else [0] * len(errors)
            share = [value + error for value, error in zip(values[own], wrong, strict=True)]
            if isinstance(openings, Guessing):
                openings.errors, openings.alpha = errors, alpha[own]
            opened = openings.open_ring(wide(share), bits, "values")
            openings.record_ring(device.wide_sub(wide(macs[own]), device.wide_scale(opened, alpha[own])), bits)
            openings.verify()
        return trust.passed

    found = run_parties([cpu_device() for _ in range(2)], party, timeout=60.0)
    assert len(found[0]) == trials and found[0] == found[1]
    return sum(found[0]) / trials


def margin(probability: float) -> float:
    return DEVIATIONS * sqrt(probability * (1 - probability) / TRIALS)


def bound(sigma: int) -> float:
    """As ``openings`` states it."""
    return (sigma + 2) / 2.0**sigma


@pytest.mark.parametrize("sigma", [3, 4])
def test_the_best_error_passes_as_often_as_is_computed(sigma: int) -> None:
    """Of the ring's top bit: ``alpha * chi`` has to be zero modulo ``2^(sigma+1)``, alpha having sigma bits."""
    expected, measured = (sigma + 4) / 2.0 ** (sigma + 2), rate([TOP], sigma)
    print(f"sigma {sigma}: accepted {measured:.4f}, computed {expected:.4f}, bound {bound(sigma):.4f}")
    assert abs(measured - expected) <= margin(expected)
    assert 0 < measured < bound(sigma)


@pytest.mark.parametrize("errors", [[TOP, TOP], [1], [0, 3 << RING - 2, -TOP]], ids=["two", "least bit", "of three"])
def test_no_other_error_passes_more_often(errors: list[int]) -> None:
    sigma = 4
    best, measured = (sigma + 4) / 2.0 ** (sigma + 2), rate(errors, sigma)
    print(f"accepted {measured:.4f}, best {best:.4f}, bound {bound(sigma):.4f}")
    assert measured <= best + margin(best) < bound(sigma)


def test_honest_openings_always_pass() -> None:
    assert rate([0, 0], 4, 100) == 1.0


def test_a_bit_of_alpha_can_be_bought_above_the_ring_at_the_price_of_the_guess() -> None:
    """Not an error, as those bits are never used: it passes where ``2^(k+sigma-1) * chi * alpha`` is zero."""
    measured = rate([TOP << 4], 4)
    assert abs(measured - 0.75) <= margin(0.75)
