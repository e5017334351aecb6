"""How many rounds had how many bytes: histograms that stay small, whatever runs and whoever reports.

A histogram maps bytes to rounds. It has at most :data:`SIZES` entries: beyond, neighbours become one, of the greater
size, so that no round is lost and none counts as less than it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

#: Different sizes that a histogram tells apart.
SIZES = 4096


def count(histogram: dict[int, int], size: int, rounds: int = 1) -> None:
    """Add ``rounds`` of ``size`` bytes, in place."""
    histogram[size] = histogram.get(size, 0) + rounds
    if len(histogram) > SIZES:
        _halve(histogram)


def largest(histograms: Sequence[Mapping[int, int]]) -> dict[int, int]:
    """The greatest of all parties' greatest rounds, the greatest of their second greatest ones, and so on.

    Parties in step have as many rounds each; where one has fewer, it is as if it sent nothing in the others. Ascending.
    """
    runs = [sorted([size, rounds] for size, rounds in histogram.items()) for histogram in histograms]
    found: dict[int, int] = {}
    while heads := [run[-1] for run in runs if run]:
        rounds = min(head[1] for head in heads)
        size = max(head[0] for head in heads)
        found[size] = found.get(size, 0) + rounds
        for head in heads:
            head[1] -= rounds
        for run in runs:
            if run and not run[-1][1]:
                run.pop()
    while len(found) > SIZES:
        _halve(found)
    return dict(sorted(found.items()))


def _halve(histogram: dict[int, int]) -> None:
    sizes = sorted(histogram)
    for lower, upper in zip(sizes[0::2], sizes[1::2], strict=False):
        histogram[upper] += histogram.pop(lower)
