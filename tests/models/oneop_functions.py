"""Functions of one value, and SOFTMAX, at the corners of their attributes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tests.models.oneop_parts import LOW, NEARLY_5_PERCENT, Case, tensor
from tests.models.tflite_writer import write

Quantized = tuple[float, int]


def cases() -> Iterator[Case]:
    """Every case of a function of one tensor."""
    yield from _softmax()
    yield from _relu()
    for dtype in ("int8", "uint8"):
        yield from _leaky_relu(dtype)
        yield from _hard_swish(dtype)
        yield from _tables(dtype)


def _softmax() -> Iterator[Case]:
    for dtype in ("int8", "uint8"):
        for label, shape, scale, beta in (
            ("", (4, 64), 0.1, 1.0), ("-beta-half", (4, 64), 0.1, 0.5), ("-beta-10", (4, 64), 0.04, 10.0),
            ("-steep", (4, 64), 2.0, 1.0), ("-flat", (4, 64), 0.0003, 1.0), ("-one", (3, 1), 0.1, 1.0),
            ("-pair", (256, 2), 0.07, 1.0), ("-wide", (1, 511), 0.1, 1.0), ("-image", (1, 3, 4, 12), 0.2, 1.0),
            ("-saturated-multiplier", (4, 64), 40.0, 1.0),
        ):
            out = tensor(shape, dtype, 1 / 256, LOW[dtype])
            yield (f"SOFTMAX-{dtype}{label}",
                   write("SOFTMAX", 2 if dtype == "int8" else 1, [tensor(shape, dtype, scale)], out, "SoftmaxOptions",
                         {"Beta": beta}))


def _relu() -> Iterator[Case]:
    for kind in ("RELU", "RELU6", "RELU_N1_TO_1"):
        for dtype in ("int8", "uint8"):
            low = LOW[dtype]
            for label, x, out in (
                ("", (0.0431, low + 77), (0.0275, low)), ("-same", (0.0431, low + 77), (0.0431, low + 77)),
                ("-ties", (0.125, low + 64), (0.25, low + 11)),
                ("-near-ties", (NEARLY_5_PERCENT, low + 64), (0.02, low)),
                ("-finer", (0.0431, low + 200), (0.0012, low + 40)),
                ("-six-beyond-range", (0.0235, low + 128), (0.01, low)), ("-ratio", (0.1, low + 20), (0.3, low + 3)),
            ):
                yield f"{kind}-{dtype}{label}", write(kind, 2 if dtype == "int8" and kind != "RELU_N1_TO_1" else 1,
                                                      [tensor((4, 64), dtype, *x)], tensor((4, 64), dtype, *out))


def _function(
    kind: str, name: str, dtype: str, x: Quantized, out: Quantized, options: str = "",
    fields: Mapping[str, float] | None = None, version: int = 1,
) -> Case:
    """Of all 256 values; zero points count from the type's least value."""
    source, target = (tensor((4, 64), dtype, scale, LOW[dtype] + zero) for scale, zero in (x, out))
    return f"{kind}-{dtype}{name}", write(kind, version, [source], target, options, fields)


def _leaky_relu(dtype: str) -> Iterator[Case]:
    for label, alpha, x, out in (
        ("", 0.1, (0.0431, 77), (0.0275, 100)), ("-same", 0.2, (0.05, 128), (0.05, 128)),
        ("-ties", 0.5, (0.125, 64), (0.25, 90)), ("-near-ties", 0.5, (NEARLY_5_PERCENT, 64), (0.02, 128)),
        ("-zero", 0.0, (0.0431, 128), (0.0275, 0)), ("-steep", 3.0, (0.0431, 128), (0.1, 200)),
        ("-one", 1.0, (0.07, 3), (0.05, 255)), ("-saturating", 0.3, (0.9, 128), (0.01, 128)),
    ):
        yield _function("LEAKY_RELU", label, dtype, x, out, "LeakyReluOptions", {"Alpha": alpha}, version=2)


def _hard_swish(dtype: str) -> Iterator[Case]:
    for label, x, out in (
        ("", (0.05, 128), (0.03, 12)), ("-fine", (0.003, 128), (0.002, 100)), ("-coarse", (0.4, 100), (0.3, 5)),
        ("-ends", (0.03, 0), (0.03, 0)), ("-negative", (0.02, 255), (0.002, 250)),
        ("-ties", (3 / 128, 128), (3 / 256, 64)),
        ("-gate-saturates", (1.7, 128), (1.5, 128)), ("-almost-zero", (0.0001, 128), (0.01, 128)),
        ("-output-saturates", (0.1, 128), (0.001, 30)),
    ):
        yield _function("HARD_SWISH", label, dtype, x, out, "HardSwishOptions")


def _tables(dtype: str) -> Iterator[Case]:
    for label, x in (
        ("", (0.0431, 100)), ("-tenths", (0.1, 128)), ("-fine", (0.0003, 128)), ("-steep", (1.7, 77)),
        ("-beyond-float32", (3e6, 128)), ("-one-sided", (0.05, 0)), ("-other-side", (0.05, 255)),
    ):
        yield _function("LOGISTIC", label, dtype, x, (1 / 256, 0))
        yield _function("TANH", label, dtype, x, (1 / 128, 128))
    yield _function("TANH", "-other-scale", dtype, (0.03, 99), (0.0123, 40))
    yield _function("TANH", "-finest", dtype, (1e-38, 128), (1e-38, 128))
