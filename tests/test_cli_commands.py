"""The command line in its own process: what it prints, what it writes, how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

DEMO = Path(__file__).resolve().parent.parent / "mpc_bridge" / "demo"
MODEL, INPUTS = DEMO / "digits.tflite", DEMO / "inputs.npz"
PLUGIN = Path(__file__).resolve().parent / "plugin"

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path, installed: None) -> Run:
    """``run(*arguments, env=...)`` in ``tmp_path``, as a pipe sees it."""

    def invoke(*arguments: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "mpc_bridge", *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return invoke


def assert_refused(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """Exit code, nothing on standard output, labelled lines on standard error that hold ``words``."""
    assert done.returncode == code, done.stderr
    assert done.stdout == "" and "Traceback" not in done.stderr
    lines = done.stderr.splitlines()
    assert [line.split(":")[0] for line in lines] in (["error", "where", "hint"], ["error", "hint"], ["error", "where"])
    for word in words:
        assert word in done.stderr


def test_help_names_every_command_and_option(run: Run) -> None:
    text = run("--help").stdout
    assert all(command in text for command in ("eval", "import", "show", "backends", "demo", "ops"))
    text = run("eval", "--help").stdout
    options = ["--security", "--majority", "--parties", "--backend", "--device", "--profile", "--input", "--samples"]
    options += ["--output", "--report", "--json", "--reveal", "--check", "--no-check", "--transport", "--timeout"]
    options += ["--preprocessing", "--labels", "Exit codes"]
    assert all(option in text for option in options)
    assert run().stdout == run("--help").stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nosuch"], ["nosuch", "--help"]),
        (["eval"], ["Missing argument", "eval --help"]),
        (["eval", MODEL, "--precomputing", "dealer"], ["--precomputing"]),
        (["eval", MODEL, "--samples", "0"], ["--samples"]),
        (["eval", MODEL, "--parties", "many"], ["--parties"]),
        (["eval", "missing.tflite"], ["missing.tflite"]),
        (["eval", INPUTS], ["inputs.npz", ".tflite"]),
        (["eval", MODEL, "--security", "paranoid"], ["paranoid", "semi-honest"]),
        (["eval", MODEL, "--majority", "most"], ["most", "dishonest"]),
        (["eval", MODEL, "--reveal", "all"], ["all", "argmax"]),
        (["eval", MODEL, "--backend", "nosuch"], ["nosuch", "rep3"]),
        (["eval", MODEL, "--profile", "nosuch"], ["nosuch", "litert"]),
        (["eval", MODEL, "--input", "missing.npy"], ["missing.npy"]),
        (["eval", MODEL, "--input", INPUTS, "--input", INPUTS], ["1 input(s), 2 given"]),
        (["eval", MODEL, "--input", INPUTS, "--samples", "11"], ["11 samples asked, 10 given"]),
        (["eval", MODEL, "--input", MODEL], [".tflite", ".npy"]),
        (["eval", MODEL, "--output", "out.txt"], ["--output", ".npz"]),
        (["eval", MODEL, "--report", "missing/out.json"], ["--report", "does not exist"]),
        (["import", MODEL, "out.tflite"], [".circuit"]),
        (["show", "missing.circuit"], ["missing.circuit"]),
        (["demo", "--samples", "11"], ["--samples"]),
    ],
    ids=lambda value: " ".join(Path(word).name for word in value) if isinstance(value, list) else None,
)
def test_usage_errors_say_what_where_and_what_to_do(
    run: Run, tmp_path: Path, arguments: list[object], words: list[str]
) -> None:
    assert_refused(run(*arguments), 2, *words)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["--parties", "5"],
        ["--majority", "dishonest", "--backend", "rep3"],
        ["--security", "semi-honest", "--backend", "plaintext"],
    ],
    ids=" ".join,
)
def test_combinations_that_nothing_serves(run: Run, tmp_path: Path, arguments: list[str]) -> None:
    written = ["--output", "out.npz", "--report", "out.json"]
    assert_refused(run("eval", MODEL, *arguments, *written), 3, "rep3")
    assert os.listdir(tmp_path) == []


def test_damaged_models(run: Run, tmp_path: Path) -> None:
    whole = MODEL.read_bytes()
    (tmp_path / "cut.tflite").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.tflite").write_bytes(b"")
    (tmp_path / "cut.circuit").write_bytes(whole[:100])
    for name in ("cut.tflite", "empty.tflite", "cut.circuit"):
        assert_refused(run("show", name), 2, name)


def test_debug_shows_the_traceback_wherever_it_stands(run: Run) -> None:
    for arguments in (["--debug", "eval", "missing.tflite"], ["eval", "missing.tflite", "--debug"]):
        done = run(*arguments)
        assert done.returncode == 2 and "Traceback" in done.stderr and "error: " in done.stderr


def test_eval_writes_outputs_and_report_and_prints_only_json(run: Run, tmp_path: Path) -> None:
    done = run(
        "eval", MODEL, "--input", INPUTS, "--samples", 2, "--security", "semi-honest",
        "--output", "out.npz", "--report", "out.json", "--json",
    )  # fmt: skip
    assert done.returncode == 0 and done.stderr == ""
    report = json.loads(done.stdout)
    assert json.loads((tmp_path / "out.json").read_text()) == report
    assert set(report) >= {
        "schema", "model", "samples", "threat_model", "backend", "device", "preprocessing", "sigma", "soundness_bits",
        "matches_reference", "phases", "layers", "peak_memory_bytes", "machine", "versions", "command",
    }  # fmt: skip
    assert report["matches_reference"] is True and report["samples"] == 2
    assert list(report["phases"]) == ["setup", "preprocessing", "online", "verification"]
    assert len(report["phases"]["online"]["bytes_sent"]) == report["threat_model"]["parties"] == 3
    assert min(report["phases"]["online"]["bytes_sent"]) > 0
    with np.load(tmp_path / "out.npz") as outputs:
        assert list(outputs) == ["out0"]
        assert outputs["out0"].dtype == np.int8 and outputs["out0"].shape == (2, 1, 10)
        assert outputs["out0"].argmax(axis=-1).ravel().tolist() == [0, 1]
    assert sorted(os.listdir(tmp_path)) == ["out.json", "out.npz"]


def test_argmax_reveals_the_index_alone(run: Run, tmp_path: Path) -> None:
    done = run("eval", MODEL, "--input", INPUTS, "--samples", 3, "--reveal", "argmax", "--output", "out.npz")
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "out.npz") as outputs:
        assert outputs["out0"].dtype == np.int64 and outputs["out0"].ravel().tolist() == [0, 1, 2]


def test_tcp_and_a_timeout_can_be_chosen(run: Run) -> None:
    arguments = ("eval", MODEL, "--input", INPUTS, "--samples", 1, "--json", "--transport", "tcp", "--timeout", 30)
    report = json.loads(run(*arguments).stdout)
    assert report["transport"] == "tcp" and report["matches_reference"] is True
    assert_refused(run("eval", MODEL, "--transport", "pigeon"), 2, "--transport", "unix or tcp")
    assert_refused(run("eval", MODEL, "--timeout", 0), 2, "--timeout", "positive")


def test_random_input_says_so_and_no_check_says_so(run: Run) -> None:
    done = run("eval", MODEL, "--no-check", "--backend", "plaintext")
    assert done.returncode == 0
    assert "random" in done.stderr and "random" in done.stdout and "not compared" in done.stdout
    assert "no guarantee" in done.stdout and "AND gates" not in done.stdout
    report = run("eval", MODEL, "--no-check", "--backend", "plaintext", "--json")
    assert json.loads(report.stdout)["matches_reference"] is None and "random" in report.stderr


def test_every_input_format_gives_the_same_answer(run: Run, tmp_path: Path) -> None:
    with np.load(INPUTS) as bundled:
        image = bundled["in0"][7]
    pixels = (image[:, :, 0].astype(int) + 128).astype(np.uint8)
    np.save(tmp_path / "a.npy", image)
    np.savez(tmp_path / "a.npz", image[None])
    for name in ("a.png", "a.bmp", "a.jpg"):
        Image.fromarray(pixels).save(tmp_path / name, **({"quality": 100} if name == "a.jpg" else {}))
    answers = {}
    for name in ("a.npy", "a.npz", "a.png", "a.bmp", "a.jpg"):
        done = run("eval", MODEL, "--input", name, "--output", "out.npz", "--backend", "plaintext")
        assert done.returncode == 0 and name in done.stdout
        with np.load(tmp_path / "out.npz") as outputs:
            answers[name] = outputs["out0"]
    for name in ("a.npz", "a.png", "a.bmp"):
        np.testing.assert_array_equal(answers[name], answers["a.npy"])
    assert answers["a.jpg"].argmax() == 7


def test_import_show_and_eval_of_a_circuit(run: Run, tmp_path: Path) -> None:
    assert run("import", MODEL, "a.circuit").returncode == 0
    assert run("import", MODEL, "public.circuit", "--public").returncode == 0
    assert (tmp_path / "public.circuit").stat().st_size < (tmp_path / "a.circuit").stat().st_size
    shown = run("show", MODEL)
    assert shown.returncode == 0 and "DEPTHWISE_CONV_2D" in shown.stdout and "litert" in shown.stdout
    assert run("show", "public.circuit").stdout == run("show", "a.circuit").stdout == shown.stdout
    program = run("show", MODEL, "--program").stdout
    assert program.startswith(shown.stdout) and "requantize" in program
    assert run("show", "public.circuit", "--program").stdout == program
    assert run("eval", "a.circuit", "--input", INPUTS, "--samples", 1).returncode == 0
    assert_refused(run("eval", "public.circuit"), 2, "no weights", "public.circuit")
    assert_refused(run("eval", "a.circuit", "--profile", "tflite"), 2, "litert")


def test_tables_have_one_row_each_and_no_trailing_space(run: Run) -> None:
    from mpc_bridge.circuit.ops import OPS

    ops = run("ops").stdout.splitlines()
    assert [line.split()[0] for line in ops[1:]] == [kind.name for kind in OPS]
    backends = run("backends").stdout.splitlines()
    assert {"plaintext", "rep3"} <= {line.split()[0] for line in backends[1:]}
    assert all(line == line.rstrip() for line in [*ops, *backends])


def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path, installed: None) -> None:
    command = f"{sys.executable} -m mpc_bridge show {MODEL} --program | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stderr == ""


@pytest.mark.parametrize(("backend", "code", "word"), [("wrong", 1, "DIFFERENT"), ("cheated", 4, "error: ")])
def test_wrong_results_and_aborts(run: Run, tmp_path: Path, backend: str, code: int, word: str) -> None:
    path = os.pathsep.join(filter(None, (str(PLUGIN), os.environ.get("PYTHONPATH"))))
    done = run(
        "eval", MODEL, "--backend", backend, "--output", "out.npz", "--report", "out.json", env={"PYTHONPATH": path}
    )
    assert done.returncode == code, done.stderr
    assert word in (done.stdout if code == 1 else done.stderr)
    assert sorted(os.listdir(tmp_path)) == (["out.json", "out.npz"] if code == 1 else [])
    if code == 1:
        assert json.loads((tmp_path / "out.json").read_text())["matches_reference"] is False


def test_a_lost_party_ends_the_run(tmp_path: Path, installed: None) -> None:
    """Kill one party in the middle of a long run: exit code 5, no file, no process left."""
    arguments = ["eval", str(MODEL), "--samples", "2000", "--no-check", "--output", "out.npz", "--report", "out.json"]
    launcher = subprocess.Popen(
        [sys.executable, "-m", "mpc_bridge", *arguments], cwd=tmp_path,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        parties: list[psutil.Process] = []
        # A party that has used a second of processor time is past its start.
        while len(parties) < 3 or min(sum(party.cpu_times()[:2]) for party in parties) < 1.0:
            assert time.monotonic() < deadline and launcher.poll() is None
            time.sleep(0.05)
            parties = psutil.Process(launcher.pid).children()
        parties[1].send_signal(signal.SIGKILL)
        out, error = launcher.communicate(timeout=60)
    finally:
        launcher.kill()
        launcher.wait()
    assert launcher.returncode == 5 and out == ""
    assert error.startswith("error: ") and "Traceback" not in error
    assert os.listdir(tmp_path) == []
    assert not any(party.is_running() and party.status() != psutil.STATUS_ZOMBIE for party in parties)
