"""``mpc-bridge show``: exactly what a computing party learns about a model."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from mpc_bridge.circuit.printer import format_circuit
from mpc_bridge.cli import options
from mpc_bridge.cli.models import load
from mpc_bridge.cli.program_text import format_program
from mpc_bridge.lowering import lower


def show(
    model: options.Model,
    profile: options.Profile = None,
    trust: options.Trust = False,
    input_shape: options.InputShape = None,
    program: Annotated[bool, typer.Option("--program", help="Print the steps that parties run, too.")] = False,
) -> None:
    """Print the public part of MODEL: what every party learns. Weights and biases are never printed."""
    circuit = load(model, profile, trust, input_shape or ()).public()
    sys.stdout.write(format_circuit(circuit))
    if program:
        sys.stdout.write("\n" + format_program(lower(circuit)))
