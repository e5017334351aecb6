"""Who is at the other end: both sides of a fresh connection prove that they hold the session's token.

The token is 32 random bytes that the launcher gave to every party through its standard input. It never travels: each
side sends a nonce and answers the other's with ``HMAC-SHA256(token, role, both indices, both nonces)``, so a stranger
who listens on, or connects to, a loopback port learns nothing and gets in nowhere.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import socket
import struct
import time
from collections.abc import Callable

from mpc_bridge.errors import MalformedFrame, PeerError, PeerTimeout
from mpc_bridge.runtime.transport import Channel, Frame, Kind, Waiter, receive_frame, send_frame

TOKEN_BYTES = 32
_NONCE_BYTES = 16
_HELLO = struct.Struct("<ii16s")
#: A stranger on the listening socket may hold it up for this long.
_STRANGER_SECONDS = 5.0

Address = tuple[str, int] | str


def _proof(token: bytes, role: bytes, sender: int, receiver: int, theirs: bytes, own: bytes) -> bytes:
    message = struct.pack("<8sii", role, sender, receiver) + theirs + own
    return hmac.new(token, message, hashlib.sha256).digest()


def session_identity(token: bytes) -> bytes:
    """32 public bytes that name the session; they tell nothing about the token."""
    return hmac.new(token, b"mpc-bridge session identity", hashlib.sha256).digest()


def peek_hello(payload: bytes) -> int:
    """Who claims to connect, from the first bytes of a connecting side's first payload."""
    return int(struct.unpack_from("<i", payload)[0])


def _hello(channel: Channel, size: int, waiter: Waiter) -> Frame:
    frame = receive_frame(channel, size, waiter)
    if frame.kind != Kind.HELLO or len(frame.payload) != size:
        raise _refused(channel)
    return frame


def _refused(channel: Channel) -> MalformedFrame:
    return MalformedFrame(f"{channel.label} is not of this session", where="handshake",
                          hint="check the addresses, and that no other program uses them")


def connect(address: Address, token: bytes, own: int, peer: int, label: str, waiter: Waiter) -> Channel:
    """Connect to ``peer`` and prove each other. Parties are numbered from 0; -1 is the launcher.

    Raises:
        PeerLost, PeerTimeout, MalformedFrame: nobody there, no answer, or an answer without the token.
    """
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(waiter.timeout)
        sock.connect(address)
        channel = Channel(sock, label)
        nonce = secrets.token_bytes(_NONCE_BYTES)
        send_frame(channel, Kind.HELLO, 0, [_HELLO.pack(own, peer, nonce)], waiter)
        answer = bytes(_hello(channel, _NONCE_BYTES + 32, waiter).payload)
        theirs, proof = answer[:_NONCE_BYTES], answer[_NONCE_BYTES:]
        if not hmac.compare_digest(proof, _proof(token, b"accept", peer, own, nonce, theirs)):
            raise _refused(channel)
        send_frame(channel, Kind.HELLO, 1, [_proof(token, b"connect", own, peer, theirs, nonce)], waiter)
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


def accept(listener: socket.socket, token: bytes, own: int, wanted: set[int], name: Callable[[int], str],
           timeout: float) -> dict[int, Channel]:
    """Accept exactly the ``wanted`` peers; strangers are turned away and do not end the session.

    Raises:
        PeerTimeout: some wanted peer did not come within ``timeout`` seconds.
    """
    channels: dict[int, Channel] = {}
    deadline = time.monotonic() + timeout
    while wanted - channels.keys():
        missing = ", ".join(name(peer) for peer in sorted(wanted - channels.keys()))
        left = deadline - time.monotonic()
        try:
            if left <= 0:
                raise TimeoutError
            listener.settimeout(left)
            sock, _ = listener.accept()
        except TimeoutError:
            for channel in channels.values():
                channel.close()
            raise PeerTimeout(f"{missing} did not connect within {timeout:g} s", where="connecting",
                              hint="see whether it runs; raise --timeout for a slow machine") from None
        channel = Channel(sock, "a new connection")
        try:
            peer = _welcome(channel, token, own, Waiter(min(left, _STRANGER_SECONDS)))
        except PeerError:
            channel.close()
            continue
        if peer not in wanted or peer in channels:
            channel.close()
            continue
        channel.label = name(peer)
        channels[peer] = channel
    return channels


def _welcome(channel: Channel, token: bytes, own: int, waiter: Waiter) -> int:
    """The peer's index, proven."""
    peer, addressed, theirs = _HELLO.unpack(_hello(channel, _HELLO.size, waiter).payload)
    nonce = secrets.token_bytes(_NONCE_BYTES)
    if addressed != own:
        raise _refused(channel)
    send_frame(channel, Kind.HELLO, 0, [nonce, _proof(token, b"accept", own, peer, theirs, nonce)], waiter)
    proof = bytes(_hello(channel, 32, waiter).payload)
    if not hmac.compare_digest(proof, _proof(token, b"connect", peer, own, nonce, theirs)):
        raise _refused(channel)
    return int(peer)
