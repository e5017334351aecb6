"""The MAC machine, its dealer, and what a MAC check sums up: against Python, on every kernel variant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from mpc_bridge.backends.spdz2k.compile import MacOp
from mpc_bridge.errors import KernelError
from mpc_bridge.kernels import Device, cpu_device
from mpc_bridge.kernels.wide import wide_from_int, wide_to_int

KEY, DOMAIN, DELTA = bytes(range(16)), 77, 0x8123456789ABCDEF
LANES = (1, 7, 63, 64, 65, 200)


@pytest.fixture(params=[0, Device.AVX2, Device.ALL], ids=["portable", "avx2", "all"])
def device(request: pytest.FixtureRequest) -> Iterator[Device]:
    yield cpu_device(request.param)
    cpu_device(Device.ALL)  # the mask is process-wide


def stream(device: Device, words: int, first: int = 0, key: bytes = KEY) -> np.ndarray:
    return device.prf_fill(key, DOMAIN, np.empty(first + words, np.uint64))[first:]


def pad(device: Device, lanes: int, number: int, key: bytes = KEY) -> np.ndarray:
    return stream(device, lanes, number * -(-lanes // 64) * 64, key)


def unpacked(plane: np.ndarray, lanes: int) -> np.ndarray:
    return np.unpackbits(plane, bitorder="little")[:lanes].astype(bool)


class Model:
    """The machine in numpy."""

    def __init__(self, device: Device, lanes: int, planes: list[np.ndarray], rows: list[np.ndarray], out: int) -> None:
        self.device, self.lanes = device, lanes
        self.planes = [unpacked(plane, lanes) for plane in planes]
        self.rows = rows
        self.words: dict[int, np.ndarray] = {}
        self.bits: dict[int, np.ndarray] = {}
        self.out = [np.zeros(lanes, np.uint64) for _ in range(out)]

    def run(self, code: np.ndarray) -> None:
        words, bits = self.words, self.bits
        for op, d, a, b in code.tolist():
            if op == MacOp.BIT_ONES:
                bits[d] = np.ones(self.lanes, bool)
            elif op == MacOp.BIT_LOAD:
                bits[d] = self.planes[b]
            elif op == MacOp.BIT_XOR:
                bits[d] = bits[a] ^ bits[b]
            elif op == MacOp.BIT_AND:
                bits[d] = bits[a] & bits[b]
            elif op == MacOp.BIT_NOT:
                bits[d] = ~bits[a]
            elif op == MacOp.ZERO:
                words[d] = np.zeros(self.lanes, np.uint64)
            elif op == MacOp.LOAD:
                words[d] = self.rows[b].copy()
            elif op == MacOp.PRF:
                words[d] = pad(self.device, self.lanes, b)
            elif op == MacOp.XOR:
                words[d] = words[a] ^ words[b]
            elif op == MacOp.XORAND:
                words[d] = words[d] ^ np.where(bits[b], words[a], np.uint64(0))
            elif op == MacOp.XORKEY:
                words[d] = words[d] ^ np.where(bits[b], np.uint64(DELTA), np.uint64(0))
            else:
                assert op == MacOp.STORE
                self.out[b] = words[a]


def random_code(rng: np.random.Generator, planes: int, rows: int, out: int) -> np.ndarray:
    """Registers 0..3 of both files are always set."""
    code = [(MacOp.BIT_LOAD, i, 0, i % planes) for i in range(4)] + [(MacOp.LOAD, i, 0, i % rows) for i in range(4)]
    for _ in range(150):
        d, a, b = (int(n) for n in rng.integers(0, 4, 3))
        op = MacOp(int(rng.integers(0, 11)))
        if op is MacOp.BIT_LOAD:
            b = int(rng.integers(0, planes))
        elif op is MacOp.LOAD:
            b = int(rng.integers(0, rows))
        elif op is MacOp.PRF:
            b = int(rng.integers(0, 9))
        code.append((op, d, a, b))
    code += [(MacOp.STORE, 0, i % 4, i) for i in range(out)]
    return np.array([[int(n) for n in row] for row in code], np.int32)


@pytest.mark.parametrize("lanes", LANES)
def test_random_code_does_what_the_definition_says(device: Device, lanes: int) -> None:
    rng = np.random.default_rng(lanes)
    planes = [rng.integers(0, 256, -(-lanes // 8), dtype=np.uint8) for _ in range(5)]
    rows = [rng.integers(0, 2**64, lanes, dtype=np.uint64) for _ in range(3)]
    code = random_code(rng, 5, 3, 6)
    model = Model(device, lanes, planes, rows, 6)
    model.run(code)
    out = np.zeros((6, lanes), np.uint64)
    device.macs_run(lanes, code, (4, 4), KEY, DOMAIN, DELTA, planes, rows, list(out))
    np.testing.assert_array_equal(out, np.stack(model.out))


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("parties", [0, 1, 4])
def test_a_dealers_rows_are_delta_times_bits_less_pads(device: Device, lanes: int, parties: int) -> None:
    rng = np.random.default_rng(lanes + parties)
    planes = rng.integers(0, 256, (5, 64 + -(-lanes // 8)), dtype=np.uint8)
    keys = [bytes(rng.integers(0, 256, 16, dtype=np.uint8)) for _ in range(parties)]
    found = device.macs_deal(planes, lanes, DELTA, b"".join(keys), DOMAIN)
    for number, row in enumerate(found):
        wanted = np.where(unpacked(planes[number], lanes), np.uint64(DELTA), np.uint64(0))
        for key in keys:
            wanted = wanted ^ pad(device, lanes, number, key)
        np.testing.assert_array_equal(row, wanted)


@pytest.mark.parametrize(
    "code",
    [(MacOp.BIT_LOAD, 0, 0, 1), (MacOp.BIT_LOAD, 1, 0, 0), (MacOp.BIT_XOR, 0, 1, 0), (MacOp.BIT_NOT, 0, -1, 0),
     (MacOp.LOAD, 0, 0, 1), (MacOp.LOAD, 1, 0, 0), (MacOp.PRF, 0, 0, -1), (MacOp.XOR, 0, 0, 1),
     (MacOp.XORAND, 0, 0, 1), (MacOp.XORKEY, 0, 0, 1), (MacOp.STORE, 0, 0, 1), (MacOp.STORE, 0, 1, 0),
     (MacOp.ZERO, 1, 0, 0), (MacOp.BIT_ONES, -1, 0, 0), (12, 0, 0, 0)],
)  # fmt: skip
def test_instructions_stay_inside(code: tuple[int, int, int, int]) -> None:
    plane, row = np.zeros(1, np.uint8), np.zeros(8, np.uint64)
    table = np.array([[int(n) for n in code]], np.int32)
    with pytest.raises(KernelError):
        cpu_device().macs_run(8, table, (1, 1), KEY, DOMAIN, DELTA, [plane], [row], [row.copy()])


def test_sizes_have_to_fit() -> None:
    device, row, plane = cpu_device(), np.zeros(8, np.uint64), np.zeros(1, np.uint8)
    code = np.zeros((1, 4), np.int32)

    def run(**changed: Any) -> None:
        arguments: dict[str, Any] = {"planes": [plane], "rows": [row], "out": [row.copy()], **changed}
        device.macs_run(8, arguments.pop("code", code), (1, 1), KEY, DOMAIN, DELTA, **arguments)

    run()
    for changed in ({"planes": [np.zeros(2, np.uint8)]}, {"rows": [row[:7]]}, {"out": [np.zeros(9, np.uint64)]},
                    {"code": code.astype(np.int64)}):
        with pytest.raises(KernelError):
            run(**changed)
    with pytest.raises(KernelError):
        device.macs_deal(np.zeros((2, 1), np.uint8), 9, DELTA, KEY, DOMAIN)
    with pytest.raises(KernelError):
        device.macs_deal(np.zeros((2, 1), np.uint8), 8, DELTA, KEY[:5], DOMAIN)
    with pytest.raises(KernelError):
        device.macs_deal(np.zeros((2, 1), np.uint8), 8, DELTA, KEY * 9, DOMAIN)


@pytest.mark.parametrize("size", [0, 1, 2, 7, 511, 512, 513, 1500])
@pytest.mark.parametrize("first", [0, 6])
def test_weighted_sums_over_the_field(device: Device, size: int, first: int) -> None:
    x = np.random.default_rng(size).integers(0, 2**64, size, dtype=np.uint64)
    products = device.gf_mul(x, np.ascontiguousarray(stream(device, size, first))) if size else x
    assert device.gf_weighted_sum(x, KEY, DOMAIN, first) == int(np.bitwise_xor.reduce(products, initial=0))
    with pytest.raises(KernelError):
        device.gf_weighted_sum(x, KEY, DOMAIN, 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_wide_channel_affine(device: Device, channels: int) -> None:
    rng = np.random.default_rng(channels)
    x, m, c = (rng.integers(0, 2**64, (n, 2), dtype=np.uint64) for n in (12, channels, channels))
    for constant in (None, c):
        found = device.wide_channel_affine(x, m, constant)
        for i in range(12):
            wanted = wide_to_int(x[i]) * wide_to_int(m[i % channels])
            wanted += 0 if constant is None else wide_to_int(c[i % channels])
            assert wide_to_int(found[i]) == wanted % 2**128
    with pytest.raises(KernelError):
        device.wide_channel_affine(x, np.zeros((5, 2), np.uint64))


@pytest.mark.parametrize("width", [1, 8, 43, 64])
@pytest.mark.parametrize("factor", [0, 1, 2**52 - 3])
def test_wide_unmasked_bits(device: Device, width: int, factor: int) -> None:
    rng = np.random.default_rng(width)
    values, masks = (rng.integers(0, 2**64, 9, dtype=np.uint64) >> np.uint64(64 - width) for _ in range(2))
    bits = [int(masks[i]) >> b & 1 for b in range(width) for i in range(9)]
    shared = np.stack([wide_from_int(bit * factor) for bit in bits])
    found = device.wide_unmask_bits(values ^ masks, shared, width, factor)
    assert [wide_to_int(x) for x in found] == [int(value) * factor % 2**128 for value in values]


def test_wide_halves_and_their_sum() -> None:
    device = cpu_device()
    x = np.random.default_rng(0).integers(0, 2**64, (5, 2), dtype=np.uint64)
    low, high = device.wide_halves(x)
    again = device.wide_add_high(device.wide_from_ring(low), high)
    np.testing.assert_array_equal(again, x)
