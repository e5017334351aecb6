"""What active security costs over passive: both engines in one run, repetitions interleaved, raw reports stored.

``python -m mpc_bridge.bench.overhead MODEL --input INPUT.npz --output results/NAME.json``
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Any, TypedDict

import numpy as np
import numpy.typing as npt
import typer

import mpc_bridge
from mpc_bridge.errors import MpcBridgeError
from mpc_bridge.evaluation import evaluate
from mpc_bridge.registry import load_model

SCHEMA = "mpc-bridge-overhead/1"


class Settings(TypedDict, total=False):
    """Arguments of ``evaluate``."""

    security: str
    majority: str
    preprocessing: str


ENGINES: Mapping[str, Settings] = {
    "semi-honest": {"security": "semi-honest"},
    "malicious": {"security": "malicious"},
}
#: Everything but setup, which is paid once per model and group of parties.
PHASES = ("preprocessing", "online", "verification")


@dataclass(frozen=True)
class Ratio:
    """Malicious over semi-honest, each the median of its repetitions.

    Attributes:
        passive, active: bytes per party (greatest), or seconds (slowest party).
    """

    passive: float
    active: float

    @property
    def value(self) -> float:
        """How many times as much."""
        return self.active / self.passive


def seconds(report: dict[str, Any]) -> float:
    """Of all phases but setup."""
    return float(sum(report["phases"][phase]["seconds"] for phase in PHASES))


def sent(report: dict[str, Any]) -> float:
    """Bytes of all phases but setup that the busiest party sent."""
    return float(
        max(sum(by_party) for by_party in zip(*(report["phases"][p]["bytes_sent"] for p in PHASES), strict=True))
    )


def ratios(runs: dict[str, list[dict[str, Any]]]) -> tuple[Ratio, Ratio]:
    """Bytes and seconds, from the stored reports of both engines."""
    passive, active = (runs[engine] for engine in ENGINES)
    return (
        Ratio(median(map(sent, passive)), median(map(sent, active))),
        Ratio(median(map(seconds, passive)), median(map(seconds, active))),
    )


def compare(
    model: Path, inputs: list[npt.NDArray[np.generic]], repeat: int, engines: Mapping[str, Settings], schema: str
) -> dict[str, Any]:
    """Run all engines ``repeat`` times, in turn, after one run of each that does not count.

    Raises:
        MpcBridgeError: a run failed, or its result differs from the reference.
    """
    circuit = load_model(model, "litert")
    runs: dict[str, list[dict[str, Any]]] = {engine: [] for engine in engines}
    for repetition in range(repeat + 1):
        for engine, settings in engines.items():
            result = evaluate(circuit, inputs, **settings)
            if not result.matches_reference:
                raise MpcBridgeError("the result differs from the reference", where=engine)
            if repetition:
                runs[engine].append(result.report())
    return {"schema": schema, "revision": _revision(), "repeat": repeat, "runs": runs}


def _revision() -> str | None:
    """The clone's commit; None outside a clone, and a plus sign behind it when files were changed."""
    root = Path(mpc_bridge.__file__).parent
    try:
        commit = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.stdout.strip()


def main(
    model: Annotated[Path, typer.Argument(help="a model file")],
    input_file: Annotated[Path, typer.Option("--input", help=".npz with in0, in1, …, sample axis first")],
    output: Annotated[Path | None, typer.Option(help="where the raw reports go")] = None,
    repeat: Annotated[int, typer.Option(min=1)] = 5,
    samples: Annotated[int, typer.Option(min=1)] = 1,
) -> None:
    """Compare semi-honest with malicious security on one model."""
    with np.load(input_file) as stored:
        arrays: list[npt.NDArray[np.generic]] = [stored[f"in{i}"][:samples] for i in range(len(stored.files))]
    try:
        record = compare(model, arrays, repeat, ENGINES, SCHEMA)
    except MpcBridgeError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(error.exit_code) from None
    if output is not None:
        output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    volume, time = ratios(record["runs"])
    typer.echo(f"{model.parent.name}/{model.name}, medians of {repeat}, all phases but setup")
    typer.echo(f"bytes per party  {volume.passive:14,.0f}  {volume.active:14,.0f}  x {volume.value:.2f}")
    typer.echo(f"seconds          {time.passive:14.3f}  {time.active:14.3f}  x {time.value:.2f}")


if __name__ == "__main__":
    typer.run(main)
