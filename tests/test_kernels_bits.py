"""Bit planes, bit packing and gathers: every variant against numpy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from mpc_bridge.errors import KernelError
from mpc_bridge.kernels import ByteArray, Device, RingArray, cpu_device, packed_bytes, plane_stride
from tests.kernel_variants import EDGES, device, ring  # noqa: F401

RANGES = ((0, 64), (0, 1), (63, 1), (0, 8), (8, 8), (3, 9), (17, 40), (0, 48), (1, 63), (5, 0))


def bits_of(x: npt.NDArray[np.unsignedinteger], width: int) -> ByteArray:
    """``[n, width]``, low bit first."""
    return ((x.astype(np.uint64)[:, None] >> np.arange(width, dtype=np.uint64)) & np.uint64(1)).astype(np.uint8)


def planes_of(bits: ByteArray, stride: int) -> ByteArray:
    packed = np.packbits(bits.T, axis=1, bitorder="little")
    return np.pad(packed, ((0, 0), (0, stride - packed.shape[1])))


@pytest.mark.parametrize("n", (0, *EDGES))
def test_bits_slice_and_back(device: Device, n: int) -> None:
    x = ring(np.random.default_rng(n), n)
    bits = bits_of(x, 64)
    for low, count in RANGES:
        for stride in (plane_stride(n), plane_stride(n) + 128):
            planes = device.bits_slice(x, low, count, np.full((count, stride), 0xA5, np.uint8))
            assert (planes == planes_of(bits[:, low : low + count], stride)).all()
            wanted = (x >> np.uint64(low)) & np.uint64(2**count - 1)
            guarded = np.full(n + 1, 77, np.uint64)
            assert (device.bits_unslice(planes, n, guarded[:n]) == wanted).all()
            assert guarded[n] == 77


@pytest.mark.parametrize("n", (0, *EDGES))
def test_bytes_slice_and_back(device: Device, n: int) -> None:
    x = np.random.default_rng(n).integers(0, 256, n, dtype=np.uint8)
    bits = bits_of(x, 8)
    for low, count in ((0, 8), (0, 1), (7, 1), (2, 5), (3, 0)):
        stride = plane_stride(n) + 64
        planes = device.bytes_slice(x, low, count, np.full((count, stride), 0xA5, np.uint8))
        assert (planes == planes_of(bits[:, low : low + count], stride)).all()
        guarded = np.full(n + 1, 77, np.uint8)
        assert (device.bytes_unslice(planes, n, guarded[:n]) == (x >> low & (2**count - 1))).all()
        assert guarded[n] == 77


def test_unslice_ignores_junk_after_the_last_element(device: Device) -> None:
    planes = np.full((3, 64), 0xFF, np.uint8)
    assert (device.bits_unslice(planes, 5) == 7).all()
    assert (device.bytes_unslice(planes, 5) == 7).all()


@pytest.mark.parametrize("k", range(1, 65))
def test_pack_bits_and_back(device: Device, k: int) -> None:
    for n in (0, *EDGES):
        x = ring(np.random.default_rng(n), n)
        size = packed_bytes(n, k)
        guarded = np.full(size + 9, 0xA5, np.uint8)
        packed = device.pack_bits(x, k, guarded[:size])
        assert (packed == np.packbits(bits_of(x, 64)[:, :k].ravel(), bitorder="little")).all()
        assert (guarded[size:] == 0xA5).all()
        wanted = x & np.uint64(2**k - 1)
        assert (device.unpack_bits(packed.copy(), n, k) == wanted).all()


@pytest.mark.parametrize("dtype", [np.uint64, np.uint8])
def test_gather(dtype: type[np.uint64] | type[np.uint8]) -> None:
    on = cpu_device()
    rng = np.random.default_rng(1)
    src = rng.integers(0, 200, 100).astype(dtype)
    index = rng.integers(-1, 100, (7, 31))
    gather = on.gather_u64 if dtype is np.uint64 else on.gather_u8
    assert (gather(src, index, 9) == np.where(index < 0, dtype(9), src[index])).all()  # type: ignore[arg-type]
    assert gather(src, np.zeros((0,), np.int64), 9).size == 0  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [100, -2, 2**62, -(2**63)])
def test_gather_refuses_bad_indices_and_writes_nothing(bad: int) -> None:
    on = cpu_device()
    out = np.full(3, 5, np.uint64)
    with pytest.raises(KernelError, match="outside the source"):
        on.gather_u64(np.zeros(100, np.uint64), np.array([0, 1, bad]), 0, out)
    assert (out == 5).all()


def short(n: int) -> tuple[RingArray, ByteArray]:
    return np.zeros(n, np.uint64), np.zeros((8, plane_stride(n)), np.uint8)


def test_arguments_are_checked() -> None:
    on = cpu_device()
    x, planes = short(600)
    with pytest.raises(KernelError, match="does not fit"):
        on.bits_slice(x, 0, 8, np.zeros((8, 64), np.uint8))
    with pytest.raises(KernelError, match="does not fit"):
        on.bits_slice(x, 0, 8, np.zeros((8, 127), np.uint8))
    with pytest.raises(KernelError, match="out of its range"):
        on.bits_slice(x, 60, 8, planes)
    with pytest.raises(KernelError, match="out of its range"):
        on.bytes_slice(x.astype(np.uint8), 1, 8, planes)
    with pytest.raises(KernelError, match="shape"):
        on.bits_slice(x, 0, 7, planes)
    with pytest.raises(KernelError, match="does not fit"):
        on.bits_unslice(planes, 1100)
    for k in (0, 65):
        with pytest.raises(KernelError, match="out of its range"):
            on.pack_bits(x, k)
    with pytest.raises(KernelError, match="elements"):
        on.unpack_bits(np.zeros(10, np.uint8), 11, 8)
