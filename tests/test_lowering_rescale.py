"""RESCALE and bare accumulators as Programs: plaintext against the reference, bounds and ties by listing."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc_bridge.backends.plaintext import execute
from mpc_bridge.circuit import Circuit, reference
from mpc_bridge.circuit.reference.operands import zero_point
from mpc_bridge.errors import UnsupportedModelError
from mpc_bridge.lowering import canonicalise, lower, model_outputs, stored_inputs
from mpc_bridge.lowering.program import Affine, Lookup, Output, Program, Requantize
from mpc_bridge.lowering.rescale_bounds import Rescale, Term, bounded, stored_bias, ties_occur
from tests.float_nets import FloatNet


def check(net: FloatNet, circuit: Circuit, samples: int = 4) -> Program:
    """Reference and Program agree on random inputs; the Program follows from the public part alone."""
    program = lower(circuit)
    assert program == lower(circuit.public())
    constants = canonicalise(circuit, program)
    for step in program.steps:
        if step.primitive == "input" and step.output < len(program.values):
            value = program.values[step.output]
            if value.kind == "weight":
                stored = constants[step.source]  # type: ignore[union-attr]
                assert stored.shape == value.shape and stored.min() >= value.low and stored.max() <= value.high
    for seed in range(samples):
        inputs = net.sample(seed)
        revealed = execute(program, {**constants, **stored_inputs(circuit, program, inputs)})
        outputs = model_outputs(circuit, program, revealed)
        for output, expected in zip(outputs, reference.evaluate(circuit, inputs), strict=True):
            assert output.dtype == expected.dtype and output.tobytes() == expected.tobytes()
    for step in program.steps:
        if isinstance(step, Requantize):
            assert 1 <= step.shift <= step.bits - 10 and step.bits <= 64
            assert program.values[step.inputs[0]].ring == step.bits
    return program


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32))
def test_layers_with_a_float_bias(seed: int) -> None:
    net = FloatNet("int8", seed)
    x = net.input((1, 5, 4, 4), dtype=str(net.rng.choice(["int8", "uint8"])))
    y = net.linear_rescale(x, 6, depthwise=bool(seed % 2))
    wide = int(net.rng.integers(1, 4)) * 2
    z = net.linear_rescale(y, wide, kernel=1, groups=2 if seed % 3 == 0 else 1)
    residual = net.linear_rescale(z, net.tensors[y].shape[-1], extra=(y,), kernel=1)
    check(net, net.circuit(residual), 2)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_sum_of_terms(data: st.DataObject) -> None:
    net = FloatNet("int8", data.draw(st.integers(0, 2**32)))
    count = data.draw(st.integers(1, 4))
    shapes = data.draw(st.lists(st.sampled_from([(2, 3, 5), (3, 5), (1, 1, 5), (5,), (2, 1, 1)]),
                                min_size=count, max_size=count))
    terms = tuple(net.input(shape, zero=int(net.rng.integers(0, 128)), dtype=data.draw(
        st.sampled_from(["int8", "uint8"]))) for shape in shapes)
    shape = np.broadcast_shapes(*shapes)
    channels = shape[-1]
    # few bits make ties, many make none
    bits = data.draw(st.sampled_from([2, 4, 12, 31]))
    shift = data.draw(st.integers(max(0, bits - 3), min(62, bits + 8)))
    sizes = data.draw(st.lists(st.sampled_from([1, channels]), min_size=count, max_size=count))
    multipliers = tuple(
        tuple(int(m) for m in net.rng.integers(-(2**bits) + 1, 2**bits, size)) for size in sizes)
    bias = None
    if data.draw(st.booleans()):
        reach = data.draw(st.sampled_from([2.0**shift * 100, 2.0**61]))
        bias = np.clip(net.rng.normal(0, reach, channels), -(2.0**61), 2.0**61).astype(np.int64)
    check(net, net.circuit(net.rescale(terms, multipliers, shift, bias=bias)))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_one_bare_accumulator_gets_searched_constants(data: st.DataObject) -> None:
    net = FloatNet("int8", data.draw(st.integers(0, 2**32)))
    x = net.input((1, 4, 4, 3), dtype="uint8")
    acc = net.convolved(x, 4, rule="none")
    real = net.rng.uniform(0.0005, 0.01, data.draw(st.sampled_from([1, 4])))
    y = net.rescale((acc,), (tuple(int(m * 2**37) for m in real),), 37)
    program = check(net, net.circuit(y))
    (step,) = (step for step in program.steps if isinstance(step, Requantize))
    assert len(step.multiplier) in (1, 4) and not any(isinstance(step, Affine) for step in program.steps)


def test_exact_ties_of_a_residual_add_are_one_affine_form() -> None:
    # (x + y) / 2 with equal scales: every odd sum is a tie
    net = FloatNet()
    x, y = net.input((1, 256, 1)), net.input((1, 1, 256))
    program = check(net, net.circuit(net.rescale((x, y), ((2**29,), (2**29,)), 30)), 1)
    (step,) = (step for step in program.steps if isinstance(step, Requantize))
    assert step.tie is not None and step.tie.parity is not None and step.bits <= 13
    # all pairs at once
    rows = np.arange(-128, 128, dtype=np.int8)
    circuit = net.circuit(net.ops[-1].outputs[0])
    inputs = [rows.reshape(1, 256, 1), rows.reshape(1, 1, 256)]
    revealed = execute(program, stored_inputs(circuit, program, inputs))
    (output,), (expected,) = model_outputs(circuit, program, revealed), reference.evaluate(circuit, inputs)
    assert np.array_equal(output, expected)
    low, high = (int(circuit.ops[-1].attributes[name]) for name in ("low", "high"))  # type: ignore[arg-type]
    zero = zero_point(circuit.tensors[circuit.outputs[0]])
    sums = rows[:, None].astype(int) - 3 + rows[None, :] - 3
    exact = [[min(max(round(Fraction(int(s), 2)) + zero, low), high) for s in row] for row in sums]
    assert np.array_equal(output.reshape(256, 256), exact)


@pytest.mark.parametrize("multiplier", [2**29, -(2**29), 0, 3 * 2**28, 2**31 - 1, -123456789])
def test_one_activation_is_a_function_of_a_byte(multiplier: int) -> None:
    net = FloatNet()
    x = net.input((256,))
    circuit = net.circuit(net.rescale((x,), ((multiplier,),), 30))
    program = check(net, circuit)
    assert multiplier >= 0 or any(isinstance(step, Lookup) for step in program.steps)


def _sums(terms: list[Term], channel: int) -> set[int]:
    ranges = [range(term.least, term.greatest + 1) for term in terms]
    return {sum(t.multipliers[channel] * v for t, v in zip(terms, values, strict=True)) for values in product(*ranges)}


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_ties_are_decided_as_a_listing_decides_them(data: st.DataObject) -> None:
    shift = data.draw(st.integers(1, 12))
    terms = []
    for wide in data.draw(st.sampled_from([(0,), (1,), (0, 0), (1, 0), (0, 0, 0), (1, 0, 0), (0, 0, 0, 0)])):
        least = data.draw(st.integers(-300, 5))
        extent = data.draw(st.integers(256, 700)) if wide else data.draw(st.integers(0, 6))
        multiplier = data.draw(st.integers(-40, 40)) * 2 ** data.draw(st.integers(0, 3))
        terms.append(Term((multiplier,), least, least + extent))
    found = ties_occur(Rescale(tuple(terms), shift, 0, (0,), (0,), None))
    half = 2 ** (shift - 1)
    assert found == any((z - half) % 2**shift == 0 for z in _sums(terms, 0))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_clipped_bias_changes_no_output(data: st.DataObject) -> None:
    net = FloatNet("int8", data.draw(st.integers(0, 2**32)))
    x = net.input((5,), zero=data.draw(st.integers(-128, 127)))
    shift = data.draw(st.integers(0, 12))
    multipliers = tuple(int(m) << data.draw(st.integers(0, 3)) for m in net.rng.integers(-200, 200, 5))
    bias = (net.rng.normal(0, 2.0 ** (shift + data.draw(st.integers(0, 12))), 5)).astype(np.int64)
    circuit = net.circuit(net.rescale((x,), (multipliers,), shift, bias=bias))
    op, program = circuit.ops[0], lower(circuit)
    value = program.values[0]
    rescale = bounded(circuit, op, [value])
    stored = stored_bias(circuit, op, [value], bias)
    assert rescale.bias is not None
    zero = zero_point(circuit.tensors[op.outputs[0]])
    low, high = (int(op.attributes[name]) for name in ("low", "high"))  # type: ignore[arg-type]
    for channel, b in enumerate(stored.tolist()):
        assert rescale.bias[0][channel] <= b <= rescale.bias[1][channel]
        for q in range(-128, 128):
            x_centred = q - zero_point(circuit.tensors[0])
            real = (multipliers[channel] * x_centred + int(bias[channel]) + (2**shift >> 1)) >> shift
            z = rescale.terms[0].multipliers[channel] * x_centred
            assert rescale.least[channel] <= z <= rescale.greatest[channel]
            assert rescale.ends[0] <= z + b <= rescale.ends[1]
            assert min(max((z + b >> rescale.shift) + zero, low), high) == min(max(real + zero, low), high)


@pytest.mark.parametrize("scales", [1, 5])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("extra", [False, True])
def test_float_logits_are_revealed_sums(scales: int, biased: bool, extra: bool) -> None:
    net = FloatNet("int8", 5)
    x = net.input((1, 1, 1, 40), dtype="uint8")
    acc = net.convolved(x, 5, rule="none", kernel=1)
    other = (net.input((1, 1, 1, 5)),) if extra else ()
    bias = net.rng.integers(-(2**40), 2**40, 5) if biased else None
    multipliers = (tuple(int(m) for m in net.rng.integers(1, 2**20, scales)), *(((12345,),) * len(other)))
    total = net.rescale((acc, *other), multipliers, 0, bias=bias, output=net.sums((1, 1, 1, 5), scales))
    flat = net.floats("RESHAPE", net.floats("DEQUANTIZE", total), (1, 5))
    for log in (False, True):
        probabilities = net.floats("FLOAT_SOFTMAX", flat, axis=1, log=log)
        circuit = net.circuit(net.floats("FLOAT_UNARY", probabilities, function="neg"))
        program = check(net, circuit)
        (output,) = (step for step in program.steps if isinstance(step, Output))
        value = program.values[output.inputs[0]]
        assert value.kind == "accumulator" and not value.bits and (value.ring >= 62) == biased
        assert len(program.tails[0].ops) == 4
        with pytest.raises(UnsupportedModelError, match="observer on its output"):
            lower(circuit, reveal="argmax")


def test_activations_with_a_multiplier_per_channel_need_a_bias_in_a_bare_sum() -> None:
    net = FloatNet()
    x = net.input((1, 5))
    bare = net.rescale((x,), ((1, 2, 3, 4, 5),), 0, output=net.sums((1, 5), 1))
    with pytest.raises(UnsupportedModelError, match="multiplier per channel"):
        lower(net.circuit(net.floats("DEQUANTIZE", bare)))
    net = FloatNet()
    x = net.input((1, 5))
    sums = net.rescale((x,), ((1, 2, 3, 4, 5),), 0, bias=[0, -1, 2**61, -(2**61), 7], output=net.sums((1, 5), 1))
    check(net, net.circuit(net.floats("DEQUANTIZE", sums)))


def test_a_bare_accumulator_may_serve_two_sums_in_two_rings() -> None:
    net = FloatNet("int8", 3)
    x = net.input((1, 4, 4, 3))
    acc = net.convolved(x, 4, rule="none")
    first = net.rescale((acc,), ((2**20,),), 30)
    second = net.rescale((acc, first), ((2**21 + 1,), (-(2**29),)), 30, bias=[5, -(2**31), 2**33, 0])
    check(net, net.circuit(first, second))


@pytest.mark.parametrize("terms", [1, 5])
@pytest.mark.parametrize("biased", [False, True])
def test_sums_that_no_ring_holds_are_refused(terms: int, biased: bool) -> None:
    net = FloatNet()
    x = net.input((1, 1, 1, 2**16 // terms))
    acc = net.convolved(x, 2, rule="none", kernel=1)
    circuit = net.circuit(net.rescale((acc,) * terms, ((2**31 - 1,),) * terms, 40, bias=[0, 0] if biased else None))
    with pytest.raises(UnsupportedModelError, match="61 bits"):
        lower(circuit)


def test_a_shared_bias_is_refused() -> None:
    net = FloatNet()
    x = net.input((1, 3))
    y = net.rescale((x,), ((2**20,),), 20, bias=[1, 2, 3])
    op = net.ops[-1]
    output = net.activation((1, 3))
    low, high = net.bounds(output)
    net.op("RESCALE", op.inputs, output, **{**op.attributes, "low": low, "high": high})
    with pytest.raises(UnsupportedModelError, match="serves several"):
        lower(net.circuit(y, output))
