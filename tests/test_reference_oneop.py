"""Importer and reference interpreter against LiteRT's reference kernels, one op at a time, at every corner."""

from __future__ import annotations

import numpy as np
import pytest

from mpc_bridge.circuit import reference
from mpc_bridge.circuit.ops import BY_NAME
from mpc_bridge.importers.tflite import load
from tests.models import oneop

CASES = dict(oneop.cases())
#: Kinds that TFLite does not have.
OTHERS = {"RESCALE", "TABLE", "AVERAGE", "FLOAT_SOFTMAX", "FLOAT_UNARY"}


def test_every_op_has_a_kernel_and_a_case() -> None:
    assert set(reference.KERNELS) == set(BY_NAME)
    assert {name.split("-")[0] for name in CASES} == set(BY_NAME) - OTHERS


def test_cases_are_deterministic_and_named_once() -> None:
    again = oneop.cases()
    assert dict(again) == CASES
    assert len(again) == len(CASES)


@pytest.mark.parametrize("name", CASES)
def test_reference_is_litert(name: str) -> None:
    litert = pytest.importorskip("ai_edge_litert.interpreter", reason="ai-edge-litert is not installed")
    interpreter = litert.Interpreter(
        model_content=CASES[name], experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF)
    interpreter.allocate_tensors()
    circuit = load(CASES[name], name=name)
    details = interpreter.get_input_details()
    outputs = interpreter.get_output_details()
    tensors = [circuit.tensors[index] for index in circuit.inputs]
    assert [tuple(detail["shape"]) for detail in details] == [tensor.shape for tensor in tensors]
    for sample in oneop.samples([(tensor.shape, tensor.dtype) for tensor in tensors]):
        for detail, array in zip(details, sample, strict=True):
            interpreter.set_tensor(detail["index"], array)
        interpreter.invoke()
        for output, actual in zip(outputs, reference.evaluate(circuit, sample), strict=True):
            expected = interpreter.get_tensor(output["index"])
            assert actual.dtype == expected.dtype
            np.testing.assert_array_equal(actual, expected)
