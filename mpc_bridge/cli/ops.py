"""``mpc-bridge ops``: the one list of ops, who reads each, and who computes it."""

from __future__ import annotations

from typing import Annotated

import typer

from mpc_bridge import registry
from mpc_bridge.cli.console import emit, note, plain_table
from mpc_bridge.cli.support import rows
from mpc_bridge.errors import UsageError
from mpc_bridge.importers.base import DescribedImporter


def ops(
    importer: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="List what this importer reads, in its files' words, and what it refuses.",
                     show_default=False),
    ] = None,
) -> None:
    """List the ops a model may use: which importers read each, which backends compute it.

    yes: the parties compute it; receiver: the receiver does, after the reveal, where it comes last.
    """
    importers, backends = registry.importers(), registry.backends()
    if importer is not None:
        _describe(importer, importers)
        return
    table = plain_table("op", *importers.usable, *backends.usable, "meaning")
    for row in rows(importers.usable, backends.usable):
        table.add_row(row.kind.name, *row.importers.values(), *row.backends.values(), row.kind.summary)
    emit(table)
    for name, why in (*importers.broken.items(), *backends.broken.items()):
        note(f"{name} cannot be loaded: {why}")


def _describe(name: str, installed: registry.Plugins) -> None:
    found = installed.usable.get(name)
    if found is None:
        raise UsageError(f"no importer called {name}", where="--importer",
                         hint=installed.broken.get(name, f"installed: {', '.join(installed.usable)}"))
    if not isinstance(found, DescribedImporter):
        raise UsageError(f"importer {name} does not say what it reads", where="--importer", hint="see its documents")
    for operator in found.operators:
        emit(operator)
    table = plain_table("refused", "instead")
    for what, instead in found.refusals:
        table.add_row(what, instead)
    emit("")
    emit(table)
