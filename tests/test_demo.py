"""The demo: its files are what their README says, and its answers are LiteRT's."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import mpc_bridge

DEMO = Path(mpc_bridge.__file__).parent / "demo"


def test_files_are_the_ones_the_readme_describes() -> None:
    text = (DEMO / "README.md").read_text()
    model = (DEMO / "digits.tflite").read_bytes()
    assert hashlib.sha256(model).hexdigest() in text and f"{len(model)} bytes" in text
    with np.load(DEMO / "inputs.npz") as bundled:
        assert bundled["in0"].shape == (10, 28, 28, 1) and bundled["in0"].dtype == np.int8
        assert bundled["labels"].tolist() == list(range(10))


def test_three_parties_give_litert_answers_in_every_value(installed: None) -> None:
    interpreters = pytest.importorskip("ai_edge_litert.interpreter", reason="LiteRT is not installed")
    with np.load(DEMO / "inputs.npz") as bundled:
        images = bundled["in0"]
    result = mpc_bridge.evaluate(mpc_bridge.load(DEMO / "digits.tflite"), images, security="semi-honest")
    assert result.threat_model.parties == 3 and result.matches_reference is True
    interpreter = interpreters.Interpreter(
        model_path=str(DEMO / "digits.tflite"),
        experimental_op_resolver_type=interpreters.OpResolverType.BUILTIN_REF,
    )
    interpreter.allocate_tensors()
    for image, output in zip(images, result.outputs[0], strict=True):
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[None])
        interpreter.invoke()
        np.testing.assert_array_equal(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]), output)


def test_the_command_says_what_it_should(tmp_path: Path, installed: None) -> None:
    command = [sys.executable, "-m", "mpc_bridge", "demo"]
    done = subprocess.run(command, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stderr == ""
    for words in ("threat model", "3 parties", "secret", "rounds", "preprocessing", "verification", "equal: every"):
        assert words in done.stdout
    rows = [line.split() for line in done.stdout.splitlines() if line.endswith(("right", "wrong"))]
    assert [row[3] for row in rows] == [str(digit) for digit in range(10)]
    assert [row[1] for row in rows] == [row[3] for row in rows]
