"""Rounds among parties, and the cost meter against the operating system's own count."""

from __future__ import annotations

import socket
import struct
import sys
import threading
import time
from typing import Any

import numpy as np
import pytest

from mpc_bridge.errors import MalformedFrame, PeerError, PeerLost, PeerTimeout
from mpc_bridge.kernels import cpu_device
from mpc_bridge.runtime.meter import CLIENT, CostMeter
from mpc_bridge.runtime.session import Session
from mpc_bridge.runtime.transport import HEADER_BYTES, Channel
from mpc_bridge.testing.parties import run_parties

DEVICE = cpu_device()


@pytest.mark.parametrize("parties", [2, 3, 5])
def test_all_to_all_rounds(parties: int) -> None:
    def talk(session: Session) -> int:
        others = [peer for peer in range(parties) if peer != session.party]
        for round_ in range(20):
            size = 1 + 1000 * round_
            sends: dict[int, list[Any]] = {
                peer: [np.full(size, 16 * session.party + peer, np.uint8), bytes([round_])] for peer in others}
            received = {peer: (np.zeros(size, np.uint8), bytearray(1)) for peer in others}
            session.exchange(sends, received)
            for peer, (values, last) in received.items():
                assert (values == 16 * peer + session.party).all() and last == bytes([round_])
        assert session.rounds == 20
        return session.meter.phase_cost("online").bytes_sent

    expected = (parties - 1) * sum(1 + 1000 * r + 1 + HEADER_BYTES for r in range(20))
    assert run_parties([DEVICE] * parties, talk) == [expected] * parties


def test_nothing_sent_is_still_a_round_and_no_frame() -> None:
    def talk(session: Session) -> tuple[int, int, int]:
        session.exchange({}, {})
        session.exchange({peer: [b""] for peer in range(2) if peer != session.party}, {})
        cost = session.meter.phase_cost("online")
        return cost.rounds, cost.messages, cost.bytes_sent

    assert run_parties([DEVICE] * 2, talk) == [(2, 0, 0)] * 2


def test_a_party_out_of_step_is_found() -> None:
    def talk(session: Session) -> None:
        if session.party == 0:
            session.exchange({}, {})
        session.exchange({1 - session.party: [b"x"]}, {1 - session.party: [bytearray(1)]})

    with pytest.raises(MalformedFrame, match="tag"):
        run_parties([DEVICE] * 2, talk)


@pytest.mark.parametrize("sent, due", [(1, 2), (2, 1)])
def test_a_message_of_another_length_is_found(sent: int, due: int) -> None:
    def talk(session: Session) -> None:
        if session.party == 0:
            session.exchange({1: [bytes(sent)]}, {})
        else:
            session.exchange({}, {0: [bytearray(due)]})

    with pytest.raises(MalformedFrame, match="party 1, round 0"):
        run_parties([DEVICE] * 2, talk)


def test_a_party_that_fails_takes_the_others_with_it() -> None:
    errors: dict[int, BaseException] = {}

    def talk(session: Session) -> None:
        if session.party == 1:
            raise RuntimeError("a bug at party 1")
        try:
            session.exchange({}, {1: [bytearray(1)]})
        except PeerError as error:
            errors[session.party] = error
            raise

    with pytest.raises(RuntimeError, match="a bug"):
        run_parties([DEVICE] * 3, talk)
    assert {type(error) for error in errors.values()} == {PeerLost} and errors.keys() == {0, 2}


def test_a_silent_party_times_out() -> None:
    def talk(session: Session) -> None:
        if session.party == 0:
            session.exchange({}, {1: [bytearray(1)]})
        else:
            time.sleep(1)

    with pytest.raises(PeerTimeout, match="party 1"):
        run_parties([DEVICE] * 2, talk, timeout=0.2)


def test_domains_are_never_reused() -> None:
    session = Session(0, 1, DEVICE, {})
    seen: set[int] = set()
    for count in (1, 5, 1, 2**40, 3):
        first = session.domain(count)
        assert not seen & {first, first + count - 1}
        assert first > max(seen, default=-1)
        seen |= {first, first + count - 1}
    with pytest.raises(ValueError, match="at least 1"):
        session.domain(0)


def test_phases_are_exclusive_and_add_up() -> None:
    meter = CostMeter()
    with meter.phase("online"):
        meter.count_message(1, 100)
        time.sleep(0.02)
        with meter.layer("conv"):
            meter.count_round()
            meter.count_message(1, 10)
            with meter.phase("verification"):
                meter.count_message(2, 7)
                time.sleep(0.05)
    assert meter.phase_cost("online").bytes_to == {1: 110}
    assert meter.phase_cost("verification").bytes_to == {2: 7}
    assert meter.layer_cost("conv").bytes_sent == 17
    assert (meter.total().bytes_sent, meter.total().messages, meter.total().rounds) == (117, 3, 1)
    assert 0.02 <= meter.phase_cost("online").seconds < 0.05 <= meter.phase_cost("verification").seconds
    assert meter.layers() == ("conv",)


def test_setup_is_in_no_layer_cost() -> None:
    meter = CostMeter()
    with meter.phase("setup"), meter.layer("conv"):
        meter.count_message(CLIENT, 5)
    assert meter.layers() == () and meter.layer_cost("conv").bytes_sent == 0
    assert meter.phase_cost("setup").bytes_sent == 5


def test_meter_refuses_what_it_cannot_place() -> None:
    with pytest.raises(ValueError, match="unknown phase"), CostMeter().phase("offline"):
        pass


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="TCP_INFO's byte counters are Linux's")
def test_meter_agrees_with_the_kernel() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    sessions = [Session(0, 2, DEVICE, {1: Channel(near, "party 1")}),
                Session(1, 2, DEVICE, {0: Channel(far, "party 0")})]

    def talk(session: Session) -> None:
        other = 1 - session.party
        with session.meter.phase("online"):
            for size in (1, 100, 10_000, 3_000_000, 1, 1):
                session.exchange({other: [bytes(size)]}, {other: [bytearray(size)]})

    thread = threading.Thread(target=talk, args=(sessions[1],))
    thread.start()
    talk(sessions[0])
    thread.join()
    for end, sender in ((near, sessions[1]), (far, sessions[0])):
        # tcpi_bytes_received of struct tcp_info (linux/tcp.h)
        received, = struct.unpack_from("<Q", end.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192), 128)
        assert received == sender.meter.total().bytes_sent == 3_010_103 + 6 * HEADER_BYTES
    for session in sessions:
        session.close()
