"""What the receiver gets: new components, whatever the last step was, and none before everything is verified."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mpc_bridge.backends.base import Backend
from mpc_bridge.backends.replicated.backend import backend as rep3
from mpc_bridge.backends.replicated.malicious import protocol as replicated
from mpc_bridge.backends.replicated.malicious.backend import backend as rep3_mac
from mpc_bridge.backends.replicated.owner import BITS_DOMAIN
from mpc_bridge.kernels import cpu_device, packed_bytes
from mpc_bridge.kernels.prf import KEY_BYTES
from mpc_bridge.lowering.program import Affine, Input, Output, Program, Tail, Value
from tests.privacy_programs import RING, pair, product
from tests.privacy_statistics import bits_of, dependent, unfair
from tests.trios import views

ELEMENTS = 4096
#: Elements of a sum that is shown.
SUMS = 1000


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


def sums() -> Program:
    """A multiple of the input, shown twice."""
    values = (
        Value("x", (SUMS,), "activation", 0, 255, RING),
        Value("t", (SUMS,), "accumulator", 0, 0, RING),
    )
    steps = (
        Input(-1, "input", (), 0, "data", 0),
        Affine(0, "scale", (0,), 1, (256,), 7, ring=RING),
        Output(-1, "output", (1,), 0),
        Output(-1, "output", (1,), 1),
    )
    return Program("sums", values, steps, (Tail(-1, ()), Tail(-1, ())), {}, 0)


@pytest.mark.parametrize("backend", [rep3, rep3_mac], ids=lambda backend: backend.name)
def test_components_of_a_sum_are_new_each_time_and_end_at_the_ring(backend: Backend) -> None:
    found, outputs = views(backend, sums(), [{0: np.full(SUMS, 255)}], {})
    assert (outputs[0][0] == 256 * 255 + 7).all() and (outputs[0][1] == 256 * 255 + 7).all()
    size = packed_bytes(SUMS, RING)
    assert {len(view.outputs[0][i]) - size for view in found for i in (0, 1)} == {0 if backend is rep3 else 32}
    given = [view.outputs[0][i][:size] for view in found[:2] for i in (0, 1)]
    vectors = np.concatenate([bits_of(component, RING) for component in given], axis=1)
    assert unfair(vectors) is None and dependent(vectors) is None


@pytest.mark.parametrize("check", ["_linear", "_boolean"])
@pytest.mark.parametrize("make", [product, pair])
def test_nothing_is_revealed_while_a_product_or_a_gate_is_unverified(
    make: Callable[[int], Program], check: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = make(24)
    owners = {step.output: step.owner for step in program.steps if isinstance(step, Input)}
    ones = {value: np.ones(program.values[value].shape, np.int64) for value in owners}
    tensors, weights = ({v: ones[v] for v, owner in owners.items() if owner == who} for who in ("data", "model"))
    views(rep3_mac, program, [tensors], weights)
    monkeypatch.setattr(replicated.Rep3Mac, f"_verify{check}", lambda self: None)
    with pytest.raises(RuntimeError, match="before it is verified"):
        views(rep3_mac, program, [tensors], weights)
