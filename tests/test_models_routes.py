"""A CNN trained on real digits, quantized by every route: imported, shown, evaluated, compared with its framework."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("torchao", reason="torchao is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
pytest.importorskip("onnxscript", reason="onnxscript is not installed")

import mpc_bridge  # noqa: E402
from mpc_bridge.circuit.graph import Circuit  # noqa: E402
from mpc_bridge.circuit.printer import format_circuit  # noqa: E402
from mpc_bridge.circuit.reference import evaluate_samples  # noqa: E402
from mpc_bridge.evaluation import evaluate  # noqa: E402
from mpc_bridge.registry import load_model  # noqa: E402
from tests.models.cnn import digits, real  # noqa: E402
from tests.models.quantise_cnn import ROUTES, XNNPACK  # noqa: E402

#: Images that the reference interpreter and the framework are compared on, and those that go through three parties.
COMPARED, SHARED = 300, 2

Scores = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Route:
    """A model file and the framework's logits on :data:`COMPARED` held-out images."""

    path: Path
    trust: bool
    expected: Scores

    @property
    def circuit(self) -> Circuit:
        if self.trust:
            return load_model(self.path, trust=True, input_shapes=[(1, 1, 28, 28)])
        return load_model(self.path)


@pytest.fixture(scope="module")
def held_out() -> tuple[Scores, npt.NDArray[np.int64]]:
    """Images ``[N, 1, 28, 28]`` in [0, 1], and labels."""
    images, labels = digits("held_out")
    return real(images[:COMPARED]).numpy(), labels[:COMPARED]


@pytest.fixture(scope="module")
def route(tmp_path_factory: pytest.TempPathFactory, held_out: tuple[Scores, object]) -> Callable[[str], Route]:
    """``route(name)``: quantized once per worker."""
    folder, made = tmp_path_factory.mktemp("routes"), dict[str, Route]()

    def make(name: str) -> Route:
        if name not in made:
            torch.set_num_threads(1)
            suffix, quantise = ROUTES[name]
            path = folder / f"{name}{suffix}"
            oracle = quantise(path)
            made[name] = Route(path, suffix == ".pt", oracle(held_out[0]))
        return made[name]

    return make


def unequal(ours: npt.NDArray[np.generic], theirs: Scores) -> npt.NDArray[np.int64]:
    """Images whose greatest logit differs, where the framework's is greatest alone."""
    ordered = np.sort(theirs, axis=1)
    alone = ordered[:, -1] > ordered[:, -2]
    return np.flatnonzero((ours.argmax(axis=1) != theirs.argmax(axis=1)) & alone)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ROUTES)
def test_route(
    name: str, route: Callable[[str], Route], held_out: tuple[Scores, npt.NDArray[np.int64]], installed: None
) -> None:
    images, labels = held_out
    made = route(name)
    circuit = made.circuit
    reference = evaluate_samples(circuit, (images[:, None],))[0].reshape(COMPARED, 10)
    assert not len(unequal(reference, made.expected))
    # two units of the logits' scale, where a float mean or a float convolution of the framework breaks a tie, in few
    # logits; float logits differ by float32 rounding as well
    difference = np.abs(reference - made.expected)
    assert difference.max() < 0.1 and np.mean(difference > 1e-5) < 0.02
    tops = [float(np.mean(scores.argmax(axis=1) == labels)) for scores in (made.expected, reference)]
    print(f"\n{name}: top-1 of {COMPARED} real images: framework {tops[0]:.4f}, mpc-bridge {tops[1]:.4f}")
    assert min(tops) > 0.96
    assert "CONV_2D" in format_circuit(circuit.public())
    for security in ("semi-honest", "malicious"):
        result = evaluate(circuit, images[:SHARED, None], security=security)
        assert result.matches_reference is True and result.threat_model.adversary == security
        np.testing.assert_array_equal(result.outputs[0].reshape(SHARED, 10), reference[:SHARED])


def test_the_commands_on_a_pt2_and_labels(
    tmp_path: Path, route: Callable[[str], Route], held_out: tuple[Scores, npt.NDArray[np.int64]], installed: None
) -> None:
    images, labels = held_out
    model = route("pt2e-x86").path
    np.save(tmp_path / "images.npy", images[:4])
    np.save(tmp_path / "labels.npy", labels[:4])
    right = int(np.sum(route("pt2e-x86").expected[:4].argmax(axis=1) == labels[:4]))

    def run(*arguments: object) -> str:
        done = subprocess.run([sys.executable, "-m", "mpc_bridge", *map(str, arguments)], cwd=tmp_path,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("import", model, "digits.circuit")
    assert run("show", "digits.circuit") == run("show", model)
    for security in ("semi-honest", "malicious"):
        report = json.loads(run("eval", "digits.circuit", "--input", "images.npy", "--labels", "labels.npy",
                                "--security", security, "--json"))
        assert report["matches_reference"] is True
        assert report["accuracy"] == {"top1": right / 4, "right": right, "labelled": 4}
    # the other model's logits are quantized, so that the parties can compare them
    indices = run("eval", XNNPACK, "--input", "images.npy", "--labels", "labels.npy", "--samples", 2,
                  "--security", "semi-honest", "--reveal", "argmax")
    assert "top-1   2 of 2 right, 100.00%" in indices


def snippets() -> list[str]:
    """The Python blocks of the README's section on models."""
    text = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")
    section = text.partition("\n## Models\n")[2].partition("\n## ")[0]
    return [block.partition("```")[0] for block in section.split("```python\n")[1:]]


def test_the_readmes_snippet_for_pytorch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: None) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = (block for block in snippets() if "torchao" in block)
    x = torch.ones(1, 3)
    names = {"model": torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU()), "example": x, "calibration": [x]}
    exec(code, names)
    circuit = load_model(tmp_path / "model.pt2")
    assert circuit.source == "pytorch" and "FULLY_CONNECTED" in {op.kind for op in circuit.ops}
    again = mpc_bridge.from_torch(torch.export.export(names["model"], (x,)))
    assert [op.kind for op in again.ops] == [op.kind for op in circuit.ops]


def test_the_readmes_snippet_for_onnx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: None) -> None:
    import onnx
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.rows = iter([np.ones((1, 3), np.float32)])

        def get_next(self) -> dict[str, Scores] | None:
            row = next(self.rows, None)
            return None if row is None else {"x": row}

    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [helper.make_tensor_value_info("x", kind, [1, 3])],
        [helper.make_tensor_value_info("y", kind, [1, 4])],
        [onnx.numpy_helper.from_array(np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4), "w")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10),
              tmp_path / "float.onnx")
    monkeypatch.chdir(tmp_path)
    (code,) = (block for block in snippets() if "quantize_static" in block)
    exec(code, {"calibration": Reader()})
    circuit = load_model(tmp_path / "model.onnx")
    assert circuit.source == "onnx" and circuit.constants


def test_importing_the_package_and_every_importer_imports_no_framework(installed: None) -> None:
    code = ("import sys, mpc_bridge, mpc_bridge.cli; from mpc_bridge import registry; mpc_bridge.load\n"
            "assert {'onnx', 'pytorch', 'tflite'} <= set(registry.importers().usable), registry.importers()\n"
            "print(*sorted({'torch', 'torchao', 'onnx', 'onnxruntime', 'tflite', 'tensorflow'} & set(sys.modules)))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout.strip() == "", done.stdout + done.stderr


def test_a_pt2_is_imported_and_evaluated_without_torch(
    tmp_path: Path, held_out: tuple[Scores, object], installed: None
) -> None:
    """As after a plain ``pip install mpc-bridge``: none of the frameworks can be imported."""
    np.save(tmp_path / "images.npy", held_out[0][:1])
    blocked = ("torch", "torchao", "onnx", "onnxruntime", "onnxscript", "tensorflow", "ai_edge_litert")
    (tmp_path / "sitecustomize.py").write_text(
        f"import sys\nfor name in {blocked!r}:\n    sys.modules[name] = None\n")
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    command = ["-m", "mpc_bridge", "eval", str(XNNPACK), "--input", "images.npy", "--security", "semi-honest"]
    done = subprocess.run(
        [sys.executable, *command], cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "equal: every output value" in done.stdout
