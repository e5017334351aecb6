"""rep3-mac, as the registry sees it."""

from __future__ import annotations

from mpc_bridge.backends.base import API_VERSION
from mpc_bridge.backends.replicated.backend import unsupported_shape
from mpc_bridge.backends.replicated.malicious.owner import Rep3MacOwner
from mpc_bridge.backends.replicated.malicious.protocol import SIGMA, Rep3Mac
from mpc_bridge.backends.replicated.owner import PARTIES
from mpc_bridge.backends.sharing.engine import SharingEngine
from mpc_bridge.lowering.program import Program, Step
from mpc_bridge.runtime.session import Session
from mpc_bridge.security import ThreatModel


class Rep3MacBackend:
    """Three parties, one of which may do anything: MAC-checked replicated sharing, secure with abort."""

    name = "rep3-mac"
    api_version = API_VERSION
    threat_models = (ThreatModel("malicious", "honest", PARTIES, 1, "security with abort"),)
    devices = ("cpu",)
    sigma = SIGMA

    def parties(self) -> tuple[int, int]:
        """Exactly three."""
        return PARTIES, PARTIES

    def supports(self, step: Step, program: Program) -> str | None:
        """Every primitive, requantise within its circuit's widths."""
        return unsupported_shape(step)

    def owner(self) -> Rep3MacOwner:
        """The owners' side."""
        return Rep3MacOwner()

    def engine(self, session: Session, program: Program) -> SharingEngine:
        """One party's evaluator."""
        return SharingEngine(Rep3Mac(session, program), program)


backend = Rep3MacBackend()
