"""Every kernel variant that this machine can run, as a pytest fixture, and lengths around the vector sizes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from mpc_bridge.kernels import Device, RingArray, cpu_device

_VARIANTS = {"portable": 0, "avx2": Device.AVX2, "avx512": Device.AVX2 | Device.AVX512}

#: one below, at and above each block size that some kernel has: registers, transpositions, cache lines, PRF passes
EDGES = (1, 2, 3, 7, 8, 9, 15, 16, 17, 63, 64, 65, 127, 128, 129, 511, 512, 513, 1023, 1024, 1025, 1537)


@pytest.fixture(params=list(_VARIANTS.values()), ids=list(_VARIANTS))
def device(request: pytest.FixtureRequest) -> Iterator[Device]:
    """One device per variant; the process goes back to the fastest one afterwards."""
    chosen = cpu_device(request.param)
    if chosen.levels != request.param:
        cpu_device(Device.ALL)
        pytest.skip("this CPU or build does not have these instructions")
    yield chosen
    cpu_device(Device.ALL)


def ring(rng: np.random.Generator, *shape: int) -> RingArray:
    """Uniform ring elements."""
    return rng.integers(0, 2**64, shape, dtype=np.uint64)
