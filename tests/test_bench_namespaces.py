"""A network of its own for a run: who reaches whom, what it changes about a run (nothing), and that nothing is left."""

from __future__ import annotations

import errno
import glob
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import numpy.typing as npt
import psutil
import pytest

import mpc_bridge
from mpc_bridge.backends.additive.backend import AdditiveBackend
from mpc_bridge.backends.replicated.backend import Rep3Backend
from mpc_bridge.bench import namespaces
from mpc_bridge.bench.namespaces import Discipline, Namespace, Namespaces
from mpc_bridge.circuit import Circuit
from mpc_bridge.errors import NetworkError, PeerLost, UsageError
from mpc_bridge.evaluation import matches_reference
from mpc_bridge.importers.tflite import load
from mpc_bridge.runtime.launcher import evaluate_local
from mpc_bridge.runtime.meter import CLIENT
from mpc_bridge.runtime.processes import Hosts
from mpc_bridge.runtime.transport import Channel
from mpc_bridge.testing.tap import Relay
from tests import runtime_faults

DIGITS = Path(mpc_bridge.__file__).parent / "demo" / "digits.tflite"
#: A queue that every kernel has; netem's own tests are in test_bench_netem.py.
SLOW = Discipline(("tbf", "rate", "20mbit", "burst", "3000b", "limit", "10mb"))


def refusal() -> str | None:
    """Why no network can be made here; None where one can."""
    try:
        with Namespaces("trial", SLOW).hosts(1):
            return None
    except NetworkError as error:
        return error.what


_REFUSAL = refusal()
needs_namespaces = pytest.mark.skipif(_REFUSAL is not None, reason=_REFUSAL or "")


def here() -> str:
    """Which network namespace the calling thread is in."""
    return os.readlink("/proc/thread-self/ns/net")


def links() -> set[str]:
    """Names of the interfaces that the calling thread sees."""
    with open("/proc/thread-self/net/dev", encoding="ascii") as lines:
        return {line.partition(":")[0].strip() for line in lines if ":" in line}


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    if sys.platform != "linux":
        yield
        return
    before = here(), len(os.listdir("/proc/self/fd"))
    yield
    assert (here(), len(os.listdir("/proc/self/fd"))) == before
    # Others may make links of theirs here meanwhile.
    assert not [link for link in links() if link.startswith(("hub", "port"))]
    assert not psutil.Process().children(recursive=True)


@pytest.fixture(scope="module")
def circuit() -> Circuit:
    return load(DIGITS)


@pytest.fixture(scope="module")
def images(circuit: Circuit) -> npt.NDArray[np.generic]:
    with np.load(DIGITS.with_name("inputs.npz")) as inputs:
        images: npt.NDArray[np.generic] = inputs["in0"].reshape(-1, *circuit.tensors[circuit.inputs[0]].shape)
        return images


def listen(hosts: Hosts, member: int) -> socket.socket:
    with hosts.inside(member):
        return socket.create_server((hosts.address(member), 0))


def reach(hosts: Hosts, member: int, address: tuple[str, int]) -> socket.socket:
    with hosts.inside(member):
        return socket.create_connection(address, timeout=0.5)


@needs_namespaces
def test_members_reach_each_other() -> None:
    with Namespaces("x").hosts(3) as hosts:
        for one in (CLIENT, 0, 1, 2):
            with listen(hosts, one) as listener:
                for other in {CLIENT, 0, 1, 2} - {one}:
                    with reach(hosts, other, listener.getsockname()) as sock, listener.accept()[0] as accepted:
                        assert accepted.getpeername()[0] == hosts.address(other)
                        sock.sendall(b"hello")
                        assert accepted.recv(5) == b"hello"


@needs_namespaces
def test_nobody_else_reaches_them_and_they_reach_nobody_else() -> None:
    with Namespaces("x").hosts(1) as hosts, Namespaces("y").hosts(1) as others, \
            socket.create_server(("0.0.0.0", 0)) as outside, listen(hosts, 0) as inner:
        port = outside.getsockname()[1]
        with hosts.inside(0):
            # The one route. (Some kernels put tunnels of their own, which are down, into every namespace.)
            with open("/proc/thread-self/net/route", encoding="ascii") as routes:
                assert [line.split()[0] for line in routes][1:] == ["eth0"]
            assert Path("/proc/thread-self/net/if_inet6").read_text() == ""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            # This machine's own address; without a route of its own, any.
            own = probe.getsockname()[0] if probe.connect_ex(("192.0.2.1", 9)) == 0 else "192.0.2.1"
        with pytest.raises(OSError) as caught:
            reach(hosts, 0, (own, port))
        assert caught.value.errno == errno.ENETUNREACH
        with pytest.raises(OSError):
            reach(hosts, 0, ("127.0.0.1", port))
        with pytest.raises(OSError):
            socket.create_connection(inner.getsockname(), timeout=0.2)
        # The same address, but another network.
        with pytest.raises(OSError):
            reach(others, CLIENT, inner.getsockname())
        with reach(hosts, CLIENT, inner.getsockname()):
            pass


@needs_namespaces
def test_a_discipline_slows_every_member_down() -> None:
    data = bytes(1 << 20)
    with Namespaces("slow", SLOW).hosts(2) as hosts:
        for one, other in ((0, 1), (1, 0), (CLIENT, 0)):
            with listen(hosts, one) as listener, reach(hosts, other, listener.getsockname()) as sock, \
                    listener.accept()[0] as accepted:
                started = time.monotonic()
                sender = threading.Thread(target=sock.sendall, args=(data,))
                sender.start()
                count = 0
                while count < len(data):
                    count += len(accepted.recv(1 << 16))
                assert 0.9 * 8 * len(data) / 20e6 < time.monotonic() - started < 5
                sender.join()


@needs_namespaces
def test_tcp_tunes_itself_on_a_real_path_only() -> None:
    sizes = (socket.SO_SNDBUF, socket.SO_RCVBUF)
    with Namespaces("x").hosts(2) as hosts:
        for host, where in ((hosts.address(0), "path"), ("127.0.0.1", "loopback")):
            with hosts.inside(0):
                listener = socket.create_server((host, 0))
            with listener, hosts.inside(0 if where == "loopback" else 1):
                sock = socket.create_connection(listener.getsockname(), timeout=5)
            before = [sock.getsockopt(socket.SOL_SOCKET, size) for size in sizes]
            with closing(Channel(sock, "party 0")):
                after = [sock.getsockopt(socket.SOL_SOCKET, size) for size in sizes]
            # A size that was set stays, and TCP no longer adapts it.
            assert (after == before) == (where == "path")


@needs_namespaces
def test_inside_is_the_calling_thread_alone_and_nests() -> None:
    home = here()
    with Namespaces("x").hosts(2) as hosts, ThreadPoolExecutor(1) as neighbour:
        assert neighbour.submit(here).result() == home
        with hosts.inside(0):
            first = here()
            with hosts.inside(1):
                second = here()
            assert here() == first
            assert neighbour.submit(here).result() == home
        assert here() == home and len({home, first, second}) == 3


@needs_namespaces
def test_inside_ends_whatever_happens() -> None:
    home = here()
    with pytest.raises(KeyboardInterrupt), Namespaces("x").hosts(1) as hosts, hosts.inside(0):
        raise KeyboardInterrupt
    assert here() == home
    # As if an interrupt came between the way in and the block that ends with the way out.
    with Namespaces("x").hosts(1) as hosts:
        inside = hosts.inside(0)
        inside.__enter__()
        assert here() != home
    assert here() == home
    inside.__exit__(None, None, None)


@needs_namespaces
def test_a_thread_that_cannot_go_back_says_so_loudly(monkeypatch: pytest.MonkeyPatch) -> None:
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        with pytest.raises(namespaces.Stranded, match="cannot go back"), closing(Namespace.create()) as namespace:
            with namespace.inside():
                monkeypatch.setattr(namespaces, "_CLONE_NEWNET", 0x20000000)  # pid namespaces: refused for this one
        monkeypatch.undo()
    finally:
        assert namespaces._libc().setns(home, namespaces._CLONE_NEWNET) == 0
        os.close(home)


@needs_namespaces
def test_a_failing_tool_is_quoted_and_nothing_is_left() -> None:
    with pytest.raises(NetworkError, match="no-such-thing") as caught:
        with Namespaces("x", Discipline(("no-such-thing",))).hosts(2):
            pass
    assert "tc qdisc add" in caught.value.where


@needs_namespaces
def test_missing_tools_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(namespaces, "_TOOLS", str(tmp_path))
    with pytest.raises(NetworkError, match="there is no ip") as caught, Namespaces("x").hosts(2):
        pass
    assert "iproute2" in caught.value.hint


def test_without_the_rights_the_error_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    if sys.platform != "linux" or os.getuid():
        pytest.skip("root of Linux alone can give its rights up")
    script = ("from mpc_bridge.bench import netem; print(netem.available())")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    done = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-c", script],
                          env=environment, capture_output=True, text=True, check=False)
    assert "Operation not permitted" in done.stdout and done.stdout.count("\n") == 1, done.stderr


def test_too_many_members() -> None:
    with pytest.raises(NetworkError, match="1000 members"), Namespaces("x").hosts(1000):
        pass


@needs_namespaces
@pytest.mark.parametrize("backend, parties", [(Rep3Backend(), 3), (AdditiveBackend(), 2)], ids=["rep3", "additive"])
def test_a_run_costs_what_it_costs_elsewhere(circuit: Circuit, images: npt.NDArray[np.generic],
                                             backend: Rep3Backend | AdditiveBackend, parties: int) -> None:
    one, other = (evaluate_local(circuit, [images[:2]], backend, parties=parties, network=network)
                  for network in (None, Namespaces("x")))
    assert matches_reference(circuit, other.program, [images[:2]], other.outputs)
    mine, theirs = ([*run.reports, *filter(None, [run.helper])] for run in (one, other))
    assert len(mine) == len(theirs) == parties + hasattr(backend, "helper")
    for expected, report in zip(mine, theirs, strict=True):
        assert expected.phases.keys() == report.phases.keys()
        for phase, cost in expected.phases.items():
            assert (cost.bytes_sent, cost.rounds) == (report.phases[phase].bytes_sent, report.phases[phase].rounds)


@needs_namespaces
def test_reports_say_which_network(circuit: Circuit, images: npt.NDArray[np.generic], installed: None) -> None:
    result = mpc_bridge.evaluate(circuit, images[:1], backend="rep3", network=Namespaces("next door"))
    assert result.matches_reference
    assert (result.report()["transport"], result.report()["network"]) == ("tcp", "next door")
    assert mpc_bridge.evaluate(circuit, images[:1], backend="rep3").report()["network"] is None


@needs_namespaces
def test_members_are_where_they_belong(circuit: Circuit, images: npt.NDArray[np.generic]) -> None:
    seen: list[tuple[str, str]] = []

    def look(pids: list[int]) -> None:
        for pid in pids:
            seen.append((os.readlink(f"/proc/{pid}/ns/net"), Path(f"/proc/{pid}/net/dev").read_text()))

    evaluate_local(circuit, [images[:1]], Rep3Backend(), parties=3, network=Namespaces("x"), on_start=look)
    assert len({namespace for namespace, _ in seen} | {here()}) == 4
    assert all("eth0" in devices for _, devices in seen)


def test_no_relay_reaches_into_a_network(circuit: Circuit, images: npt.NDArray[np.generic]) -> None:
    with Relay() as relay, pytest.raises(UsageError, match="relay"):
        evaluate_local(circuit, [images[:1]], Rep3Backend(), parties=3, network=Namespaces("x"), tap=relay)


@needs_namespaces
@pytest.mark.parametrize("delay", [0.0, 0.5])
def test_a_killed_party_ends_the_run(circuit: Circuit, images: npt.NDArray[np.generic], delay: float) -> None:
    timers: list[threading.Timer] = []

    def arm(pids: list[int]) -> None:
        timers.append(threading.Timer(delay, os.kill, (pids[1], signal.SIGKILL)))
        timers[0].start()

    started = time.monotonic()
    with pytest.raises(PeerLost, match="party 1 was killed by SIGKILL"):
        evaluate_local(circuit, [np.repeat(images, 40, axis=0)], Rep3Backend(), parties=3, on_start=arm,
                       network=Namespaces("x"))
    assert time.monotonic() - started < 20, "waited for a timeout"
    timers[0].join()


@needs_namespaces
def test_a_party_that_fails_is_quoted(circuit: Circuit, images: npt.NDArray[np.generic]) -> None:
    with pytest.raises(PeerLost, match="party 1 ended with status 3"):
        evaluate_local(circuit, [images[:1]], runtime_faults.Exiting(), parties=3, network=Namespaces("x"))


LAUNCHER = """
import os, sys
import numpy as np
from mpc_bridge.backends.replicated.backend import Rep3Backend
from mpc_bridge.bench.namespaces import Namespaces
from mpc_bridge.importers.tflite import load
from mpc_bridge.runtime.launcher import evaluate_local
circuit = load(sys.argv[1])
images = np.zeros((200, *circuit.tensors[circuit.inputs[0]].shape), circuit.tensors[circuit.inputs[0]].dtype)
evaluate_local(circuit, [images], Rep3Backend(), parties=3, on_start=lambda pids: print(*pids, flush=True),
               network=Namespaces("x"))
"""


def held(namespace: str) -> list[str]:
    """Whatever keeps ``net:[inode]`` from ending: threads in it, descriptors of it, mounts of it."""
    found: list[str] = []
    for task in glob.glob("/proc/[0-9]*/task/*"):
        try:
            if os.readlink(f"{task}/ns/net") == namespace:
                found.append(task)
            for descriptor in os.scandir(f"{task}/fd"):
                if os.readlink(descriptor.path) == namespace:
                    found.append(descriptor.path)
            with open(f"{task}/mountinfo", encoding="utf-8", errors="replace") as mounts:
                found += [line for line in mounts if f" {namespace} " in line]
        except OSError:
            continue
    return found


@needs_namespaces
@pytest.mark.parametrize("delay", [0.0, 1.0])
def test_a_killed_launcher_leaves_no_process_and_no_namespace(delay: float) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    with subprocess.Popen([sys.executable, "-c", LAUNCHER, str(DIGITS)], stdout=subprocess.PIPE, env=environment,
                          text=True) as launcher:
        assert launcher.stdout is not None
        pids = [int(word) for word in launcher.stdout.readline().split()]
        time.sleep(delay)
        descriptors = [os.readlink(entry.path) for entry in os.scandir(f"/proc/{launcher.pid}/fd")]
        made = {target for target in descriptors if target.startswith("net:[")} - {here()}
        lived_in = {os.readlink(f"/proc/{pid}/ns/net") for pid in pids}
        assert len(lived_in) == 3 and lived_in < made and all(map(held, made)) and launcher.poll() is None
        launcher.kill()
    deadline = time.monotonic() + 5
    while any(map(psutil.pid_exists, pids)) or any(map(held, made)):
        assert time.monotonic() < deadline, "something outlives the launcher"
        time.sleep(0.02)
