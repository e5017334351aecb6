"""Model files for the commands that need them."""

from __future__ import annotations

from pathlib import Path

import mpc_bridge
from mpc_bridge.circuit.graph import Circuit
from mpc_bridge.errors import InputError, MpcBridgeError


def load(path: Path, profile: str | None) -> Circuit:
    """As :func:`mpc_bridge.load`, with the file's path in every error (importers know the model's name alone)."""
    try:
        return mpc_bridge.load(path, profile)
    except MpcBridgeError as error:
        places = [line for line in error.where.splitlines() if line not in (path.stem, str(path))]
        error.where = "\n".join([str(path), *places])
        raise


def load_with_weights(path: Path, profile: str | None) -> Circuit:
    """A circuit that can be evaluated.

    Raises:
        InputError: the file holds the public part only. Otherwise as :func:`load`.
    """
    circuit = load(path, profile)
    if circuit.is_public:
        raise InputError(
            "this circuit holds no weights",
            where=str(path),
            hint="evaluate the model file itself, or a .circuit imported without --public",
        )
    return circuit
