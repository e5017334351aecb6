"""Operators that are a function of one tensor's elements: activations and SOFTMAX."""

from __future__ import annotations

import math
from collections.abc import Callable

from mpc_bridge.circuit.graph import INTEGER_RANGES
from mpc_bridge.importers.tflite import schema
from mpc_bridge.importers.tflite.parse import FileTensor
from mpc_bridge.importers.tflite.scales import float32_product, float32_quotient
from mpc_bridge.importers.tflite.site import Node, Site, UnsupportedOperatorError


def _function(site: Site) -> tuple[FileTensor, FileTensor]:
    """The only input and the only output."""
    site.operands(1, 1)
    x, output = site.activation(0), site.output()
    site.same_dtype(x, output)
    return x, output


def _need_lowest(site: Site, output: FileTensor) -> None:
    if (output.scale, output.zero_point) != ((1 / 256,), (INTEGER_RANGES[output.dtype][0],)):
        raise site.corrupt("its output is not quantized with scale 1/256 and the lowest zero point")


def _softmax(site: Site) -> Node:
    x, output = _function(site)
    beta = site.options(schema.Options.SoftmaxOptions).real(schema.SoftmaxOptions.Beta)
    if not (math.isfinite(beta) and beta > 0):
        raise site.corrupt(f"beta is {beta}")
    _need_lowest(site, output)
    return Node((x.index,), {"beta": beta})


def _relu(site: Site) -> Node:
    x, output = _function(site)
    return Node((x.index,), {"requantization": site.requantization(
        "mbqm", (float32_quotient(x.scale[0], output.scale[0]),), site.bounds(site.operator.kind, output))})


def _leaky_relu(site: Site) -> Node:
    x, output = _function(site)
    alpha = site.options(schema.Options.LeakyReluOptions).real(schema.LeakyReluOptions.Alpha)
    # LeakyReluPrepare, in float32 from left to right
    multiplier = float32_quotient(float32_product(x.scale[0], alpha), output.scale[0])
    if not 0 <= multiplier < 2.0**30:
        raise UnsupportedOperatorError(f"alpha {alpha:g}")
    return Node((x.index,), {
        "alpha_multiplier": multiplier,
        "requantization": site.requantization(
            "mbqm", (float32_quotient(x.scale[0], output.scale[0]),), site.bounds("NONE", output)),
    })


def _hard_swish(site: Site) -> Node:
    x, output = _function(site)
    # HardSwishPrepare: float32 scales of the input with seven more bits, and of the gate
    hires = x.scale[0] / 128
    multipliers = (float32_quotient(hires, output.scale[0]), float32_quotient(hires, 3 / 32768))
    if not (2.0**-16 <= multipliers[0] < 1 and 2.0**-16 <= multipliers[1] < 2.0**30):
        raise UnsupportedOperatorError("scales that its 16-bit fixed point does not hold")
    return Node((x.index,), {"multipliers": multipliers})


def _logistic(site: Site) -> Node:
    # LOGISTIC and TANH are LiteRT's and tflite-runtime 2.14's tables; tflite-micro computes both in fixed point
    x, output = _function(site)
    _need_lowest(site, output)
    return Node((x.index,), {})


def _tanh(site: Site) -> Node:
    x, output = _function(site)
    if not math.isfinite(float32_quotient(1.0, output.scale[0])):
        raise UnsupportedOperatorError(f"an output scale of {output.scale[0]}")
    return Node((x.index,), {})


#: Operator → its conversion.
CONVERSIONS: dict[str, Callable[[Site], Node]] = {
    "SOFTMAX": _softmax,
    "RELU": _relu,
    "RELU6": _relu,
    "RELU_N1_TO_1": _relu,
    "LEAKY_RELU": _leaky_relu,
    "HARD_SWISH": _hard_swish,
    "LOGISTIC": _logistic,
    "TANH": _tanh,
}
