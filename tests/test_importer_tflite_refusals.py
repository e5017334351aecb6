"""Everything the TensorFlow Lite importer refuses: what it does not support, and what is damaged."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tflite

from mpc_bridge.errors import ModelFormatError, UnsupportedModelError
from mpc_bridge.importers.tflite import load
from tests.models.tflite_writer import TensorSpec, write
from tests.tflite_specs import activation, convolution, public, sliced, weights

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
    "float product": (
        write("MUL", 1, [TensorSpec((4,), "float32")] * 2, TensorSpec((4,), "float32"), "MulOptions", {}),
        "MUL: float32 tensors",
    ),
    "int16 product": (
        write("MUL", 4, [activation(4, dtype="int16")] * 2, activation(4, dtype="int16"), "MulOptions", {}),
        "MUL: int16 tensors",
    ),
    "multiplied types": (
        write("MUL", 2, [activation(4), activation(4, dtype="uint8")], activation(4), "MulOptions", {}),
        "a mixture of int8 and uint8",
    ),
    "multiplied scales": (
        write("MUL", 2, [activation(4, scale=1e6), activation(4, scale=1e6)], activation(4), "MulOptions", {}),
        "scales whose ratio is outside",
    ),
    "tanh of a product": (
        write("MUL", 2, [activation(4), activation(4)], activation(4), "MulOptions",
              {"FusedActivationFunction": tflite.ActivationFunctionType.TANH}),
        "the fused activation TANH",
    ),
    "uint8 matrices": (
        write("BATCH_MATMUL", 2, [activation(2, 3, dtype="uint8"), activation(3, 2, dtype="uint8")],
              activation(2, 2, dtype="uint8"), "BatchMatMulOptions", {}),
        "uint8 tensors, which the framework does not multiply either",
    ),
    "float times int8 matrices": (
        write("BATCH_MATMUL", 2, [TensorSpec((2, 3), "float32"), weights(3, 2)], TensorSpec((2, 2), "float32"),
              "BatchMatMulOptions", {}),
        "BATCH_MATMUL: float32 tensors",
    ),
    "slopes of a constant": (
        write("PRELU", 1, [weights(1, 2, 2, 3), activation(3)], activation(1, 2, 2, 3)),
        "a constant in place of an activation",
    ),
    "steep slopes": (
        write("PRELU", 1, [activation(4), activation(4, scale=1e30)], activation(4, scale=1e-9)),
        "scales whose ratio is outside",
    ),
    "uint8 thirds": (
        write("RESIZE_BILINEAR", 1, [activation(1, 2, 2, 1, dtype="uint8"), public([6, 6])],
              activation(1, 6, 6, 1, dtype="uint8"), "ResizeBilinearOptions", {}),
        "the framework mixes uint8 in float32, which rounds; int8 it mixes in integers",
    ),
    "resized beyond the end": (
        write("RESIZE_BILINEAR", 2, [activation(1, 500, 1, 1), public([1567, 1])], activation(1, 1567, 1, 1),
              "ResizeBilinearOptions", {"AlignCorners": False}),
        "its rounded steps lead beyond the last cell",
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
    "groups": (convolution(activation(1, 3, 3, 4), weights(3, 1, 1, 2), activation(1, 3, 3, 3)), "weights of shape"),
    "factors": (
        write("MUL", 2, [activation(2, 3), activation(2)], activation(2, 3), "MulOptions", {}),
        "shape mismatch",
    ),
    "slopes": (write("PRELU", 1, [activation(2, 1), weights(3)], activation(2, 3)), "alpha of shape (3,)"),
    "matrices": (
        write("BATCH_MATMUL", 2, [activation(2, 3), activation(2, 3)], activation(2, 3), "BatchMatMulOptions", {}),
        "matrices of 3 columns times matrices of 2 rows",
    ),
    "vector times matrix": (
        write("BATCH_MATMUL", 2, [activation(3), activation(3, 2)], activation(2), "BatchMatMulOptions", {}),
        "an operand of shape (3,) is no matrix",
    ),
    "mixed": (
        write("RESIZE_BILINEAR", 2, [activation(1, 2, 2, 1), public([4, 4])], activation(1, 4, 5, 1),
              "ResizeBilinearOptions", {}),
        "resized to [4, 4] is stated as (1, 4, 5, 1)",
    ),
    "corners and centers": (
        write("RESIZE_BILINEAR", 3, [activation(1, 2, 2, 1), public([4, 4])], activation(1, 4, 4, 1),
              "ResizeBilinearOptions", {"AlignCorners": True, "HalfPixelCenters": True}),
        "it aligns corners and has half-pixel centers",
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
