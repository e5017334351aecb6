"""The benchmark's results file: what is written is what is read, and what no run wrote is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from mpc_bridge.bench.records import MAX_FILE_BYTES, Reason, Results, Spread, as_text, load, save, summarise
from mpc_bridge.errors import PeerLost, ResultsError, UsageError

from .bench_results import repetition, results

Json = dict[str, Any]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.json"


def test_what_is_saved_is_loaded(path: Path) -> None:
    save(path, results())
    assert load(path) == results()
    assert [entry.name for entry in path.parent.iterdir()] == ["results.json"]
    save(path, load(path))
    assert path.read_text() == as_text(results())


def test_the_file_is_as_documented(path: Path) -> None:
    save(path, results())
    text = path.read_text()
    found = json.loads(text)
    assert found["schema"] == "mpc-bridge-bench/1" and list(found) == [
        "schema", "command", "started", "revision", "machine", "versions", "repeat", "models", "networks", "cells"]
    assert found["models"][0]["input"] == {"from": "random", "sha256": "11" * 32}
    cell = found["cells"][1]
    assert cell["reason"]["class"] == "PeerLost" and cell["preprocessing"] is None
    assert cell["threat_model"] == {"adversary": "malicious", "majority": "honest", "parties": 3, "corruptions": 1,
                                    "guarantee": "security with abort"}
    assert {"median": 1.0, "least": 1.0, "most": 1.0} == cell["summary"]["phases"]["online"]
    # diffable: a repetition more is one line more
    seconds = [line for line in text.splitlines() if line.startswith('  {"started"')]
    assert len(seconds) == sum(len(one.repetitions) for one in results().cells)


def test_a_summary_is_that_of_the_raw_numbers() -> None:
    raw = [0.3, 0.1, 0.7, 0.5]
    summary = summarise([repetition(seconds) for seconds in raw])
    assert summary.phases["online"] == Spread(median(raw), 0.1, 0.7)
    assert summary.phases["setup"] == Spread(2.0, 2.0, 2.0)
    totals = [0.25 + seconds + 0.125 for seconds in raw]
    assert summary.spent == Spread(median(totals), min(totals), max(totals))


def test_saving_leaves_the_old_file_when_the_disk_refuses(path: Path) -> None:
    save(path, results())
    before = path.read_bytes()
    (path.parent / ".results.json.partial").mkdir()
    with pytest.raises(UsageError, match="cannot write the results"):
        save(path, replace(results(), repeat=1))
    assert path.read_bytes() == before


def test_saving_survives_the_leftover_of_a_crash_and_keeps_a_link(path: Path) -> None:
    (path.parent / ".results.json.partial").write_text('{"schema": ')
    save(path, results())
    link = path.parent / "link.json"
    link.symlink_to(path)
    save(link, replace(results(), command="again"))
    assert link.is_symlink() and load(path).command == "again"


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(path: Path, share: float) -> None:
    text = as_text(results())
    path.write_text(text[: int(len(text) * share)])
    with pytest.raises(ResultsError):
        load(path)


@pytest.mark.parametrize("text", [
    "[]", "null", "{}", '{"schema": "mpc-bridge-report/1"}', '{"schema": ["mpc-bridge-bench/1"]}', "[" * 100_000,
    '{"schema": "mpc-bridge-bench/1", "repeat": ' + "9" * 5000 + "}", '{"schema": "mpc-bridge-bench/1"', "\udcff",
    '{"schema": "mpc-bridge-bench/1", "schema": "mpc-bridge-bench/1"}',
])
def test_what_is_no_results_file_is_refused(path: Path, text: str) -> None:
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ResultsError) as caught:
        load(path)
    assert str(path) in caught.value.where


def test_huge_missing_and_odd_files_are_refused(path: Path) -> None:
    with pytest.raises(ResultsError, match="cannot read"):
        load(path)
    with pytest.raises(ResultsError):
        load(path.parent)
    path.touch()
    os.truncate(path, MAX_FILE_BYTES + 1)
    with pytest.raises(ResultsError, match="not a results file"):
        load(path)


def _set(*keys: Any, value: Any) -> Callable[[Json], None]:
    def change(found: Json) -> None:
        place: Any = found
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    return change


def _drop(*keys: Any) -> Callable[[Json], None]:
    def change(found: Json) -> None:
        place: Any = found
        for key in keys[:-1]:
            place = place[key]
        del place[keys[-1]]

    return change


DONE = ("cells", 0)
FIRST = (*DONE, "repetitions", 0)


@pytest.mark.parametrize("change", [
    _set("cells", value={}), _set("cells", 0, value=[]), _set("repeat", value=0), _set("repeat", value=True),
    _set("repeat", value=2.5), _set("repeat", value="3"), _set("models", 1, "name", value="tiny"),
    _set("models", 0, "name", value="\x1b[2J"), _set("models", 0, "samples", value=0), _drop("models", 0),
    _set("networks", 0, "name", value=""), _set("networks", 1, "rtt_seconds", value=-1), _drop("revision"),
    _set("networks", 1, "bandwidth_bits_per_second", value=5), _set("networks", 1, "rtt_seconds", value=None),
    _set("extra", value=1), _set(*DONE, "model", value="other"), _set(*DONE, "network", value="lan"),
    _set(*DONE, "status", value="good"), _set(*DONE, "status", value="refused"), _set(*DONE, "status", value=["done"]),
    _set("cells", 1, "status", value="done"), _set("cells", 3, "status", value="predicted"),
    _set(*DONE, "carrier", value="smoke"), _set(*DONE, "threat_model", "adversary", value="kind"),
    _set(*DONE, "threat_model", "parties", value=2), _set(*DONE, "threat_model", "parties", value=10**9),
    _set(*DONE, "backend", value="rep3\x1b"), _set(*DONE, "report", value=None), _drop(*DONE, "repetitions", 2),
    _set(*DONE, "summary", value=None), _set(*DONE, "summary", "spent", "median", value=0.5),
    _set(*DONE, "report", "phases", value=[]), _set(*DONE, "report", "phases", "online", "bytes_sent", value=[1]),
    _drop(*DONE, "report", "layers", 0, "op"), _set(*DONE, "report", "layers", 0, "seconds", value="1"),
    _set(*DONE, "report", "layers", 0, "rounds", value=-1), _drop(*DONE, "report", "layers", 0, "phases", "online"),
    _set(*DONE, "report", "phases", "online", "round_bytes", 0, value=[1]), _drop(*DONE, "report", "soundness_bits"),
    _set(*DONE, "report", "phases", "online", "flights", 0, value=[1, 2, 3]), _set(*DONE, "report", "samples", value=0),
    _drop(*DONE, "report", "threat_model"), _set(*DONE, "report", "threat_model", "parties", value=2),
    _set(*DONE, "report", "launcher", value=None), _drop(*DONE, "report", "launcher", "phases", "online"),
    _set(*DONE, "report", "launcher", "phases", "online", "waits", value=-1),
    _set(*DONE, "report", "helper", value={"name": "dealer", "phases": {}}),
    _set(*DONE, "report", "phases", "online", "correlations", "and_triples", value=-5),
    _set(*DONE, "report", "peak_memory_bytes", value=[1, 1, "1"]), _set(*FIRST, "matches_reference", value=1),
    _set(*FIRST, "matches_reference", value=False), _set(*FIRST, "matches_reference", value=None),
    _drop(*FIRST, "phases", "online"), _set(*FIRST, "phases", "online", value=-1.0),
    _set(*FIRST, "phases", "online", value=None), _set(*FIRST, "phases", "extra", value=1.0),
    _set(*FIRST, "layers", value=[1.0]), _set(*FIRST, "layers", 0, value=-1.0),
    _set(*FIRST, "rounds", "online", value=1.5), _set(*FIRST, "bytes_sent", "online", value=[1, 2]),
    _set(*FIRST, "helper_seconds", value={}), _set("cells", 2, "predicted", "spent", value=0.0),
    _set("cells", 1, "reason", value=None), _set(*DONE, "reason", value={"class": "a", "what": 1}),
])
def test_what_no_run_wrote_is_refused_with_the_place(path: Path, change: Callable[[Json], None]) -> None:
    found = json.loads(as_text(results()))
    original = json.dumps(found)
    change(found)
    assert json.dumps(found) != original
    path.write_text(json.dumps(found))
    with pytest.raises(ResultsError) as caught:
        load(path)
    assert caught.value.where.splitlines()[0] == str(path) and caught.value.hint


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "1e-999999999999", "1e-300", "1e300"])
def test_numbers_that_no_clock_shows(path: Path, number: str) -> None:
    text = as_text(results())
    changed = text.replace('"online": 1.0', f'"online": {number}', 1)
    assert changed != text
    path.write_text(changed)
    with pytest.raises(ResultsError):
        load(path)


def test_our_own_nan_is_never_written(path: Path) -> None:
    broken: Results = replace(results(), machine={"cores": float("nan")})
    with pytest.raises(ValueError):
        save(path, broken)
    assert not path.exists()


def test_a_reason_can_be_written_whatever_a_file_is_called(path: Path) -> None:
    reason = Reason.of(PeerLost("gone", where="model\udcff.tflite", hint="x" * 10_000))
    assert reason == Reason("PeerLost", "gone", "model\\udcff.tflite", "x" * 2000)
    found = results()
    save(path, replace(found, cells=(*found.cells[:1], replace(found.cells[1], reason=reason), *found.cells[2:])))
    assert load(path).cells[1].reason == reason
