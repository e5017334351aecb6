"""Networks of a given shape: real round trips and bandwidths, where the kernel has netem."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import mpc_bridge
from mpc_bridge.backends.replicated.backend import Rep3Backend
from mpc_bridge.bench import namespaces, netem
from mpc_bridge.bench.shapes import LAN, WAN, Shape
from mpc_bridge.errors import NetworkError
from mpc_bridge.evaluation import matches_reference
from mpc_bridge.importers.tflite import load
from mpc_bridge.runtime.launcher import evaluate_local
from mpc_bridge.runtime.meter import CLIENT
from mpc_bridge.runtime.processes import Hosts

_REASON = netem.available()
needs_netem = pytest.mark.skipif(_REASON is not None, reason=_REASON or "")

DIGITS = Path(mpc_bridge.__file__).parent / "demo" / "digits.tflite"
#: Of a full packet's bytes on the wire, those that are not TCP's payload: Ethernet, IP, TCP with timestamps.
HEADERS = 66 / 1514


def test_what_tc_is_told() -> None:
    wan = netem.discipline(WAN)
    assert wan.qdisc == ("netem", "delay", "20000.0us", "rate", "100000000bit", "limit", "100330")
    assert wan.segments == 8
    assert netem.discipline(LAN).segments == 4
    assert netem.discipline(Shape("slow", 0.000003, 1000)).qdisc[:3] == ("netem", "delay", "1.5us")
    assert netem.discipline(Shape("slow", 5.0, 10_000_000)).segments == 1
    assert netem.discipline(Shape("fast", 5.0, 10**12)).segments == 43


def test_a_shape_that_cannot_be_had_is_a_typed_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(namespaces, "_TOOLS", str(tmp_path))
    reason = netem.available()
    assert reason is not None and "there is no ip" in reason
    with pytest.raises(NetworkError, match="there is no ip") as caught:
        netem.shaped(WAN)
    assert "wan" in caught.value.where and "--network local" in caught.value.hint


@pytest.mark.skipif(_REASON is None, reason="this machine has shaped networks")
def test_why_not_is_one_line() -> None:
    assert _REASON and "\n" not in _REASON


def connected(hosts: Hosts, one: int, other: int) -> tuple[socket.socket, socket.socket]:
    """Both ends of a connection that ``one`` has made to ``other``."""
    with hosts.inside(other):
        listener = socket.create_server((hosts.address(other), 0))
    with listener, hosts.inside(one):
        near = socket.create_connection(listener.getsockname(), timeout=10)
        far, _ = listener.accept()
    for end in (near, far):
        end.settimeout(30)
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return near, far


def move(near: socket.socket, far: socket.socket, size: int) -> None:
    """``size`` bytes from one to the other."""
    sender = threading.Thread(target=near.sendall, args=(bytes(size),))
    sender.start()
    buffer, count = bytearray(1 << 20), 0
    while count < size:
        count += far.recv_into(buffer)
    sender.join()


def best(action: Callable[[], object], least: float, enough: float, tries: int = 20) -> float:
    """Seconds that ``action`` takes at best: not below ``least``, ever; a busy machine may need several tries."""
    times: list[float] = []
    while len(times) < tries and (not times or min(times) > enough):
        started = time.monotonic()
        action()
        times.append(time.monotonic() - started)
    assert min(times) >= least
    return min(times)


def ping(near: socket.socket, far: socket.socket) -> None:
    for one, other in ((near, far), (far, near)):
        one.sendall(bytes(64))
        assert len(other.recv(64)) == 64


@needs_netem
@pytest.mark.parametrize("rtt", [0.040, 0.010])
def test_every_round_trip_takes_its_time(rtt: float) -> None:
    with netem.shaped(Shape("x", rtt, 100_000_000)).hosts(2) as hosts:
        for one, other in ((0, 1), (1, CLIENT)):
            near, far = connected(hosts, one, other)
            with near, far:
                assert best(partial(ping, near, far), rtt, 1.1 * rtt) < 1.1 * rtt


@needs_netem
def test_connecting_asks_for_no_address_first() -> None:
    with netem.shaped(Shape("x", 0.1, 10**8)).hosts(1) as hosts:
        started = time.monotonic()
        near, far = connected(hosts, CLIENT, 0)
        assert 0.1 <= time.monotonic() - started < 0.19
        near.close()
        far.close()


@needs_netem
def test_twenty_megabytes_take_what_the_bandwidth_says() -> None:
    shape, size = Shape("x", 0.020, 100_000_000), 20_000_000
    least = 8 * size / (1 - HEADERS) / shape.bandwidth + shape.rtt / 2
    with netem.shaped(shape).hosts(2) as hosts:
        near, far = connected(hosts, 0, 1)
        with near, far:
            # The first one warms up: TCP starts with ten packets per round trip.
            assert best(partial(move, near, far, size), 0.99 * least, 1.1 * least, tries=8) < 1.1 * least
        with hosts.inside(0), open("/proc/thread-self/net/snmp", encoding="ascii") as counters:
            names, values = [line.split() for line in counters if line.startswith("Tcp:")]
        assert values[names.index("RetransSegs")] == "0"


@needs_netem
def test_bandwidth_is_every_members_own_and_for_all_its_peers_together() -> None:
    shape, size = Shape("x", 0.004, 50_000_000), 2_000_000
    single = 8 * size / (1 - HEADERS) / shape.bandwidth

    def together(*pairs: tuple[socket.socket, socket.socket]) -> None:
        threads = [threading.Thread(target=move, args=(*pair, size)) for pair in pairs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    with netem.shaped(shape).hosts(3) as hosts, ExitStack() as ends:
        first, second, other = (connected(hosts, *pair) for pair in ((0, 2), (1, 2), (0, 1)))
        for end in (*first, *second, *other):
            ends.enter_context(end)
        assert best(partial(together, first, second), 0.99 * single, 1.5 * single) < 1.5 * single
        assert best(partial(together, first, other), 1.98 * single, 2.5 * single) < 2.5 * single


@needs_netem
def test_a_run_takes_its_rounds_and_is_otherwise_the_same() -> None:
    circuit = load(DIGITS)
    with np.load(DIGITS.with_name("inputs.npz")) as inputs:
        image = inputs["in0"].reshape(-1, *circuit.tensors[circuit.inputs[0]].shape)[:1]
    here = evaluate_local(circuit, [image], Rep3Backend(), parties=3)
    shape = Shape("x", 0.020, 50_000_000)
    there = evaluate_local(circuit, [image], Rep3Backend(), parties=3, network=netem.shaped(shape))
    assert matches_reference(circuit, there.program, [image], there.outputs)
    for mine, theirs in zip(here.reports, there.reports, strict=True):
        online = theirs.phases["online"]
        assert (online.bytes_sent, online.rounds) == (mine.phases["online"].bytes_sent, mine.phases["online"].rounds)
        assert online.seconds > online.rounds * shape.rtt / 2
