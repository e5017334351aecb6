"""Oblivious transfer in the native library: streams of punctured trees, the hash, products by digits.

Blocks of 128 bits are two ``uint64`` arrays, low and high words, or one array ``[..., 2]``. Exact definitions are in
``mpcb.h``.
"""

from __future__ import annotations

import numpy as np

from mpc_bridge.errors import KernelError
from mpc_bridge.kernels.buffers import WORD_MASK, Arguments, ByteArray, RingArray, size_error
from mpc_bridge.kernels.prf import KEY_BYTES

#: Low and high words of blocks of 128 bits.
Blocks = tuple[RingArray, RingArray]


class ObliviousTransfer(Arguments):
    """The part of a device that extends oblivious transfers and consumes them."""

    def ot_expand(self, seeds: ByteArray, domain: int, size: int) -> tuple[ByteArray, ByteArray]:
        """Seeds ``[trees, 2**depth, 16]`` to streams of ``size`` bytes (a multiple of 64).

        Returns:
            uint8 ``[trees, size]``, the XOR of all streams of a tree; ``[trees * depth, size]``, for each bit the XOR
            of the streams whose number has it.
        """
        if seeds.ndim != 3 or seeds.shape[2] != KEY_BYTES or seeds.shape[1] & (seeds.shape[1] - 1):
            raise KernelError(f"ot_expand: seeds have shape [trees, 2**depth, {KEY_BYTES}], not {seeds.shape}")
        trees, depth = seeds.shape[0], seeds.shape[1].bit_length() - 1
        sums = np.empty((trees, size), np.uint8)
        weighted = np.empty((trees * depth, size), np.uint8)
        status = self._lib.mpcb_ot_expand(
            self._bytes(seeds), trees, depth, domain, size, self._bytes(sums, True), self._bytes(weighted, True)
        )
        self._check(status, "ot_expand")
        return sums, weighted

    def ot_hash(self, key: bytes, blocks: Blocks, domain: int, first: int, delta: tuple[int, int] = (0, 0)) -> Blocks:
        """The tweakable hash of ``blocks ^ delta``, tweaks ``(domain, first)``, ``(domain, first + 1)``, ..."""
        low, high = blocks
        if low.size != high.size:
            raise size_error("ot_hash", "high", high.size, low.size)
        out = np.empty(low.shape, np.uint64), np.empty(low.shape, np.uint64)
        status = self._lib.mpcb_ot_hash(
            self._key(key), self._ring(low), self._ring(high), low.size, domain, first, delta[0], delta[1],
            self._ring(out[0], True), self._ring(out[1], True)
        )  # fmt: skip
        self._check(status, "ot_hash")
        return out

    def ot_digits(
        self, key: bytes, leaves: RingArray, domain: int, scale: int, sums: RingArray, acc: RingArray
    ) -> None:
        """Words of leaves ``[trees, 2**depth, 2]``: their sums, and ``acc += scale * sum number * word``.

        Args:
            sums: ``[trees, n]``, overwritten.
            acc: ``[n]``.
        """
        trees, width = leaves.shape[:2]
        if leaves.ndim != 3 or leaves.shape[2] != 2 or width & (width - 1) or sums.size != trees * acc.size:
            raise KernelError(f"ot_digits: leaves {leaves.shape}, sums {sums.shape} and acc {acc.shape} do not fit")
        status = self._lib.mpcb_ot_digits(
            self._key(key), self._ring(leaves), trees, width.bit_length() - 1, domain, acc.size, scale & WORD_MASK,
            self._ring(sums, True), self._ring(acc, True)
        )  # fmt: skip
        self._check(status, "ot_digits")

    def ot_combine(self, x: RingArray, m: RingArray, acc: RingArray) -> None:
        """``acc += sum_r m[r] * x[r]``, x ``[rows, n]``."""
        if x.size != m.size * acc.size:
            raise size_error("ot_combine", "x", x.size, m.size * acc.size)
        status = self._lib.mpcb_ot_combine(self._ring(x), self._ring(m), m.size, acc.size, self._ring(acc, True))
        self._check(status, "ot_combine")

    def ot_inner(self, rows: RingArray, chi: RingArray) -> RingArray:
        """``sum_i chi[i] * rows[r, i]`` in GF(2^64), by row of ``[count, words]``; chi may be shorter than a row."""
        if rows.ndim != 2:
            raise KernelError(f"ot_inner: rows have shape [count, words], not {rows.shape}")
        out = np.empty(rows.shape[0], np.uint64)
        status = self._lib.mpcb_ot_inner(
            self._ring(rows), rows.shape[0], rows.shape[1], self._ring(chi), chi.size, self._ring(out, True)
        )
        self._check(status, "ot_inner")
        return out
