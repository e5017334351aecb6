"""GF(2^64) and batch verification: every kernel variant against the definitions, bit by bit in numpy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from mpc_bridge.errors import KernelError
from mpc_bridge.kernels import Device, cpu_device, plane_stride
from mpc_bridge.kernels.gf import ABSENT, PARTS, TILE_LANES, Weights, piece_length, tile_count

KEY_A, KEY_B = bytes(range(16)), bytes(range(100, 116))
Words = np.ndarray


@pytest.fixture(params=[0, Device.AVX2, Device.ALL], ids=["portable", "avx2", "all"])
def device(request: pytest.FixtureRequest) -> Iterator[Device]:
    yield cpu_device(request.param)
    cpu_device(Device.ALL)  # the mask is process-wide


def elements(generator: np.random.Generator, *shape: int) -> Words:
    return generator.integers(0, 1 << 64, shape, dtype=np.uint64)


def times(a: Words, b: Words) -> Words:
    """The field's product from its definition, one bit of ``b`` after the other."""
    a, b = np.broadcast_arrays(a, b)
    a, total = a.copy(), np.zeros(a.shape, np.uint64)
    for i in range(64):
        total ^= a * (b >> np.uint64(i) & np.uint64(1))
        a = a << np.uint64(1) ^ np.uint64(0x1B) * (a >> np.uint64(63))
    return total


def add_up(x: Words, axis: int | tuple[int, ...] | None = None) -> Words:
    return np.asarray(np.bitwise_xor.reduce(x, axis=axis), np.uint64)


def reduce_int(polynomial: int) -> int:
    for degree in range(127, 63, -1):
        if polynomial >> degree & 1:
            polynomial ^= (1 << 64 | 0x1B) << (degree - 64)
    return polynomial


# ---- vectors ----


@pytest.mark.parametrize("n", [0, 1, 2, 3, 7, 8, 9, 65])
def test_mul_and_reduce(device: Device, n: int) -> None:
    generator = np.random.default_rng(n)
    a, b = elements(generator, n), elements(generator, n)
    expected = times(a, b)
    np.testing.assert_array_equal(device.gf_mul(a, b), expected)
    np.testing.assert_array_equal(device.gf_mul(a, b, a), expected)
    products = elements(generator, n, 2)
    wanted = [reduce_int(low | high << 64) for low, high in products.tolist()]
    assert device.gf_reduce(products).tolist() == wanted


def test_it_is_the_field(device: Device) -> None:
    generator = np.random.default_rng(5)
    a, b, c = elements(generator, 3, 100)
    mul = device.gf_mul
    np.testing.assert_array_equal(mul(mul(a, b), c), mul(a, mul(b, c)))
    np.testing.assert_array_equal(mul(a, b ^ c), mul(a, b) ^ mul(a, c))
    np.testing.assert_array_equal(mul(a, b), mul(b, a))
    np.testing.assert_array_equal(mul(a, np.ones_like(a)), a)
    power = norm = a
    for _ in range(63):
        power = mul(power, power)
        norm = mul(norm, power)
    np.testing.assert_array_equal(mul(power, power), a)  # a^(2^64) = a
    np.testing.assert_array_equal(norm, np.ones_like(a))  # the product of all a^(2^i) lies in GF(2) and is not zero
    top = np.array([1 << 63], np.uint64)
    assert mul(top, np.array([2], np.uint64)).tolist() == [0x1B]


@pytest.mark.parametrize("n", [0, 1, 511, 512, 513])
def test_zero_share_is_the_sum_of_two_streams(device: Device, n: int) -> None:
    z = elements(np.random.default_rng(n), n)
    streams = [device.prf_fill(key, 9, np.empty(n, np.uint64)) for key in (KEY_A, KEY_B)]
    expected = z ^ streams[0] ^ streams[1]
    np.testing.assert_array_equal(device.gf_add_zero_share(KEY_A, KEY_B, 9, z), expected)


def pieces(a: Words, arity: int) -> Words:
    length = piece_length(a.size, arity)
    return np.concatenate([a, np.zeros(length * arity - a.size, np.uint64)]).reshape(arity, length)


FOLDS = [(1, 2), (2, 2), (5, 4), (33, 32), (64, 4), (131, 4), (1000, 7), (2048, 32)]


@pytest.mark.parametrize(("length", "arity"), FOLDS)
def test_folds(device: Device, length: int, arity: int) -> None:
    generator = np.random.default_rng(length)
    a_own, a_next, b_own, b_next = elements(generator, 4, length)
    parts = [pieces(v, arity) for v in (a_own, a_next, b_own, b_next)]
    cross = times(parts[0][:, None], (parts[2] ^ parts[3])[None]) ^ times(parts[1][:, None], parts[2][None])
    np.testing.assert_array_equal(device.gf_fold_products(a_own, a_next, b_own, b_next, arity), add_up(cross, 2))
    u = elements(generator, arity)
    expected = add_up(times(u[:, None], parts[0]), 0)
    before = a_own.copy()
    np.testing.assert_array_equal(device.gf_fold(a_own, u), expected)
    np.testing.assert_array_equal(a_own, before)
    in_place = device.gf_fold(a_own, u, a_own)
    assert np.shares_memory(in_place, a_own)
    np.testing.assert_array_equal(in_place, expected)
    np.testing.assert_array_equal(a_own[expected.size :], before[expected.size :])


# ---- rows of records ----


def absent_now_and_then(generator: np.random.Generator, registers: np.ndarray) -> np.ndarray:
    return np.where(generator.random(registers.shape) < 0.3, np.int32(ABSENT), registers)


@dataclass
class Record:
    """A random record with junk past its lanes; ``words[register, tile, part]`` is what its lanes hold."""

    planes: np.ndarray
    words: Words
    lanes: int
    rows: np.ndarray
    group: np.ndarray
    z: np.ndarray
    weights: Weights

    @staticmethod
    def make(lanes: int, registers: int, rows: int, groups: int, first: int = 6) -> Record:
        generator = np.random.default_rng([lanes, registers, rows])
        planes = generator.integers(0, 256, (registers, plane_stride(lanes)), dtype=np.uint8)
        bits = np.zeros((registers, tile_count(lanes) * TILE_LANES), np.uint8)
        bits[:, :lanes] = np.unpackbits(planes, axis=1, bitorder="little")[:, :lanes]
        words = np.packbits(bits, axis=1, bitorder="little").view(np.uint64).reshape(registers, -1, PARTS)
        return Record(
            planes,
            words,
            lanes,
            absent_now_and_then(generator, generator.integers(0, registers, (rows, 4), dtype=np.int32)),
            generator.integers(0, groups, rows, dtype=np.int32),
            absent_now_and_then(generator, generator.integers(0, registers, (groups, 2), dtype=np.int32)),
            Weights(KEY_A, 77, first, groups),
        )

    def weight(self, device: Device) -> Words:
        """``[tiles, groups]``."""
        tiles, groups, first = tile_count(self.lanes), self.weights.groups, self.weights.first
        blocks = np.empty((tiles * groups + 3) // 2 * 2, np.uint64)
        device.prf_fill(self.weights.key, self.weights.domain, blocks, first // 2)
        return blocks[first % 2 :][: tiles * groups].reshape(tiles, groups)

    def operand(self, column: int) -> Words:
        """``[rows, tiles, parts]``."""
        return self.component(self.rows[:, column])

    def component(self, registers: np.ndarray) -> Words:
        """``[*registers, tiles, parts]``: zero where the component is absent."""
        present = (registers != ABSENT)[..., None, None]
        return np.where(present, self.words[registers], np.uint64(0))


# tiles: one partial of less than a word, one full, two with a ragged end, three; rows below, at and above a batch of 32
RECORDS = {
    "ragged": Record.make(37, 5, 3, 2),
    "one lane past": Record.make(4097, 6, 5, 3),
    "full": Record.make(4096, 9, 33, 33),
    "one row": Record.make(8190, 2, 1, 1, first=7),
    "many groups": Record.make(4160, 4, 32, 201, first=(1 << 64) - 403),
    "whole words": Record.make(2 * 4096 + 640, 3, 7, 2),
}


@pytest.fixture(params=RECORDS)
def record(request: pytest.FixtureRequest) -> Record:
    return RECORDS[request.param]


def test_first_fold(device: Device, record: Record) -> None:
    x_own, x_next, y_own, y_next = (record.operand(column) for column in range(4))
    weight = record.weight(device)[:, record.group].T  # [rows, tiles]
    both = y_own ^ y_next
    expected = np.zeros((PARTS, PARTS), np.uint64)
    for i in range(PARTS):
        cross = (x_own[..., i, None] & both) ^ (x_next[..., i, None] & y_own)
        expected[i] = add_up(times(cross, weight[..., None]), (0, 1))
    acc = device.gf_first_fold(record.planes, record.lanes, record.rows, record.group, record.weights)
    np.testing.assert_array_equal(device.gf_reduce(acc).reshape(PARTS, PARTS), expected)
    again = device.gf_first_fold(record.planes, record.lanes, record.rows, record.group, record.weights, acc)
    assert again is acc and not acc.any()  # added once more: everything cancels


def test_z_sum(device: Device, record: Record) -> None:
    nu = elements(np.random.default_rng(1), PARTS)
    words = record.component(record.z)  # [groups, 2, tiles, parts]
    inner = add_up(times(words, nu), 3)
    expected = add_up(times(inner, record.weight(device).T[:, None]), (0, 2))
    out = device.gf_z_sum(record.planes, record.lanes, record.z, record.weights, nu)
    np.testing.assert_array_equal(out, expected)
    assert not device.gf_z_sum(record.planes, record.lanes, record.z, record.weights, nu, out).any()


@pytest.mark.parametrize("factors", ["single", "shared"])
def test_lift(device: Device, record: Record, factors: str) -> None:
    u, v = elements(np.random.default_rng(2), 2, PARTS)
    weight = record.weight(device)[:, record.group]  # [tiles, rows]
    lane = np.uint64(1) << np.arange(64, dtype=np.uint64)

    def combined(column: int, factors: Words) -> Words:
        words = record.operand(column).transpose(1, 0, 2)  # [tiles, rows, parts]
        bits = words[..., None, :] >> np.arange(64, dtype=np.uint64)[:, None] & np.uint64(1)
        return add_up(bits * factors, 3)  # [tiles, rows, 64]

    scale = times(weight[..., None], lane)
    a = [times(combined(c, u), scale) for c in (0, 1)]
    b = [combined(c, v) for c in (2, 3)]
    if factors == "single":
        factor = np.arange(len(record.rows), dtype=np.int32)
    else:
        factor = np.cumsum(np.random.default_rng(3).integers(0, 2, len(record.rows)), dtype=np.int32)
        factor -= factor[0]
    first = np.flatnonzero(np.diff(factor, prepend=-1))
    last = np.append(first[1:], len(factor)) - 1
    expected = [np.bitwise_xor.reduceat(x, first, axis=1) for x in a] + [y[:, last] for y in b]
    out = device.gf_lift(record.planes, record.lanes, record.rows, record.group, factor, record.weights, u, v)
    for array, wanted in zip(out, expected, strict=True):
        np.testing.assert_array_equal(array, wanted.reshape(-1))


@pytest.mark.parametrize(("groups", "rows"), [(2, 70), (3, 200), (40, 129)])
def test_first_fold_of_groups_of_rows(device: Device, groups: int, rows: int) -> None:
    """Rows of one group next to each other, more of them than are multiplied at a time, and groups of one."""
    record = Record.make(5000, 20, rows, groups)
    record.group.sort()
    test_first_fold(device, record)


@pytest.mark.parametrize("lanes", [100, 4096 + 77])
def test_three_parties_verify_products(device: Device, lanes: int) -> None:
    """Shares of the claims add up to their definitions at each step of the protocol, down to one element."""
    generator = np.random.default_rng(lanes)
    count, stride = 5, plane_stride(lanes)
    shares = generator.integers(0, 256, (3, 3 * count, stride), dtype=np.uint8)  # [component, x y z of each row, bytes]
    plain = add_up_bytes(shares)
    shares[2, 2 * count :] ^= plain[2 * count :] ^ (plain[:count] & plain[count : 2 * count])  # z = x & y
    # party i holds components i and i + 1, register 2 r + c is component c of value r
    records = [np.stack([shares[p], shares[(p + 1) % 3]], axis=1).reshape(-1, stride) for p in range(3)]
    row = np.arange(count, dtype=np.int32)
    x, y, z = 2 * row, 2 * (row + count), 2 * (row + 2 * count)
    rows, results = np.stack([x, x + 1, y, y + 1], axis=1), np.stack([z, z + 1], axis=1)
    weights = Weights(KEY_B, 3, 11, count)
    nu, u, v = elements(generator, 3, PARTS)

    c = add_up(np.stack([device.gf_z_sum(r, lanes, results, weights, nu)[0] for r in records]))
    folds = [device.gf_reduce(device.gf_first_fold(r, lanes, rows, row, weights)) for r in records]
    cross = add_up(np.stack(folds), 0).reshape(PARTS, PARTS)
    assert add_up(times(nu, np.diagonal(cross))) == c
    c = add_up(times(times(u[:, None], v), cross))

    vectors = [device.gf_lift(r, lanes, rows, row, row, weights, u, v) for r in records]
    for arity in (4, 4, 32, 32):
        a, b = (add_up(np.stack([party[k] for party in vectors]), 0) for k in (0, 2))
        assert add_up(times(a, b)) == c
        for k in (0, 2):  # what a party holds as `next` is what the following one holds as `own`
            for p in range(3):
                np.testing.assert_array_equal(vectors[p][k + 1], vectors[(p + 1) % 3][k])
        cross = add_up(np.stack([device.gf_fold_products(*party, arity) for party in vectors]), 0)
        assert add_up(np.diagonal(cross)) == c
        u, v = elements(generator, 2, arity)
        c = add_up(times(times(u[:, None], v), cross))
        vectors = [
            (device.gf_fold(p[0], u), device.gf_fold(p[1], u), device.gf_fold(p[2], v), device.gf_fold(p[3], v))
            for p in vectors
        ]
    assert all(array.size == 1 for party in vectors for array in party)
    a, b = (add_up(np.stack([party[k] for party in vectors]), 0) for k in (0, 2))
    assert times(a, b)[0] == c


def add_up_bytes(shares: np.ndarray) -> np.ndarray:
    return np.asarray(np.bitwise_xor.reduce(shares, axis=0))


def test_bad_arguments_are_refused() -> None:
    device, r = cpu_device(), RECORDS["full"]
    one, u = np.ones(1, np.uint64), np.ones(PARTS, np.uint64)
    bad_rows, bad_group = r.rows.copy(), r.group.copy()
    bad_rows[-1, 3] = 9
    bad_group[-1] = 33
    negative = r.rows.copy()
    negative[0, 0] = -2
    each = np.arange(33, dtype=np.int32)
    overflow = Weights(KEY_A, 1, (1 << 64) - 33, 33)
    for call in (
        lambda: device.gf_mul(u, one),
        lambda: device.gf_reduce(one),
        lambda: device.gf_fold(u, one),
        lambda: device.gf_fold(u, np.ones(33, np.uint64)),
        lambda: device.gf_fold(u, np.ones(2, np.uint64), one),
        lambda: device.gf_fold_products(u, u, u, u, 33),
        lambda: device.gf_fold_products(u, u, u, one, 2),
        lambda: device.gf_first_fold(r.planes, r.lanes, bad_rows, r.group, r.weights),
        lambda: device.gf_first_fold(r.planes, r.lanes, negative, r.group, r.weights),
        lambda: device.gf_first_fold(r.planes, r.lanes, r.rows, bad_group, r.weights),
        lambda: device.gf_first_fold(r.planes, 4097, r.rows, r.group, r.weights),
        lambda: device.gf_first_fold(r.planes, r.lanes, r.rows, r.group, overflow),
        lambda: device.gf_first_fold(r.planes, r.lanes, r.rows, r.group[1:], r.weights),
        lambda: device.gf_first_fold(r.planes, r.lanes, r.rows, r.group, Weights(b"short", 1, 0, 33)),
        lambda: device.gf_first_fold(r.planes, r.lanes, r.rows, r.group, r.weights, one),
        lambda: device.gf_first_fold(r.planes, r.lanes, r.rows.astype(np.int64), r.group, r.weights),
        lambda: device.gf_first_fold(r.planes[:, ::2], r.lanes // 2, r.rows, r.group, r.weights),
        lambda: device.gf_z_sum(r.planes, r.lanes, r.z[1:], r.weights, u),
        lambda: device.gf_z_sum(r.planes, r.lanes, r.z, r.weights, one),
        lambda: device.gf_z_sum(r.planes, r.lanes, r.z + np.int32(10), r.weights, u),
        lambda: device.gf_lift(r.planes, r.lanes, r.rows, r.group, each, r.weights, u, one),
        lambda: device.gf_lift(r.planes, r.lanes, bad_rows, r.group, each, r.weights, u, u),
        lambda: device.gf_lift(r.planes, r.lanes, r.rows, r.group, each, r.weights, u, u, (u, u, u, u)),
        lambda: device.gf_lift(r.planes, r.lanes, r.rows, r.group, each[1:], r.weights, u, u),
        lambda: device.gf_lift(r.planes, r.lanes, r.rows, r.group, each + np.int32(1), r.weights, u, u),
        lambda: device.gf_lift(r.planes, r.lanes, r.rows, r.group, 2 * each, r.weights, u, u),
        lambda: device.gf_lift(r.planes, r.lanes, r.rows, r.group, each[::-1].copy(), r.weights, u, u),
    ):
        with pytest.raises(KernelError):
            call()
