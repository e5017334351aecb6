"""Reads a ``.pt2`` file, as ``torch.export.save`` of torch 2.9 and later writes it, without torch.

A zip archive of ``models/<name>.json`` (the graph, schema 8), ``data/weights/<name>_weights_config.json`` and
``data/constants/<name>_constants_config.json`` (where each tensor lies) and raw little-endian storages. Everything
pickled in it (sample inputs, custom objects) stays closed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from mpc_bridge.errors import UnsupportedModelError
from mpc_bridge.importers.base import printable
from mpc_bridge.importers.pytorch import refusals
from mpc_bridge.importers.pytorch.archive import Archive, open_archive
from mpc_bridge.importers.pytorch.calls import MAX_ELEMENTS, MAX_RANK, Argument, Call, Meta, Program, Ref
from mpc_bridge.importers.pytorch.document import MAX_JSON, Fields, parse

SCHEMA_MAJOR = 8
#: Greatest number of nodes of a graph, and of values in one of its lists.
MAX_NODES = 100_000
MAX_LIST = 4096
#: Bytes that tensors may take beyond four times the file: torch stores expanded tensors as their storage.
_EXPANSION = 16 * 2**20

_STORED = {"uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64", "bool"}


def read_program(data: bytes, source: str) -> Program:
    """The exported program of a ``.pt2`` file.

    Args:
        data: the whole file; hostile.
        source: its name, for people.

    Raises:
        ModelFormatError: corrupt, truncated, or no ``.pt2`` file.
        UnsupportedModelError: sound, and not a graph of tensors that is read here; says how to make one.
    """
    archive = open_archive(data, source)
    refusals.check_archive(archive)
    models = [name for name in archive.entries if name.startswith("models/") and name.endswith(".json")]
    if len(models) != 1:
        raise UnsupportedModelError(f"the file holds {len(models)} models", where=source,
                                    hint="save one exported program: torch.export.save(program, 'model.pt2')")
    name = models[0][len("models/") : -len(".json")]
    document = parse(archive.read(models[0], MAX_JSON), source, models[0])
    return _Reader(archive, name, document).program()


class _Reader:
    def __init__(self, archive: Archive, name: str, document: Any) -> None:
        self.archive = archive
        self.model = name
        self.fields = Fields(archive.source, f"models/{name}.json")
        self.document = self.fields.object(document)
        self._check_version()
        module = self.fields.field(document, "graph_module")
        self.graph = self.fields.object(self.fields.field(module, "graph"))
        self.signature = self.fields.field(module, "signature")
        self.symbols: dict[str, int] = {}
        self.metas: dict[str, Meta] = {}
        self.known: set[str] = set()
        self.values: dict[str, Argument] = {}
        self.stored: dict[str, tuple[str, str]] = {}

    def program(self) -> Program:
        self._batch_symbols()
        inputs = self._inputs()
        calls = self._calls()
        outputs = self._outputs()
        used = {name for call in calls for argument in call.arguments.values() for name in _tensors(argument)}
        constants = self._constants([name for name in self.stored if name in used or name in outputs])
        notes = []
        if any(name.startswith("data/sample_inputs/") for name in self.archive.entries):
            notes.append("the file holds the example inputs that it was exported with: keep it to yourself if they are "
                         "private")
        return Program(self.archive.source, inputs, outputs, calls, self.metas, constants, notes=tuple(notes))

    def _check_version(self) -> None:
        version = self.fields.field(self.document, "schema_version")
        major = self.fields.integer(self.fields.field(version, "major"))
        if major != SCHEMA_MAJOR:
            raise UnsupportedModelError(f"a .pt2 file of schema {major}; this version reads {SCHEMA_MAJOR}",
                                        where=self.archive.source,
                                        hint="export the model with torch 2.9 to 2.13, or update mpc-bridge")
        if "byteorder" in self.archive and self.archive.read("byteorder", 16).tobytes().strip() != b"little":
            raise UnsupportedModelError("the stored tensors are big-endian", where=self.archive.source,
                                        hint="save the model on a little-endian computer")

    def _specs(self, side: str, kinds: set[str]) -> list[tuple[str, Any]]:
        found = []
        for spec in self.fields.list(self.fields.field(self.signature, side), MAX_NODES):
            kind, content = self.fields.variant(spec)
            if kind not in kinds:
                refusals.signature(kind, self.archive.source)
            found.append((kind, content))
        return found

    def _tensor_values(self) -> Mapping[str, Any]:
        return self.fields.object(self.fields.field(self.graph, "tensor_values"))

    def _batch_symbols(self) -> None:
        """A symbolic first dimension of an input is a batch: it is read as 1."""
        values = self._tensor_values()
        for kind, content in self._specs("input_specs", {"user_input", "parameter", "buffer", "tensor_constant",
                                                         "constant_input"}):
            if kind != "user_input":
                continue
            variant, argument = self.fields.variant(self.fields.field(content, "arg"))
            if variant != "as_tensor":
                continue
            name = self.fields.name(self.fields.field(argument, "name"))
            sizes = self.fields.list(self.fields.field(self.fields.field(values, name), "sizes"), MAX_RANK)
            for axis, size in enumerate(sizes):
                how, expression = self.fields.variant(size)
                if how == "as_expr":
                    symbol = _symbol(self.fields.text(self.fields.field(expression, "expr_str")))
                    if axis or symbol is None:
                        refusals.symbolic(name, axis, self.archive.source)
                    self.symbols[symbol] = 1

    def _inputs(self) -> tuple[str, ...]:
        fields = self.fields
        inputs: list[str] = []
        for kind, content in self._specs("input_specs", {"user_input", "parameter", "buffer", "tensor_constant",
                                                         "constant_input"}):
            if kind == "constant_input":
                name = fields.name(fields.field(content, "name"))
                variant, value = fields.variant(fields.field(content, "value"))
                self.values[name] = self._argument({variant: value})
                self.known.add(name)
                continue
            argument = fields.field(content, "arg")
            if kind == "user_input":
                variant, argument = fields.variant(argument)
                if variant != "as_tensor":
                    raise UnsupportedModelError("an input of the model is not a tensor", where=self.archive.source,
                                                hint="export a model whose inputs are all tensors")
            name = fields.name(fields.field(argument, "name"))
            self._define(name)
            if kind == "user_input":
                inputs.append(name)
            else:
                full = fields.text(fields.field(content, {"parameter": "parameter_name", "buffer": "buffer_name",
                                                          "tensor_constant": "tensor_constant_name"}[kind]))
                folder = "weights" if kind == "parameter" or content.get("persistent") is True else "constants"
                self.stored[name] = (folder, full)
        return tuple(inputs)

    def _define(self, name: str) -> None:
        if name in self.known:
            self.fields.wrong(f"{name} is defined twice")
        self.known.add(name)
        if name in self._tensor_values():
            try:
                self.metas[name] = self.fields.meta(self._tensor_values()[name], self.symbols)
            except KeyError:
                refusals.symbolic(name, -1, self.archive.source)

    def _calls(self) -> tuple[Call, ...]:
        fields = self.fields
        calls = []
        for index, node in enumerate(fields.list(fields.field(self.graph, "nodes"), MAX_NODES)):
            target = fields.text(fields.field(node, "target"), 256)
            refusals.check_target(target, index, self.archive.source)
            arguments: dict[str, Argument] = {}
            for entry in fields.list(fields.field(node, "inputs"), MAX_LIST):
                name = fields.text(fields.field(entry, "name"), 128)
                if name in arguments:
                    fields.wrong(f"node {index}: an argument appears twice")
                arguments[name] = self._argument(fields.field(entry, "arg"))
            outputs = self._results(fields.list(fields.field(node, "outputs"), MAX_LIST))
            if outputs:
                calls.append(Call(index, target.removeprefix("torch.ops."), arguments, outputs))
        return tuple(calls)

    def _results(self, values: list[Any]) -> tuple[str, ...]:
        """Names of the tensors that a node makes; symbolic sizes are evaluated on the way."""
        fields = self.fields
        outputs: list[str] = []
        for value in values:
            kind, content = fields.variant(value)
            if kind == "as_tensor":
                outputs.append(fields.name(fields.field(content, "name")))
            elif kind == "as_tensors":
                outputs += [fields.name(fields.field(item, "name")) for item in fields.list(content, MAX_LIST)]
            elif kind == "as_sym_int":
                self._size(content)
            elif kind not in ("as_none", "as_sym_bool", "as_sym_float"):
                fields.wrong("a node's output is no tensor")
        for name in outputs:
            self._define(name)
        return tuple(outputs)

    def _size(self, content: Any) -> None:
        kind, name = self.fields.variant(content)
        if kind != "as_name":
            return
        name = self.fields.name(name)
        expressions = self.fields.object(self.fields.field(self.graph, "sym_int_values"))
        try:
            self.values[name] = self.fields.dimension(self.fields.field(expressions, name), self.symbols)
        except KeyError:
            refusals.symbolic(name, -1, self.archive.source)

    def _argument(self, value: Any) -> Argument:
        fields = self.fields
        kind, content = fields.variant(value)
        if kind == "as_none":
            return None
        if kind == "as_tensor":
            return self._ref(content)
        if kind == "as_tensors":
            return [self._ref(item) for item in fields.list(content, MAX_LIST)]
        if kind == "as_optional_tensor":
            return self._optional(content)
        if kind == "as_optional_tensors":
            return [self._optional(item) for item in fields.list(content, MAX_LIST)]
        if kind == "as_int":
            return fields.integer(content)
        if kind == "as_ints":
            return [fields.integer(item) for item in fields.list(content, MAX_LIST)]
        if kind == "as_float":
            return fields.number(content)
        if kind == "as_floats":
            return [fields.number(item) for item in fields.list(content, MAX_LIST)]
        if kind == "as_bool":
            return fields.boolean(content)
        if kind == "as_bools":
            return [fields.boolean(item) for item in fields.list(content, MAX_LIST)]
        if kind == "as_string":
            return fields.text(content)
        if kind == "as_scalar_type":
            return fields.dtype(content)
        if kind == "as_sym_int":
            return self._sym_int(content)
        if kind == "as_sym_ints":
            return [self._sym_int(item) for item in fields.list(content, MAX_LIST)]
        if kind in ("as_memory_format", "as_layout", "as_device", "as_sym_bool", "as_sym_float"):
            return kind  # where a tensor lies and conditions on sizes change no value
        refusals.argument(kind, self.archive.source)

    def _optional(self, value: Any) -> Argument:
        kind, content = self.fields.variant(value)
        return None if kind == "as_none" else self._ref(content)

    def _ref(self, content: Any) -> Argument:
        name = self.fields.name(self.fields.field(content, "name"))
        if name in self.values:
            return self.values[name]
        if name not in self.known:
            self.fields.wrong(f"{name} is used before it is made")
        return Ref(name)

    def _sym_int(self, content: Any) -> int:
        kind, value = self.fields.variant(content)
        if kind == "as_int":
            return self.fields.integer(value)
        name = self.fields.name(value)
        if kind != "as_name" or not isinstance(self.values.get(name), int):
            self.fields.wrong(f"the size {name} is used before it is known")
        found: int = self.values[name]
        return found

    def _outputs(self) -> tuple[str, ...]:
        fields = self.fields
        outputs = []
        for _, content in self._specs("output_specs", {"user_output"}):
            kind, argument = fields.variant(fields.field(content, "arg"))
            if kind != "as_tensor":
                raise UnsupportedModelError("an output of the model is not a tensor", where=self.archive.source,
                                            hint="export a model whose outputs are all tensors")
            name = fields.name(fields.field(argument, "name"))
            if name not in self.known or name in self.values:
                fields.wrong(f"the output {name} is made by no node")
            outputs.append(name)
        if not outputs:
            fields.wrong("the graph has no output")
        return tuple(outputs)

    def _constants(self, names: list[str]) -> dict[str, npt.NDArray[np.generic]]:
        """The stored tensors that are used."""
        configs = {folder: self._config(folder) for folder in ("weights", "constants")}
        budget = 4 * len(self.archive.data) + _EXPANSION
        found: dict[str, npt.NDArray[np.generic]] = {}
        for name in names:
            folder, full = self.stored[name]
            if full not in configs[folder]:
                folder = "constants" if folder == "weights" else "weights"
            if full not in configs[folder]:
                self.fields.wrong(f"the stored tensor {full} is missing")
            array = self._stored_tensor(folder, full, configs[folder][full], budget)
            budget -= array.nbytes
            found[name] = array
        return found

    def _config(self, folder: str) -> Mapping[str, Any]:
        path = f"data/{folder}/{self.model}_{folder}_config.json"
        if path not in self.archive:
            return {}
        fields = Fields(self.archive.source, path)
        document = parse(self.archive.read(path, MAX_JSON), self.archive.source, path)
        return fields.object(fields.field(document, "config"))

    def _stored_tensor(self, folder: str, full: str, entry: Any, budget: int) -> npt.NDArray[np.generic]:
        shown = printable(full, "?")
        fields = Fields(self.archive.source, f"data/{folder}: {shown}")
        if fields.boolean(fields.field(entry, "use_pickle")):
            refusals.pickled(shown, self.archive.source)
        file = fields.text(fields.field(entry, "path_name"))
        description = fields.field(entry, "tensor_meta")
        try:
            meta = fields.meta(description, {})
            strides = [fields.dimension(value, {}) for value in fields.list(fields.field(description, "strides"))]
            offset = fields.dimension(fields.field(description, "storage_offset"), {})
        except KeyError:
            fields.wrong("a stored tensor has a symbolic size")
        if meta.dtype not in _STORED:
            raise UnsupportedModelError(f"{shown} has element type {meta.dtype}", where=self.archive.source,
                                        hint="quantize and export the model in float32")
        dtype = np.dtype(meta.dtype).newbyteorder("<")
        count = math.prod(meta.shape)
        if len(strides) != len(meta.shape) or count * dtype.itemsize > budget:
            fields.wrong("its strides do not fit its shape, or it is larger than the file could hold")
        if not 0 <= offset <= MAX_ELEMENTS or any(not 0 <= stride <= MAX_ELEMENTS for stride in strides):
            fields.wrong("a stride or offset is out of range")
        content = self.archive.read(f"data/{folder}/{file}")
        last = offset + sum((size - 1) * stride for size, stride in zip(meta.shape, strides, strict=True))
        if len(content) % dtype.itemsize or (count and (last + 1) * dtype.itemsize > len(content)):
            fields.wrong(f"it lies outside its {len(content)} bytes")
        if not count:
            return np.zeros(meta.shape, meta.dtype)
        storage = np.frombuffer(content, dtype)
        view = np.lib.stride_tricks.as_strided(storage[offset:], meta.shape,
                                               [stride * dtype.itemsize for stride in strides], writeable=False)
        if meta.dtype == "bool" and np.frombuffer(content, np.uint8).max() > 1:
            fields.wrong("a stored truth value is neither 0 nor 1")
        return np.array(view, meta.dtype, order="C")


def _symbol(expression: str) -> str | None:
    """The name in an expression that is one symbol: ``s0`` or ``Symbol('s0', …)``."""
    if expression.isidentifier():
        return expression
    parts = expression.split("'")
    plain = len(parts) == 3 and parts[0] == "Symbol(" and parts[2].endswith(")") and parts[2].count(")") == 1
    return parts[1] if plain and parts[1].isidentifier() else None


def _tensors(argument: Argument) -> list[str]:
    if isinstance(argument, Ref):
        return [argument.name]
    return [item.name for item in argument if isinstance(item, Ref)] if isinstance(argument, list) else []
