"""``mpc-bridge bench`` in its own process: killed, interrupted, short of a party, run twice at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from mpc_bridge.bench.records import Cell, Results, load
from mpc_bridge.bench.store import Store
from mpc_bridge.circuit.serialize import save
from mpc_bridge.cli import app
from mpc_bridge.errors import ResultsError, UsageError
from mpc_bridge.testing.specimens import specimen
from tests.terminals import on_a_terminal

PLUGIN = Path(__file__).resolve().parent / "plugin"
Started = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path, installed: None) -> Iterator[Started]:
    """``start(*arguments)``: mpc-bridge bench on one fully connected layer, in ``tmp_path``, results in out.json."""
    save(specimen("FULLY_CONNECTED"), tmp_path / "dense.circuit")
    started: list[subprocess.Popen[str]] = []
    path = os.pathsep.join(filter(None, (str(PLUGIN), os.environ.get("PYTHONPATH"))))

    def invoke(*arguments: object) -> subprocess.Popen[str]:
        words = ["bench", "dense.circuit", "-o", "out.json", *map(str, arguments)]
        process = subprocess.Popen([sys.executable, "-m", "mpc_bridge", *words], cwd=tmp_path,
                                   env={**os.environ, "PYTHONPATH": path}, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=_heeds_ctrl_c)
        started.append(process)
        return process

    yield invoke
    for process in started:
        process.kill()
        process.wait()


def _heeds_ctrl_c() -> None:
    # a shell's background job, as these tests may be, has its programs ignore it
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.json"


def finish(process: subprocess.Popen[str], code: int) -> tuple[str, str]:
    """Standard output and error of a process that ends with that code."""
    shown, said = process.communicate(timeout=120)
    assert process.returncode == code, said
    assert "Traceback" not in said
    return shown, said


def wait_for(what: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 100
    while not what():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)


def gone(party: psutil.Process) -> bool:
    """Whether it ends within seconds; nobody may be left who collects its status."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if not party.is_running() or party.status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.01)
    return False


def counted(path: Path, backend: str) -> int:
    """Repetitions in the file; a file that is there can be read at any moment."""
    return len(cell(load(path), backend).repetitions) if path.exists() else 0


def cell(results: Results, backend: str) -> Cell:
    return next(one for one in results.cells if one.backend == backend)


def test_killed_and_interrupted_it_goes_on_where_it_stopped(start: Started, out: Path) -> None:
    words = ("--backend", "plaintext", "--backend", "clear", "--repeat", "5")
    process = start(*words)
    wait_for(lambda: counted(out, "plaintext") >= 1, process)  # the second of the two
    with pytest.raises(UsageError, match="another run writes to this file"), Store(out, load(out)):
        pass
    parties = psutil.Process(process.pid).children()
    process.send_signal(signal.SIGKILL)
    process.wait()
    killed = load(out)
    assert 1 <= len(cell(killed, "clear").repetitions) < 5
    assert all(map(gone, parties))

    process = start(*words)
    wait_for(lambda: counted(out, "plaintext") > len(cell(killed, "plaintext").repetitions), process)
    parties = psutil.Process(process.pid).children()
    process.send_signal(signal.SIGINT)
    shown, said = finish(process, 130)
    assert shown == "" and "interrupted: " in said and "are kept in out.json; the same command goes on" in said
    assert all(map(gone, parties))
    stopped = load(out)

    shown, said = finish(start(*words), 0)
    done = load(out)
    assert [one.status for one in done.cells] == ["done", "done"] and "clear" in shown and "plaintext" in shown
    for name in ("plaintext", "clear"):
        earlier, later, last = (cell(results, name) for results in (killed, stopped, done))
        assert later.repetitions[: len(earlier.repetitions)] == earlier.repetitions
        assert last.repetitions[: len(later.repetitions)] == later.repetitions and len(last.repetitions) == 5
        assert last.report == later.report == earlier.report
    assert sorted(os.listdir(out.parent)) == ["dense.circuit", "out.json"]
    assert done.started == killed.started
    assert done.command == f"mpc-bridge bench dense.circuit -o out.json {' '.join(words)}"


def test_a_lost_party_costs_one_repetition(start: Started, out: Path) -> None:
    words = ("--backend", "plaintext", "--backend", "rep3", "--repeat", "2")
    process = start(*words)
    launcher = psutil.Process(process.pid)
    wait_for(lambda: counted(out, "rep3") == 1 and len(launcher.children()) == 3, process)
    launcher.children()[1].send_signal(signal.SIGKILL)
    _, said = finish(process, 5)
    assert "rep3: failed: party 1 was killed by SIGKILL" in said
    broken = load(out)
    failed = cell(broken, "rep3")
    assert cell(broken, "plaintext").status == "done" and failed.status == "failed" and len(failed.repetitions) == 1
    assert failed.reason is not None and failed.reason.kind == "PeerLost" and failed.summary is not None
    _, said = finish(start(*words), 0)
    healed = load(out)
    assert cell(healed, "plaintext") == cell(broken, "plaintext") and "plaintext" not in said
    assert cell(healed, "rep3").status == "done" and cell(healed, "rep3").repetitions[:1] == failed.repetitions


def test_differing_outputs_refusals_and_limits(start: Started, out: Path) -> None:
    shown, said = finish(start("--backend", "wrong", "--backend", "plaintext", "--repeat", "1"), 1)
    assert "the outputs are not the reference interpreter's" in said and "failed" in shown
    assert cell(load(out), "plaintext").status == "done" and not cell(load(out), "wrong").repetitions
    before = out.read_bytes()
    _, said = finish(start("--backend", "plaintext", "--repeat", "2"), 2)
    assert "another repeat" in said and "--restart" in said and out.read_bytes() == before
    words = ("--security", "active", "--majority", "dishonest", "--preprocessing", "ot", "--preprocessing", "dealer")
    shown, said = finish(start(*words, "--repeat", "2", "--restart", "--max-minutes", "0"), 0)
    assert [(one.preprocessing, one.status) for one in load(out).cells] == [("dealer", "waiting"), ("ot", "refused")]
    assert "refused: backend spdz2k gets its randomness from: dealer" in said and "0 minutes are over: 1 of 2" in said
    out.write_text(out.read_text()[:-30])
    with pytest.raises(ResultsError):
        load(out)
    _, said = finish(start(*words), 2)
    assert "not a complete JSON file" in said and "out.json" in said and "--restart" in said


def test_a_terminal_sees_where_it_is(start: Started, out: Path) -> None:
    words = [sys.executable, "-m", "mpc_bridge", "bench", "dense.circuit", "--backend", "plaintext", "--repeat", "1"]
    seen, shown = on_a_terminal(words, out.parent, 150)
    for words_seen in (b"warm-up", b"repetition 1 of 1", b"1 of 2 runs are done, about ", b": done, "):
        assert words_seen in seen
    assert b"plaintext" in shown and b"\x1b" not in shown
    # without -o it says where
    assert b"results/dense.json" in seen and load(out.parent / "results" / "dense.json").cells[0].status == "done"


@pytest.mark.parametrize(("arguments", "words"), [
    (["--network", "nowhere"], "nowhere"), (["-o", "out.txt", "--timeout", "-1"], "--timeout"),
])
def test_wrong_words_are_refused(start: Started, out: Path, arguments: list[str], words: str) -> None:
    shown, said = finish(start(*arguments), 2)
    assert shown == "" and words in said and not out.exists()


def test_help_names_every_option() -> None:
    text = CliRunner().invoke(app, ["bench", "--help"], env={"COLUMNS": "200"}).output
    options = ["--security", "--majority", "--parties", "--backend", "--preprocessing", "--device", "--profile"]
    options += ["--network", "--network-mode", "--repeat", "--input", "--samples", "--timeout", "--max-minutes"]
    assert all(option in text for option in [*options, "--restart", "--output", "-o", "Exit codes", "MODEL..."])
