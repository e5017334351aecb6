"""The oblivious-transfer kernels against their definitions, every variant: streams, hash, digits, inner products."""

from __future__ import annotations

import numpy as np
import pytest

from mpc_bridge.errors import KernelError
from mpc_bridge.kernels import KEY_BYTES, Device, fresh_key
from tests.kernel_variants import EDGES, device, ring  # noqa: F401


def encrypted(key: bytes, blocks: np.ndarray) -> np.ndarray:
    """AES-128 of blocks ``[n, 2]`` of little-endian words, by another library."""
    ciphers = pytest.importorskip("cryptography.hazmat.primitives.ciphers")
    encryptor = ciphers.Cipher(ciphers.algorithms.AES(key), ciphers.modes.ECB()).encryptor()
    return np.frombuffer(encryptor.update(np.ascontiguousarray(blocks).tobytes()), np.uint64).reshape(-1, 2)


def hashed(key: bytes, blocks: np.ndarray, domain: int, first: int) -> np.ndarray:
    """``p(p(x) ^ tweak) ^ p(x)``."""
    inner = encrypted(key, blocks)
    counters = np.uint64(first) + np.arange(len(blocks), dtype=np.uint64)
    tweaks = np.stack([np.full(len(blocks), domain, np.uint64), counters], axis=1)
    return encrypted(key, inner ^ tweaks) ^ inner


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize("size", [64, 2048, 2112])
def test_expand_sums_the_streams_of_each_tree(device: Device, depth: int, size: int) -> None:
    trees = 3
    seeds = np.random.default_rng(depth).integers(0, 256, (trees, 1 << depth, KEY_BYTES), dtype=np.uint8)
    sums, weighted = device.ot_expand(seeds, 2**63 + 5, size)
    for tree in range(trees):
        streams = np.array([device.prf_fill(seed.tobytes(), 2**63 + 5, np.empty(size, np.uint8))
                            for seed in seeds[tree]])
        numbers = np.arange(1 << depth)
        np.testing.assert_array_equal(sums[tree], np.bitwise_xor.reduce(streams))
        for bit in range(depth):
            wanted = np.bitwise_xor.reduce(streams[numbers >> bit & 1 == 1])
            np.testing.assert_array_equal(weighted[tree * depth + bit], wanted)


@pytest.mark.parametrize("n", EDGES)
def test_hash_is_its_definition(device: Device, n: int) -> None:
    rng, key = np.random.default_rng(n), fresh_key()
    blocks, delta, first = ring(rng, n, 2), (2**63 + 11, 2**64 - 3), 2**64 - 5
    low, high = np.ascontiguousarray(blocks[:, 0]), np.ascontiguousarray(blocks[:, 1])
    with np.errstate(over="ignore"):
        plain = hashed(key, blocks, 77, first)
        moved = hashed(key, blocks ^ np.array(delta, np.uint64), 77, first)
    for got, wanted in ((device.ot_hash(key, (low, high), 77, first), plain),
                        (device.ot_hash(key, (low, high), 77, first, delta), moved)):
        np.testing.assert_array_equal(np.stack(got, axis=1), wanted)


@pytest.mark.parametrize("n", [1, 2, 3, 64, 127, 128, 129, 300])
@pytest.mark.parametrize("depth", [1, 4])
def test_digits_are_sums_of_leaves_by_number(device: Device, n: int, depth: int) -> None:
    rng, key, trees, scale, domain = np.random.default_rng(n), fresh_key(), 3, 2**64 - 16, 9
    leaves, before = ring(rng, trees, 1 << depth, 2), ring(rng, n)
    sums, acc = ring(rng, trees, n), before.copy()
    device.ot_digits(key, leaves, domain, scale, sums, acc)
    blocks = -(-n // 2)
    wanted = before.copy()
    for tree in range(trees):
        words = []
        for leaf in encrypted(key, leaves[tree]):
            counters = np.stack([np.full(blocks, domain, np.uint64), np.arange(blocks, dtype=np.uint64)], axis=1)
            words.append((encrypted(key, leaf ^ counters) ^ leaf).reshape(-1)[:n])
        np.testing.assert_array_equal(sums[tree], np.sum(words, axis=0, dtype=np.uint64))
        for number, word in enumerate(words):
            wanted += np.uint64(scale * number % 2**64) * word
    np.testing.assert_array_equal(acc, wanted)


@pytest.mark.parametrize("n", EDGES)
def test_combine_and_inner_are_sums_of_products(device: Device, n: int) -> None:
    rng, rows = np.random.default_rng(n), 5
    x, m, before = ring(rng, rows, n), ring(rng, rows), ring(rng, n)
    acc = before.copy()
    device.ot_combine(x, m, acc)
    np.testing.assert_array_equal(acc, before + (m[:, None] * x).sum(axis=0, dtype=np.uint64))
    chi = ring(rng, n - n // 3)
    wanted = [np.bitwise_xor.reduce(device.gf_mul(np.ascontiguousarray(row[: chi.size]), chi)) for row in x]
    np.testing.assert_array_equal(device.ot_inner(x, chi), wanted)


def test_arguments_are_checked(device: Device) -> None:
    words, key = np.zeros(4, np.uint64), fresh_key()
    seeds = np.zeros((1, 16, KEY_BYTES), np.uint8)
    for call in (
        lambda: device.ot_expand(seeds, 0, 65),
        lambda: device.ot_expand(seeds[:, :3].copy(), 0, 64),
        lambda: device.ot_expand(np.zeros((1, 512, KEY_BYTES), np.uint8), 0, 64),
        lambda: device.ot_expand(np.zeros((1, 1, KEY_BYTES), np.uint8), 0, 64),
        lambda: device.ot_hash(key, (words, words[:3]), 0, 0),
        lambda: device.ot_hash(key[:3], (words, words), 0, 0),
        lambda: device.ot_digits(key, np.zeros((1, 3, 2), np.uint64), 0, 1, words, words),
        lambda: device.ot_digits(key, np.zeros((2, 4, 2), np.uint64), 0, 1, words, words),
        lambda: device.ot_combine(words, words[:3], words),
        lambda: device.ot_inner(np.zeros((2, 2), np.uint64), words),
        lambda: device.ot_inner(words, words),
    ):
        with pytest.raises(KernelError):
            call()
