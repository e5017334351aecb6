"""What both readers (``.pt2`` and TorchScript) make of a file: a list of calls of torch operators, and its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from mpc_bridge.errors import ModelFormatError
from mpc_bridge.importers.base import printable

#: Greatest rank of a tensor, and greatest number of elements (the circuit's own limit is below it).
MAX_RANK = 8
MAX_ELEMENTS = 2**31 - 1

@dataclass(frozen=True)
class Ref:
    """A tensor among a call's arguments."""

    name: str


#: An argument: a tensor, None, a number, a string, or a list of them. Element types are strings.
Argument = Any


@dataclass(frozen=True)
class Call:
    """One call of a torch operator.

    Attributes:
        target: ``namespace.operator.overload``.
        arguments: by the operator's own parameter names; what equals the default may be missing.
        outputs: names; a list of tensors counts as so many outputs.
    """

    index: int
    target: str
    arguments: Mapping[str, Argument]
    outputs: tuple[str, ...]

    @property
    def place(self) -> str:
        """Which call this is, for people."""
        name = f" '{printable(self.outputs[0], '', 64)}'" if self.outputs else ""
        return f"node {self.index}{name}: {printable(self.target, '?', 96)}"


@dataclass(frozen=True)
class Meta:
    """Shape and element type of a tensor, as the file states them."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Program:
    """A model file as calls, in execution order.

    Attributes:
        inputs, outputs: tensor names.
        metas: of every tensor that the file describes.
        constants: parameters, buffers and other stored tensors that calls use.
        notes: what people should know about the file, one line each.
    """

    source: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    calls: tuple[Call, ...]
    metas: Mapping[str, Meta]
    constants: Mapping[str, npt.NDArray[np.generic]] = field(repr=False)
    notes: tuple[str, ...] = ()


def corrupt(what: str, source: str, place: str = "") -> ModelFormatError:
    """The error for a file that contradicts itself."""
    return ModelFormatError(printable(what, "corrupt"), where="\n".join(filter(None, (source, place))),
                            hint="the file is damaged or was not written by torch.export.save: export it again")
