"""Arithmetic modulo 2**128 in the native library: linear layers with spare high bits, and what their check combines.

A *wide* buffer holds two ``uint64`` words per element, low word first, whatever its shape: buffers made here end in an
axis of 2. Sizes named ``n`` count elements.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mpc_bridge.errors import KernelError
from mpc_bridge.kernels.buffers import (
    WORD_MASK,
    Arguments,
    ByteArray,
    RingArray,
    WindowGeometry,
    packed_bytes,
    size_error,
)

_LEAST_WORD, _MOST_WORD = -(1 << 63), (1 << 63) - 1


def wide_from_int(value: int) -> RingArray:
    """One element, ``value`` modulo ``2**128``, as a buffer of two words."""
    return np.array([value & WORD_MASK, (value >> 64) & WORD_MASK], np.uint64)


def wide_to_int(element: RingArray) -> int:
    """The number in ``[0, 2**128)`` that a buffer of one element holds."""
    low, high = element.reshape(2).tolist()
    return int(high) << 64 | int(low)


class WideRing(Arguments):
    """The part of a device that computes modulo 2**128."""

    # ---- linear layers ----

    def wide_pack_filters(
        self, geometry: WindowGeometry, w: Sequence[RingArray], limb: int, depthwise: bool = False
    ) -> RingArray:
        """Filters as :meth:`wide_conv2d` or, depthwise, :meth:`wide_depthwise2d` want them.

        Args:
            w: wide, one array per term: ``[oc, kh, kw, ic]``, depthwise ``[kh, kw, oc]``.
            limb: 52 or 64: weights count modulo ``2**(2 * limb)``.
        """
        size = geometry.out_channels * geometry.kernel[0] * geometry.kernel[1]
        size *= 1 if depthwise else geometry.in_channels
        filters = self._terms("wide_pack_filters", "a weight array (words)", w, 2 * size)
        packed = np.empty(self._packed_size("wide_pack_filters", geometry, len(w), depthwise), np.uint64)
        g = self._geometry(geometry)
        status = self._lib.mpcb_wide_pack_filters(g, len(w), depthwise, filters, limb, self._ring(packed, True))
        self._check(status, "wide_pack_filters")
        return packed

    def wide_conv2d(
        self,
        geometry: WindowGeometry,
        x: Sequence[RingArray],
        x_zero: Sequence[int],
        packed: RingArray,
        limb: int,
        out: RingArray | None = None,
    ) -> RingArray:
        """``sum_t conv(x[t] % 2**limb - x_zero[t], w[t])`` over the cells inside the image, ``[b, oh, ow, oc, 2]``.

        The result is wide, modulo ``2**(2 * limb)``.

        Args:
            x: NHWC, one word per element.
            x_zero: one signed 64-bit number per term.
            packed: all terms' filters from :meth:`wide_pack_filters` with the same ``limb``.
        """
        return self._wide_layer(self._lib.mpcb_wide_conv2d, False, geometry, x, x_zero, packed, limb, out)

    def wide_depthwise2d(
        self,
        geometry: WindowGeometry,
        x: Sequence[RingArray],
        x_zero: Sequence[int],
        packed: RingArray,
        limb: int,
        out: RingArray | None = None,
    ) -> RingArray:
        """:meth:`wide_conv2d` with one filter per output channel, packed ``depthwise``."""
        return self._wide_layer(self._lib.mpcb_wide_depthwise2d, True, geometry, x, x_zero, packed, limb, out)

    def wide_combine_weights(self, chi: RingArray, w: RingArray) -> RingArray:
        """``out[i] = sum_o chi[o] * w[o, i]``, wide ``[inputs, 2]``; ``w`` is wide ``[chi elements, inputs]``."""
        outputs = self._wide_count("wide_combine_weights", chi)
        count = self._wide_count("wide_combine_weights", w)
        if outputs == 0 or count % outputs:
            raise KernelError(f"wide_combine_weights: {count} weights are no whole rows of {outputs} outputs")
        out = np.empty((count // outputs, 2), np.uint64)
        status = self._lib.mpcb_wide_combine_weights(
            self._ring(chi), self._ring(w), outputs, count // outputs, self._ring(out, True)
        )
        self._check(status, "wide_combine_weights")
        return out

    def wide_combine_patches(
        self, geometry: WindowGeometry, psi: RingArray, x: RingArray, x_zero: int, limb: int
    ) -> RingArray:
        """``out[kh, kw, ic] = sum_p psi[p] * (x % 2**limb - x_zero)[cell of pixel p]``, wide ``[kh, kw, ic, 2]``.

        The result is known modulo ``2**(2 * limb)``. Cells outside the image contribute 0. The order is that of one
        dense filter and, as a depthwise layer has one input channel per filter, that of all of a depthwise layer's
        filters; ``geometry.out_channels`` has no effect.

        Args:
            psi: wide, one element per output pixel ``(b, oh, ow)``.
            x: NHWC, one word per element.
        """
        name = "wide_combine_patches"
        self._wide_need(name, "psi", psi, geometry.batch * geometry.out_height * geometry.out_width)
        size = geometry.batch * geometry.in_height * geometry.in_width * geometry.in_channels
        if x.size != size:
            raise size_error(name, "x", x.size, size)
        out = np.empty((*geometry.kernel, geometry.in_channels, 2), np.uint64)
        status = self._lib.mpcb_wide_combine_patches(
            self._geometry(geometry), self._ring(psi), self._ring(x), _signed(name, x_zero), limb, self._ring(out, True)
        )
        self._check(status, name)
        return out

    def wide_bilinear(self, psi: RingArray, chi: RingArray, z: RingArray) -> RingArray:
        """``sum_p psi[p] * sum_o chi[o] * z[p, o]``, one element ``[2]``; ``z`` is wide ``[pixels, outputs]``."""
        pixels = self._wide_count("wide_bilinear", psi)
        outputs = self._wide_count("wide_bilinear", chi)
        self._wide_need("wide_bilinear", "z", z, pixels * outputs)
        out = np.empty(2, np.uint64)
        status = self._lib.mpcb_wide_bilinear(
            self._ring(psi), self._ring(chi), self._ring(z), pixels, outputs, self._ring(out, True)
        )
        self._check(status, "wide_bilinear")
        return out

    # ---- arrays; out may be an input ----

    def wide_add_zero_share(self, key_a: bytes, key_b: bytes, domain: int, z: RingArray) -> RingArray:
        """``z += F(key_a) - F(key_b)``, in place, one 16-byte block of the streams of ``domain`` per element."""
        n = self._wide_count("wide_add_zero_share", z)
        status = self._lib.mpcb_wide_add_zero_share(self._key(key_a), self._key(key_b), domain, self._ring(z, True), n)
        self._check(status, "wide_add_zero_share")
        return z

    def wide_add_channel(self, z: RingArray, b: RingArray) -> RingArray:
        """``z[i] += b[i % channels]``, in place; ``b`` has one element per channel, the fastest axis."""
        n, channels = self._wide_count("wide_add_channel", z), self._wide_count("wide_add_channel", b)
        status = self._lib.mpcb_wide_add_channel(self._ring(z, True), self._ring(b), channels, n)
        self._check(status, "wide_add_channel")
        return z

    def wide_add(self, x: RingArray, y: RingArray, out: RingArray | None = None) -> RingArray:
        """``x + y``."""
        return self._wide_pairwise("wide_add", self._lib.mpcb_wide_add, x, y, out)

    def wide_sub(self, x: RingArray, y: RingArray, out: RingArray | None = None) -> RingArray:
        """``x - y``."""
        return self._wide_pairwise("wide_sub", self._lib.mpcb_wide_sub, x, y, out)

    def wide_mul(self, x: RingArray, y: RingArray, out: RingArray | None = None) -> RingArray:
        """``x * y``, element by element."""
        return self._wide_pairwise("wide_mul", self._lib.mpcb_wide_mul, x, y, out)

    def wide_scale(self, x: RingArray, m: int, out: RingArray | None = None) -> RingArray:
        """``x * m`` for one public integer, of any sign and size."""
        n = self._wide_count("wide_scale", x)
        out = self._like("wide_scale", x, out)
        status = self._lib.mpcb_wide_scale(
            self._ring(x), m & WORD_MASK, (m >> 64) & WORD_MASK, self._ring(out, True), n
        )
        self._check(status, "wide_scale")
        return out

    def wide_channel_affine(
        self, x: RingArray, m: RingArray, c: RingArray | None = None, out: RingArray | None = None
    ) -> RingArray:
        """``x * m[channel] + c[channel]``; the channel is the fastest axis, of ``m``'s number of elements."""
        name = "wide_channel_affine"
        n, channels = self._wide_count(name, x), self._wide_count(name, m)
        if c is not None:
            self._wide_need(name, "c", c, channels)
        out = self._like(name, x, out)
        constant = self._ffi.NULL if c is None else self._ring(c)
        status = self._lib.mpcb_wide_channel_affine(
            self._ring(x), self._ring(m), constant, channels, n, self._ring(out, True)
        )
        self._check(status, name)
        return out

    def wide_unmask_bits(self, opened: RingArray, masks: RingArray, width: int, factor: int) -> RingArray:
        """One summand ``[n, 2]`` of q where ``opened = q ^ r`` is public and ``masks`` share the bits of r.

        Args:
            opened: one word per element.
            masks: wide ``[width, n]``, the lowest bits first.
            factor: what one is worth here: opened values are added that many times.
        """
        self._wide_need("wide_unmask_bits", "masks", masks, width * opened.size)
        out = np.empty((opened.size, 2), np.uint64)
        status = self._lib.mpcb_wide_unmask_bits(
            self._ring(opened), self._ring(masks), width, self._ring(wide_from_int(factor)), opened.size,
            self._ring(out, True),
        )
        self._check(status, "wide_unmask_bits")
        return out

    def wide_dot(self, x: RingArray, y: RingArray) -> RingArray:
        """``sum_i x[i] * y[i]``, one element ``[2]``."""
        n = self._wide_count("wide_dot", x)
        self._wide_need("wide_dot", "y", y, n)
        out = np.empty(2, np.uint64)
        self._check(self._lib.mpcb_wide_dot(self._ring(x), self._ring(y), n, self._ring(out, True)), "wide_dot")
        return out

    def wide_shift_left(self, x: RingArray, s: int, out: RingArray | None = None) -> RingArray:
        """``x * 2**s``, 0 <= s <= 127."""
        n = self._wide_count("wide_shift_left", x)
        out = self._like("wide_shift_left", x, out)
        self._check(
            self._lib.mpcb_wide_shift_left(self._ring(x), _bits("wide_shift_left", s), self._ring(out, True), n),
            "wide_shift_left",
        )
        return out

    # ---- to and from words and bytes ----

    def wide_from_ring(self, x: RingArray) -> RingArray:
        """Words as elements below ``2**64``: one more axis, of extent 2."""
        out = np.empty((*x.shape, 2), np.uint64)
        self._check(self._lib.mpcb_wide_from_ring(self._ring(x), x.size, self._ring(out, True)), "wide_from_ring")
        return out

    def wide_halves(self, x: RingArray) -> tuple[RingArray, RingArray]:
        """The low and the high words of ``x`` ``[..., 2]``."""
        return np.ascontiguousarray(x[..., 0]), np.ascontiguousarray(x[..., 1])

    def wide_add_high(self, z: RingArray, words: RingArray) -> RingArray:
        """``z += 2**64 * words``, in place; ``z`` is ``[..., 2]``."""
        self._wide_need("wide_add_high", "z", z, words.size)
        z[..., 1] += words.reshape(z.shape[:-1])
        return z

    def wide_low(self, x: RingArray, k: int) -> RingArray:
        """``x`` modulo ``2**k``, 1 <= k <= 64, one word per element: the last axis of 2 goes where there is one."""
        n = self._wide_count("wide_low", x)
        out = np.empty(x.shape[:-1] if x.shape[-1:] == (2,) else n, np.uint64)
        self._check(self._lib.mpcb_wide_low(self._ring(x), n, _bits("wide_low", k), self._ring(out, True)), "wide_low")
        return out

    def wide_pack(self, x: RingArray, bits: int, out: ByteArray | None = None) -> ByteArray:
        """Elements mod ``2**bits`` (1 <= bits <= 128) back to back, little-endian: ``packed_bytes(n, bits)`` bytes."""
        n = self._wide_count("wide_pack", x)
        size = packed_bytes(n, _bits("wide_pack", bits))
        if out is None:
            out = np.empty(size, np.uint8)
        elif out.size != size:
            raise size_error("wide_pack", "out", out.size, size)
        self._check(self._lib.mpcb_wide_pack(self._ring(x), n, bits, self._bytes(out, True)), "wide_pack")
        return out

    def wide_unpack(self, data: ByteArray, n: int, bits: int, out: RingArray | None = None) -> RingArray:
        """The ``n`` elements ``[n, 2]`` that :meth:`wide_pack` packed."""
        size = packed_bytes(n, _bits("wide_unpack", bits))
        if data.size != size:
            raise size_error("wide_unpack", "data", data.size, size)
        if out is None:
            out = np.empty((n, 2), np.uint64)
        else:
            self._wide_need("wide_unpack", "out", out, n)
        self._check(self._lib.mpcb_wide_unpack(self._bytes(data), n, bits, self._ring(out, True)), "wide_unpack")
        return out

    # ---- checks ----

    def _wide_count(self, name: str, array: RingArray) -> int:
        if array.size % 2:
            raise KernelError(f"{name}: a wide buffer has two words per element, not {array.size} words")
        return array.size // 2

    def _wide_need(self, name: str, what: str, array: RingArray, n: int) -> None:
        if array.size != 2 * n:
            raise size_error(name, what + " (words)", array.size, 2 * n)

    def _wide_pairwise(self, name: str, call: Any, x: RingArray, y: RingArray, out: RingArray | None) -> RingArray:
        n = self._wide_count(name, x)
        self._wide_need(name, "y", y, n)
        out = self._like(name, x, out)
        self._check(call(self._ring(x), self._ring(y), self._ring(out, True), n), name)
        return out

    def _packed_size(self, name: str, geometry: WindowGeometry, terms: int, depthwise: bool) -> int:
        elements = self._ffi.new("size_t *")
        self._check(self._lib.mpcb_wide_packed_size(self._geometry(geometry), terms, depthwise, elements), name)
        return int(elements[0])

    def _wide_layer(
        self,
        call: Any,
        depthwise: bool,
        geometry: WindowGeometry,
        x: Sequence[RingArray],
        x_zero: Sequence[int],
        packed: RingArray,
        limb: int,
        out: RingArray | None,
    ) -> RingArray:
        name = "wide_depthwise2d" if depthwise else "wide_conv2d"
        if len(x_zero) != len(x):
            raise KernelError(f"{name}: {len(x)} inputs need as many zero points, not {len(x_zero)}")
        wanted = self._packed_size(name, geometry, len(x), depthwise)
        if packed.size != wanted:
            raise size_error(name, "the packed weight array", packed.size, wanted)
        size = geometry.batch * geometry.in_height * geometry.in_width * geometry.in_channels
        arrays = self._terms(name, "an input array", x, size)
        zeros = self._ffi.new("int64_t[]", [_signed(name, zero) for zero in x_zero])
        shape = (geometry.batch, geometry.out_height, geometry.out_width, geometry.out_channels, 2)
        if out is None:
            out = np.empty(shape, np.uint64)
        else:
            self._wide_need(name, "out", out, shape[0] * shape[1] * shape[2] * shape[3])
        g = self._geometry(geometry)
        self._check(call(g, len(x), arrays, zeros, self._ring(packed), limb, self._ring(out, True)), name)
        return out


def limb_bits(operand: int, result: int) -> int:
    """The limb to compute a linear layer with: activations known modulo ``2**operand``, results wanted modulo
    ``2**result``."""
    return 52 if operand <= 52 and result <= 104 else 64


def _signed(name: str, zero: int) -> int:
    if not _LEAST_WORD <= zero <= _MOST_WORD:
        raise KernelError(f"{name}: the zero point {zero} is no signed 64-bit number")
    return zero


def _bits(name: str, bits: int) -> int:
    if not 0 <= bits <= 128:
        raise KernelError(f"{name}: {bits} is no number of bits of a wide element")
    return bits
