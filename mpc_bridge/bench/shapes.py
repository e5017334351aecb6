"""Shapes of networks: a round-trip time and a bandwidth, and how people write them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from mpc_bridge.errors import UsageError

#: What no shaping at all is called.
LOCAL = "local"

_MICROSECONDS = {"us": 1, "ms": 1_000, "s": 1_000_000}
_BITS = {"kbit": 1_000, "mbit": 1_000_000, "gbit": 1_000_000_000, "tbit": 1_000_000_000_000}
#: Beyond that, a handshake takes longer than strangers may (runtime/handshake.py).
_LONGEST = 5 * _MICROSECONDS["s"]
_NARROWEST, _WIDEST = _BITS["kbit"], _BITS["tbit"]
_QUANTITY = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?) ?([a-z]{1,4})")
_HINT = "use local, lan, wan, or a round-trip time and a bandwidth such as 10ms/300mbit"


@dataclass(frozen=True)
class Shape:
    """A network on which every pair of members has one round-trip time, and every member's uplink one bandwidth.

    Attributes:
        name: ``lan``, ``wan``, or the two numbers as :func:`parse_shape` reads them.
        rtt: seconds from a message's start to its answer's end between any two members, whole microseconds, 0 to 5;
            half of it each way.
        bandwidth: bit/s that each member can send, Ethernet headers included; 1 kbit/s to 1 Tbit/s. A run needs a
            timeout that one message of a dealer takes, 16 MB or a layer's corrections; and much below 1 Mbit/s a longer
            one in any case: see MINIMUM_RATE in runtime/transport.py.

    Raises:
        UsageError: a number beyond these limits.
    """

    name: str
    rtt: float
    bandwidth: int

    def __post_init__(self) -> None:
        if not 0 <= self.rtt * _MICROSECONDS["s"] <= _LONGEST:
            raise UsageError(f"a round-trip time of {self.rtt:g} s is not between 0 and 5 s",
                             where=f"network {self.name}", hint=_HINT)
        if not _NARROWEST <= self.bandwidth <= _WIDEST:
            raise UsageError(f"a bandwidth of {self.bandwidth:g} bit/s is not between 1 kbit/s and 1 Tbit/s",
                             where=f"network {self.name}", hint=_HINT)

    def __str__(self) -> str:
        """In words: ``wan: 40 ms round trip, 100 Mbit/s``."""
        rtt, delay_unit = _largest(round(self.rtt * _MICROSECONDS["s"]), _MICROSECONDS)
        bandwidth, unit = _largest(self.bandwidth, _BITS)
        words = f"{rtt} {delay_unit} round trip, {bandwidth} {unit if unit == 'kbit' else unit.capitalize()}/s"
        return f"{self.name}: {words}" if self.name in SHAPES else words


LAN = Shape("lan", 0.001, 1_000_000_000)
WAN = Shape("wan", 0.040, 100_000_000)
SHAPES: Mapping[str, Shape] = {shape.name: shape for shape in (LAN, WAN)}


def parse_shape(text: str) -> Shape | None:
    """The shape that ``text`` names: ``local`` (None: no shaping), ``lan``, ``wan``, or ``RTT/BANDWIDTH``.

    Units are us, ms, s and kbit, mbit, gbit, tbit (or kbit/s, …), powers of ten; upper and lower case are one. Equal
    networks get equal shapes, however they are written: ``1ms/1gbit`` is ``lan``, ``0.02s/5000kbit`` is
    ``20ms/5mbit``.

    Raises:
        UsageError: any other text, or a number that is too small, too great or too fine.
    """
    word = text.strip().lower()
    if word == LOCAL:
        return None
    if word in SHAPES:
        return SHAPES[word]
    first, slash, second = word.partition("/")
    if not slash:
        raise UsageError(f"unknown network {text!r}", where="--network", hint=_HINT)
    rtt = _count(first, _MICROSECONDS, "round-trip time", text)
    bandwidth = _count(second.removesuffix("/s"), _BITS, "bandwidth", text)
    for shape in SHAPES.values():
        if (round(shape.rtt * _MICROSECONDS["s"]), shape.bandwidth) == (rtt, bandwidth):
            return shape
    name = "/".join("".join(_largest(count, units)) for count, units in ((rtt, _MICROSECONDS), (bandwidth, _BITS)))
    return Shape(name, rtt / _MICROSECONDS["s"], bandwidth)


def _count(text: str, units: Mapping[str, int], what: str, whole: str) -> int:
    """How many of the smallest thing that counts ``text`` is: microseconds, or bits per second."""
    match = _QUANTITY.fullmatch(text.strip())
    if match is None or match[2] not in units:
        raise UsageError(f"{text.strip()!r} is no {what}: a number and one of {', '.join(units)}",
                         where=f"network {whole!r}", hint=_HINT)
    count = Decimal(match[1]) * units[match[2]]
    if count != int(count):
        raise UsageError(f"the {what} {text.strip()} is finer than 1 {'us' if 'us' in units else 'bit/s'}",
                         where=f"network {whole!r}", hint="give fewer digits")
    return int(count)


def _largest(count: int, units: Mapping[str, int]) -> tuple[str, str]:
    """``count`` in the largest unit of which it is at least one: its exact digits, and the unit."""
    unit = next((unit for unit, scale in reversed(list(units.items())) if count >= scale), next(iter(units)))
    return f"{(Decimal(count) / units[unit]).normalize():f}", unit
