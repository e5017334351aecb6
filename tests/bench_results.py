"""A results file of the benchmark made by hand: two models, two networks, one cell of each status."""

from __future__ import annotations

from typing import Any

from mpc_bridge.bench.records import (
    Cell,
    InputRecord,
    ModelRecord,
    NetworkRecord,
    Prediction,
    Reason,
    Repetition,
    Results,
    spent,
    summarise,
)
from mpc_bridge.runtime.meter import PHASES, SPENT
from mpc_bridge.security import ThreatModel

PASSIVE = ThreatModel("semi-honest", "honest", 3, 1, "privacy")
ACTIVE = ThreatModel("malicious", "honest", 3, 1, "security with abort")


def report(parties: int) -> dict[str, Any]:
    """Of an evaluation with two layers."""
    brief = {"seconds": 0.5, "rounds": 3, "bytes_sent": [10] * parties}
    cost = {**brief, "messages": [1] * parties, "and_gates": 5, "ring_multiplications": 6,
            "correlations": {"and_triples": 5}}
    return {"schema": "mpc-bridge-report/1", "samples": 1, "threat_model": {"parties": parties},
            "phases": {phase: {**cost, "round_bytes": [[3, 2], [4, 1]], "flights": [[3, 1], [7, 1]]}
                       for phase in PHASES},
            "launcher": {"phases": {phase: {"bytes_sent": [20] * parties, "waits": 1} for phase in PHASES}},
            "layers": [{"name": name, "op": "conv2d", "activations": 7, **cost, "phases": dict.fromkeys(SPENT, brief)}
                       for name in ("a", "b")],
            "peak_memory_bytes": [1000] * parties, "helper": None, "soundness_bits": 41.0}


def repetition(seconds: float, parties: int = 3) -> Repetition:
    """One whose online phase took so long."""
    phases = {"setup": 2.0, "preprocessing": 0.25, "online": seconds, "verification": 0.125}
    return Repetition("2026-01-01T00:00:00+00:00", phases, (seconds, 0.0), (1000,) * parties, True,
                      dict.fromkeys(PHASES, 3), dict.fromkeys(PHASES, (10,) * parties), None)


def results() -> Results:
    """Done, failed with one repetition kept, waiting, refused, predicted."""
    models = tuple(ModelRecord(name, f"{name}.tflite", "00" * 32, "tflite", "litert", 1000, 14,
                               InputRecord("random", "11" * 32), 1) for name in ("tiny", "small"))
    networks = (NetworkRecord("local", None, None), NetworkRecord("wan", 0.04, 100_000_000))
    full = tuple(repetition(seconds) for seconds in (1.0, 3.0, 1.5))
    reason = Reason("PeerLost", "party 1 was killed by SIGKILL", "party 1, online", "")
    unsupported = Reason("UnsupportedCombinationError", "backend rep3-mac cannot run 1 of 9 steps", "", "")
    guessed = {"setup": 2.5, "preprocessing": 0.0, "online": 9.0, "verification": 1.0}
    cells = (
        Cell("tiny", "local", PASSIVE, "rep3", None, "cpu", "done", "unix", None, report(3), full, summarise(full)),
        Cell("tiny", "local", ACTIVE, "rep3-mac", None, "cpu", "failed", "unix", reason, report(3), full[:1],
             summarise(full[:1])),
        Cell("tiny", "wan", PASSIVE, "rep3", None, "cpu", "predicted",
             predicted=Prediction(guessed, spent(guessed))),
        Cell("small", "local", PASSIVE, "rep3", None, "cpu"),
        Cell("small", "local", ACTIVE, "rep3-mac", None, "cpu", "refused", reason=unsupported),
    )
    return Results("mpc-bridge bench tiny.tflite", "2026-01-01T00:00:00+00:00", "abc1234",
                   {"cpu": "a processor", "cores": 2}, {"python": "3.11"}, 3, models, networks, cells)
