"""What a secret-sharing protocol offers the shared engine: a few operations on components.

The engine (``engine``) builds the eight primitives out of these; a new protocol is one implementation of this
interface, one compiler of gates to microcode, and one ``Owner``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from mpc_bridge.backends.sharing.circuit import Circuit
from mpc_bridge.backends.sharing.planes import PlaneSink, PlaneSource
from mpc_bridge.backends.sharing.requantize import RequantizeShape
from mpc_bridge.backends.sharing.shares import BitShare, DeviceBuffer, RingShare
from mpc_bridge.kernels import Device
from mpc_bridge.lowering.program import Linear, Requantize, Value


class TwoSided(NamedTuple):
    """A circuit with one-sided operands, to run on ``size`` lanes.

    ``turn`` says which party plays which role on a small tensor: steps with different turns share the load.
    """

    circuit: Circuit
    size: int
    turn: int


class SharingProtocol(Protocol):
    """One party's side of a linear secret-sharing protocol over rings ``Z_2^k`` and bits."""

    device: Device
    #: components each party holds
    width: int
    #: which of them takes public constants at this party; None where others do
    constant: int | None

    @property
    def soundness_bits(self) -> float | None:
        """-log2 of the chance that cheating went unnoticed so far; None where nothing is checked."""
        ...

    def setup(self) -> None:
        """Agree on keys with the other parties."""
        ...

    def warm(self, two_sided: Sequence[TwoSided], plain: Sequence[Circuit]) -> None:
        """Compile these circuits now, so that no online round waits for it."""
        ...

    def load(self, value: Value, message: bytes) -> tuple[RingShare | None, BitShare | None]:
        """Components from an owner's message. Raises MalformedFrame where it is not what the value needs."""
        ...

    def reveal(self, components: tuple[DeviceBuffer, ...], width: int) -> bytes:
        """This party's message to the receiver: ``width`` bits per element of a uint8 or uint64 buffer."""
        ...

    def reveal_ring(self, x: RingShare) -> bytes:
        """This party's message to the receiver: ``x.width`` bits per element, of components that tell nothing more."""
        ...

    def pack(self, step: Linear, weights: RingShare, bias: RingShare | None) -> Any:
        """Weights as :meth:`product` wants them: the model's once in setup, computed ones before every product."""
        ...

    def finish_setup(self) -> None:
        """All weights are loaded: whatever is to be checked about them."""
        ...

    def product(self, step: Linear, x: RingShare, packed: Any) -> RingShare:
        """The linear primitive, bias included. One round, ``step.ring`` bits per output and party."""
        ...

    def requantize(
        self, step: Requantize, shape: RequantizeShape, x: RingShare
    ) -> tuple[RingShare | None, BitShare | None]:
        """``acc * multiplier + constant``, local, then the circuit of ``shape``; its turn is the step's output."""
        ...

    def to_ring(self, x: BitShare, ring: int, turn: int) -> RingShare:
        """Unsigned 8-bit values as a ring sharing."""
        ...

    def evaluate(
        self, circuit: Circuit, sources: Sequence[PlaneSource], sinks: Sequence[PlaneSink], lanes: int
    ) -> list[tuple[DeviceBuffer, ...]]:
        """A circuit without one-sided operands; components per sink."""
        ...
