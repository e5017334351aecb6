"""Networks of a given shape, for real: the kernel's ``netem`` delays and paces every packet that a member sends."""

from __future__ import annotations

from contextlib import closing

from mpc_bridge.bench.namespaces import Discipline, Namespace, Namespaces, find_tool
from mpc_bridge.bench.shapes import Shape
from mpc_bridge.errors import NetworkError

#: Ethernet frame with 1500 bytes of IP in it: what one packet of a long message occupies.
_PACKET_BYTES = 1514
#: Beyond what is under way, packets that may wait: more than the sockets of six members can hold.
_WAITING = 100_000
#: A group of packets goes as one no longer than this part of the round trip, and this many seconds.
_GROUP_PART = 0.05
_GROUP_SECONDS = 0.001
_MOST_SEGMENTS = 43


def discipline(shape: Shape) -> Discipline:
    """How ``shape`` is made: half the round trip on every member's way out, after its packets have queued for the rate.

    The queue is longer than all that sockets hand over, so nothing is lost and a byte waits only for those before it:
    a path without other traffic. TCP is the kernel's own, in its defaults, since that is what users get: slow start
    from ten packets, and again after a pause longer than its retransmission time (``tcp_slow_start_after_idle``).

    netem counts a group of packets (GSO) as its bytes and all their headers, and lets it go when its last byte has had
    its turn, so messages take the same time whether grouped or not. What groups blur is the rhythm of acknowledgements
    that TCP's window grows by; so a group takes at most a twentieth of the round trip and 1 ms. On slow paths every
    packet is by itself; on fast ones groups keep processor time for the parties.
    """
    under_way = shape.rtt * shape.bandwidth / 8 / _PACKET_BYTES
    group = min(shape.rtt * _GROUP_PART, _GROUP_SECONDS) * shape.bandwidth / 8 / _PACKET_BYTES
    delay = shape.rtt * 1e6 / 2
    limit = _WAITING + int(under_way)
    qdisc = ("netem", "delay", f"{delay:.1f}us", "rate", f"{shape.bandwidth}bit", "limit", str(limit))
    return Discipline(qdisc, max(1, min(_MOST_SEGMENTS, int(group))))


def shaped(shape: Shape) -> Namespaces:
    """The network that has ``shape`` between any two members. Raises NetworkError where it cannot be made."""
    reason = available()
    if reason is not None:
        raise NetworkError(reason, where=f"network {shape.name}",
                           hint="use --network local; a shaped network needs root, iproute2 and a kernel with netem")
    return Namespaces(shape.name, discipline(shape))


def available() -> str | None:
    """None where shaped networks can be made: one namespace is, and thrown away. Else why not, in one line."""
    try:
        find_tool("ip")
        with closing(Namespace.create()) as trial:
            trial.run("tc", ["qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms", "rate", "1mbit"])
    except NetworkError as error:
        # What newer and older kernels and versions of tc say.
        if "qdisc kind is unknown" in error.what or "No such file or directory" in error.what:
            return "this kernel has no netem (the module sch_netem)"
        return error.what
    return None
