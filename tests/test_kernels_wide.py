"""Arithmetic modulo 2**128: every kernel variant against Python integers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from mpc_bridge.errors import KernelError
from mpc_bridge.kernels import Device, cpu_device, packed_bytes
from mpc_bridge.kernels.wide import wide_from_int, wide_to_int
from mpc_bridge.lowering.program import Geometry

M = 1 << 128
KEY_A, KEY_B = bytes(range(16)), bytes(range(100, 116))


@pytest.fixture(params=[0, Device.AVX2, Device.ALL], ids=["portable", "avx2", "all"])
def device(request: pytest.FixtureRequest) -> Iterator[Device]:
    yield cpu_device(request.param)
    cpu_device(Device.ALL)  # the mask is process-wide


def rng(*seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def words(generator: np.random.Generator, *shape: int) -> np.ndarray:
    """Random 64-bit words, some of them at the ends of the range, where carries start."""
    x = generator.integers(0, 1 << 64, shape, dtype=np.uint64)
    x[generator.random(shape) < 0.2] = np.uint64((1 << 64) - 1)
    x[generator.random(shape) < 0.1] = 0
    return x


def wide(generator: np.random.Generator, *shape: int) -> np.ndarray:
    return words(generator, *shape, 2)


def numbers(buffer: np.ndarray) -> np.ndarray:
    """The elements of a wide buffer as Python integers, without the last axis."""
    pairs = buffer.astype(object)
    return np.asarray(pairs[..., 0] + (pairs[..., 1] << 64), object)


def assert_numbers(buffer: np.ndarray, expected: Any) -> None:
    np.testing.assert_array_equal(numbers(buffer), np.asarray(expected, object) % M)


def cells(g: Geometry, x: np.ndarray, zero: int) -> np.ndarray:
    """Python integers ``[b, oh, ow, kh, kw, ic]``: what each output pixel reads, 0 outside the image."""
    image = x.reshape(g.batch, g.in_height, g.in_width, g.in_channels).astype(object) - zero
    out = np.zeros((g.batch, g.out_height, g.out_width, *g.kernel, g.in_channels), object)
    for oh, ow, kh, kw in np.ndindex(g.out_height, g.out_width, *g.kernel):
        ih = oh * g.stride[0] - g.pad_top + kh * g.dilation[0]
        iw = ow * g.stride[1] - g.pad_left + kw * g.dilation[1]
        if 0 <= ih < g.in_height and 0 <= iw < g.in_width:
            out[:, oh, ow, kh, kw] = image[:, ih, iw]
    return out


GEOMETRIES = {
    "one": Geometry(1, 1, 1, 1, 1, 1, 1, (1, 1), (1, 1), (1, 1), 0, 0),
    "dense": Geometry(5, 1, 1, 37, 1, 1, 11, (1, 1), (1, 1), (1, 1), 0, 0),
    "padded": Geometry(2, 7, 5, 3, 7, 5, 5, (3, 3), (1, 1), (1, 1), 1, 1),
    "strided": Geometry(1, 9, 8, 2, 4, 3, 3, (3, 4), (2, 3), (1, 1), 0, 1),
    "dilated": Geometry(1, 9, 8, 2, 9, 8, 2, (3, 3), (1, 1), (2, 3), 2, 3),
    "deep": Geometry(1, 3, 6, 70, 3, 6, 2, (3, 3), (1, 1), (1, 1), 1, 1),  # 630 cells: more than two blocks
    "outside": Geometry(1, 2, 2, 1, 6, 6, 2, (2, 2), (1, 1), (1, 1), 4, 4),  # some windows see no cell at all
}


LIMBS = [52, 64]


def assert_limbs(buffer: np.ndarray, expected: Any, limb: int) -> None:
    np.testing.assert_array_equal(numbers(buffer), np.asarray(expected, object) % (1 << 2 * limb))


def layer_terms(name: str) -> tuple[list[int], np.random.Generator]:
    generator = rng(len(name), sum(name.encode()))
    return [-128, 0, (1 << 63) - 1][: 1 + len(name) % 3], generator


@pytest.mark.parametrize("limb", LIMBS)
@pytest.mark.parametrize("zeros", ["zeros", "no zeros"])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_conv2d(device: Device, name: str, zeros: str, limb: int) -> None:
    g = GEOMETRIES[name]
    x_zero, generator = layer_terms(name)
    if zeros == "no zeros":
        x_zero = [0] * len(x_zero)
    x = [words(generator, g.batch, g.in_height, g.in_width, g.in_channels) for _ in x_zero]
    w = [wide(generator, g.out_channels, *g.kernel, g.in_channels) for _ in x_zero]
    expected = sum(
        np.tensordot(cells(g, low_bits(a, limb), zero), numbers(b), axes=((3, 4, 5), (1, 2, 3)))
        for a, b, zero in zip(x, w, x_zero, strict=True)
    )
    packed_filters = device.wide_pack_filters(g, w, limb)
    z = device.wide_conv2d(g, x, x_zero, packed_filters, limb)
    assert z.shape == (g.batch, g.out_height, g.out_width, g.out_channels, 2)
    assert_limbs(z, expected, limb)
    again = np.full_like(z, 77)
    assert device.wide_conv2d(g, x, x_zero, packed_filters, limb, again) is again
    np.testing.assert_array_equal(again, z)


def low_bits(x: np.ndarray, limb: int) -> np.ndarray:
    return x & np.uint64((1 << limb) - 1)


@pytest.mark.parametrize("limb", LIMBS)
@pytest.mark.parametrize("multiplier", [1, 3])
@pytest.mark.parametrize("name", ["padded", "strided", "dilated", "outside", "deep"])
def test_depthwise2d(device: Device, name: str, multiplier: int, limb: int) -> None:
    dense = GEOMETRIES[name]
    g = Geometry(**{**dense.__dict__, "out_channels": dense.in_channels * multiplier})
    x_zero, generator = layer_terms(name)
    x = [words(generator, g.batch, g.in_height, g.in_width, g.in_channels) for _ in x_zero]
    w = [wide(generator, *g.kernel, g.out_channels) for _ in x_zero]
    expected = sum(
        (cells(g, low_bits(a, limb), zero).repeat(multiplier, axis=-1) * numbers(b)).sum(axis=(3, 4))
        for a, b, zero in zip(x, w, x_zero, strict=True)
    )
    packed_filters = device.wide_pack_filters(g, w, limb, depthwise=True)
    assert_limbs(device.wide_depthwise2d(g, x, x_zero, packed_filters, limb), expected, limb)


@pytest.mark.parametrize("depthwise", [False, True])
def test_sums_of_the_greatest_limbs_do_not_overflow(device: Device, depthwise: bool) -> None:
    """As many products as one sum may get, of factors with all bits set."""
    side = 45 if depthwise else 1
    g = Geometry(1, side, side, 1 if depthwise else 2048, 1, 1, 1, (side, side), (1, 1), (1, 1), 0, 0)
    ones = np.full(2048 if not depthwise else side * side, (1 << 64) - 1, np.uint64)
    w = np.full((ones.size, 2), (1 << 64) - 1, np.uint64)
    filters = device.wide_pack_filters(g, [w], 52, depthwise)
    z = (device.wide_depthwise2d if depthwise else device.wide_conv2d)(g, [ones], [0], filters, 52)
    assert wide_to_int(z) == ones.size * ((1 << 52) - 1) * ((1 << 104) - 1) % (1 << 104)


@pytest.mark.parametrize("name", GEOMETRIES)
@pytest.mark.parametrize("zero", [0, -128, -(1 << 63)])
@pytest.mark.parametrize("limb", LIMBS)
def test_linear_check_combines_what_the_layer_computes(device: Device, name: str, zero: int, limb: int) -> None:
    """``sum_i a_i b_i == c`` with a, b, c from the three combining kernels, and each against its definition."""
    g = GEOMETRIES[name]
    generator = rng(7, len(name))
    x, w = words(generator, g.batch, g.in_height, g.in_width, g.in_channels), wide(
        generator, g.out_channels, *g.kernel, g.in_channels
    )
    psi, chi = wide(generator, g.batch, g.out_height, g.out_width), wide(generator, g.out_channels)
    a, b = device.wide_combine_weights(chi, w), device.wide_combine_patches(g, psi, x, zero, limb)
    assert b.shape == (*g.kernel, g.in_channels, 2)
    assert_numbers(a, np.tensordot(numbers(chi), numbers(w).reshape(g.out_channels, -1), axes=1))
    assert_limbs(b, np.tensordot(numbers(psi), cells(g, low_bits(x, limb), zero), axes=3), limb)
    z = device.wide_conv2d(g, [x], [zero], device.wide_pack_filters(g, [w], limb), limb)
    c = device.wide_bilinear(psi, chi, z)
    assert wide_to_int(c) == int((numbers(psi)[..., None] * numbers(chi) * numbers(z)).sum()) % M
    assert (wide_to_int(device.wide_dot(a, b)) - wide_to_int(c)) % (1 << 2 * limb) == 0


@pytest.mark.parametrize("n", [0, 1, 2, 7, 255, 256, 257, 600])
def test_arrays(device: Device, n: int) -> None:
    generator = rng(n)
    x, y = wide(generator, n), wide(generator, n)
    a, b = numbers(x), numbers(y)
    assert_numbers(device.wide_add(x, y), a + b)
    assert_numbers(device.wide_sub(x, y), a - b)
    assert_numbers(device.wide_mul(x, y), a * b)
    assert wide_to_int(device.wide_dot(x, y)) == sum(a * b) % M
    for m in (0, -1, 3 << 70, (1 << 64) + 1):
        assert_numbers(device.wide_scale(x, m), a * m)
    for s in (0, 1, 63, 64, 65, 127):
        assert_numbers(device.wide_shift_left(x, s), a << s)
    for out in (x.copy(), y.copy()):
        first, second = (out, y) if np.array_equal(out, x) else (x, out)
        assert device.wide_sub(first, second, out) is out
        assert_numbers(out, a - b)


@pytest.mark.parametrize(("channels", "rows"), [(1, 5), (3, 1), (7, 33)])
def test_add_channel(device: Device, channels: int, rows: int) -> None:
    generator = rng(channels)
    z, b = wide(generator, rows, channels), wide(generator, channels)
    expected = numbers(z) + numbers(b)
    assert_numbers(device.wide_add_channel(z, b), expected)


@pytest.mark.parametrize("n", [0, 1, 255, 256, 257])
def test_zero_share_is_the_difference_of_two_streams(device: Device, n: int) -> None:
    z = wide(rng(n), n)
    streams = [device.prf_fill(key, 9, np.empty((n, 2), np.uint64)) for key in (KEY_A, KEY_B)]
    expected = numbers(z) + numbers(streams[0]) - numbers(streams[1])
    assert_numbers(device.wide_add_zero_share(KEY_A, KEY_B, 9, z), expected)


def packed(values: np.ndarray, bits: int) -> bytes:
    total = sum((int(value) % (1 << bits)) << (i * bits) for i, value in enumerate(values))
    return total.to_bytes(packed_bytes(len(values), bits), "little")


@pytest.mark.parametrize("n", [0, 1, 2, 3, 29])
def test_packing_at_every_width(device: Device, n: int) -> None:
    x = wide(rng(n), n)
    for bits in range(1, 129):
        data = device.wide_pack(x, bits)
        assert data.tobytes() == packed(numbers(x), bits)
        assert_numbers(device.wide_unpack(data, n, bits), numbers(x) % (1 << bits))


def test_words_in_and_out(device: Device) -> None:
    x = words(rng(3), 4, 5)
    element = device.wide_from_ring(x)
    assert element.shape == (4, 5, 2)
    assert_numbers(element, x.astype(object))
    y = wide(rng(4), 4, 5)
    for k in (1, 48, 63, 64):
        low = device.wide_low(y, k)
        assert low.shape == (4, 5)
        np.testing.assert_array_equal(low.astype(object), numbers(y) % (1 << k))
    assert wide_to_int(wide_from_int(-5)) == M - 5


def test_bad_arguments_are_refused() -> None:
    device = cpu_device()
    x, g = wide(rng(1), 6), GEOMETRIES["padded"]
    image, filters = np.zeros(210, np.uint64), device.wide_pack_filters(g, [np.zeros(9 * 30, np.uint64)], 52)
    for call in (
        lambda: device.wide_add(x, wide(rng(1), 5)),
        lambda: device.wide_mul(x, x, np.empty(11, np.uint64)),
        lambda: device.wide_dot(x, np.empty(11, np.uint64)),
        lambda: device.wide_low(np.empty(3, np.uint64), 5),
        lambda: device.wide_low(x, 0),
        lambda: device.wide_low(x, 65),
        lambda: device.wide_shift_left(x, 128),
        lambda: device.wide_pack(x, 0),
        lambda: device.wide_pack(x, 129),
        lambda: device.wide_pack(x, 9, np.empty(3, np.uint8)),
        lambda: device.wide_unpack(np.empty(3, np.uint8), 6, 9),
        lambda: device.wide_add_channel(x, wide(rng(1), 4)),
        lambda: device.wide_add_zero_share(KEY_A, b"short", 1, x),
        lambda: device.wide_combine_weights(wide(rng(1), 4), x),
        lambda: device.wide_combine_patches(g, x, image, 0, 52),
        lambda: device.wide_combine_patches(g, wide(rng(1), 70), image, 0, 53),
        lambda: device.wide_bilinear(x, x, x),
        lambda: device.wide_pack_filters(g, [np.zeros(9 * 15, np.uint64)], 52),
        lambda: device.wide_pack_filters(g, [np.zeros(9 * 30, np.uint64)], 51),
        lambda: device.wide_pack_filters(g, [np.zeros(9 * 10, np.uint64)], 52, True),  # 5 filters on 3 channels
        lambda: device.wide_conv2d(g, [image], [0], filters[1:], 52),
        lambda: device.wide_conv2d(g, [image], [0], filters, 60),
        lambda: device.wide_conv2d(g, [image], [1 << 63], filters, 52),
        lambda: device.wide_conv2d(g, [image], [], filters, 52),
        lambda: device.wide_conv2d(g, [image[1:]], [0], filters, 52),
        lambda: device.wide_depthwise2d(g, [image], [0], filters, 52),
        lambda: device.wide_add(x.astype(np.int64), x),
        lambda: device.wide_add(x.reshape(-1)[::-1], x),
    ):
        with pytest.raises(KernelError):
            call()
