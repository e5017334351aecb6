"""Options that more than one command takes, described once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mpc_bridge import registry

_IMPORTERS = registry.importers().usable.values()
_SUFFIXES = sorted({suffix for importer in _IMPORTERS for suffix in importer.suffixes})
_PROFILES = "; ".join(f"{importer.name}: {', '.join(importer.profiles)}" for importer in _IMPORTERS)

Model = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL", help=f"A model file: {', '.join(_SUFFIXES)} or {registry.CIRCUIT_SUFFIX}.", show_default=False
    ),
]
Security = Annotated[
    str | None,
    typer.Option(
        metavar="WORD",
        help="semi-honest (passive) or malicious (active).",
        show_default="malicious once a backend for it is installed",
    ),
]
Majority = Annotated[str, typer.Option(metavar="WORD", help="honest or dishonest.")]
Parties = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Number of computing parties.", show_default="the backend's own")
]
Backend = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="One of: mpc-bridge backends.", show_default="chosen by the threat model"),
]
Preprocessing = Annotated[
    str | None,
    typer.Option(
        metavar="WORD", help="Where correlated randomness comes from: dealer or ot.", show_default="the backend's own"
    ),
]
ModelOwner = Annotated[
    int | None,
    typer.Option(
        min=0, metavar="PARTY", help="The party that owns the model and holds its weights in the clear.",
        show_default="0 with --preprocessing ot, else none",
    ),
]
Device = Annotated[str, typer.Option(metavar="WORD", help="auto, cpu or cuda.")]
Profile = Annotated[
    str | None,
    typer.Option(
        metavar="WORD", help=f"Whose integers ({_PROFILES}).", show_default="each format's first; a .circuit has one"
    ),
]
Trust = Annotated[
    bool,
    typer.Option("--trust", help="Also read TorchScript files: loading one runs what it says."),
]
InputShape = Annotated[
    list[str] | None,
    typer.Option(
        metavar="1x3x32x32", help="One per input of a TorchScript model, batch first; other files hold theirs.",
        show_default=False,
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(metavar="OUT.npz", help="Write out0, out1, …, the sample axis first.", show_default=False),
]
Report = Annotated[
    Path | None, typer.Option(metavar="OUT.json", help="Write the cost report.", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="Print the report as JSON, and nothing else, to standard output.")]
