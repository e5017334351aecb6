"""Every kind of node: from the values of its inputs to the value of its output."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from mpc_bridge.importers.qdq import attributes as read
from mpc_bridge.importers.qdq.builder import Builder
from mpc_bridge.importers.qdq.elementwise import ELEMENTWISE, joined
from mpc_bridge.importers.qdq.formats import activation_format
from mpc_bridge.importers.qdq.layers import LAYERS
from mpc_bridge.importers.qdq.layout import Laid, plain, reshaped
from mpc_bridge.importers.qdq.moves import MOVES, concatenated, split
from mpc_bridge.importers.qdq.pointwise import dequantized
from mpc_bridge.importers.qdq.refusals import UnsupportedNodeError, corrupt
from mpc_bridge.importers.qdq.regions import Region
from mpc_bridge.importers.qdq.site import Site
from mpc_bridge.importers.qdq.values import (
    Indices,
    Integers,
    Opaque,
    OpaqueError,
    Value,
    integers,
    moved,
    moved_integers,
    region,
    span,
)


def _quantize(site: Site) -> Value:
    form = activation_format(site.node, site.source, site.shape)
    return Integers(region(site.value(0)).quantize(site.builder, form), span(form))


def _dequantize(site: Site) -> Value:
    value = site.value(0)
    if isinstance(value, Opaque):
        raise OpaqueError(value)
    if not isinstance(value, Integers):
        raise corrupt(site.node, "it dequantizes a tensor that is not of integers")
    form = activation_format(site.node, site.source, site.shape)
    if form.dtype != site.builder.tensors[value.tensor.tensor].dtype:
        raise corrupt(site.node, f"it reads another type than {form.dtype}")
    return Region(dequantized(site.builder, value.tensor, form, value.span), site.shape)


def _move(site: Site) -> Value:
    return _moved(site, 0)


def _moved(site: Site, output: int) -> Value:
    x, shape, value = site.input_shapes[0], site.shapes[output], site.value(0)
    move = (split(site.node, x, output) if site.node.kind == "Split"
            else MOVES[site.node.kind](site.node, x, shape))
    if isinstance(value, Integers):
        return moved_integers(site.builder, value, move)
    return moved(site.builder, region(value), move, shape)


def _concat(site: Site) -> Value:
    values = [site.value(position) for position in range(len(site.inputs))]
    axis = read.axis(site.node, "axis", len(site.shape))
    if site.node.kind == "Stack":
        flat = tuple(1 if position == axis else extent for position, extent in enumerate(site.shape))
    else:
        flat = ()
    join = concatenated(axis, site.shape)

    def beside(builder: Builder, parts: list[Laid]) -> Laid:
        return join(builder, [reshaped(builder, part, flat) if flat else part for part in parts])

    own = [value for value in values if isinstance(value, Integers)]
    if len(own) == len(values):
        tensor = site.builder.tensors[own[0].tensor.tensor]
        if any(site.builder.tensors[value.tensor.tensor].dtype != tensor.dtype for value in own):
            raise corrupt(site.node, "integers of different types")
        assert tensor.quantization is not None
        parts = [replace(value.tensor, tensor=site.builder.relabel(value.tensor.tensor, tensor.quantization))
                 for value in own]
        return Integers(beside(site.builder, parts), (min(value.span[0] for value in own),
                                                      max(value.span[1] for value in own)))
    return joined(site, beside, [region(value) for value in values])


def _arg_max(site: Site) -> Value:
    value = site.value(0)
    if isinstance(value, Integers):
        tensor, factor = value.tensor, 1.0
    else:
        tensor, factor = integers(site.builder, value)
    axis = read.axis(site.node, "axis", len(tensor.shape))
    if read.flag(site.node, "keep_dims") and len(site.shape):
        raise UnsupportedNodeError("it keeps the axis", "let it drop the axis (keepdims false)")
    if factor < 0:
        raise UnsupportedNodeError("an ArgMax of a tensor times a negative constant", "take the ArgMin away")
    return Indices(site.builder.op("ARG_MAX", (plain(site.builder, tensor),), site.shape, "int64", axis=axis))


def _receiver(site: Site) -> Value:
    raise UnsupportedNodeError(
        {"Softmax": "in the middle of the model: it is computed by the receiver, on the model's last tensors only",
         "ResizeBilinear": "float interpolation"}[site.node.kind],
        {"Softmax": "let the model end with it", "ResizeBilinear": "resize with nearest neighbours"}[site.node.kind])


KINDS: dict[str, Callable[[Site], Value]] = {
    "Quantize": _quantize, "Dequantize": _dequantize, "Concat": _concat, "Stack": _concat, "ArgMax": _arg_max,
    "Softmax": _receiver, "ResizeBilinear": _receiver, **LAYERS, **ELEMENTWISE, **{kind: _move for kind in MOVES},
}


def convert_node(site: Site) -> list[Value]:
    """The values of a node's outputs.

    Raises:
        ModelFormatError: it contradicts itself.
        UnsupportedNodeError: it cannot be evaluated exactly.
        OpaqueError: one of its inputs is a float tensor that cannot.
    """
    if site.node.kind == "Split":
        return [_moved(site, output) for output in range(len(site.shapes))]
    return [KINDS[site.node.kind](site)]
