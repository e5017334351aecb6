"""Backends that go wrong at one party, for tests of the launcher. Importable by party processes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from mpc_bridge.backends.replicated.backend import Rep3Backend
from mpc_bridge.errors import ProtocolAbort
from mpc_bridge.lowering.program import Program, Requantize
from mpc_bridge.runtime.session import Session

SECRET = "the value 1234567"


class _Faulty(Rep3Backend):
    """Party 1 misbehaves at its first requantise."""

    def engine(self, session: Session, program: Program) -> Any:
        engine: Any = super().engine(session, program)
        if session.party == 1:
            engine.requantize = self.misbehave(session, engine.requantize)
        return engine

    def misbehave(self, session: Session, honest: Callable[[Requantize, Any], Any]) -> Callable[[Requantize, Any], Any]:
        """What takes the place of ``honest``."""
        raise NotImplementedError


class Aborting(_Faulty):
    """Detects cheating."""

    def misbehave(self, session: Session, honest: Callable[[Requantize, Any], Any]) -> Callable[[Requantize, Any], Any]:
        def fault(step: Requantize, x: Any) -> Any:
            raise ProtocolAbort("the check of a product failed", where=step.layer)

        return fault


class Buggy(_Faulty):
    """Fails with an exception that carries data."""

    def misbehave(self, session: Session, honest: Callable[[Requantize, Any], Any]) -> Callable[[Requantize, Any], Any]:
        def fault(step: Requantize, x: Any) -> Any:
            raise ZeroDivisionError(SECRET)

        return fault


class Exiting(_Faulty):
    """Is gone without a word."""

    def misbehave(self, session: Session, honest: Callable[[Requantize, Any], Any]) -> Callable[[Requantize, Any], Any]:
        def fault(step: Requantize, x: Any) -> Any:
            os._exit(3)

        return fault


class OutOfStep(_Faulty):
    """Does one round too many."""

    def misbehave(self, session: Session, honest: Callable[[Requantize, Any], Any]) -> Callable[[Requantize, Any], Any]:
        def fault(step: Requantize, x: Any) -> Any:
            session.exchange({}, {})
            return honest(step, x)

        return fault


class Hanging(_Faulty):
    """Never comes back."""

    def misbehave(self, session: Session, honest: Callable[[Requantize, Any], Any]) -> Callable[[Requantize, Any], Any]:
        def fault(step: Requantize, x: Any) -> Any:
            time.sleep(600)
            return honest(step, x)

        return fault


class Unbuildable(Rep3Backend):
    """Made by the launcher alone: a party, which is another process, cannot make one."""

    launcher = 0

    def __init__(self) -> None:
        if os.getpid() != Unbuildable.launcher:
            raise ImportError("no such library")


class Disagreeing(Rep3Backend):
    """Another name in every process, so another digest of what it runs."""

    def __init__(self) -> None:
        self.name = f"rep3-{os.getpid()}"
