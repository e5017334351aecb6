"""spdz2k: what arrives is uniform whatever the secrets, sizes are shapes', no pad twice, a plan for everything."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mpc_bridge.backends.plaintext import backend as plaintext
from mpc_bridge.backends.spdz2k.backend import backend
from mpc_bridge.backends.spdz2k.compile import MacOp
from mpc_bridge.backends.spdz2k.demands import SIGMA
from mpc_bridge.backends.spdz2k.masks import SLAB, shown_size, slabs
from mpc_bridge.backends.spdz2k.planner import plan
from mpc_bridge.backends.spdz2k.source import SealedSource
from mpc_bridge.kernels import Device, cpu_device
from mpc_bridge.kernels.prf import KEY_BYTES
from mpc_bridge.lowering.program import Input, Output, Program
from mpc_bridge.runtime.executor import run_online, run_setup
from mpc_bridge.runtime.session import Session
from mpc_bridge.testing import conformance
from mpc_bridge.testing.conformance import Case
from mpc_bridge.testing.owners import Desk
from mpc_bridge.testing.parties import run_parties
from tests.privacy_programs import RING, pair, pool_and_table, product
from tests.privacy_statistics import bits_of as bits
from tests.privacy_statistics import dependent, different, unfair
from tests.test_additive_privacy import NAMES, Heard
from tests.test_privacy_messages import secrets
from tests.test_privacy_pads import Drawing, Pad, drawn_twice
from tests.test_privacy_shapes import extremes
from tests.trios import Tensors

#: Enough vectors for all positions of one element's messages.
ELEMENTS = 4096
CASES = {case.name: case for case in conformance.cases()}
#: Bits per element and label; planes of circuits lie one after the other.
WIDTHS = {"masked operand": RING + SIGMA, "masked accumulator": RING + SIGMA, "masked bits": 8}
#: Says that something happened, and nothing else.
CONSTANT = "barrier"
WORD = 16


class MacDrawing(Drawing):
    """Notes what MACs draw too."""

    def macs_run(self, lanes: int, code: Any, registers: Any, key: bytes, domain: int, *rest: Any) -> None:
        for op, _, _, number in code.tolist():
            if op == MacOp.PRF:
                self.note("macs", [key], domain, 8 * lanes, number * -(-lanes // 64) * 32)
        super().macs_run(lanes, code, registers, key, domain, *rest)

    def macs_deal(self, planes: Any, lanes: int, delta: int, keys: bytes, domain: int) -> Any:
        for at in range(0, len(keys), KEY_BYTES):
            for row in range(len(planes)):
                self.note("macs", [keys[at : at + KEY_BYTES]], domain, 8 * lanes, row * -(-lanes // 64) * 32)
        return super().macs_deal(planes, lanes, delta, keys, domain)

    def gf_weighted_sum(self, x: Any, key: bytes, domain: int, first: int = 0) -> int:
        self.note("weights", [key], domain, 8 * x.size, first // 2)
        return super().gf_weighted_sum(x, key, domain, first)


def listen(
    program: Program, weights: Tensors, inferences: list[Tensors], parties: int = 2, devices: list[Device] | None = None
) -> list[Heard]:
    """One session with a dealer: what each party heard from other parties and owners, setup first."""
    owner = backend.owner(parties)
    desks = [Desk(owner, program, {**weights, **tensors}, parties) for tensors in inferences]

    def party(session: Session) -> Heard:
        heard = Heard([[]])
        heard.listen(session)
        engine = backend.engine(session, program)

        def reader(desk: Desk) -> Callable[[int, Input], bytes]:
            def read(_: int, step: Input) -> bytes:
                message = desk.read(engine, session.party, step)
                heard.inferences[-1].append(("owner", -1, message))
                return message

            return read

        prepared = run_setup(engine, program, reader(desks[0]), session.meter)
        for desk in desks:
            heard.inferences.append([])
            revealed: dict[int, bytes] = {}

            def write(_: int, step: Output, message: bytes, revealed: Any = revealed) -> None:
                revealed[step.output] = message

            engine.preprocess()
            run_online(engine, program, prepared, reader(desk), write, session.meter)
            heard.outputs.append(revealed)
        return heard

    def dealer(session: Session) -> Heard:
        helper = backend.helper(session, program)
        helper.setup()
        for _ in inferences:
            helper.sample()
        return Heard()

    found = run_parties(devices or [cpu_device() for _ in range(parties)], party, timeout=60.0, helper=dealer)[:parties]
    for number, tensors in enumerate(inferences):
        expected = conformance.run(plaintext, Case("", program, {**weights, **tensors}), [cpu_device()])
        for step in program.steps:
            if isinstance(step, Output):
                value = program.values[step.inputs[0]]
                opened = owner.reconstruct(value, [heard.outputs[number][step.output] for heard in found])
                np.testing.assert_array_equal(opened, expected[step.output])
    return found


def per_element(messages: list[tuple[str, int, bytes]]) -> np.ndarray:
    """``[ELEMENTS, positions]``: everything that was received for each element."""
    columns = []
    for label, _, data in messages:
        if label in WIDTHS:
            columns.append(bits(data, WIDTHS[label]).reshape(ELEMENTS, -1))
        elif label == "masked output" or label == "owner":
            columns.append(bits(data, len(data) * 8 // ELEMENTS).reshape(ELEMENTS, -1))
        elif label.startswith("circuit round"):
            columns.append(bits(data, ELEMENTS).T)
    return np.concatenate(columns, axis=1)


@pytest.mark.parametrize("parties", [2, 3])
@pytest.mark.parametrize("make", [product, pair])
def test_what_arrives_for_each_element_is_uniform(make: Callable[[int], Program], parties: int) -> None:
    program = make(ELEMENTS)
    weights, (first, second) = secrets(program)
    for heard in listen(program, weights, [first, second], parties):
        one, other = (per_element(messages) for messages in heard.inferences[1:])
        assert one.shape[1] > (parties - 1) * 250
        wrong = unfair(one) or unfair(other) or different(one, other) or dependent(np.concatenate([one, other]))
        assert wrong is None, wrong


def read(label: str, data: bytes) -> np.ndarray:
    """The bits that carry something."""
    if label == "mac check":
        # sums modulo 2^(RING + SIGMA) in 16 bytes each, 8 bytes of bits' sum, a nonce
        sums = (len(data) - 8 - 32) // WORD
        kept = b"".join(data[at * WORD : at * WORD + (RING + SIGMA) // 8] for at in range(sums)) + data[sums * WORD :]
        return bits(kept, 8 * len(kept))[0]
    return bits(data, 8 * len(data))[0]


@pytest.mark.parametrize("parties", [2, 3])
@pytest.mark.parametrize("make", [product, pair, pool_and_table])
def test_every_bit_is_uniform_over_many_inferences(make: Callable[[int], Program], parties: int) -> None:
    """Checks and all: also what two other parties open of a check, which is zero in sum."""
    program = make(24)
    weights, (first, second) = secrets(program)
    for heard in listen(program, weights, [first, second] * 45, parties):
        labels = [message[0] for message in heard.inferences[1]]
        assert "mac check" in labels and "coin" in labels
        for number, label in enumerate(labels):
            if label == CONSTANT:
                continue
            later = [inference for inference in heard.inferences[1:] if [m[0] for m in inference] == labels]
            # the inferences in which more coins are committed to have more messages
            assert len(later) > 80
            sample = np.stack([read(label, inference[number][2]) for inference in later])
            wrong = unfair(sample)
            assert wrong is None, f"{heard.inferences[1][number][:2]}: {wrong}"


@pytest.mark.parametrize("name", [*NAMES, "revealed-sums-ring64"])
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


@pytest.mark.parametrize("name", [*NAMES, "revealed-sums-ring64", "product-dense-ring33"])
def test_no_pad_is_used_twice_and_the_dealer_knows_all_that_it_has_to(name: str) -> None:
    program = CASES[name].program
    weights, data = extremes(program)[2]
    devices = [MacDrawing() for _ in range(3)]
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
                assert drawn_twice(drawn) is None, drawn_twice(drawn)
    shared = [drawn for drawn in by_key.values() if len(drawn) == 2]
    # a key of the dealer with each of two parties, one of every pair of parties, and those that masks come from
    assert len(shared) > 5
    for first, second in shared:
        assert first == second


@pytest.mark.parametrize("name", sorted(CASES)[::5])
def test_the_plan_is_what_is_consumed(name: str) -> None:
    """Every demand has as many corrections as its size says, and a program takes exactly the plan's."""
    program = CASES[name].program
    demands = plan(program)
    taken: list[Any] = []
    take = SealedSource.take

    def noting(self: SealedSource, demand: Any) -> Any:
        ticket = take(self, demand)
        assert (ticket.corrections is not None) == (self._session.party == 0)
        if ticket.corrections is not None:
            taken.append(demand)
            assert len(ticket.corrections) == demand.size
        return ticket

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SealedSource, "take", noting)
        weights, data = extremes(program)[3]
        listen(program, weights, [data, data])
    assert taken == [*demands.setup, *demands.sample, *demands.sample]


def test_ranges_cover_everything_once() -> None:
    for size in (0, 1, SLAB, SLAB + 1, 5 * SLAB + 3):
        assert [i for part in slabs(size) for i in range(part.start, part.stop)] == list(range(size))
        assert shown_size(size, 3) == len(slabs(size)) * (48 + 96)
    assert all((part.stop - part.start) % 28 == 0 for part in slabs(28 * 1000, 28))
    assert slabs(2 * SLAB + 2, SLAB + 1) == [slice(0, SLAB + 1), slice(SLAB + 1, 2 * SLAB + 2)]
