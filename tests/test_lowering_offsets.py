"""Every op after a layer whose bounds move its stored offset: what no one-op model has."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mpc_bridge.backends.plaintext import execute
from mpc_bridge.circuit import Circuit, Op, reference, verify
from mpc_bridge.circuit.graph import INTEGER_RANGES
from mpc_bridge.importers.tflite import load
from mpc_bridge.lowering import canonicalise, lower, model_outputs, stored_inputs
from tests.models import oneop

#: The first one-op model of every kind and type whose inputs are quantized.
FIRST: dict[str, tuple[str, bytes]] = {}
for case, data in oneop.cases():
    kind, dtype = case.split("-")[:2]
    if dtype in INTEGER_RANGES:
        FIRST.setdefault(f"{kind}-{dtype}", (case, data))


def after_a_layer(circuit: Circuit) -> Circuit:
    """Every input of the model through a QUANTIZE whose bounds leave out both ends of its type."""
    tensors, ops, inputs = list(circuit.tensors), [], []
    for index in circuit.inputs:
        tensor = circuit.tensors[index]
        low, high = INTEGER_RANGES[tensor.dtype]
        tensors.append(replace(tensor, name=f"{tensor.name}/wide"))
        inputs.append(len(tensors) - 1)
        # different bounds per input: the offsets of operands differ
        bounds = (low + 150 - 40 * len(inputs), high - 5 * len(inputs))
        ops.append(Op("QUANTIZE", "layer", (inputs[-1],), (index,), {"requantization": ("mbqm", (0.9,), *bounds)}))
    return replace(circuit, tensors=tuple(tensors), ops=(*ops, *circuit.ops), inputs=tuple(inputs))


@pytest.mark.parametrize("name", FIRST)
def test_every_op_after_a_layer(name: str) -> None:
    circuit = after_a_layer(load(FIRST[name][1], name=FIRST[name][0]))
    verify(circuit)
    program = lower(circuit)
    constants = canonicalise(circuit, program)
    for value in program.values:
        assert value.kind != "activation" or 0 <= value.high <= 255
    for inputs in oneop.samples([(circuit.tensors[i].shape, circuit.tensors[i].dtype) for i in circuit.inputs]):
        revealed = execute(program, {**constants, **stored_inputs(circuit, program, inputs)})
        outputs = model_outputs(circuit, program, revealed)
        for output, expected in zip(outputs, reference.evaluate(circuit, inputs), strict=True):
            assert output.dtype == expected.dtype
            np.testing.assert_array_equal(output, expected)
