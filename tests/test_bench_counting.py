"""What a benchmark does not count, and does not predict from: real parties in the clear on the smallest circuit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mpc_bridge.bench import runner
from mpc_bridge.bench.records import load
from mpc_bridge.errors import UsageError

from .test_bench_runner import Log, model, planned, plugin, work

__all__ = ["model", "plugin"]


def test_nothing_is_counted_once_the_code_has_changed(
        tmp_path: Path, model: Path, plugin: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parties are new processes: they would run the new code, and the file name the old one."""
    log, path, real = Log(), tmp_path / "results.json", runner.revision
    monkeypatch.setattr(runner, "revision", lambda: real() if len(log.steps) < 4 else "other")
    of = planned([model], ("clear", "plaintext"))
    with pytest.raises(UsageError, match="the code was changed") as caught:
        work(path, of, log)
    assert str(of.fresh.revision) in caught.value.where and "other" in caught.value.where
    assert [(step.cell.backend, step.repetition) for step in log.steps[2:]] == [("clear", 1), ("plaintext", 1)]
    assert [(cell.status, len(cell.repetitions)) for cell in load(path).cells] == [("waiting", 1), ("waiting", 0)]


def test_a_repetition_with_other_rounds_than_the_first_is_not_counted(
        tmp_path: Path, model: Path, plugin: None, monkeypatch: pytest.MonkeyPatch) -> None:
    log, path, real = Log(), tmp_path / "results.json", runner._measured

    def strange(*words: Any) -> Any:
        report = real(*words)
        if len(log.steps) == 3:
            report["phases"]["online"]["rounds"] += 1
        return report

    monkeypatch.setattr(runner, "_measured", strange)
    (cell,) = work(path, planned([model], ("plaintext",)), log).cells
    assert cell.status == "failed" and len(cell.repetitions) == 1
    assert cell.reason is not None and "rounds or bytes" in cell.reason.what
    (cell,) = work(path, planned([model], ("plaintext",)), log).cells
    assert cell.status == "done" and len(cell.repetitions) == 2


def test_nothing_is_predicted_from_half_a_measurement(
        tmp_path: Path, model: Path, plugin: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would stay in the file, and be shown, when the local cell is done in a later run without that network."""
    log, path, real = Log(), tmp_path / "results.json", runner.evaluate

    def strange(*arguments: Any, **words: Any) -> Any:
        if len(log.steps) == 3:
            raise ZeroDivisionError
        return real(*arguments, **words)

    monkeypatch.setattr(runner, "evaluate", strange)
    local, wan = work(path, planned([model], ("plaintext",), networks=("wan",)), log).cells
    assert (local.status, len(local.repetitions)) == ("failed", 1) and local.summary is not None
    assert wan.status == "failed" and wan.reason == local.reason and wan.predicted is None
    local, wan = work(path, planned([model], ("plaintext",), networks=("wan",)), log).cells
    assert (local.status, wan.status) == ("done", "predicted")
