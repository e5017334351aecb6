"""One node while it is being converted: its inputs' values and the shapes around it."""

from __future__ import annotations

from dataclasses import dataclass

from mpc_bridge.importers.qdq.builder import Builder
from mpc_bridge.importers.qdq.constants import Constant
from mpc_bridge.importers.qdq.graph import Node
from mpc_bridge.importers.qdq.refusals import UnsupportedNodeError
from mpc_bridge.importers.qdq.shapes import Shape
from mpc_bridge.importers.qdq.values import Value


@dataclass(frozen=True)
class Site:
    """A node with the values of its inputs (None where one is left out) and the shapes of its outputs."""

    builder: Builder
    node: Node
    inputs: tuple[Value | None, ...]
    input_shapes: tuple[Shape, ...]
    shapes: tuple[Shape, ...]

    @property
    def source(self) -> str:
        """The graph's framework."""
        return self.builder.graph.source

    @property
    def profile(self) -> str:
        """The graph's engine."""
        return self.builder.graph.profile

    @property
    def shape(self) -> Shape:
        """Of the only output."""
        return self.shapes[0]

    def value(self, position: int) -> Value:
        """An input that is there."""
        value = self.inputs[position]
        assert value is not None
        return value

    def constant(self, position: int, what: str) -> Constant:
        """An input that is stored."""
        value = self.value(position)
        if not isinstance(value, Constant):
            raise UnsupportedNodeError(f"{what} that are not stored in the file", "only activations may be computed")
        return value
