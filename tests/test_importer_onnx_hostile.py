"""Hostile .onnx files: whatever the bytes, the result is a circuit or a typed error, in bounded time and memory."""

from __future__ import annotations

import json
import math
import random
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the package onnx reads .onnx files")

from mpc_bridge.errors import ModelFormatError, UnsupportedModelError  # noqa: E402
from mpc_bridge.importers.onnx import load, load_graph, wire  # noqa: E402
from tests.onnx_models import FLOAT, Net, helper, model  # noqa: E402

#: Seconds for one mutated file, and bytes of address space beyond what the process starts with.
TIME_LIMIT, MEMORY_LIMIT = 5, 512 * 2**20


def sound(opset: int = 17) -> onnx.ModelProto:
    """A small file with a bit of everything: convolution, moves, shape arithmetic, QOperator nodes."""
    net = Net(2, opset)
    parameters = [net.constant(0.02), net.constant(120, "uint8")]
    quantized = net.node("QuantizeLinear", "x", *parameters)
    weights = net.node("DequantizeLinear", net.constant(net.random.integers(-9, 9, (4, 3, 3, 3)), "int8"),
                       net.constant(net.random.uniform(0.1, 0.2, 4)), axis=0)
    x = net.node("Conv", net.node("DequantizeLinear", quantized, *parameters), weights, pads=[1, 1, 1, 1])
    x = net.node("QuantizeLinear", net.node("Clip", x, net.constant(0.0), net.constant(6.0)), *parameters)
    x = net.node("QLinearAdd", x, *parameters, x, *parameters, *parameters, domain="com.microsoft")
    x = net.node("DequantizeLinear", net.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]), *parameters)
    shape = net.node("Concat", net.node("Slice", net.node("Shape", x), *(
        net.constant([bound], "int64") for bound in (0, 2))), net.constant([-1], "int64"), axis=0)
    x = net.node("Reshape", net.node("Transpose", x, perm=[0, 1, 3, 2]), shape)
    x = net.node("MatMul", x, net.node("Transpose", net.node(
        "DequantizeLinear", net.constant(net.random.integers(-9, 9, (5, 9)), "int8"), net.constant(0.1))))
    return net.build((1, 3, 6, 6), net.node("Softmax", net.node(
        "DequantizeLinear", net.node("QuantizeLinear", x, *parameters), *parameters)))


def changed(change: Callable[[Any], None]) -> bytes:
    """The sound file after an edit of its message."""
    message = sound()
    change(message)
    data: bytes = message.SerializeToString()
    return data


def _tensor(**fields: Any) -> Callable[[Any], None]:
    def change(message: Any) -> None:
        tensor = next(tensor for tensor in message.graph.initializer if len(tensor.dims) == 4)
        for name, value in fields.items():
            if isinstance(value, list):
                getattr(tensor, name)[:] = value
            else:
                setattr(tensor, name, value)
    return change


def _external(path: str) -> Callable[[Any], None]:
    def change(message: Any) -> None:
        tensor = message.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", path
    return change


def _cycle(message: Any) -> None:
    message.graph.node.append(helper.make_node("Add", ["loop2", "x"], ["loop1"]))
    message.graph.node.append(helper.make_node("Relu", ["loop1"], ["loop2"]))


def _nested(message: Any) -> None:
    """Attributes that hold graphs, 80 deep: still within what the parser of protocol buffers takes."""
    graph = helper.make_graph([], "leaf", [], [])
    for _ in range(30):
        graph = helper.make_graph([helper.make_node("If", ["c"], ["o"], then_branch=graph)], "g", [], [])
    message.graph.node.append(helper.make_node("If", ["x"], ["o"], then_branch=graph))


def _scale(value: float) -> Callable[[Any], None]:
    def change(message: Any) -> None:
        message.graph.initializer[0].raw_data = np.float32(value).tobytes()
    return change


def _rename(kind: str, attribute: str, value: Any) -> Callable[[Any], None]:
    def change(message: Any) -> None:
        node = next(node for node in message.graph.node if node.op_type == kind)
        kept = [entry for entry in node.attribute if entry.name != attribute]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute(attribute, value)])
    return change


@pytest.mark.parametrize("change, error, what", [
    (_external("/etc/passwd"), UnsupportedModelError, "in another file"),
    (_external("../../weights.bin"), UnsupportedModelError, "in another file"),
    (_tensor(dims=[2**40, 2**40, 1, 1]), ModelFormatError, "has the shape"),
    (_tensor(dims=[0, 2**62, 2**62, 2**62]), ModelFormatError, "has the shape"),
    (_tensor(dims=[-1, 4, 3, 3]), ModelFormatError, "has the shape"),
    (_tensor(dims=[1] * 2000), ModelFormatError, "has the shape"),
    (_tensor(dims=[4, 3, 3, 4]), ModelFormatError, "bytes of data"),
    (_tensor(raw_data=b"\x00"), ModelFormatError, "bytes of data"),
    (_tensor(data_type=99), UnsupportedModelError, "type number 99"),
    (_tensor(data_type=10), UnsupportedModelError, "float16"),
    (_tensor(name="c0"), ModelFormatError, "two stored tensors"),
    (_scale(float("nan")), ModelFormatError, "not a positive number"),
    (_scale(float("inf")), ModelFormatError, "not a positive number"),
    (_scale(0.0), ModelFormatError, "not a positive number"), (_scale(-1.0), ModelFormatError, "not a positive number"),
    (_cycle, ModelFormatError, "has a cycle"),
    (lambda message: message.graph.node.append(helper.make_node("Relu", ["nowhere"], ["o"])), ModelFormatError,
     "nothing produces"),
    (lambda message: message.graph.node.append(helper.make_node("Relu", ["x"], ["t1"])), ModelFormatError,
     "two nodes produce"),
    (lambda message: message.graph.node.append(helper.make_node("Relu", ["x"], ["x"])), ModelFormatError,
     "two nodes produce"),
    (lambda message: message.graph.node.append(helper.make_node("Relu", [], ["o"])), ModelFormatError, "0 inputs"),
    (lambda message: message.graph.node.append(helper.make_node("Relu", ["x"], [])), ModelFormatError, "no output"),
    (_nested, UnsupportedModelError, "holds a graph"),
    (lambda message: message.graph.output[0].ClearField("name"), ModelFormatError, "nothing produces the output"),
    (lambda message: message.ClearField("graph"), ModelFormatError, "has no graph"),
    (lambda message: message.ClearField("opset_import"), ModelFormatError, "operator set"),
    (_rename("Conv", "strides", [0, 1]), ModelFormatError, "strides"),
    (_rename("Conv", "strides", [2**62, 1]), ModelFormatError, "strides"),
    (_rename("Conv", "pads", [2**62] * 4), ModelFormatError, "pads"),
    (_rename("Conv", "pads", [-1] * 4), ModelFormatError, "pads"),
    (_rename("Conv", "group", 0), ModelFormatError, "groups"),
    (_rename("Conv", "group", "many"), ModelFormatError, "not an integer"),
    (_rename("Conv", "auto_pad", "SAME"), ModelFormatError, "auto_pad"),
    (_rename("MaxPool", "kernel_shape", [2**62, 2]), ModelFormatError, "kernel_shape"),
    (_rename("MaxPool", "pads", [2, 2, 2, 2]), ModelFormatError, "padding of 2"),
    (_rename("Transpose", "perm", [0, 1, 1, 2]), ModelFormatError, "permutation"),
    (_rename("Softmax", "axis", 2**62), ModelFormatError, "axis"),
    (lambda message: message.graph.input[0].type.tensor_type.shape.dim[3].__setattr__("dim_value", 2**40),
     ModelFormatError, "elements"),
    (lambda message: message.graph.input[0].type.Clear(), UnsupportedModelError, "not a tensor"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_hostile_file(change: Callable[[Any], None], error: type[Exception], what: str) -> None:
    with pytest.raises(error, match=what):
        load_graph(changed(change))


def test_the_sound_file_is_read() -> None:
    assert len(load_graph(sound().SerializeToString()).nodes) > 15


@pytest.mark.parametrize("data", [b"", b"\x00", b"\xff" * 64, b"\x08\x09", b"PK\x03\x04", b"{}", b"\n" * 100,
                                  b"\x3a\x03\x0a\x01" * 1000])
def test_not_a_model(data: bytes) -> None:
    with pytest.raises(ModelFormatError, match="not an ONNX model"):
        load_graph(data)


def test_every_truncation() -> None:
    data = sound().SerializeToString()
    for size in range(0, len(data) - 1, 7):
        with pytest.raises((ModelFormatError, UnsupportedModelError)):
            load_graph(data[:size])


def _doubling(count: int) -> bytes:
    """Constants that grow by concatenation with themselves."""
    net = Net()
    value = net.constant([1], "int64")
    for _ in range(count):
        value = net.node("Concat", value, value, axis=0)
    parameters = [net.constant(0.1), net.constant(0, "uint8")]
    net.node("Reshape", net.node("DequantizeLinear", net.node("QuantizeLinear", "x", *parameters), *parameters), value)
    data: bytes = net.build((1, 4), f"t{len(net.nodes) - 1}").SerializeToString()
    return data


def _filled(kind: str, count: int) -> bytes:
    """A large constant from a small one."""
    net = Net()
    value = net.node("ConstantOfShape", net.constant([count, count], "int64"))
    if kind == "Expand":
        value = net.node("Expand", net.constant([1.0]), net.constant([count, count], "int64"))
    parameters = [net.constant(0.1), net.constant(0, "uint8")]
    x = net.node("DequantizeLinear", net.node("QuantizeLinear", "x", *parameters), *parameters)
    data: bytes = net.build((1, 4), net.node("Add", x, value)).SerializeToString()
    return data


def _copies(count: int, kind: str) -> bytes:
    """One stored tensor, moved again and again."""
    net = Net()
    value = net.node("DequantizeLinear", net.constant(np.zeros((512, 1024)), "int8"), net.constant(0.1))
    for _ in range(count):
        value = net.node("Transpose", value)
        if kind == "Reshape":  # which copies what has been transposed
            value = net.node("Reshape", value, net.constant([512, 1024], "int64"))
    parameters = [net.constant(0.1), net.constant(0, "uint8")]
    x = net.node("DequantizeLinear", net.node("QuantizeLinear", "x", *parameters), *parameters)
    data: bytes = net.build((1, 1024), net.node("MatMul", x, value)).SerializeToString()
    return data


def _tiled(count: int) -> bytes:
    """An activation that grows by a factor with each node."""
    net = Net()
    parameters = [net.constant(0.1), net.constant(0, "uint8")]
    x = net.node("DequantizeLinear", net.node("QuantizeLinear", "x", *parameters), *parameters)
    repeats = net.constant([1, 4], "int64")
    for _ in range(count):
        x = net.node("Tile", x, repeats)
    data: bytes = net.build((1, 4), x).SerializeToString()
    return data


@pytest.mark.parametrize("data", [
    _doubling(40), _filled("ConstantOfShape", 2**20), _filled("Expand", 2**20), _copies(3000, "Transpose"),
    _copies(3000, "Reshape"), _tiled(40),
], ids=["doubling", "constantofshape", "expand", "transposes", "reshapes", "tiles"])
def test_a_small_file_cannot_ask_for_much(data: bytes) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    with pytest.raises((ModelFormatError, UnsupportedModelError)):
        load_graph(data)
    assert time.perf_counter() - began < 30
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 2**10  # in KiB


def test_a_long_chain_is_read() -> None:
    """As deep as files may be: nothing recurses."""
    net = Net()
    parameters = [net.constant(0.1), net.constant(0, "uint8")]
    x = net.node("DequantizeLinear", net.node("QuantizeLinear", "x", *parameters), *parameters)
    for _ in range(20_000):
        x = net.node("Relu", x)
    began = time.perf_counter()
    assert len(load_graph(net.build((1, 4), x).SerializeToString()).nodes) == 20_002
    assert time.perf_counter() - began < 20


def test_too_many_nodes() -> None:
    nodes = [helper.make_node("Relu", ["x"], [f"y{index}"]) for index in range(70_000)]
    with pytest.raises(ModelFormatError, match="more than 65536"):
        load_graph(model(nodes, {"x": (FLOAT, (1, 4))}, ["y0"]).SerializeToString())


def _wrapped(field: int, inner: bytes) -> bytes:
    """A field that holds bytes."""
    size, length = len(inner), bytearray()
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    return bytes([field << 3 | 2, *length, size]) + inner


@pytest.mark.parametrize("data", [
    _wrapped(7, b"\x0a\x00" * 3_000_000),  # empty nodes
    _wrapped(7, _wrapped(1, b"\x2a\x00" * 3_000_000)),  # empty attributes of one node
    _wrapped(7, _wrapped(1, b"\x0a\x00" * 3_000_000)),  # empty names of inputs
    _wrapped(7, _wrapped(5, b"\x08\x01" * 3_000_000)),  # extents
    b"\x42\x00" * 3_000_000, b"\x3a\x00" * 3_000_000,
], ids=["nodes", "attributes", "inputs", "extents", "opsets", "graphs"])
def test_parts_are_counted_before_they_are_parsed(data: bytes) -> None:
    """A few megabytes that would take a parser hundreds."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelFormatError, match="parts"):
        load_graph(data)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 2**10  # in KiB


@pytest.mark.parametrize("depth", [99, 5000])
def test_graphs_in_graphs(depth: int) -> None:
    data = b""
    for _ in range(depth):
        data = _wrapped(1, _wrapped(5, _wrapped(6, data)))
    with pytest.raises(ModelFormatError, match="too deep"):
        load_graph(_wrapped(7, data))


def test_the_counter_knows_every_message() -> None:
    """Its table of fields against the schema of the package that is installed."""
    seen = set()

    def check(message: Any, name: str) -> None:
        if message.full_name in seen:
            return
        seen.add(message.full_name)
        inner = {field.number: field.message_type for field in message.fields if field.type == field.TYPE_MESSAGE}
        for number, kind in inner.items():
            known = wire._MESSAGES[name][number]
            if known == "Entry":
                assert all(field.type != field.TYPE_MESSAGE for field in kind.fields), kind.full_name
            else:
                check(kind, known)

    check(onnx.ModelProto.DESCRIPTOR, "Model")
    assert len(seen) > 10


def mutate(data: bytes, choices: random.Random) -> bytes:
    """Flipped bits, bytes set to extremes, and parts removed or repeated."""
    mutated = bytearray(data)
    for _ in range(choices.randint(1, 6)):
        place = choices.randrange(len(mutated))
        action = choices.random()
        if action < 0.5:
            mutated[place] ^= 1 << choices.randrange(8)
        elif action < 0.8:
            mutated[place] = choices.choice((0, 1, 2, 127, 128, 255))
        elif action < 0.9:
            del mutated[place : place + choices.randint(1, 8)]
        else:
            mutated[place:place] = mutated[place : place + choices.randint(1, 32)]
    return bytes(mutated)


def rewrite(message: Any, choices: random.Random) -> bytes:
    """Edits that keep the file well formed: other operands, kinds, attributes, shapes, scales and values."""
    edited = onnx.ModelProto()
    edited.CopyFrom(message)
    graph = edited.graph
    names = [name for node in graph.node for name in (*node.input, *node.output)]
    numbers = (-(2**63), -(2**31), -2, -1, 0, 1, 2, 3, 7, 2**16, 2**31, 2**63 - 1)
    for _ in range(choices.randint(1, 4)):
        action, node = choices.randrange(9), choices.choice(graph.node)
        tensor = choices.choice(graph.initializer)
        if action == 0 and node.input:
            node.input[choices.randrange(len(node.input))] = choices.choice([*names, ""])
        elif action == 1:
            node.op_type = choices.choice(KINDS)
            node.domain = choices.choice(["", "", "com.microsoft"])
        elif action == 2 and node.attribute:
            attribute = choices.choice(node.attribute)
            attribute.i = choices.choice(numbers)
            if attribute.ints:
                attribute.ints[choices.randrange(len(attribute.ints))] = choices.choice(numbers)
        elif action == 3 and tensor.dims:
            tensor.dims[choices.randrange(len(tensor.dims))] = choices.choice((0, 1, 2, 3, 4, 5, 9, 2**31))
        elif action == 4 and tensor.dims:
            size = math.prod(tensor.dims)
            tensor.dims[:] = choices.choice([[*reversed(tensor.dims)], [size], [1, *tensor.dims], [size, 1]])
        elif action == 5:
            tensor.data_type = choices.choice((1, 2, 3, 6, 7, 9))
        elif action == 6 and len(tensor.raw_data) in (4, 8, 16):
            value = choices.choice((1e-45, 1e-38, 3e38, 1.0, 0.02, -1.0, float("nan")))
            tensor.raw_data = np.full(len(tensor.raw_data) // 4, value, np.float32).tobytes()
        elif action == 7:
            attribute = choices.choice(node.attribute) if node.attribute else node.attribute.add(name="axis", type=2)
            attribute.name = choices.choice(ATTRIBUTES)
        else:
            del graph.node[choices.randrange(len(graph.node))]
            if not graph.node:
                return b""
    data: bytes = edited.SerializeToString()
    return data


KINDS = ("Conv", "ConvTranspose", "MatMul", "Gemm", "MaxPool", "AveragePool", "GlobalAveragePool", "Add", "Sub", "Mul",
         "Div", "Max", "Relu", "Clip", "PRelu", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Concat", "Split",
         "Slice", "Gather", "Tile", "Expand", "Pad", "Resize", "DepthToSpace", "BatchNormalization", "Identity",
         "Constant", "Cast", "Shape", "Flatten", "ReduceMean", "ArgMax", "QuantizeLinear", "DequantizeLinear",
         "QLinearConv", "QLinearMatMul", "QGemm", "QLinearAdd", "QLinearConcat", "ConstantOfShape", "Range", "Where")
ATTRIBUTES = ("axis", "axes", "perm", "pads", "strides", "group", "kernel_shape", "to", "alpha", "mode", "keepdims",
              "blocksize", "start", "end", "ceil_mode", "output_shape", "dilations", "value")


def _fuzz(seed: int, count: int) -> dict[str, int]:
    messages = [sound(opset) for opset in (13, 17, 21)]
    seeds = [message.SerializeToString() for message in messages]
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY_LIMIT,) * 2)

    def late(number: int, frame: FrameType | None) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, late)
    seen: Counter[str] = Counter()
    for index in range(count):
        choices = random.Random(f"{seed}-{index}")
        data = rewrite(choices.choice(messages), choices) if index % 2 else mutate(choices.choice(seeds), choices)
        signal.alarm(TIME_LIMIT)
        try:
            load(data)
            seen["circuit"] += 1
        except (ModelFormatError, UnsupportedModelError) as error:
            seen[type(error).__name__] += 1
        except BaseException:
            Path(f"onnx-{seed}-{index}.onnx").write_bytes(data)
            raise
        finally:
            signal.alarm(0)
    return dict(seen)


def test_mutated_files(tmp_path: Path) -> None:
    """Thousands of mutations in a process of its own, under a memory limit and a time limit per file."""
    done = subprocess.run([sys.executable, "-m", "tests.test_importer_onnx_hostile", "1", "4000"], cwd=tmp_path, env={
        "PYTHONPATH": ":".join([str(Path(__file__).parent.parent), *filter(None, sys.path)]),
        "OPENBLAS_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert sum(seen.values()) == 4000
    # mutations that nothing or everything survives would test nothing
    assert seen["circuit"] > 40 and seen["ModelFormatError"] > 400 and seen["UnsupportedModelError"] > 40


if __name__ == "__main__":
    print(json.dumps(_fuzz(int(sys.argv[1]), int(sys.argv[2]))))
