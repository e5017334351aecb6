"""The plaintext backend: each primitive against a cell-by-cell definition, and whole models against the reference."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from mpc_bridge.backends.plaintext import PlaintextEngine, PlaintextOwner, backend, execute, signed
from mpc_bridge.circuit import Circuit, reference
from mpc_bridge.errors import MalformedFrame, UnsupportedCombinationError
from mpc_bridge.importers.tflite import importer, load
from mpc_bridge.lowering import canonicalise, lower, model_outputs, stored_inputs
from mpc_bridge.lowering.program import (
    Affine,
    Geometry,
    Linear,
    Maximum,
    Move,
    Program,
    Requantize,
    Step,
    TieRule,
    Value,
)
from mpc_bridge.registry import Plugins, choose_backend
from tests.conftest import vector_names
from tests.models.oneop import cases, samples

ONE_OP = dict(cases())


def engine(step: Step, shape: tuple[int, ...]) -> PlaintextEngine:
    """An engine for one step whose output is value 0."""
    value = Value("y", shape, "accumulator")
    return PlaintextEngine(Program("step", (value,), (step,), (), {}, 0))


def window(geometry: Geometry, row: int, column: int) -> list[tuple[int, int, int, int]]:
    """``(kernel row, kernel column, image row, image column)`` of the cells inside the image."""
    cells = []
    for i, j in product(range(geometry.kernel[0]), range(geometry.kernel[1])):
        y = row * geometry.stride[0] - geometry.pad_top + i * geometry.dilation[0]
        x = column * geometry.stride[1] - geometry.pad_left + j * geometry.dilation[1]
        if 0 <= y < geometry.in_height and 0 <= x < geometry.in_width:
            cells.append((i, j, y, x))
    return cells


GEOMETRIES = [
    Geometry(2, 5, 6, 4, 5, 6, 4, (3, 3), (1, 1), (1, 1), 1, 1),
    Geometry(1, 7, 6, 4, 3, 2, 8, (2, 3), (2, 3), (1, 1), 0, 0),
    Geometry(1, 7, 8, 4, 4, 4, 4, (3, 2), (2, 2), (2, 3), 2, 1),
    Geometry(1, 3, 3, 4, 4, 4, 4, (3, 3), (1, 1), (1, 1), 1, 2),
]


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("ring", [16, 33, 64])
def test_linear(geometry: Geometry, depthwise: bool, ring: int) -> None:
    g, rng = geometry, np.random.default_rng(ring)
    x = rng.integers(0, 256, (g.batch, g.in_height, g.in_width, g.in_channels))
    shape = (*g.kernel, g.out_channels) if depthwise else (g.out_channels, *g.kernel, g.in_channels)
    w, bias = rng.integers(-255, 256, shape), rng.integers(-(2**31), 2**31, g.out_channels)
    step = Linear(0, "linear", (1, 2, 3), 0, g, depthwise, 17, ring)
    shape = (g.batch, g.out_height, g.out_width, g.out_channels)
    party = engine(step, shape)
    acc = party.linear(step, x, party.weights(step, [w, bias]))
    for n, row, column, o in product(*map(range, shape)):
        total = int(bias[o])
        for i, j, y, z in window(g, row, column):
            if depthwise:
                total += (int(x[n, y, z, o // (g.out_channels // g.in_channels)]) - 17) * int(w[i, j, o])
            else:
                total += int(((x[n, y, z] - 17) * w[o, i, j]).sum())
        got = int(acc[n, row, column, o])
        assert (got - total) % 2**ring == 0
        assert -(2 ** (ring - 1)) <= got < 2 ** (ring - 1)


@pytest.mark.parametrize("depthwise", [False, True])
def test_product_of_two_activations(depthwise: bool) -> None:
    g, rng = GEOMETRIES[0], np.random.default_rng(8)
    x = rng.integers(0, 256, (g.batch, g.in_height, g.in_width, g.in_channels))
    shape = (*g.kernel, g.out_channels) if depthwise else (g.out_channels, *g.kernel, g.in_channels)
    y = rng.integers(0, 256, shape)
    product_step = Linear(0, "linear", (1, 2), 0, g, depthwise, 17, 40, 131)
    centred_step = Linear(0, "linear", (1, 2), 0, g, depthwise, 17, 40)
    out = (g.batch, g.out_height, g.out_width, g.out_channels)
    party = engine(product_step, out)
    # only the number of elements is the layout's
    got = party.linear(product_step, x, party.weights(product_step, [y.reshape(-1)]))
    wanted = party.linear(centred_step, x, party.weights(centred_step, [y - 131]))
    np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_window_sums_and_maxima(geometry: Geometry) -> None:
    g = Geometry(**{**vars(geometry), "out_channels": geometry.in_channels, "kernel": (3, 3), "dilation": (1, 1)})
    x = np.random.default_rng(3).integers(0, 256, (g.batch, g.in_height, g.in_width, g.in_channels))
    shape = (g.batch, g.out_height, g.out_width, g.in_channels)
    total = Affine(0, "sum", (1,), 0, (-3,), 5, g, ring=40)
    greatest = Maximum(0, "maximum", (1,), 0, g, low=20, high=240)
    sums, maxima = engine(total, shape).affine(total, [x]), engine(greatest, shape).maximum(greatest, x)
    for n, row, column, c in product(*map(range, shape)):
        seen = [int(x[n, y, z, c]) for _, _, y, z in window(g, row, column)]
        assert int(sums[n, row, column, c]) == 5 - 3 * sum(seen)
        assert int(maxima[n, row, column, c]) == min(max([20, *seen]), 240)


def test_affine_broadcasts_and_sums_axes() -> None:
    rng = np.random.default_rng(4)
    x, y = rng.integers(0, 256, (2, 3, 4)), rng.integers(0, 256, (3, 1))
    step = Affine(0, "add", (1, 2), 0, (7, -100), 1, ring=12)
    np.testing.assert_array_equal(engine(step, (2, 3, 4)).affine(step, [x, y]), signed(7 * x - 100 * y + 1, 12))
    step = Affine(0, "mean", (1,), 0, (1,), axes=(0, 2), ring=64)
    np.testing.assert_array_equal(engine(step, (1, 3)).affine(step, [x])[0], x.sum(axis=0).sum(axis=1))


def test_affine_coefficients_per_channel() -> None:
    rng = np.random.default_rng(6)
    x, bias = rng.integers(0, 256, (2, 3, 4)), rng.integers(-(2**61), 2**61, 4)
    row, many = rng.integers(0, 256, (3, 1)), (2**31 - 1, -5, 0, 3)
    step = Affine(0, "rescale", (1, 2, 3), 0, (many, 1, (1, 2, 3, 4)), 9, ring=63)
    got = engine(step, (2, 3, 4)).affine(step, [x, bias, row])
    for i, j, c in product(range(2), range(3), range(4)):
        total = many[c] * int(x[i, j, c]) + int(bias[c]) + (c + 1) * int(row[j, 0]) + 9
        assert int(got[i, j, c]) == (total + 2**62) % 2**63 - 2**62


@pytest.mark.parametrize("parity", [0, 1])
def test_half_to_even_in_python_integers(parity: int) -> None:
    # (acc + 1) // 2, less one where that is a tie at a level of the chosen parity: the other levels are the even ones
    step = Requantize(0, "q", (1,), 0, (1,), (1,), 1, 22, 0, 255, TieRule(0, 0, (1,), parity))
    acc = np.arange(-600, 600).reshape(-1, 1)
    q = engine(step, acc.shape).requantize(step, acc)
    for a, got in zip(acc[:, 0].tolist(), q[:, 0].tolist(), strict=True):
        # Python rounds half to even
        rounded = round(a / 2) if parity else round(a / 2 + 1) - 1
        assert got == min(max(rounded, 0), 255)


def test_requantize_in_python_integers() -> None:
    rng = np.random.default_rng(5)
    for low, high, zero in ((0, 255, 100), (30, 200, 300), (0, 255, -1), (0, 17, 17)):
        tie = TieRule(4, zero, (48, 112, 16))
        step = Requantize(0, "q", (1,), 0, (3, 5, 9), (-77, 1000, 4), 7, 22, low, high, tie)
        acc = rng.integers(-(2**18), 2**18, (500, 3))
        acc[:200] %= 6000
        q = engine(step, acc.shape).requantize(step, acc)
        for i, c in product(range(len(acc)), range(3)):
            z = int(acc[i, c]) * step.multiplier[c] + step.constant[c]
            z = (z + 2**21) % 2**22 - 2**21
            expected = z >> 7
            if expected <= zero and (z - tie.delta[c]) >> 7 != expected:
                expected -= 1
            assert int(q[i, c]) == max(min(max(expected, 0), high), low)


def test_pad_concatenate_reshape() -> None:
    x, y = np.arange(6).reshape(2, 3), np.arange(10, 14).reshape(2, 2)
    pad = Move(0, "pad", (1,), 0, "pad", ((1, 0), (0, 2)), fill=99)
    np.testing.assert_array_equal(
        engine(pad, (3, 5)).move(pad, [x]), [[99] * 5, [0, 1, 2, 99, 99], [3, 4, 5, 99, 99]])
    join = Move(0, "join", (1, 2), 0, "concatenate", axis=1)
    np.testing.assert_array_equal(engine(join, (2, 5)).move(join, [x, y]), np.concatenate([x, y], axis=1))
    shape = Move(0, "reshape", (1,), 0)
    np.testing.assert_array_equal(engine(shape, (3, 2)).move(shape, [x]), x.reshape(3, 2))


def test_signed_at_the_ends_of_every_width() -> None:
    for bits in range(1, 64):
        half = 1 << (bits - 1)
        x = np.array([-half, half - 1, half, -half - 1, 0, 3 * half], np.int64) if bits < 62 else np.array([-half, 0])
        expected = [(int(v) + half) % (2 * half) - half for v in x]
        np.testing.assert_array_equal(signed(x, bits), expected)


def test_messages_of_the_wrong_size_are_refused() -> None:
    value = Value("x", (2, 3), "activation", 0, 255)
    owner = PlaintextOwner()
    (message,) = owner.share(value, np.arange(6).reshape(2, 3))
    assert len(message) == owner.share_size(value, 0) == owner.output_size(value, 0)
    np.testing.assert_array_equal(owner.reconstruct(value, [message]), np.arange(6).reshape(2, 3))
    with pytest.raises(MalformedFrame, match="41 bytes where 48 are due"):
        owner.reconstruct(value, [message[:41]])


def test_it_gives_no_guarantee() -> None:
    installed = Plugins({"plaintext": backend}, {})
    for adversary in ("semi-honest", "malicious"):
        with pytest.raises(UnsupportedCombinationError):
            choose_backend(adversary, installed=installed)
        with pytest.raises(UnsupportedCombinationError):
            choose_backend(adversary, name="plaintext", installed=installed)
    chosen = choose_backend(name="plaintext", installed=installed)
    assert (chosen.parties, chosen.threat_model.guarantee) == (1, "none")


def evaluate(circuit: Circuit, program: Program, constants: dict[int, np.ndarray], inputs: list[np.ndarray]) -> list[
    np.ndarray
]:
    revealed = execute(program, {**constants, **stored_inputs(circuit, program, inputs)})
    return model_outputs(circuit, program, revealed)


@pytest.mark.parametrize("name", ONE_OP)
def test_every_op(name: str) -> None:
    for profile in ("litert", "tflite") if name.startswith("FULLY_CONNECTED") else ("litert",):
        circuit = importer.load(ONE_OP[name], name, profile)
        program = lower(circuit)
        constants = canonicalise(circuit, program)
        for inputs in samples([(circuit.tensors[i].shape, circuit.tensors[i].dtype) for i in circuit.inputs]):
            outputs = evaluate(circuit, program, constants, inputs)
            for output, expected in zip(outputs, reference.evaluate(circuit, inputs), strict=True):
                assert output.dtype == expected.dtype
                np.testing.assert_array_equal(output, expected)


#: Signed bits of acc * m + c that no layer of the real models exceeds, by the form of its requantisation.
MOST_BITS = {"CONV_2D": 54, "DEPTHWISE_CONV_2D": 51, "FULLY_CONNECTED": 53, "ADD": 34, "AVERAGE_POOL_2D": 35}


@pytest.mark.parametrize("profile", ["litert", "tflite"])
@pytest.mark.parametrize("name", vector_names())
def test_real_models(vector: Callable[[str], Path], name: str, profile: str) -> None:
    folder = vector(name)
    circuit = load(folder / "model.tflite", profile)
    program = lower(circuit)
    assert program == lower(circuit.public())
    bits: dict[str, list[int]] = {}
    for step in program.steps:
        if isinstance(step, Requantize):
            bits.setdefault(circuit.ops[step.op].kind, []).append(step.bits)
    for kind, widths in sorted(bits.items()):
        print(f"{kind}: N {sorted(widths)}")
        assert max(widths) <= MOST_BITS[kind]
    arrays = np.load(folder / "inputs.npz")
    expected = np.load(folder / "expected.npz")
    constants = canonicalise(circuit, program)
    count = 1 if program.macs > 50_000_000 else len(arrays["in0"])
    for sample in range(count):
        inputs = [arrays[f"in{i}"][sample] for i in range(len(circuit.inputs))]
        for i, output in enumerate(evaluate(circuit, program, constants, inputs)):
            wanted = expected[f"{'ref' if profile == 'litert' else 'tflite214_ref'}{i}"][sample]
            assert output.dtype == wanted.dtype
            np.testing.assert_array_equal(output, wanted)
