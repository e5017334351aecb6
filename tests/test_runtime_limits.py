"""A launcher cannot make a party allocate what it likes: a job that is too big is refused before anything is held."""

from __future__ import annotations

import socket
import tracemalloc

import pytest

from mpc_bridge.backends.replicated.backend import Rep3Backend
from mpc_bridge.circuit.graph import Circuit
from mpc_bridge.circuit.serialize import to_json
from mpc_bridge.errors import MalformedFrame, MpcBridgeError, UnsupportedModelError
from mpc_bridge.kernels import cpu_device
from mpc_bridge.lowering import lower
from mpc_bridge.runtime.limits import check_shares
from mpc_bridge.runtime.messages import Job
from mpc_bridge.runtime.party import Party
from mpc_bridge.runtime.session import Session
from mpc_bridge.runtime.transport import Channel, Kind, Waiter, send_frame
from tests.nets import Net


def sums(inputs: int, shape: tuple[int, ...]) -> Circuit:
    """The sum of so many inputs of that shape; it takes no memory to describe."""
    net = Net()
    total = net.input(shape)
    for _ in range(inputs - 1):
        total = net.add(total, net.input(shape))
    return net.circuit(total)


def refusal(circuit: str) -> MpcBridgeError:
    """The error with which party 1 ends whose launcher asks for this; it holds less than 64 MiB until then."""
    near, far = socket.socketpair()
    control, launcher = Channel(near, "the launcher"), Channel(far, "party 1")
    session = Session(1, 3, cpu_device(), {}, control=control, timeout=5)
    tracemalloc.start()
    try:
        send_frame(launcher, Kind.CIRCUIT, 0, [Job(circuit, "output", "00" * 32, False).encode()], Waiter(5))
        with pytest.raises(MpcBridgeError) as caught:
            Party(session, control, Rep3Backend(), 5.0).serve()
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()
        control.close()
        launcher.close()
    return caught.value


def test_a_huge_tensor_is_refused() -> None:
    text = to_json(sums(2, (1, 1 << 14, 1 << 14)).public())
    error = refusal(text.replace("16384", "65536"))
    assert isinstance(error, MalformedFrame) and "elements" in str(error)


def test_too_many_big_tensors_are_refused() -> None:
    error = refusal(to_json(sums(40, (1, 1 << 14, 1 << 14)).public()))
    assert isinstance(error, UnsupportedModelError) and "GiB, at most 8 GiB are taken" in str(error)
    assert error.where == "party 1"


def test_big_tensors_within_the_limit_are_taken() -> None:
    """Two inputs of a quarter of a gibibyte: far more than any real model's, and the question takes no memory."""
    program = lower(sums(2, (1, 1 << 14, 1 << 14)).public())
    for party in range(3):
        check_shares(program, Rep3Backend().owner(3), party)
