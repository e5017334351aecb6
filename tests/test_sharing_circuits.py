"""The shared boolean circuits, exact against integer formulas, with bits and rounds counted."""

from __future__ import annotations

import numpy as np
import pytest

from mpc_bridge.backends.sharing.compare import clamp_circuit, maximum_circuit
from mpc_bridge.backends.sharing.lookup import lookup_circuit
from mpc_bridge.backends.sharing.requantize import (
    RequantizeShape,
    TieShape,
    requantize_circuit,
    tie_operands,
    to_ring_circuit,
)
from mpc_bridge.lowering.program import Requantize, TieRule
from tests.plane_machine import bits_of, number_of, run_rep3

LANES = 4000


def requantized(z: np.ndarray, delta: np.ndarray, shape: RequantizeShape) -> np.ndarray:
    """The primitive's definition on signed integers z = acc * m + c."""
    q = z >> shape.shift
    if shape.tie is not None:
        chosen = q <= shape.tie.zero if shape.tie.parity is None else q % 2 == shape.tie.parity
        q = q - (chosen & ((z - delta) >> shape.shift != q))
    return np.clip(np.clip(q, 0, 255), shape.low, shape.high)


def samples(shape: RequantizeShape, rng: np.random.Generator) -> np.ndarray:
    half = 1 << (min(shape.bits, 62) - 1)
    z = rng.integers(-half, half, LANES)
    near = LANES // 2
    z[:near] = np.clip(rng.integers(-(40 << shape.shift), 300 << shape.shift, near), -half, half - 1)
    steps = (rng.integers(-3, 260, near // 2) << shape.shift) + rng.integers(-2, 3, near // 2)
    if shape.tie is not None:
        steps += (1 << shape.tie.bit) * rng.integers(0, 2, near // 2)
    z[: near // 2] = np.clip(steps, -half, half - 1)
    if shape.bits <= 62:
        z[near : near + 2] = -half, half - 1
    if shape.tie is not None and shape.tie.parity == 0:
        z = np.maximum(z, (1 << shape.shift) - half)  # z - delta is in range too
    return z


SHAPES = [
    RequantizeShape(48, 30, ring=48),
    RequantizeShape(64, 30, ring=64),
    RequantizeShape(41, 23, ring=37, planes=True),
    RequantizeShape(11, 1),
    RequantizeShape(14, 4, low=3, high=200, ring=9, planes=True),
    RequantizeShape(40, 30, high=127),
    RequantizeShape(48, 36, tie=TieShape(31, 128), ring=48),
    RequantizeShape(48, 36, tie=TieShape(31, 0), ring=48),
    RequantizeShape(48, 36, tie=TieShape(35, 255), ring=40, planes=True),
    RequantizeShape(38, 20, tie=TieShape(0, 77), high=200, low=1),
    RequantizeShape(38, 20, tie=TieShape(7, 1)),
    RequantizeShape(30, 20, tie=TieShape(12, -5)),
    RequantizeShape(30, 20, tie=TieShape(12, 400), ring=33),
    RequantizeShape(48, 36, tie=TieShape(30, parity=1), ring=48),
    RequantizeShape(48, 36, tie=TieShape(30, parity=0), ring=48),
    RequantizeShape(64, 36, tie=TieShape(35, parity=0), ring=64, planes=True),
    RequantizeShape(38, 20, tie=TieShape(0, parity=1), high=200, low=1),
    RequantizeShape(38, 20, tie=TieShape(0, parity=0), high=199, low=2),
    RequantizeShape(11, 1, tie=TieShape(0, parity=0)),
    RequantizeShape(11, 1, tie=TieShape(0, parity=1)),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_requantize_is_exact(shape: RequantizeShape) -> None:
    rng = np.random.default_rng(SHAPES.index(shape))
    z, delta = samples(shape, rng), np.zeros(LANES, np.int64)
    mask = np.uint64(2**shape.bits - 1)
    a = rng.integers(0, 2**63, LANES).astype(np.uint64) * np.uint64(2) & mask
    if shape.tie is not None:
        bit = shape.tie.bit
        delta = np.where(rng.random(LANES) < 0.5, 1, rng.integers(0, 1 << (shape.shift - bit), LANES)) << bit
    # a channel per lane, all of multiplier 1
    tie = shape.tie
    rule = None if tie is None else TieRule(tie.bit, tie.zero, tuple(delta.tolist()), tie.parity)
    constant, displacement = tie_operands(
        Requantize(0, "", (), 0, (1,) * LANES, (0,) * LANES, shape.shift, shape.bits, shape.low, shape.high, rule)
    )
    b = (z.astype(np.uint64) + np.array(constant, np.int64).astype(np.uint64) - a) & mask
    rho = rng.integers(0, 2**62, LANES).astype(np.uint64) & np.uint64(2**shape.ring - 1)
    moving = np.array(displacement if displacement is not None else (0,) * LANES, np.int64).astype(np.uint64)
    moved = bits_of((b + moving) >> np.uint64(shape.shift + 1 - shape.tie_planes), shape.tie_planes)
    right = np.concatenate([bits_of(b, shape.bits), moved, bits_of(rho, shape.ring)])
    circuit = requantize_circuit(shape)
    left_out, shared_out, _, rounds = run_rep3(
        circuit, LANES, bits_of(a, shape.bits), right, np.zeros((0, LANES), np.uint8), rng
    )
    expected = requantized(z, delta, shape)
    assert rounds == circuit.depth
    if shape.ring:
        value = (number_of(left_out) + rho) & np.uint64(2**shape.ring - 1)
        np.testing.assert_array_equal(value.astype(np.int64), expected)
    if shape.planes or not shape.ring:
        np.testing.assert_array_equal(number_of(shared_out).astype(np.int64), expected)


def bits_and_rounds(shape: RequantizeShape) -> tuple[float, int]:
    rng = np.random.default_rng(1)
    circuit = requantize_circuit(shape)
    left = np.zeros((circuit.left_inputs, 8), np.uint8)
    right = np.zeros((circuit.right_inputs, 8), np.uint8)
    _, _, sent, rounds = run_rep3(circuit, 8, left, right, np.zeros((0, 8), np.uint8), rng)
    # after the circuit the left holder re-shares w: ring more bits, one more round
    return (sum(sent.values()) + shape.ring) / 3, rounds + bool(shape.ring)


@pytest.mark.parametrize(
    ("shape", "bits", "rounds"),
    [
        (RequantizeShape(48, 30, ring=48), 176, 15),
        (RequantizeShape(48, 30, ring=64), 192, 15),
        (RequantizeShape(64, 30, ring=64), 232, 15),
        (RequantizeShape(48, 36, tie=TieShape(31, 128), ring=48), 214, 20),
        (RequantizeShape(48, 36, tie=TieShape(31, parity=1), ring=48), 180, 16),
        (RequantizeShape(48, 36, tie=TieShape(31, parity=0), ring=48), 180, 16),
    ],
)
def test_requantize_costs(shape: RequantizeShape, bits: float, rounds: int) -> None:
    spent = bits_and_rounds(shape)
    assert spent[0] <= bits
    assert spent[1] <= rounds


@pytest.mark.parametrize("ring", [8, 9, 33, 64])
def test_to_ring_is_exact(ring: int) -> None:
    rng = np.random.default_rng(ring)
    q = np.arange(256).repeat(16)
    rho = rng.integers(0, 2**62, len(q)).astype(np.uint64) * np.uint64(5) & np.uint64(2**ring - 1)
    none = np.zeros((0, len(q)), np.uint8)
    left_out, _, _, _ = run_rep3(to_ring_circuit(ring), len(q), none, bits_of(rho, ring), bits_of(q, 8), rng)
    np.testing.assert_array_equal((number_of(left_out) + rho) & np.uint64(2**ring - 1), q.astype(np.uint64))


@pytest.mark.parametrize(("width", "ring"), [(9, 64), (32, 48), (63, 64), (63, 40)])
def test_wide_inputs_enter_a_ring_exactly(width: int, ring: int) -> None:
    rng = np.random.default_rng(width)
    q = rng.integers(0, 2**width, 500, dtype=np.uint64)
    q[:4] = 0, 1, 2**width - 1, 2 ** (width - 1)
    rho = rng.integers(0, 2**ring - 1, len(q), dtype=np.uint64)
    none = np.zeros((0, len(q)), np.uint8)
    left_out, _, _, _ = run_rep3(to_ring_circuit(ring, width), len(q), none, bits_of(rho, ring), bits_of(q, width), rng)
    mask = np.uint64(2**ring - 1)
    np.testing.assert_array_equal((number_of(left_out) + rho) & mask, q & mask)


@pytest.mark.parametrize("width", [1, 3, 8])
@pytest.mark.parametrize("payload", [0, 5])
def test_maximum_keeps_the_first_of_equals(width: int, payload: int) -> None:
    rng = np.random.default_rng(width)
    a, b = (rng.integers(0, 2 ** (width + payload), 3000) for _ in range(2))
    same = rng.random(3000) < 0.2
    b[same] = (b[same] >> width << width) | (a[same] & (2**width - 1))
    total = width + payload
    shared = np.concatenate([bits_of(a, total), bits_of(b, total)])
    none = np.zeros((0, 3000), np.uint8)
    _, out, _, _ = run_rep3(maximum_circuit(width, payload), 3000, none, none, shared, rng)
    low = 2**width - 1
    np.testing.assert_array_equal(number_of(out).astype(np.int64), np.where((b & low) > (a & low), b, a))


@pytest.mark.parametrize(("low", "high"), [(0, 255), (1, 255), (0, 254), (17, 17), (3, 200), (0, 0), (255, 255)])
def test_clamp_is_exact(low: int, high: int) -> None:
    rng = np.random.default_rng(0)
    x = np.arange(256)
    none = np.zeros((0, 256), np.uint8)
    _, out, _, _ = run_rep3(clamp_circuit(8, low, high), 256, none, none, bits_of(x, 8), rng)
    np.testing.assert_array_equal(number_of(out).astype(np.int64), np.clip(x, low, high))


@pytest.mark.parametrize("name", ["random", "identity", "constant", "zero", "monotone"])
def test_lookup_is_exact(name: str) -> None:
    rng = np.random.default_rng(3)
    table = {
        "random": rng.integers(0, 256, 256),
        "identity": np.arange(256),
        "constant": np.full(256, 0xA5),
        "zero": np.zeros(256, np.int64),
        "monotone": np.sort(rng.integers(0, 256, 256)),
    }[name]
    x = np.arange(256)
    none = np.zeros((0, 256), np.uint8)
    circuit = lookup_circuit(tuple(int(t) for t in table))
    _, out, sent, rounds = run_rep3(circuit, 256, none, none, bits_of(x, 8), rng)
    np.testing.assert_array_equal(number_of(out).astype(np.int64), table)
    assert rounds <= 3
    assert sum(sent.values()) <= 3 * 30
