"""Dense and depthwise convolutions and matrix products: every variant against a plain sum in numpy."""

from __future__ import annotations

import numpy as np
import pytest

from mpc_bridge.errors import KernelError
from mpc_bridge.kernels import Device, RingArray, cpu_device
from mpc_bridge.lowering.program import Geometry
from tests.kernel_variants import device, ring  # noqa: F401


def oracle(g: Geometry, x: RingArray, zero: int, w: RingArray, depthwise: bool) -> RingArray:
    """The definition: for each kernel position, the shifted image times its weights; padding adds nothing."""
    z = np.zeros((g.batch, g.out_height, g.out_width, g.out_channels), np.uint64)
    for kh in range(g.kernel[0]):
        for kw in range(g.kernel[1]):
            for oh in range(g.out_height):
                ih = oh * g.stride[0] - g.pad_top + kh * g.dilation[0]
                for ow in range(g.out_width):
                    iw = ow * g.stride[1] - g.pad_left + kw * g.dilation[1]
                    if not (0 <= ih < g.in_height and 0 <= iw < g.in_width):
                        continue
                    cell = x[:, ih, iw] - np.uint64(zero)
                    if depthwise:
                        z[:, oh, ow] += np.repeat(cell, g.out_channels // g.in_channels, axis=1) * w[kh, kw]
                    else:
                        z[:, oh, ow] += (cell[:, None] * w[:, kh, kw]).sum(axis=2, dtype=np.uint64)
    return z


def run(on: Device, g: Geometry, terms: int, depthwise: bool, zero: bool = True) -> None:
    rng = np.random.default_rng(g.macs + terms)
    x = [ring(rng, g.batch, g.in_height, g.in_width, g.in_channels) for _ in range(terms)]
    zeros = [int(rng.integers(0, 2**63)) * (-1) ** t if zero and t != 1 else 0 for t in range(terms)]
    shape = (*g.kernel, g.out_channels) if depthwise else (g.out_channels, *g.kernel, g.in_channels)
    w = [ring(rng, *shape) for _ in range(terms)]
    size = g.batch * g.out_height * g.out_width * g.out_channels
    guarded = np.full(size + 16, 77, np.uint64)
    out = guarded[:size].reshape(g.batch, g.out_height, g.out_width, g.out_channels)
    if depthwise:
        z = on.depthwise2d(g, x, zeros, w, out)
    else:
        z = on.conv2d(g, x, zeros, on.conv2d_pack(g, w), out)
    wanted = sum(
        (oracle(g, x[t], zeros[t] % 2**64, w[t], depthwise) for t in range(terms)), np.zeros_like(out)
    )
    assert (z == wanted).all()
    assert (guarded[size:] == 77).all()


DENSE = {
    "3x3 same, odd sizes": Geometry(2, 7, 5, 3, 7, 5, 17, (3, 3), (1, 1), (1, 1), 1, 1),
    "3x3 stride 2, no padding": Geometry(1, 9, 11, 5, 4, 5, 8, (3, 3), (2, 2)),
    "3x5 dilated, several depth blocks": Geometry(1, 9, 11, 50, 5, 6, 33, (3, 5), (2, 2), (2, 2), 2, 4),
    "rows dilated only": Geometry(1, 12, 13, 3, 12, 13, 16, (3, 3), (1, 1), (2, 1), 2, 1),
    "windows wholly outside": Geometry(1, 4, 4, 30, 2, 2, 5, (4, 4), (3, 3), (1, 1), 3, 3),
    "fully connected": Geometry(1, 1, 1, 300, 1, 1, 10),
    "batched fully connected": Geometry(9, 1, 1, 129, 1, 1, 31),
    "1x1": Geometry(2, 9, 9, 7, 9, 9, 40),
    "1x1 stride 2": Geometry(1, 9, 9, 7, 5, 5, 16, (1, 1), (2, 2)),
    "more than one block of pixels and depth": Geometry(1, 10, 13, 130, 10, 13, 15),
}


@pytest.mark.parametrize("terms", [1, 2, 3])
@pytest.mark.parametrize("g", DENSE.values(), ids=DENSE.keys())
def test_conv2d(device: Device, g: Geometry, terms: int) -> None:
    run(device, g, terms, depthwise=False)
    run(device, g, terms, depthwise=False, zero=False)


@pytest.mark.parametrize("rows", range(1, 18))
def test_every_tile_height_and_panel_width(device: Device, rows: int) -> None:
    for columns in (1, 7, 8, 9, 15, 16, 17):
        run(device, Geometry(rows, 1, 1, 5, 1, 1, columns), 2, depthwise=False)


@pytest.mark.parametrize("terms", [1, 2])
@pytest.mark.parametrize("multiplier", [1, 2, 3])
@pytest.mark.parametrize("channels", [1, 3, 8, 13, 31, 33, 51])
def test_depthwise2d(device: Device, channels: int, multiplier: int, terms: int) -> None:
    out = channels * multiplier
    run(device, Geometry(2, 7, 5, channels, 4, 3, out, (3, 3), (2, 2), (1, 1), 1, 1), terms, depthwise=True)
    run(device, Geometry(1, 6, 6, channels, 6, 6, out, (3, 2), (1, 1), (2, 2), 2, 1), terms, depthwise=True)


def test_packing_is_the_same_at_every_level() -> None:
    g = DENSE["3x3 same, odd sizes"]
    w = [ring(np.random.default_rng(5), 17, 3, 3, 3)]
    packed = [cpu_device(mask).conv2d_pack(g, w) for mask in (0, Device.ALL)]
    assert (packed[0] == packed[1]).all()


def test_arguments_are_checked() -> None:
    on = cpu_device()
    g = Geometry(1, 4, 4, 2, 4, 4, 3)
    x, w = np.zeros((1, 4, 4, 2), np.uint64), np.zeros((3, 1, 1, 2), np.uint64)
    packed = on.conv2d_pack(g, [w])
    with pytest.raises(KernelError, match="weight array"):
        on.conv2d_pack(g, [w[:2]])
    with pytest.raises(KernelError, match="packed"):
        on.conv2d(g, [x, x], [0, 0], packed)
    with pytest.raises(KernelError, match="x_zero"):
        on.conv2d(g, [x], [0, 0], packed)
    with pytest.raises(KernelError, match="input array"):
        on.conv2d(g, [x[:, :3]], [0], packed)
    with pytest.raises(KernelError, match="out has"):
        on.conv2d(g, [x], [0], packed, np.zeros(5, np.uint64))
    with pytest.raises(KernelError, match="range"):
        on.conv2d(g, [], [], packed)
    with pytest.raises(KernelError, match="geometry"):
        on.depthwise2d(g, [x], [0], [np.zeros((1, 1, 3), np.uint64)])
    for broken in (
        Geometry(0, 4, 4, 2, 4, 4, 3),
        Geometry(1, 4, 4, 2, 4, 4, 3, (1, 1), (0, 1)),
        Geometry(1, 4, 4, 2, 4, 4, 3, (1, 1), (1, 1), (1, 1), -1),
        Geometry(1, 2**24, 2**24, 2, 4, 4, 3),
    ):
        with pytest.raises(KernelError, match="geometry"):
            on.conv2d_pack(broken, [w])
