"""A small circuit written by hand, for the tests of the circuit package."""

from __future__ import annotations

import numpy as np

from mpc_bridge.circuit import Circuit, Op, Quantization, Tensor, verify

ACTIVATION = Quantization((0.5,), (3,))


def small_circuit() -> Circuit:
    """Conv, pool, reshape, fully connected, softmax, dequantize: ten tensors, four of them secret."""
    generator = np.random.default_rng(7)
    circuit = Circuit(
        name="small",
        source="tflite",
        profile="litert",
        tensors=(
            Tensor("image", (1, 4, 4, 2), "int8", ACTIVATION),
            Tensor("kernel", (3, 3, 3, 2), "int8", Quantization((0.5, 0.25, 0.125), (0, 0, 0), 0)),
            Tensor("bias", (3,), "int32"),
            Tensor("features", (1, 4, 4, 3), "int8", ACTIVATION),
            Tensor("pooled", (1, 2, 2, 3), "int8", ACTIVATION),
            Tensor("flat", (1, 12), "int8", ACTIVATION),
            Tensor("matrix", (5, 12), "int8", Quantization((0.25,), (0,))),
            Tensor("logits", (1, 5), "int8", ACTIVATION),
            Tensor("probabilities", (1, 5), "int8", Quantization((1 / 256,), (-128,))),
            Tensor("answer", (1, 5), "float32"),
            Tensor("matrix bias", (5,), "int32"),
        ),
        ops=(
            Op(
                "CONV_2D",
                "conv",
                (0, 1, 2),
                (3,),
                {
                    "stride": (1, 1),
                    "dilation": (1, 1),
                    "padding": ((1, 1), (1, 1)),
                    "requantization": ("mbqm", (0.1, 1 / 3, 5e-324), -128, 127),
                },
            ),
            Op(
                "AVERAGE_POOL_2D",
                "pool",
                (3,),
                (4,),
                {"window": (2, 2), "stride": (2, 2), "padding": ((0, 0), (0, 0)), "bounds": (3, 15)},
            ),
            Op("RESHAPE", "flatten", (4,), (5,)),
            Op(
                "FULLY_CONNECTED",
                "dense",
                (5, 6, 10),
                (7,),
                {"keep_num_dims": False, "requantization": ("float64_half_away", (0.01,), -128, 127)},
            ),
            Op("SOFTMAX", "softmax", (7,), (8,), {"beta": 1.0}),
            Op("DEQUANTIZE", "real", (8,), (9,)),
        ),
        inputs=(0,),
        outputs=(9,),
        constants={
            1: generator.integers(-128, 128, (3, 3, 3, 2)).astype(np.int8),
            2: generator.integers(-1000, 1000, (3,)).astype(np.int32),
            6: generator.integers(-128, 128, (5, 12)).astype(np.int8),
            10: generator.integers(-1000, 1000, (5,)).astype(np.int32),
        },
        sha256="0" * 64,
        constant_tensors=(1, 2, 6, 10),
    )
    verify(circuit)
    return circuit
