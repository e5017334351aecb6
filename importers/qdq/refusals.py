"""How a conversion refuses: what one node cannot become, and the report that lists all of them at once."""

from __future__ import annotations

from dataclasses import dataclass, field

from mpc_bridge.errors import ModelFormatError, UnsupportedModelError
from mpc_bridge.importers.base import printable
from mpc_bridge.importers.qdq.graph import Graph, Node

#: Hint where a node reads a float value that has no integers.
QUANTIZE_IT = ("quantize the tensor between the two ops (a Quantize and a Dequantize): a quantizer that annotates both "
               "does that")


class UnsupportedNodeError(Exception):
    """Why one node cannot be evaluated exactly; the converter collects these into one report."""

    def __init__(self, reason: str, hint: str = QUANTIZE_IT) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint


def place(node: Node) -> str:
    """Which node, for people."""
    return f"{node.kind} '{printable(node.name, '?', 96)}'"


def corrupt(node: Node, what: str) -> ModelFormatError:
    """The error for a node that contradicts itself: no framework would run it."""
    return ModelFormatError(what, where=place(node), hint="the file is corrupt: export it again")


@dataclass
class Report:
    """The refusals of a whole graph."""

    graph: Graph
    #: (kind, reason) → how often, where first, hint
    entries: dict[tuple[str, str], tuple[int, str, str]] = field(default_factory=dict)

    def refuse(self, node: Node, error: UnsupportedNodeError) -> None:
        """Note one node."""
        count, first, _ = self.entries.get((node.kind, error.reason), (0, printable(node.name, "?", 96), ""))
        self.entries[node.kind, error.reason] = (count + 1, first, error.hint)

    def close(self) -> None:
        """Raise what was collected.

        Raises:
            UnsupportedModelError: lists every kind and reason, how often, and where first.
        """
        if not self.entries:
            return
        lines = [f"  {kind}: {reason} ({count} times, first at '{first}')"
                 for (kind, reason), (count, first, _) in self.entries.items()]
        hints = dict.fromkeys(hint for _, _, hint in self.entries.values())
        raise UnsupportedModelError(
            "the model uses what this version cannot evaluate exactly", where="\n".join([self.graph.name, *lines]),
            hint="; ".join(hints))
