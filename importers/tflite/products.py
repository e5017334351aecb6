"""Operators that multiply two tensors, and RESIZE_BILINEAR, which mixes the elements of one."""

from __future__ import annotations

from collections.abc import Callable

from mpc_bridge.circuit.interpolation import mixture
from mpc_bridge.importers.tflite import schema
from mpc_bridge.importers.tflite.parse import FileTensor
from mpc_bridge.importers.tflite.scales import float32_product, float32_quotient, per_tensor_multiplier
from mpc_bridge.importers.tflite.site import Node, Site, UnsupportedOperatorError


def _factors(site: Site) -> tuple[FileTensor, FileTensor, FileTensor]:
    """Both inputs, each of which may be a constant, and the output."""
    site.operands(2, 2)
    x, y, output = site.activation(0, constant_allowed=True), site.activation(1, constant_allowed=True), site.output()
    site.same_dtype(x, y, output)
    return x, y, output


def _mul(site: Site) -> Node:
    x, y, output = _factors(site)
    options = site.options(schema.Options.MulOptions)
    # MulPrepare, in float32 from left to right
    multiplier = float32_quotient(float32_product(x.scale[0], y.scale[0]), output.scale[0])
    return Node((x.index, y.index), {"requantization": site.requantization(
        "mbqm", (multiplier,), site.fused(options, schema.MulOptions.FusedActivationFunction, output))})


def _batch_matmul(site: Site) -> Node:
    x, y, output = _factors(site)
    if output.dtype != "int8":
        raise UnsupportedOperatorError(f"{output.dtype} tensors, which the framework does not multiply either")
    options, slots = site.options(schema.Options.BatchMatMulOptions), schema.BatchMatMulOptions
    return Node((x.index, y.index), {
        "adj_x": bool(options.integer(slots.AdjX, "?")),
        "adj_y": bool(options.integer(slots.AdjY, "?")),
        "requantization": site.requantization(
            "mbqm", (per_tensor_multiplier(x.scale[0], y.scale[0], output.scale[0]),), site.bounds("NONE", output)),
    })


def _prelu(site: Site) -> Node:
    x, alpha, output = _factors(site)
    if site.model.is_constant(x.index):
        raise UnsupportedOperatorError("a constant in place of an activation")
    # PreluPrepare, in float32 from left to right
    steep = float32_quotient(float32_product(x.scale[0], alpha.scale[0]), output.scale[0])
    if not steep < 2.0**30:
        raise UnsupportedOperatorError("scales whose ratio is outside (0, 2**30)")
    return Node((x.index, alpha.index), {
        "alpha_multiplier": steep,
        "requantization": site.requantization(
            "mbqm", (float32_quotient(x.scale[0], output.scale[0]),), site.bounds("NONE", output)),
    })


def _resize_bilinear(site: Site) -> Node:
    site.operands(2, 2)
    x, output = site.activation(0), site.output()
    site.same_dtype(x, output)
    size = site.public_integers(1).reshape(-1).tolist()
    if len(x.shape) != 4 or len(size) != 2 or (x.shape[0], *size, x.shape[3]) != output.shape or 0 in (*x.shape, *size):
        raise site.corrupt(f"an input of shape {x.shape} resized to {size} is stated as {output.shape}")
    options, slots = site.options(schema.Options.ResizeBilinearOptions), schema.ResizeBilinearOptions
    corners, centers = (bool(options.integer(slot, "?")) for slot in (slots.AlignCorners, slots.HalfPixelCenters))
    if corners and centers:
        raise site.corrupt("it aligns corners and has half-pixel centers")
    try:
        axes = [mixture(x.shape[axis], output.shape[axis], corners, centers) for axis in (1, 2)]
    except ValueError as error:
        raise UnsupportedOperatorError(str(error)) from None
    if x.dtype == "uint8" and not all(axis.exact_in_float for axis in axes):
        raise UnsupportedOperatorError(
            "uint8 in proportions that are no multiples of 1/128: the framework mixes uint8 in float32, which rounds; "
            "int8 it mixes in integers, so convert the model to int8")
    return Node((x.index,), {"align_corners": corners, "half_pixel_centers": centers})


#: Operator → its conversion.
CONVERSIONS: dict[str, Callable[[Site], Node]] = {
    "MUL": _mul,
    "BATCH_MATMUL": _batch_matmul,
    "PRELU": _prelu,
    "RESIZE_BILINEAR": _resize_bilinear,
}
