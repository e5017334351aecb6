"""TensorFlow Lite importer: int8 and uint8 models, with the exact integers of LiteRT's or TFLite's reference."""

from __future__ import annotations

import hashlib
from pathlib import Path

from mpc_bridge.circuit.graph import Circuit
from mpc_bridge.circuit.verify import verify
from mpc_bridge.errors import CircuitError, ModelFormatError, UsageError
from mpc_bridge.importers.base import API_VERSION, printable, read_model_file
from mpc_bridge.importers.tflite import schema
from mpc_bridge.importers.tflite.convert import REFUSALS, convert
from mpc_bridge.importers.tflite.operators import CONVERSIONS
from mpc_bridge.importers.tflite.parse import parse

PROFILES = ("litert", "tflite")


def load(path_or_bytes: str | Path | bytes, profile: str = "litert", name: str = "") -> Circuit:
    """Import a ``.tflite`` file.

    Args:
        path_or_bytes: the file, or all of its bytes.
        profile: ``"litert"`` (ai-edge-litert 1.4 and later, BUILTIN_REF) or ``"tflite"`` (tflite-runtime 2.14 and, but
            for LOGISTIC and TANH, tflite-micro); they differ in FULLY_CONNECTED.
        name: of the model, for people; the file's name when left out.

    Returns:
        A verified circuit that holds the weights.

    Raises:
        InputError: the file cannot be read.
        ModelFormatError: it is corrupt, truncated, or not a TensorFlow Lite model.
        UnsupportedModelError: it uses something that cannot be evaluated exactly; all of it is listed.
        UsageError: an unknown profile.
    """
    if profile not in PROFILES:
        raise UsageError(f"unknown profile {profile!r}", hint=f"TensorFlow Lite models have: {', '.join(PROFILES)}")
    if isinstance(path_or_bytes, bytes):
        data, source = path_or_bytes, name or "model"
    else:
        data, source = read_model_file(path_or_bytes), str(path_or_bytes)
        name = name or Path(path_or_bytes).stem
    circuit = convert(parse(data, source), printable(name, "model"), profile, hashlib.sha256(data).hexdigest())
    try:
        verify(circuit)
    except CircuitError as error:
        # the converter checks operators one by one; what is left: a graph or shapes that do not fit together
        raise ModelFormatError(error.what, where="\n".join(filter(None, (source, error.where))),
                               hint="the file is corrupt, or its shapes depend on its input: export it") from error
    return circuit


class TFLiteImporter:
    """The plugin object (see :class:`mpc_bridge.importers.base.Importer`)."""

    api_version = API_VERSION
    name = "tflite"
    suffixes: tuple[str, ...] = (".tflite",)
    profiles: tuple[str, ...] = PROFILES
    # every operator becomes ops of its own name
    kinds = frozenset(CONVERSIONS)
    operators: tuple[str, ...] = tuple(sorted(CONVERSIONS))
    refusals: tuple[tuple[str, str], ...] = REFUSALS

    def sniff(self, data: bytes) -> bool:
        """Whether bytes 4 to 7 are the identifier ``TFL3``."""
        return data[4:8] == schema.IDENTIFIER

    def load(self, data: bytes, name: str, profile: str) -> Circuit:
        """See :func:`load`."""
        return load(data, profile, name)


importer = TFLiteImporter()
