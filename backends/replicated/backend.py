"""rep3, as the registry sees it."""

from __future__ import annotations

from typing import ClassVar

from mpc_bridge.backends.base import API_VERSION
from mpc_bridge.backends.replicated.owner import PARTIES, Rep3Owner
from mpc_bridge.backends.replicated.protocol import Rep3
from mpc_bridge.backends.sharing.engine import SharingEngine
from mpc_bridge.lowering.program import Program, Requantize, Step
from mpc_bridge.runtime.session import Session
from mpc_bridge.security import ThreatModel

#: The saturation circuit needs a sign bit and at least one more bit above the eight it keeps.
_HEADROOM = 10


def unsupported_shape(step: Step) -> str | None:
    """What no circuit of replicated sharing has: None for every step it can run, else why not."""
    if isinstance(step, Requantize) and (step.shift < 1 or step.bits < step.shift + _HEADROOM):
        return f"requantise needs 1 <= shift and bits >= shift + {_HEADROOM}, not {step.shift} and {step.bits}"
    return None


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
