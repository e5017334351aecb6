"""rep3, as the registry sees it."""

from __future__ import annotations

from typing import ClassVar

from mpc_bridge.backends.base import API_VERSION
from mpc_bridge.backends.replicated.owner import PARTIES, Rep3Owner
from mpc_bridge.backends.replicated.protocol import Rep3
from mpc_bridge.backends.sharing.engine import SharingEngine
from mpc_bridge.backends.sharing.entry import unsupported_shape
from mpc_bridge.lowering.program import Program, Step
from mpc_bridge.runtime.session import Session
from mpc_bridge.security import ThreatModel


class Rep3Backend:
    """Three parties, one of which may look: semi-honest replicated sharing."""

    name: ClassVar[str] = "rep3"
    api_version: ClassVar[int] = API_VERSION
    threat_models: ClassVar[tuple[ThreatModel, ...]] = (ThreatModel("semi-honest", "honest", PARTIES, 1, "privacy"),)
    devices: ClassVar[tuple[str, ...]] = ("cpu",)

    def parties(self) -> tuple[int, int]:
        """Exactly three."""
        return PARTIES, PARTIES

    def supports(self, step: Step, program: Program) -> str | None:
        """Every primitive, requantise within its circuit's widths."""
        return unsupported_shape(step)

    def owner(self, parties: int) -> Rep3Owner:
        """The owners' side."""
        return Rep3Owner()

    def engine(self, session: Session, program: Program) -> SharingEngine:
        """One party's evaluator."""
        return SharingEngine(Rep3(session), program)


backend = Rep3Backend()
