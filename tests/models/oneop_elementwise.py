"""Ops that treat elements one by one, and concatenations, at the corners of their attributes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tests.models.oneop_parts import ACTIVATION, HIGH, LOW, MIDDLE, NEARLY_5_PERCENT, Case, tensor
from tests.models.tflite_writer import TensorSpec, write


def cases() -> Iterator[Case]:
    """Every elementwise case."""
    for kind in ("ADD", "SUB"):
        yield from _add(kind)
    yield from _maximum()
    yield from _concatenation()
    yield from _quantize()


def _sum(
    kind: str, name: str, dtype: str, first: tuple[int, ...], second: tuple[int, ...] | None,
    scales: tuple[float, float, float],
    zero_points: tuple[int | None, int | None, int | None] = (None, None, None), activation: str = "NONE",
) -> Case:
    """``second`` None adds the first input to itself."""
    x = tensor(first, dtype, scales[0], zero_points[0])
    y = x if second is None else tensor(second, dtype, scales[1], zero_points[1])
    out = tensor(np.broadcast_shapes(first, y.shape), dtype, scales[2], zero_points[2])
    fields = {"FusedActivationFunction": ACTIVATION[activation], "PotScaleInt16": False}
    version = 2 if dtype == "int8" else 1
    return f"{kind}-{name}", write(kind, version, [x, y], out, f"{kind.capitalize()}Options", fields)


def _add(kind: str) -> Iterator[Case]:
    image = (1, 8, 8, 8)
    for dtype in ("int8", "uint8"):
        low, high = LOW[dtype], HIGH[dtype]
        yield _sum(kind, f"{dtype}", dtype, image, image, (0.0431, 0.0275, 0.0612))
        yield _sum(kind, f"{dtype}-equal-scales", dtype, image, image, (0.05, 0.05, 0.05))
        yield _sum(kind, f"{dtype}-to-itself", dtype, image, None, (0.05, 0.05, 0.1))
        for label, second in (("channels", (8,)), ("rows", (1, 8, 1, 1)), ("scalar", (1, 1, 1, 1)), ("rank0", ())):
            yield _sum(kind, f"{dtype}-broadcast-{label}", dtype, image, second, (0.0431, 0.0275, 0.0612))
        yield _sum(kind, f"{dtype}-broadcast-both", dtype, (1, 8, 1, 4), (1, 1, 6, 4), (0.0431, 0.0275, 0.0612))
        yield _sum(kind, f"{dtype}-first-scale-dominates", dtype, image, image, (1.7, 0.0007, 1.9))
        yield _sum(kind, f"{dtype}-second-scale-dominates", dtype, image, image, (2.0**-20, 0.9, 0.8))
        yield _sum(kind, f"{dtype}-ties", dtype, image, image, (0.5, 0.25, 1.0))
        yield _sum(kind, f"{dtype}-near-ties", dtype, (1, 256, 1, 1), (1, 1, 64, 1), (0.05, 0.03, 0.02))
        yield _sum(kind, f"{dtype}-saturating", dtype, image, image, (0.9, 0.7, 0.01))
        yield _sum(kind, f"{dtype}-zero-points", dtype, image, image, (0.04, 0.03, 0.05), (low, high, low))
        yield _sum(kind, f"{dtype}-zero-points-crossed", dtype, image, image, (0.04, 0.03, 0.05), (high, low, high))
        for activation in ("RELU", "RELU6", "RELU_N1_TO_1"):
            yield _sum(kind, f"{dtype}-{activation}", dtype, image, image, (0.0431, 0.0275, 0.0612),
                       activation=activation)


def _maximum() -> Iterator[Case]:
    for kind in ("MAXIMUM", "MINIMUM"):
        for dtype in ("int8", "uint8"):
            for label, first, second in (
                ("every-pair", (1, 256, 1), (1, 1, 256)), ("same-shape", (2, 3, 4, 5), (2, 3, 4, 5)),
                ("channels", (1, 4, 4, 8), (8,)), ("scalar", (3, 5), ()), ("first-broadcasts", (1, 1, 6), (4, 5, 6)),
            ):
                x, y = tensor(first, dtype), tensor(second, dtype)
                out = tensor(np.broadcast_shapes(first, second), dtype)
                version = 2 if dtype == "int8" else 1
                yield f"{kind}-{dtype}-{label}", write(kind, version, [x, y], out, "MaximumMinimumOptions")


def _concatenated(
    name: str, dtype: str, shapes: Sequence[tuple[int, ...]], axis: int, quantization: Sequence[tuple[float, int]],
    target: tuple[float, int],
) -> Case:
    inputs = [tensor(shape, dtype, *pair) for shape, pair in zip(shapes, quantization, strict=True)]
    extents = list(shapes[0])
    extents[axis] = sum(shape[axis] for shape in shapes)
    fields = {"Axis": axis, "FusedActivationFunction": ACTIVATION["NONE"]}
    version = 2 if dtype == "int8" else 1
    return f"CONCATENATION-{name}", write("CONCATENATION", version, inputs, tensor(tuple(extents), dtype, *target),
                                          "ConcatenationOptions", fields)


def _concatenation() -> Iterator[Case]:
    for dtype in ("int8", "uint8"):
        same = (0.04, MIDDLE[dtype] + 5)
        yield _concatenated(f"{dtype}-channels", dtype, [(1, 4, 4, 3), (1, 4, 4, 5)], 3, [same] * 2, same)
        yield _concatenated(f"{dtype}-last", dtype, [(2, 3), (2, 1), (2, 7)], -1, [same] * 3, same)
        yield _concatenated(f"{dtype}-rows", dtype, [(1, 2, 5), (1, 3, 5), (1, 1, 5), (1, 4, 5)], 1, [same] * 4, same)
    wide = [(1, 256), (1, 256), (1, 256)]
    yield _concatenated("uint8-rescaled", "uint8", wide, 1, [(0.0431, 100), (0.09, 3), (0.0275, 255)], (0.0612, 120))
    yield _concatenated("uint8-moved-zero-point", "uint8", wide, 1, [(0.05, 10), (0.05, 128), (0.05, 0)], (0.05, 128))
    yield _concatenated("uint8-rescaled-ties", "uint8", wide, 1, [(0.5, 1), (0.25, 7), (2.0, 128)], (1.0, 90))
    yield _concatenated("uint8-rescaled-near-ties", "uint8", wide, 1, [(NEARLY_5_PERCENT, z) for z in (0, 10, 77)],
                        (0.02, 0))
    yield _concatenated("uint8-rescaled-saturating", "uint8", wide, 1, [(7.0, 0), (1.0, 255), (0.01, 5)], (0.3, 128))


def _quantize() -> Iterator[Case]:
    def requantize(name: str, x: TensorSpec, out: TensorSpec, version: int = 2) -> Case:
        return f"QUANTIZE-{name}", write("QUANTIZE", version, [x], out, "QuantizeOptions")

    every = (4, 64)
    for source in ("int8", "uint8"):
        for target in ("int8", "uint8"):
            x = tensor(every, source, 0.0431, LOW[source] + 77)
            yield requantize(f"{source}-{target}", x, tensor(every, target, 0.0612, LOW[target] + 90))
            yield requantize(f"{source}-{target}-finer", x, tensor(every, target, 0.0071, LOW[target] + 250))
            yield requantize(f"{source}-{target}-coarser-ties", x, tensor(every, target, 0.0431 * 4))
            yield requantize(f"{source}-{target}-near-ties", tensor(every, source, NEARLY_5_PERCENT),
                             tensor(every, target, 0.02))
            yield requantize(f"{source}-{target}-same-scale", tensor(every, source), tensor(every, target))
            yield requantize(f"{source}-{target}-ratio-300", x, tensor(every, target, 0.0431 / 300))
    for target in ("int8", "uint8"):
        real = TensorSpec((4, 200), "float32")
        yield requantize(f"float32-{target}-ties", real, tensor((4, 200), target, 0.03125))
        yield requantize(f"float32-{target}-odd", real, tensor((4, 200), target, 0.0431, LOW[target] + 3))
        yield requantize(f"float32-{target}-coarse", real, tensor((4, 200), target, 1.7, HIGH[target]))
        for label, scale, zero_point in (("", 0.0431, LOW[target] + 77), ("-tiny", 1e-30, HIGH[target])):
            x = tensor(every, target, scale, zero_point)
            yield (f"DEQUANTIZE-{target}{label}",
                   write("DEQUANTIZE", 2, [x], TensorSpec(every, "float32"), "DequantizeOptions"))
