"""Any number of correlated oblivious transfers from 128 base ones: SoftSpoken (Roy, CRYPTO 2022).

The offerer holds ``Delta`` of 128 bits; transfer j gives the chooser, for its bit x_j, a block v_j and the offerer
``q_j = v_j ^ x_j * Delta`` (small-field VOLE made subspace VOLE by the repetition code: ``128 / DEPTH`` of them over
GF(2^DEPTH)). The chooser grows as many trees, of which the offerer has all leaves but number ``Delta_i``. With the
streams s_y of the leaves, ``u = sum s_y`` and ``v = sum y * s_y``, while the offerer can form ``w = sum (y ^ Delta_i) *
s_y = v + Delta_i * u``, as the leaf it lacks has coefficient zero. One message ``u ^ x`` per tree makes u the same, x,
everywhere: ``128 / DEPTH`` bits for each transfer.

Checked, though the protocols on top are semi-honest: the trees by a tag on every leaf, the messages by a linear
universal hash into two words of GF(2^64) whose coefficients come from a hash of the messages themselves; the last two
words of every row are random and mask what the hash shows.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mpc_bridge.backends.ot import base, trees
from mpc_bridge.backends.ot.checks import CHOICES, TREES
from mpc_bridge.kernels import Device
from mpc_bridge.kernels.buffers import ByteArray, RingArray
from mpc_bridge.kernels.ot import Blocks
from mpc_bridge.kernels.prf import KEY_BYTES, fresh_key
from mpc_bridge.runtime.session import Session

#: Bits of Delta, and so base transfers.
BLOCK_BITS = 128
#: Levels of a tree: a transfer costs ``BLOCK_BITS / DEPTH`` bits to send and ``2**DEPTH / DEPTH * BLOCK_BITS`` bits of
#: streams to compute. 4 takes the least time on loopback; 8 halves the bytes at four times the streams.
DEPTH = 4
_TREES = BLOCK_BITS // DEPTH
#: Independent words of the universal hash.
_CHECKS = 2
_TAG_BYTES = 32
_WORD = 8
#: Rows of transfers are whole cache lines.
_LINE = 64


class _Extension:
    """What both sides have: keys from the base transfers' transcript, and a counter of calls."""

    def __init__(self, session: Session, peer: int, transcript: bytes) -> None:
        self._session = session
        self._peer = peer
        self.device: Device = session.device
        self._transcript = transcript
        #: of the trees' hash, the hash of transfers and the streams of products: public, fresh in every session
        self.tree_key, self.hash_key, self.stream_key = (
            hashlib.sha256(transcript + name).digest()[:KEY_BYTES] for name in (b"trees", b"hash", b"streams"))
        self._calls = 0

    @staticmethod
    def _row_bytes(count: int) -> int:
        """Bytes of a row for ``count`` bytes of choices and the mask of the check."""
        return -(-(count + _CHECKS * _WORD) // _LINE) * _LINE

    def _sealed(self, leaves: RingArray) -> tuple[ByteArray, npt.NDArray[np.uint8]]:
        """Seeds ``[trees, leaves, 16]`` and tags ``[trees, leaves, 32]`` of the leaves."""
        seeds = np.empty((*leaves.shape[:2], KEY_BYTES), np.uint8)
        tags = np.empty((*leaves.shape[:2], _TAG_BYTES), np.uint8)
        for tree, row in enumerate(leaves):
            for number, leaf in enumerate(row):
                place = bytes([tree, number])
                digest = hashlib.sha512(b"leaf" + self._transcript + place + leaf.tobytes()).digest()
                seeds[tree, number] = np.frombuffer(digest[:KEY_BYTES], np.uint8)
                tags[tree, number] = np.frombuffer(digest[KEY_BYTES : KEY_BYTES + _TAG_BYTES], np.uint8)
        return seeds, tags

    def _hashes(self, tables: Sequence[ByteArray], corrections: ByteArray, call: int) -> list[RingArray]:
        """The universal hash of every row of tables ``[count, bytes]``: ``[count, 2]`` each."""
        coin = hashlib.sha256(b"check" + self._transcript + call.to_bytes(8, "big"))
        coin.update(corrections.data)
        body = corrections.shape[1] // _WORD - _CHECKS
        results = [np.empty((len(rows), _CHECKS), np.uint64) for rows in tables]
        for number in range(_CHECKS):
            chi = self.device.prf_fill(coin.digest()[:KEY_BYTES], number, np.empty(body, np.uint64))
            for rows, result in zip(tables, results, strict=True):
                words = rows.view(np.uint64)
                result[:, number] = self.device.ot_inner(words, chi) ^ words[:, body + number]
        return results

    def _blocks(self, planes: ByteArray, count: int) -> Blocks:
        """Rows of bits to one block per transfer."""
        half = BLOCK_BITS // 2
        return (self.device.bits_unslice(planes[:half], 8 * count), self.device.bits_unslice(planes[half:], 8 * count))


class Chooser(_Extension):
    """The side with a choice bit per transfer. In the base transfers it is the one with both keys."""

    def __init__(self, session: Session, peer: int) -> None:
        offered = base.offer(session, peer, BLOCK_BITS)
        super().__init__(session, peer, offered.transcript)
        roots = np.frombuffer(os.urandom(_TREES * KEY_BYTES), np.uint64).reshape(_TREES, 2)
        leaves, sums = trees.grow(self.device, self.tree_key, roots, DEPTH)
        keys = np.frombuffer(b"".join(b"".join(pair) for pair in offered.keys), np.uint64)
        self._seeds, tags = self._sealed(leaves)
        total = np.bitwise_xor.reduce(tags, axis=1)
        proof = hashlib.sha256(tags.tobytes()).digest()
        session.exchange({peer: [sums ^ keys.reshape(sums.shape), total, proof]}, {}, label="trees")

    def extend(self, choices: ByteArray) -> tuple[int, Blocks]:
        """Transfers for the bits of ``choices``, a whole number of bytes; one message.

        Returns:
            The number of this call, for hashing; one block per transfer.
        """
        call, self._calls = self._calls, self._calls + 1
        size = self._row_bytes(choices.size)
        bits = self.device.prf_fill(fresh_key(), 0, np.empty(size, np.uint8))
        bits[: choices.size] = choices
        sums, planes = self.device.ot_expand(self._seeds, call, size)
        corrections = sums ^ bits
        shown = self._hashes([bits.reshape(1, -1), planes], corrections, call)
        self._session.exchange({self._peer: [corrections, *shown]}, {}, label="transfers")
        return call, self._blocks(planes, choices.size)


class Offerer(_Extension):
    """The side with ``Delta``."""

    def __init__(self, session: Session, peer: int) -> None:
        paths = np.frombuffer(os.urandom(_TREES), np.uint8).astype(np.int64) % (1 << DEPTH)
        sides = trees.sides(paths, DEPTH)
        chosen = base.choose(session, peer, sides.reshape(-1).tolist())
        super().__init__(session, peer, chosen.transcript)
        sums = np.empty((_TREES, DEPTH, 2, 2), np.uint64)
        totals = np.empty((_TREES, _TAG_BYTES), np.uint8)
        proof = bytearray(hashlib.sha256().digest_size)
        session.exchange({}, {peer: [sums, totals, proof]}, label="trees")
        keys = np.frombuffer(b"".join(chosen.keys), np.uint64).reshape(_TREES, DEPTH, 2)
        wanted = np.take_along_axis(sums, sides[:, :, None, None].astype(np.int64), axis=2)[:, :, 0] ^ keys
        leaves = trees.grow_punctured(self.device, self.tree_key, wanted, paths)
        seeds, tags = self._sealed(leaves)
        every = np.arange(_TREES)
        tags[every, paths] = 0
        tags[every, paths] = totals ^ np.bitwise_xor.reduce(tags, axis=1)
        if not TREES.holds(hashlib.sha256(tags.tobytes()).digest() == bytes(proof)):
            raise TREES.error(f"party {session.party}")
        # from here on a leaf's place is what its stream is multiplied by
        self._seeds = np.ascontiguousarray(seeds[every[:, None], np.arange(1 << DEPTH)[None, :] ^ paths[:, None]])
        self._paths = paths
        self._row_bits = (paths[:, None] >> np.arange(DEPTH) & 1).astype(bool).reshape(-1)
        self._row_masks = np.where(self._row_bits, np.uint8(255), np.uint8(0))
        packed = np.packbits(self._row_bits, bitorder="little").view(np.uint64)
        self.delta = int(packed[0]), int(packed[1])

    def extend(self, count: int) -> tuple[int, Blocks]:
        """``8 * count`` transfers; one message.

        Raises:
            ProtocolAbort: what the chooser sent is not what somebody sends who has one choice bit per transfer.
        """
        call, self._calls = self._calls, self._calls + 1
        size = self._row_bytes(count)
        corrections = np.empty((_TREES, size), np.uint8)
        shown_bits, shown_planes = np.empty((1, _CHECKS), np.uint64), np.empty((BLOCK_BITS, _CHECKS), np.uint64)
        self._session.exchange({}, {self._peer: [corrections, shown_bits, shown_planes]}, label="transfers")
        _, planes = self.device.ot_expand(self._seeds, call, size)
        # every row takes as long, whatever bit of Delta it has: the other side sees how long this takes
        taken = np.empty(size, np.uint8)
        for row, mask in enumerate(self._row_masks):
            np.bitwise_and(corrections[row // DEPTH], mask, taken)
            np.bitwise_xor(planes[row], taken, planes[row])
        expected = np.where(self._row_bits[:, None], shown_planes ^ shown_bits, shown_planes)
        (found,) = self._hashes([planes], corrections, call)
        if not CHOICES.holds(np.array_equal(found, expected)):
            raise CHOICES.error(f"party {self._session.party}")
        return call, self._blocks(planes, count)
