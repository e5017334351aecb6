"""spdz2k on real models, party and dealer processes: exact, within promised bits and seconds, nothing in the clear."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mpc_bridge.backends.spdz2k.backend import Spdz2kBackend
from mpc_bridge.backends.spdz2k.openings import RING_ERROR
from mpc_bridge.errors import PeerError, PeerLost
from mpc_bridge.runtime.launcher import RunResult, evaluate_local
from mpc_bridge.testing.tap import Relay
from tests.conftest import vectors_root
from tests.test_additive_models import MODELS, assert_exact, inputs, load
from tests.test_rep3_models import windows

Vector = Callable[[str], Path]

#: Its streams are read byte by byte, so a small one.
TAPPED = "kws_ref_model"
PARTIES = 2
DEALER = PARTIES


def run(folder: Path, parties: int = PARTIES, count: int = 1, **options: object) -> RunResult:
    circuit = load(folder)
    return evaluate_local(
        circuit, inputs(folder, circuit, count), Spdz2kBackend(), parties=parties, **options  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("parties", [2, 3])
@pytest.mark.parametrize("name", MODELS)
def test_models_are_exact(vector: Vector, name: str, parties: int) -> None:
    folder = vector(name)
    result = run(folder, parties)
    assert_exact(folder, result)
    assert len(result.reports) == parties and result.helper is not None
    # the dealer's masks of the weights and one batch of corrections, whatever the model
    assert result.helper.peak_memory_bytes <= 300 << 20
    for report in result.reports:
        assert report.soundness_bits is not None and 46 < report.soundness_bits <= -np.log2(RING_ERROR)
        assert report.phases["verification"].rounds > 0


def test_several_samples_get_randomness_of_their_own(vector: Vector) -> None:
    folder = vector("kws_ref_model")
    result = run(folder, count=3)
    assert_exact(folder, result)
    single = run(folder)
    for many, one in zip(result.reports, single.reports, strict=True):
        assert many.phases["online"].rounds == 3 * one.phases["online"].rounds
        assert many.phases["setup"].bytes_sent == one.phases["setup"].bytes_sent
    assert result.helper is not None and single.helper is not None
    dealt = result.helper.phases["preprocessing"].bytes_sent
    assert dealt == 3 * single.helper.phases["preprocessing"].bytes_sent > 0


@pytest.fixture(scope="module")
def tapped() -> tuple[Path, RunResult, Relay]:
    folder = vectors_root() / TAPPED
    if not folder.is_dir():
        pytest.skip(f"no model {TAPPED}")
    with Relay() as relay:
        result = run(folder, transport="tcp", tap=relay)
        relay.join()
    return folder, result, relay


def test_bits_per_activation_on_the_sockets(tapped: tuple[Path, RunResult, Relay]) -> None:
    _, result, relay = tapped
    activations = sum(result.program.activations.values())
    for party in range(PARTIES):
        phases = result.reports[party].phases
        sent = phases["online"].bytes_sent + phases["verification"].bytes_sent
        assert 8 * sent <= 280 * activations
        reported = sum(cost.bytes_sent for cost in phases.values())
        assert abs(reported - relay.sent_by(party)) <= 0.02 * relay.sent_by(party)


def test_nobody_receives_a_weight_or_the_input_in_the_clear(tapped: tuple[Path, RunResult, Relay]) -> None:
    folder, _, relay = tapped
    circuit = load(folder)
    (image,) = inputs(folder, circuit)
    tensors = [np.asarray(image), *(np.asarray(array) for array in circuit.constants.values())]
    forms = [
        form
        for tensor in tensors
        for form in (tensor, tensor.astype(np.int64), tensor.astype(np.int32), tensor.astype(np.int16) + 128)
    ]
    forms += [(tensor.astype(np.int16) + 128).astype(np.uint8) for tensor in tensors if tensor.dtype.itemsize == 1]
    pieces = [piece for form in forms for piece in windows(form, 16)]
    assert len(pieces) > 500
    for member in (*range(PARTIES), DEALER):
        # the dealer has heard nothing that it could tell: the next test
        streams = [stream for (sender, receiver), stream in relay.streams.items()
                   if receiver == member and sender != DEALER]
        received = b"".join(map(bytes, streams))
        assert not [piece for piece in pieces if piece in received]


def test_the_dealer_gets_the_job_and_no_share(tapped: tuple[Path, RunResult, Relay]) -> None:
    """From the parties: the digest of the program, and nothing else once the handshake is over."""
    _, _, relay = tapped
    for party in range(PARTIES):
        assert len(relay.streams[party, DEALER]) < 400
    assert len(relay.streams[DEALER, 0]) > 100_000_000
    # a key, and seals
    assert len(relay.streams[DEALER, 1]) < 10_000


@pytest.mark.parametrize("member", [0, 1, DEALER])
@pytest.mark.parametrize("tenth", [0, 4, 8])
def test_a_killed_member_ends_the_run(vector: Vector, member: int, tenth: int) -> None:
    folder = vector("kws_ref_model")
    timers: list[threading.Timer] = []
    killed: list[int] = []

    def arm(pids: list[int]) -> None:
        assert len(pids) == PARTIES + 1

        def kill() -> None:
            try:
                os.kill(pids[member], signal.SIGKILL)
                killed.append(member)
            except ProcessLookupError:
                pass

        timers.append(threading.Timer(0.5 * tenth, kill))
        timers[0].start()

    try:
        result = run(folder, count=3, on_start=arm)
    except PeerLost as error:
        assert killed
        assert ("the dealer" if member == DEALER else f"party {member}") + " was killed by SIGKILL" in str(error)
    except PeerError as error:  # pragma: no cover - the message says what else it was
        pytest.fail(str(error))
    else:
        # the run was over first, or the dealer had dealt everything
        assert tenth >= 4
        assert_exact(folder, result)
    finally:
        timers[0].cancel()
        timers[0].join()
