"""The benchmark's order of work, what it counts and what it refuses: real parties on the smallest circuits."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mpc_bridge import registry
from mpc_bridge.bench import runner
from mpc_bridge.bench.estimate import Estimate
from mpc_bridge.bench.matrix import Setting, Wanted, settings
from mpc_bridge.bench.namespaces import Namespaces
from mpc_bridge.bench.records import Cell, Results, load, summarise
from mpc_bridge.bench.runner import Runner, Step
from mpc_bridge.bench.store import Store, merged
from mpc_bridge.circuit.serialize import save
from mpc_bridge.cli.bench import exit_code
from mpc_bridge.cli.bench_plan import Plan, Stream, lanes_of, names_of, plan
from mpc_bridge.cli.bench_progress import cell_line, runs_line, step_line, time_left
from mpc_bridge.cli.bench_table import print_results
from mpc_bridge.errors import InputError, MpcBridgeError, NetworkError, UnsupportedCombinationError, UsageError
from mpc_bridge.registry import Plugins
from mpc_bridge.runtime.meter import PHASES
from mpc_bridge.security import ThreatModel
from mpc_bridge.testing.specimens import specimen

from .bench_results import ACTIVE, PASSIVE, repetition, results

PLUGIN = Path(__file__).resolve().parent / "plugin"


class Log:
    """Remembers what a runner tells."""

    def __init__(self) -> None:
        self.references: list[str] = []
        self.steps: list[Step] = []
        self.settled_cells: list[Cell] = []

    def reference(self, model: str) -> None:
        self.references.append(model)

    def begin(self, step: Step) -> None:
        self.steps.append(step)

    def settled(self, cell: Cell) -> None:
        self.settled_cells.append(cell)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """One fully connected layer."""
    path = tmp_path / "dense.circuit"
    save(specimen("FULLY_CONNECTED"), path)
    return path


@pytest.fixture
def plugin(installed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Backends in the clear: wrong, cheated, and clear, which is right."""
    monkeypatch.syspath_prepend(PLUGIN)


def planned(models: list[Path], backends: tuple[str, ...], repeat: int = 2, networks: tuple[str, ...] = (),
            mode: str = "predict", samples: int = 1) -> Plan:
    installed = registry.backends()
    chosen = settings(Wanted(backends=backends), installed)
    return plan(models, (), samples, repeat, None, chosen, networks, mode, installed)


def work(path: Path, of: Plan, log: Log, deadline: float | None = None) -> Results:
    with Store(path, of.fresh) as store:
        Runner(store, of.workloads, of.lanes, of.settings, log, 60.0, deadline).run()
        return store.results


def test_repetitions_take_turns_and_the_file_holds_what_they_measured(
        tmp_path: Path, model: Path, plugin: None) -> None:
    second = tmp_path / "pool.circuit"
    save(specimen("MAX_POOL_2D"), second)
    log, path = Log(), tmp_path / "results.json"
    found = work(path, planned([model, second], ("plaintext", "clear")), log)
    order = [(step.cell.model, step.cell.backend, step.repetition) for step in log.steps]
    turns = [(backend, repetition) for repetition in (0, 1, 2) for backend in ("clear", "plaintext")]
    assert order == [(name, *turn) for name in ("dense", "pool") for turn in turns]
    assert log.references == ["dense", "pool"]
    assert [step.runs_done for step in log.steps] == list(range(12)) and {step.runs for step in log.steps} == {12}
    assert log.steps[0].seconds_left is None and (log.steps[-1].seconds_left or 0) > 0
    assert step_line(log.steps[3]) == "cell 2 of 4: dense, local, plaintext, repetition 1 of 2"
    assert runs_line(log.steps[0]) == "0 of 12 runs are done"
    assert runs_line(log.steps[5]).startswith("5 of 12 runs are done, about ")
    assert load(path) == found
    for cell in found.cells:
        first = cell.repetitions[0]
        assert cell.status == "done" and len(cell.repetitions) == 2 and cell.summary == summarise(cell.repetitions)
        assert cell.report is not None and cell.report["matches_reference"] is True and cell.carrier == "unix"
        assert first.phases == {phase: cell.report["phases"][phase]["seconds"] for phase in PHASES}
        assert first.layers == tuple(layer["seconds"] for layer in cell.report["layers"])
        assert first.bytes_sent["online"] == tuple(cell.report["phases"]["online"]["bytes_sent"])
        assert cell.report["threat_model"]["parties"] == cell.threat_model.parties
    assert [cell.key for cell in log.settled_cells] == [cell.key for cell in found.cells]
    # nothing is left to do, not even a warm-up
    again = Log()
    assert work(path, planned([model, second], ("plaintext", "clear")), again) == found
    assert not again.steps and not again.references


def test_a_wrong_output_and_an_abort_are_never_counted(
        tmp_path: Path, model: Path, plugin: None) -> None:
    second = tmp_path / "pool.circuit"
    save(specimen("MAX_POOL_2D"), second)
    log, path = Log(), tmp_path / "results.json"
    work(path, planned([second], ("plaintext", "wrong", "cheated"), repeat=1), log)
    cells = {cell.backend: cell for cell in load(path).cells}
    assert cells["plaintext"].status == "done"
    for name, kind in (("wrong", "WrongResult"), ("cheated", "ProtocolAbort")):
        cell = cells[name]
        assert cell.status == "failed" and cell.reason is not None and cell.reason.kind == kind
        assert not cell.repetitions and cell.report is None and cell.summary is None
    assert exit_code(list(cells.values())) == 1 and exit_code([cells["cheated"]]) == 4
    assert exit_code([cells["plaintext"]]) == 0
    assert [(step.cell.backend, step.repetition) for step in log.steps] == [
        ("cheated", 0), ("plaintext", 0), ("wrong", 0), ("plaintext", 1)]
    assert "failed: the outputs are not the reference interpreter's; no guarantee: wrong" in cell_line(cells["wrong"])


def test_what_fails_in_any_way_keeps_its_repetitions_and_the_rest_goes_on(
        tmp_path: Path, model: Path, plugin: None, monkeypatch: pytest.MonkeyPatch) -> None:
    real = runner.evaluate

    def strange(circuit: Any, inputs: Any, **words: Any) -> Any:
        if words["backend"] == "plaintext" and len(log.steps) > 4:
            raise ZeroDivisionError("weight 17")  # what a third party's backend might do
        return real(circuit, inputs, **words)

    log, path = Log(), tmp_path / "results.json"
    with monkeypatch.context() as patch:
        patch.setattr(runner, "evaluate", strange)
        found = work(path, planned([model], ("clear", "plaintext")), log)
    done, failed = found.cells
    assert done.status == "done" and failed.status == "failed" and len(failed.repetitions) == 1
    assert failed.reason is not None and failed.reason.kind == "ZeroDivisionError"
    assert "weight 17" not in path.read_text() and exit_code(found.cells) == 70
    log = Log()
    healed = work(path, planned([model], ("clear", "plaintext")), log).cells
    assert [(step.cell.backend, step.repetition) for step in log.steps] == [("plaintext", 0), ("plaintext", 2)]
    assert healed[0] == done and healed[1].status == "done" and healed[1].reason is None
    assert healed[1].repetitions[:1] == failed.repetitions and healed[1].report == failed.report


def test_no_run_starts_after_the_deadline(tmp_path: Path, model: Path, installed: None) -> None:
    path, log = tmp_path / "results.json", Log()
    found = work(path, planned([model], ("plaintext",)), log, time.monotonic() - 1)
    assert not log.steps and not log.references and [cell.status for cell in found.cells] == ["waiting"]
    assert load(path) == found


def test_settings_are_every_threat_model_there_is(installed: None) -> None:
    found = settings(Wanted(), registry.backends())
    assert [(one.adversary, one.majority, one.backend, one.preprocessing, one.parties) for one in found] == [
        ("semi-honest", "honest", "rep3", None, 3), ("malicious", "honest", "rep3-mac", None, 3),
        ("semi-honest", "dishonest", "additive", "dealer", 2), ("semi-honest", "dishonest", "additive", "ot", 2),
        ("malicious", "dishonest", "spdz2k", "dealer", 2)]
    assert [one.threat_model.corruptions for one in found] == [1] * 5
    five = settings(Wanted(parties=5, backends=("additive",), preprocessing=("dealer",)), registry.backends())
    assert [one.threat_model for one in five] == [ThreatModel("semi-honest", "dishonest", 5, 4, "privacy")]
    assert settings(Wanted(adversaries=["malicious"], majorities=["honest"]), registry.backends()) == found[1:2]
    assert settings(Wanted(preprocessing=["dealer"]), registry.backends()) == (found[2], found[4])
    with pytest.raises(UsageError, match="nosuch"):
        settings(Wanted(backends=["nosuch"]), registry.backends())
    with pytest.raises(UnsupportedCombinationError):
        settings(Wanted(adversaries=["malicious"], backends=["rep3"]), registry.backends())
    with pytest.raises(UnsupportedCombinationError):
        settings(Wanted(), Plugins({}, {}))


def test_what_cannot_run_is_refused_before_any_party_starts(tmp_path: Path, model: Path, installed: None) -> None:
    backends = registry.backends()
    wanted = Wanted(majorities=["dishonest"], preprocessing=["ot"], parties=3)
    chosen = settings(wanted, backends)
    assert [(one.backend, one.preprocessing) for one in chosen] == [("additive", "ot"), ("spdz2k", "ot")]
    of, log = plan([model], (), 1, 1, None, chosen, ("wan",), "predict", backends), Log()
    found = work(tmp_path / "results.json", of, log)
    assert not log.steps and [cell.status for cell in found.cells] == ["refused"] * 4
    reasons = [cell.reason for cell in found.cells if cell.reason is not None]
    assert "2 parties" in reasons[0].hint and "not from: ot" in reasons[1].what
    assert {reason.kind for reason in reasons} == {"UnsupportedCombinationError"} and exit_code(found.cells) == 0
    print_results(found, found.cells)


def test_a_model_that_is_unsupported_is_refused_and_one_that_is_broken_is_an_error(
        tmp_path: Path, model: Path, installed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from mpc_bridge.cli import bench_plan
    from mpc_bridge.errors import UnsupportedModelError

    lower = bench_plan.lower

    def picky(circuit: Any) -> Any:
        if circuit.name == specimen("MAX_POOL_2D").name:
            raise UnsupportedModelError("an op that has no lowering", where="pool")
        return lower(circuit)

    monkeypatch.setattr(bench_plan, "lower", picky)
    second = tmp_path / "pool.circuit"
    save(specimen("MAX_POOL_2D"), second)
    of = planned([second, model], ("plaintext",), repeat=1)
    assert [cell.status for cell in of.fresh.cells] == ["refused", "waiting"] and len(of.workloads) == 1
    found = work(tmp_path / "results.json", of, Log())
    assert [cell.status for cell in found.cells] == ["refused", "done"]
    print_results(found, found.cells)
    second.write_bytes(b"no model")
    with pytest.raises(MpcBridgeError, match="not a"):
        planned([second, model], ("plaintext",))


def test_random_inputs_are_the_same_every_time(model: Path, installed: None) -> None:
    one, two = (planned([model], ("plaintext",)).fresh.models[0] for _ in range(2))
    assert one == two and one.input.origin == "random"
    assert planned([model], ("plaintext",), samples=2).fresh.models[0].input != one.input
    stream = Stream("seed")
    first, second = stream.draw(64), stream.draw(64)
    assert first != second and Stream("seed").draw(64) == first and Stream("other").draw(64) != first


def test_names_tell_models_apart() -> None:
    assert names_of([Path("a/model.tflite"), Path("b/net.onnx")]) == ["a", "net"]
    assert names_of([Path("b/net.tflite"), Path("b/net.onnx")]) == ["net.tflite", "net.onnx"]
    assert names_of([Path("a/net.onnx"), Path("b/net.onnx")]) == ["a/net.onnx", "b/net.onnx"]
    with pytest.raises(UsageError, match="same name"):
        names_of([Path("a/net.onnx"), Path("a/net.onnx")])
    for name in ("\x1b[2J.onnx", "\udcff.onnx", "x" * 300 + ".onnx"):
        with pytest.raises(UsageError, match="not a name"):
            names_of([Path(name)])


def test_this_machines_own_network_comes_first(model: Path, installed: None) -> None:
    lanes, reason = lanes_of(["wan", "10ms/300mbit", "local", "40ms/100mbit"], "predict")
    assert [lane.record.name for lane in lanes] == ["local", "wan", "10ms/300mbit"] and reason == "as asked"
    assert lanes[1].record.rtt_seconds == 0.04 and lanes[1].record.bandwidth_bits_per_second == 100_000_000
    assert [lane.measured for lane in lanes] == [True, False, False]
    assert lanes_of([], "auto")[1] is None
    for words, mode in ((["lan"], "magic"), (["nowhere"], "auto")):
        with pytest.raises(UsageError):
            lanes_of(words, mode)
    with pytest.raises(UsageError, match="1 models and 2 inputs"):
        plan([model], [model, model], 1, 1, None, (), (), "auto", registry.backends())
    with pytest.raises(InputError):
        plan([model], [Path("missing.npz")], 1, 1, None, (), (), "auto", registry.backends())


def changed(old: Results, **words: Any) -> Results:
    return replace(old, **words)


@pytest.mark.parametrize(("change", "word"), [
    ({"revision": "other"}, "revision"), ({"revision": None}, "revision"), ({"repeat": 4}, "repeat"),
    ({"machine": {"cpu": "another", "cores": 2}}, "cpu a processor in the file, another now"),
    ({"versions": {"python": "3.12"}}, "versions"),
])
def test_another_revision_machine_or_setting_is_never_mixed(change: dict[str, Any], word: str) -> None:
    with pytest.raises(UsageError) as caught:
        merged(results(), replace(results(), **change))
    assert word in f"{caught.value.what} {caught.value.where}" and "--restart" in caught.value.hint


@pytest.mark.parametrize("change", [{"sha256": "22" * 32}, {"samples": 2}, {"profile": "tflite"}])
def test_another_model_of_the_same_name_is_never_mixed(change: dict[str, Any]) -> None:
    models = (replace(results().models[0], **change), results().models[1])
    with pytest.raises(UsageError, match="called tiny"):
        merged(results(), replace(results(), models=models))
    merged(results(), replace(results(), machine={**results().machine, "memory_bytes": 5}))


def test_what_a_later_command_adds_is_added() -> None:
    old = results()
    model = replace(old.models[0], name="new")
    fresh = replace(old, command="mpc-bridge bench new.tflite", models=(model, old.models[0]), cells=(
        Cell("new", "local", PASSIVE, "rep3", None, "cpu"), Cell("tiny", "local", PASSIVE, "rep3", None, "cpu"),
        replace(old.cells[4], reason=None, status="waiting"), Cell("tiny", "wan", ACTIVE, "rep3-mac", None, "cpu")))
    both = merged(old, fresh)
    assert [one.name for one in both.models] == ["tiny", "small", "new"] and both.started == old.started
    assert both.command == "mpc-bridge bench tiny.tflite\nmpc-bridge bench new.tflite"
    assert merged(both, fresh) == both
    # measured numbers stay; a refusal is what it is today
    assert both.cells[:3] == old.cells[:3] and both.cells[0].repetitions
    assert [(cell.model, cell.network, cell.status) for cell in both.cells[3:]] == [
        ("tiny", "wan", "waiting"), ("small", "local", "waiting"), ("small", "local", "waiting"),
        ("new", "local", "waiting")]


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    with Store(path, results()):
        with pytest.raises(UsageError, match="another run"), Store(path, results()):
            pass
    with Store(path, results()) as store:
        assert store.results == results()
    assert [entry.name for entry in tmp_path.iterdir()] == ["results.json"]
    with pytest.raises(UsageError), Store(path, replace(results(), revision="other")):
        pass
    with Store(path, replace(results(), revision="other"), restart=True):
        pass
    assert load(path).revision == "other"


def test_time_left_is_that_of_the_nearest_that_was_seen() -> None:
    estimate = Estimate({"tiny": 10, "small": 30})
    first, _, guessed, waiting, refused = results().cells
    assert estimate.run(waiting) is None
    assert estimate.run(first) == 1.0 + 2.0 + 0.25 + 1.5 + 0.125  # its phases, and what is around them
    assert estimate.run(guessed) == 1.0 + 12.5
    estimate.learn(first, 4.0, "local")
    estimate.learn(first, 6.0, "local")
    assert estimate.run(first) == 5.0 and estimate.run(waiting) == 15.0 == estimate.run(refused)
    assert (time_left(4.4), time_left(89), time_left(600), time_left(12_000)) == ("4 s", "89 s", "10 min", "3 h 20 min")


def test_predicted_cells_rest_on_the_local_ones(tmp_path: Path, model: Path, installed: None,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    path, log = tmp_path / "results.json", Log()
    work(path, planned([model], ("rep3",), repeat=1), log)
    found = work(path, planned([model], ("rep3",), repeat=1, networks=("wan", "1ms/1mbit")), Log())
    assert load(path) == found and [cell.status for cell in found.cells] == ["done", "predicted", "predicted"]
    local, wan, slow = found.cells
    assert local.summary is not None and wan.predicted is not None and slow.predicted is not None
    assert wan.predicted.spent > local.summary.spent.median and wan.report is None and not wan.repetitions
    assert wan.predicted.phases["online"] >= 0.04
    again = Log()
    assert work(path, planned([model], ("rep3",), repeat=1, networks=("wan",)), again) == found
    assert not again.steps and not again.settled_cells
    print_results(found, found.cells)
    shown = capsys.readouterr().out
    assert "predicted from the local run" in shown and "wan" in shown and "1ms/1mbit" in shown


def test_a_network_that_can_be_made_is_measured_and_predicted(tmp_path: Path, model: Path, installed: None) -> None:
    network = Namespaces("lan")
    try:
        with network.hosts(1):
            pass
    except NetworkError as error:
        pytest.skip(error.what)
    path, guess = tmp_path / "results.json", planned([model], ("rep3",), repeat=1, networks=("lan",))
    work(path, guess, Log())
    # the same, where networks can be made: what was predicted is measured now, after a warm-up on this machine's own
    of, log = replace(guess, lanes=(guess.lanes[0], replace(guess.lanes[1], network=network))), Log()
    local, lan = work(path, of, log).cells
    assert [(step.cell.network, step.repetition) for step in log.steps] == [("lan", 0), ("lan", 1)]
    assert lan.status == "done" and lan.carrier == "netem" and lan.predicted is not None and lan.report is not None
    assert lan.report["network"] == "lan" and local.carrier == "unix" and len(lan.repetitions) == 1
    # and it stays so where they cannot be made
    assert work(path, guess, Log()).cells == (local, lan)


def test_a_cell_whose_local_one_failed_cannot_be_predicted(
        tmp_path: Path, model: Path, plugin: None) -> None:
    found = work(tmp_path / "results.json", planned([model], ("wrong",), repeat=1, networks=("lan",)), Log())
    assert [cell.status for cell in found.cells] == ["failed", "failed"]
    assert found.cells[1].reason == found.cells[0].reason


def test_the_table_says_how_many_times_as_much(capsys: pytest.CaptureFixture[str]) -> None:
    passive, active, *rest = results().cells
    twice = tuple(repetition(seconds) for seconds in (1.0, 3.0, 3.375))  # 3.375 s with the other phases: 1.8 times
    active = replace(active, status="done", reason=None, repetitions=twice, summary=summarise(twice))
    found = replace(results(), cells=(passive, active, *rest))
    print_results(found, found.cells)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["semi-honest,", "honest", "rep3", "1.88", "s", "~10.0", "s", "90", "B", "9"] in lines
    assert ["active/passive:", "rep3-mac", "over", "rep3", "×1.80", "×1.00", "×1.00"] in lines
    assert ["malicious,", "honest", "rep3-mac", "refused"] in lines


def test_lines_for_people() -> None:
    done, failed, guessed, waiting, refused = map(cell_line, results().cells)
    assert done == (
        "tiny, local, semi-honest, honest majority, 3 parties: rep3: done, 1.875 s (1.375 to 3.375), 3 repetitions")
    assert "failed: party 1 was killed by SIGKILL; party 1, online" in failed and "predicted, 10.000 s" in guessed
    assert waiting.endswith("waiting") and "refused: backend rep3-mac cannot run" in refused
    setting = Setting(ThreatModel("malicious", "dishonest", 2, 1, "security with abort"), "spdz2k", "dealer", "cuda")
    assert setting.describe() == "malicious, dishonest majority, 2 parties: spdz2k, dealer on cuda"
