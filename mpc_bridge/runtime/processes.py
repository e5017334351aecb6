"""The party processes of a local run: started by exec with next to nothing, always killed and reaped."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from types import TracebackType
from typing import IO, Literal, Protocol

import mpc_bridge
from mpc_bridge.errors import PeerError, PeerLost, UsageError
from mpc_bridge.runtime import handshake
from mpc_bridge.runtime.config import PartyConfig, label_of
from mpc_bridge.runtime.handshake import Address
from mpc_bridge.runtime.meter import CLIENT
from mpc_bridge.runtime.transport import Channel, Waiter

Transport = Literal["unix", "tcp"]

#: A Unix socket's path has room for this many bytes on every system.
_PATH_BYTES = 100
#: Who may wait at a listening socket, strangers included, while its process starts.
_BACKLOG = 128
_EXIT_SECONDS = 2.0
#: From the moment a process's descriptors are closed until its status can be had.
_DEATH_SECONDS = 0.5
#: Of the launcher's environment a party gets these, and PYTHONPATH as the launcher resolved it.
_ENVIRONMENT = ("CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "OMP_NUM_THREADS", "TMPDIR")
_ENVIRONMENT_PREFIX = "MPC_BRIDGE_"


class Tap(Protocol):
    """Something that stands between parties and sees every byte: :class:`mpc_bridge.testing.tap.Relay`."""

    def route(self, party: int, address: Address) -> Address:
        """Where others shall connect in order to reach ``party``, which listens at ``address``."""
        ...


class Hosts(Protocol):
    """A machine of its own, as far as the network goes, for every member of one run: the parties 0 to n-1, their
    helper n, and the launcher -1.
    """

    def inside(self, member: int) -> AbstractContextManager[None]:
        """While it lasts, what the calling thread makes is the member's: sockets, and processes for all their life.

        Only what needs it belongs in there, as little as possible; it may be entered any number of times.
        """
        ...

    def address(self, member: int) -> str:
        """The member's IPv4 address, which every member reaches."""
        ...


class Network(Protocol):
    """A kind of network to run on in place of this machine's own: :mod:`mpc_bridge.bench.netem` has shaped ones."""

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    def hosts(self, members: int) -> AbstractContextManager[Hosts]:
        """Build it for the launcher and ``members`` more, on the calling thread; when it ends, nothing of it is left.

        Raises:
            NetworkError: it cannot be built here.
        """
        ...


class _Loopback:
    """Everybody on this machine."""

    def inside(self, member: int) -> AbstractContextManager[None]:
        return nullcontext()

    def address(self, member: int) -> str:
        return "127.0.0.1"


class PartyProcesses:
    """All party processes of one run, as a context manager: on exit none of them is left.

    Args:
        backend: ``module:class``.
        parties: how many compute.
        helper: what the process that serves them is called, None without one.
        device: one of the backend's.
        transport: Unix sockets in a private directory, or loopback TCP.
        timeout: seconds without a byte from whoever is due.
        tap: relay in front of every party, or None.
        network: with TCP, what to run on in place of loopback. Its parts are there before the first party starts.
    """

    def __init__(self, backend: str, parties: int, device: str, transport: Transport, timeout: float,
                 tap: Tap | None = None, helper: str | None = None, network: Network | None = None) -> None:
        if network is not None and (tap is not None or transport != "tcp"):
            raise UsageError("a network of its own needs tcp, and no relay reaches into it",
                             where=f"network {network.name}", hint="use --transport tcp")
        self._network = network
        self._hosts: Hosts = _Loopback()
        self._built = ExitStack()
        self._backend = backend
        self._parties = parties
        self._helper = helper or ""
        self._names = [*(label_of(party) for party in range(parties)), *([f"the {helper}"] if helper else [])]
        self._device = device
        self._transport = transport
        self._timeout = timeout
        self._tap = tap
        self._directory: str | None = None
        self._credentials = handshake.issue([CLIENT, *range(len(self._names))])
        self._processes: list[subprocess.Popen[bytes]] = []
        self._complaints: list[IO[bytes]] = []
        self._addresses: tuple[Address, ...] = ()
        self._channels: list[Channel] = []

    def __enter__(self) -> PartyProcesses:
        try:
            self._start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if kind is None:
            for channel in self._channels:
                channel.close()
            for process in self._processes:
                try:
                    process.wait(_EXIT_SECONDS)
                except subprocess.TimeoutExpired:
                    break
        self._end()

    def connect(self) -> list[Channel]:
        """One authenticated channel per member, the helper's last. Raises PeerError, at once when one ends."""
        alive = {process.stdout.fileno(): self._names[party] for party, process in enumerate(self._processes)
                 if process.stdout is not None}
        waiter = Waiter(self._timeout, alive)
        try:
            for party, address in enumerate(self._addresses):
                with self._hosts.inside(CLIENT):
                    self._channels.append(
                        handshake.connect(address, self._credentials[CLIENT], party, self._names[party], waiter))
        except PeerError:
            dead = self._first_dead()
            if dead is None:
                raise
            raise PeerLost(self.obituary(dead), where=f"{self._names[dead]}, before the session started",
                           hint="run with --debug to see what it said") from None
        self._remove_directory()
        return self._channels

    def _first_dead(self) -> int | None:
        """A party whose process ended, if there is one: it may take a moment to show."""
        deadline = time.monotonic() + _DEATH_SECONDS
        while time.monotonic() < deadline:
            for party, process in enumerate(self._processes):
                if process.poll() is not None:
                    return party
            time.sleep(0.01)
        return None

    def pids(self) -> list[int]:
        """Process ids, by party."""
        return [process.pid for process in self._processes]

    def obituary(self, party: int) -> str:
        """One line on how the party's process ended."""
        try:
            status = self._processes[party].wait(_EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            return f"{self._names[party]} closed its connection"
        if status < 0:
            try:
                return f"{self._names[party]} was killed by {signal.Signals(-status).name}"
            except ValueError:
                return f"{self._names[party]} was killed by signal {-status}"
        return f"{self._names[party]} ended with status {status}"

    def complaints(self) -> str:
        """What the parties wrote to standard error so far."""
        texts = []
        for party, file in enumerate(self._complaints):
            file.seek(0)
            text = file.read().decode(errors="replace").strip()
            if text:
                texts.append(f"--- {self._names[party]} ---\n{text}")
        return "\n".join(texts)

    def _start(self) -> None:
        listeners: list[socket.socket] = []
        if self._network is not None:
            self._hosts = self._built.enter_context(self._network.hosts(len(self._names)))
        try:
            for party in range(len(self._names)):
                with self._hosts.inside(party):
                    listeners.append(self._listen(party))
            addresses: list[Address] = [_address(listener) for listener in listeners]
            if self._tap is not None:
                addresses = [self._tap.route(party, address) for party, address in enumerate(addresses)]
            self._addresses = tuple(addresses)
            for party, listener in enumerate(listeners):
                with self._hosts.inside(party):
                    self._spawn(party, listener)
        finally:
            # Each party holds its own; a party that ends must refuse connections.
            for listener in listeners:
                listener.close()

    def _listen(self, party: int) -> socket.socket:
        """A listening socket before its process exists: connecting to it waits, and never fails."""
        if self._transport == "tcp":
            listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            where: Address = (self._hosts.address(party), 0)
        else:
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            where = os.path.join(self._private_directory(), str(party))
        try:
            listener.bind(where)
            listener.listen(_BACKLOG)
        except OSError:
            listener.close()
            raise
        return listener

    def _private_directory(self) -> str:
        """Mode 0700; gone as soon as everybody is connected."""
        if self._directory is None:
            for base in (None, "/tmp"):
                directory = tempfile.mkdtemp(prefix="mpc-bridge-", dir=base)
                if len(os.fsencode(directory)) + 8 <= _PATH_BYTES:
                    self._directory = directory
                    break
                os.rmdir(directory)
            else:
                raise UsageError("no directory with a short enough path for sockets", where="TMPDIR",
                                 hint="set TMPDIR to a short path, or use --transport tcp")
        return self._directory

    def _spawn(self, party: int, listener: socket.socket) -> None:
        complaint = tempfile.TemporaryFile()
        self._complaints.append(complaint)
        own = self._credentials[party]
        keys = {peer: key.hex() for peer, key in own.keys.items()}
        config = PartyConfig(party, self._parties, listener.fileno(), self._addresses, own.identity.hex(),
                             self._timeout, self._backend, self._device, os.getpid(), keys, self._helper)
        process = subprocess.Popen(
            [sys.executable, "-m", "mpc_bridge.runtime.party"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=complaint, cwd="/", env=_environment(), pass_fds=[listener.fileno()],
            # Ctrl-C is the launcher's to handle: it ends the parties.
            start_new_session=True)
        self._processes.append(process)
        assert process.stdin is not None
        try:
            with process.stdin as standard_input:
                standard_input.write(config.encode())
        except BrokenPipeError:
            raise PeerLost(self.obituary(party), where=f"{self._names[party]}, at start",
                           hint="run with --debug to see what it said") from None

    def _remove_directory(self) -> None:
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    def _end(self) -> None:
        with self._built:
            for channel in self._channels:
                channel.close()
            for process in self._processes:
                process.kill()
            for process in self._processes:
                process.wait()
                if process.stdout is not None:
                    process.stdout.close()
            for file in self._complaints:
                file.close()
            self._remove_directory()


def _address(listener: socket.socket) -> Address:
    name = listener.getsockname()
    return name if isinstance(name, str) else (str(name[0]), int(name[1]))


def _environment() -> dict[str, str]:
    """Nothing but what a party needs to find the same code, and the variables that choose kernels and devices."""
    package = str(Path(mpc_bridge.__file__).resolve().parent.parent)
    search: Sequence[str] = [package, *[entry for entry in sys.path if entry and os.path.isabs(entry)]]
    environment = {name: value for name, value in os.environ.items()
                   if name in _ENVIRONMENT or name.startswith(_ENVIRONMENT_PREFIX)}
    environment["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(search))
    # numpy starts a thread pool for its linear algebra, which a party never uses.
    environment["OPENBLAS_NUM_THREADS"] = "1"
    return environment
