"""What everybody sees of a circuit follows from nothing secret; what a small file costs stays small."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mpc_bridge.circuit.serialize import to_json
from mpc_bridge.errors import UnsupportedModelError
from mpc_bridge.importers.qdq.convert import convert
from mpc_bridge.importers.qdq.graph import Graph, Port
from tests.qdq_floats import Net


def _linear(net: Net, inner: int, weights: Any, bias: Any, scale: float = 0.01) -> str:
    stored = net.dequantize(net.const(np.full((2, inner), weights), np.int8), scale)
    return str(net.node("Linear", net.input((1, inner), 0.1, 0), stored, net.const(np.full(2, bias))))


def _one_layer(profile: str, inner: int) -> Callable[[int, float], Graph]:
    def build(weights: int, bias: float) -> Graph:
        net = Net("pytorch", profile)
        return net.graph(net.quantize(_linear(net, inner, weights, bias), 0.5, 3))
    return build


def _tiny_multipliers(weights: int, bias: float) -> Graph:
    net = Net()
    return net.graph(net.quantize(_linear(net, 4, weights, bias, 1e-12), 0.5, 3))


def _two_layers(weights: int, bias: float) -> Graph:
    net = Net()
    return net.graph(net.quantize(net.node(
        "Relu", net.node("Add", _linear(net, 100_000, weights, bias), _linear(net, 300_000, -weights, bias))), 0.5))


def _shown(weights: int, bias: float) -> Graph:
    net = Net()
    return net.graph(_linear(net, 1000, weights, bias))


@pytest.mark.parametrize("build", [
    *(_one_layer(profile, inner) for profile in ("pytorch", "qnnpack") for inner in (4, 20_000, 400_000)),
    _tiny_multipliers, _two_layers, _shown])
def test_the_public_part_is_that_of_any_other_weights_and_biases(build: Callable[[int, float], Graph]) -> None:
    texts = {to_json(convert(build(weights, bias))) for weights, bias in (
        (1, 1e-3), (127, 1e-3), (-128, 4.0), (1, -300.0), (0, 1e6))}
    assert len(texts) == 1


@pytest.mark.parametrize("bias", [-1e6, -200.0, 200.0, 1e6])
def test_a_bias_beyond_every_output(bias: float) -> None:
    """It is stored as a nearer one with the same outputs."""
    from tests.test_importer_qdq import check

    for scale in (0.01, 1e-12):
        net = Net()
        check(net, net.quantize(_linear(net, 50, 100, bias, scale), 0.5, 3))


def test_joins_of_joins_are_counted_once() -> None:
    net = Net()
    x = net.node("Linear", net.input((1, 2)), net.weights((2, 2)), "")
    for _ in range(2):
        x = net.node("Concat", *[x] * 1000, axis=0)
    for _ in range(8):
        x = net.node("Maximum", x, x)
    started = time.monotonic()
    convert(net.graph(net.quantize(x, 0.1)))
    assert time.monotonic() - started < 20  # with every part looked at again and again it takes minutes


def test_many_inputs_of_integers() -> None:
    """What an integer input means is looked for among what reads it."""
    net = Net()
    x = net.input((1, 2), 0.1, 0)
    for index in range(4000):
        net.ports += [Port(f"unused{index}.{again}", (1, 2), "int8") for again in range(5)]
        x = net.dequantize(net.quantize(x, 0.1 + 0.001 * (index % 2)), 0.1)
    started = time.monotonic()
    convert(net.graph(net.quantize(x, 0.1)))
    assert time.monotonic() - started < 20  # a search through all nodes for each takes about a minute


def test_sums_over_windows_larger_than_images() -> None:
    """A window may have 2**32 cells; they are no weights then."""
    net = Net()
    x = net.input((1, 1, 2, 2))
    window = {"window": (2**16, 2**16), "stride": (1, 1), "padding": ((2**15, 2**15),) * 2, "ceil_mode": False,
              "count_include_pad": True, "divisor": 0}
    y = net.quantize(net.node("Add", net.node("AvgPool", x, **window), net.node("AvgPool", x, **window)), 0.1)
    tracemalloc.start()
    try:
        with pytest.raises(UnsupportedModelError):
            convert(net.graph(y))
        assert tracemalloc.get_traced_memory()[1] < 2**26
    finally:
        tracemalloc.stop()
