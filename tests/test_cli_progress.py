"""Progress is for people at a terminal, and only for them."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from mpc_bridge.cli.progress import describe
from mpc_bridge.runtime.launcher import ProgressEvent


def test_words() -> None:
    event = ProgressEvent("online", 1, 3, 4, 35, "conv", 5)
    assert describe(event) == "sample 2 of 3, step 4 of 35 conv"
    assert describe(ProgressEvent("online", 0, 1, 4, 35, "x" * 80, 5)) == f"step 4 of 35 {'x' * 29}..."
    assert "weights" in describe(ProgressEvent("setup", 0, 1, 0, 3, "conv", 0))


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_terminal_gets_progress_and_standard_output_does_not(tmp_path: Path, installed: None) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "mpc_bridge", "demo", "--json"]
    with subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=theirs,
                          env={**os.environ, "TERM": "xterm", "COLUMNS": "120"}) as process:  # fmt: skip
        os.close(theirs)
        seen = b""
        while True:
            try:
                chunk = os.read(ours, 4096)
            except OSError:  # Linux says so when the other side is closed
                break
            if not chunk:
                break
            seen += chunk
        assert process.stdout is not None
        out = process.stdout.read()
    os.close(ours)
    assert process.returncode == 0
    assert b"sample " in seen and b"step " in seen and b"%" in seen
    assert out.startswith(b"{") and b"\x1b" not in out
