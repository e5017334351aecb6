"""What a measurement says about where it comes from."""

from __future__ import annotations

import json
import platform
import subprocess
from pathlib import Path

import pytest

import mpc_bridge
from mpc_bridge.provenance import machine, revision, versions


def test_the_machine_is_described() -> None:
    found = json.loads(json.dumps(machine()))
    assert found["cpu"] and found["cores"] >= 1 and found["memory_bytes"] > 1 << 20
    assert found["kernel"] == platform.release() and found["virtual"] in (True, False, None)
    assert versions()["mpc-bridge"] == mpc_bridge.__version__ and versions()["numpy"]


def test_the_revision_is_the_clones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*words: str) -> str:
        return subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=tmp_path, check=True,
                              capture_output=True, text=True).stdout.strip()

    package = tmp_path / "mpc_bridge" / "__init__.py"
    package.parent.mkdir()
    package.write_text("one = 1\n")
    monkeypatch.setattr(mpc_bridge, "__file__", str(package))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert revision() is None
    git("init", "-q")
    (tmp_path / "own.txt").write_text("somebody's own project, with this package installed in its folder\n")
    git("add", "own.txt")
    git("commit", "-qm", "zero")
    assert revision() is None
    results = tmp_path / "results" / "local.json"
    results.parent.mkdir()
    results.write_text("{}\n")
    (tmp_path / "README.md").write_text("one\n")
    git("add", ".")
    git("commit", "-qm", "one")
    commit = git("rev-parse", "--short=12", "HEAD")
    assert revision() == commit
    for written in (results, tmp_path / "README.md"):
        written.write_text("[]\n")
        assert revision() == commit
    seen = set()
    for number in (2, 3):
        package.write_text(f"number = {number}\n")
        found = revision()
        assert found is not None and found.startswith(f"{commit}+") and revision() == found
        seen.add(found)
    assert len(seen) == 2  # what was measured before the second change is of another revision
    package.write_text("one = 1\n")
    assert revision() == commit
