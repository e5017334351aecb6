"""Convolutions and matrix products: their geometry, the public bound on their accumulators, and their thresholds.

The accumulator is ``S + b`` with ``|S| <= D``, where D comes from the fan-in and the types alone. A bias beyond every
threshold by more than D makes its channel constant, and so does the nearest bias that is beyond them by D only; the
model's owner shares that one instead (:mod:`mpc_bridge.lowering.canonical`). So every accumulator lies within 2 D of
the channel's thresholds, whatever the weights, and that is the bound all constants are proved for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from mpc_bridge.circuit.graph import INTEGER_RANGES, Circuit, Op
from mpc_bridge.circuit.ops import LINEAR_AXIS
from mpc_bridge.circuit.reference.operands import zero_point
from mpc_bridge.lowering.program import Geometry, Value
from mpc_bridge.lowering.thresholds import INT32_REACH, Ints, Thresholds, find_thresholds, multiplied

Pair = tuple[int, int]


@dataclass(frozen=True)
class Bounded:
    """Thresholds of the distinct channels of one layer, on every accumulator that can occur.

    Attributes:
        thresholds: of the distinct multipliers.
        channel: int64 [O]: which row of ``thresholds`` each output channel is.
        bias: int64 [R], [R]: least and greatest bias worth sharing, per row; None when the layer's bias is shared as it
            is.
    """

    thresholds: Thresholds
    channel: npt.NDArray[np.intp]
    bias: tuple[Ints, Ints] | None


def geometry(circuit: Circuit, op: Op) -> tuple[Geometry, bool]:
    """The convolution an op is, and whether it is depthwise."""
    x, w, out = (circuit.tensors[index].shape for index in (op.inputs[0], op.inputs[1], op.outputs[0]))
    if op.kind == "FULLY_CONNECTED":
        channels, depth = w
        return Geometry(int(np.prod(x, dtype=np.int64)) // depth, 1, 1, depth, 1, 1, channels), False
    if op.kind == "TRANSPOSE_CONV":
        # an ordinary convolution with the kernel turned by 180 degrees, on an image with zeros between its cells
        rows, columns = cast(Pair, op.attributes["stride"])
        top, left = cast(Pair, op.attributes["origin"])
        return Geometry(
            x[0], x[1] * rows, x[2] * columns, x[3], out[1], out[2], out[3], (w[1], w[2]),
            pad_top=w[1] - 1 - top, pad_left=w[2] - 1 - left,
        ), False
    (top, _), (left, _) = cast("tuple[Pair, Pair]", op.attributes["padding"])
    kernel = (w[1], w[2])
    if groups(circuit, op) > 1:
        # the channels of a group side by side, as columns, leave one channel per group: a depthwise convolution, whose
        # kernel has zeros between columns that the dilation keeps apart
        (down, across), (below, beside), depth = (
            cast(Pair, op.attributes["stride"]), cast(Pair, op.attributes["dilation"]), w[3])
        return Geometry(
            x[0], x[1], x[2] * depth, x[3] // depth, out[1], out[2], out[3],
            (w[1], ((w[2] - 1) * beside + 1) * depth), (down, across * depth), (below, 1), top, left * depth,
        ), True
    return Geometry(
        x[0], x[1], x[2], x[3], out[1], out[2], out[3], kernel, cast(Pair, op.attributes["stride"]),
        cast(Pair, op.attributes["dilation"]), top, left,
    ), op.kind == "DEPTHWISE_CONV_2D"


def groups(circuit: Circuit, op: Op) -> int:
    """In how many groups a convolution reads its input's channels."""
    if op.kind != "CONV_2D":
        return 1
    return circuit.tensors[op.inputs[0]].shape[3] // circuit.tensors[op.inputs[1]].shape[3]


def fan_in(circuit: Circuit, op: Op) -> int:
    """Products summed into one accumulator."""
    shape = circuit.tensors[op.inputs[1]].shape
    if op.kind == "FULLY_CONNECTED":
        return shape[1]
    return shape[1] * shape[2] * (1 if op.kind == "DEPTHWISE_CONV_2D" else shape[3])


def weight_zeros(circuit: Circuit, op: Op) -> Ints:
    """The weights' zero points, int64, one or one per channel, in a shape that broadcasts to the weights'."""
    tensor = circuit.tensors[op.inputs[1]]
    assert tensor.quantization is not None, "verified weights are quantized"
    zeros = np.array(tensor.quantization.zero_point, np.int64)
    shape = [1] * len(tensor.shape)
    shape[LINEAR_AXIS[op.kind]] = zeros.size
    return zeros.reshape(shape)


def weight_limits(circuit: Circuit, op: Op) -> tuple[int, int]:
    """Least and greatest weight less its zero point, from its type alone."""
    zeros = weight_zeros(circuit, op)
    low, high = INTEGER_RANGES[circuit.tensors[op.inputs[1]].dtype]
    return low - int(zeros.max()), high - int(zeros.min())


def bias_tensor(op: Op) -> int:
    """Tensor index of the bias, -1 without one."""
    return op.inputs[2] if len(op.inputs) > 2 else -1


def reach(circuit: Circuit, op: Op, x: Value) -> int:
    """Greatest magnitude of a sum of products without bias, from public facts alone.

    Args:
        x: the stored input.
    """
    zero = zero_point(circuit.tensors[op.inputs[0]]) - x.offset
    return fan_in(circuit, op) * max(abs(zero), abs(x.high - zero)) * max(map(abs, weight_limits(circuit, op)))


def bound(circuit: Circuit, op: Op, x: Value, base: int) -> Bounded:
    """Thresholds and accumulator bounds of a linear op, from public facts alone.

    Args:
        x: the stored input.
        base: offset of the stored output.
    """
    rule, multipliers, low, high = cast("tuple[str, tuple[float, ...], int, int]", op.attributes["requantization"])
    distinct, channel = np.unique(np.array(multipliers, np.float64), return_inverse=True)
    channels = circuit.tensors[op.outputs[0]].shape[-1]
    channel = np.broadcast_to(channel.reshape(-1), (channels,))
    furthest = reach(circuit, op, x)
    rounding = multiplied(distinct, rule, zero_point(circuit.tensors[op.outputs[0]]), low, high)
    bias = bias_tensor(op)
    if bias < 0:
        ends = np.full(len(distinct), furthest, np.int64)
        return Bounded(find_thresholds(rounding, base, -ends, ends), channel, None)
    ends = np.full(len(distinct), INT32_REACH, np.int64)
    thresholds = find_thresholds(rounding, base, -ends, ends)
    users = sum(bias in other.inputs for other in circuit.ops)
    if users > 1:
        # one array serves several layers, so it cannot be fitted to each
        return Bounded(thresholds.within(-ends - 1 - furthest, ends + furthest), channel, None)
    fitted, first, last = with_bias(thresholds, furthest)
    return Bounded(fitted, channel, (first, last))


def with_bias(thresholds: Thresholds, reach: int) -> tuple[Thresholds, Ints, Ints]:
    """Thresholds of ``S + b`` with ``|S| <= reach``, and per channel the least and greatest b worth sharing.

    A b beyond those makes the output constant, and so does the end it is beyond.
    """
    real = thresholds.reached & thresholds.missed
    constant = ~real.any(axis=1)
    step = np.where(real, thresholds.at, INT32_REACH).min(axis=1, initial=INT32_REACH)
    first = np.where(constant, 0, step - 1 - reach)
    step = np.where(real, thresholds.at, -INT32_REACH).max(axis=1, initial=-INT32_REACH)
    last = np.where(constant, 0, step + reach)
    return thresholds.within(first - reach, last + reach), first, last
