"""Shares of products of a bit that the chooser knows with something that the offerer knows, and transfers of blocks.

From one correlated transfer per product: with h_0 and h_1 the hashes of ``q`` and ``q ^ Delta`` and y the offerer's
operand, it sends ``c = h_0 - h_1 + y`` and takes ``-h_0``; the chooser has ``h_x`` and takes ``h_x + x * c``. For bits
all of this is XOR, and c one bit. c is uniform to the chooser, who lacks ``h_{1-x}``.
"""

from __future__ import annotations

import numpy as np

from mpc_bridge.backends.ot.extension import Chooser, Offerer
from mpc_bridge.kernels import packed_bytes
from mpc_bridge.kernels.buffers import ByteArray, RingArray
from mpc_bridge.runtime.session import Session

#: Most bytes of choices (eight transfers each) that are extended at once: bounds memory.
CHUNK_BYTES = 1 << 16


def _chunks(size: int) -> list[slice]:
    return [slice(at, min(at + CHUNK_BYTES, size)) for at in range(0, size, CHUNK_BYTES)]


class ProductChooser:
    """The side that knows the bits."""

    def __init__(self, session: Session, peer: int) -> None:
        self._session, self._peer = session, peer
        self.extension = Chooser(session, peer)
        self._device = session.device

    def bits(self, x: ByteArray) -> ByteArray:
        """Own share of the products of ``x``, bits in bytes, and the other side's."""
        share = np.empty(x.size, np.uint8)
        for part in _chunks(x.size):
            call, blocks = self.extension.extend(x[part])
            hashed, _ = self._device.ot_hash(self.extension.hash_key, blocks, call, 0)
            received = np.empty(x[part].size, np.uint8)
            self._session.exchange({}, {self._peer: [received]}, label="products of bits")
            share[part] = _lowest_bits(hashed) ^ (x[part] & received)
        return share

    def words(self, x: ByteArray, width: int) -> RingArray:
        """Own share, modulo ``2**width``, of the products of bits ``x`` (``8 * x.size``) and the other side's words."""
        share = np.empty(8 * x.size, np.uint64)
        for part in _chunks(x.size):
            call, blocks = self.extension.extend(x[part])
            hashed, _ = self._device.ot_hash(self.extension.hash_key, blocks, call, 0)
            count = hashed.size
            packed = np.empty(packed_bytes(count, width), np.uint8)
            self._session.exchange({}, {self._peer: [packed]}, label="products of words")
            received = self._device.unpack_bits(packed, count, width)
            chosen = np.unpackbits(x[part], bitorder="little").astype(np.uint64)
            share[8 * part.start : 8 * part.stop] = hashed + chosen * received
        return share

    def blocks(self, x: ByteArray) -> RingArray:
        """The chosen ones of pairs of blocks: ``[8 * x.size, 2]``."""
        result = np.empty((8 * x.size, 2), np.uint64)
        for part in _chunks(x.size):
            call, blocks = self.extension.extend(x[part])
            low, high = self._device.ot_hash(self.extension.hash_key, blocks, call, 0)
            pairs = np.empty((low.size, 2, 2), np.uint64)
            self._session.exchange({}, {self._peer: [pairs]}, label="transfers of blocks")
            chosen = pairs[np.arange(low.size), np.unpackbits(x[part], bitorder="little")]
            result[8 * part.start : 8 * part.stop] = chosen ^ np.stack([low, high], axis=1)
        return result


class ProductOfferer:
    """The side that knows the other operands."""

    def __init__(self, session: Session, peer: int) -> None:
        self._session, self._peer = session, peer
        self.extension = Offerer(session, peer)
        self._device = session.device

    def bits(self, y: ByteArray) -> ByteArray:
        """Own share of the products of the other side's bits and ``y``, bits in bytes."""
        share = np.empty(y.size, np.uint8)
        for part in _chunks(y.size):
            first, second = (_lowest_bits(low) for low, _ in self._hashes(y[part].size))
            self._session.exchange({self._peer: [first ^ second ^ y[part]]}, {}, label="products of bits")
            share[part] = first
        return share

    def words(self, y: RingArray, width: int) -> RingArray:
        """Own share, modulo ``2**width``, of the products of the other side's bits and ``y`` (a multiple of 8)."""
        share = np.empty(y.size, np.uint64)
        for part in _chunks(y.size // 8):
            (first, _), (second, _) = self._hashes(part.stop - part.start)
            words = slice(8 * part.start, 8 * part.stop)
            packed = self._device.pack_bits(first - second + y[words], width)
            self._session.exchange({self._peer: [packed]}, {}, label="products of words")
            share[words] = 0 - first
        return share

    def blocks(self, pairs: RingArray) -> None:
        """Offer pairs of blocks ``[count, 2, 2]`` (transfer, choice, word); count is a multiple of 8."""
        for part in _chunks(len(pairs) // 8):
            keys = np.stack([np.stack(blocks, axis=1) for blocks in self._hashes(part.stop - part.start)], axis=1)
            sealed = pairs[8 * part.start : 8 * part.stop] ^ keys
            self._session.exchange({self._peer: [sealed]}, {}, label="transfers of blocks")

    def _hashes(self, count: int) -> list[tuple[RingArray, RingArray]]:
        """Hashes for choice 0 and choice 1 of ``8 * count`` transfers."""
        extension = self.extension
        call, blocks = extension.extend(count)
        return [self._device.ot_hash(extension.hash_key, blocks, call, 0, delta) for delta in ((0, 0), extension.delta)]


def _lowest_bits(words: RingArray) -> ByteArray:
    """Bit 0 of each word, eight to a byte."""
    return np.packbits((words & np.uint64(1)).astype(np.uint8), bitorder="little")
