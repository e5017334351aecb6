"""The dealer: a process of its own that makes correlated randomness and sees no weight, input, output or share.

It is trusted not to collude with any party: it knows every mask, so together with what the parties open it would know
every value. It draws one key per party, sends it, and streams corrections to one party, batch by batch, so that it
holds no more than a batch and the masks of the weights.
"""

from __future__ import annotations

from collections.abc import Sequence

from mpc_bridge.backends.additive.compile import CORRECTED
from mpc_bridge.backends.additive.demands import DOMAINS, Dealing, Demand
from mpc_bridge.backends.additive.planner import plan
from mpc_bridge.backends.additive.source import batches
from mpc_bridge.backends.sharing.planes import Scratch
from mpc_bridge.kernels.prf import fresh_key
from mpc_bridge.lowering.program import Program
from mpc_bridge.runtime.session import Session


class Dealer:
    """Serves one program (``backends.base.Helper``).

    Args:
        session: with every party.
    """

    def __init__(self, session: Session, program: Program) -> None:
        self._session = session
        self._plan = plan(program)
        keys = [fresh_key() for _ in range(session.parties)]
        self._dealing = Dealing(session.device, keys, Scratch(session.device))
        self._domain = 0

    def setup(self) -> None:
        """Keys, and what the weights need."""
        keys = self._dealing.keys
        self._session.exchange({party: [key] for party, key in enumerate(keys)}, {}, label="the dealer's key")
        for circuit in self._plan.circuits():
            self._dealing.program(circuit)
        self._deal(self._plan.setup)

    def sample(self) -> None:
        """What one inference needs."""
        self._deal(self._plan.sample)

    def _deal(self, demands: Sequence[Demand]) -> None:
        for batch in batches(demands):
            corrections = []
            for demand in batch:
                corrections.append(demand.deal(self._dealing, self._domain))
                self._domain += DOMAINS
            if any(map(len, corrections)):
                self._session.exchange({CORRECTED: corrections}, {}, label="the dealer's corrections")
