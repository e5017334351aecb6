"""Trees, the extension and what is made of transfers, against their definitions; deviations that the checks catch."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mpc_bridge.backends.ot import extension, trees
from mpc_bridge.backends.ot.checks import CHECKS
from mpc_bridge.backends.ot.extension import BLOCK_BITS, DEPTH, Chooser, Offerer
from mpc_bridge.backends.ot.layout import Layout
from mpc_bridge.backends.ot.linear import Factors, LinearHolder, LinearOfferer
from mpc_bridge.backends.ot.products import CHUNK_BYTES, ProductChooser, ProductOfferer
from mpc_bridge.errors import PeerError, ProtocolAbort
from mpc_bridge.kernels import Device, cpu_device, fresh_key
from mpc_bridge.lowering.program import Geometry, Linear
from mpc_bridge.runtime.session import Session
from mpc_bridge.testing.parties import run_parties
from tests.kernel_variants import device, ring  # noqa: F401
from tests.privacy_statistics import bits_of, uneven_bytes

__all__ = ["device"]


def both(chooser: Callable[[Session], Any], offerer: Callable[[Session], Any]) -> tuple[Any, Any]:
    """Party 0 chooses, party 1 offers."""
    def party(session: Session) -> Any:
        return offerer(session) if session.party else chooser(session)

    first, second = run_parties([cpu_device(), cpu_device()], party, timeout=60.0)
    return first, second


def unpacked(data: np.ndarray) -> np.ndarray:
    return np.unpackbits(data, bitorder="little").astype(np.uint64)


# Trees --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 3, 4, 8])
def test_a_punctured_tree_is_the_tree_without_one_leaf(depth: int) -> None:
    rng, on, key, count = np.random.default_rng(depth), cpu_device(), fresh_key(), 37
    roots, paths = ring(rng, count, 2), rng.integers(0, 1 << depth, count)
    leaves, sums = trees.grow(on, key, roots, depth, first=5)
    assert leaves.shape == (count, 1 << depth, 2) and len(np.unique(leaves[..., 0])) == count << depth
    sides = trees.sides(paths, depth)
    wanted = np.take_along_axis(sums, sides[:, :, None, None].astype(np.int64), axis=2)[:, :, 0]
    known = trees.grow_punctured(on, key, wanted, paths, first=5)
    every = np.arange(count)
    assert not known[every, paths].any()
    known[every, paths] = leaves[every, paths]
    np.testing.assert_array_equal(known, leaves)
    # a tree does not depend on its batch
    np.testing.assert_array_equal(trees.grow(on, key, roots[30:], depth, first=35)[0], leaves[30:])


# Transfers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [2, 4, 8])
@pytest.mark.parametrize("count", [1, 47, 48, 49, 4096])
def test_blocks_are_correlated_by_delta(depth: int, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extension, "DEPTH", depth)
    monkeypatch.setattr(extension, "_TREES", BLOCK_BITS // depth)
    choices = np.random.default_rng(count).integers(0, 256, (2, count), dtype=np.uint8)

    def chooser(session: Session) -> Any:
        side = Chooser(session, 1)
        return [side.extend(row) for row in choices]

    def offerer(session: Session) -> Any:
        side = Offerer(session, 0)
        return side.delta, [side.extend(count) for _ in choices]

    chosen, (delta, offered) = both(chooser, offerer)
    assert all(delta)
    for x, (call, v), (other_call, q) in zip(choices, chosen, offered, strict=True):
        assert call == other_call
        for half in (0, 1):
            np.testing.assert_array_equal(q[half], v[half] ^ unpacked(x) * np.uint64(delta[half]))
        assert len(np.unique(v[0])) == 8 * count
    assert not np.array_equal(chosen[0][1][0], chosen[1][1][0])


def test_both_kernels_levels_extend_alike(device: Device) -> None:
    """Every variant hashes and expands alike, so any two of them work together."""
    x, y = np.random.default_rng(1).integers(0, 256, (2, 700), dtype=np.uint8)
    first, second = both(lambda s: ProductChooser(s, 1).bits(x), lambda s: ProductOfferer(s, 0).bits(y))
    np.testing.assert_array_equal(first ^ second, x & y)


@pytest.mark.parametrize("size", [1, 63, 1000, CHUNK_BYTES + 5])
def test_products_of_bits(size: int) -> None:
    x, y = np.random.default_rng(size).integers(0, 256, (2, size), dtype=np.uint8)
    first, second = both(lambda s: ProductChooser(s, 1).bits(x), lambda s: ProductOfferer(s, 0).bits(y))
    np.testing.assert_array_equal(first ^ second, x & y)
    if size >= 1000:
        assert uneven_bytes(first.tobytes()) is None and uneven_bytes(second.tobytes()) is None


@pytest.mark.parametrize("width", [1, 32, 47, 63, 64])
def test_products_of_words(width: int) -> None:
    rng = np.random.default_rng(width)
    x, y = rng.integers(0, 256, 300, dtype=np.uint8), ring(rng, 2400)
    first, second = both(lambda s: ProductChooser(s, 1).words(x, width),
                         lambda s: ProductOfferer(s, 0).words(y, width))
    above = np.uint64(64 - width)
    np.testing.assert_array_equal((first + second) << above, (unpacked(x) * y) << above)


def test_blocks_of_choice() -> None:
    rng = np.random.default_rng(3)
    x, pairs = rng.integers(0, 256, 50, dtype=np.uint8), ring(rng, 400, 2, 2)
    got, _ = both(lambda s: ProductChooser(s, 1).blocks(x), lambda s: ProductOfferer(s, 0).blocks(pairs))
    np.testing.assert_array_equal(got, pairs[np.arange(400), unpacked(x).astype(int)])


# Linear layers ------------------------------------------------------------------------------------------------------

LAYERS = {
    "dense": (Geometry(2, 7, 9, 3, 4, 5, 8, (3, 3), (2, 2), (1, 1), 1, 1), False),
    "dilated": (Geometry(1, 9, 8, 2, 5, 4, 3, (3, 3), (1, 1), (2, 2)), False),
    "matrix": (Geometry(3, 1, 1, 40, 1, 1, 11), False),
    "depthwise": (Geometry(2, 6, 5, 4, 6, 5, 4, (3, 3), (1, 1), (1, 1), 1, 1), True),
    "multiplier": (Geometry(1, 5, 5, 3, 3, 3, 6, (3, 3), (2, 2), (1, 1), 1, 1), True),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize(("low", "bits", "width"), [(-128, 8, 48), (0, 1, 33), (-7, 9, 64), (0, 33, 33), (0, 64, 64)])
def test_linear_layers(name: str, low: int, bits: int, width: int) -> None:
    geometry, depthwise = LAYERS[name]
    step = Linear(0, "", (), 0, geometry, depthwise, ring=width)
    layout, rng = Layout(step), np.random.default_rng(width)
    operand = ring(rng, geometry.batch * geometry.in_height * geometry.in_width * geometry.in_channels)
    values = rng.integers(0, 2**bits, layout.rows * layout.channels, dtype=np.uint64) + np.uint64(low % 2**64)
    factors = Factors(layout, low, bits, width)

    def holder(session: Session) -> Any:
        side = LinearHolder(session, 1, ProductChooser(session, 1))
        held = side.hold(factors, values)
        return [side.multiply(held, domain) for domain in (3, 7)]

    def offerer(session: Session) -> Any:
        side = LinearOfferer(session, 0, ProductOfferer(session, 0))
        offered = side.offer(factors)
        return [side.multiply(offered, operand, domain) for domain in (3, 7)]

    on = cpu_device()
    if depthwise:
        wanted = on.depthwise2d(geometry, [operand], [0], [values]).reshape(-1)
    else:
        wanted = on.conv2d(geometry, [operand], [0], on.conv2d_pack(geometry, [values])).reshape(-1)
    above = np.uint64(64 - width)
    shares = list(zip(*both(holder, offerer), strict=True))
    for first, second in shares:
        np.testing.assert_array_equal((first + second) << above, wanted << above)
    assert not np.array_equal(shares[0][0], shares[1][0])


def test_big_layers_travel_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpc_bridge.backends.ot.linear.CHUNK_WORDS", 1000)
    monkeypatch.setattr("mpc_bridge.backends.ot.linear._CHUNK_TREES", 24)
    geometry, _ = LAYERS["dense"]
    assert len(Factors(Layout(Linear(0, "", (), 0, geometry)), 0, 8, 64).groups()) == 8
    test_linear_layers("dense", -128, 8, 48)


# Privacy and deviations ---------------------------------------------------------------------------------------------


def recorded(session: Session, into: list[bytes]) -> None:
    """Note what arrives."""
    exchange = session.exchange

    def exchanged(sends: Any, receives: Any, label: str = "") -> None:
        exchange(sends, receives, label=label)
        into.append(b"".join(bytes(memoryview(b).cast("B")) for buffers in receives.values() for b in buffers))

    session.exchange = exchanged  # type: ignore[method-assign]


@pytest.mark.parametrize("bit", [0, 255])
def test_messages_are_uniform_whatever_is_chosen_and_offered(bit: int) -> None:
    """All choices and operands zero, or all one: nothing of it shows."""
    size = 4000
    fixed, words = np.full(size, bit, np.uint8), np.full(8 * size, bit, np.uint64)
    heard: tuple[list[bytes], list[bytes]] = [], []

    def chooser(session: Session) -> None:
        side = ProductChooser(session, 1)
        recorded(session, heard[0])
        side.bits(fixed)
        side.words(fixed, 40)

    def offerer(session: Session) -> None:
        side = ProductOfferer(session, 0)
        recorded(session, heard[1])
        side.bits(fixed)
        side.words(words, 40)

    both(chooser, offerer)
    messages = [data for side in heard for data in side if data]
    assert [len(data) for data in heard[0] if data] == [size, 40 * size]
    for data in messages:
        assert uneven_bytes(data) is None
        bits = bits_of(data, 64)
        assert np.abs(bits.mean(axis=0) - 0.5).max() < 6 * 0.5 / np.sqrt(len(bits))


def test_the_check_shows_nothing_of_the_choices() -> None:
    """What it shows of the row of choices, zero here, is as random as the mask at the end of that row."""
    shown: list[np.ndarray] = []

    def chooser(session: Session) -> None:
        side = Chooser(session, 1)
        exchange = session.exchange

        def exchanged(sends: Any, receives: Any, label: str = "") -> None:
            shown.append(np.array(sends[1][1]).reshape(-1))
            exchange(sends, receives, label=label)

        session.exchange = exchanged  # type: ignore[method-assign]
        for _ in range(64):
            side.extend(np.zeros(40, np.uint8))

    def offerer(session: Session) -> None:
        side = Offerer(session, 0)
        for _ in range(64):
            side.extend(40)

    both(chooser, offerer)
    words = np.concatenate(shown)
    assert len(np.unique(words)) == len(words) == 128
    ones = np.unpackbits(words.view(np.uint8).reshape(128, -1), axis=1).mean(axis=0)
    assert np.abs(ones - 0.5).max() < 6 * 0.5 / np.sqrt(128)


def aborts(session: Session, work: Callable[[], Any], match: str) -> None:
    with pytest.raises(ProtocolAbort, match=match):
        work()
    session.close()


def test_a_chooser_with_two_choices_for_one_transfer_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bit of some trees' messages flipped: another choice under some bits of Delta, all of which it would leak."""
    caught = 0
    for attempt in range(4):
        def chooser(session: Session, attempt: int = attempt) -> None:
            side = Chooser(session, 1)
            expand = session.device.ot_expand

            def forged(*arguments: Any) -> Any:
                sums, planes = expand(*arguments)
                sums[attempt::2, 3] ^= 16
                return sums, planes

            monkeypatch.setattr(session.device, "ot_expand", forged)
            with pytest.raises(PeerError):
                side.extend(np.zeros(40, np.uint8))
                session.exchange({}, {1: [bytearray(1)]})

        def offerer(session: Session) -> None:
            nonlocal caught
            side = Offerer(session, 0)
            aborts(session, lambda: side.extend(40), "inconsistent")
            caught += 1

        both(chooser, offerer)
    assert caught == 4


def tampering(where: str) -> Callable[[Session], None]:
    """A chooser whose message of one extension is changed in one place."""
    def chooser(session: Session) -> None:
        side = Chooser(session, 1)
        exchange = session.exchange

        def exchanged(sends: Any, receives: Any, label: str = "") -> None:
            corrections, bits, planes = (np.array(part) for part in sends[1])
            if where == "corrections":
                corrections[:, -1] ^= 128
            elif where == "bits":
                bits[0, 1] ^= np.uint64(1)
            else:
                planes[77, 0] ^= np.uint64(2**40)
            exchange({1: [corrections, bits, planes]}, receives, label=label)

        session.exchange = exchanged  # type: ignore[method-assign]
        side.extend(np.zeros(8, np.uint8))

    return chooser


@pytest.mark.parametrize("where", ["corrections", "bits", "planes"])
def test_any_tampered_message_of_the_chooser_is_caught(where: str) -> None:
    """Even without knowing Delta every part is bound: all trees' rows, both hashes."""
    def offerer(session: Session) -> None:
        side = Offerer(session, 0)
        aborts(session, lambda: side.extend(8), "inconsistent")

    both(tampering(where), offerer)


def other_trees(part: int) -> Callable[[Session], None]:
    """A chooser that gives sums of other trees, on both sides, or tags of other leaves."""
    def chooser(session: Session) -> None:
        exchange = session.exchange

        def exchanged(sends: Any, receives: Any, label: str = "") -> None:
            if label == "trees":
                parts = [bytearray(memoryview(p).cast("B")) for p in sends[1]]
                for at in range(0, len(parts[part]), 16):
                    parts[part][at] ^= 1
                sends = {1: parts}
            exchange(sends, receives, label=label)

        session.exchange = exchanged  # type: ignore[method-assign]
        Chooser(session, 1)

    return chooser


@pytest.mark.parametrize("part", [0, 1, 2], ids=["sums", "tags", "proof"])
def test_trees_that_do_not_fit_are_caught(part: int) -> None:
    both(other_trees(part), lambda session: aborts(session, lambda: Offerer(session, 0), "proof"))


@pytest.mark.parametrize("name", sorted(CHECKS))
def test_every_check_is_needed(name: str) -> None:
    """Switched off, what it finds goes through."""
    attacks = {"transfer-trees": other_trees(1), "transfer-choices": tampering("corrections")}
    with CHECKS.switched_off(name):
        _, blocks = both(attacks[name], lambda session: Offerer(session, 0) if name == "transfer-trees"
                         else Offerer(session, 0).extend(8))
    assert blocks is not None


def test_the_work_of_an_extension_does_not_depend_on_delta(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other side sees its time: no line may run more often where Delta has more ones."""
    found = []
    for nibbles in (0x00, 0x0F):
        monkeypatch.setattr(extension, "os", SimpleNamespace(urandom=lambda count, b=nibbles: bytes([b]) * count))

        def offerer(session: Session) -> Any:
            side = Offerer(session, 0)
            lines = 0

            def count(frame: FrameType, event: str, _: Any) -> Any:
                nonlocal lines
                lines += event == "line" and frame.f_code is Offerer.extend.__code__
                return count

            before = sys.gettrace()
            sys.settrace(count)
            try:
                side.extend(40)
            finally:
                sys.settrace(before)
            return side.delta, lines

        found.append(both(lambda session: Chooser(session, 1).extend(np.zeros(40, np.uint8)), offerer)[1])
    (none, few), (every, many) = found
    assert none == (0, 0) and every == (2**64 - 1, 2**64 - 1)
    assert few == many > 5


def test_nothing_is_shared_between_sessions() -> None:
    def chooser(session: Session) -> Any:
        side = Chooser(session, 1)
        return side.hash_key, side.tree_key, side.stream_key, side.extend(np.zeros(8, np.uint8))[1][0].tobytes()

    def offerer(session: Session) -> Any:
        side = Offerer(session, 0)
        side.extend(8)
        return side.hash_key, side.tree_key, side.stream_key, side.delta

    first, second = both(chooser, offerer), both(chooser, offerer)
    assert first[0][:3] == first[1][:3] and len(set(first[0][:3])) == 3
    assert not set(first[0]) & set(second[0]) and not set(first[1]) & set(second[1])
    assert DEPTH in (2, 4, 8)
