"""Boolean circuits with MACs: the bits as in :mod:`backends.additive`, round by round, then all MACs at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpc_bridge.backends.additive.compile import CORRECTED, compile_party, corrected
from mpc_bridge.backends.additive.source import Ticket
from mpc_bridge.backends.sharing.circuit import Circuit
from mpc_bridge.backends.sharing.microcode import Microprogram
from mpc_bridge.backends.sharing.planes import PlaneLane, Scratch, plane_stride
from mpc_bridge.backends.sharing.shares import DeviceBuffer
from mpc_bridge.backends.spdz2k.compile import MacCompiler, MacProgram, opening_program
from mpc_bridge.backends.spdz2k.demands import Gates
from mpc_bridge.backends.spdz2k.openings import Openings
from mpc_bridge.backends.spdz2k.source import SealedSource

#: Domains of a demand: MACs of a circuit, and of the masks of bits that are opened or known.
_CIRCUIT_MACS, _MASK_MACS = 3, 1


class Circuits:
    """One party's circuits, compiled once each."""

    def __init__(self, source: SealedSource, openings: Openings, parties: int, party: int) -> None:
        self._source, self._openings = source, openings
        self._device = openings.device
        self._parties, self._party = parties, party
        self._scratch = Scratch(self._device)
        self._programs: dict[Circuit, tuple[Microprogram, MacProgram]] = {}
        self._masks: dict[tuple[int, bool], MacProgram] = {}

    def compile(self, circuit: Circuit) -> tuple[Microprogram, MacProgram]:
        """What runs on bits, and what runs on their MACs."""
        if circuit not in self._programs:
            self._programs[circuit] = (compile_party(circuit, self._parties, self._party),
                                       MacCompiler(circuit, self._party == CORRECTED).compile())
        return self._programs[circuit]

    # Circuits -------------------------------------------------------------------------------------------------------

    def lane(self, circuit: Circuit, demand: Gates, ticket: Ticket) -> PlaneLane:
        """Registers for the demand's lanes, what preprocessing shares filled in."""
        program, _ = self.compile(circuit)
        planes = self._scratch.take("planes", program.registers * plane_stride(demand.lanes))
        lane = PlaneLane(self._device, self._scratch, program, demand.lanes, planes, self._source.key, ticket.domain, 0)
        if ticket.corrections is not None:
            count = len(corrected(circuit))
            lane.load(program.inputs - count, ticket.corrections[len(ticket.corrections) - count * lane.bytes :])
        return lane

    def run(
        self, circuit: Circuit, demand: Gates, ticket: Ticket, lane: PlaneLane, rows: Sequence[DeviceBuffer]
    ) -> list[DeviceBuffer]:
        """All rounds on a lane whose inputs are filled; the MACs of the shared outputs, a row of words each.

        Args:
            rows: MACs of the shared inputs.
        """
        public = [lane.save(0, circuit.right_inputs)] if circuit.right_inputs else []
        for stage in range(lane.program.rounds):
            opened = self._openings.open_planes(lane.run(stage)[0], lane.expect(stage + 1), f"circuit round {stage}")
            public.append(opened)
        lane.run(lane.program.rounds)
        dealt: list[DeviceBuffer] = []
        if ticket.corrections is not None:
            words = self._device.rows_of(ticket.corrections[: 8 * demand.rows * demand.lanes], demand.lanes)
            dealt = list(words)
        planes = [plane for part in public for plane in part.reshape(-1, lane.bytes)]
        _, program = self.compile(circuit)
        found = self._macs(program, demand.lanes, ticket.domain + _CIRCUIT_MACS, planes, [*rows, *dealt])
        outputs = len(circuit.shared_outputs)
        if program.stores > outputs:
            self._openings.record_bits(found[outputs:])
        return list(found[:outputs])

    def _macs(
        self, program: MacProgram, lanes: int, domain: int, planes: Sequence[DeviceBuffer], rows: Sequence[DeviceBuffer]
    ) -> DeviceBuffer:
        """The rows ``[stores, lanes]`` that a program on MACs leaves."""
        keys = self._source.keys
        found = self._device.empty((program.stores, lanes), np.uint64)
        self._device.macs_run(lanes, program.code, program.registers, keys.stream, domain, keys.delta, planes, rows,
                              list(found))
        return found

    # Masks of bits --------------------------------------------------------------------------------------------------

    def opened(
        self, ticket: Ticket, public: DeviceBuffer, rows: Sequence[DeviceBuffer], corrections: DeviceBuffer | None
    ) -> None:
        """Record that bits with these MACs were opened under a dealt mask, as the words ``public``."""
        self._openings.record_bits(self._masked(ticket, public, rows, len(rows), True, corrections))

    def known(
        self, ticket: Ticket, public: DeviceBuffer, width: int, corrections: DeviceBuffer | None
    ) -> list[DeviceBuffer]:
        """MACs of ``width``-bit numbers that are public under a dealt mask, as the words ``public``: a row per bit."""
        return list(self._masked(ticket, public, [], width, False, corrections))

    def _masked(
        self, ticket: Ticket, public: DeviceBuffer, rows: Sequence[DeviceBuffer], width: int, masked: bool,
        corrections: DeviceBuffer | None,
    ) -> DeviceBuffer:
        if (width, masked) not in self._masks:
            self._masks[width, masked] = opening_program(width, masked, self._party == CORRECTED)
        lanes = len(public)
        planes = [plane[: -(-lanes // 8)] for plane in self._device.bits_slice(public, 0, width)]
        dealt = [] if corrections is None else list(self._device.rows_of(corrections[: 8 * width * lanes], lanes))
        program = self._masks[width, masked]
        return self._macs(program, lanes, ticket.domain + _MASK_MACS, planes, [*rows, *dealt])
