"""Models of float-scaled frameworks on shares: what the parties reveal is the reference's output, bit for bit."""

from __future__ import annotations

import pytest

from mpc_bridge.backends.additive.backend import backend as additive
from mpc_bridge.backends.base import Backend
from mpc_bridge.backends.replicated.backend import backend as rep3
from mpc_bridge.backends.replicated.malicious.backend import backend as rep3_mac
from mpc_bridge.circuit import Circuit, reference
from mpc_bridge.kernels import cpu_device
from mpc_bridge.lowering import canonicalise, lower, model_outputs, stored_inputs
from mpc_bridge.lowering.program import Input
from mpc_bridge.testing import conformance
from tests.float_nets import FloatNet


def layers() -> tuple[FloatNet, Circuit]:
    """A float bias, a fused residual, ties in a sum, an average with its own counts, float logits."""
    net = FloatNet("int8", 11)
    x = net.input((1, 6, 6, 3), dtype="uint8")
    y = net.linear_rescale(x, 4)
    z = net.linear_rescale(y, 4, extra=(y,))
    total = net.rescale((y, z), ((2**29,), (2**29,)), 30)
    mixed = net.rescale((total, y, z), ((3, -1, 2, 5), (2,), (4,)), 3)
    average = net.activation((1, 3, 3, 4))
    net.op("AVERAGE", (mixed,), average, window=(3, 3), stride=(2, 2), padding=((1, 1), (1, 1)),
           count_include_pad=False, divisor=0, requantization=("half_even", (1.0,), *net.bounds(average)))
    acc = net.convolved(average, 5, rule="none", kernel=1)
    bias = [-(2**40), 3, 2**61, 0, -9]
    sums = net.rescale((acc,), ((1, 2, 3, 4, 5),), 0, bias=bias, output=net.sums((1, 3, 3, 5), 5))
    floats = net.floats("FLOAT_SOFTMAX", net.floats("DEQUANTIZE", sums), axis=3, log=False)
    return net, net.circuit(floats)


def half_even() -> tuple[FloatNet, Circuit]:
    """int32 biases, multipliers that make ties, a table."""
    net = FloatNet("int8", 12)
    x = net.input((1, 5, 5, 3), dtype="uint8")
    y = net.convolved(x, 4, rule="half_even", multipliers=(2.0**-7, 3 * 2.0**-9, 2.0**-8, 5 * 2.0**-10))
    z = net.convolved(y, 4, rule="half_even", depthwise=True)
    table = tuple(int(v) for v in net.rng.integers(-128, 128, 256))
    return net, net.circuit(net.op("TABLE", (z,), net.activation((1, 5, 5, 4), "int8"), table=table))


@pytest.mark.parametrize("backend", [rep3, rep3_mac, additive], ids=lambda backend: backend.name)
@pytest.mark.parametrize("model", [layers, half_even])
def test_on_shares(backend: Backend, model: object) -> None:
    net, circuit = model()  # type: ignore[operator]
    program = lower(circuit)
    inputs = net.sample(5)
    stored = {**canonicalise(circuit, program), **stored_inputs(circuit, program, inputs)}
    fed = {step.output: stored[step.source] for step in program.steps if isinstance(step, Input)}
    devices = [cpu_device() for _ in range(backend.parties()[0])]
    revealed = conformance.run(backend, conformance.Case(circuit.name, program, fed), devices)
    outputs, expected = model_outputs(circuit, program, revealed), reference.evaluate(circuit, inputs)
    assert [array.tobytes() for array in outputs] == [array.tobytes() for array in expected]
