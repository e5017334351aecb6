"""Tensors cut into pieces, with other roles in each: every message attacked there too.

Real pieces have thousands of elements; here a tile has eight and a slab three tiles, so that small tensors are cut.
"""

from __future__ import annotations

import pytest

from mpc_bridge.backends.plaintext import backend as plaintext
from mpc_bridge.backends.replicated import roles
from mpc_bridge.backends.replicated.malicious import protocol
from mpc_bridge.kernels import cpu_device
from mpc_bridge.testing import conformance
from mpc_bridge.testing.adversary import Corruption, Interference, MessageType, run
from mpc_bridge.testing.adversary_messages import CERTAIN, Changed
from mpc_bridge.testing.adversary_programs import programs

TILE = 8
CASES = {case.name: case for case in programs()}


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roles, "TILE", TILE)
    monkeypatch.setattr(protocol, "SLAB", 3 * TILE)


def sent_by(case: conformance.Case, party: int, expected: list[conformance.IntArray]) -> list[MessageType]:
    record = Interference()
    outcome = run(case, Corruption(party, record))
    assert outcome.violation(expected) is None
    assert outcome.result is not None
    return sorted(record.seen)


@pytest.mark.parametrize("party", range(3))
@pytest.mark.parametrize("name", CASES)
def test_every_message_of_a_cut_tensor_is_bound(name: str, party: int) -> None:
    case = CASES[name]
    expected = conformance.run(plaintext, case, [cpu_device()])
    kinds: dict[tuple[str, str, int], list[MessageType]] = {}
    for message in sent_by(case, party, expected):
        kinds.setdefault((message.layer, message.label, message.direction), []).append(message)
    assert len(kinds) > 10
    change = next(iter(CERTAIN.values()))
    for number, messages in enumerate(kinds.values()):
        message = messages[(number + party) % len(messages)]
        if message.label == "barrier":
            continue
        interference = Changed(message, change)
        outcome = run(case, Corruption(party, interference), timeout=30.0)
        assert interference.met
        assert outcome.violation(expected) is None, f"{message} of party {party}: {outcome.violation(expected)}"
        assert outcome.detected, f"{message} of party {party}: {[end.error for end in outcome.ends]}"
