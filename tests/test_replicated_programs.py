"""Which programs rep3 and rep3-mac take; products of computed values over several inferences and batches of checks."""

from __future__ import annotations

import numpy as np
import pytest

from mpc_bridge.backends.base import Backend
from mpc_bridge.backends.plaintext import backend as plaintext
from mpc_bridge.backends.replicated.backend import backend as rep3
from mpc_bridge.backends.replicated.malicious import protocol as replicated
from mpc_bridge.backends.replicated.malicious.backend import backend as rep3_mac
from mpc_bridge.backends.replicated.malicious.owner import Rep3MacOwner, component_size
from mpc_bridge.backends.replicated.malicious.protocol import SIGMA
from mpc_bridge.backends.replicated.owner import BITS_DOMAIN
from mpc_bridge.circuit import reference
from mpc_bridge.kernels import cpu_device
from mpc_bridge.kernels.prf import KEY_BYTES
from mpc_bridge.lowering import canonicalise, lower, model_outputs, stored_inputs
from mpc_bridge.lowering.program import Input, Program, Requantize, Value
from mpc_bridge.testing import conformance
from mpc_bridge.testing.adversary_programs import products
from tests.float_nets import FloatNet
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
        ("weight", -(2**62) - 5, 2**62 + 9),
        # weights and biases beyond their range are still weights and biases
        ("weight", -1000, 123_456_789),
        ("weight", -127, 127),
        ("weight", 0, 0),
    ],
)
def test_data_of_whole_bits_and_all_weights_are_taken(kind: str, low: int, high: int) -> None:
    assert rep3_mac.supports(*entering(kind, low, high)) is None


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [("activation", 0, 100), ("activation", 0, 15), ("activation", 0, 1000)],
)
def test_data_that_cannot_be_held_to_their_range_are_refused(kind: str, low: int, high: int) -> None:
    reason = rep3_mac.supports(*entering(kind, low, high))
    assert reason is not None and f"{low}..{high}" in reason


@pytest.mark.parametrize("backend", [rep3, rep3_mac], ids=lambda backend: backend.name)
@pytest.mark.parametrize(("shift", "bits"), [(0, 20), (11, 20)])
def test_requantise_without_room_to_saturate_is_refused(backend: Backend, shift: int, bits: int) -> None:
    step = Requantize(0, "r", (0,), 1, (1,), (0,), shift, bits)
    assert backend.supports(step, entering("weight", 0, 255)[1]) is not None


def prf(seed: bytes, size: int) -> bytes:
    return cpu_device().prf_fill(seed, BITS_DOMAIN, np.empty(size, np.uint8)).tobytes()


def test_every_value_of_a_wide_bias_has_bits() -> None:
    value = entering("weight", -(2**62) - 5, 2**62 + 9)[1].values[0]
    owner = Rep3MacOwner()
    tensor = np.array([value.low, 0, value.high])
    messages = owner.share(value, tensor)
    seeds = messages[0][:KEY_BYTES], messages[0][KEY_BYTES:]
    components = [prf(seed, component_size(value)) for seed in seeds] + [messages[1][KEY_BYTES:]]
    unsigned = np.bitwise_xor.reduce([np.frombuffer(component, "<u8") for component in components])
    np.testing.assert_array_equal(unsigned.view(np.int64) + value.low, tensor)
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
    if words > 1:
        # k + sigma bits per product and per element of a sum; as many per weight (24, and 4 inputs of a row) and for
        # the one that a shown sum is multiplied with
        sizes = {label: [len(m.buffers[0]) for m in found[0].inferences[0] if m.label == label]
                 for label in ("product", "MACs", "fresh components")}
        assert sizes == {
            "product": [24 * (28 + SIGMA) // 8, 24 * (44 + SIGMA) // 8],
            "MACs": [(24 + 4 + 1) * (44 + SIGMA) // 8],
            "fresh components": [24 * (44 + SIGMA) // 8],
        }


@pytest.mark.parametrize("backend", [rep3, rep3_mac], ids=lambda backend: backend.name)
def test_float_logits_of_a_residual_network_are_exact(backend: Backend) -> None:
    """Products at two scales that meet at product scale, biases with fractions, and logits shown as sums."""
    net = FloatNet("int8", 5)
    x = net.input((1, 4, 5, 3), dtype="uint8")
    y = net.linear_rescale(x, 6)
    z = net.linear_rescale(y, 6, kernel=1, extra=(y,))
    acc = net.convolved(z, 5, rule="none", kernel=1)
    multipliers = (tuple(int(m) for m in net.rng.integers(1, 2**20, 5)),)
    bias = net.rng.integers(-(2**40), 2**40, 5)
    circuit = net.circuit(net.floats("DEQUANTIZE", net.rescale(
        (acc,), multipliers, 0, bias=bias, output=net.sums((1, 4, 5, 5), 5))))
    program = lower(circuit)
    assert [backend.supports(step, program) for step in program.steps] == [None] * len(program.steps)
    inputs = net.sample(1)
    tensors = {**canonicalise(circuit, program), **stored_inputs(circuit, program, inputs)}
    entering = {step.output: tensors[step.source] for step in program.steps if isinstance(step, Input)}
    case = conformance.Case(circuit.name, program, entering)
    revealed = conformance.run(backend, case, [cpu_device() for _ in range(3)])
    expected = reference.evaluate(circuit, inputs)
    for output, wanted in zip(model_outputs(circuit, program, revealed), expected, strict=True):
        assert output.dtype == wanted.dtype == np.float32
        np.testing.assert_array_equal(output, wanted)
