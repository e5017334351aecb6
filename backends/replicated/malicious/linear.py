"""The MAC check of linear layers: wrong products in ``Z_2^(k+sigma)`` are found without a MAC on every value.

After SPDZ2k (Cramer et al., CRYPTO 2018) and Freivalds. All messages of a batch of layers have arrived; then

1. a coin, expanded separately per layer, gives chi per output channel and psi per pixel. Locally ``a_i = sum chi_o
   w_{o,i}``, ``b_i = sum psi_p x_{i,p}`` and ``c = sum chi_o psi_p z_{o,p}``: the layer claims ``c = sum a_i b_i``.
2. A fresh secret r: ``[r a_i]`` by products, ``[C'] = sum [r a_i][b_i]``.
3. **Secret** alpha_0, alpha_i, never opened: ``[w] = sum [alpha_i][a_i] + [alpha_0][c]``, then
   ``[T] = sum [alpha_i][r a_i] + [alpha_0][C'] - [r][w]``; T is opened and must be zero modulo ``2^(k+sigma)``.

A public alpha would reveal a secret bit by whether an error of ``2^(k+sigma-1)`` in a MAC passes; alpha_0 = 1 would
let the cheater cancel a known error in the reshare of w; coefficients shared between layers would let opposite errors
cancel. Layers of a smaller ring are scaled up by a power of two, which keeps the least bit of an error where it is
found.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import numpy as np

from mpc_bridge.backends.replicated.compile import NEXT, OWN
from mpc_bridge.backends.replicated.malicious.checks import LINEAR
from mpc_bridge.backends.replicated.malicious.trust import Trust
from mpc_bridge.backends.sharing.shares import DeviceBuffer
from mpc_bridge.kernels import packed_bytes
from mpc_bridge.kernels.prf import KEY_BYTES
from mpc_bridge.lowering.program import Geometry
from mpc_bridge.runtime.session import Session

#: Words of layer inputs and outputs that wait for their check at most.
BATCH_WORDS = 1 << 23

Pair = tuple[DeviceBuffer, DeviceBuffer]


def soundness_error(sigma: int) -> float:
    """Chance that a batch with a wrong product passes: ``sum_{j<4} binom(sigma+4, j) / 2^(sigma+4)``."""
    return sum(comb(sigma + 4, j) for j in range(4)) / 2.0 ** (sigma + 4)


@dataclass(frozen=True)
class Layer:
    """One product to check, components as (own, next).

    Attributes:
        x: uint64 inputs, of which ``limb`` bits count; ``zero``: subtracted from them, per component.
        w: wide weights; z: wide outputs before the bias, known modulo ``2^(ring + sigma)``.
    """

    geometry: Geometry
    depthwise: bool
    x: Pair
    zero: tuple[int, int]
    w: Pair
    z: Pair
    ring: int
    limb: int = 64


class LinearVerifier:
    """Collects products and checks them together.

    Args:
        ring: the greatest ring of any layer.
        sigma: statistical bits.
    """

    def __init__(self, session: Session, trust: Trust, ring: int, sigma: int) -> None:
        self._session = session
        self._device = session.device
        self._trust = trust
        self._ring = ring
        self._bits = ring + sigma
        self._sigma = sigma
        self._layers: list[Layer] = []
        self.pending = 0
        #: chance that a wrong product passed, in the worst batch so far
        self.error = 0.0

    def add(self, layer: Layer, weights: int = 0) -> None:
        """One more product. Call :meth:`verify` when :attr:`pending` has reached :data:`BATCH_WORDS`.

        Args:
            weights: words of weights that wait with it; those of the model are kept in any case.
        """
        self._layers.append(layer)
        self.pending += 2 * len(layer.x[OWN]) + 2 * layer.z[OWN].size + weights

    def verify(self) -> None:
        """All pending products. Raises ProtocolAbort if one is wrong."""
        if not self._layers:
            return
        self.error = soundness_error(self._sigma)
        coin = self._trust.coin()
        combined = [self._combine(coin, number, layer) for number, layer in enumerate(self._layers)]
        a, b = ((self._join([c[i][OWN] for c in combined]), self._join([c[i][NEXT] for c in combined])) for i in (0, 1))
        claims = [c[2] for c in combined]
        claim = (self._total([c[OWN] for c in claims]), self._total([c[NEXT] for c in claims]))
        self._check(a, b, claim)
        self._layers.clear()
        self.pending = 0

    # The three sums of a layer --------------------------------------------------------------------------------------

    def _combine(self, coin: bytes, number: int, layer: Layer) -> tuple[Pair, Pair, Pair]:
        """a, b and c of one layer, a and c scaled to the greatest ring."""
        device, g = self._device, layer.geometry
        chi = self._coefficients(coin, 2 * number, g.out_channels)
        psi = self._coefficients(coin, 2 * number + 1, g.batch * g.out_height * g.out_width)
        shift = self._ring - layer.ring
        a, b, c = [], [], []
        for side in (OWN, NEXT):
            weights = self._filters(g, chi, layer.w[side]) if layer.depthwise else self._rows(chi, layer.w[side])
            a.append(device.wide_shift_left(weights, shift))
            b.append(device.wide_combine_patches(g, psi, layer.x[side], layer.zero[side], layer.limb).reshape(-1, 2))
            c.append(device.wide_shift_left(device.wide_bilinear(psi, chi, layer.z[side]), shift))
        return (a[0], a[1]), (b[0], b[1]), (c[0], c[1])

    def _coefficients(self, coin: bytes, domain: int, count: int) -> DeviceBuffer:
        return self._device.prf_fill(coin, domain, self._device.empty((count, 2), np.uint64))

    def _rows(self, chi: DeviceBuffer, w: DeviceBuffer) -> DeviceBuffer:
        return self._device.wide_combine_weights(chi, w)

    def _filters(self, g: Geometry, chi: DeviceBuffer, w: DeviceBuffer) -> DeviceBuffer:
        """Per cell and input channel, ``sum chi_o w_{cell,o}`` over the channel's own output channels."""
        device, cells = self._device, g.kernel[0] * g.kernel[1]
        multiplier = g.out_channels // g.in_channels
        spread = device.from_host(np.tile(device.to_host(chi).reshape(-1, 2), (cells, 1)))
        weighted = device.wide_mul(w.reshape(-1, 2), spread)
        if multiplier == 1:
            return weighted
        # elements (cell, ic, m): one array per m, added up
        words = np.arange(2 * cells * g.out_channels, dtype=np.int64).reshape(-1, multiplier, 2)
        parts = [
            device.gather_u64(weighted.reshape(-1), np.ascontiguousarray(words[:, m].reshape(-1)))
            for m in range(multiplier)
        ]
        return self._total([part.reshape(-1, 2) for part in parts])

    def _join(self, parts: list[DeviceBuffer]) -> DeviceBuffer:
        return self._device.concatenate(parts).reshape(-1, 2)

    def _total(self, parts: list[DeviceBuffer]) -> DeviceBuffer:
        total = parts[0]
        for part in parts[1:]:
            total = self._device.wide_add(total, part)
        return total

    # The check ------------------------------------------------------------------------------------------------------

    def _check(self, a: Pair, b: Pair, c: Pair) -> None:
        device, trust = self._device, self._trust
        count = len(a[OWN])
        r = self._random(1)
        alphas = self._random(count + 1)
        alpha: Pair = (alphas[OWN][1:], alphas[NEXT][1:])
        main: Pair = (alphas[OWN][:1], alphas[NEXT][:1])
        spread: Pair = tuple(device.from_host(np.tile(device.to_host(part), (count, 1))) for part in r)  # type: ignore[assignment]
        ra = self._reshare(self._products(spread, a), "MACs")
        masked = self._reshare(self._dot(ra, b), "MAC of the sum")
        w = self._reshare(device.wide_add(self._dot(alpha, a), self._dot(main, c)), "weighted sum")
        local = device.wide_add(self._dot(alpha, ra), self._dot(main, masked))
        t = self._reshare(device.wide_sub(local, self._dot(r, w)), "check value")
        own, following = (device.wide_pack(part.reshape(-1, 2), self._bits).tobytes() for part in t)
        third = trust.open(own, following, "open the check")
        total = sum(int.from_bytes(part, "little") for part in (own, following, third))
        trust.require(LINEAR, total % (1 << self._bits) == 0)

    def _random(self, count: int) -> Pair:
        """Secret random ring elements: no message."""
        keys, domain = self._trust.keys(), self._session.domain()
        own, following = (
            self._device.prf_fill(key, domain, self._device.empty((count, 2), np.uint64))
            for key in (keys[:KEY_BYTES], keys[KEY_BYTES:])
        )
        return own, following

    def _products(self, x: Pair, y: Pair) -> DeviceBuffer:
        """This party's summand of the products, element by element."""
        device = self._device
        both = device.wide_add(y[OWN], y[NEXT])
        return device.wide_add(device.wide_mul(x[OWN], both), device.wide_mul(x[NEXT], y[OWN]))

    def _dot(self, x: Pair, y: Pair) -> DeviceBuffer:
        """This party's summand of the inner product, ``[1, 2]``."""
        device = self._device
        both = device.wide_add(y[OWN], y[NEXT])
        return device.wide_add(device.wide_dot(x[OWN], both), device.wide_dot(x[NEXT], y[OWN])).reshape(1, 2)

    def _reshare(self, local: DeviceBuffer, label: str) -> Pair:
        """Summands as replicated shares: one round, ``ring + sigma`` bits per element."""
        device, trust, count = self._device, self._trust, local.size // 2
        keys = trust.keys()
        device.wide_add_zero_share(keys[:KEY_BYTES], keys[KEY_BYTES:], self._session.domain(), local)
        outgoing = device.wide_pack(local, self._bits)
        incoming = device.empty(packed_bytes(count, self._bits), np.uint8)
        self._session.exchange({trust.previous: [outgoing]}, {trust.next: [incoming]}, label=label)
        return local.reshape(-1, 2), device.wide_unpack(incoming, count, self._bits)
