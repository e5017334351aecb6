"""PRF keys. The function itself, AES-128 in counter mode, is a kernel: :meth:`mpc_bridge.kernels.Device.prf_fill`."""

from __future__ import annotations

import os

#: Bytes of a key.
KEY_BYTES = 16


def fresh_key() -> bytes:
    """A new 128-bit key from the operating system's generator, the only source of secret randomness."""
    return os.urandom(KEY_BYTES)
