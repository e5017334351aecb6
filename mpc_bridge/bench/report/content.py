"""What the page's template and its script are given: the figures, arranged as they are shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from mpc_bridge.bench.records import SPENT, Spread
from mpc_bridge.bench.report import charts, details, sweep, words
from mpc_bridge.bench.report.figures import (
    ADVERSARIES,
    MAJORITIES,
    TOLERANCE,
    Comparison,
    Ratio,
    Row,
    Source,
    compare,
    matrix,
    widest,
)
from mpc_bridge.quantities import size, times

Shown: TypeAlias = dict[str, Any]
Curves: TypeAlias = Mapping[tuple[str, str], Sequence[sweep.Curve]]


def content(sources: Sequence[Source]) -> tuple[Shown, Shown]:
    """What the template shows, and what the script draws."""
    rows = matrix(sources)
    names = {"models": _each(row.cell.model for row in rows), "places": _each(row.place for row in rows),
             "labels": _each(row.label for row in rows)}
    shown = {id(row): _row(index, row) for index, row in enumerate(rows)}
    measured = [row for row in rows if row.cell.status == "done"]
    comparisons, errors, found = compare(rows), details.errors(rows), sweep.curves(rows)
    layers, curves, overview = _layers(measured, names), _curves(found, charts.variants(rows)), _overview(rows)
    bandwidths = [words.bandwidth(curve.bandwidth) for curve in next(iter(found.values()), ())]
    error_charts = _error_charts(errors)
    text = {
        "facts": _facts(sources, rows, names), "runs": [_run(source) for source in sources],
        "sentences": words.answer(compare(widest(rows))), "comparisons": _comparisons(comparisons, names["places"]),
        "comparison_places": names["places"], "legend": _legend(rows), "overview": overview,
        "rows": list(shown.values()), "squares": _squares(rows, shown),
        "without": [one for one in shown.values() if not one["amount"]], "spent": SPENT, "layer_tables": layers,
        "curves": curves, "bandwidths": bandwidths,
        "curve_tables": [_curve_table(curve["model"], bandwidth, one) for curve in curves
                         for bandwidth, one in zip(bandwidths, curve["bandwidths"], strict=True)],
        "errors": errors, "error_charts": error_charts, "error_words": words.predictions(errors),
        "beyond": any(one.beyond for one in errors), "tolerance": TOLERANCE, "phase_tables": _phase_tables(measured),
    }
    data = {
        **_specs(rows, found, errors), "phases": SPENT, "rtts": sweep.RTTS, "curves": curves,
        "overview": [{key: one[key] for key in ("id", "title", "height", "points", "links")} for one in overview],
        "errors": [{key: one[key] for key in ("id", "title", "rows")} for one in error_charts],
        "layers": [one["drawn"] for one in layers],
    }
    return text, data


def _each(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _specs(rows: Sequence[Row], found: Curves, errors: Sequence[details.Error]) -> Shown:
    colour = {name: charts.variable(name) for name in charts.PALETTE}
    furthest = max((abs(one.share) for one in errors), default=0.0)
    return {"config": charts.config(colour), "specs": {
        "overview": charts.overview(colour, charts.seconds_domain(rows), legend=False), "layers": charts.layers(colour),
        "curves": charts.curves(colour, sweep.RTTS, _r_each(found)),
        "errors": charts.prediction_errors(colour, furthest)}}


def _layers(measured: Sequence[Row], names: Mapping[str, list[str]]) -> list[Shown]:
    tables = []
    for index, row in enumerate(measured):
        found = details.layers(row)
        tables.append({
            "index": index, "model": row.cell.model, "place": row.place, "label": row.label, "layers": found,
            "drawn": {"index": index, "model": names["models"].index(row.cell.model),
                      "place": names["places"].index(row.place), "setting": names["labels"].index(row.label),
                      "names": [layer.name for layer in found], "ops": [layer.op for layer in found],
                      "seconds": [layer.seconds for layer in found], "bytes": [layer.bytes_sent for layer in found],
                      "rounds": [layer.rounds for layer in found]}})
    return tables


def _curves(found: Curves, variant: dict[str, int]) -> list[Shown]:
    files = {source for source, _ in found}
    return [{"model": model if len(files) == 1 else f"{model} ({source})",
             "bandwidths": [_curve(curve, variant) for curve in by_bandwidth]}
            for (source, model), by_bandwidth in found.items()]


def _overview(rows: Sequence[Row]) -> list[Shown]:
    return [{"id": f"overview-{index}", "title": place, "shape": words.shape(in_place[0].network),
             "height": 2 * charts.STEP * len({row.cell.model for row in in_place if row.amount}),
             "points": charts.points(in_place), "links": charts.links(in_place)}
            for index, (place, in_place) in enumerate(details.by_place(rows).items())
            if any(row.amount for row in in_place)]


def _error_charts(errors: Sequence[details.Error]) -> list[Shown]:
    return [{"id": f"errors-{index}", "title": place, "shape": words.shape(in_place[0].network),
             "rows": charts.error_points(one for one in errors if one.row.place == place)}
            for index, (place, in_place) in enumerate(details.by_place([one.row for one in errors]).items())]


def _row(index: int, row: Row) -> Shown:
    reason = row.cell.reason
    return {"id": index, "model": row.cell.model, "place": row.place, "label": row.label, "status": row.cell.status,
            "threat": words.threat(row.cell), "amount": row.amount, "n": len(row.cell.repetitions),
            "predicted": row.predicted, "why": words.why(row.source, row.cell), "hint": reason.hint if reason else "",
            "over_passive": row.over_passive, "over_honest": row.over_honest,
            "soundness": details.soundness_bits(row), "memory": details.peak_memory(row)}


def _facts(sources: Sequence[Source], rows: Sequence[Row], names: Mapping[str, list[str]]) -> Shown:
    results = [source.results for source in sources]
    return {
        **names, "cells": len(rows),
        "measured": sum(row.cell.status == "done" for row in rows), "predicted": sum(row.predicted for row in rows),
        "without": sum(row.amount is None for row in rows), "dates": _each(one.started[:10] for one in results),
        "revisions": _each(one.revision or "not from a clone" for one in results),
        "machines": _each(_machine_in_short(one.machine) for one in results),
        "versions": _each(", ".join(f"{name} {text}" for name, text in one.versions.items()) for one in results),
    }


def _run(source: Source) -> Shown:
    results = source.results
    return {"name": source.name, "command": results.command, "started": results.started,
            "revision": results.revision or "not from a clone", "repeat": results.repeat,
            "machine": _machine(results.machine), "versions": list(results.versions.items()),
            "models": results.models, "networks": results.networks}


def _machine(machine: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What it is, in words: all that the file says."""
    found = []
    for name, value in machine.items():
        if name == "memory_bytes" and isinstance(value, int):
            found.append(("memory", size(value)))
        else:
            found.append((name, {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)))
    return found


def _machine_in_short(machine: Mapping[str, Any]) -> str:
    words_of = dict(_machine(machine))
    return ", ".join([*(words_of[name] for name in ("cpu", "system") if name in words_of),
                      *(f"{words_of[name]} {name}" for name in ("cores", "memory") if name in words_of),
                      *(["a virtual machine"] if machine.get("virtual") is True else [])])


def _comparisons(found: Sequence[Comparison], places: Sequence[str]) -> list[Shown]:
    table: list[Shown] = []
    for line in words.lines(found):
        one, by_place = line[0], {each.place: each for each in line}
        active = one.kind == "active"
        table.append({
            "what": "active over passive" if active else "dishonest over honest",
            "context": f"{one.majority} majority" if active else one.adversary, "label": one.label, "over": one.over,
            "first": not active and all(line["what"].startswith("active") for line in table),
            "places": [by_place.get(place) for place in places]})
    return table


def _legend(rows: Sequence[Row]) -> list[dict[str, str]]:
    entries: dict[str, dict[str, str]] = {}
    variant = charts.variants(rows)
    for row in rows:
        threat = row.cell.threat_model
        fill = "full" if threat.adversary == "malicious" else "hollow"
        entries[row.label] = {"text": f"{row.label}: {threat.adversary}, {threat.majority} majority",
                              "shape": charts.shape(variant[row.label]), "css": f"{fill}-{threat.majority}"}
    return list(entries.values())


def _squares(rows: Sequence[Row], shown: Mapping[int, Shown]) -> list[Shown]:
    """One per model and network: what stands in its four corners, and the ratios between them."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.cell.model, row.place), []).append(row)
    squares = []
    for (model, place), group in groups.items():
        corner = {(adversary, majority): [row for row in group if row.cell.threat_model.adversary == adversary
                                          and row.cell.threat_model.majority == majority]
                  for adversary in ADVERSARIES for majority in MAJORITIES}
        squares.append({
            "model": model, "place": place,
            "lines": [{"adversary": adversary,
                       "right": _chips(row.over_honest for row in corner[adversary, "dishonest"]),
                       **{majority: [shown[id(row)] for row in corner[adversary, majority]]
                          for majority in MAJORITIES}}
                      for adversary in ADVERSARIES],
            **{f"down_{majority}": _chips(row.over_passive for row in corner["malicious", majority])
               for majority in MAJORITIES}})
    return squares


def _chips(ratios: Iterable[Ratio | None]) -> list[Shown]:
    return [{"seconds": one.seconds, "predicted": one.predicted,
             "words": f"over {one.over}: " + ", ".join(
                 f"{name} {times(value)}" for name, value in (("seconds", one.seconds), ("bytes", one.bytes_sent),
                                                              ("rounds", one.rounds)) if value is not None)}
            for one in ratios if one is not None]


def _curve(curve: sweep.Curve, variant: dict[str, int]) -> Shown:
    return {"lines": [{"label": line.row.label, "tone": charts.tone(line.row), "seconds": line.seconds,
                       "dash": charts.dash(variant[line.row.label])} for line in curve.lines],
            "measured": [{"setting": row.label, "tone": charts.tone(row), "place": row.place,
                          "shape": charts.shape(variant[row.label]), "rtt": row.network.rtt_seconds,
                          "seconds": spread.median, "least": spread.least, "most": spread.most}
                         for row, spread in _spreads(curve.measured)]}


def _r_each(found: Mapping[tuple[str, str], Sequence[sweep.Curve]]) -> tuple[float, float]:
    """Least and most seconds of all curves."""
    seconds = [one for curves in found.values() for curve in curves for line in curve.lines for one in line.seconds]
    known = [one for one in seconds if one > 0] or [1.0]
    return min(known) / 1.3, max(known) * 1.3


def _spreads(rows: Iterable[Row]) -> list[tuple[Row, Spread]]:
    return [(row, row.amount.seconds) for row in rows if row.amount is not None]


def _curve_table(model: str, bandwidth: str, curve: Shown) -> Shown:
    columns = [line["seconds"] for line in curve["lines"]]
    return {"model": model, "bandwidth": bandwidth, "lines": curve["lines"],
            "rows": [{"rtt": rtt, "seconds": values} for rtt, *values in zip(sweep.RTTS, *columns, strict=True)]}


def _phase_tables(rows: Sequence[Row]) -> list[Shown]:
    tables: dict[tuple[str, str], list[Shown]] = {}
    for row in rows:
        tables.setdefault((row.cell.model, row.place), []).append(
            {"label": row.label, "threat": words.threat(row.cell), "phases": details.phases(row),
             "memory": details.peak_memory(row), "soundness": details.soundness_bits(row)})
    return [{"model": model, "place": place, "cells": cells} for (model, place), cells in tables.items()]
