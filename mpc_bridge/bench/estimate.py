"""How long the rest of a benchmark takes, from what was measured so far."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import mean, median
from typing import Any

from mpc_bridge.bench.matrix import Setting
from mpc_bridge.bench.records import Cell

#: What a run takes beside its phases: processes start, the model is lowered.
_AROUND = 1.0


class Estimate:
    """Wall-clock seconds of runs: of the cell itself, else of its setting in proportion to activations.

    Args:
        activations: by model, of all samples.
    """

    def __init__(self, activations: Mapping[str, int]) -> None:
        self._activations = activations
        self._seen: dict[tuple[str, str, Setting], list[float]] = {}

    def learn(self, cell: Cell, seconds: float, network: str) -> None:
        """A run of the cell's model and setting took so long on ``network``, from start to end."""
        self._seen.setdefault((cell.model, network, cell.setting), []).append(seconds)

    def run(self, cell: Cell) -> float | None:
        """Seconds of one more run; None while nothing like it was seen."""
        own = self._seen.get(cell.key)
        if own:
            return median(own)
        if cell.summary is not None:
            return _AROUND + sum(spread.median for spread in cell.summary.phases.values())
        if cell.predicted is not None:
            return _AROUND + sum(cell.predicted.phases.values())
        weight = max(1, self._activations[cell.model])
        return _first(
            [rate * weight for rate in self._rates(network=cell.network, setting=cell.setting)],
            [rate * weight for rate in self._rates(network=cell.network)],
            [rate * weight for rate in self._rates()],
        )

    def _rates(self, **wanted: Any) -> list[float]:
        """Seconds per activation of what was seen, of this network and setting where they are given."""
        return [median(seconds) / max(1, self._activations[model])
                for (model, network, setting), seconds in self._seen.items()
                if wanted.get("network", network) == network and wanted.get("setting", setting) == setting]


def _first(*candidates: Iterable[float]) -> float | None:
    return next((mean(values) for values in map(list, candidates) if values), None)
