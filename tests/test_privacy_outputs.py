"""What the receiver gets: new components, whatever the last step was, and none before everything is verified."""

from __future__ import annotations

import numpy as np
import pytest

from mpc_bridge.backends.base import Backend
from mpc_bridge.backends.replicated.backend import backend as rep3
from mpc_bridge.backends.replicated.malicious import protocol as replicated
from mpc_bridge.backends.replicated.malicious.backend import backend as rep3_mac
from mpc_bridge.backends.replicated.owner import BITS_DOMAIN
from mpc_bridge.kernels import cpu_device
from mpc_bridge.kernels.prf import KEY_BYTES
from mpc_bridge.lowering.program import Input, Output, Program, Tail, Value
from tests.privacy_programs import product
from tests.privacy_statistics import bits_of, dependent, unfair
from tests.trios import views

ELEMENTS = 4096


def identity() -> Program:
    """The input as it came."""
    value = Value("x", (ELEMENTS,), "activation", 0, 255, 0, True)
    steps = (Input(-1, "input", (), 0, "data", 0), Output(-1, "output", (0,), 0))
    return Program("identity", (value,), steps, (Tail(-1, ()),), {}, 0)


@pytest.mark.parametrize("backend", [rep3, rep3_mac], ids=lambda backend: backend.name)
@pytest.mark.parametrize("secret", [0, 255])
def test_output_components_are_not_those_of_the_input(backend: Backend, secret: int) -> None:
    found, outputs = views(backend, identity(), [{0: np.full(ELEMENTS, secret)}], {})
    assert (outputs[0][0] == secret).all()
    # components 0 and 1 of the input, from the seeds that party 0 got
    seeds = found[0].inferences[0][0].buffers[0]
    inputs = [
        cpu_device().prf_fill(seed, BITS_DOMAIN, np.empty(ELEMENTS, np.uint8)).tobytes()
        for seed in (seeds[:KEY_BYTES], seeds[KEY_BYTES:])
    ]
    given = [view.outputs[0][0][:ELEMENTS] for view in found[:2]]
    vectors = np.concatenate([bits_of(component, 8) for component in (*inputs, *given)], axis=1)
    assert unfair(vectors) is None and dependent(vectors) is None
    # and so they would be if they were sent as they are
    assert dependent(np.concatenate([vectors[:, :16], bits_of(inputs[0], 8)], axis=1)) is not None


@pytest.mark.parametrize("check", ["_linear", "_boolean"])
def test_nothing_is_revealed_while_a_product_or_a_gate_is_unverified(
    check: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = product(24)
    tensors = {0: np.ones((1, 1, 24, 2), np.int64)}
    weights = {1: np.ones((1, 1, 1, 2), np.int64)}
    views(rep3_mac, program, [tensors], weights)
    monkeypatch.setattr(replicated.Rep3Mac, f"_verify{check}", lambda self: None)
    with pytest.raises(RuntimeError, match="before it is verified"):
        views(rep3_mac, program, [tensors], weights)
