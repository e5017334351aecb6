"""The eight primitives over any linear secret-sharing protocol.

Everything local is done component by component on the device; everything that talks is the protocol's. A value is
kept in the forms that the program says its consumers need: a ring sharing, its eight bits, or both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mpc_bridge.backends.sharing.circuit import Circuit
from mpc_bridge.backends.sharing.compare import clamp_circuit
from mpc_bridge.backends.sharing.lookup import lookup_circuit
from mpc_bridge.backends.sharing.maximum import Candidates, tournament, tournament_circuits, window_index
from mpc_bridge.backends.sharing.planes import PlaneSink, PlaneSource
from mpc_bridge.backends.sharing.protocol import SharingProtocol, TwoSided
from mpc_bridge.backends.sharing.requantize import (
    WIDTH,
    RequantizeShape,
    TieShape,
    requantize_circuit,
    to_ring_circuit,
)
from mpc_bridge.backends.sharing.shares import BitShare, DeviceBuffer, IndexShare, RingShare, SharedTensor
from mpc_bridge.lowering.program import (
    Affine,
    Input,
    Linear,
    Lookup,
    Maximum,
    Move,
    Output,
    Program,
    Requantize,
    Value,
)

_TOP = (1 << WIDTH) - 1


def requantize_shape(step: Requantize, value: Value) -> RequantizeShape:
    """The public shape of a requantise step's circuit."""
    tie = None if step.tie is None else TieShape(step.tie.bit, step.tie.zero, step.tie.parity)
    return RequantizeShape(step.bits, step.shift, step.low, step.high, tie, value.ring, value.bits)


def is_row(step: Affine, shape: tuple[int, ...], output: Value) -> bool:
    """Whether an operand is one row along the output's last axis, the same at every position: a bias."""
    if step.geometry is not None or step.axes or not output.shape or not shape:
        return False
    channels = output.shape[-1]
    return shape[-1] == channels == int(np.prod(shape, dtype=np.int64)) < output.size


class SharingEngine:
    """One party's evaluator of Programs (``backends.base.Engine``)."""

    def __init__(self, protocol: SharingProtocol, program: Program) -> None:
        self._protocol = protocol
        self._device = protocol.device
        self._values = program.values
        self._indices: dict[tuple[int, int], npt.NDArray[np.int64]] = {}

    def prepare(self, program: Program) -> None:
        """Keys, and every circuit of the program compiled."""
        self._protocol.setup()
        two_sided: list[TwoSided] = []
        plain: list[Circuit] = []
        for step in program.steps:
            value = program.values[step.output] if not isinstance(step, Output) else None
            if isinstance(step, Requantize) and value is not None:
                circuit = requantize_circuit(requantize_shape(step, value))
                two_sided.append(TwoSided(circuit, value.size, step.output))
            elif isinstance(step, (Lookup, Maximum)) and value is not None:
                if isinstance(step, Lookup):
                    plain.append(lookup_circuit(step.table))
                else:
                    plain += tournament_circuits(step, program.values[step.inputs[0]])
                if value.ring:
                    two_sided.append(TwoSided(to_ring_circuit(value.ring, WIDTH), value.size, step.output))
        self._protocol.warm(two_sided, list(dict.fromkeys(plain)))

    @property
    def soundness_bits(self) -> float | None:
        """As the protocol counts it."""
        return self._protocol.soundness_bits

    # Primitives -----------------------------------------------------------------------------------------------------

    def load(self, step: Input, message: bytes) -> SharedTensor:
        value = self._values[step.output]
        ring, bits = self._protocol.load(value, message)
        return SharedTensor(value.shape, ring, bits)

    def weights(self, step: Linear, shares: Sequence[SharedTensor]) -> Any:
        bias = self._ring(shares[1]) if len(shares) > 1 else None
        return self._protocol.pack(step, self._plus(self._ring(shares[0]), -step.weight_zero), bias)

    def finish_setup(self) -> None:
        """What the protocol checks before the first inference."""
        self._protocol.finish_setup()

    def linear(self, step: Linear, x: SharedTensor, packed: Any) -> SharedTensor:
        return SharedTensor(self._values[step.output].shape, self._protocol.product(step, self._ring(x), packed))

    def affine(self, step: Affine, inputs: Sequence[SharedTensor]) -> SharedTensor:
        value = self._values[step.output]
        row: tuple[DeviceBuffer, ...] | None = None
        total: tuple[DeviceBuffer, ...] | None = None
        for position, (coefficient, x) in enumerate(zip(step.coefficients, inputs, strict=True)):
            if is_row(step, x.shape, value):
                row = self._accumulate(row, self._ring(x).components, coefficient)
            else:
                total = self._accumulate(total, self._pool(step, position, x, value.shape), coefficient)
        if total is None:
            total = self._zeros(value.size)
        if row is not None:
            ones = self._factors((1,) * value.shape[-1])
            for target, addend in zip(total, row, strict=True):
                self._device.ring_channel_affine(target, ones, addend, target)
        return SharedTensor(value.shape, self._plus(RingShare(total, value.size, step.ring), step.constant))

    def requantize(self, step: Requantize, x: SharedTensor) -> SharedTensor:
        value = self._values[step.output]
        ring, bits = self._protocol.requantize(step, requantize_shape(step, value), self._ring(x))
        return SharedTensor(value.shape, ring, bits)

    def maximum(self, step: Maximum, x: SharedTensor) -> SharedTensor:
        value = self._values[step.output]
        source = self._bits(x)
        if step.argmax:
            index = np.arange(source.size, dtype=np.int64).reshape(-1, x.shape[-1])
            width = max(1, (x.shape[-1] - 1).bit_length())
            numbers = np.tile(np.arange(index.shape[1], dtype=np.uint64), index.shape[0])
            shares = self._constants(numbers, width)
            winners = tournament(self._protocol, Candidates.numbered(self._protocol, source, index, shares), width)
            assert winners.numbers is not None
            return SharedTensor(value.shape, index=IndexShare(winners.numbers, value.size, width))
        geometry = step.geometry
        assert geometry is not None, "a maximum is over windows or an arg-max"
        cells = self._index(step.output, lambda: window_index(geometry))
        winners = tournament(self._protocol, Candidates.plain(self._protocol, source, cells), 0)
        bits = BitShare(winners.values, value.size)
        if step.low > 0 or step.high < _TOP:
            bits = self._circuit(clamp_circuit(WIDTH, step.low, step.high), bits)
        return self._with_ring(step.output, bits)

    def lookup(self, step: Lookup, x: SharedTensor) -> SharedTensor:
        return self._with_ring(step.output, self._circuit(lookup_circuit(step.table), self._bits(x)))

    def move(self, step: Move, inputs: Sequence[SharedTensor]) -> SharedTensor:
        value = self._values[step.output]
        if step.kind == "reshape":
            x = inputs[0]
            return SharedTensor(value.shape, x.ring, x.bits)
        index = self._index(step.output, lambda: step.index(tuple(x.shape for x in inputs)).reshape(-1))
        ring = bits = None
        if value.ring:
            shares = [self._ring(x) for x in inputs]
            ring = RingShare(self._gather([s.components for s in shares], index, step.fill), value.size, value.ring)
        if value.bits:
            bits = BitShare(self._gather([self._bits(x).components for x in inputs], index, step.fill), value.size)
        return SharedTensor(value.shape, ring, bits)

    def output(self, step: Output, x: SharedTensor) -> bytes:
        if x.index is not None:
            return self._protocol.reveal(x.index.components, max(WIDTH, x.index.width))
        value = self._values[step.inputs[0]]
        if value.kind == "accumulator":
            return self._protocol.reveal_ring(RingShare(self._ring(x).components, value.size, value.ring))
        return self._protocol.reveal(self._bits(x).components, WIDTH)

    # Helpers --------------------------------------------------------------------------------------------------------

    @staticmethod
    def _ring(x: SharedTensor) -> RingShare:
        if x.ring is None:
            raise TypeError("the program did not ask for this value's ring form")
        return x.ring

    @staticmethod
    def _bits(x: SharedTensor) -> BitShare:
        if x.bits is None:
            raise TypeError("the program did not ask for this value's bits")
        return x.bits

    def _zeros(self, size: int) -> tuple[DeviceBuffer, ...]:
        return tuple(self._device.zeros(size, np.uint64) for _ in range(self._protocol.width))

    def _plus(self, x: RingShare, constant: int) -> RingShare:
        """``x + constant``; x itself stays as it is."""
        if not constant or self._protocol.constant is None:
            return x
        components = list(x.components)
        taken = self._protocol.constant
        components[taken] = self._device.ring_add_constant(components[taken], constant % 2**64)
        return RingShare(tuple(components), x.size, x.width)

    def _factors(self, coefficient: int | tuple[int, ...]) -> DeviceBuffer:
        """One factor for all channels, or one for each."""
        factors = (coefficient,) if isinstance(coefficient, int) else coefficient
        return self._device.from_host(np.array([factor % 2**64 for factor in factors], np.uint64))

    def _accumulate(
        self,
        total: tuple[DeviceBuffer, ...] | None,
        components: tuple[DeviceBuffer, ...],
        coefficient: int | tuple[int, ...],
    ) -> tuple[DeviceBuffer, ...]:
        """``total + coefficient * components``, in total's buffers; a new array without a total."""
        if total is None:
            factors = self._factors(coefficient)
            return tuple(self._device.ring_channel_affine(c.reshape(-1), factors) for c in components)
        for target, component in zip(total, components, strict=True):
            if isinstance(coefficient, int):
                self._device.ring_axpy(target, component, coefficient % 2**64)
            else:
                scaled = self._device.ring_channel_affine(component.reshape(-1), self._factors(coefficient))
                self._device.ring_add(target, scaled, target)
        return total

    def _index(
        self, output: int, make: Callable[[], npt.NDArray[np.int64]], operand: int = 0
    ) -> npt.NDArray[np.int64]:
        """A public gather map, made once per step, which the value it makes names, and operand."""
        key = output, operand
        if key not in self._indices:
            self._indices[key] = np.ascontiguousarray(make())
        return self._indices[key]

    def _constants(self, numbers: npt.NDArray[np.uint64], width: int) -> tuple[DeviceBuffer, ...]:
        """Components of public ``width``-bit numbers, shared by XOR."""
        return tuple(
            self._device.from_host(numbers) if component == self._protocol.constant
            else self._device.zeros(numbers.size, np.uint64)
            for component in range(self._protocol.width)
        )

    def _gather(
        self, inputs: Sequence[tuple[DeviceBuffer, ...]], index: npt.NDArray[np.int64], fill: int
    ) -> tuple[DeviceBuffer, ...]:
        result = []
        for component in range(self._protocol.width):
            parts = [x[component] for x in inputs]
            source = parts[0] if len(parts) == 1 else self._device.concatenate(parts)
            target = self._device.empty(index.size, source.dtype)
            gather = self._device.gather_u8 if source.dtype == np.uint8 else self._device.gather_u64
            gather(source, index, fill if component == self._protocol.constant else 0, target)
            result.append(target)
        return tuple(result)

    def _pool(self, step: Affine, position: int, x: SharedTensor, shape: tuple[int, ...]) -> tuple[DeviceBuffer, ...]:
        """The input's components summed over windows or axes, or broadcast to the output's shape."""
        share = self._ring(x)
        size = int(np.prod(shape, dtype=np.int64))
        if step.geometry is not None:
            geometry = step.geometry
            return tuple(self._device.window_sum(geometry, c) for c in share.components)
        if step.axes:
            kept = [axis for axis in range(len(x.shape)) if axis not in step.axes]
            extent = int(np.prod([x.shape[axis] for axis in step.axes], dtype=np.int64))
            order = np.arange(share.size, dtype=np.int64).reshape(x.shape).transpose(*kept, *step.axes).reshape(-1)
            moved = self._gather([share.components], self._index(step.output, lambda: order), 0)
            return tuple(self._device.axis_sum(c, size, extent, 1) for c in moved)
        if x.shape == shape:
            return share.components
        source = np.arange(share.size, dtype=np.int64).reshape(x.shape)
        index = self._index(step.output, lambda: np.broadcast_to(source, shape).reshape(-1), position)
        return self._gather([share.components], index, 0)

    def _circuit(self, circuit: Circuit, x: BitShare) -> BitShare:
        (result,) = self._protocol.evaluate(circuit, [PlaneSource(x.components, WIDTH)], [PlaneSink(WIDTH)], x.size)
        return BitShare(result, x.size)

    def _with_ring(self, output: int, bits: BitShare) -> SharedTensor:
        value = self._values[output]
        ring = self._protocol.to_ring(bits, value.ring, output) if value.ring else None
        return SharedTensor(value.shape, ring, bits)
