"""What a benchmark found, as tables: per model, settings down and networks across; and how they compare."""

from __future__ import annotations

from collections.abc import Sequence

from mpc_bridge.bench.matrix import Setting
from mpc_bridge.bench.records import Cell, Results
from mpc_bridge.bench.report.figures import Ratio, Row, Source, matrix
from mpc_bridge.cli.console import emit, plain_table
from mpc_bridge.quantities import duration, size, times

_KINDS = {"active": "active/passive", "dishonest": "dishonest/honest"}


def print_results(results: Results, cells: Sequence[Cell]) -> None:
    """Of these cells: seconds spent (all phases but setup), bytes, rounds, and what costs how many times as much."""
    keys = {cell.key for cell in cells}
    rows = [row for row in matrix((Source("results", results),)) if row.cell.key in keys]
    for index, model in enumerate(dict.fromkeys(row.cell.model for row in rows)):
        if index:
            emit("")
        record = next(one for one in results.models if one.name == model)
        samples = "1 sample" if record.samples == 1 else f"{record.samples} samples"
        emit(f"{model}: {samples}, medians of {results.repeat}, all phases but setup")
        _print_model([row for row in rows if row.cell.model == model])


def _print_model(rows: Sequence[Row]) -> None:
    networks = list(dict.fromkeys(row.cell.network for row in rows))
    settings = {setting: {row.cell.network: row for row in rows if row.cell.setting == setting}
                for setting in dict.fromkeys(row.cell.setting for row in rows)}
    costs = plain_table("adversary, majority", "backend", *(f"{network}>" for network in networks), "sent by all>",
                        "rounds>")
    ratios = plain_table("times as much", *(f"{network}>" for network in networks), "sent by all>", "rounds>")
    for setting, own in settings.items():
        label, amount = next((row.label, row.amount) for row in own.values())
        costs.add_row(_threat(setting), label, *(_seconds(own.get(network)) for network in networks),
                      "" if amount is None else size(amount.bytes_sent), "" if amount is None else str(amount.rounds))
        for kind, words in _KINDS.items():
            found = [_ratio(own.get(network), kind) for network in networks]
            first = next((ratio for ratio in found if ratio is not None), None)
            if first is not None:
                ratios.add_row(f"{words}: {label} over {first.over}",
                               *(_times(None if ratio is None else ratio.seconds) for ratio in found),
                               _times(first.bytes_sent), _times(first.rounds))
    emit(costs)
    if any(row.predicted for row in rows):
        emit("~ predicted from the local run")
    if ratios.row_count:
        emit(ratios)


def _threat(setting: Setting) -> str:
    return "no guarantee" if setting.security is None else f"{setting.adversary}, {setting.majority}"


def _seconds(row: Row | None) -> str:
    if row is None or row.amount is None:
        return "" if row is None else row.cell.status
    return f"{'~' if row.predicted else ''}{duration(row.amount.seconds.median)}"


def _ratio(row: Row | None, kind: str) -> Ratio | None:
    if row is None:
        return None
    return row.over_passive if kind == "active" else row.over_honest


def _times(ratio: float | None) -> str:
    return "" if ratio is None else times(ratio)
