"""The verifier on kinds of float-scaled frameworks: what passes, and what is wrong with every kind of damage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mpc_bridge.circuit import Circuit, Op, Quantization, format_circuit, from_json, load, save, to_json, verify
from mpc_bridge.errors import CircuitError
from tests.float_nets import FloatNet


def whole() -> Circuit:
    """uint8 in, convolution with a float bias, residual sum, table, average, bare sums, floats."""
    net = FloatNet("int8", 1)
    x = net.input((1, 4, 4, 2), dtype="uint8")
    y = net.linear_rescale(x, 3)
    z = net.rescale((y, net.input((1, 4, 4, 3))), ((5, -6, 7), (2**30,)), 31)
    t = net.op("TABLE", (z,), net.activation(net.tensors[z].shape, "int8"), table=tuple(range(-128, 128)))
    average = net.activation((1, 3, 3, 3))
    net.op("AVERAGE", (t,), average, window=(2, 2), stride=(2, 2), padding=((1, 1), (1, 1)), count_include_pad=True,
           divisor=0, requantization=("half_even", (0.75,), *net.bounds(average)))
    acc = net.convolved(average, 5, rule="none")
    sums = net.rescale((acc,), ((1,),), 0, bias=[0, 1, 2, 3, -(2**61)], output=net.sums((1, 3, 3, 5), 5))
    floats = net.floats("TRANSPOSE", net.floats("DEQUANTIZE", sums), (1, 5, 3, 3), permutation=(0, 3, 1, 2))
    net.floats("FLOAT_UNARY", net.floats("FLOAT_SOFTMAX", floats, axis=1, log=True), function="exp")
    return net.circuit(net.ops[-1].outputs[0])


WHOLE = whole()
POSITION = {op.kind: index for index, op in enumerate(WHOLE.ops)}
BARE = next(index for index, op in enumerate(WHOLE.ops) if op.kind == "CONV_2D")
FIRST = BARE + 1
LAST = POSITION["RESCALE"]


def op(index: int, **changes: Any) -> Circuit:
    ops = list(WHOLE.ops)
    ops[index] = replace(ops[index], **changes)
    return replace(WHOLE, ops=tuple(ops))


def attribute(index: int, **changes: Any) -> Circuit:
    return op(index, attributes={**WHOLE.ops[index].attributes, **changes})


def tensor(index: int, **changes: Any) -> Circuit:
    tensors = list(WHOLE.tensors)
    tensors[index] = replace(tensors[index], **changes)
    return replace(WHOLE, tensors=tuple(tensors))


def bias(values: list[int]) -> Circuit:
    index = WHOLE.ops[LAST].inputs[-1]
    return replace(WHOLE, constants={**WHOLE.constants, index: np.array(values, np.int64)})


def rule(value: Any) -> Circuit:
    return attribute(POSITION["AVERAGE"], requantization=value)


OUT = {index: op.outputs[0] for index, op in enumerate(WHOLE.ops)}
DAMAGE: dict[str, tuple[Circuit, str]] = {
    "terms": (attribute(FIRST, multipliers=((1, 2, 3), (4,))), "another number of terms"),
    "no terms": (attribute(FIRST, multipliers=()), "another number of terms"),
    "channels": (attribute(FIRST, multipliers=((1, 2),)), "attribute multipliers"),
    "multiplier": (attribute(FIRST, multipliers=((2**31,),)), "attribute multipliers"),
    "multiplier type": (attribute(FIRST, multipliers=((1.0,),)), "attribute multipliers"),
    "flat multipliers": (attribute(FIRST, multipliers=(1,)), "attribute multipliers"),
    "shift": (attribute(FIRST, shift=63), "attribute shift"),
    "shift bool": (attribute(FIRST, shift=True), "attribute shift"),
    "low": (attribute(FIRST, low=1000), "bounds"),
    "order": (attribute(FIRST, low=5, high=4), "bounds"),
    "sum shift": (attribute(LAST, shift=1), "int64 sum"),
    "sum bounds": (attribute(LAST, high=1), "int64 sum"),
    "sum zero point": (
        tensor(OUT[LAST], quantization=Quantization((0.5,), (3,))), "not quantized along its last axis"),
    "sum axis": (
        tensor(OUT[LAST], quantization=Quantization((0.5,) * 3, (0,) * 3, 1)), "not quantized along its last axis"),
    "sum scale": (tensor(OUT[LAST], quantization=None), "not quantized along its last axis"),
    "sum as output": (replace(WHOLE, outputs=(OUT[LAST],)), "a bare sum"),
    "accumulator as output": (replace(WHOLE, outputs=(OUT[BARE],)), "a bare sum"),
    "accumulator scale": (tensor(OUT[BARE], quantization=Quantization((1.0,), (0,))), "plain int32 accumulator"),
    "accumulator type": (tensor(OUT[BARE], dtype="int64"), "plain int32 accumulator"),
    "accumulator bounds": (attribute(BARE, requantization=("none", (), 0, 5)), "'none' with"),
    "accumulator multipliers": (attribute(BARE, requantization=("none", (1.0,), 0, 0)), "'none' with"),
    "accumulator bias": (
        op(BARE, inputs=(*WHOLE.ops[BARE].inputs, WHOLE.ops[FIRST].inputs[-1])), "bare accumulator with a bias"),
    "bias type": (op(FIRST, inputs=(OUT[BARE], WHOLE.ops[BARE].inputs[1])), "not a constant int64 vector"),
    "bias of activations": (op(FIRST, inputs=(OUT[BARE], WHOLE.inputs[0])), "not a constant int64 vector"),
    "bias channels": (op(FIRST, inputs=(OUT[BARE], WHOLE.ops[LAST].inputs[-1])), "for 3 channels"),
    "bias beyond": (bias([0, 0, 2**61 + 1, 0, 0]), "beyond 2**61"),
    "bias below": (bias([0, 0, 0, -(2**63), 0]), "beyond 2**61"),
    "constant term": (op(FIRST, inputs=(WHOLE.ops[BARE].inputs[1], -1)), "no activation"),
    "missing term": (op(FIRST, inputs=(-1, -1)), "input 0 is not one"),
    "unquantized term": (op(FIRST, inputs=(OUT[FIRST], -1)), "used before"),
    "table length": (attribute(POSITION["TABLE"], table=(1, 2)), "attribute table"),
    "table range": (attribute(POSITION["TABLE"], table=(128,) * 256), "attribute table"),
    "rule": (rule(("mbqm", (0.75,), -128, 127)), "requantization rule"),
    "bits": (rule(("half_even", (1 / 3,), -128, 127)), "31 significant bits"),
    "divisor": (attribute(POSITION["AVERAGE"], divisor=-1), "attribute divisor"),
    "include": (attribute(POSITION["AVERAGE"], count_include_pad=1), "attribute count_include_pad"),
    "windows": (tensor(OUT[POSITION["AVERAGE"]], shape=(1, 2, 3, 3)), "where more fit"),
    "too many windows": (tensor(OUT[POSITION["AVERAGE"]], shape=(1, 4, 3, 3)), "covers no cell"),
    "function": (attribute(POSITION["FLOAT_UNARY"], function="eval"), "attribute function"),
    "log": (attribute(POSITION["FLOAT_SOFTMAX"], log="yes"), "attribute log"),
    "softmax axis": (attribute(POSITION["FLOAT_SOFTMAX"], axis=4), "axis 4"),
    "softmax of integers": (op(POSITION["FLOAT_SOFTMAX"], inputs=(WHOLE.inputs[1],)), "not float32"),
    "float result": (tensor(OUT[POSITION["FLOAT_UNARY"]], dtype="uint8"), "not float32"),
    "float move result": (tensor(OUT[POSITION["TRANSPOSE"]], dtype="int8"), "not float32"),
    "dequantized accumulator": (op(POSITION["DEQUANTIZE"], inputs=(OUT[BARE],)), "int32 tensor in place"),
}


def test_it_passes_is_saved_printed_and_read_again(tmp_path: Path) -> None:
    verify(WHOLE)
    verify(WHOLE.public())
    assert from_json(to_json(WHOLE)) == WHOLE.public()
    save(WHOLE, tmp_path / "a.circuit")
    again = load(tmp_path / "a.circuit")
    assert again == WHOLE
    for index, array in WHOLE.constants.items():
        assert again.constants[index].dtype == array.dtype
        np.testing.assert_array_equal(again.constants[index], array)
    text = format_circuit(WHOLE)
    assert "int64[5]" in text and "table=256 x -128..127" in text and str(-(2**61)) not in text


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_named(name: str) -> None:
    circuit, what = DAMAGE[name]
    with pytest.raises(CircuitError) as caught:
        verify(circuit)
    assert what in caught.value.what


def _weights(net: FloatNet, x: int, kind: str) -> Callable[[str], Circuit]:
    """A layer whose weights are quantized in a way that only some rules allow."""
    dtype, zeros, axis = {
        "other type": ("uint8", (0,), None), "zero point": ("int8", (4,), None), "per channel": ("uint8", (1, 2), 0),
    }[kind]
    weights = net.constant(np.zeros((2, 3), dtype), 1.0, 0)
    net.tensors[weights] = replace(
        net.tensors[weights], quantization=Quantization((0.5,) * len(zeros), zeros, axis))
    output = net.tensor((1, 2), 0.5, 0, net.dtype)

    def circuit(rule: str) -> Circuit:
        net.ops = [Op("FULLY_CONNECTED", "dense", (x, weights), (output,), {
            "keep_num_dims": True, "requantization": (rule, (0.5,), 0, 10)})]
        return net.circuit(output)

    return circuit


@pytest.mark.parametrize("kind", ["other type", "zero point", "per channel"])
def test_half_even_layers_have_freer_weights(kind: str) -> None:
    net = FloatNet("uint8" if kind == "per channel" else "int8")
    circuit = _weights(net, net.input((1, 3)), kind)
    verify(circuit("half_even"))
    with pytest.raises(CircuitError):
        circuit("mbqm")
