"""PyTorch importer: statically quantized models, as ``torch.export.save`` writes them (``.pt2``), read without torch.

TorchScript files of FX and eager quantization are read with torch, and only for those who trust them: loading one runs
what it says.
"""

from __future__ import annotations

import hashlib
import io
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mpc_bridge.circuit.graph import Circuit
from mpc_bridge.circuit.verify import verify
from mpc_bridge.errors import CircuitError, ModelFormatError, UsageError
from mpc_bridge.importers.base import API_VERSION, ModelWarning, printable, read_model_file
from mpc_bridge.importers.pytorch import refusals
from mpc_bridge.importers.pytorch.calls import Program
from mpc_bridge.importers.pytorch.exported import read_program
from mpc_bridge.importers.pytorch.operators import OPERATORS
from mpc_bridge.importers.pytorch.translate import translate
from mpc_bridge.importers.qdq.graph import EMITTED, Graph

#: ``pytorch``: float bias at product scale (fbgemm, onednn, and PT2E as it runs in PyTorch). ``qnnpack``: int32 bias.
PROFILES = ("pytorch", "qnnpack")

_ZIP = b"PK\x03\x04"


def read(data: bytes, name: str = "model", profile: str = "pytorch") -> tuple[Graph, tuple[str, ...]]:
    """A ``.pt2`` file as a neutral graph, and notes for the file's owner.

    Args:
        data: the whole file. It may be hostile: nothing in it is executed or unpickled.
        name: of the model, for people.
        profile: one of :data:`PROFILES`.

    Raises:
        ModelFormatError: it is corrupt, truncated, or no ``.pt2`` file.
        UnsupportedModelError: it is another kind of file or model, or uses operators that are not read; the message
            says which, and how to make one that is.
        UsageError: an unknown profile.
    """
    if profile not in PROFILES:
        raise UsageError(f"unknown profile {profile!r}", hint=f"PyTorch models have: {', '.join(PROFILES)}")
    name = printable(name, "model")
    if data[: len(_ZIP)] != _ZIP:
        raise refusals.not_a_zip(data, name)
    program = read_program(data, name)
    return _translated(program, name, profile, data), program.notes


def _translated(program: Program, name: str, profile: str, data: bytes) -> Graph:
    return translate(program, printable(name, "model"), profile, hashlib.sha256(data).hexdigest())


def _circuit(graph: Graph) -> Circuit:
    from mpc_bridge.importers.qdq.convert import convert

    circuit = convert(graph)
    try:
        verify(circuit)
    except CircuitError as error:
        raise ModelFormatError(error.what, where="\n".join(filter(None, (graph.name, error.where))),
                               hint="the shapes of the file do not fit together: export it again") from error
    return circuit


def load(path_or_bytes: str | Path | bytes, profile: str = "pytorch", name: str = "") -> Circuit:
    """Import a ``.pt2`` file. What its owner should know about it comes as a :class:`ModelWarning`.

    Args:
        path_or_bytes: the file, or all of its bytes.
        profile: one of :data:`PROFILES`.
        name: of the model, for people; the file's name when left out.

    Returns:
        A verified circuit that holds the weights.

    Raises:
        InputError: the file cannot be read. Otherwise as :func:`read`.
    """
    if isinstance(path_or_bytes, bytes):
        data, name = path_or_bytes, name or "model"
    else:
        data, name = read_model_file(path_or_bytes), name or Path(path_or_bytes).stem
    graph, notes = read(data, name, profile)
    circuit = _circuit(graph)
    for note in notes:
        warnings.warn(f"{graph.name}: {note}", ModelWarning, stacklevel=2)
    return circuit


def load_trusted(data: bytes, name: str, profile: str, input_shapes: Sequence[tuple[int, ...]]) -> Circuit:
    """As :func:`load`, and TorchScript files too: runs what they say.

    Args:
        data: the whole file.
        name: of the model, for people.
        profile: one of :data:`PROFILES`; ``""``: of the engine that torch is set to.
        input_shapes: of the inputs of a TorchScript model, batch first; a ``.pt2`` holds its own.
    """
    from mpc_bridge.importers.pytorch import torchscript

    if not refusals.is_torchscript(data):
        if input_shapes:
            raise UsageError("input shapes are taken from the file", where=name,
                             hint="give them for TorchScript files alone")
        return load(data, profile or PROFILES[0], name)
    profile = profile or torchscript.engine_profile()
    if profile not in PROFILES:
        raise UsageError(f"unknown profile {profile!r}", hint=f"PyTorch models have: {', '.join(PROFILES)}")
    name = printable(name, "model")
    program = torchscript.read_trusted(data, name, profile, input_shapes)
    return _circuit(_translated(program, name, profile, data))


def from_torch(exported_program: Any, name: str = "model", profile: str = "pytorch") -> Circuit:
    """The circuit of a model in memory.

    It goes through the bytes that ``torch.export.save`` makes of it: what is read is what a file would hold.

    Args:
        exported_program: what ``torch.export.export`` returned for a statically quantized model.
        name: of the model, for people.
        profile: one of :data:`PROFILES`.

    Raises:
        UsageError: it is something else, or torch cannot save it.
        UnsupportedModelError: as :func:`read`.
    """
    # whoever holds an exported program has imported torch
    torch = sys.modules.get("torch")
    export = sys.modules.get("torch.export")
    if torch is not None and isinstance(exported_program, torch.nn.Module):
        raise UsageError("a module is not an exported program", where=type(exported_program).__name__,
                         hint="from_torch(torch.export.export(module.eval(), example_inputs))")
    if export is None or not isinstance(exported_program, export.ExportedProgram):
        raise UsageError("not an exported program", where=printable(type(exported_program).__name__, "?"),
                         hint="give what torch.export.export(module, example_inputs) returns")
    stream = io.BytesIO()
    try:
        export.save(exported_program, stream)
    except Exception as error:  # torch raises what its parts raise
        raise UsageError("torch cannot save this exported program", where=name,
                         hint=printable(str(error).splitlines()[0] if str(error) else "", "no reason given")) from error
    graph, _ = read(stream.getvalue(), name, profile)
    return _circuit(graph)


class PyTorchImporter:
    """The plugin object (see :class:`mpc_bridge.importers.base.TrustedImporter`)."""

    api_version = API_VERSION
    name = "pytorch"
    suffixes: tuple[str, ...] = (".pt2", ".pt", ".pth", ".ptl")
    profiles: tuple[str, ...] = PROFILES
    kinds = EMITTED
    # interpolation in floats is read for the sake of its refusal
    operators: tuple[str, ...] = tuple(sorted(target.removeprefix("torch.ops.") for target in OPERATORS
                                              if "bilinear" not in target))
    refusals: tuple[tuple[str, str], ...] = refusals.REFUSALS

    def sniff(self, data: bytes) -> bool:
        """Whether it is a zip file with entries of torch's."""
        return data[: len(_ZIP)] == _ZIP and any(name in data for name in (b"/archive_format", b"/data.pkl"))

    def load(self, data: bytes, name: str, profile: str) -> Circuit:
        """See :func:`load`."""
        return load(data, profile, name)

    def load_trusted(self, data: bytes, name: str, profile: str, input_shapes: Sequence[tuple[int, ...]]) -> Circuit:
        """See :func:`load_trusted`."""
        return load_trusted(data, name, profile, input_shapes)


importer = PyTorchImporter()
