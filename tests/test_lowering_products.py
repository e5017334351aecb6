"""Products of two tensors and bilinear resizes as Programs: their steps, and exactness for random scales and rules."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from mpc_bridge.backends.base import Backend
from mpc_bridge.backends.plaintext import execute
from mpc_bridge.backends.replicated.backend import backend as rep3
from mpc_bridge.backends.replicated.malicious.backend import backend as rep3_mac
from mpc_bridge.circuit import Circuit, Quantization, reference
from mpc_bridge.circuit.graph import Attribute
from mpc_bridge.importers.tflite import load
from mpc_bridge.kernels import cpu_device
from mpc_bridge.lowering import canonicalise, lower, model_outputs, products, stored_inputs
from mpc_bridge.lowering.program import Affine, Input, Linear, Move, Program, Requantize
from mpc_bridge.testing import conformance
from tests.models import oneop, oneop_products
from tests.nets import Net

CASES = dict(oneop.cases())


def assert_exact(circuit: Circuit, *samples: list[np.ndarray]) -> Program:
    program = lower(circuit)
    constants = canonicalise(circuit, program)
    for inputs in samples:
        revealed = execute(program, {**constants, **stored_inputs(circuit, program, inputs)})
        outputs = model_outputs(circuit, program, revealed)
        for output, expected in zip(outputs, reference.evaluate(circuit, inputs), strict=True):
            assert output.dtype == expected.dtype
            np.testing.assert_array_equal(output, expected)
    return program


def primitives(program: Program) -> Counter[str]:
    return Counter(step.primitive for step in program.steps)


def significant(multiplier: float, rule: str) -> float:
    """With the bits that a rule's multipliers may have."""
    return float(np.float32(multiplier)) if rule == "half_even" else multiplier


def pairs(kind: str, rule: str, dtype: str, rng: np.random.Generator, simple: bool) -> tuple[Net, Circuit]:
    """One op on every pair of bytes, with random scales or scales in simple proportions, and random zero points."""
    net = Net(dtype)

    def scale() -> float:
        return float(2.0 ** -rng.integers(3, 9)) if simple else float(np.exp(rng.uniform(np.log(0.002), np.log(0.5))))

    zeros = [int(zero) for zero in rng.integers(net.low, net.high + 1, 3)]
    shape = (256, 1) if kind == "MUL" else (256, 256)
    x, y = net.input(shape, scale(), zeros[0]), net.input((1, 256), scale(), zeros[1])
    first, second = (tensor.quantization.scale[0] for tensor in net.tensors[:2] if tensor.quantization is not None)
    # outputs that saturate, fill their type, or use little of it
    target = float(first * second * (2.0 ** rng.integers(0, 12) if simple else 2 ** rng.uniform(2, 14)))
    out = net.tensor((256, 256), target, zeros[2])
    slope = significant(float(np.float32(first * second / target)), rule)
    low, high = sorted(int(bound) for bound in rng.integers(net.low, net.high + 1, 2))
    bounds = (low, high) if rng.integers(2) else (net.low, net.high)
    attributes: dict[str, Attribute] = {"requantization": (rule, (slope,), *bounds)}
    if kind == "PRELU":
        identity = significant(float(np.float32(first / target)), rule)
        attributes = {"alpha_multiplier": slope, "requantization": (rule, (min(identity, 2.0**20),), net.low, net.high)}
    net.op(kind, (x, y), out, **attributes)
    return net, net.circuit(out)


@pytest.mark.parametrize("simple", [False, True], ids=["scales", "ties"])
@pytest.mark.parametrize("rule", ["mbqm", "half_even"])
@pytest.mark.parametrize("kind", ["MUL", "PRELU"])
def test_every_pair_of_bytes(kind: str, rule: str, simple: bool) -> None:
    rng = np.random.default_rng([ord(letter) for letter in kind + rule])
    for dtype in ("int8", "uint8") * 12:
        net, circuit = pairs(kind, rule, dtype, rng, simple)
        every = np.arange(net.low, net.high + 1).astype(dtype)
        first = every.reshape(256, 1) if kind == "MUL" else np.repeat(every.reshape(256, 1), 256, axis=1)
        assert_exact(circuit, [first, every.reshape(1, 256)])


@pytest.mark.parametrize("together", [0, products.TOGETHER], ids=["one-by-one", "together"])
@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("BATCH_MATMUL")])
def test_batches_one_by_one_and_together(name: str, together: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "TOGETHER", together)
    circuit = load(CASES[name], name=name)
    shapes = [(circuit.tensors[index].shape, circuit.tensors[index].dtype) for index in circuit.inputs]
    program = assert_exact(circuit, *oneop.samples(shapes, seed=3))
    assert program == lower(circuit.public())
    linear = [step for step in program.steps if isinstance(step, Linear)]
    one_matrix = any(np.prod(circuit.tensors[index].shape[:-2]) == 1 for index in circuit.ops[0].inputs)
    batches = int(np.prod(circuit.tensors[circuit.outputs[0]].shape[:-2]))
    assert len(linear) == (1 if together or one_matrix else batches)
    assert sum(isinstance(step, Requantize) for step in program.steps) == 1
    assert program.macs == int(np.prod(circuit.tensors[circuit.outputs[0]].shape)) * depth(circuit)


def depth(circuit: Circuit) -> int:
    """Products in a sum of a BATCH_MATMUL."""
    return circuit.tensors[circuit.ops[0].inputs[0]].shape[-2 if circuit.ops[0].attributes["adj_x"] else -1]


@pytest.mark.parametrize("types", [("int8", "int8", "uint8"), ("uint8", "int8", "int8"), ("uint8", "uint8", "uint8")])
@pytest.mark.parametrize("multiplier", [2.0**-7, float(np.float32(0.0123)), 3 * 2.0**-9])
def test_matrices_half_to_even_of_any_types(types: tuple[str, str, str], multiplier: float) -> None:
    net, rng = Net(), np.random.default_rng(5)
    x, y = net.input((2, 5, 16), 0.02, 3, types[0]), net.input((2, 16, 4), 0.02, 100, types[1])
    out = net.tensor((2, 5, 4), 0.05, 11, types[2])
    low, high = np.iinfo(types[2]).min, np.iinfo(types[2]).max
    net.op("BATCH_MATMUL", (x, y), out, adj_x=False, adj_y=False,
           requantization=("half_even", (multiplier,), int(low), int(high)))
    circuit = net.circuit(out)
    samples = []
    for _ in range(20):
        near = [rng.integers(0, 8, (2, 5, 16)), rng.integers(97, 104, (2, 16, 4))]
        wide = [rng.integers(0, 128, array.shape) for array in near]
        samples += [[array.astype(dtype) for array, dtype in zip(arrays, types, strict=False)]
                    for arrays in (near, wide)]
    assert_exact(circuit, *samples)


def test_a_factor_per_channel_is_a_filter_and_nothing_is_repeated() -> None:
    program = lower(load(CASES["MUL-int8-broadcast-excitation"]))
    assert primitives(program) == {"input": 2, "linear": 1, "requantize": 1, "output": 1}
    (step,) = (step for step in program.steps if isinstance(step, Linear))
    assert step.depthwise and (step.geometry.batch, step.geometry.out_channels) == (64, 8)
    swapped = lower(load(CASES["MUL-int8-broadcast-excitation-first"]))
    assert primitives(swapped) == primitives(program)


def test_a_square_reads_one_value_twice() -> None:
    (step,) = (step for step in lower(load(CASES["MUL-uint8-square"])).steps if isinstance(step, Linear))
    assert step.inputs[0] == step.inputs[1] and step.zero == step.weight_zero == 128


def test_slopes_that_play_no_part_cost_nothing() -> None:
    # the zero point is the least value: no product; the greatest: no table and no maximum
    assert primitives(lower(load(CASES["PRELU-int8-never-negative"])))["linear"] == 0
    never_positive = primitives(lower(load(CASES["PRELU-int8-never-positive"])))
    assert (never_positive["lookup"], never_positive["maximum"]) == (0, 0)


def test_slopes_after_an_activation_are_not_looked_at() -> None:
    net = Net()
    x = net.relu(net.input((1, 3, 3, 4)))
    alpha = net.constant(net.rng.integers(-128, 128, (4,)).astype(np.int8), 0.01, 3)
    out = net.tensor((1, 3, 3, 4), 0.05, 7)
    net.op("PRELU", (x, alpha), out, alpha_multiplier=0.0077, requantization=("mbqm", (0.8,), -128, 127))
    program = assert_exact(net.circuit(out), net.sample(0))
    assert primitives(program)["linear"] == 0
    assert [step for step in program.steps if isinstance(step, Input) and step.owner == "model"]


def test_slopes_of_nothing() -> None:
    net = Net()
    x = net.input((1, 3, 3, 4))
    alpha = net.constant(net.rng.integers(-128, 128, (4,)).astype(np.int8), 0.01, 3)
    out = net.tensor((1, 3, 3, 4), 0.05, 7)
    net.op("PRELU", (x, alpha), out, alpha_multiplier=0.0, requantization=("mbqm", (0.8,), -128, 127))
    assert_exact(net.circuit(out), *(net.sample(seed) for seed in range(4)))


def test_mixtures_need_few_bits_for_powers_of_two_and_none_for_copies() -> None:
    doubled = lower(load(CASES["RESIZE_BILINEAR-uint8-doubled-centers"]))
    (step,) = (step for step in doubled.steps if isinstance(step, Requantize))
    # sixteenths: ten bits above them
    assert (step.shift, step.bits) == (4, 14)
    # half away from zero, which a slope a little steeper than one follows
    signed = lower(load(CASES["RESIZE_BILINEAR-int8-doubled-centers"]))
    (step,) = (step for step in signed.steps if isinstance(step, Requantize))
    assert step.bits <= 25
    (mixed,) = (step for step in doubled.steps if isinstance(step, Affine))
    assert {sum(position) for position in zip(*mixed.coefficients, strict=True)} == {16}  # type: ignore[arg-type]
    for name in ("same", "same-centers", "same-corners", "halved", "one-corners"):
        program = lower(load(CASES[f"RESIZE_BILINEAR-int8-{name}"]))
        assert primitives(program) == {"input": 1, "move": 1, "output": 1}
    columns = lower(load(CASES["RESIZE_BILINEAR-int8-columns"]))
    (mixed,) = (step for step in columns.steps if isinstance(step, Affine))
    assert len(mixed.inputs) == 2


def test_mixtures_at_every_proportion() -> None:
    rng = np.random.default_rng(2)
    for trial in range(40):
        dtype = ("int8", "uint8")[trial % 2]
        size, target = rng.integers(1, 9, 2), rng.integers(1, 30, 2)
        if dtype == "uint8":
            target = size * 2 ** rng.integers(0, 4)
        corners, centers = ((False, False), (True, False), (False, True))[0 if dtype == "uint8" else trial % 3]
        _, data = oneop_products.mixed("x", dtype, (int(size[0]), int(size[1])), (int(target[0]), int(target[1])),
                                       corners, centers, int(rng.integers(-20, 20)) + 128 * (dtype == "uint8"))
        circuit = load(data)
        tensor = circuit.tensors[circuit.inputs[0]]
        assert_exact(circuit, *oneop.samples([(tensor.shape, dtype)], seed=trial))


def test_a_convolution_in_groups_is_one_product() -> None:
    for name in CASES:
        if name.startswith("CONV_2D-int8-groups"):
            program = lower(load(CASES[name]))
            assert [step.depthwise for step in program.steps if isinstance(step, Linear)] == [True], name
            assert all(step.kind in ("reshape", "transpose") for step in program.steps if isinstance(step, Move))


@pytest.mark.parametrize("dilation", [(1, 1), (2, 2)])
def test_groups_half_to_even_with_zero_points_per_channel(dilation: tuple[int, int]) -> None:
    net, rng = Net(), np.random.default_rng(8)
    x = net.input((1, 7, 6, 6), 0.03, 20)
    weights = net.constant(rng.integers(0, 256, (9, 3, 2, 2)).astype(np.uint8), 0.01, 0)
    zeros = tuple(int(zero) for zero in rng.integers(0, 256, 9))
    net.tensors[weights] = replace(net.tensors[weights], quantization=Quantization((0.0078125,) * 9, zeros, 0))
    reach = tuple((cells - 1) * step for cells, step in zip((3, 2), dilation, strict=True))
    out = net.tensor((1, 7, 6, 9), 0.05, -3)
    net.op("CONV_2D", (x, weights, net.bias(9)), out, stride=(1, 1), dilation=dilation,
           padding=((reach[0] // 2, reach[0] - reach[0] // 2), (0, reach[1])),
           requantization=("half_even", (2.0**-8,) * 5 + (float(np.float32(0.0031)),) * 4, -128, 127))
    assert_exact(net.circuit(out), *(net.sample(seed) for seed in range(4)))


def excitation() -> tuple[Net, Circuit]:
    """Squeeze and excitation, slopes, a mixture and a convolution in groups, one after the other."""
    net = Net()
    x = net.conv(net.input((1, 6, 6, 4)), 6)
    pooled = net.tensor((1, 1, 1, 6), 0.03, 9)
    net.op("MEAN", (x,), pooled, axes=(1, 2), keep_dims=True, requantization=("mbqm", (1.7,), -128, 127))
    gate = net.tensor((1, 1, 1, 6), 1 / 256, -128)
    net.op("LOGISTIC", (net.conv(pooled, 6, kernel=1),), gate)
    excited = net.tensor((1, 6, 6, 6), 0.02, -4)
    net.op("MUL", (x, gate), excited, requantization=("mbqm", (0.0098,), -128, 127))
    alpha = net.constant(net.rng.integers(-128, 128, (6,)).astype(np.int8), 0.01, 0)
    bent = net.tensor((1, 6, 6, 6), 0.02, -100)
    net.op("PRELU", (excited, alpha), bent, alpha_multiplier=0.0091, requantization=("mbqm", (0.9,), -128, 127))
    grown = net.op("RESIZE_BILINEAR", (bent,), net.like(bent, (1, 12, 9, 6)), align_corners=False,
                   half_pixel_centers=True)
    out = net.conv(grown, 4, weights=net.weights(4, 3, 3, 3))
    return net, net.circuit(out)


def test_one_after_the_other() -> None:
    net, circuit = excitation()
    assert_exact(circuit, *(net.sample(seed) for seed in range(6)))


#: One-op models on the shares of three parties: every kind, its operands' forms, ties, and constants.
SECURE = (
    "MUL-int8-plain", "MUL-int8-ties-1", "MUL-int8-square", "MUL-int8-broadcast-both", "MUL-int8-constant-channels",
    "MUL-uint8-constant-first", "MUL-uint8-broadcast-excitation", "MUL-uint8-RELU6",
    "BATCH_MATMUL-int8-adj-11", "BATCH_MATMUL-int8-broadcast-first", "BATCH_MATMUL-int8-constant-second-0",
    "BATCH_MATMUL-int8-broadcast-both", "PRELU-int8-channels", "PRELU-uint8-rows", "PRELU-int8-never-negative",
    "RESIZE_BILINEAR-int8-odd", "RESIZE_BILINEAR-int8-batch-centers", "RESIZE_BILINEAR-uint8-eightfold",
    "RESIZE_BILINEAR-int8-same", "CONV_2D-int8-groups", "CONV_2D-uint8-groups-dilated",
)


def on_shares(backend: Backend, circuit: Circuit, inputs: list[np.ndarray]) -> list[np.ndarray]:
    program = lower(circuit)
    stored = {**canonicalise(circuit, program), **stored_inputs(circuit, program, inputs)}
    entered = {step.output: stored[step.source] for step in program.steps if isinstance(step, Input)}
    outputs = conformance.run(backend, conformance.Case(circuit.name, program, entered),
                              [cpu_device() for _ in range(3)])
    return model_outputs(circuit, program, outputs)


@pytest.mark.parametrize("backend", [rep3, rep3_mac], ids=lambda backend: backend.name)
@pytest.mark.parametrize("name", SECURE)
def test_on_shares(name: str, backend: Backend) -> None:
    circuit = load(CASES[name], name=name)
    inputs = oneop.samples([(circuit.tensors[i].shape, circuit.tensors[i].dtype) for i in circuit.inputs])[0]
    for output, expected in zip(on_shares(backend, circuit, inputs), reference.evaluate(circuit, inputs), strict=True):
        assert output.dtype == expected.dtype
        np.testing.assert_array_equal(output, expected)


@pytest.mark.parametrize("backend", [rep3, rep3_mac], ids=lambda backend: backend.name)
@pytest.mark.parametrize("kind", ["MUL", "PRELU"])
def test_half_to_even_on_shares(kind: str, backend: Backend) -> None:
    net, circuit = pairs(kind, "half_even", "int8", np.random.default_rng(4), simple=True)
    inputs = net.sample(0)
    for output, expected in zip(on_shares(backend, circuit, inputs), reference.evaluate(circuit, inputs), strict=True):
        np.testing.assert_array_equal(output, expected)


@pytest.mark.parametrize("backend", [rep3, rep3_mac], ids=lambda backend: backend.name)
def test_one_after_the_other_on_shares(backend: Backend) -> None:
    net, circuit = excitation()
    inputs = net.sample(0)
    np.testing.assert_array_equal(on_shares(backend, circuit, inputs)[0], reference.evaluate(circuit, inputs)[0])


@pytest.mark.parametrize("backend", [rep3, rep3_mac], ids=lambda backend: backend.name)
def test_batches_one_by_one_on_shares(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "TOGETHER", 0)
    circuit = load(CASES["BATCH_MATMUL-int8-adj-01"])
    inputs = oneop.samples([(circuit.tensors[i].shape, circuit.tensors[i].dtype) for i in circuit.inputs])[0]
    np.testing.assert_array_equal(on_shares(backend, circuit, inputs)[0], reference.evaluate(circuit, inputs)[0])
