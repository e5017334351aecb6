"""The page in a real browser: what it shows is what the results file holds, it asks nothing of any network, and text
of a results file stays text."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from mpc_bridge.bench.report import charts
from mpc_bridge.bench.report.figures import compare, matrix, read
from mpc_bridge.bench.report.page import heat, page
from mpc_bridge.bench.report.sweep import RTTS
from tests.chromium import Browser, browsing, programs
from tests.report_results import PAYLOAD, PHASES, SPENT, Json, hostile, measured, mixed, rounds, sent

__all__ = ["measured", "mixed"]

Made = Callable[[Json], Path]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browsing(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Makes the page of some results."""
    programs()
    for package in ("vl_convert", "jinja2"):
        pytest.importorskip(package, reason="the extra report is not installed")
    folder = tmp_path_factory.mktemp("pages")

    def make(results: Json) -> Path:
        name = f"results{len(list(folder.iterdir()))}"
        stored = folder / f"{name}.json"
        stored.write_text(json.dumps(results), encoding="utf-8")
        path = folder / f"{name}.html"
        path.write_text(page(read([stored])), encoding="utf-8")
        return path

    return make


@pytest.fixture(scope="module")
def shown(made: Made, mixed: Json) -> Path:
    """The page of the mixed results."""
    return made(mixed)


def rows_of(browser: Browser, table: str) -> list[list[str]]:
    """A row per body row: every ``data`` element's exact value."""
    found: list[list[str]] = browser.run(
        "return [...document.querySelectorAll(arguments[0] + ' tbody tr')].map(row => "
        "[...row.querySelectorAll('data')].map(one => one.value))", table)
    return found


def test_nothing_is_logged_and_nothing_is_asked_for(browser: Browser, shown: Path) -> None:
    browser.open(shown)
    for name in ("bytes", "rounds", "seconds"):
        browser.run(f"document.querySelector('input[value={name}]').click()")
        browser.settle()
    browser.run("document.getElementById('layer-setting').value = '4';"
                "document.getElementById('layer-setting').dispatchEvent(new Event('change'))")
    browser.settle()
    browser.run("document.getElementById('theme').click()")
    assert browser.logs() == []
    assert browser.requests() == [shown.as_uri()]


def test_every_cell_is_shown_with_the_json_s_numbers(browser: Browser, shown: Path, mixed: Json) -> None:
    browser.look(shown)
    rows = matrix(read([shown.with_suffix(".json")]))
    table = rows_of(browser, "#cells")
    assert len(table) == len(mixed["cells"])
    for values, cell, row in zip(table, mixed["cells"], rows, strict=True):
        expected: list[float] = []
        if row.amount is not None:
            if cell["status"] == "done":
                spread = cell["summary"]["spent"]
                expected += [spread["median"], spread["least"], spread["most"]]
                by_party = zip(*(cell["report"]["phases"][phase]["bytes_sent"] for phase in SPENT), strict=True)
                expected += [sent(cell), max(map(sum, by_party)), rounds(cell)]
            else:
                amount = row.amount
                expected += [cell["predicted"]["spent"], amount.bytes_sent, amount.bytes_most, amount.rounds]
        for ratio in (row.over_passive, row.over_honest):
            expected += [value for value in ((ratio.seconds, ratio.bytes_sent, ratio.rounds) if ratio else ())
                         if value is not None]
        if cell["report"] is not None:
            expected += [value for value in (cell["report"]["soundness_bits"],) if value is not None]
            expected.append(max(cell["report"]["peak_memory_bytes"]))
        assert [float(value) for value in values] == expected
    squares = browser.run("return [...document.querySelectorAll('.square .block')].map(one => "
                          "[one.dataset.cell, one.className, one.querySelector('data')?.value ?? null])")
    assert sorted(int(one[0]) for one in squares) == list(range(len(rows)))
    for index, classes, value in squares:
        cell, row = mixed["cells"][int(index)], rows[int(index)]
        assert cell["status"] in classes
        assert (None if value is None else float(value)) == (row.amount.seconds.median if row.amount else None)
    without = browser.run("return [...document.querySelectorAll('[data-without]')].map(one => one.innerText)")
    assert [text.split("\t")[3] for text in without] == ["failed", "waiting", "refused"]
    assert "party 1 is gone" in without[0] and "look at its output" in without[0]
    assert "no step for GELU" in without[2]


def test_shown_text_is_the_number_rounded(browser: Browser, shown: Path) -> None:
    """Whatever unit a number is shown in, it is the exact one to three digits."""
    browser.look(shown)
    pairs = browser.run("return [...document.querySelectorAll('data')].map(one => [one.value, one.textContent])")
    units = {"µs": 1e-6, "ms": 1e-3, "s": 1.0, "B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "%": 0.01}
    assert len(pairs) > 500
    for value, text in pairs:
        words = text.replace("×", "").replace("−", "-").split(" ")
        unit = units[words.pop()] if words[-1] in units else 1.0
        assert math.isclose(float("".join(words)) * unit, float(value), rel_tol=0.0051,
                            abs_tol=(0.051 if "%" in text else 0.0051) * unit), text


def test_the_answer_is_the_comparisons(browser: Browser, shown: Path) -> None:
    browser.look(shown)
    rows = compare(matrix(read([shown.with_suffix(".json")])))
    cells = browser.run("return [...document.querySelectorAll('.answer td:not(.none)')].map(one => [one.dataset.place,"
                        "one.className, ...[...one.querySelectorAll('data')].map(value => Number(value.value))])")
    found = {(cell[0], *cell[2:]) for cell in cells}
    expected = {(one.place, one.seconds.median, one.bytes_sent.median, one.rounds.median) for one in rows
                if one.seconds and one.bytes_sent and one.rounds}
    assert found == expected and len(cells) == len(rows) == 10
    assert all(cell[1] == f"heat-{heat(cell[2])}" for cell in cells)
    assert [heat(value) for value in (None, 0.5, 1.0, 2.0, 5.0, 20.0, 40.0)] == [0, 0, 1, 2, 3, 4, 5]


def test_phases_and_layers_tables_are_the_json_s(browser: Browser, shown: Path, mixed: Json) -> None:
    browser.look(shown)
    done = [cell for cell in mixed["cells"] if cell["status"] == "done"]
    expected = []
    for cell in done:
        report = cell["report"]
        for index, phase in enumerate(PHASES):
            stored, spread = report["phases"][phase], cell["summary"]["phases"][phase]
            values = [spread["median"], spread["least"], spread["most"], stored["rounds"], *stored["bytes_sent"]]
            if report["helper"] is not None:
                values.append(sum(report["helper"]["phases"][phase]["bytes_sent"]))
            values += [stored["and_gates"], stored["ring_multiplications"], *stored["correlations"].values()]
            if index == 0:
                values += report["peak_memory_bytes"]
                values += [] if report["soundness_bits"] is None else [report["soundness_bits"]]
            expected.append(values)
    assert [[float(value) for value in row] for row in rows_of(browser, ".phases")] == expected
    tables = browser.run("return [...document.querySelectorAll('table.layers')].map(table => "
                         "[...table.tBodies[0].rows].map(row => row.cells[0].textContent))")
    assert tables == [[layer["name"] for layer in cell["report"]["layers"]] for cell in done]


def test_pictures_hold_the_json_s_numbers(browser: Browser, shown: Path, mixed: Json) -> None:
    browser.open(shown)
    drawn = browser.run("return Object.fromEntries([...drawn].map(([id, one]) => [id, one.sets]))")
    for index, network in enumerate(("local", "lan", "wan")):
        cells = [cell for cell in mixed["cells"] if cell["network"] == network
                 and cell["status"] in ("done", "predicted")]
        points = drawn[f"overview-{index}"]["points"]
        assert [(point["seconds"], point["predicted"]) for point in points] == [
            (cell["summary"]["spent"]["median"], False) if cell["status"] == "done"
            else (cell["predicted"]["spent"], True) for cell in cells]
        marks = browser.run("return document.querySelectorAll(`#overview-${arguments[0]} .mark-symbol path`).length",
                            index)
        assert marks == len(points)
    for quantity in ("seconds", "bytes", "rounds"):
        browser.run(f"document.querySelector('input[value={quantity}]').click()")
        browser.settle()
        layers = browser.run("return drawn.get('layer-chart').sets.layers")
        stored = "bytes_sent" if quantity == "bytes" else quantity
        values = [layer["phases"][phase][stored] for layer in mixed["cells"][0]["report"]["layers"] for phase in SPENT]
        assert [one["value"] for one in layers] == [sum(one) if isinstance(one, list) else one for one in values]
        bars = browser.run("return document.querySelectorAll('#layer-chart .mark-rect path').length")
        assert bars == len(values)
    errors = drawn["errors-0"]["errors"]
    lan = [cell for cell in mixed["cells"] if cell["network"] == "lan"]
    assert [(one["predicted"], one["measured"], one["beyond"]) for one in errors] == [
        (cell["predicted"]["spent"], cell["summary"]["spent"]["median"], index % 3 == 1)
        for index, cell in enumerate(lan)]
    words = browser.run("return document.querySelector('#errors .sentence').textContent")
    assert words.startswith("2 of 5 predictions are more than 25 % away")
    assert "warning" in browser.run("return document.querySelector('#errors .sentence').className")


def test_curves_are_predictions_and_points_are_measured(browser: Browser, shown: Path, mixed: Json) -> None:
    browser.look(shown)
    sets = browser.run("return drawn.get('curve-chart').sets")
    lines: dict[str, list[tuple[float, float]]] = {}
    for one in sets["lines"]:
        lines.setdefault(one["setting"], []).append((one["rtt"], one["seconds"]))
    assert len(lines) == 5 and all([rtt for rtt, _ in line] == list(RTTS) for line in lines.values())
    assert all(line == sorted(line, key=lambda one: one[1]) for line in lines.values())
    lan = [cell for cell in mixed["cells"] if cell["network"] == "lan"]
    assert [(one["seconds"], one["rtt"]) for one in sets["measured"]] == [
        (cell["summary"]["spent"]["median"], 0.001) for cell in lan]
    # at the network's own round-trip time, a line goes through the cell's stored prediction
    at = RTTS.index(0.001)
    local = [cell for cell in mixed["cells"] if cell["network"] == "local"]
    for line, cell, base in zip(lines.values(), lan, local, strict=True):
        shift = base["summary"]["spent"]["median"] - sum(base["repetitions"][1]["phases"][phase] for phase in SPENT)
        assert line[at][1] == pytest.approx(cell["predicted"]["spent"] + shift)


def test_light_and_dark(browser: Browser, shown: Path) -> None:
    look = ("const of = (what, key) => getComputedStyle(document.querySelector(what))[key];"
            "return [of('html', 'backgroundColor'), of('#overview-0 .mark-symbol path', 'stroke'),"
            "of('#overview-0 .role-axis-label text', 'fill')]")

    def expected(index: int) -> list[str]:
        names = ("ground", "honest-semi-honest", "muted")
        return [f"rgb({', '.join(str(int(charts.PALETTE[name][index][at:at + 2], 16)) for at in (1, 3, 5))})"
                for name in names]

    browser.open(shown)
    assert browser.run(look) == expected(0)
    browser.run("document.getElementById('theme').click()")
    assert browser.run(look) == expected(1)
    browser.open(shown, dark=True)
    assert browser.run(look) == expected(1)
    browser.media("print", dark=True)
    assert browser.run(look)[1:] == expected(0)[1:]
    browser.media("screen", dark=True)
    browser.run("document.getElementById('theme').click()")
    assert browser.run(look) == expected(0)


def test_text_and_marks_stand_out_from_their_ground() -> None:
    def luminance(colour: str) -> float:
        parts = [int(colour[at:at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    for index in (0, 1):
        colours = {name: luminance(pair[index]) for name, pair in charts.PALETTE.items()}
        for ground in ("ground", "card"):
            for name, value in colours.items():
                least = 4.5 if name in ("ink", "muted", "accent", "warn", "good") else 2.6
                if name not in ("ground", "card", "line"):
                    high, low = max(value, colours[ground]), min(value, colours[ground])
                    assert (high + 0.05) / (low + 0.05) >= least, (name, ground, index)


def test_a_phone_scrolls_in_one_direction(browser: Browser, shown: Path) -> None:
    browser.open(shown, width=360)
    assert browser.run("return document.documentElement.scrollWidth <= innerWidth")
    assert browser.run("return [...document.querySelectorAll('.chart svg')].every("
                       "one => one.getBoundingClientRect().right <= innerWidth)")


def test_keyboard_and_screen_readers_get_everywhere(browser: Browser, shown: Path) -> None:
    browser.look(shown)
    assert browser.run("return [...document.querySelectorAll('select, input, button')].every(one => "
                       "one.tabIndex >= 0 && (one.labels?.length || one.ariaLabel))")
    assert browser.run("return [...document.querySelectorAll('table')].every(one => one.querySelector('th[scope]'))")
    assert browser.run("return [...document.querySelectorAll('.chart')].every(one => "
                       "one.role === 'graphics-document' && one.ariaLabel.endsWith('numbers are in the tables.'))")
    heads = browser.run("return [...document.querySelectorAll('h1, h2, h3')].map(one => Number(one.tagName[1]))")
    assert heads[0] == 1 and all(after <= before + 1 for before, after in zip(heads, heads[1:], strict=False))
    ids = browser.run("return [...document.querySelectorAll('[id]')].map(one => one.id)")
    links = browser.run("return [...document.querySelectorAll('a')].map(one => one.hash.slice(1))")
    assert len(set(ids)) == len(ids) and set(links) <= set(ids)


def test_paper_has_everything_but_the_long_tables(browser: Browser, shown: Path) -> None:
    browser.open(shown, width=720)
    browser.media("print", dark=False)
    browser.run("dispatchEvent(new Event('beforeprint'))")
    assert browser.run("return [...document.querySelectorAll('details:not(.bulk)')].every(one => one.open)")
    assert browser.run("return [...document.querySelectorAll('.chart svg')].every(one => "
                       "one.getBoundingClientRect().right <= innerWidth)")
    pdf = browser.driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"]
    assert len(pdf) > 50_000


def test_tables_need_no_javascript(browser: Browser, shown: Path, mixed: Json) -> None:
    browser.open(shown, scripts=False)
    look = browser.driver.find_elements
    assert len(look("css selector", "#cells tbody tr")) == len(mixed["cells"])
    assert not any(one.is_displayed() for one in look("css selector", ".scripted"))
    assert look("css selector", "noscript p") and look("css selector", ".answer")[0].is_displayed()


def test_hostile_text_stays_text(browser: Browser, made: Made, mixed: Json) -> None:
    results = hostile(mixed)
    path = made(results)
    browser.open(path)
    for name in ("bytes", "rounds"):
        browser.run(f"document.querySelector('input[value={name}]').click()")
        browser.settle()
    assert browser.run("return window.owned ?? null") is None
    assert browser.logs() == [] and browser.requests() == [path.as_uri()]
    assert browser.run("return document.querySelectorAll('script').length") == 3
    strangers = "img, iframe, object, base, form:not(.vega-bindings)"
    assert browser.run("return document.querySelectorAll(arguments[0]).length", strangers) == 0
    text = browser.run("return document.querySelector('#cells tbody td').textContent")
    assert text == f"{PAYLOAD}0"
    title = browser.run("return document.querySelector('.command').textContent")
    assert title == results["command"]


def test_the_page_runs_no_script_but_its_own(browser: Browser, shown: Path) -> None:
    browser.open(shown)
    browser.run("const one = document.createElement('script'); one.textContent = 'window.owned = 1';"
                "document.body.append(one);"
                "const other = document.createElement('img'); other.src = 'https://example.invalid/x';"
                "document.body.append(other)")
    assert browser.run("return window.owned ?? null") is None
    assert len([line for line in browser.logs() if "Content Security Policy" in line]) >= 2


def test_the_results_of_this_clone_make_a_page(browser: Browser, tmp_path: Path) -> None:
    """The real thing: every model, setting and network that is stored."""
    pytest.importorskip("vl_convert", reason="the extra report is not installed")
    stored = sorted((Path(__file__).resolve().parent.parent / "results").glob("*.json"))
    assert stored
    path = tmp_path / "page.html"
    path.write_text(page(read(stored)), encoding="utf-8")
    browser.open(path)
    assert browser.logs() == [] and browser.requests() == [path.as_uri()]
    cells = [cell for one in stored for cell in json.loads(one.read_text(encoding="utf-8"))["cells"]]
    shown = rows_of(browser, "#cells")
    assert len(shown) == len(cells)
    for values, cell in zip(shown, cells, strict=True):
        if cell["status"] == "done":
            assert float(values[0]) == cell["summary"]["spent"]["median"]


def test_nothing_measured_is_a_page_too(browser: Browser, made: Made, mixed: Json) -> None:
    results = deepcopy(mixed)
    empty: dict[str, Any] = {"status": "waiting", "report": None, "repetitions": [], "summary": None,
                             "predicted": None, "reason": None, "carrier": None}
    for cell in results["cells"]:
        cell |= empty
    path = made(results)
    text = path.read_text(encoding="utf-8")
    assert "15 without a number" in text and "there is none" in text and text.count("No cell was measured.") == 2
    browser.open(path)
    assert browser.run("return document.querySelectorAll('#cells tbody tr').length") == 15
    assert browser.logs() == []
