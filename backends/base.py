"""The backend contract: the eight primitives, and what a backend says about itself.

A backend package registers one :class:`Backend` under the entry-point group ``mpc_bridge.backends``. The launcher
asks it which threat models and steps it serves, gives every party process an :class:`Engine` built on that party's
:class:`~mpc_bridge.runtime.session.Session`, and lets the owners' side (:class:`Owner`) turn tensors into shares and
back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from mpc_bridge.lowering.program import (
    Affine,
    Input,
    Linear,
    Lookup,
    Maximum,
    Move,
    Output,
    Program,
    Requantize,
    Step,
    Value,
)
from mpc_bridge.runtime.session import Session
from mpc_bridge.security import Preprocessing, ThreatModel

#: Version of this contract. A backend built for another one is refused when it is loaded.
API_VERSION = 1

IntArray = npt.NDArray[np.int64]
#: One party's share of one value: opaque to everything but its engine.
Share = Any


class Owner(Protocol):
    """The owners' and receiver's side of a secret-sharing backend. Holds no state; randomness from the system."""

    def share(self, value: Value, tensor: IntArray) -> Sequence[bytes]:
        """Split ``tensor`` (stored integers, ``value.shape``) into one message per party."""
        ...

    def share_size(self, value: Value, party: int) -> int:
        """Bytes of the message that :meth:`share` makes for ``party``."""
        ...

    def reconstruct(self, value: Value, messages: Sequence[bytes]) -> IntArray:
        """Stored integers from one message per party. Raises ProtocolAbort or MalformedFrame where they disagree."""
        ...

    def output_size(self, value: Value, party: int) -> int:
        """Bytes of the message that ``party`` sends for an output."""
        ...


@runtime_checkable
class MaskedOwner(Owner, Protocol):
    """An owner that first gets a message from every party: masks of what it will share."""

    def mask_size(self, value: Value, party: int) -> int:
        """Bytes of ``party``'s message for ``value``."""
        ...

    def share(self, value: Value, tensor: IntArray, masks: Sequence[bytes] = ()) -> Sequence[bytes]:
        """As :meth:`Owner.share`, with one mask message per party. Raises ProtocolAbort where they do not agree."""
        ...


class Engine(Protocol):
    """One party's evaluator of Programs. Called in program order; every method may talk through the session.

    Rounds, bytes and seconds are counted by themselves. Secure products, and the correlated randomness that they use
    up, are in the report if the engine says them (``session.meter.count_work``, by the definitions of
    ``runtime.meter.Work``): once per operation on a tensor, the same at every party.
    An engine that checks others may have ``soundness_bits``: -log2 of the chance that cheating went unnoticed so far.
    """

    def prepare(self, program: Program) -> None:
        """Once per program, in the setup phase: keys, compiled circuits."""
        ...

    def load(self, step: Input, message: bytes) -> Share:
        """A share from the owner's message (weights in setup, activations online)."""
        ...

    def weights(self, step: Linear, shares: Sequence[Share]) -> Share:
        """Packs weight and bias shares into what :meth:`linear` wants: once per linear step, in setup.

        Where the second operand is an activation, online, right before :meth:`linear`: its one share alone.
        """
        ...

    def finish_setup(self) -> None:
        """Once, when all of the model owner's values are loaded: checks that belong to setup."""
        ...

    def linear(self, step: Linear, x: Share, packed: Share) -> Share: ...

    def affine(self, step: Affine, inputs: Sequence[Share]) -> Share: ...

    def requantize(self, step: Requantize, x: Share) -> Share: ...

    def maximum(self, step: Maximum, x: Share) -> Share: ...

    def lookup(self, step: Lookup, x: Share) -> Share: ...

    def move(self, step: Move, inputs: Sequence[Share]) -> Share: ...

    def output(self, step: Output, x: Share) -> bytes:
        """This party's message to the receiver."""
        ...


class Backend(Protocol):
    """What a backend says about itself, before any party starts."""

    name: ClassVar[str]
    api_version: ClassVar[int]
    #: every guarantee it gives, strongest first
    threat_models: ClassVar[tuple[ThreatModel, ...]]
    devices: ClassVar[tuple[str, ...]]

    def parties(self) -> tuple[int, int]:
        """Least and greatest number of computing parties."""
        ...

    def supports(self, step: Step, program: Program) -> str | None:
        """None when it can run ``step``, else one line that says why not."""
        ...

    def owner(self, parties: int) -> Owner:
        """The owners' side for that many computing parties."""
        ...

    def engine(self, session: Session, program: Program) -> Engine: ...


@runtime_checkable
class PreparedEngine(Protocol):
    """An engine that has work to do for a sample before its inputs are there."""

    def preprocess(self) -> None:
        """Once per sample, in the preprocessing phase."""
        ...


@runtime_checkable
class MaskingEngine(Protocol):
    """An engine whose owners are :class:`MaskedOwner`."""

    def mask(self, step: Input) -> bytes:
        """This party's message to the owner of the step's value, right before that owner's message is read."""
        ...


class Helper(Protocol):
    """A process that serves the parties and gets no share: a dealer of correlated randomness."""

    def setup(self) -> None:
        """Once per program."""
        ...

    def sample(self) -> None:
        """Once per sample."""
        ...


@runtime_checkable
class PreparedBackend(Protocol):
    """A backend whose engines are :class:`PreparedEngine`: correlated randomness comes first, from somewhere."""

    preprocessing: ClassVar[Preprocessing]


@runtime_checkable
class ConfigurableBackend(Protocol):
    """A backend whose correlated randomness may come from more than one place."""

    def with_preprocessing(self, wanted: Preprocessing) -> Backend | None:
        """The backend that gets it from there, None where there is no such thing."""
        ...


@runtime_checkable
class HelpedBackend(Protocol):
    """A backend whose parties need one helper process; at every party ``Session.helper`` leads to it."""

    #: what it is called in reports and errors
    helper_name: ClassVar[str]
    #: what its users trust it with, in words
    helper_trust: ClassVar[str]

    def helper(self, session: Session, program: Program) -> Helper:
        """The helper's side, on its session with all parties."""
        ...
