"""The byte tables are PyTorch's own: every function, every integer, many scales, against its float32 kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mpc_bridge.circuit.reference import evaluate
from mpc_bridge.importers.qdq.convert import convert
from tests.qdq_floats import Net

torch = pytest.importorskip("torch", reason="PyTorch is not installed: it is the oracle here")
F = torch.nn.functional

FUNCTIONS: dict[str, tuple[Any, dict[str, Any]]] = {
    "Sigmoid": (torch.sigmoid, {}), "Tanh": (torch.tanh, {}), "HardSwish": (F.hardswish, {}), "Silu": (F.silu, {}),
    "Exp": (torch.exp, {}), "Gelu": (F.gelu, {"approximate": "none"}), "Abs": (torch.abs, {}), "Relu": (torch.relu, {}),
    "LeakyRelu": (lambda x: F.leaky_relu(x, 0.01), {"alpha": 0.01}), "Elu": (F.elu, {"alpha": 1.0}),
    "HardSigmoid": (F.hardsigmoid, {"alpha": 1 / 6, "beta": 0.5}), "Neg": (torch.neg, {}),
    "Clip": (lambda x: torch.clamp(x, -0.7, 1.1), {"low": -0.7, "high": 1.1}),
}


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_tables_are_pytorch_s(kind: str) -> None:
    function, attributes = FUNCTIONS[kind]
    rng = np.random.default_rng(0)
    integers = np.arange(-128, 128).astype(np.int8)
    for trial in range(60):
        scale, zero = float(np.float32(rng.uniform(0.005, 0.1))), int(rng.integers(-128, 128))
        y = function((torch.from_numpy(integers).to(torch.float32) - zero) * scale)
        out = float(np.float32(y.abs().max().item() / 120 if trial % 2 else scale))
        out_zero = int(rng.integers(-20, 20))
        # quantized_decomposed.quantize_per_tensor
        want = torch.clamp(torch.round(y * (1.0 / out)) + out_zero, -128, 127).to(torch.int8).numpy()
        net = Net()
        x = net.input((256,), scale, zero)
        circuit = convert(net.graph(net.quantize(net.node(kind, x, **attributes), out, out_zero)))
        np.testing.assert_array_equal(evaluate(circuit, [integers])[0], want)
