"""A Program as text: every form of a step says what is public about it."""

from __future__ import annotations

from mpc_bridge.cli.program_text import format_program
from mpc_bridge.lowering import lower
from mpc_bridge.lowering.program import Affine, Linear, Output, Program, Requantize
from tests.float_nets import FloatNet
from tests.nets import Net


def _line(text: str, program: Program, kind: type) -> str:
    """The line of the first step of a kind."""
    index = next(index for index, step in enumerate(program.steps) if isinstance(step, kind))
    return text.splitlines()[1 + index]


def test_sums_at_product_scale_and_float_logits() -> None:
    net = FloatNet("int8", 4)
    x = net.input((1, 1, 1, 6))
    acc = net.convolved(x, 3, rule="none", kernel=1)
    sums = net.rescale((acc,), ((7, -8, 9),), 0, bias=[1, 2, 3], output=net.sums((1, 1, 1, 3), 3))
    program = lower(net.circuit(net.floats("DEQUANTIZE", sums)))
    text = format_program(program)
    assert "coefficients (3 x -8..9, 1)" in _line(text, program, Affine)
    assert "accumulator mod 2^" in _line(text, program, Linear)
    assert "output" in _line(text, program, Output)
    assert "[1, 2, 3]" not in text


def test_ties_of_both_kinds() -> None:
    net = FloatNet()
    x, y = net.input((1, 4)), net.input((1, 4))
    program = lower(net.circuit(net.rescale((x, y), ((1,), (1,)), 1)))
    assert "ties to even" in _line(format_program(program), program, Requantize)
    plain = Net()
    image = plain.input((1, 6, 5, 4))
    program = lower(plain.circuit(plain.conv(image, 3)))
    (step,) = (step for step in program.steps if isinstance(step, Requantize))
    assert ("ties away from zero" in format_program(program)) == (step.tie is not None)


def test_a_product_names_both_zeros() -> None:
    net = Net()
    x, y = net.input((1, 4), zero=-128 + 9), net.input((1, 4), zero=-128 + 70)
    output = net.tensor((1, 4), 0.01, 0)
    program = lower(net.circuit(net.op("MUL", (x, y), output, requantization=("half_even", (0.015625,), -128, 127))))
    text = _line(format_program(program), program, Linear)
    assert "zero 9 and 70" in text or "zero 70 and 9" in text
