"""What people see of PyTorch files on the command line; torch is not needed for it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests import pt2_files

pytestmark = pytest.mark.usefixtures("installed")


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """``mpc-bridge`` with its streams."""
    return subprocess.run([sys.executable, "-m", "mpc_bridge", *map(str, arguments)], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=120, cwd=Path(__file__).parent.parent)


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A file that looks like TorchScript, and is none."""
    path = tmp_path / "script.pt"
    with zipfile.ZipFile(path, "w") as file:
        for name in ("script/data.pkl", "script/constants.pkl", "script/code/__torch__.py"):
            file.writestr(name, b"")
    return path


def test_owners_are_told_about_example_inputs(tmp_path: Path) -> None:
    done = run("import", pt2_files.SMALL, tmp_path / "small.circuit")
    assert done.returncode == 0 and (tmp_path / "small.circuit").exists()
    assert done.stderr.startswith("note: small: ") and "example inputs" in done.stderr
    assert "profile pytorch" in done.stdout
    # the circuit holds none of them
    done = run("show", tmp_path / "small.circuit", "--trust")
    assert done.returncode == 0 and done.stderr == ""


def test_torchscript_asks_for_trust(script: Path) -> None:
    done = run("show", script)
    assert done.returncode == 3 and done.stdout == "" and str(script) in done.stderr
    assert "TorchScript" in done.stderr and "--trust" in done.stderr


@pytest.mark.parametrize("shape", ["1x3xq", "", "x", "1x-3", "1,3", "1x3x99999999999", "1x٣"])
def test_shapes_are_checked(script: Path, shape: str) -> None:
    done = run("show", script, "--trust", "--input-shape", shape)
    assert done.returncode == 2 and "not a shape" in done.stderr and "1x3x32x32" in done.stderr


def test_other_files_hold_their_shapes() -> None:
    done = run("show", pt2_files.SMALL, "--trust", "--input-shape", "1x3x12x12")
    assert done.returncode == 2 and "taken from the file" in done.stderr
    done = run("show", pt2_files.SMALL, "--input-shape", "1x3x12x12")
    assert done.returncode == 2 and "taken from the file" in done.stderr


@pytest.mark.parametrize("command", ["eval", "import", "show"])
def test_help_says_what_trust_means(command: str) -> None:
    text = run(command, "--help").stdout
    assert "--trust" in text and "--input-shape" in text and "runs what it says" in " ".join(text.split())
