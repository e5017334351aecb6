"""Which programs rep3 and rep3-mac take; products of computed values over several inferences and batches of checks."""

from __future__ import annotations

import numpy as np
import pytest

from mpc_bridge.backends.plaintext import backend as plaintext
from mpc_bridge.backends.replicated.backend import backend as rep3
from mpc_bridge.backends.replicated.malicious import protocol as replicated
from mpc_bridge.backends.replicated.malicious.backend import backend as rep3_mac
from mpc_bridge.backends.replicated.malicious.owner import Rep3MacOwner
from mpc_bridge.kernels import cpu_device
from mpc_bridge.lowering.program import Input, Program, Requantize, Value
from mpc_bridge.testing import conformance
from mpc_bridge.testing.adversary_programs import products
from tests.trios import Tensors, views


def entering(kind: str, low: int, high: int) -> tuple[Input, Program]:
    value = Value("v", (3,), kind, 0, high, 64, low=low)  # type: ignore[arg-type]
    step = Input(-1, "input", (), 0, "model", 0)
    return step, Program("one input", (value,), (step,), (), {}, 0)


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [
        ("activation", 0, 255),
        ("weight", -128, 127),
        ("weight", -(2**31), 2**31 - 1),
        ("weight", -(2**62), 2**62 - 1),
        # a bias beyond its range is still a bias
        ("weight", -1000, 123_456_789),
    ],
)
def test_inputs_of_whole_bits_and_all_biases_are_taken(kind: str, low: int, high: int) -> None:
    assert rep3_mac.supports(*entering(kind, low, high)) is None


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [("activation", 0, 100), ("weight", -8, 7), ("weight", -127, 127), ("activation", 0, 1000),
     ("weight", -(2**63), 2**63 - 1)],
)
def test_inputs_that_cannot_be_held_to_their_range_are_refused(kind: str, low: int, high: int) -> None:
    reason = rep3_mac.supports(*entering(kind, low, high))
    assert reason is not None and f"{low}..{high}" in reason


@pytest.mark.parametrize("backend", [rep3, rep3_mac], ids=lambda backend: backend.name)
@pytest.mark.parametrize(("shift", "bits"), [(0, 20), (11, 20)])
def test_requantise_without_room_to_saturate_is_refused(backend: object, shift: int, bits: int) -> None:
    step = Requantize(0, "r", (0,), 1, (1,), (0,), shift, bits)
    assert backend.supports(step, entering("weight", 0, 255)[1]) is not None  # type: ignore[attr-defined]


def test_every_value_of_a_wide_bias_has_bits() -> None:
    value = entering("weight", -(2**62), 2**62 - 1)[1].values[0]
    owner = Rep3MacOwner()
    owner.share(value, np.array([value.low, 0, value.high]))
    for outside in (value.low - 1, value.high + 1):
        with pytest.raises(ValueError, match="outside"):
            owner.share(value, np.array([0, outside, 0]))


@pytest.mark.parametrize("words", [1, 1 << 23], ids=["a check per product", "one check"])
def test_computed_weights_are_those_of_each_inference(words: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replicated, "BATCH_WORDS", words)
    case = products()
    program, rng = case.program, np.random.default_rng(3)
    owners = {step.output: step.owner for step in program.steps if isinstance(step, Input)}
    weights = {value: case.inputs[value] for value, owner in owners.items() if owner == "model"}
    data = [value for value, owner in owners.items() if owner == "data"]
    inputs: list[Tensors] = [
        {value: rng.integers(0, 256, program.values[value].shape) for value in data} for _ in range(3)
    ]
    found, outputs = views(rep3_mac, program, inputs, weights)
    for tensors, output in zip(inputs, outputs, strict=True):
        wanted = conformance.run(plaintext, conformance.Case("", program, {**weights, **tensors}), [cpu_device()])
        np.testing.assert_array_equal(output[0], wanted[0])
    # the last check also has the sum that is shown
    checks = [sum(message.label == "check value" for message in part) for part in found[0].inferences]
    assert checks == [3 if words == 1 else 1] * 3
