"""What a benchmark found, as tables: per model, settings down and networks across."""

from __future__ import annotations

from collections.abc import Sequence

from mpc_bridge.bench.matrix import Setting
from mpc_bridge.bench.records import SPENT, Cell, Results
from mpc_bridge.cli.console import emit, plain_table
from mpc_bridge.quantities import size


def print_results(results: Results, cells: Sequence[Cell]) -> None:
    """Of these cells: seconds spent (all phases but setup), and bytes sent by all."""
    for index, model in enumerate(dict.fromkeys(cell.model for cell in cells)):
        if index:
            emit("")
        record = next(one for one in results.models if one.name == model)
        samples = "1 sample" if record.samples == 1 else f"{record.samples} samples"
        emit(f"{model}: {samples}, medians of {results.repeat}, all phases but setup")
        _print_model([cell for cell in cells if cell.model == model])


def _print_model(cells: Sequence[Cell]) -> None:
    networks = list(dict.fromkeys(cell.network for cell in cells))
    table = plain_table("adversary, majority", "backend", *(f"{network}>" for network in networks), "sent by all>")
    for setting in dict.fromkeys(cell.setting for cell in cells):
        own = {cell.network: cell for cell in cells if cell.setting == setting}
        backend = ", ".join(filter(None, (setting.backend, setting.preprocessing)))
        table.add_row(_threat(setting), backend, *(_seconds(own[network]) for network in networks),
                      _sent(own[networks[0]]))
    emit(table)
    if any(cell.status == "predicted" for cell in cells):
        emit("~ predicted from the local run")


def _threat(setting: Setting) -> str:
    return "no guarantee" if setting.security is None else f"{setting.adversary}, {setting.majority}"


def _seconds(cell: Cell) -> str:
    if cell.status == "predicted" and cell.predicted is not None:
        return f"~{cell.predicted.spent:.3f} s"
    return f"{cell.summary.spent.median:.3f} s" if cell.status == "done" and cell.summary is not None else cell.status


def _sent(cell: Cell) -> str:
    if cell.report is None:
        return ""
    who = [cell.report["phases"], *([cell.report["helper"]["phases"]] if cell.report["helper"] else [])]
    return size(sum(sum(phases[phase]["bytes_sent"]) for phases in who for phase in SPENT))
