"""MUL, BATCH_MATMUL, PRELU and RESIZE_BILINEAR at the corners of their attributes."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np

from tests.models.oneop_parts import ACTIVATION, HIGH, LOW, MIDDLE, NEARLY_5_PERCENT, Case, tensor
from tests.models.tflite_writer import Field, TensorSpec, write

Shape = tuple[int, ...]
Scales = tuple[float, float, float]
Zeros = tuple[int | None, int | None, int | None]


def cases() -> Iterator[Case]:
    """Every case of a product, and of a mixture."""
    for dtype in ("int8", "uint8"):
        yield from _mul(dtype)
        yield from _prelu(dtype)
    yield from _batch_matmul()
    yield from _resize_bilinear()


def _constant(name: str, spec: TensorSpec) -> TensorSpec:
    """The tensor, with data that reach both ends of the type."""
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    data = generator.integers(LOW[spec.dtype], HIGH[spec.dtype] + 1, spec.shape).astype(spec.dtype)
    data.reshape(-1)[:2] = [LOW[spec.dtype], HIGH[spec.dtype]][: data.size]
    return TensorSpec(spec.shape, spec.dtype, spec.scale, spec.zero_point, 0, data)


def _product(
    name: str, dtype: str, first: Shape, second: Shape | None, scales: Scales, zeros: Zeros = (None, None, None),
    activation: str = "NONE", constant: str = "",
) -> Case:
    """``second`` None multiplies the first input by itself; ``constant`` is ``"first"`` or ``"second"``."""
    x = tensor(first, dtype, scales[0], zeros[0])
    y = x if second is None else tensor(second, dtype, scales[1], zeros[1])
    if constant:
        x, y = (_constant(name, x), y) if constant == "first" else (x, _constant(name, y))
    out = tensor(np.broadcast_shapes(x.shape, y.shape), dtype, scales[2], zeros[2])
    fields = {"FusedActivationFunction": ACTIVATION[activation]}
    return f"MUL-{dtype}-{name}", write("MUL", 2 if dtype == "int8" else 1, [x, y], out, "MulOptions", fields)


def _mul(dtype: str) -> Iterator[Case]:
    image, scales = (1, 8, 8, 8), (0.0431, 0.0275, 0.0612)
    low, high = LOW[dtype], HIGH[dtype]
    yield _product("plain", dtype, image, image, scales)
    yield _product("every-pair", dtype, (256, 1), (1, 256), (0.05, 0.03, 0.17))
    yield _product("square", dtype, image, None, (0.05, 0.05, 0.11))
    for label, second in (
        ("channels", (8,)), ("excitation", (1, 1, 1, 8)), ("rows", (1, 8, 1, 1)), ("scalar", (1, 1, 1, 1)),
        ("rank0", ()),
    ):
        yield _product(f"broadcast-{label}", dtype, image, second, scales)
        yield _product(f"broadcast-{label}-first", dtype, second or (1,), image, scales)
    yield _product("broadcast-both", dtype, (1, 8, 1, 4), (1, 1, 6, 4), scales)
    yield _product("broadcast-six-axes", dtype, (2, 1, 2, 3, 1, 4), (1, 3, 2, 1, 2, 1), scales)
    for label in ("first", "second"):
        yield _product(f"constant-{label}", dtype, image, image, scales, constant=label)
    yield _product("constant-channels", dtype, image, (8,), scales, constant="second")
    # multipliers 1/2, 1/4, 1/64: exact ties on both sides of the zero point
    for bits in (1, 2, 6):
        yield _product(f"ties-{bits}", dtype, (256, 1), (1, 256), (0.5, 0.25, 0.125 * 2.0**bits))
    yield _product("ties-zero-points", dtype, (256, 1), (1, 256), (0.5, 0.5, 1.0), (low + 3, high - 7, low + 101))
    yield _product("near-ties", dtype, (256, 1), (1, 256), (NEARLY_5_PERCENT, 0.1, 0.01))
    yield _product("near-ties-finer", dtype, (256, 1), (1, 256), (NEARLY_5_PERCENT, 0.02, 0.004))
    yield _product("saturating", dtype, image, image, (0.9, 0.7, 0.01))
    yield _product("above-one", dtype, (256, 1), (1, 256), (0.9, 0.7, 0.3))
    yield _product("tiny", dtype, image, image, (2.0**-14, 0.01, 3.0))
    yield _product("zero-points", dtype, (256, 1), (1, 256), (0.04, 0.03, 0.1), (low, high, low))
    yield _product("zero-points-crossed", dtype, (256, 1), (1, 256), (0.04, 0.03, 0.1), (high, low, high))
    for activation in ("RELU", "RELU6", "RELU_N1_TO_1"):
        yield _product(activation, dtype, image, image, scales, (None, None, low + 40), activation)


def _matrices(
    name: str, x: Shape, y: Shape, out: Shape, *, adj_x: bool = False, adj_y: bool = False,
    scales: Scales = (0.0431, 0.0275, 0.0612), zeros: Zeros = (3, -5, 7), constant: str = "",
) -> Case:
    first, second = tensor(x, "int8", scales[0], zeros[0]), tensor(y, "int8", scales[1], zeros[1])
    if constant:
        first, second = (
            (_constant(name, first), second) if constant == "first" else (first, _constant(name, second)))
    fields: dict[str, Field] = {"AdjX": adj_x, "AdjY": adj_y}
    return f"BATCH_MATMUL-int8-{name}", write(
        "BATCH_MATMUL", 2, [first, second], tensor(out, "int8", scales[2], zeros[2]), "BatchMatMulOptions", fields)


def _batch_matmul() -> Iterator[Case]:
    yield _matrices("plain", (5, 7), (7, 4), (5, 4))
    for adj_x in (False, True):
        for adj_y in (False, True):
            x, y = (3, 7, 5) if adj_x else (3, 5, 7), (3, 4, 7) if adj_y else (3, 7, 4)
            yield _matrices(f"adj-{adj_x:d}{adj_y:d}", x, y, (3, 5, 4), adj_x=adj_x, adj_y=adj_y)
    yield _matrices("attention", (1, 2, 9, 8), (1, 2, 9, 8), (1, 2, 9, 9), adj_y=True)
    yield _matrices("attended", (1, 2, 9, 9), (1, 2, 9, 8), (1, 2, 9, 8))
    yield _matrices("broadcast-second", (2, 3, 5, 7), (7, 4), (2, 3, 5, 4))
    yield _matrices("broadcast-first", (5, 7), (2, 3, 7, 4), (2, 3, 5, 4))
    yield _matrices("broadcast-both", (2, 1, 5, 7), (1, 3, 7, 4), (2, 3, 5, 4))
    yield _matrices("five-axes", (2, 1, 2, 3, 5), (1, 2, 2, 5, 4), (2, 2, 2, 3, 4))
    for adj_y in (False, True):
        yield _matrices(f"constant-second-{adj_y:d}", (2, 5, 7), (4, 7) if adj_y else (7, 4), (2, 5, 4), adj_y=adj_y,
                        constant="second")
        yield _matrices(f"constant-batches-{adj_y:d}", (2, 5, 7), (2, 4, 7) if adj_y else (2, 7, 4), (2, 5, 4),
                        adj_y=adj_y, constant="second")
    yield _matrices("constant-first", (5, 7), (2, 7, 4), (2, 5, 4), constant="first")
    yield _matrices("vectors", (4, 1, 16), (4, 16, 1), (4, 1, 1))
    yield _matrices("outer", (256, 1), (1, 256), (256, 256))
    yield _matrices("outer-ties", (256, 1), (1, 256), (256, 256), scales=(0.5, 0.25, 1.0), zeros=(-128, 127, 3))
    yield _matrices("near-ties", (256, 1), (1, 256), (256, 256), scales=(NEARLY_5_PERCENT, 0.1, 0.01), zeros=(0, 0, 0))
    yield _matrices("saturating", (2, 5, 70), (2, 70, 3), (2, 5, 3), scales=(0.9, 0.7, 0.01))
    yield _matrices("zero-points", (2, 5, 33), (2, 33, 3), (2, 5, 3), scales=(0.04, 0.03, 0.9), zeros=(-128, 127, -128))


def _negative_slopes(
    name: str, dtype: str, shape: Shape, alpha: Shape, scales: Scales, zeros: Zeros = (None, None, None),
    constant: bool = True,
) -> Case:
    x, slopes = tensor(shape, dtype, scales[0], zeros[0]), tensor(alpha, dtype, scales[1], zeros[1])
    slopes = _constant(name, slopes) if constant else slopes
    return f"PRELU-{dtype}-{name}", write("PRELU", 1, [x, slopes], tensor(shape, dtype, scales[2], zeros[2]))


def _prelu(dtype: str) -> Iterator[Case]:
    low, high = LOW[dtype], HIGH[dtype]
    image, scales = (1, 8, 8, 8), (0.0431, 0.0031, 0.0275)
    yield _negative_slopes("channels", dtype, image, (1, 1, 8), scales)
    yield _negative_slopes("rank-4", dtype, image, (1, 1, 1, 8), scales)
    yield _negative_slopes("one", dtype, image, (1, 1, 1), scales)
    yield _negative_slopes("cells", dtype, image, (8, 8, 8), scales)
    yield _negative_slopes("rows", dtype, image, (8, 1, 1), scales)
    yield _negative_slopes("every-pair", dtype, (256, 256), (256,), scales)
    yield _negative_slopes("computed", dtype, (256, 64), (64,), scales, constant=False)
    yield _negative_slopes("ties", dtype, (256, 256), (256,), (0.5, 0.25, 1.0))
    yield _negative_slopes("near-ties", dtype, (256, 256), (256,), (NEARLY_5_PERCENT, 0.2, 0.02))
    yield _negative_slopes("steep", dtype, (256, 256), (256,), (0.0431, 0.5, 0.0275))
    yield _negative_slopes("saturating", dtype, (256, 256), (256,), (0.9, 0.02, 0.01), (low + 90, None, low + 200))
    yield _negative_slopes("zero-points", dtype, (256, 256), (256,), scales, (low + 100, low, high))
    yield _negative_slopes("zero-points-crossed", dtype, (256, 256), (256,), scales, (low + 200, high, low))
    yield _negative_slopes("never-negative", dtype, (256, 16), (16,), scales, (low, None, low + 9))
    yield _negative_slopes("never-positive", dtype, (256, 16), (16,), scales, (high, None, low + 90))


def mixed(
    name: str, dtype: str, size: tuple[int, int], target: tuple[int, int], corners: bool, centers: bool,
    zero_point: int | None = None, batch: int = 1, channels: int = 3,
) -> Case:
    x, out = (tensor((batch, *extents, channels), dtype, 0.05, zero_point) for extents in (size, target))
    stated = TensorSpec((2,), "int32", data=np.array(target, np.int32))
    fields: dict[str, Field] = {"AlignCorners": corners, "HalfPixelCenters": centers}
    version = 3 if centers else 2 if dtype == "int8" else 1
    return f"RESIZE_BILINEAR-{dtype}-{name}", write("RESIZE_BILINEAR", version, [x, stated], out,
                                                    "ResizeBilinearOptions", fields)


def _resize_bilinear() -> Iterator[Case]:
    modes = (("", False, False), ("-corners", True, False), ("-centers", False, True))
    for label, corners, centers in modes:
        for name, size, target in (
            ("doubled", (3, 4), (6, 8)), ("odd", (5, 7), (12, 3)), ("one", (4, 4), (1, 1)), ("same", (5, 4), (5, 4)),
            ("tenths", (10, 3), (37, 29)), ("from-one", (1, 1), (3, 5)), ("halved", (8, 6), (4, 3)),
            ("columns", (4, 5), (4, 11)), ("thirds", (64, 2), (192, 3)),
        ):
            yield mixed(f"{name}{label}", "int8", size, target, corners, centers)
        yield mixed(f"batch{label}", "int8", (3, 5), (8, 9), corners, centers, 17, 2, 4)
    for label, corners, centers in modes:
        for name, size, target in (("doubled", (3, 4), (6, 8)), ("eightfold", (3, 2), (24, 16)),
                                   ("halved", (8, 6), (4, 3)), ("same", (5, 4), (5, 4)), ("one", (4, 4), (1, 1))):
            # between aligned corners there is a step less than there are cells
            grown = tuple((n - 1) * (m // n) + 1 for n, m in zip(size, target, strict=True))
            if not corners or name in ("same", "one"):
                yield mixed(f"{name}{label}", "uint8", size, target, corners, centers, MIDDLE["uint8"])
            elif name in ("doubled", "eightfold"):
                yield mixed(f"{name}{label}", "uint8", size, (grown[0], grown[1]), corners, centers)
