"""Shapes of every tensor of a neutral graph, in the framework's own layout, and all checks that shapes allow.

What passes here fits together, so the rest of the conversion does not ask again. Windows follow PyTorch's and ONNX's
rules: with ``ceil_mode`` a last window that would start beyond the image and its leading padding is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from mpc_bridge.errors import ModelFormatError
from mpc_bridge.importers.qdq import attributes as read
from mpc_bridge.importers.qdq.graph import Graph, Node
from mpc_bridge.importers.qdq.refusals import corrupt

Shape = tuple[int, ...]

MAX_RANK = 8
MAX_ELEMENTS = 2**28


def infer(graph: Graph, nodes: Sequence[Node]) -> dict[str, Shape]:
    """The shape of every input, constant and node output.

    Args:
        nodes: those to look at, in execution order.

    Raises:
        ModelFormatError: a node whose inputs or attributes do not fit together, or that reads what nothing computes.
    """
    shapes: dict[str, Shape] = {}
    for port in graph.inputs:
        shapes[port.name] = _checked(tuple(port.shape), f"input '{port.name}'")
    for name, array in graph.constants.items():
        shapes[name] = tuple(int(extent) for extent in array.shape)
    for node in nodes:
        missing = [name for name in node.inputs if name and name not in shapes]
        if missing:
            raise corrupt(node, f"it reads '{missing[0][:96]}', which nothing before it computes")
        if node.kind not in _RULES:
            raise corrupt(node, "its kind is unknown")
        least, most, outputs = _ARITY.get(node.kind, (1, 1, 1))
        if not least <= len(node.inputs) <= most or "" in node.inputs[:least] or (
                outputs and len(node.outputs) != outputs):
            raise corrupt(node, f"it has {len(node.inputs)} inputs and {len(node.outputs)} outputs")
        results = _RULES[node.kind](node, [shapes[name] if name else () for name in node.inputs])
        for name, shape in zip(node.outputs, results, strict=True):
            shapes[name] = _checked(shape, f"{node.kind} '{node.name[:96]}'")
    return shapes


def _checked(shape: Shape, where: str) -> Shape:
    if len(shape) > MAX_RANK or not all(isinstance(n, int) and 1 <= n <= MAX_ELEMENTS for n in shape) or (
            math.prod(shape) > MAX_ELEMENTS):
        raise ModelFormatError(f"a tensor of shape {shape}", where=where,
                               hint=f"extents are at least 1, with at most {MAX_RANK} axes and 2**28 elements")
    return shape


def broadcast(node: Node, shapes: Sequence[Shape]) -> Shape:
    """numpy's rule."""
    rank = max(len(shape) for shape in shapes)
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    result = tuple(max(extents) for extents in zip(*padded, strict=True))
    if any(extent not in (1, most) for shape in padded for extent, most in zip(shape, result, strict=True)):
        raise corrupt(node, f"inputs of shapes {' and '.join(map(str, shapes))}")
    return result


def image(node: Node, x: Shape, spatial: int) -> Shape:
    """Extents of an image's spatial axes."""
    if len(x) != spatial + 2:
        raise corrupt(node, f"an input of shape {x} where batch, channels and {spatial} more axes belong")
    return x[2:]


def windows(extent: int, reach: int, stride: int, padding: read.Pair, ceil_mode: bool) -> int:
    """How many windows of ``reach`` cells stand along a padded axis; less than 1 where none fits."""
    room = extent + sum(padding) - reach
    if room < 0 and not ceil_mode:
        return 0
    count = (-(-room // stride) if ceil_mode else room // stride) + 1
    if ceil_mode and (count - 1) * stride >= extent + padding[0]:
        count -= 1
    return count


def _same(node: Node, shapes: Sequence[Shape]) -> list[Shape]:
    return [shapes[0]]


def _binary(node: Node, shapes: Sequence[Shape]) -> list[Shape]:
    return [broadcast(node, shapes)]


def _positions(node: Node, image_: Shape, window: Sequence[int], ceil_mode: bool, dilation: Sequence[int]) -> Shape:
    spatial = len(image_)
    stride, padding = read.steps(node, "stride", spatial), read.pairs(node, "padding", spatial)
    counts = tuple(
        windows(extent, (cells - 1) * apart + 1, step, sides, ceil_mode)
        for extent, cells, apart, step, sides in zip(image_, window, dilation, stride, padding, strict=True))
    if min(counts) < 1:
        raise corrupt(node, f"a window of shape {tuple(window)} does not fit into the image {image_}")
    return counts


def _bias(node: Node, shapes: Sequence[Shape], channels: int) -> None:
    if len(node.inputs) == 3 and node.inputs[2] and shapes[2] != (channels,):
        raise corrupt(node, f"a bias of shape {shapes[2]} for {channels} channels")


def _conv(node: Node, shapes: Sequence[Shape]) -> list[Shape]:
    x, weights = shapes[0], shapes[1]
    spatial = len(read.steps(node, "stride"))
    extents = image(node, x, spatial)
    groups = read.integer(node, "groups", 1)
    if len(weights) != spatial + 2 or weights[1] * groups != x[1] or weights[0] % groups or 0 in weights:
        raise corrupt(node, f"weights of shape {weights} in {groups} groups on an input of shape {x}")
    _bias(node, shapes, weights[0])
    return [(x[0], weights[0], *_positions(
        node, extents, weights[2:], False, read.steps(node, "dilation", spatial)))]


def _conv_transpose(node: Node, shapes: Sequence[Shape]) -> list[Shape]:
    x, weights = shapes[0], shapes[1]
    stride = read.steps(node, "stride")
    spatial = len(stride)
    extents = image(node, x, spatial)
    groups = read.integer(node, "groups", 1)
    if len(weights) != spatial + 2 or weights[0] != x[1] or x[1] % groups or 0 in weights:
        raise corrupt(node, f"weights of shape {weights} in {groups} groups on an input of shape {x}")
    channels = weights[1] * groups
    _bias(node, shapes, channels)
    padding, dilation = read.pairs(node, "padding", spatial), read.steps(node, "dilation", spatial)
    extra = read.integers(node, "output_padding", 0, read.MAX_STEP)
    if len(extra) != spatial:
        raise corrupt(node, f"its output_padding has {len(extra)} entries")
    return [(x[0], channels, *(
        (extent - 1) * step - sum(sides) + (cells - 1) * apart + 1 + more
        for extent, step, sides, cells, apart, more in zip(
            extents, stride, padding, weights[2:], dilation, extra, strict=True)))]


def _linear(node: Node, shapes: Sequence[Shape]) -> list[Shape]:
    x, weights = shapes[0], shapes[1]
    if len(weights) != 2 or not x or x[-1] != weights[1]:
        raise corrupt(node, f"weights of shape {weights} on an input of shape {x}")
    _bias(node, shapes, weights[0])
    return [(*x[:-1], weights[0])]


def _matmul(node: Node, shapes: Sequence[Shape]) -> list[Shape]:
    a, b = shapes
    if len(a) < 2 or len(b) < 2 or a[-1] != b[-2]:
        raise corrupt(node, f"factors of shapes {a} and {b}")
    return [(*broadcast(node, (a[:-2], b[:-2])), a[-2], b[-1])]


def _pool(node: Node, shapes: Sequence[Shape]) -> list[Shape]:
    x, window = shapes[0], read.steps(node, "window")
    dilation = read.steps(node, "dilation", len(window)) if node.kind == "MaxPool" else (1,) * len(window)
    extents = image(node, x, len(window))
    return [(*x[:2], *_positions(node, extents, window, read.flag(node, "ceil_mode"), dilation))]


def _adaptive(node: Node, shapes: Sequence[Shape]) -> list[Shape]:
    size = read.steps(node, "size")
    image(node, shapes[0], len(size))
    return [(*shapes[0][:2], *size)]


def _reduce(node: Node, shapes: Sequence[Shape]) -> list[Shape]:
    x = shapes[0]
    axes = read.axes(node, "axes", len(x))
    if read.flag(node, "keep_dims"):
        return [tuple(1 if axis in axes else extent for axis, extent in enumerate(x))]
    return [tuple(extent for axis, extent in enumerate(x) if axis not in axes)]


def _arg_max(node: Node, shapes: Sequence[Shape]) -> list[Shape]:
    x = shapes[0]
    axis = read.axis(node, "axis", len(x))
    return [(*x[:axis], *((1,) if read.flag(node, "keep_dims") else ()), *x[axis + 1:])]


def _reshape(node: Node, shapes: Sequence[Shape]) -> list[Shape]:
    wanted, count = read.integers(node, "shape", -1), math.prod(shapes[0])
    known = math.prod(extent for extent in wanted if extent != -1)
    if wanted.count(-1) > 1 or 0 in wanted or count % known or (-1 not in wanted and count != known):
        raise corrupt(node, f"an input of shape {shapes[0]} cannot become {wanted[:MAX_RANK]}")
    return [tuple(count // known if extent == -1 else extent for extent in wanted)]


def _transpose(node: Node, shapes: Sequence[Shape]) -> list[Shape]:
    rank = len(shapes[0])
    permutation = read.integers(node, "permutation", -rank, rank - 1)
    if sorted(axis % rank for axis in permutation) != list(range(rank)):
        raise corrupt(node, f"its permutation does not name each of {rank} axes once")
    return [tuple(shapes[0][axis] for axis in permutation)]


def _squeeze(node: Node, shapes: Sequence[Shape]) -> list[Shape]:
    axes = read.axes(node, "axes", len(shapes[0]))
    if any(shapes[0][axis] != 1 for axis in axes):
        raise corrupt(node, f"axes {axes} of an input of shape {shapes[0]} are not all of extent 1")
    return [tuple(extent for axis, extent in enumerate(shapes[0]) if axis not in axes)]


def _unsqueeze(node: Node, shapes: Sequence[Shape]) -> list[Shape]:
    rank = len(shapes[0]) + len(read.integers(node, "axes"))
    axes, extents = read.axes(node, "axes", rank), iter(shapes[0])
    return [tuple(1 if axis in axes else next(extents) for axis in range(rank))]


def _flatten(node: Node, shapes: Sequence[Shape]) -> list[Shape]:
    x = shapes[0]
    if not x:
        return [(1,)]
    start, end = read.axis(node, "start", len(x)), read.axis(node, "end", len(x))
    if start > end:
        raise corrupt(node, f"it flattens axes {start} to {end}")
    return [(*x[:start], math.prod(x[start:end + 1]), *x[end + 1:])]


def _concat(node: Node, shapes: Sequence[Shape]) -> list[Shape]:
    first = shapes[0]
    axis = read.axis(node, "axis", len(first))
    for shape in shapes[1:]:
        if len(shape) != len(first) or shape[:axis] != first[:axis] or shape[axis + 1:] != first[axis + 1:]:
            raise corrupt(node, f"inputs of shapes {first} and {shape} along axis {axis}")
    return [(*first[:axis], sum(shape[axis] for shape in shapes), *first[axis + 1:])]


def _stack(node: Node, shapes: Sequence[Shape]) -> list[Shape]:
    axis = read.axis(node, "axis", len(shapes[0]) + 1)
    if any(shape != shapes[0] for shape in shapes):
        raise corrupt(node, "inputs of different shapes")
    return [(*shapes[0][:axis], len(shapes), *shapes[0][axis:])]


def _split(node: Node, shapes: Sequence[Shape]) -> list[Shape]:
    x = shapes[0]
    axis, sizes = read.axis(node, "axis", len(x)), read.integers(node, "sizes", 1)
    if sum(sizes) != x[axis] or len(sizes) != len(node.outputs):
        raise corrupt(node, f"parts of {sizes[:8]} along axis {axis} of an input of shape {x}")
    return [(*x[:axis], size, *x[axis + 1:]) for size in sizes]


def slice_range(node: Node, extent: int) -> tuple[int, int, int]:
    """``(begin, size, step)`` of a Slice, with Python's rules for ends outside the axis."""
    step = read.integer(node, "step")
    if step == 0:
        raise corrupt(node, "its step is 0")
    huge = 2**63
    start, end = read.integer(node, "start", -huge, huge), read.integer(node, "end", -huge, huge)
    cells = range(extent)[start:end:step] if step > 0 or end >= -extent else range(extent)[start::step]
    return cells.start, len(cells), step


def _slice(node: Node, shapes: Sequence[Shape]) -> list[Shape]:
    x = shapes[0]
    axis = read.axis(node, "axis", len(x))
    return [(*x[:axis], slice_range(node, x[axis])[1], *x[axis + 1:])]


def _select(node: Node, shapes: Sequence[Shape]) -> list[Shape]:
    x = shapes[0]
    axis = read.axis(node, "axis", len(x))
    read.integer(node, "index", -x[axis], x[axis] - 1)
    return [(*x[:axis], *x[axis + 1:])]


def _tile(node: Node, shapes: Sequence[Shape]) -> list[Shape]:
    multiples = read.integers(node, "multiples", 1)
    if len(multiples) != len(shapes[0]):
        raise corrupt(node, f"multiples {multiples[:8]} of an input of shape {shapes[0]}")
    return [tuple(extent * times for extent, times in zip(shapes[0], multiples, strict=True))]


def _expand(node: Node, shapes: Sequence[Shape]) -> list[Shape]:
    x, wanted = shapes[0], read.integers(node, "shape", -1)
    padded = (1,) * (len(wanted) - len(x)) + x
    if len(padded) != len(wanted):
        raise corrupt(node, f"an input of shape {x} cannot become {wanted[:MAX_RANK]}")
    # ONNX broadcasts both ways; PyTorch writes -1 where an extent stays
    return [broadcast(node, (padded, tuple(max(extent, 1) for extent in wanted)))]


def _pad(node: Node, shapes: Sequence[Shape]) -> list[Shape]:
    x = shapes[0]
    paddings, mode = read.pairs(node, "paddings", len(x)), read.text(node, "mode", ("constant", "reflect"))
    if mode == "reflect" and any(max(sides) >= max(extent, 1) for extent, sides in zip(x, paddings, strict=True)):
        raise corrupt(node, f"a mirror of shape {x} does not show {paddings}")
    return [tuple(before + extent + after for extent, (before, after) in zip(x, paddings, strict=True))]


def _resize(node: Node, shapes: Sequence[Shape]) -> list[Shape]:
    image(node, shapes[0], 2)
    return [(*shapes[0][:2], *read.steps(node, "size", 2))]


def _blocks(node: Node, shapes: Sequence[Shape]) -> list[Shape]:
    x, block = shapes[0], read.integer(node, "block", 1, read.MAX_STEP)
    rows, columns = image(node, x, 2)
    if node.kind == "DepthToSpace":
        if x[1] % block**2:
            raise corrupt(node, f"blocks of {block} from {x[1]} channels")
        return [(x[0], x[1] // block**2, rows * block, columns * block)]
    if rows % block or columns % block:
        raise corrupt(node, f"blocks of {block} in an image of {rows} x {columns}")
    return [(x[0], x[1] * block**2, rows // block, columns // block)]


def _batch_norm(node: Node, shapes: Sequence[Shape]) -> list[Shape]:
    x = shapes[0]
    if len(x) < 2 or any(shape != (x[1],) for shape in shapes[1:]):
        raise corrupt(node, f"an input of shape {x} and statistics of shapes {', '.join(map(str, shapes[1:]))}")
    return [x]


def _softmax(node: Node, shapes: Sequence[Shape]) -> list[Shape]:
    read.axis(node, "axis", len(shapes[0]))
    return [shapes[0]]


#: Kind → least and greatest number of inputs, number of outputs (0: any).
_ARITY: dict[str, tuple[int, int, int]] = {
    **{kind: (2, 3, 1) for kind in ("Conv", "ConvTranspose", "Linear")},
    **{kind: (2, 2, 1) for kind in ("MatMul", "Add", "Sub", "Mul", "Div", "Maximum", "Minimum", "PRelu")},
    **{kind: (1, 4096, 1) for kind in ("Concat", "Stack")},
    "Split": (1, 1, 0), "BatchNorm": (5, 5, 1),
}

_RULES: dict[str, Callable[[Node, Sequence[Shape]], list[Shape]]] = {
    **{kind: _same for kind in (
        "Quantize", "Dequantize", "Relu", "Sigmoid", "Tanh", "HardSwish", "Silu", "Neg", "Abs", "Sqrt", "Exp", "Gelu",
        "LeakyRelu", "Elu", "HardSigmoid", "Clip", "PRelu")},
    **{kind: _binary for kind in ("Add", "Sub", "Mul", "Div", "Maximum", "Minimum")},
    "Conv": _conv, "ConvTranspose": _conv_transpose, "Linear": _linear, "MatMul": _matmul, "Softmax": _softmax,
    "MaxPool": _pool, "AvgPool": _pool, "AdaptiveAvgPool": _adaptive, "AdaptiveMaxPool": _adaptive, "Mean": _reduce,
    "ReduceMax": _reduce, "ReduceMin": _reduce, "ArgMax": _arg_max, "Reshape": _reshape, "Transpose": _transpose,
    "Squeeze": _squeeze, "Unsqueeze": _unsqueeze, "Flatten": _flatten, "Concat": _concat, "Stack": _stack,
    "Split": _split, "Slice": _slice, "Select": _select, "Tile": _tile, "Expand": _expand, "Pad": _pad,
    "ResizeNearest": _resize, "ResizeBilinear": _resize, "DepthToSpace": _blocks, "SpaceToDepth": _blocks,
    "BatchNorm": _batch_norm,
}
