"""Seconds over the round-trip time: what is predicted from a local run, and what was measured on networks like that."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mpc_bridge.bench.predict import predict
from mpc_bridge.bench.records import spent
from mpc_bridge.bench.report.figures import Row
from mpc_bridge.bench.shapes import LAN, WAN, Shape

#: Seconds: 0.1 ms to 200 ms, eight steps a decade, whole microseconds as shapes have them.
RTTS = tuple(round(10 ** (-4 + step / 8), 6) for step in range(27))


@dataclass(frozen=True)
class Line:
    """A local cell's seconds, predicted at each of :data:`RTTS`, of all phases but setup."""

    row: Row
    seconds: tuple[float, ...]


@dataclass(frozen=True)
class Curve:
    """One model of one file at one bandwidth.

    Attributes:
        bandwidth: bit/s.
        measured: the cells that ran on a network of that bandwidth.
    """

    bandwidth: int
    lines: tuple[Line, ...]
    measured: tuple[Row, ...]


def curves(rows: Iterable[Row]) -> dict[tuple[str, str], tuple[Curve, ...]]:
    """(file, model) → a curve per bandwidth of the files' networks (a lan's and a wan's where they have none).

    Only models that have a measured local cell.
    """
    rows = list(rows)
    found = {row.network.bandwidth_bits_per_second for row in rows}
    bandwidths = sorted({int(one) for one in found if one}, reverse=True) or [LAN.bandwidth, WAN.bandwidth]
    models: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        models.setdefault((row.source.name, row.cell.model), []).append(row)
    return {key: tuple(_curve(cells, bandwidth) for bandwidth in bandwidths) for key, cells in models.items()
            if any(_local(row) for row in cells)}


def _curve(rows: Iterable[Row], bandwidth: int) -> Curve:
    rows = list(rows)
    return Curve(bandwidth, tuple(_line(row, bandwidth) for row in rows if _local(row)),
                 tuple(row for row in rows if row.amount is not None and not row.predicted
                       and row.network.bandwidth_bits_per_second == bandwidth and row.network.rtt_seconds))


def _local(row: Row) -> bool:
    return row.network.rtt_seconds is None and row.cell.status == "done"


def _line(row: Row, bandwidth: int) -> Line:
    assert row.cell.report is not None and row.cell.summary is not None
    local = {phase: spread.median for phase, spread in row.cell.summary.phases.items()}
    return Line(row, tuple(spent(predict(row.cell.report, Shape(f"{rtt:g}", rtt, bandwidth), local)) for rtt in RTTS))
