"""Every number of a report, worked out in this one place, from results files alone.

The page, the Markdown, the CSV, the table after a benchmark and the README all show these. Measured seconds are medians
of the counted repetitions of one cell; bytes, rounds and counts are those of its first repetition, as they repeat
exactly. "Spent" is every phase but setup, which is paid once per model and group of parties.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mpc_bridge.bench.matrix import NO_GUARANTEE
from mpc_bridge.bench.records import SPENT, Cell, NetworkRecord, Repetition, Results, Spread, load
from mpc_bridge.errors import UsageError
from mpc_bridge.security import Adversary, Majority

#: A prediction further off than this share of what was measured is said to be wrong.
TOLERANCE = 0.25

ADVERSARIES: tuple[Adversary, ...] = ("semi-honest", "malicious")
MAJORITIES: tuple[Majority, ...] = ("honest", "dishonest")
#: What a ratio compares: malicious with semi-honest, or a dishonest majority with an honest one.
Kind = Literal["active", "dishonest"]


@dataclass(frozen=True)
class Source:
    """A results file, and what it is called in a report."""

    name: str
    results: Results


@dataclass(frozen=True)
class Amount:
    """What one cell spent.

    Attributes:
        seconds: of the slowest party. A predicted cell has one number, three times.
        bytes_sent: by everybody, a helper included.
        bytes_most: by the party that sent most; the helper is not a party.
    """

    seconds: Spread
    bytes_sent: int
    bytes_most: int
    rounds: int


@dataclass(frozen=True)
class Ratio:
    """How many times as much as another cell of the same file, model and network.

    Attributes:
        over: the other cell's label.
        seconds, bytes_sent, rounds: of what was spent; None where the other cell has none.
        predicted: one of the two is a prediction.
    """

    kind: Kind
    over: str
    seconds: float | None
    bytes_sent: float | None
    rounds: float | None
    predicted: bool


@dataclass(frozen=True)
class Row:
    """A cell of the matrix.

    Attributes:
        source, place: the file; and its network, with the file's name where several files have that network.
        label: the setting in a word or two, as short as it can be: ``rep3-mac``, ``additive (ot)``.
        amount: None unless the cell is done or predicted.
        over_passive: of a malicious cell over the semi-honest one of the same majority, parties and preprocessing.
        over_honest: of a cell with a dishonest majority over the honest one with the same adversary.
    """

    source: Source
    cell: Cell
    place: str
    label: str
    amount: Amount | None
    over_passive: Ratio | None
    over_honest: Ratio | None

    @property
    def predicted(self) -> bool:
        """The numbers are a prediction: nothing was run."""
        return self.cell.status == "predicted"

    @property
    def network(self) -> NetworkRecord:
        """Where it ran."""
        return next(one for one in self.source.results.networks if one.name == self.cell.network)


@dataclass(frozen=True)
class Comparison:
    """One ratio over all models of a file on one network.

    Attributes:
        seconds, bytes_sent, rounds: None where no model has that ratio.
        models: how many do.
    """

    kind: Kind
    label: str
    over: str
    place: str
    adversary: Adversary
    majority: Majority
    seconds: Spread | None
    bytes_sent: Spread | None
    rounds: Spread | None
    models: int
    predicted: bool


def read(paths: Sequence[Path]) -> tuple[Source, ...]:
    """Results files, named as short as tells them apart.

    Raises:
        ResultsError: one is not a results file.
        UsageError: one is given twice, or none at all.
    """
    if not paths:
        raise UsageError("no results file", hint="give the files that mpc-bridge bench wrote: results/*.json")
    if len({path.resolve() for path in paths}) < len(paths):
        raise UsageError("a results file is given twice", where=" ".join(map(str, paths)), hint="give each once")
    stems = [path.stem for path in paths]
    return tuple(Source(path.stem if stems.count(path.stem) == 1 else str(path), load(path)) for path in paths)


def matrix(sources: Sequence[Source]) -> tuple[Row, ...]:
    """Every cell of every file, in the files' order, with what it spent and its ratios.

    A ratio is between medians of the same file, model and network, device for device.
    """
    labels, places = _labels(sources), _places(sources)
    rows = []
    for source in sources:
        for cell in source.results.cells:
            others = [one for one in source.results.cells
                      if (one.model, one.network, one.device) == (cell.model, cell.network, cell.device)]
            passive, honest = _passive(cell, others), _honest(cell, others)
            rows.append(Row(
                source, cell, places[source.name, cell.network], labels[_key(cell)], amount(source, cell),
                _ratio("active", source, cell, passive, labels) if passive else None,
                _ratio("dishonest", source, cell, honest, labels) if honest else None))
    return tuple(rows)


def compare(rows: Iterable[Row]) -> tuple[Comparison, ...]:
    """Each ratio over all models, by network: active over passive first, then dishonest over honest."""
    found: dict[tuple[Kind, str, str, str], list[tuple[Row, Ratio]]] = {}
    for row in rows:
        for ratio in (row.over_passive, row.over_honest):
            if ratio is not None:
                found.setdefault((ratio.kind, row.label, ratio.over, row.place), []).append((row, ratio))
    comparisons = []
    for (kind, label, over, place), pairs in found.items():
        row, ratios = pairs[0][0], [ratio for _, ratio in pairs]
        comparisons.append(Comparison(
            kind, label, over, place, row.cell.threat_model.adversary, row.cell.threat_model.majority,
            _spread(ratio.seconds for ratio in ratios), _spread(ratio.bytes_sent for ratio in ratios),
            _spread(ratio.rounds for ratio in ratios), len(ratios), any(ratio.predicted for ratio in ratios)))
    return tuple(sorted(comparisons, key=lambda one: (
        one.kind, MAJORITIES.index(one.majority), ADVERSARIES.index(one.adversary))))


def widest(rows: Sequence[Row]) -> list[Row]:
    """Of files that have the same network, the one with the most models there: what an answer in words rests on.

    Machines differ, and a range over two of them would say so of security.
    """
    models: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        if row.amount is not None:
            models.setdefault((row.cell.network, row.place), set()).add(row.cell.model)
    best: dict[str, str] = {}
    for (network, place), names in models.items():
        if network not in best or len(names) > len(models[network, best[network]]):
            best[network] = place
    return [row for row in rows if best.get(row.cell.network) == row.place]


def amount(source: Source, cell: Cell) -> Amount | None:
    """What a cell spent; None where it has no number that counts.

    A predicted cell's bytes and rounds are those of the same file's local one: no network changes them.
    """
    if cell.status == "done" and cell.summary is not None:
        return Amount(cell.summary.spent, *_sent(cell))
    if cell.status == "predicted" and cell.predicted is not None:
        local = next((one for one in source.results.cells if one.model == cell.model and one.setting == cell.setting
                      and one.report is not None), None)
        if local is not None:
            spent = cell.predicted.spent
            return Amount(Spread(spent, spent, spent), *_sent(local))
    return None


def helper_bytes(cell: Cell, phase: str) -> int | None:
    """Sent by the helper in one phase; None without one."""
    helper = None if cell.report is None else cell.report["helper"]
    return None if helper is None else sum(helper["phases"][phase]["bytes_sent"])


def _sent(cell: Cell) -> tuple[int, int, int]:
    """Bytes of everybody, bytes of the busiest party, rounds; of all phases but setup."""
    first: Repetition = cell.repetitions[0]
    by_party = [sum(column) for column in zip(*(first.bytes_sent[phase] for phase in SPENT), strict=True)]
    helper = sum(helper_bytes(cell, phase) or 0 for phase in SPENT)
    return sum(by_party) + helper, max(by_party), sum(first.rounds[phase] for phase in SPENT)


def _passive(cell: Cell, others: Sequence[Cell]) -> Cell | None:
    threat = cell.threat_model
    if threat.adversary != "malicious":
        return None
    return next((one for one in others if one.threat_model.adversary == "semi-honest"
                 and one.threat_model.majority == threat.majority and one.threat_model.parties == threat.parties
                 and one.threat_model.guarantee != NO_GUARANTEE and one.preprocessing == cell.preprocessing), None)


def _honest(cell: Cell, others: Sequence[Cell]) -> Cell | None:
    threat = cell.threat_model
    if threat.majority != "dishonest":
        return None
    honest = [one for one in others if one.threat_model.majority == "honest"
              and one.threat_model.adversary == threat.adversary and one.threat_model.guarantee != NO_GUARANTEE]
    # a backend for an honest majority may serve fewer numbers of parties than the other one: the nearest stands for it
    return min(honest, key=lambda one: abs(one.threat_model.parties - threat.parties), default=None)


def _ratio(kind: Kind, source: Source, cell: Cell, other: Cell, labels: dict[_Key, str]) -> Ratio | None:
    mine, theirs = amount(source, cell), amount(source, other)
    if mine is None or theirs is None:
        return None
    return Ratio(kind, labels[_key(other)], _over(mine.seconds.median, theirs.seconds.median),
                 _over(mine.bytes_sent, theirs.bytes_sent), _over(mine.rounds, theirs.rounds),
                 "predicted" in (cell.status, other.status))


def _over(mine: float, theirs: float) -> float | None:
    return mine / theirs if theirs else None


def _spread(values: Iterable[float | None]) -> Spread | None:
    known = [value for value in values if value is not None]
    return Spread.of(known) if known else None


_Key = tuple[Adversary, Majority, str, str | None, int, str]


def _key(cell: Cell) -> _Key:
    threat = cell.threat_model
    return (threat.adversary, threat.majority, cell.backend, cell.preprocessing, threat.parties, cell.device)


def _labels(sources: Sequence[Source]) -> dict[_Key, str]:
    """The fewest words that tell the settings of these files apart; the threat model is always said beside them."""
    keys = list(dict.fromkeys(_key(cell) for source in sources for cell in source.results.cells))
    by_backend: dict[str, list[_Key]] = {}
    for key in keys:
        by_backend.setdefault(key[2], []).append(key)
    labels = {}
    for key in keys:
        adversary, majority, backend, preprocessing, parties, device = key
        rivals = by_backend[backend]
        words = [preprocessing] if preprocessing else []
        if len({one[4] for one in rivals}) > 1:
            words.append(f"{parties} parties")
        if len({one[5] for one in rivals}) > 1 or device != "cpu":
            words.append(device)
        if len({one[:2] for one in rivals}) > 1:
            words.append(f"{adversary}, {majority} majority")
        labels[key] = f"{backend} ({', '.join(words)})" if words else backend
    return labels


def _places(sources: Sequence[Source]) -> dict[tuple[str, str], str]:
    """(file, network) → the network's name, with the file's where several files have it."""
    names = [network.name for source in sources for network in source.results.networks]
    return {(source.name, network.name): f"{network.name} ({source.name})" if names.count(network.name) > 1
            else network.name for source in sources for network in source.results.networks}
