"""Pooling, reductions, resizing."""

from __future__ import annotations

import math
from collections.abc import Callable

from mpc_bridge.importers.pytorch.site import Site


def _window(site: Site, axes: int) -> tuple[tuple[int, ...], tuple[int, ...], tuple[tuple[int, int], ...]]:
    """Window, stride (an empty one is the window) and padding, which torch bounds by half the window."""
    window = site.per_axis("kernel_size", axes, low=1)
    stride = window if site.get("stride") in (None, []) else site.per_axis("stride", axes, low=1)
    padding = site.per_axis("padding", axes, 0)
    if any(2 * pad > size for pad, size in zip(padding, window, strict=True)):
        site.wrong("the padding is more than half the window")
    return window, stride, tuple((pad, pad) for pad in padding)


def _input(site: Site, axes: int) -> str:
    x = site.tensor("self")
    if len(site.shape(x)) != axes + 2:
        site.refuse("pooling without a batch axis: export the model with one")
    return x


def _max_pool(axes: int) -> Callable[[Site], None]:
    def convert(site: Site) -> None:
        x = _input(site, axes)
        window, stride, padding = _window(site, axes)
        site.emit("MaxPool", (x,), window=window, stride=stride, padding=padding,
                  dilation=site.per_axis("dilation", axes, 1, 1), ceil_mode=site.boolean("ceil_mode"))
        site.unavailable(1, "it reads the indices of a max-pooling")
    return convert


def _avg_pool(axes: int) -> Callable[[Site], None]:
    def convert(site: Site) -> None:
        x = _input(site, axes)
        window, stride, padding = _window(site, axes)
        divisor = 0 if site.get("divisor_override") is None else site.integer("divisor_override")
        if not 0 <= divisor <= 2**31 - 1:
            site.refuse("a divisor out of range")
        site.emit("AvgPool", (x,), window=window, stride=stride, padding=padding, ceil_mode=site.boolean("ceil_mode"),
                  count_include_pad=site.boolean("count_include_pad", True), divisor=divisor)
    return convert


def _adaptive(kind: str, axes: int) -> Callable[[Site], None]:
    def convert(site: Site) -> None:
        x = _input(site, axes)
        site.emit(kind, (x,), size=site.per_axis("output_size", axes, low=1))
        site.unavailable(1, "it reads the indices of a max-pooling")
    return convert


def mean(site: Site) -> None:
    """``mean(self, *, dtype)``, ``mean.dim(self, dim, keepdim=False, *, dtype)``."""
    if site.get("dtype") not in (None, "float32"):
        site.refuse("a mean in another element type")
    x = site.tensor("self")
    site.emit("Mean", (x,), axes=site.axes("dim", len(site.shape(x))), keep_dims=site.boolean("keepdim"))


def _reduce(kind: str) -> Callable[[Site], None]:
    def convert(site: Site) -> None:
        x = site.tensor("self")
        site.emit(kind, (x,), axes=site.axes("dim", len(site.shape(x))), keep_dims=site.boolean("keepdim"))
    return convert


def max_dim(site: Site) -> None:
    """``max.dim(self, dim, keepdim=False)``: values and their indices."""
    x = site.tensor("self")
    axis, keep = site.axis("dim", len(site.shape(x))), site.boolean("keepdim")
    site.emit("ReduceMax", (x,), axes=(axis,), keep_dims=keep)
    if site.wanted(1):
        site.emit("ArgMax", (x,), site.call.outputs[1], axis=axis, keep_dims=keep)


def argmax(site: Site) -> None:
    """``argmax(self, dim=None, keepdim=False)``."""
    x = site.tensor("self")
    shape = site.shape(x)
    if site.get("dim") is None:
        flat = site.between("flat", (math.prod(shape),))
        site.emit("Reshape", (x,), flat, shape=(math.prod(shape),))
        if site.boolean("keepdim"):
            site.refuse("an argmax over all axes that keeps them")
        site.emit("ArgMax", (flat,), axis=0, keep_dims=False)
        return
    site.emit("ArgMax", (x,), axis=site.axis("dim", len(shape)), keep_dims=site.boolean("keepdim"))


def _resize(kind: str) -> Callable[[Site], None]:
    def convert(site: Site) -> None:
        x = site.tensor("self" if "self" in site.call.arguments else "input")
        shape = site.shape(x)
        if len(shape) != 4:
            site.refuse("resizing something else than a batch of images")
        factors = site.get("scale_factors")
        if site.get("output_size") is not None:
            size = site.per_axis("output_size", 2, low=1)
            scales = (site.get("scales_h"), site.get("scales_w"))
        elif isinstance(factors, list) and len(factors) == 2 and all(isinstance(f, float) for f in factors):
            size = tuple(math.floor(length * factor) if math.isfinite(length * factor) else 0
                         for length, factor in zip(shape[2:], factors, strict=True))
            scales = (factors[0], factors[1])
        else:
            site.wrong("a size is missing")
        if any(not 1 <= length <= 2**16 for length in size):
            site.wrong("a size is out of range")
        # torch samples with the factor, not with the ratio of the sizes, where it is given
        for length, before, scale in zip(size, shape[2:], scales, strict=True):
            if scale is not None and scale * before != length:
                site.refuse(f"a factor of {scale} on {before} cells: give the size, or a factor that fits")
        site.emit(kind, (x,), size=size, align_corners=site.boolean("align_corners"),
                  half_pixel_centers=kind == "ResizeBilinear" and not site.boolean("align_corners"))
    return convert


OPERATORS: dict[str, Callable[[Site], None]] = {
    "aten.max_pool1d.default": _max_pool(1), "aten.max_pool2d.default": _max_pool(2),
    "aten.max_pool2d_with_indices.default": _max_pool(2), "aten.max_pool1d_with_indices.default": _max_pool(1),
    "aten.avg_pool1d.default": _avg_pool(1), "aten.avg_pool2d.default": _avg_pool(2),
    "aten.adaptive_avg_pool1d.default": _adaptive("AdaptiveAvgPool", 1),
    "aten.adaptive_avg_pool2d.default": _adaptive("AdaptiveAvgPool", 2),
    "aten._adaptive_avg_pool2d.default": _adaptive("AdaptiveAvgPool", 2),
    "aten.adaptive_max_pool1d.default": _adaptive("AdaptiveMaxPool", 1),
    "aten.adaptive_max_pool2d.default": _adaptive("AdaptiveMaxPool", 2),
    "aten.mean.default": mean, "aten.mean.dim": mean,
    "aten.amax.default": _reduce("ReduceMax"), "aten.amin.default": _reduce("ReduceMin"),
    "aten.max.default": _reduce("ReduceMax"), "aten.min.default": _reduce("ReduceMin"),
    "aten.max.dim": max_dim, "aten.argmax.default": argmax,
    "aten.upsample_nearest2d.default": _resize("ResizeNearest"),
    "aten.upsample_nearest2d.vec": _resize("ResizeNearest"),
    "aten.upsample_bilinear2d.default": _resize("ResizeBilinear"),
    "aten.upsample_bilinear2d.vec": _resize("ResizeBilinear"),
}
