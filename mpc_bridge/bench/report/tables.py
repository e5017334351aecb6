"""The same numbers as Markdown, for people, and as CSV, for programs. Neither needs an extra package."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence

from mpc_bridge.bench.records import SPENT
from mpc_bridge.bench.report import details, words
from mpc_bridge.bench.report.figures import Ratio, Row, Source, compare, matrix, widest
from mpc_bridge.quantities import change, duration, grouped, size, span, times

#: Columns of :func:`as_csv`. ``phase`` is one of the four, or ``spent``: all but setup.
CSV_COLUMNS = (
    "file", "revision", "model", "network", "rtt_seconds", "bandwidth_bits_per_second", "adversary", "majority",
    "parties", "corruptions", "guarantee", "backend", "preprocessing", "device", "status", "carrier", "reason", "phase",
    "repetitions", "seconds_median", "seconds_least", "seconds_most", "seconds_predicted", "rounds", "bytes_sent",
    "bytes_most_by_one_party", "and_gates", "ring_multiplications", "correlations", "peak_memory_bytes",
    "soundness_bits", "passive", "seconds_over_passive", "bytes_over_passive", "rounds_over_passive", "honest",
    "seconds_over_honest", "bytes_over_honest", "rounds_over_honest")
#: What Markdown may take for markup wherever it stands in a line; an underscore only at the edge of a word.
_MARKUP = re.compile(r"[\\`*\[\]<>#|~!&$@]|\b_|_\b|(?<=\w):(?=//)|(?<=www)\.", re.IGNORECASE)
#: What a terminal would obey; Markdown and CSV are printed, too.
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
_Value = str | float | int | None


def as_csv(sources: Sequence[Source]) -> str:
    """A line per cell and phase, and one for all phases but setup; numbers as they are in the JSON, seconds and bytes.

    ``bytes_sent`` is everybody's, a helper's included. Ratios stand in the lines of ``spent``.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for row in matrix(sources):
        for line in _csv_lines(row):
            writer.writerow([_harmless(line.get(column)) for column in CSV_COLUMNS])
    return text.getvalue()


def as_markdown(sources: Sequence[Source]) -> str:
    """The answer, every cell by network, the predictions' errors, the phases, and what was run."""
    rows = matrix(sources)
    errors = details.errors(rows)
    parts = ["# What security costs", *map(plain, words.answer(compare(widest(rows))))]
    for place, in_place in details.by_place(rows).items():
        parts += [f"## {plain(place)}: {plain(words.shape(in_place[0].network))}", cells_table(in_place)]
    parts += ["## How far to trust a prediction", plain(words.predictions(errors))]
    if errors:
        parts.append(table(
            ("model", "network", "setting", "predicted>", "measured>", "off by>"),
            [(one.row.cell.model, one.row.place, one.row.label, duration(one.predicted),
              duration(one.measured.median), f"{change(one.share)}{', beyond' if one.beyond else ''}")
             for one in errors]))
    parts += ["## Phase by phase", _phase_table(rows), "## What was run", *map(_run, sources)]
    return "\n\n".join(parts) + "\n"


def cells_table(rows: Iterable[Row]) -> str:
    """A line per cell: what it spent, and its ratios; why, where it has no number."""
    lines = []
    for row in rows:
        threat = row.cell.threat_model
        start = (row.cell.model, threat.adversary, threat.majority, row.label)
        if row.amount is None:
            reason = words.why(row.source, row.cell)
            lines.append((*start, f"{row.cell.status}{f': {reason}' if reason else ''}", *[""] * 6))
            continue
        seconds = row.amount.seconds
        spread = f"{span(seconds.least, seconds.most)}, n = {len(row.cell.repetitions)}"
        lines.append((*start, duration(seconds.median), "predicted" if row.predicted else spread,
                      size(row.amount.bytes_sent), size(row.amount.bytes_most),
                      grouped(row.amount.rounds), _seconds(row.over_passive), _seconds(row.over_honest)))
    return table(("model", "adversary", "majority", "setting", "seconds>", "spread>", "bytes, all>",
                  "bytes, busiest party>", "rounds>", "over passive>", "over honest>"), lines)


def table(columns: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table; a column whose name ends in ``>`` is right-aligned. No cell's text is markup."""
    head = [f"| {' | '.join(plain(column.removesuffix('>')) for column in columns)} |",
            f"|{'|'.join('---:' if column.endswith('>') else '---' for column in columns)}|"]
    return "\n".join([*head, *(f"| {' | '.join(map(plain, line))} |" for line in lines)])


def _phase_table(rows: Iterable[Row]) -> str:
    lines = []
    for row in rows:
        for phase in details.phases(row):
            consumed = ", ".join(f"{name} {grouped(count)}" for name, count in phase.correlations.items())
            lines.append((
                row.cell.model, row.place, row.label, phase.name, duration(phase.seconds.median), grouped(phase.rounds),
                ", ".join(map(size, phase.bytes_sent)), "" if phase.helper_bytes is None else size(phase.helper_bytes),
                grouped(phase.and_gates), grouped(phase.ring_multiplications), consumed))
    return table(("model", "network", "setting", "phase", "seconds>", "rounds>", "bytes by party>", "helper's bytes>",
                  "AND gates>", "ring multiplications>", "preprocessing consumed"), lines)


def _run(source: Source) -> str:
    results = source.results
    # a fence that is longer than any run of backticks in what it fences
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", results.command)), default=0))
    facts = [("revision", results.revision or "not from a clone"), ("started", results.started),
             ("repetitions", str(results.repeat)),
             *((name, str(value)) for name, value in (results.machine | results.versions).items())]
    return "\n\n".join([f"### {plain(source.name)}", f"{fence}\n{_CONTROL.sub('?', results.command)}\n{fence}",
                        "\n".join(f"- {plain(name)}: {plain(value)}" for name, value in facts)])


def _seconds(ratio: Ratio | None) -> str:
    if ratio is None or ratio.seconds is None:
        return ""
    return f"{'≈ ' if ratio.predicted else ''}{times(ratio.seconds)}"


def plain(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return _MARKUP.sub(r"\\\g<0>", _CONTROL.sub("?", " ".join(text.split())))


def _csv_lines(row: Row) -> Iterable[dict[str, _Value]]:
    cell, network, threat = row.cell, row.network, row.cell.threat_model
    start: dict[str, _Value] = {
        "file": row.source.name, "revision": row.source.results.revision, "model": cell.model, "network": cell.network,
        "rtt_seconds": network.rtt_seconds, "bandwidth_bits_per_second": network.bandwidth_bits_per_second,
        "adversary": threat.adversary, "majority": threat.majority, "parties": threat.parties,
        "corruptions": threat.corruptions, "guarantee": threat.guarantee, "backend": cell.backend,
        "preprocessing": cell.preprocessing, "device": cell.device, "status": cell.status, "carrier": cell.carrier,
        "reason": words.why(row.source, cell) or None, "repetitions": len(cell.repetitions),
        "peak_memory_bytes": max(details.peak_memory(row), default=None), "soundness_bits": details.soundness_bits(row)}
    phases = details.phases(row)
    for phase in phases:
        yield {**start, "phase": phase.name, "seconds_median": phase.seconds.median,
               "seconds_least": phase.seconds.least, "seconds_most": phase.seconds.most,
               "seconds_predicted": cell.predicted.phases[phase.name] if cell.predicted else None,
               "rounds": phase.rounds, "bytes_sent": sum(phase.bytes_sent) + (phase.helper_bytes or 0),
               "bytes_most_by_one_party": max(phase.bytes_sent), "and_gates": phase.and_gates,
               "ring_multiplications": phase.ring_multiplications,
               "correlations": " ".join(f"{name}={count}" for name, count in phase.correlations.items()) or None}
    spent: dict[str, _Value] = {**start, "phase": "spent",
                                "seconds_predicted": cell.predicted.spent if cell.predicted else None}
    if row.amount is not None:
        amount = row.amount
        if not row.predicted:
            spent |= {"seconds_median": amount.seconds.median, "seconds_least": amount.seconds.least,
                      "seconds_most": amount.seconds.most}
        spent |= {"rounds": amount.rounds, "bytes_sent": amount.bytes_sent,
                  "bytes_most_by_one_party": amount.bytes_most}
    if phases:
        inference = [phase for phase in phases if phase.name in SPENT]
        spent |= {"and_gates": sum(phase.and_gates for phase in inference),
                  "ring_multiplications": sum(phase.ring_multiplications for phase in inference)}
    for name, ratio in (("passive", row.over_passive), ("honest", row.over_honest)):
        if ratio is not None:
            spent |= {name: ratio.over, f"seconds_over_{name}": ratio.seconds, f"bytes_over_{name}": ratio.bytes_sent,
                      f"rounds_over_{name}": ratio.rounds}
    yield spent


def _harmless(value: _Value) -> str:
    """A field; text that a spreadsheet would take for a formula is marked as text."""
    if value is None:
        return ""
    if isinstance(value, str):
        value = _CONTROL.sub("?", " ".join(value.split()))
        return f"'{value}" if value[:1] in ("=", "+", "-", "@") else value
    return repr(value)
