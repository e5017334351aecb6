"""The results file: what was measured, where, by what; repetition for repetition.

JSON, schema :data:`SCHEMA`, one repetition per line. :func:`load` reads it as if a stranger had written it.
:func:`save` replaces it in one step, so that a reader (or a crash) meets the old file or the new one. Seconds are
wall-clock, of the slowest party; totals over all samples.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Literal

from mpc_bridge.bench.matrix import Setting
from mpc_bridge.bench.report_check import check_report
from mpc_bridge.bench.shapes import Shape
from mpc_bridge.bench.typed_json import decode, encode, line, parse
from mpc_bridge.errors import MpcBridgeError, ResultsError, UsageError
from mpc_bridge.runtime.meter import PHASES
from mpc_bridge.runtime.meter import SPENT as SPENT
from mpc_bridge.security import Preprocessing, ThreatModel

SCHEMA = "mpc-bridge-bench/1"
#: Of a results file: a hundred times the largest in use.
MAX_FILE_BYTES = 1 << 28

#: Any number of seconds is none, or in between, by far: ratios of such numbers are numbers, too.
_LEAST, _MOST = 1e-100, 1e15
#: Of a model's or a network's name, in characters.
MAX_NAME = 200
#: Of each line of a reason, in characters.
MAX_REASON = 2000

Status = Literal["done", "failed", "refused", "waiting", "predicted"]
Carrier = Literal["unix", "tcp", "netem"]
JsonObject = dict[str, Any]


@dataclass(frozen=True)
class InputRecord:
    """What a model was fed.

    Attributes:
        origin: a file's name, or ``random``.
        sha256: of every input's dtype, shape and bytes, in order.
    """

    origin: str = field(metadata={"json": "from"})
    sha256: str = ""


@dataclass(frozen=True)
class ModelRecord:
    """A model, named as the cells name it; ``macs`` and ``activations`` are of one sample."""

    name: str
    file: str
    sha256: str
    source: str
    profile: str
    macs: int
    activations: int
    input: InputRecord
    samples: int


@dataclass(frozen=True)
class NetworkRecord:
    """A network; both None on this machine's own (``local``)."""

    name: str
    rtt_seconds: float | None
    bandwidth_bits_per_second: int | None


@dataclass(frozen=True)
class Reason:
    """Why a cell has no numbers: an error's class and its three lines."""

    kind: str = field(metadata={"json": "class"})
    what: str = ""
    where: str = ""
    hint: str = ""

    @classmethod
    def of(cls, error: MpcBridgeError) -> Reason:
        """From the error itself; what is said of thousands of steps is cut short."""
        lines = (error.what, error.where, error.hint)
        return cls(type(error).__name__, *(readable(text[:MAX_REASON]) for text in lines))


@dataclass(frozen=True)
class Repetition:
    """One counted run.

    Attributes:
        started: ISO 8601, UTC.
        phases: seconds; all four.
        layers: seconds, in the order of the report's layers.
        peak_memory_bytes: by party.
        matches_reference: outputs were compared bit for bit; what differs never gets here.
        rounds: by phase.
        bytes_sent: by phase, then party.
        helper_seconds: by phase; None without a helper.
    """

    started: str
    phases: dict[str, float]
    layers: tuple[float, ...]
    peak_memory_bytes: tuple[int, ...]
    matches_reference: Literal[True]
    rounds: dict[str, int]
    bytes_sent: dict[str, tuple[int, ...]]
    helper_seconds: dict[str, float] | None


@dataclass(frozen=True)
class Spread:
    """Of some repetitions."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """At least one."""
        return cls(float(median(values)), min(values), max(values))


@dataclass(frozen=True)
class Summary:
    """Seconds by phase, and of all phases but setup (summed per repetition first)."""

    phases: dict[str, Spread]
    spent: Spread


@dataclass(frozen=True)
class Prediction:
    """Seconds by phase, and of all phases but setup, from the same file's local cell."""

    phases: dict[str, float]
    spent: float


@dataclass(frozen=True)
class Cell:
    """One model on one network in one setting.

    Attributes:
        status: ``done``: all repetitions; ``waiting``: fewer; ``failed``: a run broke, see ``reason``, its earlier
            repetitions are kept; ``refused``: cannot run, see ``reason``; ``predicted``: not run, see ``predicted``.
        carrier: what the parties talked over; None when nothing ran.
        report: :meth:`mpc_bridge.result.Result.report` of the first repetition.
        summary: of the repetitions; None without any.
        predicted: for networks with a shape.
    """

    model: str
    network: str
    threat_model: ThreatModel
    backend: str
    preprocessing: Preprocessing | None
    device: str
    status: Status = "waiting"
    carrier: Carrier | None = None
    reason: Reason | None = None
    report: JsonObject | None = None
    repetitions: tuple[Repetition, ...] = ()
    summary: Summary | None = None
    predicted: Prediction | None = None

    @property
    def setting(self) -> Setting:
        """What it ran in."""
        return Setting(self.threat_model, self.backend, self.preprocessing, self.device)

    @property
    def key(self) -> tuple[str, str, Setting]:
        """Model, network and setting: no two cells of a file share all three."""
        return self.model, self.network, self.setting


@dataclass(frozen=True)
class Results:
    """A results file.

    Attributes:
        command: exactly as it was typed; of the last run that added to the file.
        started: ISO 8601, UTC, of the first run.
        revision: the clone's commit, with a plus sign and a hash when files were changed; None outside a clone.
        repeat: repetitions that a cell needs.
    """

    command: str
    started: str
    revision: str | None
    machine: JsonObject
    versions: JsonObject
    repeat: int
    models: tuple[ModelRecord, ...]
    networks: tuple[NetworkRecord, ...]
    cells: tuple[Cell, ...]
    schema: Literal["mpc-bridge-bench/1"] = "mpc-bridge-bench/1"


def readable(text: str) -> str:
    """A file name or an argument as text that can be written: bytes that are no UTF-8 are spelled out."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def spent(phases: Mapping[str, float]) -> float:
    """Seconds of all phases but setup."""
    return sum(phases[phase] for phase in SPENT)


def summarise(repetitions: Sequence[Repetition]) -> Summary:
    """Median, least and most of at least one repetition."""
    return Summary({phase: Spread.of([one.phases[phase] for one in repetitions]) for phase in PHASES},
                   Spread.of([spent(one.phases) for one in repetitions]))


def load(path: Path) -> Results:
    """Read a results file.

    Raises:
        ResultsError: it is damaged, of another schema, or holds what no run can have written (a summary that is not
            its repetitions', a cell of a model that is not there, a phase missing, NaN).
    """
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= MAX_FILE_BYTES and path.is_file() else b""
    except OSError as error:
        raise ResultsError("cannot read the results", where=str(path), hint=error.strerror or str(error)) from None
    try:
        if not data:
            raise ResultsError("not a results file", hint=f"give a file of 1 to {MAX_FILE_BYTES} bytes")
        parsed = parse(data)
        if isinstance(parsed, dict) and parsed.get("schema") != SCHEMA:
            raise ResultsError("a file of another schema", where=f"schema {str(parsed.get('schema'))[:50]!r}",
                               hint=f"give results of mpc-bridge bench: schema {SCHEMA}")
        results = decode(Results, parsed)
        check(results)
    except ResultsError as error:
        error.where = "\n".join(filter(None, (str(path), error.where)))
        raise
    return results


def save(path: Path, results: Results) -> None:
    """Replace the file in one step, on the disk before this returns. One writer at a time.

    Raises:
        UsageError: the disk refused; the old file is untouched.
    """
    path = path.resolve()
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        try:
            with open(partial, "x", encoding="utf-8") as stream:
                stream.write(as_text(results))
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(partial, path)
        finally:
            with contextlib.suppress(OSError):
                partial.unlink()
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise UsageError("cannot write the results", where=str(path), hint=error.strerror or str(error)) from None


def as_text(results: Results) -> str:
    """JSON with one model, one network, one report and one repetition per line."""
    parts = [f'"{key}": {line(value)}' for key, value in encode(results).items()
             if key not in ("schema", "models", "networks", "cells")]
    parts.append(_lines("models", map(line, results.models)))
    parts.append(_lines("networks", map(line, results.networks)))
    parts.append(_lines("cells", map(_cell, results.cells)))
    return "{\n" + ",\n".join([f'"schema": {line(results.schema)}', *parts]) + "\n}\n"


def _lines(key: str, texts: Iterable[str]) -> str:
    return f'"{key}": [\n' + ",\n".join(texts) + "\n]"


def _cell(cell: Cell) -> str:
    found: JsonObject = encode(cell)
    lines: dict[str, Callable[[Any], str]] = {"report": line, "repetitions": _repetitions}
    parts = [f'"{key}": {lines.get(key, line)(value)}' for key, value in found.items()]
    return "{" + ", ".join(part if not part.startswith(('"report"', '"repetitions"', '"summary"')) else f"\n {part}"
                           for part in parts) + "}"


def _repetitions(repetitions: Sequence[JsonObject]) -> str:
    return "[" + ",".join(f"\n  {line(one)}" for one in repetitions) + "]"


def check(results: Results) -> None:
    """What the types do not say. Raises ResultsError."""
    _named("models", [model.name for model in results.models])
    _named("networks", [network.name for network in results.networks])
    _require(results.repeat >= 1, "repeat", "at least 1")
    models = {model.name: model for model in results.models}
    networks = {network.name: network for network in results.networks}
    for model in results.models:
        _require(model.samples >= 1 and model.macs >= 0 and model.activations >= 0, f"models: {model.name}", "counted")
    for network in results.networks:
        _require(_has_shape(network), f"networks: {network.name}", "of a possible shape, or of none")
    for index, cell in enumerate(results.cells):
        where = f"cells[{index}]"
        _require(cell.model in models, where, f"of a model of the file, not {cell.model[:50]!r}")
        _require(cell.network in networks, where, f"of a network of the file, not {cell.network[:50]!r}")
        _check_cell(cell, results.repeat, where)
    _require(len({cell.key for cell in results.cells}) == len(results.cells), "cells", "each there once")


def _check_cell(cell: Cell, repeat: int, where: str) -> None:
    parties = cell.threat_model.parties
    _require(1 <= parties <= 100, f"{where}.threat_model", "1 to 100 parties")
    _require(all(text.isprintable() for text in (cell.backend, cell.device, cell.threat_model.guarantee)), where,
             "of printable names")
    _require(bool(cell.repetitions) == (cell.report is not None), f"{where}.report",
             "there when there are repetitions, and else null")
    _require(cell.status != "done" or len(cell.repetitions) >= repeat, where, "done only with all repetitions")
    _require((cell.status in ("failed", "refused")) == (cell.reason is not None), f"{where}.reason",
             "there when the cell failed or was refused, and else null")
    _require(cell.status != "predicted" or cell.predicted is not None, f"{where}.predicted", "there")
    _require(cell.status not in ("refused", "predicted") or not cell.repetitions, where, "without repetitions")
    layers = check_report(cell.report, parties, f"{where}.report") if cell.report is not None else 0
    for index, one in enumerate(cell.repetitions):
        _check_repetition(one, parties, layers, f"{where}.repetitions[{index}]")
    summary = summarise(cell.repetitions) if cell.repetitions else None
    _require(cell.summary == summary, f"{where}.summary", "the summary of its repetitions")
    if cell.predicted is not None:
        _phases(cell.predicted.phases, f"{where}.predicted")
        _require(cell.predicted.spent == spent(cell.predicted.phases), f"{where}.predicted", "the sum of its phases")


def _check_repetition(one: Repetition, parties: int, layers: int, where: str) -> None:
    _phases(one.phases, where)
    _phases(one.rounds, f"{where}.rounds")
    if one.helper_seconds is not None:
        _phases(one.helper_seconds, f"{where}.helper_seconds")
    _require(set(one.bytes_sent) == set(PHASES), f"{where}.bytes_sent", f"of the phases {', '.join(PHASES)}")
    for counts in (*one.bytes_sent.values(), one.peak_memory_bytes):
        _require(len(counts) == parties and min(counts) >= 0, where, f"of {parties} parties, no count negative")
    _require(len(one.layers) == layers and min(one.layers, default=0.0) >= 0, f"{where}.layers",
             "as many as in the report")


def _has_shape(network: NetworkRecord) -> bool:
    """Whether a network has a shape that there can be, or none at all."""
    rtt, bandwidth = network.rtt_seconds, network.bandwidth_bits_per_second
    if rtt is None or bandwidth is None:
        return rtt is None and bandwidth is None
    try:
        Shape(network.name, rtt, bandwidth)
    except UsageError:
        return False
    return True


def _phases(values: Mapping[str, float], where: str) -> None:
    _require(set(values) == set(PHASES), where, f"of the phases {', '.join(PHASES)}")
    _require(all(value == 0 or _LEAST < value < _MOST for value in values.values()), where,
             "of numbers that a clock shows")


def _named(key: str, names: Sequence[str]) -> None:
    _require(len(set(names)) == len(names), key, "of different names")
    for name in names:
        _require(0 < len(name) <= MAX_NAME and name.isprintable(), f"{key}: {name[:50]!r}", "of printable names")


def _require(holds: bool, where: str, wanted: str) -> None:
    if not holds:
        raise ResultsError("no run can have written this", where=where,
                           hint=f"it should be {wanted}; was the file edited?")
