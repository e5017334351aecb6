"""The TensorFlow Lite importer op by op: attributes and float arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tflite

from mpc_bridge.circuit import reference
from mpc_bridge.errors import ModelFormatError
from mpc_bridge.importers.tflite import load
from mpc_bridge.importers.tflite.scales import activation_bounds
from tests.models.tflite_writer import TensorSpec, write
from tests.tflite_specs import activation, attributes, convolution, public, sliced, squeezed, weights


@pytest.mark.parametrize(
    "extent, kernel, stride, dilation, padding",
    [
        (5, 3, 1, 1, (1, 1)),
        (5, 3, 2, 1, (1, 1)),
        (6, 3, 2, 1, (0, 1)),
        (6, 2, 1, 1, (0, 1)),
        (7, 1, 3, 1, (0, 0)),
        (9, 3, 1, 2, (2, 2)),
        (49, 10, 2, 1, (4, 5)),
        (4, 2, 3, 1, (0, 1)),
    ],
)
def test_same_padding_is_explicit(
    extent: int, kernel: int, stride: int, dilation: int, padding: tuple[int, int]
) -> None:
    out = -(-extent // stride)
    data = convolution(
        activation(1, extent, extent, 2),
        weights(3, kernel, kernel, 2),
        activation(1, out, out, 3),
        StrideH=stride,
        StrideW=stride,
        DilationHFactor=dilation,
        DilationWFactor=dilation,
    )
    found = attributes(data)
    assert found["padding"] == (padding, padding)
    assert found["stride"] == (stride, stride) and found["dilation"] == (dilation, dilation)


def test_valid_padding_is_none() -> None:
    data = convolution(
        activation(1, 7, 6, 2), weights(3, 3, 2, 2), activation(1, 3, 5, 3), StrideH=2, Padding=tflite.Padding.VALID
    )
    assert attributes(data)["padding"] == ((0, 0), (0, 0))


@pytest.mark.parametrize(
    "activation_name, dtype, scale, zero, bounds",
    [
        ("NONE", "int8", 0.1, 3, (-128, 127)),
        ("RELU", "int8", 0.1, 3, (3, 127)),
        ("RELU6", "int8", 0.1, 3, (3, 63)),
        ("RELU6", "int8", 0.1, 100, (100, 127)),
        ("RELU6", "uint8", 0.0235294122248888, 0, (0, 255)),
        ("RELU_N1_TO_1", "int8", 0.1, 3, (-7, 13)),
        # float32(6 / 4) = 1.5 and float32(-1 / 2) = -0.5 are ties: away from zero
        ("RELU6", "int8", 4.0, 0, (0, 2)),
        ("RELU_N1_TO_1", "int8", 2.0, 0, (-1, 1)),
        # 6 / 0.8000001 is below 7.5 in double, and exactly 7.5 in float32
        ("RELU6", "int8", float(np.nextafter(np.float32(0.8), np.float32(1))), 0, (0, 7)),
    ],
)
def test_activation_bounds(activation_name: str, dtype: str, scale: float, zero: int, bounds: tuple[int, int]) -> None:
    scale = float(np.float32(scale))
    assert activation_bounds(activation_name, dtype, scale, zero) == bounds
    number = getattr(tflite.ActivationFunctionType, activation_name)
    data = convolution(
        activation(1, 3, 3, 1, dtype=dtype),
        weights(1, 1, 1, 1, dtype=dtype),
        activation(1, 3, 3, 1, dtype=dtype, scale=scale, zero=zero),
        FusedActivationFunction=number,
    )
    assert attributes(data)["requantization"][2:] == bounds


def test_activation_bounds_that_overflow_are_none() -> None:
    assert activation_bounds("RELU6", "int8", 1e-10, 0) is None
    assert activation_bounds("RELU6", "int8", 1e-45, 0) is None


def test_fully_connected_scales_in_both_profiles() -> None:
    s_x, s_w = (float(np.float32(scale)) for scale in (0.7, 0.9))
    data = write(
        "FULLY_CONNECTED",
        4,
        [activation(2, 3, scale=s_x), weights(4, 3, scale=(s_w,)), None],
        activation(2, 4, scale=3.0),
        "FullyConnectedOptions",
        {},
    )
    exact, rounded = s_x * s_w / 3.0, float(np.float32(s_x) * np.float32(s_w)) / 3.0
    assert exact != rounded
    assert attributes(data)["requantization"] == ("float64_half_away", (exact,), -128, 127)
    assert attributes(data, "tflite")["requantization"] == ("mbqm", (rounded,), -128, 127)
    assert attributes(data)["keep_num_dims"] is False


def test_fully_connected_per_channel() -> None:
    scales = tuple(float(np.float32(scale)) for scale in (0.1, 0.2, 0.7))
    data = write(
        "FULLY_CONNECTED",
        4,
        [activation(1, 5, 2, scale=0.3), weights(3, 2, scale=scales), None],
        activation(1, 5, 3, scale=0.9),
        "FullyConnectedOptions",
        {"KeepNumDims": True},
    )
    expected = tuple(float(np.float32(0.3)) * scale / float(np.float32(0.9)) for scale in scales)
    for profile in ("litert", "tflite"):
        assert attributes(data, profile)["requantization"][1] == expected
        assert attributes(data, profile)["keep_num_dims"] is True


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_litert_multiplies_the_accumulator_by_one_double(dtype: str) -> None:
    """49 * double(1 / 98) is below a half, 49 * 1 * 1 / 98 is a half: LiteRT forms the multiplier first."""
    litert = pytest.importorskip("ai_edge_litert.interpreter", reason="ai-edge-litert is not installed")
    assert 49 * (1 / 98) < 0.5 == 49 * 1.0 * 1.0 / 98
    kernel = TensorSpec((1, 1), dtype, (1.0,), (0,), data=np.array([[49]], dtype))
    data = write(
        "FULLY_CONNECTED",
        4,
        [activation(1, 1, dtype=dtype, scale=1.0), kernel, None],
        activation(1, 1, dtype=dtype, scale=98.0),
        "FullyConnectedOptions",
        {},
    )
    interpreter = litert.Interpreter(
        model_content=data, experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    x = np.array([[1]], dtype)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    expected = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    assert expected.tolist() == [[0]]
    assert reference.evaluate(load(data), [x])[0].tolist() == [[0]]


def test_add_multipliers() -> None:
    data = write(
        "ADD",
        2,
        [activation(1, 4, scale=0.3), activation(4, scale=0.7)],
        activation(1, 4, scale=0.5),
        "AddOptions",
        {"FusedActivationFunction": tflite.ActivationFunctionType.RELU},
    )
    s1, s2 = float(np.float32(0.3)), float(np.float32(0.7))
    found = attributes(data)
    assert found["input_multipliers"] == (s1 / (2 * s2), 0.5)
    assert found["requantization"] == ("mbqm", (2 * s2 / (2**20 * 0.5),), 0, 127)
    assert found["left_shift"] == 20


def test_add_of_a_constant_keeps_it_secret() -> None:
    circuit = load(write("ADD", 2, [activation(1, 4), weights(4)], activation(1, 4), "AddOptions", {}))
    assert circuit.ops[0].inputs[1] in circuit.constant_tensors


def test_relu_divides_in_float32() -> None:
    s_in, s_out = (float(np.float32(scale)) for scale in (0.1, 0.3))
    data = write("RELU6", 1, [activation(1, 4, scale=s_in)], activation(1, 4, scale=s_out, zero=-10))
    quotient = float(np.float32(s_in) / np.float32(s_out))
    assert quotient != s_in / s_out
    assert attributes(data)["requantization"] == ("mbqm", (quotient,), -10, 10)


@pytest.mark.parametrize(
    "axes, keep, shape, expected",
    [
        ([1, 2], True, (1, 1, 1, 3), (1, 2)),
        ([-2, 1, 1], False, (1, 3), (1, 2)),
        (3, False, (1, 4, 4), (3,)),
    ],
)
def test_mean_axes(axes: Any, keep: bool, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    data = write(
        "MEAN",
        2,
        [activation(1, 4, 4, 3), public(axes)],
        activation(*shape, scale=0.25),
        "ReducerOptions",
        {"KeepDims": keep},
    )
    found = attributes(data)
    assert (found["axes"], found["keep_dims"]) == (expected, keep)
    assert found["requantization"] == ("mbqm", (2.0,), -128, 127)


def test_pad_and_its_public_constant_leave_no_tensor() -> None:
    circuit = load(write("PAD", 1, [activation(1, 4), public([[0, 0], [1, 2]], "int32")], activation(1, 7)))
    assert circuit.ops[0].attributes == {"paddings": ((0, 0), (1, 2))}
    assert (len(circuit.tensors), circuit.constants, len(circuit.ops[0].inputs)) == (2, {}, 1)


def test_concatenation_axis_and_quantize() -> None:
    inputs = [activation(1, 2, dtype="uint8"), activation(1, 3, dtype="uint8", scale=0.25, zero=7)]
    found = attributes(
        write("CONCATENATION", 1, inputs, activation(1, 5, dtype="uint8"), "ConcatenationOptions", {"Axis": -1})
    )
    assert found == {"axis": 1}
    found = attributes(write("QUANTIZE", 1, [activation(4, dtype="uint8", scale=0.3)], activation(4, scale=0.7)))
    assert found["requantization"] == ("mbqm", (float(np.float32(0.3)) / float(np.float32(0.7)),), -128, 127)
    found = attributes(write("QUANTIZE", 1, [TensorSpec((4,), "float32")], activation(4, scale=0.7)))
    assert found["requantization"] == ("float32_divide", (float(np.float32(0.7)),), -128, 127)


def test_strided_slice_is_resolved() -> None:
    found = attributes(sliced([1, -1], [0, 0], [1, -2], activation(3), EndMask=2, ShrinkAxisMask=1))
    assert found == {"begin": (1, 4), "size": (1, 3), "strides": (1, -2), "dropped": (0,)}


def test_an_operator_with_several_outputs_becomes_several_ops() -> None:
    outputs = [activation(1, 3), activation(4, 3), activation(2, 3)]
    circuit = load(write("SPLIT_V", 1, [activation(7, 3), public([1, 4, -1]), public(0)], outputs, "SplitVOptions",
                         {"NumSplits": 3}))
    assert [(op.attributes["start"], op.attributes["extent"]) for op in circuit.ops] == [(0, 1), (1, 4), (5, 2)]
    assert circuit.outputs == tuple(op.outputs[0] for op in circuit.ops)


def test_squeeze_names_its_axes() -> None:
    for named, out in (([], (3,)), ([0], (3, 1)), ([-1, -1], (1, 3))):
        assert load(squeezed(named, out)).tensors[1].shape == out
    with pytest.raises(ModelFormatError, match="its output has the shape"):
        load(squeezed([0], (3,)))
