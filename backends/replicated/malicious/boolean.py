"""Batch verification of boolean products over GF(2^64), in bounded memory.

After Boneh et al. (CRYPTO 2019) and Boyle et al. (CCS 2019): a random combination of all claimed products is an inner
product, and an inner product is halved (here: divided by 64, 4, 4, 32, …) with one small exchange, until one product
is left.

A word of 64 lanes of a row is a field element. With the rows' words in T = 64 parts per tile:

1. Coin: a weight mu per claim and tile, nu per part (the last one is 1). ``c = sum mu nu_i word_i(total)`` is local.
   ``C_ik = sum mu word(x_i AND y_k)`` for all pairs of parts: one carry-less product per 64 gates, reshared with zero
   shares; the last diagonal entry is what makes ``sum nu_i C_ii = c``.
2. Coin u, v: ``A = mu X^b sum u_i bit_b(x_i)``, ``B = sum v_k bit_b(y_k)``, ``c = sum u_i v_k C_ik``, and A·B = c is
   claimed. Rows with the same y make one element: their A are added up.
3. The same on field elements, until the vectors have length one.
4. ``[c2] = [a2][B]`` for a random a2; coin tau; open ``o = tau A + a2``; ``v = tau c + c2 - o B`` must be zero: open
   ``rho v`` for a secret random rho. Only that is ever opened, so a failure tells nothing.

Soundness: ``(2 F + 4) / 2**64`` for F folds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpc_bridge.backends.replicated.malicious.checks import BOOLEAN
from mpc_bridge.backends.replicated.malicious.compile import VerifiedProgram
from mpc_bridge.backends.replicated.malicious.trust import Trust
from mpc_bridge.backends.sharing.planes import Scratch
from mpc_bridge.backends.sharing.shares import DeviceBuffer
from mpc_bridge.kernels.gf import PARTS, TILE_LANES, Weights, tile_count
from mpc_bridge.kernels.prf import KEY_BYTES
from mpc_bridge.runtime.session import Session

#: Gates (lanes times rows) that wait for verification at most, before the next circuit adds its own.
BATCH_GATES = 1 << 26
_ARITIES = (4, 4)
_LAST_ARITY = 32
_WORD_BYTES = 8
#: PRF domains under a coin.
_WEIGHTS, _FIRST, _SECOND = 0, 1, 2

Pair = tuple[DeviceBuffer, DeviceBuffer]


def fold_arities(length: int) -> list[int]:
    """The arities after the first fold that bring vectors of ``length`` down to one element."""
    arities: list[int] = []
    while length > 1:
        arity = _ARITIES[len(arities)] if len(arities) < len(_ARITIES) else min(_LAST_ARITY, length)
        arities.append(arity)
        length = -(-length // arity)
    return arities


@dataclass(frozen=True)
class Record:
    """The planes that one run of a verified program left.

    Attributes:
        planes: ``[registers, stride]``.
        lanes: valid bits per plane.
    """

    verified: VerifiedProgram
    planes: DeviceBuffer
    lanes: int

    @property
    def tiles(self) -> int:
        """Tiles per plane."""
        return tile_count(self.lanes)

    @property
    def gates(self) -> int:
        """Products to verify, whole tiles counted."""
        return self.tiles * TILE_LANES * len(self.verified.rows)


class BooleanVerifier:
    """Collects records and verifies them together."""

    def __init__(self, session: Session, trust: Trust) -> None:
        self._session = session
        self._device = session.device
        self._trust = trust
        self._scratch = Scratch(session.device)
        self._records: list[Record] = []
        self.pending = 0
        #: chance that a wrong product passed, in the worst batch so far
        self.error = 0.0

    def add(self, record: Record) -> None:
        """One more run to verify. Call :meth:`verify` when :attr:`pending` has reached :data:`BATCH_GATES`."""
        self._records.append(record)
        self.pending += record.gates

    def verify(self) -> None:
        """All pending records, at least one product. Raises ProtocolAbort if any claim does not hold."""
        if not self._records:
            return
        claim, (a, b) = self._first_fold()
        length = len(a[0])
        self.error = max(self.error, soundness_error(length))
        for arity in fold_arities(length):
            claim, a, b = self._fold(arity, claim, a, b)
        self._last_product(claim, a, b)
        self._records.clear()
        self.pending = 0

    # Steps ----------------------------------------------------------------------------------------------------------

    def _first_fold(self) -> tuple[Pair, tuple[Pair, Pair]]:
        device, records = self._device, self._records
        coin = self._trust.coin()
        nu = self._expand(coin, _FIRST, PARTS)
        nu[PARTS - 1] = 1
        products = device.zeros((PARTS, PARTS, 2), np.uint64)
        totals = device.zeros(2, np.uint64)
        weights, first = [], 0
        for r in records:
            weights.append(Weights(coin, _WEIGHTS, first, r.verified.claims))
            first += r.tiles * r.verified.claims
            device.gf_first_fold(r.planes, r.lanes, *r.verified.cross_terms, weights[-1], products)
            device.gf_z_sum(r.planes, r.lanes, r.verified.sparse_totals, weights[-1], nu, totals)
        crossed = self._reshare(device.gf_reduce(products), "first fold")
        claim = (totals[0:1], totals[1:2])
        self._complete(crossed, claim, nu)
        challenge = self._trust.coin()
        u, v = self._expand(challenge, _FIRST, PARTS), self._expand(challenge, _SECOND, PARTS)
        claim = self._combine(crossed, u, v)
        lengths = [r.tiles * r.verified.factor_count * PARTS for r in records]
        lifted = [self._scratch.take(f"vector {i}", 8 * sum(lengths)).view(np.uint64) for i in range(4)]
        at = 0
        for r, weight, length in zip(records, weights, lengths, strict=True):
            a_own, a_next, b_own, b_next = (array[at : at + length] for array in lifted)
            out = (a_own, a_next, b_own, b_next)
            device.gf_lift(r.planes, r.lanes, *r.verified.by_factor, weight, u, v, out)
            at += length
        return claim, ((lifted[0], lifted[1]), (lifted[2], lifted[3]))

    def _fold(self, arity: int, claim: Pair, a: Pair, b: Pair) -> tuple[Pair, Pair, Pair]:
        device = self._device
        crossed = self._reshare(device.gf_fold_products(*a, *b, arity).reshape(-1), f"fold by {arity}")
        self._complete(crossed, claim, self._ones(arity))
        challenge = self._trust.coin()
        u, v = self._expand(challenge, _FIRST, arity), self._expand(challenge, _SECOND, arity)
        claim = self._combine(crossed, u, v)
        return (
            claim,
            (device.gf_fold(a[0], u, a[0]), device.gf_fold(a[1], u, a[1])),
            (device.gf_fold(b[0], v, b[0]), device.gf_fold(b[1], v, b[1])),
        )

    def _last_product(self, claim: Pair, a: Pair, b: Pair) -> None:
        device, trust = self._device, self._trust
        mask, rho = self._random(), self._random()
        masked = self._multiply(mask, b, "masked product")
        tau = self._expand(trust.coin(), _FIRST, 1)
        opened = [self._add(device.gf_mul(x, tau), m) for x, m in zip(a, mask, strict=True)]
        third = trust.open(device.to_host(opened[0]).tobytes(), device.to_host(opened[1]).tobytes(), "open o")
        o = self._add(self._add(opened[0], opened[1]), device.from_host(np.frombuffer(third, np.uint64)))
        difference = tuple(
            self._add(self._add(device.gf_mul(c, tau), m), device.gf_mul(o, y))
            for c, m, y in zip(claim, masked, b, strict=True)
        )
        hidden = self._multiply(rho, (difference[0], difference[1]), "hidden difference")
        own, following = (device.to_host(part).tobytes() for part in hidden)
        third = trust.open(own, following, "open the check")
        shown = np.frombuffer(own, np.uint64) ^ np.frombuffer(following, np.uint64) ^ np.frombuffer(third, np.uint64)
        trust.require(BOOLEAN, not shown.any())

    # Field elements -------------------------------------------------------------------------------------------------

    def _expand(self, key: bytes, domain: int, count: int) -> DeviceBuffer:
        """Public field elements from a coin."""
        return self._device.prf_fill(key, domain, self._device.empty(count, np.uint64))

    def _random(self) -> Pair:
        """One secret random element: no message."""
        keys, domain = self._trust.keys(), self._session.domain()
        own, following = (
            self._device.prf_fill(key, domain, self._device.empty(1, np.uint64))
            for key in (keys[:KEY_BYTES], keys[KEY_BYTES:])
        )
        return own, following

    def _ones(self, count: int) -> DeviceBuffer:
        return self._device.from_host(np.ones(count, np.uint64))

    def _add(self, x: DeviceBuffer, y: DeviceBuffer) -> DeviceBuffer:
        return self._device.bits_xor(x, y)

    def _reshare(self, local: DeviceBuffer, label: str) -> Pair:
        """This party's summands as replicated shares; the last element is left out and stays zero."""
        device, session, count = self._device, self._session, len(local) - 1
        keys = self._trust.keys()
        device.gf_add_zero_share(keys[:KEY_BYTES], keys[KEY_BYTES:], session.domain(), local)
        own, following = local, device.zeros(count + 1, np.uint64)
        if count:
            session.exchange(
                {self._trust.previous: [own[:count]]}, {self._trust.next: [following[:count]]}, label=label
            )
        own[count:] = following[count:]
        return own, following

    def _complete(self, crossed: Pair, claim: Pair, weights: DeviceBuffer) -> None:
        """The last diagonal entry, so that the weighted diagonal is the claim; its weight is one."""
        parts = len(weights)
        for matrix, total in zip(crossed, claim, strict=True):
            diagonal = self._device.gf_mul(matrix[: parts * parts : parts + 1].copy(), weights)
            matrix[parts * parts - 1 :] = self._add(total, self._sum(diagonal))

    def _combine(self, crossed: Pair, u: DeviceBuffer, v: DeviceBuffer) -> Pair:
        """``sum u_i v_k C_ik``."""
        device = self._device
        outer = device.gf_mul(
            device.from_host(np.repeat(device.to_host(u), len(v))), device.from_host(np.tile(device.to_host(v), len(u)))
        )
        own, following = (self._sum(device.gf_mul(matrix, outer)) for matrix in crossed)
        return own, following

    def _sum(self, x: DeviceBuffer) -> DeviceBuffer:
        """All elements added up."""
        while len(x) > 1:
            x = self._device.gf_fold(x, self._ones(min(_LAST_ARITY, max(2, len(x)))))
        return x

    def _multiply(self, x: Pair, y: Pair, label: str) -> Pair:
        """One product, one round."""
        device, session, trust = self._device, self._session, self._trust
        both = self._add(y[0], y[1])
        local = self._add(device.gf_mul(x[0], both), device.gf_mul(x[1], y[0]))
        keys = trust.keys()
        device.gf_add_zero_share(keys[:KEY_BYTES], keys[KEY_BYTES:], session.domain(), local)
        following = device.empty(1, np.uint64)
        session.exchange({trust.previous: [local]}, {trust.next: [following]}, label=label)
        return local, following


def soundness_error(length: int) -> float:
    """Chance that a wrong product of a batch passes; ``length`` is the vectors' after the first fold."""
    return (2 * (1 + len(fold_arities(length))) + 4) / 2.0**64
