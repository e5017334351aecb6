"""Small programs for the adversary: every primitive, several rings, and no bit of a message that nobody uses.

Tensors have 24 elements where they can, three full bytes of lanes; rings are such that ``k + sigma`` is a whole number
of bytes.
"""

from __future__ import annotations

import numpy as np

from mpc_bridge.lowering.program import Affine, Geometry, Linear, Lookup, Maximum, Move, Requantize, TieRule
from mpc_bridge.testing.conformance import Builder, Case

_SHAPE = (1, 2, 3, 4)


def _requantize(
    b: Builder,
    acc: int,
    name: str,
    ring: int,
    *,
    to: int = 0,
    bits: bool = True,
    tie: bool = False,
    parity: int | None = None,
) -> int:
    """Keeps bits 9..16 of the accumulator."""
    size = b.values[acc].shape
    deltas = tuple(int(v) << 5 for v in b.rng.integers(0, 16, 4)) if tie else ()
    rule = TieRule(5, 120 if parity is None else 0, deltas, parity) if tie else None
    out = b.activation(size, to, bits)
    multiplier = tuple(int(v) for v in b.rng.integers(1, 4, 4))
    return b.add(Requantize(0, name, (acc,), out, multiplier, (700, -3, 0, 90), 9, ring, 0, 255, rule))


def convolutions() -> Case:
    """A convolution with a bias in a ring of 28 bits, a depthwise one in 36; a tie."""
    b = Builder(np.random.default_rng(1))
    x = b.input((1, 2, 3, 2), 28)
    w, bias = b.weight((4, 1, 3, 2), 28, -128, 127), b.weight((4,), 28, -(2**15), 2**15)
    g = Geometry(1, 2, 3, 2, 2, 3, 4, (1, 3), (1, 1), (1, 1), 0, 1)
    acc = b.add(Linear(0, "conv", (x, w, bias), b.accumulator(_SHAPE, 28), g, False, 77, 28))
    y = _requantize(b, acc, "tie", 28, to=36, bits=False, tie=True)
    filters = b.weight((3, 1, 4), 36, -128, 127)
    g = Geometry(1, 2, 3, 4, 2, 3, 4, (3, 1), (1, 1), (1, 1), 1, 0)
    acc = b.add(Linear(0, "depthwise", (y, filters), b.accumulator(_SHAPE, 36), g, True, 3, 36))
    return b.finish("convolutions", _requantize(b, acc, "last", 36))


def sums() -> Case:
    """Additions and moves in rings of 44 and 60 bits, both forms of a value at once, no product."""
    b = Builder(np.random.default_rng(2))
    x, y = b.input(_SHAPE, 44, True), b.input((4,), 44)
    acc = b.add(Affine(0, "add", (x, y), b.accumulator(_SHAPE, 44), (300, -20), 5, ring=44))
    total = _requantize(b, acc, "both", 44, to=60)
    paddings = ((0, 0), (1, 1), (0, 0), (0, 0))
    padded = b.add(Move(0, "pad", (total,), b.activation((1, 4, 3, 4), 60), "pad", paddings, fill=100))
    window = Geometry(1, 4, 3, 4, 2, 3, 4, (2, 1), (2, 1))
    pooled = b.add(Affine(0, "pool", (padded,), b.accumulator(_SHAPE, 60), (150,), 11, window, ring=60))
    last = _requantize(b, pooled, "last", 60)
    joined = b.add(Move(0, "join", (x, last), b.activation((1, 2, 3, 8)), "concatenate", axis=3))
    return b.finish("sums", joined)


def comparisons() -> Case:
    """A pool's maximum with a clamp, a table, back into a ring, an arg-max."""
    b = Builder(np.random.default_rng(3))
    x = b.input((1, 4, 3, 4), 0, True)
    g = Geometry(1, 4, 3, 4, 2, 3, 4, (2, 1), (2, 1))
    pooled = b.add(Maximum(0, "maximum", (x,), b.activation(_SHAPE), g, False, 20, 180))
    table = tuple(int(v) for v in b.rng.integers(0, 256, 256))
    looked = b.add(Lookup(0, "lookup", (pooled,), b.activation(_SHAPE, 28), table))
    acc = b.add(Affine(0, "scale", (looked,), b.accumulator(_SHAPE, 28), (200,), 0, ring=28))
    y = _requantize(b, acc, "requantize", 28)
    rows = b.add(Move(0, "rows", (y,), b.activation((8, 3)), "reshape"))
    return b.finish("comparisons", b.add(Maximum(0, "argmax", (rows,), b.activation((8,), 0, True, 2), None, True)))


def products() -> Case:
    """Products of two computed values, element by element and dense; half to even; a sum with a wide bias, shown.

    The sum has a coefficient per channel, and its bias enters in 43 bits.
    """
    b = Builder(np.random.default_rng(4))
    x, y = b.input(_SHAPE, 28), b.input(_SHAPE, 28)
    each = Geometry(1, 1, 1, 24, 1, 1, 24)
    acc = b.add(Linear(0, "gate", (x, y), b.accumulator(_SHAPE, 28), each, True, 77, 28, 130))
    gated = _requantize(b, acc, "half even", 28, to=44, bits=False, tie=True, parity=0)
    rows = ((0,), (0, 1), (0, 2), (3, 1, 2, 0))
    keys = b.add(Move(0, "keys", (gated,), b.activation((1, 2, 2, 4), 44, False), "take", taken=rows))
    pairs = Geometry(1, 2, 3, 4, 2, 3, 4)
    acc = b.add(Linear(0, "scores", (gated, keys), b.accumulator(_SHAPE, 44), pairs, False, 9, 44, 3))
    bias = b.weight((4,), 44, -(2**42), 2**42 - 1)
    total = b.accumulator(_SHAPE, 44)
    return b.finish("products", b.add(Affine(0, "scale", (acc, bias), total, ((3, -5, 1, 70), 1), 99, ring=44)))


def programs() -> list[Case]:
    """All of them, the same in every run."""
    return [convolutions(), sums(), comparisons(), products()]
