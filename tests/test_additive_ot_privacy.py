"""additive with oblivious transfers: what arrives is uniform whatever the secrets, sizes are shapes', no pad twice."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mpc_bridge.backends.additive.ot_backend import backend
from mpc_bridge.backends.additive.ot_compile import compile_preparation, dealt, mask_products
from mpc_bridge.backends.additive.ot_source import ObliviousSource
from mpc_bridge.backends.additive.planner import plan
from mpc_bridge.backends.plaintext import backend as plaintext
from mpc_bridge.backends.sharing.circuit import ONE, Circuit
from mpc_bridge.kernels import Device, cpu_device
from mpc_bridge.lowering.program import Input, Output, Program
from mpc_bridge.runtime.executor import run_online, run_setup
from mpc_bridge.runtime.session import Session
from mpc_bridge.testing import conformance
from mpc_bridge.testing.conformance import Case
from mpc_bridge.testing.parties import run_parties
from tests.privacy_programs import pair, pool_and_table, product
from tests.privacy_statistics import bits_of, different, uneven_bytes, unfair
from tests.test_additive_privacy import Heard
from tests.test_privacy_messages import secrets
from tests.test_privacy_pads import Drawing, drawn_twice
from tests.test_privacy_shapes import extremes
from tests.trios import Tensors

#: A multiple of 8, so that no message has bits that carry nothing.
ELEMENTS = 1024
CASES = {case.name: case for case in conformance.cases()}
NAMES = ("conv3x3-ring33", "depthwise-ring48", "moves-ring33", "pool3x3-ring33", "argmax-3x37", "lookup-ring48",
         "requantize-ring64-2x11x5x3-tie", "product-depthwise-ring48")  # fmt: skip


def listen(program: Program, weights: Tensors, inferences: list[Tensors],
           devices: list[Device] | None = None) -> list[Heard]:
    """One session: what each party heard, setup first; results are checked."""
    owner = backend.owner(2)
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

    found = run_parties(devices or [cpu_device(), cpu_device()], party, timeout=60.0)
    for number, tensors in enumerate(inferences):
        expected = conformance.run(plaintext, Case("", program, {**weights, **tensors}), [cpu_device()])
        for step in program.steps:
            if isinstance(step, Output):
                value = program.values[step.inputs[0]]
                opened = owner.reconstruct(value, [heard.outputs[number][step.output] for heard in found])
                np.testing.assert_array_equal(opened, expected[step.output])
    return found


@pytest.mark.parametrize("make", [product, pool_and_table, pair])
def test_every_message_is_uniform_and_the_same_for_any_two_secrets(make: Callable[[int], Program]) -> None:
    program = make(ELEMENTS)
    weights, (first, second) = secrets(program)
    for heard in listen(program, weights, [first, second]):
        one, other = ([(label, data) for label, _, data in inference if data] for inference in heard.inferences[1:])
        assert [label for label, _ in one] == [label for label, _ in other] and len(one) > 10
        for (label, data), (_, again) in zip(one, other, strict=True):
            assert len(data) == len(again)
            if len(data) < 256:
                continue
            for message in (data, again):
                wrong = uneven_bytes(message) or unfair(bits_of(message, 8))
                assert wrong is None, f"{label}: {wrong}"
            wrong = different(bits_of(data, 64), bits_of(again, 64))
            assert wrong is None, f"{label}: {wrong}"


def test_every_position_is_uniform_over_many_inferences() -> None:
    """The same two secrets again and again: every bit of every message is a fair coin of its own."""
    program = product(16)
    weights, (first, second) = secrets(program)
    for heard in listen(program, weights, [first, second] * 60):
        for number in range(len(heard.inferences[1])):
            data = [inference[number][2] for inference in heard.inferences[1:]]
            if not data[0]:
                continue
            sample = np.stack([bits_of(d, 8 * len(d))[0] for d in data])
            wrong = unfair(sample) or different(sample[::2], sample[1::2])
            assert wrong is None, f"{heard.inferences[1][number][:2]}: {wrong}"


def test_reused_randomness_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same masks in every inference: each is uniform alone, but a position no longer is a coin of its own."""
    program = product(16)
    weights, (first, _) = secrets(program)
    start = ObliviousSource.start_sample

    def again(self: ObliviousSource) -> None:
        self._domain = 1000
        start(self)

    monkeypatch.setattr(ObliviousSource, "start_sample", again)
    for heard in listen(program, weights, [first] * 60):
        label, number = next((label, number) for number, (label, _, data) in enumerate(heard.inferences[1])
                             if label.startswith("circuit round") and data)
        data = [inference[number][2] for inference in heard.inferences[1:]]
        assert unfair(np.stack([bits_of(d, 8 * len(d))[0] for d in data])) is not None, label


@pytest.mark.parametrize("name", NAMES)
def test_sizes_order_and_count_are_the_same_for_all_secrets(name: str) -> None:
    program = CASES[name].program
    transcripts = []
    for weights, data in extremes(program):
        found = listen(program, weights, [data, data])
        transcripts.append([[(label, peer, len(text)) for part in heard.inferences for label, peer, text in part]
                            for heard in found])
    assert all(len(messages) > 5 for messages in transcripts[0])
    for other in transcripts[1:]:
        assert other == transcripts[0]


class Noting(Drawing):
    """Notes the streams of trees' leaves too."""

    def __init__(self) -> None:
        super().__init__()
        self.leaves: list[tuple[bytes, int]] = []

    def ot_expand(self, seeds: Any, domain: int, size: int) -> Any:
        self.leaves += [(seed.tobytes(), domain) for tree in seeds for seed in tree]
        return super().ot_expand(seeds, domain, size)

    def ot_digits(self, key: bytes, leaves: Any, domain: int, scale: int, sums: Any, acc: Any) -> None:
        # a holder's missing leaf is all zero
        self.leaves += [(key + leaf.tobytes(), domain) for tree in leaves for leaf in tree if leaf.any()]
        super().ot_digits(key, leaves, domain, scale, sums, acc)


@pytest.mark.parametrize("name", NAMES)
def test_no_pad_is_used_twice(name: str) -> None:
    """A party's own masks alone are drawn twice, in preparation and over what they hide: there they are the same."""
    program = CASES[name].program
    weights, data = extremes(program)[2]
    devices = [Noting(), Noting()]
    listen(program, weights, [data, data], list(devices))
    for device in devices:
        by_key = defaultdict(list)
        own = {pad.key for pad in device.pads if pad.use == "planes_run"}
        for pad, times in Counter(device.pads).items():
            assert times <= (2 if not own or pad.key in own else 1), pad
            by_key[pad.key].append(pad)
        assert all(drawn_twice(pads) is None for pads in by_key.values())
        assert max(Counter(device.leaves).values()) == 1
    # zero sharings, and the hash of transfers, are under keys that both have; masks are under keys of one's own
    shared = {pad.key for pad in devices[0].pads} & {pad.key for pad in devices[1].pads}
    masks = [{pad.key for pad in device.pads if pad.use == "planes_run"} for device in devices]
    assert not masks[0] & shared and not masks[1] & shared


@pytest.mark.parametrize("name", sorted(CASES)[::3])
def test_the_plan_is_what_is_consumed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = CASES[name].program
    demands, taken = plan(program), []
    take = ObliviousSource.take

    def noting(self: ObliviousSource, demand: Any) -> Any:
        if self._session.party == 0:
            taken.append(demand)
        return take(self, demand)

    monkeypatch.setattr(ObliviousSource, "take", noting)
    weights, data = extremes(program)[3]
    listen(program, weights, [data, data])
    assert taken == [*demands.sample, *demands.sample]


def test_a_bounded_store_fills_up_while_the_sample_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit ahead is made when it is due, at both parties alike."""
    monkeypatch.setattr("mpc_bridge.backends.additive.ot_source.AHEAD_BYTES", 1)
    program = CASES["lookup-ring48"].program
    weights, data = extremes(program)[2]
    listen(program, weights, [data, data])


def test_a_product_of_masks_is_transferred_once() -> None:
    """However many gates multiply the same wires; a product with one is local."""
    circuit = Circuit()
    a, b = circuit.left(2), circuit.right(2)
    x, y = (circuit.share(wire) for wire in a)
    first = circuit.inner([(x, b[0]), (y, b[1])], b[0])
    second = circuit.inner([(circuit.negate(x), b[0]), (y, ONE)])
    third = circuit.conjunction(first, circuit.negate(second))
    fourth = circuit.dot([(second, first), (x, y)])
    circuit.shared_outputs = [third, fourth]
    products = mask_products(circuit)
    assert len(products) == len(set(products)) == 2 + 2 + 2
    assert dealt(circuit) == (first, second, third, fourth)
    for party in (0, 1):
        assert compile_preparation(circuit, party).stages[0].sends == (len(products),)
