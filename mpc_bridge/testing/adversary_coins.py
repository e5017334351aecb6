"""Cheating with coins and openings: other seeds than committed to, other values than held."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import numpy as np

from mpc_bridge.backends.replicated.malicious.boolean import _FIRST, _WEIGHTS, BooleanVerifier
from mpc_bridge.backends.replicated.malicious.trust import Trust
from mpc_bridge.backends.sharing.shares import DeviceBuffer
from mpc_bridge.backends.sharing.trust import DIGEST_BYTES
from mpc_bridge.kernels.gf import PARTS, Weights
from mpc_bridge.kernels.prf import KEY_BYTES
from mpc_bridge.runtime.session import Session
from mpc_bridge.testing.adversary import CorruptSession


class ForcedCoin(Trust):
    """Waits for the others' seeds and opens what makes the coin come out as it wants."""

    wanted = bytes(range(KEY_BYTES))

    def coin(self) -> bytes:
        self.barrier()
        index = self._used
        self._used += 1
        opened = {peer: bytearray(len(self._openings[index])) for peer in (self.previous, self.next)}
        assert isinstance(self._session, CorruptSession)

        def own() -> bytes:
            others = [opened[peer][:KEY_BYTES] for peer in opened]
            seed = bytes(a ^ b ^ c for a, b, c in zip(self.wanted, *others, strict=True))
            return seed + self._openings[index][KEY_BYTES:]

        receives = {peer: [buffer] for peer, buffer in opened.items()}
        self._session.rush(receives, lambda: {peer: [own()] for peer in opened}, "coin")
        return self.wanted


class TwoFaced(Trust):
    """Commits to one coin towards the next party and to another one towards the previous, and opens accordingly."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        assert isinstance(session, CorruptSession)
        session.rewrite = self._face

    def _face(self, label: str, peer: int, payload: bytes) -> bytes:
        if peer == self.previous and label == "coin":
            return _other(payload)
        if peer == self.previous and label == "commitments":
            others = [_other(opening) for opening in self._openings]
            return b"".join(self._commitment(self.party, self._first + i, opening) for i, opening in enumerate(others))
        return payload


def _other(opening: bytes) -> bytes:
    return bytes(byte ^ 0xA5 for byte in opening)


class NotingTrust(Trust):
    """Knows its last coin, and shows the next party an ``o`` that is off.

    Attributes:
        off: added to the component that it opens; the party goes on with the same o.
    """

    last = b""
    off: Callable[[], DeviceBuffer] | None = None

    def coin(self) -> bytes:
        self.last = super().coin()
        return self.last

    def open(self, own: bytes, following: bytes, label: str) -> bytes:
        if label != "open o" or self.off is None:
            return super().open(own, following, label)
        error = self.off().tobytes()
        self.barrier()
        value, digest = bytearray(len(own)), bytearray(DIGEST_BYTES)
        self._session.exchange(
            {self.next: [_xor(own, error)], self.previous: [sha256(following).digest()]},
            {self.previous: [value], self.next: [digest]},
            label=label,
        )
        return _xor(bytes(value), error)


def _xor(a: bytes, b: bytes) -> bytes:
    return bytes(x ^ y for x, y in zip(a, b, strict=True))


class ForgedOpening(BooleanVerifier):
    """Opens an o to the next party that makes up for a gate's error: ``rho v`` is zero again.

    For party 2, a program that only shows its input, and an error in all lanes of the first gate of the refresh
    circuit. That circuit's right factors are public: their components 1 and 2 are zero, so nobody but party 0
    computes with the wrong o. The error's weight in the claim is public once the coins are; ``o -> o + d`` moves v by
    ``d B_0``, and component 0 of B is known to party 2.
    """

    def _complete(self, crossed: Any, claim: Any, weights: DeviceBuffer) -> None:
        if len(weights) == PARTS:
            (record,) = self._records
            wrong = np.zeros_like(record.planes)
            wrong[record.verified.totals[0, 0]] = 0xFF
            totals = self._device.zeros(2, np.uint64)
            weight = Weights(self._noting.last, _WEIGHTS, 0, record.verified.claims)
            self._device.gf_z_sum(wrong, record.lanes, record.verified.totals, weight, weights, totals)
            self._error = totals[0:1]
        super()._complete(crossed, claim, weights)

    def _combine(self, crossed: Any, u: DeviceBuffer, v: DeviceBuffer) -> Any:
        # the error sits in the last entry of the diagonal
        self._error = self._device.gf_mul(self._error, self._device.gf_mul(u[-1:].copy(), v[-1:].copy()))
        return super()._combine(crossed, u, v)

    def _last_product(self, claim: Any, a: Any, b: Any) -> None:
        def off() -> DeviceBuffer:
            tau = self._expand(self._noting.last, _FIRST, 1)
            return self._device.gf_mul(self._device.gf_mul(self._error, tau), self._inverse(b[1]))

        self._noting.off = off
        super()._last_product(claim, a, b)

    @property
    def _noting(self) -> NotingTrust:
        assert isinstance(self._trust, NotingTrust)
        return self._trust

    def _inverse(self, x: DeviceBuffer) -> DeviceBuffer:
        """``x ** (2**64 - 2)``."""
        device, result, power = self._device, np.ones(1, np.uint64), x.copy()
        for _ in range(63):
            power = device.gf_mul(power, power)
            result = device.gf_mul(result, power)
        return result
