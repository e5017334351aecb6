"""rep3 on real models, three party processes: exact, within the promised bits and rounds, and nothing in the clear."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mpc_bridge.backends.replicated.backend import Rep3Backend
from mpc_bridge.circuit.graph import Circuit
from mpc_bridge.importers.tflite import importer
from mpc_bridge.lowering.program import Linear, Requantize
from mpc_bridge.runtime.launcher import RunResult, evaluate_local
from mpc_bridge.testing.tap import Relay

Vector = Callable[[str], Path]

SMALL = ("ad01_int8", "kws_ref_model", "micro_speech_quantized", "person_detect", "pretrainedResnet_quant")
LARGE = ("mobilenet_v1_0_25_128_quant", "mobilenet_v1_0_5_160_quant", "mobilenet_v2_1_0_224_quant")
RESNET = "pretrainedResnet_quant"


def load(folder: Path, profile: str = "litert") -> Circuit:
    return importer.load((folder / "model.tflite").read_bytes(), folder.name, profile)


def samples(folder: Path, circuit: Circuit, count: int | None) -> list[np.ndarray]:
    stored = np.load(folder / "inputs.npz")
    arrays = [stored[f"in{i}"][:count] for i in range(len(circuit.inputs))]
    return [a.reshape(len(a), *circuit.tensors[index].shape) for a, index in zip(arrays, circuit.inputs, strict=True)]


def run(folder: Path, count: int | None, profile: str = "litert", **options: object) -> RunResult:
    circuit = load(folder, profile)
    return evaluate_local(circuit, samples(folder, circuit, count), Rep3Backend(), parties=3, **options)  # type: ignore[arg-type]


def assert_exact(folder: Path, result: RunResult, variant: str) -> None:
    expected = np.load(folder / "expected.npz")
    for position, output in enumerate(result.outputs):
        wanted = expected[f"{variant}{position}"][: len(output)]
        assert output.dtype == wanted.dtype
        np.testing.assert_array_equal(output.reshape(wanted.shape), wanted)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize(("profile", "variant"), [("litert", "ref"), ("tflite", "tflite214_ref")])
def test_small_models_are_exact_on_every_sample(vector: Vector, name: str, profile: str, variant: str) -> None:
    folder = vector(name)
    assert_exact(folder, run(folder, None, profile), variant)


@pytest.mark.parametrize("name", LARGE)
def test_large_models_are_exact(vector: Vector, name: str) -> None:
    folder = vector(name)
    assert_exact(folder, run(folder, 1), "ref")


@pytest.fixture(scope="module")
def tapped() -> tuple[Path, RunResult, Relay]:
    from tests.conftest import vectors_root

    folder = vectors_root() / RESNET
    if not folder.is_dir():
        pytest.skip(f"no model {RESNET}")
    with Relay() as relay:
        result = run(folder, 1, transport="tcp", tap=relay)
        relay.join()
    return folder, result, relay


def test_bits_per_activation_on_the_sockets(tapped: tuple[Path, RunResult, Relay]) -> None:
    _, result, relay = tapped
    activations = sum(result.program.activations.values())
    for party in range(3):
        # everything the party put on its sockets, setup included
        assert 8 * relay.sent_by(party) <= 340 * activations
        reported = sum(cost.bytes_sent for cost in result.reports[party].phases.values())
        assert abs(reported - relay.sent_by(party)) <= 0.02 * relay.sent_by(party)


def test_bits_and_rounds_of_every_layer(tapped: tuple[Path, RunResult, Relay]) -> None:
    _, result, _ = tapped
    program = result.program
    linear = {step.layer for step in program.steps if isinstance(step, Linear)}
    checked = 0
    for step in program.steps:
        if not isinstance(step, Requantize):
            continue
        costs = [report.layers[step.layer] for report in result.reports]
        assert costs[0].rounds <= (18 if step.tie is None else 24)
        size = program.values[step.output].size
        if step.layer in linear and step.tie is None and size >= 1000:
            checked += 1
            assert 8 * sum(cost.bytes_sent for cost in costs) / 3 <= 300 * size
    assert checked >= 4


def windows(data: np.ndarray, length: int) -> list[bytes]:
    """Runs of the tensor's bytes that could not stand anywhere by chance."""
    raw = data.tobytes()
    found = [raw[i : i + length] for i in range(0, max(1, len(raw) - length), max(1, len(raw) // 50))]
    return [piece for piece in found if len(piece) == length and len(set(piece)) >= length // 2]


def test_no_party_receives_a_weight_or_the_input_in_the_clear(tapped: tuple[Path, RunResult, Relay]) -> None:
    folder, _, relay = tapped
    circuit = load(folder)
    (image,) = samples(folder, circuit, 1)
    tensors = [np.asarray(image), *(np.asarray(array) for array in circuit.constants.values())]
    # the same tensors in every form in which a program stores integers
    forms = [
        form
        for tensor in tensors
        for form in (tensor, tensor.astype(np.int64), tensor.astype(np.int32), tensor.astype(np.int16) + 128)
    ]
    forms += [(tensor.astype(np.int16) + 128).astype(np.uint8) for tensor in tensors if tensor.dtype.itemsize == 1]
    pieces = [piece for form in forms for piece in windows(form, 16)]
    assert len(pieces) > 500
    for party in range(3):
        received = relay.received_by(party)
        assert len(received) > 1_000_000
        assert not [piece for piece in pieces if piece in received]


def test_the_search_for_leaks_can_fail(vector: Vector) -> None:
    circuit = load(vector(RESNET))
    weights = max((np.asarray(array) for array in circuit.constants.values()), key=lambda array: array.size)
    assert any(piece in b"noise" + weights.tobytes() + b"noise" for piece in windows(weights, 16))
