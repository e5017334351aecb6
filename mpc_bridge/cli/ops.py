"""``mpc-bridge ops``: the one list of ops, as a table."""

from __future__ import annotations

from mpc_bridge.circuit.ops import OPS
from mpc_bridge.cli.console import emit, plain_table


def ops() -> None:
    """List the ops a model may use."""
    table = plain_table("op", "inputs", "computed by", "meaning")
    for kind in OPS:
        least, most = kind.inputs
        table.add_row(
            kind.name,
            str(least) if least == most else f"{least}-{most}",
            "receiver when last" if kind.receiver else "parties",
            kind.summary,
        )
    emit(table)
