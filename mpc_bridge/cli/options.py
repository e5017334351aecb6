"""Options that more than one command takes, described once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[Path, typer.Argument(help="A model file: .tflite or .circuit.", show_default=False)]
Security = Annotated[
    str | None,
    typer.Option(
        help="semi-honest (passive) or malicious (active).",
        show_default="malicious once a backend for it is installed",
    ),
]
Majority = Annotated[str, typer.Option(help="honest or dishonest.")]
Parties = Annotated[
    int | None, typer.Option(min=1, help="Number of computing parties.", show_default="the backend's own")
]
Backend = Annotated[
    str | None,
    typer.Option(help="A backend by name (see: mpc-bridge backends).", show_default="chosen by the threat model"),
]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Profile = Annotated[
    str | None,
    typer.Option(help="Which runtime's integers: litert or tflite.", show_default="litert; a .circuit keeps its own"),
]
Output = Annotated[
    Path | None,
    typer.Option(help="Write the outputs to this .npz: out0, out1, …, the sample axis first.", show_default=False),
]
Report = Annotated[Path | None, typer.Option(help="Write the cost report to this .json.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print the report as JSON, and nothing else, to standard output.")]
