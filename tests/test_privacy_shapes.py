"""What travels, in which order and how much of it, depends on public shapes alone: the same for any two secrets."""

from __future__ import annotations

import numpy as np
import pytest

from mpc_bridge.backends.base import Backend
from mpc_bridge.backends.replicated.backend import backend as rep3
from mpc_bridge.backends.replicated.malicious.backend import backend as rep3_mac
from mpc_bridge.lowering.program import Input, Program
from mpc_bridge.testing import conformance
from tests.trios import Tensors, views

#: One of each kind of step; odd sizes, so that no range of elements is full.
NAMES = ("conv3x3-ring33", "depthwise-ring48", "moves-ring33", "pool3x3-ring33", "argmax-3x37", "lookup-ring48",
         "requantize-ring48-1x9x7x8-tie",
         "product-depthwise-ring48", "half-even-ring33-1x9x7x8", "affine-channels-ring33",
         "revealed-sums-ring64")  # fmt: skip
CASES = {case.name: case for case in conformance.cases()}


def extremes(program: Program) -> list[tuple[Tensors, Tensors]]:
    """Weights and data: all least, all greatest, two random draws."""
    rng = np.random.default_rng(12)
    drawn = []
    for pick in ("low", "high", "random", "random"):
        tensors: dict[str, Tensors] = {"model": {}, "data": {}}
        for step in program.steps:
            if isinstance(step, Input):
                value = program.values[step.output]
                least = {"low": value.low, "high": value.high, "random": value.low}[pick]
                most = {"low": value.low, "high": value.high, "random": value.high}[pick]
                tensors[step.owner][step.output] = rng.integers(least, most + 1, value.shape)
        drawn.append((tensors["model"], tensors["data"]))
    return drawn


@pytest.mark.parametrize("backend", [rep3, rep3_mac], ids=lambda backend: backend.name)
@pytest.mark.parametrize("name", NAMES)
def test_sizes_order_and_count_are_the_same_for_all_secrets(name: str, backend: Backend) -> None:
    program = CASES[name].program
    transcripts = []
    for weights, data in extremes(program):
        found, _ = views(backend, program, [data, data], weights)
        transcripts.append(
            [[message.shape for part in (view.setup, *view.inferences) for message in part] for view in found]
        )
    assert all(len(messages) > 5 for messages in transcripts[0])
    for other in transcripts[1:]:
        assert other == transcripts[0]


@pytest.mark.parametrize("backend", [rep3, rep3_mac], ids=lambda backend: backend.name)
def test_owners_and_outputs_have_sizes_of_the_shapes(backend: Backend) -> None:
    owner = backend.owner(3)
    for case in CASES.values():
        for weights, data in extremes(case.program):
            for index, tensor in {**weights, **data}.items():
                value = case.program.values[index]
                sizes = [len(message) for message in owner.share(value, tensor)]
                assert sizes == [owner.share_size(value, party) for party in range(3)]
