"""A command whose standard error is a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
from collections.abc import Sequence
from pathlib import Path


def on_a_terminal(command: Sequence[str], folder: Path, columns: int) -> tuple[bytes, bytes]:
    """What a terminal of that width sees, and standard output, of a command that has to succeed."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=theirs,
                          env={**os.environ, "TERM": "xterm", "COLUMNS": str(columns)}) as process:
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
        shown = process.stdout.read()
    os.close(ours)
    assert process.returncode == 0
    return seen, shown
