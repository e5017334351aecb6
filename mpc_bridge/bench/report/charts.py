"""The pictures, as Vega-Lite: what is drawn where. No number is made here, and no text of a results file is code.

Colours are names of the palette. The page turns them into CSS variables, so that one picture follows light and dark;
a picture that stands alone gets the colours themselves.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from mpc_bridge.bench.records import SPENT
from mpc_bridge.bench.report.details import Error
from mpc_bridge.bench.report.figures import ADVERSARIES, MAJORITIES, TOLERANCE, Row
from mpc_bridge.quantities import times

Spec: TypeAlias = dict[str, Any]
Datum: TypeAlias = dict[str, str | float | int | bool | None]

#: Name → (on light, on dark). Text keeps a contrast of 4.5 on its ground, marks one of 3.
PALETTE: Mapping[str, tuple[str, str]] = {
    "ground": ("#f6f7f9", "#0f1317"),
    "card": ("#ffffff", "#171c22"),
    "ink": ("#14181d", "#e9edf1"),
    "muted": ("#56606c", "#9fabb8"),
    "line": ("#dfe3e8", "#2c343d"),
    "accent": ("#1d5fa8", "#7db7f2"),
    "warn": ("#a33a00", "#ffa870"),
    "heat": ("#d6336c", "#f0719b"),
    "good": ("#0b7a5e", "#4cc9a4"),
    "honest-semi-honest": ("#4c9be0", "#8cc2f7"),
    "honest-malicious": ("#1b58a3", "#3f8fe0"),
    "dishonest-semi-honest": ("#e0812f", "#f9bd85"),
    "dishonest-malicious": ("#b03a06", "#ef7233"),
    "preprocessing": ("#7f8a99", "#8f9bab"),
    "online": ("#0f9488", "#2dbdaf"),
    "verification": ("#8350c8", "#b08af0"),
}
TONES = tuple(f"{majority}-{adversary}" for majority in MAJORITIES for adversary in ADVERSARIES)
_DASHES = ([1, 0], [2, 3], [7, 3], [7, 3, 2, 3])
_SHAPES = ("circle", "diamond", "square", "triangle-up")
#: Pixels of a row of :func:`overview`; a model has two.
STEP = 32
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def variable(name: str) -> str:
    """The colour as the page's CSS names it."""
    return f"var(--{name})"


def tone(row: Row) -> str:
    """The palette's name for a setting's threat model."""
    return f"{row.cell.threat_model.majority}-{row.cell.threat_model.adversary}"


def variants(rows: Iterable[Row]) -> dict[str, int]:
    """Label → 0 for the first setting of its threat model, 1 for the second, …: its dash and its shape."""
    by_tone: dict[str, list[str]] = {}
    for row in rows:
        labels = by_tone.setdefault(tone(row), [])
        if row.label not in labels:
            labels.append(row.label)
    return {label: index for labels in by_tone.values() for index, label in enumerate(labels)}


def dash(variant: int) -> list[int]:
    """Of a line."""
    return _DASHES[variant % len(_DASHES)]


def shape(variant: int) -> str:
    """Of a point."""
    return _SHAPES[variant % len(_SHAPES)]


def config(colour: Mapping[str, str]) -> Spec:
    """What all pictures share."""
    text = {"labelColor": colour["muted"], "titleColor": colour["muted"], "labelFontSize": 12, "titleFontSize": 12,
            "titleFontWeight": "normal"}
    return {
        "background": None, "font": FONT, "view": {"stroke": None},
        "axis": {**text, "gridColor": colour["line"], "domainColor": colour["line"], "tickColor": colour["line"],
                 "labelPadding": 6, "titlePadding": 8},
        "legend": text,
        "header": {"labelColor": colour["ink"], "labelFontSize": 13, "labelFontWeight": 600, "titleColor": "gray"},
    }


def seconds_domain(rows: Iterable[Row]) -> list[float] | None:
    """One scale for all pictures of a page, so that they can be compared; None without a number."""
    spreads = [row.amount.seconds for row in rows if row.amount is not None]
    found = [value for spread in spreads for value in (spread.least, spread.most) if value > 0]
    return [min(found) / 1.25, max(found) * 1.25] if found else None


def points(rows: Sequence[Row]) -> list[Datum]:
    """A point per cell that has a number."""
    variant = variants(rows)
    return [{"model": row.cell.model, "place": row.place, "setting": row.label, "tone": tone(row),
             "majority": row.cell.threat_model.majority, "adversary": row.cell.threat_model.adversary,
             "shape": shape(variant[row.label]), "seconds": row.amount.seconds.median,
             "least": row.amount.seconds.least, "most": row.amount.seconds.most, "predicted": row.predicted}
            for row in rows if row.amount is not None and row.amount.seconds.median > 0]


def links(rows: Sequence[Row]) -> list[Datum]:
    """A line from each semi-honest cell to the malicious one that is compared with it, and the ratio above it."""
    found: list[Datum] = []
    for row in rows:
        ratio = row.over_passive
        if row.amount is not None and ratio is not None and ratio.seconds and row.amount.seconds.median > 0:
            active = row.amount.seconds.median
            found.append({"model": row.cell.model, "place": row.place, "majority": row.cell.threat_model.majority,
                          "passive": active / ratio.seconds, "active": active,
                          "middle": active / ratio.seconds ** 0.5, "ratio": times(ratio.seconds)})
    return found


def overview(colour: Mapping[str, str], domain: Sequence[float] | None, legend: bool) -> Spec:
    """Seconds of every setting on one network: rows are models, once per majority; hollow is passive, full active.

    Data sets: ``points`` and ``links``, as :func:`points` and :func:`links` make them.
    """
    y = {"field": "model", "type": "nominal", "sort": None, "title": None, "scale": {"paddingInner": 0.1},
         "axis": {"labelLimit": 150, "ticks": False, "domain": False, "labelColor": colour["ink"]}}
    offset = {"field": "majority", "type": "nominal", "sort": ["honest", "dishonest"],
              "scale": {"domain": ["honest", "dishonest"]}}
    scale = {"type": "log", "nice": False, **({"domain": list(domain)} if domain else {})}
    x = {"field": "seconds", "type": "quantitative", "scale": scale, "title": "seconds, all phases but setup",
         "axis": {"labelExpr": _SECONDS, "values": ticks(domain or (0.01, 10.0)), "labelOverlap": True}}
    stroke = {"field": "tone", "type": "nominal",
              "scale": {"domain": list(TONES), "range": [colour[name] for name in TONES]},
              "legend": {"title": None, "orient": "top", "symbolType": "circle", "symbolStrokeWidth": 2.5, "columns": 4,
                         "labelExpr": _TONE, "labelLimit": 300} if legend else None}
    shapes = {"field": "shape", "type": "nominal", "scale": None, "legend": None}
    return {
        "height": {"step": 2 * STEP, "for": "position"},
        "encoding": {"y": y, "yOffset": offset},
        "layer": [
            {"data": {"name": "links"},
             "mark": {"type": "rule", "strokeWidth": 5, "opacity": 0.85, "stroke": colour["line"], "aria": False},
             "encoding": {"x": {**x, "field": "passive"}, "x2": {"field": "active"}}},
            {"data": {"name": "points"},
             "mark": {"type": "rule", "strokeWidth": 1.5, "opacity": 0.9, "aria": False},
             "encoding": {"x": {**x, "field": "least"}, "x2": {"field": "most"}, "stroke": stroke}},
            {"data": {"name": "points"},
             "mark": {"type": "point", "size": 90, "strokeWidth": 2.5, "filled": False},
             "encoding": {
                 "x": x, "stroke": stroke, "shape": shapes,
                 "fill": _fill(colour) | {"legend": stroke["legend"]},
                 "opacity": {"condition": {"test": "datum.predicted", "value": 0.45}, "value": 1},
                 "tooltip": [{"field": "setting", "title": "setting"}, {"field": "model", "title": "model"},
                             {"field": "seconds", "format": ".4~s", "title": "seconds, median"},
                             {"field": "least", "format": ".4~s"}, {"field": "most", "format": ".4~s"},
                             {"field": "predicted"}]}},
            {"data": {"name": "links"},
             "mark": {"type": "text", "dy": -11, "fontSize": 11, "fontWeight": 600, "fill": colour["ink"]},
             "encoding": {"x": {**x, "field": "middle"}, "text": {"field": "ratio"}}},
        ],
    }


def _fill(colour: Mapping[str, str]) -> Spec:
    """Full where the adversary is malicious, hollow where it is not."""
    return {"field": "tone", "type": "nominal", "legend": None, "scale": {"domain": list(TONES), "range": [
        colour[name] if name.endswith("-malicious") else colour["card"] for name in TONES]}}


def ticks(domain: Sequence[float]) -> list[float]:
    """Round numbers on a logarithmic scale: powers of ten, with 3 of each where they are few, and 2 and 5."""
    least, most = domain
    decades = math.log10(most / least)
    steps = (1, 2, 5) if decades < 1.3 else (1, 3) if decades < 3 else (1,)
    found = [float(f"{step}e{power}") for power in range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 1)
             for step in steps]
    return [one for one in found if least <= one <= most]


def layers(colour: Mapping[str, str]) -> Spec:
    """One bar per layer, phases stacked. Data set ``layers``: index, title, name, op, phase, order, value."""
    return {
        **_WIDE, "data": {"name": "layers"},
        "mark": {"type": "bar", "height": {"band": 0.78}},
        "encoding": {
            "y": {"field": "title", "type": "nominal", "sort": None, "title": None,
                  "axis": {"labelLimit": 190, "ticks": False, "domain": False, "labelColor": colour["ink"]}},
            "x": {"field": "value", "type": "quantitative", "stack": "zero", "title": None, "axis": {"tickCount": 6}},
            "order": {"field": "order", "type": "quantitative"},
            "color": {"field": "phase", "type": "nominal", "legend": None,
                      "scale": {"domain": list(SPENT), "range": [colour[phase] for phase in SPENT]}},
            "tooltip": [{"field": "name", "title": "layer"}, {"field": "op"}, {"field": "phase"},
                        {"field": "value", "format": ".4~s"}],
        },
    }


def curves(colour: Mapping[str, str], rtts: Sequence[float], domain: Sequence[float]) -> Spec:
    """Seconds over the round-trip time. Data sets: ``lines`` (predicted) and ``measured``.

    Args:
        domain: seconds, of all curves of a page.
    """
    x = {"field": "rtt", "type": "quantitative", "title": "round-trip time",
         "scale": {"type": "log", "nice": False, "domain": [rtts[0], rtts[-1]]},
         "axis": {"labelExpr": _SECONDS, "values": ticks((rtts[0], rtts[-1])), "labelOverlap": True}}
    y = {"field": "seconds", "type": "quantitative", "title": "seconds, all phases but setup",
         "scale": {"type": "log", "nice": False, "domain": list(domain)},
         "axis": {"labelExpr": _SECONDS, "values": ticks(domain), "labelOverlap": True}}
    stroke = {"field": "tone", "type": "nominal", "legend": None,
              "scale": {"domain": list(TONES), "range": [colour[name] for name in TONES]}}
    return {
        **_WIDE, "height": 340,
        "layer": [
            {"data": {"name": "lines"}, "mark": {"type": "line", "interpolate": "monotone", "strokeWidth": 2.5},
             "encoding": {"x": x, "y": y, "stroke": stroke, "detail": {"field": "setting"},
                          "strokeDash": {"field": "dash", "type": "nominal", "scale": None}}},
            {"data": {"name": "measured"}, "mark": {"type": "rule", "strokeWidth": 1.5, "aria": False},
             "encoding": {"x": x, "y": {**y, "field": "least"}, "y2": {"field": "most"}, "stroke": stroke}},
            {"data": {"name": "measured"}, "mark": {"type": "point", "size": 80, "strokeWidth": 2, "opacity": 1},
             "encoding": {"x": x, "y": y, "stroke": stroke, "fill": _fill(colour),
                          "shape": {"field": "shape", "type": "nominal", "scale": None, "legend": None},
                          "tooltip": [{"field": "setting"}, {"field": "place", "title": "network"},
                                      {"field": "seconds", "format": ".4~s", "title": "measured"},
                                      {"field": "rtt", "format": ".3~s", "title": "round trip"}]}},
        ],
    }


def prediction_errors(colour: Mapping[str, str], furthest: float) -> Spec:
    """How far predictions are off, with the band that is tolerated. Data set ``errors``: as :func:`error_points`.

    Args:
        furthest: the largest share on the page: one scale for all pictures.
    """
    end = max(1.4 * TOLERANCE, 1.1 * furthest)
    return {
        **_WIDE, "encoding": {"y": {"field": "title", "type": "nominal", "sort": None, "title": None,
                           "axis": {"labelLimit": 210, "ticks": False, "domain": False, "labelColor": colour["ink"]}}},
        "layer": [
            {"data": {"values": [{"least": -TOLERANCE, "most": TOLERANCE}]},
             "mark": {"type": "rect", "fill": colour["good"], "opacity": 0.12, "aria": False},
             "encoding": {"x": {"field": "least", "type": "quantitative"}, "x2": {"field": "most"}, "y": {"value": 0},
                          "y2": {"value": "height"}}},
            {"data": {"values": [{"zero": 0}]}, "mark": {"type": "rule", "stroke": colour["muted"], "aria": False},
             "encoding": {"x": {"field": "zero", "type": "quantitative"}, "y": {"value": 0},
                          "y2": {"value": "height"}}},
            {"data": {"name": "errors"}, "mark": {"type": "point", "filled": True, "size": 80, "opacity": 1},
             "encoding": {
                 "x": {"field": "share", "type": "quantitative", "title": "predicted over measured, less one",
                       "scale": {"domain": [-end, end]}, "axis": {"format": "+.0%", "tickCount": 7}},
                 "color": {"condition": {"test": "datum.beyond", "value": colour["warn"]}, "value": colour["good"]},
                 "tooltip": [{"field": "title", "title": "cell"}, {"field": "predicted", "format": ".4~s"},
                             {"field": "measured", "format": ".4~s"}, {"field": "share", "format": "+.1%"}]}},
        ],
    }


def error_points(found: Iterable[Error]) -> list[Datum]:
    """A point per cell that was predicted and measured."""
    return [{"title": f"{one.row.cell.model}: {one.row.label}", "place": one.row.place, "predicted": one.predicted,
             "measured": one.measured.median, "share": one.share, "beyond": one.beyond} for one in found]


_WIDE: Spec = {"width": "container", "autosize": {"type": "fit-x", "contains": "padding"}}
_SECONDS = "datum.value >= 1 ? format(datum.value, '~g') + ' s' : datum.value >= 0.001 ? " \
           "format(datum.value * 1000, '~g') + ' ms' : format(datum.value * 1000000, '~g') + ' µs'"
_TONE = "datum.label == 'honest-semi-honest' ? 'semi-honest, honest majority' : " \
        "datum.label == 'honest-malicious' ? 'malicious, honest majority' : " \
        "datum.label == 'dishonest-semi-honest' ? 'semi-honest, dishonest majority' : 'malicious, dishonest majority'"
