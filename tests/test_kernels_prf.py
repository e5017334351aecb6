"""The PRF against published AES-128 vectors, and every variant against the published cipher run block by block."""

from __future__ import annotations

import numpy as np
import pytest

from mpc_bridge.errors import KernelError
from mpc_bridge.kernels import KEY_BYTES, Device, cpu_device, fresh_key
from tests.kernel_variants import EDGES, device, ring  # noqa: F401

# NIST SP 800-38A, F.5.1 CTR-AES128: the output blocks
SP800_38A_KEY = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
SP800_38A_COUNTER = (0xF0F1F2F3F4F5F6F7, 0xF8F9FAFBFCFDFEFF)
SP800_38A_STREAM = bytes.fromhex(
    "ec8cdf7398607cb0f2d21675ea9ea1e4362b7c3c6773516318a077d7fc5073ae"
    "6a2cc3787889374fbeb4c81b17ba6c44e89c399ff0f198c6d40a31db156cabfe"
)

# One AES-128 block each: FIPS-197 appendix C.1 and appendix B
ONE_BLOCK = (
    ("000102030405060708090a0b0c0d0e0f", "00112233445566778899aabbccddeeff", "69c4e0d86a7b0430d8cdb78070b4c55a"),
    ("2b7e151628aed2a6abf7158809cf4f3c", "3243f6a8885a308d313198a2e0370734", "3925841d02dc09fbdc118597196a0b32"),
)


def stream(on: Device, key: bytes, domain: int, first_block: int, size: int) -> bytes:
    return on.prf_fill(key, domain, np.zeros(size, np.uint8), first_block).tobytes()


def test_sp800_38a_counter_mode(device: Device) -> None:
    domain, first = SP800_38A_COUNTER
    assert stream(device, SP800_38A_KEY, domain, first, 64) == SP800_38A_STREAM


@pytest.mark.parametrize(("key", "block", "cipher"), ONE_BLOCK)
def test_fips_197_single_blocks(device: Device, key: str, block: str, cipher: str) -> None:
    counter = int(block, 16)
    assert stream(device, bytes.fromhex(key), counter >> 64, counter & (2**64 - 1), 16) == bytes.fromhex(cipher)


def test_equals_openssl(device: Device) -> None:
    ciphers = pytest.importorskip("cryptography.hazmat.primitives.ciphers")
    key, domain, first = bytes(range(16)), 0x0123456789ABCDEF, 0xFEDCBA9876543210
    counter = ciphers.modes.CTR(domain.to_bytes(8, "big") + first.to_bytes(8, "big"))
    encryptor = ciphers.Cipher(ciphers.algorithms.AES(key), counter).encryptor()
    assert stream(device, key, domain, first, 5000) == encryptor.update(bytes(5000))


@pytest.mark.parametrize("first", [0, 1, 2**32 - 3, 2**63, 2**64 - 5])
def test_any_length_is_a_prefix_of_single_blocks(device: Device, first: int) -> None:
    """Lengths around every unroll size, block indices around every carry; a wrapping index leaves the domain alone."""
    key, domain = fresh_key(), 2**64 - 1
    blocks = b"".join(stream(device, key, domain, (first + i) % 2**64, 16) for i in range(97))
    for size in (*range(0, 70), *EDGES, 16 * 97):
        wanted = min(size, len(blocks))
        assert stream(device, key, domain, first, size)[:wanted] == blocks[:wanted]


def test_nothing_is_written_past_the_end(device: Device) -> None:
    for size in EDGES:
        buffer = np.full(size + 64, 0xA5, np.uint8)
        device.prf_fill(bytes(16), 1, buffer[:size])
        assert (buffer[size:] == 0xA5).all()


def test_variants_agree() -> None:
    key = fresh_key()
    streams = {stream(cpu_device(mask), key, 7, 3, 10_001) for mask in (0, Device.AVX2, Device.ALL)}
    assert len(streams) == 1


@pytest.mark.parametrize("n", EDGES)
def test_zero_shares_are_differences_of_streams_and_cancel(device: Device, n: int) -> None:
    keys = [fresh_key() for _ in range(3)]
    start = ring(np.random.default_rng(n), n)
    total = np.zeros(n, np.uint64)
    for own, after in zip(keys, keys[1:] + keys[:1], strict=True):
        share = device.ring_add_zero_share(own, after, 9, start.copy())
        a, b = (device.prf_fill(key, 9, np.zeros(n, np.uint64)) for key in (own, after))
        assert (share == start + a - b).all()
        total += share - start
    assert not total.any()


def test_keys_come_from_the_system_and_differ() -> None:
    keys = {fresh_key() for _ in range(100)}
    assert len(keys) == 100
    assert {len(key) for key in keys} == {KEY_BYTES}


def test_refuses_keys_of_another_length() -> None:
    with pytest.raises(KernelError, match="16 bytes"):
        cpu_device().prf_fill(bytes(15), 0, np.zeros(4, np.uint64))


@pytest.mark.parametrize("domain", [-1, 2**64])
def test_a_domain_out_of_range_never_aliases_another(domain: int) -> None:
    with pytest.raises(OverflowError):
        cpu_device().prf_fill(bytes(16), domain, np.zeros(4, np.uint64))
