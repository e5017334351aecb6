"""Histograms of rounds: nothing is lost, nothing counts as less than it was, and no report makes them big."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc_bridge.errors import MalformedFrame
from mpc_bridge.kernels import cpu_device
from mpc_bridge.runtime import rounds
from mpc_bridge.runtime.messages import PartyReport
from mpc_bridge.runtime.meter import SPENT, CostMeter
from mpc_bridge.runtime.session import Session
from mpc_bridge.runtime.transport import encode_header
from mpc_bridge.testing.parties import run_parties

HEADER = len(encode_header(0, 0, 0))
SENT = st.lists(st.lists(st.integers(0, 9), max_size=12), min_size=1, max_size=5)


def histogram(sizes: list[int]) -> dict[int, int]:
    found: dict[int, int] = {}
    for size in sizes:
        rounds.count(found, size)
    return found


@given(SENT)
def test_the_largest_round_by_round(sent: list[list[int]]) -> None:
    """Against the definition: every party's rounds one by one, sorted, a missing one as if nothing was sent."""
    length = max(map(len, sent))
    padded = [sorted(sizes, reverse=True) + [0] * (length - len(sizes)) for sizes in sent]
    expected = Counter(max(column) for column in zip(*padded, strict=True))
    found = rounds.largest([histogram(sizes) for sizes in sent])
    assert found == expected and list(found) == sorted(found)


def test_many_sizes_become_neighbours_of_greater_size() -> None:
    sizes = [(7919 * i) % 100_003 for i in range(20_000)]
    found = histogram(sizes)
    assert rounds.SIZES // 2 <= len(found) <= rounds.SIZES
    assert sum(found.values()) == len(sizes) and max(found) == max(sizes)
    one_by_one = [size for size, count in sorted(found.items()) for _ in range(count)]
    assert all(kept >= size for kept, size in zip(one_by_one, sorted(sizes), strict=True))
    # an even spread of sizes stays one, a few halvings coarser
    assert sum(one_by_one) <= 1.01 * sum(sizes)
    several = rounds.largest([histogram(sizes), histogram([size + 1 for size in sizes[:9000]])])
    assert len(several) <= rounds.SIZES and sum(several.values()) == len(sizes)


def test_billions_of_rounds_cost_no_more_than_their_sizes() -> None:
    assert rounds.largest([{5: 10**15, 7: 1}, {6: 10**15}]) == {5: 1, 6: 10**15 - 1, 7: 1}


def test_a_round_is_what_goes_to_all_peers_together() -> None:
    def party(session: Session) -> CostMeter:
        buffers = {peer: bytearray(3) for peer in session.peers}
        session.exchange({peer: [b"abc"] for peer in session.peers}, {peer: [b] for peer, b in buffers.items()})
        if session.party == 0:
            session.exchange({1: [b"four"], 2: [b"", b"8 bytes."]}, {})
        else:
            session.exchange({}, {0: [bytearray(4 * session.party)]})
        return session.meter

    meters = run_parties([cpu_device() for _ in range(3)], party)
    both = 2 * (HEADER + 3)
    assert meters[0].round_bytes("online") == {both: 1, 2 * HEADER + 12: 1}
    assert meters[1].round_bytes("online") == meters[2].round_bytes("online") == {both: 1, 0: 1}
    assert all(meter.round_bytes("setup") == {} for meter in meters)


def test_a_flight_is_what_somebody_waits_for() -> None:
    """Messages that follow one another in one direction are one; each answer is one, and so is each exchange."""
    def party(session: Session) -> CostMeter:
        def to(receiver: int, *sizes: int) -> None:
            for size in sizes:
                if session.party == receiver:
                    session.exchange({}, {1 - receiver: [bytearray(size)]})
                else:
                    session.exchange({receiver: [bytes(size)]}, {})

        peer = 1 - session.party
        to(1, 10, 20, 30)
        to(0, 5)
        to(1, 7)
        for _ in range(2):
            session.exchange({peer: [b"abc"]}, {peer: [bytearray(3)]})
        to(0, 100)
        session.exchange({}, {})
        to(0, 200)
        with session.meter.phase("verification"):
            to(0, 1)
        return session.meter

    for meter in run_parties([cpu_device() for _ in range(2)], party):
        assert meter.flights("online") == {
            3 * HEADER + 60: 1, HEADER + 5: 1, HEADER + 7: 1, HEADER + 3: 2, 2 * HEADER + 300: 1}
        assert meter.flights("verification") == {HEADER + 1: 1} and meter.flights("setup") == {}
        assert meter.phase_cost("online").rounds == 10


def filled() -> CostMeter:
    meter = CostMeter()
    for phase in SPENT:
        with meter.phase(phase):
            meter.count_round(5)
            with meter.layer("conv"):
                meter.count_round(9)
                meter.count_work(and_gates=3, ring_multiplications=2, correlations={"dabits": 8, "nothing": 0})
                meter.count_work(and_gates=1, correlations={"dabits": 1, "ot": 2})
    return meter


def test_work_belongs_to_its_phase_and_layer() -> None:
    meter = filled()
    once = {"dabits": 9, "ot": 2}
    for cost in (meter.phase_cost("online"), meter.layer_cost("conv", "online")):
        assert (cost.work.and_gates, cost.work.ring_multiplications, cost.work.correlations) == (4, 2, once)
    assert meter.layer_cost("conv").work.and_gates == meter.total().work.and_gates == 12
    assert meter.phase_cost("setup").work.and_gates == 0
    # what was asked for is a copy
    meter.round_bytes("online").clear()
    assert meter.round_bytes("online") == {5: 1, 9: 1}


REPORT = json.loads(PartyReport.of(filled(), 0).encode())


@pytest.mark.parametrize("key", ["round_bytes", "flights"])
@pytest.mark.parametrize("value", [{"5": 0}, {"-5": 1}, {"5": -1}, {"x": 1}, [[5, 1]], None,
                                   {str(size): 1 for size in range(rounds.SIZES + 1)}])
def test_what_is_no_histogram_is_refused(key: str, value: object) -> None:
    report = {**REPORT, key: {**REPORT[key], "online": value}}
    with pytest.raises(MalformedFrame, match="party 1 sent an unreadable cost report"):
        PartyReport.decode(bytearray(json.dumps(report).encode()), 1)


@pytest.mark.parametrize("names", [["\x1b[2J"], ["x" * 64], [f"n{i}" for i in range(65)], [""]])
def test_what_is_no_name_of_correlations_is_refused(names: list[str]) -> None:
    work = {"and_gates": 0, "ring_multiplications": 0, "correlations": {name: 1 for name in names}}
    report = {**REPORT, "phases": {**REPORT["phases"], "online": {**REPORT["phases"]["online"], "work": work}}}
    with pytest.raises(MalformedFrame, match="party 1 sent an unreadable cost report"):
        PartyReport.decode(bytearray(json.dumps(report).encode()), 1)
