"""One call of a torch operator while it becomes nodes of the neutral graph: typed access to its arguments."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from mpc_bridge.importers.pytorch.calls import MAX_RANK, Call, Meta, Program, Ref, corrupt
from mpc_bridge.importers.qdq.graph import Node, Value

#: Greatest stride, window or padding; beyond it only corrupt files go.
MAX_STEP = 2**16
#: Bytes that copies of stored tensors may take: some, and as often what the file holds.
FREE_COPIES, COPIES = 2**26, 8

#: Operators that return a view of their first argument (or the argument itself).
VIEWS = frozenset({
    "aten.view.default", "aten.reshape.default", "aten.flatten.using_ints", "aten.permute.default",
    "aten.transpose.int", "aten.t.default", "aten.squeeze.default", "aten.squeeze.dim", "aten.squeeze.dims",
    "aten.unsqueeze.default", "aten.expand.default", "aten.slice.Tensor", "aten.select.int", "aten.split.Tensor",
    "aten.split_with_sizes.default", "aten.chunk.default", "aten.unbind.int", "aten.unflatten.int",
    "aten.contiguous.default", "aten.dropout.default", "aten.feature_dropout.default", "aten.alias.default",
    "aten.detach.default", "aten.detach_.default", "aten.to.dtype", "aten.to.dtype_layout", "aten.view_as.default",
})


class UnsupportedOperatorError(Exception):
    """Why one operator is not read; the translator collects these into one report."""


@dataclass
class State:
    """The graph so far.

    Attributes:
        renamed: a tensor's name in the file → its name in the graph, where they differ.
        constants: stored tensors, and what was computed from them alone.
        dequantized: output of a Dequantize of a constant → that constant and the node's attributes.
        transposed: output of a Transpose → its input and permutation.
        origin: a view → the tensor whose storage it shares.
        stale: tensors that share storage with one that was changed in place.
        missing: outputs that no node makes, and what to say to who reads them.
        families: a tensor → those that share its storage, itself included, and are not stale.
        positive: output of ``x > 0`` → x.
        producers: a tensor → the node that makes it.
        left: bytes that stored tensors which are made of others may still take.
    """

    program: Program
    uses: Mapping[str, int]
    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, npt.NDArray[np.generic]] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    dequantized: dict[str, tuple[str, dict[str, Value]]] = field(default_factory=dict)
    transposed: dict[str, tuple[str, tuple[int, ...]]] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    origin: dict[str, str] = field(default_factory=dict)
    stale: set[str] = field(default_factory=set)
    missing: dict[str, str] = field(default_factory=dict)
    families: dict[str, set[str]] = field(default_factory=dict)
    positive: dict[str, str] = field(default_factory=dict)
    producers: dict[str, Node] = field(default_factory=dict)
    left: int = FREE_COPIES


@dataclass(frozen=True)
class Site:
    """A call in its program. Methods raise :class:`UnsupportedOperatorError` or ModelFormatError."""

    state: State
    call: Call

    def refuse(self, what: str) -> NoReturn:
        """This operator is not read."""
        raise UnsupportedOperatorError(what)

    def wrong(self, what: str) -> NoReturn:
        """torch itself would refuse this call."""
        raise corrupt(what, self.state.program.source, self.call.place)

    # Arguments --------------------------------------------------------------------------------------------------

    def get(self, name: str, default: Any = None) -> Any:
        """An argument as the file has it."""
        return self.call.arguments.get(name, default)

    def resolve(self, ref: Any) -> str:
        """The graph's name of a tensor."""
        if not isinstance(ref, Ref):
            self.wrong("a tensor is missing among the arguments")
        if ref.name in self.state.stale:
            self.refuse("it reads a tensor through another one after that was changed in place")
        if ref.name in self.state.missing:
            self.refuse(self.state.missing[ref.name])
        return self.state.renamed.get(ref.name, ref.name)

    def tensor(self, name: str) -> str:
        """A tensor argument."""
        return self.resolve(self.get(name))

    def optional(self, name: str) -> str:
        """A tensor argument, or ``""``."""
        return "" if self.get(name) is None else self.tensor(name)

    def tensors(self, name: str) -> tuple[str, ...]:
        """A list of tensors."""
        values = self.get(name)
        if not isinstance(values, list) or not values:
            self.wrong(f"{name} is no list of tensors")
        return tuple(self.resolve(value) for value in values)

    def operand(self, name: str) -> str:
        """A tensor argument; a number becomes a constant, as torch converts it: to the tensors' float32."""
        value = self.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            with np.errstate(over="ignore"):
                return self.constant(name, np.float32(value))
        return self.tensor(name)

    def integer(self, name: str, default: int | None = None) -> int:
        """An integer argument."""
        value = self.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int):
            self.wrong(f"{name} is not an integer")
        return value

    def number(self, name: str, default: float | None = None) -> float:
        """A number."""
        value = self.get(name, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self.wrong(f"{name} is not a number")
        return float(value)

    def boolean(self, name: str, default: bool = False) -> bool:
        """True or false."""
        value = self.get(name, default)
        if not isinstance(value, bool):
            self.wrong(f"{name} is neither true nor false")
        return value

    def integers(self, name: str, default: Any = None) -> tuple[int, ...]:
        """A list of integers; one integer is a list of one."""
        value = self.get(name, default)
        if isinstance(value, int) and not isinstance(value, bool):
            return (value,)
        if not isinstance(value, (list, tuple)) or any(isinstance(v, bool) or not isinstance(v, int) for v in value):
            self.wrong(f"{name} is not a list of integers")
        return tuple(value)

    def per_axis(self, name: str, axes: int, default: int | None = None, low: int = 0) -> tuple[int, ...]:
        """One integer per spatial axis; a single one stands for all."""
        values = self.integers(name, default)
        values = values * axes if len(values) == 1 else values
        if len(values) != axes or any(not low <= value <= MAX_STEP for value in values):
            self.wrong(f"{name} has to be {axes} integers from {low}")
        return values

    def axis(self, name: str, rank: int, default: int | None = None) -> int:
        """An axis, counted from the front."""
        return self.normal(self.integer(name, default), rank)

    def normal(self, axis: int, rank: int) -> int:
        """An axis, counted from the front."""
        if not -max(rank, 1) <= axis < max(rank, 1):
            self.wrong(f"there is no axis {axis}")
        return axis % max(rank, 1)

    def axes(self, name: str, rank: int) -> tuple[int, ...]:
        """Distinct axes, counted from the front; none given: all of them."""
        value = self.get(name)
        if value is None or value == []:
            return tuple(range(rank))
        axes = tuple(self.normal(axis, rank) for axis in self.integers(name))
        if len(set(axes)) != len(axes):
            self.wrong("an axis appears twice")
        return axes

    def meta(self, tensor: str) -> Meta:
        """Shape and element type of a tensor of the graph."""
        if tensor in self.state.constants:
            constant = self.state.constants[tensor]
            return Meta(constant.shape, constant.dtype.name)
        if tensor in self.state.shapes:
            return Meta(self.state.shapes[tensor], "float32")
        if tensor not in self.state.program.metas:
            self.wrong(f"the shape of {tensor} is missing")
        return self.state.program.metas[tensor]

    def shape(self, tensor: str) -> tuple[int, ...]:
        """Its shape."""
        return self.meta(tensor).shape

    def stored(self, tensor: str) -> npt.NDArray[np.generic] | None:
        """The value of a constant, or None."""
        return self.state.constants.get(tensor)

    # Results ----------------------------------------------------------------------------------------------------

    def constant(self, role: str, value: Any) -> str:
        """Add a constant that this call needs."""
        name = f"{self.call.outputs[0]}#{role}"
        self.state.constants[name] = np.asarray(value)
        return name

    def charge(self, size: int) -> None:
        """Count the bytes of a stored tensor that is made of another: a small file may name one very often."""
        self.state.left -= size
        if self.state.left < 0:
            self.wrong("stored tensors, as the graph combines them, take many times their own size")

    def between(self, role: str, shape: tuple[int, ...]) -> str:
        """A name for a tensor between two nodes of this call."""
        name = f"{self.call.outputs[0]}#{role}"
        self.state.shapes[name] = shape
        return name

    def same(self, tensor: str, output: int = 0) -> None:
        """An output is another tensor."""
        self.state.renamed[self.call.outputs[output]] = tensor

    def unavailable(self, output: int, why: str) -> None:
        """An output that is only refused where something reads it."""
        if output < len(self.call.outputs):
            self.state.missing[self.call.outputs[output]] = why

    def wanted(self, output: int) -> bool:
        """Whether something reads an output."""
        return output < len(self.call.outputs) and self.state.uses.get(self.call.outputs[output], 0) > 0

    def emit(self, kind: str, inputs: tuple[str, ...], outputs: str | tuple[str, ...] = "",
             parameters: Mapping[str, Value] | None = None, **more: Value) -> None:
        """Add a node. ``outputs``: empty for the call's first output; its attributes by mapping or by keyword."""
        attributes: dict[str, Value] = {**(parameters or {}), **more}
        named = (outputs,) if isinstance(outputs, str) else outputs
        names = tuple(name or self.call.outputs[0] for name in named)
        if self._fold(kind, inputs, names[0], attributes):
            return
        node = Node(kind, names[0], inputs, names, attributes)
        self.state.nodes.append(node)
        self.state.producers.update(dict.fromkeys(names, node))
        if kind == "Dequantize" and inputs[0] in self.state.constants:
            self.state.dequantized[names[0]] = (inputs[0], attributes)

    def _fold(self, kind: str, inputs: tuple[str, ...], output: str, attributes: dict[str, Value]) -> bool:
        """Compute what only moves a constant, or a dequantized constant, now."""
        if kind not in _MOVES:
            return False
        source = inputs[0]
        if source in self.state.constants:
            self.state.constants[output] = self._moved(kind, self.state.constants[source], attributes)
            return True
        if source in self.state.dequantized:
            stored, scales = self.state.dequantized[source]
            axis = scales["axis"]
            if axis is not None and kind != "Transpose":
                return False
            moved = self._moved(kind, self.state.constants[stored], attributes)
            if axis is not None:
                permutation = attributes["permutation"]
                assert isinstance(permutation, tuple) and isinstance(axis, int)
                scales = {**scales, "axis": permutation.index(axis)}
            name = f"{output}#integers"
            self.state.constants[name] = moved
            self.emit("Dequantize", (name,), output, scales)
            return True
        return False

    def _moved(self, kind: str, value: npt.NDArray[np.generic], attributes: dict[str, Any]) -> npt.NDArray[np.generic]:
        try:
            moved = _MOVES[kind](value, attributes)
        except (ValueError, IndexError):
            self.wrong("it does not fit the shape of a stored tensor")
        if moved.ndim > MAX_RANK:
            self.wrong("it makes a stored tensor too large")
        self.charge(moved.size * moved.itemsize)
        return np.ascontiguousarray(moved).reshape(moved.shape)


_MOVES: dict[str, Any] = {
    "Reshape": lambda value, a: value.reshape(a["shape"]),
    "Flatten": lambda value, a: value.reshape(
        value.shape[: a["start"]] + (math.prod(value.shape[a["start"] : a["end"] + 1]),) + value.shape[a["end"] + 1 :]),
    "Transpose": lambda value, a: value.transpose(a["permutation"]),
    "Squeeze": lambda value, a: value.squeeze(a["axes"]),
    "Unsqueeze": lambda value, a: np.expand_dims(value, a["axes"]),
    "Expand": lambda value, a: np.broadcast_to(value, a["shape"]),
    "Slice": lambda value, a: value[(slice(None),) * a["axis"] + (slice(a["start"], a["end"], a["step"]),)],
    "Select": lambda value, a: value.take(a["index"], a["axis"]),
}
