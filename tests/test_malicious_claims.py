"""Every message of a verified circuit, attacked: some claim fails in every lane, whatever the secrets are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest

from mpc_bridge.backends.replicated.malicious.compile import VerifiedProgram, VerifyingCompiler
from mpc_bridge.backends.sharing.circuit import Circuit
from mpc_bridge.backends.sharing.compare import maximum_circuit
from mpc_bridge.backends.sharing.lookup import lookup_circuit
from mpc_bridge.backends.sharing.requantize import (
    RequantizeShape,
    TieShape,
    requantize_circuit,
    to_ring_circuit,
)
from mpc_bridge.kernels.gf import ABSENT
from tests.plane_machine import Planes, Tamper, Trio, bits_of, number_of, split

LANES = 40


@dataclass
class Operands:
    """Right planes, shared planes, and the two summands of the left operand."""

    right: Planes
    shared: Planes
    summands: tuple[np.ndarray, np.ndarray]
    left_width: int
    ring: int


@cache
def compiled(circuit: Circuit) -> list[VerifiedProgram]:
    return [VerifyingCompiler(circuit, role).verified() for role in range(3)]


def failing_lanes(
    circuit: Circuit, operands: Operands, tamper: Tamper | None, shift_first: int = 0, seed: int = 5, cheater: int = 0
) -> tuple[np.ndarray, Trio]:
    """Per lane, whether some claim does not hold for what the parties but ``cheater`` have."""
    rng = np.random.default_rng(seed)
    programs = compiled(circuit)
    first, second = operands.summands
    width, ring = operands.left_width, operands.ring
    left = bits_of((first + second) & np.uint64(2**width - 1), width) if width else np.zeros((0, LANES), np.uint8)
    components = split(operands.shared, rng)
    inputs = []
    for role, verified in enumerate(programs):
        clear = left if role == 0 else operands.right
        known = np.concatenate([clear, components[role], components[(role + 1) % 3]])
        inputs.append(np.concatenate([known, np.zeros((verified.program.inputs - len(known), LANES), np.uint8)]))
    trio = Trio([p.program for p in programs], inputs, rng, tamper)
    last = len(programs[0].program.stages) - 1
    for stage in range(last):
        trio.step(stage)
    planes = {0: bits_of(first, width), 1: bits_of(second, width)}
    if ring:
        w = number_of(trio.outputs(0)[: len(circuit.left_outputs)])
        c1 = rng.integers(0, 2**62, LANES).astype(np.uint64) & np.uint64(2**ring - 1)
        c0 = (w - c1 + np.uint64(shift_first)) & np.uint64(2**ring - 1)
        for number, value in ((0, c0), (1, c1)):
            planes[number] = np.concatenate([planes[number], bits_of(value, ring)])
    for role, verified in enumerate(programs):
        for side, base in enumerate(verified.components):
            number = (role + side) % 3
            if number in planes and len(planes[number]):
                trio.machines[role].registers[base : base + len(planes[number])] = planes[number]
    for role in range(3):
        trio.mail[role] = np.zeros((0, LANES), np.uint8)
    trio.step(last)
    return broken(programs, trio, cheater), trio


def broken(programs: list[VerifiedProgram], trio: Trio, cheater: int) -> np.ndarray:
    registers = [machine.registers for machine in trio.machines]

    def shared(column: int, table: str) -> Planes:
        """The value that the two honest parties' components make."""
        holders = [(role, 0) for role in range(3) if role != cheater] + [((cheater + 2) % 3, 1)]
        parts = [registers[role][getattr(programs[role], table)[:, column + side]] for role, side in holders]
        return parts[0] ^ parts[1] ^ parts[2]

    x, y, total = shared(0, "rows"), shared(2, "rows"), shared(0, "totals")
    deviation = total.copy()
    np.bitwise_xor.at(deviation, programs[0].groups, x & y)
    for role in range(3):  # the structure is public: the same at every role
        np.testing.assert_array_equal(programs[role].groups, programs[0].groups)
    return deviation.any(axis=0)


def requantize_operands(shape: RequantizeShape, rng: np.random.Generator) -> Operands:
    mask = np.uint64(2**shape.bits - 1)
    z = rng.integers(-(40 << shape.shift), 300 << shape.shift, LANES)
    z[:20] = rng.integers(0, 255, 20) << shape.shift
    first, second = (rng.integers(0, 2**62, LANES).astype(np.uint64) & mask for _ in range(2))
    b = (z.astype(np.uint64) - first - second) & mask
    delta = np.uint64(0)
    if shape.tie is not None:
        delta = np.uint64(1 << shape.tie.bit)
    moved = bits_of((b - delta) >> np.uint64(shape.shift + 1 - shape.tie_planes), shape.tie_planes)
    rho = rng.integers(0, 2**62, LANES).astype(np.uint64) & np.uint64(2**shape.ring - 1)
    right = np.concatenate([bits_of(b, shape.bits), moved, bits_of(rho, shape.ring)])
    return Operands(right, np.zeros((0, LANES), np.uint8), (first, second), shape.bits, shape.ring)


SHAPES = [
    RequantizeShape(23, 7, ring=19),
    RequantizeShape(24, 10, low=2, high=201, tie=TieShape(6, 100), ring=20, planes=True),
    RequantizeShape(20, 5),
    RequantizeShape(18, 7, tie=TieShape(3, parity=1)),
    RequantizeShape(17, 6, high=190, tie=TieShape(4, parity=0), ring=10),
]


def cases() -> list[tuple[str, Circuit, Operands]]:
    rng = np.random.default_rng(9)
    nothing = np.zeros(LANES, np.uint64)
    found: list[tuple[str, Circuit, Operands]] = [
        (str(shape), requantize_circuit(shape), requantize_operands(shape, rng)) for shape in SHAPES
    ]
    for ring in (6, 8, 21):
        rho = rng.integers(0, 2**ring, LANES)
        shared = bits_of(rng.integers(0, 256, LANES), 8)
        found.append(
            (
                f"to_ring {ring}",
                to_ring_circuit(ring),
                Operands(bits_of(rho, ring), shared, (nothing, nothing), 0, ring),
            )
        )
    rho, shared = bits_of(rng.integers(0, 2**15, LANES), 15), bits_of(rng.integers(0, 2**13, LANES), 13)
    found.append(("13 bits to_ring 15", to_ring_circuit(15, 13), Operands(rho, shared, (nothing, nothing), 0, 15)))
    none = np.zeros((0, LANES), np.uint8)
    both = bits_of(rng.integers(0, 2**20, LANES), 20)
    found.append(("maximum", maximum_circuit(8, 2), Operands(none, both, (nothing, nothing), 0, 0)))
    table = tuple(int(v) for v in rng.integers(0, 256, 256))
    found.append(("lookup", lookup_circuit(table), Operands(none, both[:8], (nothing, nothing), 0, 0)))
    return found


CASES = cases()


@pytest.mark.parametrize("case", CASES, ids=[name for name, _, _ in CASES])
def test_claims_hold_in_an_honest_run(case: tuple[str, Circuit, Operands]) -> None:
    _, circuit, operands = case
    for seed in range(3):
        failing, _ = failing_lanes(circuit, operands, None, seed=seed)
        assert not failing.any()


@pytest.mark.parametrize("case", CASES, ids=[name for name, _, _ in CASES])
def test_every_flipped_message_breaks_a_claim_in_every_lane(case: tuple[str, Circuit, Operands]) -> None:
    name, circuit, operands = case
    _, trio = failing_lanes(circuit, operands, None)
    targets = [
        (stage, role, plane)
        for role, machine in enumerate(trio.machines)
        for stage, part in enumerate(machine.program.stages)
        for plane in range(sum(part.sends))
    ]
    assert len(targets) >= (30 if circuit.left_inputs else 10)
    for target in targets:

        def flip(stage: int, role: int, planes: Planes, wanted: tuple[int, int, int] = target) -> None:
            if (stage, role) == wanted[:2]:
                planes[wanted[2]] ^= 1

        failing, _ = failing_lanes(circuit, operands, flip, cheater=target[1])
        assert failing.all(), f"{name}: message {target} flipped, {int((~failing).sum())} lanes do not notice"


@pytest.mark.parametrize("error", [1, 2**7, 2**18])
def test_a_wrong_first_component_breaks_a_claim_in_every_lane(error: int) -> None:
    name, circuit, operands = CASES[0]
    failing, _ = failing_lanes(circuit, operands, None, shift_first=error)
    assert failing.all()


def unbound() -> list[Circuit]:
    """Circuits whose messages nothing would verify."""
    found = []
    circuit = Circuit()
    circuit.shared_outputs = [circuit.share(circuit.left(1)[0])]
    found.append(circuit)
    circuit = Circuit()
    circuit.left_outputs = [circuit.reveal(circuit.shared(1)[0])]
    found.append(circuit)
    circuit = Circuit()
    circuit.left_outputs = [circuit.reveal_inner([(circuit.shared(1)[0], circuit.right(1)[0])], circuit.right(1)[0])]
    found.append(circuit)
    return found


@pytest.mark.parametrize("position", range(3), ids=["share", "reveal", "reveal_inner"])
def test_a_circuit_with_an_unbound_message_is_refused(position: int) -> None:
    with pytest.raises(ValueError, match="nothing would verify"):
        VerifyingCompiler(unbound()[position], 0).verified()


def test_the_claims_are_as_many_as_planned() -> None:
    shape = RequantizeShape(48, 30, ring=48)
    rows = len(VerifyingCompiler(requantize_circuit(shape), 0).verified().rows)
    assert rows <= 516


def test_products_are_joined_by_the_same_factor_at_every_role() -> None:
    """Vectors of the three parties match element by element, and a factor is one wire: rows of it differ in x only."""
    shape = RequantizeShape(42, 29, ring=38)
    programs = compiled(requantize_circuit(shape))
    for verified in programs:
        np.testing.assert_array_equal(verified.factors, programs[0].factors)
        rows, groups, factors = verified.by_factor
        first = np.flatnonzero(np.diff(factors, prepend=-1))
        np.testing.assert_array_equal(factors[first], np.arange(verified.factor_count))
        np.testing.assert_array_equal(rows[:, 2:], rows[first[factors], 2:])
        order = np.argsort(verified.factors, kind="stable")
        np.testing.assert_array_equal(groups, verified.groups[order])
        np.testing.assert_array_equal(np.where(rows == ABSENT, verified.zero, rows), verified.rows[order])
    assert programs[0].factor_count < 0.65 * len(programs[0].rows)
