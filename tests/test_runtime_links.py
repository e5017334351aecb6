"""The launcher's patience: one party's chatter buys no time for another one, and none for ever."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from mpc_bridge.errors import MalformedFrame, PeerTimeout
from mpc_bridge.runtime import links
from mpc_bridge.runtime.links import PartyLinks
from mpc_bridge.runtime.messages import encode_error, encode_progress
from mpc_bridge.runtime.transport import Channel, Kind, encode_header

PROGRESS = encode_header(Kind.PROGRESS, 1, 8) + encode_progress(5)


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[list[Channel], list[socket.socket]]]:
    """The launcher's channels to two parties, and the parties' ends."""
    monkeypatch.setattr(links, "_MARGIN_SECONDS", 0.0)
    pairs = [socket.socketpair() for _ in range(2)]
    yield [Channel(near, f"party {party}") for party, (near, _) in enumerate(pairs)], [far for _, far in pairs]
    for pair in pairs:
        for sock in pair:
            sock.close()


def chatter(peer: socket.socket, stop: threading.Event) -> threading.Thread:
    def talk() -> None:
        while not stop.wait(0.05):
            peer.sendall(PROGRESS)

    thread = threading.Thread(target=talk)
    thread.start()
    return thread


@pytest.mark.parametrize("answered", [True, False], ids=["the other is done", "the other is silent"])
def test_progress_buys_time_for_its_sender_alone(ends: tuple[list[Channel], list[socket.socket]],
                                                 answered: bool) -> None:
    channels, parties = ends
    seen: list[int] = []
    made = PartyLinks(channels, len(channels), 100, 0.4, 1000, lambda party, tag, sent: seen.append(party), str)
    stop = threading.Event()
    thread = chatter(parties[1], stop)
    started = time.monotonic()
    try:
        if answered:
            # Party 1 works for longer than the timeout, and says so: that is no failure.
            parties[0].sendall(encode_header(Kind.OUTPUT, 3, 1) + b"a")
            threading.Timer(0.9, parties[1].sendall, [encode_header(Kind.OUTPUT, 3, 1) + b"b"]).start()
            assert made.gather(Kind.OUTPUT, 3) == [b"a", b"b"]
            assert time.monotonic() - started > 0.8
        else:
            with pytest.raises(PeerTimeout, match="no word from party 0"):
                made.gather(Kind.OUTPUT, 3)
            assert time.monotonic() - started < 2
    finally:
        stop.set()
        thread.join()
    assert set(seen) == {1}


def test_nobody_waits_too_long_while_no_party_has_answered(ends: tuple[list[Channel], list[socket.socket]]) -> None:
    """Slow links take any time: what bounds it is the patience of a party that keeps to the protocol."""
    channels, parties = ends
    made = PartyLinks(channels, len(channels), 100, 0.8, 12, lambda party, tag, sent: None, str)
    stop = threading.Event()
    threads = [chatter(party, stop) for party in parties]
    answers = [threading.Timer(2.0, party.sendall, [encode_header(Kind.OUTPUT, 3, 1) + b"a"]) for party in parties]
    for answer in answers:
        answer.start()
    try:
        # 40 frames of each, and more than twice the timeout
        assert made.gather(Kind.OUTPUT, 3) == [b"a", b"a"]
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_party_at_work_takes_its_shares_later(ends: tuple[list[Channel], list[socket.socket]]) -> None:
    channels, parties = ends
    made = PartyLinks(channels, len(channels), 100, 0.8, 12, lambda party, tag, sent: None, str)
    message = bytes(64 << 20)
    stop, taken = threading.Event(), []

    def take() -> None:
        size = len(encode_header(Kind.WEIGHT, 0, 0)) + len(message)
        while size:
            size -= len(parties[1].recv(1 << 20))
        taken.append(True)

    thread = chatter(parties[1], stop)
    later = threading.Timer(1.8, lambda: (stop.set(), take()))
    later.start()
    try:
        made.send(Kind.WEIGHT, 0, [b"", message])
    finally:
        stop.set()
        thread.join()
        later.join()
    assert taken == [True]


def test_a_party_that_takes_nothing_and_says_nothing_is_lost(ends: tuple[list[Channel], list[socket.socket]]) -> None:
    channels, parties = ends
    made = PartyLinks(channels, len(channels), 100, 0.8, 12, lambda party, tag, sent: None, str)
    stop = threading.Event()
    thread = chatter(parties[0], stop)
    try:
        with pytest.raises(PeerTimeout, match="no word from party 1"):
            made.send(Kind.WEIGHT, 0, [b"", bytes(64 << 20)])
    finally:
        stop.set()
        thread.join()


def test_a_party_that_waited_as_long_as_it_may_speaks_first(ends: tuple[list[Channel], list[socket.socket]]) -> None:
    """It is not the one to blame: it had heard bytes, and no reason yet to say so, when the other one fell silent."""
    channels, parties = ends
    made = PartyLinks(channels, len(channels), 100, 3.0, 1000, lambda party, tag, sent: None, str)
    payload = encode_error(PeerTimeout("no word from party 0 for 3 s"))
    speaks = threading.Timer(3.3, parties[1].sendall, [encode_header(Kind.ERROR, 0, len(payload)) + payload])
    stop = threading.Event()
    thread = chatter(parties[0], stop)
    speaks.start()
    try:
        with pytest.raises(PeerTimeout, match="no word from party 0"):
            made.gather(Kind.OUTPUT, 3)
    finally:
        stop.set()
        thread.join()
        speaks.join()


def test_progress_ends(ends: tuple[list[Channel], list[socket.socket]]) -> None:
    channels, parties = ends
    made = PartyLinks(channels, len(channels), 100, 0.4, 12, lambda party, tag, sent: None, str)
    parties[0].sendall(encode_header(Kind.OUTPUT, 3, 1) + b"a")
    stop = threading.Event()
    thread = chatter(parties[1], stop)
    try:
        with pytest.raises(MalformedFrame, match="party 1 reports more progress than there is to make"):
            made.gather(Kind.OUTPUT, 3)
    finally:
        stop.set()
        thread.join()


@pytest.fixture
def helped(ends: tuple[list[Channel], list[socket.socket]]) -> Iterator[tuple[PartyLinks, list[socket.socket]]]:
    """The launcher's links to two parties and a dealer, and their ends."""
    channels, parties = ends
    near, far = socket.socketpair()
    yield PartyLinks([*channels, Channel(near, "the dealer")], 2, 100, 5.0, 1000, lambda *progress: None, str), [
        *parties, far]
    near.close()
    far.close()


def test_a_helper_reports_no_progress(helped: tuple[PartyLinks, list[socket.socket]]) -> None:
    made, members = helped
    members[2].sendall(PROGRESS)
    with pytest.raises(MalformedFrame, match="the dealer reports more progress than there is to make"):
        made.gather(Kind.OUTPUT, 3)


def test_a_helper_has_its_time_after_the_parties(helped: tuple[PartyLinks, list[socket.socket]]) -> None:
    """It deals for them and says nothing meanwhile."""
    made, members = helped
    made._waiter.timeout = 0.8
    stop = threading.Event()
    threads = [chatter(party, stop) for party in members[:2]]
    ready = encode_header(Kind.READY, 0, 0)
    answers = [threading.Timer(after, member.sendall, [ready]) for after, member in zip((1.5, 1.5, 1.9), members,
                                                                                     strict=True)]
    for answer in answers:
        answer.start()
    try:
        assert made.gather(Kind.READY, 0, everybody=True) == [b"", b"", b""]
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_silent_helper_is_to_blame_and_not_the_launcher_that_waits_too(
    helped: tuple[PartyLinks, list[socket.socket]], order: tuple[int, int]
) -> None:
    made, members = helped
    for party in order:
        payload = encode_error(PeerTimeout(f"no word from {('the dealer', 'the launcher')[party]} for 2 s"))
        members[party].sendall(encode_header(Kind.ERROR, 0, len(payload)) + payload)
    with pytest.raises(PeerTimeout, match="no word from the dealer"):
        made.gather(Kind.READY, 0)


def test_a_helpers_errors_bear_its_name(helped: tuple[PartyLinks, list[socket.socket]]) -> None:
    made, members = helped
    payload = encode_error(PeerTimeout("no word from party 0 for 2 s"))
    members[2].sendall(encode_header(Kind.ERROR, 0, len(payload)) + payload)
    with pytest.raises(PeerTimeout) as found:
        made.gather(Kind.READY, 0)
    assert found.value.where == "the dealer"
