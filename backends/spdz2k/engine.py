"""The eight primitives over values with MACs: what is local in the shared engine, on 128-bit elements and MAC words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mpc_bridge.backends.sharing.engine import SharingEngine, is_row
from mpc_bridge.backends.sharing.maximum import window_index
from mpc_bridge.backends.sharing.shares import DeviceBuffer, RingShare, SharedTensor
from mpc_bridge.backends.spdz2k.protocol import Spdz2k
from mpc_bridge.lowering.program import Affine, Input, Program


class Spdz2kEngine(SharingEngine):
    """One party's evaluator (``backends.base.Engine``, ``PreparedEngine`` and ``MaskingEngine``)."""

    def __init__(self, protocol: Spdz2k, program: Program) -> None:
        super().__init__(protocol, program)
        self._spdz2k = protocol
        self._arithmetic = protocol.arithmetic

    def preprocess(self) -> None:
        """Once per sample."""
        self._spdz2k.preprocess()

    def mask(self, step: Input) -> bytes:
        """For the owner of the step's value, before its message is read."""
        return self._spdz2k.mask(self._values[step.output])

    def affine(self, step: Affine, inputs: Sequence[SharedTensor]) -> SharedTensor:
        value, arithmetic = self._values[step.output], self._arithmetic
        total = arithmetic.zeros(value.size, step.ring)
        for position, (coefficient, x) in enumerate(zip(step.coefficients, inputs, strict=True)):
            factors = (coefficient,) if isinstance(coefficient, int) else coefficient
            if is_row(step, x.shape, value):
                row = arithmetic.affine(self._ring(x), factors, [0] * len(factors))
                for target, addend in zip(total.components, row.components, strict=True):
                    self._device.wide_add_channel(target, addend)
            else:
                pooled = RingShare(self._pool(step, position, x, value.shape), value.size, step.ring)
                arithmetic.add(total, arithmetic.affine(pooled, factors, [0] * len(factors)))
        return SharedTensor(value.shape, arithmetic.plus(total, step.constant))

    def _pool(self, step: Affine, position: int, x: SharedTensor, shape: tuple[int, ...]) -> tuple[DeviceBuffer, ...]:
        share, geometry = self._ring(x), step.geometry
        if geometry is None and not step.axes:
            return super()._pool(step, position, x, shape)

        def cells() -> npt.NDArray[np.int64]:
            """``[cells of a sum, sums]`` positions, -1 outside the image."""
            if geometry is not None:
                return window_index(geometry).T
            kept = [axis for axis in range(len(x.shape)) if axis not in step.axes]
            order = np.arange(share.size, dtype=np.int64).reshape(x.shape).transpose(*kept, *step.axes)
            return order.reshape(int(np.prod(shape, dtype=np.int64)), -1).T

        index = self._index(step.output, cells)
        ones = self._arithmetic.row([1] * index.shape[0])
        return tuple(self._device.wide_combine_weights(ones, moved).reshape(-1, 2)
                     for moved in self._gather([share.components], index.reshape(-1), 0))

    def _plus(self, x: RingShare, constant: int) -> RingShare:
        return self._arithmetic.plus(x, constant)

    def _gather(
        self, inputs: Sequence[tuple[DeviceBuffer, ...]], index: npt.NDArray[np.int64], fill: int
    ) -> tuple[DeviceBuffer, ...]:
        if inputs[0][0].ndim == 2:
            return self._gather_wide(inputs, index, fill)
        delta = self._arithmetic.source.keys.delta
        result = []
        for component in range(len(inputs[0])):
            source = self._device.concatenate([x[component] for x in inputs])
            target = self._device.empty(index.size, source.dtype)
            if component == 0:
                own = fill if self._arithmetic.first else 0
            else:
                own = delta if fill >> component - 1 & 1 else 0
            gather = self._device.gather_u8 if source.dtype == np.uint8 else self._device.gather_u64
            result.append(gather(source, index, own, target))
        return tuple(result)

    def _gather_wide(
        self, inputs: Sequence[tuple[DeviceBuffer, ...]], index: npt.NDArray[np.int64], fill: int
    ) -> tuple[DeviceBuffer, ...]:
        """The filling goes behind the elements, where -1 then points."""
        device, result = self._device, []
        size = sum(len(x[0]) for x in inputs)
        words = 2 * np.where(index < 0, size, index).reshape(-1, 1) + np.arange(2)
        for component, unit in enumerate(self._arithmetic.ones()):
            filling = self._arithmetic.row([fill * unit])
            source = device.concatenate([*(x[component] for x in inputs), filling])
            result.append(device.gather_u64(source, np.ascontiguousarray(words)).reshape(-1, 2))
        return tuple(result)

    def _constants(self, numbers: npt.NDArray[np.uint64], width: int) -> tuple[DeviceBuffer, ...]:
        delta = self._arithmetic.source.keys.delta
        own = numbers if self._arithmetic.first else np.zeros_like(numbers)
        macs = [np.where(numbers >> np.uint64(bit) & np.uint64(1) == 1, np.uint64(delta), np.uint64(0))
                for bit in range(width)]
        return tuple(self._device.from_host(component) for component in (own, *macs))
