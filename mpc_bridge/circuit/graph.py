"""The circuit: a graph of quantized ops on named tensors, independent of the framework it came from.

A :class:`Circuit` has a public part (graph, shapes, dtypes, scales, zero points, activation bounds: everything in
``tensors`` and ``ops``) and a secret part (``constants``: weights and biases). :meth:`Circuit.public` drops the latter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

#: What an op attribute may hold. Tuples may nest; floats are IEEE doubles and survive the file format exactly.
Attribute = bool | int | float | str | tuple["Attribute", ...]

INTEGER_RANGES: Mapping[str, tuple[int, int]] = {
    "int8": (-128, 127),
    "uint8": (0, 255),
    "int16": (-(2**15), 2**15 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "int64": (-(2**63), 2**63 - 1),
}
DTYPES = (*INTEGER_RANGES, "float32")


@dataclass(frozen=True)
class Quantization:
    """``real = scale * (q - zero_point)``, per tensor (one entry) or per channel along ``axis``.

    Scales are float32 values held as Python floats.
    """

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int | None = None


@dataclass(frozen=True)
class Tensor:
    """One edge of the graph. ``shape`` has the model's own batch size first where the model has one."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    quantization: Quantization | None = None


@dataclass(frozen=True)
class Op:
    """One node. ``inputs`` and ``outputs`` index :attr:`Circuit.tensors`; a missing optional input is ``-1``.

    ``attributes`` hold everything that is public about the op, multipliers and activation bounds included
    (see :mod:`mpc_bridge.circuit.ops` for what each kind carries).
    """

    kind: str
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)


@dataclass(frozen=True)
class Circuit:
    """A verified graph. ``ops`` are in execution order.

    Attributes:
        name: of the model, for people.
        source: ``"tflite"``, ``"pytorch"`` or ``"onnx"``.
        profile: which reference the integers come from (``"litert"``, ``"tflite"``, …).
        inputs, outputs: tensor indices of the model's own inputs and outputs, in the model's order.
        constants: tensor index → array, weights and biases: secret. Never printed, and no part of equality, which
            compares the public part.
        sha256: of the file it was imported from, weights included; empty in a public circuit, where it would let anyone
            confirm a guess of the weights.
        constant_tensors: tensor indices that are secret constants, ascending; kept when ``constants`` is dropped.
    """

    name: str
    source: str
    profile: str
    tensors: tuple[Tensor, ...]
    ops: tuple[Op, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    constants: Mapping[int, npt.NDArray[np.generic]] = field(default_factory=dict, repr=False, compare=False)
    sha256: str = field(default="", compare=False)
    constant_tensors: tuple[int, ...] = ()

    def public(self) -> Circuit:
        """The same circuit without weights and biases: what computing parties get."""
        return replace(self, constants={}, sha256="")

    @property
    def is_public(self) -> bool:
        """True when the weights are not held here."""
        return bool(self.constant_tensors) and not self.constants
