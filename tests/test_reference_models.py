"""The reference interpreter on real models: bit for bit what the frameworks' own reference kernels gave."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from mpc_bridge.circuit import reference
from mpc_bridge.circuit.graph import Circuit
from mpc_bridge.importers.tflite import load
from tests.conftest import vector_names

FILES = [(name, "model.tflite") for name in vector_names()]
if "person_detect" in vector_names():
    # the original names a channel axis that its biases do not have; LiteRT loads only this repaired copy
    FILES.append(("person_detect", "model_loadable.tflite"))
#: profile → outputs in expected.npz that its runtime gave
EXPECTED = {"litert": "ref", "tflite": "tflite214_ref"}


@lru_cache(maxsize=2)
def imported(path: Path, profile: str) -> Circuit:
    """The circuit, once for all tests of one model."""
    return load(path, profile)


@pytest.mark.parametrize("profile", EXPECTED)
@pytest.mark.parametrize(("name", "file"), FILES)
def test_outputs_of_every_sample(vector: Callable[[str], Path], name: str, file: str, profile: str) -> None:
    folder = vector(name)
    circuit = imported(folder / file, profile)
    inputs = np.load(folder / "inputs.npz")
    expected = np.load(folder / "expected.npz")
    outputs = reference.evaluate_samples(circuit, [inputs[f"in{i}"] for i in range(len(circuit.inputs))])
    assert len(outputs) == len(circuit.outputs)
    for i, output in enumerate(outputs):
        wanted = expected[f"{EXPECTED[profile]}{i}"]
        assert output.dtype == wanted.dtype
        np.testing.assert_array_equal(output, wanted)


@pytest.mark.parametrize(("name", "file"), FILES)
def test_every_intermediate_of_the_first_sample(vector: Callable[[str], Path], name: str, file: str) -> None:
    folder = vector(name)
    circuit = imported(folder / file, "litert")
    inputs = np.load(folder / "inputs.npz")
    steps = json.loads((folder / "trace_input0.json").read_text())
    values = reference.trace(circuit, [inputs[f"in{i}"][0] for i in range(len(circuit.inputs))])
    assert [op.kind for op in circuit.ops] == [step["name"] for step in steps]
    wrong = [
        f"operator {step['op']} {step['name']}"
        for op, step in zip(circuit.ops, steps, strict=True)
        if hashlib.sha256(np.ascontiguousarray(values[op.outputs[0]]).tobytes()).hexdigest() != step["sha256"]
    ]
    assert not wrong


def test_profiles_differ_where_the_frameworks_do(vector: Callable[[str], Path]) -> None:
    folder = vector("ad01_int8")
    inputs = np.load(folder / "inputs.npz")["in0"]
    litert, tflite = (
        reference.evaluate_samples(imported(folder / "model.tflite", profile), [inputs])[0] for profile in EXPECTED)
    expected = np.load(folder / "expected.npz")
    np.testing.assert_array_equal(litert != tflite, expected["ref0"] != expected["tflite214_ref0"])
    assert (litert != tflite).any()
