"""Quantizers that use fewer integers than their type has, zero points among those they do not use."""

from __future__ import annotations

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.qdq_floats import Net
from tests.test_importer_qdq import check, conv

RANGES = (("int8", -127, 127), ("int8", 0, 100), ("int8", -3, 4), ("uint8", 0, 127), ("uint8", 20, 90))


def pair(net: Net, x: str, scale: float, form: tuple[str, int, int], zero_point: int) -> tuple[str, str]:
    """A Quantize with bounds of its own, and the Dequantize behind it: names of both."""
    dtype, low, high = form
    attributes = {**net._format(scale, zero_point, dtype), "low": low, "high": high}
    q = net.node("Quantize", x, **attributes)
    return q, net.node("Dequantize", q, **attributes)


@settings(max_examples=40, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(data=st.data())
def test_bounds_of_a_quantizer(data: st.DataObject) -> None:
    net = Net(seed=data.draw(st.integers(0, 2**16)))

    def form() -> tuple[tuple[str, int, int], int]:
        chosen = data.draw(st.sampled_from(RANGES))
        least, most = (-128, 127) if chosen[0] == "int8" else (0, 255)
        inside = st.integers(chosen[1], chosen[2])
        return chosen, data.draw(inside | st.integers(least, most))

    x = net.input((1, 2, 5, 5))
    first, zero = form()
    scale = net.scale(0.02, 0.2)
    q, x = pair(net, x, scale, first, zero)
    outputs = [q]
    for _ in range(data.draw(st.integers(1, 3))):
        kind = data.draw(st.sampled_from(("Relu", "Pad", "MaxPool", "Conv", "Concat", "Neg", "Add", "Slice")))
        if kind == "Pad":
            x = net.node("Pad", x, paddings=((0, 0), (0, 0), (1, 0), (0, 1)), mode="constant", value=0.0)
        elif kind == "MaxPool":
            x = net.node("MaxPool", x, window=(2, 2), stride=(1, 1), padding=((1, 0), (0, 1)), dilation=(1, 1),
                         ceil_mode=False)
        elif kind == "Conv":
            x = conv(net, x, (2, 2))
        elif kind in ("Concat", "Add"):
            x = net.node(kind, x, x, **({"axis": 2} if kind == "Concat" else {}))
        elif kind == "Slice":
            x = net.node("Slice", x, axis=3, start=0, end=4, step=1)
        else:
            x = net.node(kind, x)
        same = data.draw(st.booleans())
        next_form, next_zero = (first, zero) if same else form()
        q, x = pair(net, x, scale if same else net.scale(0.02, 0.2), next_form, next_zero)
        outputs.append(q)
    check(net, *dict.fromkeys(outputs))


@pytest.mark.parametrize("kind", ["Pad", "Relu"])
def test_a_zero_point_below_the_least_integer_used(kind: str) -> None:
    net = Net()
    form = ("int8", -127, 127)
    _, x = pair(net, net.input((1, 2, 4, 4)), 0.1, form, -128)
    if kind == "Pad":
        x = net.node("Pad", x, paddings=((0, 0), (0, 0), (1, 1), (1, 1)), mode="constant", value=0.0)
    else:
        x = net.node("Relu", x)
    q, _ = pair(net, x, 0.1, form, -128)
    check(net, q)
