"""What is said to be supported: every op's specimen on every backend, importers' words, and the generated documents."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mpc_bridge import registry
from mpc_bridge.backends.additive.backend import backend as additive
from mpc_bridge.backends.plaintext import backend as plaintext
from mpc_bridge.backends.replicated.backend import backend as rep3
from mpc_bridge.backends.replicated.malicious.backend import backend as rep3_mac
from mpc_bridge.circuit import reference
from mpc_bridge.circuit.ops import BY_NAME, OPS
from mpc_bridge.cli.support import NO, RECEIVER, UNKNOWN, YES, rows
from mpc_bridge.cli.tables import BEGIN, END, documents, renewed
from mpc_bridge.importers.base import DescribedImporter
from mpc_bridge.importers.onnx import importer as onnx
from mpc_bridge.importers.pytorch import importer as pytorch
from mpc_bridge.importers.qdq.graph import EMITTED
from mpc_bridge.importers.tflite import importer as tflite
from mpc_bridge.kernels import cpu_device
from mpc_bridge.lowering import canonicalise, lower, model_outputs, stored_inputs
from mpc_bridge.lowering.program import Input
from mpc_bridge.testing import conformance
from mpc_bridge.testing.specimens import KINDS, specimen
from tests.test_importer_tflite_refusals import UNSUPPORTED

ROOT = Path(__file__).resolve().parent.parent
BACKENDS = {"plaintext": plaintext, "rep3": rep3, "rep3-mac": rep3_mac, "additive": additive}


def test_every_kind_has_a_specimen_of_its_kind() -> None:
    assert KINDS == set(BY_NAME)
    for kind in KINDS:
        assert specimen(kind).ops[-1].kind == kind
    with pytest.raises(KeyError):
        specimen("NOSUCH")


@pytest.mark.parametrize("name", BACKENDS)
def test_every_backend_computes_the_specimens_that_it_says_it_does(name: str) -> None:
    backend = BACKENDS[name]
    claimed = {row.kind.name: row.backends[name] for row in rows({}, {name: backend})}
    devices = [cpu_device() for _ in range(backend.parties()[0])]
    computed = 0
    for kind in sorted(KINDS):
        if claimed[kind] == NO:
            continue
        circuit = specimen(kind)
        rng = np.random.default_rng(3)
        inputs = [rng.integers(-128, 128, circuit.tensors[index].shape).astype(np.int8) for index in circuit.inputs]
        program = lower(circuit.public())
        stored = {**canonicalise(circuit, program), **stored_inputs(circuit, program, inputs)}
        tensors = {step.output: stored[step.source] for step in program.steps if isinstance(step, Input)}
        case = conformance.Case(kind, program, tensors)
        revealed = conformance.run(backend, case, devices)
        for ours, expected in zip(model_outputs(circuit, program, revealed), reference.evaluate(circuit, inputs),
                                  strict=True):
            np.testing.assert_array_equal(ours, expected, err_msg=kind)
        computed += 1
    assert computed > 40


def test_what_a_backend_refuses_is_no_claim() -> None:
    class Partial:
        def supports(self, step: object, program: object) -> str | None:
            return "not here" if type(step).__name__ == "Lookup" else None

    found = {row.kind.name: row.backends["partial"] for row in rows({}, {"partial": Partial()})}  # type: ignore[dict-item]
    assert found["TANH"] == NO and found["CONV_2D"] == YES and found["SOFTMAX"] == RECEIVER


def test_importers_say_what_they_emit() -> None:
    found = rows({"tflite": tflite, "onnx": onnx, "other": object()}, {})  # type: ignore[dict-item]
    by_kind = {row.kind.name: row.importers for row in found}
    assert list(by_kind) == [kind.name for kind in OPS]
    assert by_kind["RELU6"] == {"tflite": YES, "onnx": NO, "other": UNKNOWN}
    assert by_kind["RESCALE"] == {"tflite": NO, "onnx": YES, "other": UNKNOWN}
    for importer in (tflite, onnx, pytorch):
        assert isinstance(importer, DescribedImporter)
        assert importer.kinds <= set(BY_NAME) and importer.operators and importer.refusals
    # every kind is read by some importer
    assert tflite.kinds | onnx.kinds | pytorch.kinds == set(BY_NAME)


def test_the_neutral_graph_becomes_the_kinds_that_are_said_and_no_others() -> None:
    """The builder refuses kinds that are not said; every kind that is said is named where ops are made."""
    named = set()
    for path in (ROOT / "importers" / "qdq").glob("*.py"):
        if path.name != "graph.py":
            nodes = ast.walk(ast.parse(path.read_text()))
            named |= {node.value for node in nodes if isinstance(node, ast.Constant) and node.value in BY_NAME}
    assert named == EMITTED


def test_documents_are_what_make_readme_writes(installed: None) -> None:
    for path, text in documents(ROOT).items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is not up to date: make readme"


def test_marks_are_needed_and_what_stands_around_them_is_kept() -> None:
    assert renewed(f"a\n{BEGIN}old\n{END}b\n", "new\n") == f"a\n{BEGIN}new\n{END}b\n"
    for text in ("a\n", f"a\n{BEGIN}", f"{END}{BEGIN}"):
        with pytest.raises(ValueError, match="no marks"):
            renewed(text, "new\n")


def test_the_command_lists_importers_and_backends(tmp_path: Path, installed: None) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "mpc_bridge", "ops", *arguments], cwd=tmp_path,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)

    head, *lines = run().stdout.splitlines()
    columns = head.split()
    assert columns[0] == "op" and {"tflite", "pytorch", "onnx", "rep3", "rep3-mac"} <= set(columns)
    assert [line.split()[0] for line in lines] == [kind.name for kind in OPS]
    by_kind = {line.split()[0]: dict(zip(columns, line.split(), strict=False)) for line in lines}
    assert by_kind["RESCALE"]["tflite"] == "-" and by_kind["RESCALE"]["onnx"] == by_kind["RESCALE"]["rep3-mac"] == "yes"
    words = run("--importer", "pytorch").stdout
    assert "aten.conv2d.default" in words and "state_dict" in words
    refused = run("--importer", "nosuch")
    assert refused.returncode == 2 and "no importer called nosuch" in refused.stderr and "tflite" in refused.stderr


def test_a_plugin_that_does_not_describe_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    from mpc_bridge.cli.ops import ops
    from mpc_bridge.errors import UsageError

    monkeypatch.setattr(registry, "importers", lambda: registry.Plugins({"other": object()}, {"broken": "why"}))
    for name, words in (("other", "does not say"), ("broken", "no importer called broken")):
        with pytest.raises(UsageError, match=words):
            ops(name)


def test_refusals_are_the_importers_own_words() -> None:
    """What is listed as refused stands in the code that refuses, as the constant that the message is made of."""
    for folder, module in (("onnx", "refusals"), ("pytorch", "refusals")):
        tree = ast.parse((ROOT / "importers" / folder / f"{module}.py").read_text())
        used = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)]
        listed = {node.elts[0].id for node in ast.walk(tree)
                  if isinstance(node, ast.Tuple) and len(node.elts) == 2 and isinstance(node.elts[0], ast.Name)
                  and node.elts[0].id.isupper() and not node.elts[0].id.startswith("_")}
        assert len(listed) == len((onnx if folder == "onnx" else pytorch).refusals)
        assert all(used.count(name) >= 2 for name in listed)
    # and TensorFlow Lite's are what files of its refusal tests are told
    for words, _ in tflite.refusals:
        assert any(words in told for _, told in UNSUPPORTED.values()), words
