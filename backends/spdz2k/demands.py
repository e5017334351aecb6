"""Correlated randomness with MACs: what each operation consumes, and what a dealer makes of it.

As in :mod:`backends.additive.demands`, random parts are PRF streams under one key per party, and one party gets
corrections. Ring elements are shared modulo ``2^(k+sigma)`` in 128-bit words, over whose whole range masks are
uniform; the MAC of x is ``alpha * x`` there, that of a bit ``Delta`` times the bit over GF(2^64). A demand has
:data:`DOMAINS` PRF domains of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

import numpy as np

from mpc_bridge.backends.additive.compile import CORRECTED, corrected
from mpc_bridge.backends.additive.demands import factor_size, gate_correlations, operand_size, product_size
from mpc_bridge.backends.sharing.circuit import Circuit
from mpc_bridge.backends.sharing.microcode import Microprogram
from mpc_bridge.backends.sharing.planes import PlaneLane, Scratch, plane_stride
from mpc_bridge.backends.sharing.requantize import WIDTH
from mpc_bridge.backends.sharing.shares import DeviceBuffer
from mpc_bridge.backends.spdz2k.compile import MacDealerCompiler, dealt
from mpc_bridge.backends.spdz2k.masks import OPENING_BYTES, mask_words, seal
from mpc_bridge.backends.spdz2k.wide import layer
from mpc_bridge.kernels import Device, packed_bytes
from mpc_bridge.lowering.program import Linear

#: Statistical bits that ring elements carry on top of their ring, and bits of the MAC key.
SIGMA = 52


@dataclass
class Dealing:
    """A dealer's state.

    Attributes:
        keys: of the parties' streams, by party.
        alpha, delta: the MAC keys.
        factors: linear step's output → the mask of its second operand.
    """

    device: Device
    keys: Sequence[bytes]
    alpha: int
    delta: int
    scratch: Scratch
    factors: dict[int, DeviceBuffer] = field(default_factory=dict)
    programs: dict[Circuit, Microprogram] = field(default_factory=dict)

    @property
    def others(self) -> list[bytes]:
        """Keys of the parties whose summands are pads."""
        return [key for party, key in enumerate(self.keys) if party != CORRECTED]

    def sum_of_pads(self, domain: int, size: int, keys: Sequence[bytes] | None = None) -> DeviceBuffer:
        """The sum ``[size, 2]`` of the streams of one domain under these keys (None: of all)."""
        total = self.device.zeros((size, 2), np.uint64)
        pad = self.device.empty((size, 2), np.uint64)
        for key in self.keys if keys is None else keys:
            self.device.wide_add(total, self.device.prf_fill(key, domain, pad), total)
        return total

    def shared(self, domain: int, x: DeviceBuffer, bits: int) -> DeviceBuffer:
        """The corrected party's summands of wide elements, ``bits`` bits each; the others' are their streams."""
        others = self.sum_of_pads(domain, x.size // 2, self.others)
        return self.device.wide_pack(self.device.wide_sub(x.reshape(-1, 2), others), bits)

    def macs(self, domain: int, x: DeviceBuffer, bits: int) -> DeviceBuffer:
        """As :meth:`shared`, of the elements' MACs."""
        return self.shared(domain, self.device.wide_scale(x, self.alpha), bits)

    def bit_macs(self, domain: int, planes: DeviceBuffer, lanes: int) -> DeviceBuffer:
        """The corrected party's MACs of planes, as bytes: a row of words for each."""
        words = self.device.macs_deal(planes, lanes, self.delta, b"".join(self.others), domain)
        return self.device.bytes_of(words)

    def program(self, circuit: Circuit) -> Microprogram:
        """What a circuit needs."""
        if circuit not in self.programs:
            self.programs[circuit] = MacDealerCompiler(circuit, len(self.keys)).compile()
        return self.programs[circuit]

    def openings(self, domain: int) -> list[bytes]:
        """Each party's key and nonce for a mask that it will show."""
        return [mask_opening(self.device, key, domain) for key in self.keys]


def mask_opening(device: Device, key: bytes, domain: int) -> bytes:
    """A party's key and nonce for a mask: the beginning of one of its streams."""
    return bytes(device.to_host(device.prf_fill(key, domain, device.empty(OPENING_BYTES, np.uint8))))


@dataclass(frozen=True)
class Dealt:
    """What a demand gives: corrections for one party, and the seals of masks for all."""

    corrections: Sequence[DeviceBuffer]
    seals: bytes = b""


class Demand(Protocol):
    """One piece of correlated randomness."""

    @property
    def size(self) -> int:
        """Bytes of its corrections."""
        ...

    @property
    def sealed(self) -> bool:
        """Whether it comes with a seal per party."""
        ...

    @property
    def correlations(self) -> Mapping[str, int]:
        """What it is, as ``runtime.meter.Work`` names and counts it."""
        ...

    def deal(self, dealing: Dealing, domain: int) -> Dealt:
        """Corrections, :attr:`size` bytes of them, and the seals."""
        ...


@dataclass(frozen=True)
class Factor:
    """A mask B for a linear step's second operand: domain 0, its MACs in 1."""

    step: Linear
    sealed = False

    @property
    def size(self) -> int:
        return packed_bytes(factor_size(self.step), self.step.ring + SIGMA)

    @property
    def correlations(self) -> Mapping[str, int]:
        return {}

    def deal(self, dealing: Dealing, domain: int) -> Dealt:
        mask = dealing.factors[self.step.output] = dealing.sum_of_pads(domain, factor_size(self.step))
        return Dealt([dealing.macs(domain + 1, mask, self.step.ring + SIGMA)])


@dataclass(frozen=True)
class Product:
    """A mask A for the first operand (domain 0, MACs in 1), and the product C of A and B (domain 2, MACs in 3)."""

    step: Linear
    sealed = False

    @property
    def size(self) -> int:
        bits = self.step.ring + SIGMA
        return packed_bytes(operand_size(self.step), bits) + 2 * packed_bytes(product_size(self.step), bits)

    @property
    def correlations(self) -> Mapping[str, int]:
        return {"matrix_triples": 1}

    def deal(self, dealing: Dealing, domain: int) -> Dealt:
        device, bits = dealing.device, self.step.ring + SIGMA
        mask = dealing.sum_of_pads(domain, operand_size(self.step))
        product = layer(device, self.step, [(mask, dealing.factors[self.step.output])])
        return Dealt([dealing.macs(domain + 1, mask, bits), dealing.shared(domain + 2, product, bits),
                      dealing.macs(domain + 3, product, bits)])


@dataclass(frozen=True)
class Gates:
    """Everything a boolean circuit needs on ``lanes`` lanes: pads in domain 0, MACs of :func:`compile.dealt` in 3.

    ``operand`` is the width of the random number R whose bits the left wires are (0: no left wires): domain 1, its MACs
    modulo ``2^(operand+sigma)`` in 2. Circuits are rebuilt at need, so equal demands may hold two.
    """

    circuit: Circuit = field(compare=False, repr=False)
    lanes: int
    operand: int = 0
    sealed = False

    @property
    def size(self) -> int:
        return 8 * self.rows * self.lanes + self.operand_bytes + len(corrected(self.circuit)) * -(-self.lanes // 8)

    @property
    def rows(self) -> int:
        """Rows of MACs."""
        return dealt_rows(self.circuit)

    @property
    def operand_bytes(self) -> int:
        """Bytes of R's MACs."""
        return packed_bytes(self.lanes, self.operand + SIGMA) if self.operand else 0

    @property
    def correlations(self) -> Mapping[str, int]:
        return gate_correlations(self.circuit, self.lanes, self.operand)

    def deal(self, dealing: Dealing, domain: int) -> Dealt:
        device, program, shares = dealing.device, dealing.program(self.circuit), len(corrected(self.circuit))
        planes = dealing.scratch.take("planes", program.registers * plane_stride(self.lanes))
        lane = PlaneLane(device, dealing.scratch, program, self.lanes, planes, b"".join(dealing.keys), domain, 0)
        operand: list[DeviceBuffer] = []
        if self.operand:
            random = dealing.sum_of_pads(domain + 1, self.lanes)
            operand.append(dealing.macs(domain + 2, random, self.operand + SIGMA))
            lane.fill(0, device.wide_low(random, self.operand), self.operand)
        lane.run(0)
        first = program.outputs
        bits = lane.planes[first + shares : first + program.output_count]
        # words first: they keep their alignment in the message
        return Dealt([dealing.bit_macs(domain + 3, bits, self.lanes), *operand, lane.save(first, shares)])


@lru_cache(maxsize=512)
def dealt_rows(circuit: Circuit) -> int:
    """Rows of MACs that a circuit needs."""
    return sum(map(len, dealt(circuit)))


def _bit_words(dealing: Dealing, x: DeviceBuffer, width: int) -> DeviceBuffer:
    """Wide ``[width * n]``: all lowest bits of ``n`` words, then the next ones."""
    device, size = dealing.device, x.size
    planes = device.bits_slice(x, 0, width)
    bits = device.empty(width * size, np.uint64)
    for bit in range(width):
        device.bits_unslice(planes[bit : bit + 1], size, bits[bit * size : (bit + 1) * size])
    return device.wide_from_ring(bits)


@dataclass(frozen=True)
class Bits:
    """daBits: random bytes shared by XOR (domain 0), their bits' MACs (1), each bit in the ring (2), its MAC (3)."""

    lanes: int
    ring: int
    sealed = False

    @property
    def size(self) -> int:
        return 8 * WIDTH * self.lanes + 2 * packed_bytes(WIDTH * self.lanes, self.ring + SIGMA)

    @property
    def correlations(self) -> Mapping[str, int]:
        return {"dabits": WIDTH * self.lanes}

    def deal(self, dealing: Dealing, domain: int) -> Dealt:
        device, bits = dealing.device, self.ring + SIGMA
        total = device.zeros(self.lanes, np.uint8)
        pad = device.empty(self.lanes, np.uint8)
        for key in dealing.keys:
            device.bits_xor(total, device.prf_fill(key, domain, pad), total)
        words = _bit_words(dealing, device.words_of(total), WIDTH)
        return Dealt([dealing.bit_macs(domain + 1, device.bytes_slice(total, 0, WIDTH), self.lanes),
                      dealing.shared(domain + 2, words, bits), dealing.macs(domain + 3, words, bits)])


@dataclass(frozen=True)
class Entry:
    """A mask for ``width``-bit numbers that an owner enters, its summands under sealed keys (domain 0).

    With ``planes`` the MACs of its bits (1), with a ``ring`` each bit in the ring (2) and its MAC there (3).
    """

    lanes: int
    width: int
    ring: int
    planes: bool
    sealed = True

    @property
    def size(self) -> int:
        ring = 2 * packed_bytes(self.width * self.lanes, self.ring + SIGMA) if self.ring else 0
        return (8 * self.width * self.lanes if self.planes else 0) + ring

    @property
    def correlations(self) -> Mapping[str, int]:
        return {"input_masks": self.lanes}

    def deal(self, dealing: Dealing, domain: int) -> Dealt:
        device, bits = dealing.device, self.ring + SIGMA
        openings = dealing.openings(domain)
        total = device.zeros(self.lanes, np.uint64)
        for opening in openings:
            device.bits_xor(total, mask_words(device, opening, self.lanes, self.width), total)
        found = []
        if self.planes:
            found.append(dealing.bit_macs(domain + 1, device.bits_slice(total, 0, self.width), self.lanes))
        if self.ring:
            words = _bit_words(dealing, total, self.width)
            found += [dealing.shared(domain + 2, words, bits), dealing.macs(domain + 3, words, bits)]
        return Dealt(found, _seals(openings))


@dataclass(frozen=True)
class Exit:
    """A mask for ``width``-bit numbers that a receiver gets: summands under sealed keys (domain 0), bits' MACs (1)."""

    lanes: int
    width: int
    sealed = True

    @property
    def size(self) -> int:
        return 8 * self.width * self.lanes

    @property
    def correlations(self) -> Mapping[str, int]:
        return {"output_masks": self.lanes}

    def deal(self, dealing: Dealing, domain: int) -> Dealt:
        return Entry(self.lanes, self.width, 0, True).deal(dealing, domain)


@dataclass(frozen=True)
class RingExit:
    """A mask ``r + 2^k * u`` for sums that a receiver gets: r under sealed keys (domain 0), u in 2, the MACs in 3.

    Keys show r alone, k bits of each summand; u, which nobody gets, hides what a sum has above its ring.
    """

    lanes: int
    ring: int
    sealed = True

    @property
    def size(self) -> int:
        return packed_bytes(self.lanes, self.ring + SIGMA)

    @property
    def correlations(self) -> Mapping[str, int]:
        return {"output_masks": self.lanes}

    def deal(self, dealing: Dealing, domain: int) -> Dealt:
        device = dealing.device
        openings = dealing.openings(domain)
        total = device.wide_shift_left(dealing.sum_of_pads(domain + 2, self.lanes), self.ring)
        for opening in openings:
            device.wide_add(total, device.wide_from_ring(mask_words(device, opening, self.lanes, self.ring)), total)
        return Dealt([dealing.macs(domain + 3, total, self.ring + SIGMA)], _seals(openings))


def _seals(openings: Sequence[bytes]) -> bytes:
    return b"".join(seal(party, opening) for party, opening in enumerate(openings))

