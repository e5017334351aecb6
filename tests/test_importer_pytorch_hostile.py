"""Hostile ``.pt2`` files: nothing in them runs; whatever the bytes, a circuit or a typed error comes out, in bounds."""

from __future__ import annotations

import copy
import io
import json
import os
import pickle
import random
import struct
import subprocess
import sys
import time
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mpc_bridge.circuit import verify
from mpc_bridge.errors import ModelFormatError, UnsupportedModelError
from mpc_bridge.importers.pytorch import importer, load, read
from mpc_bridge.importers.pytorch.archive import MAX_ENTRIES
from tests import pt2_files as files

DATA = files.SMALL.read_bytes()
REFUSALS = (ModelFormatError, UnsupportedModelError)


def test_the_file_itself_is_sound() -> None:
    graph, notes = read(DATA)
    assert len(graph.nodes) > 10 and "example inputs" in notes[0]
    with pytest.warns(match="example inputs"):
        load(DATA)
    assert read(files.archive(files.entries(DATA), zipfile.ZIP_DEFLATED))[0].nodes == graph.nodes
    assert importer.sniff(DATA) and not importer.sniff(b"TFL3" * 10)


class Touch:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_pickles_stay_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trap = tmp_path / "ran"
    payload = pickle.dumps(Touch(trap))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("archive/data.pkl", payload)
    saved = stream.getvalue()
    contents = files.entries(DATA)
    # sample inputs and custom objects may be anything: they are not opened
    contents |= {"data/sample_inputs/model.pt": saved, "data/constants/custom_obj_0": payload, "extra/x.pkl": payload}
    graph, _ = read(files.archive(contents))
    assert graph.nodes == read(DATA)[0].nodes

    def use_pickle(document: Any) -> None:
        for entry in document["config"].values():
            entry["use_pickle"] = True

    pickled = files.edited(DATA, use_pickle, files.WEIGHTS)
    for name in files.entries(pickled):
        if name.startswith("data/weights/weight_"):
            contents[name] = payload
    contents[files.WEIGHTS] = files.entries(pickled)[files.WEIGHTS]
    for data, words in [(files.archive(contents), "pickle"), (payload, "pickle"), (saved, "state_dict"),
                        (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19." + payload, "old torch.save")]:
        with pytest.raises(UnsupportedModelError) as refusal:
            read(data)
        assert words in refusal.value.what and "prepare_pt2e" in refusal.value.hint
    assert not trap.exists()
    pickle.loads(payload)
    assert trap.exists(), "the payload would have run"


Change = Callable[[Any], Any]


def weight(field: str, value: Any, name: str = "_frozen_param0") -> Change:
    """Another value in one field of a stored tensor's description."""
    def change(document: Any) -> None:
        entry = document["config"][name]
        target = entry if field in entry else entry["tensor_meta"]
        assert field in target
        target[field] = value
    return change


def sizes(*values: int) -> list[dict[str, int]]:
    return [{"as_int": value} for value in values]


@pytest.mark.parametrize("change", [
    weight("storage_offset", {"as_int": 1}), weight("storage_offset", {"as_int": -1}),
    weight("storage_offset", {"as_int": 2**62}), weight("storage_offset", {"as_int": True}),
    weight("strides", sizes(27, 9, 3, 2)), weight("strides", sizes(-27, 9, 3, 1)), weight("strides", sizes(27, 9, 3)),
    weight("strides", sizes(2**61, 9, 3, 1)), weight("sizes", sizes(9, 3, 3, 3)), weight("sizes", sizes(-8, 3, 3, 3)),
    weight("sizes", sizes(2**31, 2**31, 3, 3)), weight("sizes", sizes(*[1] * 40)), weight("sizes", [{"as_int": 1.5}]),
    weight("dtype", 7), weight("dtype", 999), weight("dtype", "2"), weight("layout", 2),
    weight("path_name", "weight_99"), weight("path_name", "../weight_0"), weight("path_name", 3),
    weight("path_name", "/etc/passwd"),
    lambda document: document["config"].pop("_frozen_param0"),
    lambda document: document["config"].update(_frozen_param0=None),
    lambda document: {"config": []}, lambda document: [], lambda document: 7,
])
def test_wrong_places_of_weights(change: Change) -> None:
    with pytest.raises(REFUSALS):
        read(files.edited(DATA, change, files.WEIGHTS))


def test_expanded_tensors_cannot_outgrow_the_file() -> None:
    """Stride 0 makes any size out of four bytes."""
    def change(document: Any) -> None:
        for entry in document["config"].values():
            entry["tensor_meta"] |= {"sizes": sizes(2**15, 2**15), "strides": sizes(0, 0)}
    bounded(files.edited(DATA, change, files.WEIGHTS), 64)


def bounded(data: bytes, megabytes: int, seconds: float = 10) -> None:
    """Refused, within memory beyond the file and time."""
    tracemalloc.start()
    started = time.monotonic()
    try:
        with pytest.raises(REFUSALS):
            read(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < megabytes * 2**20 and time.monotonic() - started < seconds


def test_zip_bombs() -> None:
    contents = files.entries(DATA)
    bomb = files.archive(contents | {"data/weights/weight_0": bytes(256 * 2**20)}, zipfile.ZIP_DEFLATED)
    assert len(bomb) < 2**20
    bounded(bomb, 16)
    model = files.archive(contents | {files.MODEL: b" " * (40 * 2**20)}, zipfile.ZIP_DEFLATED)
    bounded(model, 16)
    # the directory says a small size, the data says another
    lying = bytearray(files.archive(contents | {files.MODEL: bytes(60 * 2**20)}, zipfile.ZIP_DEFLATED))
    true_size = struct.pack("<L", 60 * 2**20)
    position = lying.find(true_size)
    while position >= 0:
        lying[position : position + 4] = struct.pack("<L", 1000)
        position = lying.find(true_size)
    bounded(bytes(lying), 16)


def test_entry_bombs() -> None:
    """A directory of very many entries, before an object is made for each."""
    record = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    count = MAX_ENTRIES + 1
    directory = record * count
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count % 65536, count % 65536, len(directory), 4, 0)
    bounded(b"PK\x03\x04" + directory + end, 1)


def test_overlapping_and_moved_entries() -> None:
    contents = files.entries(DATA)
    good = files.archive(contents)
    with zipfile.ZipFile(io.BytesIO(good)) as archive:
        listed = archive.infolist()
    start = good.find(b"PK\x01\x02")
    # every entry of the directory points to the first one's bytes, to nowhere, or beyond the end
    for offset in (0, listed[1].header_offset + 1, len(good), 2**32 - 2):
        data = bytearray(good)
        position = start
        for info in listed:
            data[position + 42 : position + 46] = struct.pack("<L", offset)
            position += 46 + len(info.filename)
        with pytest.raises(ModelFormatError):
            read(bytes(data))
    # an entry whose data covers the next one's header: same name, longer than it is
    inner = files.archive({"b": b"x" * 50})
    with pytest.raises(ModelFormatError):
        read(files.archive(contents | {"a": inner}) + inner)


@pytest.mark.parametrize("name", ["../x", "/x", "a\\b", "a/../b", "\x1b[31m", "x\ny"])
def test_names_of_entries(name: str) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("small/archive_format", b"pt2")
        info = zipfile.ZipInfo("x")
        info.filename = name
        file.writestr(info, b"")
    with pytest.raises(ModelFormatError) as refusal:
        read(stream.getvalue())
    assert str(refusal.value).replace("\n", "").isprintable()


def test_entries_that_appear_twice() -> None:
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w") as file:
        warnings.simplefilter("ignore")
        file.writestr("small/a", b"1")
        file.writestr("small/a", b"2")
    with pytest.raises(ModelFormatError, match="twice"):
        read(stream.getvalue())


def raw_model(text: bytes) -> bytes:
    """A file with any bytes as its graph."""
    return files.archive(files.entries(DATA) | {files.MODEL: text})


@pytest.mark.parametrize("text", [
    b"[" * 5_000_000, b'{"a":' * 2_000_000, b"[" * 101 + b"]" * 101, b"9" * 1_000_000,
    b'{"a":' + b"9" * 1_000_000 + b"}", b"NaN",
    b'{"graph_module": 1, "graph_module": 2}', b"\xff\xfe", b"", b"null", b"[]", b'"x"', b"{}", b"1e999",
    b'"' + b"\\" * 100_001, b'"\\"' + b"[" * 101, b'{"schema_version": {"major": 8, "minor": 20}}',
], ids=lambda text: text[:12].decode("latin-1") + f"… {len(text)}")
def test_hostile_json(text: bytes) -> None:
    bounded(raw_model(text), 200)


def node(index: int, **fields: Any) -> Change:
    """Another value in fields of one node."""
    def change(document: Any) -> None:
        files.nodes(document)[index].update(fields)
    return change


def to_later(document: Any) -> None:
    """The first Quantize reads the last node."""
    listed = files.nodes(document)
    target = next(item for item in listed if "quantize_per_tensor" in item["target"])
    files.argument(target, "input")["as_tensor"]["name"] = listed[-1]["outputs"][0]["as_tensor"]["name"]


def to_itself(document: Any) -> None:
    """A node reads its own output."""
    target = next(item for item in files.nodes(document) if "quantize_per_tensor" in item["target"])
    files.argument(target, "input")["as_tensor"]["name"] = target["outputs"][0]["as_tensor"]["name"]


def nested_graph(document: Any) -> None:
    """A node takes the whole graph as an argument."""
    graph = copy.deepcopy(document["graph_module"]["graph"])
    files.nodes(document)[-1]["inputs"].append(
        {"name": "body", "arg": {"as_graph": {"name": "body", "graph": graph}}, "kind": 1})


def rename_output(document: Any) -> None:
    """Two nodes make the same tensor."""
    listed = files.nodes(document)
    listed[-1]["outputs"] = listed[0]["outputs"]


def in_value(path: tuple[Any, ...], value: Any) -> Change:
    """Another value somewhere in the document."""
    def change(document: Any) -> None:
        for step in path[:-1]:
            document = document[step]
        document[path[-1]] = value
    return change


GRAPH = ("graph_module", "graph")


@pytest.mark.parametrize("change", [
    to_later, to_itself, nested_graph, rename_output,
    node(-1, target="torch.ops.higher_order.cond"), node(-1, target="os.system"), node(-1, target=7),
    node(-1, target="\x1b[31m" * 9), node(-1, target="x" * 100_000), node(-1, inputs=[]), node(-1, outputs=[]),
    node(-1, outputs=[{"as_tensor": {"name": "a b"}}]), node(-1, inputs=[{"name": "x", "arg": {"as_operator": "a"}}]),
    node(-1, inputs={"a": 1}), node(0, outputs=[{"as_tensors": [{"name": "a"}, {"name": "a"}]}]),
    in_value(("schema_version", "major"), 9), in_value(("schema_version", "major"), "8"),
    in_value(("graph_module",), None), in_value((*GRAPH, "nodes"), {}), in_value((*GRAPH, "nodes"), [None]),
    in_value((*GRAPH, "tensor_values"), {}), in_value((*GRAPH, "tensor_values"), []),
    in_value((*GRAPH, "tensor_values", "x", "sizes"), sizes(1, 2)),
    in_value((*GRAPH, "tensor_values", "x", "sizes"), sizes(0, 3, 12, 12)),
    in_value((*GRAPH, "tensor_values", "x", "sizes"), sizes(1, 3, 2**30, 2**30)),
    in_value((*GRAPH, "tensor_values", "x", "dtype"), 5),
    in_value((*GRAPH, "tensor_values", "x", "sizes", 2), {"as_expr": {"expr_str": "s9"}}),
    in_value((*GRAPH, "tensor_values", "x", "sizes", 0), {"as_expr": {"expr_str": "__import__('os').abort()"}}),
    in_value((*GRAPH, "tensor_values", "x", "sizes", 0), {"as_expr": {"expr_str": "s0 ** 999999999"}}),
    *(in_value((*GRAPH, "tensor_values", "relu", "sizes", 0), {"as_expr": {"expr_str": expression}}) for expression in (
        "(" * 300, "-" * 250, "Pow(Integer(9), Integer(99))", "FloorDiv(Integer(1), Integer(0))", "s0", "1 if 1 else 2",
        "Integer(" * 80, "(lambda: 1)()", "1 << 99", "Integer(x=1)", "a.b", "Mul()")),
    in_value(("graph_module", "signature", "output_specs"), []),
    in_value(("graph_module", "signature", "output_specs", 0), {"buffer_mutation": {}}),
    in_value(("graph_module", "signature", "output_specs", 0),
             {"user_output": {"arg": {"as_tensor": {"name": "nothing"}}}}),
    in_value(("graph_module", "signature", "input_specs", 0), {"custom_obj": {}}),
    in_value(("graph_module", "signature", "input_specs"), []),
])
def test_hostile_graphs(change: Change) -> None:
    data = files.edited(DATA, change)
    with pytest.raises(REFUSALS) as refusal:
        load(data)
    assert refusal.value.what and refusal.value.where and refusal.value.hint
    # no name from the file reaches the terminal as it is
    assert all(line.isprintable() for line in str(refusal.value).split("\n"))


def set_argument(target: str, name: str, value: Any) -> Change:
    """Another argument in the first node with this target."""
    def change(document: Any) -> None:
        found = next(item for item in files.nodes(document) if target in item["target"])
        entry = next(item for item in found["inputs"] if item["name"] == name)
        entry["arg"] = value
    return change


@pytest.mark.parametrize("change", [
    set_argument("quantize_per_tensor", "scale", {"as_float": 0.0}),
    set_argument("quantize_per_tensor", "scale", {"as_float": -1.0}),
    set_argument("quantize_per_tensor", "scale", {"as_float": "NaN"}),
    set_argument("quantize_per_tensor", "scale", {"as_float": "Infinity"}),
    set_argument("quantize_per_tensor", "scale", {"as_float": "nan"}),
    set_argument("quantize_per_tensor", "zero_point", {"as_int": 300}),
    set_argument("quantize_per_tensor", "zero_point", {"as_float": 0.5}),
    set_argument("quantize_per_tensor", "quant_min", {"as_int": -129}),
    set_argument("quantize_per_tensor", "quant_max", {"as_int": -128}),
    set_argument("quantize_per_tensor", "dtype", {"as_scalar_type": 7}),
    set_argument("quantize_per_tensor", "dtype", {"as_ints": [1]}),
    set_argument("quantize_per_tensor", "dtype", {"as_string": "\x1b[31m"}),
    set_argument("dequantize_per_channel", "axis", {"as_int": 9}),
    set_argument("dequantize_per_channel", "axis", {"as_int": 1}),
    set_argument("dequantize_per_channel", "scales", {"as_tensor": {"name": "x"}}),
    set_argument("conv2d", "stride", {"as_ints": [0, 1]}), set_argument("conv2d", "stride", {"as_ints": [1, 1, 1]}),
    set_argument("conv2d", "stride", {"as_ints": [2**40, 1]}), set_argument("conv2d", "padding", {"as_ints": [-1, 0]}),
    set_argument("conv2d", "padding", {"as_ints": [2**16, 2**16]}),
    set_argument("conv2d", "weight", {"as_none": True}), set_argument("conv2d", "weight", {"as_tensor": {"name": "x"}}),
    set_argument("conv2d", "bias", {"as_tensor": {"name": "x"}}), set_argument("conv2d", "input", {"as_ints": [1]}),
    set_argument("max_pool2d", "kernel_size", {"as_ints": [0, 0]}),
    set_argument("max_pool2d", "kernel_size", {"as_ints": [2**16, 2**16]}),
    set_argument("flatten", "start_dim", {"as_int": 5}),
    set_argument("adaptive_avg_pool2d", "output_size", {"as_ints": [0, 2]}),
    set_argument("adaptive_avg_pool2d", "output_size", {"as_ints": [2**16, 2**16]}),
])
def test_hostile_arguments(change: Change) -> None:
    with pytest.raises(REFUSALS) as refusal:
        load(files.edited(DATA, change))
    assert all(line.isprintable() for line in str(refusal.value).split("\n"))


def call(target: str, output: str, **arguments: Any) -> dict[str, Any]:
    """A node; strings are tensors."""
    kinds: dict[type, Callable[[Any], Any]] = {
        str: lambda value: {"as_tensor": {"name": value}}, int: lambda value: {"as_int": value},
        list: lambda value: {"as_ints": value}}
    return {"target": f"torch.ops.aten.{target}", "outputs": [{"as_tensor": {"name": output}}], "metadata": {},
            "inputs": [{"name": name, "arg": kinds[type(value)](value), "kind": 1}
                       for name, value in arguments.items()]}


def described(document: Any, name: str, extents: list[int]) -> None:
    """Another float tensor in a model document."""
    values = document["graph_module"]["graph"]["tensor_values"]
    values[name] = {**values["x"], "sizes": [{"as_int": extent} for extent in extents]}


def with_parameters(document: Any, config: Any, count: int) -> None:
    """Parameters ``p0``, ``p1``, … of one element, the first of one large stored tensor, and a node that reads each."""
    entry = next(iter(config["config"].values()))
    for index in range(count):
        document["graph_module"]["signature"]["input_specs"].insert(
            0, {"parameter": {"arg": {"name": f"p{index}"}, "parameter_name": f"n{index}"}})
        one = [{"as_int": 1}]
        meta = {**entry["tensor_meta"], "sizes": one, "strides": one, "storage_offset": {"as_int": 0}, "dtype": 7}
        config["config"][f"n{index}"] = {**entry, "path_name": "large", "tensor_meta": meta}
        described(document, f"p{index}", [1])
        described(document, f"sum{index}", [1])
        files.nodes(document).insert(0, call("add.Tensor", f"sum{index}", self=f"p{index}", other=f"p{index}"))


def test_many_tensors_in_one_large_entry() -> None:
    """Its checksum is computed once."""
    contents = files.entries(DATA)
    document, config = json.loads(contents[files.MODEL]), json.loads(contents[files.WEIGHTS])
    with_parameters(document, config, 2000)
    contents |= {files.MODEL: json.dumps(document).encode(), files.WEIGHTS: json.dumps(config).encode(),
                 "data/weights/large": bytes(2**25)}
    started = time.monotonic()
    read(files.archive(contents, zipfile.ZIP_DEFLATED))
    assert time.monotonic() - started < 60  # 2000 times 32 MiB take several minutes


@pytest.mark.parametrize("unit", [b"[],", b"{},", b'"",'])
def test_documents_of_many_small_values(unit: bytes) -> None:
    data = files.archive(files.entries(DATA) | {files.MODEL: b"[" + unit * (10 * 2**20) + b"0]"}, zipfile.ZIP_DEFLATED)
    with pytest.raises(ModelFormatError, match="too many values"):
        read(data)


def test_copies_of_a_stored_tensor_are_bounded() -> None:
    contents = files.entries(DATA)
    document, config = json.loads(contents[files.MODEL]), json.loads(contents[files.WEIGHTS])
    with_parameters(document, config, 1)
    for index in range(40):
        described(document, f"copy{index}", [2**24])
        files.nodes(document).insert(0, call("expand.default", f"copy{index}", self="p0", size=[2**24]))
    contents |= {files.MODEL: json.dumps(document).encode(), files.WEIGHTS: json.dumps(config).encode(),
                 "data/weights/large": bytes(4)}
    tracemalloc.start()
    try:
        with pytest.raises(ModelFormatError, match="many times their own size"):
            read(files.archive(contents))
        assert tracemalloc.get_traced_memory()[1] < 2**28
    finally:
        tracemalloc.stop()


def test_a_factor_that_a_product_does_not_have() -> None:
    def change(document: Any) -> None:
        listed = files.nodes(document)
        position, source = next((index + 1, item["outputs"][0]["as_tensor"]["name"])
                                for index, item in enumerate(listed) if "dequantize_per_tensor" in item["target"])
        described(document, "squares", [1])
        listed.insert(position, call("mul.Tensor", "squares", self=source, other=source, alpha=-1))
    with pytest.raises(UnsupportedModelError) as refusal:
        read(files.edited(DATA, change))
    assert "alpha" in refusal.value.where


def test_statistics_of_a_size_that_only_the_description_has() -> None:
    """A batch norm without weight and bias takes its channels from what is stored."""
    def change(document: Any) -> None:
        described(document, "huge", [1, 2**31 - 1])
        described(document, "normal", [1, 2**31 - 1])
        listed = files.nodes(document)
        listed.append(call("relu.default", "huge", self=listed[-1]["outputs"][0]["as_tensor"]["name"]))
        node = call("batch_norm.default", "normal", input="huge", running_mean="huge", running_var="huge")
        node["inputs"].append({"name": "eps", "arg": {"as_float": 1e-5}, "kind": 1})
        listed.append(node)
    tracemalloc.start()
    try:
        with pytest.raises(ModelFormatError, match="statistics"):
            read(files.edited(DATA, change))
        assert tracemalloc.get_traced_memory()[1] < 2**26
    finally:
        tracemalloc.stop()


def test_truncated_files() -> None:
    for length in [*range(0, 64), *range(64, len(DATA), 997), *range(len(DATA) - 64, len(DATA))]:
        with pytest.raises(REFUSALS):
            read(DATA[:length])


def outcome(data: bytes) -> str:
    """What loading makes of a file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            circuit = load(data)
    except REFUSALS as error:
        assert error.what and error.where and error.hint
        assert all(line.isprintable() for line in str(error).split("\n"))
        return type(error).__name__
    verify(circuit)
    return "circuit"


def test_flipped_bits() -> None:
    """Anywhere in the file. Checksums find them in what is read; what is not read may change."""
    rng = random.Random(1)
    for _ in range(300):
        data = bytearray(DATA)
        for _ in range(rng.choice((1, 2, 8))):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        outcome(bytes(data))


_VALUES = (None, True, False, 0, 1, -1, 2, 7, 255, 2**31, 2**63 - 1, -(2**63), 0.5, -1.0, 1e-45, 3e38, "", "x",
           "Infinity", "relu", [], {}, [0], [1, 2], {"as_int": 3}, {"as_none": True}, {"as_tensor": {"name": "x"}},
           {"as_ints": [1, 2, 3]})


def _places(value: Any, found: list[tuple[Any, Any]]) -> None:
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        if key in ("metadata", "module_call_graph", "torch_version", "verifiers", "range_constraints"):
            continue
        found.append((value, key))
        if isinstance(inner, (dict, list)):
            _places(inner, found)


def mutated(document: Any, rng: random.Random) -> None:
    """One to four values replaced, removed, repeated or taken from elsewhere in the document."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        places: list[tuple[Any, Any]] = []
        _places(document, places)
        holder, key = rng.choice(places)
        kind = rng.randrange(6)
        if kind == 0:
            del holder[key]
        elif kind in (1, 2):
            holder[key] = copy.deepcopy(rng.choice(_VALUES))
        elif kind == 3:
            other, place = rng.choice(places)
            holder[key] = copy.deepcopy(other[place])
        elif kind == 4 and isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
        elif isinstance(holder[key], int) and not isinstance(holder[key], bool):
            holder[key] += rng.choice((-1, 1, 2, -8, 2**20))


@pytest.mark.parametrize("name", [files.MODEL, files.WEIGHTS])
def test_mutated_documents(name: str) -> None:
    """Sound archives around mutated JSON: the checksums are right, the content is not."""
    contents = files.entries(DATA)
    document = json.loads(contents[name])
    rng = random.Random(2)
    seen: dict[str, int] = {}
    for _ in range(250):
        changed = copy.deepcopy(document)
        mutated(changed, rng)
        started = time.monotonic()
        try:
            result = outcome(files.archive(contents | {name: json.dumps(changed).encode()}))
        except BaseException:
            Path(f"broken-{os.path.basename(name)}").write_bytes(json.dumps(changed).encode())
            raise
        assert time.monotonic() - started < 5
        seen[result] = seen.get(result, 0) + 1
    assert seen["ModelFormatError"] > 25 and seen["circuit"] > 5


def test_reading_imports_no_torch(tmp_path: Path) -> None:
    """Neither the package nor its importer of .pt2 files needs torch or onnx: both blocked here."""
    program = f"""
import sys, warnings
for name in ("torch", "onnx", "onnxruntime", "torchao"):
    sys.modules[name] = None
import mpc_bridge
from mpc_bridge import registry
warnings.simplefilter("ignore")
circuit = mpc_bridge.load({str(files.SMALL)!r})
assert circuit.source == "pytorch", circuit
assert registry.importers().usable.keys() >= {{"tflite", "pytorch"}}
try:
    mpc_bridge.load({str(tmp_path / "script.pt")!r}, trust=True, input_shapes=[(1, 2)])
except mpc_bridge.errors.UsageError as error:
    print(error.what, error.hint)
"""
    with zipfile.ZipFile(tmp_path / "script.pt", "w") as file:
        for name in ("script/data.pkl", "script/constants.pkl", "script/code/__torch__.py"):
            file.writestr(name, b"")
    root = Path(__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr
    assert "needs torch" in done.stdout and "mpc-bridge[torch]" in done.stdout
