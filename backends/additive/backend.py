"""additive, as the registry sees it."""

from __future__ import annotations

from typing import ClassVar

from mpc_bridge.backends.additive.dealer import Dealer
from mpc_bridge.backends.additive.ot_backend import backend as oblivious
from mpc_bridge.backends.additive.owner import AdditiveOwner
from mpc_bridge.backends.additive.planner import plan
from mpc_bridge.backends.additive.protocol import Additive
from mpc_bridge.backends.additive.source import DealtSource
from mpc_bridge.backends.base import API_VERSION, Backend
from mpc_bridge.backends.sharing.engine import SharingEngine
from mpc_bridge.backends.sharing.entry import unsupported_shape
from mpc_bridge.lowering.program import Program, Step
from mpc_bridge.runtime.session import Session
from mpc_bridge.security import Preprocessing, ThreatModel


class AdditiveEngine(SharingEngine):
    """One party's evaluator; fetches a sample's correlated randomness before its inputs are there."""

    def __init__(self, protocol: Additive, program: Program) -> None:
        super().__init__(protocol, program)
        self._additive = protocol

    def preprocess(self) -> None:
        """Once per sample."""
        self._additive.preprocess()


class AdditiveBackend:
    """Two to five parties, all but one of which may look and pool what they see; a dealer deals."""

    name: ClassVar[str] = "additive"
    api_version: ClassVar[int] = API_VERSION
    threat_models: ClassVar[tuple[ThreatModel, ...]] = (ThreatModel("semi-honest", "dishonest", 0, 0, "privacy"),)
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    preprocessing: ClassVar[Preprocessing] = "dealer"
    helper_name: ClassVar[str] = "dealer"
    helper_trust: ClassVar[str] = (
        "a process of its own that sees no data; trusted not to pool what it knows with any party"
    )

    def parties(self) -> tuple[int, int]:
        """Two unless asked otherwise."""
        return 2, 5

    def with_preprocessing(self, wanted: Preprocessing) -> Backend | None:
        """This one with a dealer, its two-party variant with oblivious transfers."""
        return oblivious if wanted == "ot" else self

    def supports(self, step: Step, program: Program) -> str | None:
        """Every primitive, requantise within its circuit's widths."""
        return unsupported_shape(step)

    def owner(self, parties: int) -> AdditiveOwner:
        """The owners' side."""
        return AdditiveOwner(parties)

    def engine(self, session: Session, program: Program) -> AdditiveEngine:
        """One party's evaluator."""
        demands = plan(program)
        return AdditiveEngine(Additive(session, DealtSource(session, demands), demands), program)

    def helper(self, session: Session, program: Program) -> Dealer:
        """The dealer."""
        return Dealer(session, program)


backend = AdditiveBackend()
