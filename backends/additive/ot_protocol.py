"""additive between two parties without a dealer: party 0 is the model's owner and knows its weights.

What differs from :class:`~mpc_bridge.backends.additive.protocol.Additive`, in bits that are sent per element:

linear     ``x_0 + x_1`` times clear weights: party 0 multiplies its summand itself, and ``D = x_1 - A_1``, which party
           1 sends it (k bits, one way). ``A_1`` times the weights is shared by preprocessing, and party 1's share of
           that is its share of the result.
requantise ``z_0`` is the left operand, ``z_1`` the right one, at the parties that have them (``additive.ot_compile``):
           nothing is opened first.

Products of two computed values and b2a are as with a dealer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mpc_bridge.backends.additive.demands import Gates, Product, operand_size, product_size
from mpc_bridge.backends.additive.ot_compile import LEFT, compile_two, dealt
from mpc_bridge.backends.additive.ot_owner import in_the_clear
from mpc_bridge.backends.additive.ot_source import ObliviousSource, demands_in_setup
from mpc_bridge.backends.additive.owner import explicit_size
from mpc_bridge.backends.additive.planner import Plan, shared_circuit
from mpc_bridge.backends.additive.protocol import Additive, PackedWeights
from mpc_bridge.backends.sharing.circuit import Circuit
from mpc_bridge.backends.sharing.microcode import Microprogram
from mpc_bridge.backends.sharing.requantize import WIDTH, RequantizeShape
from mpc_bridge.backends.sharing.shares import BitShare, DeviceBuffer, RingShare
from mpc_bridge.errors import MalformedFrame
from mpc_bridge.kernels import packed_bytes
from mpc_bridge.lowering.program import Linear, Program, Requantize, Value
from mpc_bridge.runtime.session import Session


@dataclass(frozen=True)
class ClearWeights:
    """One linear step's weights and bias at party 0, as the device wants them; empty at party 1."""

    dense: DeviceBuffer | None = None
    filters: DeviceBuffer | None = None
    bias: DeviceBuffer | None = None


class ObliviousAdditive(Additive):
    """One of two parties (``sharing.protocol.SharingProtocol``)."""

    right_is_public = False

    def __init__(self, session: Session, source: ObliviousSource, plan: Plan, program: Program) -> None:
        super().__init__(session, source, plan)
        self._transfers = source
        self._values = program.values
        self._clear = demands_in_setup(plan.setup)
        self._peer = 1 - session.party

    def _program(self, circuit: Circuit) -> Microprogram:
        if circuit not in self._programs:
            self._programs[circuit] = compile_two(circuit, self.party)
        return self._programs[circuit]

    def _dealt_planes(self, circuit: Circuit) -> int:
        return len(dealt(circuit))

    def load(self, value: Value, message: bytes) -> tuple[RingShare | None, BitShare | None]:
        """A weight is party 0's; party 1's summand is zero."""
        if not in_the_clear(value):
            return super().load(value, message)
        device, size = self.device, value.size
        expected = explicit_size(value) if self._first else 0
        if len(message) != expected:
            raise MalformedFrame(f"the owner of {value.name} sent {len(message)} bytes instead of {expected}",
                                 where=f"party {self.party}, input",
                                 hint="run the same version of mpc-bridge at every party")
        at = packed_bytes(size, value.ring) if value.ring else 0
        explicit = device.from_host(np.frombuffer(message, np.uint8))
        ring = bits = None
        if value.ring:
            own = device.unpack_bits(explicit[:at], size, value.ring) if self._first else device.zeros(size)
            ring = RingShare((own,), size, value.ring)
        if value.bits:
            bits = BitShare((explicit[at:] if self._first else device.zeros(size, np.uint8),), size)
        return ring, bits

    # Products -------------------------------------------------------------------------------------------------------

    def pack(self, step: Linear, weights: RingShare, bias: RingShare | None) -> Any:
        """Of the model: transfers for its weights, in setup. Computed values as the base class."""
        if step.output not in self._clear:
            return super().pack(step, weights, bias)
        value = self._values[step.inputs[1]]
        if self.party != LEFT:
            self._transfers.weights(step, None, value.low, value.high)
            return ClearWeights()
        (own,) = weights.components
        self._check_range(value, own, step.ring)
        self._transfers.weights(step, own, value.low, value.high)
        addend = None if bias is None else bias.components[0]
        if step.depthwise:
            return ClearWeights(filters=own, bias=addend)
        return ClearWeights(dense=self.device.conv2d_pack(step.geometry, [own]), bias=addend)

    def _check_range(self, value: Value, own: DeviceBuffer, ring: int) -> None:
        """The transfers are made for weights within the type's range."""
        above = (own - np.uint64(value.low % 2**64)) & np.uint64((1 << ring) - 1)
        if above.size and int(above.max()) > value.high - value.low:
            raise MalformedFrame(f"{value.name} holds a weight outside {value.low} to {value.high}",
                                 where=f"party {self.party}, input")

    def product(self, step: Linear, x: RingShare, packed: PackedWeights | ClearWeights) -> RingShare:
        """With clear weights: one message, k bits per element of x, from party 1."""
        if isinstance(packed, PackedWeights):
            return super().product(step, x, packed)
        self._session.meter.count_work(ring_multiplications=step.macs)
        g, device, size = step.geometry, self.device, product_size(step)
        ticket = self._source.take(Product(step))
        share = self._dealt(ticket, 0, size, step.ring)
        count = operand_size(step)
        if self.party != LEFT:
            mask = device.prf_fill(self._source.key, ticket.domain, device.empty(count, np.uint64))
            message = device.pack_bits(device.ring_sub(x.components[0], mask, mask), step.ring)
            self._session.exchange({self._peer: [message]}, {}, label="masked operand")
            return RingShare((share,), size, step.ring)
        received = self._scratch.take("incoming operand", packed_bytes(count, step.ring))
        self._session.exchange({}, {self._peer: [received]}, label="masked operand")
        operand = device.unpack_bits(received, count, step.ring)
        device.ring_add(operand, x.components[0], operand)
        if packed.filters is not None:
            z = device.depthwise2d(g, [operand], [step.zero], [packed.filters]).reshape(-1)
        else:
            assert packed.dense is not None
            z = device.conv2d(g, [operand], [step.zero], packed.dense).reshape(-1)
        device.ring_add(z, share, z)
        if packed.bias is not None:
            device.ring_channel_affine(z, device.from_host(np.ones(g.out_channels, np.uint64)), packed.bias, z)
        return RingShare((z,), size, step.ring)

    # Circuits -------------------------------------------------------------------------------------------------------

    def requantize(
        self, step: Requantize, shape: RequantizeShape, x: RingShare
    ) -> tuple[RingShare | None, BitShare | None]:
        """``acc * multiplier + constant`` summand by summand; each party feeds its own into the circuit."""
        device = self.device
        circuit = shared_circuit(shape)
        ticket = self._source.take(Gates(circuit, x.size, shape.bits))
        multiplier, constant, moved = self._channel_constants(step)
        z = device.ring_channel_affine(x.components[0], multiplier, constant if self._first else None)
        lane = self._lane(circuit, x.size, ticket)
        if self.party == LEFT:
            lane.fill(0, z, shape.bits)
        else:
            lane.fill(shape.bits, z, shape.bits)
            if shape.tie is not None:
                assert moved is not None
                ones = device.from_host(np.ones(len(moved), np.uint64))
                lane.fill(2 * shape.bits, device.ring_channel_affine(z, ones, moved), shape.tie_planes, shape.tie.bit)
        self._run(lane)
        result = device.empty(x.size, np.uint8)
        lane.drain(0, WIDTH, result)
        bits = BitShare((result,), x.size)
        return self.to_ring(bits, shape.ring, step.output) if shape.ring else None, bits
