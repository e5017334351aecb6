"""The README's answer, from the results that a checkout holds: sentences, a table, and a picture for light and dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mpc_bridge.bench.report import charts, details, words
from mpc_bridge.bench.report.extra import needs
from mpc_bridge.bench.report.figures import Comparison, Row, Source, compare, matrix, read, widest
from mpc_bridge.bench.report.tables import plain, table
from mpc_bridge.quantities import duration, span_times, times

BEGIN, END = "<!-- results: begin -->\n", "<!-- results: end -->\n"
#: Picture → which of the palette's colours it has, and the ground it is seen on.
PICTURES: Mapping[str, tuple[int, str]] = {"cost-light.svg": (0, "#ffffff"), "cost-dark.svg": (1, "#0d1117")}
#: vl-convert brings these letters along: the picture is the same wherever it is made.
_FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
_PANEL_WIDTH = 190


def stored(root: Path) -> tuple[Source, ...]:
    """The results of a checkout. Raises ResultsError, or UsageError without any."""
    return read(sorted((root / "results").glob("*.json")))


def section(sources: Sequence[Source]) -> str:
    """What stands between the README's marks: the answer in words, the picture, and the tables behind it."""
    rows = matrix(sources)
    answered = widest(rows)
    places = list(dict.fromkeys(row.place for row in answered))
    comparisons = compare(answered)
    answers = table(("seconds, how many times as much", "settings", *(f"{place}>" for place in places)), [
        (*_compared(line[0]), *(_cell(place, line) for place in places)) for line in words.lines(comparisons)])
    light, dark = PICTURES
    picture = (f'<picture><source media="(prefers-color-scheme: dark)" srcset="results/{dark}">'
               f'<img alt="Seconds of every model in every threat model; the numbers are in the tables" '
               f'src="results/{light}"></picture>')
    repeats = sorted({source.results.repeat for source in sources})
    how = (f"Medians of {' or '.join(map(str, repeats))} repetitions, all phases but setup; in brackets the least and "
           "the most of the models. Hollow: semi-honest; full: malicious; " + _shapes(rows) + "faint, or ≈: predicted.")
    parts = [plain(" ".join(words.answer(comparisons))), answers, how, picture, _seconds(rows),
             plain(words.predictions(details.errors(rows)))]
    return "\n\n".join(part for part in parts if part) + "\n"


def pictures(sources: Sequence[Source]) -> dict[str, str]:
    """File name → SVG. Raises UsageError when the extra ``report`` is not installed."""
    vl_convert = needs("vl_convert")
    rows = widest(matrix(sources))
    found = {}
    for name, (index, ground) in PICTURES.items():
        colour = {key: colours[index] for key, colours in charts.PALETTE.items()} | {"card": ground}
        found[name] = vl_convert.vegalite_to_svg(_panels(rows, colour), allowed_base_urls=[]) + "\n"
    return found


def _panels(rows: Sequence[Row], colour: Mapping[str, str]) -> dict[str, Any]:
    domain = charts.seconds_domain(rows)
    panels: list[dict[str, Any]] = []
    before: list[str] = []
    for place, in_place in details.by_place(rows).items():
        data = {"points": charts.points(in_place), "links": charts.links(in_place)}
        if not data["points"]:
            continue
        panel = charts.overview(colour, domain, legend=True)
        for layer in panel["layer"]:
            layer["data"] = {"values": data[layer["data"]["name"]]}
        models = list(dict.fromkeys(str(point["model"]) for point in data["points"]))
        if models == before:
            panel["encoding"]["y"]["axis"]["labels"] = False
        before = models
        panels.append({"title": {"text": place, "subtitle": words.shape(in_place[0].network), "anchor": "start",
                                 "color": colour["ink"], "subtitleColor": colour["muted"], "subtitlePadding": 3},
                       "width": _PANEL_WIDTH, **panel})
    return {"hconcat": panels, "spacing": 18, "padding": 4, "config": {**charts.config(colour), "font": _FONT}}


def _shapes(rows: Sequence[Row]) -> str:
    """Which setting has which shape, where a threat model has several settings."""
    return "".join(f"{charts.shape(variant)}: {plain(label)}; " for label, variant in charts.variants(rows).items()
                   if variant)


def _compared(one: Comparison) -> tuple[str, str]:
    what = f"active over passive, {one.majority} majority" if one.kind == "active" else \
        f"dishonest over honest majority, {one.adversary}"
    return what, f"{one.label} over {one.over}"


def _cell(place: str, line: Sequence[Comparison]) -> str:
    one = next((each for each in line if each.place == place), None)
    if one is None or one.seconds is None:
        return ""
    spread = f" ({span_times(one.seconds.least, one.seconds.most)})" if one.models > 1 else ""
    return f"{'≈ ' if one.predicted else ''}{times(one.seconds.median)}{spread}"


def _seconds(rows: Sequence[Row]) -> str:
    """A line per model and network, a column per setting."""
    labels = list(dict.fromkeys(row.label for row in rows))
    groups: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        groups.setdefault((row.cell.model, row.place), {})[row.label] = row
    return table(("model", "network", *(f"{label}>" for label in labels)), [
        (model, place, *(_amount(by_label.get(label)) for label in labels))
        for (model, place), by_label in groups.items()])


def _amount(row: Row | None) -> str:
    if row is None:
        return ""
    if row.amount is None:
        return row.cell.status
    return f"{'≈ ' if row.predicted else ''}{duration(row.amount.seconds.median)}"
