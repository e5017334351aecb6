"""The README's answer and pictures: made from the stored results, and equal to what is committed."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from xml.etree import ElementTree

import pytest

from mpc_bridge.bench.report import readme
from mpc_bridge.bench.report.figures import compare, matrix, read
from mpc_bridge.cli.tables import documents, pictures
from mpc_bridge.quantities import duration, times
from tests.report_results import PAYLOAD, ROOT, Json, hostile, measured, mixed, summarise, written

__all__ = ["measured", "mixed", "written"]

Write = Callable[..., Path]


def texts(svg: str) -> list[str]:
    """What can be read in a picture."""
    return ["".join(one.itertext()) for one in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def values(svg: str) -> list[float]:
    """The seconds that the points of a picture stand for, as it tells screen readers."""
    return [float(found) for found in re.findall(
        r'aria-label="seconds, all phases but setup: ([-\d.e]+);[^"]*" role="graphics-symbol" '
        'aria-roledescription="point"', svg)]


def test_the_section_says_what_the_files_say(mixed: Json, written: Write) -> None:
    sources = read([written(mixed)])
    rows = matrix(sources)
    text = readme.section(sources)
    lines = text.splitlines()
    for one in compare(rows):
        assert one.seconds is not None
        line, = [line for line in lines if line.startswith("| ") and f"| {one.label} over {one.over} |" in line]
        assert times(one.seconds.median) in line
    for place in ("local", "lan", "wan"):
        line, = [line for line in lines if line.startswith(f"| digits | {place} |")]
        amounts = [row.amount for row in rows if row.place == place]
        assert line.count(" ms ") + line.count(" s ") == sum(amount is not None for amount in amounts)
        for amount in amounts:
            assert amount is None or duration(amount.seconds.median) in line
    assert "Medians of 3 repetitions" in text and "diamond: additive (ot)" in text
    assert "2 of 5 predictions are more than 25 % away" in text
    assert "failed" in text and "waiting" in text and "refused" in text and text.count("≈") > 2


def test_pictures_hold_the_numbers_of_the_files(mixed: Json, written: Write) -> None:
    pytest.importorskip("vl_convert", reason="the extra report is not installed")
    sources = read([written(mixed)])
    found = readme.pictures(sources)
    assert set(found) == set(readme.PICTURES)
    rows = [row for row in matrix(sources) if row.amount is not None]
    for svg in found.values():
        assert len(svg) < 100_000
        shown = values(svg)
        assert len(shown) == len(rows) == 12
        for value, row in zip(sorted(shown), sorted(row.amount.seconds.median for row in rows if row.amount),
                              strict=True):
            assert math.isclose(value, row, rel_tol=1e-3)
        words = texts(svg)
        for row in rows:
            if row.over_passive is not None and row.over_passive.seconds is not None:
                assert times(row.over_passive.seconds) in words
        assert {"local", "lan", "wan", "1.00 ms round trip, 1 Gbit/s"} <= set(words)
    assert readme.pictures(sources) == found
    light, dark = (set(re.findall(r"#[0-9a-f]{6}", svg)) for svg in found.values())
    assert not light & dark


def test_of_two_files_the_one_with_more_models_is_drawn(mixed: Json, written: Write) -> None:
    pytest.importorskip("vl_convert", reason="the extra report is not installed")
    more = deepcopy(mixed)
    more["networks"] = more["networks"][:1]
    more["cells"] = [cell for cell in more["cells"] if cell["network"] == "local"]
    more["models"].append({**more["models"][0], "name": "second"})
    for cell in deepcopy(more["cells"]):
        for one in cell["repetitions"]:
            one["phases"] = {phase: 2 * seconds for phase, seconds in one["phases"].items()}
        summarise(cell)
        more["cells"].append({**cell, "model": "second"})
    sources = read([written(mixed, "networks.json"), written(more, "local.json")])
    svg = next(iter(readme.pictures(sources).values()))
    words = texts(svg)
    assert "local (local)" in words and "local (networks)" not in words and "lan" in words and "second" in words
    assert len(values(svg)) == 10 + 5 + 2


def test_hostile_text_is_text(mixed: Json, written: Write) -> None:
    sources = read([written(hostile(mixed))])
    assert "<script" not in re.sub(r"\\.", "", readme.section(sources))
    if pytest.importorskip("vl_convert", reason="the extra report is not installed"):
        svg = next(iter(readme.pictures(sources).values()))
        tags = {element.tag.rpartition("}")[2] for element in ElementTree.fromstring(svg).iter()}
        assert not tags & {"script", "img", "image", "a", "foreignObject"}
        assert any(text.startswith(PAYLOAD[:10]) for text in texts(svg))


def test_marks_decide_whether_results_are_written(tmp_path: Path, mixed: Json) -> None:
    for name in ("README.md", "docs/ops.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        text = (ROOT / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(re.sub(f"{readme.BEGIN}.*?{readme.END}", "", text, flags=re.DOTALL),
                                     encoding="utf-8")
    assert readme.BEGIN not in documents(tmp_path)[tmp_path / "README.md"] and pictures(tmp_path) == {}
    with open(tmp_path / "README.md", "a", encoding="utf-8") as file:
        file.write(f"{readme.BEGIN}what was there\n{readme.END}after\n")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "one.json").write_text(json.dumps(mixed), encoding="utf-8")
    text = documents(tmp_path)[tmp_path / "README.md"]
    section = readme.section(readme.stored(tmp_path))
    assert text.endswith(f"{readme.BEGIN}{section}{readme.END}after\n") and "what was there" not in text
    pytest.importorskip("vl_convert", reason="the extra report is not installed")
    assert set(pictures(tmp_path)) == {tmp_path / "results" / name for name in readme.PICTURES}


def test_what_is_committed_is_what_the_results_say() -> None:
    if readme.BEGIN not in (ROOT / "README.md").read_text(encoding="utf-8"):
        pytest.skip("README.md has no marks for the results")
    assert (ROOT / "README.md").read_text(encoding="utf-8") == documents(ROOT)[ROOT / "README.md"]
    pytest.importorskip("vl_convert", reason="the extra report is not installed")
    for path, svg in pictures(ROOT).items():
        committed = path.read_text(encoding="utf-8")
        # letters and numbers, not pixels: those are another version's of the drawing library to change
        assert texts(committed) == texts(svg) and values(committed) == values(svg), f"{path.name}: make readme"
