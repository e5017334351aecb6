"""spdz2k: n parties, dishonest majority, malicious with abort, from correlated randomness with MACs.

The messages of :class:`~mpc_bridge.backends.additive.protocol.Additive`, in rings with sigma more bits. Whatever a
party sends is a public combination of what preprocessing dealt it, so every value has a MAC by the same combination
of dealt MACs, and everything opened is checked (``openings``) before anything is revealed. Masks are uniform over
whole rings and used once, so nothing opened before its check tells anything.

Components of a value: summands of a ring value and of its MAC, wide ``[size, 2]``; of bits one of uint8 (or uint64)
elements, and for each bit one of words, its MACs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mpc_bridge.backends.additive.compile import CORRECTED
from mpc_bridge.backends.additive.demands import factor_size, operand_size, product_size
from mpc_bridge.backends.additive.planner import shared_circuit
from mpc_bridge.backends.sharing.circuit import Circuit, and_gates
from mpc_bridge.backends.sharing.planes import PlaneSink, PlaneSource
from mpc_bridge.backends.sharing.protocol import TwoSided
from mpc_bridge.backends.sharing.requantize import WIDTH, RequantizeShape, tie_operands
from mpc_bridge.backends.sharing.shares import BitShare, DeviceBuffer, RingShare
from mpc_bridge.backends.sharing.trust import Trust
from mpc_bridge.backends.spdz2k.authenticated import Authenticated
from mpc_bridge.backends.spdz2k.borders import Borders, joined, open_ring
from mpc_bridge.backends.spdz2k.circuits import Circuits
from mpc_bridge.backends.spdz2k.demands import SIGMA, Bits, Factor, Gates, Product
from mpc_bridge.backends.spdz2k.masks import slabs
from mpc_bridge.backends.spdz2k.openings import Openings
from mpc_bridge.backends.spdz2k.planner import Plan
from mpc_bridge.backends.spdz2k.source import SealedSource
from mpc_bridge.backends.spdz2k.wide import Filters
from mpc_bridge.kernels import packed_bytes
from mpc_bridge.lowering.program import Linear, Requantize, Value
from mpc_bridge.runtime.session import Session


@dataclass(frozen=True)
class OpenedWeights:
    """A linear step's second operand: summands of w and of its MAC, each with the public ``w - B``; and the bias."""

    value: Filters
    mac: Filters
    bias: RingShare | None


class PartyTrust(Trust):
    """Coins and commitments; what is erased is everything that this party knows alone."""

    def __init__(self, session: Session, source: SealedSource) -> None:
        super().__init__(session)
        self._source = source
        self.openings = Openings(session, self)

    def keys(self) -> bytes:
        """All of this party's secrets that last."""
        return self._source.keys.encode()

    def erase(self) -> None:
        """Coins, keys, what was dealt, records."""
        super().erase()
        self._source.erase()
        self.openings.erase()


class Spdz2k:
    """One party's side (``sharing.protocol.SharingProtocol``)."""

    width = 2

    def __init__(self, session: Session, source: SealedSource, plan: Plan) -> None:
        self._session, self._source, self._plan = session, source, plan
        self.device = session.device
        self.party = session.party
        first = session.party == CORRECTED
        self.constant = 0 if first else None
        self._trust = PartyTrust(session, source)
        self._openings = self._trust.openings
        self.arithmetic = Authenticated(self.device, source, first)
        self._circuits = Circuits(source, self._openings, session.parties, session.party)
        self._borders = Borders(self._trust, self._openings, self.arithmetic, self._circuits)

    @property
    def soundness_bits(self) -> float | None:
        """-log2 of the chance that cheating went unnoticed so far; None before anything was checked."""
        return self._openings.soundness_bits

    # Setup ----------------------------------------------------------------------------------------------------------

    def setup(self) -> None:
        """Keys for pairs of parties, commitments to coins, the dealer's keys."""
        self._openings.setup()
        self._trust.setup()
        self._source.start_setup()

    def preprocess(self) -> None:
        """What one inference needs, before its inputs are there."""
        self._source.start_sample()

    def warm(self, two_sided: Sequence[TwoSided], plain: Sequence[Circuit]) -> None:
        """What the plan holds is what will run. Gates are counted ahead, too."""
        for circuit in self._plan.circuits():
            and_gates(circuit, right_is_public=True)
            self._circuits.compile(circuit)

    # Owners ---------------------------------------------------------------------------------------------------------

    def mask(self, value: Value) -> bytes:
        """For the value's owner, before it sends anything."""
        return self._borders.mask(value)

    def load(self, value: Value, message: bytes) -> tuple[RingShare | None, BitShare | None]:
        """From the owner's masked value, after :meth:`mask`."""
        return self._borders.load(value, message)

    def reveal(self, components: tuple[DeviceBuffer, ...], width: int) -> bytes:
        """For the receiver, once everything is verified."""
        return self._borders.reveal(components, width)

    def reveal_ring(self, x: RingShare) -> bytes:
        """For the receiver, once everything is verified."""
        return self._borders.reveal_ring(x)

    # Products -------------------------------------------------------------------------------------------------------

    def _open(self, x: RingShare, bits: int, label: str) -> DeviceBuffer:
        """Masked ring values modulo ``2**bits``: one round, as many bits per element to each other party."""
        return open_ring(self._openings, self.arithmetic, x, bits, label)

    def pack(self, step: Linear, weights: RingShare, bias: RingShare | None) -> OpenedWeights:
        """Opens ``E = w - B``: once per model for weights."""
        ticket, size = self._source.take(Factor(step)), factor_size(step)
        mask = RingShare((self.arithmetic.stream(ticket, 0, size),
                          self.arithmetic.dealt(ticket, 1, size, step.ring, ticket.corrections, 0)), size, step.ring)
        opened = self._open(self.arithmetic.minus(weights, mask), step.ring + SIGMA, "masked weights")
        self._openings.settle()
        share, mac = weights.components
        return OpenedWeights(
            Filters(self.device, step, [share, opened]), Filters(self.device, step, [mac, opened]), bias)

    def finish_setup(self) -> None:
        """Weights are what their owner entered before the first inference uses them."""
        self._openings.verify()

    def product(self, step: Linear, x: RingShare, packed: OpenedWeights) -> RingShare:
        """``D * w_i + A_i * E + C_i``, with ``D = x - zero - A`` opened: one round. Likewise the MACs."""
        self._session.meter.count_work(ring_multiplications=step.macs)
        device, arithmetic, ring = self.device, self.arithmetic, step.ring
        ticket, size = self._source.take(Product(step)), operand_size(step)
        mask = RingShare((arithmetic.stream(ticket, 0, size),
                          arithmetic.dealt(ticket, 1, size, ring, ticket.corrections, 0)), size, ring)
        hidden = arithmetic.plus(arithmetic.minus(x, mask), -step.zero)
        opened = self._open(hidden, ring + SIGMA, "masked operand")
        count = product_size(step)
        total = arithmetic.dealt_pair(ticket, 2, count, ring, ticket.corrections, packed_bytes(size, ring + SIGMA))
        parts = [filters.apply([opened, own]) for filters, own
                 in zip((packed.value, packed.mac), mask.components, strict=True)]
        arithmetic.add(total, RingShare(tuple(parts), count, ring))
        if packed.bias is not None:
            for z, bias in zip(total.components, packed.bias.components, strict=True):
                device.wide_add_channel(z, bias)
        self._openings.settle()
        return total

    # Circuits -------------------------------------------------------------------------------------------------------

    def requantize(
        self, step: Requantize, shape: RequantizeShape, x: RingShare
    ) -> tuple[RingShare | None, BitShare | None]:
        """Opens ``B = acc * multiplier + constant - R``, then runs the circuit on R's dealt bits and the public B."""
        constant, moved = tie_operands(step)
        z = self.arithmetic.affine(x, step.multiplier, constant)
        parts = []
        for part in slabs(x.size, len(step.multiplier)):
            cut = RingShare(tuple(component[part] for component in z.components), part.stop - part.start, x.width)
            parts.append(self._requantized(shape, cut, moved))
        bits = BitShare(joined(self.device, parts), x.size)
        return self.to_ring(bits, shape.ring, step.output) if shape.ring else None, bits

    def _requantized(
        self, shape: RequantizeShape, z: RingShare, moved: Sequence[int] | None
    ) -> tuple[DeviceBuffer, ...]:
        device, circuit, bits = self.device, shared_circuit(shape), shape.bits
        self._count_gates(circuit, z.size)
        demand = Gates(circuit, z.size, bits)
        ticket = self._source.take(demand)
        random = RingShare((self.arithmetic.stream(ticket, 1, z.size),
                            self.arithmetic.dealt(ticket, 2, z.size, bits, ticket.corrections,
                                                  8 * demand.rows * z.size)), z.size, bits)
        opened = self._open(self.arithmetic.minus(z, random), bits + SIGMA, "masked accumulator")
        words = device.wide_low(opened, 64)
        lane = self._circuits.lane(circuit, demand, ticket)
        lane.fill(0, words, bits)
        if shape.tie is not None:
            assert moved is not None
            by_channel = device.from_host(np.array([value % 2**64 for value in moved], np.uint64))
            ones = device.from_host(np.ones(len(moved), np.uint64))
            lane.fill(bits, device.ring_channel_affine(words, ones, by_channel), shape.tie_planes, shape.tie.bit)
        macs = self._circuits.run(circuit, demand, ticket, lane, [])
        result = device.empty(z.size, np.uint8)
        lane.drain(0, WIDTH, result)
        self._openings.settle()
        return result, *macs

    def to_ring(self, x: BitShare, ring: int, turn: int) -> RingShare:
        """Opens the bits under daBits: one round, 8 bits to each other party."""
        device, parts = self.device, []
        for part in slabs(x.size):
            own, *rows = (component[part] for component in x.components)
            lanes = len(own)
            ticket = self._source.take(Bits(lanes, ring))
            mask = device.prf_fill(self._source.key, ticket.domain, device.empty(lanes, np.uint8))
            public = device.words_of(self._openings.open_bytes(device.bits_xor(own, mask, mask), "masked bits"))
            self._circuits.opened(ticket, public, rows, ticket.corrections)
            masks = self.arithmetic.dealt_pair(ticket, 2, WIDTH * lanes, ring, ticket.corrections, 8 * WIDTH * lanes)
            parts.append(self.arithmetic.unmask(public, masks, WIDTH))
            self._openings.settle()
        return self.arithmetic.joined(parts)

    def evaluate(
        self, circuit: Circuit, sources: Sequence[PlaneSource], sinks: Sequence[PlaneSink], lanes: int
    ) -> list[tuple[DeviceBuffer, ...]]:
        self._count_gates(circuit, lanes)
        found: list[list[tuple[DeviceBuffer, ...]]] = [[] for _ in sinks]
        for part in slabs(lanes):
            demand = Gates(circuit, part.stop - part.start)
            ticket = self._source.take(demand)
            lane = self._circuits.lane(circuit, demand, ticket)
            register, rows = 0, []
            for source in sources:
                lane.fill(register, source.components[0][part], source.count)
                rows += [mac[part] for mac in source.components[1 : 1 + source.count]]
                register += source.count
            macs = self._circuits.run(circuit, demand, ticket, lane, rows)
            output = 0
            for sink, parts in zip(sinks, found, strict=True):
                target = self.device.empty(demand.lanes, np.uint64 if sink.wide else np.uint8)
                lane.drain(output, sink.count, target)
                parts.append((target, *macs[output : output + sink.count]))
                output += sink.count
            self._openings.settle()
        return [joined(self.device, parts) for parts in found]

    def _count_gates(self, circuit: Circuit, lanes: int) -> None:
        self._session.meter.count_work(and_gates=and_gates(circuit, right_is_public=True) * lanes)
