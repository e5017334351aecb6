"""Correlated randomness: what each operation consumes, what a dealer makes of it, and what a program consumes in all.

Every demand is a function of shapes. Its random parts are PRF streams under one key per party, which preprocessing and
that party share; what cannot be random at every party is corrected at one (:data:`CORRECTED`), so that only the
corrections travel. A demand has a block of PRF domains of its own, numbered from its ``domain``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from mpc_bridge.backends.additive.compile import CORRECTED, DealerCompiler, corrected
from mpc_bridge.backends.sharing.circuit import Circuit, Kind
from mpc_bridge.backends.sharing.microcode import Microprogram
from mpc_bridge.backends.sharing.planes import PlaneLane, Scratch, plane_stride
from mpc_bridge.backends.sharing.requantize import WIDTH
from mpc_bridge.backends.sharing.shares import DeviceBuffer
from mpc_bridge.kernels import Device, packed_bytes
from mpc_bridge.lowering.program import Linear

#: PRF domains that a demand may use.
DOMAINS = 4


@dataclass
class Dealing:
    """A dealer's state: all keys, and the second operands of products that go on being used.

    Attributes:
        keys: by party.
        factors: linear step's output → the packed mask of its weights.
    """

    device: Device
    keys: Sequence[bytes]
    scratch: Scratch
    factors: dict[int, Any] = field(default_factory=dict)
    programs: dict[Circuit, Microprogram] = field(default_factory=dict)

    def sum_of_pads(self, domain: int, size: int, parties: Sequence[int] | None = None) -> DeviceBuffer:
        """The ring sum of the parties' (None: of all) streams of one domain."""
        total = self.device.zeros(size, np.uint64)
        pad = self.device.empty(size, np.uint64)
        for party in range(len(self.keys)) if parties is None else parties:
            self.device.prf_fill(self.keys[party], domain, pad)
            self.device.ring_add(total, pad, total)
        return total

    def others(self) -> list[int]:
        """Parties whose summands are pads."""
        return [party for party in range(len(self.keys)) if party != CORRECTED]

    def program(self, circuit: Circuit) -> Microprogram:
        """The corrections of one circuit."""
        if circuit not in self.programs:
            self.programs[circuit] = DealerCompiler(circuit, len(self.keys)).compile()
        return self.programs[circuit]


class Demand(Protocol):
    """One piece of correlated randomness."""

    @property
    def size(self) -> int:
        """Bytes of its corrections."""
        ...

    @property
    def correlations(self) -> Mapping[str, int]:
        """What it is, as ``runtime.meter.Work`` names and counts it."""
        ...

    def deal(self, dealing: Dealing, domain: int) -> DeviceBuffer:
        """The corrections: uint8, :attr:`size` of them."""
        ...


@dataclass(frozen=True)
class Factor:
    """A mask B for the second operand of a linear step: domain 0, ``W.size`` words."""

    step: Linear

    @property
    def size(self) -> int:
        return 0

    @property
    def correlations(self) -> Mapping[str, int]:
        return {}

    def deal(self, dealing: Dealing, domain: int) -> DeviceBuffer:
        mask = dealing.sum_of_pads(domain, factor_size(self.step))
        packed = mask if self.step.depthwise else dealing.device.conv2d_pack(self.step.geometry, [mask])
        dealing.factors[self.step.output] = packed
        return dealing.device.empty(0, np.uint8)


@dataclass(frozen=True)
class Product:
    """A mask A for the first operand (domain 0) and a sharing of the product C of A and the step's B (domain 1)."""

    step: Linear

    @property
    def size(self) -> int:
        return packed_bytes(product_size(self.step), self.step.ring)

    @property
    def correlations(self) -> Mapping[str, int]:
        return {"matrix_triples": 1}

    def deal(self, dealing: Dealing, domain: int) -> DeviceBuffer:
        g, device = self.step.geometry, dealing.device
        mask = dealing.sum_of_pads(domain, operand_size(self.step))
        factor = dealing.factors[self.step.output]
        if self.step.depthwise:
            product = device.depthwise2d(g, [mask], [0], [factor])
        else:
            product = device.conv2d(g, [mask], [0], factor)
        product = product.reshape(-1)
        others = dealing.sum_of_pads(domain + 1, product.size, dealing.others())
        return device.pack_bits(device.ring_sub(product, others), self.step.ring)


@dataclass(frozen=True)
class Gates:
    """Everything a boolean circuit needs on ``lanes`` lanes, pads in domain 0.

    ``operand`` is the width of the random number whose bits the left wires are: the sum of the parties' streams of
    domain 1. Zero for a circuit without left wires. Circuits are rebuilt at need, so equal demands may hold two.
    """

    circuit: Circuit = field(compare=False, repr=False)
    lanes: int
    operand: int = 0

    @property
    def size(self) -> int:
        return len(corrected(self.circuit)) * (-(-self.lanes // 8))

    @property
    def correlations(self) -> Mapping[str, int]:
        return gate_correlations(self.circuit, self.lanes, self.operand)

    def deal(self, dealing: Dealing, domain: int) -> DeviceBuffer:
        device, program = dealing.device, dealing.program(self.circuit)
        planes = dealing.scratch.take("planes", program.registers * plane_stride(self.lanes))
        lane = PlaneLane(device, dealing.scratch, program, self.lanes, planes, b"".join(dealing.keys), domain, 0)
        if self.operand:
            lane.fill(0, dealing.sum_of_pads(domain + 1, self.lanes), self.operand)
        lane.run(0)
        return lane.save(program.outputs, program.output_count)


@dataclass(frozen=True)
class Bits:
    """Random bytes shared by XOR (domain 0), and each of their bits shared in the ring (domain 1): daBits.

    The ring sharing lies bit by bit: all lowest bits, then the next.
    """

    lanes: int
    ring: int

    @property
    def size(self) -> int:
        return packed_bytes(WIDTH * self.lanes, self.ring)

    @property
    def correlations(self) -> Mapping[str, int]:
        return {"dabits": WIDTH * self.lanes}

    def deal(self, dealing: Dealing, domain: int) -> DeviceBuffer:
        device = dealing.device
        total = device.zeros(self.lanes, np.uint8)
        pad = device.empty(self.lanes, np.uint8)
        for key in dealing.keys:
            device.bits_xor(total, device.prf_fill(key, domain, pad), total)
        planes = device.bytes_slice(total, 0, WIDTH)
        bits = device.empty(WIDTH * self.lanes, np.uint64)
        for bit in range(WIDTH):
            device.bits_unslice(planes[bit : bit + 1], self.lanes, bits[bit * self.lanes : (bit + 1) * self.lanes])
        others = dealing.sum_of_pads(domain + 1, WIDTH * self.lanes, dealing.others())
        return device.pack_bits(device.ring_sub(bits, others, bits), self.ring)


def gate_correlations(circuit: Circuit, lanes: int, operand: int) -> dict[str, int]:
    """What a dealer's circuit uses: a triple per ``dot`` gate, and the random number that its left wires are."""
    triples = lanes * sum(circuit.gates[wire].kind is Kind.DOT for wire in corrected(circuit))
    return {"edabits": lanes, "and_triples": triples} if operand else {"and_triples": triples}


def factor_size(step: Linear) -> int:
    """Elements of a linear step's second operand."""
    g = step.geometry
    return g.kernel[0] * g.kernel[1] * g.out_channels * (1 if step.depthwise else g.in_channels)


def operand_size(step: Linear) -> int:
    """Elements of a linear step's first operand."""
    g = step.geometry
    return g.batch * g.in_height * g.in_width * g.in_channels


def product_size(step: Linear) -> int:
    """Elements of a linear step's result."""
    g = step.geometry
    return g.batch * g.out_height * g.out_width * g.out_channels
