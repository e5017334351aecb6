"""additive with ``--preprocessing ot``: two parties, nobody else, the model's owner one of them."""

from __future__ import annotations

from typing import ClassVar

from mpc_bridge.backends.additive.ot_compile import LEFT
from mpc_bridge.backends.additive.ot_owner import ModelPartyOwner
from mpc_bridge.backends.additive.ot_protocol import ObliviousAdditive
from mpc_bridge.backends.additive.ot_source import ObliviousSource
from mpc_bridge.backends.additive.planner import plan
from mpc_bridge.backends.base import API_VERSION
from mpc_bridge.backends.sharing.engine import SharingEngine
from mpc_bridge.backends.sharing.entry import unsupported_shape
from mpc_bridge.lowering.program import Program, Step
from mpc_bridge.runtime.session import Session
from mpc_bridge.security import Preprocessing, ThreatModel


class ObliviousEngine(SharingEngine):
    """One party's evaluator; makes a sample's correlated randomness before its inputs are there."""

    def __init__(self, protocol: ObliviousAdditive, program: Program) -> None:
        super().__init__(protocol, program)
        self._oblivious = protocol

    def preprocess(self) -> None:
        """Once per sample."""
        self._oblivious.preprocess()


class ObliviousAdditiveBackend:
    """Two parties, either of which may look; oblivious transfers in place of a dealer."""

    name: ClassVar[str] = "additive-ot"
    api_version: ClassVar[int] = API_VERSION
    threat_models: ClassVar[tuple[ThreatModel, ...]] = (ThreatModel("semi-honest", "dishonest", 2, 1, "privacy"),)
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    preprocessing: ClassVar[Preprocessing] = "ot"
    preprocessing_trust: ClassVar[str] = (
        "oblivious transfers between the two parties; nobody else takes part. Party 0 is the model's owner and holds "
        "its weights in the clear"
    )
    #: the party that holds the weights in the clear
    model_owner: ClassVar[int] = LEFT

    def parties(self) -> tuple[int, int]:
        """Two."""
        return 2, 2

    def supports(self, step: Step, program: Program) -> str | None:
        """Every primitive, requantise within its circuit's widths."""
        return unsupported_shape(step)

    def owner(self, parties: int) -> ModelPartyOwner:
        """The owners' side."""
        return ModelPartyOwner()

    def engine(self, session: Session, program: Program) -> ObliviousEngine:
        """One party's evaluator."""
        demands = plan(program)
        return ObliviousEngine(
            ObliviousAdditive(session, ObliviousSource(session, demands), demands, program), program)


backend = ObliviousAdditiveBackend()
