"""A progress line on a terminal; nothing anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from mpc_bridge.quantities import size
from mpc_bridge.runtime.launcher import ProgressEvent

_LAYER_WIDTH = 32
_PHASES = {"start": "starting the parties", "setup": "sharing the weights"}


@contextmanager
def progress() -> Iterator[Callable[[ProgressEvent], None] | None]:
    """A function to call with each event, or None when standard error is no terminal.

    The line shows what runs, how much is done, bytes sent by all parties and the time left, and is gone at the end.
    """
    if not sys.stderr.isatty():
        yield None
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TextColumn("{task.fields[sent]}", markup=False),
        TimeRemainingColumn(compact=True),
    )
    console = Console(file=sys.stderr, highlight=False, markup=False, emoji=False)
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=1.0, sent="")

        def update(event: ProgressEvent) -> None:
            done = event.step / event.steps if event.steps else 0.0
            if event.phase == "online":
                done += event.sample
            bar.update(
                task,
                description=describe(event),
                total=float(event.samples) if event.phase == "online" else 1.0,
                completed=done,
                sent=size(event.bytes_sent),
            )

        yield update


def describe(event: ProgressEvent) -> str:
    """What runs now, in a few words of limited length."""
    if event.phase != "online":
        return _PHASES[event.phase]
    layer = event.layer if len(event.layer) <= _LAYER_WIDTH else f"{event.layer[: _LAYER_WIDTH - 3]}..."
    sample = f"sample {event.sample + 1} of {event.samples}, " if event.samples > 1 else ""
    return f"{sample}step {event.step} of {event.steps} {layer}".rstrip()
