"""Stored tensors, folded: floats with the integers behind them where the file or the framework has integers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mpc_bridge.importers.qdq import attributes as read
from mpc_bridge.importers.qdq import functions
from mpc_bridge.importers.qdq.formats import Format, read_format
from mpc_bridge.importers.qdq.graph import Node
from mpc_bridge.importers.qdq.refusals import UnsupportedNodeError
from mpc_bridge.importers.qdq.shapes import Shape


@dataclass(frozen=True, eq=False)
class Constant:
    """A stored tensor: ``array``, dequantized where there is a format."""

    array: npt.NDArray[np.generic]
    format: Format | None = None

    @property
    def integers(self) -> npt.NDArray[np.generic] | None:
        """What was dequantized."""
        return None if self.format is None else self.array

    @property
    def floats(self) -> functions.Floats:
        """The tensor, which has to be a float one."""
        if self.format is not None:
            return self.format.dequantize(self.array)
        if self.array.dtype.kind != "f":
            raise UnsupportedNodeError(f"a stored tensor of type {self.array.dtype} in place of float32",
                                       "a Dequantize belongs between integers and a float op")
        return self.array.astype(np.float32)


_MOVES = ("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten")


def fold(node: Node, source: str, inputs: tuple[Constant, ...], shape: Shape) -> Constant:
    """The output of a node whose inputs are all stored.

    Args:
        source: the graph's.
        shape: of the output.

    Raises:
        UnsupportedNodeError: an op that is not folded.
    """
    x = inputs[0]
    if node.kind == "Quantize":
        form = read_format(node, source, shape)
        return Constant(form.quantize(x.floats).astype(form.dtype))
    if node.kind == "Dequantize":
        if x.array.dtype.kind not in "iu" or x.format is not None:
            raise UnsupportedNodeError("it reads a stored tensor that is not of integers", "the file is inconsistent")
        form = read_format(node, source, shape)
        return Constant(x.array, form)
    if node.kind in _MOVES:
        return _moved(node, x, shape)
    if node.kind in functions.UNARY:
        return Constant(functions.unary(node, source, x.floats))
    if node.kind in functions.BINARY and math.prod(shape) <= max(x.array.size, inputs[1].array.size):
        return Constant(functions.binary(node.kind, x.floats, inputs[1].floats))
    raise UnsupportedNodeError("it computes with stored tensors alone", "let the exporter fold constants")


def _moved(node: Node, x: Constant, shape: Shape) -> Constant:
    rank, form = x.array.ndim, x.format
    if node.kind == "Transpose":
        permutation = tuple(axis % rank for axis in read.integers(node, "permutation"))
        axes = {axis: position for position, axis in enumerate(permutation)}
    else:
        permutation = None
        # an axis stays itself where the axes longer than 1 stay what they are
        old = [axis for axis, extent in enumerate(x.array.shape) if extent > 1]
        new = [axis for axis, extent in enumerate(shape) if extent > 1]
        same = [x.array.shape[axis] for axis in old] == [shape[axis] for axis in new]
        axes = dict(zip(old, new, strict=True)) if same else {}
    array = x.array
    if form is not None and form.axis is not None:
        if len(form.scale) == 1:
            form = replace(form, axis=None)
        elif form.axis in axes:
            form = replace(form, axis=axes[form.axis])
        else:
            array, form = x.floats, None
    return Constant(array.reshape(shape) if permutation is None else array.transpose(permutation), form)


def transposed(x: Constant) -> Constant:
    """A stored matrix, the other way round."""
    return _moved(Node("Transpose", "", (), (), {"permutation": (1, 0)}), x, x.array.shape[::-1])
