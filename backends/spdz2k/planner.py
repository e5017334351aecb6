"""What a program demands of preprocessing, in order: the shared engine run on shares without components."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mpc_bridge.backends.additive import planner as additive
from mpc_bridge.backends.additive.demands import product_size
from mpc_bridge.backends.additive.owner import output_width
from mpc_bridge.backends.additive.planner import dry_run, shared_circuit
from mpc_bridge.backends.sharing.circuit import Circuit
from mpc_bridge.backends.sharing.engine import SharingEngine
from mpc_bridge.backends.sharing.entry import input_width
from mpc_bridge.backends.sharing.planes import PlaneSink, PlaneSource
from mpc_bridge.backends.sharing.requantize import RequantizeShape
from mpc_bridge.backends.sharing.shares import BitShare, DeviceBuffer, RingShare, SharedTensor
from mpc_bridge.backends.spdz2k.demands import Bits, Demand, Entry, Exit, Factor, Gates, Product, RingExit
from mpc_bridge.backends.spdz2k.masks import slabs
from mpc_bridge.kernels import Device, cpu_device
from mpc_bridge.lowering.program import Linear, Output, Program, Requantize, Value


@dataclass(frozen=True)
class Plan:
    """Demands in order: once per program, and once per sample."""

    setup: tuple[Demand, ...]
    sample: tuple[Demand, ...]

    def circuits(self) -> list[Circuit]:
        """The distinct circuits of all demands."""
        return list(dict.fromkeys(demand.circuit for demand in (*self.setup, *self.sample)
                                  if isinstance(demand, Gates)))


def entries(value: Value) -> list[Entry]:
    """What an owner's value needs to come in."""
    width = input_width(value)
    return [Entry(part.stop - part.start, width, value.ring, value.bits) for part in slabs(value.size)]


def exits(value: Value) -> list[Exit | RingExit]:
    """What an output needs to go out."""
    width = output_width(value)
    sums = value.kind == "accumulator"
    return [RingExit(part.stop - part.start, width) if sums else Exit(part.stop - part.start, width)
            for part in slabs(value.size)]


class _Planner(additive.Planner):
    """A protocol without shares that writes down what it is asked for."""

    def __init__(self, device: Device) -> None:
        super().__init__(device)
        self.noted: list[Demand] = []

    def load(self, value: Value, message: bytes) -> tuple[RingShare | None, BitShare | None]:
        self.noted += entries(value)
        return super().load(value, message)

    def pack(self, step: Linear, weights: RingShare, bias: RingShare | None) -> None:
        self.noted.append(Factor(step))

    def product(self, step: Linear, x: RingShare, packed: None) -> RingShare:
        self.noted.append(Product(step))
        return RingShare((), product_size(step), step.ring)

    def requantize(
        self, step: Requantize, shape: RequantizeShape, x: RingShare
    ) -> tuple[RingShare | None, BitShare | None]:
        for part in slabs(x.size, len(step.multiplier)):
            self.noted.append(Gates(shared_circuit(shape), part.stop - part.start, shape.bits))
        bits = BitShare((), x.size)
        return self.to_ring(bits, shape.ring, step.output) if shape.ring else None, bits

    def to_ring(self, x: BitShare, ring: int, turn: int) -> RingShare:
        self.noted += [Bits(part.stop - part.start, ring) for part in slabs(x.size)]
        return RingShare((), x.size, ring)

    def evaluate(
        self, circuit: Circuit, sources: Sequence[PlaneSource], sinks: Sequence[PlaneSink], lanes: int
    ) -> list[tuple[DeviceBuffer, ...]]:
        self.noted += [Gates(circuit, part.stop - part.start) for part in slabs(lanes)]
        return [() for _ in sinks]


class _PlanningEngine(SharingEngine):
    def __init__(self, planner: _Planner, program: Program) -> None:
        super().__init__(planner, program)
        self._planner = planner

    def output(self, step: Output, x: SharedTensor) -> bytes:
        self._planner.noted += exits(self._values[step.inputs[0]])
        return b""


def plan(program: Program) -> Plan:
    """Everything that evaluating ``program`` demands."""
    planner = _Planner(cpu_device())
    setup: list[Demand] = []

    def cut() -> None:
        setup.extend(planner.noted)
        planner.noted = []

    dry_run(_PlanningEngine(planner, program), program, cut)
    return Plan(tuple(setup), tuple(planner.noted))
