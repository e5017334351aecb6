"""No pad is used twice: every PRF interval that a party draws in a session is its own; no key outlives a session."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from mpc_bridge.backends.base import Backend
from mpc_bridge.backends.replicated.backend import backend as rep3
from mpc_bridge.backends.replicated.malicious.backend import backend as rep3_mac
from mpc_bridge.backends.sharing.microcode import Op
from mpc_bridge.kernels import Device
from mpc_bridge.kernels.gf import Weights, tile_count
from mpc_bridge.kernels.prf import KEY_BYTES
from mpc_bridge.lowering.program import Program
from mpc_bridge.runtime.session import Session
from mpc_bridge.testing import conformance
from mpc_bridge.testing.conformance import Case
from tests.test_privacy_shapes import extremes
from tests.trios import views

BLOCK = 16
#: A pad of the plane machine is rounded up to this many bytes.
PLANE_ROUNDING = 64


@dataclass(frozen=True, order=True)
class Pad:
    """Blocks ``start..end - 1`` of a key's stream of a domain, and what drew them."""

    key: bytes
    domain: int
    start: int
    end: int
    use: str


class Drawing(Device):
    """A device that notes every interval of the PRF that it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.pads: list[Pad] = []
        self.weights: set[Pad] = set()

    def note(self, use: str, keys: list[bytes], domain: int, size: int, start: int = 0) -> None:
        self.pads += [Pad(bytes(key), domain, start, start - (-size // BLOCK), use) for key in keys]

    def prf_fill(self, key: bytes, domain: int, out: Any, first_block: int = 0) -> Any:
        self.note("prf_fill", [key], domain, out.nbytes, first_block)
        return super().prf_fill(key, domain, out, first_block)

    def ring_add_zero_share(self, key_a: bytes, key_b: bytes, domain: int, z: Any) -> Any:
        self.note("ring_add_zero_share", [key_a, key_b], domain, 8 * z.size)
        return super().ring_add_zero_share(key_a, key_b, domain, z)

    def wide_add_zero_share(self, key_a: bytes, key_b: bytes, domain: int, z: Any) -> Any:
        self.note("wide_add_zero_share", [key_a, key_b], domain, 8 * z.size)
        return super().wide_add_zero_share(key_a, key_b, domain, z)

    def gf_add_zero_share(self, key_a: bytes, key_b: bytes, domain: int, z: Any) -> Any:
        self.note("gf_add_zero_share", [key_a, key_b], domain, 8 * z.size)
        return super().gf_add_zero_share(key_a, key_b, domain, z)

    def planes_run(
        self, planes: Any, plane_bytes: int, code: Any, keys: bytes, domain: int, incoming: Any, outgoing: Any
    ) -> None:
        size = -(-plane_bytes // PLANE_ROUNDING) * PLANE_ROUNDING
        for op, _, slot, number in code.tolist():
            if op in (Op.PRF, Op.XPRF):
                key = keys[slot * KEY_BYTES : (slot + 1) * KEY_BYTES]
                self.note("planes_run", [key], domain, size, number * size // BLOCK)
        super().planes_run(planes, plane_bytes, code, keys, domain, incoming, outgoing)

    def gf_first_fold(self, planes: Any, lanes: int, rows: Any, group: Any, weights: Weights, acc: Any = None) -> Any:
        # words of a public coin, which the check's other sums read again
        words = range(weights.first, weights.first + tile_count(lanes) * weights.groups)
        self.weights.add(Pad(bytes(weights.key), weights.domain, words.start, words.stop, "weights"))
        return super().gf_first_fold(planes, lanes, rows, group, weights, acc)


def session(backend: Backend, program: Program, seed: int) -> list[Drawing]:
    """Two inferences in one session."""
    devices = [Drawing() for _ in range(3)]
    weights, data = extremes(program)[seed]
    views(backend, program, [data, data], weights, devices)
    return devices


def drawn_twice(pads: list[Pad]) -> Pad | None:
    """An interval that begins before another one of its key and domain ends."""
    ordered = sorted(pads)
    for one, other in zip(ordered[:-1], ordered[1:], strict=True):
        if (one.key, one.domain) == (other.key, other.domain) and other.start < one.end:
            return other
    return None


NAMES = ("conv3x3-ring33", "depthwise-ring48", "moves-ring33", "pool3x3-ring33", "argmax-3x37", "lookup-ring48",
         "affine-ring64", "requantize-ring64-2x11x5x3-tie",
         "product-depthwise-ring48", "half-even-ring33-1x9x7x8", "affine-channels-ring33",
         "revealed-sums-ring64")  # fmt: skip
CASES = {case.name: case for case in conformance.cases()}


def case(name: str) -> Case:
    return CASES[name]


@pytest.mark.parametrize("backend", [rep3, rep3_mac], ids=lambda backend: backend.name)
@pytest.mark.parametrize("name", NAMES)
def test_no_party_draws_an_interval_twice(name: str, backend: Backend) -> None:
    for device in session(backend, case(name).program, 2):
        assert len(device.pads) > 3
        assert drawn_twice(device.pads) is None
        # a weight of the boolean check is nobody else's either
        assert drawn_twice(list(device.weights)) is None
        assert not {(pad.key, pad.domain) for pad in device.weights} & {(pad.key, pad.domain) for pad in device.pads}


@pytest.mark.parametrize("backend", [rep3, rep3_mac], ids=lambda backend: backend.name)
@pytest.mark.parametrize("name", NAMES)
def test_both_holders_of_a_key_draw_the_same_pads(name: str, backend: Backend) -> None:
    """Another interval, or another use of it, at one of them would be a pad on two things after all."""
    holders: dict[bytes, list[set[Pad]]] = defaultdict(list)
    for device in session(backend, case(name).program, 3):
        keys: dict[bytes, set[Pad]] = defaultdict(set)
        for pad in device.pads:
            keys[pad.key].add(pad)
        for key, pads in keys.items():
            holders[key].append(pads)
    shared = [drawn for drawn in holders.values() if len(drawn) == 2]
    assert len(shared) >= 3
    for first, second in shared:
        assert first == second
    # what all three draw from is a coin
    assert {len(drawn) for drawn in holders.values()} <= ({2} if backend is rep3 else {2, 3})


@pytest.mark.parametrize("backend", [rep3, rep3_mac], ids=lambda backend: backend.name)
def test_no_key_is_shared_by_two_sessions(backend: Backend) -> None:
    seen: set[bytes] = set()
    for _ in range(4):
        devices = session(backend, case("moves-ring33").program, 0)
        keys = {pad.key for device in devices for pad in (*device.pads, *device.weights)}
        assert len(keys) >= 5 and not keys & seen
        assert bytes(KEY_BYTES) not in keys
        seen |= keys


def test_a_domain_given_out_twice_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    first = Session.domain
    monkeypatch.setattr(Session, "domain", lambda self, count=1: first(self, count) // 2)
    devices = session(rep3, case("conv3x3-ring33").program, 2)
    assert all(drawn_twice(device.pads) is not None for device in devices)


def test_the_pads_are_the_streams_they_are_noted_as() -> None:
    """The layout of the plane machine's pads, against the PRF itself."""
    device, key = Drawing(), bytes(range(16))
    planes = np.zeros((1, 256), np.uint8)
    code = np.array([[Op.PRF, 0, 0, 3]], np.int32)
    nothing = np.zeros(0, np.uint8)
    device.planes_run(planes, 200, code, key, 9, nothing, nothing)
    (pad,) = device.pads
    expected = np.zeros(BLOCK * (pad.end - pad.start), np.uint8)
    Device().prf_fill(key, 9, expected, pad.start)
    np.testing.assert_array_equal(planes[0, :200], expected[:200])
