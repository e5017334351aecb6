"""Result files appear together or not at all; errors become lines and exit codes."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import pytest

from mpc_bridge.cli.failures import run
from mpc_bridge.cli.files import check_writable, write_together
from mpc_bridge.errors import (
    InputError,
    MpcBridgeError,
    PeerLost,
    ProtocolAbort,
    UnsupportedCombinationError,
    UnsupportedModelError,
    UsageError,
)


def text(content: str):
    def write(stream: BinaryIO) -> None:
        stream.write(content.encode())

    return write


def test_files_are_written_together(tmp_path: Path) -> None:
    one, two = tmp_path / "one.npz", tmp_path / "two.json"
    one.write_text("old")
    write_together({one: text("a"), two: text("b")})
    assert (one.read_text(), two.read_text()) == ("a", "b")
    assert sorted(os.listdir(tmp_path)) == ["one.npz", "two.json"]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(two.stat().st_mode) == 0o666 & ~umask


def test_a_failing_writer_leaves_nothing_and_keeps_old_files(tmp_path: Path) -> None:
    one, two = tmp_path / "one.npz", tmp_path / "two.json"
    one.write_text("old")

    def fail(stream: BinaryIO) -> None:
        stream.write(b"half")
        raise OSError(28, "No space left on device", str(two))

    with pytest.raises(UsageError, match="cannot write"):
        write_together({one: text("a"), two: fail})
    assert one.read_text() == "old" and os.listdir(tmp_path) == ["one.npz"]


@pytest.mark.parametrize(
    ("name", "message"),
    [("out.txt", "has to end in .npz"), ("folder.npz", "names a folder"), ("missing/out.npz", "does not exist")],
)
def test_destinations_are_checked_beforehand(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(UsageError, match=message):
        check_writable(tmp_path / name, "--output", ".npz")
    check_writable(tmp_path / "out.npz", "--output", ".npz")
    assert os.listdir(tmp_path) == ["folder.npz"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("w", where="x", hint="h"), 2),
        (InputError("w", where="x", hint="h"), 2),
        (UnsupportedModelError("w", where="x", hint="h"), 3),
        (UnsupportedCombinationError("w", where="x", hint="h"), 3),
        (ProtocolAbort("w", where="x", hint="h"), 4),
        (PeerLost("w", where="x", hint="h"), 5),
    ],
)
def test_error_lines_and_exit_codes(error: MpcBridgeError, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    def command(_: Sequence[str]) -> int:
        raise error

    assert run(command, [], debug=False) == code
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err == "error: w\nwhere: x\nhint: h\n"
    assert run(command, [], debug=True) == code
    assert "Traceback" in capsys.readouterr().err


def test_an_internal_error_is_one_line_without_its_text(capsys: pytest.CaptureFixture[str]) -> None:
    def command(_: Sequence[str]) -> int:
        raise RuntimeError("a value that may be secret")

    assert run(command, [], debug=False) == 70
    error = capsys.readouterr().err
    assert "internal error: RuntimeError" in error and "--debug" in error
    assert "secret" not in error and "Traceback" not in error


def test_interrupt(capsys: pytest.CaptureFixture[str]) -> None:
    def command(_: Sequence[str]) -> int:
        raise KeyboardInterrupt

    assert run(command, [], debug=False) == 130
    assert capsys.readouterr().err == "error: interrupted\n"
