"""``mpc-bridge report``: what results files say, as a page, Markdown or CSV."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from mpc_bridge.bench.report.figures import read
from mpc_bridge.bench.report.page import page
from mpc_bridge.bench.report.tables import as_csv, as_markdown
from mpc_bridge.cli.console import note
from mpc_bridge.cli.files import check_writable, write_together
from mpc_bridge.errors import UsageError

_MAKERS = {"html": page, "md": as_markdown, "csv": as_csv}
_PAGE = Path("report.html")


def report(
    results: Annotated[
        list[Path],
        typer.Argument(metavar="RESULTS.json…", help="Files of mpc-bridge bench.", show_default=False),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Where it goes.",
            show_default=f"{_PAGE} for html, standard output for md and csv",
        ),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(metavar="WORD", help="html, md or csv.", show_default="what FILE ends in; html"),
    ] = None,
) -> None:
    """What security costs, from stored results: one self-contained page, Markdown tables, or CSV.

    The page needs pip install "mpc-bridge[report]".
    """
    kind = _kind(output, format)
    if output is None and kind == "html":
        output = _PAGE
    if output is not None:
        check_writable(output, "--output", f".{kind}")
    text = _MAKERS[kind](read(results))
    if output is None:
        print(text, end="")
    else:
        write_together({output: lambda stream: _write(stream, text)})
        note(f"wrote {output}")


def _kind(output: Path | None, format: str | None) -> str:
    if format is not None and format not in _MAKERS:
        raise UsageError(f"unknown format {format!r}", where="--format", hint="use html, md or csv")
    if format is not None:
        return format
    ending = "html" if output is None else output.suffix.lower().lstrip(".")
    if ending not in _MAKERS:
        raise UsageError("the file's name says no format", where=str(output), hint="add --format html, md or csv")
    return ending


def _write(stream: BinaryIO, text: str) -> None:
    stream.write(text.encode("utf-8"))
