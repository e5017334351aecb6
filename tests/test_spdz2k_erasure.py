"""What an spdz2k party that stops leaves behind, whatever it stops for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mpc_bridge.backends.additive.compile import CORRECTED
from mpc_bridge.backends.spdz2k.source import SealedSource
from mpc_bridge.errors import MalformedFrame, PeerError
from mpc_bridge.lowering.program import Affine
from mpc_bridge.testing import conformance
from mpc_bridge.testing.adversary_dealt import DealtCorruption, run


@pytest.mark.parametrize("short", [0, 1])
def test_an_owners_malformed_message_leaves_no_key_and_no_correction(
    short: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    b = conformance.Builder(np.random.default_rng(5))
    x = b.input((24,), 44)
    case = b.finish("sums", b.add(Affine(0, "sum", (x,), b.accumulator((24,), 44), (3,), 7, ring=44)))
    waiting: list[Any] = []
    held: list[bool] = []
    erase = SealedSource.erase

    def watched(source: SealedSource) -> None:
        if source._session.party == CORRECTED:
            waiting.extend(ticket.corrections for ticket in source._ready)
            held.append(any(ticket.corrections.any() for ticket in source._ready))
        erase(source)

    def one_byte_less(messages: list[bytes]) -> list[bytes]:
        return [message[:-1] if party == short else message for party, message in enumerate(messages)]

    monkeypatch.setattr(SealedSource, "erase", watched)
    outcome = run(case, 2, DealtCorruption(1 - short, owner=one_byte_less))
    (end,) = outcome.honest
    assert isinstance(end.error, MalformedFrame), end.error
    for stopped in outcome.ends:
        assert isinstance(stopped.error, PeerError)
        assert stopped.protocol is not None and not any(stopped.protocol._trust.keys())
    assert held[0] and not any(corrections.any() for corrections in waiting)
