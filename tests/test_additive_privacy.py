"""additive: what arrives is uniform whatever the secrets, sizes are shapes', no pad twice, a plan for everything."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from mpc_bridge.backends.additive.backend import backend
from mpc_bridge.backends.additive.compile import corrected
from mpc_bridge.backends.additive.demands import Bits, Gates
from mpc_bridge.backends.additive.planner import plan
from mpc_bridge.backends.additive.source import BATCH_BYTES, DealtSource, batches
from mpc_bridge.backends.plaintext import backend as plaintext
from mpc_bridge.kernels import Device, cpu_device
from mpc_bridge.lowering.program import Input, Output, Program
from mpc_bridge.runtime.executor import run_online, run_setup
from mpc_bridge.runtime.session import Session
from mpc_bridge.testing import conformance
from mpc_bridge.testing.conformance import Case
from mpc_bridge.testing.parties import run_parties
from tests.privacy_programs import RING, pool_and_table, product
from tests.privacy_statistics import bits_of as bits
from tests.privacy_statistics import dependent, different, unfair
from tests.test_privacy_messages import secrets
from tests.test_privacy_pads import Drawing, Pad, drawn_twice
from tests.test_privacy_shapes import extremes
from tests.trios import Tensors

#: Enough vectors for all positions of one element's messages.
ELEMENTS = 4096
CASES = {case.name: case for case in conformance.cases()}
NAMES = ("conv3x3-ring33", "depthwise-ring48", "moves-ring33", "pool3x3-ring33", "argmax-3x37", "lookup-ring48",
         "requantize-ring64-2x11x5x3-tie")  # fmt: skip


@dataclass
class Heard:
    """What one party received from other parties, per inference: (label, peer, bytes)."""

    inferences: list[list[tuple[str, int, bytes]]] = field(default_factory=list)
    outputs: list[dict[int, bytes]] = field(default_factory=list)

    def listen(self, session: Session) -> None:
        exchange = session.exchange

        def exchanged(sends: Any, receives: Any, label: str = "") -> None:
            exchange(sends, receives, label=label)
            for peer in sorted(receives):
                data = b"".join(bytes(memoryview(buffer).cast("B")) for buffer in receives[peer])
                self.inferences[-1].append((label, peer, data))

        session.exchange = exchanged  # type: ignore[method-assign]


def listen(
    program: Program, weights: Tensors, inferences: list[Tensors], parties: int = 2, devices: list[Device] | None = None
) -> list[Heard]:
    """One session with a dealer: what each party heard, setup first."""
    owner = backend.owner(parties)
    model = {value: owner.share(program.values[value], tensor) for value, tensor in weights.items()}
    data = [{value: owner.share(program.values[value], x) for value, x in tensors.items()} for tensors in inferences]

    def party(session: Session) -> Heard:
        heard = Heard([[]])
        heard.listen(session)
        engine = backend.engine(session, program)

        def read(_: int, step: Input) -> bytes:
            return bytes(model[step.output][session.party])

        prepared = run_setup(engine, program, read, session.meter)
        for shares in data:
            heard.inferences.append([])
            revealed: dict[int, bytes] = {}

            def read_data(_: int, step: Input, shares: Any = shares) -> bytes:
                return bytes(shares[step.output][session.party])

            def write(_: int, step: Output, message: bytes, revealed: Any = revealed) -> None:
                revealed[step.output] = message

            engine.preprocess()
            run_online(engine, program, prepared, read_data, write, session.meter)
            heard.outputs.append(revealed)
        return heard

    def dealer(session: Session) -> Heard:
        helper = backend.helper(session, program)
        helper.setup()
        for _ in data:
            helper.sample()
        return Heard()

    found = run_parties(devices or [cpu_device() for _ in range(parties)], party, timeout=60.0, helper=dealer)[:parties]
    for number, tensors in enumerate(inferences):
        for step in program.steps:
            if isinstance(step, Output):
                value = program.values[step.inputs[0]]
                opened = owner.reconstruct(value, [heard.outputs[number][step.output] for heard in found])
                expected = conformance.run(plaintext, Case("", program, {**weights, **tensors}), [cpu_device()])
                np.testing.assert_array_equal(opened, expected[step.output])
    return found


def per_element(messages: list[tuple[str, int, bytes]], program: Program) -> np.ndarray:
    """``[ELEMENTS, positions]``: everything that was received for each element."""
    columns = []
    for label, _, data in messages:
        if label == "masked operand":  # two inputs per element
            columns.append(bits(data, 2 * RING))
        elif label == "masked accumulator":
            columns.append(bits(data, RING))
        elif label == "masked bits":
            columns.append(bits(data, 8))
        else:
            assert label.startswith("circuit round")
            columns.append(bits(data, len(data) and ELEMENTS).T)
    lanes = {len(column) for column in columns}
    # a tournament's first level has two pairs per element
    return np.concatenate([column.reshape(ELEMENTS, -1) for column in columns], axis=1) if lanes else np.zeros((0, 0))


@pytest.mark.parametrize("parties", [2, 3])
def test_what_arrives_for_each_element_is_uniform(parties: int) -> None:
    program = product(ELEMENTS)
    weights, (first, second) = secrets(program)
    for heard in listen(program, weights, [first, second], parties):
        one, other = (per_element(messages, program) for messages in heard.inferences[1:])
        assert one.shape[1] > (parties - 1) * 150
        wrong = unfair(one) or unfair(other) or different(one, other) or dependent(np.concatenate([one, other]))
        assert wrong is None, wrong


@pytest.mark.parametrize("make", [product, pool_and_table])
def test_every_bit_is_uniform_over_many_inferences(make: Callable[[int], Program]) -> None:
    program = make(24)
    weights, (first, second) = secrets(program)
    for heard in listen(program, weights, [first, second] * 45):
        for number in range(len(heard.inferences[1])):
            data = [inference[number][2] for inference in heard.inferences[1:]]
            sample = np.stack([bits(d, 8 * len(d))[0] for d in data])
            wrong = unfair(sample) or different(sample[::2], sample[1::2])
            assert wrong is None, f"{heard.inferences[1][number][:2]}: {wrong}"


def test_reused_randomness_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both inferences on the first one's pads: each is uniform alone, together they are not."""
    program = product(ELEMENTS)
    weights, (first, _) = secrets(program)

    def again(self: DealtSource) -> None:
        self._domain = 1000
        self._start(self._plan.sample)

    monkeypatch.setattr(DealtSource, "start_sample", again)
    monkeypatch.setattr("mpc_bridge.backends.additive.dealer.Dealer.sample",
                        lambda self: (setattr(self, "_domain", 1000), self._deal(self._plan.sample))[1])
    for heard in listen(program, weights, [first, first]):
        both = np.concatenate([per_element(messages, program) for messages in heard.inferences[1:]], axis=1)
        assert dependent(both) is not None


@pytest.mark.parametrize("name", NAMES)
def test_sizes_order_and_count_are_the_same_for_all_secrets(name: str) -> None:
    program = CASES[name].program
    transcripts = []
    for weights, data in extremes(program):
        found = listen(program, weights, [data, data], 3)
        transcripts.append([[(label, peer, len(text)) for part in heard.inferences for label, peer, text in part]
                            for heard in found])
    assert all(len(messages) > 5 for messages in transcripts[0])
    for other in transcripts[1:]:
        assert other == transcripts[0]


@pytest.mark.parametrize("name", NAMES)
def test_no_pad_is_used_twice_and_the_dealer_knows_all_that_it_has_to(name: str) -> None:
    program = CASES[name].program
    weights, data = extremes(program)[2]
    devices = [Drawing() for _ in range(3)]
    # the dealer's thread works on the first party's device
    listen(program, weights, [data, data], 3, list(devices))
    by_key: dict[bytes, list[set[tuple[int, int, int]]]] = defaultdict(list)
    for number, device in enumerate(devices):
        keys: dict[bytes, list[Pad]] = defaultdict(list)
        for pad in device.pads:
            keys[pad.key].append(pad)
        for key, drawn in keys.items():
            by_key[key].append({(pad.domain, pad.start, pad.end) for pad in drawn})
            if number:
                assert drawn_twice(drawn) is None
    shared = [drawn for drawn in by_key.values() if len(drawn) == 2]
    # a key of the dealer with each of two parties, and one of every pair of parties
    assert len(shared) >= 3
    for first, second in shared:
        assert first == second


@pytest.mark.parametrize("name", sorted(CASES)[::3])
def test_the_plan_is_what_is_consumed(name: str) -> None:
    """Every demand has as many corrections as its size says, and a program takes exactly the plan's."""
    program = CASES[name].program
    demands = plan(program)
    taken: list[list[Any]] = []
    take = DealtSource.take

    def noting(self: DealtSource, demand: Any) -> Any:
        if self._session.party == 0:
            taken[-1].append(demand)
        ticket = take(self, demand)
        assert (ticket.corrections is not None) == (self._session.party == 0)
        if ticket.corrections is not None:
            assert len(ticket.corrections) == demand.size
        return ticket

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DealtSource, "take", noting)
        taken.append([])
        weights, data = extremes(program)[3]
        listen(program, weights, [data, data])
    assert taken[0] == [*demands.setup, *demands.sample, *demands.sample]
    for demand in demands.sample:
        if isinstance(demand, Gates):
            assert demand.size == len(corrected(demand.circuit)) * -(-demand.lanes // 8)


def test_demands_out_of_turn_are_refused() -> None:
    program = CASES["lookup-ring48"].program

    def party(session: Session) -> None:
        source = DealtSource(session, plan(program))
        source.start_setup()
        source.start_sample()
        with pytest.raises(ValueError, match="out of turn"):
            source.take(Bits(3, 7))
        with pytest.raises(ValueError, match="left over"):
            source.start_sample()

    def dealer(session: Session) -> None:
        helper = backend.helper(session, program)
        helper.setup()
        helper.sample()

    run_parties([cpu_device(), cpu_device()], party, helper=dealer)


def test_batches_keep_order_and_stay_small() -> None:
    demands = [Bits(lanes, 48) for lanes in (10, 300_000, 200_000, 5, 900_000, 7)]
    groups = list(batches(demands))
    assert [demand for group in groups for demand in group] == demands
    assert len(groups) > 2
    assert all(len(group) == 1 or sum(d.size for d in group) <= BATCH_BYTES for group in groups)


def test_an_engine_needs_a_dealer() -> None:
    def party(session: Session) -> None:
        with pytest.raises(ValueError, match="no dealer"):
            backend.engine(session, CASES["lookup-ring48"].program)

    run_parties([cpu_device(), cpu_device()], party)
