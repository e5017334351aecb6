"""Frames on stream sockets: Unix or TCP, non-blocking, sends and receives overlapped, no copy of large arrays.

A frame is a 24-byte header (magic, protocol version, kind, tag, payload length; little endian) and its payload. The
receiver says which kind, tag and length it expects; anything else is :class:`~mpc_bridge.errors.MalformedFrame`.
Header and payload travel in one gathering write and one scattering read where the socket's buffers allow, so that a
small message costs one system call at each end. Python releases the GIL in each of them.
"""

from __future__ import annotations

import math
import select
import socket
import struct
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import IntEnum
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast

from mpc_bridge.errors import MalformedFrame, PeerLost, PeerTimeout, ProtocolAbort

if TYPE_CHECKING:
    import numpy.typing as npt
    import typing_extensions

    # numpy's stubs say so themselves only from Python 3.12 on
    Buffer: TypeAlias = typing_extensions.Buffer | npt.NDArray[Any]

MAGIC = 0x4250434D  # "MCPB" on the wire
PROTOCOL_VERSION = 1
HEADER = struct.Struct("<IHHQQ")
HEADER_BYTES = HEADER.size
#: No frame is longer than this, whatever its header says.
MAX_PAYLOAD = 1 << 40
#: How much the kernel may hold per direction: a round of a mid-size layer without waiting for the reader.
SOCKET_BUFFER = 4 << 20
#: Bytes per second below which a transfer fails however regularly its bytes come.
MINIMUM_RATE = 64 << 10
#: Buffers per gathering write or scattering read (IOV_MAX is 1024 on Linux and macOS).
_MAX_VECTORS = 512
_LOST_EVENTS = select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0)


class Kind(IntEnum):
    """What a frame carries."""

    HELLO = 1
    ROUND = 2
    CIRCUIT = 3
    READY = 4
    WEIGHT = 5
    INPUT = 6
    SAMPLE = 7
    OUTPUT = 8
    PROGRESS = 9
    FINISH = 10
    REPORT = 11
    ERROR = 12
    ABORT = 13
    MASK = 14


class Frame(NamedTuple):
    """A received frame whose length the receiver did not know beforehand."""

    kind: int
    tag: int
    payload: bytearray


def flatten(buffers: Iterable[Buffer]) -> list[memoryview]:
    """Byte views of C-contiguous buffers, empty ones dropped. Raises TypeError for a strided buffer."""
    views = []
    for buffer in buffers:
        view = memoryview(cast("typing_extensions.Buffer", buffer))
        if view.nbytes:
            views.append(view if view.format == "B" and view.ndim == 1 and view.contiguous else view.cast("B"))
    return views


def encode_header(kind: int, tag: int, length: int) -> bytes:
    """The 24 bytes in front of ``length`` payload bytes."""
    return HEADER.pack(MAGIC, PROTOCOL_VERSION, kind, tag, length)


class Channel:
    """One end of a stream to ``label`` ("party 2", "launcher"). Owns the socket.

    Attributes:
        sent: bytes handed to the socket so far, framing included.
        received: bytes taken from it.
    """

    def __init__(self, sock: socket.socket, label: str) -> None:
        sock.setblocking(False)
        if sock.family != getattr(socket, "AF_UNIX", None):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if _stays_here(sock):
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                # The kernel caps the request silently; TCP would tune itself up only slowly.
                sock.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER)
        self.socket = sock
        self.label = label
        self.sent = 0
        self.received = 0

    def fileno(self) -> int:
        """File descriptor, -1 once closed."""
        return self.socket.fileno()

    def close(self) -> None:
        """Close the socket; the peer sees the end of the stream."""
        self.socket.close()

    def write_some(self, views: list[memoryview]) -> int:
        """Hand over as much as the socket takes now (0: nothing). Raises PeerLost."""
        try:
            count = self.socket.sendmsg(views if len(views) <= _MAX_VECTORS else views[:_MAX_VECTORS])
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            raise lost(self.label, "while sending") from error
        self.sent += count
        return count

    def read_some(self, views: list[memoryview]) -> int:
        """Take what has arrived, at most the views' bytes (0: nothing yet). Raises PeerLost, also at the end."""
        try:
            count = self.socket.recvmsg_into(views if len(views) <= _MAX_VECTORS else views[:_MAX_VECTORS])[0]
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            raise lost(self.label, "while receiving") from error
        if not count:
            raise lost(self.label, "while receiving")
        self.received += count
        return count

    def told_to_stop(self) -> bool:
        """Whether the last thing that has arrived, and nobody read, is an abort frame. Takes it off the socket.

        For a connection that has ended: a party that detects cheating says so and leaves, and one that is sending to
        it then sees its end first.
        """
        frame, tail, taken = encode_header(Kind.ABORT, 0, 0), b"", 0
        while taken < 2 * SOCKET_BUFFER:
            try:
                data = self.socket.recv(1 << 16)
            except OSError:
                break
            if not data:
                break
            taken += len(data)
            tail = (tail + data)[-len(frame) :]
        return tail == frame


def _stays_here(sock: socket.socket) -> bool:
    """Whether a connection leads to this machine, over Unix or loopback sockets.

    On any other path a size that the caller sets is harmful: the kernel caps it at net.core.{w,r}mem_max, on many
    systems 208 KiB, and TCP no longer tunes itself, up to net.ipv4.tcp_{w,r}mem, to what the path holds under way.
    """
    return sock.family not in (socket.AF_INET, socket.AF_INET6) or sock.getsockname()[0].startswith(("127.", "::1"))


def stopped(label: str) -> ProtocolAbort:
    """The error for a peer that said it detected cheating."""
    return ProtocolAbort(f"{label} detected cheating and stopped", where=label,
                         hint="nothing unverified was revealed; find the cheater before these inputs are used again")


def lost(label: str, where: str) -> PeerLost:
    """The error for a connection that ended."""
    return PeerLost(f"lost the connection to {label}", where=where, hint=f"see why {label} ended, then run again")


def _drop(views: list[memoryview], count: int) -> list[memoryview]:
    """What is left of ``views`` after their first ``count`` bytes."""
    for index, view in enumerate(views):
        size = view.nbytes
        if count < size:
            return [view[count:], *views[index + 1 :]]
        count -= size
    return []


class _Pending:
    """A transfer's time. Between two bytes there may be the waiter's timeout; and in all, from when the transfer is
    first waited for, the timeout and what its bytes take at :data:`MINIMUM_RATE` (of a frame whose header is
    incomplete, nothing). So neither silence nor a drip holds anybody up.

    Attributes:
        deadline: when it has failed; 0.0: not waited for yet (again), infinity: it may take for ever.
    """

    __slots__ = ("_allowance", "_due", "_moved", "channel", "deadline", "fd")

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.fd = channel.fileno()
        self.deadline = 0.0
        self._due = 0.0
        self._allowance = 0.0
        #: whether bytes moved since the deadline was set
        self._moved = False

    def allow(self, size: int) -> None:
        """Grant the time that ``size`` bytes take at least."""
        self._allowance = size / MINIMUM_RATE

    def start_over(self) -> None:
        """Its time begins when it is waited for next."""
        self.deadline = 0.0

    def keep_time(self, now: float, timeout: float) -> None:
        """Bring :attr:`deadline` up to date before a wait."""
        if not self.deadline:
            self._due = now
            self.deadline = now + timeout
        elif self._moved and self.deadline != math.inf:
            self.deadline = min(now, self._due + self._allowance) + timeout
        self._moved = False

    def late(self, timeout: float) -> PeerTimeout:
        """The error of a missed deadline."""
        sending = isinstance(self, Outgoing)
        slow = self._due + self._allowance + timeout <= self.deadline and self._allowance > 0
        return PeerTimeout(
            f"{self.channel.label} {'takes' if sending else 'sends'} less than {MINIMUM_RATE >> 10} KiB/s"
            if slow else f"no word from {self.channel.label} for {timeout:g} s",
            where="sending a frame" if sending else "waiting for a frame",
            hint="see whether it still runs; raise --timeout for a slow network or machine")


class Outgoing(_Pending):
    """A frame on its way out. ``advance`` until it returns True."""

    __slots__ = ("size", "views")
    events = select.POLLOUT

    def __init__(self, channel: Channel, kind: int, tag: int, views: Sequence[memoryview]) -> None:
        super().__init__(channel)
        length = sum([view.nbytes for view in views])
        self.size = HEADER_BYTES + length
        self.allow(self.size)
        self.views = [memoryview(encode_header(kind, tag, length)), *views]

    def advance(self) -> bool:
        """Send what the socket takes; True when all of it is gone."""
        count = self.channel.write_some(self.views)
        if count:
            self._moved = True
            self.views = _drop(self.views, count)
        return not self.views


class Incoming(_Pending):
    """A frame of known kind, tag and length on its way into ``views``. ``advance`` until it returns True.

    The buffers hold unchecked bytes until then. Raises MalformedFrame as soon as the header is not the expected one.
    """

    __slots__ = ("checked", "count", "expected", "header", "size", "views")
    events = select.POLLIN

    def __init__(self, channel: Channel, kind: int, tag: int, views: Sequence[memoryview]) -> None:
        super().__init__(channel)
        length = sum([view.nbytes for view in views])
        self.size = HEADER_BYTES + length
        self.expected = encode_header(kind, tag, length)
        self.header = bytearray(HEADER_BYTES)
        self.views = [memoryview(self.header), *views]
        self.count = 0
        self.checked = False

    def advance(self) -> bool:
        """Take what has arrived; True when the frame is complete."""
        count = self.channel.read_some(self.views)
        if not count:
            return False
        self._moved = True
        self.count += count
        self.views = _drop(self.views, count)
        if not self.checked and self.count >= HEADER_BYTES:
            if self.header != self.expected:
                raise _mismatch(self.channel, self.header, self.expected)
            self.checked = True
            if self.views:
                self.allow(self.count + sum([view.nbytes for view in self.views]))
        return not self.views


class AnyIncoming(_Pending):
    """A frame whose kind and length only its header tells, up to ``limit`` payload bytes."""

    __slots__ = ("frame", "header", "limit", "payload", "views")
    events = select.POLLIN

    def __init__(self, channel: Channel, limit: int) -> None:
        super().__init__(channel)
        self.limit = limit
        self.header = bytearray(HEADER_BYTES)
        self.payload: bytearray | None = None
        self.views = [memoryview(self.header)]
        self.frame: Frame | None = None

    def advance(self) -> bool:
        """Take what has arrived; True when :attr:`frame` is there. Never reads into the next frame."""
        while True:
            if self.views:
                count = self.channel.read_some(self.views)
                if not count:
                    return False
                self._moved = True
                self.views = _drop(self.views, count)
            elif self.payload is None:
                self.payload = bytearray(self._length())
                self.allow(HEADER_BYTES + len(self.payload))
                self.views = flatten([self.payload])
            else:
                _, _, kind, tag, _ = HEADER.unpack(self.header)
                self.frame = Frame(kind, tag, self.payload)
                return True

    def _length(self) -> int:
        magic, version, kind, _, length = HEADER.unpack(self.header)
        if magic != MAGIC:
            raise MalformedFrame(f"{self.channel.label} sent bytes that are not a frame", where="frame header",
                                 hint="check that every party runs mpc-bridge and nothing else uses its address")
        if version != PROTOCOL_VERSION:
            raise MalformedFrame(f"{self.channel.label} speaks protocol version {version}, not {PROTOCOL_VERSION}",
                                 where="frame header", hint="run the same version of mpc-bridge at every party")
        if length > min(self.limit, MAX_PAYLOAD):
            raise MalformedFrame(f"{self.channel.label} announces {length} bytes, at most {self.limit} expected",
                                 where=f"frame of kind {kind}", hint="run the same model and options at every party")
        return int(length)


Transfer = Outgoing | Incoming | AnyIncoming
_deadline = attrgetter("deadline")


def _mismatch(channel: Channel, header: bytearray, expected: bytes) -> MalformedFrame | ProtocolAbort:
    magic, version, kind, tag, length = HEADER.unpack(header)
    if header == encode_header(Kind.ABORT, 0, 0):
        return stopped(channel.label)
    _, _, want_kind, want_tag, want_length = HEADER.unpack(expected)
    if magic != MAGIC or version != PROTOCOL_VERSION:
        return MalformedFrame(f"{channel.label} sent bytes that are not a frame of protocol version {PROTOCOL_VERSION}",
                              where=f"round {want_tag}", hint="run the same version of mpc-bridge at every party")
    return MalformedFrame(
        f"{channel.label} sent a frame of kind {kind}, tag {tag}, {length} bytes "
        f"where kind {want_kind}, tag {want_tag}, {want_length} bytes was due",
        where=f"round {want_tag}", hint="run the same version, model and options at every party")


class Waiter:
    """Drives transfers on the channels they use, and notices the death of ``watched`` ones meanwhile.

    Args:
        timeout: seconds without a byte on a pending transfer after which it fails with PeerTimeout; also what a whole
            frame may take beyond its bytes at :data:`MINIMUM_RATE`. Infinity: it may take for ever.
        watched: descriptor → label: on these, outside a transfer, only an end matters (the launcher's connection).
    """

    def __init__(self, timeout: float, watched: Mapping[int, str] | None = None) -> None:
        self.timeout = timeout
        self._poll = select.poll()
        # What the poll object is registered for; rounds repeat the same pattern, so it rarely changes.
        self._interest: dict[int, int] = {}
        self._watched = dict(watched or {})

    def run(self, transfers: Sequence[Transfer], moved: Callable[[], None] | None = None) -> None:
        """Complete every transfer; ``moved`` is called whenever some bytes of them have moved.

        Raises PeerLost, PeerTimeout or MalformedFrame.
        """
        waiting = [transfer for transfer in transfers if transfer.events == select.POLLIN or not transfer.advance()]
        while waiting:
            waiting = self.advance(waiting)
            if moved is not None:
                moved()

    def advance(self, waiting: Sequence[Transfer]) -> list[Transfer]:
        """Wait until some transfer can move, move those that can, and return those that are not complete yet."""
        ready = self._wait(waiting)
        return [transfer for transfer in waiting if not (transfer.fd in ready and transfer.advance())]

    def _wait(self, waiting: Sequence[Transfer]) -> set[int]:
        """Descriptors on which some transfer can move."""
        wanted: dict[int, int] = {}
        for transfer in waiting:
            wanted[transfer.fd] = wanted.get(transfer.fd, 0) | transfer.events
        for fd in self._watched:
            wanted.setdefault(fd, _LOST_EVENTS)
        if wanted != self._interest:
            self._register(wanted)
        now = time.monotonic()
        for transfer in waiting:
            transfer.keep_time(now, self.timeout)
        first = min(waiting, key=_deadline) if len(waiting) > 1 else waiting[0]
        # Every time round, also while other transfers move all the time.
        if now >= first.deadline:
            raise first.late(self.timeout)
        left = None if first.deadline == math.inf else (first.deadline - now) * 1000
        fds = {fd for fd, _ in self._poll.poll(left)}
        for fd in fds & self._watched.keys():
            if wanted[fd] == _LOST_EVENTS:
                raise lost(self._watched[fd], "while waiting for another party")
        return fds

    def _register(self, wanted: dict[int, int]) -> None:
        for fd in self._interest.keys() - wanted.keys():
            self._poll.unregister(fd)
        for fd, events in wanted.items():
            if self._interest.get(fd) != events:
                self._poll.register(fd, events)
        self._interest = wanted


def send_frame(channel: Channel, kind: int, tag: int, buffers: Iterable[Buffer], waiter: Waiter) -> int:
    """Send one frame and return its size, framing included. Raises PeerLost or PeerTimeout."""
    outgoing = Outgoing(channel, kind, tag, flatten(buffers))
    waiter.run([outgoing])
    return outgoing.size


def receive_frame(channel: Channel, limit: int, waiter: Waiter) -> Frame:
    """Receive the next frame, at most ``limit`` payload bytes. Raises PeerLost, PeerTimeout or MalformedFrame."""
    incoming = AnyIncoming(channel, limit)
    waiter.run([incoming])
    assert incoming.frame is not None
    return incoming.frame
