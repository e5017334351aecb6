"""The conformance suite: what any backend must compute, primitive by primitive, ring by ring.

A plugin author runs it on their own backend::

    for case in conformance.cases():
        outputs = conformance.run(backend, case, devices)
        conformance.check(case, outputs)

Every case is a small Program with inputs; the expected outputs come from executing it in the clear (the plaintext
backend).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mpc_bridge.backends.base import HelpedBackend, PreparedEngine
from mpc_bridge.lowering.program import (
    Affine,
    Geometry,
    Input,
    Linear,
    Lookup,
    Maximum,
    Move,
    Output,
    Owner,
    Program,
    Requantize,
    Step,
    Tail,
    TieRule,
    Value,
)
from mpc_bridge.runtime.executor import run_online, run_setup
from mpc_bridge.runtime.session import Session
from mpc_bridge.testing.owners import Desk
from mpc_bridge.testing.parties import run_parties

if TYPE_CHECKING:
    from mpc_bridge.backends.base import Backend
    from mpc_bridge.kernels import Device

IntArray = npt.NDArray[np.int64]
#: Ring widths every primitive is tried in: bytes and odd ones, the greatest, and a small one.
RINGS = (24, 33, 48, 64)


@dataclass(frozen=True)
class Case:
    """A Program, and the stored integers of its inputs by value index."""

    name: str
    program: Program
    inputs: dict[int, IntArray]


@dataclass
class Builder:
    """Collects values and steps of one case."""

    rng: np.random.Generator
    values: list[Value] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    inputs: dict[int, IntArray] = field(default_factory=dict)

    def value(self, value: Value) -> int:
        self.values.append(value)
        return len(self.values) - 1

    def input(self, shape: tuple[int, ...], ring: int = 0, bits: bool = False, data: IntArray | None = None) -> int:
        index = self.value(Value(f"x{len(self.values)}", shape, "activation", 0, 255, ring, bits))
        return self._feed(index, "data", self.rng.integers(0, 256, shape) if data is None else data)

    def weight(self, shape: tuple[int, ...], ring: int, low: int, high: int) -> int:
        index = self.value(Value(f"w{len(self.values)}", shape, "weight", 0, high, ring, low=low))
        return self._feed(index, "model", self.rng.integers(low, high + 1, shape))

    def _feed(self, index: int, owner: Owner, data: IntArray) -> int:
        self.steps.append(Input(-1, "input", (), index, owner, index))
        self.inputs[index] = data.astype(np.int64).reshape(self.values[index].shape)
        return index

    def accumulator(self, shape: tuple[int, ...], ring: int) -> int:
        return self.value(Value(f"acc{len(self.values)}", shape, "accumulator", 0, 0, ring))

    def activation(self, shape: tuple[int, ...], ring: int = 0, bits: bool = True, high: int = 255) -> int:
        return self.value(Value(f"y{len(self.values)}", shape, "activation", 0, high, ring, bits))

    def add(self, step: Step) -> int:
        self.steps.append(step)
        return step.output

    def finish(self, name: str, *outputs: int) -> Case:
        for position, value in enumerate(outputs):
            self.steps.append(Output(-1, "output", (value,), position))
        tails = tuple(Tail(-1, ()) for _ in outputs)
        return Case(name, Program(name, tuple(self.values), tuple(self.steps), tails, {}, 0), self.inputs)


def _requantize_all(b: Builder, acc: int, ring: int, shift: int, **options: object) -> int:
    out = b.activation(b.values[acc].shape)
    return b.add(Requantize(0, "requantize", (acc,), out, (1,), (0,), shift, ring, **options))  # type: ignore[arg-type]


def _move_cases() -> list[Case]:
    cases: list[Case] = []
    for shape in ((1,), (7,), (8,), (9,), (3, 65), (2, 5, 4, 3)):
        b = Builder(np.random.default_rng(len(cases)))
        x = b.input(shape, bits=True)
        cases.append(b.finish(f"input-output-{'x'.join(map(str, shape))}", x))
    for ring in (0, 33):
        b = Builder(np.random.default_rng(40 + ring))
        x, y = b.input((1, 3, 2, 5), ring, True), b.input((1, 3, 2, 4), ring, True)
        flat = b.add(Move(0, "m", (x,), b.activation((30,), ring), "reshape"))
        joined = b.add(Move(0, "m", (x, y), b.activation((1, 3, 2, 9), ring), "concatenate", axis=3))
        paddings = ((0, 0), (1, 2), (0, 1), (0, 0))
        padded = b.add(Move(0, "m", (joined,), b.activation((1, 6, 3, 9), ring), "pad", paddings, fill=137))
        outputs = [flat, joined, padded]
        if ring:
            total = b.add(Affine(0, "sum", (padded, padded), b.accumulator((1, 6, 3, 9), ring), (1, 2), 5, ring=ring))
            outputs.append(_requantize_all(b, total, ring, 2))
        cases.append(b.finish(f"moves-ring{ring}", *outputs))
    for ring in (0, 24, 64):
        b = Builder(np.random.default_rng(50 + ring))
        x = b.input((2, 3, 5, 7), ring, True)
        turned = b.activation((7, 2, 5, 3), ring)
        b.add(Move(0, "m", (x,), turned, "transpose", permutation=(3, 0, 2, 1)))
        # backwards, repeated, left out
        positions = ((1,), (0, 1, 2, 2), (4, 2, 0), tuple(range(7)) * 2)
        taken = b.add(Move(0, "m", (x,), b.activation((1, 4, 3, 14), ring), "take", taken=positions))
        again = b.activation((4, 1, 3, 14), ring)
        b.add(Move(0, "m", (taken,), again, "transpose", permutation=(1, 0, 2, 3)))
        outputs = [turned, taken, again]
        if ring:
            outputs.extend(
                _requantize_all(b, b.add(Affine(0, "sum", (value,), b.accumulator(b.values[value].shape, ring), (3,),
                                                ring=ring)), ring, 2) for value in (turned, again))
        cases.append(b.finish(f"transpose-take-ring{ring}", *outputs))
    return cases


def _linear_cases() -> list[Case]:
    geometries = {
        "dense": (Geometry(1, 1, 1, 37, 1, 1, 11), False),
        "pointwise": (Geometry(1, 5, 4, 16, 5, 4, 24), False),
        "conv3x3": (Geometry(1, 9, 7, 3, 5, 4, 8, (3, 3), (2, 2), (1, 1), 1, 1), False),
        "dilated": (Geometry(2, 8, 8, 2, 8, 8, 5, (3, 2), (1, 1), (2, 3), 2, 1), False),
        "depthwise": (Geometry(1, 7, 6, 10, 7, 6, 10, (3, 3), (1, 1), (1, 1), 1, 1), True),
        "multiplier": (Geometry(1, 6, 6, 3, 3, 3, 6, (3, 3), (2, 2), (1, 1), 0, 0), True),
    }
    cases: list[Case] = []
    for ring in RINGS:
        for name, (g, depthwise) in geometries.items():
            b = Builder(np.random.default_rng(ring + len(cases)))
            x = b.input((g.batch, g.in_height, g.in_width, g.in_channels), ring)
            shape = (*g.kernel, g.out_channels) if depthwise else (g.out_channels, *g.kernel, g.in_channels)
            w = b.weight(shape, ring, -128, 127)
            bias = b.weight((g.out_channels,), ring, -(2**15), 2**15 - 1)
            out = (g.batch, g.out_height, g.out_width, g.out_channels)
            operands = (x, w, bias) if len(cases) % 2 else (x, w)
            acc = b.add(Linear(0, name, operands, b.accumulator(out, ring), g, depthwise, 77, ring))
            cases.append(b.finish(f"{name}-ring{ring}", _requantize_all(b, acc, ring, 10)))
    return cases


def _product_cases() -> list[Case]:
    """Products of two activations: what the model computes times what it computes."""
    geometries = {
        "dense": (Geometry(1, 1, 1, 19, 1, 1, 6), False),
        "rows": (Geometry(1, 7, 1, 12, 7, 1, 9), False),
        "conv": (Geometry(1, 5, 6, 3, 5, 6, 4, (3, 2), (1, 1), (1, 1), 1, 0), False),
        "elementwise": (Geometry(1, 1, 1, 70, 1, 1, 70), True),
        "depthwise": (Geometry(1, 5, 4, 6, 5, 4, 6, (3, 3), (1, 1), (1, 1), 1, 1), True),
    }
    cases: list[Case] = []
    for ring in RINGS:
        for position, (name, (g, depthwise)) in enumerate(geometries.items()):
            b = Builder(np.random.default_rng(ring + position))
            x = b.input((g.batch, g.in_height, g.in_width, g.in_channels), ring)
            layout = (*g.kernel, g.out_channels) if depthwise else (g.out_channels, *g.kernel, g.in_channels)
            w = b.input(layout if position % 2 else (int(np.prod(layout)),), ring, bits=True)
            if position % 2:
                # computed, not shared: its form comes from a protocol
                doubled = b.activation(layout, ring)
                w = b.add(Lookup(0, "table", (w,), doubled, tuple((3 * i + 7) % 256 for i in range(256))))
            out = b.accumulator((g.batch, g.out_height, g.out_width, g.out_channels), ring)
            b.add(Linear(0, name, (x, w), out, g, depthwise, (0, 77)[ring % 2], ring, (131, 0, 5)[position % 3]))
            result = b.activation(b.values[out].shape)
            shift = ring - 11
            b.add(Requantize(0, "requantize", (out,), result, (1 << max(0, shift - 12),), (50 << shift,), shift, ring))
            cases.append(b.finish(f"product-{name}-ring{ring}", result))
    b = Builder(np.random.default_rng(9))
    x = b.input((1, 1, 1, 40), 33)
    g = Geometry(1, 1, 1, 40, 1, 1, 40)
    square = b.add(Linear(0, "square", (x, x), b.accumulator((1, 1, 1, 40), 33), g, True, 128, 33, 128))
    cases.append(b.finish("product-square-ring33", _requantize_all(b, square, 33, 6)))
    # sums of several products side by side, requantised together
    b = Builder(np.random.default_rng(10))
    sums = []
    for _ in range(3):
        x, w = b.input((5, 1, 1, 7), 33), b.input((4, 1, 1, 7), 33)
        acc = b.accumulator((5, 1, 1, 4), 33)
        sums.append(b.add(Linear(0, "part", (x, w), acc, Geometry(5, 1, 1, 7, 1, 1, 4), False, 128, 33, 120)))
    joined = b.add(Move(0, "join", tuple(sums), b.accumulator((15, 1, 1, 4), 33), "concatenate", axis=0))
    cases.append(b.finish("product-joined-ring33", _requantize_all(b, joined, 33, 9)))
    return cases


def _affine_cases() -> list[Case]:
    cases: list[Case] = []
    for ring in RINGS:
        b = Builder(np.random.default_rng(ring))
        x, y, z = b.input((1, 6, 5, 3), ring), b.input((1, 6, 5, 3), ring), b.input((5, 1), ring)
        total = b.accumulator((1, 6, 5, 3), ring)
        b.add(Affine(0, "add", (x, y, z), total, (300, -200, 7), -999, ring=ring))
        window = Geometry(1, 6, 5, 3, 3, 3, 3, (2, 2), (2, 2), (1, 1), 0, 0)
        pooled = b.add(Affine(0, "pool", (x,), b.accumulator((1, 3, 3, 3), ring), (3,), 11, window, ring=ring))
        mean = b.add(Affine(0, "mean", (x,), b.accumulator((1, 3), ring), (-1,), 4000, axes=(1, 2), ring=ring))
        first = b.add(Affine(0, "mean", (x,), b.accumulator((6, 5, 3), ring), (1,), 0, axes=(0,), ring=ring))
        outputs = [
            _requantize_all(b, value, ring, shift) for value, shift in ((total, 8), (pooled, 3), (mean, 5), (first, 1))
        ]
        cases.append(b.finish(f"affine-ring{ring}", *outputs))
        b = Builder(np.random.default_rng(100 + ring))
        # a coefficient per channel on an activation and on a sum of products, and a bias at product scale
        x, w = b.input((1, 4, 3, 5), ring), b.weight((5, 1, 1, 5), ring, -128, 127)
        acc = b.add(Linear(0, "linear", (x, w), b.accumulator((1, 4, 3, 5), ring), Geometry(1, 4, 3, 5, 4, 3, 5),
                           False, 9, ring))
        wide = 2 ** (ring - 3)
        bias = b.weight((5,), ring, -wide, wide + 12345)
        many, few = (tuple(int(m) for m in b.rng.integers(-(2**31), 2**31, 5)) for _ in range(2))
        total = b.accumulator((1, 4, 3, 5), ring)
        # per row and for all channels alike, with a coefficient per channel
        row = b.input((3, 1), ring)
        b.add(Affine(0, "rescale", (acc, x, bias, row), total, (many, few, 1, few[::-1]), -77, ring=ring))
        cases.append(b.finish(f"affine-channels-ring{ring}", _requantize_all(b, total, ring, ring - 10)))
    # sums of different numbers of operands that broadcast each in its own way
    b = Builder(np.random.default_rng(200))
    whole = b.input((2, 3, 4), 33)
    narrow = [b.input(shape, 33) for shape in ((3, 1), (2, 1, 4), (2, 3, 1), (2, 1, 1), (1, 3, 4))]
    sums = []
    for number, count in enumerate((3, 2, 4, 2, 5, 2)):
        terms = (*(narrow * 2)[number : number + count - 1], whole)
        sums.append(b.add(Affine(0, "sum", terms, b.accumulator((2, 3, 4), 33), tuple(range(1, count + 1)), ring=33)))
    cases.append(b.finish("affine-broadcasts-ring33", *(_requantize_all(b, total, 33, 4) for total in sums)))
    return cases


def _output_cases() -> list[Case]:
    """Revealed sums: negative ones, and the ends of the ring."""
    cases: list[Case] = []
    for ring in RINGS:
        b = Builder(np.random.default_rng(ring))
        x, w = b.input((1, 1, 1, 30), ring), b.weight((11, 1, 1, 30), ring, -128, 127)
        bias = b.weight((11,), ring, -(2 ** (ring - 2)), 2 ** (ring - 2))
        sums = b.add(Linear(0, "linear", (x, w), b.accumulator((1, 11), ring), Geometry(1, 1, 1, 30, 1, 1, 11), False,
                            128, ring))
        total = b.add(Affine(0, "bias", (sums, bias), b.accumulator((1, 11), ring), (1, 1), ring=ring))
        bits = b.input((1, 5), ring, False, np.array([0, 1, 2, 254, 255]))
        ends = b.add(Affine(0, "ends", (bits,), b.accumulator((1, 5), ring), (2 ** (ring - 9),), -(2 ** (ring - 1)),
                            ring=ring))
        cases.append(b.finish(f"revealed-sums-ring{ring}", sums, total, ends))
    return cases


def _requantize_cases() -> list[Case]:
    cases: list[Case] = []
    small: tuple[tuple[tuple[int, ...], int], ...] = (
        ((1, 1, 1, 1), 1),
        ((1, 1, 1, 10), 10),
        ((1, 9, 7, 8), 8),
        ((2, 11, 5, 3), 3),
        ((1, 13, 40), 1),
    )
    # more elements than a protocol may want to treat at once, and channels that do not divide round numbers
    large: tuple[tuple[tuple[int, ...], int], ...] = (((1, 37, 41, 9), 9), ((1, 60, 61, 28), 28))
    for ring in RINGS:
        for size, channels in small if ring != 33 else small + large:
            for tie in (False, True):
                b = Builder(np.random.default_rng(ring * 7 + len(cases)))
                x = b.input(size, ring)
                shift, bits = ring - 12, ring - len(cases) % 2
                acc = b.add(Affine(0, "spread", (x,), b.accumulator(size, ring), (1,), -128, ring=ring))
                multiplier = tuple(int(v) for v in b.rng.integers(2 ** (shift - 2), 2**shift, channels))
                constant = tuple(int(v) << max(0, shift - 3) for v in b.rng.integers(0, 1600, channels))
                unit = max(0, shift - 4)
                rule = (
                    TieRule(unit, 120, tuple(int(v) << unit for v in b.rng.integers(0, 16, channels))) if tie else None
                )
                low, high = ((0, 255), (3, 200), (0, 127))[len(cases) % 3]
                form = b.activation(size, ring if len(cases) % 2 else 0, True, high)
                out = b.add(
                    Requantize(0, "requantize", (acc,), form, multiplier, constant, shift, bits, low, high, rule)
                )
                outputs = [out]
                if b.values[out].ring:  # the ring form has to agree with the bits
                    again = b.add(Affine(0, "twice", (out,), b.accumulator(size, ring), (2,), 1, ring=ring))
                    outputs.append(_requantize_all(b, again, ring, 1))
                cases.append(b.finish(f"requantize-ring{ring}-{'x'.join(map(str, size))}{'-tie' * tie}", *outputs))
    return cases


def _parity_cases() -> list[Case]:
    """Half to even: an activation and its half, with ties at every second value, and whatever else a shift leaves."""
    cases: list[Case] = []
    for ring in RINGS:
        for parity in (0, 1):
            b = Builder(np.random.default_rng(ring + parity))
            x = b.input((1, 256), ring, False, np.arange(256))
            shift = ring - 12
            # z = (5 x - 500) / 2 in units of 2**shift: below 0 and above 255 too; every second one is a tie
            half = 1 << shift - 1
            acc = b.add(Affine(0, "halves", (x,), b.accumulator((1, 256), ring), (5 * half,), -500 * half, ring=ring))
            outputs = []
            for low, high, bit, delta in ((0, 255, shift - 1, half), (3, 80, shift - 3, half >> 1), (0, 255, 0, 1)):
                form = b.activation((1, 256), ring if low else 0, True, high)
                rule = TieRule(bit, 0, (delta,), parity)
                outputs.append(b.add(
                    Requantize(0, "requantize", (acc,), form, (1,), (half,), shift, ring, low, high, rule)))
            cases.append(b.finish(f"half-even-ring{ring}-parity{parity}", *outputs))
        for size, channels in (((1, 9, 7, 8), 8), ((1, 37, 41, 9), 9)):
            b = Builder(np.random.default_rng(ring * 3 + channels))
            x = b.input(size, ring)
            shift, parity = ring - 12, channels % 2
            acc = b.add(Affine(0, "spread", (x,), b.accumulator(size, ring), (1,), -128, ring=ring))
            unit = shift - 4
            multiplier = tuple(int(v) << unit for v in b.rng.integers(4, 16, channels))
            constant = tuple(int(v) << unit for v in b.rng.integers(0, 3000, channels))
            rule = TieRule(unit, 0, tuple(int(v) << unit for v in b.rng.integers(0, 16, channels)), parity)
            out = b.activation(size, ring, True, 200)
            b.add(Requantize(0, "requantize", (acc,), out, multiplier, constant, shift, ring, 0, 200, rule))
            again = b.add(Affine(0, "twice", (out,), b.accumulator(size, ring), (2,), 1, ring=ring))
            name = f"half-even-ring{ring}-{'x'.join(map(str, size))}"
            cases.append(b.finish(name, out, _requantize_all(b, again, ring, 1)))
    return cases


def _maximum_cases() -> list[Case]:
    cases: list[Case] = []
    windows = {
        "pool2x2": Geometry(1, 8, 6, 5, 4, 3, 5, (2, 2), (2, 2)),
        "pool3x3": Geometry(2, 7, 7, 2, 4, 4, 2, (3, 3), (2, 2), (1, 1), 1, 1),
    }
    for ring in (0, 33, 64):
        for name, g in windows.items():
            b = Builder(np.random.default_rng(ring))
            x = b.input((g.batch, g.in_height, g.in_width, g.in_channels), 0, True)
            out_shape = (g.batch, g.out_height, g.out_width, g.out_channels)
            low, high = (0, 255) if ring else (20, 180)
            out = b.add(Maximum(0, name, (x,), b.activation(out_shape, ring), g, False, low, high))
            outputs = [out]
            if ring:
                total = b.add(Affine(0, "sum", (out,), b.accumulator(out_shape, ring), (1,), 0, ring=ring))
                outputs.append(_requantize_all(b, total, ring, 1))
            cases.append(b.finish(f"{name}-ring{ring}", *outputs))
    for rows, classes in ((1, 1), (1, 2), (1, 10), (3, 37), (1, 1001)):
        b = Builder(np.random.default_rng(classes))
        data = b.rng.integers(0, 256 if classes < 100 else 3, (rows, classes))
        x = b.input((rows, classes), 0, True, data)
        out = b.activation((rows,), 0, True, classes - 1)
        cases.append(b.finish(f"argmax-{rows}x{classes}", b.add(Maximum(0, "argmax", (x,), out, None, True))))
    return cases


def _lookup_cases() -> list[Case]:
    cases: list[Case] = []
    for ring in (0, 48):
        b = Builder(np.random.default_rng(ring))
        x = b.input((1, 256), 0, True, np.arange(256))
        table = tuple(int(v) for v in b.rng.integers(0, 256, 256))
        out = b.add(Lookup(0, "table", (x,), b.activation((1, 256), ring), table))
        outputs = [out]
        if ring:
            total = b.add(Affine(0, "sum", (out,), b.accumulator((1, 256), ring), (1,), 0, ring=ring))
            outputs.append(_requantize_all(b, total, ring, 1))
        cases.append(b.finish(f"lookup-ring{ring}", *outputs))
    return cases


def cases() -> list[Case]:
    """All cases, the same in every run."""
    return [
        *_move_cases(),
        *_linear_cases(),
        *_product_cases(),
        *_affine_cases(),
        *_requantize_cases(),
        *_parity_cases(),
        *_maximum_cases(),
        *_lookup_cases(),
        *_output_cases(),
    ]


def run(backend: Backend, case: Case, devices: Sequence[Device], timeout: float = 30.0) -> list[IntArray]:
    """The case's outputs as the receiver reconstructs them; one thread and one device per party, on real sockets."""
    owner, program = backend.owner(len(devices)), case.program
    desk = Desk(owner, program, case.inputs, len(devices), timeout)

    def party_main(session: Session) -> dict[int, bytes]:
        outputs: dict[int, bytes] = {}
        engine = backend.engine(session, program)

        def read(_: int, step: Input) -> bytes:
            message = desk.read(engine, session.party, step)
            assert len(message) == owner.share_size(program.values[step.output], session.party), "share_size is wrong"
            return bytes(message)

        def write(_: int, step: Output, message: bytes) -> None:
            outputs[step.output] = message

        prepared = run_setup(engine, program, read, session.meter)
        if isinstance(engine, PreparedEngine):
            with session.meter.phase("preprocessing"):
                engine.preprocess()
        run_online(engine, program, prepared, read, write, session.meter)
        return outputs

    def helper_main(session: Session) -> dict[int, bytes]:
        assert isinstance(backend, HelpedBackend)
        helper = backend.helper(session, program)
        helper.setup()
        helper.sample()
        return {}

    helper = helper_main if isinstance(backend, HelpedBackend) else None
    results = run_parties(devices, party_main, timeout=timeout, helper=helper)[: len(devices)]
    revealed = []
    for step in program.steps:
        if isinstance(step, Output):
            value = program.values[step.inputs[0]]
            parts = [result[step.output] for result in results]
            for party, part in enumerate(parts):
                assert len(part) == owner.output_size(value, party), "output_size is wrong"
            revealed.append(owner.reconstruct(value, parts))
    return revealed
