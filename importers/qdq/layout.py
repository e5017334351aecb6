"""Tensors whose stored order of axes is not the framework's: circuits keep images with their channels last.

A :class:`Laid` tensor knows its framework shape and the order in which the axes longer than 1 are stored; axes of
extent 1 are nowhere in particular, since only a RESHAPE, which costs nothing, puts them anywhere. A framework's
transpose is then a change of names, and a TRANSPOSE op is emitted only where elements are needed in another order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mpc_bridge.importers.qdq.builder import Builder
from mpc_bridge.importers.qdq.shapes import Shape

#: Stored axes of a framework's image, by its number of spatial axes; -1: an axis of extent 1 that it does not have.
IMAGE: dict[int, tuple[int, ...]] = {1: (0, -1, 2, 1), 2: (0, 2, 3, 1)}


@dataclass(frozen=True)
class Laid:
    """A circuit's tensor as the framework sees it.

    Attributes:
        tensor: its number.
        shape: in the framework.
        order: the framework's axes of extent above 1, in the order in which they are stored.
    """

    tensor: int
    shape: Shape
    order: tuple[int, ...]


def laid(tensor: int, shape: Shape, axes: Sequence[int] | None = None) -> Laid:
    """A tensor stored with these axes of the framework (all, in the framework's order, where left out)."""
    order = range(len(shape)) if axes is None else axes
    return Laid(tensor, shape, tuple(axis for axis in order if axis >= 0 and shape[axis] > 1))


def stored_shape(shape: Shape, axes: Sequence[int]) -> Shape:
    """Extents of the given axes, 1 for -1."""
    return tuple(shape[axis] if axis >= 0 else 1 for axis in axes)


def all_axes(builder: Builder, x: Laid) -> tuple[int, ...]:
    """Every axis of the framework in an order in which x can be read without a transpose, as stored where possible."""
    ones = [axis for axis, extent in enumerate(x.shape) if extent == 1]
    long, result = list(x.order), []
    for extent in builder.shape(x.tensor):
        source = ones if extent == 1 else long
        if source:
            result.append(source.pop(0))
    return (*ones, *result, *long)


def arranged(builder: Builder, x: Laid, axes: Sequence[int]) -> int:
    """The tensor stored with the given axes, each axis of the framework among them once."""
    shape = stored_shape(x.shape, axes)
    if tuple(axis for axis in axes if axis >= 0 and x.shape[axis] > 1) == x.order:
        return builder.reshape(x.tensor, shape)
    own, wanted = all_axes(builder, x), [axis for axis in axes if axis >= 0]
    source = builder.reshape(x.tensor, stored_shape(x.shape, own))
    moved = builder.move("TRANSPOSE", source, stored_shape(x.shape, wanted),
                         permutation=tuple(own.index(axis) for axis in wanted))
    return builder.reshape(moved, shape)


def plain(builder: Builder, x: Laid) -> int:
    """The tensor stored in the framework's own order."""
    return arranged(builder, x, range(len(x.shape)))


def transposed(x: Laid, permutation: Sequence[int]) -> Laid:
    """The framework's transpose: axes get other names."""
    return Laid(x.tensor, tuple(x.shape[axis] for axis in permutation),
                tuple(permutation.index(axis) for axis in x.order))


def reshaped(builder: Builder, x: Laid, shape: Shape) -> Laid:
    """The framework's reshape: elements keep its order, not the stored one."""
    long = [axis for axis, extent in enumerate(x.shape) if extent > 1]
    new = [axis for axis, extent in enumerate(shape) if extent > 1]
    if [x.shape[axis] for axis in long] == [shape[axis] for axis in new]:
        names = dict(zip(long, new, strict=True))
        return Laid(x.tensor, shape, tuple(names[axis] for axis in x.order))
    return laid(builder.reshape(plain(builder, x), shape), shape)


def with_rank(x: Laid, rank: int) -> Laid:
    """Axes of extent 1 in front, as broadcasting adds them."""
    more = rank - len(x.shape)
    return Laid(x.tensor, (1,) * more + x.shape, tuple(axis + more for axis in x.order))
