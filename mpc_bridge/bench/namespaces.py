"""A network of its own for every run: anonymous network namespaces, joined by a bridge in one more of them.

Every member has a namespace with a loopback device and one link, ``eth0``; the other ends of the links are ports of a
bridge in a namespace that nobody lives in. No link, route or address leads to the machine's own network, in either
direction, and no namespace has a name: descriptors of the launcher and the processes inside are all that holds one, so
the kernel takes everything away when they end, however they end.

Linux only; the caller needs CAP_SYS_ADMIN over its own network namespace: root, or the root of a user namespace
(``unshare --map-root-user --net``).
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from mpc_bridge.errors import NetworkError
from mpc_bridge.runtime.meter import CLIENT
from mpc_bridge.runtime.processes import Hosts

_CLONE_NEWNET = 0x40000000
_OWN = "/proc/thread-self/ns/net"
#: Where iproute2 may be. Not the caller's PATH: what is found is run as root.
_TOOLS = "/usr/sbin:/usr/bin:/sbin:/bin"
_TOOL_SECONDS = 30.0
#: Addresses are 10.77.0.1 (the launcher) upwards, in a /24.
_MOST_MEMBERS = 200
_HINT = "run as root, or under: unshare --map-root-user --net"


class Stranded(BaseException):
    """The calling thread is in the wrong network and cannot go back: nobody may catch that and go on."""


class Namespace:
    """An anonymous network namespace. It lasts until it is closed and no process is in it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def create(cls) -> Namespace:
        """An empty one: a loopback device that is down. Raises NetworkError."""
        with _back_home():
            if _libc().unshare(_CLONE_NEWNET):
                raise _refused("make a network namespace")
            return cls(os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC))

    def fileno(self) -> int:
        """The descriptor that holds it. Child processes do not inherit it."""
        return self._descriptor

    def close(self) -> None:
        """Let go of it."""
        os.close(self._descriptor)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Have the calling thread in it for a while: sockets and processes made meanwhile are in it for good.

        Raises:
            NetworkError: it cannot be entered.
            Stranded: the thread cannot go back.
        """
        with _back_home():
            if _libc().setns(self._descriptor, _CLONE_NEWNET):
                raise _refused("enter a network namespace")
            yield

    def write(self, setting: str, value: str) -> None:
        """Set ``/proc/sys/net/<setting>`` in it, where the kernel has such a setting."""
        with self.inside():
            path = Path("/proc/sys/net", setting)
            if path.exists():
                path.write_text(value, encoding="ascii")

    def run(self, tool: str, arguments: Sequence[str], commands: Sequence[str] = (),
            descriptors: Sequence[int] = ()) -> None:
        """Run ``ip`` or ``tc`` in it.

        Args:
            commands: lines for its standard input.
            descriptors: for it to inherit.

        Raises:
            NetworkError: it is not installed, or failed: with its own words.
        """
        path = find_tool(tool)
        with self.inside():
            try:
                done = subprocess.run([path, *arguments], input="".join(f"{line}\n" for line in commands),
                                      capture_output=True, text=True, errors="replace", check=False, cwd="/",
                                      env={"LC_ALL": "C", "PATH": _TOOLS}, pass_fds=list(descriptors),
                                      timeout=_TOOL_SECONDS)
            except (OSError, subprocess.TimeoutExpired) as error:
                raise NetworkError(f"cannot run {path}: {error}", where=" ".join([tool, *arguments])) from error
        if done.returncode:
            said = "; ".join(line.strip() for line in done.stderr.splitlines() if line.strip())
            raise NetworkError(f"{tool} failed: {said or f'status {done.returncode}'}",
                               where=" ".join([tool, *arguments]), hint=_HINT)


@dataclass(frozen=True)
class Discipline:
    """What becomes of packets on their way out of every member.

    Attributes:
        qdisc: arguments of ``tc qdisc add dev eth0 root``, for example ``("tbf", "rate", "10mbit", …)``.
        segments: how many packets of one TCP stream may go through it as one.
    """

    qdisc: tuple[str, ...]
    segments: int = 1


class Namespaces:
    """A :class:`~mpc_bridge.runtime.processes.Network` made of namespaces.

    Args:
        name: what reports call it.
        discipline: None: packets go at once.
    """

    def __init__(self, name: str, discipline: Discipline | None = None) -> None:
        self._name = name
        self._discipline = discipline

    @property
    def name(self) -> str:
        """What reports call it."""
        return self._name

    @contextmanager
    def hosts(self, members: int) -> Iterator[Hosts]:
        """Build it for the launcher and ``members`` more. Every run gets a fresh one: the kernel keeps per namespace
        what TCP learnt about a path. Raises NetworkError.
        """
        if not 0 < members <= _MOST_MEMBERS:
            raise NetworkError(f"a network of {members} members", where=f"network {self._name}",
                               hint=f"use 1 to {_MOST_MEMBERS}")
        # Outermost: an interrupt may hit between entering a namespace and the block that would leave it.
        with _back_home(), ExitStack() as held:
            everybody = range(CLIENT, members)
            hub = _create(held)
            rooms = {member: _create(held) for member in everybody}
            _build_hub(hub, rooms)
            for member, room in rooms.items():
                _build_room(room, member, everybody)
                if self._discipline is not None:
                    _discipline(room, self._discipline)
            yield _Rooms(rooms)


class _Rooms:
    """The namespaces of one run, by member."""

    def __init__(self, rooms: dict[int, Namespace]) -> None:
        self._rooms = rooms

    def inside(self, member: int) -> AbstractContextManager[None]:
        """As :class:`~mpc_bridge.runtime.processes.Hosts` says."""
        return self._rooms[member].inside()

    def address(self, member: int) -> str:
        """As :class:`~mpc_bridge.runtime.processes.Hosts` says."""
        return _ip(member)


def find_tool(name: str) -> str:
    """Absolute path of ``ip`` or ``tc``. Raises NetworkError."""
    path = shutil.which(name, path=_TOOLS)
    if path is None:
        raise NetworkError(f"there is no {name} in {_TOOLS}", where="networks of a given shape",
                           hint="install iproute2")
    return path


def _create(held: ExitStack) -> Namespace:
    namespace = Namespace.create()
    held.callback(namespace.close)
    for scope in ("default", "all"):
        # Else every link starts with duplicate address detection and router solicitations.
        namespace.write(f"ipv6/conf/{scope}/disable_ipv6", "1")
    return namespace


def _build_hub(hub: Namespace, rooms: dict[int, Namespace]) -> None:
    # Bridged packets are no business of the host's firewall, which may have asked for them.
    for table in ("iptables", "ip6tables", "arptables"):
        hub.write(f"bridge/bridge-nf-call-{table}", "0")
    commands = ["link add name hub type bridge stp_state 0 forward_delay 0 mcast_snooping 0", "link set dev hub up"]
    for member, room in rooms.items():
        port = f"port{member - CLIENT}"
        commands += [f"link add name {port} type veth peer name eth0 address {_mac(member)} "
                     f"netns /proc/self/fd/{room.fileno()}",
                     f"link set dev {port} master hub", f"link set dev {port} up"]
    hub.run("ip", ["-batch", "-"], commands, [room.fileno() for room in rooms.values()])


def _build_room(room: Namespace, member: int, everybody: Sequence[int]) -> None:
    commands = ["link set dev lo up", "link set dev eth0 up", f"address add {_ip(member)}/24 dev eth0"]
    # Nobody has to ask for an address: a first packet takes as long as any.
    commands += [f"neighbour add {_ip(other)} lladdr {_mac(other)} dev eth0 nud permanent"
                 for other in everybody if other != member]
    room.run("ip", ["-batch", "-"], commands)


def _discipline(room: Namespace, discipline: Discipline) -> None:
    room.run("ip", ["link", "set", "dev", "eth0", "gso_max_segs", str(discipline.segments)])
    room.run("tc", ["qdisc", "add", "dev", "eth0", "root", *discipline.qdisc])


def _ip(member: int) -> str:
    return f"10.77.0.{member - CLIENT + 1}"


def _mac(member: int) -> str:
    return f"02:00:00:00:00:{member - CLIENT + 1:02x}"


@contextmanager
def _back_home() -> Iterator[None]:
    """Bring the calling thread back into the network namespace that it is in now, wherever it is by then."""
    try:
        home = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise NetworkError(f"cannot read {_OWN}: {error.strerror}", where="network namespaces",
                           hint="they need Linux, and /proc mounted") from error
    try:
        # Going nowhere needs the same rights as coming back.
        if _libc().setns(home, _CLONE_NEWNET):
            raise _refused("leave and enter this process's own network namespace")
        try:
            yield
        finally:
            if _libc().setns(home, _CLONE_NEWNET):
                raise Stranded(f"this thread cannot go back to its own network: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(home)


def _libc() -> ctypes.CDLL:
    # os.setns and os.unshare came with Python 3.12.
    if sys.platform != "linux":
        raise NetworkError("network namespaces need Linux", where=sys.platform)
    return ctypes.CDLL(None, use_errno=True)


def _refused(what: str) -> NetworkError:
    return NetworkError(f"cannot {what}: {os.strerror(ctypes.get_errno())}", where="network namespaces", hint=_HINT)
