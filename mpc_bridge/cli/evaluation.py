"""What ``eval`` and ``demo`` share: run, write the files, tell the person."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import typer

import mpc_bridge
from mpc_bridge.circuit.graph import Circuit
from mpc_bridge.cli.console import note
from mpc_bridge.cli.failures import EXIT_DIFFERS
from mpc_bridge.cli.files import check_writable, write_together
from mpc_bridge.cli.inputs import LoadedInputs
from mpc_bridge.cli.labels import accuracy, check_scores, predicted
from mpc_bridge.cli.progress import progress
from mpc_bridge.cli.summary import print_summary
from mpc_bridge.runtime.session import DEFAULT_TIMEOUT


@dataclass(frozen=True)
class Choices:
    """How to evaluate, in the words of the command line; None leaves the choice to the launcher."""

    security: str | None
    majority: str
    parties: int | None
    backend: str | None
    preprocessing: str | None
    device: str
    reveal: str
    check: bool
    transport: str = "unix"
    timeout: float = DEFAULT_TIMEOUT
    model_owner: int | None = None


@dataclass(frozen=True)
class Destinations:
    """Where results go besides the terminal."""

    output: Path | None
    report: Path | None
    as_json: bool

    def check(self) -> None:
        """Raises UsageError when a file cannot be written, before any work is done."""
        if self.output is not None:
            check_writable(self.output, "--output", ".npz")
        if self.report is not None:
            check_writable(self.report, "--report", ".json")


def evaluate_and_tell(circuit: Circuit, data: LoadedInputs, choices: Choices, destinations: Destinations) -> None:
    """Evaluate, write the asked files, print the report.

    Raises:
        typer.Exit: with code 1 when the outputs differ from the reference interpreter's.
        MpcBridgeError: whatever the evaluation raises; no file is written then.
    """
    if data.labels is not None:
        check_scores(circuit, data.labels)
    with progress() as update:
        result = mpc_bridge.evaluate(
            circuit,
            data.arrays,
            security=choices.security,
            majority=choices.majority,
            parties=choices.parties,
            backend=choices.backend,
            preprocessing=choices.preprocessing,
            model_owner=choices.model_owner,
            device=choices.device,
            reveal=choices.reveal,
            check=choices.check,
            transport=choices.transport,
            timeout=choices.timeout,
            progress=update,
        )
    report = {**result.report(), "accuracy": None}
    classes = predicted(result.outputs, choices.reveal)
    if data.labels is not None and classes is not None:
        report["accuracy"] = asdict(accuracy(classes, data.labels))
    text = json.dumps(report, indent=2) + "\n"

    def write_outputs(stream: BinaryIO) -> None:
        named: dict[str, Any] = {f"out{index}": array for index, array in enumerate(result.outputs)}
        np.savez(stream, **named)

    def write_report(stream: BinaryIO) -> None:
        stream.write(text.encode())

    writers = {}
    if destinations.output is not None:
        writers[destinations.output] = write_outputs
    if destinations.report is not None:
        writers[destinations.report] = write_report
    write_together(writers)
    if data.random:
        note("input: none was given, so it is random: the prediction means nothing, the cost is real")
    if destinations.as_json:
        print(text, end="")
    else:
        print_summary(report, result.outputs, data.notes, data.labels)
    if result.matches_reference is False:
        raise typer.Exit(EXIT_DIFFERS)
