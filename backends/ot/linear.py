"""Linear layers: shares of ``F * A`` where one party holds the factors F, the other the operand A.

Every factor is cut into digits of :data:`DIGIT_BITS` bits. For a digit n the holder gets all leaves of a tree but leaf
n (4 oblivious transfers, once for as long as F stays). With the leaves' streams s_y of one word per output, modulo
``2**k``: the other side has ``u = sum s_y`` and ``v = sum y * s_y``, the holder ``sum (n - y) * s_y = n*u - v``. The
message ``d = A - u`` makes that ``n*A - v``, so an output costs ``k`` bits per digit and factor, less the bits that the
digit's place shifts out: ``2k - 4`` for 8-bit weights. This is SoftSpoken's small-field VOLE over integers, which needs
no inverse, so it holds modulo any ``2**k``; Gilboa's bit by bit products would cost ``8k - 28``.

Messages of many channels travel together, as many as fit :data:`CHUNK_WORDS`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mpc_bridge.backends.ot import trees
from mpc_bridge.backends.ot.layout import Layout
from mpc_bridge.backends.ot.products import ProductChooser, ProductOfferer
from mpc_bridge.kernels import packed_bytes
from mpc_bridge.kernels.buffers import RingArray
from mpc_bridge.kernels.prf import KEY_BYTES
from mpc_bridge.runtime.session import Session

#: Bits of a digit: 2 ** DIGIT_BITS streams are computed for each digit and output.
DIGIT_BITS = 4
#: Words of corrections that are held at once, where a channel alone does not have more.
CHUNK_WORDS = 1 << 20
#: Words of a grown tree: where there are few outputs, it is the trees that fill memory.
_TREE_WORDS = 2 << DIGIT_BITS
#: Trees that are transferred at once.
_CHUNK_TREES = 1 << 14


@dataclass(frozen=True)
class Factors:
    """What is public about F: its layout, its range, the ring.

    Attributes:
        low: least factor; F less that is what is cut into digits.
        bits: of F less ``low``.
        ring: k.
    """

    layout: Layout
    low: int
    bits: int
    ring: int

    @property
    def digits(self) -> int:
        """How many each factor has; those that the ring shifts out do not count."""
        return -(-min(self.bits, self.ring) // DIGIT_BITS)

    @property
    def trees(self) -> int:
        """Trees in all; number ``(channel * digits + digit) * rows + row``."""
        return self.layout.channels * self.digits * self.layout.rows

    @property
    def transfers(self) -> int:
        """Oblivious transfers for as long as F stays."""
        return DIGIT_BITS * self.trees

    @property
    def products(self) -> int:
        """Words of linear evaluation for one operand."""
        return self.trees * self.layout.positions

    def groups(self) -> list[range]:
        """Channels whose corrections travel together."""
        per_channel = self.digits * self.layout.rows * max(self.layout.positions, _TREE_WORDS)
        step = max(1, CHUNK_WORDS // per_channel)
        return [range(at, min(at + step, self.layout.channels)) for at in range(0, self.layout.channels, step)]

    def span(self, group: range) -> slice:
        """The trees of a group of channels."""
        per_channel = self.digits * self.layout.rows
        return slice(group.start * per_channel, group.stop * per_channel)

    def width(self, digit: int) -> int:
        """Bits of a correction of this digit."""
        return self.ring - DIGIT_BITS * digit


@dataclass(frozen=True)
class Held:
    """The holder's side of factors: digits ``[channels, digits, rows]``, sums ``[trees, DIGIT_BITS, 2]``."""

    factors: Factors
    digits: npt.NDArray[np.int64]
    sums: RingArray


@dataclass(frozen=True)
class Offered:
    """The other side's: roots ``[trees, 2]``."""

    factors: Factors
    roots: RingArray


class LinearHolder:
    """The side with the factors; the chooser of transfers."""

    def __init__(self, session: Session, peer: int, products: ProductChooser) -> None:
        self._session, self._peer, self._products = session, peer, products
        self._device = session.device
        self._extension = products.extension

    def hold(self, factors: Factors, values: RingArray) -> Held:
        """Transfers for the values ``F``, flat, modulo ``2**ring``: as long as F stays, once."""
        rest = factors.layout.factors(values) - np.uint64(factors.low % 2**64)
        rest &= np.uint64((1 << factors.ring) - 1)
        shifts = np.arange(factors.digits, dtype=np.uint64) * np.uint64(DIGIT_BITS)
        mask = np.uint64((1 << DIGIT_BITS) - 1)
        digits = (rest[:, None, :] >> shifts[:, None] & mask).astype(np.int64)
        paths = digits.reshape(-1)
        sums = np.empty((len(paths), DIGIT_BITS, 2), np.uint64)
        for first in range(0, len(paths), _CHUNK_TREES):
            chunk = paths[first : first + _CHUNK_TREES]
            wanted = np.packbits(trees.sides(chunk, DIGIT_BITS).reshape(-1), bitorder="little")
            got = self._products.blocks(wanted)[: DIGIT_BITS * len(chunk)]
            sums[first : first + len(chunk)] = got.reshape(-1, DIGIT_BITS, 2)
        return Held(factors, digits, sums)

    def multiply(self, held: Held, domain: int) -> RingArray:
        """Own share of the layer's result, flat; ``domain`` is used once for these factors."""
        f, device = held.factors, self._device
        layout, rows, positions = f.layout, f.layout.rows, f.layout.positions
        result = np.zeros((layout.channels, positions), np.uint64)
        for group in f.groups():
            count = len(group) * rows * positions
            packed = [np.empty(packed_bytes(count, f.width(digit)), np.uint8) for digit in range(f.digits)]
            self._session.exchange({}, {self._peer: packed}, label="corrections of a linear layer")
            corrections = [device.unpack_bits(data, count, f.width(digit)).reshape(len(group), rows, positions)
                           for digit, data in enumerate(packed)]
            span = f.span(group)
            leaves = trees.grow_punctured(device, self._extension.tree_key, held.sums[span],
                                          held.digits.reshape(-1)[span], span.start)
            leaves = leaves.reshape(len(group), f.digits, rows, -1, 2)
            sums = np.empty((rows, positions), np.uint64)
            for place, channel in enumerate(group):
                for digit in range(f.digits):
                    numbers = held.digits[channel, digit]
                    scale = 1 << DIGIT_BITS * digit
                    # the missing leaf counts as whatever it is taken for: n * s - n * s
                    device.ot_digits(self._extension.stream_key, leaves[place, digit], domain, -scale, sums,
                                     result[channel])
                    device.ring_add(sums, corrections[digit][place], sums)
                    device.ot_combine(sums, numbers.astype(np.uint64) * np.uint64(scale), result[channel])
        return layout.outputs(result)


class LinearOfferer:
    """The side with the operand."""

    def __init__(self, session: Session, peer: int, products: ProductOfferer) -> None:
        self._session, self._peer, self._products = session, peer, products
        self._device = session.device
        self._extension = products.extension

    def offer(self, factors: Factors) -> Offered:
        """The other side of :meth:`LinearHolder.hold`."""
        roots = np.frombuffer(os.urandom(KEY_BYTES * factors.trees), np.uint64).reshape(-1, 2)
        for first in range(0, len(roots), _CHUNK_TREES):
            chunk = roots[first : first + _CHUNK_TREES]
            _, sums = trees.grow(self._device, self._extension.tree_key, chunk, DIGIT_BITS, first)
            pairs = np.zeros((-(-len(chunk) * DIGIT_BITS // 8) * 8, 2, 2), np.uint64)
            pairs[: len(chunk) * DIGIT_BITS] = sums.reshape(-1, 2, 2)
            self._products.blocks(pairs)
        return Offered(factors, roots)

    def multiply(self, offered: Offered, operand: RingArray, domain: int) -> RingArray:
        """Own share of the layer's result for ``operand``, flat, modulo 2**64."""
        f, device = offered.factors, self._device
        layout, rows, positions = f.layout, f.layout.rows, f.layout.positions
        result = np.zeros((layout.channels, positions), np.uint64)
        low = np.full(rows, f.low % 2**64, np.uint64)
        columns = layout.columns(device, operand, 0)
        for group in f.groups():
            words = [np.empty((len(group), rows, positions), np.uint64) for _ in range(f.digits)]
            span = f.span(group)
            leaves, _ = trees.grow(device, self._extension.tree_key, offered.roots[span], DIGIT_BITS, span.start)
            leaves = leaves.reshape(len(group), f.digits, rows, -1, 2)
            for place, channel in enumerate(group):
                if channel and not layout.shared_columns:
                    columns = layout.columns(device, operand, channel)
                device.ot_combine(columns, low, result[channel])
                for digit in range(f.digits):
                    sums = words[digit][place]
                    device.ot_digits(self._extension.stream_key, leaves[place, digit], domain,
                                     1 << DIGIT_BITS * digit, sums, result[channel])
                    device.ring_sub(columns, sums, sums)
            packed = [device.pack_bits(data, f.width(digit)) for digit, data in enumerate(words)]
            self._session.exchange({self._peer: packed}, {}, label="corrections of a linear layer")
        return layout.outputs(result)
