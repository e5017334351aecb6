"""Typed access to a node's attributes. Their values come from a file, so each is checked where it is read."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mpc_bridge.importers.qdq.graph import Node
from mpc_bridge.importers.qdq.refusals import corrupt

Pair = tuple[int, int]

#: Greatest stride, dilation, window or padding; beyond it only corrupt files go.
MAX_STEP = 2**16
#: Greatest extent, position or size.
MAX_EXTENT = 2**28


def integer(node: Node, name: str, low: int = -MAX_EXTENT, high: int = MAX_EXTENT) -> int:
    """An int in ``[low, high]``."""
    value = node.attributes.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise corrupt(node, f"its {name} is not an integer in [{low}, {high}]")
    return value


def integers(node: Node, name: str, low: int = -MAX_EXTENT, high: int = MAX_EXTENT) -> tuple[int, ...]:
    """A tuple of ints, each in ``[low, high]``."""
    value = node.attributes.get(name)
    if not isinstance(value, tuple) or not all(
            isinstance(item, int) and not isinstance(item, bool) and low <= item <= high for item in value):
        raise corrupt(node, f"its {name} is not a list of integers in [{low}, {high}]")
    return value


def steps(node: Node, name: str, count: int | None = None) -> tuple[int, ...]:
    """Strides, dilations, window extents: positive, one per spatial axis (one or two)."""
    value = integers(node, name, 1, MAX_STEP)
    if len(value) not in ((1, 2) if count is None else (count,)):
        raise corrupt(node, f"its {name} has {len(value)} entries")
    return value


def pairs(node: Node, name: str, count: int, low: int = 0) -> tuple[Pair, ...]:
    """``(before, after)`` per axis."""
    value = node.attributes.get(name)
    if not isinstance(value, tuple) or len(value) != count or not all(
            isinstance(item, tuple) and len(item) == 2 and all(
                isinstance(side, int) and not isinstance(side, bool) and low <= side <= MAX_STEP for side in item)
            for item in value):
        raise corrupt(node, f"its {name} is not one pair of extents per axis")
    return value


def flag(node: Node, name: str) -> bool:
    """A bool."""
    value = node.attributes.get(name)
    if not isinstance(value, bool):
        raise corrupt(node, f"its {name} is not a truth value")
    return value


def text(node: Node, name: str, choices: Sequence[str]) -> str:
    """One of several words."""
    value = node.attributes.get(name)
    if not isinstance(value, str) or value not in choices:
        raise corrupt(node, f"its {name} is none of {', '.join(choices)}")
    return value


def number(node: Node, name: str, finite: bool = True) -> float:
    """A float that is not NaN."""
    value = node.attributes.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise corrupt(node, f"its {name} is not a number")
    try:
        value = float(value)
    except OverflowError:
        raise corrupt(node, f"its {name} is not a float") from None
    if math.isnan(value) or (finite and math.isinf(value)):
        raise corrupt(node, f"its {name} is {value}")
    return value


def axis(node: Node, name: str, rank: int) -> int:
    """One axis of ``rank``, counted from the front."""
    value = integer(node, name)
    if not -rank <= value < rank:
        raise corrupt(node, f"its {name} {value} is none of {rank} axes")
    return value % rank


def axes(node: Node, name: str, rank: int) -> tuple[int, ...]:
    """Distinct axes of ``rank``, counted from the front, ascending."""
    value = integers(node, name)
    if not all(-rank <= item < rank for item in value) or len({item % rank for item in value}) != len(value):
        raise corrupt(node, f"its {name} {value[:8]} are not distinct axes of {rank}")
    return tuple(sorted(item % rank for item in value))
