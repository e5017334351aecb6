"""Who may join a session: exactly the members, each as itself; strangers get in nowhere and hold nobody up."""

from __future__ import annotations

import hmac
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from mpc_bridge.errors import MalformedFrame, PeerError, PeerTimeout
from mpc_bridge.runtime import handshake
from mpc_bridge.runtime.config import PartyConfig
from mpc_bridge.runtime.handshake import Credentials
from mpc_bridge.runtime.meter import CLIENT
from mpc_bridge.runtime.processes import PartyProcesses
from mpc_bridge.runtime.transport import (
    Channel,
    Kind,
    Waiter,
    encode_header,
    receive_frame,
    send_frame,
)

MEMBERS = (CLIENT, 0, 1, 2)
Members = dict[int, Credentials]
Visitor = Callable[[str, Members], None]


@contextmanager
def door(path: Path, party: int = 0) -> Iterator[tuple[socket.socket, str]]:
    """A listening socket of a party, and its address."""
    address = str(path / str(party))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(64)
        yield listener, address


def join(address: str, credentials: Credentials, peer: int = 0, timeout: float = 3.0) -> Channel:
    return handshake.connect(address, credentials, peer, f"party {peer}", Waiter(timeout))


def accept(listener: socket.socket, members: Members, wanted: set[int], timeout: float = 3.0) -> dict[int, Channel]:
    return handshake.accept(listener, members[0], wanted, "party {}".format, timeout)


def posing(members: Members, thief: int, victim: int) -> Credentials:
    """All that the thief knows, under the victim's name: every key it has, in the place of the victim's."""
    own = members[thief]
    return Credentials(victim, own.identity, {peer: own.keys.get(peer, bytes(32)) for peer in MEMBERS})


def joined(path: Path, visitors: list[Visitor], timeout: float = 3.0) -> dict[int, Channel]:
    """Party 0 waits for party 1 while the visitors come in order."""
    members = handshake.issue(MEMBERS)
    with door(path) as (listener, address), ThreadPoolExecutor(1) as pool:
        visits = pool.submit(lambda: [visitor(address, members) for visitor in visitors])
        try:
            return accept(listener, members, {1}, timeout)
        finally:
            listener.close()
            visits.result()


KEPT: list[Channel] = []


def member(address: str, members: Members) -> None:
    KEPT.append(join(address, members[1]))


def wrong_key(address: str, members: Members) -> None:
    keys = {0: bytes(a ^ (b == 31) for b, a in enumerate(members[1].keys[0]))}
    with pytest.raises(MalformedFrame, match="not of this session"):
        join(address, Credentials(1, members[1].identity, keys))


def wrong_session(address: str, members: Members) -> None:
    identity = bytes(32)
    with pytest.raises(MalformedFrame, match="not of this session"):
        join(address, Credentials(1, identity, members[1].keys))


def not_wanted(address: str, members: Members) -> None:
    # a member, but not one that party 0 waits for
    with pytest.raises(PeerError):
        join(address, members[2])


def wrong_number(address: str, members: Members) -> None:
    with pytest.raises(PeerError):
        join(address, members[1], peer=2)


def impostor(address: str, members: Members) -> None:
    with pytest.raises(MalformedFrame, match="not of this session"):
        join(address, posing(members, 2, 1))


def garbage(address: str, members: Members) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(address)
        sock.sendall(b"\x00" * 500)


def nobody(address: str, members: Members) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(address)


def replay(address: str, members: Members) -> None:
    """Knows a whole earlier conversation, not the key."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(address)
        channel = Channel(sock, "party 0")
        send_frame(channel, Kind.HELLO, 0, [struct.pack("<ii16s", 1, 0, bytes(16))], Waiter(3))
        send_frame(channel, Kind.HELLO, 1, [bytes(32)], Waiter(3))
        with pytest.raises(PeerError):
            receive_frame(channel, 48, Waiter(3))
            receive_frame(channel, 48, Waiter(3))


def echo(address: str, members: Members) -> None:
    """Gives party 0's own proof back to it."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(address)
        channel = Channel(sock, "party 0")
        send_frame(channel, Kind.HELLO, 0, [struct.pack("<ii16s", 1, 0, bytes(16))], Waiter(3))
        proof = receive_frame(channel, 48, Waiter(3)).payload[16:]
        send_frame(channel, Kind.HELLO, 1, [proof], Waiter(3))
        with pytest.raises(PeerError):
            receive_frame(channel, 48, Waiter(3))


@pytest.mark.parametrize("visitors", [
    [member], [wrong_key, member], [wrong_session, member], [not_wanted, member], [wrong_number, member],
    [impostor, member], [garbage, nobody, replay, echo, member]])
def test_strangers_are_turned_away(tmp_path: Path, visitors: list[Visitor]) -> None:
    channels = joined(tmp_path, visitors)
    assert channels.keys() == {1} and channels[1].label == "party 1"
    send_frame(channels[1], Kind.ROUND, 0, [b"hi"], Waiter(1))
    for channel in (*channels.values(), KEPT.pop()):
        channel.close()


@pytest.mark.parametrize("visitors", [[], [wrong_key], [nobody], [impostor]])
def test_a_missing_member_times_out(tmp_path: Path, visitors: list[Visitor]) -> None:
    with pytest.raises(PeerTimeout, match="party 1 did not connect"):
        joined(tmp_path, visitors, timeout=0.5)


@pytest.mark.parametrize("victim", [1, CLIENT])
def test_party_2_passes_for_nobody_else(tmp_path: Path, victim: int) -> None:
    """Party 2 comes first, as the victim, with all it knows; then everybody comes as what they are."""
    members = handshake.issue(MEMBERS)
    with door(tmp_path) as (listener, address), ThreadPoolExecutor(2) as pool:
        accepted = pool.submit(accept, listener, members, {CLIENT, 1, 2})
        with pytest.raises(MalformedFrame, match="not of this session"):
            join(address, posing(members, 2, victim))
        # Party 0's proof is of no use either: to answer it takes the victim's key.
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(address)
            cheater = Channel(sock, "party 0")
            send_frame(cheater, Kind.HELLO, 0, [struct.pack("<ii16s", victim, 0, bytes(16))], Waiter(3))
            nonce = bytes(receive_frame(cheater, 48, Waiter(3)).payload[:16])
            text = struct.pack("<8sii", b"connect", victim, 0) + members[2].identity + bytes(16) + nonce
            send_frame(cheater, Kind.HELLO, 1, [hmac.digest(members[2].keys[0], text, "sha256")], Waiter(3))
            with pytest.raises(PeerError):
                receive_frame(cheater, 32, Waiter(3))
        mine = {peer: join(address, members[peer]) for peer in (1, 2, CLIENT)}
        theirs = accepted.result()
    assert theirs.keys() == mine.keys()
    for peer, channel in theirs.items():
        send_frame(mine[peer], Kind.ROUND, 0, [bytes([peer & 0xFF])], Waiter(3))
        assert receive_frame(channel, 1, Waiter(3)).payload == bytes([peer & 0xFF])
        channel.close()
        mine[peer].close()


def test_the_same_forgery_with_the_right_key_is_taken(tmp_path: Path) -> None:
    """The forged proof above is the right one but for its key."""
    members = handshake.issue(MEMBERS)
    with door(tmp_path) as (listener, address), ThreadPoolExecutor(1) as pool:
        accepted = pool.submit(accept, listener, members, {1})
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(address)
            channel = Channel(sock, "party 0")
            send_frame(channel, Kind.HELLO, 0, [struct.pack("<ii16s", 1, 0, bytes(16))], Waiter(3))
            nonce = bytes(receive_frame(channel, 48, Waiter(3)).payload[:16])
            text = struct.pack("<8sii", b"connect", 1, 0) + members[1].identity + bytes(16) + nonce
            send_frame(channel, Kind.HELLO, 1, [hmac.digest(members[1].keys[0], text, "sha256")], Waiter(3))
            assert len(receive_frame(channel, 32, Waiter(3)).payload) == 32
        accepted.result()[1].close()


def test_a_second_connection_of_the_same_peer_ends_the_session(tmp_path: Path) -> None:
    members = handshake.issue(MEMBERS)
    with door(tmp_path) as (listener, address), ThreadPoolExecutor(1) as pool:
        accepted = pool.submit(accept, listener, members, {1, 2})
        first = join(address, members[1])
        with pytest.raises(PeerError):
            join(address, members[1])
        with pytest.raises(PeerError, match="party 1 connected twice"):
            accepted.result()
        # The first connection ends as well: nobody goes on with half a session.
        with pytest.raises(PeerError):
            receive_frame(first, 1, Waiter(3))
        first.close()


def test_connecting_fails_where_the_connection_was_not_taken(tmp_path: Path) -> None:
    """The accepting side proves itself, and is gone before it says that it took the connection."""
    members = handshake.issue(MEMBERS)

    def half(listener: socket.socket) -> None:
        sock, _ = listener.accept()
        visitor = handshake._Visitor(Channel(sock, "a new connection"), members[0], {1}, time.monotonic() + 3)
        while not visitor.advance():
            time.sleep(0.001)
        sock.close()

    with door(tmp_path) as (listener, address), ThreadPoolExecutor(1) as pool:
        done = pool.submit(half, listener)
        with pytest.raises(PeerError):
            join(address, members[1])
        done.result()


def test_a_server_without_the_key_is_refused(tmp_path: Path) -> None:
    with door(tmp_path) as (listener, address), ThreadPoolExecutor(1) as pool:
        def pretend() -> None:
            sock, _ = listener.accept()
            sock.recv(1000)
            sock.sendall(encode_header(Kind.HELLO, 0, 48) + bytes(48))
            assert len(sock.recv(1000)) == 0, "the proof went to a stranger"
            sock.close()

        done = pool.submit(pretend)
        with pytest.raises(MalformedFrame, match="not of this session"):
            join(address, handshake.issue(MEMBERS)[1])
        done.result()


def test_short_keys_are_refused() -> None:
    with pytest.raises(ValueError, match="wrong length"):
        Credentials(1, bytes(32), {0: bytes(31)})


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(PeerError, match="cannot connect to party 0"):
        join(str(tmp_path / "none"), handshake.issue(MEMBERS)[1])


def test_every_pair_has_its_own_key() -> None:
    members = handshake.issue(MEMBERS)
    for one in MEMBERS:
        assert members[one].keys.keys() == set(MEMBERS) - {one}
        assert all(members[one].keys[other] == members[other].keys[one] for other in members[one].keys)
    keys = {key for credentials in members.values() for key in credentials.keys.values()}
    assert len(keys) == 6 and len({credentials.identity for credentials in members.values()}) == 1
    assert members[0].identity not in keys
    assert not any(key.hex()[:8] in repr(members) or repr(key)[2:-1] in repr(members) for key in keys)


def test_a_party_is_told_its_own_keys_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[PartyConfig] = []
    encode = PartyConfig.encode

    def record(config: PartyConfig) -> bytes:
        told.append(PartyConfig.decode(encode(config)))
        return encode(config)

    monkeypatch.setattr(PartyConfig, "encode", record)
    with PartyProcesses("mpc_bridge.backends.replicated.backend:Rep3Backend", 3, "cpu", "unix", 10.0) as processes:
        processes.connect()
    assert [config.party for config in told] == [0, 1, 2]
    for config in told:
        assert config.credentials().keys.keys() == set(MEMBERS) - {config.party}
        text = encode(config).decode()
        foreign = [key for other in told if other is not config for peer, key in other.keys.items()
                   if peer != config.party]
        assert len(foreign) == 4 and not any(key in text for key in foreign)
        assert json.loads(text)["identity"] == told[0].identity


def test_a_stranger_that_drips_holds_up_nobody(tmp_path: Path) -> None:
    """One byte every 50 ms is never silent; an honest peer gets in at once all the same."""
    members = handshake.issue(MEMBERS)
    stop = threading.Event()

    def drip(address: str) -> None:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(address)
            for byte in encode_header(Kind.HELLO, 0, 24) + bytes(24):
                if stop.wait(0.05):
                    return
                sock.send(bytes([byte]))

    with door(tmp_path) as (listener, address), ThreadPoolExecutor(5) as pool:
        accepted = pool.submit(accept, listener, members, {1}, 10.0)
        for _ in range(3):
            pool.submit(drip, address)
        time.sleep(0.2)
        started = time.monotonic()
        mine = join(address, members[1], timeout=10)
        theirs = accepted.result()
        assert time.monotonic() - started < 1
        stop.set()
    for channel in (mine, *theirs.values()):
        channel.close()


def test_a_stranger_has_to_prove_itself_in_time_whatever_it_sends(tmp_path: Path,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake, "_STRANGER_SECONDS", 0.3)
    members = handshake.issue(MEMBERS)
    with door(tmp_path) as (listener, address), ThreadPoolExecutor(1) as pool:
        accepted = pool.submit(accept, listener, members, {1}, 10.0)
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(address)
            started = time.monotonic()
            with pytest.raises(OSError):
                for byte in (encode_header(Kind.HELLO, 0, 24) + bytes(24)) * 2:
                    time.sleep(0.05)
                    sock.send(bytes([byte]))
            assert 0.2 < time.monotonic() - started < 2
        join(address, members[1]).close()
        accepted.result()[1].close()


def test_a_crowd_of_strangers_does_not_keep_a_member_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake, "_MAX_STRANGERS", 4)
    members = handshake.issue(MEMBERS)
    with door(tmp_path) as (listener, address), ThreadPoolExecutor(1) as pool:
        accepted = pool.submit(accept, listener, members, {1}, 10.0)
        crowd = []
        for _ in range(20):
            crowd.append(socket.socket(socket.AF_UNIX))
            crowd[-1].settimeout(5)
            crowd[-1].connect(address)
        # the first of them had to go
        assert crowd[0].recv(1) == b""
        join(address, members[1]).close()
        accepted.result()[1].close()
        for sock in crowd:
            sock.close()
