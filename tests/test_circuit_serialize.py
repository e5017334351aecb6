"""Circuits as JSON and as .circuit files: exact round trips, canonical bytes, and strangers' files."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from mpc_bridge import circuit as circuits
from mpc_bridge.circuit import Circuit, from_json, serialize, to_json
from mpc_bridge.errors import CircuitError, InputError, ModelFormatError
from mpc_bridge.importers.tflite import load
from tests.circuits import small_circuit
from tests.conftest import vector_names
from tests.models import oneop
from tests.models.tflite_writer import TensorSpec, write

CASES = dict(oneop.cases())
SMALL = small_circuit()
GRAPH: dict[str, Any] = json.loads(to_json(SMALL))


def assert_same(a: Circuit, b: Circuit) -> None:
    assert a == b
    assert a.sha256 == b.sha256
    assert set(a.constants) == set(b.constants)
    for index, array in a.constants.items():
        assert b.constants[index].dtype == array.dtype
        np.testing.assert_array_equal(b.constants[index], array)


def round_trip(circuit: Circuit, folder: Path) -> Circuit:
    circuits.save(circuit, folder / "a.circuit")
    return circuits.load(folder / "a.circuit")


@pytest.mark.parametrize("name", CASES)
def test_every_op_round_trips(name: str, tmp_path: Path) -> None:
    circuit = load(CASES[name], name=name)
    assert_same(circuit, round_trip(circuit, tmp_path))
    assert from_json(to_json(circuit)) == circuit
    assert to_json(from_json(to_json(circuit))) == to_json(circuit)


@pytest.mark.parametrize("profile", ["litert", "tflite"])
@pytest.mark.parametrize("name", vector_names())
def test_real_models_round_trip(name: str, profile: str, vector: Callable[[str], Path], tmp_path: Path) -> None:
    circuit = load(vector(name) / "model.tflite", profile)
    assert_same(circuit, round_trip(circuit, tmp_path))


def test_public_circuit_round_trips_without_secrets(tmp_path: Path) -> None:
    loaded = round_trip(SMALL.public(), tmp_path)
    assert_same(loaded, SMALL.public())
    assert loaded.is_public
    content = (tmp_path / "a.circuit").read_bytes()
    assert SMALL.sha256.encode() not in content
    assert SMALL.sha256 not in to_json(SMALL)
    assert SMALL.constants[1].tobytes() not in content


def test_awkward_constants_round_trip(tmp_path: Path) -> None:
    transposed = np.asfortranarray(SMALL.constants[6])
    assert_same(SMALL, round_trip(replace(SMALL, constants={**SMALL.constants, 6: transposed}), tmp_path))
    scalar = TensorSpec((), "int8", (0.5,), (1,), data=np.array(7, np.int8))
    vector = TensorSpec((4,), "int8", (0.5,), (0,))
    added = load(write("ADD", 2, [vector, scalar], TensorSpec((4,), "int8", (0.5,), (0,)), "AddOptions", {}))
    assert_same(added, round_trip(added, tmp_path))


def test_loaded_constants_are_read_only(tmp_path: Path) -> None:
    loaded = round_trip(SMALL, tmp_path)
    with pytest.raises(ValueError, match="read-only"):
        loaded.constants[1][0] = 0


def test_doubles_are_exact() -> None:
    multipliers = (0.1, 5e-324, 1 / 3, float(np.nextafter(0.5, 1)), 2.0**29)
    tensors = list(SMALL.tensors)
    ops = list(SMALL.ops)
    ops[3] = replace(ops[3], attributes={"keep_num_dims": False, "requantization": ("mbqm", multipliers, -128, 127)})
    circuit = replace(SMALL, tensors=tuple(tensors), ops=tuple(ops), constants={})
    assert from_json(to_json(circuit)).ops[3].attributes["requantization"] == ("mbqm", multipliers, -128, 127)


def test_digest_is_of_the_public_part() -> None:
    other = replace(SMALL, constants={**SMALL.constants, 2: np.zeros(3, np.int32)}, sha256="")
    assert circuits.digest(SMALL) == circuits.digest(other) == circuits.digest(SMALL.public())
    assert circuits.digest(replace(SMALL, profile="tflite")) != circuits.digest(SMALL)


def test_files_and_digests_do_not_depend_on_the_process(tmp_path: Path) -> None:
    program = (
        "import sys; from mpc_bridge import circuit; from tests.circuits import small_circuit;"
        "circuit.save(small_circuit(), sys.argv[1]); print(circuit.digest(small_circuit()))"
    )
    contents = set()
    for seed in ("1", "2", "3"):
        path = tmp_path / f"{seed}.circuit"
        done = subprocess.run(
            [sys.executable, "-c", program, str(path)],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(filter(None, sys.path))},
            cwd=Path(__file__).parent.parent,
            capture_output=True,
            text=True,
            check=True,
        )
        contents.add((done.stdout, path.read_bytes()))
    assert len(contents) == 1


def test_sniff(tmp_path: Path) -> None:
    circuits.save(SMALL, tmp_path / "a.circuit")
    safetensors.numpy.save_file({"a": np.zeros(3)}, tmp_path / "b.safetensors", metadata={"format": "np"})
    assert serialize.is_circuit_file((tmp_path / "a.circuit").read_bytes()[:64])
    assert not serialize.is_circuit_file((tmp_path / "b.safetensors").read_bytes()[:64])
    assert not serialize.is_circuit_file(b"")


def test_writing_is_atomic_and_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.circuit"
    circuits.save(SMALL, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InputError, match="No space left"):
        circuits.save(replace(SMALL, name="other"), path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.circuit"]


def test_invalid_circuits_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(CircuitError):
        circuits.save(replace(SMALL, outputs=()), tmp_path / "a.circuit")
    assert not list(tmp_path.iterdir())


def test_unreadable_paths(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the circuit"):
        circuits.load(tmp_path / "missing.circuit")
    with pytest.raises(InputError, match="cannot write the circuit"):
        circuits.save(SMALL, tmp_path / "missing" / "a.circuit")


def changed(**fields: Any) -> str:
    return json.dumps({**GRAPH, **fields})


def changed_op(index: int, **fields: Any) -> str:
    ops = json.loads(json.dumps(GRAPH["ops"]))
    ops[index].update(fields)
    return changed(ops=ops)


HOSTILE_JSON: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "not valid JSON"),
    "bytes": (b"\xff\xfe\x00", "not valid JSON"),
    "list": ("[]", "format version None"),
    "version": (changed(version=2), "format version 2"),
    "version bool": (changed(version=True), "format version True"),
    "version float": (changed(version=1.0), "no version of type int"),
    "missing": (json.dumps({"version": 1}), "no name of type str"),
    "unknown field": (changed(weights=[]), "unknown fields weights"),
    "repeated key": ('{"version":1,"version":1}', "not valid JSON"),
    "nan": (changed(inputs=[float("nan")]), "not valid JSON"),
    "infinity": (changed(inputs=[float("inf")]), "not valid JSON"),
    "overflowing float": (to_json(SMALL).replace('"beta":1.0', '"beta":1e999'), "attribute beta is inf"),
    "long integer": ('{"version":' + "9" * 5000 + "}", "not valid JSON"),
    "deep": ("[" * 100_000, "not valid JSON"),
    "deep attribute": (changed_op(5, attributes={"x": json.loads("[" * 50 + "]" * 50)}), "nested too deeply"),
    "object attribute": (changed_op(5, attributes={"x": {}}), "neither a number, a string nor a list"),
    "null attribute": (changed_op(5, attributes={"x": None}), "neither a number, a string nor a list"),
    "op is a list": (changed(ops=[[]]), "op 0 is not an object"),
    "tensor is a string": (changed(tensors=["x"]), "tensor 0 is not an object"),
    "unknown op field": (changed_op(0, weights=3), "op 0 has the unknown fields weights"),
    "float index": (changed(inputs=[0.0]), "the model's inputs are not indices"),
    "nested inputs": (changed(inputs=[[0]]), "the model's inputs are not indices"),
    "huge index": (changed(inputs=[10**400]), "the model's inputs are not indices"),
    "terminal escape": (changed(name="\x1b[2J"), "not a printable string"),
    "surrogate": (to_json(SMALL).replace('"name":"small"', '"name":"\\ud800"'), "not a printable string"),
    "invalid graph": (changed(outputs=[]), "without outputs"),
}


@pytest.mark.parametrize("case", HOSTILE_JSON)
def test_hostile_json(case: str) -> None:
    text, what = HOSTILE_JSON[case]
    with pytest.raises(ModelFormatError) as caught:
        from_json(text)
    assert what in caught.value.what


def test_too_long_json() -> None:
    with pytest.raises(ModelFormatError, match="longer than"):
        from_json(" " * (serialize.MAX_JSON_BYTES + 1))


def stored(tensors: dict[str, Any], **metadata: str) -> bytes:
    return bytes(safetensors.numpy.save(tensors, metadata=metadata or {"mpc_bridge.circuit": to_json(SMALL)}))


ARRAYS = {f"tensor.{index}": array for index, array in SMALL.constants.items()}
HOSTILE_FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "not a circuit file"),
    "short": (b"\x01\x00\x00", "not a circuit file"),
    "header length": (b"\xff" * 8 + b"{}", "not a circuit file"),
    "another safetensors": (stored(ARRAYS, format="np"), "not a circuit file"),
    "metadata": (b"\x14" + bytes(7) + b'{"__metadata__":"x"}', "not a circuit file"),
    "graph": (stored(ARRAYS, **{"mpc_bridge.circuit": "{}"}), "format version None"),
    "truncated": (stored(ARRAYS)[:-1], "the weights in the circuit file are damaged"),
    "longer": (stored(ARRAYS) + b"x", "the weights in the circuit file are damaged"),
    "constant missing": (stored({"tensor.1": SMALL.constants[1]}), "the constants held are not the constants declared"),
    "constant type": (stored({**ARRAYS, "tensor.2": np.zeros(3, np.int16)}), "constant 2 has the type I16"),
    "constant shape": (stored({**ARRAYS, "tensor.2": np.zeros((3, 1), np.int32)}), "a constant int32 (3, 1)"),
    "foreign tensor": (stored({**ARRAYS, "extra": np.zeros(3)}), "not one of its constants"),
    "second name": (stored({**ARRAYS, "tensor.01": np.zeros(3, np.int8)}), "not one of its constants"),
    "foreign digits": (stored({**ARRAYS, "tensor.\u0661": np.zeros(3, np.int8)}), "not one of its constants"),
}


@pytest.mark.parametrize("case", HOSTILE_FILES)
def test_hostile_files(case: str, tmp_path: Path) -> None:
    data, what = HOSTILE_FILES[case]
    (tmp_path / "a.circuit").write_bytes(data)
    for source in (data, tmp_path / "a.circuit"):
        with pytest.raises(ModelFormatError) as caught:
            circuits.load(source)
        assert what in caught.value.what
    assert caught.value.where.startswith(str(tmp_path))
