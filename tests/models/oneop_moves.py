"""Ops that only move elements, at the corners of their attributes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from tests.models.oneop_parts import LOW, Case, tensor
from tests.models.tflite_writer import Field, TensorSpec, write

Shape = tuple[int, ...]

#: Operators that had int8 from their first version on.
_FIRST_VERSION = ("EXPAND_DIMS", "SQUEEZE", "TILE", "DEPTH_TO_SPACE")


def cases() -> Iterator[Case]:
    """Every moving case."""
    yield from _reshape_and_pad()
    for dtype in ("int8", "uint8"):
        yield from _shapes(dtype)
        yield from _slices(dtype)
        yield from _parts(dtype)
        yield from _repetitions(dtype)
        yield from _blocks_and_mirrors(dtype)


def _public(values: npt.ArrayLike) -> TensorSpec:
    data = np.array(values, np.int32)
    return TensorSpec(data.shape, "int32", data=data)


def _move(
    kind: str, name: str, dtype: str, shape: Shape, out: Shape | Sequence[Shape], public: Sequence[npt.ArrayLike],
    options: str = "", fields: dict[str, Field] | None = None, public_first: bool = False, copies: int = 1,
) -> Case:
    """``out`` is a shape, or a list of one per output; the input is read ``copies`` times over."""
    shapes = [out] if isinstance(out, tuple) else list(out)
    activations = [tensor(shape, dtype, 0.04, LOW[dtype] + 9) for _ in range(copies)]
    constants = [_public(values) for values in public]
    outputs = [tensor(extents, dtype, 0.04, LOW[dtype] + 9) for extents in shapes]
    inputs = [*constants, *activations] if public_first else [*activations, *constants]
    version = 1 if dtype == "uint8" or kind in _FIRST_VERSION else 2
    return f"{kind}-{dtype}-{name}", write(kind, version, inputs, outputs, options, fields)


def _reshape_and_pad() -> Iterator[Case]:
    for dtype in ("int8", "uint8"):
        x = tensor((1, 4, 6, 5), dtype, 0.04, LOW[dtype] + 9)
        for label, target, stated in (
            ("flat", (1, 120), (1, 120)), ("inferred", (4, 30), (4, -1)), ("up", (1, 2, 2, 6, 5), (1, 2, 2, 6, 5)),
        ):
            shape = TensorSpec((len(stated),), "int32", data=np.array(stated, np.int32))
            out = tensor(target, dtype, 0.04, LOW[dtype] + 9)
            yield f"RESHAPE-{dtype}-{label}", write("RESHAPE", 1, [x, shape], out, "ReshapeOptions")
        for label, shape_in, paddings in (
            ("image", (1, 4, 6, 5), ((0, 0), (1, 2), (3, 0), (0, 0))),
            ("every-axis", (2, 3, 2, 2), ((1, 0), (0, 1), (2, 2), (1, 3))),
            ("matrix", (3, 5), ((0, 2), (1, 0))),
            ("nothing", (1, 4, 6, 5), ((0, 0), (0, 0), (0, 0), (0, 0))),
        ):
            data = np.array(paddings, np.int32)
            extents = tuple(n + a + b for n, (a, b) in zip(shape_in, paddings, strict=True))
            yield f"PAD-{dtype}-{label}", write(
                "PAD", 2 if dtype == "int8" else 1,
                [tensor(shape_in, dtype, 0.04, LOW[dtype] + 9), TensorSpec(data.shape, "int32", data=data)],
                tensor(extents, dtype, 0.04, LOW[dtype] + 9), "PadOptions")


def _shapes(dtype: str) -> Iterator[Case]:
    for name, shape, permutation in (
        ("matrix", (5, 7), (1, 0)), ("channels-first", (2, 3, 4, 5), (0, 3, 1, 2)), ("identity", (2, 3, 4), (0, 1, 2)),
        ("rank-5", (2, 3, 1, 4, 2), (4, 2, 0, 3, 1)), ("reversed", (3, 4, 5), (2, 1, 0)),
    ):
        out = tuple(shape[axis] for axis in permutation)
        yield _move("TRANSPOSE", name, dtype, shape, out, [permutation], "TransposeOptions")
    for name, shape, axis, out in (
        ("first", (3, 4), 0, (1, 3, 4)), ("middle", (3, 4), 1, (3, 1, 4)), ("last", (3, 4), -1, (3, 4, 1)),
    ):
        yield _move("EXPAND_DIMS", name, dtype, shape, out, [axis], "ExpandDimsOptions")
    yield _move("SQUEEZE", "every-axis", dtype, (1, 1, 1, 9), (9,), [], "SqueezeOptions")
    yield _move("SQUEEZE", "named-axes", dtype, (1, 4, 1, 9), (1, 4, 9), [], "SqueezeOptions", {"SqueezeDims": (-2,)})


def _slices(dtype: str) -> Iterator[Case]:
    for name, shape, begin, size, out in (
        ("image", (2, 6, 7, 3), (1, 2, 0, 1), (1, 3, 7, 2), (1, 3, 7, 2)),
        ("rest", (6, 9), (2, 3), (-1, -1), (4, 6)), ("vector", (20,), (19,), (1,), (1,)),
    ):
        yield _move("SLICE", name, dtype, shape, out, [begin, size], "SliceOptions")
    # begin, end, strides, masks (begin, end, shrink)
    for name, shape, begin, end, strides, masks, out in (
        ("steps", (2, 9, 8, 3), (0, 1, 0, 0), (2, 9, 7, 3), (1, 3, 2, 1), (0, 0, 0), (2, 3, 4, 3)),
        ("backwards", (7, 6), (-1, 4), (-8, 0), (-1, -2), (0, 0, 0), (7, 2)),
        ("open", (5, 6, 4), (3, 2, 1), (1, 3, 3), (1, 1, 1), (0b011, 0b110, 0), (1, 6, 3)),
        ("open-backwards", (5, 6), (0, 0), (0, 0), (-2, -1), (0b11, 0b11, 0), (3, 6)),
        ("one-position", (4, 5, 6), (0, -2, 0), (4, 0, 6), (1, 1, 1), (0, 0, 0b010), (4, 6)),
        ("to-a-vector", (4, 5, 6), (1, 2, 0), (2, 3, 6), (1, 1, 2), (0, 0, 0b011), (3,)),
        ("beyond-the-ends", (5, 6), (-9, 2), (99, 99), (1, 1), (0, 0, 0), (5, 4)),
        ("fewer-axes", (4, 5, 6), (1, 3), (3, 0), (1, 1), (0, 0, 0b10), (2, 6)),
    ):
        fields: dict[str, Field] = {"BeginMask": masks[0], "EndMask": masks[1], "ShrinkAxisMask": masks[2]}
        yield _move("STRIDED_SLICE", name, dtype, shape, out, [begin, end, strides], "StridedSliceOptions", fields)


def _parts(dtype: str) -> Iterator[Case]:
    for name, shape, axis, out in (
        ("channels", (1, 3, 4, 6), 3, [(1, 3, 4, 2)] * 3), ("rows", (4, 5), -2, [(2, 5)] * 2),
        ("one", (4, 5), 1, [(4, 5)]),
    ):
        yield _move("SPLIT", name, dtype, shape, out, [axis], "SplitOptions", {"NumSplits": len(out)}, True)
    for name, shape, sizes, axis, out in (
        ("channels", (1, 3, 4, 6), (1, 3, 2), -1, [(1, 3, 4, 1), (1, 3, 4, 3), (1, 3, 4, 2)]),
        ("rest", (7, 5), (2, -1), 0, [(2, 5), (5, 5)]),
    ):
        yield _move("SPLIT_V", name, dtype, shape, out, [sizes, axis], "SplitVOptions", {"NumSplits": len(out)})
    for name, shape, axis, out in (("first", (3, 4, 5), 0, (4, 5)), ("last", (4, 3), -1, (4,))):
        fields = {"Num": 3, "Axis": axis}
        yield _move("UNPACK", name, dtype, shape, [out] * 3, [], "UnpackOptions", fields)
    for name, shape, axis, out in (
        ("first", (4, 5), 0, (3, 4, 5)), ("middle", (4, 5), 1, (4, 3, 5)), ("last", (4, 5), -1, (4, 5, 3)),
        ("vectors", (9,), 0, (3, 9)),
    ):
        fields = {"ValuesCount": 3, "Axis": axis}
        yield _move("PACK", name, dtype, shape, out, [], "PackOptions", fields, copies=3)


def _repetitions(dtype: str) -> Iterator[Case]:
    for name, shape, multiples in (("image", (1, 2, 3, 4), (2, 1, 3, 2)), ("nothing", (3, 5), (1, 1)),
                                   ("vector", (5,), (4,))):
        out = tuple(extent * times for extent, times in zip(shape, multiples, strict=True))
        yield _move("TILE", name, dtype, shape, out, [multiples], "TileOptions")
    for name, size, out in (("doubled", (3, 4), (6, 8)), ("odd", (5, 7), (12, 3)), ("one", (4, 4), (1, 1)),
                            ("same", (5, 4), (5, 4)), ("tenths", (10, 3), (37, 29))):
        for label, corners, centers in (("", False, False), ("-corners", True, False), ("-centers", False, True)):
            options: dict[str, Field] = {"AlignCorners": corners, "HalfPixelCenters": centers}
            yield _move("RESIZE_NEAREST_NEIGHBOR", f"{name}{label}", dtype, (2, *size, 3), (2, *out, 3), [out],
                        "ResizeNearestNeighborOptions", options)


def _blocks_and_mirrors(dtype: str) -> Iterator[Case]:
    for block, small in ((2, (2, 3, 5, 4)), (3, (1, 2, 1, 2)), (1, (1, 2, 3, 4))):
        batch, rows, columns, channels = small
        large = (batch, rows * block, columns * block, channels)
        deep = (batch, rows, columns, channels * block**2)
        fields: dict[str, Field] = {"BlockSize": block}
        yield _move("SPACE_TO_DEPTH", f"{block}", dtype, large, deep, [], "SpaceToDepthOptions", fields)
        yield _move("DEPTH_TO_SPACE", f"{block}", dtype, deep, large, [], "DepthToSpaceOptions", fields)
    for mode, label, most in ((0, "reflect", 1), (1, "symmetric", 0)):
        for name, shape, paddings in (
            ("image", (1, 4, 6, 3), ((0, 0), (1, 2), (3, 0), (0, 0))),
            ("farthest", (3, 5), ((3 - most, 3 - most), (5 - most, 1))), ("nothing", (3, 5), ((0, 0), (0, 0))),
        ):
            out = tuple(n + a + b for n, (a, b) in zip(shape, paddings, strict=True))
            yield _move("MIRROR_PAD", f"{label}-{name}", dtype, shape, out, [paddings], "MirrorPadOptions",
                        {"Mode": mode})
