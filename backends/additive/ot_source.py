"""Correlated randomness of two parties from oblivious transfers: nobody else takes part.

Meets the same demands as a dealer does, with both parties' summands explicit. Party 0 chooses and party 1 offers; only
products of two computed values need transfers in the other direction too. What each demand becomes:

``Factor``, ``Product`` of the model's weights
    party 0 holds the weights in the clear: in setup a tree per digit of each weight, per sample one message from party
    1, whose mask of the operand is then multiplied (``backends.ot.linear``).
``Factor``, ``Product`` of computed values
    each party's mask of the factor times the other's of the operand, by trees that live for one sample.
``Gates``
    a transfer for each product of masks and lane (``additive.ot_compile``).
``Bits``
    each party draws random bytes; the products of their bits, modulo ``2**(k-1)``, turn XOR into a sum.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

import numpy as np

from mpc_bridge.backends.additive.demands import (
    DOMAINS,
    Bits,
    Factor,
    Gates,
    Product,
    factor_size,
    operand_size,
)
from mpc_bridge.backends.additive.ot_compile import LEFT, compile_preparation, dealt, mask_products
from mpc_bridge.backends.additive.planner import Plan
from mpc_bridge.backends.additive.source import AHEAD_BYTES, Demand, Ticket
from mpc_bridge.backends.ot.extension import BLOCK_BITS
from mpc_bridge.backends.ot.layout import Layout
from mpc_bridge.backends.ot.linear import Factors, Held, LinearHolder, LinearOfferer, Offered
from mpc_bridge.backends.ot.products import ProductChooser, ProductOfferer
from mpc_bridge.backends.sharing.circuit import Circuit
from mpc_bridge.backends.sharing.microcode import Microprogram
from mpc_bridge.backends.sharing.planes import PlaneLane, Scratch, plane_stride
from mpc_bridge.backends.sharing.requantize import WIDTH
from mpc_bridge.backends.sharing.shares import DeviceBuffer
from mpc_bridge.kernels.buffers import RingArray
from mpc_bridge.kernels.prf import fresh_key
from mpc_bridge.lowering.program import Linear
from mpc_bridge.runtime.session import Session

#: A slot of its own for the planes of preparation: the protocol's lanes may be alive.
_SLOT = 1


class ObliviousSource:
    """One party's side (``additive.source.Source``).

    Args:
        session: with the other party.
        plan: what the program demands.
    """

    def __init__(self, session: Session, plan: Plan) -> None:
        if session.parties != 2:
            raise ValueError(f"oblivious transfers serve two parties, not {session.parties}")
        self._session = session
        self._device = session.device
        self._plan = plan
        self._peer = 1 - session.party
        self._key = fresh_key()
        self._domain = 0
        self._scratch = Scratch(self._device)
        self._programs: dict[Circuit, Microprogram] = {}
        self._weights: dict[int, Held | Offered] = {}
        self._factor_domains: dict[int, int] = {}
        self._waiting: deque[Demand] = deque()
        self._ready: deque[Ticket] = deque()
        self._chooser: ProductChooser | None = None
        self._offerer: ProductOfferer | None = None

    @property
    def key(self) -> bytes:
        return self._key

    # Setup ----------------------------------------------------------------------------------------------------------

    def start_setup(self) -> None:
        """Base transfers: with party 0 as the chooser, and the other way round where computed values are multiplied."""
        self._connect(self._session.party == LEFT)
        if any(isinstance(demand, Factor) for demand in self._plan.sample):
            self._connect(self._session.party != LEFT)
        for circuit in self._plan.circuits():
            self._program(circuit)

    def _connect(self, chooses: bool) -> None:
        self._session.meter.count_work(correlations={"base_ot": BLOCK_BITS})
        if chooses:
            self._chooser = ProductChooser(self._session, self._peer)
        else:
            self._offerer = ProductOfferer(self._session, self._peer)

    def weights(self, step: Linear, values: RingArray | None, low: int, high: int) -> None:
        """Transfers for a layer's weights between ``low`` and ``high``: party 0 gives the values, party 1 None."""
        factors = Factors(Layout(step), low, max(1, (high - low).bit_length()), step.ring)
        self._weights[step.output] = self._share_factors(factors, values)

    def _share_factors(self, factors: Factors, values: RingArray | None) -> Held | Offered:
        """Transfers for factors that this party has, or (None) the other one."""
        self._session.meter.count_work(correlations={"ot": factors.transfers})
        return self._other().offer(factors) if values is None else self._holder().hold(factors, values)

    def _multiply(self, factors: Held | Offered, mask: RingArray | None, domain: int) -> RingArray:
        """Own share of a layer of factors and a mask, which is of the party that lacks the factors."""
        self._session.meter.count_work(correlations={"vole": factors.factors.products})
        if isinstance(factors, Held):
            return self._holder().multiply(factors, domain)
        assert mask is not None
        return self._other().multiply(factors, mask, domain)

    def _holder(self) -> LinearHolder:
        assert self._chooser is not None
        return LinearHolder(self._session, self._peer, self._chooser)

    def _other(self) -> LinearOfferer:
        assert self._offerer is not None
        return LinearOfferer(self._session, self._peer, self._offerer)

    # Demands --------------------------------------------------------------------------------------------------------

    def start_sample(self) -> None:
        if self._ready or self._waiting:
            raise ValueError("correlated randomness is left over from the sample before")
        self._waiting.extend(self._plan.sample)
        ahead = 0
        while self._waiting and ahead < AHEAD_BYTES:
            ahead += self._prepare()

    def take(self, demand: Demand) -> Ticket:
        if not self._ready:
            with self._session.meter.phase("preprocessing"):
                self._prepare()
        ticket = self._ready.popleft()
        if ticket.demand != demand:
            raise ValueError(f"{demand} out of turn: the plan has {ticket.demand}")
        self._session.meter.count_work(correlations=_correlations(demand))
        return ticket

    def _prepare(self) -> int:
        """Meet the next demand; bytes it keeps."""
        demand = self._waiting.popleft()
        corrections = self._meet(demand, self._domain)
        self._ready.append(Ticket(demand, self._domain, corrections))
        self._domain += DOMAINS
        return 0 if corrections is None else len(corrections)

    def _meet(self, demand: Demand, domain: int) -> DeviceBuffer | None:
        if isinstance(demand, Gates):
            return self._gates(demand, domain)
        if isinstance(demand, Bits):
            return self._bits(demand, domain)
        if isinstance(demand, Factor):
            self._factor_domains[demand.step.output] = domain
            return None
        assert isinstance(demand, Product), f"{demand} is no demand that transfers meet"
        share = self._product(demand.step, domain)
        return self._device.pack_bits(share, demand.step.ring)

    def _product(self, step: Linear, domain: int) -> RingArray:
        """Own share of the operand's mask, or masks, times the factor."""
        weights = self._weights.get(step.output)
        if isinstance(weights, Held):
            return self._multiply(weights, None, domain)
        mask = self._stream(domain, operand_size(step))
        if weights is not None:
            return self._multiply(weights, mask, domain)
        factor = self._stream(self._factor_domains.pop(step.output), factor_size(step))
        layout = Layout(step)
        factors = Factors(layout, 0, step.ring, step.ring)
        total = self._own_product(step, mask, factor)
        for holder in (LEFT, 1 - LEFT):
            shared = self._share_factors(factors, factor if self._session.party == holder else None)
            total = self._device.ring_add(total, self._multiply(shared, mask, domain))
        return total

    def _own_product(self, step: Linear, mask: RingArray, factor: RingArray) -> RingArray:
        device = self._device
        if step.depthwise:
            return device.depthwise2d(step.geometry, [mask], [0], [factor]).reshape(-1)
        return device.conv2d(step.geometry, [mask], [0], device.conv2d_pack(step.geometry, [factor])).reshape(-1)

    def _stream(self, domain: int, size: int) -> RingArray:
        return self._device.prf_fill(self._key, domain, np.empty(size, np.uint64))

    def _gates(self, demand: Gates, domain: int) -> DeviceBuffer:
        device, circuit = self._device, demand.circuit
        if not mask_products(circuit):
            return device.empty(0, np.uint8)
        self._session.meter.count_work(correlations={"ot": len(mask_products(circuit)) * demand.lanes})
        program = self._program(circuit)
        planes = self._scratch.take("planes", program.registers * plane_stride(demand.lanes))
        lane = PlaneLane(device, self._scratch, program, demand.lanes, planes, self._key, domain, _SLOT)
        (masks,) = lane.run(0)
        (products,) = lane.expect(1)
        products[:] = self._bit_products(masks)
        lane.run(1)
        return lane.save(program.outputs, program.output_count)

    def _program(self, circuit: Circuit) -> Microprogram:
        if circuit not in self._programs:
            self._programs[circuit] = compile_preparation(circuit, self._session.party)
        return self._programs[circuit]

    def _bit_products(self, masks: DeviceBuffer) -> DeviceBuffer:
        if self._session.party == LEFT:
            assert self._chooser is not None
            return self._chooser.bits(masks)
        assert self._offerer is not None
        return self._offerer.bits(masks)

    def _bits(self, demand: Bits, domain: int) -> DeviceBuffer:
        """``r = r_0 + r_1 - 2 * r_0 * r_1`` for each bit."""
        device, lanes = self._device, demand.lanes
        self._session.meter.count_work(correlations={"ot": WIDTH * lanes})
        mask = device.prf_fill(self._key, domain, np.empty(lanes, np.uint8))
        rows = device.planes_save(device.bytes_slice(mask, 0, WIDTH), -(-lanes // 8))
        own = np.unpackbits(rows, bitorder="little").astype(np.uint64)
        if self._session.party == LEFT:
            assert self._chooser is not None
            products = self._chooser.words(rows, demand.ring - 1)
        else:
            assert self._offerer is not None
            products = self._offerer.words(own, demand.ring - 1)
        device.ring_axpy(own, products, -2)
        return device.pack_bits(np.ascontiguousarray(own.reshape(WIDTH, -1)[:, :lanes]), demand.ring)


def _correlations(demand: Demand) -> Mapping[str, int]:
    """What a demand is for the protocol: a dealer's, but for circuits, whose left operand is no random number here."""
    if isinstance(demand, Gates):
        return {"and_triples": len(dealt(demand.circuit)) * demand.lanes}
    return demand.correlations


def demands_in_setup(demands: Sequence[Demand]) -> frozenset[int]:
    """Linear steps whose factors are the model's weights, by output."""
    return frozenset(demand.step.output for demand in demands if isinstance(demand, Factor))
