"""The numbers behind a cell: its phases, its layers, what was predicted for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mpc_bridge.bench.records import SPENT, Spread
from mpc_bridge.bench.report.figures import TOLERANCE, Row, helper_bytes
from mpc_bridge.runtime.meter import PHASES


@dataclass(frozen=True)
class PhaseFigures:
    """One phase of a cell.

    Attributes:
        bytes_sent: by party.
        helper_bytes: None without a helper.
        and_gates, ring_multiplications: evaluated securely.
        correlations: preprocessing consumed: name → how many.
    """

    name: str
    seconds: Spread
    rounds: int
    bytes_sent: tuple[int, ...]
    helper_bytes: int | None
    and_gates: int
    ring_multiplications: int
    correlations: Mapping[str, int]


@dataclass(frozen=True)
class LayerFigures:
    """One layer of a cell, by phase (those of :data:`SPENT`); of the first repetition.

    Attributes:
        bytes_sent: all parties together.
    """

    name: str
    op: str
    activations: int
    seconds: tuple[float, ...]
    bytes_sent: tuple[int, ...]
    rounds: tuple[int, ...]


@dataclass(frozen=True)
class Error:
    """A prediction beside what was measured: seconds of all phases but setup.

    Attributes:
        share: predicted over measured, less one.
    """

    row: Row
    measured: Spread
    predicted: float
    share: float

    @property
    def beyond(self) -> bool:
        """The prediction is further off than :data:`TOLERANCE`."""
        return abs(self.share) > TOLERANCE


def phases(row: Row) -> tuple[PhaseFigures, ...]:
    """All four phases of a measured cell; none of any other."""
    cell = row.cell
    if cell.status != "done" or cell.report is None or cell.summary is None:
        return ()
    first, found = cell.repetitions[0], []
    for name in PHASES:
        work = cell.report["phases"][name]
        found.append(PhaseFigures(name, cell.summary.phases[name], first.rounds[name], first.bytes_sent[name],
                                  helper_bytes(cell, name), work["and_gates"], work["ring_multiplications"],
                                  work["correlations"]))
    return tuple(found)


def layers(row: Row) -> tuple[LayerFigures, ...]:
    """Every layer of a measured cell, in the model's order; none of any other cell."""
    cell = row.cell
    if cell.status != "done" or cell.report is None:
        return ()
    found = []
    for layer in cell.report["layers"]:
        by_phase = [layer["phases"][phase] for phase in SPENT]
        found.append(LayerFigures(
            layer["name"], layer["op"], layer["activations"], tuple(cost["seconds"] for cost in by_phase),
            tuple(sum(cost["bytes_sent"]) for cost in by_phase), tuple(cost["rounds"] for cost in by_phase)))
    return tuple(found)


def errors(rows: Iterable[Row]) -> tuple[Error, ...]:
    """Every cell that was both predicted and measured, in the files' order."""
    return tuple(Error(row, row.amount.seconds, row.cell.predicted.spent,
                       row.cell.predicted.spent / row.amount.seconds.median - 1)
                 for row in rows
                 if row.cell.predicted is not None and row.amount is not None and not row.predicted
                 and row.amount.seconds.median)


def peak_memory(row: Row) -> tuple[int, ...]:
    """Bytes by party, the most of all repetitions; empty where nothing ran."""
    return tuple(max(column) for column in zip(*(one.peak_memory_bytes for one in row.cell.repetitions), strict=True))


def soundness_bits(row: Row) -> float | None:
    """-log2 of a cheater's chance to go unnoticed; None where nothing is checked or nothing ran."""
    found: float | None = None if row.cell.report is None else row.cell.report["soundness_bits"]
    return found


def by_place(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of each place, in the order in which they come."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.place, []).append(row)
    return found
