"""Operators that only move elements."""

from __future__ import annotations

import math
from collections.abc import Callable

from mpc_bridge.importers.pytorch.calls import MAX_ELEMENTS, MAX_RANK
from mpc_bridge.importers.pytorch.site import MAX_STEP, Site


def _checked(site: Site, shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(shape) > MAX_RANK or any(not 0 <= size <= MAX_ELEMENTS for size in shape) or math.prod(shape) > MAX_ELEMENTS:
        site.wrong("a shape is out of range")
    return shape


def _reshape(site: Site, x: str, shape: tuple[int, ...], output: str = "") -> None:
    """To ``shape``, one -1 in it resolved."""
    count = math.prod(site.shape(x))
    if -1 in shape:
        rest = -math.prod(shape)
        if shape.count(-1) > 1 or rest <= 0 or count % rest:
            site.wrong("a shape of -1 cannot be resolved")
        shape = tuple(count // rest if size == -1 else size for size in shape)
    if math.prod(_checked(site, shape)) != count:
        site.wrong("the shape has another number of elements")
    site.emit("Reshape", (x,), output, shape=shape)


def view(site: Site) -> None:
    """``view(self, size)``, ``reshape(self, shape)``."""
    _reshape(site, site.tensor("self"), site.integers("size" if "size" in site.call.arguments else "shape"))


def unflatten(site: Site) -> None:
    """``unflatten(self, dim, sizes)``."""
    x = site.tensor("self")
    shape = site.shape(x)
    axis = site.axis("dim", len(shape))
    sizes = site.integers("sizes")
    if -1 in sizes:
        rest = -math.prod(sizes)
        if sizes.count(-1) > 1 or rest <= 0 or shape[axis] % rest:
            site.wrong("a size of -1 cannot be resolved")
        sizes = tuple(shape[axis] // rest if size == -1 else size for size in sizes)
    _reshape(site, x, shape[:axis] + sizes + shape[axis + 1 :])


def flatten(site: Site) -> None:
    """``flatten(self, start_dim=0, end_dim=-1)``."""
    x = site.tensor("self")
    shape = site.shape(x)
    start, end = site.axis("start_dim", len(shape), 0), site.axis("end_dim", len(shape), -1)
    if start > end or not shape:
        site.wrong("it flattens from after the end")
    _reshape(site, x, (*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :]))


def _transpose(site: Site, permutation: tuple[int, ...]) -> None:
    x = site.tensor("self")
    site.state.transposed[site.call.outputs[0]] = (x, permutation)
    site.emit("Transpose", (x,), permutation=permutation)


def permute(site: Site) -> None:
    """``permute(self, dims)``."""
    rank = len(site.shape(site.tensor("self")))
    axes = tuple(site.normal(axis, rank) for axis in site.integers("dims"))
    if sorted(axes) != list(range(rank)):
        site.wrong("it does not permute the axes")
    _transpose(site, axes)


def transpose(site: Site) -> None:
    """``transpose(self, dim0, dim1)``."""
    rank = len(site.shape(site.tensor("self")))
    axes = list(range(rank))
    first, second = site.axis("dim0", rank), site.axis("dim1", rank)
    if rank:
        axes[first], axes[second] = second, first
    _transpose(site, tuple(axes))


def turn(site: Site) -> None:
    """``t(self)``, of a matrix."""
    if len(site.shape(site.tensor("self"))) != 2:
        site.refuse("it turns something else than a matrix")
    _transpose(site, (1, 0))


def squeeze(site: Site) -> None:
    """``squeeze(self)``, ``squeeze.dim(self, dim)``, ``squeeze.dims(self, dim)``: axes of one cell."""
    x = site.tensor("self")
    shape = site.shape(x)
    asked = site.axes("dim", len(shape))
    axes = tuple(axis for axis in asked if axis < len(shape) and shape[axis] == 1)
    if axes:
        site.emit("Squeeze", (x,), axes=axes)
    else:
        site.same(x)


def unsqueeze(site: Site) -> None:
    """``unsqueeze(self, dim)``."""
    x = site.tensor("self")
    rank = len(site.shape(x)) + 1
    if rank > MAX_RANK:
        site.wrong("too many axes")
    site.emit("Unsqueeze", (x,), axes=(site.axis("dim", rank),))


def expand(site: Site) -> None:
    """``expand(self, size)``: -1 keeps an axis."""
    x = site.tensor("self")
    shape, size = site.shape(x), site.integers("size")
    if len(size) < len(shape):
        site.wrong("it drops axes")
    padded = (1,) * (len(size) - len(shape)) + shape
    wanted = _checked(site, tuple(had if asked == -1 else asked for asked, had in zip(size, padded, strict=True)))
    if any(had not in (1, asked) for asked, had in zip(wanted, padded, strict=True)):
        site.wrong("the size does not fit the tensor")
    if wanted == shape:
        site.same(x)
    else:
        site.emit("Expand", (x,), shape=wanted)


def repeat(site: Site) -> None:
    """``repeat(self, repeats)``: more entries than axes add axes at the front."""
    x = site.tensor("self")
    shape, repeats = site.shape(x), site.integers("repeats")
    if len(repeats) < len(shape) or any(not 1 <= count <= MAX_STEP for count in repeats):
        site.refuse("it repeats an axis less than once")
    padded = (1,) * (len(repeats) - len(shape)) + shape
    _checked(site, tuple(count * size for count, size in zip(repeats, padded, strict=True)))
    if padded != shape:
        more = site.between("axes", padded)
        _reshape(site, x, padded, more)
        x = more
    site.emit("Tile", (x,), multiples=repeats)


def take_slice(site: Site) -> None:
    """``slice(self, dim=0, start=None, end=None, step=1)``: ends beyond the axis stop at it."""
    x = site.tensor("self")
    shape = site.shape(x)
    axis = site.axis("dim", len(shape), 0)
    step = site.integer("step", 1)
    if not shape or step < 1:
        site.wrong("a slice needs an axis and a positive step")
    size = shape[axis]
    start = 0 if site.get("start") is None else site.integer("start")
    end = size if site.get("end") is None else site.integer("end")
    start, end = (min(max(value + size if value < 0 else value, 0), size) for value in (start, end))
    if start >= end:
        site.refuse("an empty slice")
    if (start, end, step) == (0, size, 1):
        site.same(x)
    else:
        site.emit("Slice", (x,), axis=axis, start=start, end=end, step=step)


def select(site: Site) -> None:
    """``select(self, dim, index)``."""
    x = site.tensor("self")
    shape = site.shape(x)
    axis = site.axis("dim", len(shape))
    if not shape:
        site.wrong("it selects from a number")
    site.emit("Select", (x,), axis=axis, index=site.normal(site.integer("index"), shape[axis]))


def _split(site: Site, x: str, axis: int, sizes: tuple[int, ...]) -> None:
    if len(sizes) != len(site.call.outputs) or sum(sizes) != site.shape(x)[axis] or any(size < 1 for size in sizes):
        site.wrong("the pieces do not fit the tensor")
    if len(sizes) == 1:
        site.same(x)
    else:
        site.emit("Split", (x,), site.call.outputs, axis=axis, sizes=sizes)


def _pieces(site: Site, size: int, piece: int) -> tuple[int, ...]:
    if piece < 1 or size < 1 or -(-size // piece) > len(site.call.outputs):
        site.wrong("the pieces do not fit the tensor")
    return tuple(min(piece, size - start) for start in range(0, size, piece))


def split(site: Site) -> None:
    """``split(self, split_size, dim=0)``, ``split_with_sizes(self, split_sizes, dim=0)``."""
    x = site.tensor("self")
    shape = site.shape(x)
    axis = site.axis("dim", len(shape), 0)
    if not shape:
        site.wrong("it splits a number")
    if "split_sizes" in site.call.arguments:
        _split(site, x, axis, site.integers("split_sizes"))
    else:
        _split(site, x, axis, _pieces(site, shape[axis], site.integer("split_size")))


def chunk(site: Site) -> None:
    """``chunk(self, chunks, dim=0)``: pieces of equal size but for the last."""
    x = site.tensor("self")
    shape = site.shape(x)
    axis = site.axis("dim", len(shape), 0)
    chunks = site.integer("chunks")
    if not shape or chunks < 1:
        site.wrong("it has no chunks")
    _split(site, x, axis, _pieces(site, shape[axis], -(-shape[axis] // chunks)))


def unbind(site: Site) -> None:
    """``unbind(self, dim=0)``."""
    x = site.tensor("self")
    shape = site.shape(x)
    axis = site.axis("dim", len(shape), 0)
    if not shape or len(site.call.outputs) != shape[axis]:
        site.wrong("the pieces do not fit the tensor")
    for index, output in enumerate(site.call.outputs):
        if site.wanted(index):
            site.emit("Select", (x,), output, axis=axis, index=index)


def concat(site: Site) -> None:
    """``cat(tensors, dim=0)``."""
    tensors = site.tensors("tensors")
    axis = site.axis("dim", len(site.shape(tensors[0])), 0)
    if len(tensors) == 1:
        site.same(tensors[0])
    else:
        site.emit("Concat", tensors, axis=axis)


def stack(site: Site) -> None:
    """``stack(tensors, dim=0)``."""
    tensors = site.tensors("tensors")
    site.emit("Stack", tensors, axis=site.axis("dim", len(site.shape(tensors[0])) + 1, 0))


def _pad(site: Site, mode: str, value: float, amounts: tuple[int, ...]) -> None:
    x = site.tensor("self" if "self" in site.call.arguments else "input")
    rank = len(site.shape(x))
    if len(amounts) % 2 or len(amounts) // 2 > rank or any(abs(amount) > MAX_STEP for amount in amounts):
        site.wrong("the padding does not fit the tensor")
    if any(amount < 0 for amount in amounts):
        site.refuse("a negative padding: slice instead")
    pairs = [(0, 0)] * rank
    for index in range(len(amounts) // 2):
        # torch counts from the last axis
        pairs[rank - 1 - index] = (amounts[2 * index], amounts[2 * index + 1])
    if any(amounts):
        site.emit("Pad", (x,), paddings=tuple(pairs), mode=mode, value=value)
    else:
        site.same(x)


def constant_pad(site: Site) -> None:
    """``constant_pad_nd(self, pad, value=0)``."""
    _pad(site, "constant", site.number("value", 0), site.integers("pad"))


def pad(site: Site) -> None:
    """``pad(self, pad, mode='constant', value=None)``."""
    mode = site.get("mode", "constant")
    if mode not in ("constant", "reflect"):
        site.refuse(f"padding by {mode}; constant and reflect are read" if mode in ("replicate", "circular")
                    else "an unknown kind of padding")
    value = 0.0 if site.get("value") is None else site.number("value")
    _pad(site, mode, value if mode == "constant" else 0.0, site.integers("pad"))


def reflection_pad(site: Site) -> None:
    """``reflection_pad2d(self, padding)``, also 1d."""
    _pad(site, "reflect", 0.0, site.integers("padding"))


def pixel_shuffle(site: Site) -> None:
    """``pixel_shuffle(self, upscale_factor)``: channels first, then the cells of a block."""
    site.emit("DepthToSpace", (site.tensor("self"),), block=_block(site, "upscale_factor"), order="CRD")


def pixel_unshuffle(site: Site) -> None:
    """``pixel_unshuffle(self, downscale_factor)``."""
    site.emit("SpaceToDepth", (site.tensor("self"),), block=_block(site, "downscale_factor"), order="CRD")


def _block(site: Site, name: str) -> int:
    block = site.integer(name)
    if len(site.shape(site.tensor("self"))) != 4 or not 1 <= block <= MAX_STEP:
        site.refuse("it shuffles something else than a batch of images")
    return block


OPERATORS: dict[str, Callable[[Site], None]] = {
    "aten.view.default": view, "aten.reshape.default": view, "aten._unsafe_view.default": view,
    "aten.view_copy.default": view, "aten.unflatten.int": unflatten, "aten.flatten.using_ints": flatten,
    "aten.permute.default": permute, "aten.permute_copy.default": permute, "aten.transpose.int": transpose,
    "aten.t.default": turn, "aten.squeeze.default": squeeze, "aten.squeeze.dim": squeeze, "aten.squeeze.dims": squeeze,
    "aten.unsqueeze.default": unsqueeze, "aten.expand.default": expand, "aten.repeat.default": repeat,
    "aten.slice.Tensor": take_slice, "aten.select.int": select, "aten.split.Tensor": split,
    "aten.split_with_sizes.default": split, "aten.chunk.default": chunk, "aten.unbind.int": unbind,
    "aten.cat.default": concat, "aten.stack.default": stack, "aten.pad.default": pad,
    "aten.constant_pad_nd.default": constant_pad, "aten.reflection_pad1d.default": reflection_pad,
    "aten.reflection_pad2d.default": reflection_pad, "aten.pixel_shuffle.default": pixel_shuffle,
    "aten.pixel_unshuffle.default": pixel_unshuffle,
}
