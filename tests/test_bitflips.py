"""One bit flipped by an outside tool, anywhere in a run of processes: the right answer or a refusal, in time.

Every direction of every connection is tried, the launcher's too: in the handshake, in every field of frame headers, in
payloads early, in the middle and last, and at random places. What is flipped where a party does not look (the data of a
barrier, the tag of a greeting) must do nothing.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

import mpc_bridge
from mpc_bridge.backends.base import Backend
from mpc_bridge.backends.replicated.backend import Rep3Backend
from mpc_bridge.backends.replicated.malicious.backend import Rep3MacBackend
from mpc_bridge.backends.spdz2k.backend import Spdz2kBackend
from mpc_bridge.circuit.graph import Circuit
from mpc_bridge.circuit.reference import evaluate_samples
from mpc_bridge.errors import MpcBridgeError, PeerError, ProtocolAbort
from mpc_bridge.importers.tflite import load
from mpc_bridge.runtime.launcher import evaluate_local
from mpc_bridge.runtime.transport import HEADER, HEADER_BYTES, Kind
from mpc_bridge.testing.flips import Flip, FlippingRelay
from mpc_bridge.testing.tap import Relay
from tests.nets import Net

LAUNCHER, DEALER = -1, 2
#: Among three parties and the launcher; or two parties, the dealer and the launcher.
DIRECTIONS = [(sender, receiver) for sender in range(-1, 3) for receiver in range(-1, 3) if sender != receiver]
#: Seconds that a party waits for a byte; a few such waits may follow each other.
TIMEOUT = 4.0
LONGEST = 5 * TIMEOUT
#: First byte and length of a header's fields.
FIELDS = {"magic": (0, 4), "version": (4, 2), "kind": (6, 2), "tag": (8, 8), "length": (16, 8)}


def frames(stream: bytes) -> list[tuple[int, int, int]]:
    """Kind, first byte of the header and length of the payload of every frame."""
    found, at = [], 0
    while at < len(stream):
        _, _, kind, _, length = HEADER.unpack_from(stream, at)
        found.append((kind, at, length))
        at += HEADER_BYTES + length
    return found


@dataclass(frozen=True)
class Work:
    """What is run: a model, one sample, the reference's output, and everything that is sent in a run without flips."""

    backend: type[Backend]
    circuit: Circuit
    sample: list[np.ndarray]
    expected: np.ndarray
    clean: dict[tuple[int, int], bytes]


def evaluate(
    circuit: Circuit, sample: list[np.ndarray], relay: Relay, backend: type[Backend] = Rep3MacBackend,
    timeout: float = 10 * TIMEOUT,
) -> np.ndarray:
    with relay:
        result = evaluate_local(circuit, sample, backend(), parties=backend().parties()[0], timeout=timeout, tap=relay)
        relay.join()
    return result.outputs[0]


def work(circuit: Circuit, sample: list[np.ndarray], backend: type[Backend] = Rep3MacBackend) -> Work:
    relay, expected = Relay(), evaluate_samples(circuit, sample)[0]
    np.testing.assert_array_equal(evaluate(circuit, sample, relay, backend), expected)
    clean = {direction: bytes(stream) for direction, stream in relay.streams.items()}
    return Work(backend, circuit, sample, expected, clean)


def convolution(backend: type[Backend]) -> Work:
    """Of 16 pixels."""
    net = Net(seed=1)
    circuit = net.circuit(net.conv(net.input((1, 4, 4, 2)), 3))
    return work(circuit, [array[None] for array in net.sample(1)], backend)


@pytest.fixture(scope="module")
def small() -> Work:
    """Three parties."""
    return convolution(Rep3MacBackend)


@pytest.fixture(scope="module")
def dealt() -> Work:
    """Two parties and a dealer."""
    return convolution(Spdz2kBackend)


@pytest.fixture(scope="module")
def digits() -> Work:
    """The demo."""
    demo = Path(mpc_bridge.__file__).parent / "demo"
    circuit = load(demo / "digits.tflite")
    with np.load(demo / "inputs.npz") as inputs:
        return work(circuit, [inputs["in0"][:1].reshape(1, *circuit.tensors[circuit.inputs[0]].shape)])


def places(clean: dict[tuple[int, int], bytes], seed: int) -> list[tuple[str, Flip]]:
    """Where to flip, by what is there; no two runs are alike, but positions hold for all."""
    rng = random.Random(seed)
    chosen: list[tuple[str, tuple[int, int], int]] = []
    fields = list(FIELDS.items())
    for number, direction in enumerate(DIRECTIONS):
        stream = clean[direction]
        parts = [part for part in frames(stream) if part[2]]
        hellos = [part for part in parts if part[0] == Kind.HELLO]
        later = [part for part in parts if part[0] != Kind.HELLO]
        # one thing in each direction, so that all are covered after a few: handshake, header field, start, middle, end
        name, (first, size) = fields[number % len(fields)]
        kind, at, length = rng.choice(later)
        chosen.append((f"{name} of kind {kind}", direction, at + first + rng.randrange(size)))
        kind, at, length = [rng.choice(hellos), later[0], later[len(later) // 2], later[-1]][number % 4]
        chosen.append((f"payload of kind {kind}", direction, at + HEADER_BYTES + rng.randrange(length)))
    for _ in range(6):
        direction = rng.choice(DIRECTIONS)
        chosen.append(("anywhere", direction, rng.randrange(len(clean[direction]))))
    chosen.append(("last byte", (0, LAUNCHER), len(clean[0, LAUNCHER]) - 1))
    return [(what, Flip(*direction, byte, rng.randrange(8))) for what, direction, byte in chosen]


class AimingRelay(FlippingRelay):
    """Flips a bit of the payload of one frame, wherever it is: reports of progress, which a busy machine makes more of,
    move what comes after them.

    Args:
        kind, number: the frame in its direction; of those of this kind, 0 the first one.
        byte: of its payload, from the end where negative.
    """

    def __init__(self, sender: int, receiver: int, kind: Kind, number: int, byte: int, bit: int) -> None:
        super().__init__(Flip(sender, receiver, -1, bit))
        self._kind, self._left, self._byte = kind, number, byte
        self._header = 0

    def pass_on(self, sender: int, receiver: int, data: bytes) -> bytes:
        """What the receiver gets."""
        if (sender, receiver) == (self.flip.sender, self.flip.receiver):
            self._aim(bytes(self.streams[sender, receiver]) + data)
        return super().pass_on(sender, receiver, data)

    def _aim(self, stream: bytes) -> None:
        while self.flip.byte < 0 and self._header + HEADER_BYTES <= len(stream):
            _, _, kind, _, length = HEADER.unpack_from(stream, self._header)
            payload = self._header + HEADER_BYTES
            if kind == self._kind:
                if not self._left:
                    self.flip = replace(self.flip, byte=payload + self._byte % length)
                self._left -= 1
            self._header = payload + length


def outcome(of: Work, how: Flip | FlippingRelay, patience: float = TIMEOUT) -> str:
    """What came of it. A flip anywhere may make a party wait for bytes that never come; in a payload it does not."""
    relay = FlippingRelay(how) if isinstance(how, Flip) else how
    timeout, start = patience if isinstance(how, Flip) else 10 * TIMEOUT, time.monotonic()
    try:
        output = evaluate(of.circuit, of.sample, relay, of.backend, timeout)
    except (ProtocolAbort, PeerError) as error:
        result = type(error).__name__
    except MpcBridgeError as error:
        # the public circuit travels as text, and a party may find that it is none
        flip = relay.flip
        first = next(at for kind, at, _ in frames(of.clean[flip.sender, flip.receiver]) if kind == Kind.CIRCUIT)
        assert flip.sender == LAUNCHER and flip.byte >= first, error
        result = type(error).__name__
    else:
        np.testing.assert_array_equal(output, of.expected, err_msg=f"{relay.flip}: a wrong output")
        result = "right"
    if isinstance(how, Flip) and result == "PeerTimeout" and not relay.flipped and patience == TIMEOUT:
        # a machine so busy that the run did not come as far as that
        return outcome(of, how, LONGEST)
    assert time.monotonic() - start < 5 * timeout, f"{relay.flip}: took {time.monotonic() - start:.1f} s"
    # a report's length varies, and it comes last
    assert relay.flipped or relay.flip.receiver == LAUNCHER, f"{relay.flip}: nothing was flipped, {result}"
    return result


def test_a_run_goes_through_every_direction(small: Work) -> None:
    assert set(small.clean) == set(DIRECTIONS)
    assert all(len(stream) > 1000 for stream in small.clean.values())


def test_no_flipped_bit_gives_a_wrong_output_or_a_hang(small: Work) -> None:
    tried = [(what, flip, outcome(small, flip)) for what, flip in places(small.clean, 5)]
    for what, flip, result in tried:
        print(f"{what}: {flip}: {result}")
    assert {(flip.sender, flip.receiver) for _, flip, _ in tried} == set(DIRECTIONS)
    # most places are looked at
    assert len([entry for entry in tried if entry[2] != "right"]) >= len(tried) // 2


def test_the_demo_with_a_flipped_bit(digits: Work) -> None:
    rng = random.Random(6)
    for direction in ((0, 1), (1, 0), (2, 1), (LAUNCHER, 2)):
        size = len(digits.clean[direction])
        print(direction, outcome(digits, Flip(*direction, rng.randrange(size // 4, size), rng.randrange(8))))


@pytest.mark.parametrize("party", range(3))
def test_a_flip_in_an_output_is_an_abort(small: Work, party: int) -> None:
    for byte in (0, -1):
        assert outcome(small, AimingRelay(party, LAUNCHER, Kind.OUTPUT, 0, byte, 3)) == "ProtocolAbort"


@pytest.mark.parametrize("kind", [Kind.WEIGHT, Kind.INPUT])
def test_a_flip_in_an_owners_share_is_an_abort(small: Work, kind: Kind) -> None:
    for party in range(3):
        length = next(part[2] for part in frames(small.clean[LAUNCHER, party]) if part[0] == kind)
        assert outcome(small, AimingRelay(LAUNCHER, party, kind, 0, length // 2, 5)) == "ProtocolAbort"


def test_without_malicious_security_a_flip_is_a_wrong_output(small: Work) -> None:
    """What the others would look like if the checks did nothing."""
    flipping = AimingRelay(0, LAUNCHER, Kind.OUTPUT, 0, 0, 7)
    output = evaluate(small.circuit, small.sample, flipping, Rep3Backend)
    assert flipping.flipped and (output != small.expected).sum() == 1


def test_with_a_dealer_no_flipped_bit_gives_a_wrong_output_or_a_hang(dealt: Work) -> None:
    assert set(dealt.clean) == set(DIRECTIONS)
    tried = [(what, flip, outcome(dealt, flip)) for what, flip in places(dealt.clean, 7)[::4]]
    for what, flip, result in tried:
        print(f"{what}: {flip}: {result}")
    assert len([entry for entry in tried if entry[2] != "right"]) >= len(tried) // 2


@pytest.mark.parametrize(
    ("sender", "receiver", "kind", "place"),
    [(0, LAUNCHER, Kind.OUTPUT, 0), (1, LAUNCHER, Kind.OUTPUT, -1), (1, LAUNCHER, Kind.MASK, 0),
     (LAUNCHER, 0, Kind.WEIGHT, 0), (LAUNCHER, 1, Kind.INPUT, -1), (0, 1, Kind.ROUND, -1)],
)
def test_a_flip_in_what_spdz2k_checks_is_an_abort(dealt: Work, sender: int, receiver: int, kind: Kind,
                                                  place: int) -> None:
    """The last round is a barrier, whose data nobody looks at: of the rounds, the one before it."""
    count = len([part for part in frames(dealt.clean[sender, receiver]) if part[0] == kind])
    number = count - 2 if kind == Kind.ROUND else 0
    assert outcome(dealt, AimingRelay(sender, receiver, kind, number, place, 3)) == "ProtocolAbort"


def test_a_flip_in_what_the_dealer_deals_is_never_a_wrong_output(dealt: Work) -> None:
    """In the key of a party's streams it is an abort; of corrections some are multiplied with a zero."""
    sizes = [length for kind, _, length in frames(dealt.clean[DEALER, 0]) if kind == Kind.ROUND]
    # the first round is that of digests
    assert outcome(dealt, AimingRelay(DEALER, 0, Kind.ROUND, 1, 0, 0)) == "ProtocolAbort"
    largest = sizes.index(max(sizes))
    for part in (1, 2, 3):
        found = outcome(dealt, AimingRelay(DEALER, 0, Kind.ROUND, largest, sizes[largest] * part // 4, part))
        assert found in ("ProtocolAbort", "right")
