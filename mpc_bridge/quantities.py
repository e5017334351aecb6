"""Numbers as people read them: bytes, seconds, counts, ratios. Decimal units, three digits."""

from __future__ import annotations

#: From here on a number has a digit less behind its point, or the next unit: 9.996 is 10.0.
_TEN, _HUNDRED, _THOUSAND = 9.995, 99.95, 999.5


def size(count: float) -> str:
    """Bytes for people: decimal units, three digits."""
    if count < _THOUSAND:
        return f"{count:.0f} B"
    for unit in ("kB", "MB"):
        count /= 1000
        if count < _THOUSAND:
            return f"{count:.3g} {unit}"
    return f"{count / 1000:.3g} GB"


def grouped(count: int) -> str:
    """An integer with thin groups of three digits: ``21 352``."""
    return f"{count:,}".replace(",", " ")


def three_digits(value: float) -> str:
    """Three digits, more when the whole number has more: ``3.25``, ``26.1``, ``4 120``."""
    if value < _TEN:
        return f"{value:.2f}"
    return f"{value:.1f}" if value < _HUNDRED else grouped(round(value))


def duration(seconds: float) -> str:
    """``0 s``, ``42.1 µs``, ``145 ms``, ``2.31 s``, ``1 204 s``."""
    if not seconds:
        return "0 s"
    for scale, unit in ((1e6, "µs"), (1e3, "ms")):
        if seconds * scale < _THOUSAND:
            return f"{three_digits(seconds * scale)} {unit}"
    return f"{three_digits(seconds)} s"


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
