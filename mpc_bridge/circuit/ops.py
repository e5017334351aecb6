"""The one list of ops: what each kind is, which inputs it takes and which attributes it carries.

Importers emit these kinds, the verifier checks against this table, the reference interpreter, the lowering, the tests
and the support table iterate over it. Adding an op is one entry here plus one function in ``shapes``, ``reference`` and
``lowering``.

Activations are int8 or uint8, the same for all inputs and outputs of an op unless its entry says otherwise. Weights
have the activations' type, biases are int32, both are secret constants. An activation is quantized per tensor; int8
weights per tensor or per output channel with zero points 0; uint8 weights per tensor, with any zero point. An input of
an op with two may be a constant. With the rules ``"half_even"`` and ``"none"`` the types of input, weights and output
are independent of each other, and int8 and uint8 weights may be quantized per tensor or per output channel, with any
zero points.

float32 tensors are model inputs that a QUANTIZE reads (the data owner computes it), and what the receiver computes
after the reveal: outputs of a DEQUANTIZE, of the FLOAT kinds, and of the kinds in :data:`FLOAT_MOVES`, which take
float32 to float32 there; a QUANTIZE may read them too. int32 tensors that are not quantized are bare accumulators:
outputs of rule ``"none"``, which only a RESCALE reads. int64 tensors that are quantized are bare sums: outputs of a
RESCALE, which only a DEQUANTIZE reads. Neither may be an output of the model.

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
    ``"half_even"``
        ``clamp(rne(acc * multiplier) + zero_point)``: round half to even, on the exact product. The multiplier is a
        double with at most 31 significant bits (every float32 is one). Accumulators beyond ``±2**31`` saturate. MEAN
        and AVERAGE: of the exact rational ``sum * multiplier / count``.
    ``"none"``
        linear kinds only, ``("none", (), 0, 0)``: the output is the bare accumulator ``sum (x - zx)(w - zw)``, int32,
        not quantized; there is no bias.
    ``"float32_divide"``
        float QUANTIZE only: ``clamp(round_half_away(float32(x / multiplier)) + zero_point)``; ``multiplier`` is the
        output's float32 scale.
    ``"float32_divide_even"``
        as before, with half to even (ONNX).
    ``"float32_multiply_even"``
        float QUANTIZE only: ``clamp(rne(float32(x * multiplier)) + zero_point)``; ``multiplier`` is
        ``float32(1 / scale)`` (PyTorch).
``bounds``
    ``(low, high)``: activation bounds of the poolings, in the output's integer type.
``padding``
    ``((top, bottom), (left, right))`` cells, explicit. Padded cells contribute nothing (convolutions) or do not exist
    (poolings, where every window covers at least one cell of the image).
``stride``, ``dilation``, ``window``
    ``(rows, columns)``, each at least 1.
``axis``
    of the input (PACK: of the output), not negative.
``multipliers``, ``shift``, ``low``, ``high`` (RESCALE)
    ``z = sum_i multipliers[i][c] * (x_i - zero_point_i)``, terms broadcast by numpy's rules, c along the output's last
    axis, of extent C: an entry of ``multipliers`` is a tuple of 1 or C ints, ``|m| < 2**31``, negative ones too. A
    term is an int8 or uint8 activation, or a bare accumulator (zero point 0). The last input is the bias, int64 [C], a
    secret constant with ``|b| <= 2**61``, or -1. ``shift`` is in 0..62.

    An 8-bit output is, without a bias, ``clamp(rne(z / 2**shift) + zero_point)``, half to even on the exact value; with
    one ``clamp(((z + b + 2**(shift - 1)) >> shift) + zero_point)`` (shift 0: ``z + b``): b stands for a real bias whose
    floor it is, so that a remainder of exactly a half is a little more. ``low`` and ``high`` clamp, in the output's
    type. An int64 output is ``z + b``; shift, low and high are 0, and it is quantized per tensor or along its last axis
    with zero points 0.

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


#: What FLOAT_UNARY computes.
FLOAT_FUNCTIONS: tuple[str, ...] = ("abs", "exp", "hard_swish", "neg", "relu", "sigmoid", "silu", "sqrt", "tanh")

#: Kinds that may also move float32 after the reveal.
FLOAT_MOVES: tuple[str, ...] = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE", "SLICE", "STRIDED_SLICE", "SPLIT",
                                "SPLIT_V", "UNPACK", "TILE")

_LINEAR = ("requantization",)
_WINDOW = ("window", "stride", "padding")

OPS: tuple[OpKind, ...] = (
    # rules of all linear kinds: "mbqm", "half_even", "none"
    # x has G * I channels: in groups, the g-th of G equal parts of the output channels reads the g-th of x's
    OpKind("CONV_2D", (2, 3), ("stride", "dilation", "padding", *_LINEAR), False, "x NHWC, weights OHWI, bias int32"),
    # output channel o reads input channel o // depth_multiplier (an int, at least 1)
    OpKind("DEPTHWISE_CONV_2D", (2, 3), ("stride", "dilation", "padding", "depth_multiplier", *_LINEAR), False,
           "x NHWC, weights 1HWC, bias int32"),
    # also rule "float64_half_away". keep_num_dims (a bool): the output is x.shape[:-1] + (O,); otherwise x is read
    # as (elements / K, K) and the output is (elements / K, O), whatever x's own shape is
    OpKind("FULLY_CONNECTED", (2, 3), ("keep_num_dims", *_LINEAR), False, "x [..., K], weights [O, K], bias int32"),
    # input cell i adds to output cells i * stride - origin + kernel cell; rows and columns as the output's
    # shape says; origin (rows, columns): not negative, within the kernel
    OpKind("TRANSPOSE_CONV", (2, 3), ("stride", "origin", *_LINEAR), False, "x NHWC, weights OHWI, bias int32"),
    # left_shift: 20; input_multipliers: (s1 / T, s2 / T) with T = 2 * max(s1, s2), doubles in (0, 1);
    # requantization: rule "mbqm", one multiplier T / (2**20 * s_out) below 1. numpy broadcasting
    OpKind("ADD", (2, 2), ("left_shift", "input_multipliers", *_LINEAR), False, "broadcasting sum of two tensors"),
    # as ADD
    OpKind("SUB", (2, 2), ("left_shift", "input_multipliers", *_LINEAR), False, "broadcasting difference"),
    # rule "mbqm", multiplier float32(float32(s1 * s2) / s_out), or "half_even"; numpy broadcasting
    OpKind("MUL", (2, 2), _LINEAR, False, "broadcasting product of two tensors"),
    # adj_x, adj_y: bools, whether an operand's last two axes are read the other way round; leading axes broadcast.
    # rule "mbqm", multiplier float32(s1 * s2) / s_out, or "half_even"
    OpKind("BATCH_MATMUL", (2, 2), ("adj_x", "adj_y", *_LINEAR), False, "matrix products, x [..., M, K] y [..., K, N]"),
    # on raw integers: the zero points play no part
    OpKind("AVERAGE_POOL_2D", (1, 1), (*_WINDOW, "bounds"), False, "mean over valid cells, rounded as the type does"),
    OpKind("MAX_POOL_2D", (1, 1), (*_WINDOW, "bounds"), False, "maximum over valid cells, then the bounds"),
    # axes: ascending, not negative, not empty; keep_dims: a bool. rule "mbqm" with multiplier s_in / s_out, before the
    # framework folds the number of elements into it (QM first, then floor(q * 2**k / n): see reference); or rule
    # "half_even", with input and output of any two 8-bit types
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
    # as before; raw integers are mixed in 10 fractional bits (see interpolation) and rounded half away from zero
    OpKind("RESIZE_BILINEAR", (1, 1), ("align_corners", "half_pixel_centers"), False,
           "x NHWC, every cell mixed from the four around it"),
    # block: at least 1; channels are ordered by row in the block, column in the block, channel of the larger image
    OpKind("SPACE_TO_DEPTH", (1, 1), ("block",), False, "x NHWC, blocks of cells to channels"),
    OpKind("DEPTH_TO_SPACE", (1, 1), ("block",), False, "x NHWC, channels to blocks of cells"),
    # symmetric: a bool, whether the mirror repeats the cells at the border
    OpKind("MIRROR_PAD", (1, 1), ("paddings", "symmetric"), False, "with what a mirror at the border shows"),
    # filled with the output's zero point; raw integers are copied
    OpKind("PAD", (1, 1), ("paddings",), False, "with the zero point; paddings ((before, after), ...) per axis"),
    # axis: not negative; int8 inputs are quantized as the output is
    OpKind("CONCATENATION", (1, 64), ("axis",), False, "along an axis; uint8 inputs are rescaled to the output"),
    # int8 or uint8 to int8 or uint8: rule "mbqm" or "half_even", multiplier s_in / s_out; from float32: a float32 rule
    OpKind("QUANTIZE", (1, 1), _LINEAR, False, "integer to integer: requantized; float to integer: by the data owner"),
    # from int8, uint8, or an int64 sum
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
    # alpha broadcasts to x. Rule "mbqm", multiplier float32(s_in / s_out), or "half_even"; where x < zero_point,
    # alpha_multiplier by the same rule, not negative, below 2**30: float32(float32(s_in * s_alpha) / s_out)
    OpKind("PRELU", (2, 2), ("alpha_multiplier", *_LINEAR), False, "requantized, negative values times a tensor"),
    # multipliers: (float32(s_in / 128 / s_out), float32(s_in / 128 / float32(3 / 32768))), doubles from 2**-16 on, the
    # first below 1, the second below 2**30
    OpKind("HARD_SWISH", (1, 1), ("multipliers",), False, "x * relu6(x + 3) / 6 in 16-bit fixed point"),
    # the output has scale 1/256 and the type's lowest value as zero point
    OpKind("LOGISTIC", (1, 1), (), False, "1 / (1 + exp(-x)) in float32, rounded: a public table of 256 entries"),
    OpKind("TANH", (1, 1), (), False, "in float32, rounded: a public table of 256 entries"),
    # see above; 1 to 64 terms, then the bias. Inputs and output of any types
    OpKind("RESCALE", (2, 65), ("multipliers", "shift", "low", "high"), False,
           "sum of terms times integers, plus a bias; rounded once, half to even"),
    # table: 256 ints of the output's type, in the order of the input's values; input and output of any 8-bit types
    OpKind("TABLE", (1, 1), ("table",), False, "any function of one byte, tabulated by the importer"),
    # rule "half_even", multiplier s_in / s_out, of sum(x - zero_point) / count; input and output of any 8-bit types.
    # padding is the framework's own, and rows and columns are as the output's shape says: windows may hang over the end
    # of the padded image (ceil_mode), and the cells beyond it do not exist. A padded cell contributes nothing; it is
    # counted with count_include_pad (a bool). divisor: the count, or 0 for the number of cells counted
    OpKind("AVERAGE", (1, 1), (*_WINDOW, "count_include_pad", "divisor", *_LINEAR), False,
           "x NHWC, mean over windows, requantized half to even"),
    # float32 to float32; log: a bool
    OpKind("FLOAT_SOFTMAX", (1, 1), ("axis", "log"), True, "softmax or its logarithm in float32, after the reveal"),
    # float32 to float32; function: one of FLOAT_FUNCTIONS
    OpKind("FLOAT_UNARY", (1, 1), ("function",), True, "an elementwise function in float32, after the reveal"),
)

BY_NAME: dict[str, OpKind] = {kind.name: kind for kind in OPS}

#: Kinds with weights as input 1 and an optional bias as input 2; the weights' axis of output channels.
LINEAR_AXIS: dict[str, int] = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0, "TRANSPOSE_CONV": 0}

#: Rules of a QUANTIZE that reads float32.
FLOAT_RULES: tuple[str, ...] = ("float32_divide", "float32_divide_even", "float32_multiply_even")

#: What a ``requantization`` may name, with the kinds that may name it.
RULES: dict[str, tuple[str, ...]] = {
    "mbqm": (*LINEAR_AXIS, "ADD", "SUB", "MEAN", "QUANTIZE", "RELU", "RELU6", "RELU_N1_TO_1", "LEAKY_RELU",
             "MUL", "BATCH_MATMUL", "PRELU"),
    "half_even": (*LINEAR_AXIS, "MEAN", "AVERAGE", "QUANTIZE", "MUL", "BATCH_MATMUL", "PRELU"),
    "none": tuple(LINEAR_AXIS),
    "float64_half_away": ("FULLY_CONNECTED",),
    **{rule: ("QUANTIZE",) for rule in FLOAT_RULES},
}
