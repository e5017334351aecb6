"""GF(2^64) in the native library: what batch verification of boolean circuits computes.

An element is one ``uint64``, bit i the coefficient of ``X^i``, modulo ``X^64 + X^4 + X^3 + X + 1``. A *record* is the
plane buffer of one bit-plane program, of which the first ``lanes`` lanes count; a *row* names four registers of it:
``x_own``, ``x_next``, ``y_own``, ``y_next`` (:data:`ABSENT` for one that is zero in any case). Rows are verified in
tiles of :data:`TILE_LANES` lanes: 64 words (*parts*) of 64 lanes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mpc_bridge.errors import KernelError
from mpc_bridge.kernels.buffers import Arguments, ByteArray, RingArray, size_error

#: Words of a tile, so elements that a row has in it.
PARTS = 64
#: Lanes of a tile.
TILE_LANES = 64 * PARTS
#: In place of a register: this component is zero, whatever the operands.
ABSENT = -1

RegisterArray = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Weights:
    """Public weights: word ``first + tile * groups + group`` of the key's stream of ``domain``.

    Rows of one group share their weights. ``groups`` counts them; the words used end before ``first + tiles * groups``.
    """

    key: bytes
    domain: int
    first: int
    groups: int


def tile_count(lanes: int) -> int:
    """Tiles that ``lanes`` lanes fill, the last one perhaps in part."""
    return -(-lanes // TILE_LANES)


def piece_length(length: int, arity: int) -> int:
    """Elements of each of ``arity`` pieces of a vector, and of the vector after a fold."""
    return -(-length // arity)


class BinaryField(Arguments):
    """The part of a device that computes over GF(2^64)."""

    def __init__(self) -> None:
        super().__init__()
        self._register_type = self._ffi.typeof("int32_t[]")

    # ---- vectors ----

    def gf_mul(self, a: RingArray, b: RingArray, out: RingArray | None = None) -> RingArray:
        """``a * b``, element by element; ``out`` may be ``a`` or ``b``."""
        _need("gf_mul", "b", b, a.size)
        out = self._like("gf_mul", a, out)
        self._check(self._lib.mpcb_gf_mul(self._ring(a), self._ring(b), self._ring(out, True), a.size), "gf_mul")
        return out

    def gf_weighted_sum(self, x: RingArray, key: bytes, domain: int, first: int = 0) -> int:
        """``sum_i x[i] * F[first + i]``, F the words of the key's stream of ``domain``; ``first`` is even."""
        out = np.empty(1, np.uint64)
        status = self._lib.mpcb_gf_weighted_sum(
            self._ring(x), x.size, self._key(key), domain, first, self._ring(out, True)
        )
        self._check(status, "gf_weighted_sum")
        return int(out[0])

    def gf_reduce(self, products: RingArray) -> RingArray:
        """Elements from unreduced polynomials of two words each, low word first: half as many words."""
        if products.size % 2:
            raise KernelError(f"gf_reduce: a product has two words, not {products.size} words in all")
        out = np.empty(products.size // 2, np.uint64)
        self._check(self._lib.mpcb_gf_reduce(self._ring(products), out.size, self._ring(out, True)), "gf_reduce")
        return out

    def gf_add_zero_share(self, key_a: bytes, key_b: bytes, domain: int, z: RingArray) -> RingArray:
        """``z ^= F(key_a) ^ F(key_b)``, in place, one word of the streams of ``domain`` per element."""
        status = self._lib.mpcb_gf_add_zero_share(
            self._key(key_a), self._key(key_b), domain, self._ring(z, True), z.size
        )
        self._check(status, "gf_add_zero_share")
        return z

    # ---- folds of products of vectors ----

    def gf_fold_products(
        self, a_own: RingArray, a_next: RingArray, b_own: RingArray, b_next: RingArray, arity: int
    ) -> RingArray:
        """One party's cross terms ``[arity, arity]`` of the pieces of two shared vectors.

        ``out[i, k] = sum_j a_own[i, j] (b_own + b_next)[k, j] + a_next[i, j] b_own[k, j]`` with each vector cut into
        ``arity`` (2 to 32) pieces of :func:`piece_length` elements, zero past the end.
        """
        for what, array in (("a_next", a_next), ("b_own", b_own), ("b_next", b_next)):
            _need("gf_fold_products", what, array, a_own.size)
        out = np.empty((_arity("gf_fold_products", arity), arity), np.uint64)
        status = self._lib.mpcb_gf_fold_products(
            self._ring(a_own),
            self._ring(a_next),
            self._ring(b_own),
            self._ring(b_next),
            a_own.size,
            arity,
            self._ring(out, True),
        )
        self._check(status, "gf_fold_products")
        return out

    def gf_fold(self, a: RingArray, u: RingArray, out: RingArray | None = None) -> RingArray:
        """``out[j] = sum_i u[i] a[i, j]`` over the ``u.size`` (2 to 32) pieces of ``a``; zero past the end.

        ``out`` may be ``a`` or its first :func:`piece_length` elements: folding in place needs no second buffer.
        """
        length = piece_length(a.size, _arity("gf_fold", u.size))
        if out is None:
            out = np.empty(length, np.uint64)
        elif out.size < length:
            raise size_error("gf_fold", "out", out.size, length)
        status = self._lib.mpcb_gf_fold(self._ring(a), a.size, u.size, self._ring(u), self._ring(out, True))
        self._check(status, "gf_fold")
        return out.reshape(-1)[:length]

    # ---- rows of records ----

    def gf_first_fold(
        self,
        planes: ByteArray,
        lanes: int,
        rows: RegisterArray,
        group: RegisterArray,
        weights: Weights,
        acc: RingArray | None = None,
    ) -> RingArray:
        """Add one party's weighted cross terms of all pairs of parts to ``acc``, 64 x 64 unreduced products.

        ``acc[i, k] += sum over tiles and rows of weight * ((x_own_i & (y_own_k ^ y_next_k)) ^ (x_next_i & y_own_k))``.

        Args:
            planes: registers ``[registers, stride]``.
            rows: ``[rows, 4]``: the registers of ``x_own``, ``x_next``, ``y_own``, ``y_next``.
            group: ``[rows]``: which weight, below ``weights.groups``.
            acc: ``[64, 64, 2]``, in place; None for a new one of zeros.
        """
        if acc is None:
            acc = np.zeros((PARTS, PARTS, 2), np.uint64)
        else:
            _need("gf_first_fold", "acc", acc, 2 * PARTS * PARTS)
        record = self._record("gf_first_fold", planes, lanes)
        operands = self._rows("gf_first_fold", rows, group)
        status = self._lib.mpcb_gf_first_fold(*record, *operands, *self._weights(weights), self._ring(acc, True))
        self._check(status, "gf_first_fold")
        return acc

    def gf_z_sum(
        self,
        planes: ByteArray,
        lanes: int,
        z: RegisterArray,
        weights: Weights,
        nu: RingArray,
        out: RingArray | None = None,
    ) -> RingArray:
        """Add ``sum over tiles and groups of weight * sum_i nu[i] * part i of z`` to ``out``, both components ``[2]``.

        Args:
            z: ``[groups, 2]``: the registers of ``z_own`` and ``z_next``.
            nu: 64 elements.
            out: in place; None for a new one of zeros.
        """
        if z.shape != (weights.groups, 2):
            raise KernelError(f"gf_z_sum: z has shape {z.shape}, ({weights.groups}, 2) is needed")
        _need("gf_z_sum", "nu", nu, PARTS)
        if out is None:
            out = np.zeros(2, np.uint64)
        else:
            _need("gf_z_sum", "out", out, 2)
        key, domain, first = self._weights(weights)[1:]
        status = self._lib.mpcb_gf_z_sum(
            *self._record("gf_z_sum", planes, lanes),
            self._registers("gf_z_sum", z),
            weights.groups,
            key,
            domain,
            first,
            self._ring(nu),
            self._ring(out, True),
        )
        self._check(status, "gf_z_sum")
        return out

    def gf_lift(
        self,
        planes: ByteArray,
        lanes: int,
        rows: RegisterArray,
        group: RegisterArray,
        factor: RegisterArray,
        weights: Weights,
        u: RingArray,
        v: RingArray,
        out: tuple[RingArray, RingArray, RingArray, RingArray] | None = None,
    ) -> tuple[RingArray, RingArray, RingArray, RingArray]:
        """The folded vectors ``(a_own, a_next, b_own, b_next)``, one element per factor and lane of a part.

        Rows with the same y are one product ``(sum weight * x) * y``. Element ``(tile * factors + f) * 64 + b`` is
        ``sum over the rows of f of weight * X^b * sum_i u[i] * (bit b of part i of x)`` for a, ``sum_k v[k] * (bit b
        of part k of y)`` for b.

        Args:
            factor: ``[rows]``: numbers the factors y, 0, 1, … in the order of the rows.
            out: ``tile_count(lanes) * factors * 64`` elements each.

        Other arguments as in :meth:`gf_first_fold`.
        """
        _need("gf_lift", "u", u, PARTS)
        _need("gf_lift", "v", v, PARTS)
        record, operands = self._record("gf_lift", planes, lanes), self._rows("gf_lift", rows, group)
        if factor.shape != group.shape:
            raise KernelError(f"gf_lift: factor has shape {factor.shape}, {group.shape} is needed")
        factors = int(factor[-1]) + 1 if factor.size else 0
        size = tile_count(lanes) * factors * 64
        if out is None:
            a, b = np.empty((2, size), np.uint64), np.empty((2, size), np.uint64)
            out = (a[0], a[1], b[0], b[1])
        for array in out:
            _need("gf_lift", "out", array, size)
        status = self._lib.mpcb_gf_lift(
            *record,
            *operands,
            *self._weights(weights),
            self._registers("gf_lift", factor),
            factors,
            self._ring(u),
            self._ring(v),
            *[self._ring(array, True) for array in out],
        )
        self._check(status, "gf_lift")
        return out

    # ---- checks ----

    def _record(self, name: str, planes: ByteArray, lanes: int) -> tuple[Any, int, int, int]:
        if planes.ndim != 2 or lanes < 0:
            raise KernelError(f"{name}: a record is [registers, stride] with lanes, not {planes.shape} with {lanes}")
        return self._bytes(planes), planes.shape[0], planes.shape[1], lanes

    def _registers(self, name: str, numbers: RegisterArray) -> Any:
        if numbers.dtype != np.int32:
            raise KernelError(f"{name}: registers and groups are int32, not {numbers.dtype}")
        try:
            return self._from_buffer(self._register_type, numbers)
        except (ValueError, BufferError) as error:
            raise KernelError(f"{name}: registers and groups are C-contiguous", where=str(error)) from error

    def _rows(self, name: str, rows: RegisterArray, group: RegisterArray) -> tuple[Any, Any, int]:
        if rows.ndim != 2 or rows.shape[1] != 4 or group.shape != (rows.shape[0],):
            raise KernelError(f"{name}: rows have shape {rows.shape}, groups {group.shape}; (n, 4) and (n,) are needed")
        return self._registers(name, rows), self._registers(name, group), rows.shape[0]

    def _weights(self, weights: Weights) -> tuple[int, bytes, int, int]:
        return weights.groups, self._key(weights.key), weights.domain, weights.first


def _need(name: str, what: str, array: RingArray, size: int) -> None:
    if array.size != size:
        raise size_error(name, what, array.size, size)


def _arity(name: str, arity: int) -> int:
    if not 2 <= arity <= 32:
        raise KernelError(f"{name}: arity {arity} is not in 2 ... 32")
    return arity
