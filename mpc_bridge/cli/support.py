"""What is supported, by every installed importer and backend: asked of them, never written down.

An importer says which kinds of ops it emits; a backend is asked about every step of the smallest program of a kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mpc_bridge.backends.base import Backend
from mpc_bridge.circuit.ops import OPS, OpKind
from mpc_bridge.importers.base import DescribedImporter, Importer
from mpc_bridge.lowering import lower
from mpc_bridge.testing.specimens import specimen

YES, NO, UNKNOWN, RECEIVER = "yes", "-", "?", "receiver"


@dataclass(frozen=True)
class Row:
    """One kind of op.

    Attributes:
        importers: name → whether its files can hold it: yes, -, or ? where the importer does not say.
        backends: name → who computes it with that backend: yes (the parties), receiver (after the reveal), or -.
    """

    kind: OpKind
    importers: Mapping[str, str]
    backends: Mapping[str, str]


def rows(importers: Mapping[str, Importer], backends: Mapping[str, Backend]) -> list[Row]:
    """One row per kind of op, in the order of the op list."""
    return [Row(kind, {name: _read(importer, kind) for name, importer in importers.items()}, _computed(kind, backends))
            for kind in OPS]


def _read(importer: Importer, kind: OpKind) -> str:
    if not isinstance(importer, DescribedImporter):
        return UNKNOWN
    return YES if kind.name in importer.kinds else NO


def _computed(kind: OpKind, backends: Mapping[str, Backend]) -> dict[str, str]:
    if kind.receiver:
        return {name: RECEIVER for name in backends}
    program = lower(specimen(kind.name).public())
    return {name: NO if any(backend.supports(step, program) is not None for step in program.steps) else YES
            for name, backend in backends.items()}
