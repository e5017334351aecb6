"""The sentences of a report: the answer, how far predictions are off, and why a cell has no number."""

from __future__ import annotations

from collections.abc import Sequence

from mpc_bridge.bench.records import Cell, NetworkRecord
from mpc_bridge.bench.report.details import Error
from mpc_bridge.bench.report.figures import TOLERANCE, Comparison, Source
from mpc_bridge.quantities import change, duration, three_digits


def answer(comparisons: Sequence[Comparison]) -> list[str]:
    """What active security costs over passive, and a dishonest over an honest majority: a sentence each.

    Medians over the models; from the network where they are least to the one where they are most.
    """
    known = [found for found in lines(comparisons) if any(one.seconds for one in found)]
    active = [(f"with {_article(found[0].majority)} majority", found) for found in known if found[0].kind == "active"]
    dishonest = [(f"against {found[0].adversary} parties", found) for found in known if found[0].kind == "dishonest"]
    sentences = [f"{start} takes {_list(_ranges(parts, other))}." for start, other, parts in (
        ("Active security", "passive", active), ("A dishonest majority", "an honest one", dishonest)) if parts]
    guessed = list(dict.fromkeys(one.place for one in comparisons if one.predicted))
    return [*sentences, *([f"What is said of {_list(guessed)} rests on predictions."] if guessed else [])]


def _ranges(parts: Sequence[tuple[str, Sequence[Comparison]]], other: str) -> list[str]:
    contexts = [context for context, _ in parts]
    return [f"{_range(found)} times{f' as long as {other}' if not index else ''} {context}"
            f"{f' with {found[0].label}' if contexts.count(context) > 1 else ''}"
            for index, (context, found) in enumerate(parts)]


def lines(comparisons: Sequence[Comparison]) -> list[list[Comparison]]:
    """Comparisons of the same two settings, on all networks, together; in order."""
    found: dict[tuple[str, str, str], list[Comparison]] = {}
    for one in comparisons:
        found.setdefault((one.kind, one.label, one.over), []).append(one)
    return list(found.values())


def predictions(errors: Sequence[Error]) -> str:
    """Whether predictions can be believed, in one or two sentences."""
    if not errors:
        return "No cell was both predicted and measured: the predictions of these files are not checked."
    worst = max(errors, key=lambda one: abs(one.share))
    cell = f"{worst.row.cell.model}, {worst.row.label}, {worst.row.place}"
    beyond = [one for one in errors if one.beyond]
    if not beyond:
        return (f"All {len(errors)} predictions are within {100 * TOLERANCE:.0f} % of what was measured; "
                f"the furthest is off by {change(worst.share)} ({cell}).")
    return (f"{len(beyond)} of {len(errors)} predictions are more than {100 * TOLERANCE:.0f} % away from what was "
            f"measured; the furthest is off by {change(worst.share)} ({cell}). "
            "Do not rely on the predictions of those cells.")


def why(source: Source, cell: Cell) -> str:
    """Why a cell has no number; empty when it has one."""
    if cell.reason is not None:
        return ": ".join(filter(None, (cell.reason.kind, cell.reason.what, cell.reason.where)))
    if cell.status == "waiting":
        return f"{len(cell.repetitions)} of {source.results.repeat} repetitions"
    return ""


def threat(cell: Cell) -> str:
    """The threat model in a few words."""
    model = cell.threat_model
    return f"{model.adversary}, {model.majority} majority, {model.parties} parties"


def shape(network: NetworkRecord) -> str:
    """A network's round-trip time and bandwidth."""
    if network.rtt_seconds is None or network.bandwidth_bits_per_second is None:
        return "this machine, not shaped"
    return f"{duration(network.rtt_seconds)} round trip, {bandwidth(network.bandwidth_bits_per_second)}"


def bandwidth(bits: float) -> str:
    """``100 Mbit/s``."""
    for unit in ("bit/s", "kbit/s", "Mbit/s"):
        if bits < 1000:
            return f"{bits:.3g} {unit}"
        bits /= 1000
    return f"{bits:.3g} Gbit/s"


def _range(found: Sequence[Comparison]) -> str:
    """Its median over the models: on the network where it is least, and where it is most."""
    known = [one.seconds.median for one in found if one.seconds is not None]
    least, most = three_digits(min(known)), three_digits(max(known))
    return least if least == most else f"{least} to {most}"


def _article(word: str) -> str:
    return f"an {word}" if word == "honest" else f"a {word}"


def _list(parts: Sequence[str]) -> str:
    if len(parts) < 3:
        return " and ".join(parts)
    return f"{', '.join(parts[:-1])}, and {parts[-1]}"
