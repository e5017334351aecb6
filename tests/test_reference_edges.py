"""What no framework can be asked: refusals, values that are undefined in C++, and running a part of a circuit."""

from __future__ import annotations

import numpy as np
import pytest

from mpc_bridge.circuit import reference
from mpc_bridge.circuit.graph import Circuit
from mpc_bridge.errors import CircuitError, InputError
from mpc_bridge.importers.tflite import load
from tests.models import oneop
from tests.models.oneop_parts import tensor
from tests.models.tflite_writer import TensorSpec, write

CASES = dict(oneop.cases())


def circuit(name: str) -> Circuit:
    return load(CASES[name], name=name)


def softmax(dtype: str, width: int) -> Circuit:
    low = {"int8": -128, "uint8": 0}[dtype]
    out = tensor((1, width), dtype, 1 / 256, low)
    return load(write("SOFTMAX", 1, [tensor((1, width), dtype, 0.1)], out, "SoftmaxOptions", {"Beta": 1.0}))


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_softmax_of_a_thousand_equal_inputs_is_zero_everywhere(dtype: str) -> None:
    """LiteRT aborts the whole process here (its output shift is above 31); 1/1001 rounds to 0 of 256."""
    model = softmax(dtype, 1001)
    x = np.full((1, 1001), 5, dtype)
    assert (reference.evaluate(model, [x])[0] == model.tensors[model.outputs[0]].quantization.zero_point[0]).all()
    x[0, 7] = 100
    out = reference.evaluate(model, [x])[0].astype(int) - model.tensors[model.outputs[0]].quantization.zero_point[0]
    assert out.argmax() == 7 and abs(out[0, 7] / 256 - np.exp(9.5) / (np.exp(9.5) + 1000)) < 1 / 256


def test_softmax_is_near_the_real_function() -> None:
    model = softmax("int8", 64)
    x = np.random.default_rng(3).integers(-128, 128, (1, 64)).astype(np.int8)
    real = np.exp(0.1 * x.astype(float))
    out = (reference.evaluate(model, [x])[0].astype(float) + 128) / 256
    np.testing.assert_allclose(out, real / real.sum(), atol=0.51 / 256)


def test_floats_beyond_the_integers_saturate_and_nan_is_refused() -> None:
    model = load(write("QUANTIZE", 1, [TensorSpec((6,), "float32")], tensor((6,), "int8", 1e-6, 3), "QuantizeOptions"))
    largest = np.finfo(np.float32).max
    x = np.array([np.inf, -np.inf, largest, -largest, 1e9, -0.0], np.float32)
    assert reference.evaluate(model, [x])[0].tolist() == [127, -128, 127, -128, 127, 3]
    x[2] = np.nan
    with pytest.raises(InputError, match="NaN"):
        reference.evaluate(model, [x])


@pytest.mark.parametrize("sign", [1, -1])
def test_an_accumulator_beyond_int32_saturates_and_does_not_wrap(sign: int) -> None:
    bias = TensorSpec((1,), "int32", (0.25,), (0,), data=np.array([sign * (2**31 - 1)], np.int32))
    weights = TensorSpec((1, 1), "int8", (0.5,), (0,), data=np.array([[sign * 127]], np.int8))
    content = write("FULLY_CONNECTED", 4, [tensor((1, 1), "int8", 0.5), weights, bias], tensor((1, 1), "int8", 0.25),
                    "FullyConnectedOptions")
    for profile in ("litert", "tflite"):
        out = reference.evaluate(load(content, profile), [np.array([[127]], np.int8)])[0]
        assert out.item() == (127 if sign > 0 else -128)


def test_the_receiver_needs_no_weights() -> None:
    model = circuit("SOFTMAX-int8-image")
    x = oneop.samples([((1, 3, 4, 12), "int8")])[0]
    values = reference.evaluate_ops(model.public(), [0], {model.inputs[0]: x[0]})
    assert list(values) == list(model.outputs)
    np.testing.assert_array_equal(values[model.outputs[0]], reference.evaluate(model, x)[0])


def test_a_public_circuit_names_what_is_missing() -> None:
    model = circuit("CONV_2D-int8-same").public()
    with pytest.raises(CircuitError, match="no value for") as error:
        reference.evaluate(model, [np.zeros((1, 7, 6, 3), np.int8)])
    assert "weights" in str(error.value)


@pytest.mark.parametrize("inputs", [
    [], [np.zeros((1, 7, 6, 3), np.uint8)], [np.zeros((7, 6, 3), np.int8)], [np.zeros((1, 7, 6, 3), np.int8)] * 2,
])
def test_inputs_that_do_not_fit_are_refused(inputs: list[np.ndarray]) -> None:
    with pytest.raises(InputError):
        reference.evaluate(circuit("CONV_2D-int8-same"), inputs)


def test_samples_are_stacked_and_must_agree() -> None:
    model = circuit("ADD-int8")
    first, second = (np.random.default_rng(i).integers(-128, 128, (3, 1, 8, 8, 8)).astype(np.int8) for i in (0, 1))
    (stacked,) = reference.evaluate_samples(model, [first, second])
    assert stacked.shape == (3, 1, 8, 8, 8)
    np.testing.assert_array_equal(stacked[2], reference.evaluate(model, [first[2], second[2]])[0])
    for pair in ([first, second[:2]], [first[:0], second[:0]]):
        with pytest.raises(InputError, match="samples"):
            reference.evaluate_samples(model, pair)
