"""Torch operators by name, each with what makes nodes of the neutral graph out of one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mpc_bridge.importers.pytorch.operators import elementwise, layers, moves, pooling, quantize
from mpc_bridge.importers.pytorch.site import Site

OPERATORS: Mapping[str, Callable[[Site], None]] = {
    **quantize.OPERATORS, **layers.OPERATORS, **elementwise.OPERATORS, **pooling.OPERATORS, **moves.OPERATORS,
}
