"""Who is at the other end: both sides of a fresh connection prove that they hold the key of their pair.

Any two members of a session (the parties, and the launcher, which is -1) share 32 random bytes that no other member
gets, so no member passes for another one, and a stranger on a loopback port passes for none. Keys never travel. Four
frames do, each ``HMAC`` being ``HMAC-SHA256(key, role, session identity, both indices, both nonces)``:

- connecting side: its index, whom it wants, a nonce;
- accepting side: a nonce, ``HMAC("accept")``;
- connecting side: ``HMAC("connect")``;
- accepting side: ``HMAC("welcome")``. Only now is the connection one of the session's, at both ends.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import select
import socket
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from mpc_bridge.errors import MalformedFrame, PeerError, PeerTimeout
from mpc_bridge.runtime.transport import (
    AnyIncoming,
    Channel,
    Frame,
    Kind,
    Outgoing,
    Waiter,
    flatten,
    receive_frame,
    send_frame,
)

KEY_BYTES = 32
IDENTITY_BYTES = 32
_NONCE_BYTES = 16
_PROOF_BYTES = 32
_HELLO = struct.Struct(f"<ii{_NONCE_BYTES}s")
_PROVEN = struct.Struct(f"<8sii{IDENTITY_BYTES}s{_NONCE_BYTES}s{_NONCE_BYTES}s")
#: From a connection's first moment until its other end has to be proven.
_STRANGER_SECONDS = 10.0
#: Connections that prove themselves at the same time; beyond that, the one that has taken longest goes.
_MAX_STRANGERS = 64

Address = tuple[str, int] | str


@dataclass(frozen=True)
class Credentials:
    """What one member joins a session with.

    Attributes:
        member: own index; -1 is the launcher.
        identity: 32 public bytes, the same at every member of this session and of no other. No key follows from them.
        keys: peer → the 32 bytes that only the two of them hold.
    """

    member: int
    identity: bytes
    keys: Mapping[int, bytes] = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.identity) != IDENTITY_BYTES or any(len(key) != KEY_BYTES for key in self.keys.values()):
            raise ValueError("a key or identity of the wrong length")


def issue(members: Sequence[int]) -> dict[int, Credentials]:
    """Fresh credentials for every member of a new session: one key per pair."""
    identity = secrets.token_bytes(IDENTITY_BYTES)
    keys: dict[int, dict[int, bytes]] = {member: {} for member in members}
    for one, other in combinations(members, 2):
        keys[one][other] = keys[other][one] = secrets.token_bytes(KEY_BYTES)
    return {member: Credentials(member, identity, keys[member]) for member in members}


def peek_hello(payload: bytes) -> int:
    """Who claims to connect, from the first bytes of a connecting side's first payload."""
    return int(struct.unpack_from("<i", payload)[0])


class _Pair:
    """One connection's proofs: who connects to whom, and both nonces."""

    def __init__(self, credentials: Credentials, connecting: int, accepting: int, nonces: tuple[bytes, bytes]) -> None:
        self._key = credentials.keys[accepting if connecting == credentials.member else connecting]
        self._message = (connecting, accepting, credentials.identity, *nonces)

    def proof(self, role: bytes) -> bytes:
        """The HMAC that says so in this role."""
        return hmac.new(self._key, _PROVEN.pack(role, *self._message), hashlib.sha256).digest()

    def check(self, role: bytes, proof: bytes, channel: Channel) -> None:
        """Raises MalformedFrame unless ``proof`` is the other side's in this role."""
        if not hmac.compare_digest(proof, self.proof(role)):
            raise _refused(channel)


def _hello(frame: Frame, size: int, channel: Channel) -> bytes:
    if frame.kind != Kind.HELLO or len(frame.payload) != size:
        raise _refused(channel)
    return bytes(frame.payload)


def _refused(channel: Channel) -> MalformedFrame:
    return MalformedFrame(f"{channel.label} is not of this session", where="handshake",
                          hint="check the addresses, and that no other program uses them")


def connect(address: Address, credentials: Credentials, peer: int, label: str, waiter: Waiter) -> Channel:
    """Connect to ``peer``, prove each other, and wait until it has taken the connection.

    Raises:
        PeerLost: it turned the connection away.
        PeerTimeout, MalformedFrame, PeerError: no answer, an answer without the pair's key, or nobody there.
    """
    own = credentials.member
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(waiter.timeout)
        sock.connect(address)
        channel = Channel(sock, label)
        nonce = secrets.token_bytes(_NONCE_BYTES)
        send_frame(channel, Kind.HELLO, 0, [_HELLO.pack(own, peer, nonce)], waiter)
        size = _NONCE_BYTES + _PROOF_BYTES
        answer = _hello(receive_frame(channel, size, waiter), size, channel)
        pair = _Pair(credentials, own, peer, (nonce, answer[:_NONCE_BYTES]))
        pair.check(b"accept", answer[_NONCE_BYTES:], channel)
        send_frame(channel, Kind.HELLO, 1, [pair.proof(b"connect")], waiter)
        welcome = _hello(receive_frame(channel, _PROOF_BYTES, waiter), _PROOF_BYTES, channel)
        pair.check(b"welcome", welcome, channel)
        return channel
    except TimeoutError as error:
        sock.close()
        raise PeerTimeout(f"no answer from {label} for {waiter.timeout:g} s", where="connecting",
                          hint="see whether it runs and listens at that address") from error
    except PeerError:
        sock.close()
        raise
    except OSError as error:
        sock.close()
        raise PeerError(f"cannot connect to {label}: {error.strerror}", where="connecting",
                        hint="see whether it runs and listens at that address") from error


class _Visitor:
    """A new connection that has to say and to prove who it is.

    Attributes:
        peer: who it says it is, once it has said so.
        deadline: when it has to be proven, whatever it sends until then.
    """

    def __init__(self, channel: Channel, credentials: Credentials, wanted: set[int], deadline: float) -> None:
        self.channel = channel
        self.peer: int | None = None
        self.deadline = deadline
        self._credentials = credentials
        self._wanted = wanted
        self._reader = AnyIncoming(channel, _HELLO.size)
        self._pair: _Pair | None = None

    def advance(self) -> bool:
        """Take what has arrived; True once :attr:`peer` is proven. Raises PeerError for anybody else."""
        while self._reader.advance():
            frame = self._reader.frame
            assert frame is not None
            if self._pair is not None:
                self._pair.check(b"connect", _hello(frame, _PROOF_BYTES, self.channel), self.channel)
                return True
            self._pair = self._answer(_hello(frame, _HELLO.size, self.channel))
            self._reader = AnyIncoming(self.channel, _PROOF_BYTES)
        return False

    def welcome(self) -> None:
        """Tell the proven peer that its connection is taken."""
        assert self._pair is not None
        self._say(2, [self._pair.proof(b"welcome")])

    def _answer(self, hello: bytes) -> _Pair:
        peer, addressed, theirs = _HELLO.unpack(hello)
        if addressed != self._credentials.member or peer not in self._wanted:
            raise _refused(self.channel)
        self.peer = peer
        nonce = secrets.token_bytes(_NONCE_BYTES)
        pair = _Pair(self._credentials, peer, addressed, (theirs, nonce))
        self._say(0, [nonce, pair.proof(b"accept")])
        return pair

    def _say(self, tag: int, buffers: Sequence[bytes]) -> None:
        # A fresh socket has room for these few bytes; who filled it up does not read, and need not be waited for.
        if not Outgoing(self.channel, Kind.HELLO, tag, flatten(buffers)).advance():
            raise _refused(self.channel)


def accept(listener: socket.socket, credentials: Credentials, wanted: set[int], name: Callable[[int], str],
           timeout: float) -> dict[int, Channel]:
    """Accept exactly the ``wanted`` peers; strangers are turned away and neither end nor delay the session.

    Raises:
        PeerTimeout: some wanted peer did not come within ``timeout`` seconds.
        PeerError: a peer proved itself on two connections.
    """
    door = _Door(listener, credentials, wanted)
    deadline = time.monotonic() + timeout
    try:
        while missing := wanted - door.channels.keys():
            if time.monotonic() >= deadline:
                names = ", ".join(name(peer) for peer in sorted(missing))
                raise PeerTimeout(f"{names} did not connect within {timeout:g} s", where="connecting",
                                  hint="see whether it runs; raise --timeout for a slow machine")
            door.wait(deadline, name)
        return door.channels
    except BaseException:
        for channel in door.channels.values():
            channel.close()
        raise
    finally:
        door.close()


class _Door:
    """A listening socket and all who have come to it, served as they speak.

    Attributes:
        channels: proven and welcomed, by peer.
    """

    def __init__(self, listener: socket.socket, credentials: Credentials, wanted: set[int]) -> None:
        self.channels: dict[int, Channel] = {}
        self._listener = listener
        self._credentials = credentials
        self._wanted = wanted
        #: by descriptor, who came first first
        self._visitors: dict[int, _Visitor] = {}
        self._poll = select.poll()
        listener.setblocking(False)
        self._poll.register(listener, select.POLLIN)

    def wait(self, deadline: float, name: Callable[[int], str]) -> None:
        """Wait until somebody comes, speaks or has taken too long, and see to it."""
        until = min([deadline, *[visitor.deadline for visitor in self._visitors.values()]])
        ready = {fd for fd, _ in self._poll.poll(max(0.0, until - time.monotonic()) * 1000)}
        now = time.monotonic()
        for fd, visitor in list(self._visitors.items()):
            if fd in ready:
                self._hear(fd, visitor, name)
            elif now >= visitor.deadline:
                self._forget(fd).close()
        if self._listener.fileno() in ready:
            self._admit(now + _STRANGER_SECONDS)

    def _hear(self, fd: int, visitor: _Visitor, name: Callable[[int], str]) -> None:
        try:
            if not visitor.advance():
                if time.monotonic() >= visitor.deadline:
                    self._forget(fd).close()
                return
            assert visitor.peer is not None
            if visitor.peer not in self.channels:
                visitor.welcome()
        except PeerError:
            self._forget(fd).close()
            return
        channel = self._forget(fd)
        channel.label = name(visitor.peer)
        if visitor.peer in self.channels:
            channel.close()
            raise PeerError(f"{channel.label} connected twice", where="handshake",
                            hint="one of the two is not what it should be: see what runs there, and start again")
        self.channels[visitor.peer] = channel

    def _admit(self, deadline: float) -> None:
        try:
            sock, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        if len(self._visitors) >= _MAX_STRANGERS:
            self._forget(next(iter(self._visitors))).close()
        channel = Channel(sock, "a new connection")
        self._visitors[channel.fileno()] = _Visitor(channel, self._credentials, self._wanted, deadline)
        self._poll.register(channel.fileno(), select.POLLIN)

    def _forget(self, fd: int) -> Channel:
        self._poll.unregister(fd)
        return self._visitors.pop(fd).channel

    def close(self) -> None:
        """Turn away whoever is not proven yet."""
        for fd in list(self._visitors):
            self._forget(fd).close()
