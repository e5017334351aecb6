"""Predictions: exact where they can be worked out by hand, and near real runs on delayed and shaped connections."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import mpc_bridge
from mpc_bridge.bench import netem
from mpc_bridge.bench.predict import FIRST_WINDOW, HEADERS, SEGMENT, SEND_BUFFER, predict, stalls, transfer
from mpc_bridge.bench.shapes import LAN, WAN, Shape
from mpc_bridge.circuit.graph import Circuit
from mpc_bridge.runtime.meter import PHASES
from mpc_bridge.runtime.transport import HEADER, HEADER_BYTES, Kind
from mpc_bridge.testing.tap import Relay

DEMO = Path(mpc_bridge.__file__).parent / "demo"
Array = npt.NDArray[np.generic]
SETTINGS: dict[str, dict[str, Any]] = {
    "rep3": {"security": "semi-honest"},
    "additive": {"security": "semi-honest", "majority": "dishonest", "preprocessing": "dealer"},
    "additive, ot": {"security": "semi-honest", "majority": "dishonest", "preprocessing": "ot"},
    "spdz2k": {"security": "malicious", "majority": "dishonest"},
}
LOCAL = 0.25


@pytest.fixture(scope="module")
def circuit() -> Circuit:
    return mpc_bridge.load(DEMO / "digits.tflite")


@pytest.fixture(scope="module")
def images(circuit: Circuit) -> Array:
    with np.load(DEMO / "inputs.npz") as inputs:
        images: Array = inputs["in0"].reshape(-1, *circuit.tensors[circuit.inputs[0]].shape)
        return images


def report(flights: list[list[int]], rounds: int | None = None, sent: list[int] | None = None, waits: int = 0,
           samples: int = 1, parties: int = 3, helper: object = None) -> dict[str, Any]:
    """What a prediction reads of a report, every phase alike."""
    count = sum(number for _, number in flights) if rounds is None else rounds
    phase = {"seconds": LOCAL, "rounds": count, "flights": flights}
    said = {"bytes_sent": [0] * parties if sent is None else sent, "waits": waits}
    return {"phases": dict.fromkeys(PHASES, phase), "launcher": {"phases": dict.fromkeys(PHASES, said)},
            "samples": samples, "helper": helper, "threat_model": {"parties": parties}}


def online(shape: Shape, flights: list[list[int]], **more: Any) -> float:
    return predict(report(flights, **more), shape)["online"] - LOCAL


def test_a_flight_is_half_a_round_trip_and_its_bytes() -> None:
    assert online(WAN, [[1448, 70]]) == pytest.approx(70 * (0.020 + 8 * (1448 + 66) / 100e6))
    assert online(LAN, [[2896, 5], [100, 3]]) == pytest.approx(8 * 0.0005 + 8 * (5 * (2896 + 132) + 3 * 166) / 1e9)
    assert online(WAN, []) == 0


def test_the_window_doubles_until_the_path_is_full() -> None:
    # 10 segments, then 20, then the rest: two waits for an acknowledgement
    first, second = transfer(10 * SEGMENT, WAN), transfer(20 * SEGMENT, WAN)
    waits = (0.040 - first) + (0.040 - second)
    assert stalls(50_000, FIRST_WINDOW, WAN) == pytest.approx(waits)
    assert stalls(10 * SEGMENT, FIRST_WINDOW, WAN) == 0 == stalls(50_000, 50_000, WAN)
    # once paid, the window is there for those that come after it
    assert online(WAN, [[50_000, 9]]) == pytest.approx(9 * (0.020 + transfer(50_000, WAN)) + waits)
    # 1 Gbit/s for 1 ms is 125 kB: 80 segments leave in 0.97 ms, 160 take longer than the first one's acknowledgement
    long = sum(0.001 - transfer(number * SEGMENT, LAN) for number in (10, 20, 40, 80))
    assert online(LAN, [[10**8, 1]]) == pytest.approx(0.0005 + transfer(10**8, LAN) + long)


def test_transfer_counts_headers() -> None:
    assert transfer(0, WAN) == 0
    assert transfer(1, WAN) == pytest.approx(8 * (1 + HEADERS) / 100e6)
    assert transfer(SEGMENT + 1, WAN) == pytest.approx(8 * (SEGMENT + 1 + 2 * HEADERS) / 100e6)


def test_rounds_in_one_direction_hide_what_is_computed_meanwhile() -> None:
    # one flight of four rounds, 40 MB: after three of them the next one is computed for a quarter of the local time
    plain = online(WAN, [[40_000_000, 1]])
    assert online(WAN, [[40_000_000, 1]], rounds=4) == pytest.approx(plain - 3 * LOCAL / 4)
    # on a fast path only as long as a socket's bytes take
    fast = Shape("fast", 0.001, 10**10)
    plain = online(fast, [[40_000_000, 1]])
    assert online(fast, [[40_000_000, 1]], rounds=4) == pytest.approx(plain - 3 * transfer(SEND_BUFFER, fast))


def test_the_launchers_share() -> None:
    # every sample: 1000 bytes to one party and 2000 to another over one uplink; three times somebody waits
    sent = [3000, 6000, 0]
    assert online(WAN, [], sent=sent, waits=3, samples=3) == pytest.approx(
        3 * 0.040 + 3 * 8 * (1000 + 66 + 2000 + 2 * 66) / 100e6)
    assert online(WAN, [], sent=[20_000, 0, 0]) == pytest.approx(transfer(20_000, WAN) + 0.040 - transfer(14_480, WAN))


def test_setup_is_joining_too() -> None:
    for helper, members in ((None, 3), ({}, 4)):
        seconds = predict(report([], helper=helper), WAN)
        assert seconds["setup"] == pytest.approx(LOCAL + (3 * members + 0.5) * 0.040)
        assert seconds["preprocessing"] == seconds["verification"] == LOCAL


def test_other_seconds_than_the_reports() -> None:
    local = {phase: float(number) for number, phase in enumerate(PHASES)}
    seconds = predict(report([[10, 4]]), LAN, local)
    assert seconds["online"] - local["online"] == pytest.approx(online(LAN, [[10, 4]]))
    assert predict(report([[10, 4]]), Shape("none", 0.0, 10**12), local) == pytest.approx(local, abs=1e-8)


def test_worse_networks_take_longer_and_the_answer_comes_at_once() -> None:
    flights = [[size, 1 + size % 7] for size in range(24, 4_000_000, 10_000)]
    whole = report(flights, rounds=2000, sent=[10_000, 200_000, 3_000_000], waits=4, samples=2)
    bandwidths = [10**power * factor for power in range(6, 11) for factor in (1, 3)]
    trips = [0.0, 0.0001, 0.001, 0.003, 0.01, 0.04, 0.2]
    start = time.perf_counter()
    table = [[sum(predict(whole, Shape("x", rtt, bandwidth)).values()) for bandwidth in bandwidths] for rtt in trips]
    assert (time.perf_counter() - start) / len(bandwidths) / len(trips) < 0.02
    for row in table:
        assert all(wider < narrower for narrower, wider in zip(row, row[1:], strict=False))
    for column in zip(*table, strict=True):
        assert all(nearer < farther for nearer, farther in zip(column, column[1:], strict=False))


class Slow(Relay):
    """Holds everything back for a while on its way, without holding back what follows in the other direction.

    Args:
        seconds: one way.
        sender: whose messages; None: everybody's.
    """

    def __init__(self, seconds: float, sender: int | None = None) -> None:
        super().__init__()
        self._seconds = seconds
        self._sender = sender

    def pass_on(self, sender: int, receiver: int, data: bytes) -> bytes:
        if self._sender in (None, sender):
            time.sleep(self._seconds)
        return super().pass_on(sender, receiver, data)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("name", ["rep3", "additive, ot"])
def test_flights_are_trips(circuit: Circuit, images: Array, name: str) -> None:
    """What a delay of every message adds is what is predicted: the flights, no more and no fewer."""
    local = mpc_bridge.evaluate(circuit, images[:1], check=False, **SETTINGS[name]).report()
    with Slow(0.02) as relay:
        slow = mpc_bridge.evaluate(circuit, images[:1], check=False, tap=relay, **SETTINGS[name]).report()
    expected = predict(local, Shape("slow", 0.04, 10**12))
    # a relay has a window of its own, so no stalls; what it takes to pass on large messages is its own, too
    for phase in ("online", "verification"):
        network = 0.02 * sum(number for _, number in local["phases"][phase]["flights"])
        assert expected[phase] >= local["phases"][phase]["seconds"] + network
        got = slow["phases"][phase]["seconds"] - local["phases"][phase]["seconds"]
        assert 0.9 * network - 0.05 <= got <= 1.3 * network + 0.25, phase


@pytest.mark.usefixtures("installed")
def test_what_the_launcher_sent_and_who_waited(circuit: Circuit, images: Array) -> None:
    samples = 2
    for name, waits in (("rep3", (0, 0)), ("additive", (0, samples)), ("spdz2k", (None, samples))):
        with Relay() as relay:
            found = mpc_bridge.evaluate(circuit, images[:samples], check=False, tap=relay, **SETTINGS[name]).report()
            relay.join()
            streams = {member: bytes(data) for (sender, member), data in relay.streams.items() if sender == -1}
        sent = {kind: [0] * len(streams) for kind in Kind}
        weights = 0
        for member, stream in streams.items():
            at = 0
            while at < len(stream):
                _, _, kind, _, length = HEADER.unpack_from(stream, at)
                sent[Kind(kind)][member] += HEADER_BYTES + length
                weights += kind == Kind.WEIGHT and member == 0
                at += HEADER_BYTES + length
        phases = found["launcher"]["phases"]
        assert phases["setup"]["bytes_sent"] == [a + b for a, b in zip(sent[Kind.CIRCUIT], sent[Kind.WEIGHT],
                                                                       strict=True)]
        entering = [a + b for a, b in zip(phases["preprocessing"]["bytes_sent"], phases["online"]["bytes_sent"],
                                          strict=True)]
        assert entering == [a + b for a, b in zip(sent[Kind.SAMPLE], sent[Kind.INPUT], strict=True)]
        assert len(entering) == found["threat_model"]["parties"] + (name != "rep3")
        # where weights are masked, each is an answer
        assert phases["setup"]["waits"] == (weights if waits[0] is None else waits[0])
        assert phases["preprocessing"]["waits"] == waits[1] and phases["online"]["waits"] == 0


@pytest.mark.usefixtures("installed")
def test_a_party_that_waits_for_the_others_correlations_is_not_online_yet(circuit: Circuit, images: Array) -> None:
    """The dealer's corrections go to one party; the other one's input comes only when that one has them."""
    with Slow(0.4, sender=2) as relay:
        result = mpc_bridge.evaluate(circuit, images[:1], check=False, tap=relay, **SETTINGS["additive"])
    phases = result.report()["phases"]
    assert phases["preprocessing"]["seconds"] > 0.4
    assert phases["online"]["seconds"] < 0.4


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("shape", [LAN, WAN], ids=lambda shape: shape.name)
@pytest.mark.parametrize("name", ["rep3", "spdz2k"])
def test_near_a_real_network(circuit: Circuit, images: Array, name: str, shape: Shape) -> None:
    reason = netem.available()
    if reason is not None:
        pytest.skip(reason)
    local = mpc_bridge.evaluate(circuit, images[:1], check=False, transport="tcp", **SETTINGS[name]).report()
    real = mpc_bridge.evaluate(circuit, images[:1], check=False, network=netem.shaped(shape), **SETTINGS[name]).report()
    expected = predict(local, shape)
    for phase in ("preprocessing", "online", "verification"):
        got = real["phases"][phase]["seconds"]
        assert abs(expected[phase] - got) < 0.25 * got + 0.1, (phase, got, expected[phase])
