"""What an evaluation gives back: outputs, cost, and the report that is a function of both."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mpc_bridge.circuit.graph import Circuit
from mpc_bridge.lowering.program import Program
from mpc_bridge.provenance import machine, versions
from mpc_bridge.runtime import rounds
from mpc_bridge.runtime.messages import PartyReport
from mpc_bridge.runtime.meter import PHASES, SPENT, Cost, Work
from mpc_bridge.security import ThreatModel

SCHEMA = "mpc-bridge-report/1"


@dataclass(frozen=True)
class PhaseCost:
    """One phase or layer: seconds of the slowest party, rounds, and per party the bytes and messages it sent.

    Attributes:
        work: secure operations, the same at every party.
    """

    seconds: float
    rounds: int
    bytes_sent: tuple[int, ...]
    messages: tuple[int, ...]
    work: Work


@dataclass(frozen=True)
class LayerCost:
    """One layer, over all samples and all phases but setup.

    Attributes:
        op: kinds of the circuit ops it consists of, joined by ``+``; ``input`` or ``output`` at the ends.
        activations: requantised output elements per sample.
        cost: its work is that of the inference, not of what preprocessing happens to make while the layer runs.
        phases: the same cost by phase.
    """

    name: str
    op: str
    activations: int
    cost: PhaseCost
    phases: dict[str, PhaseCost]


@dataclass(frozen=True)
class CostReport:
    """Measured by the parties. Totals over all samples.

    Attributes:
        phases: all four, always.
        round_bytes: by phase, how many rounds had how many bytes as what one party, the one that sent most, sent to all
            others together; of parties' rounds those are compared that come at the same place by size.
        flights: the same for trips of messages that somebody waits for (``CostMeter.flights``).
        peak_memory_bytes: by party.
    """

    phases: dict[str, PhaseCost]
    round_bytes: dict[str, dict[int, int]]
    flights: dict[str, dict[int, int]]
    layers: tuple[LayerCost, ...]
    peak_memory_bytes: tuple[int, ...]

    @classmethod
    def of(cls, reports: Sequence[PartyReport], program: Program, circuit: Circuit) -> CostReport:
        """From one report per party."""
        return cls({phase: _merge([report.phases[phase] for report in reports]) for phase in PHASES},
                   {phase: rounds.largest([report.round_bytes[phase] for report in reports]) for phase in PHASES},
                   {phase: rounds.largest([report.flights[phase] for report in reports]) for phase in PHASES},
                   _layers(reports, program, circuit), tuple(report.peak_memory_bytes for report in reports))


@dataclass(frozen=True)
class HelperCost:
    """A backend's helper process: what it is trusted with, and what it cost.

    Attributes:
        phases: all four, seconds and the bytes sent to each party.
    """

    name: str
    trust: str
    phases: dict[str, Cost]
    peak_memory_bytes: int

    @classmethod
    def of(cls, name: str, trust: str, report: PartyReport) -> HelperCost:
        """From its own report."""
        return cls(name, trust, {phase: report.phases[phase] for phase in PHASES}, report.peak_memory_bytes)

    def json(self, parties: int) -> dict[str, Any]:
        """Ready for JSON."""
        phases = {name: {"seconds": cost.seconds, "bytes_sent": [cost.bytes_to.get(p, 0) for p in range(parties)]}
                  for name, cost in self.phases.items()}
        return {"name": self.name, "trust": self.trust, "phases": phases, "peak_memory_bytes": self.peak_memory_bytes}


@dataclass(frozen=True)
class Result:
    """An evaluation.

    Attributes:
        outputs: one per model output, sample axis first, in the model's own dtype (int64 with ``reveal="argmax"``).
        matches_reference: whether they equal the reference interpreter's; None when that was not asked.
        preprocessing: where correlated randomness came from, and so whom it trusts; None when the backend needs none.
        preprocessing_trust: what that means in words, where no helper's own words say it.
        model_owner: the party that holds the weights in the clear; None where no party does.
        helper: the process that served the parties (a dealer), None without one.
        launcher: by phase, what the launcher sent to whom, and as rounds how often parties waited for its answer.
        network: what it ran on in place of this machine's own loopback or Unix sockets; None for those.
        sigma, soundness_bits: statistical parameter, and -log2 of a cheater's chance; None when nothing is checked.
    """

    outputs: tuple[npt.NDArray[np.generic], ...]
    cost: CostReport
    matches_reference: bool | None
    threat_model: ThreatModel
    backend: str
    device: str
    transport: str
    samples: int
    circuit: Circuit
    program: Program
    preprocessing: str | None = None
    preprocessing_trust: str | None = None
    model_owner: int | None = None
    sigma: int | None = None
    soundness_bits: float | None = None
    helper: HelperCost | None = None
    launcher: Mapping[str, Cost] = field(default_factory=dict)
    network: str | None = None

    def report(self) -> dict[str, Any]:
        """Everything but the outputs, ready for JSON; schema :data:`SCHEMA`, to which later versions only add keys."""
        return {
            "schema": SCHEMA,
            "model": {
                "name": self.circuit.name,
                "sha256": self.circuit.sha256,
                "source": self.circuit.source,
                "profile": self.circuit.profile,
                "macs": self.program.macs,
                "activations": sum(self.program.activations.values()),
            },
            "samples": self.samples,
            "threat_model": asdict(self.threat_model),
            "backend": self.backend,
            "device": self.device,
            "transport": self.transport,
            "network": self.network,
            "reveal": self.program.reveal,
            "preprocessing": self.preprocessing,
            "preprocessing_trust": self.preprocessing_trust,
            "model_owner": self.model_owner,
            "sigma": self.sigma,
            "soundness_bits": self.soundness_bits,
            "matches_reference": self.matches_reference,
            "phases": {name: {**_json(cost), "round_bytes": [[*pair] for pair in self.cost.round_bytes[name].items()],
                              "flights": [[*pair] for pair in self.cost.flights[name].items()]}
                       for name, cost in self.cost.phases.items()},
            "layers": [{"name": layer.name, "op": layer.op, "activations": layer.activations, **_json(layer.cost),
                        "phases": {name: _brief(cost) for name, cost in layer.phases.items()}}
                       for layer in self.cost.layers],
            "peak_memory_bytes": list(self.cost.peak_memory_bytes),
            "helper": None if self.helper is None else self.helper.json(self.threat_model.parties),
            "launcher": {"phases": {name: {"bytes_sent": [cost.bytes_to.get(member, 0) for member in self._members()],
                                           "waits": cost.rounds} for name, cost in self.launcher.items()}},
            "machine": machine(),
            "versions": versions(),
            "command": shlex.join(sys.argv),
        }

    def _members(self) -> range:
        """The parties, and the helper last."""
        return range(self.threat_model.parties + (self.helper is not None))


def _merge(costs: Sequence[Cost]) -> PhaseCost:
    return PhaseCost(max(cost.seconds for cost in costs), max(cost.rounds for cost in costs),
                     tuple(cost.bytes_sent for cost in costs), tuple(cost.messages for cost in costs),
                     _agreed([cost.work for cost in costs]))


def _agreed(works: Sequence[Work]) -> Work:
    """What all parties say; the greatest count where one, against the protocol, says something else."""
    names = sorted({name for work in works for name in work.correlations})
    return Work(max(work.and_gates for work in works), max(work.ring_multiplications for work in works),
                {name: max(work.correlations.get(name, 0) for work in works) for name in names})


def _layers(reports: Sequence[PartyReport], program: Program, circuit: Circuit) -> tuple[LayerCost, ...]:
    ops: dict[str, list[int]] = {}
    ends: dict[str, str] = {}
    for step in program.steps:
        if step.op < 0:
            ends.setdefault(step.layer, step.primitive)
        elif step.op not in ops.setdefault(step.layer, []):
            ops[step.layer].append(step.op)
    sums = [report.layers for report in reports]
    layers = []
    for name in dict.fromkeys(step.layer for step in program.steps):
        if not any(name in report.layer_phases for report in reports):
            continue
        kinds = "+".join(dict.fromkeys(circuit.ops[op].kind for op in ops.get(name, []))) or ends.get(name, "")
        activations = sum(program.activations.get(op, 0) for op in ops.get(name, []))
        phases = {phase: _merge([report.layer_phases.get(name, {}).get(phase, Cost()) for report in reports])
                  for phase in SPENT}
        cost = _merge([layers_of.get(name, Cost()) for layers_of in sums])
        work = Work()
        for phase in SPENT[1:]:
            work.add(phases[phase].work)
        layers.append(LayerCost(name, kinds, activations, replace(cost, work=work), phases))
    return tuple(layers)


def _json(cost: PhaseCost) -> dict[str, Any]:
    return {**_brief(cost), "messages": list(cost.messages), **asdict(cost.work)}


def _brief(cost: PhaseCost) -> dict[str, Any]:
    return {"seconds": cost.seconds, "rounds": cost.rounds, "bytes_sent": list(cost.bytes_sent)}
