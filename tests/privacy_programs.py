"""Programs whose elements all hold the same secrets, so that every element is a run of its own, with its own pads."""

from __future__ import annotations

import numpy as np

from mpc_bridge.lowering.program import (
    Affine,
    Geometry,
    Input,
    Linear,
    Lookup,
    Maximum,
    Output,
    Program,
    Requantize,
    Step,
    Tail,
    TieRule,
    Value,
)

#: With the 52 bits of rep3-mac a number of whole bytes, so that no message has bits that carry nothing.
RING = 36


def product(elements: int, ring: int = RING) -> Program:
    """A product of two inputs, then requantise with the tie rule into both forms; values: 0 data, 1 weights."""
    shift = ring - 14
    values = (
        Value("x", (1, 1, elements, 2), "activation", 0, 255, ring),
        Value("w", (1, 1, 1, 2), "weight", 0, 127, ring, low=-128),
        Value("z", (1, 1, elements, 1), "accumulator", 0, 0, ring),
        Value("y", (1, 1, elements, 1), "activation", 0, 255, ring, True),
    )
    g = Geometry(1, 1, elements, 2, 1, elements, 1)
    tie = TieRule(shift - 5, 120, (5 << (shift - 5),))
    steps: list[Step] = [
        Input(-1, "input", (), 0, "data", 0),
        Input(-1, "input", (), 1, "model", 1),
        Linear(0, "product", (0, 1), 2, g, False, 3, ring),
        Requantize(0, "requantize", (2,), 3, (2 ** (shift - 8),), (100 << shift,), shift, ring, 0, 255, tie),
        Output(-1, "output", (3,), 0),
    ]
    return Program("product", values, tuple(steps), (Tail(-1, ()),), {}, 0)


def pair(elements: int, ring: int = RING) -> Program:
    """A product of two data, half to even into both forms, and a sum that is shown; values: 0, 1 data, 4 a bias."""
    shift, shape = ring - 14, (1, 1, elements, 1)
    values = (
        Value("x", shape, "activation", 0, 255, ring),
        Value("y", shape, "activation", 0, 255, ring),
        Value("z", shape, "accumulator", 0, 0, ring),
        Value("u", shape, "activation", 0, 255, ring, True),
        Value("b", (1,), "weight", 0, 2 ** (ring - 2) - 1, ring, low=-(2 ** (ring - 2))),
        Value("t", shape, "accumulator", 0, 0, ring),
    )
    g = Geometry(1, 1, 1, elements, 1, 1, elements)
    tie = TieRule(shift - 5, 0, (5 << (shift - 5),), 0)
    steps: list[Step] = [
        Input(-1, "input", (), 0, "data", 0),
        Input(-1, "input", (), 1, "data", 1),
        Input(-1, "input", (), 4, "model", 4),
        Linear(0, "product", (0, 1), 2, g, True, 3, ring, 130),
        Requantize(0, "requantize", (2,), 3, (2 ** (shift - 8),), (100 << shift,), shift, ring, 0, 255, tie),
        Affine(0, "scale", (2, 3, 4), 5, ((-77,), 5, 1), 11, ring=ring),
        Output(-1, "output", (3,), 0),
        Output(-1, "output", (5,), 1),
    ]
    return Program("pair", values, tuple(steps), (Tail(-1, ()), Tail(-1, ())), {}, 0)


def pool_and_table(elements: int, ring: int = RING) -> Program:
    """A maximum of four, then a table, into both forms; value 0 is the data."""
    table = tuple(int(v) for v in np.random.default_rng(6).integers(0, 256, 256))
    g = Geometry(1, 2, 2 * elements, 1, 1, elements, 1, (2, 2), (2, 2))
    values = (
        Value("x", (1, 2, 2 * elements, 1), "activation", 0, 255, 0, True),
        Value("m", (1, 1, elements, 1), "activation", 0, 255, 0, True),
        Value("y", (1, 1, elements, 1), "activation", 0, 255, ring, True),
    )
    steps: list[Step] = [
        Input(-1, "input", (), 0, "data", 0),
        Maximum(0, "pool", (0,), 1, g),
        Lookup(0, "table", (1,), 2, table),
        Output(-1, "output", (2,), 0),
    ]
    return Program("pool", values, tuple(steps), (Tail(-1, ()),), {}, 0)
