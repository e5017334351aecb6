"""The owners' side of a run whose parties are threads: messages for every party, masks first where there are any."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from mpc_bridge.backends.base import Engine, MaskedOwner, MaskingEngine, Owner
from mpc_bridge.errors import PeerLost
from mpc_bridge.lowering.program import Input, Program

IntArray = npt.NDArray[np.int64]


class Desk:
    """Shares tensors to ``parties`` threads, each of which asks for its message.

    Args:
        tensors: by value.
        timeout: seconds to wait for the other parties' masks.
        tamper: what becomes of the parties' messages on their way from the owner.
    """

    def __init__(self, owner: Owner, program: Program, tensors: Mapping[int, IntArray], parties: int,
                 timeout: float = 30.0, tamper: Callable[[list[bytes]], list[bytes]] = list) -> None:
        self._owner, self._program, self._tensors = owner, program, tensors
        self._parties, self._timeout, self._tamper = parties, timeout, tamper
        self._changed = threading.Condition()
        self._masks: dict[int, dict[int, bytes]] = {}
        self._messages: dict[int, list[bytes]] = {}
        self._failures: dict[int, BaseException] = {}
        self._closed = False
        if not isinstance(owner, MaskedOwner):
            for index, tensor in tensors.items():
                self._messages[index] = self._tamper([*owner.share(program.values[index], tensor)])

    def close(self) -> None:
        """A party has ended: nobody gets masks from all any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def read(self, engine: Engine, party: int, step: Input) -> bytes:
        """The party's message for a value. Raises what the owner raises, PeerLost where masks are missing."""
        index = step.output
        if isinstance(engine, MaskingEngine):
            self._collect(index, party, engine.mask(step))
        return self._messages[index][party]

    def _collect(self, index: int, party: int, mask: bytes) -> None:
        owner = self._owner
        assert isinstance(owner, MaskedOwner)
        value = self._program.values[index]
        assert len(mask) == owner.mask_size(value, party), "mask_size is wrong"
        with self._changed:
            masks = self._masks.setdefault(index, {})
            masks[party] = mask
            if len(masks) == self._parties:
                try:
                    shares = owner.share(value, self._tensors[index], [masks[peer] for peer in range(self._parties)])
                    self._messages[index] = self._tamper([*shares])
                except BaseException as error:
                    self._failures[index] = error
                # an inference later the same value is masked anew
                self._masks[index] = {}
                self._changed.notify_all()
            self._changed.wait_for(lambda: self._closed or not self._masks[index].get(party), self._timeout)
            done = not self._masks[index].get(party)
        if index in self._failures:
            raise self._failures[index]
        if not done:
            raise PeerLost("an owner waits for masks", where="owner", hint="see what the other parties say")
