"""The device: typed calls into the native library on contiguous buffers.

Protocol code holds *buffers* and never looks inside them: on the CPU a buffer is a C-contiguous numpy array of
``uint64`` (ring elements, modulo 2**64) or ``uint8`` (bytes, packed bits, bit planes). A method takes buffers of any
shape, reads them in memory order and writes into ``out`` where the caller gives one, else into a new buffer; it returns
what it wrote. Types and sizes are checked here, everything else in C; both raise
:class:`~mpc_bridge.errors.KernelError`. The interpreter lock is released while a kernel runs. ``include/mpcb.h`` has
the exact definition of every function.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from mpc_bridge.errors import KernelError
from mpc_bridge.kernels.buffers import (
    WORD_MASK,
    ByteArray,
    IndexArray,
    RingArray,
    WindowGeometry,
    packed_bytes,
    size_error,
)
from mpc_bridge.kernels.gf import BinaryField
from mpc_bridge.kernels.macs import MacMachine
from mpc_bridge.kernels.ot import ObliviousTransfer
from mpc_bridge.kernels.planes import PlaneMachine
from mpc_bridge.kernels.wide import WideRing

Shape = int | tuple[int, ...]


class Device(PlaneMachine, MacMachine, WideRing, BinaryField, ObliviousTransfer):
    """The CPU. See the module for what buffers are.

    Args:
        mask: levels (:attr:`AVX2`, :attr:`AVX512`, :attr:`ALL`) that may be used from now on; None leaves the choice as
            it is, at first everything that this CPU has. **Process-wide**, as the library has one kernel table: tests
            use it to run every variant on one machine.

    Attributes:
        features: levels that this CPU can run.
        levels: levels in use when this device was made.
    """

    AVX2 = 1
    AVX512 = 2
    ALL = WORD_MASK

    name = "cpu"
    _mask: ClassVar[int] = ALL

    def __init__(self, mask: int | None = None) -> None:
        super().__init__()
        if mask is not None:
            Device._mask = mask & WORD_MASK
        self.features = int(self._lib.mpcb_cpu_features())
        self.levels = int(self._lib.mpcb_set_cpu_mask(Device._mask))

    # ---- buffers ----

    def empty(self, shape: Shape, dtype: npt.DTypeLike = np.uint64) -> npt.NDArray[Any]:
        """A buffer with undefined contents."""
        return np.empty(shape, dtype)

    def zeros(self, shape: Shape, dtype: npt.DTypeLike = np.uint64) -> npt.NDArray[Any]:
        """A buffer of zeros."""
        return np.zeros(shape, dtype)

    def from_host(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A new buffer: ``uint8`` stays, every other integer type becomes ring elements modulo 2**64."""
        if array.dtype == np.uint8:
            return np.array(array, order="C")
        if array.dtype.kind not in "iu":
            raise KernelError(f"a device buffer holds integers, not {array.dtype}")
        return np.array(array, order="C").astype(np.uint64)

    def to_host(self, buffer: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A copy that is an ordinary numpy array of the same type and shape."""
        return np.array(buffer)

    def concatenate(self, buffers: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """A new flat buffer with the contents of all, one after the other; they have one type."""
        return np.concatenate([buffer.reshape(-1) for buffer in buffers])

    def bytes_of(self, words: RingArray) -> ByteArray:
        """The same memory as bytes, flat."""
        return words.reshape(-1).view(np.uint8)

    def rows_of(self, data: ByteArray, columns: int) -> RingArray:
        """The same memory as rows of ``columns`` words."""
        return data.view(np.uint64).reshape(-1, columns)

    def words_of(self, data: ByteArray) -> RingArray:
        """A word for each byte."""
        return data.astype(np.uint64)

    def low_bytes(self, words: RingArray) -> ByteArray:
        """The lowest byte of each word."""
        return words.astype(np.uint8)

    # ---- pseudo-random function ----

    def prf_fill(self, key: bytes, domain: int, out: npt.NDArray[Any], first_block: int = 0) -> npt.NDArray[Any]:
        """Overwrite ``out`` (any buffer) with the key's stream of ``domain`` from 16-byte block ``first_block`` on."""
        status = self._lib.mpcb_prf_fill(self._key(key), domain, first_block, self._raw(out, True), out.nbytes)
        self._check(status, "prf_fill")
        return out

    def ring_add_zero_share(self, key_a: bytes, key_b: bytes, domain: int, z: RingArray) -> RingArray:
        """``z += F(key_a) - F(key_b)``, in place: one party's summand of a fresh sharing of zero."""
        status = self._lib.mpcb_ring_add_zero_share(
            self._key(key_a), self._key(key_b), domain, self._ring(z, True), z.size
        )
        self._check(status, "ring_add_zero_share")
        return z

    # ---- linear layers ----

    def conv2d_pack(self, geometry: WindowGeometry, w: Sequence[RingArray]) -> RingArray:
        """Weights ``[out_channels, kh, kw, in_channels]``, one array per term, as :meth:`conv2d` wants them."""
        g = self._geometry(geometry)
        elements = self._ffi.new("size_t *")
        self._check(self._lib.mpcb_conv2d_packed_size(g, len(w), elements), "conv2d_pack")
        size = geometry.out_channels * geometry.kernel[0] * geometry.kernel[1] * geometry.in_channels
        packed = np.empty(elements[0], np.uint64)
        arrays = self._terms("conv2d_pack", "a weight array", w, size)
        self._check(self._lib.mpcb_conv2d_pack(g, len(w), arrays, self._ring(packed, True)), "conv2d_pack")
        return packed

    def conv2d(
        self,
        geometry: WindowGeometry,
        x: Sequence[RingArray],
        x_zero: Sequence[int],
        packed: RingArray,
        out: RingArray | None = None,
    ) -> RingArray:
        """``sum_t conv(x[t] - x_zero[t], w[t])`` over the valid cells, NHWC, all terms of ``packed`` in one pass."""
        g = self._geometry(geometry)
        elements = self._ffi.new("size_t *")
        self._check(self._lib.mpcb_conv2d_packed_size(g, len(x), elements), "conv2d")
        if packed.size != elements[0]:
            raise size_error("conv2d", "the packed weight array", packed.size, elements[0])
        arrays, zeros = self._images("conv2d", geometry, x, x_zero)
        z = self._image_out("conv2d", geometry, out)
        status = self._lib.mpcb_conv2d(g, len(x), arrays, zeros, self._ring(packed), self._ring(z, True))
        self._check(status, "conv2d")
        return z

    def depthwise2d(
        self,
        geometry: WindowGeometry,
        x: Sequence[RingArray],
        x_zero: Sequence[int],
        w: Sequence[RingArray],
        out: RingArray | None = None,
    ) -> RingArray:
        """:meth:`conv2d` with one filter per output channel: ``w[t]`` is ``[kh, kw, out_channels]``, not packed."""
        g = self._geometry(geometry)
        if len(w) != len(x):
            raise size_error("depthwise2d", "the list of weight arrays", len(w), len(x))
        arrays, zeros = self._images("depthwise2d", geometry, x, x_zero)
        size = geometry.kernel[0] * geometry.kernel[1] * geometry.out_channels
        filters = self._terms("depthwise2d", "a weight array", w, size)
        z = self._image_out("depthwise2d", geometry, out)
        self._check(self._lib.mpcb_depthwise2d(g, len(x), arrays, zeros, filters, self._ring(z, True)), "depthwise2d")
        return z

    # ---- ring arrays; out may be an input ----

    def ring_channel_affine(
        self, x: RingArray, m: RingArray, c: RingArray | None = None, out: RingArray | None = None
    ) -> RingArray:
        """``x * m[channel] + c[channel]``; the channel is the fastest axis, of extent ``m.size`` (1: one for all)."""
        if c is not None and c.size != m.size:
            raise size_error("ring_channel_affine", "c", c.size, m.size)
        out = self._like("ring_channel_affine", x, out)
        constant = self._ffi.NULL if c is None else self._ring(c)
        status = self._lib.mpcb_ring_channel_affine(
            self._ring(x), self._ring(m), constant, m.size, x.size, self._ring(out, True)
        )
        self._check(status, "ring_channel_affine")
        return out

    def ring_axpy(self, y: RingArray, x: RingArray, a: int) -> RingArray:
        """``y += a * x``, in place."""
        if x.size != y.size:
            raise size_error("ring_axpy", "x", x.size, y.size)
        self._check(self._lib.mpcb_ring_axpy(self._ring(y, True), self._ring(x), a & WORD_MASK, y.size), "ring_axpy")
        return y

    def ring_add(self, x: RingArray, y: RingArray, out: RingArray | None = None) -> RingArray:
        """``x + y``."""
        if x.size != y.size:
            raise size_error("ring_add", "y", y.size, x.size)
        out = self._like("ring_add", x, out)
        status = self._lib.mpcb_ring_add(self._ring(x), self._ring(y), self._ring(out, True), x.size)
        self._check(status, "ring_add")
        return out

    def ring_sub(self, x: RingArray, y: RingArray, out: RingArray | None = None) -> RingArray:
        """``x - y``."""
        if x.size != y.size:
            raise size_error("ring_sub", "y", y.size, x.size)
        out = self._like("ring_sub", x, out)
        status = self._lib.mpcb_ring_sub(self._ring(x), self._ring(y), self._ring(out, True), x.size)
        self._check(status, "ring_sub")
        return out

    def ring_add_constant(self, x: RingArray, a: int, out: RingArray | None = None) -> RingArray:
        """``x + a``."""
        out = self._like("ring_add_constant", x, out)
        status = self._lib.mpcb_ring_add_constant(self._ring(x), a & WORD_MASK, self._ring(out, True), x.size)
        self._check(status, "ring_add_constant")
        return out

    def window_sum(self, geometry: WindowGeometry, x: RingArray, out: RingArray | None = None) -> RingArray:
        """Sum of each window's cells inside the image, per channel, NHWC."""
        g = self._geometry(geometry)
        size = geometry.batch * geometry.in_height * geometry.in_width * geometry.in_channels
        if x.size != size:
            raise size_error("window_sum", "x", x.size, size)
        z = self._image_out("window_sum", geometry, out)
        self._check(self._lib.mpcb_window_sum(g, self._ring(x), self._ring(z, True)), "window_sum")
        return z

    def axis_sum(self, x: RingArray, outer: int, axis: int, inner: int, out: RingArray | None = None) -> RingArray:
        """Sum over the middle axis of ``[outer, axis, inner]``: ``[outer, inner]``."""
        if min(outer, axis, inner) < 0 or x.size != outer * axis * inner:
            raise size_error("axis_sum", "x", x.size, outer * axis * inner)
        if out is None:
            out = np.empty((outer, inner), np.uint64)
        elif out.size != outer * inner:
            raise size_error("axis_sum", "out", out.size, outer * inner)
        self._check(self._lib.mpcb_axis_sum(self._ring(x), outer, axis, inner, self._ring(out, True)), "axis_sum")
        return out

    def ring_unmask_bits(
        self, opened: ByteArray, masks: RingArray, width: int, add_opened: bool, out: RingArray | None = None
    ) -> RingArray:
        """One summand of q where ``opened = q ^ r`` is public: ``masks`` ``[width, n]`` shares the bits of r.

        The ``opened`` itself is added by one party. ``width`` is at most 8.
        """
        if masks.size != width * opened.size:
            raise size_error("ring_unmask_bits", "masks", masks.size, width * opened.size)
        if out is None:
            out = np.empty(opened.shape, np.uint64)
        elif out.size != opened.size:
            raise size_error("ring_unmask_bits", "out", out.size, opened.size)
        status = self._lib.mpcb_ring_unmask_bits(
            self._bytes(opened), self._ring(masks), width, add_opened, opened.size, self._ring(out, True)
        )
        self._check(status, "ring_unmask_bits")
        return out

    def gather_u64(self, src: RingArray, index: IndexArray, fill: int = 0, out: RingArray | None = None) -> RingArray:
        """``src[index]`` on the flat source; index -1 gives ``fill``, any other bad index raises."""
        if out is None:
            out = np.empty(index.shape, np.uint64)
        elif out.size != index.size:
            raise size_error("gather_u64", "out", out.size, index.size)
        status = self._lib.mpcb_gather_u64(
            self._ring(src), src.size, self._index(index), index.size, fill & WORD_MASK, self._ring(out, True)
        )
        self._check(status, "gather_u64")
        return out

    def gather_u8(self, src: ByteArray, index: IndexArray, fill: int = 0, out: ByteArray | None = None) -> ByteArray:
        """:meth:`gather_u64` on bytes."""
        if out is None:
            out = np.empty(index.shape, np.uint8)
        elif out.size != index.size:
            raise size_error("gather_u8", "out", out.size, index.size)
        status = self._lib.mpcb_gather_u8(
            self._bytes(src), src.size, self._index(index), index.size, fill & 0xFF, self._bytes(out, True)
        )
        self._check(status, "gather_u8")
        return out

    # ---- bits ----

    def pack_bits(self, x: RingArray, k: int, out: ByteArray | None = None) -> ByteArray:
        """Elements mod ``2**k`` (1 <= k <= 64) back to back, little-endian: :func:`packed_bytes` bytes."""
        size = packed_bytes(x.size, k)
        if out is None:
            out = np.empty(size, np.uint8)
        elif out.size != size:
            raise size_error("pack_bits", "out", out.size, size)
        self._check(self._lib.mpcb_pack_bits(self._ring(x), x.size, k, self._bytes(out, True)), "pack_bits")
        return out

    def unpack_bits(self, data: ByteArray, n: int, k: int, out: RingArray | None = None) -> RingArray:
        """The ``n`` elements that :meth:`pack_bits` packed."""
        if data.size != packed_bytes(n, k):
            raise size_error("unpack_bits", "data", data.size, packed_bytes(n, k))
        if out is None:
            out = np.empty(n, np.uint64)
        elif out.size != n:
            raise size_error("unpack_bits", "out", out.size, n)
        self._check(self._lib.mpcb_unpack_bits(self._bytes(data), n, k, self._ring(out, True)), "unpack_bits")
        return out

    def bits_xor(
        self, x: npt.NDArray[Any], y: npt.NDArray[Any], out: npt.NDArray[Any] | None = None
    ) -> npt.NDArray[Any]:
        """``x ^ y``, bit by bit, of two buffers of one type."""
        if out is None:
            out = np.empty(x.shape, x.dtype)
        if x.dtype != y.dtype or x.dtype != out.dtype:
            raise KernelError(f"bits_xor: buffers of one type are needed, not {x.dtype}, {y.dtype} and {out.dtype}")
        if not x.nbytes == y.nbytes == out.nbytes:
            raise size_error("bits_xor", "y or out", min(y.size, out.size), x.size)
        status = self._lib.mpcb_bytes_xor(self._raw(x), self._raw(y), self._raw(out, True), x.nbytes)
        self._check(status, "bits_xor")
        return out

    def bits_slice(self, x: RingArray, low: int, count: int, planes: ByteArray | None = None) -> ByteArray:
        """Bits ``low … low + count - 1`` of every element as planes ``[count, stride]``, zero past the last element."""
        planes = self._planes("bits_slice", x.size, count, planes)
        status = self._lib.mpcb_bits_slice(
            self._ring(x), x.size, low, count, self._bytes(planes, True), planes.shape[1]
        )
        self._check(status, "bits_slice")
        return planes

    def bits_unslice(self, planes: ByteArray, n: int, out: RingArray | None = None) -> RingArray:
        """``sum_b plane[b] << b`` for the first ``n`` elements of planes ``[count, stride]``."""
        self._planes("bits_unslice", n, planes.shape[0], planes)
        if out is None:
            out = np.empty(n, np.uint64)
        elif out.size != n:
            raise size_error("bits_unslice", "out", out.size, n)
        status = self._lib.mpcb_bits_unslice(
            self._bytes(planes), planes.shape[1], n, planes.shape[0], self._ring(out, True)
        )
        self._check(status, "bits_unslice")
        return out

    def bytes_slice(self, x: ByteArray, low: int, count: int, planes: ByteArray | None = None) -> ByteArray:
        """:meth:`bits_slice` of byte elements."""
        planes = self._planes("bytes_slice", x.size, count, planes)
        status = self._lib.mpcb_bytes_slice(
            self._bytes(x), x.size, low, count, self._bytes(planes, True), planes.shape[1]
        )
        self._check(status, "bytes_slice")
        return planes

    def bytes_unslice(self, planes: ByteArray, n: int, out: ByteArray | None = None) -> ByteArray:
        """:meth:`bits_unslice` into byte elements, from at most 8 planes."""
        self._planes("bytes_unslice", n, planes.shape[0], planes)
        if out is None:
            out = np.empty(n, np.uint8)
        elif out.size != n:
            raise size_error("bytes_unslice", "out", out.size, n)
        status = self._lib.mpcb_bytes_unslice(
            self._bytes(planes), planes.shape[1], n, planes.shape[0], self._bytes(out, True)
        )
        self._check(status, "bytes_unslice")
        return out


def cpu_device(mask: int | None = None) -> Device:
    """The CPU device; ``mask`` as in :class:`Device`."""
    return Device(mask)
