"""A second plane machine, in numpy: the microcode's meaning, three roles in one process. Tests compare against it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mpc_bridge.backends.replicated.compile import compile_roles
from mpc_bridge.backends.sharing.circuit import Circuit
from mpc_bridge.backends.sharing.microcode import Microprogram, Op

Planes = np.ndarray


def bits_of(values: Sequence[int], width: int) -> Planes:
    """uint8 ``[width, lanes]`` of zeros and ones."""
    array = np.array(values, dtype=np.uint64)
    return (
        np.stack([(array >> np.uint64(i)).astype(np.uint8) & 1 for i in range(width)])
        if width
        else np.zeros((0, len(array)), np.uint8)
    )


def number_of(planes: Planes) -> np.ndarray:
    """uint64 per lane."""
    total = np.zeros(planes.shape[1], dtype=np.uint64)
    for i, plane in enumerate(planes):
        total |= plane.astype(np.uint64) << np.uint64(i)
    return total


class Machine:
    """One role."""

    def __init__(self, program: Microprogram, inputs: Planes, pads: Sequence[Planes]) -> None:
        self.program, self.pads = program, pads
        self.registers = np.zeros((program.registers, inputs.shape[1]), np.uint8)
        assert inputs.shape[0] == program.inputs
        self.registers[: program.inputs] = inputs

    def run(self, stage: int, incoming: Planes) -> Planes:
        part = self.program.stages[stage]
        r = self.registers
        outgoing = np.full((sum(part.sends), r.shape[1]), 2, np.uint8)
        for op, d, a, b in part.code.tolist():
            if op == Op.ZERO:
                r[d] = 0
            elif op == Op.ONES:
                r[d] = 1
            elif op == Op.COPY:
                r[d] = r[a]
            elif op == Op.XOR:
                r[d] = r[a] ^ r[b]
            elif op == Op.AND:
                r[d] = r[a] & r[b]
            elif op == Op.XORAND:
                r[d] ^= r[a] & r[b]
            elif op == Op.NOT:
                r[d] = 1 - r[a]
            elif op == Op.PRF:
                r[d] = self.pads[a][b]
            elif op == Op.XPRF:
                r[d] ^= self.pads[a][b]
            elif op == Op.SEND:
                outgoing[b] = r[a]
            elif op == Op.RECV:
                r[d] = incoming[b]
        assert outgoing.max(initial=0) <= 1, "a planned message was never written"
        return outgoing


Tamper = Callable[[int, int, Planes], None]


class Trio:
    """Three roles of one circuit in lockstep.

    Args:
        inputs: per role, its input planes.
        tamper: called with stage, sender and the planes it sends, which it may change.
    """

    def __init__(
        self,
        programs: Sequence[Microprogram],
        inputs: Sequence[Planes],
        rng: np.random.Generator,
        tamper: Tamper | None = None,
    ) -> None:
        lanes = inputs[0].shape[1]
        pads = [rng.integers(0, 2, (programs[0].pads, lanes), dtype=np.uint8) for _ in range(3)]
        self.machines = [Machine(programs[r], inputs[r], [pads[r], pads[(r + 1) % 3]]) for r in range(3)]
        self.mail = [np.zeros((0, lanes), np.uint8)] * 3
        self.sent: dict[tuple[int, int], int] = {}
        self.tamper = tamper

    def step(self, stage: int) -> None:
        """One stage at every role; its messages are delivered."""
        out = [machine.run(stage, self.mail[role]) for role, machine in enumerate(self.machines)]
        if self.tamper is not None:
            for role in range(3):
                self.tamper(stage, role, out[role])
        parts = [np.split(out[r], [m.program.stages[stage].sends[0]]) for r, m in enumerate(self.machines)]
        for role, machine in enumerate(self.machines):
            previous, following = (role + 2) % 3, (role + 1) % 3
            self.sent[role, previous] = self.sent.get((role, previous), 0) + len(parts[role][0])
            self.sent[role, following] = self.sent.get((role, following), 0) + len(parts[role][1])
            self.mail[role] = np.concatenate([parts[following][0], parts[previous][1]])
            stages = machine.program.stages
            assert len(self.mail[role]) == (sum(stages[stage + 1].receives) if stage + 1 < len(stages) else 0)

    def outputs(self, role: int) -> Planes:
        machine = self.machines[role]
        program = machine.program
        return machine.registers[program.outputs : program.outputs + program.output_count]


def split(shared: Planes, rng: np.random.Generator) -> list[Planes]:
    """Three components."""
    components = [rng.integers(0, 2, shared.shape, dtype=np.uint8) for _ in range(2)]
    return [*components, shared ^ components[0] ^ components[1]]


def run_rep3(
    circuit: Circuit, lanes: int, left: Planes, right: Planes, shared: Planes, rng: np.random.Generator
) -> tuple[Planes, Planes, Mapping[tuple[int, int], int], int]:
    """Left outputs, shared outputs (reconstructed), planes sent per ``(from, to)`` and rounds."""
    programs = compile_roles(circuit)
    components = split(shared, rng)
    inputs = [
        np.concatenate([left if role == 0 else right, components[role], components[(role + 1) % 3]])
        for role in range(3)
    ]
    trio = Trio([programs[role] for role in range(3)], inputs, rng)
    stages = len(programs[0].stages)
    for stage in range(stages):
        trio.step(stage)
    results = [trio.outputs(role) for role in range(3)]
    lefts = len(circuit.left_outputs)
    width = len(circuit.shared_outputs)
    left_out, results[0] = results[0][:lefts], results[0][lefts:]
    for role in range(3):  # both holders of a component agree on it
        np.testing.assert_array_equal(results[role][width:], results[(role + 1) % 3][:width])
    total = results[0][:width] ^ results[1][:width] ^ results[2][:width]
    return left_out, total, trio.sent, stages - 1
