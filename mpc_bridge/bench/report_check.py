"""Whether a stored report has what readers of a results file rely on."""

from __future__ import annotations

from typing import Any

from mpc_bridge.errors import ResultsError
from mpc_bridge.runtime.meter import PHASES


def check_report(report: dict[str, Any], parties: int, where: str) -> int:
    """How many layers it has. Later versions only add keys; those that every version has are checked.

    Raises:
        ResultsError: a key is missing or of another kind; a count is negative, or not of so many parties.
    """
    phases = _table(report, "phases", where)
    for phase in PHASES:
        _cost(_table(phases, phase, f"{where}.phases"), parties, f"{where}.phases.{phase}")
    layers = report.get("layers")
    if not isinstance(layers, list):
        raise _wrong(f"{where}.layers")
    for index, layer in enumerate(layers):
        place = f"{where}.layers[{index}]"
        if not isinstance(layer, dict) or not all(isinstance(layer.get(key), str) for key in ("name", "op")):
            raise _wrong(place)
        _counts([layer.get("activations")], f"{place}.activations")
        _cost(layer, parties, place)
    memory = report.get("peak_memory_bytes")
    if not isinstance(memory, list) or len(memory) != parties:
        raise _wrong(f"{where}.peak_memory_bytes")
    _counts(memory, f"{where}.peak_memory_bytes")
    if report.get("helper") is not None:
        served = _table(_table(report, "helper", where), "phases", f"{where}.helper")
        for phase in PHASES:
            cost = _table(served, phase, f"{where}.helper.phases")
            _cost({"rounds": 0, **cost}, parties, f"{where}.helper.phases.{phase}")
    return len(layers)


def _cost(cost: dict[str, Any], parties: int, where: str) -> None:
    seconds, sent = cost.get("seconds"), cost.get("bytes_sent")
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool) or not seconds >= 0:
        raise _wrong(f"{where}.seconds")
    if not isinstance(sent, list) or len(sent) != parties:
        raise _wrong(f"{where}.bytes_sent")
    _counts([cost.get("rounds"), *sent], where)


def _table(parent: dict[str, Any], key: str, where: str) -> dict[str, Any]:
    found = parent.get(key)
    if not isinstance(found, dict):
        raise _wrong(f"{where}.{key}")
    return found


def _counts(values: list[Any], where: str) -> None:
    for value in values:
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise _wrong(where)


def _wrong(where: str) -> ResultsError:
    return ResultsError("not a report of an evaluation", where=where, hint="was the file edited?")
