"""What a party receives tells nothing: every bit a fair coin, no XOR of bits constant, the same for two secrets.

All elements of a tensor hold the same secret, so that each element is a run of its own with its own pads; what belongs
to the checks of a whole batch is collected over many inferences instead.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import pytest

from mpc_bridge.backends.base import Backend
from mpc_bridge.backends.plaintext import backend as plaintext
from mpc_bridge.backends.replicated.backend import backend as rep3
from mpc_bridge.backends.replicated.malicious.backend import backend as rep3_mac
from mpc_bridge.backends.replicated.malicious.protocol import SIGMA
from mpc_bridge.kernels import Device, cpu_device
from mpc_bridge.kernels.gf import TILE_LANES
from mpc_bridge.lowering.program import Program
from mpc_bridge.testing.conformance import Case
from mpc_bridge.testing.conformance import run as run_case
from tests.privacy_programs import RING, pair, pool_and_table, product
from tests.privacy_statistics import Bits, bits_of, dependent, different, uneven_bytes, unfair
from tests.trios import HELD, Message, Tensors, View, views

BACKENDS = (rep3, rep3_mac)
#: One tile of verification for each rotation of the roles.
ELEMENTS = 3 * TILE_LANES
#: Carries no data: that it comes at all is the message.
EMPTY = {"barrier"}
#: Messages that come only when what they are about is used up, so not in every inference.
NOW_AND_THEN = {"commitments", "commitment echo"}
#: Inferences after which every party plays the same roles again.
TURN = 3

#: (elements, which third of them) → one vector per element, everything received for it.
Samples = dict[tuple[int, int], Bits]


def filled(program: Program, value: int, pattern: tuple[int, ...]) -> np.ndarray:
    shape = program.values[value].shape
    return np.resize(np.array(pattern, np.int64), shape)


def secrets(program: Program) -> tuple[Tensors, list[Tensors]]:
    """Weights, and two inputs: nothing, and as much as there can be."""
    if program.name == "pair":
        both = [{i: filled(program, i, (x,)) for i in (0, 1)} for x in (0, 255)]
        return {4: filled(program, 4, (-(2**30),))}, both
    if len(program.values) == 4:
        return {1: filled(program, 1, (-128, 127))}, [{0: filled(program, 0, x)} for x in ((0, 0), (255, 254))]
    return {}, [{0: filled(program, 0, x)} for x in ((0,), (255,))]


def collect(messages: list[Message], width: int) -> Samples:
    """Vectors per element, from messages that carry something for each of them, and what is held beside them."""
    columns: dict[tuple[int, int], list[Bits]] = defaultdict(list)
    held: tuple[bytes, ...] = ()
    for message in messages:
        wholes = []
        if message.label == "product":
            wholes = [bits_of(message.buffers[0], width)]
            # the inputs of each product; where there is only one, its components came in messages for each element too
            inputs = [bits_of(c, 64)[:, :RING].reshape(len(wholes[0]), -1) for c in held]
            wholes += [rows for rows in inputs if rows.shape[1] > RING]
        elif message.label == "fresh components":
            wholes = [bits_of(message.buffers[0], width)]
        elif message.label == HELD:
            held = message.buffers
        for whole in wholes:
            for third, rows in enumerate(np.array_split(whole, 3)):
                columns[len(whole), third].append(rows)
        for third, data in zip(message.ranges, message.buffers, strict=False):
            lanes, total = message.lanes[third], sum(message.lanes)
            if not data:
                continue
            if message.label == "first component":
                columns[total, third].append(bits_of(data, RING))
            elif len(message.lanes) > 1:
                columns[total, third].append(bits_of(data, lanes).T)
            else:
                for part, rows in enumerate(np.array_split(bits_of(data, lanes).T, 3)):
                    columns[total, part].append(rows)
    return {key: np.concatenate(parts, axis=1) for key, parts in columns.items()}


def leak(found: list[View], width: int) -> str | None:
    """The first thing that is wrong with what some party received: the last inference is on another secret."""
    for party, view in enumerate(found):
        samples = [collect(view.inferences[number], width) for number in (0, TURN)]
        for key in samples[0]:
            first, second = (sample[key] for sample in samples)
            wrong = unfair(first) or unfair(second) or different(first, second)
            wrong = wrong or dependent(np.concatenate([first, second]))
            if wrong:
                return f"party {party}, elements {key}: {wrong}"
    return None


def watched(backend: Backend, program: Program, devices: list[Device] | None = None) -> tuple[list[View], int]:
    """What is received in TURN inferences on one secret and one on another; bits of a product's elements."""
    weights, (first, second) = secrets(program)
    inputs = [first] * TURN + [second]
    found, outputs = views(backend, program, inputs, weights, devices)
    if devices is None:  # it is the real computation that is looked at
        for tensors, output in zip(inputs, outputs, strict=True):
            expected = run_case(plaintext, Case("", program, {**weights, **tensors}), [cpu_device()])
            for position, wanted in enumerate(expected):
                np.testing.assert_array_equal(output[position], wanted)
    return found, RING + (SIGMA if backend is rep3_mac else 0)


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
@pytest.mark.parametrize("make", [product, pair, pool_and_table])
def test_what_comes_for_each_element_is_uniform(make: Callable[[int], Program], backend: Backend) -> None:
    found, width = watched(backend, make(ELEMENTS))
    for view in found:
        positions = [bits.shape[1] for bits in collect(view.inferences[0], width).values()]
        assert len(positions) >= 3 and sum(positions) > 300
    assert leak(found, width) is None


class NoZeroShare(Device):
    def ring_add_zero_share(self, key_a: bytes, key_b: bytes, domain: int, z: Bits) -> Bits:
        return z

    def wide_add_zero_share(self, key_a: bytes, key_b: bytes, domain: int, z: Bits) -> Bits:
        return z


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
@pytest.mark.parametrize("make", [product, pair])
def test_a_missing_zero_share_would_be_seen(make: Callable[[int], Program], backend: Backend) -> None:
    found, width = watched(backend, make(ELEMENTS), [NoZeroShare() for _ in range(3)])
    assert leak(found, width) is not None


def test_the_statistics_can_fail() -> None:
    fair = np.random.default_rng(1).integers(0, 2, (2000, 300), dtype=np.uint8)
    assert unfair(fair) is None and dependent(fair) is None and different(fair[:1000], fair[1000:]) is None
    tied = fair.copy()
    tied[:, 17] = tied[:, 3] ^ tied[:, 200] ^ tied[:, 299]
    assert unfair(tied) is None and dependent(tied) is not None
    leaning = fair.copy()
    leaning[:500, 40] = 1
    assert unfair(leaning) is not None and different(leaning[:1000], leaning[1000:]) is not None
    assert uneven_bytes(fair.tobytes()) is not None
    assert uneven_bytes(np.packbits(fair).tobytes()) is None


# Over many inferences -------------------------------------------------------------------------------------------------

#: Inferences of each turn of the roles and each secret.
RUNS = 45


@cache
def many(name: str, elements: int, runs: int) -> list[list[list[Message]]]:
    """By party, the inferences' messages: TURN on one secret, TURN on another, and so on.

    Without the first ones: the weights are checked together with the first inference.
    """
    backend = {"rep3": rep3, "rep3-mac": rep3_mac}[name]
    program = product(elements)
    weights, (first, second) = secrets(program)
    inputs = [first] * TURN + ([first] * TURN + [second] * TURN) * runs
    received = [view.inferences[TURN:] for view in views(backend, program, inputs, weights)[0]]
    skipped = {*NOW_AND_THEN, *EMPTY, HELD}
    return [[[m for m in messages if m.label not in skipped] for messages in part] for part in received]


def samples(inferences: list[list[Message]]) -> Iterator[tuple[str, Bits]]:
    """Per message, what came in all inferences in which the parties play the same roles."""
    for turn in range(TURN):
        same = inferences[turn::TURN]
        for number, message in enumerate(same[0]):
            data = [b"".join(inference[number].buffers) for inference in same]
            if data[0]:
                yield f"{message.label} from {message.peer}", np.stack([bits_of(d, 8 * len(d))[0] for d in data])


@pytest.mark.parametrize("name", ["rep3", "rep3-mac"])
@pytest.mark.parametrize("party", range(3))
def test_every_bit_received_in_an_inference_is_uniform(name: str, party: int) -> None:
    told = 0
    for what, sample in samples(many(name, 24, RUNS)[party]):
        told += sample.shape[1]
        wrong = unfair(sample) or different(sample[::2], sample[1::2])
        assert wrong is None, f"party {party}, {what}: {wrong}"
        if sample.size >= 8 * 2560:
            assert uneven_bytes(np.packbits(sample).tobytes()) is None, what
    # the first fold of the boolean verification alone is 32 760 bytes
    assert told > TURN * (8 * 32_760 if name == "rep3-mac" else 1000)


@pytest.mark.parametrize("name", ["rep3", "rep3-mac"])
def test_bits_that_carry_nothing_are_zero(name: str) -> None:
    """An odd number of elements fills no byte of a plane: what is left must not be what a buffer held before."""
    zeros = 0
    for party in range(3):
        for what, sample in samples(many(name, 13, 25)[party]):
            constant = (sample == sample[0]).all(axis=0)
            zeros += int(constant.sum())
            assert not sample[0][constant].any(), f"party {party}, {what}"
            wrong = different(sample[::2], sample[1::2])
            assert wrong is None, f"party {party}, {what}: {wrong}"
    assert zeros > 0


def test_the_messages_looked_at_are_all_there_are() -> None:
    """A new message has to be looked at here: it is uniform, or it is listed above."""
    labels = {message.label.rstrip("0123456789 ") for messages in many("rep3-mac", 24, RUNS)[0] for message in messages}
    always = {
        "owner", "input agreement", "circuit round", "first component", "product", "coin", "MACs", "MAC of the sum",
        "weighted sum", "check value", "open the check", "first fold", "fold by", "masked product", "open o",
        "hidden difference",
    }  # fmt: skip
    assert labels == always
    program = pair(24)
    weights, inputs = secrets(program)
    messages = views(rep3_mac, program, inputs, weights)[0][0].inferences[1]
    labels = {message.label.rstrip("0123456789 ") for message in messages}
    assert labels - {*NOW_AND_THEN, *EMPTY, HELD} == always | {"fresh components"}
