"""AVERAGE_POOL_2D, MAX_POOL_2D and MEAN at the corners of their attributes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tflite

from tests.models.oneop_parts import ACTIVATION, HIGH, LOW, NEARLY_5_PERCENT, PADDING, Case, Pair, out_extent, tensor
from tests.models.tflite_writer import TensorSpec, write


def cases() -> Iterator[Case]:
    """Every pooling case."""
    yield from _pools()
    yield from _mean()
    yield from _reduce()
    yield from _arg_max()


def _pool(
    name: str, kind: str, dtype: str, shape: tuple[int, int, int, int], window: Pair, stride: Pair, padding: str,
    activation: str = "NONE", zero_point: int | None = None,
) -> Case:
    x = tensor(shape, dtype, 0.047, zero_point)
    rows, columns = (out_extent(shape[1 + i], window[i], stride[i], 1, padding) for i in (0, 1))
    out = tensor((shape[0], rows, columns, shape[3]), dtype, 0.047, zero_point)
    fields = {
        "Padding": PADDING[padding], "StrideH": stride[0], "StrideW": stride[1], "FilterHeight": window[0],
        "FilterWidth": window[1], "FusedActivationFunction": ACTIVATION[activation],
    }
    return f"{kind}-{name}", write(kind, 2 if dtype == "int8" else 1, [x], out, "Pool2DOptions", fields)


def _pools() -> Iterator[Case]:
    for kind in ("AVERAGE_POOL_2D", "MAX_POOL_2D"):
        for dtype in ("int8", "uint8"):
            yield _pool(f"{dtype}-halving", kind, dtype, (1, 8, 16, 4), (2, 2), (2, 2), "VALID")
            yield _pool(f"{dtype}-partial-windows", kind, dtype, (1, 7, 8, 5), (3, 3), (2, 2), "SAME")
            yield _pool(f"{dtype}-overlapping", kind, dtype, (2, 6, 7, 3), (3, 2), (1, 1), "SAME")
            yield _pool(f"{dtype}-window-beyond-image", kind, dtype, (1, 3, 4, 6), (5, 7), (1, 2), "SAME")
            yield _pool(f"{dtype}-global", kind, dtype, (1, 7, 7, 16), (7, 7), (7, 7), "VALID")
            yield _pool(f"{dtype}-skipping", kind, dtype, (1, 9, 9, 3), (2, 2), (4, 3), "VALID")
            for activation in ("RELU", "RELU6", "RELU_N1_TO_1"):
                yield _pool(f"{dtype}-{activation}", kind, dtype, (1, 8, 16, 2), (2, 2), (1, 1), "VALID", activation,
                            LOW[dtype] + 20)


def _mean_of(
    name: str, dtype: str, shape: tuple[int, ...], axes: tuple[int, ...], keep: bool, scales: tuple[float, float],
    zero_points: tuple[int | None, int | None] = (None, None),
) -> Case:
    x = tensor(shape, dtype, scales[0], zero_points[0])
    reduced = {axis % len(shape) for axis in axes}
    kept = tuple(1 if i in reduced else extent for i, extent in enumerate(shape) if keep or i not in reduced)
    axis = TensorSpec((len(axes),), "int32", data=np.array(axes, np.int32))
    out = tensor(kept, dtype, scales[1], zero_points[1])
    return f"MEAN-{name}", write("MEAN", 2 if dtype == "int8" else 1, [x, axis], out, "ReducerOptions",
                                 {"KeepDims": keep})


def _mean() -> Iterator[Case]:
    for dtype in ("int8", "uint8"):
        low, high = LOW[dtype], HIGH[dtype]
        yield _mean_of(f"{dtype}-image", dtype, (1, 7, 7, 16), (1, 2), True, (0.0235, 0.0117))
        yield _mean_of(f"{dtype}-image-dropped", dtype, (2, 5, 6, 9), (1, 2), False, (0.0235, 0.0117))
        yield _mean_of(f"{dtype}-same-scale", dtype, (1, 4, 4, 32), (1, 2), False, (0.05, 0.05))
        yield _mean_of(f"{dtype}-same-scale-ties", dtype, (1, 2, 1, 256), (1, 2), False, (0.05, 0.05))
        yield _mean_of(f"{dtype}-near-ties", dtype, (1, 1, 1, 256), (1, 2), False, (NEARLY_5_PERCENT, 0.02))
        yield _mean_of(f"{dtype}-channels", dtype, (1, 6, 5, 12), (3,), True, (0.0235, 0.031))
        yield _mean_of(f"{dtype}-negative-axes", dtype, (1, 6, 5, 12), (-1, 1), False, (0.0235, 0.031))
        yield _mean_of(f"{dtype}-everything-but-batch", dtype, (2, 3, 5, 7), (1, 2, 3), False, (0.0235, 0.003))
        yield _mean_of(f"{dtype}-one-axis", dtype, (3, 33, 7), (1,), False, (0.0235, 0.02))
        yield _mean_of(f"{dtype}-large", dtype, (1, 64, 63, 2), (2, 1), True, (0.0235, 0.0008))
        yield _mean_of(f"{dtype}-zero-points", dtype, (1, 7, 7, 16), (1, 2), True, (0.02, 0.03), (low, high))
        yield _mean_of(f"{dtype}-zero-points-crossed", dtype, (1, 7, 7, 16), (1, 2), True, (0.03, 0.004), (high, low))


def _reduce() -> Iterator[Case]:
    for kind in ("REDUCE_MAX", "REDUCE_MIN"):
        for dtype in ("int8", "uint8"):
            for label, shape, axes, keep, out in (
                ("image", (1, 5, 6, 7), (1, 2), True, (1, 1, 1, 7)), ("dropped", (2, 3, 4, 5), (2, 1), False, (2, 5)),
                ("last", (3, 256), (-1,), False, (3,)), ("first", (9, 4), (0,), False, (4,)),
                ("one", (3, 1, 4), (1,), False, (3, 4)), ("apart", (3, 4, 5), (0, 2), False, (4,)),
            ):
                axis = TensorSpec((len(axes),), "int32", data=np.array(axes, np.int32))
                yield f"{kind}-{dtype}-{label}", write(
                    kind, 2 if dtype == "int8" else 1, [tensor(shape, dtype), axis], tensor(out, dtype),
                    "ReducerOptions", {"KeepDims": keep})


def _arg_max() -> Iterator[Case]:
    for dtype in ("int8", "uint8"):
        for label, shape, axis, out, kind in (
            ("classes", (4, 10), -1, (4,), "int64"), ("pixels", (2, 3, 4, 5), 3, (2, 3, 4), "int32"),
            ("rows", (2, 7, 3), 1, (2, 3), "int64"), ("wide", (1, 300), 1, (1,), "int32"),
            ("first", (6, 2), 0, (2,), "int64"),
        ):
            number = tflite.TensorType.INT64 if kind == "int64" else tflite.TensorType.INT32
            yield f"ARG_MAX-{dtype}-{label}", write(
                "ARG_MAX", 2 if dtype == "int8" else 1, [tensor(shape, dtype), TensorSpec((), "int32",
                data=np.array(axis, np.int32))], TensorSpec(out, kind), "ArgMaxOptions", {"OutputType": number})
