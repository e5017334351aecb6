"""The Program: a short list of the eight secure primitives, a function of the circuit's public part alone.

Values are integers. An *activation* value is stored unsigned: ``u = framework_value - offset`` with
``0 <= u <= high``; ``high <= 255`` for 8-bit tensors. An *accumulator* value is a signed integer known modulo
``2**ring``. Which forms of a value a backend needs is public and written on the value:

``ring``
    the value is used by linear or affine steps, modulo ``2**ring`` (0: never).
``bits``
    the value is used by maximum, lookup or output steps, as its unsigned bits (False: never).

Every step is one of the eight primitives of ``docs/design``; the plaintext backend is the living definition of each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Owner = Literal["model", "data"]


@dataclass(frozen=True)
class Value:
    """One shared tensor.

    Attributes:
        name: of the tensor in the circuit it carries, for people.
        shape: as in the circuit (the model's own batch included).
        kind: ``"activation"`` (unsigned, at most 8 bits), ``"weight"`` (signed, biases too), ``"accumulator"`` (signed
            mod 2**ring) or ``"index"`` (unsigned: the result of an arg-max).
        offset: framework integer = stored integer + offset (activations only).
        high: greatest stored integer of an activation or index; of a weight, the greatest that its type allows.
        low: least stored integer: zero but for weights and biases.
        ring: width of the ring its arithmetic consumers use; 0 when there are none.
        bits: whether boolean consumers need its bits.
    """

    name: str
    shape: tuple[int, ...]
    kind: Literal["activation", "weight", "accumulator", "index"]
    offset: int = 0
    high: int = 0
    ring: int = 0
    bits: bool = False
    low: int = 0

    @property
    def size(self) -> int:
        """Number of elements."""
        size = 1
        for extent in self.shape:
            size *= extent
        return size


@dataclass(frozen=True)
class Geometry:
    """A 2-D convolution, NHWC. A fully connected layer or matrix product is a 1x1 convolution on a 1x1 image."""

    batch: int
    in_height: int
    in_width: int
    in_channels: int
    out_height: int
    out_width: int
    out_channels: int
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    pad_top: int = 0
    pad_left: int = 0

    @property
    def macs(self) -> int:
        """Multiplications of the dense product, padded cells counted."""
        return (self.batch * self.out_height * self.out_width * self.out_channels
                * self.kernel[0] * self.kernel[1] * self.in_channels)


@dataclass(frozen=True)
class _Step:
    primitive: ClassVar[str] = ""
    #: index of the circuit op this step belongs to, -1 for inputs and outputs of the whole program
    op: int
    #: name of the layer, for the report
    layer: str
    #: value indices
    inputs: tuple[int, ...]
    output: int


@dataclass(frozen=True)
class Input(_Step):
    """An owner's tensor becomes shared. ``source`` is the circuit's tensor index.

    What the owners share, by source: :func:`~mpc_bridge.lowering.canonicalise` and
    :func:`~mpc_bridge.lowering.stored_inputs`.
    """

    primitive: ClassVar[str] = "input"
    owner: Owner = "data"
    source: int = -1


@dataclass(frozen=True)
class Linear(_Step):
    """``acc = sum (x - zero) * (w - weight_zero) + bias`` modulo ``2**ring``; inputs ``(x, w)`` or ``(x, w, bias)``.

    ``zero`` is subtracted from the stored (unsigned) x; padded cells contribute nothing. w is a weight (``weight_zero``
    is 0: the owner shares weights less their zero point) or an activation: a product of two values the model computes,
    without a bias. Only its number of elements has to be the layout's; they are in the layout's order.
    ``depthwise`` (weights ``[kh, kw, out_channels]``, output channel ``o`` reads input channel ``o // multiplier``
    with ``multiplier = out_channels // in_channels``); otherwise dense (weights ``[out_channels, kh, kw,
    in_channels]``).
    """

    primitive: ClassVar[str] = "linear"
    geometry: Geometry = field(default_factory=lambda: Geometry(1, 1, 1, 1, 1, 1, 1))
    depthwise: bool = False
    zero: int = 0
    ring: int = 64
    weight_zero: int = 0

    @property
    def macs(self) -> int:
        """Multiplications, padded cells counted."""
        return self.geometry.macs // (self.geometry.in_channels if self.depthwise else 1)


@dataclass(frozen=True)
class Affine(_Step):
    """Local: ``out = sum_i coefficients[i] * pool(inputs[i]) + constant`` modulo ``2**ring``.

    Inputs are activations, accumulators or weights (a bias), and broadcast to the output's shape (numpy rules). A
    coefficient is one integer, or one per position along the output's last axis. With ``geometry`` set there is one
    NHWC input and ``pool`` is the sum over each window's cells inside the image; with ``axes`` it is the sum over those
    axes. Either way the output holds the sums in their order, in a shape that may differ (extents of 1 dropped, axes
    joined).
    """

    primitive: ClassVar[str] = "affine"
    coefficients: tuple[int | tuple[int, ...], ...] = (1,)
    constant: int = 0
    geometry: Geometry | None = None
    axes: tuple[int, ...] = ()
    ring: int = 64


@dataclass(frozen=True)
class TieRule:
    """Where a tie rounds down: the sign-dependent half of double rounding, or half to even.

    With ``q`` the result of the plain form, ``result = q - 1`` where q is *chosen* and the floor changes when
    ``delta[c]`` is subtracted before the shift; elsewhere ``result = q``. Without ``parity``, q is chosen where
    ``q <= zero``: ``zero`` is in stored units (may be any integer: below 0 the rule never applies, and it always
    applies from ``high`` on). With it, q is chosen where ``q % 2 == parity``, and ``zero`` is 0.

    Attributes:
        bit: every delta is a multiple of ``2**bit``; ``bit < shift``, so the subtraction leaves lower bits alone.
        delta: per channel as ``multiplier``, ``0 <= delta < 2**shift``. Channels of different scale need different
            ones: each is ``2**31`` of the framework's own arithmetic, and all channels share one shift.
    """

    bit: int
    zero: int
    delta: tuple[int, ...]
    parity: int | None = None


@dataclass(frozen=True)
class Requantize(_Step):
    """``u = clamp((acc * multiplier[c] + constant[c]) >> shift, 0, high)``, exact; then ``max(u, low)``.

    ``c`` is the channel: the last axis of the accumulator, whose extent is ``len(multiplier)``, or one entry for all.
    ``bits`` (N): ``acc * m + c`` is in ``[-2**(N-1), 2**(N-1))`` for every accumulator the public bound allows;
    so is that less ``delta[c]`` where a tie rule has parity 0. ``N <= ring`` of the accumulator, ``N - shift >= 10``.
    Input and output hold the same elements in the same order; their shapes may differ (an average pool whose windows
    differ in size has one "channel" per position). ``tie`` adds the sign-dependent rule.
    """

    primitive: ClassVar[str] = "requantize"
    multiplier: tuple[int, ...] = ()
    constant: tuple[int, ...] = ()
    shift: int = 0
    bits: int = 0
    low: int = 0
    high: int = 255
    tie: TieRule | None = None


@dataclass(frozen=True)
class Maximum(_Step):
    """Elementwise maximum over ``window`` cells of one NHWC input (``geometry``: valid cells only), or arg-max.

    With ``argmax`` the output is the index, int64, of the first greatest element along the last axis.
    Afterwards ``u = clamp(u, low, high)``. All operands share one offset.
    """

    primitive: ClassVar[str] = "maximum"
    geometry: Geometry | None = None
    argmax: bool = False
    low: int = 0
    high: int = 255


@dataclass(frozen=True)
class Lookup(_Step):
    """``out = table[u]``: a public table of 256 entries in 0..255 on an 8-bit secret."""

    primitive: ClassVar[str] = "lookup"
    table: tuple[int, ...] = ()


@dataclass(frozen=True)
class Move(_Step):
    """Local: every output element is one input element or the public ``fill``.

    ``kind`` is ``"reshape"``, ``"pad"`` (with ``paddings`` and ``fill``), ``"concatenate"`` (along ``axis``),
    ``"transpose"`` (output axis i is input axis ``permutation[i]``) or ``"take"`` (position j along axis i is position
    ``taken[i][j]`` of the input: slices, repetitions, tiles); :meth:`index` turns all of them into one gather. All
    inputs share one offset, or are accumulators of one ring. The output holds the elements in their order, in a shape
    that may differ (extents of 1, axes joined).
    """

    primitive: ClassVar[str] = "move"
    kind: str = "reshape"
    paddings: tuple[tuple[int, int], ...] = ()
    axis: int = 0
    fill: int = 0
    permutation: tuple[int, ...] = ()
    taken: tuple[Sequence[int], ...] = ()

    def index(self, shapes: tuple[tuple[int, ...], ...]) -> npt.NDArray[np.int64]:
        """Flat gather map into the concatenation of the flattened inputs; ``-1`` marks ``fill``.

        Args:
            shapes: of the inputs, in order.

        Returns:
            int64 array of the output's elements in their order (``reshape``: in the input's shape).
        """
        sources = []
        base = 0
        for shape in shapes:
            count = int(np.prod(shape, dtype=np.int64))
            sources.append(np.arange(base, base + count, dtype=np.int64).reshape(shape))
            base += count
        if self.kind == "reshape":
            return sources[0]
        if self.kind == "pad":
            return np.pad(sources[0], self.paddings, constant_values=-1)
        if self.kind == "concatenate":
            return np.concatenate(sources, axis=self.axis)
        if self.kind == "transpose":
            return sources[0].transpose(self.permutation)
        if self.kind == "take":
            result = sources[0]
            for axis, positions in enumerate(self.taken):
                result = result.take(np.array(positions, np.int64), axis=axis)
            return result
        raise ValueError(f"unknown move {self.kind!r}")


@dataclass(frozen=True)
class Output(_Step):
    """Reveal ``inputs[0]`` to the receiver. ``output`` is the position among the program's outputs.

    An activation or an index is revealed as its bits, an accumulator as the signed integer that it is modulo
    ``2**ring``.
    """

    primitive: ClassVar[str] = "output"
    receiver: str = "receiver"


Step: TypeAlias = Input | Linear | Affine | Requantize | Maximum | Lookup | Move | Output
PRIMITIVES: tuple[str, ...] = ("input", "linear", "affine", "requantize", "maximum", "lookup", "move", "output")


@dataclass(frozen=True)
class Tail:
    """What the receiver computes on one revealed output: circuit ops (by index), in order, from one tensor."""

    tensor: int
    ops: tuple[int, ...]


@dataclass(frozen=True)
class Program:
    """Values and steps in execution order; printable; holds no weights.

    Attributes:
        tails: per output, the trailing ops the receiver computes after the reveal.
        activations: per circuit op index, how many activations it has (``interface``: requantised outputs).
    """

    name: str
    values: tuple[Value, ...]
    steps: tuple[Step, ...]
    tails: tuple[Tail, ...]
    activations: Mapping[int, int]
    macs: int
    reveal: Literal["output", "argmax"] = "output"
