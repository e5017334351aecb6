"""Where text goes: results to standard output, progress and notes to standard error."""

from __future__ import annotations

import sys

from rich.console import Console, RenderableType
from rich.table import Table

#: Columns when nobody looks: wide enough that no row of ours wraps in a file or a pipe.
PIPE_WIDTH = 200


def out() -> Console:
    """Standard output; colours only on a terminal. Names from model files are never taken for markup."""
    width = None if sys.stdout.isatty() else PIPE_WIDTH
    return Console(file=sys.stdout, highlight=False, markup=False, emoji=False, width=width)


def emit(thing: RenderableType) -> None:
    """Print a table or a line to standard output, without the spaces that pad a table's last column."""
    console = out()
    with console.capture() as captured:
        console.print(thing)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def note(text: str) -> None:
    """One line for people on standard error, so that standard output holds the result alone."""
    print(text, file=sys.stderr, flush=True)


def plain_table(*columns: str) -> Table:
    """A borderless table; a column whose name ends in ``>`` is right-aligned."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column.rstrip(">"), justify="right" if column.endswith(">") else "left")
    return table


def pairs() -> Table:
    """A table of names and what they are, for the head of a result."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    return table

