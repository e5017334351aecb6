"""additive: n parties, dishonest majority, semi-honest sharing over ``Z_2^k`` and bits, from correlated randomness.

``x = sum x_i``, one summand per party. Products by Beaver's method with masked weights opened once per model: an
inference opens only ``D = x - A``, and with ``E = w - B`` known, ``xw = D*w + A*E + A*B``. Requantise: ``B = z - R``
is opened for a random R whose bits preprocessing shares, with all monomials of every block, so that of
``z = R + B`` the left operand is preprocessing's and the right one public (``additive.compile``). Bits become ring
elements through daBits. Costs per element, bits that each party sends to each other one: k per input of a linear step,
N + one per masked wire for requantise, 8 for b2a.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mpc_bridge.backends.additive.compile import CORRECTED, compile_party, corrected
from mpc_bridge.backends.additive.demands import (
    Bits,
    Factor,
    Gates,
    Product,
    factor_size,
    operand_size,
    product_size,
)
from mpc_bridge.backends.additive.owner import BITS_DOMAIN, RING_DOMAIN, explicit_size
from mpc_bridge.backends.additive.planner import Plan, shared_circuit
from mpc_bridge.backends.additive.source import Source, Ticket
from mpc_bridge.backends.sharing.circuit import Circuit, and_gates
from mpc_bridge.backends.sharing.microcode import Microprogram
from mpc_bridge.backends.sharing.planes import PlaneLane, PlaneSink, PlaneSource, Scratch, plane_stride
from mpc_bridge.backends.sharing.protocol import TwoSided
from mpc_bridge.backends.sharing.requantize import WIDTH, RequantizeShape, tie_operands
from mpc_bridge.backends.sharing.shares import BitShare, DeviceBuffer, RingShare
from mpc_bridge.errors import MalformedFrame
from mpc_bridge.kernels import packed_bytes
from mpc_bridge.kernels.prf import KEY_BYTES, fresh_key
from mpc_bridge.lowering.program import Linear, Requantize, Value
from mpc_bridge.runtime.session import Session


@dataclass(frozen=True)
class PackedWeights:
    """Own summand of w and the public E of one linear step: packed as the device wants it, or two filter banks."""

    dense: DeviceBuffer | None
    filters: tuple[DeviceBuffer, DeviceBuffer] | None
    bias: DeviceBuffer | None


class Additive:
    """One party's side (``sharing.protocol.SharingProtocol``)."""

    width = 1
    #: whether all parties know the right operands of circuits
    right_is_public = True

    def __init__(self, session: Session, source: Source, plan: Plan) -> None:
        self._session = session
        self._source = source
        self._plan = plan
        self.device = session.device
        self.party = session.party
        self._peers = [peer for peer in range(session.parties) if peer != session.party]
        self._first = session.party == CORRECTED
        self.constant = 0 if self._first else None
        self._zero_keys: dict[int, bytes] = {}
        self._scratch = Scratch(self.device)
        self._programs: dict[Circuit, Microprogram] = {}
        self._channels: dict[int, tuple[DeviceBuffer, DeviceBuffer, DeviceBuffer | None]] = {}

    @property
    def soundness_bits(self) -> float | None:
        """None: nothing is checked."""
        return None

    # Setup ----------------------------------------------------------------------------------------------------------

    def setup(self) -> None:
        """A key for every pair of parties, drawn by the lower one; one round. Then preprocessing's own setup."""
        fresh = {peer: fresh_key() for peer in self._peers if peer > self.party}
        received = {peer: bytearray(KEY_BYTES) for peer in self._peers if peer < self.party}
        self._session.exchange({peer: [key] for peer, key in fresh.items()},
                               {peer: [key] for peer, key in received.items()}, label="keys")
        self._zero_keys = {**fresh, **{peer: bytes(key) for peer, key in received.items()}}
        self._source.start_setup()

    def preprocess(self) -> None:
        """What one inference needs, before its inputs are there."""
        self._source.start_sample()

    def warm(self, two_sided: Sequence[TwoSided], plain: Sequence[Circuit]) -> None:
        """What the plan holds is what will run. Gates are counted ahead, too."""
        for circuit in self._plan.circuits():
            and_gates(circuit, self.right_is_public)
            self._program(circuit)

    def _program(self, circuit: Circuit) -> Microprogram:
        if circuit not in self._programs:
            self._programs[circuit] = compile_party(circuit, self._session.parties, self.party)
        return self._programs[circuit]

    # Owners ---------------------------------------------------------------------------------------------------------

    def load(self, value: Value, message: bytes) -> tuple[RingShare | None, BitShare | None]:
        """Own summand from a seed, or as it is at the corrected party: no message among the parties."""
        expected = explicit_size(value) if self._first else KEY_BYTES
        if len(message) != expected:
            raise MalformedFrame(
                f"the owner of {value.name} sent {len(message)} bytes instead of {expected}",
                where=f"party {self.party}, input",
                hint="run the same version of mpc-bridge at every party",
            )
        device = self.device
        explicit = device.from_host(np.frombuffer(message, np.uint8))
        ring = bits = None
        at = packed_bytes(value.size, value.ring) if value.ring else 0
        if value.ring:
            summand = device.empty(value.size, np.uint64)
            if self._first:
                device.unpack_bits(explicit[:at], value.size, value.ring, summand)
            else:
                device.prf_fill(message, RING_DOMAIN, summand)
            ring = RingShare((summand,), value.size, value.ring)
        if value.bits:
            own = explicit[at:] if self._first else device.prf_fill(
                message, BITS_DOMAIN, device.empty(value.size, np.uint8))
            bits = BitShare((own,), value.size)
        return ring, bits

    def reveal(self, components: tuple[DeviceBuffer, ...], width: int) -> bytes:
        """Own summand plus one of a fresh sharing of zero: all of them are the value, and nothing else to anybody."""
        device, domain = self.device, self._session.domain()
        own = components[0]
        pad = device.empty(len(own), own.dtype)
        for key in self._zero_keys.values():
            own = device.bits_xor(own, device.prf_fill(key, domain, pad))
        if own.dtype == np.uint8:
            return bytes(device.to_host(own))
        return bytes(device.to_host(device.pack_bits(own, width)))

    def reveal_ring(self, x: RingShare) -> bytes:
        """As :meth:`reveal`, in the ring: the lower party of a pair adds its pad, the higher one subtracts it."""
        device, domain = self.device, self._session.domain()
        own = device.ring_add_constant(x.components[0], 0)
        pad = device.empty(x.size, np.uint64)
        for peer, key in self._zero_keys.items():
            device.prf_fill(key, domain, pad)
            if peer > self.party:
                device.ring_add(own, pad, own)
            else:
                device.ring_sub(own, pad, own)
        return bytes(device.to_host(device.pack_bits(own, x.width)))

    # Openings -------------------------------------------------------------------------------------------------------

    def _open(self, own: DeviceBuffer, width: int, label: str) -> DeviceBuffer:
        """The sum of all parties' summands modulo ``2**width``: one round, ``width`` bits to each other party."""
        device, size = self.device, len(own)
        outgoing = device.pack_bits(own, width, self._scratch.take("outgoing", packed_bytes(size, width)))
        incoming = self._receive(packed_bytes(size, width))
        self._broadcast([outgoing], {peer: [buffer] for peer, buffer in incoming.items()}, label)
        total = device.unpack_bits(outgoing, size, width)
        summand = device.empty(size, np.uint64)
        for buffer in incoming.values():
            device.ring_add(total, device.unpack_bits(buffer, size, width, summand), total)
        return total

    def _open_bytes(self, own: DeviceBuffer, label: str) -> DeviceBuffer:
        """The XOR of all parties' bytes; one round."""
        incoming = self._receive(len(own))
        self._broadcast([own], {peer: [buffer] for peer, buffer in incoming.items()}, label)
        total = own
        for buffer in incoming.values():
            total = self.device.bits_xor(total, buffer)
        return total

    def _receive(self, size: int) -> dict[int, DeviceBuffer]:
        return {peer: self._scratch.take(f"incoming {peer}", size) for peer in self._peers}

    def _broadcast(
        self, outgoing: Sequence[DeviceBuffer], incoming: dict[int, list[DeviceBuffer]], label: str
    ) -> None:
        self._session.exchange({peer: outgoing for peer in self._peers}, incoming, label=label)

    # Products -------------------------------------------------------------------------------------------------------

    def pack(self, step: Linear, weights: RingShare, bias: RingShare | None) -> PackedWeights:
        """Opens ``E = w - B``: once per model for weights; one round, k bits per weight to each other party."""
        device = self.device
        (own,) = weights.components
        ticket = self._source.take(Factor(step))
        mask = device.prf_fill(self._source.key, ticket.domain, device.empty(factor_size(step), np.uint64))
        opened = self._open(device.ring_sub(own, mask, mask), step.ring, "masked weights")
        addend = None if bias is None else bias.components[0]
        if step.depthwise:
            return PackedWeights(None, (own, opened), addend)
        return PackedWeights(device.conv2d_pack(step.geometry, [own, opened]), None, addend)

    def finish_setup(self) -> None:
        """Nothing is checked."""

    def product(self, step: Linear, x: RingShare, packed: PackedWeights) -> RingShare:
        """``D * w_i + A_i * E + C_i``, with ``D = x - zero - A`` opened: one round."""
        self._session.meter.count_work(ring_multiplications=step.macs)
        g, device = step.geometry, self.device
        ticket = self._source.take(Product(step))
        mask = device.prf_fill(self._source.key, ticket.domain, device.empty(operand_size(step), np.uint64))
        masked = device.ring_sub(x.components[0], mask)
        if self._first and step.zero:
            device.ring_add_constant(masked, -step.zero % 2**64, masked)
        opened = self._open(masked, step.ring, "masked operand")
        size = product_size(step)
        z = device.empty(size, np.uint64)
        if packed.filters is not None:
            device.depthwise2d(g, [opened, mask], [0, 0], packed.filters, z)
        else:
            assert packed.dense is not None
            device.conv2d(g, [opened, mask], [0, 0], packed.dense, z)
        device.ring_add(z, self._dealt(ticket, 1, size, step.ring), z)
        if packed.bias is not None:
            device.ring_channel_affine(z, device.from_host(np.ones(g.out_channels, np.uint64)), packed.bias, z)
        return RingShare((z,), size, step.ring)

    def _dealt(self, ticket: Ticket, stream: int, size: int, width: int) -> DeviceBuffer:
        """Own summand of what preprocessing shares: a stream, or the corrections."""
        if ticket.corrections is not None:
            return self.device.unpack_bits(ticket.corrections, size, width)
        return self.device.prf_fill(self._source.key, ticket.domain + stream, self.device.empty(size, np.uint64))

    # Circuits -------------------------------------------------------------------------------------------------------

    def requantize(
        self, step: Requantize, shape: RequantizeShape, x: RingShare
    ) -> tuple[RingShare | None, BitShare | None]:
        """Opens ``B = acc * multiplier + constant - R``, then runs the circuit on R's dealt bits and the public B."""
        device = self.device
        circuit = shared_circuit(shape)
        ticket = self._source.take(Gates(circuit, x.size, shape.bits))
        multiplier, constant, moved = self._channel_constants(step)
        z = device.ring_channel_affine(x.components[0], multiplier, constant if self._first else None)
        random = device.prf_fill(self._source.key, ticket.domain + 1, device.empty(x.size, np.uint64))
        opened = self._open(device.ring_sub(z, random, z), shape.bits, "masked accumulator")
        lane = self._lane(circuit, x.size, ticket)
        lane.fill(0, opened, shape.bits)
        if shape.tie is not None:
            assert moved is not None
            ones = device.from_host(np.ones(len(moved), np.uint64))
            lane.fill(shape.bits, device.ring_channel_affine(opened, ones, moved), shape.tie_planes, shape.tie.bit)
        self._run(lane)
        result = device.empty(x.size, np.uint8)
        lane.drain(0, WIDTH, result)
        bits = BitShare((result,), x.size)
        return self.to_ring(bits, shape.ring, step.output) if shape.ring else None, bits

    def _channel_constants(self, step: Requantize) -> tuple[DeviceBuffer, DeviceBuffer, DeviceBuffer | None]:
        """Per channel: multiplier, the constant, and what moves B for the tie rule (None without one)."""
        known = self._channels.get(step.output)
        if known is None:
            constant, moved = tie_operands(step)
            known = self._row(step.multiplier), self._row(constant), None if moved is None else self._row(moved)
            self._channels[step.output] = known
        return known

    def _row(self, values: Sequence[int]) -> DeviceBuffer:
        return self.device.from_host(np.array([value % 2**64 for value in values], np.uint64))

    def to_ring(self, x: BitShare, ring: int, turn: int) -> RingShare:
        """Opens the bits under daBits: one round, 8 bits to each other party."""
        device = self.device
        ticket = self._source.take(Bits(x.size, ring))
        mask = device.prf_fill(self._source.key, ticket.domain, device.empty(x.size, np.uint8))
        opened = self._open_bytes(device.bits_xor(x.components[0], mask, mask), "masked bits")
        masks = self._dealt(ticket, 1, WIDTH * x.size, ring)
        result = device.ring_unmask_bits(opened, masks, WIDTH, self._first)
        return RingShare((result,), x.size, ring)

    def evaluate(
        self, circuit: Circuit, sources: Sequence[PlaneSource], sinks: Sequence[PlaneSink], lanes: int
    ) -> list[tuple[DeviceBuffer, ...]]:
        lane = self._lane(circuit, lanes, self._source.take(Gates(circuit, lanes)))
        register = 0
        for source in sources:
            lane.fill(register, source.components[0], source.count)
            register += source.count
        self._run(lane)
        results, output = [], 0
        for sink in sinks:
            target = self.device.empty(lanes, np.uint64 if sink.wide else np.uint8)
            lane.drain(output, sink.count, target)
            results.append((target,))
            output += sink.count
        return results

    def _lane(self, circuit: Circuit, lanes: int, ticket: Ticket) -> PlaneLane:
        self._session.meter.count_work(and_gates=and_gates(circuit, self.right_is_public) * lanes)
        program = self._program(circuit)
        planes = self._scratch.take("planes", program.registers * plane_stride(lanes))
        lane = PlaneLane(self.device, self._scratch, program, lanes, planes, self._source.key, ticket.domain, 0)
        if ticket.corrections is not None:
            lane.load(program.inputs - self._dealt_planes(circuit), ticket.corrections)
        return lane

    def _dealt_planes(self, circuit: Circuit) -> int:
        """Planes of a ticket's corrections: the last inputs of the circuit's program."""
        return len(corrected(circuit))

    def _run(self, lane: PlaneLane) -> None:
        """One exchange between stages: the same planes to everybody."""
        rounds = lane.program.rounds
        for stage in range(rounds + 1):
            outgoing = lane.run(stage)
            if stage == rounds:
                return
            incoming = lane.expect(stage + 1)
            self._broadcast([outgoing[0]], {peer: [buffer] for peer, buffer in zip(self._peers, incoming, strict=True)},
                            f"circuit round {stage}")
