"""``mpc_bridge.load`` and ``mpc_bridge.evaluate``, and the report they lead to."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import mpc_bridge
from mpc_bridge.circuit.graph import Circuit
from mpc_bridge.circuit.reference import trace
from mpc_bridge.errors import InputError, UnsupportedCombinationError, UsageError
from mpc_bridge.evaluation import sample_axis

DEMO = Path(mpc_bridge.__file__).parent / "demo"
Array = npt.NDArray[np.generic]


@pytest.fixture(scope="module", autouse=True)
def installed() -> str:
    """Plugins are found by entry point, so the package has to be installed (``make test`` does)."""
    try:
        return version("mpc-bridge")
    except PackageNotFoundError:
        pytest.skip("mpc-bridge is not installed: pip install -e .")


@pytest.fixture(scope="module")
def circuit() -> Circuit:
    return mpc_bridge.load(DEMO / "digits.tflite")


@pytest.fixture(scope="module")
def images(circuit: Circuit) -> Array:
    with np.load(DEMO / "inputs.npz") as inputs:
        images: Array = inputs["in0"].reshape(-1, *circuit.tensors[circuit.inputs[0]].shape)
        return images


def test_version_is_the_packages(installed: str) -> None:
    assert mpc_bridge.__version__ == installed


def test_evaluate_reports_what_it_did(circuit: Circuit, images: Array) -> None:
    result = mpc_bridge.evaluate(circuit, images[:2], security="passive")
    assert result.matches_reference is True
    assert result.outputs[0].shape == (2, *circuit.tensors[circuit.outputs[0]].shape)
    report = json.loads(json.dumps(result.report()))
    assert report["schema"] == "mpc-bridge-report/1" and report["samples"] == 2
    assert report["model"]["sha256"] == circuit.sha256 and report["model"]["macs"] > report["model"]["activations"] > 0
    assert report["threat_model"]["adversary"] == "semi-honest" and report["threat_model"]["corruptions"] == 1
    assert list(report["phases"]) == ["setup", "preprocessing", "online", "verification"]
    parties = report["threat_model"]["parties"]
    for cost in (*report["phases"].values(), *report["layers"]):
        assert len(cost["bytes_sent"]) == parties and cost["rounds"] >= 0 and cost["seconds"] >= 0
    assert len(report["peak_memory_bytes"]) == parties
    online = [report["phases"][name] for name in ("preprocessing", "online", "verification")]
    for party in range(parties):
        assert sum(layer["bytes_sent"][party] for layer in report["layers"]) == sum(
            phase["bytes_sent"][party] for phase in online)
    assert sum(layer["rounds"] for layer in report["layers"]) == sum(phase["rounds"] for phase in online)
    assert sum(layer["activations"] for layer in report["layers"]) == report["model"]["activations"]


@pytest.mark.parametrize("options", [{"security": "malicious"}, {"majority": "dishonest", "preprocessing": "ot",
                                                                 "security": "semi-honest"}], ids=str)
def test_the_report_counts_rounds_and_work(circuit: Circuit, images: Array, options: dict[str, Any]) -> None:
    report = json.loads(json.dumps(mpc_bridge.evaluate(circuit, images[:2], **options).report()))
    spent = ["preprocessing", "online", "verification"]
    for name, phase in report["phases"].items():
        sizes = phase["round_bytes"]
        assert sizes == sorted(sizes) and sum(rounds for _, rounds in sizes) == phase["rounds"]
        # all that a party sends is in rounds, but for what goes to the launcher, and greetings in setup
        sent = sum(size * rounds for size, rounds in sizes)
        assert sent >= 0.98 * max(phase["bytes_sent"]) - 1000, name
        if name in ("preprocessing", "verification"):
            assert max(phase["bytes_sent"]) - 100 <= sent <= sum(phase["bytes_sent"])
    assert report["phases"]["online"]["ring_multiplications"] == 2 * report["model"]["macs"]
    for layer in report["layers"]:
        assert list(layer["phases"]) == spent
        assert sum(phase["rounds"] for phase in layer["phases"].values()) == layer["rounds"]
        by_party = zip(*(phase["bytes_sent"] for phase in layer["phases"].values()), strict=True)
        assert [sum(sent) for sent in by_party] == layer["bytes_sent"]
    for key in ("and_gates", "ring_multiplications"):
        assert sum(layer[key] for layer in report["layers"]) == report["phases"]["online"][key] > 0
    used: dict[str, int] = {}
    for layer in report["layers"]:
        for name, count in layer["correlations"].items():
            used[name] = used.get(name, 0) + count
    assert used == report["phases"]["online"]["correlations"]
    assert ("preprocessing" in options) == bool(used) == bool(report["phases"]["preprocessing"]["correlations"])


def test_argmax_reveals_the_index_alone(circuit: Circuit, images: Array) -> None:
    result = mpc_bridge.evaluate(circuit, images[:3], security="semi-honest", reveal="argmax")
    assert result.matches_reference is True
    assert result.outputs[0].dtype == np.int64
    tensor = result.program.tails[0].tensor
    expected = [trace(circuit, [image])[tensor].argmax() for image in images[:3]]
    assert result.outputs[0].reshape(-1).tolist() == expected


def test_plaintext_gives_no_guarantee(circuit: Circuit, images: Array) -> None:
    result = mpc_bridge.evaluate(circuit, images[:1], backend="plaintext")
    assert result.matches_reference is True and result.threat_model.guarantee == "none"
    with pytest.raises(UnsupportedCombinationError, match="does not give the asked guarantee"):
        mpc_bridge.evaluate(circuit, images[:1], backend="plaintext", security="semi-honest")


def test_no_check_says_so(circuit: Circuit, images: Array) -> None:
    assert mpc_bridge.evaluate(circuit, images[:1], backend="plaintext", check=False).matches_reference is None


@pytest.mark.parametrize("options", [{"security": "strong"}, {"majority": "most"}, {"reveal": "all"}, {"timeout": 0},
                                     {"timeout": float("nan")}, {"transport": "pigeon"}, {"backend": "nobody"}])
def test_words_that_mean_nothing(circuit: Circuit, images: Array, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        mpc_bridge.evaluate(circuit, images[:1], **options)


def test_a_public_circuit_cannot_be_evaluated(circuit: Circuit, images: Array) -> None:
    with pytest.raises(UsageError, match="holds no weights"):
        mpc_bridge.evaluate(circuit.public(), images[:1])


@pytest.mark.parametrize("shape, samples", [((4, 1, 28, 28, 1), 4), ((4, 28, 28, 1), 4), ((1, 28, 28, 1), 1)])
def test_sample_axis(circuit: Circuit, shape: tuple[int, ...], samples: int) -> None:
    array = np.arange(np.prod(shape)).astype(np.int8).reshape(shape)
    for given in (array, [array], (array,)):
        fitted, = sample_axis(circuit, given)
        assert fitted.shape == (samples, 1, 28, 28, 1) and (fitted.reshape(-1) == array.reshape(-1)).all()


@pytest.mark.parametrize("shape", [(28, 28, 1), (28, 28), (0, 28, 28, 1), (2, 2, 28, 28, 1), (2, 28, 28, 3), ()])
def test_shapes_that_do_not_fit(circuit: Circuit, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"\(S, 1, 28, 28, 1\)"):
        sample_axis(circuit, np.zeros(shape, np.int8))


def test_more_inputs_than_the_model_has(circuit: Circuit, images: Array) -> None:
    with pytest.raises(InputError, match="2 given"):
        sample_axis(circuit, [images, images])
