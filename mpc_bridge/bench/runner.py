"""Runs the matrix: one warm-up per setting, then repetitions in turn, each compared with the reference and saved."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Protocol

import numpy as np
import numpy.typing as npt

from mpc_bridge.bench.estimate import Estimate
from mpc_bridge.bench.matrix import Setting
from mpc_bridge.bench.predict import predict
from mpc_bridge.bench.records import (
    Cell,
    JsonObject,
    ModelRecord,
    NetworkRecord,
    Prediction,
    Reason,
    Repetition,
    spent,
    summarise,
)
from mpc_bridge.bench.report_check import check_report
from mpc_bridge.bench.shapes import LOCAL, Shape
from mpc_bridge.bench.store import Store
from mpc_bridge.bench.typed_json import line, parse
from mpc_bridge.circuit.graph import Circuit
from mpc_bridge.circuit.reference import evaluate_samples
from mpc_bridge.errors import MpcBridgeError, PeerError, UsageError, WrongResult
from mpc_bridge.evaluation import evaluate, same_outputs
from mpc_bridge.provenance import revision
from mpc_bridge.runtime.meter import PHASES
from mpc_bridge.runtime.processes import Network

Array = npt.NDArray[np.generic]


@dataclass(frozen=True)
class Workload:
    """A model with its weights and what it is fed: one array per model input, sample axis first."""

    record: ModelRecord
    circuit: Circuit
    inputs: tuple[Array, ...]


@dataclass(frozen=True)
class Lane:
    """A network, and how its cells get their numbers.

    Attributes:
        shape: None for this machine's own.
        network: to run on; None for a shape that is only predicted, and for this machine's own.
    """

    record: NetworkRecord
    shape: Shape | None
    network: Network | None

    @property
    def measured(self) -> bool:
        """Whether parties run there."""
        return self.shape is None or self.network is not None


@dataclass(frozen=True)
class Step:
    """What runs now.

    Attributes:
        repetition: 1 for the first; 0 for the warm-up.
        position, cells: of the cell among those of the plan; counted from 1.
        runs_done, runs: warm-ups and repetitions of this plan, those of earlier runs left out.
        seconds_left: an estimate, this one included; None while nothing is known.
    """

    cell: Cell
    repetition: int
    repeat: int
    position: int
    cells: int
    runs_done: int
    runs: int
    seconds_left: float | None


class Watcher(Protocol):
    """Somebody who wants to know."""

    def reference(self, model: str) -> None:
        """The reference interpreter starts on a model."""
        ...

    def begin(self, step: Step) -> None:
        """A run starts."""
        ...

    def settled(self, cell: Cell) -> None:
        """No more is done about this cell in this run: it is done, predicted, refused or failed."""
        ...


class Runner:
    """One plan, from where its file stands to its end.

    Args:
        store: entered; holds a cell for every workload, lane and setting.
        workloads, lanes, settings: the plan; the lane without a shape comes first.
        timeout: seconds, as for :func:`mpc_bridge.evaluate`.
        deadline: of :func:`time.monotonic`, after which no run starts; None for none.
    """

    def __init__(self, store: Store, workloads: Sequence[Workload], lanes: Sequence[Lane],
                 settings: Sequence[Setting], watcher: Watcher, timeout: float, deadline: float | None = None) -> None:
        self._store = store
        self._workloads = workloads
        self._lanes = lanes
        self._settings = settings
        self._watcher = watcher
        self._timeout = timeout
        self._deadline = deadline
        self._repeat = store.results.repeat
        self._estimate = Estimate({work.record.name: work.record.activations * work.record.samples
                                   for work in workloads})
        self._warm: set[tuple[str, Setting]] = set()
        self._given_up: set[tuple[str, str, Setting]] = set()
        self._runs_done = 0

    def run(self) -> None:
        """Everything that is not done yet. KeyboardInterrupt comes through; what is measured is in the file.

        Raises:
            UsageError: the file cannot be written; or the clone's code was changed meanwhile.
        """
        for cell in self.cells():
            if cell.status == "refused":
                self._watcher.settled(cell)
        for work in self._workloads:
            expected: tuple[Array, ...] | None = None
            for lane in self._lanes:
                if lane.shape is not None:
                    self._predict(work, lane, lane.shape)
                if lane.measured:
                    expected = self._measure(work, lane, expected)

    def cells(self) -> list[Cell]:
        """Those of the plan, as they are now."""
        return [self._store.cell((work.record.name, lane.record.name, setting))
                for work in self._workloads for lane in self._lanes for setting in self._settings]

    def _pending(self, work: Workload, lane: Lane) -> list[Cell]:
        if not lane.measured:
            return []
        cells = [self._store.cell((work.record.name, lane.record.name, setting)) for setting in self._settings]
        return [cell for cell in cells if cell.status not in ("done", "refused") and cell.key not in self._given_up]

    def _measure(self, work: Workload, lane: Lane, expected: tuple[Array, ...] | None) -> tuple[Array, ...] | None:
        """All of a model on a network. Returns the reference's outputs, once they were needed."""
        pending = self._pending(work, lane)
        if pending and expected is None and not self._late():
            self._watcher.reference(work.record.name)
            expected = tuple(evaluate_samples(work.circuit, work.inputs))
        if expected is None:
            return None
        for cell in pending:
            if (work.record.name, cell.setting) not in self._warm:
                self._run(work, lane, cell, 0, expected)
        for repetition in range(1, self._repeat + 1):
            for cell in self._pending(work, lane):
                if len(cell.repetitions) < repetition:
                    self._run(work, lane, cell, repetition, expected)
        return expected

    def _run(self, work: Workload, lane: Lane, cell: Cell, repetition: int, expected: tuple[Array, ...]) -> None:
        """One warm-up (0) or counted repetition; what goes wrong is the cell's."""
        if self._late():
            return
        # what a warm-up warms is on this machine, so its own network serves
        network = lane.network if repetition else None
        self._watcher.begin(self._step(cell, repetition))
        started, since = datetime.now(timezone.utc).isoformat(timespec="seconds"), time.monotonic()
        try:
            report = _measured(work, cell.setting, network, expected, self._timeout)
            counted = _repetition(report, started)
            if cell.repetitions:
                _same_work(cell.repetitions[0], counted)
        except Exception as error:  # a backend may be somebody else's: it may raise anything, and the rest goes on
            failed = replace(cell, status="failed", reason=_reason(error))
            self._given_up.add(cell.key)
            self._store.put(failed)
            self._watcher.settled(failed)
            return
        self._require_same_code()
        self._runs_done += 1
        self._estimate.learn(cell, time.monotonic() - since, lane.record.name if repetition else LOCAL)
        if not repetition:
            self._warm.add((cell.model, cell.setting))
            return
        repetitions = (*cell.repetitions, counted)
        grown = replace(cell, status="done" if len(repetitions) >= self._repeat else "waiting", reason=None,
                        carrier="unix" if network is None else "netem", report=cell.report or report,
                        repetitions=repetitions, summary=summarise(repetitions))
        self._store.put(grown)
        if grown.status == "done":
            self._watcher.settled(grown)

    def _predict(self, work: Workload, lane: Lane, shape: Shape) -> None:
        """Predicted seconds for a network's cells, from the local ones; a cell that is not measured rests on them."""
        for setting in self._settings:
            before = cell = self._store.cell((work.record.name, lane.record.name, setting))
            local = self._store.cell((work.record.name, LOCAL, setting))
            if cell.status == "refused":
                continue
            alone = not lane.measured and not cell.repetitions
            # what is half measured may look different tomorrow, and nobody may come back to the prediction then
            if local.status == "done" and local.report is not None and local.summary is not None:
                medians = {phase: spread.median for phase, spread in local.summary.phases.items()}
                cell = replace(cell, predicted=_prediction(local.report, shape, medians))
                if alone:
                    cell = replace(cell, status="predicted", reason=None)
            elif alone and local.reason is not None:
                cell = replace(cell, status="failed", reason=local.reason)
            self._store.put(cell)
            if alone and cell != before:
                self._watcher.settled(cell)

    def _require_same_code(self) -> None:
        """Parties are fresh processes: they run what the clone holds now, whatever this process has loaded."""
        before, now = self._store.results.revision, revision()
        if before != now:
            raise UsageError("the code was changed while it was measured", where=f"revision {before} before, {now} now",
                             hint="what was counted before is kept; measure in a clone that nobody works in")

    def _late(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def _step(self, cell: Cell, repetition: int) -> Step:
        keys = [one.key for one in self.cells()]
        left, seconds, known = 0, 0.0, True
        cold: set[tuple[str, Setting]] = set()
        for work in self._workloads:
            for lane in self._lanes:
                for one in self._pending(work, lane):
                    count = self._repeat - len(one.repetitions)
                    if (one.model, one.setting) not in self._warm | cold:
                        cold.add((one.model, one.setting))
                        count += 1
                    left += count
                    each = self._estimate.run(one)
                    known = known and each is not None
                    seconds += count * (each or 0.0)
        return Step(cell, repetition, self._repeat, keys.index(cell.key) + 1, len(keys), self._runs_done,
                    self._runs_done + left, seconds if known else None)


def _measured(work: Workload, setting: Setting, network: Network | None, expected: Sequence[Array],
              timeout: float) -> JsonObject:
    """The report of one run whose outputs are the reference's. Raises WrongResult, and what an evaluation raises."""
    result = evaluate(work.circuit, work.inputs, security=setting.security, majority=setting.majority,
                      parties=setting.parties, backend=setting.backend, preprocessing=setting.preprocessing,
                      device=setting.device, check=False, timeout=timeout, network=network)
    if not same_outputs(result.outputs, expected):
        raise WrongResult("the outputs are not the reference interpreter's", where=setting.describe(),
                          hint="nothing of this run is counted; compare with mpc-bridge eval")
    # through the reader's eyes, so that whatever a backend put into it, the file can be read
    report: JsonObject = parse(line(replace(result, matches_reference=True).report()))
    check_report(report, setting.parties, "report")
    return report


def _repetition(report: JsonObject, started: str) -> Repetition:
    phases, helper = report["phases"], report["helper"]
    return Repetition(
        started,
        {phase: float(phases[phase]["seconds"]) for phase in PHASES},
        tuple(float(layer["seconds"]) for layer in report["layers"]),
        tuple(report["peak_memory_bytes"]),
        True,
        {phase: phases[phase]["rounds"] for phase in PHASES},
        {phase: tuple(phases[phase]["bytes_sent"]) for phase in PHASES},
        None if helper is None else {phase: float(helper["phases"][phase]["seconds"]) for phase in PHASES},
    )


def _same_work(first: Repetition, other: Repetition) -> None:
    """What a report takes from the first repetition has to be every other one's too. Raises PeerError."""
    if (first.rounds, first.bytes_sent, len(first.layers)) != (other.rounds, other.bytes_sent, len(other.layers)):
        raise PeerError("rounds or bytes are not those of the first repetition", where="a repetition",
                        hint="shapes alone should determine them; see what the backend makes them depend on")


def _prediction(report: JsonObject, shape: Shape, medians: dict[str, float]) -> Prediction:
    seconds = {phase: float(value) for phase, value in predict(report, shape, medians).items()}
    return Prediction(seconds, spent(seconds))


def _reason(error: Exception) -> Reason:
    if isinstance(error, MpcBridgeError):
        return Reason.of(error)
    if isinstance(error, MemoryError):
        return Reason("MemoryError", "out of memory", "", "use fewer --samples or a smaller model")
    # its words may hold anything: only the class is kept
    return Reason(type(error).__name__, f"internal error: {type(error).__name__}", "",
                  "run the same with mpc-bridge eval --debug and report the traceback")
