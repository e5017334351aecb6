"""How a benchmark tells what it does: a line that stays for each cell, and on a terminal two that move."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from mpc_bridge.bench.records import Cell, Spread
from mpc_bridge.bench.runner import Step
from mpc_bridge.cli.console import note


class Teller:
    """One plain line on standard error per settled cell: what a pipe sees."""

    def reference(self, model: str) -> None:
        """Nothing to say."""

    def begin(self, step: Step) -> None:
        """Nothing to say."""

    def settled(self, cell: Cell) -> None:
        """The cell in one line."""
        note(cell_line(cell))


class TerminalTeller(Teller):
    """The same, above two lines that say what runs, how far everything is, and how long it takes.

    They change between runs only: drawing takes processor time, and a run's is measured.
    """

    def __init__(self, live: Live) -> None:
        self._live = live
        self._how_far = ""

    def reference(self, model: str) -> None:
        """It can take as long as a run."""
        self._show(f"{model}: the reference interpreter")

    def begin(self, step: Step) -> None:
        """Shows the run."""
        self._how_far = runs_line(step)
        self._show(step_line(step))

    def settled(self, cell: Cell) -> None:
        """Above the lines."""
        self._live.console.print(cell_line(cell), soft_wrap=True)

    def _show(self, what: str) -> None:
        lines = (Text(line, no_wrap=True, overflow="ellipsis") for line in (what, self._how_far))
        self._live.update(Group(*lines), refresh=True)


@contextmanager
def telling() -> Iterator[Teller]:
    """What fits standard error."""
    if not sys.stderr.isatty():
        yield Teller()
        return
    console = Console(file=sys.stderr, highlight=False, markup=False, emoji=False)
    with Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False,
              redirect_stderr=False) as live:
        yield TerminalTeller(live)


def step_line(step: Step) -> str:
    """``cell 2 of 10: kws, local, rep3-mac, repetition 1 of 5``."""
    run = f"repetition {step.repetition} of {step.repeat}" if step.repetition else "warm-up"
    source = f" {step.cell.preprocessing}" if step.cell.preprocessing else ""
    what = f"{step.cell.model}, {step.cell.network}, {step.cell.backend}{source}"
    return f"cell {step.position} of {step.cells}: {what}, {run}"


def runs_line(step: Step) -> str:
    """``12 of 15 runs are done, about 57 s left``."""
    left = "" if step.seconds_left is None else f", about {time_left(step.seconds_left)} left"
    return f"{step.runs_done} of {step.runs} runs are done{left}"


def cell_line(cell: Cell) -> str:
    """A cell and what became of it."""
    head = f"{cell.model}, {cell.network}, {cell.setting.describe()}: {cell.status}"
    if cell.reason is not None:
        lines = [text.splitlines()[0] for text in (cell.reason.what, cell.reason.where, cell.reason.hint) if text]
        return f"{head}: {'; '.join(lines)}"
    if cell.status == "predicted" and cell.predicted is not None:
        return f"{head}, {cell.predicted.spent:.3f} s"
    if cell.summary is not None:
        return f"{head}, {seconds(cell.summary.spent)}, {len(cell.repetitions)} repetitions"
    return head


def seconds(spread: Spread) -> str:
    """Median, and what lies between least and most: ``0.284 s (0.270 to 0.301)``."""
    return f"{spread.median:.3f} s ({spread.least:.3f} to {spread.most:.3f})"


def time_left(left: float) -> str:
    """``40 s``, ``12 min``, ``3 h 20 min``."""
    if left < 90:
        return f"{left:.0f} s"
    minutes = round(left / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
