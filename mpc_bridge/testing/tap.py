"""A relay in front of every party that keeps what passes: what a party receives, and how many bytes each one sends.

It stands outside the party processes, so what it counts is what really went over the wire. Give it to
:func:`mpc_bridge.runtime.launcher.evaluate_local` as ``tap``.
"""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from collections import defaultdict
from collections.abc import Callable
from types import TracebackType
from typing import Any

from mpc_bridge.runtime.handshake import Address, peek_hello
from mpc_bridge.runtime.transport import HEADER_BYTES

_CHUNK = 1 << 20


class Relay:
    """Relays every connection among parties and launcher; a context manager.

    Attributes:
        streams: (sender, receiver) → everything that was sent, in order; -1 is the launcher.
        chunk: most bytes that are passed on at a time.
    """

    chunk = _CHUNK

    def __init__(self) -> None:
        self.streams: dict[tuple[int, int], bytearray] = defaultdict(bytearray)
        self._directory = tempfile.TemporaryDirectory(prefix="mpc-bridge-tap-")
        self._listeners: list[socket.socket] = []
        self._doors: list[threading.Thread] = []
        self._pumps: list[threading.Thread] = []

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        for listener in self._listeners:
            # close alone does not wake a thread that waits in accept
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for door in self._doors:
            door.join(5)
        self.join()
        self._directory.cleanup()

    def join(self) -> None:
        """Wait until everything that was sent has been seen; only after the parties ended."""
        for pump in self._pumps:
            pump.join(5)

    def received_by(self, party: int) -> bytes:
        """All bytes that one party received, from everybody."""
        return b"\0".join(bytes(data) for (_, receiver), data in sorted(self.streams.items()) if receiver == party)

    def sent_by(self, party: int) -> int:
        """How many bytes one party sent, to everybody."""
        return sum(len(data) for (sender, _), data in self.streams.items() if sender == party)

    def route(self, party: int, address: Address) -> Address:
        """Listen in front of ``party``; see :class:`mpc_bridge.runtime.processes.Tap`."""
        if isinstance(address, str):
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listener.bind(os.path.join(self._directory.name, str(party)))
        else:
            listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        self._listeners.append(listener)
        _run(self._doors, self._accept, listener, party, address)
        name = listener.getsockname()
        return name if isinstance(name, str) else (str(name[0]), int(name[1]))

    def _accept(self, listener: socket.socket, party: int, address: Address) -> None:
        while True:
            try:
                front, _ = listener.accept()
            except OSError:
                return
            _run(self._pumps, self._connect, front, party, address)

    def _connect(self, front: socket.socket, party: int, address: Address) -> None:
        hello = bytearray()
        while len(hello) < HEADER_BYTES + 8:
            data = front.recv(_CHUNK)
            if not data:
                front.close()
                return
            hello += data
        peer = peek_hello(bytes(hello[HEADER_BYTES:]))
        back = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET, socket.SOCK_STREAM)
        try:
            back.connect(address)
        except OSError:  # the party is gone
            front.close()
            back.close()
            return
        back.sendall(self.pass_on(peer, party, bytes(hello)))
        _run(self._pumps, self._pump, front, back, peer, party)
        _run(self._pumps, self._pump, back, front, party, peer)

    def pass_on(self, sender: int, receiver: int, data: bytes) -> bytes:
        """Keep what was sent; returns what the receiver gets."""
        self.streams[sender, receiver] += data
        return data

    def _pump(self, source: socket.socket, sink: socket.socket, sender: int, receiver: int) -> None:
        """Until the source ends; then the sink sees the end too."""
        try:
            while data := source.recv(self.chunk):
                sink.sendall(self.pass_on(sender, receiver, data))
        except OSError:
            pass
        try:
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def _run(threads: list[threading.Thread], function: Callable[..., None], *arguments: Any) -> None:
    thread = threading.Thread(target=function, args=arguments, daemon=True)
    thread.start()
    threads.append(thread)
