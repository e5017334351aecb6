"""rep3: three parties, honest majority, semi-honest replicated secret sharing over ``Z_2^k`` and bits.

Araki, Furukawa, Lindell, Nof, Ohara: *High-throughput semi-honest secure three-party computation with an honest
majority* (CCS 2016) for sharing and products. ``x = c0 + c1 + c2``; party i holds ``c_i`` (own) and ``c_{i+1}``
(next) and the PRF keys of the same numbers. Costs per element, bits sent by all three parties together: product 3k,
one round; requantise and b2a as ``sharing.requantize`` says, with the left operand ``c0 + c1`` known to role 0 and
the right operand ``c2`` known to roles 1 and 2. Roles rotate over thirds of a tensor, so every party sends the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mpc_bridge.backends.replicated.channels import ChannelConstants, Channels
from mpc_bridge.backends.replicated.compile import NEXT, OWN, TO_NEXT, TO_PREVIOUS, compile_roles
from mpc_bridge.backends.replicated.owner import BITS_DOMAIN, PARTIES, RING_DOMAIN, explicit_size, read_share
from mpc_bridge.backends.replicated.roles import Third, thirds
from mpc_bridge.backends.sharing.circuit import Circuit, and_gates
from mpc_bridge.backends.sharing.microcode import Microprogram
from mpc_bridge.backends.sharing.planes import PlaneLane, PlaneSink, PlaneSource, Scratch, plane_stride
from mpc_bridge.backends.sharing.protocol import TwoSided
from mpc_bridge.backends.sharing.requantize import WIDTH, RequantizeShape, requantize_circuit, to_ring_circuit
from mpc_bridge.backends.sharing.shares import BitShare, DeviceBuffer, RingShare
from mpc_bridge.kernels import packed_bytes
from mpc_bridge.kernels.prf import KEY_BYTES, fresh_key
from mpc_bridge.lowering.program import Linear, Requantize, Value
from mpc_bridge.runtime.session import Session


@dataclass(frozen=True)
class PackedWeights:
    """Weights of one linear step. ``z_i = x_i (w_i + w_{i+1}) + x_{i+1} w_i``: two plain products of the device.

    ``dense`` is the device's packed layout, ``filters`` the two depthwise filter banks; one of them is None.
    """

    dense: DeviceBuffer | None
    filters: tuple[DeviceBuffer, DeviceBuffer] | None
    bias: DeviceBuffer | None


class Rep3:
    """One party's side (``sharing.protocol.SharingProtocol``).

    The methods below "Hooks" are where the malicious protocol does more.
    """

    width = 2

    def __init__(self, session: Session) -> None:
        self._session = session
        self.device = session.device
        self.party = session.party
        self._previous = (session.party - 1) % PARTIES
        self._next = (session.party + 1) % PARTIES
        # component 0 takes public constants: party 0 holds it as own, party 2 as next
        self.constant = {0: OWN, 1: None, 2: NEXT}[session.party]
        self._keys = b""
        self._scratch = Scratch(self.device)
        self._programs: dict[tuple[Circuit, int], Microprogram] = {}
        self._channels = Channels(session.device)

    @property
    def soundness_bits(self) -> float | None:
        """None: nothing is checked."""
        return None

    # Setup ----------------------------------------------------------------------------------------------------------

    def setup(self) -> None:
        """Key i is drawn by party i and sent to party i - 1. One round, 16 bytes."""
        own = fresh_key()
        received = bytearray(KEY_BYTES)
        self._session.exchange({self._previous: [own]}, {self._next: [received]}, label="keys")
        self._keys = own + bytes(received)

    def warm(self, two_sided: Sequence[TwoSided], plain: Sequence[Circuit]) -> None:
        """A small tensor needs only the one role that this party plays in it. Gates are counted ahead, too."""
        for run in two_sided:
            and_gates(run.circuit)
            for part in thirds(run.size, run.turn):
                self._program(run.circuit, part.role(self.party))
        for circuit in plain:
            and_gates(circuit)
            self._program(circuit, self.party)

    def _program(self, circuit: Circuit, role: int) -> Microprogram:
        key = (circuit, role)
        if key not in self._programs:
            self._programs[key] = compile_roles(circuit, (role,))[role]
        return self._programs[key]

    def _ones(self, size: int) -> DeviceBuffer:
        return self.device.from_host(np.ones(size, np.uint64))

    def _key_pair(self) -> bytes:
        """Own key, then next key."""
        return self._keys

    def _key(self, slot: int) -> bytes:
        return self._key_pair()[slot * KEY_BYTES : (slot + 1) * KEY_BYTES]

    # Owners ---------------------------------------------------------------------------------------------------------

    def load(self, value: Value, message: bytes) -> tuple[RingShare | None, BitShare | None]:
        """Own and next component from a seed or the explicit part (``owner``): no message among the parties."""
        seeds, body = read_share(value, self.party, message, explicit_size(value))
        explicit = self.device.from_host(np.frombuffer(body, np.uint8))
        ring_bytes = packed_bytes(value.size, value.ring) if value.ring else 0
        ring = bits = None
        if value.ring:
            components = []
            for seed in seeds:
                component = self.device.empty(value.size, np.uint64)
                if seed is None:
                    self.device.unpack_bits(explicit[:ring_bytes], value.size, value.ring, component)
                else:
                    self.device.prf_fill(seed, RING_DOMAIN, component)
                components.append(component)
            ring = RingShare(tuple(components), value.size, value.ring)
        if value.bits:
            components = []
            for seed in seeds:
                if seed is None:
                    component = explicit[ring_bytes:]
                else:
                    component = self.device.empty(value.size, np.uint8)
                    self.device.prf_fill(seed, BITS_DOMAIN, component)
                components.append(component)
            bits = BitShare(tuple(components), value.size)
        return ring, bits

    def reveal(self, components: tuple[DeviceBuffer, ...], width: int) -> bytes:
        """The own component plus a zero share; the three together are the value, and nothing else to the receiver."""
        own = self._refreshed(components[OWN])
        if own.dtype == np.uint8:
            return bytes(self.device.to_host(own))
        packed = self.device.empty(packed_bytes(len(own), width), np.uint8)
        self.device.pack_bits(own, width, packed)
        return bytes(self.device.to_host(packed))

    def reveal_ring(self, x: RingShare) -> bytes:
        """The own component plus a zero share, cut to the ring."""
        own = self.device.concatenate([x.components[OWN]])
        self.device.ring_add_zero_share(self._key(OWN), self._key(NEXT), self._session.domain(), own)
        return bytes(self.device.to_host(self.device.pack_bits(own, x.width)))

    def _refreshed(self, own: DeviceBuffer) -> DeviceBuffer:
        """Own XOR component of the same value in a fresh sharing: no message, three pads that cancel."""
        device, domain = self.device, self._session.domain()
        masks = [device.prf_fill(self._key(slot), domain, device.empty(len(own), own.dtype)) for slot in (OWN, NEXT)]
        return device.bits_xor(own, device.bits_xor(masks[0], masks[1]))

    # Products -------------------------------------------------------------------------------------------------------

    def pack(self, step: Linear, weights: RingShare, bias: RingShare | None) -> PackedWeights:
        own, following = weights.components
        both = self.device.empty(weights.size, np.uint64)
        self.device.ring_add(own, following, both)
        addend = None if bias is None else bias.components[OWN]
        if step.depthwise:
            return PackedWeights(None, (both, own), addend)
        return PackedWeights(self.device.conv2d_pack(step.geometry, [both, own]), None, addend)

    def finish_setup(self) -> None:
        """Nothing is checked."""

    def product(self, step: Linear, x: RingShare, packed: PackedWeights) -> RingShare:
        """Local products, a zero share, one reshare of ``step.ring`` bits to the previous party."""
        self._session.meter.count_work(ring_multiplications=step.macs)
        g, device = step.geometry, self.device
        size = g.batch * g.out_height * g.out_width * g.out_channels
        z = device.empty(size, np.uint64)
        # x - zero: a public constant on component 0
        zeros = [step.zero if slot == self.constant else 0 for slot in (OWN, NEXT)]
        if packed.filters is not None:
            device.depthwise2d(g, x.components, zeros, packed.filters, z)
        else:
            assert packed.dense is not None
            device.conv2d(g, x.components, zeros, packed.dense, z)
        if packed.bias is not None:
            device.ring_channel_affine(z, self._ones(g.out_channels), packed.bias, z)
        device.ring_add_zero_share(self._key(OWN), self._key(NEXT), self._session.domain(), z)
        outgoing = self._scratch.take("outgoing 0", packed_bytes(size, step.ring))
        incoming = self._scratch.take("incoming 0", packed_bytes(size, step.ring))
        device.pack_bits(z, step.ring, outgoing)
        self._session.exchange({self._previous: [outgoing]}, {self._next: [incoming]}, label="product")
        following = device.empty(size, np.uint64)
        device.unpack_bits(incoming, size, step.ring, following)
        return RingShare((z, following), size, step.ring)

    # Circuits -------------------------------------------------------------------------------------------------------

    def requantize(
        self, step: Requantize, shape: RequantizeShape, x: RingShare
    ) -> tuple[RingShare | None, BitShare | None]:
        return self._requantize(step, shape, x, 0)

    def _requantize(
        self, step: Requantize, shape: RequantizeShape, x: RingShare, first: int
    ) -> tuple[RingShare | None, BitShare | None]:
        """Elements ``first``, ``first + 1``, … of the step's tensor."""
        parts = thirds(x.size, step.output)
        circuit = requantize_circuit(shape)
        lanes = [self._lane(circuit, part, slot) for slot, part in enumerate(parts)]
        for part, lane in zip(parts, lanes, strict=True):
            constants = self._channels.constants(step, first + part.start)
            role = part.role(self.party)
            own, following = (c[part.start : part.end] for c in x.components)
            operand = self._operand(lane, role, own, following, constants, shape)
            lane.fill(0, operand, shape.bits)
            if role != 0 and constants.moved is not None and shape.tie is not None:
                ones = self._ones(len(constants.moved))
                moved = self._channels.affine(operand, ones, constants.moved)
                lane.fill(shape.bits, moved, shape.tie_planes, shape.tie.bit)
        right = shape.bits + shape.tie_planes
        return self._two_sided(parts, lanes, x.size, right, shape.ring, bool(circuit.shared_outputs))

    # Hooks ----------------------------------------------------------------------------------------------------------

    def _operand(
        self,
        lane: PlaneLane,
        role: int,
        own: DeviceBuffer,
        following: DeviceBuffer,
        constants: ChannelConstants,
        shape: RequantizeShape,
    ) -> DeviceBuffer:
        """This role's operand of ``acc * multiplier + constant``: the sum of two components, or the third."""
        if role == 0:
            return self._channels.affine(self.device.ring_add(own, following), constants.multiplier, constants.constant)
        return self._channels.affine(following if role == 1 else own, constants.multiplier)

    def _planes(self, program: Microprogram, lanes: int, slot: int) -> DeviceBuffer:
        """Registers for one run."""
        return self._scratch.take(f"planes {slot}", program.registers * plane_stride(lanes))

    def _settle(
        self, parts: Sequence[Third], lanes: Sequence[PlaneLane], ring: int, own: DeviceBuffer, following: DeviceBuffer
    ) -> None:
        """All rounds are over, and all outputs are drained."""

    # Running circuits -----------------------------------------------------------------------------------------------

    def to_ring(self, x: BitShare, ring: int, turn: int, width: int = WIDTH) -> RingShare:
        parts = thirds(x.size, turn)
        circuit = to_ring_circuit(ring, width)
        lanes = [self._lane(circuit, part, slot) for slot, part in enumerate(parts)]
        for part, lane in zip(parts, lanes, strict=True):
            first = 0 if part.role(self.party) == 0 else ring  # behind the planes of rho
            for component in x.components:
                lane.fill(first, component[part.start : part.end], width)
                first += width
        result, _ = self._two_sided(parts, lanes, x.size, 0, ring, False)
        assert result is not None
        return result

    def evaluate(
        self, circuit: Circuit, sources: Sequence[PlaneSource], sinks: Sequence[PlaneSink], lanes: int
    ) -> list[tuple[DeviceBuffer, ...]]:
        lane = self._lane(circuit, Third(0, lanes, 0), 0)
        register = 0
        for component in range(self.width):
            for source in sources:
                lane.fill(register, source.components[component], source.count)
                register += source.count
        self._run([lane])
        results: list[list[DeviceBuffer]] = [[] for _ in sinks]
        output = 0
        for _ in range(self.width):
            for sink, result in zip(sinks, results, strict=True):
                target = self.device.empty(lanes, np.uint64 if sink.wide else np.uint8)
                lane.drain(output, sink.count, target)
                result.append(target)
                output += sink.count
        self._settle([Third(0, lanes, 0)], [lane], 0, None, None)
        return [tuple(result) for result in results]

    def _lane(self, circuit: Circuit, part: Third, slot: int) -> PlaneLane:
        self._session.meter.count_work(and_gates=and_gates(circuit) * part.size)
        program = self._program(circuit, part.role(self.party))
        planes = self._planes(program, part.size, slot)
        domain = self._session.domain()
        return PlaneLane(self.device, self._scratch, program, part.size, planes, self._key_pair(), domain, slot)

    def _run(self, lanes: Sequence[PlaneLane]) -> None:
        """The rounds of lanes that run the same circuit, one exchange between stages."""
        rounds = lanes[0].program.rounds
        for stage in range(rounds + 1):
            outgoing = [lane.run(stage) for lane in lanes]
            if stage == rounds:
                return
            incoming = [lane.expect(stage + 1) for lane in lanes]
            self._session.exchange(
                {self._previous: [o[TO_PREVIOUS] for o in outgoing], self._next: [o[TO_NEXT] for o in outgoing]},
                {self._next: [i[TO_PREVIOUS] for i in incoming], self._previous: [i[TO_NEXT] for i in incoming]},
                label=f"circuit round {stage}",
            )

    def _two_sided(
        self, parts: Sequence[Third], lanes: Sequence[PlaneLane], size: int, right: int, ring: int, planes: bool
    ) -> tuple[RingShare | None, BitShare | None]:
        """Runs circuits whose right inputs are ``right`` planes (already filled) and ``ring`` planes of a fresh rho.

        Their left outputs are ``w = q - rho``, which role 0 splits into c0 and c1 = PRF(key 1) and sends c0 to role
        2: ring bits, one round; c2 = rho = PRF(key 2).
        """
        device = self.device
        own = following = None
        if ring:
            own, following = device.empty(size, np.uint64), device.empty(size, np.uint64)
            for part, lane in zip(parts, lanes, strict=True):
                rho = self._session.domain(2)
                c1 = rho + 1
                role = part.role(self.party)
                span = slice(part.start, part.end)
                if role == 0:
                    device.prf_fill(self._key(NEXT), c1, following[span])
                elif role == 1:
                    device.prf_fill(self._key(OWN), c1, own[span])
                    device.prf_fill(self._key(NEXT), rho, following[span])
                    lane.fill(right, following[span], ring)
                else:
                    device.prf_fill(self._key(OWN), rho, own[span])
                    lane.fill(right, own[span], ring)
        self._run(lanes)
        if ring:
            self._send_first_component(parts, lanes, own, following, ring)
        bits = self._shared_outputs(parts, lanes, size, ring) if planes else None
        self._settle(parts, lanes, ring, own, following)
        return RingShare((own, following), size, ring) if ring else None, bits

    def _send_first_component(
        self, parts: Sequence[Third], lanes: Sequence[PlaneLane], own: DeviceBuffer, following: DeviceBuffer, ring: int
    ) -> None:
        device = self.device
        sends, receives, arrivals = [], [], []
        for part, lane in zip(parts, lanes, strict=True):
            role = part.role(self.party)
            span = slice(part.start, part.end)
            if role == 0:
                lane.drain(0, ring, own[span])
                device.ring_sub(own[span], following[span], own[span])
                outgoing = self._scratch.take("first component out", packed_bytes(part.size, ring))
                device.pack_bits(own[span], ring, outgoing)
                # both holders keep the same number, bits above the ring included
                device.unpack_bits(outgoing, part.size, ring, own[span])
                sends.append(outgoing)
            elif role == 2:
                incoming = self._scratch.take("first component in", packed_bytes(part.size, ring))
                receives.append(incoming)
                arrivals.append((incoming, following[span]))
        self._session.exchange({self._previous: sends}, {self._next: receives}, label="first component")
        for incoming, target in arrivals:
            device.unpack_bits(incoming, len(target), ring, target)

    def _shared_outputs(self, parts: Sequence[Third], lanes: Sequence[PlaneLane], size: int, ring: int) -> BitShare:
        own, following = self.device.empty(size, np.uint8), self.device.empty(size, np.uint8)
        for part, lane in zip(parts, lanes, strict=True):
            # role 0's left outputs come first
            first = ring if part.role(self.party) == 0 else 0
            lane.drain(first, WIDTH, own[part.start : part.end])
            lane.drain(first + WIDTH, WIDTH, following[part.start : part.end])
        return BitShare((own, following), size)
