"""One-op .tflite models at the corners of every op's attributes, and inputs that reach the corners of their values.

``cases()`` is deterministic: each case draws from a generator seeded by its own id, so adding one changes no other.
Every case loads in LiteRT's reference interpreter. To write the files: ``python -m tests.models.oneop FOLDER``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tests.models import oneop_elementwise, oneop_functions, oneop_linear, oneop_moves, oneop_pools, oneop_products
from tests.models.oneop_parts import HIGH, LOW, Case

Array = npt.NDArray[np.generic]


def cases() -> list[Case]:
    """Every model as ``(id, bytes)``; ids are unique and start with the op."""
    return [*oneop_linear.cases(), *oneop_pools.cases(), *oneop_elementwise.cases(), *oneop_functions.cases(),
            *oneop_moves.cases(), *oneop_products.cases()]


def samples(tensors: Sequence[tuple[tuple[int, ...], str]], seed: int = 0) -> list[list[Array]]:
    """Inputs for a model whose inputs have these ``(shape, dtype)``: extremes, ramps through all values, random.

    Floats range over ``±200`` scales of 1/32 and hold exact ties, infinitesimals and both zeros.
    """
    generator = np.random.default_rng(seed)

    def draw(kind: str, position: int, shape: tuple[int, ...], dtype: str) -> Array:
        size = int(np.prod(shape))
        if dtype == "float32":
            if kind == "random":
                return generator.normal(0, 60, shape).astype(np.float32)
            steps = np.arange(size) - size // 2
            values = steps / 64 if kind == "rising" else np.where(steps % 2, 1e-42, -0.0) + steps * 0.5
            return values.astype(np.float32).reshape(shape)
        low, high = LOW[dtype], HIGH[dtype]
        if kind == "random":
            return generator.integers(low, high + 1, shape).astype(dtype)
        if kind == "extremes":
            return generator.choice([low, low + 1, high - 1, high], shape).astype(dtype)
        ramp = np.arange(size) % 256 + low
        if kind == "crossing" and position % 2:
            ramp = ramp[::-1]
        if kind in ("rising", "crossing"):
            return ramp.astype(dtype).reshape(shape)
        # inputs alternate in "mixed", so that sums and differences both reach their ends
        top = kind == "highest" or (kind == "mixed" and position % 2 == 0)
        return np.full(shape, high if top else low, dtype)

    kinds = ("random", "random", "rising", "crossing", "extremes", "lowest", "highest", "mixed")
    return [[draw(kind, i, shape, dtype) for i, (shape, dtype) in enumerate(tensors)] for kind in kinds]


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for case, content in cases():
        (folder / f"{case}.tflite").write_bytes(content)
