"""Every backend against the plaintext definition of each primitive, on every kernel variant this machine can run."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from mpc_bridge.backends.additive.backend import backend as additive
from mpc_bridge.backends.additive.ot_backend import backend as additive_ot
from mpc_bridge.backends.base import Backend
from mpc_bridge.backends.plaintext import backend as plaintext
from mpc_bridge.backends.replicated.backend import backend as rep3
from mpc_bridge.backends.replicated.malicious.backend import backend as rep3_mac
from mpc_bridge.backends.spdz2k.backend import backend as spdz2k
from mpc_bridge.kernels import Device, cpu_device
from mpc_bridge.testing import conformance

CASES = conformance.cases()
BACKENDS: tuple[Backend, ...] = (rep3, rep3_mac, additive, additive_ot, spdz2k)


@cache
def expected(position: int) -> tuple[np.ndarray, ...]:
    return tuple(conformance.run(plaintext, CASES[position], [cpu_device()]))


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
@pytest.mark.parametrize("position", range(len(CASES)), ids=[case.name for case in CASES])
def test_computes_what_the_plaintext_backend_does(backend: Backend, position: int) -> None:
    case = CASES[position]
    devices = [cpu_device() for _ in range(backend.parties()[0])]
    outputs = conformance.run(backend, case, devices)
    for name, output, wanted in zip(case.program.tails, outputs, expected(position), strict=True):
        np.testing.assert_array_equal(output, wanted, err_msg=str(name))


@pytest.mark.parametrize("backend", [additive, spdz2k], ids=lambda backend: backend.name)
@pytest.mark.parametrize("parties", [3, 5])
@pytest.mark.parametrize("position", range(0, len(CASES), 4), ids=[case.name for case in CASES[::4]])
def test_any_number_of_parties_computes_the_same(position: int, parties: int, backend: Backend) -> None:
    outputs = conformance.run(backend, CASES[position], [cpu_device() for _ in range(parties)])
    for output, wanted in zip(outputs, expected(position), strict=True):
        np.testing.assert_array_equal(output, wanted)


@pytest.mark.parametrize("mask", [0, Device.AVX2], ids=["portable", "avx2"])
@pytest.mark.parametrize("wanted", ["conv3x3-ring33", "requantize-ring48-1x9x7x8-tie", "pool3x3-ring33", "argmax-3x37"])
@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
def test_every_kernel_variant_computes_the_same(backend: Backend, mask: int, wanted: str) -> None:
    position = next(i for i, case in enumerate(CASES) if case.name == wanted)
    try:
        outputs = conformance.run(backend, CASES[position], [cpu_device(mask) for _ in range(backend.parties()[0])])
    finally:
        cpu_device(Device.ALL)  # the mask is process-wide
    for output, reference in zip(outputs, expected(position), strict=True):
        np.testing.assert_array_equal(output, reference)


def test_the_cases_reach_every_primitive() -> None:
    reached = {step.primitive for case in CASES for step in case.program.steps}
    assert reached == {"input", "linear", "affine", "requantize", "maximum", "lookup", "move", "output"}
