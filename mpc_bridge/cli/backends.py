"""``mpc-bridge backends``: what is installed, against whom it helps, and where it runs."""

from __future__ import annotations

from mpc_bridge import registry
from mpc_bridge.backends.base import Backend
from mpc_bridge.cli.console import emit, note, plain_table
from mpc_bridge.security import ThreatModel


def backends() -> None:
    """List installed backends with the threat models and devices they serve."""
    installed = registry.backends()
    table = plain_table("backend", "adversary", "majority", "parties", "survives", "guarantee", "devices")
    for name, backend in installed.usable.items():
        models = [model for model in backend.threat_models if model.guarantee != "none"]
        for model in models:
            table.add_row(name, *_row(model, backend), ", ".join(backend.devices))
        if not models:
            parties = _count(*backend.parties())
            table.add_row(name, "none", "-", parties, "-", "none: computes in the clear", ", ".join(backend.devices))
    if table.row_count:
        emit(table)
    else:
        note("no backend is installed")
    for name, why in installed.broken.items():
        note(f"backend {name} cannot be loaded: {why}")


def _row(model: ThreatModel, backend: Backend) -> tuple[str, str, str, str, str]:
    if model.parties:
        parties, survives = str(model.parties), f"{model.corruptions} corrupted"
    else:
        parties = _count(*backend.parties())
        survives = "all but one" if model.majority == "dishonest" else "fewer than half"
    return model.adversary, model.majority, parties, survives, model.guarantee


def _count(least: int, most: int) -> str:
    return str(least) if least == most else f"{least} to {most}"
