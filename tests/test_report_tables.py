"""Markdown and CSV: every number is the JSON's, and no text of a results file is more than text."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest

from mpc_bridge.bench.report.figures import matrix, read
from mpc_bridge.bench.report.tables import CSV_COLUMNS, as_csv, as_markdown, plain
from mpc_bridge.quantities import change, duration, grouped, size, span, three_digits, times
from tests.report_results import PAYLOAD, PHASES, SPENT, Json, hostile, key, measured, mixed, sent, written

__all__ = ["measured", "mixed", "written"]

Write = Callable[..., Path]


def lines_of(write: Write, results: Json) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(as_csv(read([write(results)])))))


def test_csv_holds_every_cell_and_phase_as_in_the_json(mixed: Json, written: Write) -> None:
    lines = lines_of(written, mixed)
    assert list(lines[0]) == list(CSV_COLUMNS)
    rest = iter(lines)
    for cell in mixed["cells"]:
        local = next(one for one in mixed["cells"] if one["network"] == "local" and key(one) == key(cell))
        for phase in (*PHASES, "spent") if cell["status"] == "done" else ("spent",):
            line = next(rest)
            assert (line["phase"], line["network"], line["backend"], line["preprocessing"], line["status"]) == (
                phase, cell["network"], cell["backend"], cell["preprocessing"] or "", cell["status"])
            assert line["repetitions"] == str(len(cell["repetitions"]))
            if cell["status"] == "done":
                spread = cell["summary"]["spent"] if phase == "spent" else cell["summary"]["phases"][phase]
                assert [float(line[f"seconds_{name}"]) for name in ("median", "least", "most")] == [
                    spread["median"], spread["least"], spread["most"]]
                names = SPENT if phase == "spent" else (phase,)
                for column in ("and_gates", "ring_multiplications", "rounds"):
                    assert int(line[column]) == sum(cell["report"]["phases"][name][column] for name in names)
                assert int(line["peak_memory_bytes"]) == max(cell["report"]["peak_memory_bytes"])
            else:
                assert line["seconds_median"] == line["and_gates"] == ""
            if phase == "spent":
                assert line["bytes_sent"] == (str(sent(local)) if cell["status"] in ("done", "predicted") else "")
                predicted = cell["predicted"] and cell["predicted"]["spent"]
                assert line["seconds_predicted"] == ("" if predicted is None else repr(predicted))
            if cell["reason"] is not None:
                assert cell["reason"]["what"] in line["reason"]
    assert next(rest, None) is None


def test_csv_ratios_are_the_matrix(mixed: Json, written: Write) -> None:
    spent = [line for line in lines_of(written, mixed) if line["phase"] == "spent"]
    found = 0
    for row, line in zip(matrix(read([written(mixed)])), spent, strict=True):
        for name, ratio in (("passive", row.over_passive), ("honest", row.over_honest)):
            assert line[name] == ("" if ratio is None else ratio.over)
            assert line[f"seconds_over_{name}"] == ("" if ratio is None else repr(ratio.seconds))
            assert line[f"bytes_over_{name}"] == ("" if ratio is None else repr(ratio.bytes_sent))
            found += ratio is not None
    assert found == 10


def test_markdown_shows_every_cell(mixed: Json, written: Write) -> None:
    text = as_markdown(read([written(mixed)]))
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| digits | ")]
    cells = [row for row in rows if len(row) == 11 and row[1] in ("semi-honest", "malicious")]
    assert len(cells) == len(mixed["cells"])
    for columns, cell in zip(cells, mixed["cells"], strict=True):
        assert columns[1:3] == [cell["threat_model"]["adversary"], cell["threat_model"]["majority"]]
        if cell["status"] == "done":
            spread = cell["summary"]["spent"]
            assert seconds(columns[4]) == pytest.approx(spread["median"], rel=0.006)
            assert columns[5].endswith("n = 3") and number(columns[6]) == pytest.approx(sent(cell), rel=0.006)
        elif cell["status"] == "predicted":
            assert columns[5] == "predicted"
        else:
            assert columns[4].startswith(cell["status"]) and columns[6] == ""
    assert "failed: PeerLost: party 1 is gone: online" in text and "waiting: 0 of 3 repetitions" in text
    assert text.count(", beyond |") == 2
    assert f"```\n{mixed['command']}\n```" in text


def test_hostile_text_is_text(mixed: Json, written: Write) -> None:
    results = hostile(mixed)
    text = as_markdown(read([written(results)]))
    fence = "````"
    outside, command, rest = text.partition(f"{fence}\n```\n")
    inside, end, after = rest.partition(f"\n{fence}\n")
    assert command and end and inside == f"{PAYLOAD}\n```"
    bare = re.sub(r"\\[\\`*\[\]<>#|~!&$@_:.]", "", outside + after)
    for mark in ("<script", "<img", "<", "`", "[a]", "&amp;"):
        assert mark not in bare
    # a table's rows keep their number of columns, whatever is in them
    tables = re.findall(r"(?:^\|.*\n)+", bare, re.MULTILINE)
    assert len(tables) == 5
    for table in tables:
        assert len({line.count("|") for line in table.splitlines()}) == 1
    for line in lines_of(written, results):
        assert not any(value.startswith(("=", "+", "-", "@")) for value in line.values())
        assert line["model"] == f"'{PAYLOAD}0"


def test_nothing_that_is_printed_commands_a_terminal(mixed: Json, written: Write) -> None:
    results = deepcopy(mixed)
    escape = "a\x1b]0;owned\x07\x9b2Jb"
    results["command"] = f"{escape}\nsecond line"
    results["machine"] = {escape: escape}
    for cell in results["cells"]:
        if cell["reason"] is not None:
            cell["reason"]["what"] = escape
    sources = read([written(results)])
    for text in (as_markdown(sources), as_csv(sources)):
        assert "a?]0;owned??2Jb" in text
        assert all(one.isprintable() or one in "\n\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}\N{THIN SPACE}"
                   for one in text)
    assert "```\na?]0;owned??2Jb\nsecond line\n```" in as_markdown(sources)


def test_plain_keeps_what_is_no_markup() -> None:
    assert plain("kws_ref_model (ot), 1.5-2/3: x") == "kws_ref_model (ot), 1.5-2/3: x"
    assert plain("_a_ *b* https://x www.x a\nb") == "\\_a\\_ \\*b\\* https\\://x www\\.x a b"


def seconds(text: str) -> float:
    value, unit = text.rsplit(" ", 1)
    return float(value.replace(" ", "")) * {"s": 1.0, "ms": 1e-3, "µs": 1e-6}[unit]


def number(text: str) -> float:
    value, unit = text.rsplit(" ", 1)
    return float(value) * {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}[unit]


def test_numbers_in_words() -> None:
    assert [duration(value) for value in (0, 0.0000004, 0.00042, 0.0996, 0.9994, 0.9996, 9.994, 9.996, 1204.4)] == [
        "0 s", "0.40 µs", "420 µs", "99.6 ms", "999 ms", "1.00 s", "9.99 s", "10.0 s", "1 204 s"]
    assert [three_digits(value) for value in (0.5, 9.994, 9.996, 99.94, 99.96, 12345)] == [
        "0.50", "9.99", "10.0", "99.9", "100", "12 345"]
    assert times(3.254) == "×3.25" and change(-0.1204) == "−12.0 %" and change(0.05) == "+5.0 %"
    assert span(0.0251, 0.0286) == "25.1–28.6 ms" and span(0.96, 1.12) == "960 ms–1.12 s"
    assert [size(value) for value in (0, 999, 999.6, 1000, 999_499, 999_600, 1_234_567, 2.5e12)] == [
        "0 B", "999 B", "1 kB", "1 kB", "999 kB", "1 MB", "1.23 MB", "2.5e+03 GB"]
    assert grouped(1234567) == "1 234 567"
