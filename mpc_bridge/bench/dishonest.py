"""What a dishonest majority costs: additive with a dealer and with oblivious transfers, spdz2k, on one model.

``python -m mpc_bridge.bench.dishonest MODEL --input INPUT.npz --output results/NAME.json``
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer

from mpc_bridge.bench.overhead import Settings, compare, seconds
from mpc_bridge.errors import MpcBridgeError

SCHEMA = "mpc-bridge-dishonest/1"
#: Name in the record → how ``evaluate`` is called.
SETTINGS: Mapping[str, Settings] = {
    "additive, dealer": {"majority": "dishonest", "security": "semi-honest", "preprocessing": "dealer"},
    "additive, ot": {"majority": "dishonest", "security": "semi-honest", "preprocessing": "ot"},
    "spdz2k, dealer": {"majority": "dishonest", "security": "malicious", "preprocessing": "dealer"},
}
PHASES = ("setup", "preprocessing", "online", "verification")


def phase_seconds(reports: list[dict[str, Any]], phase: str) -> float:
    """Median over the repetitions, of the slowest party."""
    return float(median(report["phases"][phase]["seconds"] for report in reports))


def total_bytes(report: dict[str, Any]) -> int:
    """Sent by everybody in all phases but setup, a helper's included."""
    spent = [sum(report["phases"][phase]["bytes_sent"]) for phase in PHASES[1:]]
    if report["helper"] is not None:
        spent += [sum(report["helper"]["phases"][phase]["bytes_sent"]) for phase in PHASES[1:]]
    return int(sum(spent))


def main(
    model: Annotated[Path, typer.Argument(help="a model file")],
    input_file: Annotated[Path, typer.Option("--input", help=".npz with in0, in1, …, sample axis first")],
    output: Annotated[Path | None, typer.Option(help="where the raw reports go")] = None,
    repeat: Annotated[int, typer.Option(min=1)] = 5,
) -> None:
    """Compare what serves a dishonest majority, on one model and one sample."""
    with np.load(input_file) as stored:
        arrays: list[npt.NDArray[np.generic]] = [stored[f"in{i}"][:1] for i in range(len(stored.files))]
    try:
        record = compare(model, arrays, repeat, SETTINGS, SCHEMA)
    except MpcBridgeError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(error.exit_code) from None
    if output is not None:
        output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    typer.echo(f"{model.parent.name}/{model.name}, medians of {repeat}: seconds by phase; all but setup")
    for name, reports in record["runs"].items():
        phases = "  ".join(f"{phase} {phase_seconds(reports, phase):7.3f}" for phase in PHASES)
        spent, sent = median(map(seconds, reports)), median(map(total_bytes, reports))
        typer.echo(f"{name:18}{phases}  {spent:8.3f} s  {sent:14,.0f}")


if __name__ == "__main__":
    typer.run(main)
