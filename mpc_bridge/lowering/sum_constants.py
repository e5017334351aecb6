"""Exact constants for a function of two bytes: ``(x1 * m1 + x2 * m2 + c) >> s`` equal to ADD on every pair of inputs.

The same argument as :mod:`mpc_bridge.lowering.constants` with one more slope. Every pair ``(x1, x2)`` with output v
asks for ``v * 2**s <= x1 * m1 + x2 * m2 + c < (v + 1) * 2**s`` (one side only where the output is clamped), so c lies
in an interval that is empty exactly when a lower and an upper bound contradict each other, and then the two give a half
plane that ``(m1, m2)`` must lie in. Cutting a polygon of candidates at its centroid shrinks it by more than a third
each time (Levin 1965), until the centroid serves or nothing is left. Then the least s with a lattice point that serves
is taken.

All parties must find the same constants, so no result depends on the order in which a machine's BLAS adds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mpc_bridge.lowering.constants import (
    TIE_SHIFTS,
    TOP_BITS,
    UNBOUNDED,
    Constants,
    Parity,
    Tie,
    chosen,
    pick,
    pick_tie,
    signed_bits,
    tie_cost,
)
from mpc_bridge.lowering.thresholds import Ints

Floats = npt.NDArray[np.float64]

_MAX_SHIFT = 44
_CUTS = 200
#: Lattice points tried per shift, nearest to the middle first.
_TRIES = 49


@dataclass(frozen=True)
class SumConstants:
    """``u = (x1 * coefficients[0] + x2 * coefficients[1] + constants.constant[0]) >> constants.shift``."""

    coefficients: tuple[int, int]
    constants: Constants


@dataclass(frozen=True)
class _Bounds:
    """The binding constraints of one group of levels: points [P, 2] and thresholds [P], below and above."""

    lower_at: Ints
    lower: Ints
    upper_at: Ints
    upper: Ints

    def interval(self, m: Ints, shift: int) -> tuple[Ints, Ints]:
        """Least and greatest c ([1] each) for integer slopes."""
        floor, ceiling = (self.lower << shift) - self.lower_at @ m, (self.upper << shift) - self.upper_at @ m - 1
        bottom = floor.max() if len(floor) else -UNBOUNDED
        top = ceiling.min() if len(ceiling) else UNBOUNDED
        return np.array([bottom], np.int64), np.array([top], np.int64)

    def cut(self, slopes: Floats) -> tuple[Floats, float] | None:
        """``(d, r)`` such that ``slopes @ d > r`` is necessary and violated; None when these slopes serve."""
        if not len(self.lower) or not len(self.upper):
            return None
        floor, ceiling = self.lower - _along(self.lower_at, slopes), self.upper - _along(self.upper_at, slopes)
        i, k = int(np.argmax(floor)), int(np.argmin(ceiling))
        if floor[i] < ceiling[k]:
            return None
        return (self.lower_at[i] - self.upper_at[k]).astype(np.float64), float(self.lower[i] - self.upper[k])


def search_sum(
    table: Ints, low: int, high: int, slopes: tuple[float, float], tie: Tie | None
) -> SumConstants | None:
    """The exact constants with the least shift, in the plain form if it exists, else in the tie form.

    Args:
        table: int64 [n1, n2], stored output of each pair of stored inputs, in ``[low, high]``, monotone in both.
        low, high: the clamp.
        slopes: approximate real slopes, positive.
        tie: which stored levels the tie form may give the other constant; None: plain form only.
    """
    plain = _search(table, low, high, slopes, None)
    if plain is not None or tie is None:
        return plain
    return _search(table, low, high, slopes, tie)


def _search(
    table: Ints, low: int, high: int, slopes: tuple[float, float], tie: Tie | None
) -> SumConstants | None:
    groups = _groups(table, low, high, tie)
    centre = np.array(slopes)
    polygon: Floats | None = centre + np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * centre / 4
    for _ in range(_CUTS):
        cuts = _cuts(groups, centre)
        if not cuts:
            break
        polygon = _clip(polygon, cuts)
        if polygon is None:
            return None
        centre = _centroid(polygon)
    else:
        return None
    best: SumConstants | None = None
    shift, last = 0, _MAX_SHIFT
    while shift < last and polygon is not None:
        shift += 1
        points = _lattice(polygon, centre, shift)
        while len(points):
            found = _constants(table.shape, groups, points[0], shift, isinstance(tie, Parity))
            if found is not None:
                if best is None:
                    last = shift + (TIE_SHIFTS if tie is not None else 0)
                if best is None or tie_cost(found.constants) < tie_cost(best.constants):
                    best = found
                break
            cuts = _cuts(groups, np.ldexp(points[0].astype(np.float64), -shift))
            points = points[1:]
            for normal, bound in cuts:
                points = points[np.ldexp(_along(points, normal), -shift) > bound]
            polygon = polygon if not cuts else _clip(polygon, cuts)
            if polygon is None:
                break
    return best


def _cuts(groups: list[_Bounds], slopes: Floats) -> list[tuple[Floats, float]]:
    """The half planes that these slopes violate: at most one per group."""
    return [cut for group in groups if (cut := group.cut(slopes)) is not None]


def _groups(table: Ints, low: int, high: int, tie: Tie | None) -> list[_Bounds]:
    """Bounds of the plain levels (all without a tie), then of the others. Slopes are positive: corners decide."""
    padded = np.pad(table, 1, constant_values=((low - 1, high + 1), (low - 1, high + 1)))
    first, last = padded[:-2, 1:-1], padded[2:, 1:-1]
    before, after = padded[1:-1, :-2], padded[1:-1, 2:]
    reaches = (table > low) & (first < table) & (before < table)
    stays = (table < high) & (last > table) & (after > table)
    lower_at, upper_at = np.argwhere(reaches).astype(np.int64), np.argwhere(stays).astype(np.int64)
    lower, upper = table[reaches], table[stays] + 1
    if tie is None:
        return [_Bounds(lower_at, lower, upper_at, upper)]
    return [
        _Bounds(lower_at[low_side], lower[low_side], upper_at[up_side], upper[up_side])
        for low_side, up_side in (
            (~chosen(tie, lower), ~chosen(tie, upper)), (chosen(tie, lower), chosen(tie, upper)))
    ]


def _clip(polygon: Floats | None, cuts: list[tuple[Floats, float]]) -> Floats | None:
    """The part of a convex polygon [V, 2] with ``vertex @ normal >= bound``; None when (nearly) nothing is left."""
    for normal, bound in cuts:
        if polygon is None:
            return None
        side = _along(polygon, normal) - bound
        following, beyond = np.roll(polygon, -1, axis=0), np.roll(side, -1)
        kept: list[Floats] = []
        for i, inside in enumerate(side >= 0):
            if inside:
                kept.append(polygon[i])
            if side[i] * beyond[i] < 0:
                kept.append(polygon[i] + (following[i] - polygon[i]) * (side[i] / (side[i] - beyond[i])))
        polygon = np.array(kept) if len(kept) >= 3 else None
        if polygon is not None and _area(polygon) < 1e-24 * np.abs(polygon).max() ** 2:
            polygon = None
    return polygon


def _along(points: Ints | Floats, direction: Floats) -> Floats:
    """Inner products of points [P, 2] with one direction, the same on every machine."""
    return np.asarray(points[:, 0] * direction[0] + points[:, 1] * direction[1], np.float64)


def _area(polygon: Floats) -> float:
    x, y = (polygon - polygon[0]).T
    return float(np.abs((x * np.roll(y, -1) - y * np.roll(x, -1)).sum()) / 2)


def _centroid(polygon: Floats) -> Floats:
    moved = polygon - polygon[0]
    x, y = moved.T
    cross = x * np.roll(y, -1) - y * np.roll(x, -1)
    centre: Floats = polygon[0] + ((moved + np.roll(moved, -1, axis=0)) * cross[:, None]).sum(0) / (3 * cross.sum())
    return centre


def _lattice(polygon: Floats, centre: Floats, shift: int) -> Ints:
    """Integer slopes [P, 2] in the polygon times ``2**shift``, nearest to the centre first, the farthest left out."""
    low, high = np.ceil(np.ldexp(polygon.min(0), shift)), np.floor(np.ldexp(polygon.max(0), shift))
    middle = np.ldexp(centre, shift)
    reach = int(np.sqrt(_TRIES)) // 2
    first, last = np.maximum(low, np.rint(middle) - reach), np.minimum(high, np.rint(middle) + reach)
    axes = [np.arange(first[i], last[i] + 1) for i in (0, 1)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    # inside a convex polygon, all edges turn the same way around a point
    edges = np.roll(polygon, -1, axis=0) - polygon
    away = np.ldexp(points, -shift)[:, None, :] - polygon[None]
    turn = edges[:, 0] * away[..., 1] - edges[:, 1] * away[..., 0]
    points = points[(turn >= 0).all(1) | (turn <= 0).all(1)]
    order = np.argsort(((points - middle) ** 2).sum(1), kind="stable")
    return np.asarray(points[order], np.int64)


def _constants(
    shape: tuple[int, ...], groups: list[_Bounds], m: Ints, shift: int, lowered: bool
) -> SumConstants | None:
    intervals = [group.interval(m, shift) for group in groups]
    if any(bottom[0] > top[0] for bottom, top in intervals):
        return None
    delta: tuple[int, ...] = ()
    bit = 0
    if len(intervals) == 1:
        constant = int(pick(*intervals[0])[0])
    else:
        picked = pick_tie(shift, intervals[0], intervals[1])
        if picked is None:
            return None
        constant, delta, bit = int(picked[0][0]), (int(picked[1][0]),), picked[2]
    greatest = int(m[0]) * (shape[0] - 1) + int(m[1]) * (shape[1] - 1) + constant
    least = constant - delta[0] if delta and lowered else constant
    bits = max(shift + TOP_BITS, signed_bits(least), signed_bits(greatest))
    found = Constants((1,), (constant,), shift, bits, delta, bit)
    return SumConstants((int(m[0]), int(m[1])), found)
