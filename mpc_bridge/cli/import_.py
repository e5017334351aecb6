"""``mpc-bridge import``: a model file to a ``.circuit``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mpc_bridge.circuit.serialize import save
from mpc_bridge.cli import options
from mpc_bridge.cli.console import emit
from mpc_bridge.cli.files import check_writable
from mpc_bridge.cli.models import load
from mpc_bridge.quantities import grouped


def import_model(
    model: options.Model,
    destination: Annotated[Path, typer.Argument(metavar="OUT.circuit", help="What to write.", show_default=False)],
    profile: options.Profile = None,
    trust: options.Trust = False,
    input_shape: options.InputShape = None,
    public: Annotated[bool, typer.Option("--public", help="Leave out weights and biases: what parties get.")] = False,
) -> None:
    """Import MODEL and write it as one .circuit file, weights included unless --public."""
    check_writable(destination, "OUT.circuit", ".circuit")
    circuit = load(model, profile, trust, input_shape or ())
    save(circuit.public() if public else circuit, destination)
    if public:
        held = "public part only"
    elif circuit.constants:
        held = "with its weights: keep it secret"
    else:
        held = "public part only, as its source"
    ops, size = len(circuit.ops), grouped(destination.stat().st_size)
    emit(f"{destination}: {circuit.name}, profile {circuit.profile}, {ops} ops, {size} bytes, {held}")
