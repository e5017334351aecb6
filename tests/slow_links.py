"""Slow links between the processes of a run: a relay over loopback through which every member sends at one rate.

Real networks have queues, losses and congestion control too; but what wears out a party's patience is how long it hears
nothing, and that is what this brings about.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from typing import Any

from mpc_bridge.backends.additive import source
from mpc_bridge.backends.additive.backend import AdditiveBackend
from mpc_bridge.backends.spdz2k.backend import Spdz2kBackend
from mpc_bridge.lowering.program import Program
from mpc_bridge.runtime.session import Session
from mpc_bridge.testing.tap import Relay


class SlowRelay(Relay):
    """Every member sends ``rate`` bytes a second, to all others together and in turn."""

    chunk = 16 << 10

    def __init__(self, rate: float) -> None:
        super().__init__()
        self._rate = rate
        self._lock = threading.Lock()
        #: by sender: when what is under way will have left
        self._free: dict[int, float] = defaultdict(float)

    def pass_on(self, sender: int, receiver: int, data: bytes) -> bytes:
        """Returns once the last byte has left."""
        with self._lock:
            now = time.monotonic()
            self._free[sender] = max(self._free[sender], now) + len(data) / self._rate
            left = self._free[sender] - now
        time.sleep(left)
        return data


class _Pieces:
    """The dealer's stream in smaller pieces, so that a small model has as many of them as a big one has.

    Only parties and dealers change their constants, each in a process of its own.
    """

    batch, ahead = 64 << 10, 1 << 30

    def engine(self, session: Session, program: Program) -> Any:
        """One party's evaluator."""
        source.BATCH_BYTES, source.AHEAD_BYTES = self.batch, self.ahead
        return super().engine(session, program)  # type: ignore[misc]

    def helper(self, session: Session, program: Program) -> Any:
        """The dealer."""
        source.BATCH_BYTES, source.AHEAD_BYTES = self.batch, self.ahead
        return super().helper(session, program)  # type: ignore[misc]


class AdditiveInPieces(_Pieces, AdditiveBackend):
    """additive."""


class Spdz2kInPieces(_Pieces, Spdz2kBackend):
    """spdz2k."""

    batch, ahead = 1 << 20, 8 << 20
