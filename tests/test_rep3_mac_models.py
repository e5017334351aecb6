"""rep3-mac on real models, three party processes: exact, within the promised bits, verified in bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mpc_bridge.backends.replicated.backend import Rep3Backend
from mpc_bridge.backends.replicated.malicious.backend import LEAST_SOUNDNESS, Rep3MacBackend
from mpc_bridge.backends.replicated.malicious.linear import soundness_error
from mpc_bridge.errors import UsageError
from mpc_bridge.importers.tflite import importer
from mpc_bridge.runtime.launcher import RunResult, evaluate_local
from mpc_bridge.testing.tap import Relay
from tests.conftest import vectors_root

Vector = Callable[[str], Path]

MODELS = (
    "ad01_int8",
    "kws_ref_model",
    "micro_speech_quantized",
    "mobilenet_v1_0_25_128_quant",
    "mobilenet_v1_0_5_160_quant",
    "mobilenet_v2_1_0_224_quant",
    "person_detect",
    "pretrainedResnet_quant",
)
RESNET = "pretrainedResnet_quant"
PHASES = ("preprocessing", "online", "verification")


def run(folder: Path, backend: Rep3MacBackend | Rep3Backend, **options: object) -> RunResult:
    circuit = importer.load((folder / "model.tflite").read_bytes(), folder.name, "litert")
    stored = np.load(folder / "inputs.npz")
    inputs = [stored[f"in{i}"][:1].reshape(1, *circuit.tensors[t].shape) for i, t in enumerate(circuit.inputs)]
    return evaluate_local(circuit, inputs, backend, parties=3, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", MODELS)
def test_models_are_exact(vector: Vector, name: str) -> None:
    folder = vector(name)
    result = run(folder, Rep3MacBackend())
    expected = np.load(folder / "expected.npz")
    for position, output in enumerate(result.outputs):
        wanted = expected[f"ref{position}"][:1]
        assert output.dtype == wanted.dtype
        np.testing.assert_array_equal(output.reshape(wanted.shape), wanted)
    for report in result.reports:
        assert report.soundness_bits is not None
        assert report.soundness_bits >= LEAST_SOUNDNESS
        # MobileNetV2 has 3 * 10^9 boolean gates: they pass through the same buffers as everybody's
        assert report.peak_memory_bytes <= 700 << 20


@pytest.fixture(scope="module")
def resnets() -> tuple[RunResult, RunResult, Relay]:
    folder = vectors_root() / RESNET
    if not folder.is_dir():
        pytest.skip(f"no model {RESNET}")
    with Relay() as relay:
        active = run(folder, Rep3MacBackend(), transport="tcp", tap=relay)
        relay.join()
    return run(folder, Rep3Backend()), active, relay


def sent(result: RunResult, party: int) -> int:
    return sum(result.reports[party].phases[phase].bytes_sent for phase in PHASES)


def test_bits_per_activation_on_the_sockets(resnets: tuple[RunResult, RunResult, Relay]) -> None:
    _, active, relay = resnets
    activations = sum(active.program.activations.values())
    for party in range(3):
        assert 8 * sent(active, party) <= 420 * activations
        reported = sum(cost.bytes_sent for cost in active.reports[party].phases.values())
        assert abs(reported - relay.sent_by(party)) <= 0.02 * relay.sent_by(party)
        setup = active.reports[party].phases["setup"].bytes_sent
        assert 8 * (relay.sent_by(party) - setup) <= 420 * activations


def test_active_costs_at_most_half_as_much_again_in_bytes(resnets: tuple[RunResult, RunResult, Relay]) -> None:
    passive, active, _ = resnets
    for party in range(3):
        assert sent(active, party) <= 1.5 * sent(passive, party)


@pytest.mark.parametrize("sigma", [0, 40, 50, 65])
def test_parameters_below_forty_bits_are_refused(sigma: int) -> None:
    with pytest.raises(UsageError, match="soundness"):
        Rep3MacBackend(sigma)


@pytest.mark.parametrize("sigma", [51, 52, 64])
def test_parameters_with_forty_bits_are_accepted(sigma: int) -> None:
    assert Rep3MacBackend(sigma).sigma == sigma
    assert soundness_error(sigma) <= 2.0**-LEAST_SOUNDNESS
