"""Whether a stored report has what readers of a results file rely on: each key of an evaluation's report, by its type.

Later versions add keys, and those are let through as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from mpc_bridge.bench.typed_json import decode
from mpc_bridge.errors import ResultsError
from mpc_bridge.runtime.meter import PHASES, SPENT


@dataclass(frozen=True)
class _Served:
    """What a helper did in a phase."""

    seconds: float
    bytes_sent: tuple[int, ...]


@dataclass(frozen=True)
class _Brief(_Served):
    """What a layer cost in a phase."""

    rounds: int


@dataclass(frozen=True)
class _Cost(_Brief):
    and_gates: int
    ring_multiplications: int
    correlations: dict[str, int]


@dataclass(frozen=True)
class _Phase(_Cost):
    round_bytes: tuple[tuple[int, ...], ...]
    flights: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class _Layer(_Cost):
    name: str
    op: str
    activations: int
    phases: dict[str, _Brief]


@dataclass(frozen=True)
class _Helper:
    name: str
    phases: dict[str, _Served]


@dataclass(frozen=True)
class _Answers:
    """What the launcher did in a phase."""

    bytes_sent: tuple[int, ...]
    waits: int


@dataclass(frozen=True)
class _Launcher:
    phases: dict[str, _Answers]


@dataclass(frozen=True)
class _Threat:
    parties: int


@dataclass(frozen=True)
class _Report:
    threat_model: _Threat
    samples: int
    phases: dict[str, _Phase]
    layers: tuple[_Layer, ...]
    peak_memory_bytes: tuple[int, ...]
    soundness_bits: float | None
    helper: _Helper | None
    launcher: _Launcher


def check_report(report: dict[str, Any], parties: int, where: str) -> int:
    """How many layers it has.

    Raises:
        ResultsError: a key is missing or of another type; a number is negative, or there is not one for each party.
    """
    found = decode(_Report, report, where, exact=False)
    costs = [*_of(PHASES, found.phases, f"{where}.phases")]
    for index, layer in enumerate(found.layers):
        costs += [layer, *_of(SPENT, layer.phases, f"{where}.layers[{index}].phases")]
    if found.helper is not None:
        costs += _of(PHASES, found.helper.phases, f"{where}.helper.phases")
    lengths = [len(counts) for counts in (found.peak_memory_bytes, *(cost.bytes_sent for cost in costs))]
    if {found.threat_model.parties, *lengths} != {parties}:
        raise _wrong(where, f"of {parties} parties")
    if set(found.launcher.phases) != set(PHASES) or not found.samples:
        raise _wrong(f"{where}.launcher", "of all phases and at least one sample")
    if not all(len(pair) == 2 for phase in found.phases.values() for pair in (*phase.round_bytes, *phase.flights)):
        raise _wrong(f"{where}.phases", "with pairs of bytes and rounds")
    if min(_numbers(asdict(found)), default=0) < 0:
        raise _wrong(where, "without a negative number")
    return len(found.layers)


def _of(names: tuple[str, ...], phases: dict[str, Any], where: str) -> list[_Served]:
    if set(phases) != set(names):
        raise _wrong(where, f"of the phases {', '.join(names)}")
    return list(phases.values())


def _numbers(value: object) -> Iterator[float]:
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, tuple):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, (int, float)):
        yield value


def _wrong(where: str, wanted: str) -> ResultsError:
    return ResultsError("not a report of an evaluation", where=where,
                        hint=f"it should be {wanted}; was the file edited?")
