"""The TensorFlow Lite importer on real models: op lists, tensors, constants and multipliers, in both profiles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tflite

from mpc_bridge.circuit.graph import Circuit, Op
from mpc_bridge.errors import InputError, ModelFormatError, UsageError
from mpc_bridge.importers.base import API_VERSION, Importer
from mpc_bridge.importers.tflite import PROFILES, importer, load, schema
from tests.conftest import vector_names

MOBILENET_V1 = {"CONV_2D": 15, "DEPTHWISE_CONV_2D": 13, "AVERAGE_POOL_2D": 1, "RESHAPE": 1, "SOFTMAX": 1}
OPS = {
    "ad01_int8": {"FULLY_CONNECTED": 10},
    "kws_ref_model": {
        "CONV_2D": 5,
        "DEPTHWISE_CONV_2D": 4,
        "AVERAGE_POOL_2D": 1,
        "RESHAPE": 1,
        "FULLY_CONNECTED": 1,
        "SOFTMAX": 1,
    },
    "micro_speech_quantized": {"RESHAPE": 1, "DEPTHWISE_CONV_2D": 1, "FULLY_CONNECTED": 1, "SOFTMAX": 1},
    "mobilenet_v1_0_25_128_quant": MOBILENET_V1,
    "mobilenet_v1_0_5_160_quant": MOBILENET_V1,
    "mobilenet_v2_1_0_224_quant": {
        "CONV_2D": 36,
        "DEPTHWISE_CONV_2D": 17,
        "ADD": 10,
        "AVERAGE_POOL_2D": 1,
        "RESHAPE": 1,
        "SOFTMAX": 1,
    },
    "person_detect": {"CONV_2D": 14, "DEPTHWISE_CONV_2D": 14, "AVERAGE_POOL_2D": 1, "RESHAPE": 1, "SOFTMAX": 1},
    "pretrainedResnet_quant": {
        "CONV_2D": 9,
        "ADD": 3,
        "AVERAGE_POOL_2D": 1,
        "RESHAPE": 1,
        "FULLY_CONNECTED": 1,
        "SOFTMAX": 1,
    },
}

Find = Callable[[str], Path]


def _rule(op: Op) -> str:
    requantization = op.attributes["requantization"]
    assert isinstance(requantization, tuple)
    return str(requantization[0])


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", OPS)
def test_op_lists(name: str, profile: str, vector: Find) -> None:
    circuit = load(vector(name) / "model.tflite", profile)
    assert Counter(op.kind for op in circuit.ops) == OPS[name]
    assert (circuit.source, circuit.profile) == ("tflite", profile)
    expected = "float64_half_away" if profile == "litert" else "mbqm"
    assert {_rule(op) for op in circuit.ops if op.kind == "FULLY_CONNECTED"} <= {expected}
    assert {_rule(op) for op in circuit.ops if "CONV" in op.kind} <= {"mbqm"}


@pytest.mark.parametrize("name", vector_names())
def test_profiles_differ_in_fully_connected_only(name: str, vector: Find) -> None:
    ours, other = (load(vector(name) / "model.tflite", profile) for profile in PROFILES)
    assert ours.tensors == other.tensors
    for a, b in zip(ours.ops, other.ops, strict=True):
        assert a == b if a.kind != "FULLY_CONNECTED" else a != b


@pytest.mark.parametrize("name", vector_names())
def test_every_tensor_as_the_schema_package_reads_it(name: str, vector: Find) -> None:
    data = (vector(name) / "model.tflite").read_bytes()
    model = tflite.Model.GetRootAs(data, 0)
    graph = model.Subgraphs(0)
    circuit = load(data)
    theirs = {graph.Tensors(i).Name().decode(): graph.Tensors(i) for i in range(graph.TensorsLength())}
    assert len(theirs) == graph.TensorsLength(), "this test tells tensors apart by their names"
    for index, tensor in enumerate(circuit.tensors):
        # long names lose their middle
        original = theirs.get(tensor.name) or next(
            value
            for key, value in theirs.items()
            if len(key) > 256 and key[:126] == tensor.name[:126] and key[-126:] == tensor.name[-126:]
        )
        assert tensor.shape == tuple(original.ShapeAsNumpy())
        assert tensor.dtype == schema.TENSOR_TYPES[original.Type()]
        if tensor.dtype != "int32":
            assert tensor.quantization is not None
            assert tensor.quantization.scale == tuple(map(float, original.Quantization().ScaleAsNumpy()))
            assert tensor.quantization.zero_point == tuple(original.Quantization().ZeroPointAsNumpy())
        if index in circuit.constants:
            raw = model.Buffers(original.Buffer()).DataAsNumpy().tobytes()
            assert circuit.constants[index].tobytes() == raw
            assert not circuit.constants[index].flags.writeable
    assert [circuit.tensors[i].shape for i in circuit.inputs] == [
        tuple(graph.Tensors(i).ShapeAsNumpy()) for i in graph.InputsAsNumpy()
    ]


def _scales(circuit: Circuit, op: Op) -> tuple[np.float32, np.ndarray, np.float32]:
    found = []
    for index in (op.inputs[0], op.inputs[1], op.outputs[0]):
        quantization = circuit.tensors[index].quantization
        assert quantization is not None
        found.append(np.array(quantization.scale, np.float32))
    return found[0][0], found[1], found[2][0]


@pytest.mark.parametrize("name", vector_names())
def test_convolution_multipliers(name: str, vector: Find) -> None:
    """int8 multiplies the scales in double; uint8 rounds the product of the first two to float32."""
    circuit = load(vector(name) / "model.tflite", "tflite")
    for op in circuit.ops:
        if op.kind not in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            continue
        x, weights, output = _scales(circuit, op)
        if circuit.tensors[op.inputs[0]].dtype == "uint8":
            expected = (x * weights).astype(np.float64) / np.float64(output)
        else:
            expected = np.float64(x) * weights.astype(np.float64) / np.float64(output)
        requantization = op.attributes["requantization"]
        assert isinstance(requantization, tuple)
        assert requantization[1] == tuple(expected.tolist())


def test_per_channel_axis_on_a_bias_is_accepted(vector: Find) -> None:
    """person_detect has axis 3 on one-dimensional biases; its repaired copy is the same circuit."""
    folder = vector("person_detect")
    original, repaired = (load(folder / file, name="person") for file in ("model.tflite", "model_loadable.tflite"))
    assert original == repaired
    for index, array in original.constants.items():
        np.testing.assert_array_equal(array, repaired.constants[index])


def test_uint8_weights_keep_their_zero_points(vector: Find) -> None:
    circuit = load(vector("mobilenet_v1_0_25_128_quant") / "model.tflite")
    zeros = set()
    for op in circuit.ops:
        if op.kind == "CONV_2D":
            quantization = circuit.tensors[op.inputs[1]].quantization
            assert quantization is not None
            zeros.update(quantization.zero_point)
    assert len(zeros) > 10


def test_importer_object(vector: Find) -> None:
    data = (vector("micro_speech_quantized") / "model.tflite").read_bytes()
    assert isinstance(importer, Importer)
    assert importer.api_version == API_VERSION
    assert importer.sniff(data[:16]) and not importer.sniff(b"PK\x03\x04" + bytes(12)) and not importer.sniff(b"")
    assert importer.load(data, "speech", "tflite").name == "speech"


def test_schema_numbers_are_those_of_the_schema_package() -> None:
    def names(enum: type) -> dict[str, int]:
        return {key: value for key, value in vars(enum).items() if isinstance(value, int)}

    assert {name: number for number, name in enumerate(schema.OPERATORS)} == names(tflite.BuiltinOperator)
    types = {name.upper(): number for number, name in enumerate(schema.TENSOR_TYPES)}
    assert types == names(tflite.TensorType)
    assert {name: number for number, name in enumerate(schema.ACTIVATIONS)} == names(tflite.ActivationFunctionType)
    assert {name: number for number, name in enumerate(schema.PADDINGS)} == names(tflite.Padding)
    assert names(tflite.MirrorPadMode) == {"REFLECT": 0, "SYMMETRIC": 1}
    assert {option.name: option.value for option in schema.Options}.items() <= names(tflite.BuiltinOptions).items()


@pytest.mark.parametrize(
    "table",
    [
        "Model",
        "OperatorCode",
        "SubGraph",
        "Tensor",
        "QuantizationParameters",
        "Buffer",
        "Operator",
        "Conv2DOptions",
        "DepthwiseConv2DOptions",
        "Pool2DOptions",
        "FullyConnectedOptions",
        "ConcatenationOptions",
        "AddOptions",
        "SoftmaxOptions",
        "ReshapeOptions",
        "ReducerOptions",
        "SqueezeOptions",
        "StridedSliceOptions",
        "SplitOptions",
        "SplitVOptions",
        "PackOptions",
        "UnpackOptions",
        "ResizeNearestNeighborOptions",
        "LeakyReluOptions",
        "SubOptions",
        "TransposeConvOptions",
        "SpaceToDepthOptions",
        "DepthToSpaceOptions",
        "MirrorPadOptions",
    ],
)
def test_schema_slots_are_those_of_the_schema_package(table: str) -> None:
    """The package's writers name each slot: a recording builder says which."""

    class Recorder:
        slot = -1

        def __getattr__(self, name: str) -> Callable[..., None]:
            def record(slot: int, *_: object) -> None:
                self.slot = slot

            return record

    for field in getattr(schema, table):
        recorder = Recorder()
        getattr(tflite, f"{table}Add{field.name}")(recorder, 0)
        assert recorder.slot == field.value, field


def test_errors_before_the_file_is_parsed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown profile"):
        load(b"", "onnx")
    with pytest.raises(InputError, match="cannot read"):
        load(tmp_path / "missing.tflite")
    (tmp_path / "text.tflite").write_text("this is not a model")
    with pytest.raises(ModelFormatError, match="TFL3") as caught:
        load(tmp_path / "text.tflite")
    assert str(tmp_path / "text.tflite") in caught.value.where
