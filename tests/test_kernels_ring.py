"""Ring arrays, sums and the device's own checks: every variant against numpy's uint64 arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from mpc_bridge.errors import KernelError
from mpc_bridge.kernels import Device, cpu_device, library
from mpc_bridge.lowering.program import Geometry
from tests.kernel_variants import EDGES, device, ring  # noqa: F401


@pytest.mark.parametrize("n", (0, *EDGES))
def test_elementwise(device: Device, n: int) -> None:
    rng = np.random.default_rng(n)
    x, y = ring(rng, n), ring(rng, n)
    a = int(rng.integers(0, 2**64, dtype=np.uint64))
    assert (device.ring_add(x, y) == x + y).all()
    assert (device.ring_sub(x, y) == x - y).all()
    assert (device.ring_add_constant(x, a) == x + np.uint64(a)).all()
    assert (device.ring_add_constant(x, -3) == x - np.uint64(3)).all()
    assert (device.ring_axpy(y.copy(), x, a) == y + np.uint64(a) * x).all()
    assert (device.ring_axpy(y.copy(), x, -1) == y - x).all()


def test_elementwise_in_place(device: Device) -> None:
    rng = np.random.default_rng(0)
    x, y = ring(rng, 100), ring(rng, 100)
    wanted = x + y
    assert device.ring_add(x, y, x) is x
    assert (x == wanted).all()


@pytest.mark.parametrize("n", (0, *EDGES))
def test_unmask_bits(device: Device, n: int) -> None:
    rng = np.random.default_rng(n)
    for width in (0, 1, 8):
        q, r = (rng.integers(0, 1 << width, n, dtype=np.uint8) for _ in range(2))
        bits = np.array([r >> b & 1 for b in range(width)], np.uint64).reshape(width, n)
        mine = ring(rng, width * n).reshape(width, n)
        summands = (device.ring_unmask_bits(q ^ r, masks, width, first) for masks, first in ((mine, True),
                                                                                           (bits - mine, False)))
        assert (sum(summands) == q).all()
    with pytest.raises(KernelError, match="masks"):
        device.ring_unmask_bits(np.zeros(3, np.uint8), np.zeros(5, np.uint64), 2, True)
    with pytest.raises(KernelError, match="size"):
        device.ring_unmask_bits(np.zeros(3, np.uint8), np.zeros(27, np.uint64), 9, True)


@pytest.mark.parametrize("channels", (1, 2, 3, 8, 17, 64, 65))
def test_channel_affine(device: Device, channels: int) -> None:
    rng = np.random.default_rng(channels)
    x, m, c = ring(rng, 5, 3, channels), ring(rng, channels), ring(rng, channels)
    assert (device.ring_channel_affine(x, m, c) == x * m + c).all()
    assert (device.ring_channel_affine(x, m) == x * m).all()
    assert (device.ring_channel_affine(x, m, c, x.copy()) == x * m + c).all()


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 7), (2, 49, 64), (1, 100, 1), (4, 1, 9), (2, 0, 3), (0, 3, 3)])
def test_axis_sum(device: Device, shape: tuple[int, int, int]) -> None:
    x = ring(np.random.default_rng(1), *shape)
    assert (device.axis_sum(x, *shape) == x.sum(axis=1, dtype=np.uint64)).all()


@pytest.mark.parametrize(
    ("window", "stride", "pad", "out"),
    [((2, 2), (2, 2), (0, 0), (3, 4)), ((3, 3), (1, 1), (1, 1), (7, 8)), ((7, 8), (1, 1), (0, 0), (1, 1)),
     ((3, 2), (2, 3), (2, 1), (5, 3))],
)
def test_window_sum(
    device: Device, window: tuple[int, int], stride: tuple[int, int], pad: tuple[int, int], out: tuple[int, int]
) -> None:
    geometry = Geometry(2, 7, 8, 9, *out, 9, window, stride, (1, 1), *pad)
    x = ring(np.random.default_rng(2), 2, 7, 8, 9)
    wanted = np.zeros((2, *out, 9), np.uint64)
    for oh in range(out[0]):
        for ow in range(out[1]):
            top, left = oh * stride[0] - pad[0], ow * stride[1] - pad[1]
            cells = x[:, max(top, 0) : max(top + window[0], 0), max(left, 0) : max(left + window[1], 0)]
            wanted[:, oh, ow] = cells.sum(axis=(1, 2), dtype=np.uint64)
    assert (device.window_sum(geometry, x) == wanted).all()


def test_buffers_round_trip() -> None:
    on = cpu_device()
    signed = np.array([[-1, 5], [-(2**63), 7]], np.int64)
    buffer = on.from_host(signed)
    assert buffer.dtype == np.uint64
    assert (on.to_host(buffer).view(np.int64) == signed).all()
    assert on.from_host(np.array([-1], np.int8))[0] == 2**64 - 1
    assert on.from_host(np.array([200], np.uint8)).dtype == np.uint8
    assert not on.zeros((2, 3)).any()
    assert on.empty(3, np.uint8).nbytes == 3
    with pytest.raises(KernelError, match="integers"):
        on.from_host(np.array([1.5]))


def test_arguments_are_checked() -> None:
    on = cpu_device()
    x, y = np.zeros(8, np.uint64), np.zeros(9, np.uint64)
    read_only = np.zeros(8, np.uint64)
    read_only.flags.writeable = False
    with pytest.raises(KernelError, match="8 are needed"):
        on.ring_add(x, y)
    with pytest.raises(KernelError, match="8 are needed"):
        on.ring_add(x, x, y)
    with pytest.raises(KernelError, match="contiguous"):
        on.ring_add(y[::2], y[::2])
    with pytest.raises(KernelError, match="writable"):
        on.ring_add(x, x, read_only)
    with pytest.raises(KernelError, match="uint64"):
        on.ring_add(x.view(np.int64), x)
    with pytest.raises(KernelError, match="does not fit"):
        on.ring_channel_affine(x, np.zeros(3, np.uint64))
    with pytest.raises(KernelError, match="3 are needed"):
        on.ring_channel_affine(x, np.zeros(3, np.uint64), np.zeros(2, np.uint64))
    with pytest.raises(KernelError, match="geometry"):
        on.window_sum(Geometry(1, 2, 2, 2, 1, 1, 2, (1, 1), (0, 1)), x)
    with pytest.raises(KernelError, match="geometry"):
        on.window_sum(Geometry(1, 2, 2, 2, 1, 1, 4), x)


def test_masks_narrow_the_levels_until_the_next_mask() -> None:
    everything = cpu_device(Device.ALL)
    assert everything.levels == everything.features
    assert cpu_device(0).levels == 0
    assert cpu_device().levels == 0
    assert cpu_device(Device.AVX512).levels == everything.features & Device.AVX512
    assert cpu_device(Device.ALL).levels == everything.features


def test_missing_and_wrong_libraries_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    load = library.load.__wrapped__
    monkeypatch.setattr(library, "LIBRARY", library.LIBRARY.with_name("nothing.so"))
    with pytest.raises(KernelError, match="rebuild"):
        load()
    monkeypatch.undo()
    header = library.HEADER.read_text(encoding="utf-8")

    def with_header(text: str) -> None:
        monkeypatch.setattr(library, "_declarations", lambda _: library_declarations(text))

    library_declarations = library._declarations
    with_header(header.replace("MPCB_ABI_VERSION = ", "MPCB_ABI_VERSION = 9"))
    with pytest.raises(KernelError, match="needs 9.*\n.*\nrebuild"):
        load()
    with_header(header.replace("mpcb_ring_add(", "mpcb_ring_added("))
    with pytest.raises(KernelError, match="has no mpcb_ring_added"):
        load()
    with_header("nothing")
    with pytest.raises(KernelError, match="damaged"):
        load()
