"""Which cells a bilinear resize mixes, and in what proportions: TFLite's integer arithmetic with 10 fractional bits.

Source: ``tensorflow/lite/kernels/internal/reference/resize_bilinear.h`` (ComputeInterpolationValuesInteger).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

#: One, in the fixed point of the proportions.
ONE = 1 << 10
#: Rows or columns from here on do not stay within the framework's int32.
_MOST_CELLS = 2**20
#: Steps of the proportions that float32 arithmetic follows exactly: see :attr:`Mixture.exact_in_float`.
_COARSE = ONE >> 7


@dataclass(frozen=True)
class Mixture:
    """Along one axis: output cell i is ``(ONE - share[i]) * x[lower[i]] + share[i] * x[upper[i]]``, over :data:`ONE`.

    Attributes:
        lower, upper: int64, cells of the input.
        share: int64 in ``[0, ONE)``.
        exact_in_float: whether the framework's float32 arithmetic, which it uses for uint8, gives the same proportions
            and exact sums: where these are multiples of 2**-7, a byte times two of them, and the sum of four such
            products and a half, fit into 24 bits.
    """

    lower: Ints
    upper: Ints
    share: Ints
    exact_in_float: bool


def mixture(source: int, target: int, align_corners: bool, half_pixel_centers: bool) -> Mixture:
    """The cells of one axis of ``source`` cells that each of ``target`` cells is mixed from.

    Raises:
        ValueError: the framework's rounded step leads it beyond the last cell, or beyond int32.
    """
    if max(source, target) > _MOST_CELLS:
        raise ValueError(f"{source} cells resized to {target}")
    whole, parts = (source - 1, target - 1) if align_corners and target > 1 else (source, target)
    step = (ONE * whole + parts // 2) // parts
    position = np.arange(target, dtype=np.int64) * step
    if half_pixel_centers:
        position += step // 2 - ONE // 2
    # positions before the first cell are at least half a cell away from the one before it: both ends are cell 0
    lower = np.maximum(position // ONE, 0)
    upper = np.minimum(-(-position // ONE), source - 1)
    if int(lower[-1]) >= source:
        raise ValueError(f"{source} cells resized to {target}: its rounded steps lead beyond the last cell")
    share = np.where(lower == upper, 0, position - ONE * lower)
    exact = ONE * whole % parts == 0 and not np.any(position % _COARSE) and source <= 2**15
    return Mixture(lower, upper, share, bool(exact))
