"""Progress is for people at a terminal, and only for them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mpc_bridge.cli.progress import describe
from mpc_bridge.runtime.launcher import ProgressEvent
from tests.terminals import on_a_terminal


def test_words() -> None:
    event = ProgressEvent("online", 1, 3, 4, 35, "conv", 5)
    assert describe(event) == "sample 2 of 3, step 4 of 35 conv"
    assert describe(ProgressEvent("online", 0, 1, 4, 35, "x" * 80, 5)) == f"step 4 of 35 {'x' * 29}..."
    assert "weights" in describe(ProgressEvent("setup", 0, 1, 0, 3, "conv", 0))


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_terminal_gets_progress_and_standard_output_does_not(tmp_path: Path, installed: None) -> None:
    seen, out = on_a_terminal([sys.executable, "-m", "mpc_bridge", "demo", "--json"], tmp_path, 120)
    assert b"sample " in seen and b"step " in seen and b"%" in seen
    assert out.startswith(b"{") and b"\x1b" not in out
