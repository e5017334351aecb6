"""The one list of ops: what each kind is, which inputs it takes and which attributes it carries.

Importers emit these kinds, the verifier checks against this table, the reference interpreter, the lowering, the tests
and the support table iterate over it. Adding an op is one entry here plus one function in ``shapes``, ``reference`` and
``lowering``.

Activations are int8 or uint8, the same for all inputs and outputs of an op unless its entry says otherwise; float32 is
only the input of a QUANTIZE that reads a model input, and the output of a DEQUANTIZE. Weights have the activations'
type, biases are int32, both are secret constants. An activation is quantized per tensor; int8 weights per tensor or per
output channel with zero points 0; uint8 weights per tensor, with any zero point. An input of an op with two may be a
constant.

Attributes shared by several kinds (tuples, never lists; ``int`` and ``float`` are not interchanged):

``requantization``
    ``(rule, multipliers, low, high)``: how the accumulator becomes the output. ``multipliers`` is a tuple of doubles,
    one per output channel where the weights are quantized per channel (one for all otherwise), finite, positive and
    below ``2**30``, computed by the importer with the framework's own float arithmetic.
    ``low`` and ``high`` are the activation bounds in the output's integer type. Rules:

    ``"mbqm"``
        ``clamp(MBQM(acc, QM(multiplier)) + zero_point)``: TFLite's double rounding.
    ``"float64_half_away"``
        ``clamp(round_half_away(float64(acc) * multiplier) + zero_point)``, with ``multiplier = s_in * s_w / s_out`` in
        float64.
    ``"float32_divide"``
        float QUANTIZE only: ``clamp(round_half_away(float32(x / multiplier)) + zero_point)``; ``multiplier`` is the
        output's float32 scale.
``bounds``
    ``(low, high)``: activation bounds of the poolings, in the output's integer type.
``padding``
    ``((top, bottom), (left, right))`` cells, explicit. Padded cells contribute nothing (convolutions) or do not exist
    (poolings, where every window covers at least one cell of the image).
``stride``, ``dilation``, ``window``
    ``(rows, columns)``, each at least 1.
``axis``
    of the input (PACK: of the output), not negative.

Ops that only move elements copy raw integers, whatever the tensors' scales say. An op of a framework with several
outputs (SPLIT, SPLIT_V, UNPACK) is one op here per output.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class OpKind:
    """One row of the op list.

    Attributes:
        name: the TFLite built-in name; other importers map onto it.
        inputs: least and greatest number of tensor inputs (``-1`` inputs counted).
        attributes: names that must all be present, and no others.
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
    # rule "mbqm"
    OpKind("CONV_2D", (2, 3), ("stride", "dilation", "padding", *_LINEAR), False, "x NHWC, weights OHWI, bias int32"),
    # rule "mbqm"; output channel o reads input channel o // depth_multiplier (an int, at least 1)
    OpKind("DEPTHWISE_CONV_2D", (2, 3), ("stride", "dilation", "padding", "depth_multiplier", *_LINEAR), False,
           "x NHWC, weights 1HWC, bias int32"),
    # rule "mbqm" or "float64_half_away". keep_num_dims (a bool): the output is x.shape[:-1] + (O,); otherwise x is read
    # as (elements / K, K) and the output is (elements / K, O), whatever x's own shape is
    OpKind("FULLY_CONNECTED", (2, 3), ("keep_num_dims", *_LINEAR), False, "x [..., K], weights [O, K], bias int32"),
    # rule "mbqm"; input cell i adds to output cells i * stride - origin + kernel cell; rows and columns as the output's
    # shape says; origin (rows, columns): not negative, within the kernel
    OpKind("TRANSPOSE_CONV", (2, 3), ("stride", "origin", *_LINEAR), False, "x NHWC, weights OHWI, bias int32"),
    # left_shift: 20; input_multipliers: (s1 / T, s2 / T) with T = 2 * max(s1, s2), doubles in (0, 1);
    # requantization: rule "mbqm", one multiplier T / (2**20 * s_out) below 1. numpy broadcasting
    OpKind("ADD", (2, 2), ("left_shift", "input_multipliers", *_LINEAR), False, "broadcasting sum of two tensors"),
    # as ADD
    OpKind("SUB", (2, 2), ("left_shift", "input_multipliers", *_LINEAR), False, "broadcasting difference"),
    # on raw integers: the zero points play no part
    OpKind("AVERAGE_POOL_2D", (1, 1), (*_WINDOW, "bounds"), False, "mean over valid cells, rounded as the type does"),
    OpKind("MAX_POOL_2D", (1, 1), (*_WINDOW, "bounds"), False, "maximum over valid cells, then the bounds"),
    # axes: ascending, not negative, not empty; keep_dims: a bool. rule "mbqm" with multiplier s_in / s_out, before the
    # framework folds the number of elements into it (QM first, then floor(q * 2**k / n): see reference)
    OpKind("MEAN", (1, 1), ("axes", "keep_dims", *_LINEAR), False, "mean over axes, requantized"),
    # raw integers are compared, whatever the tensors' scales say
    OpKind("MAXIMUM", (2, 2), (), False, "broadcasting maximum of two tensors"),
    OpKind("MINIMUM", (2, 2), (), False, "broadcasting minimum of two tensors"),
    # axes, keep_dims: as MEAN
    OpKind("REDUCE_MAX", (1, 1), ("axes", "keep_dims"), False, "maximum over axes"),
    OpKind("REDUCE_MIN", (1, 1), ("axes", "keep_dims"), False, "minimum over axes"),
    # int32 or int64, not quantized, which only the model's outputs may be; ties go to the lowest index
    OpKind("ARG_MAX", (1, 1), ("axis",), False, "index of the greatest along an axis; a model's last op only"),
    OpKind("RESHAPE", (1, 1), (), False, "to the output tensor's shape"),
    OpKind("SQUEEZE", (1, 1), (), False, "to the output tensor's shape: axes of extent 1 left out"),
    OpKind("EXPAND_DIMS", (1, 1), (), False, "to the output tensor's shape: an axis of extent 1 put in"),
    # output axis i is input axis permutation[i]
    OpKind("TRANSPOSE", (1, 1), ("permutation",), False, "axes in another order"),
    # begin, size: one entry per axis
    OpKind("SLICE", (1, 1), ("begin", "size"), False, "a box of the input"),
    # begin, size, strides: one entry per axis of the input, strides not 0
    # dropped: axes (ascending) of size 1 that the output does not have
    OpKind("STRIDED_SLICE", (1, 1), ("begin", "size", "strides", "dropped"), False, "a box of the input, with steps"),
    OpKind("SPLIT", (1, 1), ("axis", "start", "extent"), False, "one of several equal parts along an axis"),
    OpKind("SPLIT_V", (1, 1), ("axis", "start", "extent"), False, "one of several parts along an axis"),
    OpKind("UNPACK", (1, 1), ("axis", "start"), False, "one position along an axis, which the output does not have"),
    OpKind("PACK", (1, 64), ("axis",), False, "equal shapes side by side along a new axis"),
    OpKind("TILE", (1, 1), ("multiples",), False, "repeated along its axes; multiples: one entry per axis"),
    # align_corners, half_pixel_centers: bools; rows and columns as the output's shape says
    OpKind("RESIZE_NEAREST_NEIGHBOR", (1, 1), ("align_corners", "half_pixel_centers"), False,
           "x NHWC, rows and columns repeated or left out"),
    # block: at least 1; channels are ordered by row in the block, column in the block, channel of the larger image
    OpKind("SPACE_TO_DEPTH", (1, 1), ("block",), False, "x NHWC, blocks of cells to channels"),
    OpKind("DEPTH_TO_SPACE", (1, 1), ("block",), False, "x NHWC, channels to blocks of cells"),
    # symmetric: a bool, whether the mirror repeats the cells at the border
    OpKind("MIRROR_PAD", (1, 1), ("paddings", "symmetric"), False, "with what a mirror at the border shows"),
    # filled with the output's zero point; raw integers are copied
    OpKind("PAD", (1, 1), ("paddings",), False, "with the zero point; paddings ((before, after), ...) per axis"),
    # axis: not negative; int8 inputs are quantized as the output is
    OpKind("CONCATENATION", (1, 64), ("axis",), False, "along an axis; uint8 inputs are rescaled to the output"),
    # int8 or uint8 to int8 or uint8: rule "mbqm", multiplier s_in / s_out; from float32: rule "float32_divide"
    OpKind("QUANTIZE", (1, 1), _LINEAR, False, "integer to integer: requantized; float to integer: by the data owner"),
    OpKind("DEQUANTIZE", (1, 1), (), True, "float32(scale * (q - zero_point)), after the reveal"),
    # beta: a float32 as double, positive; the output has scale 1/256 and the type's lowest value as zero point
    OpKind("SOFTMAX", (1, 1), ("beta",), True, "gemmlowp fixed point along the last axis, after the reveal"),
    # rule "mbqm", multiplier float32(s_in / s_out); the bounds as requantization's
    OpKind("RELU", (1, 1), _LINEAR, False, "requantized, lower bound at zero"),
    OpKind("RELU6", (1, 1), _LINEAR, False, "requantized, bounds at zero and six"),
    OpKind("RELU_N1_TO_1", (1, 1), _LINEAR, False, "requantized, bounds at minus one and one"),
    # rule "mbqm", multiplier float32(s_in / s_out); where x < zero_point, alpha_multiplier, not negative,
    # below 2**30: float32(s_in * alpha / s_out)
    OpKind("LEAKY_RELU", (1, 1), ("alpha_multiplier", *_LINEAR), False, "requantized, negative values times alpha"),
    # multipliers: (float32(s_in / 128 / s_out), float32(s_in / 128 / float32(3 / 32768))), doubles from 2**-16 on, the
    # first below 1, the second below 2**30
    OpKind("HARD_SWISH", (1, 1), ("multipliers",), False, "x * relu6(x + 3) / 6 in 16-bit fixed point"),
    # the output has scale 1/256 and the type's lowest value as zero point
    OpKind("LOGISTIC", (1, 1), (), False, "1 / (1 + exp(-x)) in float32, rounded: a public table of 256 entries"),
    OpKind("TANH", (1, 1), (), False, "in float32, rounded: a public table of 256 entries"),
)

BY_NAME: dict[str, OpKind] = {kind.name: kind for kind in OPS}

#: What a ``requantization`` may name, with the kinds that may name it.
RULES: dict[str, tuple[str, ...]] = {
    "mbqm": ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "ADD", "SUB", "MEAN", "QUANTIZE",
             "RELU", "RELU6", "RELU_N1_TO_1", "LEAKY_RELU"),
    "float64_half_away": ("FULLY_CONNECTED",),
    "float32_divide": ("QUANTIZE",),
}
