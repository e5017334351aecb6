"""``mpc-bridge eval``: a model on inputs, under a threat model, with its cost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mpc_bridge.cli import options
from mpc_bridge.cli.evaluation import Choices, Destinations, evaluate_and_tell
from mpc_bridge.cli.inputs import load_inputs
from mpc_bridge.cli.labels import with_labels
from mpc_bridge.cli.models import load_with_weights
from mpc_bridge.runtime.session import DEFAULT_TIMEOUT


def evaluate(
    model: options.Model,
    security: options.Security = None,
    majority: options.Majority = "honest",
    parties: options.Parties = None,
    backend: options.Backend = None,
    preprocessing: options.Preprocessing = None,
    model_owner: options.ModelOwner = None,
    device: options.Device = "auto",
    profile: options.Profile = None,
    trust: options.Trust = False,
    input_shape: options.InputShape = None,
    inputs: Annotated[
        list[Path] | None,
        typer.Option(
            "--input",
            metavar="FILE",
            help="One per model input: .npy, .npz, .png, .jpg or .bmp; or one folder with a sub-folder of images for "
            "every class.",
            show_default="random, and says so",
        ),
    ] = None,
    samples: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Evaluate the first N.", show_default="all; 1 when random")
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="True classes, to print the top-1 accuracy: .npy, .npz, or integers in a .txt or .csv.",
            show_default="the sub-folders of --input, if it has them",
        ),
    ] = None,
    reveal: Annotated[
        str, typer.Option(metavar="WHAT", help="What the receiver learns: output, or argmax (the index alone).")
    ] = "output",
    check: Annotated[bool, typer.Option(help="Compare with the reference interpreter.")] = True,
    transport: Annotated[
        str, typer.Option(metavar="NAME", help="How the local parties talk: unix sockets, or loopback tcp.")
    ] = "unix",
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="Silence after which a party that is due counts as lost.")
    ] = DEFAULT_TIMEOUT,
    output: options.Output = None,
    report: options.Report = None,
    as_json: options.Json = False,
) -> None:
    """Evaluate MODEL on secret-shared inputs and weights, and say what it cost.

    Exit codes: 0 done; 1 the result differs from the reference; 2 usage or bad input; 3 unsupported model or
    combination; 4 cheating detected; 5 a party was lost or timed out.
    """
    destinations = Destinations(output, report, as_json)
    destinations.check()
    circuit = load_with_weights(model, profile, trust, input_shape or ())
    data = load_inputs(circuit, inputs or (), samples)
    if labels is not None:
        data = with_labels(circuit, data, labels, samples is not None)
    choices = Choices(security, majority, parties, backend, preprocessing, device, reveal, check, transport, timeout,
                      model_owner)
    evaluate_and_tell(circuit, data, choices, destinations)
