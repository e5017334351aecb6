"""The one list of ops: what each kind is, which inputs it takes and which attributes it carries.

Importers emit these kinds, the verifier checks against this table, the reference interpreter, the lowering, the tests
and the support table iterate over it. Adding an op is one entry here plus one function in ``reference`` and ``lowering``.

Attributes shared by several kinds:

``requantization``
    ``(rule, multipliers, low, high)``: how the accumulator becomes the output. ``multipliers`` is a tuple of doubles, one
    per output channel (or one for all), computed by the importer with the framework's own float arithmetic.
    ``low`` and ``high`` are the activation bounds in the output's integer type. Rules:

    ``"mbqm"``
        ``clamp(MBQM(acc, QM(multiplier)) + zero_point)``: TFLite's double rounding.
    ``"float64_half_away"``
        ``clamp(round_half_away(float64(acc) * multiplier) + zero_point)`` where the product is formed as LiteRT does.
``padding``
    ``((top, bottom), (left, right))`` cells, explicit.
``stride``, ``dilation``, ``window``
    ``(rows, columns)``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class OpKind:
    """One row of the op list.

    Attributes:
        name: the TFLite built-in name; other importers map onto it.
        inputs: least and greatest number of tensor inputs (``-1`` inputs counted).
        attributes: names that must all be present.
        receiver: True when the receiver computes it after the reveal if it is trailing (and only then).
        summary: for ``mpc-bridge ops`` and the documents.
    """

    name: str
    inputs: tuple[int, int]
    attributes: tuple[str, ...]
    receiver: bool
    summary: str


_LINEAR = ("requantization",)
_WINDOW = ("window", "stride", "padding")

OPS: tuple[OpKind, ...] = (
    OpKind("CONV_2D", (2, 3), ("stride", "dilation", "padding", *_LINEAR), False, "x NHWC, weights OHWI, bias int32"),
    OpKind("DEPTHWISE_CONV_2D", (2, 3), ("stride", "dilation", "padding", "depth_multiplier", *_LINEAR), False,
           "x NHWC, weights 1HWC, bias int32"),
    OpKind("FULLY_CONNECTED", (2, 3), ("keep_num_dims", *_LINEAR), False, "x [..., K], weights [O, K], bias int32"),
    OpKind("ADD", (2, 2), ("left_shift", "input_multipliers", *_LINEAR), False, "broadcasting sum of two tensors"),
    OpKind("AVERAGE_POOL_2D", (1, 1), (*_WINDOW, "bounds"), False, "mean over valid cells, rounded as the type does"),
    OpKind("MAX_POOL_2D", (1, 1), (*_WINDOW, "bounds"), False, "maximum over valid cells, then the bounds"),
    OpKind("MEAN", (1, 1), ("axes", "keep_dims", *_LINEAR), False, "mean over axes, requantized"),
    OpKind("RESHAPE", (1, 1), (), False, "to the output tensor's shape"),
    OpKind("PAD", (1, 1), ("paddings",), False, "with the zero point; paddings ((before, after), ...) per axis"),
    OpKind("CONCATENATION", (1, 64), ("axis",), False, "along an axis; uint8 inputs are rescaled to the output"),
    OpKind("QUANTIZE", (1, 1), (), False, "integer to integer: requantized; float to integer: done by the data owner"),
    OpKind("DEQUANTIZE", (1, 1), (), True, "float32(scale * (q - zero_point)), after the reveal"),
    OpKind("SOFTMAX", (1, 1), ("beta",), True, "gemmlowp fixed point, after the reveal"),
    OpKind("RELU", (1, 1), _LINEAR, False, "requantized, lower bound at zero"),
    OpKind("RELU6", (1, 1), _LINEAR, False, "requantized, bounds at zero and six"),
)

BY_NAME: dict[str, OpKind] = {kind.name: kind for kind in OPS}
