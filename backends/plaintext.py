"""Every primitive in the clear: what each of the eight means, written to be read.

There is one party, it sees everything, and no guarantee is given; it is what secure backends are compared with.
Activations and indices are their stored integers. An accumulator is held as the integer in ``[-2**(k-1), 2**(k-1))``
that it is modulo ``2**k``, so a ring too small for a layer shows as a wrong answer here too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np

from mpc_bridge.backends.base import API_VERSION, IntArray, Share
from mpc_bridge.errors import MalformedFrame
from mpc_bridge.lowering.program import (
    Affine,
    Geometry,
    Input,
    Linear,
    Lookup,
    Maximum,
    Move,
    Output,
    Program,
    Requantize,
    Step,
    Value,
)
from mpc_bridge.runtime.executor import run_online, run_setup
from mpc_bridge.runtime.meter import CostMeter
from mpc_bridge.runtime.session import Session
from mpc_bridge.security import ThreatModel

_WIRE = np.dtype("<i8")


def signed(x: IntArray, bits: int) -> IntArray:
    """The integer in ``[-2**(bits-1), 2**(bits-1))`` that x is modulo ``2**bits``; ``1 <= bits <= 64``."""
    above = 64 - bits
    return np.asarray((x << above) >> above, np.int64)


def cells(image: IntArray, geometry: Geometry, fill: int) -> Iterator[tuple[int, int, IntArray]]:
    """Per kernel cell ``(row, column)``: what every output position sees there, ``[batch, out_h, out_w, channels]``.

    Args:
        image: ``[batch, in_h, in_w, channels]``.
        fill: seen outside the image.
    """
    g = geometry
    rows = (g.out_height - 1) * g.stride[0] + (g.kernel[0] - 1) * g.dilation[0] + 1
    columns = (g.out_width - 1) * g.stride[1] + (g.kernel[1] - 1) * g.dilation[1] + 1
    below, right = max(0, rows - g.pad_top - g.in_height), max(0, columns - g.pad_left - g.in_width)
    padded = np.pad(image, ((0, 0), (g.pad_top, below), (g.pad_left, right), (0, 0)), constant_values=fill)
    for row in range(g.kernel[0]):
        for column in range(g.kernel[1]):
            down, across = row * g.dilation[0], column * g.dilation[1]
            seen = padded[:, down :: g.stride[0], across :: g.stride[1]]
            yield row, column, seen[:, : g.out_height, : g.out_width]


class PlaintextEngine:
    """Evaluates a Program's steps on plain integers; a share is the value itself, int64 in the value's shape."""

    def __init__(self, program: Program) -> None:
        self._values = program.values

    def prepare(self, program: Program) -> None:
        """Nothing to prepare."""

    def load(self, step: Input, message: bytes) -> IntArray:
        """The owner's tensor."""
        return _decode(self._values[step.output], message)

    def weights(self, step: Linear, shares: Sequence[Share]) -> tuple[IntArray, IntArray | None]:
        """Weights less ``weight_zero`` and bias (None without one), modulo the step's ring."""
        weights, *bias = (signed(share, step.ring) for share in shares)
        g = step.geometry
        layout = (*g.kernel, g.out_channels) if step.depthwise else (g.out_channels, *g.kernel, g.in_channels)
        return weights.reshape(layout) - step.weight_zero, bias[0] if bias else None

    def finish_setup(self) -> None:
        """Nothing to check."""

    def linear(self, step: Linear, x: IntArray, packed: tuple[IntArray, IntArray | None]) -> IntArray:
        """``sum (x - zero) * w + bias``; cells outside the image contribute nothing."""
        g, (weights, bias) = step.geometry, packed
        image = x.reshape(g.batch, g.in_height, g.in_width, g.in_channels) - step.zero
        acc = np.zeros((g.batch, g.out_height, g.out_width, g.out_channels), np.int64)
        if step.depthwise:
            image = np.repeat(image, g.out_channels // g.in_channels, axis=3)
        for row, column, seen in cells(image, g, 0):
            acc += seen * weights[row, column] if step.depthwise else seen @ weights[:, row, column].T
        if bias is not None:
            acc += bias
        return signed(acc, step.ring).reshape(self._values[step.output].shape)

    def affine(self, step: Affine, inputs: Sequence[IntArray]) -> IntArray:
        """``sum_i coefficients[i] * pool(inputs[i]) + constant``."""
        total = np.full((), step.constant, np.int64)
        for coefficient, x in zip(step.coefficients, inputs, strict=True):
            if step.geometry is not None:
                g = step.geometry
                image = x.reshape(g.batch, g.in_height, g.in_width, g.in_channels)
                pooled = sum((seen for _, _, seen in cells(image, g, 0)), np.zeros((), np.int64))
            else:
                pooled = x.sum(axis=step.axes) if step.axes else x
            # one for all, or one per position along the last axis
            total = total + np.array(coefficient, np.int64) * pooled
        return signed(total, step.ring).reshape(self._values[step.output].shape)

    def requantize(self, step: Requantize, x: IntArray) -> IntArray:
        """``clamp((acc * m + c) >> s, 0, high)`` per channel, less one at chosen ties; then at least ``low``."""
        channels = x.reshape(-1, len(step.multiplier))
        z = signed(channels * np.array(step.multiplier, np.int64) + np.array(step.constant, np.int64), step.bits)
        q = z >> step.shift
        if step.tie is not None:
            changes = (z - np.array(step.tie.delta, np.int64)) >> step.shift != q
            chosen = q <= step.tie.zero if step.tie.parity is None else q % 2 == step.tie.parity
            q = q - (changes & chosen)
        clamped: IntArray = np.maximum(np.clip(q, 0, step.high), step.low)
        return clamped.reshape(self._values[step.output].shape)

    def maximum(self, step: Maximum, x: IntArray) -> IntArray:
        """The greatest of each window's cells inside the image, or the index of the first greatest; then the clamp."""
        shape = self._values[step.output].shape
        result: IntArray
        if step.argmax:
            result = np.argmax(x, axis=-1).astype(np.int64)
        elif step.geometry is not None:
            g = step.geometry
            image = x.reshape(g.batch, g.in_height, g.in_width, g.in_channels)
            # stored integers are not negative, so a 0 outside the image never wins
            result = np.zeros((), np.int64)
            for _, _, seen in cells(image, g, 0):
                result = np.maximum(result, seen)
        else:
            result = x
        clamped: IntArray = np.clip(result, step.low, step.high)
        return clamped.reshape(shape)

    def lookup(self, step: Lookup, x: IntArray) -> IntArray:
        """``table[x]``."""
        return np.array(step.table, np.int64)[x]

    def move(self, step: Move, inputs: Sequence[IntArray]) -> IntArray:
        """Elements of the inputs at :meth:`Move.index`, ``fill`` where that is -1."""
        source = np.concatenate([np.array([step.fill], np.int64), *(x.reshape(-1) for x in inputs)])
        index = step.index(tuple(x.shape for x in inputs)) + 1
        return source[index].reshape(self._values[step.output].shape)

    def output(self, step: Output, x: IntArray) -> bytes:
        """The value."""
        return x.astype(_WIRE).tobytes()


class PlaintextOwner:
    """One message to the one party: the tensor."""

    def share(self, value: Value, tensor: IntArray) -> Sequence[bytes]:
        """The tensor as little-endian int64."""
        return [np.ascontiguousarray(tensor, _WIRE).tobytes()]

    def share_size(self, value: Value, party: int) -> int:
        """8 bytes per element."""
        return value.size * _WIRE.itemsize

    def reconstruct(self, value: Value, messages: Sequence[bytes]) -> IntArray:
        """The tensor in the one message. Raises MalformedFrame when its size is wrong."""
        (message,) = messages
        return _decode(value, message)

    def output_size(self, value: Value, party: int) -> int:
        """8 bytes per element."""
        return value.size * _WIRE.itemsize


class PlaintextBackend:
    """No security at all: every party count but one, and every guarantee, is refused."""

    name: ClassVar[str] = "plaintext"
    api_version: ClassVar[int] = API_VERSION
    #: empty: it guarantees nothing, so it serves no threat model and has to be named to be used
    threat_models: ClassVar[tuple[ThreatModel, ...]] = ()
    devices: ClassVar[tuple[str, ...]] = ("cpu",)

    def parties(self) -> tuple[int, int]:
        """Exactly one."""
        return 1, 1

    def supports(self, step: Step, program: Program) -> str | None:
        """Everything."""
        return None

    def owner(self, parties: int) -> PlaintextOwner:
        """The owners' side."""
        return PlaintextOwner()

    def engine(self, session: Session, program: Program) -> PlaintextEngine:
        """The one party's side; it talks to nobody."""
        return PlaintextEngine(program)


backend = PlaintextBackend()


def execute(program: Program, tensors: Mapping[int, IntArray]) -> list[IntArray]:
    """Run a Program in this process.

    Args:
        tensors: stored integers by the source of each Input step.

    Returns:
        Stored integers per program output.
    """
    engine, owner, meter = PlaintextEngine(program), PlaintextOwner(), CostMeter()
    outputs: dict[int, IntArray] = {}

    def read(index: int, step: Input) -> bytes:
        return owner.share(program.values[step.output], tensors[step.source])[0]

    def write(index: int, step: Output, message: bytes) -> None:
        outputs[step.output] = owner.reconstruct(program.values[step.inputs[0]], [message])

    prepared = run_setup(engine, program, read, meter)
    with meter.phase("online"):
        run_online(engine, program, prepared, read, write, meter)
    return [outputs[position] for position in sorted(outputs)]


def _decode(value: Value, message: bytes) -> IntArray:
    if len(message) != value.size * _WIRE.itemsize:
        raise MalformedFrame(
            f"{len(message)} bytes where {value.size * _WIRE.itemsize} are due", where=f"value {value.name}"
        )
    return np.frombuffer(message, _WIRE).astype(np.int64).reshape(value.shape)
