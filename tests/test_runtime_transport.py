"""Frames between two ends: what is not exactly the expected frame is a typed error, and nothing hangs."""

from __future__ import annotations

import math
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from mpc_bridge.errors import MalformedFrame, PeerLost, PeerTimeout
from mpc_bridge.runtime.transport import (
    HEADER_BYTES,
    MINIMUM_RATE,
    PROTOCOL_VERSION,
    AnyIncoming,
    Channel,
    Incoming,
    Kind,
    Outgoing,
    Transfer,
    Waiter,
    encode_header,
    flatten,
    receive_frame,
    send_frame,
)

Ends = tuple[Channel, socket.socket]


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        one = socket.create_connection(listener.getsockname())
        other, _ = listener.accept()
    return one, other


@pytest.fixture(params=["unix", "tcp"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair() if request.param == "unix" else tcp_pair()
    yield one, other
    one.close()
    other.close()


@pytest.fixture
def ends(pair: tuple[socket.socket, socket.socket]) -> Ends:
    """A channel, and a peer that may say anything."""
    return Channel(pair[0], "party 1"), pair[1]


def expect(channel: Channel, size: int, tag: int = 7, timeout: float = 5.0) -> bytearray:
    payload = bytearray(size)
    Waiter(timeout).run([Incoming(channel, Kind.ROUND, tag, flatten([payload]))])
    return payload


def test_header_is_24_bytes() -> None:
    assert len(encode_header(2, 3, 4)) == HEADER_BYTES == 24


@pytest.mark.parametrize("size", [1, 23, 1000, 70_000, 9_000_001])
def test_payload_arrives_whole_in_many_buffers(pair: tuple[socket.socket, socket.socket], size: int) -> None:
    data = np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8)
    cuts = sorted([0, 1, size // 3, size // 3, size])
    one, other = Channel(pair[0], "a"), Channel(pair[1], "b")
    received = np.zeros_like(data)
    sender = threading.Thread(target=send_frame, args=(
        one, Kind.ROUND, 7, [data[start:stop] for start, stop in zip(cuts, cuts[1:], strict=False)], Waiter(5)))
    sender.start()
    Waiter(5).run([Incoming(other, Kind.ROUND, 7, flatten([received[:size // 2], received[size // 2:]]))])
    sender.join()
    np.testing.assert_array_equal(received, data)
    assert one.sent == other.received == size + HEADER_BYTES


def test_more_buffers_than_one_system_call_takes(pair: tuple[socket.socket, socket.socket]) -> None:
    data = np.arange(3000, dtype=np.uint32)
    received = np.zeros_like(data)
    one, other = Channel(pair[0], "a"), Channel(pair[1], "b")
    send_frame(one, Kind.ROUND, 0, [data[i:i + 1] for i in range(3000)], Waiter(5))
    Waiter(5).run([Incoming(other, Kind.ROUND, 0, flatten([received[i:i + 1] for i in range(3000)]))])
    np.testing.assert_array_equal(received, data)


def test_both_directions_at_once_do_not_deadlock(pair: tuple[socket.socket, socket.socket]) -> None:
    size = 64 << 20  # far beyond what sockets buffer
    out = [np.full(size, fill, dtype=np.uint8) for fill in (1, 2)]
    back = [np.zeros(size, dtype=np.uint8) for _ in range(2)]
    channels = [Channel(end, "peer") for end in pair]

    def run(end: int) -> None:
        transfers: list[Transfer] = [Outgoing(channels[end], Kind.ROUND, 0, flatten([out[end]])),
                                     Incoming(channels[end], Kind.ROUND, 0, flatten([back[end]]))]
        Waiter(20).run(transfers)

    thread = threading.Thread(target=run, args=(1,))
    thread.start()
    run(0)
    thread.join()
    assert (back[0] == 2).all() and (back[1] == 1).all()


def test_two_frames_are_not_mixed(ends: Ends) -> None:
    channel, peer = ends
    peer.sendall(encode_header(Kind.ROUND, 7, 3) + b"abc" + encode_header(Kind.OUTPUT, 9, 2) + b"de")
    assert expect(channel, 3) == b"abc"
    frame = receive_frame(channel, 10, Waiter(5))
    assert frame == (Kind.OUTPUT, 9, bytearray(b"de"))


@pytest.mark.parametrize("frame", [
    pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", id="garbage"),
    pytest.param(bytes(40), id="zeros"),
    pytest.param(encode_header(Kind.ROUND, 8, 16) + bytes(16), id="wrong tag"),
    pytest.param(encode_header(Kind.OUTPUT, 7, 16) + bytes(16), id="wrong kind"),
    pytest.param(encode_header(Kind.ROUND, 7, 15) + bytes(15), id="too short"),
    pytest.param(encode_header(Kind.ROUND, 7, 17) + bytes(17), id="too long"),
    pytest.param(encode_header(Kind.ROUND, 7, 0), id="empty"),
    pytest.param(struct.pack("<IHHQQ", 0x4250434D, PROTOCOL_VERSION + 1, Kind.ROUND, 7, 16) + bytes(16), id="version"),
])
def test_anything_but_the_due_frame_is_malformed(ends: Ends, frame: bytes) -> None:
    channel, peer = ends
    peer.sendall(frame)
    with pytest.raises(MalformedFrame, match="party 1"):
        expect(channel, 16)


@pytest.mark.parametrize("frame", [b"x" * 24, encode_header(1, 0, 101), encode_header(1, 0, 2**64 - 1),
                                   struct.pack("<IHHQQ", 0x4250434D, PROTOCOL_VERSION + 1, 1, 0, 5)])
def test_open_frame_has_a_limit(ends: Ends, frame: bytes) -> None:
    channel, peer = ends
    peer.sendall(frame)
    with pytest.raises(MalformedFrame, match="party 1"):
        receive_frame(channel, 100, Waiter(5))


@pytest.mark.parametrize("prefix", [0, 1, 23, 24, 30])
def test_end_of_stream_in_a_frame_is_a_lost_peer(ends: Ends, prefix: int) -> None:
    channel, peer = ends
    peer.sendall((encode_header(Kind.ROUND, 7, 16) + bytes(16))[:prefix])
    peer.close()
    with pytest.raises(PeerLost, match="party 1"):
        expect(channel, 16)


def test_sending_to_a_closed_peer_is_a_lost_peer(ends: Ends) -> None:
    channel, peer = ends
    peer.close()
    with pytest.raises(PeerLost):
        for _ in range(100):
            send_frame(channel, Kind.ROUND, 0, [bytes(100_000)], Waiter(5))


@pytest.mark.parametrize("prefix", [0, 10, 24, 30])
def test_silence_is_a_timeout(ends: Ends, prefix: int) -> None:
    channel, peer = ends
    peer.sendall((encode_header(Kind.ROUND, 7, 16) + bytes(16))[:prefix])
    started = time.monotonic()
    with pytest.raises(PeerTimeout, match="party 1"):
        expect(channel, 16, timeout=0.2)
    assert 0.15 < time.monotonic() - started < 2


def test_a_peer_that_does_not_read_is_a_timeout(ends: Ends) -> None:
    with pytest.raises(PeerTimeout):
        send_frame(ends[0], Kind.ROUND, 0, [bytes(64 << 20)], Waiter(0.2))


def test_a_slow_peer_is_not_a_timeout(ends: Ends) -> None:
    channel, peer = ends
    data = bytes(MINIMUM_RATE)
    frame = encode_header(Kind.ROUND, 7, len(data)) + data

    def trickle() -> None:
        step = len(frame) // 5 + 1
        for start in range(0, len(frame), step):
            time.sleep(0.12)
            peer.sendall(frame[start:start + step])

    thread = threading.Thread(target=trickle)
    thread.start()
    assert expect(channel, len(data), timeout=0.4) == data  # 0.6 s in all; 1.4 s are allowed
    thread.join()


@contextmanager
def dripping(peer: socket.socket, data: bytes, seconds: float = 0.05) -> Iterator[None]:
    """The peer sends one byte at a time, for ever."""
    stop = threading.Event()

    def drip() -> None:
        for byte in data:
            if stop.wait(seconds):
                return
            peer.send(bytes([byte]))

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("sent_at_once", [0, 24], ids=["header", "payload"])
def test_a_peer_that_drips_bytes_is_a_timeout(ends: Ends, sent_at_once: int) -> None:
    channel, peer = ends
    frame = encode_header(Kind.ROUND, 7, 200) + bytes(200)
    peer.sendall(frame[:sent_at_once])
    started = time.monotonic()
    with dripping(peer, frame[sent_at_once:]), pytest.raises(PeerTimeout, match="party 1"):
        expect(channel, 200, timeout=0.3)
    assert 0.25 < time.monotonic() - started < 2


@pytest.mark.parametrize("sent_at_once", [0, 24], ids=["header", "payload"])
def test_dripping_a_frame_of_any_kind_is_a_timeout(ends: Ends, sent_at_once: int) -> None:
    channel, peer = ends
    frame = encode_header(Kind.ROUND, 7, 200) + bytes(200)
    peer.sendall(frame[:sent_at_once])
    started = time.monotonic()
    with dripping(peer, frame[sent_at_once:]), pytest.raises(PeerTimeout, match="party 1"):
        receive_frame(channel, 200, Waiter(0.3))
    assert 0.25 < time.monotonic() - started < 2


def test_a_peer_that_reads_in_drips_is_a_timeout() -> None:
    near, far = socket.socketpair()
    channel = Channel(near, "party 1")
    stop = threading.Event()

    def sip() -> None:
        while not stop.wait(0.005):
            far.recv(1 << 17)

    thread = threading.Thread(target=sip)
    thread.start()
    sending = Outgoing(channel, Kind.ROUND, 0, flatten([bytes(64 << 20)]))
    sending.allow(1 << 14)  # as for a small frame, so that the test is short
    started = time.monotonic()
    with pytest.raises(PeerTimeout, match="party 1 takes less than 64 KiB/s"):
        Waiter(0.5).run([sending])
    assert 0.6 < time.monotonic() - started < 5
    stop.set()
    thread.join()
    near.close()
    far.close()


def test_a_drip_is_found_behind_a_flood(ends: Ends) -> None:
    """Deadlines are looked at also while there is always something to read."""
    dripper, peer = ends
    one, other = socket.socketpair()
    stop = threading.Event()

    def flood() -> None:
        other.sendall(encode_header(Kind.ROUND, 0, 1 << 40))
        chunk = bytes(1 << 12)
        try:
            while not stop.is_set():
                other.sendall(chunk)
        except OSError:
            pass

    thread = threading.Thread(target=flood)
    thread.start()
    flooded = AnyIncoming(Channel(one, "party 2"), 1 << 40)
    # a payload of a tebibyte that needs no memory: the same megabyte, over and over
    flooded.payload = bytearray(1 << 20)
    flooded.views = [memoryview(bytearray(HEADER_BYTES)), *[memoryview(flooded.payload)] * 100_000]
    started = time.monotonic()
    try:
        with dripping(peer, encode_header(Kind.ROUND, 0, 40) + bytes(40), 0.03), \
                pytest.raises(PeerTimeout, match="party 1"):
            flooded.allow(1 << 40)
            Waiter(0.4).run([flooded, Incoming(dripper, Kind.ROUND, 0, flatten([bytearray(40)]))])
        assert 0.3 < time.monotonic() - started < 3
    finally:
        stop.set()
        one.close()
        thread.join()
        other.close()


def test_one_silent_peer_is_found_behind_a_talkative_one(ends: Ends) -> None:
    silent, _ = ends
    one, other = socket.socketpair()
    talkative = Channel(one, "party 2")
    stop = threading.Event()

    def talk() -> None:
        other.sendall(encode_header(Kind.ROUND, 0, 1000))
        while not stop.wait(0.02):
            other.sendall(b"x")

    thread = threading.Thread(target=talk)
    thread.start()
    try:
        with pytest.raises(PeerTimeout, match="party 1"):
            Waiter(0.3).run([Incoming(talkative, Kind.ROUND, 0, flatten([bytearray(1000)])),
                             Incoming(silent, Kind.ROUND, 0, flatten([bytearray(1)]))])
    finally:
        stop.set()
        thread.join()
        one.close()
        other.close()


def test_the_end_of_a_watched_channel_interrupts_a_wait(ends: Ends) -> None:
    channel, _ = ends
    one, other = socket.socketpair()
    control = Channel(one, "the launcher")
    threading.Timer(0.1, other.close).start()
    started = time.monotonic()
    with pytest.raises(PeerLost, match="the launcher"):
        Waiter(30, {control.fileno(): control.label}).run([Incoming(channel, Kind.ROUND, 0, flatten([bytearray(1)]))])
    assert time.monotonic() - started < 5
    control.close()


def test_data_on_a_watched_channel_does_not(ends: Ends) -> None:
    channel, peer = ends
    one, other = socket.socketpair()
    control = Channel(one, "the launcher")
    other.sendall(b"early")
    threading.Timer(0.1, peer.sendall, [encode_header(Kind.ROUND, 0, 1) + b"x"]).start()
    waiter, payload = Waiter(5, {control.fileno(): control.label}), bytearray(1)
    cpu = time.thread_time()
    waiter.run([Incoming(channel, Kind.ROUND, 0, flatten([payload]))])
    assert payload == b"x"
    assert time.thread_time() - cpu < 0.05, "the wait spins"
    control.close()
    other.close()


def test_flatten_refuses_strided_buffers() -> None:
    with pytest.raises((TypeError, BufferError)):
        flatten([np.zeros((4, 4), dtype=np.uint64)[:, ::2]])


def test_flatten_takes_any_contiguous_type() -> None:
    views = flatten([np.zeros((3, 0), np.uint64), np.ones((2, 3), np.uint64), np.array(True), b"", bytearray(b"ab")])
    assert [view.nbytes for view in views] == [48, 1, 2]


def test_who_has_all_the_time_waits_and_notices_an_end(ends: Ends) -> None:
    channel, peer = ends
    frame = encode_header(Kind.ROUND, 7, 3) + b"abc"
    threading.Timer(0.2, peer.sendall, [frame]).start()
    assert expect(channel, 3, timeout=math.inf) == b"abc"
    threading.Timer(0.2, peer.close).start()
    with pytest.raises(PeerLost):
        expect(channel, 3, timeout=math.inf)
