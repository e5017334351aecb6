"""Honest runs on slow links go through: nobody waits longer than a party's patience for whoever is at work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import mpc_bridge
from mpc_bridge.backends.base import Backend
from mpc_bridge.circuit.graph import Circuit
from mpc_bridge.circuit.reference import evaluate_samples
from mpc_bridge.importers.tflite import load
from mpc_bridge.runtime.launcher import RunResult, evaluate_local
from tests.slow_links import AdditiveInPieces, SlowRelay, Spdz2kInPieces

TIMEOUT = 5.0


@pytest.fixture(scope="module")
def digits() -> tuple[Circuit, np.ndarray]:
    """The demo and one sample."""
    demo = Path(mpc_bridge.__file__).parent / "demo"
    circuit = load(demo / "digits.tflite")
    with np.load(demo / "inputs.npz") as inputs:
        return circuit, inputs["in0"][:1].reshape(1, *circuit.tensors[circuit.inputs[0]].shape)


def run(digits: tuple[Circuit, np.ndarray], backend: Backend, parties: int, rate: float,
        timeout: float = TIMEOUT) -> RunResult:
    circuit, sample = digits
    with SlowRelay(rate) as relay:
        result = evaluate_local(circuit, [sample], backend, parties=parties, timeout=timeout, tap=relay)
    np.testing.assert_array_equal(result.outputs[0], evaluate_samples(circuit, [sample])[0])
    return result


def test_a_long_stream_of_corrections_keeps_nobody_waiting(digits: tuple[Circuit, np.ndarray]) -> None:
    """All of the dealer's megabyte before the input takes more than the timeout, each of its pieces a tenth of it."""
    result = run(digits, AdditiveInPieces(), 2, 1.5e5)
    assert result.reports[0].phases["preprocessing"].seconds > 1.2 * TIMEOUT


@pytest.mark.parametrize("parties", [2, 3])
def test_more_corrections_than_are_fetched_ahead(digits: tuple[Circuit, np.ndarray], parties: int) -> None:
    """Parties that get seals alone must not run ahead of the one that gets the corrections: it waits for them."""
    result = run(digits, Spdz2kInPieces(), parties, 1e9, timeout=20.0)
    assert result.helper is not None
    assert result.helper.phases["preprocessing"].bytes_sent > 2 * Spdz2kInPieces.ahead
    steps = {report.phases["preprocessing"].rounds for report in result.reports}
    assert len(steps) == 1 and steps.pop() > 5
