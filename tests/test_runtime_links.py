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
from mpc_bridge.runtime.messages import encode_progress
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
