"""rep3-mac: three parties, honest majority, one of which may do anything: secure with abort.

The semi-honest messages of :class:`~mpc_bridge.backends.replicated.protocol.Rep3`, with sigma more bits on every
product of a linear layer, and checks: products by MACs on random projections (``linear``), gates and conversions over
GF(2^64) (``boolean``), inputs as bits, openings with a hash behind a barrier (``trust``). Checks run when enough has
gathered and before anything is revealed.

Every arithmetic output is cut to k bits, component by component, before anything else uses it: the bits above k of an
opened accumulator would tell of the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from math import log2

import numpy as np

from mpc_bridge.backends.replicated.channels import ChannelConstants
from mpc_bridge.backends.replicated.compile import NEXT, OWN
from mpc_bridge.backends.replicated.malicious.boolean import BATCH_GATES, BooleanVerifier, Record
from mpc_bridge.backends.replicated.malicious.checks import INPUT_AGREEMENT
from mpc_bridge.backends.replicated.malicious.compile import VerifiedProgram, VerifyingCompiler
from mpc_bridge.backends.replicated.malicious.linear import BATCH_WORDS, Layer, LinearVerifier
from mpc_bridge.backends.replicated.malicious.trust import PARTIES, Trust
from mpc_bridge.backends.replicated.owner import BITS_DOMAIN, read_share
from mpc_bridge.backends.replicated.protocol import Rep3
from mpc_bridge.backends.replicated.roles import TILE, Third
from mpc_bridge.backends.sharing.circuit import Circuit
from mpc_bridge.backends.sharing.entry import component_size, input_width
from mpc_bridge.backends.sharing.microcode import Microprogram
from mpc_bridge.backends.sharing.planes import Arena, PlaneLane, PlaneSink, PlaneSource, plane_stride
from mpc_bridge.backends.sharing.protocol import TwoSided
from mpc_bridge.backends.sharing.requantize import WIDTH, RequantizeShape, to_ring_circuit
from mpc_bridge.backends.sharing.shares import BitShare, DeviceBuffer, RingShare
from mpc_bridge.kernels import packed_bytes
from mpc_bridge.kernels.wide import limb_bits
from mpc_bridge.lowering.program import Geometry, Input, Linear, Output, Program, Requantize, Value
from mpc_bridge.runtime.session import Session

#: Statistical bits that products carry on top of their ring.
SIGMA = 52
#: Elements of a tensor that go through a circuit at once: their planes wait for verification.
SLAB = 24 * TILE

Pair = tuple[DeviceBuffer, DeviceBuffer]


@dataclass(frozen=True)
class WideWeights:
    """Weights of one linear step: components (own, next) as wide elements; own + next and own, packed in limbs for the
    products; the bias in the ring.

    ``waiting``: words that wait for their check with the product, where the weights are computed ones.
    """

    components: Pair
    packed: DeviceBuffer
    limb: int
    bias: Pair | None
    waiting: int = 0


@lru_cache(maxsize=4)
def refresh_circuit(width: int) -> Circuit:
    """Each plane times one: the same bits under fresh components, and claims that they are the same."""
    circuit = Circuit()
    planes = circuit.shared(width)
    one = circuit.negate(circuit.xor(planes[0], planes[0]))
    circuit.shared_outputs = [circuit.dot([(plane, one)]) for plane in planes]
    return circuit


class Rep3Mac(Rep3):
    """One party's side (``sharing.protocol.SharingProtocol``).

    Args:
        sigma: statistical bits of products; the tests measure with fewer.
    """

    def __init__(self, session: Session, program: Program, sigma: int = SIGMA) -> None:
        super().__init__(session)
        self._trust = Trust(session)
        self._sigma = sigma
        self._values = program.values
        checked = [step.ring for step in program.steps if isinstance(step, Linear)]
        shown = [program.values[step.inputs[0]] for step in program.steps if isinstance(step, Output)]
        checked += [value.ring for value in shown if value.kind == "accumulator"]
        ring = max(checked, default=1)
        self._linear = LinearVerifier(session, self._trust, ring, sigma)
        self._boolean = BooleanVerifier(session, self._trust)
        self._verified: dict[int, VerifiedProgram] = {}
        self._inputs = [program.values[step.output] for step in program.steps if isinstance(step, Input)]
        self._turns = {id(value): turn for turn, value in enumerate(program.values)}
        self._arena = Arena(session.device)
        #: lane → planes of its own and next components that are filled so far
        self._filled: dict[PlaneLane, list[int]] = {}

    # Setup ----------------------------------------------------------------------------------------------------------

    def setup(self) -> None:
        """Keys, and commitments to coins."""
        self._trust.setup()

    def warm(self, two_sided: Sequence[TwoSided], plain: Sequence[Circuit]) -> None:
        entering = [
            TwoSided(to_ring_circuit(value.ring, input_width(value)), value.size, self._turns[id(value)])
            for value in self._inputs
            if value.ring
        ]
        super().warm([*two_sided, *entering], [*plain, refresh_circuit(WIDTH)])

    def _key_pair(self) -> bytes:
        return self._trust.keys()

    def _program(self, circuit: Circuit, role: int) -> Microprogram:
        key = (circuit, role)
        if key not in self._programs:
            verified = VerifyingCompiler(circuit, role).verified()
            self._programs[key] = verified.program
            self._verified[id(verified.program)] = verified
        return self._programs[key]

    # Owners ---------------------------------------------------------------------------------------------------------

    def load(self, value: Value, message: bytes) -> tuple[RingShare | None, BitShare | None]:
        """Bits from the owner, compared between their holders; the ring form by b2a.

        Raises:
            MalformedFrame: the message has the wrong size. ProtocolAbort: two holders got different components.
        """
        explicit = component_size(value)
        seeds, body = read_share(value, self.party, message, explicit)
        packed = [
            self.device.from_host(np.frombuffer(body, np.uint8))
            if seed is None
            else self.device.prf_fill(seed, BITS_DOMAIN, self.device.empty(explicit, np.uint8))
            for seed in seeds
        ]
        self._agree([sha256(self.device.to_host(component).tobytes()).digest() for component in packed])
        width = input_width(value)
        if width != WIDTH:
            packed = [self.device.unpack_bits(component, value.size, width) for component in packed]
        bits = BitShare((packed[0], packed[1]), value.size)
        turn = self._turns[id(value)]
        ring = self._plus(self.to_ring(bits, value.ring, turn, width), value.low) if value.ring else None
        return ring, bits if value.bits else None

    def _agree(self, digests: Sequence[bytes]) -> None:
        """Both holders of each component compare it, both ways. One round."""
        trust = self._trust
        from_previous, from_next = bytearray(len(digests[OWN])), bytearray(len(digests[NEXT]))
        # the previous party holds this one's own component as its next, the next party this one's next as its own
        self._session.exchange(
            {trust.previous: [digests[OWN]], trust.next: [digests[NEXT]]},
            {trust.previous: [from_previous], trust.next: [from_next]},
            label="input agreement",
        )
        trust.require(INPUT_AGREEMENT, bytes(from_previous) == digests[OWN] and bytes(from_next) == digests[NEXT])

    def _plus(self, x: RingShare, constant: int) -> RingShare:
        if constant and self.constant is not None:
            component = x.components[self.constant]
            self.device.ring_add_constant(component, constant % 2**64, component)
        return x

    def reveal(self, components: tuple[DeviceBuffer, ...], width: int) -> bytes:
        """The own component and the hash of the next one, once everything is verified at every party."""
        own = components[OWN]
        wide = own.dtype != np.uint8
        (fresh,) = self.evaluate(
            refresh_circuit(width), [PlaneSource(components, width)], [PlaneSink(width, wide)], len(own)
        )
        return self._shown([self.device.pack_bits(c, width) if wide else c for c in fresh])

    def reveal_ring(self, x: RingShare) -> bytes:
        """As :meth:`reveal`: fresh components, a product with a public one, cut to the ring.

        The bits above the ring would tell of what was computed on the way.
        """
        one = [self.device.from_host(np.array([self.constant == side, 0], np.uint64)) for side in (OWN, NEXT)]
        z = self.device.wide_from_ring(x.components[OWN]).reshape(-1, 2)
        fresh = self._reshared(z, x.width, "fresh components")
        own, following = x.components
        row = Geometry(1, 1, x.size, 1, 1, x.size, 1)
        self._linear.add(Layer(row, False, (own, following), (0, 0), (one[OWN], one[NEXT]), fresh, x.width))
        return self._shown([self.device.pack_bits(self.device.wide_low(c, x.width), x.width) for c in fresh])

    def _shown(self, packed: Sequence[DeviceBuffer]) -> bytes:
        """The first of two packed components and the hash of the second, once all is verified."""
        self.verify()
        # nobody's share leaves before both others have found nothing wrong either
        self._trust.barrier()
        self._require_verified()
        own_bytes, next_bytes = (self.device.to_host(component).tobytes() for component in packed)
        return bytes(own_bytes + sha256(next_bytes).digest())

    # Products -------------------------------------------------------------------------------------------------------

    def pack(self, step: Linear, weights: RingShare, bias: RingShare | None) -> WideWeights:  # type: ignore[override]
        """Any 64-bit components: those that the two holders have the same of, as a product's x is."""
        device, limb = self.device, limb_bits(step.ring, step.ring + self._sigma)
        own, following = (device.wide_from_ring(c).reshape(-1, 2) for c in weights.components)
        terms = [device.wide_add(own, following), own]
        packed = device.wide_pack_filters(step.geometry, terms, limb, step.depthwise)
        computed = self._values[step.inputs[1]].kind != "weight"
        addend = None if bias is None else (bias.components[OWN], bias.components[NEXT])
        return WideWeights((own, following), packed, limb, addend, 4 * weights.size if computed else 0)

    def finish_setup(self) -> None:
        """Weights are what their owner shared before the first inference uses them."""
        self.verify()

    def product(self, step: Linear, x: RingShare, packed: WideWeights) -> RingShare:  # type: ignore[override]
        """Local products modulo ``2^(k+sigma)``, reshared in ``k + sigma`` bits.

        Cut to k bits for everything that follows.
        """
        self._session.meter.count_work(ring_multiplications=step.macs)
        g, device = step.geometry, self.device
        zero = (step.zero if self.constant == OWN else 0, step.zero if self.constant == NEXT else 0)
        layer = device.wide_depthwise2d if step.depthwise else device.wide_conv2d
        z = layer(g, x.components, zero, packed.packed, packed.limb).reshape(-1, 2)
        fresh = self._reshared(z, step.ring, "product")
        own_x, next_x = x.components
        held = (own_x, next_x)
        product = Layer(g, step.depthwise, held, zero, packed.components, fresh, step.ring, packed.limb)
        self._linear.add(product, packed.waiting)
        cut = [device.wide_low(component, step.ring) for component in fresh]
        if packed.bias is not None:
            ones = self._ones(g.out_channels)
            cut = [device.ring_channel_affine(c, ones, b, c) for c, b in zip(cut, packed.bias, strict=True)]
        if self._linear.pending >= BATCH_WORDS:
            self._verify_linear()
        return RingShare((cut[0], cut[1]), z.size // 2, step.ring)

    def _reshared(self, z: DeviceBuffer, ring: int, label: str) -> Pair:
        """This party's wide summands ``[n, 2]`` as fresh components: one round, ``ring + sigma`` bits per element."""
        device, bits, size = self.device, ring + self._sigma, z.size // 2
        device.wide_add_zero_share(self._key(OWN), self._key(NEXT), self._session.domain(), z)
        outgoing = self._scratch.take("outgoing 0", packed_bytes(size, bits))
        incoming = self._scratch.take("incoming 0", packed_bytes(size, bits))
        device.wide_pack(z, bits, outgoing)
        self._session.exchange({self._previous: [outgoing]}, {self._next: [incoming]}, label=label)
        return z, device.wide_unpack(incoming, size, bits)

    # Circuits -------------------------------------------------------------------------------------------------------

    def requantize(
        self, step: Requantize, shape: RequantizeShape, x: RingShare
    ) -> tuple[RingShare | None, BitShare | None]:
        parts = []
        for start in range(0, x.size, SLAB):
            own, following = (component[start : start + SLAB] for component in x.components)
            parts.append(self._requantize(step, shape, RingShare((own, following), len(own), x.width), start))
        rings, bits = [ring for ring, _ in parts if ring is not None], [bit for _, bit in parts if bit is not None]
        return (
            RingShare(self._joined([r.components for r in rings]), x.size, shape.ring) if rings else None,
            BitShare(self._joined([b.components for b in bits]), x.size) if bits else None,
        )

    def to_ring(self, x: BitShare, ring: int, turn: int, width: int = WIDTH) -> RingShare:
        parts = []
        for start in range(0, x.size, SLAB):
            own, following = (component[start : start + SLAB] for component in x.components)
            parts.append(super().to_ring(BitShare((own, following), len(own)), ring, turn, width))
        return RingShare(self._joined([part.components for part in parts]), x.size, ring)

    def evaluate(
        self, circuit: Circuit, sources: Sequence[PlaneSource], sinks: Sequence[PlaneSink], lanes: int
    ) -> list[tuple[DeviceBuffer, ...]]:
        parts = []
        for start in range(0, lanes, SLAB):
            end = min(lanes, start + SLAB)
            cut = [PlaneSource(tuple(c[start:end] for c in s.components), s.count) for s in sources]
            parts.append(super().evaluate(circuit, cut, sinks, end - start))
        return [self._joined([part[sink] for part in parts]) for sink in range(len(sinks))]

    def _joined(self, parts: Sequence[tuple[DeviceBuffer, ...]]) -> tuple[DeviceBuffer, ...]:
        if len(parts) == 1:
            return parts[0]
        return tuple(self.device.concatenate([part[side] for part in parts]) for side in (OWN, NEXT))

    # Hooks of the semi-honest protocol ------------------------------------------------------------------------------

    def _operand(
        self,
        lane: PlaneLane,
        role: int,
        own: DeviceBuffer,
        following: DeviceBuffer,
        constants: ChannelConstants,
        shape: RequantizeShape,
    ) -> DeviceBuffer:
        """The operand, and its summands for verification: component 0 takes the constant."""
        device = self.device
        components = {(role + side) % PARTIES: c for side, c in ((OWN, own), (NEXT, following))}
        scaled = {
            number: self._channels.affine(c, constants.multiplier, constants.constant if number == 0 else None)
            for number, c in components.items()
        }
        for number in sorted(scaled.keys() & {0, 1}):
            self._note_summand(lane, role, number, scaled[number], shape.bits)
        return device.ring_add(scaled[0], scaled[1]) if role == 0 else scaled[2]

    def _planes(self, program: Microprogram, lanes: int, slot: int) -> DeviceBuffer:
        """Registers of their own: they wait for verification."""
        if self._boolean.pending >= BATCH_GATES:
            self._verify_boolean()
        return self._arena.take(program.registers * plane_stride(lanes))

    def _settle(
        self, parts: Sequence[Third], lanes: Sequence[PlaneLane], ring: int, own: DeviceBuffer, following: DeviceBuffer
    ) -> None:
        """Hand the planes to verification: summands in, the last stage run."""
        for part, lane in zip(parts, lanes, strict=True):
            role = part.role(self.party)
            if ring:
                span = slice(part.start, part.end)
                for side, component in ((OWN, own), (NEXT, following)):
                    number = (role + side) % PARTIES
                    if number != 2:
                        self._note_summand(lane, role, number, component[span], ring)
            lane.expect(lane.program.rounds + 1)
            lane.run(lane.program.rounds + 1)
            self._boolean.add(Record(self._verified[id(lane.program)], lane.planes, lane.lanes))
            self._filled.pop(lane, None)

    def _note_summand(self, lane: PlaneLane, role: int, number: int, source: DeviceBuffer, count: int) -> None:
        """Planes of component ``number`` of the next sum that the lane's circuit claims."""
        side = OWN if number == role else NEXT
        filled = self._filled.setdefault(lane, [0, 0])
        lane.fill(self._verified[id(lane.program)].components[side] + filled[side], source, count)
        filled[side] += count

    # Verification ---------------------------------------------------------------------------------------------------

    def verify(self) -> None:
        """Everything that is still unverified. Raises ProtocolAbort."""
        self._verify_linear()
        self._verify_boolean()

    def _verify_linear(self) -> None:
        with self._phase():
            self._linear.verify()

    def _verify_boolean(self) -> None:
        with self._phase():
            self._boolean.verify()
        self._arena.reset()

    def _phase(self) -> AbstractContextManager[None]:
        """Checks of the weights belong to setup, all others to verification."""
        meter = self._session.meter
        return nullcontext() if meter.current_phase == "setup" else meter.phase("verification")

    @property
    def soundness_bits(self) -> float | None:
        """-log2 of the chance that cheating went unnoticed so far; None before anything was verified.

        A cheater has to get past the check of every batch that it spoiled, so the worst batch of each kind counts.
        """
        error = self._linear.error + self._boolean.error
        return -log2(error) if error else None

    def _require_verified(self) -> None:
        if self._linear.pending or self._boolean.pending:
            raise RuntimeError("an output would be revealed before it is verified")
