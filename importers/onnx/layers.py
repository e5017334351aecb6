"""Convolutions, products and pooling: ONNX's attributes, resolved to explicit strides, paddings and extents."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mpc_bridge.importers.onnx.build import Activation, Constant, Operand, Stored, UnsupportedNodeError
from mpc_bridge.importers.onnx.proto import MAX_RANK
from mpc_bridge.importers.onnx.site import MAX_STEP, Pairs, Site, shape_of


def spatial(site: Site, x: Activation) -> tuple[int, ...]:
    """The spatial extents of an image: one or two of them."""
    if len(x.shape) < 3:
        raise site.corrupt(f"its input has the shape {x.shape}")
    if len(x.shape) > 4:
        raise UnsupportedNodeError(f"{len(x.shape) - 2} spatial axes; 1 and 2 are supported")
    return x.shape[2:]


def paddings(site: Site, image: Sequence[int], window: Sequence[int], stride: Sequence[int]) -> Pairs:
    """Explicit padding of a window, dilation in its extents: ``pads``, or what ``auto_pad`` comes to."""
    mode = site.text("auto_pad", "NOTSET")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        pairs = []
        for extent, cells, step in zip(image, window, stride, strict=True):
            total = max((-(-extent // step) - 1) * step + cells - extent, 0)
            less, more = total // 2, total - total // 2
            pairs.append((less, more) if mode == "SAME_UPPER" else (more, less))
        return tuple(pairs)
    if mode not in ("NOTSET", "VALID"):
        raise site.corrupt(f"its auto_pad is '{mode}'")
    pads = (site.entries("pads") if mode == "NOTSET" else None) or (0,) * 2 * len(image)
    if len(pads) != 2 * len(image) or not all(0 <= pad <= MAX_STEP for pad in pads):
        raise site.corrupt(f"its pads are {pads[:8]}")
    return tuple(zip(pads[: len(image)], pads[len(image) :], strict=True))


def _window(site: Site, weights: Sequence[int]) -> tuple[int, ...]:
    stated = site.entries("kernel_shape")
    if stated is not None and stated != tuple(weights):
        raise site.corrupt(f"its kernel_shape {stated[:8]} is not that of its weights {tuple(weights)}")
    return tuple(weights)


def _weights(value: Operand, what: str = "weights") -> Stored | Constant:
    if isinstance(value, Activation):
        raise UnsupportedNodeError(f"{what} that are computed when the model runs")
    return value


def convolve(site: Site, x: Activation, weights: Operand, bias: Operand | None) -> None:
    """Conv of any format."""
    image, kernel = spatial(site, x), shape_of(_weights(weights))
    groups = site.integer("group", 1)
    if len(kernel) != len(x.shape) or groups < 1 or kernel[1] * groups != x.shape[1] or kernel[0] % groups:
        raise site.corrupt(f"weights of shape {kernel} in {groups} groups for an input of shape {x.shape}")
    stride, dilation = site.steps("strides", len(image)), site.steps("dilations", len(image))
    window = tuple((cells - 1) * step + 1 for cells, step in zip(_window(site, kernel[2:]), dilation, strict=True))
    pads = paddings(site, image, window, stride)
    size = [(extent + sum(pair) - cells) // step + 1
            for extent, pair, cells, step in zip(image, pads, window, stride, strict=True)]
    site.emit("Conv", (x, weights, _bias(site, bias, kernel[0])), (x.shape[0], kernel[0], *size),
              {"stride": stride, "padding": pads, "dilation": dilation, "groups": groups})


def _bias(site: Site, bias: Operand | None, channels: int) -> Operand | None:
    if bias is not None and shape_of(_weights(bias, "a bias")) != (channels,):
        raise site.corrupt(f"its bias has the shape {shape_of(bias)} for {channels} channels")
    return bias


def _conv(site: Site) -> None:
    site.count(2, 3)
    convolve(site, site.activation(0), site.real(1), site.real(2) if site.operand(2) is not None else None)


def _conv_transpose(site: Site) -> None:
    site.count(2, 3)
    x, weights = site.activation(0), site.real(1)
    image, kernel = spatial(site, x), shape_of(_weights(weights))
    groups = site.integer("group", 1)
    if len(kernel) != len(x.shape) or groups < 1 or kernel[0] != x.shape[1] or kernel[0] % groups:
        raise site.corrupt(f"weights of shape {kernel} in {groups} groups for an input of shape {x.shape}")
    stride, dilation = site.steps("strides", len(image)), site.steps("dilations", len(image))
    extra = site.entries("output_padding") or (0,) * len(image)
    if len(extra) != len(image) or not all(0 <= cells < max(step, grid)
                                           for cells, step, grid in zip(extra, stride, dilation, strict=True)):
        raise site.corrupt(f"its output_padding is {extra[:8]}")
    window = [(cells - 1) * step + 1 for cells, step in zip(_window(site, kernel[2:]), dilation, strict=True)]
    full = [step * (extent - 1) + more + cells
            for step, extent, more, cells in zip(stride, image, extra, window, strict=True)]
    mode, target = site.text("auto_pad", "NOTSET"), site.entries("output_shape")
    if target is None and mode in ("SAME_UPPER", "SAME_LOWER"):
        target = tuple(extent * step for extent, step in zip(image, stride, strict=True))
    if target is None:
        pads = paddings(site, image, window, stride)
    else:
        totals = [extent - wanted for extent, wanted in zip(full, target[-len(image) :], strict=True)]
        if any(total < 0 for total in totals):
            raise UnsupportedNodeError("an output larger than the input's cells reach")
        halves = [(total // 2, total - total // 2) for total in totals]
        pads = tuple(halves if mode == "SAME_UPPER" else [(more, less) for less, more in halves])
    channels = kernel[1] * groups
    size = [extent - sum(pair) for extent, pair in zip(full, pads, strict=True)]
    bias = _bias(site, site.real(2) if site.operand(2) is not None else None, channels)
    site.emit("ConvTranspose", (x, weights, bias), (x.shape[0], channels, *size),
              {"stride": stride, "padding": pads, "dilation": dilation, "groups": groups, "output_padding": extra})


def transposed(value: Stored | Constant) -> Stored | Constant:
    """A stored matrix with its axes exchanged."""
    if isinstance(value, Constant):
        return Constant(f"{value.name}.T", value.array.T)
    axis = value.quantization.axis
    quantization = value.quantization.__class__(
        value.quantization.scale, value.quantization.zero_point, None if axis is None else 1 - axis,
        value.quantization.dtype)
    return Stored(f"{value.name}.T", value.array.T, quantization)


def scaled(site: Site, value: Operand, factor: float) -> Operand:
    """A stored tensor times a public factor: in its scales, or in its floats."""
    if factor == 1.0:
        return value
    if isinstance(value, Activation) or not factor > 0:
        raise UnsupportedNodeError(f"alpha or beta of {factor:g}")
    if isinstance(value, Constant):
        return Constant(f"{value.name}.scaled", np.asarray(value.array, np.float32) * np.float32(factor))
    old = value.quantization
    scale = tuple(float(np.float32(entry) * np.float32(factor)) for entry in old.scale)
    if not all(math.isfinite(entry) and entry > 0 for entry in scale):
        raise site.corrupt(f"alpha or beta of {factor:g}")
    return Stored(f"{value.name}.scaled", value.array, old.__class__(scale, old.zero_point, old.axis, old.dtype))


def multiply(site: Site, a: Operand, b: Operand) -> None:
    """MatMul of any format: with stored weights of two axes a Linear, else of two tensors."""
    left, right = shape_of(a), shape_of(b)
    if not left or not right or left[-1] != right[-2 if len(right) > 1 else 0]:
        raise site.corrupt(f"a product of the shapes {left} and {right}")
    if isinstance(a, Activation) and not isinstance(b, Activation) and len(right) == 2:
        site.emit("Linear", (a, transposed(b), None), (*left[:-1], right[1]))
        return
    if len(left) < 2 or len(right) < 2:
        raise UnsupportedNodeError("a product with a vector")
    shape = (*site.broadcast(left[:-2], right[:-2]), left[-2], right[-1])
    site.emit("MatMul", (a, b), shape)


def _matmul(site: Site) -> None:
    site.count(2, 2)
    multiply(site, site.real(0), site.real(1))


def gemm(site: Site, a: Activation, b: Operand, c: Operand | None, alpha: float, beta: float) -> None:
    """``alpha * A B + beta * C`` of any format."""
    if len(a.shape) != 2 or len(shape_of(b)) != 2:
        raise site.corrupt(f"a product of the shapes {a.shape} and {shape_of(b)}")
    if site.integer("transA", 0):
        a = site.emit("Transpose", (a,), a.shape[::-1], {"permutation": (1, 0)}, final=False)
    turned = bool(site.integer("transB", 0))
    columns, inner = shape_of(b) if turned else shape_of(b)[::-1]
    if inner != a.shape[1]:
        raise site.corrupt(f"a product of the shapes {a.shape} and {shape_of(b)}")
    shape = (a.shape[0], columns)
    c = None if c is None or beta == 0 else scaled(site, c, beta)
    row = None if c is None else _row(c, columns)
    last = c is None or row is not None
    if isinstance(b, Activation):
        row, last = None, c is None
        if alpha != 1:
            raise UnsupportedNodeError(f"alpha of {alpha:g} with two activations")
        if turned:
            b = site.emit("Transpose", (b,), b.shape[::-1], {"permutation": (1, 0)}, final=False)
        product = site.emit("MatMul", (a, b), shape, final=last)
    else:
        weights = scaled(site, b if turned else transposed(b), alpha)
        product = site.emit("Linear", (a, weights, row), shape, final=last)
    if not last and c is not None:
        if site.broadcast(shape, shape_of(c)) != shape:
            raise site.corrupt(f"C of shape {shape_of(c)} for a product of shape {shape}")
        site.emit("Add", (product, c), shape)


def _row(c: Operand, columns: int) -> Operand | None:
    """C as a bias: one stored entry per column, or one for all; None for anything else."""
    if isinstance(c, Activation):
        return None
    count = math.prod(shape_of(c))
    if count not in (1, columns) or (count == columns and shape_of(c)[-1:] != (columns,) and columns != 1):
        return None
    if isinstance(c, Constant):
        return Constant(c.name, np.broadcast_to(c.array.reshape(-1), (columns,)))
    old = c.quantization
    return Stored(c.name, np.broadcast_to(c.array.reshape(-1), (columns,)),
                  old.__class__(old.scale, old.zero_point, None if old.axis is None else 0, old.dtype))


def _gemm(site: Site) -> None:
    site.count(2, 3)
    gemm(site, site.activation(0), site.real(1), site.real(2) if site.operand(2) is not None else None,
         site.number("alpha", 1.0), site.number("beta", 1.0))


def _pool(site: Site, x: Activation, kind: str) -> None:
    image = spatial(site, x)
    window = site.entries("kernel_shape")
    if window is None or len(window) != len(image) or not all(1 <= cells <= MAX_STEP for cells in window):
        raise site.corrupt(f"its kernel_shape is {window}")
    stride, dilation = site.steps("strides", len(image)), site.steps("dilations", len(image))
    reach = [(cells - 1) * step + 1 for cells, step in zip(window, dilation, strict=True)]
    pads = paddings(site, image, reach, stride)
    ceil_mode = site.integer("ceil_mode", 0) != 0 and site.text("auto_pad", "NOTSET") == "NOTSET"
    size = []
    for extent, pair, cells, step in zip(image, pads, reach, stride, strict=True):
        if max(pair) >= cells:
            raise site.corrupt(f"a padding of {max(pair)} for a window of {cells}")
        room = extent + sum(pair) - cells
        count = (-(-room // step) if ceil_mode else room // step) + 1
        # a window that would start beyond the image and its first padding is left out
        if ceil_mode and (count - 1) * step >= extent + pair[0]:
            count -= 1
        size.append(count)
    shape = (*x.shape[:2], *size)
    if kind == "MaxPool":
        site.emit(kind, (x,), shape, {"window": window, "stride": stride, "padding": pads, "ceil_mode": ceil_mode,
                                      "dilation": dilation})
        return
    if any(step != 1 for step in dilation):
        raise UnsupportedNodeError("dilated average pooling")
    site.emit(kind, (x,), shape, {
        "window": window, "stride": stride, "padding": pads, "ceil_mode": ceil_mode,
        "count_include_pad": site.integer("count_include_pad", 0) != 0, "divisor": 0})


def _max_pool(site: Site) -> None:
    site.count(1, 1)
    _pool(site, site.moved(), "MaxPool")


def average_pool(site: Site, x: Activation) -> None:
    """AveragePool of any format."""
    _pool(site, x, "AvgPool")


def _average_pool(site: Site) -> None:
    site.count(1, 1)
    average_pool(site, site.activation())


def global_pool(site: Site, x: Activation, kind: str) -> None:
    """Global pooling of any format: to one cell per channel."""
    ones = (1,) * len(spatial(site, x))
    site.emit(kind, (x,), (*x.shape[:2], *ones), {"size": ones})


def _global_average_pool(site: Site) -> None:
    site.count(1, 1)
    global_pool(site, site.activation(), "AdaptiveAvgPool")


def _global_max_pool(site: Site) -> None:
    site.count(1, 1)
    global_pool(site, site.moved(), "AdaptiveMaxPool")


def _batch_normalization(site: Site) -> None:
    site.count(5, 5)
    if site.integer("training_mode", 0):
        raise UnsupportedNodeError("training mode")
    x = site.activation(0)
    parameters = [site.real(position) for position in range(1, 5)]
    if len(x.shape) < 2 or any(shape_of(_weights(value, "statistics")) != (x.shape[1],) for value in parameters):
        raise site.corrupt(f"parameters that do not fit an input of shape {x.shape}")
    site.emit("BatchNorm", (x, *parameters), x.shape, {"epsilon": float(np.float32(site.number("epsilon", 1e-5)))})


def reduced(site: Site, x: Activation, axes: Sequence[int], keep: bool) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Axes from 0 on, and the shape without them."""
    rank = len(x.shape)
    if len(axes) > MAX_RANK or not all(-rank <= axis < rank for axis in axes):
        raise site.corrupt(f"axes {tuple(axes)[:8]} of {rank}")
    found = tuple(sorted({axis % rank for axis in axes}))
    shape = tuple(1 if axis in found else extent for axis, extent in enumerate(x.shape) if keep or axis not in found)
    return found, shape


def _reduce(kind: str) -> Callable[[Site], None]:
    def convert(site: Site) -> None:
        site.count(1, 2)
        reduce(site, site.activation() if kind == "Mean" else site.moved(), kind, site.integers(1))
    return convert


def reduce(site: Site, x: Activation, kind: str, axes: Sequence[int] | None) -> None:
    """A reduction of any format; axes are an attribute up to operator set 17, then an input."""
    if axes is None:
        axes = site.entries("axes")
    if not axes:
        if site.integer("noop_with_empty_axes", 0):
            site.alias(x)
            return
        axes = range(len(x.shape))
    keep = site.integer("keepdims", 1) != 0
    found, shape = reduced(site, x, axes, keep)
    site.emit(kind, (x,), shape, {"axes": found, "keep_dims": keep})


def _arg_max(site: Site) -> None:
    site.count(1, 1)
    x = site.moved()
    if site.integer("select_last_index", 0):
        raise UnsupportedNodeError("the last index of equal values; the first is supported")
    keep = site.integer("keepdims", 1) != 0
    found, shape = reduced(site, x, (site.integer("axis", 0),), keep)
    site.emit("ArgMax", (x,), shape, {"axis": found[0], "keep_dims": keep}, dtype="int64")


LAYERS: Mapping[str, Callable[[Site], None]] = {
    "Conv": _conv, "ConvTranspose": _conv_transpose, "MatMul": _matmul, "Gemm": _gemm, "MaxPool": _max_pool,
    "AveragePool": _average_pool, "GlobalAveragePool": _global_average_pool, "GlobalMaxPool": _global_max_pool,
    "BatchNormalization": _batch_normalization, "ReduceMean": _reduce("Mean"), "ReduceMax": _reduce("ReduceMax"),
    "ReduceMin": _reduce("ReduceMin"), "ArgMax": _arg_max,
}
