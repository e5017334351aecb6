"""All parties of a protocol as threads of one process, on real sockets: for tests of engines and protocols."""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from mpc_bridge.errors import PeerError
from mpc_bridge.runtime.session import Session
from mpc_bridge.runtime.transport import Channel

if TYPE_CHECKING:
    from mpc_bridge.kernels import Device

Result = TypeVar("Result")


def connect(parties: int) -> list[dict[int, Channel]]:
    """Per party, a channel to every other one."""
    channels: list[dict[int, Channel]] = [{} for _ in range(parties)]
    for first in range(parties):
        for second in range(first):
            one, other = socket.socketpair()
            channels[first][second] = Channel(one, f"party {second}")
            channels[second][first] = Channel(other, f"party {first}")
    return channels


def run_parties(devices: Sequence[Device], function: Callable[[Session], Result], *, timeout: float = 10.0,
                helper: Callable[[Session], Result] | None = None) -> list[Result]:
    """Run ``function`` at every party, one thread and one device each; the phase is ``online``.

    A party that raises closes its channels, so that the others see a lost peer. With a ``helper``, that runs in one
    more thread, on a device like the first party's, and its result comes last.

    Returns:
        Every party's result, in order.

    Raises:
        The first error that is not a consequence of another party's (PeerError), else the first one.
    """
    identity = secrets.token_bytes(32)
    count = len(devices)
    channels = connect(count + (helper is not None))
    sessions = []
    for party, device in enumerate(devices):
        session = Session(party, count, device, {peer: channels[party][peer] for peer in range(count) if peer != party},
                          timeout=timeout, identity=identity)
        if helper is not None:
            session.helper = Session(party, count, device, {count: channels[party][count]}, meter=session.meter,
                                     timeout=timeout, identity=identity)
        sessions.append(session)
    if helper is not None:
        sessions.append(Session(count, count, devices[0], channels[count], timeout=timeout, identity=identity))
    results: dict[int, Result] = {}
    failures: list[BaseException] = []

    def main(session: Session) -> None:
        try:
            with session.meter.phase("online"):
                results[session.party] = (
                    function(session) if helper is None or session.party < count else helper(session))
        except BaseException as error:
            failures.append(error)
            session.close()

    threads = [threading.Thread(target=main, args=(session,), daemon=True) for session in sessions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Only now: a party that is done must not look lost to one that still talks.
    for session in sessions:
        session.close()
    if failures:
        raise min(failures, key=lambda error: isinstance(error, PeerError))
    return [results[session.party] for session in sessions]
