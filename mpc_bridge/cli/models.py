"""Model files for the commands that need them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import mpc_bridge
from mpc_bridge.circuit.graph import Circuit
from mpc_bridge.cli.console import note
from mpc_bridge.errors import InputError, MpcBridgeError, UsageError
from mpc_bridge.importers.base import ModelWarning


def load(path: Path, profile: str | None, trust: bool = False, shapes: Sequence[str] = ()) -> Circuit:
    """As :func:`mpc_bridge.load`, with the file's path in every error (importers know the model's name alone).

    What the model's owner should know is printed to standard error. ``shapes`` are words like ``1x3x32x32``.
    """
    parsed = [_shape(word) for word in shapes]
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ModelWarning)
            circuit = mpc_bridge.load(path, profile, trust, parsed)
        for warning in caught:
            if issubclass(warning.category, ModelWarning):
                note(f"note: {warning.message}")
        return circuit
    except MpcBridgeError as error:
        places = [line for line in error.where.splitlines() if line not in (path.stem, str(path))]
        error.where = "\n".join([str(path), *places])
        raise


def _shape(word: str) -> tuple[int, ...]:
    sizes = word.lower().split("x")
    if not all(size.isdecimal() and size.isascii() and len(size) < 10 for size in sizes):
        raise UsageError("not a shape", where=f"--input-shape {word}", hint="write it as 1x3x32x32, batch first")
    return tuple(map(int, sizes))


def load_with_weights(path: Path, profile: str | None, trust: bool = False, shapes: Sequence[str] = ()) -> Circuit:
    """A circuit that can be evaluated.

    Raises:
        InputError: the file holds the public part only. Otherwise as :func:`load`.
    """
    circuit = load(path, profile, trust, shapes)
    if circuit.is_public:
        raise InputError(
            "this circuit holds no weights",
            where=str(path),
            hint="evaluate the model file itself, or a .circuit imported without --public",
        )
    return circuit
