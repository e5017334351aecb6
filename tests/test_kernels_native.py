"""Builds the kernel library with the address and undefined-behaviour sanitizers and runs its native test driver."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


def tool(name: str) -> str | None:
    """A program on PATH, or installed beside this Python."""
    return shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def test_sanitized_kernels(tmp_path: Path) -> None:
    cmake, ninja = tool("cmake"), tool("ninja")
    if cmake is None or ninja is None:
        pytest.skip("cmake and ninja are needed to build the native test driver")
    if not any(shutil.which(name) for name in (os.environ.get("CXX", "c++"), "c++", "g++", "clang++")):
        pytest.skip("no C++ compiler on PATH")
    build = str(tmp_path / "build")
    run(cmake, "-S", str(REPOSITORY), "-B", build, "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}", "-DMPCB_SANITIZE=ON")
    run(cmake, "--build", build, "--target", "mpcb_native_test")
    assert "all levels" in run(str(tmp_path / "build" / "mpcb_native_test"))
