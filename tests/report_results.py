"""Results files for the tests of the report: one real run of the demo model, and what is derived from it."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from statistics import median
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "mpc_bridge" / "demo" / "digits.tflite"
PHASES = ("setup", "preprocessing", "online", "verification")
SPENT = PHASES[1:]
Json = dict[str, Any]


@pytest.fixture(scope="session")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Json:
    """What one run of ``mpc-bridge bench`` on the demo model wrote: all threat models, lan and wan predicted.

    Made once for all workers of a test run.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with _locked(folder / "report.lock"):
        path = folder / "report-measured.json"
        if not path.exists():
            _bench(path)
    return dict(json.loads(path.read_text(encoding="utf-8")))


@pytest.fixture(scope="session")
def mixed(measured: Json) -> Json:
    """The run with three repetitions, lan as if it had been measured, and a cell of every other kind on wan."""
    return mix(measured)


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """Writes results to a file: ``written(results, name="results.json")``."""

    def write(results: Json, name: str = "results.json") -> Path:
        path = tmp_path / name
        path.write_text(json.dumps(results), encoding="utf-8")
        return path

    return write


def mix(results: Json) -> Json:
    """See :func:`mixed`."""
    results = deepcopy(results)
    results["repeat"] = 3
    local = {key(cell): cell for cell in results["cells"] if cell["network"] == "local"}
    for cell in local.values():
        first = cell["repetitions"][0]
        cell["repetitions"] = [_slower(first, factor) for factor in (1.25, 1.0, 0.9)]
        summarise(cell)
    for index, cell in enumerate(cell for cell in results["cells"] if cell["network"] == "lan"):
        first = local[key(cell)]["repetitions"][0]
        # every third prediction is far too low
        share = 1.6 if index % 3 == 1 else 1.04
        phases = {phase: seconds * share for phase, seconds in cell["predicted"]["phases"].items()}
        cell |= {"status": "done", "carrier": "netem", "report": local[key(cell)]["report"],
                 "repetitions": [_slower({**first, "phases": phases}, factor) for factor in (1.0, 1.1, 0.95)]}
        summarise(cell)
    wan = [cell for cell in results["cells"] if cell["network"] == "wan"]
    wan[1] |= {"status": "failed", "predicted": None, "carrier": None, "reason": {
        "class": "PeerLost", "what": "party 1 is gone", "where": "online", "hint": "look at its output"}}
    wan[2] |= {"status": "waiting", "predicted": None}
    wan[3] |= {"status": "refused", "predicted": None, "reason": {
        "class": "UnsupportedCombinationError", "what": "no step for GELU", "where": "op 3", "hint": "another backend"}}
    return results


def key(cell: Json) -> tuple[Any, ...]:
    """What tells the cells of one model and network apart."""
    threat = cell["threat_model"]
    return cell["backend"], cell["preprocessing"], threat["adversary"], threat["majority"], threat["parties"]


def summarise(cell: Json) -> None:
    """The summary of a cell's repetitions, worked out here, by definition."""

    def spread(values: list[float]) -> dict[str, float]:
        return {"median": median(values), "least": min(values), "most": max(values)}

    runs = [one["phases"] for one in cell["repetitions"]]
    cell["summary"] = {"phases": {phase: spread([run[phase] for run in runs]) for phase in PHASES},
                       "spent": spread([sum(run[phase] for phase in SPENT) for run in runs])}


def sent(cell: Json) -> int:
    """Bytes of everybody, all phases but setup."""
    report = cell["report"]
    total = sum(sum(report["phases"][phase]["bytes_sent"]) for phase in SPENT)
    if report["helper"] is not None:
        total += sum(sum(report["helper"]["phases"][phase]["bytes_sent"]) for phase in SPENT)
    return int(total)


def rounds(cell: Json) -> int:
    """Of all phases but setup."""
    return sum(cell["report"]["phases"][phase]["rounds"] for phase in SPENT)


def cell_of(results: Json, network: str, backend: str, preprocessing: str | None = None) -> Json:
    """One cell of the only model."""
    return next(dict(cell) for cell in results["cells"]
                if (cell["network"], cell["backend"], cell["preprocessing"]) == (network, backend, preprocessing))


def _slower(repetition: Json, factor: float) -> Json:
    return {**repetition, "phases": {phase: factor * seconds for phase, seconds in repetition["phases"].items()},
            "layers": [factor * seconds for seconds in repetition["layers"]]}


def _bench(path: Path) -> None:
    part = path.with_suffix(".part.json")
    line = [sys.executable, "-m", "mpc_bridge", "bench", str(DEMO), "--network", "lan", "--network", "wan",
            "--network-mode", "predict", "--repeat", "1", "-o", str(part)]
    done = subprocess.run(line, cwd=path.parent, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    part.rename(path)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


#: Markup of HTML, of Markdown and of spreadsheets; and what ends a script, a table's cell, or a line.
PAYLOAD = "=1+1</script><script>window.owned=1</script><img src=x onerror=window.owned=1>|`*[a](javascript:1)&amp;\"'"


def hostile(results: Json) -> Json:
    """Every free text of a file, and every key that may be any, is an attack."""
    results = deepcopy(results)
    results["command"] = f"```\n{PAYLOAD}\n```"
    results["revision"] = results["started"] = PAYLOAD
    for table in ("machine", "versions"):
        results[table] = {PAYLOAD: PAYLOAD, "cpu": [PAYLOAD], "memory_bytes": PAYLOAD, "cores": {"a": PAYLOAD}}
    names = {}
    for index, model in enumerate(results["models"]):
        names[model["name"]] = f"{PAYLOAD}{index}"
        model |= {"name": names[model["name"]], "file": PAYLOAD, "source": PAYLOAD, "profile": PAYLOAD,
                  "sha256": PAYLOAD, "input": {"from": PAYLOAD, "sha256": PAYLOAD}}
    networks = {network["name"]: f"{PAYLOAD}{network['name']}" for network in results["networks"]}
    for network in results["networks"]:
        network["name"] = networks[network["name"]]
    for cell in results["cells"]:
        cell |= {"model": names[cell["model"]], "network": networks[cell["network"]],
                 "backend": f"{PAYLOAD}{cell['backend']}", "device": PAYLOAD}
        cell["threat_model"]["guarantee"] = PAYLOAD
        if cell["reason"] is not None:
            cell["reason"] = dict.fromkeys(("class", "what", "where", "hint"), PAYLOAD)
        for layer in (cell["report"] or {"layers": []})["layers"]:
            layer |= {"name": PAYLOAD, "op": PAYLOAD}
        for phase in (cell["report"] or {"phases": {}})["phases"].values():
            phase["correlations"] = {PAYLOAD: 7}
    return results
