"""Base transfers: keys agree where chosen and only there, messages hide the choice, strange points are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from nacl import bindings as sodium

from mpc_bridge.backends.ot.base import POINT_BYTES, check_element, choose, hash_to_group, offer
from mpc_bridge.errors import MalformedFrame
from mpc_bridge.kernels import cpu_device
from mpc_bridge.runtime.session import Session
from mpc_bridge.testing.parties import run_parties

#: encodings that are no element of the group of prime order
STRANGE = {
    "neutral element": (1).to_bytes(32, "little"),
    "order 2": ((1 << 255) - 20).to_bytes(32, "little"),
    "order 4": bytes(32),
    "order 8": bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    "not canonical": b"\xff" * 32,
    "not on the curve": (2).to_bytes(32, "little"),
}


def run(choices: list[int], at: int = 0) -> tuple[Any, Any, bytes]:
    """Both outcomes, and what the chooser sent; party ``at`` offers."""
    sent = []

    def party(session: Session) -> Any:
        if session.party == at:
            return offer(session, 1 - at, len(choices))
        exchange = session.exchange

        def exchanged(sends: Any, receives: Any, label: str = "") -> None:
            sent.append(b"".join(bytes(buffer) for buffer in sends[at]))
            exchange(sends, receives, label=label)

        session.exchange = exchanged  # type: ignore[method-assign]
        return choose(session, at, choices)

    results = run_parties([cpu_device(), cpu_device()], party)
    return results[at], results[1 - at], sent[0]


@pytest.mark.parametrize("at", [0, 1])
def test_the_chooser_gets_its_keys_and_no_others(at: int) -> None:
    choices = [int(bit) for bit in np.random.default_rng(1).integers(0, 2, 40)]
    offered, chosen, _ = run(choices, at)
    assert offered.transcript == chosen.transcript
    for choice, pair, key in zip(choices, offered.keys, chosen.keys, strict=True):
        assert pair[choice] == key != pair[1 - choice]
    assert len({key for pair in offered.keys for key in pair}) == 80


def test_two_runs_share_nothing() -> None:
    first, second = (run([0] * 8)[0] for _ in range(2))
    assert not {key for pair in first.keys for key in pair} & {key for pair in second.keys for key in pair}


def test_messages_hide_the_choice() -> None:
    """Both elements are valid and all different, whatever is chosen; no bit of an encoding tells the choices apart."""
    count = 192
    bits = []
    for choice in (0, 1):
        _, _, sent = run([choice] * count)
        assert len(sent) == 2 * POINT_BYTES * count
        points = [sent[at : at + POINT_BYTES] for at in range(0, len(sent), POINT_BYTES)]
        assert len(set(points)) == 2 * count
        for point in points:
            check_element(point, 0)
        bits.append(np.unpackbits(np.frombuffer(sent, np.uint8).reshape(count, -1), axis=1).astype(float))
    # a difference of two binomial shares: 6 deviations
    assert np.abs(bits[0].mean(axis=0) - bits[1].mean(axis=0)).max() < 6 * np.sqrt(0.5 / count)


def test_the_oracle_separates_what_it_hashes() -> None:
    point = sodium.crypto_scalarmult_ed25519_base_noclamp(bytes([7]) + bytes(31))
    outputs = {hash_to_group(sid, number, which, element)
               for sid in (b"a", b"b") for number in (0, 1) for which in (0, 1)
               for element in (point, sodium.crypto_core_ed25519_add(point, point))}
    assert len(outputs) == 16
    for output in outputs:
        check_element(output, 0)


@pytest.mark.parametrize("name", STRANGE)
@pytest.mark.parametrize("cheater", ["chooser", "offerer"])
def test_strange_points_are_refused(name: str, cheater: str) -> None:
    def party(session: Session) -> None:
        honest: Callable[[], Any]
        if session.party == 0:
            honest = lambda: offer(session, 1, 4)  # noqa: E731
            forged = STRANGE[name]
            size = 8 * POINT_BYTES
        else:
            honest = lambda: choose(session, 0, [0, 1, 0, 1])  # noqa: E731
            forged = b"".join([sodium.crypto_scalarmult_ed25519_base_noclamp(bytes([5]) + bytes(31))] * 6
                              + [STRANGE[name]] * 2)
            size = POINT_BYTES
        if (session.party == 0) == (cheater == "offerer"):
            session.exchange({1 - session.party: [forged]}, {1 - session.party: [bytearray(size)]})
        else:
            with pytest.raises(MalformedFrame, match="no element of the group"):
                honest()

    run_parties([cpu_device(), cpu_device()], party)


def test_a_message_of_the_wrong_size_is_refused() -> None:
    def party(session: Session) -> None:
        if session.party == 0:
            with pytest.raises(MalformedFrame):
                offer(session, 1, 4)
        else:
            point = sodium.crypto_scalarmult_ed25519_base_noclamp(bytes([5]) + bytes(31))
            session.exchange({0: [point * 7]}, {})

    run_parties([cpu_device(), cpu_device()], party)
