"""One function per op kind: the steps it becomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

import numpy as np

from mpc_bridge.circuit.fixedpoint import exact_ratio
from mpc_bridge.circuit.graph import Op
from mpc_bridge.circuit.reference.operands import zero_point
from mpc_bridge.circuit.reference.pooling import average_counts
from mpc_bridge.errors import UnsupportedModelError
from mpc_bridge.lowering import extremes, moves, products
from mpc_bridge.lowering.add import lower_add
from mpc_bridge.lowering.builder import Builder
from mpc_bridge.lowering.byte_functions import byte_function, lower_elementwise
from mpc_bridge.lowering.constants import search, tie_of
from mpc_bridge.lowering.convolutions import lower_linear
from mpc_bridge.lowering.program import Affine, Geometry, Maximum, Move
from mpc_bridge.lowering.rescale import lower_rescale
from mpc_bridge.lowering.resize import lower_resize_bilinear
from mpc_bridge.lowering.tables import byte_table, is_copy
from mpc_bridge.lowering.thresholds import (
    Ints,
    Rounding,
    average,
    find_thresholds,
    mean,
    rational,
)

Pair = tuple[int, int]

#: Numbers of cells that the windows of one average may have: each has constants of its own, which take time to find.
MAX_COUNTS = 1024


def lower_average_pool(builder: Builder, index: int) -> None:
    """AVERAGE_POOL_2D: sums over windows, Requantize; windows with fewer cells have their own constants."""
    circuit, op = builder.circuit, builder.circuit.ops[index]
    window = _window(builder, op)
    counts = np.multiply.outer(
        _valid(window.in_height, window.out_height, window.kernel[0], window.stride[0], window.pad_top),
        _valid(window.in_width, window.out_width, window.kernel[1], window.stride[1], window.pad_left),
    )
    distinct, rows = np.unique(counts, return_inverse=True)
    x = builder.values[builder.stored(op.inputs[0])]
    low, high = cast(Pair, op.attributes["bounds"])
    rounding = average(distinct, x.offset, circuit.tensors[op.inputs[0]].dtype == "int8", low, high)
    _windows(builder, index, rounding, "", distinct * x.high, window, rows)


def lower_average(builder: Builder, index: int) -> None:
    """AVERAGE: sums over windows, Requantize; every number of cells inside the image, and counted, has constants."""
    circuit, op = builder.circuit, builder.circuit.ops[index]
    window = _window(builder, op)
    cells = np.multiply.outer(
        _valid(window.in_height, window.out_height, window.kernel[0], window.stride[0], window.pad_top),
        _valid(window.in_width, window.out_width, window.kernel[1], window.stride[1], window.pad_left),
    )
    counted = average_counts(op, circuit.tensors[op.inputs[0]].shape, circuit.tensors[op.outputs[0]].shape)
    pairs, rows = np.unique(np.stack([cells.reshape(-1), counted.reshape(-1)]), axis=1, return_inverse=True)
    x = builder.values[builder.stored(op.inputs[0])]
    rule, (multiplier,), low, high = cast("tuple[str, tuple[float], int, int]", op.attributes["requantization"])
    ratios = np.array([exact_ratio(multiplier, int(count)) for count in pairs[1]], np.int64)
    shifts = pairs[0] * (x.offset - zero_point(circuit.tensors[op.inputs[0]]))
    zero = zero_point(circuit.tensors[op.outputs[0]])
    rounding = rational(ratios[:, 0], ratios[:, 1], zero, low, high, shifts)
    _windows(builder, index, rounding, rule, pairs[0] * x.high, window, rows)


def _windows(
    builder: Builder, index: int, rounding: Rounding, rule: str, greatest: Ints, window: Geometry, rows: Ints
) -> None:
    """Sums over windows of several kinds, one function per kind; ``rows`` says the kind of each position.

    Raises:
        UnsupportedModelError: more kinds than :data:`MAX_COUNTS`.
    """
    if len(greatest) > MAX_COUNTS:
        raise UnsupportedModelError(
            f"an average whose windows hold {len(greatest)} different numbers of cells",
            where=f"op {builder.circuit.ops[index].name}",
            hint=f"at most {MAX_COUNTS} are supported: use smaller windows or less padding",
        )
    shape = builder.circuit.tensors[builder.circuit.ops[index].outputs[0]].shape
    per_position = None
    if len(greatest) > 1:
        # one "channel" per position and channel, images staying apart
        shape = (window.batch, window.out_height * window.out_width * window.out_channels)
        per_position = np.repeat(rows.reshape(-1), window.out_channels)
    _sum_and_round(builder, index, rounding, rule, greatest, shape, per_position, geometry=window)


def lower_mean(builder: Builder, index: int) -> None:
    """MEAN: sums over axes, Requantize."""
    circuit, op = builder.circuit, builder.circuit.ops[index]
    axes = cast("tuple[int, ...]", op.attributes["axes"])
    rule, (multiplier,), low, high = cast("tuple[str, tuple[float], int, int]", op.attributes["requantization"])
    source, target = circuit.tensors[op.inputs[0]], circuit.tensors[op.outputs[0]]
    count = int(np.prod([source.shape[axis] for axis in axes], dtype=np.int64))
    x = builder.values[builder.stored(op.inputs[0])]
    shift = count * (x.offset - zero_point(source))
    if rule == "half_even":
        ratio = np.array([exact_ratio(multiplier, count)], np.int64)
        rounding = rational(ratio[:, 0], ratio[:, 1], zero_point(target), low, high, np.array([shift], np.int64))
    else:
        rounding = mean(multiplier, count, shift, zero_point(target), low, high)
    _sum_and_round(builder, index, rounding, rule, np.array([count * x.high]), target.shape, None, axes=axes)


def _sum_and_round(
    builder: Builder, index: int, rounding: Rounding, rule: str, greatest: Ints, shape: tuple[int, ...],
    rows: Ints | None, geometry: Geometry | None = None, axes: tuple[int, ...] = (),
) -> None:
    op = builder.circuit.ops[index]
    base = builder.offsets[op.outputs[0]]
    tie = tie_of(rule, rounding.zero_point - base)
    thresholds = find_thresholds(rounding, base, np.zeros_like(greatest), greatest)
    found = builder.proven(index, search(thresholds, tie))
    acc = builder.accumulator(index, shape)
    builder.steps.append(Affine(
        index, op.name, (builder.stored(op.inputs[0]),), acc, geometry=geometry, axes=axes, ring=found.bits
    ))
    chosen = None if rows is None else rows.tolist()
    bounds = (rounding.low - base, rounding.high - base)
    builder.finish(index, builder.requantize(index, acc, found, chosen, bounds, tie))


def lower_max_pool(builder: Builder, index: int) -> None:
    """MAX_POOL_2D: Maximum with the bounds; a bound that no element reaches is left out."""
    op = builder.circuit.ops[index]
    source = builder.stored(op.inputs[0])
    offset = builder.offsets[op.outputs[0]]
    low, high = (bound - offset for bound in cast(Pair, op.attributes["bounds"]))
    low, most = max(low, 0), builder.values[source].high
    output = builder.activation(index, max(min(most, high), low))
    builder.steps.append(Maximum(
        index, op.name, (source,), output, _window(builder, op), low=low, high=255 if most <= high else high
    ))
    builder.finish(index, output)


def lower_concatenation(builder: Builder, index: int) -> None:
    """CONCATENATION: Move, after inputs of another quantization have been rescaled."""
    circuit, op = builder.circuit, builder.circuit.ops[index]
    parts = []
    for position, tensor in enumerate(op.inputs):
        source = builder.stored(tensor)
        if not is_copy(circuit, op, position):
            source = byte_function(builder, index, source, byte_table(circuit, op, position), tensor)
        parts.append(source)
    output = builder.activation(index, max(builder.values[part].high for part in parts))
    axis = cast(int, op.attributes["axis"])
    builder.steps.append(Move(index, op.name, tuple(parts), output, "concatenate", axis=axis))
    builder.finish(index, output)


def _window(builder: Builder, op: Op) -> Geometry:
    x, out = (builder.circuit.tensors[tensor].shape for tensor in (op.inputs[0], op.outputs[0]))
    (top, _), (left, _) = cast("tuple[Pair, Pair]", op.attributes["padding"])
    return Geometry(
        x[0], x[1], x[2], x[3], out[1], out[2], out[3], cast(Pair, op.attributes["window"]),
        cast(Pair, op.attributes["stride"]), (1, 1), top, left,
    )


def _valid(size: int, positions: int, window: int, stride: int, before: int) -> Ints:
    """Cells of the image that each window covers, along one axis."""
    start = np.arange(positions, dtype=np.int64) * stride - before
    return np.minimum(start + window, size) - np.maximum(start, 0)


LOWERINGS: Mapping[str, Callable[[Builder, int], None]] = {
    "CONV_2D": lower_linear,
    "DEPTHWISE_CONV_2D": lower_linear,
    "FULLY_CONNECTED": lower_linear,
    "TRANSPOSE_CONV": lower_linear,
    "ADD": lower_add,
    "SUB": lower_add,
    "MUL": products.lower_mul,
    "BATCH_MATMUL": products.lower_batch_matmul,
    "MAXIMUM": extremes.lower_pair,
    "MINIMUM": extremes.lower_pair,
    "ARG_MAX": extremes.lower_arg_max,
    "REDUCE_MAX": extremes.lower_reduce,
    "REDUCE_MIN": extremes.lower_reduce,
    "AVERAGE": lower_average,
    "AVERAGE_POOL_2D": lower_average_pool,
    "MAX_POOL_2D": lower_max_pool,
    "MEAN": lower_mean,
    "RESHAPE": moves.lower_reshape,
    "SQUEEZE": moves.lower_reshape,
    "EXPAND_DIMS": moves.lower_reshape,
    "TRANSPOSE": moves.lower_transpose,
    "SLICE": moves.lower_take,
    "STRIDED_SLICE": moves.lower_take,
    "SPLIT": moves.lower_take,
    "SPLIT_V": moves.lower_take,
    "UNPACK": moves.lower_take,
    "PACK": moves.lower_pack,
    "TILE": moves.lower_take,
    "RESIZE_NEAREST_NEIGHBOR": moves.lower_take,
    "RESIZE_BILINEAR": lower_resize_bilinear,
    "SPACE_TO_DEPTH": moves.lower_blocks,
    "DEPTH_TO_SPACE": moves.lower_blocks,
    "MIRROR_PAD": moves.lower_take,
    "PAD": moves.lower_pad,
    "CONCATENATION": lower_concatenation,
    "QUANTIZE": lower_elementwise,
    "RESCALE": lower_rescale,
    "TABLE": lower_elementwise,
    "RELU": lower_elementwise,
    "RELU6": lower_elementwise,
    "RELU_N1_TO_1": lower_elementwise,
    "LEAKY_RELU": lower_elementwise,
    "PRELU": products.lower_prelu,
    "HARD_SWISH": lower_elementwise,
    "LOGISTIC": lower_elementwise,
    "TANH": lower_elementwise,
}
