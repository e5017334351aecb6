"""Whole circuits: what they become, that it is exact, and what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mpc_bridge.backends.plaintext import execute
from mpc_bridge.circuit import Circuit, Op, reference
from mpc_bridge.errors import CircuitError, InputError, UnsupportedModelError
from mpc_bridge.importers.tflite import load
from mpc_bridge.lowering import canonicalise, lower, model_outputs, stored_inputs
from mpc_bridge.lowering.builder import with_forms
from mpc_bridge.lowering.program import (
    Affine,
    Input,
    Linear,
    Lookup,
    Maximum,
    Move,
    Output,
    Program,
    Requantize,
    Value,
)
from tests.models import oneop_linear, oneop_pools
from tests.models.oneop import samples
from tests.nets import Net


def check(net: Net, circuit: Circuit, samples: int = 6) -> Program:
    """Reference and Program agree on random inputs; the Program follows from the public part alone."""
    program = lower(circuit)
    assert program == lower(circuit.public())
    constants = canonicalise(circuit, program)
    for seed in range(samples):
        inputs = net.sample(seed)
        revealed = execute(program, {**constants, **stored_inputs(circuit, program, inputs)})
        outputs = model_outputs(circuit, program, revealed)
        for output, expected in zip(outputs, reference.evaluate(circuit, inputs), strict=True):
            assert output.dtype == expected.dtype
            np.testing.assert_array_equal(output, expected)
    for step in program.steps:
        if isinstance(step, Requantize):
            assert 1 <= step.shift <= step.bits - 10 and step.bits <= 64
            assert program.values[step.inputs[0]].ring == step.bits
    return program


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_residual_block(dtype: str) -> None:
    net = Net(dtype)
    x = net.input((1, 6, 5, 4))
    first = net.conv(x, 8, low=net.low + 5, zero=net.low + 5)
    second = net.conv(first, 4, kernel=1)
    total = net.add(net.relu(second), x)
    program = check(net, net.circuit(net.softmax(net.reshape(net.conv(total, 3), (1, 90)))))
    assert [len(tail.ops) for tail in program.tails] == [1]
    # relu's clamp is free: stored from its own lower bound
    relus = [step for step in program.steps if isinstance(step, Requantize) and step.op in (0, 2)]
    assert all(step.low == 0 and step.tie is None for step in relus)
    assert any(step.tie is not None for step in program.steps if isinstance(step, Requantize))


def test_concatenated_tensors_share_one_offset() -> None:
    net = Net()
    x = net.input((1, 4, 4, 3))
    clamped = net.conv(x, 4, zero=5, low=5)
    plain = net.conv(x, 2, zero=5, low=-40, high=90)
    joined = net.concat((clamped, net.max_pool(net.pad(plain, ((0, 0), (2, 2), (2, 2), (0, 0))))), 3)
    program = check(net, net.circuit(net.conv(joined, 3)))
    lows = {program.values[step.output].offset: step.low for step in program.steps
            if isinstance(step, Requantize) and step.op in (0, 1)}
    assert lows == {-40: 0} or lows == {-40: 45}
    assert {step.low for step in program.steps if isinstance(step, Requantize) and step.op == 0} == {45}
    join = next(step for step in program.steps if isinstance(step, Move) and step.kind == "concatenate")
    assert len({program.values[value].offset for value in (*join.inputs, join.output)}) == 1


def test_concatenation_of_copied_and_rescaled_tensors() -> None:
    net = Net("uint8")
    x = net.input((1, 4, 4, 3), 0.031, 3)
    clamped = net.conv(x, 4, zero=120, low=120)
    program = check(net, net.circuit(net.concat((clamped, x), 3)))
    join = next(step for step in program.steps if isinstance(step, Move) and step.kind == "concatenate")
    assert {program.values[value].offset for value in (*join.inputs, join.output)} == {0}


def test_padding_below_the_lower_bound() -> None:
    net = Net()
    x = net.input((1, 4, 4, 3))
    # the fill, the zero point -20, lies below everything the conv can give
    conv = net.conv(x, 4, zero=-20, low=10)
    program = check(net, net.circuit(net.conv(net.pad(conv, ((0, 0), (1, 1), (1, 1), (0, 0))), 3)))
    pad = next(step for step in program.steps if isinstance(step, Move))
    assert pad.fill == 0 and program.values[pad.output].offset == -20


def test_an_index_has_no_class_to_reveal() -> None:
    circuit = load(dict(oneop_pools.cases())["ARG_MAX-int8-pixels"])
    assert [step.primitive for step in lower(circuit).steps] == ["input", "maximum", "output"]
    with pytest.raises(UnsupportedModelError, match="no class to reveal"):
        lower(circuit, reveal="argmax")


def test_weights_read_both_ways_round_are_refused() -> None:
    circuit = load(dict(oneop_linear.cases())["TRANSPOSE_CONV-int8-stride-1"])
    (turned,) = circuit.ops
    attributes = {**turned.attributes, "dilation": (1, 1), "padding": ((1, 1), (1, 1))}
    plain = replace(turned, kind="CONV_2D", outputs=(len(circuit.tensors),), attributes=attributes)
    tensors = (*circuit.tensors, circuit.tensors[turned.outputs[0]])
    both = replace(circuit, tensors=tensors, ops=(turned, plain), outputs=(*circuit.outputs, len(circuit.tensors)))
    with pytest.raises(UnsupportedModelError, match="used in two different ways"):
        lower(both)


def test_zero_points_between_cells_lie_below_what_the_layer_before_can_give() -> None:
    circuit = load(dict(oneop_linear.cases())["TRANSPOSE_CONV-int8"])
    (op,) = circuit.ops
    image, first = circuit.tensors[op.inputs[0]], len(circuit.tensors)
    assert image.quantization is not None and image.quantization.zero_point == (0,)
    rescaled = Op("QUANTIZE", "q", (first,), (op.inputs[0],), {"requantization": ("mbqm", (0.5,), 20, 60)})
    chained = replace(circuit, tensors=(*circuit.tensors, image), ops=(rescaled, op), inputs=(first,))
    program = lower(chained)
    pad = next(step for step in program.steps if isinstance(step, Move) and step.kind == "pad")
    assert 0 <= pad.fill <= program.values[pad.output].high
    for inputs in samples([(image.shape, image.dtype)]):
        stored = {**canonicalise(chained, program), **stored_inputs(chained, program, inputs)}
        outputs = model_outputs(chained, program, execute(program, stored))
        np.testing.assert_array_equal(outputs[0], reference.evaluate(chained, inputs)[0])


def test_max_pool_bounds() -> None:
    net = Net()
    x = net.input((1, 4, 4, 3))
    program = check(net, net.circuit(net.max_pool(x, (-30, 41)), net.max_pool(x)))
    bounded, free = (step for step in program.steps if isinstance(step, Maximum))
    assert (bounded.low, bounded.high) == (98, 169)
    assert (free.low, free.high) == (0, 255)
    below = net.max_pool(net.conv(x, 2, low=50, high=60), (-100, 20))
    check(net, net.circuit(below))


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_average_pool_at_borders(dtype: str) -> None:
    net = Net(dtype)
    net.input((2, 5, 4, 3))
    program = check(net, net.circuit(net.average_pool(0, 1), net.average_pool(0, 0)))
    border, inside = (step for step in program.steps if isinstance(step, Requantize))
    assert len(set(border.multiplier)) == 3 and len(border.multiplier) == 5 * 4 * 3
    assert len(inside.multiplier) == 1


def test_float_input_and_integer_requantization() -> None:
    net = Net()
    x = net.input((1, 4, 4, 3), dtype="float32")
    stored = net.quantize(x, 0.05, 4)
    wider = net.quantize(stored, 0.031, -9)
    moved = net.quantize(wider, 0.031, 119, "uint8")
    program = check(net, net.circuit(net.dequantize(moved)))
    assert program.steps[0].primitive == "input" and program.steps[0].source == stored
    # uint8 and int8 with zero points 128 apart are the same stored integers
    assert [step.primitive for step in program.steps] == ["input", "affine", "requantize", "move", "output"]


def test_constant_operand_and_double_use() -> None:
    net = Net()
    x = net.input((1, 3, 3, 4))
    offsets = net.constant(net.rng.integers(-128, 128, (4,)).astype(np.int8), 0.043, 11)
    program = check(net, net.circuit(net.add(net.add(x, x), offsets)))
    owned = [step for step in program.steps if isinstance(step, Input) and step.owner == "model"]
    assert [step.source for step in owned] == [offsets]


def test_adds_in_simple_proportions_use_tables_and_stay_exact() -> None:
    net = Net()
    x, y = net.input((1, 256, 1), 0.05, 0), net.input((1, 1, 256), 0.03, 0)
    circuit = net.circuit(net.add(x, y, 0, 0.08))
    program = check(net, circuit, samples=1)
    # and every pair of bytes
    every = np.arange(-128, 128).astype(np.int8)
    stored = stored_inputs(circuit, program, [every.reshape(1, 256, 1), every.reshape(1, 1, 256)])
    expected = reference.evaluate(circuit, [every.reshape(1, 256, 1), every.reshape(1, 1, 256)])
    np.testing.assert_array_equal(model_outputs(circuit, program, execute(program, stored))[0], expected[0])
    assert any(isinstance(step, Lookup) for step in program.steps)


def test_several_outputs_one_also_used_inside_and_dead_ops_left_out() -> None:
    net = Net()
    x = net.input((1, 4, 4, 3))
    unused = net.input((1, 2))
    hidden = net.conv(x, 4)
    logits = net.dense(net.reshape(hidden, (1, 64)), 5)
    net.dense(unused, 7)
    probabilities = net.softmax(logits)
    program = check(net, net.circuit(probabilities, hidden, logits))
    assert sum(isinstance(step, Linear) for step in program.steps) == 2
    assert [step.source for step in program.steps if isinstance(step, Input) and step.owner == "data"] == [x]
    assert [(tail.tensor, len(tail.ops)) for tail in program.tails] == [(logits, 1), (hidden, 0), (logits, 0)]
    assert program.macs == 16 * 4 * 27 + 64 * 5
    assert program.activations == {0: 64, 2: 5}


def test_shared_bias_is_shared_as_it_is() -> None:
    net = Net()
    x = net.input((1, 4, 4, 3))
    bias = net.bias(4, 2**30)
    net.constants[bias][:2] = (2**31 - 1, -(2**31))
    circuit = net.circuit(net.add(net.conv(x, 4, bias=bias), net.conv(x, 4, kernel=1, bias=bias)))
    program = check(net, circuit)
    np.testing.assert_array_equal(canonicalise(circuit, program)[bias], circuit.constants[bias])


def test_saturating_biases_are_moved_to_the_public_bound_only() -> None:
    net = Net(seed=5)
    x = net.input((1, 4, 4, 3))
    out = net.conv(x, 6)
    bias = net.ops[-1].inputs[2]
    net.constants[bias][:] = [-(2**31), 2**31 - 1, 2**30, -(2**30), 17, -3000]
    weights = net.ops[-1].inputs[1]
    net.constants[weights][2] = -127
    circuit = net.circuit(out)
    program = check(net, circuit)
    stored = canonicalise(circuit, program)[bias]
    assert stored[4:].tolist() == [17, -3000]
    assert np.all(np.abs(stored) < 2**23)
    assert stored[0] == stored[3] and stored[1] == stored[2]


@pytest.mark.parametrize("extreme", [-1, 1])
def test_the_bound_holds_for_the_worst_weights(extreme: int) -> None:
    """All weights and inputs at their ends, the bias just not saturating: the accumulator reaches its bound."""
    net = Net()
    x = net.input((1, 3, 3, 2), zero=-128)
    out = net.conv(x, 2)
    weights, bias = net.ops[-1].inputs[1:]
    net.constants[weights][:] = -128 if extreme < 0 else 127
    circuit = net.circuit(out)
    program = lower(circuit)
    stored = canonicalise(circuit, program)
    requantize = next(step for step in program.steps if isinstance(step, Requantize))
    for value in (2**31 - 1, -(2**31)):
        net.constants[bias][:] = value
        circuit = net.circuit(out)
        stored = canonicalise(circuit, program)
        for level in (-128, 127):
            image = np.full((1, 3, 3, 2), level, np.int8)
            reach = int(np.abs(stored[weights]).sum(axis=(1, 2, 3))[0]) * 255
            z = (abs(int(stored[bias][0])) + reach) * requantize.multiplier[0] + abs(requantize.constant[0])
            assert z < 1 << requantize.bits
            revealed = execute(program, {**stored, **stored_inputs(circuit, program, [image])})
            expected = reference.evaluate(circuit, [image])
            np.testing.assert_array_equal(model_outputs(circuit, program, revealed)[0], expected[0])


def test_forms_follow_the_consumers() -> None:
    net = Net()
    x = net.input((1, 4, 4, 3))
    pooled = net.max_pool(net.pad(net.conv(x, 4), ((0, 0), (1, 1), (1, 1), (0, 0))))
    program = check(net, net.circuit(net.conv(pooled, 3)))
    rings = {step.op: step.ring for step in program.steps if isinstance(step, Linear)}
    by_name = {value.name: value for value in program.values}
    assert (by_name["t0"].ring, by_name["t0"].bits) == (rings[0], False)
    conv = next(step for step in program.steps if isinstance(step, Requantize))
    assert (program.values[conv.output].ring, program.values[conv.output].bits) == (0, True)
    pool = next(step for step in program.steps if isinstance(step, Maximum))
    assert (program.values[pool.output].ring, program.values[pool.output].bits) == (rings[3], False)
    out = next(step for step in program.steps if isinstance(step, Output))
    assert (program.values[out.inputs[0]].ring, program.values[out.inputs[0]].bits) == (0, True)


def test_a_value_is_as_wide_as_its_widest_consumer() -> None:
    for order in (1, -1):
        net = Net()
        x = net.input((1, 4, 4, 3))
        padded = net.pad(net.conv(x, 4), ((0, 0), (1, 1), (1, 1), (0, 0)))
        outputs = [net.conv(padded, 3, kernel=kernel) for kernel in (1, 3)[::order]]
        program = check(net, net.circuit(*outputs))
        rings = [step.ring for step in program.steps if isinstance(step, Linear) and step.op >= 2]
        pad = next(step for step in program.steps if isinstance(step, Move))
        assert len(set(rings)) == 2
        assert program.values[pad.output].ring == program.values[pad.inputs[0]].ring == max(rings)
        assert not program.values[pad.output].bits


@pytest.mark.parametrize("middle", [(), (1, 1)])
def test_argmax_reveals_the_first_greatest_class(middle: tuple[int, ...]) -> None:
    net = Net()
    x = net.input((3, *middle, 10))
    out = net.softmax(net.reshape(x, (3, 10))) if not middle else x
    circuit = net.circuit(out) if not middle else net.circuit(net.reshape(x, (3, 1, 1, 10)))
    program = lower(circuit, reveal="argmax")
    assert all(not tail.ops for tail in program.tails)
    value = program.values[program.steps[-1].inputs[0]]
    assert (value.kind, value.shape, value.high) == ("index", (3,), 9)
    data = np.full((3, *middle, 10), -5, np.int8)
    data[0, ..., 4] = data[0, ..., 7] = 9
    data[2, ..., 9] = 127
    revealed = execute(program, stored_inputs(circuit, program, [data]))
    (indices,) = model_outputs(circuit, program, revealed)
    assert indices.dtype == np.int64
    np.testing.assert_array_equal(indices, [4, 0, 9])


def test_every_machine_finds_the_same_program() -> None:
    """Parties lower for themselves: neither numpy's vector units nor the BLAS behind it may matter."""
    script = """
from mpc_bridge.importers.tflite import importer
from mpc_bridge.lowering import lower
from mpc_bridge.runtime.messages import digest
from tests.models.oneop import cases
for name, data in cases():
    if name.startswith(("ADD-int8", "MEAN-int8", "CONV_2D-int8-same")):
        print(name, digest(lower(importer.load(data, name, "litert")), "").hex())
"""
    features = "AVX2 FMA3 AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR"
    plain = {"NPY_DISABLE_CPU_FEATURES": features, "OPENBLAS_CORETYPE": "Prescott", "PYTHONWARNINGS": "ignore"}
    outputs = [
        subprocess.run([sys.executable, "-c", script], env={**os.environ, **changes}, capture_output=True, text=True,
                       check=True, cwd=Path(__file__).parent.parent).stdout
        for changes in ({}, plain)
    ]
    assert outputs[0].count("\n") > 15
    assert outputs[0] == outputs[1]


def test_argmax_of_an_image_is_refused() -> None:
    net = Net()
    out = net.conv(net.input((1, 4, 4, 3)), 4)
    with pytest.raises(UnsupportedModelError, match=r"shape \(1, 4, 4, 4\)"):
        lower(net.circuit(out), reveal="argmax")


def test_softmax_in_the_middle_is_refused() -> None:
    net = Net()
    probabilities = net.softmax(net.input((1, 8)))
    with pytest.raises(UnsupportedModelError, match="SOFTMAX in the middle"):
        lower(net.circuit(net.dense(probabilities, 4)))
    with pytest.raises(UnsupportedModelError, match="SOFTMAX in the middle"):
        lower(net.circuit(probabilities, net.dense(probabilities, 4)))


def test_computed_weights_are_refused() -> None:
    net = Net()
    x, w = net.input((1, 8)), net.input((4, 8), 0.1, 0)
    output = net.tensor((1, 4), 0.05, 0)
    net.op("FULLY_CONNECTED", (x, w, -1), output, keep_num_dims=False,
           requantization=("mbqm", (0.01,), -128, 127))
    circuit = Circuit("net", "tflite", "litert", tuple(net.tensors), tuple(net.ops), (x, w), (output,))
    with pytest.raises(UnsupportedModelError, match="weights or a bias that the model computes"):
        lower(circuit)


def test_public_circuits_have_nothing_to_share() -> None:
    net = Net()
    circuit = net.circuit(net.conv(net.input((1, 4, 4, 3)), 2)).public()
    with pytest.raises(CircuitError, match="a constant of the model is missing"):
        canonicalise(circuit, lower(circuit))


def test_wrong_inputs_are_refused() -> None:
    net = Net()
    circuit = net.circuit(net.relu(net.input((1, 4))))
    program = lower(circuit)
    for inputs in ([], [np.zeros((1, 5), np.int8)], [np.zeros((1, 4), np.uint8)]):
        with pytest.raises(InputError):
            stored_inputs(circuit, program, inputs)


def test_a_sum_is_not_read_beyond_its_ring() -> None:
    """Protocols that verify check a sum modulo its own ring: nobody may lower a consumer that reads more of it."""
    values = [Value("x", (1, 2), "activation", 0, 255), Value("s", (1, 2), "accumulator"),
              Value("t", (1, 2), "accumulator")]
    steps = [Affine(0, "narrow", (0,), 1, ring=20), Affine(0, "wide", (1,), 2, ring=21)]
    with pytest.raises(ValueError, match="narrow: 21 bits are read"):
        with_forms(values, steps)
    assert [value.ring for value in with_forms(values, [steps[0], replace(steps[1], ring=20)])] == [20, 20, 20]
