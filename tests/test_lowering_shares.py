"""Ops that become several steps, on the shares of three parties: what the parties reveal is the reference's output."""

from __future__ import annotations

import numpy as np
import pytest

from mpc_bridge.backends.base import Backend
from mpc_bridge.backends.replicated.backend import backend as rep3
from mpc_bridge.backends.replicated.malicious.backend import backend as rep3_mac
from mpc_bridge.circuit import reference
from mpc_bridge.importers.tflite import load
from mpc_bridge.kernels import cpu_device
from mpc_bridge.lowering import canonicalise, lower, model_outputs, stored_inputs
from mpc_bridge.lowering.program import Input
from mpc_bridge.testing import conformance
from tests.models import oneop

CASES = dict(oneop.cases())


@pytest.mark.parametrize("backend", [rep3, rep3_mac], ids=lambda backend: backend.name)
@pytest.mark.parametrize(
    "name",
    [
        "TRANSPOSE_CONV-int8", "TRANSPOSE_CONV-uint8-gaps", "SUB-int8", "SUB-uint8-near-ties", "MAXIMUM-uint8-channels",
        "MINIMUM-int8-first-broadcasts", "REDUCE_MAX-int8-apart", "REDUCE_MIN-uint8-image", "ARG_MAX-int8-rows",
        "ARG_MAX-uint8-wide", "HARD_SWISH-int8", "LEAKY_RELU-uint8", "LOGISTIC-int8", "PACK-int8-middle",
        "SPLIT_V-uint8-channels", "RESIZE_NEAREST_NEIGHBOR-int8-tenths-corners",
    ],
)
def test_on_shares(backend: Backend, name: str) -> None:
    circuit = load(CASES[name], name=name)
    program = lower(circuit)
    inputs = oneop.samples([(circuit.tensors[i].shape, circuit.tensors[i].dtype) for i in circuit.inputs])[0]
    stored = {**canonicalise(circuit, program), **stored_inputs(circuit, program, inputs)}
    fed = {step.output: stored[step.source] for step in program.steps if isinstance(step, Input)}
    revealed = conformance.run(backend, conformance.Case(name, program, fed), [cpu_device() for _ in range(3)])
    for output, expected in zip(
        model_outputs(circuit, program, revealed), reference.evaluate(circuit, inputs), strict=True
    ):
        np.testing.assert_array_equal(output, expected)
