"""Many checks of products in one session, on dealt shares: the additive error a cheater can cause is dealt with them.

A party's only power over a product is the message of its reshare, so a wrong product is the right one plus an error
that it chose before the coin.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mpc_bridge.backends.replicated.malicious.checks import LINEAR
from mpc_bridge.backends.replicated.malicious.linear import Layer, LinearVerifier
from mpc_bridge.kernels.wide import wide_from_int, wide_to_int
from mpc_bridge.lowering.program import Geometry
from mpc_bridge.runtime.session import Session
from tests.trios import Judge, three

#: (output, pixel) → what is added to the product.
Errors = Mapping[tuple[int, int], int]


class Dealt:
    """One dense layer of ``outputs`` by ``inputs`` weights on ``pixels`` pixels, as all its components.

    Attributes:
        x: the inputs modulo ``2**ring``, ``[pixels][inputs]``.
    """

    def __init__(
        self, rng: np.random.Generator, outputs: int, inputs: int, pixels: int, ring: int, errors: Errors
    ) -> None:
        self.geometry = Geometry(1, 1, pixels, inputs, 1, pixels, outputs)
        self.ring = ring
        words = rng.integers(0, 2**64, (3, pixels * inputs + outputs * inputs), dtype=np.uint64)
        self._x, self._w = words[:, : pixels * inputs], words[:, pixels * inputs :]
        x = [sum(int(c) for c in self._x[:, i]) for i in range(pixels * inputs)]
        w = [sum(int(c) for c in self._w[:, i]) for i in range(outputs * inputs)]
        self.x = [[x[p * inputs + i] % 2**ring for i in range(inputs)] for p in range(pixels)]
        self._z: list[list[int]] = [[], [], []]
        for p in range(pixels):
            for o in range(outputs):
                z = sum(x[p * inputs + i] * w[o * inputs + i] for i in range(inputs)) + errors.get((o, p), 0)
                first, second = (int.from_bytes(rng.bytes(16), "little") for _ in range(2))
                for component, part in zip(self._z, (first, second, z - first - second), strict=True):
                    component.append(part)

    def layer(self, party: int, device: Any) -> Layer:
        """What one party holds of it."""
        held = (party, (party + 1) % 3)
        x = tuple(self._x[c].copy() for c in held)
        w = tuple(device.wide_from_ring(self._w[c]).reshape(-1, 2) for c in held)
        z = tuple(np.stack([wide_from_int(v) for v in self._z[c]]) for c in held)
        return Layer(self.geometry, False, x, (0, 0), w, z, self.ring, 64)  # type: ignore[arg-type]


class Cheating(LinearVerifier):
    """A party that adds errors to its own messages of the check.

    Attributes:
        errors: label of a reshare → what to add to its elements, asked when it is sent.
        chi, psi: of the layers of the current check, as numbers.
    """

    errors: Mapping[str, Callable[[Cheating], list[int]]] = {}

    def verify(self) -> None:
        self.coefficients: list[list[int]] = []
        super().verify()

    def _coefficients(self, coin: bytes, domain: int, count: int) -> Any:
        result = super()._coefficients(coin, domain, count)
        self.coefficients.append([wide_to_int(element) for element in result])
        return result

    def _reshare(self, local: Any, label: str) -> Any:
        if label in self.errors:
            added = np.stack([wide_from_int(e) for e in self.errors[label](self)])
            local = self._device.wide_add(local.reshape(-1, 2), added)
        return super()._reshare(local, label)


def verdicts(
    honest: type[LinearVerifier],
    cheater: type[LinearVerifier],
    trials: int,
    deal: Callable[[np.random.Generator], list[Dealt]],
    *,
    ring: int,
    sigma: int,
    corrupted: int = 1,
    trust: Callable[[Session], Judge] = Judge,
    note: Callable[[LinearVerifier, list[Dealt]], None] | None = None,
    seed: int = 1,
) -> list[bool]:
    """What both honest parties found in each trial; ``note`` is called after each at the corrupted one."""

    def party(session: Session) -> list[bool]:
        rng = np.random.default_rng(seed)
        judge = trust(session)
        judge.setup()
        verifier = (cheater if session.party == corrupted else honest)(session, judge, ring, sigma)
        for _ in range(trials):
            layers = deal(rng)
            for layer in layers:
                verifier.add(layer.layer(session.party, session.device))
            verifier.verify()
            if note is not None and session.party == corrupted:
                note(verifier, layers)
        return judge.accepted(LINEAR)

    found = three(party)
    first, second = (found[p] for p in range(3) if p != corrupted)
    assert first == second and len(first) == trials, "the honest parties disagree"
    return first
