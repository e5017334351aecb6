"""What a program demands of preprocessing, in order: the engine run on shares without components.

The same code that evaluates a program says what it consumes, so parties and dealer cannot disagree about it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from mpc_bridge.backends.additive.demands import Bits, Demand, Factor, Gates, Product, product_size
from mpc_bridge.backends.sharing.circuit import Circuit
from mpc_bridge.backends.sharing.engine import SharingEngine
from mpc_bridge.backends.sharing.planes import PlaneSink, PlaneSource
from mpc_bridge.backends.sharing.protocol import TwoSided
from mpc_bridge.backends.sharing.requantize import RequantizeShape, requantize_circuit
from mpc_bridge.backends.sharing.shares import BitShare, DeviceBuffer, RingShare
from mpc_bridge.kernels import Device, cpu_device
from mpc_bridge.lowering.program import Input, Linear, Output, Program, Requantize, Value
from mpc_bridge.runtime.executor import run_online, run_setup
from mpc_bridge.runtime.meter import CostMeter


@dataclass(frozen=True)
class Plan:
    """Demands in order: once per program, and once per sample."""

    setup: tuple[Demand, ...]
    sample: tuple[Demand, ...]

    def circuits(self) -> list[Circuit]:
        """The distinct circuits of all demands."""
        return list(dict.fromkeys(demand.circuit for demand in (*self.setup, *self.sample)
                                  if isinstance(demand, Gates)))


def shared_circuit(shape: RequantizeShape) -> Circuit:
    """The requantise circuit as far as its shared bits: conversion to a ring is another demand here."""
    return requantize_circuit(replace(shape, ring=0, planes=True))


class Planner:
    """A protocol without shares that writes down what it is asked for (``sharing.protocol.SharingProtocol``)."""

    width = 0
    constant: int | None = None
    soundness_bits: float | None = None

    def __init__(self, device: Device) -> None:
        self.device = device
        self.demands: list[Demand] = []

    def setup(self) -> None:
        """Nothing to agree on."""

    def warm(self, two_sided: Sequence[TwoSided], plain: Sequence[Circuit]) -> None:
        """Nothing to compile."""

    def load(self, value: Value, message: bytes) -> tuple[RingShare | None, BitShare | None]:
        return RingShare((), value.size, value.ring), BitShare((), value.size)

    def reveal(self, components: tuple[DeviceBuffer, ...], width: int) -> bytes:
        return b""

    def reveal_ring(self, x: RingShare) -> bytes:
        return b""

    def pack(self, step: Linear, weights: RingShare, bias: RingShare | None) -> None:
        self.demands.append(Factor(step))

    def finish_setup(self) -> None:
        """Nothing to check."""

    def product(self, step: Linear, x: RingShare, packed: None) -> RingShare:
        self.demands.append(Product(step))
        return RingShare((), product_size(step), step.ring)

    def requantize(
        self, step: Requantize, shape: RequantizeShape, x: RingShare
    ) -> tuple[RingShare | None, BitShare | None]:
        self.demands.append(Gates(shared_circuit(shape), x.size, shape.bits))
        bits = BitShare((), x.size)
        return self.to_ring(bits, shape.ring, step.output) if shape.ring else None, bits

    def to_ring(self, x: BitShare, ring: int, turn: int) -> RingShare:
        self.demands.append(Bits(x.size, ring))
        return RingShare((), x.size, ring)

    def evaluate(
        self, circuit: Circuit, sources: Sequence[PlaneSource], sinks: Sequence[PlaneSink], lanes: int
    ) -> list[tuple[DeviceBuffer, ...]]:
        self.demands.append(Gates(circuit, lanes))
        return [() for _ in sinks]


def plan(program: Program) -> Plan:
    """Everything that evaluating ``program`` demands."""
    planner = Planner(cpu_device())
    setup: list[Demand] = []

    def cut() -> None:
        setup.extend(planner.demands)
        planner.demands = []

    dry_run(SharingEngine(planner, program), program, cut)
    return Plan(tuple(setup), tuple(planner.demands))


def dry_run(engine: SharingEngine, program: Program, prepared: Callable[[], None]) -> None:
    """Setup and one sample of an engine on a protocol without shares; ``prepared`` is called between them."""

    def read(index: int, step: Input) -> bytes:
        return b""

    def write(index: int, step: Output, message: bytes) -> None:
        """Nobody listens."""

    meter = CostMeter()
    packed = run_setup(engine, program, read, meter)
    prepared()
    with meter.phase("online"):
        run_online(engine, program, packed, read, write, meter)
