"""The TensorFlow Lite importer op by op: attributes, float arithmetic, and everything it refuses."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tflite

from mpc_bridge.circuit import reference
from mpc_bridge.errors import ModelFormatError, UnsupportedModelError
from mpc_bridge.importers.tflite import load
from mpc_bridge.importers.tflite.scales import activation_bounds
from tests.models.tflite_writer import TensorSpec, write

Attributes = Mapping[str, Any]
INT32 = np.int32


def activation(*shape: int, dtype: str = "int8", scale: float = 0.5, zero: int = 0) -> TensorSpec:
    return TensorSpec(shape, dtype, (scale,), (zero,))


def weights(
    *shape: int, dtype: str = "int8", scale: Sequence[float] = (0.25,), zero: int = 0, axis: int = 0
) -> TensorSpec:
    data = np.ones(shape, dtype)
    return TensorSpec(shape, dtype, tuple(scale), (zero,) * len(scale), axis, data)


def public(values: npt.ArrayLike, dtype: str = "int32") -> TensorSpec:
    data = np.array(values, dtype)
    return TensorSpec(data.shape, dtype, data=data)


def attributes(data: bytes, profile: str = "litert") -> Attributes:
    (op,) = load(data, profile).ops
    return op.attributes


def convolution(x: TensorSpec, kernel: TensorSpec, output: TensorSpec, **fields: int) -> bytes:
    fields = {
        "StrideH": 1,
        "StrideW": 1,
        "DilationHFactor": 1,
        "DilationWFactor": 1,
        "Padding": tflite.Padding.SAME,
    } | fields
    return write("CONV_2D", 3, [x, kernel, None], output, "Conv2DOptions", fields)


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


def sliced(begin: Sequence[int], end: Sequence[int], strides: Sequence[int], out: TensorSpec, **fields: int) -> bytes:
    inputs = [activation(4, 5), public(begin), public(end), public(strides)]
    return write("STRIDED_SLICE", 1, inputs, out, "StridedSliceOptions", fields)


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


def squeezed(axes: Sequence[int], out: tuple[int, ...]) -> bytes:
    """A SQUEEZE of shape [1, 3, 1]."""
    return write("SQUEEZE", 1, [activation(1, 3, 1)], activation(*out), "SqueezeOptions", {"SqueezeDims": axes})


FC = "FullyConnectedOptions"
UNSUPPORTED: dict[str, tuple[bytes, str]] = {
    "unknown op": (write("ABS", 1, [activation(4)], activation(4)), "  ABS (1 times, first at operator 0 'tensor1')"),
    "float": (write("RELU", 1, [TensorSpec((4,), "float32")], TensorSpec((4,), "float32")), "RELU: float32 tensors"),
    "no scale": (write("RELU", 1, [TensorSpec((4,), "int8")], activation(4)), "int8 tensors without a scale"),
    "mixture": (write("RELU", 1, [activation(4)], activation(4, dtype="uint8")), "a mixture of int8 and uint8"),
    "fused": (
        convolution(
            activation(1, 3, 3, 1),
            weights(1, 1, 1, 1),
            activation(1, 3, 3, 1),
            FusedActivationFunction=tflite.ActivationFunctionType.TANH,
        ),
        "the fused activation TANH",
    ),
    "grouped": (
        convolution(activation(1, 3, 3, 4), weights(4, 1, 1, 2), activation(1, 3, 3, 4)),
        "grouped convolution",
    ),
    "int8 weight zero point": (
        convolution(activation(1, 3, 3, 1), weights(1, 1, 1, 1, zero=1), activation(1, 3, 3, 1)),
        "int8 weights with a zero point",
    ),
    "uint8 per channel": (
        convolution(
            activation(1, 3, 3, 1, dtype="uint8"),
            weights(2, 1, 1, 1, dtype="uint8", scale=(0.5, 0.25)),
            activation(1, 3, 3, 2, dtype="uint8"),
        ),
        "uint8 weights quantized per channel",
    ),
    "hybrid": (
        write(
            "FULLY_CONNECTED",
            4,
            [TensorSpec((1, 3), "float32"), weights(2, 3), None],
            TensorSpec((1, 2), "float32"),
            FC,
            {},
        ),
        "FULLY_CONNECTED: float32 tensors",
    ),
    "shuffled": (
        write(
            "FULLY_CONNECTED", 4, [activation(1, 3), weights(2, 3), None], activation(1, 2), FC, {"WeightsFormat": 1}
        ),
        "shuffled weights",
    ),
    "weights computed": (
        write("FULLY_CONNECTED", 4, [activation(1, 3), activation(2, 3), None], activation(1, 2), FC, {}),
        "weights that are not constant",
    ),
    "float bias": (
        write(
            "FULLY_CONNECTED", 4, [activation(1, 3), weights(2, 3), public([1, 2], "float32")], activation(1, 2), FC, {}
        ),
        "a bias of type float32",
    ),
    "per-channel activation": (
        write("RELU", 1, [TensorSpec((2,), "int8", (0.5, 0.25), (0, 0))], activation(2)),
        "activations quantized per channel",
    ),
    "shape computed": (
        write("RESHAPE", 1, [activation(4), TensorSpec((2,), "int32")], activation(2, 2)),
        "a shape, axis or padding that is computed when the model runs",
    ),
    "concatenated scales": (
        write(
            "CONCATENATION",
            1,
            [activation(2), activation(2, scale=0.25)],
            activation(4),
            "ConcatenationOptions",
            {"Axis": 0},
        ),
        "int8 inputs quantized differently",
    ),
    "constant activation": (write("RELU", 1, [weights(4)], activation(4)), "a constant in place of an activation"),
    "add scales": (
        write("ADD", 2, [activation(4, scale=1.0), activation(4)], activation(4, scale=1e-7), "AddOptions", {}),
        "scales whose ratio is outside (0, 1)",
    ),
    "alpha": (
        write("LEAKY_RELU", 2, [activation(4)], activation(4), "LeakyReluOptions", {"Alpha": -0.5}),
        "LEAKY_RELU: alpha -0.5",
    ),
    "coarse hard swish": (
        write("HARD_SWISH", 1, [activation(4, scale=200.0)], activation(4)),
        "scales that its 16-bit fixed point does not hold",
    ),
    "tiny tanh": (write("TANH", 1, [activation(4)], activation(4, scale=1e-39)), "an output scale of 1.0"),
    "reduced scales": (
        write("REDUCE_MIN", 2, [activation(4, 2), public([1])], activation(4, scale=0.25), "ReducerOptions", {}),
        "quantized differently from the output",
    ),
    "new axis": (sliced([0, 0], [1, 1], [1, 1], activation(1, 1), NewAxisMask=1), "an ellipsis or a new axis"),
    "slice offset": (sliced([0, 0], [1, 1], [1, 1], activation(1, 1), Offset=True), "counted from the begin"),
    "packed scales": (
        write("PACK", 1, [activation(2), activation(2, scale=0.25)], activation(2, 2), "PackOptions",
              {"ValuesCount": 2}),
        "quantized differently from the output",
    ),
    "too many packed": (
        write("PACK", 1, [activation(2) for _ in range(65)], activation(65, 2), "PackOptions", {"ValuesCount": 65}),
        "more than 64 inputs",
    ),
    "huge multiplier": (
        write("RELU", 1, [activation(4, scale=1e30)], activation(4, scale=1e-9)),
        "scales whose ratio is outside",
    ),
}


@pytest.mark.parametrize("case", UNSUPPORTED)
def test_unsupported(case: str) -> None:
    data, reason = UNSUPPORTED[case]
    with pytest.raises(UnsupportedModelError) as caught:
        load(data, name="mine")
    assert caught.value.exit_code == 3
    assert caught.value.where.startswith("mine\n") and reason in caught.value.where


POOL = {"StrideH": 1, "StrideW": 1, "FilterHeight": 2, "FilterWidth": 2, "Padding": tflite.Padding.VALID}
CORRUPT: dict[str, tuple[bytes, str]] = {
    "output shape": (
        convolution(activation(1, 3, 3, 1), weights(1, 1, 1, 1), activation(1, 3, 4, 1)),
        "declared with shape",
    ),
    "channels": (convolution(activation(1, 3, 3, 4), weights(4, 1, 1, 3), activation(1, 3, 3, 4)), "weights of shape"),
    "stride": (convolution(activation(1, 3, 3, 1), weights(1, 1, 1, 1), activation(1, 3, 3, 1), StrideH=0), "stride"),
    "padding": (convolution(activation(1, 3, 3, 1), weights(1, 1, 1, 1), activation(1, 3, 3, 1), Padding=2), "padding"),
    "options": (
        write("CONV_2D", 3, [activation(1, 3, 3, 1), weights(1, 1, 1, 1), None], activation(1, 3, 3, 1)),
        "its options are not Conv2DOptions",
    ),
    "other options": (
        write(
            "CONV_2D",
            3,
            [activation(1, 3, 3, 1), weights(1, 1, 1, 1), None],
            activation(1, 3, 3, 1),
            "Pool2DOptions",
            POOL,
        ),
        "its options are not Conv2DOptions",
    ),
    "inputs": (write("RELU", 1, [activation(4), activation(4)], activation(4)), "it has 2 inputs"),
    "missing input": (write("ADD", 1, [activation(4), None], activation(4), "AddOptions", {}), "input 1 is missing"),
    "bias shape": (
        write("FULLY_CONNECTED", 4, [activation(1, 3), weights(2, 3), public([1, 2, 3])], activation(1, 2), FC, {}),
        "bias has the shape (3,)",
    ),
    "weight bytes": (
        write(
            "FULLY_CONNECTED",
            4,
            [activation(1, 3), TensorSpec((2, 3), "int8", (0.5,), (0,), data=np.ones(5, np.int8)), None],
            activation(1, 2),
            FC,
            {},
        ),
        "needs 6 bytes of data and has 5",
    ),
    "scale": (write("RELU", 1, [activation(4, scale=0.0)], activation(4)), "not a positive number"),
    "scale nan": (write("RELU", 1, [activation(4, scale=float("nan"))], activation(4)), "not a positive number"),
    "zero point": (write("RELU", 1, [activation(4, zero=200)], activation(4)), "zero point outside int8"),
    "window": (
        write("MAX_POOL_2D", 1, [activation(1, 1, 1, 1)], activation(1, 1, 1, 1), "Pool2DOptions", POOL),
        "a window of 2 cells does not fit into 1",
    ),
    "reshape": (write("RESHAPE", 1, [activation(4), public([2, 2])], activation(4, 1)), "target shape (2, 2)"),
    "reshape elements": (write("RESHAPE", 1, [activation(4), public([5])], activation(5)), "number of elements"),
    "axes": (write("MEAN", 1, [activation(1, 4), public([2])], activation(1), "ReducerOptions", {}), "axes [2]"),
    "paddings": (write("PAD", 1, [activation(1, 4), public([[0, 0], [-1, 0]])], activation(1, 3)), "paddings"),
    "softmax output": (
        write("SOFTMAX", 1, [activation(1, 4)], activation(1, 4), "SoftmaxOptions", {"Beta": 1.0}),
        "1/256",
    ),
    "beta": (
        write(
            "SOFTMAX",
            1,
            [activation(1, 4)],
            activation(1, 4, scale=1 / 256, zero=-128),
            "SoftmaxOptions",
            {"Beta": -1.0},
        ),
        "beta is -1.0",
    ),
    "transposed output": (
        write("TRANSPOSE_CONV", 3, [public([1, 4, 4, 1]), weights(1, 2, 2, 1), activation(1, 2, 2, 1)],
              activation(1, 4, 5, 1), "TransposeConvOptions", {"StrideH": 2, "StrideW": 2}),
        "its output's shape is not (1, 4, 5, 1)",
    ),
    "transposed channels": (
        write("TRANSPOSE_CONV", 3, [public([1, 4, 4, 1]), weights(1, 2, 2, 3), activation(1, 2, 2, 1)],
              activation(1, 4, 4, 1), "TransposeConvOptions", {"StrideH": 2, "StrideW": 2}),
        "weights of shape (1, 2, 2, 3)",
    ),
    "mirror mode": (
        write("MIRROR_PAD", 1, [activation(4), public([[1, 1]])], activation(6), "MirrorPadOptions", {"Mode": 2}),
        "it has mirror mode 2",
    ),
    "mirror paddings": (
        write("MIRROR_PAD", 1, [activation(4), public([[1, 4]])], activation(9), "MirrorPadOptions", {"Mode": 0}),
        "a mirror of 4 cells does not show 4",
    ),
    "no blocks": (
        write("DEPTH_TO_SPACE", 1, [activation(1, 1, 1, 4)], activation(1, 1, 1, 4), "DepthToSpaceOptions", {}),
        "it has blocks of 0",
    ),
    "arg max output": (
        write("ARG_MAX", 2, [activation(2, 3), public([1])], activation(2), "ArgMaxOptions", {}),
        "its output has the type int8",
    ),
    "arg max axes": (
        write("ARG_MAX", 2, [activation(2, 3), public([0, 1])], TensorSpec((2,), "int32"), "ArgMaxOptions", {}),
        "it has 2 axes",
    ),
    "logistic output": (write("LOGISTIC", 1, [activation(4)], activation(4)), "1/256"),
    "permutation": (write("TRANSPOSE", 1, [activation(2, 3), public([0, 0])], activation(2, 2)), "the permutation"),
    "permuted axes": (write("TRANSPOSE", 1, [activation(2, 3), public([0])], activation(2)), "1 entries for 2 axes"),
    "box": (write("SLICE", 1, [activation(4), public([3]), public([2])], activation(2)), "a box of shape (2,) at (3,)"),
    "stride 0": (sliced([0, 0], [1, 1], [0, 1], activation(1, 1)), "a stride of 0 along axis 0"),
    "empty slice": (sliced([2, 0], [2, 1], [1, 1], activation(1, 1)), "nothing is left along axis 0"),
    "position outside": (sliced([4, 0], [9, 1], [1, 1], activation(1), ShrinkAxisMask=1), "nothing is left along"),
    "sliced axes": (sliced([0] * 3, [1] * 3, [1] * 3, activation(1)), "it slices 3 axes"),
    "slice entries": (sliced([0, 0], [1], [1, 1], activation(1)), "input 2 has 1 entries for 2 axes"),
    "split outputs": (
        write("SPLIT", 1, [public(0), activation(4)], activation(2), "SplitOptions", {"NumSplits": 2}),
        "it has 1 outputs",
    ),
    "split evenly": (
        write("SPLIT", 1, [public(0), activation(5)], [activation(2), activation(3)], "SplitOptions", {"NumSplits": 2}),
        "2 equal parts along axis 0",
    ),
    "split sizes": (
        write("SPLIT_V", 1, [activation(5), public([2, 2]), public(0)], [activation(2), activation(2)], "SplitVOptions",
              {"NumSplits": 2}),
        "parts (2, 2) along axis 0",
    ),
    "unpack some": (
        write("UNPACK", 1, [activation(3, 2)], [activation(2)] * 1, "UnpackOptions", {"Num": 1}),
        "parts (1,) along axis 0",
    ),
    "multiples": (write("TILE", 1, [activation(2), public([0])], activation(2)), "multiples (0,)"),
    "expanded axis": (write("EXPAND_DIMS", 1, [activation(2), public(2)], activation(2, 1)), "axis 2 of 2"),
    "resized": (
        write("RESIZE_NEAREST_NEIGHBOR", 1, [activation(1, 2, 2, 1), public([4, 4])], activation(1, 4, 5, 1),
              "ResizeNearestNeighborOptions", {}),
        "its output has the shape (1, 4, 4, 1)",
    ),
    "elements": (write("RELU", 1, [activation(2**20, 2**20)], activation(2**20, 2**20)), "more than"),
    "empty": (write("RELU", 1, [activation(0, 4)], activation(0, 4)), "at least 1"),
    "empty and huge": (write("RELU", 1, [activation(0, 2**30, 2**30, 2**30)], activation(4)), "more than"),
    "negative": (write("RELU", 1, [activation(-1, 4)], activation(-1, 4)), "has the shape (-1, 4)"),
    "scales": (
        convolution(activation(1, 3, 3, 1), weights(3, 1, 1, 1, scale=(0.5, 0.25)), activation(1, 3, 3, 3)),
        "2 scales along axis 0",
    ),
}


@pytest.mark.parametrize("case", CORRUPT)
def test_corrupt(case: str) -> None:
    data, what = CORRUPT[case]
    with pytest.raises(ModelFormatError) as caught:
        load(data, name="mine")
    assert what in caught.value.what
    assert caught.value.where.startswith("mine") and caught.value.hint


def _patch(data: bytes, table: Any, slot: int, value: int, letter: str) -> bytes:
    """The file with one present field changed."""
    offset = table._tab.Offset(4 + 2 * slot)
    assert offset, "the field is absent"
    changed = bytearray(data)
    struct.pack_into("<" + letter, changed, table._tab.Pos + offset, value)
    return bytes(changed)


def test_everything_unsupported_is_listed_once(vector: Callable[[str], Path]) -> None:
    data = (vector("kws_ref_model") / "model.tflite").read_bytes()
    replacements = {
        "DEPTHWISE_CONV_2D": tflite.BuiltinOperator.CUSTOM,
        "AVERAGE_POOL_2D": tflite.BuiltinOperator.L2_POOL_2D,
    }
    numbers = {getattr(tflite.BuiltinOperator, name): value for name, value in replacements.items()}
    codes = tflite.Model.GetRootAs(data, 0)
    for index in range(codes.OperatorCodesLength()):
        code = codes.OperatorCodes(index)
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        if number in numbers:
            data = _patch(data, code, 0, numbers[number], "b")
            # old writers leave the wider field out
            data = _patch(data, code, 3, numbers[number], "i") if code._tab.Offset(10) else data
    graph = tflite.Model.GetRootAs(data, 0).Subgraphs(0)
    softmax_output = graph.Tensors(graph.Outputs(0))
    data = _patch(data, softmax_output, 1, tflite.TensorType.INT16, "b")
    with pytest.raises(UnsupportedModelError) as caught:
        load(data, name="kws")
    lines = caught.value.where.splitlines()
    assert lines[0] == "kws"
    assert lines[1].startswith("  the model's inputs and outputs: int16 tensors (1 times, first at tensor 34")
    assert lines[2].startswith(
        "  CUSTOM 'without a name' (4 times, first at operator 1 'functional_1/activation_1/Relu"
    )
    assert lines[3].startswith("  L2_POOL_2D (1 times, first at operator 9 ")
    assert lines[4].startswith("  SOFTMAX: int16 tensors (1 times, first at operator 12 ")
    assert len(lines) == 5


@pytest.mark.parametrize("version", [2, 4])
def test_schema_version(version: int) -> None:
    data = write("RELU", 1, [activation(4)], activation(4))
    with pytest.raises(ModelFormatError, match=f"schema version {version}"):
        load(_patch(data, tflite.Model.GetRootAs(data, 0), 0, version, "I"))
