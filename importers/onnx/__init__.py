"""ONNX importer: statically quantized int8 and uint8 models, QDQ and QOperator, with the integers of onnxruntime."""

from __future__ import annotations

import hashlib
from pathlib import Path

from mpc_bridge.circuit.graph import Circuit
from mpc_bridge.errors import UsageError
from mpc_bridge.importers.base import API_VERSION, printable, read_model_file
from mpc_bridge.importers.onnx.proto import parse
from mpc_bridge.importers.onnx.read import CONVERSIONS, read
from mpc_bridge.importers.onnx.refusals import REFUSALS
from mpc_bridge.importers.qdq.convert import convert
from mpc_bridge.importers.qdq.graph import EMITTED, Graph

PROFILES = ("onnx",)


def load_graph(data: bytes, name: str = "model", source: str = "model", profile: str = "onnx") -> Graph:
    """The neutral graph of an ``.onnx`` file: what the file says, before it is turned into integers.

    Raises:
        ModelFormatError: it is corrupt, truncated, or not an ONNX model.
        UnsupportedModelError: it cannot be evaluated exactly; all reasons are listed.
        UsageError: an unknown profile, or the package ``onnx`` is not installed.
    """
    if profile not in PROFILES:
        raise UsageError(f"unknown profile {profile!r}", hint=f"ONNX models have: {', '.join(PROFILES)}")
    return read(parse(data, source), printable(name, "model"), profile, hashlib.sha256(data).hexdigest())


def load(path_or_bytes: str | Path | bytes, profile: str = "onnx", name: str = "") -> Circuit:
    """Import an ``.onnx`` file.

    Args:
        path_or_bytes: the file, or all of its bytes.
        profile: ``"onnx"``: onnxruntime's integers.
        name: of the model, for people; the file's name when left out.

    Returns:
        A verified circuit that holds the weights.

    Raises:
        InputError: the file cannot be read.
        ModelFormatError: it is corrupt, truncated, or not an ONNX model.
        UnsupportedModelError: it uses something that cannot be evaluated exactly; all of it is listed.
        UsageError: an unknown profile, or the package ``onnx`` is not installed.
    """
    if isinstance(path_or_bytes, bytes):
        data, source = path_or_bytes, name or "model"
    else:
        data, source = read_model_file(path_or_bytes), str(path_or_bytes)
        name = name or Path(path_or_bytes).stem
    return convert(load_graph(data, name, source, profile))


class OnnxImporter:
    """The plugin object (see :class:`mpc_bridge.importers.base.Importer`)."""

    api_version = API_VERSION
    name = "onnx"
    suffixes: tuple[str, ...] = (".onnx",)
    profiles: tuple[str, ...] = PROFILES
    kinds = EMITTED
    operators: tuple[str, ...] = tuple(sorted(
        f"{domain}.{kind}" if domain else kind for domain, kinds in CONVERSIONS.items() for kind in kinds))
    refusals: tuple[tuple[str, str], ...] = REFUSALS

    def sniff(self, data: bytes) -> bool:
        """Whether a file starts like a ModelProto: its IR version, then the name of a producer, an opset or a graph."""
        return data[:1] == b"\x08" and b"\0" < data[1:2] < b"\x40" and data[2:3] in (b"\x12", b"\x3a", b"\x42")

    def load(self, data: bytes, name: str, profile: str) -> Circuit:
        """See :func:`load`."""
        return load(data, profile, name)


importer = OnnxImporter()
