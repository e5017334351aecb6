"""Compiles a circuit for one role together with the planes its verification reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from mpc_bridge.backends.replicated.compile import FROM_NEXT, FROM_PREVIOUS, NEXT, OWN, Components, RoleCompiler
from mpc_bridge.backends.replicated.malicious.relations import Claim, claims, factored
from mpc_bridge.backends.sharing.circuit import Circuit, Gate, Kind
from mpc_bridge.backends.sharing.microcode import Microprogram, Op
from mpc_bridge.kernels.gf import ABSENT

Registers = npt.NDArray[np.int32]


@dataclass(frozen=True)
class VerifiedProgram:
    """A microprogram whose last stage leaves the planes of all claims in registers.

    Attributes:
        rows: int32 ``[rows, 4]``: registers of x own, x next, y own, y next, a product each.
        groups: int32 ``[rows]``: the claim that the product belongs to, ascending.
        factors: int32 ``[rows]``: numbers the wires that y is; rows with the same one can be added up before they are
            multiplied by it.
        zero: the register that stands for components that are zero at this role, whatever the operands.
        totals: int32 ``[claims, 2]``: registers of the claim's total, own and next.
        components: per component held as (own, next), the first register of its planes; None where this role has none.
    """

    program: Microprogram
    rows: Registers
    groups: Registers
    factors: Registers
    zero: int
    totals: Registers
    components: tuple[int, int]

    @property
    def claims(self) -> int:
        """How many claims there are per lane."""
        return len(self.totals)

    @cached_property
    def factor_count(self) -> int:
        """How many different y there are."""
        return int(self.factors.max(initial=-1)) + 1

    @cached_property
    def cross_terms(self) -> tuple[Registers, Registers]:
        """Rows and groups of the products that have a cross term at this role."""
        x_own, x_next, y_own, y_next = (self.rows != self.zero).T
        crossing = (x_own & (y_own | y_next)) | (x_next & y_own)
        return self._sparse(self.rows[crossing]), self.groups[crossing]

    @cached_property
    def by_factor(self) -> tuple[Registers, Registers, Registers]:
        """Rows, groups and factors, those of one factor next to each other."""
        order = np.argsort(self.factors, kind="stable")
        return self._sparse(self.rows[order]), self.groups[order], self.factors[order]

    @cached_property
    def sparse_totals(self) -> Registers:
        """:attr:`totals` without those that are zero."""
        return self._sparse(self.totals)

    def _sparse(self, registers: Registers) -> Registers:
        return np.where(registers == self.zero, np.int32(ABSENT), registers)


class VerifyingCompiler(RoleCompiler):
    """The semi-honest messages, then one more stage that computes what the claims are about.

    Component planes come last among the inputs: those of the role's own component, then those of its next one, each
    in the circuit's order. A role that holds neither (of a given component) has none of them.
    """

    def __init__(self, circuit: Circuit, role: int) -> None:
        self._opened: dict[int, Components] = {}
        self._component: dict[int, int] = {}
        super().__init__(circuit, role)

    def verified(self) -> VerifiedProgram:
        """Stages 0..depth as without verification, then the claims' stage."""
        self._emit_rounds()
        self._output()
        self._code.cut()
        claimed = claims(self._circuit)
        zero = self._code.emit(Op.ZERO)
        kept = self._kept_planes(claimed, zero)
        pairs = factored(claimed)
        rows = [[*kept[x], *kept[y]] for x, y in pairs]
        groups = [number for number, claim in enumerate(claimed) for _ in claim.pairs]
        totals = [(zero, zero) if claim.total is None else kept[claim.total] for claim in claimed]
        wanted = sorted({zero}.union(*kept.values()))
        program = self._code.finish(len(self._interactive), wanted, later=1)
        real = np.zeros(wanted[-1] + 1, np.int32)
        real[wanted] = program.kept
        number = {wire: i for i, wire in enumerate(dict.fromkeys(y for _, y in pairs))}
        return VerifiedProgram(
            program,
            real[np.array(rows, dtype=np.int64).reshape(-1, 4)],
            np.array(groups, dtype=np.int32),
            np.array([number[y] for _, y in pairs], dtype=np.int32),
            int(real[zero]),
            real[np.array(totals, dtype=np.int64).reshape(-1, 2)],
            self._component_bases(),
        )

    def _kept_planes(self, claimed: Sequence[Claim], zero: int) -> dict[int, tuple[int, int]]:
        """Virtual registers of the components of every wire that is claimed about."""
        wires = {wire for claim in claimed for pair in claim.pairs for wire in pair}
        wires |= {claim.total for claim in claimed if claim.total is not None}
        kept = {}
        for wire in sorted(wires):
            own, following = self._components(wire)
            kept[wire] = (zero if own is None else own, zero if following is None else following)
        return kept

    def _held(self, side: int) -> list[int]:
        """Component wires whose plane this role holds on this side."""
        number = (self._role + side) % 3
        return [w for w in self._circuit.component_inputs if self._circuit.gates[w].component == number]

    def _extra_inputs(self) -> int:
        first = self._shared_base + 2 * self._circuit.shared_inputs
        for side in (OWN, NEXT):
            for wire in self._held(side):
                self._component[wire] = first
                first += 1
        return len(self._component)

    def _component_bases(self) -> tuple[int, int]:
        own = self._shared_base + 2 * self._circuit.shared_inputs
        return own, own + len(self._held(OWN))

    def _emit_shared(self, wire: int, gate: Gate) -> Components:
        if gate.kind is Kind.COMPONENT:
            register = self._component.get(wire)
            return (register, None) if gate.component == self._role else (None, register)
        if gate.kind is Kind.OPENED:
            return self._opened[gate.operands[0]]
        return super()._emit_shared(wire, gate)

    def _receive(self, wire: int) -> None:
        if self._circuit.gates[wire].kind is Kind.REVEAL_INNER and self._role == 0:
            first = self._code.receive(FROM_NEXT)
            second = self._code.receive(FROM_PREVIOUS)
            self._clear[wire] = self._code.emit(Op.XOR, first, second)
            # role 1's message is component 1, role 2's is component 0
            self._opened[wire] = (second, first)
            return
        super()._receive(wire)

    def _send_reveal_inner(self, wire: int, gate: Gate, pad: int) -> int | None:
        total = super()._send_reveal_inner(wire, gate, pad)
        if self._role != 0:
            self._opened[wire] = (total, None) if self._role == 1 else (None, total)
        return total
