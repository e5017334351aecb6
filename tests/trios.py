"""Three parties as threads on real sockets, with a hand in what one of them does: for tests of privacy and of attacks.

Nothing here is reachable from the product: parties are changed by replacing methods of objects that the test made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mpc_bridge.backends.base import Backend
from mpc_bridge.backends.replicated.malicious.checks import Check
from mpc_bridge.backends.replicated.malicious.trust import Trust
from mpc_bridge.kernels import Device, cpu_device
from mpc_bridge.lowering.program import Geometry, Input, Linear, Output, Program, Step, Tail, Value
from mpc_bridge.runtime.executor import run_online, run_setup
from mpc_bridge.runtime.session import Session
from mpc_bridge.testing.parties import run_parties

Tensors = dict[int, np.ndarray]

#: Label of the components that a party holds of a product's input, 64 bits each: the only ones that did not arrive.
HELD = "held"


@dataclass(frozen=True)
class Message:
    """One peer's part of one round, as its receiver got it.

    Attributes:
        lanes: of the circuit that it belongs to, per range of elements; empty where it belongs to none.
        ranges: which of these ranges each buffer is about.
    """

    label: str
    peer: int
    buffers: tuple[bytes, ...]
    lanes: tuple[int, ...] = ()
    ranges: tuple[int, ...] = ()

    @property
    def shape(self) -> tuple[str, int, tuple[int, ...]]:
        """All but the contents."""
        return self.label, self.peer, tuple(len(buffer) for buffer in self.buffers)


@dataclass
class View:
    """What one party received, in order, an inference each; and what it gave out, by output."""

    inferences: list[list[Message]] = field(default_factory=list)
    setup: list[Message] = field(default_factory=list)
    current: list[Message] = field(default_factory=list)
    outputs: list[dict[int, bytes]] = field(default_factory=list)
    _lanes: tuple[int, ...] = ()
    _received: tuple[int, ...] = ()

    def watch(self, session: Session, engine: Any) -> None:
        """Note everything that arrives from now on."""
        exchange, protocol = session.exchange, engine._protocol
        run, send, multiply = protocol._run, protocol._send_first_component, protocol.product

        def exchanged(sends: Any, receives: Any, label: str = "") -> None:
            exchange(sends, receives, label=label)
            lanes, ranges = self._lanes, tuple(range(len(self._lanes)))
            if label == "first component":
                ranges = self._received
            elif not label.startswith("circuit round"):
                lanes = ranges = ()
            for peer in sorted(receives):
                buffers = tuple(bytes(memoryview(buffer).cast("B")) for buffer in receives[peer])
                self.current.append(Message(label, peer, buffers, lanes, ranges))

        def ran(lanes: Sequence[Any]) -> None:
            self._lanes = tuple(lane.lanes for lane in lanes)
            run(lanes)

        def sent(parts: Sequence[Any], *rest: Any) -> None:
            # component 0 is what role 2 receives
            self._received = tuple(i for i, part in enumerate(parts) if part.role(session.party) == 2)
            send(parts, *rest)

        def product(step: Any, x: Any, packed: Any) -> Any:
            # not received, but what an answer that lacks its zero share is a function of
            held = tuple(bytes(component.tobytes()) for component in x.components)
            self.current.append(Message(HELD, session.party, held))
            return multiply(step, x, packed)

        session.exchange = exchanged  # type: ignore[method-assign]
        protocol._run, protocol._send_first_component, protocol.product = ran, sent, product


def views(
    backend: Backend,
    program: Program,
    inferences: Sequence[Tensors],
    weights: Tensors,
    devices: Sequence[Device] | None = None,
) -> tuple[list[View], list[dict[int, np.ndarray]]]:
    """One session, any number of inferences: what each party received, and what came out."""
    owner = backend.owner(3)
    model = {value: owner.share(program.values[value], tensor) for value, tensor in weights.items()}
    data = [{value: owner.share(program.values[value], x) for value, x in tensors.items()} for tensors in inferences]

    def party(session: Session) -> View:
        view = View()
        engine = backend.engine(session, program)
        view.watch(session, engine)

        def read(_: int, step: Input) -> bytes:
            message = bytes(model[step.output][session.party])
            view.current.append(Message("owner", -1, (message,)))
            return message

        prepared = run_setup(engine, program, read, session.meter)
        view.setup, view.current = view.current, []
        for shares in data:
            revealed: dict[int, bytes] = {}

            def read_data(_: int, step: Input, shares: Any = shares) -> bytes:
                message = bytes(shares[step.output][session.party])
                view.current.append(Message("owner", -1, (message,)))
                return message

            def write(_: int, step: Output, message: bytes, revealed: Any = revealed) -> None:
                revealed[step.output] = message

            run_online(engine, program, prepared, read_data, write, session.meter)
            view.outputs.append(revealed)
            view.inferences.append(view.current)
            view.current = []
        return view

    found = run_parties(devices or [cpu_device() for _ in range(3)], party, timeout=60.0)
    opened = []
    for number in range(len(inferences)):
        tensors = {}
        for step in program.steps:
            if isinstance(step, Output):
                parts = [view.outputs[number][step.output] for view in found]
                tensors[step.output] = owner.reconstruct(program.values[step.inputs[0]], parts)
        opened.append(tensors)
    return found, opened


# Attacks --------------------------------------------------------------------------------------------------------------


class Judge(Trust):
    """Notes what its checks found, and goes on: many trials in one session."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.verdicts: dict[str, list[bool]] = {}

    def require(self, check: Check, condition: bool) -> None:
        self.verdicts.setdefault(check.name, []).append(check.holds(condition))

    def accepted(self, check: Check) -> list[bool]:
        """What the check said, in order."""
        return self.verdicts.get(check.name, [])


def three(party: Callable[[Session], Any], timeout: float = 30.0) -> list[Any]:
    """``party`` at each of the three."""
    return run_parties([cpu_device() for _ in range(3)], party, timeout=timeout)


def linear_program(g: Geometry, ring: int) -> tuple[Program, Linear]:
    """One dense product: values 0 (data), 1 (weights), 2 (accumulator)."""
    shapes = ((g.batch, g.in_height, g.in_width, g.in_channels), (g.out_channels, *g.kernel, g.in_channels),
              (g.batch, g.out_height, g.out_width, g.out_channels))
    values = (
        Value("x", shapes[0], "activation", 0, 255, ring),
        Value("w", shapes[1], "weight", 0, 127, ring, low=-128),
        Value("z", shapes[2], "accumulator", 0, 0, ring),
    )
    product = Linear(0, "product", (0, 1), 2, g, False, 0, ring)
    steps: list[Step] = [Input(-1, "input", (), 0, "data", 0), Input(-1, "input", (), 1, "model", 1), product]
    return Program("product", values, tuple(steps), (Tail(-1, ()),), {}, 0), product


def share_ring(value: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Three components modulo 2**64, as ``components[i]``."""
    first, second = (rng.integers(0, 2**64, value.shape, dtype=np.uint64) for _ in range(2))
    return [first, second, value.astype(np.uint64) - first - second]
