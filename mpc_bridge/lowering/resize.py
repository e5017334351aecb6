"""RESIZE_BILINEAR: public proportions, so all of the mixing is local; one requantisation rounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mpc_bridge.circuit.interpolation import ONE, mixture
from mpc_bridge.lowering import moves
from mpc_bridge.lowering.builder import Builder
from mpc_bridge.lowering.constants import search
from mpc_bridge.lowering.program import Affine, Move
from mpc_bridge.lowering.thresholds import Ints, Rounding, find_thresholds


def lower_resize_bilinear(builder: Builder, index: int) -> None:
    """Up to four Moves, each to one of the cells around every position, Affine, Requantize; a Move where it copies.

    The proportions differ from position to position, so positions are put on the last axis. What all of them have in
    common is left out, which leaves few bits to requantise: enlarging by a power of two needs 16 to 256 parts.
    """
    circuit, op = builder.circuit, builder.circuit.ops[index]
    source = builder.stored(op.inputs[0])
    batch, height, width, channels = builder.values[source].shape
    shape = circuit.tensors[op.outputs[0]].shape
    corners, centers = (bool(op.attributes[name]) for name in ("align_corners", "half_pixel_centers"))
    rows, columns = (mixture(extent, shape[axis], corners, centers) for axis, extent in ((1, height), (2, width)))
    around: list[tuple[Ints, Ints, Ints]] = []
    for down, share in ((rows.lower, ONE - rows.share), (rows.upper, rows.share)):
        for across, part in ((columns.lower, ONE - columns.share), (columns.upper, columns.share)):
            weights = np.multiply.outer(share, part).reshape(-1)
            if weights.any():
                around.append((down, across, weights))
    if len(around) == 1:
        down, across, _ = around[0]
        output = builder.activation(index, builder.values[source].high)
        builder.steps.append(Move(
            index, op.name, (source,), output, "take",
            taken=(range(batch), tuple(down.tolist()), tuple(across.tolist()), range(channels))))
        builder.finish(index, output)
        return
    common = int(np.gcd.reduce(np.concatenate([weights for _, _, weights in around])))
    planes = moves.transposed(builder, index, source, (0, 3, 1, 2), (batch, channels, height, width))
    taken = [_seen(builder, index, planes, down, across) for down, across, _ in around]
    x = builder.values[source]
    rounding = half_away(common, x.offset, x.high)
    greatest = np.array([ONE**2 // common * x.high])
    thresholds = find_thresholds(rounding, x.offset, np.zeros_like(greatest), greatest)
    found = builder.proven(index, search(thresholds, -x.offset))
    acc = builder.accumulator(index, (batch * channels, shape[1] * shape[2]))
    coefficients = tuple(tuple((weights // common).tolist()) for _, _, weights in around)
    builder.steps.append(Affine(index, op.name, tuple(taken), acc, coefficients, ring=found.bits))
    mixed = builder.requantize(index, acc, found, None, (0, x.high), -x.offset, (batch, channels, *shape[1:3]))
    builder.finish(index, moves.transposed(builder, index, mixed, (0, 2, 3, 1), shape))


def _seen(builder: Builder, index: int, planes: int, down: Sequence[int] | Ints, across: Sequence[int] | Ints) -> int:
    """What every position sees at some row and column: ``[batch * channels, positions]``."""
    x = builder.values[planes]
    batch, channels = x.shape[:2]
    output = builder.new(replace(x, name=f"{x.name}/seen", shape=(batch * channels, len(down) * len(across))))
    taken = (range(batch), range(channels), tuple(int(i) for i in down), tuple(int(i) for i in across))
    builder.steps.append(Move(index, builder.circuit.ops[index].name, (planes,), output, "take", taken=taken))
    return output


def half_away(common: int, offset: int, high: int) -> Rounding:
    """``total / 2**20`` to the nearest integer, half away from zero, of ``total = common * acc + 2**20 * offset``.

    Args:
        common: what all proportions are multiples of; divides ``2**20``.
        offset: of the stored input and output.
        high: greatest stored integer of either.
    """
    whole = ONE**2

    def evaluate(acc: Ints, channel: Ints) -> Ints:
        total = common * acc + whole * offset
        return np.asarray(np.sign(total) * ((np.abs(total) + whole // 2) // whole), np.int64)

    origin = np.array([-offset * whole / common])
    return Rounding(evaluate, np.array([common / whole]), origin, 0, offset, offset + high)
