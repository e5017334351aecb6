"""The printer: the public part, aligned, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mpc_bridge.circuit import format_circuit
from tests.circuits import small_circuit

EXPECTED = """\
small: tflite model, profile litert

inputs
  %0  int8[1x4x4x2]  scale 0.5 zero 3  image

outputs
  %9  float32[1x5]    answer

ops
  0  %3  =  CONV_2D          %0 %1 %2   int8[1x4x4x3]  scale 0.5 zero 3            conv     dilation=(1, 1) \
padding=((1, 1), (1, 1)) requantization=(mbqm, (0.1, 0.333333, 4.94066e-324), -128, 127) stride=(1, 1)
  1  %4  =  AVERAGE_POOL_2D  %3         int8[1x2x2x3]  scale 0.5 zero 3            pool     bounds=(3, 15) \
padding=((0, 0), (0, 0)) stride=(2, 2) window=(2, 2)
  2  %5  =  RESHAPE          %4         int8[1x12]     scale 0.5 zero 3            flatten
  3  %7  =  FULLY_CONNECTED  %5 %6 %10  int8[1x5]      scale 0.5 zero 3            dense    keep_num_dims=false \
requantization=(float64_half_away, 0.01, -128, 127)
  4  %8  =  SOFTMAX          %7         int8[1x5]      scale 0.00390625 zero -128  softmax  beta=1
  5  %9  =  DEQUANTIZE       %8         float32[1x5]                               real

secret constants
  %1   int8[3x3x3x2]  scale (0.5, 0.25, 0.125) zero (0, 0, 0) axis 0  kernel
  %2   int32[3]                                                       bias
  %6   int8[5x12]     scale 0.25 zero 0                               matrix
  %10  int32[5]                                                       matrix bias
"""


def test_text() -> None:
    assert format_circuit(small_circuit()) == EXPECTED


def test_weights_do_not_show() -> None:
    circuit = small_circuit()
    zeroed = replace(circuit, constants={i: np.zeros_like(array) for i, array in circuit.constants.items()})
    assert format_circuit(circuit) == format_circuit(zeroed) == format_circuit(circuit.public())
    assert repr(circuit) == repr(zeroed)


def test_long_names_and_lists_are_shortened() -> None:
    circuit = small_circuit()
    ops = list(circuit.ops)
    ops[3] = replace(
        ops[3],
        name="x" * 400 + "y",
        attributes={"keep_num_dims": True, "requantization": ("mbqm", tuple(i / 64 for i in range(1, 6)), -128, 127)},
    )
    line = next(line for line in format_circuit(replace(circuit, ops=tuple(ops))).splitlines() if "FULLY" in line)
    assert (
        f"{'x' * 22}...{'x' * 21}y  keep_num_dims=true requantization=(mbqm, 5 x 0.015625..0.078125, -128, 127)" in line
    )
