"""Numbers as people read them: bytes, seconds, counts, ratios. Decimal units, three digits."""

from __future__ import annotations

#: Where a ratio or a time needs no more decimals.
_TEN, _HUNDRED, _THOUSAND = 9.995, 99.95, 999.5


def size(count: float) -> str:
    """Bytes for people: decimal units, three digits."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"


def grouped(count: int) -> str:
    """An integer with thin groups of three digits: ``21 352``."""
    return f"{count:,}".replace(",", " ")


def three_digits(value: float) -> str:
    """Three digits, more when the whole number has more: ``3.25``, ``26.1``, ``4 120``."""
    if value < _TEN:
        return f"{value:.2f}"
    return f"{value:.1f}" if value < _HUNDRED else grouped(round(value))


def duration(seconds: float) -> str:
    """``0 s``, ``0.42 ms``, ``145 ms``, ``2.31 s``, ``1 204 s``."""
    if not seconds:
        return "0 s"
    if seconds < _THOUSAND / 1e6:
        return f"{seconds * 1e3:.2f} ms"
    return f"{three_digits(seconds * 1e3)} ms" if seconds < _THOUSAND / 1e3 else f"{three_digits(seconds)} s"


def times(ratio: float) -> str:
    """``×3.25``: how many times as much."""
    return f"×{three_digits(ratio)}"


def change(share: float) -> str:
    """A share of one as signed per cent: ``+4.1 %``, ``−12.0 %``."""
    return f"{share * 100:+.1f} %".replace("-", "−")


def span(least: float, most: float) -> str:
    """Two durations: ``25.1–28.6 ms``, ``960 ms–1.12 s``."""
    (start, unit), (end, other) = (duration(one).rsplit(" ", 1) for one in (least, most))
    return f"{start}–{end} {other}" if unit == other else f"{start} {unit}–{end} {other}"


def span_times(least: float, most: float) -> str:
    """Two ratios: ``2.14–2.75``."""
    return f"{three_digits(least)}–{three_digits(most)}"
