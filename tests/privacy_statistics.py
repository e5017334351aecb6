"""Is a sample of bit vectors uniform? Thresholds leave a false alarm less than one in a million per test."""

from __future__ import annotations

from math import sqrt

import numpy as np
import numpy.typing as npt

Bits = npt.NDArray[np.uint8]

#: Standard deviations that one of up to a million positions may be off: 6.4e-14 each, two-sided.
ONE_POSITION = 7.5
#: Standard deviations that a sum over all positions may be off: 2.9e-7.
ALL_POSITIONS = 5.0
#: Vectors beyond the number of positions: a uniform sample has full rank but for 2**-40.
SPARE = 40


def bits_of(data: bytes, width: int) -> Bits:
    """``[numbers, width]``: the bits, lowest first, of numbers of ``width`` bits packed back to back."""
    flat = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
    return flat[: len(flat) // width * width].reshape(-1, width)


def chi_square_deviation(statistic: float, freedom: int) -> float:
    """Standard deviations above the mean (Wilson and Hilferty 1931)."""
    third = 2 / (9 * freedom)
    return float(((statistic / freedom) ** (1 / 3) - (1 - third)) / sqrt(third))


def unfair(sample: Bits) -> str | None:
    """What is wrong with a sample ``[vectors, positions]`` of which every position should be a fair coin."""
    vectors, positions = sample.shape
    off = (2.0 * sample.sum(axis=0, dtype=np.int64) - vectors) / sqrt(vectors)
    worst = int(np.abs(off).argmax())
    if abs(off[worst]) > ONE_POSITION:
        return f"position {worst} of {positions} is one in {(off[worst] / sqrt(vectors) + 1) / 2:.3f} of all cases"
    excess = chi_square_deviation(float((off**2).sum()), positions)
    return f"all {positions} positions together are {excess:.1f} deviations off" if excess > ALL_POSITIONS else None


def dependent(sample: Bits) -> str | None:
    """What is wrong with a sample that should be of independent coins: some XOR of positions is always the same."""
    vectors, positions = sample.shape
    assert vectors >= positions + 1 + SPARE, f"{vectors} vectors are too few for {positions} positions"
    found = rank(np.concatenate([np.ones((vectors, 1), np.uint8), sample], axis=1))
    return None if found == positions + 1 else f"{positions + 1 - found} XORs of positions are constant"


def rank(matrix: Bits) -> int:
    """Over GF(2)."""
    rows = [int.from_bytes(row.tobytes(), "little") for row in np.packbits(matrix.T, axis=1)]
    pivots: dict[int, int] = {}
    for row in rows:
        while row:
            top = row.bit_length()
            if top not in pivots:
                pivots[top] = row
                break
            row ^= pivots[top]
    return len(pivots)


def different(first: Bits, second: Bits) -> str | None:
    """What tells two samples of the same positions apart."""
    sizes = len(first), len(second)
    ones = [sample.sum(axis=0, dtype=np.int64) for sample in (first, second)]
    total = sum(sizes)
    share = (ones[0] + ones[1]) / total
    # total / (total - 1): the variance's unbiased estimate, or a million positions add up to an alarm
    variance = np.maximum(share * (1 - share), 1 / total) * total / (total - 1)
    spread = np.sqrt(variance * (1 / sizes[0] + 1 / sizes[1]))
    off = (ones[0] / sizes[0] - ones[1] / sizes[1]) / spread
    worst = int(np.abs(off).argmax())
    if abs(off[worst]) > ONE_POSITION:
        return f"position {worst} differs by {off[worst]:.1f} deviations"
    excess = chi_square_deviation(float((off**2).sum()), len(off))
    return f"all {len(off)} positions together differ by {excess:.1f} deviations" if excess > ALL_POSITIONS else None


def uneven_bytes(data: bytes) -> str | None:
    """What is wrong with a string of bytes that should be uniform and independent."""
    counts = np.bincount(np.frombuffer(data, np.uint8), minlength=256)
    expected = len(data) / 256
    excess = chi_square_deviation(float(((counts - expected) ** 2 / expected).sum()), 255)
    return f"{len(data)} bytes are {excess:.1f} deviations off" if excess > ALL_POSITIONS else None
