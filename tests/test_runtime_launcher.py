"""Whole local runs: the right answer, honest counts, nothing in the clear at a party, nothing left after a failure."""

from __future__ import annotations

import glob
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import psutil
import pytest

import mpc_bridge
from mpc_bridge.backends.replicated.backend import Rep3Backend
from mpc_bridge.circuit.graph import Circuit
from mpc_bridge.circuit.reference import evaluate_samples
from mpc_bridge.errors import (
    InputError,
    MalformedFrame,
    MpcBridgeError,
    PeerError,
    PeerLost,
    PeerTimeout,
    ProtocolAbort,
)
from mpc_bridge.importers.tflite import load
from mpc_bridge.runtime.launcher import PartyTraceback, ProgressEvent, evaluate_local
from mpc_bridge.runtime.transport import HEADER, HEADER_BYTES, Kind
from mpc_bridge.testing.tap import Relay
from tests import runtime_faults

DEMO = Path(mpc_bridge.__file__).parent / "demo"
PARTIES = 3


@pytest.fixture(scope="module")
def circuit() -> Circuit:
    return load(DEMO / "digits.tflite")


@pytest.fixture(scope="module")
def images(circuit: Circuit) -> npt.NDArray[np.generic]:
    with np.load(DEMO / "inputs.npz") as inputs:
        images: npt.NDArray[np.generic] = inputs["in0"].reshape(-1, *circuit.tensors[circuit.inputs[0]].shape)
        return images


@pytest.fixture(autouse=True)
def nothing_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """After every test: no party process, no socket directory, no open descriptor."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    descriptors = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    yield
    assert not psutil.Process().children(recursive=True)
    assert not glob.glob(str(tmp_path / "mpc-bridge*"))
    if descriptors:
        assert len(os.listdir("/proc/self/fd")) <= descriptors


@pytest.mark.parametrize("transport", ["unix", "tcp"])
def test_outputs_equal_the_reference(circuit: Circuit, images: npt.NDArray[np.generic],
                                     transport: Literal["unix", "tcp"]) -> None:
    events: list[ProgressEvent] = []
    run = evaluate_local(circuit, [images[:3]], Rep3Backend(), parties=PARTIES, transport=transport,
                         progress=events.append)
    expected = evaluate_samples(circuit, [images[:3]])
    assert len(run.outputs) == len(expected)
    for mine, theirs in zip(run.outputs, expected, strict=True):
        assert mine.dtype == theirs.dtype
        np.testing.assert_array_equal(mine, theirs)
    assert {event.phase for event in events} == {"start", "setup", "online"}
    assert events[-1].sample == 2 and events[-1].step == events[-1].steps == len(run.program.steps)


def test_cost_grows_with_samples_and_setup_does_not(circuit: Circuit, images: npt.NDArray[np.generic]) -> None:
    one, two = (evaluate_local(circuit, [images[:count]], Rep3Backend(), parties=PARTIES).reports for count in (1, 2))
    for party in range(PARTIES):
        single, double = one[party].phases, two[party].phases
        assert double["setup"].bytes_sent == single["setup"].bytes_sent > 0
        assert double["online"].rounds == 2 * single["online"].rounds > 0
        assert abs(double["online"].bytes_sent - 2 * single["online"].bytes_sent) < 0.01 * double["online"].bytes_sent
        assert single["online"].seconds > 0
        layers = one[party].layers.values()
        assert sum(cost.bytes_sent for cost in layers) == single["online"].bytes_sent
        assert 1 << 20 < one[party].peak_memory_bytes < 1 << 30


def windows(array: npt.NDArray[np.generic], length: int = 12, most: int = 40) -> Iterator[bytes]:
    """Pieces of a tensor's bytes that would show it in a stream, in several encodings; flat stretches left out."""
    flat = array.reshape(-1).astype(np.int64)
    for dtype in (np.int8, np.uint8, np.int16, np.int32, np.int64):
        data = flat.astype(dtype)
        for start in range(0, max(1, data.size - length), 1 + data.size // most):
            piece = data[start:start + length]
            if np.unique(piece).size >= 5:
                yield piece.tobytes()


@pytest.mark.parametrize("transport", ["unix", "tcp"])
def test_what_goes_over_the_wire(circuit: Circuit, images: npt.NDArray[np.generic],
                                 transport: Literal["unix", "tcp"]) -> None:
    with Relay() as relay:
        run = evaluate_local(circuit, [images[:2]], Rep3Backend(), parties=PARTIES, transport=transport, tap=relay)
        relay.join()
        # The meter's bytes are the wire's bytes.
        for party, report in enumerate(run.reports):
            phases = report.phases.values()
            for peer in range(PARTIES):
                if peer != party:
                    metered = sum(cost.bytes_to.get(peer, 0) for cost in phases)
                    assert metered == len(relay.streams[party, peer])
            total = sum(cost.bytes_sent for cost in phases)
            report_frame = HEADER_BYTES + len(report.encode())
            assert relay.sent_by(party) == total + report_frame
        # No party receives a weight, a bias, an input or an output in the clear.
        secrets = [*circuit.constants.values(), *images[:2], *run.outputs[0].reshape(2, -1)]
        seen = [relay.received_by(party) for party in range(PARTIES)]
        pieces = {piece for secret in secrets for piece in windows(secret)}
        assert len(pieces) > 1000
        for piece in pieces:
            assert not any(piece in data for data in seen)
        # The search itself works: both would be found were they sent.
        planted = seen[0] + circuit.constants[max(circuit.constants)].tobytes() + images[0].tobytes()
        assert sum(piece in planted for piece in pieces) > 10


def frames(stream: bytes) -> list[tuple[int, int, bytes]]:
    """Kind, tag and payload of every frame of a stream."""
    found = []
    while stream:
        _, _, kind, tag, length = HEADER.unpack(stream[:HEADER_BYTES])
        found.append((kind, tag, stream[HEADER_BYTES:HEADER_BYTES + length]))
        stream = stream[HEADER_BYTES + length:]
    return found


def test_shares_are_fresh_and_sizes_public(circuit: Circuit, images: npt.NDArray[np.generic]) -> None:
    runs = []
    for sample in (0, 1):  # another input: nothing but the contents may change
        with Relay() as relay:
            evaluate_local(circuit, [images[sample:sample + 1]], Rep3Backend(), parties=PARTIES, tap=relay)
            relay.join()
            runs.append({ends: frames(bytes(data)) for ends, data in relay.streams.items()})
    secret_kinds = {Kind.ROUND, Kind.WEIGHT, Kind.INPUT, Kind.OUTPUT}
    payloads: list[bytes] = []
    for ends, first in runs[0].items():
        second = runs[1][ends]
        assert len(first) == len(second)
        for (kind, tag, payload), (other_kind, other_tag, other) in zip(first, second, strict=True):
            assert (kind, tag) == (other_kind, other_tag)
            if kind != Kind.REPORT:
                assert len(payload) == len(other)
            if kind in secret_kinds and (kind, tag) != (Kind.ROUND, 0):  # round 0 compares a public digest
                payloads += [payload, other]
    long = [payload for payload in payloads if len(payload) >= 16]
    assert len(long) > 100
    # A rep3 component goes to both of its holders, so a message may be seen twice, by two parties; never more often.
    assert len(set(long)) >= len(long) / 2


def test_a_party_knows_no_more_than_it_needs(circuit: Circuit, images: npt.NDArray[np.generic],
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_CREDENTIAL", "hunter2")
    seen: list[tuple[list[str], dict[str, str], str]] = []

    def look(pids: list[int]) -> None:
        for process in map(psutil.Process, pids):
            seen.append((process.cmdline(), process.environ(), process.cwd()))

    evaluate_local(circuit, [images[:1]], Rep3Backend(), parties=PARTIES, on_start=look)
    assert len(seen) == PARTIES
    for command, environment, directory in seen:
        assert command[1:] == ["-m", "mpc_bridge.runtime.party"]
        assert "SOME_CREDENTIAL" not in environment and directory == "/"


@pytest.mark.parametrize("backend, error, words", [
    (runtime_faults.Aborting, ProtocolAbort, "check of a product failed"),
    (runtime_faults.Buggy, MpcBridgeError, "internal error: ZeroDivisionError"),
    (runtime_faults.Exiting, PeerLost, "party 1 ended with status 3"),
    (runtime_faults.OutOfStep, MalformedFrame, "tag"),
    (runtime_faults.Disagreeing, PeerError, "another program"),
])
def test_the_root_cause_is_reported(circuit: Circuit, images: npt.NDArray[np.generic], backend: type[Rep3Backend],
                                    error: type[MpcBridgeError], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        evaluate_local(circuit, [images[:1]], backend(), parties=PARTIES)
    assert type(caught.value) is error
    assert runtime_faults.SECRET not in str(caught.value)
    if backend is runtime_faults.Buggy:
        assert isinstance(caught.value.__cause__, PartyTraceback)
        assert "ZeroDivisionError" in str(caught.value.__cause__)


def test_a_backend_that_does_not_load(circuit: Circuit, images: npt.NDArray[np.generic],
                                      monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_faults.Unbuildable, "launcher", os.getpid())
    started = time.monotonic()
    with pytest.raises(PeerLost, match=r"party \d ended with status 2") as caught:
        evaluate_local(circuit, [images[:1]], runtime_faults.Unbuildable(), parties=PARTIES)
    assert "no such library" in str(caught.value.__cause__)
    assert time.monotonic() - started < 20, "waited for a timeout"


def test_a_hanging_party_times_out(circuit: Circuit, images: npt.NDArray[np.generic]) -> None:
    with pytest.raises(PeerTimeout, match="no word from party 1"):
        evaluate_local(circuit, [images[:1]], runtime_faults.Hanging(), parties=PARTIES, timeout=4)


def test_interrupting_leaves_nothing(circuit: Circuit, images: npt.NDArray[np.generic]) -> None:
    def interrupt(event: ProgressEvent) -> None:
        if event.phase == "online":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate_local(circuit, [images[:1]], Rep3Backend(), parties=PARTIES, progress=interrupt)


@pytest.mark.parametrize("bad", [lambda x: x.astype(np.float32), lambda x: x[:, :, :-1], lambda x: x[:0]])
def test_inputs_that_do_not_fit(circuit: Circuit, images: npt.NDArray[np.generic], bad: object) -> None:
    assert callable(bad)
    with pytest.raises(InputError):
        evaluate_local(circuit, [bad(images)], Rep3Backend(), parties=PARTIES)


@pytest.fixture(scope="module")
def seconds(circuit: Circuit, images: npt.NDArray[np.generic]) -> float:
    """How long a run of the kill tests takes from the start of the processes."""
    start: list[float] = []
    evaluate_local(circuit, [images], Rep3Backend(), parties=PARTIES,
                   on_start=lambda pids: start.append(time.monotonic()))
    return time.monotonic() - start[0]


@pytest.mark.parametrize("tenth", range(10))
def test_a_killed_party_ends_the_run(circuit: Circuit, images: npt.NDArray[np.generic], seconds: float,
                                     tenth: int) -> None:
    killed: list[float] = []
    timers: list[threading.Timer] = []

    def arm(pids: list[int]) -> None:
        def kill() -> None:
            killed.append(time.monotonic())
            try:
                os.kill(pids[tenth % PARTIES], signal.SIGKILL)
            except ProcessLookupError:
                killed.clear()

        timers.append(threading.Timer(seconds * tenth / 10, kill))
        timers[0].start()

    try:
        run = evaluate_local(circuit, [images], Rep3Backend(), parties=PARTIES, on_start=arm)
    except PeerLost as error:
        assert time.monotonic() - killed[0] < 5
        assert f"party {tenth % PARTIES} was killed by SIGKILL" in str(error)
    else:
        # The machine was faster this time: the kill came after the end, or in the last instant.
        assert tenth >= 5
        np.testing.assert_array_equal(run.outputs[0], evaluate_samples(circuit, [images])[0])
    finally:
        timers[0].cancel()
        timers[0].join()


LAUNCHER = """
import sys
import numpy as np
from mpc_bridge.backends.replicated.backend import Rep3Backend
from mpc_bridge.importers.tflite import load
from mpc_bridge.runtime.launcher import evaluate_local
circuit = load(sys.argv[1])
images = np.zeros((200, *circuit.tensors[circuit.inputs[0]].shape), circuit.tensors[circuit.inputs[0]].dtype)
evaluate_local(circuit, [images], Rep3Backend(), parties=3, on_start=lambda pids: print(*pids, flush=True))
"""


@pytest.mark.parametrize("delay", [0.0, 0.3, 2.0])
def test_a_killed_launcher_takes_its_parties_with_it(tmp_path: Path, delay: float) -> None:
    # A launcher killed before everybody is connected cannot remove its directory: keep that one out of the way.
    (tmp_path / "t").mkdir()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
                   "TMPDIR": str(tmp_path / "t")}
    with subprocess.Popen([sys.executable, "-c", LAUNCHER, str(DEMO / "digits.tflite")], stdout=subprocess.PIPE,
                          env=environment, text=True) as launcher:
        assert launcher.stdout is not None
        pids = [int(word) for word in launcher.stdout.readline().split()]
        time.sleep(delay)
        assert len(pids) == PARTIES and all(map(psutil.pid_exists, pids)) and launcher.poll() is None
        launcher.kill()
    deadline = time.monotonic() + 5
    while any(map(psutil.pid_exists, pids)):
        assert time.monotonic() < deadline, "parties outlive their launcher"
        time.sleep(0.02)
