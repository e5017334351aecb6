"""Variants of the protocol that look harmless and are broken, each attacked; and the same attack on the real one.

They are subclasses here: nothing but this file can reach them.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import Any

import numpy as np
import pytest

from mpc_bridge.backends.replicated.compile import NEXT, OWN
from mpc_bridge.backends.replicated.malicious import protocol as replicated
from mpc_bridge.backends.replicated.malicious.boolean import BooleanVerifier
from mpc_bridge.backends.replicated.malicious.checks import BOOLEAN
from mpc_bridge.backends.replicated.malicious.linear import LinearVerifier
from mpc_bridge.backends.replicated.malicious.owner import Rep3MacOwner
from mpc_bridge.backends.sharing.circuit import Circuit
from mpc_bridge.backends.sharing.planes import PlaneSink, PlaneSource
from mpc_bridge.backends.sharing.shares import RingShare
from mpc_bridge.kernels.gf import PARTS
from mpc_bridge.kernels.wide import wide_to_int
from mpc_bridge.lowering.program import Geometry
from mpc_bridge.runtime.session import Session
from tests.linear_trials import Cheating, Dealt, verdicts
from tests.trios import Judge, linear_program, share_ring, three

RING, SIGMA = 24, 52
#: Standard deviations: a false alarm of 2.6e-7 per comparison.
DEVIATIONS = 5.0


def public(verifier: LinearVerifier, count: int) -> tuple[Any, tuple[Any, Any]]:
    """Numbers that everybody knows, and as shares: component 0 is the number, the others are zero."""
    device = verifier._device
    numbers = device.prf_fill(bytes(16), verifier._session.domain(), device.empty((count, 2), np.uint64))
    nothing = device.zeros((count, 2), np.uint64)
    return numbers, {0: (numbers, nothing), 1: (nothing, nothing), 2: (nothing, numbers)}[verifier._trust.party]


# alpha is secret -----------------------------------------------------------------------------------------------------


class TopBit(Cheating):
    """Adds ``2**(k + sigma - 1)`` to the MAC of a_0: no product is wrong, and the check passes or not."""

    errors = {"MACs": lambda self: [1 << (self._bits - 1)]}

    def _random(self, count: int) -> Any:
        result = super()._random(count)
        if count > 1:
            self.alphas = result
        return result

    def known_parities(self) -> tuple[int, int]:
        """Parities of alpha_0 and alpha_1 as far as this party knows them."""
        both = [wide_to_int(own) + wide_to_int(following) for own, following in zip(*self.alphas, strict=True)]
        return both[0] % 2, both[1] % 2


class PublicAlpha(LinearVerifier):
    def _random(self, count: int) -> Any:
        return super()._random(count) if count == 1 else public(self, count)[1]


class PublicAlphaTopBit(TopBit):
    def _random(self, count: int) -> Any:
        if count == 1:
            return super()._random(count)
        numbers, shares = public(self, count)
        self.alphas = (numbers, self._device.zeros((count, 2), np.uint64))
        return shares


def selective_failure(
    honest: type[LinearVerifier], cheater: type[TopBit], trials: int
) -> tuple[int, int, list[list[bool]]]:
    """Guesses of a secret bit made and right, and the verdicts by that bit."""
    notes: list[tuple[int, int, int, int]] = []

    def deal(rng: np.random.Generator) -> list[Dealt]:
        return [Dealt(rng, 1, 1, 1, RING, {})]

    def note(verifier: LinearVerifier, layers: list[Dealt]) -> None:
        assert isinstance(verifier, TopBit)
        notes.append((layers[0].x[0][0] % 2, verifier.coefficients[1][0] % 2, *verifier.known_parities()))

    accepted = verdicts(honest, cheater, trials, deal, ring=RING, sigma=SIGMA, note=note)
    made = right = 0
    by_bit: list[list[bool]] = [[], []]
    for passed, (bit, psi, main, first) in zip(accepted, notes, strict=True):
        # the error is 2**(k+sigma-1) (alpha_1 + alpha_0 b_0) with b_0 = psi x
        by_bit[bit].append(passed)
        if psi and main:
            made += 1
            right += bit == (first if passed else 1 - first)
    return made, right, by_bit


def test_public_alpha_tells_a_secret_bit_by_whether_the_check_passes() -> None:
    made, right, _ = selective_failure(PublicAlpha, PublicAlphaTopBit, 150)
    assert made >= 15 and right == made


def test_secret_alpha_tells_nothing_by_whether_the_check_passes() -> None:
    made, right, by_bit = selective_failure(LinearVerifier, TopBit, 600)
    assert abs(right - made / 2) <= DEVIATIONS * sqrt(made) / 2
    even, odd = (sum(passed) / len(passed) for passed in by_bit)
    assert abs(even - odd) <= DEVIATIONS * sqrt(0.25 / len(by_bit[0]) + 0.25 / len(by_bit[1]))


# alpha_0 is not one ---------------------------------------------------------------------------------------------------


class MainIsOne(LinearVerifier):
    def _random(self, count: int) -> Any:
        own, following = super()._random(count)
        if count > 1:
            for number, component in ((self._trust.party, own), (self._trust.next, following)):
                component[0] = (1, 0) if number == 0 else (0, 0)
        return own, following


class Cancelling(Cheating):
    """Takes what its wrong product adds to c away from w."""

    def _known_error(self) -> list[int]:
        chi, psi = self.coefficients
        return [-7 * chi[0] * psi[1]]

    errors = {"weighted sum": _known_error}


class CancellingMainIsOne(Cancelling, MainIsOne):
    pass


@pytest.mark.parametrize("corrupted", range(3))
def test_a_known_error_cancels_unless_its_coefficient_is_secret(corrupted: int) -> None:
    def deal(rng: np.random.Generator) -> list[Dealt]:
        return [Dealt(rng, 2, 3, 2, RING, {(0, 1): 7})]

    options = {"ring": RING, "sigma": SIGMA, "corrupted": corrupted}
    assert all(verdicts(MainIsOne, CancellingMainIsOne, 25, deal, **options))  # type: ignore[arg-type]
    assert not any(verdicts(LinearVerifier, Cancelling, 25, deal, **options))  # type: ignore[arg-type]
    # and without the trick the variant does notice
    assert not any(verdicts(MainIsOne, MainIsOne, 25, deal, **options))  # type: ignore[arg-type]


# chi and psi are every layer's own ------------------------------------------------------------------------------------


class OneCoinForAll(LinearVerifier):
    def _combine(self, coin: bytes, number: int, layer: Any) -> Any:
        return super()._combine(coin, 0, layer)


def test_opposite_errors_in_two_layers_cancel_if_they_share_coefficients() -> None:
    def deal(rng: np.random.Generator) -> list[Dealt]:
        return [Dealt(rng, 2, 2, 2, RING, {(0, 0): 1 << 9}), Dealt(rng, 2, 3, 2, RING, {(0, 0): -(1 << 9)})]

    options = {"ring": RING, "sigma": SIGMA}
    assert all(verdicts(OneCoinForAll, OneCoinForAll, 25, deal, **options))  # type: ignore[arg-type]
    assert not any(verdicts(LinearVerifier, LinearVerifier, 25, deal, **options))  # type: ignore[arg-type]


# Nothing above k bits is opened ---------------------------------------------------------------------------------------


def opened_accumulators() -> tuple[Any, Any, list[int], list[Any], list[int], list[int]]:
    """A real product on real shares: x, w, x w, what party 1 holds of x and w, x w opened without and with the cut."""
    inputs, pixels, ring = 12, 40, 64
    g = Geometry(1, 1, pixels, inputs, 1, pixels, 1)
    program, step = linear_program(g, ring)
    rng = np.random.default_rng(8)
    x, w = rng.integers(0, 256, (1, 1, pixels, inputs)), rng.integers(-128, 128, (1, 1, 1, inputs))
    owner = Rep3MacOwner()
    shares = [owner.share(program.values[0], x), owner.share(program.values[1], w)]

    def party(session: Session) -> tuple[list[Any], list[int], list[int]]:
        protocol = replicated.Rep3Mac(session, program)
        protocol.setup()
        held = [protocol.load(program.values[i], shares[i][session.party])[0] for i in (0, 1)]
        assert held[0] is not None and held[1] is not None
        result = protocol.product(step, held[0], protocol.pack(step, held[1], None))
        before = protocol._linear._layers[-1].z[OWN]
        known = [sum(component.astype(object) for component in share.components) for share in held if share]
        return known, [wide_to_int(z) for z in before], [int(z) for z in result.components[OWN]]

    found = three(party)
    uncut, cut = ([sum(parts) for parts in zip(*(f[i] for f in found), strict=True)] for i in (1, 2))
    uncut = [v % (1 << (ring + SIGMA)) for v in uncut]
    accumulators = [int(v) for v in x.reshape(pixels, inputs) @ w.reshape(inputs)]
    return x.reshape(pixels, inputs), w.reshape(inputs), accumulators, found[1][0], uncut, cut


def weights_from(high: list[int], x: Any, known: list[Any]) -> Any:
    """What the owner of the input, who is also party 1, makes of the bits above the ring.

    It holds two of three components of each number, so it knows how often their sum wraps: inputs are ``x + t 2**k``
    and weights ``w + u 2**k``, and the bits above k are ``sum t w + sum u x``.
    """
    word = 1 << 64
    t, u = ([-(-int(v) // word) for v in part] for part in known)
    t_rows = np.array(t, float).reshape(x.shape)
    seen = np.array([h - int(row @ np.array(u)) for h, row in zip(high, x, strict=True)], float)
    return np.rint(np.linalg.lstsq(t_rows, seen, rcond=None)[0]).astype(int)


def test_bits_above_the_ring_would_tell_the_weights() -> None:
    x, w, accumulators, known, uncut, cut = opened_accumulators()

    def above(opened: list[int], bits: int) -> list[int]:
        high = [((v - a) >> 64) % (1 << bits) for v, a in zip(opened, accumulators, strict=True)]
        return [h - (1 << bits) if h >> (bits - 1) else h for h in high]

    assert [v % (1 << 64) for v in uncut] == [a % (1 << 64) for a in accumulators] == [v % (1 << 64) for v in cut]
    assert (weights_from(above(uncut, SIGMA), x, known) == w).all()
    # the product's real result
    assert max(cut) < 3 << 64
    assert (weights_from(above(cut, SIGMA), x, known) == w).sum() <= 3


@pytest.mark.parametrize("ring", [13, 48])
def test_products_leave_nothing_above_the_ring(ring: int) -> None:
    program, step = linear_program(Geometry(1, 1, 50, 3, 1, 50, 2), ring)

    def party(session: Session) -> int:
        rng = np.random.default_rng(2)
        protocol = replicated.Rep3Mac(session, program)
        protocol.setup()
        x, w = share_ring(rng.integers(0, 256, 150), rng), share_ring(rng.integers(-128, 128, 6), rng)
        own, following = session.party, (session.party + 1) % 3
        packed = protocol.pack(step, RingShare((w[own], w[following]), 6, ring), None)
        z = protocol.product(step, RingShare((x[own], x[following]), 150, ring), packed)
        return max(int(component.max()) for component in z.components)

    assert max(three(party)) < 1 << ring


# nu: a weight per part ------------------------------------------------------------------------------------------------


class WithoutNu(BooleanVerifier):
    def verify(self) -> None:
        self._first = True
        super().verify()

    def _expand(self, key: bytes, domain: int, count: int) -> Any:
        numbers = super()._expand(key, domain, count)
        if self._first:  # the first expansion of a check is nu
            numbers[:] = 1
        self._first = False
        return numbers


def and_gates(
    flipped: tuple[int, ...], monkeypatch: pytest.MonkeyPatch, verifier: type[BooleanVerifier], corrupted: int
) -> tuple[list[int], bool]:
    """128 ANDs with some lanes of one message flipped: the lanes that are wrong, and whether honest parties accept."""
    lanes = 128
    circuit = Circuit()
    left, right = circuit.shared(2)
    circuit.shared_outputs = [circuit.dot([(left, right)])]
    program, _ = linear_program(Geometry(1, 1, 1, 1, 1, 1, 1), 8)
    components = np.random.default_rng(4).integers(0, 256, (3, lanes), dtype=np.uint8)
    monkeypatch.setattr(replicated, "Trust", Judge)
    monkeypatch.setattr(replicated, "BooleanVerifier", verifier)

    def party(session: Session) -> tuple[Any, list[bool]]:
        protocol = replicated.Rep3Mac(session, program)
        protocol.setup()
        exchange = session.exchange

        def cheat(sends: Mapping[int, Any], receives: Mapping[int, Any], label: str = "") -> None:
            if label.startswith("circuit round"):
                message = next(b for buffers in sends.values() for b in buffers if b.size)
                for lane in flipped:
                    message[lane // 8] ^= 1 << lane % 8
            exchange(sends, receives, label=label)

        if session.party == corrupted:
            session.exchange = cheat  # type: ignore[method-assign]
        held = (components[session.party], components[(session.party + 1) % 3])
        (result,) = protocol.evaluate(circuit, [PlaneSource(held, 2)], [PlaneSink(1)], lanes)
        protocol.verify()
        return result, protocol._trust.accepted(BOOLEAN)  # type: ignore[attr-defined]

    found = three(party)
    honest = [p for p in range(3) if p != corrupted]
    following = [p for p in honest if (p + 1) % 3 == corrupted][0]
    opened = found[honest[0]][0][OWN] ^ found[honest[1]][0][OWN] ^ found[following][0][NEXT]
    x = components[0] ^ components[1] ^ components[2]
    wrong = np.flatnonzero((opened ^ (x & (x >> 1))) & 1)
    verdict = {found[p][1][0] for p in honest}
    assert len(verdict) == 1
    return [int(lane) for lane in wrong], verdict.pop()


@pytest.mark.parametrize("corrupted", range(3))
def test_equal_errors_in_two_parts_cancel_without_nu(corrupted: int, monkeypatch: pytest.MonkeyPatch) -> None:
    twice = (5, 5 + PARTS)
    assert and_gates(twice, monkeypatch, WithoutNu, corrupted) == ([*twice], True)
    assert and_gates(twice, monkeypatch, BooleanVerifier, corrupted) == ([*twice], False)
    assert and_gates(twice[:1], monkeypatch, WithoutNu, corrupted) == ([5], False)
    assert and_gates((), monkeypatch, BooleanVerifier, corrupted) == ([], True)
