"""Linear layers of two operands modulo 2^128, each of which may be any element."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mpc_bridge.backends.sharing.shares import DeviceBuffer
from mpc_bridge.kernels import Device
from mpc_bridge.lowering.program import Linear

#: Words as they are: every one of the 128 bits counts.
_LIMB = 64


class Filters:
    """Second operands of a linear step, ready for any number of :meth:`apply`.

    The native layers multiply one word by an element: ``x * w = x_low * w + 2^64 * (x_high * w_low)``, the second
    product modulo 2^64.
    """

    def __init__(self, device: Device, step: Linear, weights: Sequence[DeviceBuffer]) -> None:
        self._device, self._step = device, step
        wide = [w.reshape(-1, 2) for w in weights]
        self._wide = device.wide_pack_filters(step.geometry, wide, _LIMB, step.depthwise)
        low = [device.wide_halves(w)[0] for w in wide]
        self._low: Any = low if step.depthwise else device.conv2d_pack(step.geometry, low)

    def apply(self, x: Sequence[DeviceBuffer]) -> DeviceBuffer:
        """``sum_t layer(x[t], weights[t])``, ``[outputs, 2]``; cells outside the image contribute nothing."""
        g, device = self._step.geometry, self._device
        halves = [device.wide_halves(term.reshape(-1, 2)) for term in x]
        low, high = [pair[0] for pair in halves], [pair[1] for pair in halves]
        zero = [0] * len(x)
        if self._step.depthwise:
            z = device.wide_depthwise2d(g, low, zero, self._wide, _LIMB)
            above = device.depthwise2d(g, high, zero, self._low)
        else:
            z = device.wide_conv2d(g, low, zero, self._wide, _LIMB)
            above = device.conv2d(g, high, zero, self._low)
        return device.wide_add_high(z.reshape(-1, 2), above.reshape(-1))


def layer(device: Device, step: Linear, terms: Sequence[tuple[DeviceBuffer, DeviceBuffer]]) -> DeviceBuffer:
    """``sum layer(x, w)`` over terms ``(x, w)``, ``[outputs, 2]``."""
    return Filters(device, step, [w for _, w in terms]).apply([x for x, _ in terms])
