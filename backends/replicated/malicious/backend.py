"""rep3-mac, as the registry sees it."""

from __future__ import annotations

from math import log2
from typing import ClassVar

from mpc_bridge.backends.base import API_VERSION
from mpc_bridge.backends.replicated.malicious.linear import soundness_error
from mpc_bridge.backends.replicated.malicious.owner import Rep3MacOwner
from mpc_bridge.backends.replicated.malicious.protocol import SIGMA, Rep3Mac
from mpc_bridge.backends.replicated.owner import PARTIES
from mpc_bridge.backends.sharing.engine import SharingEngine
from mpc_bridge.backends.sharing.entry import unsupported_entry
from mpc_bridge.errors import UsageError
from mpc_bridge.lowering.program import Program, Step
from mpc_bridge.runtime.session import Session
from mpc_bridge.security import ThreatModel

#: No run may leave a cheater a better chance than one in two to this.
LEAST_SOUNDNESS = 40.0


class Rep3MacBackend:
    """Three parties, one of which may do anything: MAC-checked replicated sharing, secure with abort.

    Args:
        sigma: statistical bits of products.

    Raises:
        UsageError: so few that a cheater's chance is above ``2**-LEAST_SOUNDNESS``, or more than a word holds.
    """

    name: ClassVar[str] = "rep3-mac"
    api_version: ClassVar[int] = API_VERSION
    threat_models: ClassVar[tuple[ThreatModel, ...]] = (
        ThreatModel("malicious", "honest", PARTIES, 1, "security with abort"),
    )
    devices: ClassVar[tuple[str, ...]] = ("cpu",)

    def __init__(self, sigma: int = SIGMA) -> None:
        bits = -log2(soundness_error(sigma))
        if bits < LEAST_SOUNDNESS or sigma > 64:
            raise UsageError(
                f"sigma = {sigma} gives {bits:.1f} bits of soundness",
                where="rep3-mac",
                hint=f"use a sigma with at least {LEAST_SOUNDNESS:.0f} bits, and at most 64: {SIGMA} is the default",
            )
        self.sigma = sigma

    def parties(self) -> tuple[int, int]:
        """Exactly three."""
        return PARTIES, PARTIES

    def supports(self, step: Step, program: Program) -> str | None:
        """Every primitive, requantise within its circuit's widths, data whose range is a number of bits."""
        return unsupported_entry(step, program)

    def owner(self, parties: int) -> Rep3MacOwner:
        """The owners' side."""
        return Rep3MacOwner()

    def engine(self, session: Session, program: Program) -> SharingEngine:
        """One party's evaluator."""
        return SharingEngine(Rep3Mac(session, program, self.sigma), program)


backend = Rep3MacBackend()
