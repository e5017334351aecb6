"""Two backends that go wrong on purpose and one that does not, installed the way a third party's would be
(``faulty-1.0.dist-info``).
"""

from __future__ import annotations

from mpc_bridge.backends.base import IntArray
from mpc_bridge.backends.plaintext import PlaintextBackend, PlaintextEngine
from mpc_bridge.errors import ProtocolAbort
from mpc_bridge.lowering.program import Maximum, Output, Program
from mpc_bridge.runtime.session import Session


class WrongEngine(PlaintextEngine):
    """Changes every output by one unit."""

    def output(self, step: Output, x: IntArray) -> bytes:
        return super().output(step, x ^ 1)


class CheatedEngine(PlaintextEngine):
    """Finds that somebody cheated."""

    def maximum(self, step: Maximum, x: IntArray) -> IntArray:
        raise ProtocolAbort("a check failed", where=step.layer, hint="do not run this again with the same parties")


class Wrong(PlaintextBackend):
    name = "wrong"

    def engine(self, session: Session, program: Program) -> WrongEngine:
        return WrongEngine(program)


class Cheated(PlaintextBackend):
    name = "cheated"

    def engine(self, session: Session, program: Program) -> CheatedEngine:
        return CheatedEngine(program)


class Clear(PlaintextBackend):
    name = "clear"
