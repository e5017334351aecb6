"""What a run takes on a network of given round-trip time and bandwidth, from the report of one local run.

A phase's seconds are those of the local run, which are computation and messages that cost no time on the way, and what
the network adds, one after the other:

- half a round-trip time for every flight: a trip of messages that somebody waits for. A round is one, unless it only
  goes on in the direction of the round before (a dealer's batches; corrections of channels one after the other).
- the bytes of every flight, as what a party sends or receives, over the bandwidth: a member's uplink carries what it
  sends to all others. On the wire each :data:`SEGMENT` bytes cost :data:`HEADERS` more.
- the stalls of TCP's slow start. A sender may have a window of ``w`` bytes on the way. It sends them in ``w /
  bandwidth``; where that is less than the round-trip time, it then waits for the first acknowledgement. The window
  begins at 10 segments (RFC 6928, section 2) and grows by what is acknowledged, so it doubles every round trip (RFC
  5681, section 3.1), until it keeps the path full. Every phase begins with the first window, and then keeps what it has
  got.
- less what is computed while bytes are on their way: where rounds go on in one direction, the sender computes the next
  one while the last bytes of the one before, as many as its socket holds, still leave.
- what the launcher sends, over its uplink, which all parties share; and a round-trip time for every time that parties
  wait for its answer.
- in setup, joining: one member after the other opens its connections, and each costs three round trips (TCP's
  handshake, nonce and proof, proof and welcome); the launcher's to the last member are the last. Then the job is half a
  round trip on its way.

Neglected: lost packets; other computation that goes on while bytes are on their way; that a connection which rests for
longer than TCP's timeout (200 ms and a round trip) begins with the first window again; processes that start later than
others and so have less to wait for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mpc_bridge.bench.shapes import Shape

#: Bytes of a TCP segment's payload in an Ethernet frame of 1500 bytes, and of its headers: Ethernet 14, IPv4 20, TCP
#: 20 and its timestamps 12.
SEGMENT = 1448
HEADERS = 66
#: TCP's first congestion window in bytes.
FIRST_WINDOW = 10 * SEGMENT
#: Bytes that a socket takes before they can leave: Linux' greatest, net.ipv4.tcp_wmem.
SEND_BUFFER = 4 << 20
#: Round trips until two members are connected and have proved themselves to each other.
JOIN_TRIPS = 3


def predict(report: Mapping[str, Any], shape: Shape, local: Mapping[str, float] | None = None) -> dict[str, float]:
    """Seconds by phase on a network of that shape.

    Args:
        report: ``Result.report()`` of a run without a network.
        local: seconds by phase to start from, such as medians of several runs; None for the report's own.
    """
    seconds = {}
    for phase, cost in report["phases"].items():
        own = cost["seconds"] if local is None else local[phase]
        launcher = report["launcher"]["phases"][phase]
        seconds[phase] = (
            own
            + _flights(cost["flights"], shape)
            - _hidden(cost["flights"], cost["rounds"], own, shape)
            + launcher["waits"] * shape.rtt
            + _launcher(launcher["bytes_sent"], 1 if phase == "setup" else report["samples"], shape)
        )
    members = report["threat_model"]["parties"] + (report["helper"] is not None)
    seconds["setup"] += (JOIN_TRIPS * members + 0.5) * shape.rtt
    return seconds


def transfer(size: int, shape: Shape) -> float:
    """Seconds in which ``size`` bytes of payload leave."""
    segments = -(-size // SEGMENT)
    return 8 * (size + HEADERS * segments) / shape.bandwidth


def stalls(size: int, window: int, shape: Shape) -> float:
    """Seconds in which the sender of ``size`` bytes may not send, when its window is ``window`` at first."""
    total = 0.0
    while size > window and (wait := shape.rtt - transfer(window, shape)) > 0:
        total += wait
        size -= window
        window *= 2
    return total


def _flights(histogram: Sequence[list[int]], shape: Shape) -> float:
    """Trips, transfers and stalls of flights ``[[bytes, flights], …]``; the small ones are taken to come first."""
    total, window = 0.0, FIRST_WINDOW
    for size, count in sorted(histogram):
        total += count * (shape.rtt / 2 + transfer(size, shape))
        while count and size > window:
            total += stalls(size, window, shape)
            window += size
            count -= 1
    return total


def _hidden(histogram: Sequence[list[int]], rounds: int, seconds: float, shape: Shape) -> float:
    """Computation while bytes leave: of every round that goes on in the direction of the one before."""
    streamed = rounds - sum(count for _, count in histogram)
    if streamed <= 0:
        return 0.0
    mean = sum(size * count for size, count in histogram) // rounds
    return streamed * min(seconds / rounds, transfer(min(mean, SEND_BUFFER), shape))


def _launcher(sizes: Sequence[int], times: int, shape: Shape) -> float:
    """Transfers and stalls of ``sizes`` bytes by member, in so many equal parts, long apart."""
    if not any(sizes):
        return 0.0
    parts = [size // times for size in sizes]
    return times * (sum(transfer(part, shape) for part in parts) + stalls(max(parts), FIRST_WINDOW, shape))
