"""``mpc-bridge demo``: the bundled model on bundled real images, three parties on this machine."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import as_file, files
from typing import Annotated

import numpy as np
import typer

from mpc_bridge.cli import options
from mpc_bridge.cli.evaluation import Choices, Destinations, evaluate_and_tell
from mpc_bridge.cli.inputs import load_inputs
from mpc_bridge.cli.models import load_with_weights


def demo(
    samples: Annotated[int, typer.Option(min=1, max=10, help="How many of the ten images.")] = 10,
    security: options.Security = None,
    majority: options.Majority = "honest",
    backend: options.Backend = None,
    device: options.Device = "auto",
    as_json: options.Json = False,
) -> None:
    """Recognise handwritten digits without any party seeing an image, a weight or an answer."""
    with as_file(files("mpc_bridge") / "demo") as folder:
        circuit = load_with_weights(folder / "digits.tflite", None)
        data = load_inputs(circuit, [folder / "inputs.npz"], samples)
        with np.load(folder / "inputs.npz") as bundled:
            labels = tuple(int(label) for label in bundled["labels"][:samples])
    choices = Choices(security, majority, None, backend, None, device, "output", True)
    evaluate_and_tell(circuit, replace(data, labels=labels), choices, Destinations(None, None, as_json))
