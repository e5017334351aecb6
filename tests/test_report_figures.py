"""The numbers of a report, against ones worked out here from the JSON, or by hand."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest

from mpc_bridge.bench.report import details, words
from mpc_bridge.bench.report.figures import Row, compare, matrix, read
from mpc_bridge.errors import UsageError
from tests.report_results import (
    PHASES,
    SPENT,
    Json,
    cell_of,
    key,
    measured,
    mix,
    mixed,
    rounds,
    sent,
    summarise,
    written,
)

__all__ = ["measured", "mixed", "written"]

Write = Callable[..., Path]


def rows_of(write: Write, results: Json) -> tuple[Row, ...]:
    return matrix(read([write(results)]))


def only(rows: tuple[Row, ...], network: str, label: str) -> Row:
    found = [row for row in rows if (row.cell.network, row.label) == (network, label)]
    assert len(found) == 1
    return found[0]


def test_every_cell_is_a_row_with_its_own_numbers(mixed: Json, written: Write) -> None:
    rows = rows_of(written, mixed)
    assert len(rows) == len(mixed["cells"]) == 15
    for row, cell in zip(rows, mixed["cells"], strict=True):
        assert row.cell.status == cell["status"] and row.cell.network == cell["network"]
        local = next(one for one in mixed["cells"] if one["network"] == "local" and key(one) == key(cell))
        if cell["status"] == "done":
            assert row.amount is not None
            spread = cell["summary"]["spent"]
            assert (row.amount.seconds.median, row.amount.seconds.least, row.amount.seconds.most) == (
                spread["median"], spread["least"], spread["most"])
            assert spread["least"] < spread["median"] < spread["most"]
        elif cell["status"] == "predicted":
            assert row.amount is not None and row.predicted
            assert row.amount.seconds.median == cell["predicted"]["spent"]
        else:
            assert row.amount is None and row.over_passive is None and row.over_honest is None
            continue
        by_party = [sum(local["report"]["phases"][phase]["bytes_sent"][party] for phase in SPENT)
                    for party in range(local["threat_model"]["parties"])]
        assert (row.amount.bytes_sent, row.amount.bytes_most, row.amount.rounds) == (
            sent(local), max(by_party), rounds(local))
        assert (row.amount.bytes_sent > sum(by_party)) == (local["report"]["helper"] is not None)


def test_ratios_are_of_medians_and_name_what_they_are_over(mixed: Json, written: Write) -> None:
    rows = rows_of(written, mixed)
    expected = {
        ("rep3-mac", None): ("rep3", None), ("spdz2k (dealer)", "dealer"): ("additive", "dealer")}
    for (label, preprocessing), (passive, source) in expected.items():
        mine, theirs = cell_of(mixed, "lan", label.split()[0], preprocessing), cell_of(mixed, "lan", passive, source)
        ratio = only(rows, "lan", label).over_passive
        assert ratio is not None and ratio.over == (f"{passive} ({source})" if source else passive)
        assert ratio.seconds == mine["summary"]["spent"]["median"] / theirs["summary"]["spent"]["median"]
        assert ratio.bytes_sent == sent(mine) / sent(theirs) and ratio.rounds == rounds(mine) / rounds(theirs)
        assert not ratio.predicted
    for label, honest in (("additive (dealer)", "rep3"), ("additive (ot)", "rep3"), ("spdz2k (dealer)", "rep3-mac")):
        backend, source = label[:-1].split(" (")
        mine, theirs = cell_of(mixed, "local", backend, source), cell_of(mixed, "local", honest)
        ratio = only(rows, "local", label).over_honest
        assert ratio is not None and ratio.over == honest
        assert ratio.seconds == mine["summary"]["spent"]["median"] / theirs["summary"]["spent"]["median"]
    assert only(rows, "local", "rep3").over_passive is None and only(rows, "local", "rep3").over_honest is None
    assert only(rows, "local", "additive (ot)").over_passive is None
    # what a cell without a number would be compared with has no ratio either
    assert only(rows, "wan", "spdz2k (dealer)").over_passive is None


def test_ratios_by_hand(mixed: Json, written: Write) -> None:
    """Ten seconds over four, and nothing over nothing."""
    results = deepcopy(mixed)
    for cell in results["cells"]:
        if cell["network"] == "local" and cell["backend"] in ("rep3", "rep3-mac"):
            seconds = (4.0, 3.0, 5.0) if cell["backend"] == "rep3" else (10.0, 30.0, 9.0)
            for one, value in zip(cell["repetitions"], seconds, strict=True):
                one["phases"] = {"setup": 100.0, "preprocessing": 0.0, "online": value, "verification": 0.0}
            summarise(cell)
    ratio = only(rows_of(written, results), "local", "rep3-mac").over_passive
    assert ratio is not None and ratio.seconds == 2.5
    for cell in results["cells"]:
        if cell["network"] == "local" and cell["backend"] == "rep3":
            for one in cell["repetitions"]:
                one["phases"] = dict.fromkeys(PHASES, 0.0)
            summarise(cell)
    ratio = only(rows_of(written, results), "local", "rep3-mac").over_passive
    assert ratio is not None and ratio.seconds is None and ratio.bytes_sent is not None


def test_a_ratio_with_a_prediction_says_so(mixed: Json, written: Write) -> None:
    results = deepcopy(mixed)
    for cell in results["cells"]:
        if cell["network"] == "lan" and cell["backend"] == "rep3":
            cell |= {"status": "predicted", "report": None, "repetitions": [], "summary": None, "carrier": None}
    rows = rows_of(written, results)
    for label, name in (("rep3-mac", "over_passive"), ("additive (ot)", "over_honest")):
        assert getattr(only(rows, "lan", label), name).predicted
    assert {one.predicted for one in compare(rows) if one.place == "lan" and one.over == "rep3"} == {True}
    assert {one.predicted for one in compare(rows) if one.place == "lan" and one.over != "rep3"} == {False}


def test_numbers_of_parties_are_compared_with_their_like(mixed: Json, written: Write) -> None:
    """Malicious of two parties is over semi-honest of two; settings that differ in parties alone say how many."""
    results = deepcopy(mixed)
    for cell in [cell for cell in results["cells"] if cell["network"] == "local"
                 and (cell["backend"], cell["preprocessing"]) == ("additive", "dealer")]:
        larger = deepcopy(cell)
        for found in (larger, larger["report"]):
            found["threat_model"] |= {"parties": 3, "corruptions": 2}
        for costs in (larger["report"]["phases"], *(layer["phases"] for layer in larger["report"]["layers"])):
            for cost in costs.values():
                cost["bytes_sent"] = [*cost["bytes_sent"], 1]
        for layer in larger["report"]["layers"]:
            layer["bytes_sent"].append(1)
        for served in larger["report"]["helper"]["phases"].values():
            served["bytes_sent"].append(0)
        larger["report"]["peak_memory_bytes"].append(1)
        for one in larger["repetitions"]:
            one["bytes_sent"] = {phase: [*sizes, 1] for phase, sizes in one["bytes_sent"].items()}
            one["peak_memory_bytes"] = [*one["peak_memory_bytes"], 1]
        results["cells"].insert(0, larger)
    rows = rows_of(written, results)
    assert {row.label for row in rows} == {"rep3", "rep3-mac", "additive (dealer, 2 parties)", "spdz2k (dealer)",
                                           "additive (ot, 2 parties)", "additive (dealer, 3 parties)"}
    ratio = only(rows, "local", "spdz2k (dealer)").over_passive
    assert ratio is not None and ratio.over == "additive (dealer, 2 parties)"


def test_active_security_is_never_compared_with_none(mixed: Json, written: Write) -> None:
    """Somebody's backend that computes in the clear with as many parties, which comes first in a file."""
    results = deepcopy(mixed)
    clear = deepcopy(cell_of(mixed, "local", "rep3")) | {"backend": "clear"}
    clear["threat_model"] |= {"guarantee": "none", "corruptions": 0}
    results["cells"].insert(0, clear)
    ratio = only(rows_of(written, results), "local", "rep3-mac").over_passive
    assert ratio is not None and ratio.over == "rep3"


def test_comparisons_are_medians_over_the_models(mixed: Json, written: Write) -> None:
    results = deepcopy(mixed)
    for name, factor in (("second", 3.0), ("third", 8.0)):
        results["models"].append({**results["models"][0], "name": name})
        for cell in [cell for cell in mixed["cells"] if cell["network"] == "local"]:
            cell = deepcopy(cell) | {"model": name}
            if cell["backend"] == "rep3-mac":
                for one in cell["repetitions"]:
                    one["phases"] = {phase: factor * value for phase, value in one["phases"].items()}
                summarise(cell)
            results["cells"].append(cell)
    once = only(rows_of(written, mixed), "local", "rep3-mac").over_passive
    found = next(one for one in compare(rows_of(written, results)) if (one.label, one.place) == ("rep3-mac", "local"))
    assert once is not None and once.seconds is not None and found.seconds is not None and found.models == 3
    assert found.seconds.least == once.seconds and found.kind == "active" and found.over == "rep3"
    assert found.seconds.median == pytest.approx(3 * once.seconds)
    assert found.seconds.most == pytest.approx(8 * once.seconds)


def test_phases_and_layers_are_the_reports(mixed: Json, written: Write) -> None:
    rows = rows_of(written, mixed)
    for row, cell in zip(rows, mixed["cells"], strict=True):
        phases, layers = details.phases(row), details.layers(row)
        if cell["status"] != "done":
            assert phases == layers == ()
            continue
        report = cell["report"]
        assert [phase.name for phase in phases] == list(PHASES)
        for phase in phases:
            stored, spread = report["phases"][phase.name], cell["summary"]["phases"][phase.name]
            assert (phase.seconds.median, phase.seconds.least, phase.seconds.most) == (
                spread["median"], spread["least"], spread["most"])
            assert (phase.rounds, list(phase.bytes_sent)) == (stored["rounds"], stored["bytes_sent"])
            assert (phase.and_gates, phase.ring_multiplications, phase.correlations) == (
                stored["and_gates"], stored["ring_multiplications"], stored["correlations"])
            helper = report["helper"]
            assert phase.helper_bytes == (None if helper is None else sum(helper["phases"][phase.name]["bytes_sent"]))
        assert len(layers) == len(report["layers"]) > 5
        for layer, stored in zip(layers, report["layers"], strict=True):
            assert (layer.name, layer.op, layer.activations) == (stored["name"], stored["op"], stored["activations"])
            assert layer.seconds == tuple(stored["phases"][phase]["seconds"] for phase in SPENT)
            assert layer.rounds == tuple(stored["phases"][phase]["rounds"] for phase in SPENT)
            assert layer.bytes_sent == tuple(sum(stored["phases"][phase]["bytes_sent"]) for phase in SPENT)
        assert details.peak_memory(row) == tuple(report["peak_memory_bytes"])
        assert details.soundness_bits(row) == report["soundness_bits"]
    assert any(phase.and_gates for row in rows for phase in details.phases(row))
    assert any(phase.correlations for row in rows for phase in details.phases(row))


def test_errors_of_predictions_and_the_words_about_them(mixed: Json, written: Write) -> None:
    rows = rows_of(written, mixed)
    errors = details.errors(rows)
    lan = [cell for cell in mixed["cells"] if cell["network"] == "lan"]
    assert [one.share for one in errors] == [
        cell["predicted"]["spent"] / cell["summary"]["spent"]["median"] - 1 for cell in lan]
    assert [one.beyond for one in errors] == [False, True, False, False, True]
    assert words.predictions(errors).startswith("2 of 5 predictions are more than 25 % away")
    good = [one for one in errors if not one.beyond]
    assert words.predictions(good).startswith("All 3 predictions are within 25 %")
    assert "not checked" in words.predictions([])


def test_why_a_cell_has_no_number(mixed: Json, written: Write) -> None:
    source, = read([written(mixed)])
    found = [words.why(source, row.cell) for row in matrix([source]) if row.amount is None]
    assert found == ["PeerLost: party 1 is gone: online", "0 of 3 repetitions",
                     "UnsupportedCombinationError: no step for GELU: op 3"]


def test_the_answer_in_words(mixed: Json, written: Write) -> None:
    comparisons = compare(rows_of(written, mixed))
    first, second = words.answer(comparisons)
    assert first.startswith("Active security takes ") and " times as long as passive with an honest majority" in first
    assert "with a dishonest majority" in first
    assert "against semi-honest parties with additive (dealer)" in second and "against malicious parties" in second
    assert words.answer([]) == []
    predicted = [replace(one, predicted=one.place == "lan") for one in comparisons]
    assert words.answer(predicted) == [first, second, "What is said of lan rests on predictions."]


def test_several_files_keep_apart(mixed: Json, measured: Json, written: Write) -> None:
    one, other = written(mixed, "one.json"), written(measured, "other.json")
    rows = matrix(read([one, other]))
    assert [row.place for row in rows[::5]] == [
        "local (one)", "lan (one)", "wan (one)", "local (other)", "lan (other)", "wan (other)"]
    ratio = rows[16].over_passive
    base = measured["cells"][0]["summary"]["spent"]["median"]
    assert ratio is not None and ratio.seconds == measured["cells"][1]["summary"]["spent"]["median"] / base
    folder = one.parent / "folder"
    folder.mkdir()
    again = folder / "one.json"
    again.write_bytes(one.read_bytes())
    assert [source.name for source in read([one, again])] == [str(one), str(again)]
    for paths, what in (([], "no results file"), ([one, one], "given twice")):
        with pytest.raises(UsageError, match=what):
            read(paths)


def test_mixing_changes_what_it_says(measured: Json) -> None:
    """The derived file has each kind of cell: this test's own ground."""
    statuses = [cell["status"] for cell in mix(measured)["cells"]]
    assert {status: statuses.count(status) for status in statuses} == {
        "done": 10, "predicted": 2, "failed": 1, "waiting": 1, "refused": 1}
