"""spdz2k, as the registry sees it."""

from __future__ import annotations

from typing import ClassVar

from mpc_bridge.backends.base import API_VERSION
from mpc_bridge.backends.sharing.entry import unsupported_entry
from mpc_bridge.backends.spdz2k.demands import SIGMA
from mpc_bridge.backends.spdz2k.engine import Spdz2kEngine
from mpc_bridge.backends.spdz2k.owner import Spdz2kOwner
from mpc_bridge.backends.spdz2k.planner import plan
from mpc_bridge.backends.spdz2k.protocol import Spdz2k
from mpc_bridge.backends.spdz2k.source import Dealer, SealedSource
from mpc_bridge.lowering.program import Program, Step
from mpc_bridge.runtime.session import Session
from mpc_bridge.security import ThreatModel


class Spdz2kBackend:
    """Two to five parties, all but one of which may do anything; a dealer deals."""

    name: ClassVar[str] = "spdz2k"
    api_version: ClassVar[int] = API_VERSION
    threat_models: ClassVar[tuple[ThreatModel, ...]] = (
        ThreatModel("malicious", "dishonest", 0, 0, "security with abort"),
    )
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    preprocessing: ClassVar[str] = "dealer"
    sigma: ClassVar[int] = SIGMA
    helper_name: ClassVar[str] = "dealer"
    helper_trust: ClassVar[str] = (
        "a process of its own that sees no data; trusted to deal what it should, and not to pool what it knows with "
        "any party"
    )

    def parties(self) -> tuple[int, int]:
        """Two unless asked otherwise."""
        return 2, 5

    def supports(self, step: Step, program: Program) -> str | None:
        """Every primitive, requantise within its circuit's widths, data whose range is a number of bits."""
        return unsupported_entry(step, program)

    def owner(self, parties: int) -> Spdz2kOwner:
        """The owners' side."""
        return Spdz2kOwner(parties)

    def engine(self, session: Session, program: Program) -> Spdz2kEngine:
        """One party's evaluator."""
        demands = plan(program)
        return Spdz2kEngine(Spdz2k(session, SealedSource(session, demands), demands), program)

    def helper(self, session: Session, program: Program) -> Dealer:
        """The dealer."""
        return Dealer(session, program)


backend = Spdz2kBackend()
