"""Convolutions, linear layers, products of matrices, batch normalization."""

from __future__ import annotations

import numpy as np

from mpc_bridge.importers.pytorch.site import Site


def _pairs(values: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    return tuple((value, value) for value in values)


def _spatial(site: Site, weight: str) -> int:
    axes = len(site.shape(weight)) - 2
    if axes not in (1, 2):
        site.refuse(f"a convolution over {axes} axes; one and two are read")
    return axes


def _batched(site: Site, tensor: str, axes: int) -> None:
    if len(site.shape(tensor)) != axes + 2:
        site.refuse("a convolution without a batch axis: export the model with one")


def _groups(site: Site) -> int:
    groups = site.integer("groups", 1)
    if not 1 <= groups <= 2**20:
        site.wrong("the number of groups is out of range")
    return groups


def conv(site: Site) -> None:
    """``conv1d/conv2d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1)``; padding may be a word."""
    x, weight, bias = site.tensor("input"), site.tensor("weight"), site.optional("bias")
    axes = _spatial(site, weight)
    _batched(site, x, axes)
    stride, dilation = site.per_axis("stride", axes, 1, 1), site.per_axis("dilation", axes, 1, 1)
    word = site.get("padding", 0)
    if word == "valid":
        padding = _pairs((0,) * axes)
    elif word == "same":
        # torch puts the odd cell at the end
        total = [step * (size - 1) for step, size in zip(dilation, site.shape(weight)[2:], strict=True)]
        padding = tuple((both // 2, both - both // 2) for both in total)
    else:
        padding = _pairs(site.per_axis("padding", axes, 0))
    site.emit("Conv", (x, weight, bias), stride=stride, padding=padding, dilation=dilation, groups=_groups(site))


def conv_transpose(site: Site) -> None:
    """``conv_transpose2d(input, weight, bias, stride, padding, output_padding, groups, dilation)``, also 1d."""
    x, weight, bias = site.tensor("input"), site.tensor("weight"), site.optional("bias")
    axes = _spatial(site, weight)
    _batched(site, x, axes)
    site.emit("ConvTranspose", (x, weight, bias), stride=site.per_axis("stride", axes, 1, 1),
              padding=_pairs(site.per_axis("padding", axes, 0)), dilation=site.per_axis("dilation", axes, 1, 1),
              output_padding=site.per_axis("output_padding", axes, 0), groups=_groups(site))


def convolution(site: Site) -> None:
    """``convolution(input, weight, bias, stride, padding, dilation, transposed, output_padding, groups)``."""
    (conv_transpose if site.boolean("transposed") else conv)(site)


def linear(site: Site) -> None:
    """``linear(input, weight, bias=None)``."""
    site.emit("Linear", (site.tensor("input"), site.tensor("weight"), site.optional("bias")))


def _product(site: Site, x: str, other: str, bias: str = "") -> None:
    """``x @ other + bias``: a linear layer where the second factor is a turned matrix of weights."""
    shape = site.shape(other)
    if len(shape) == 2 and (other in site.state.transposed or other in site.state.dequantized
                            or other in site.state.constants):
        turned = f"{site.call.outputs[0]}#weights"
        if other in site.state.transposed and site.state.transposed[other][1] == (1, 0):
            turned = site.state.transposed[other][0]
        else:
            site.state.shapes[turned] = shape[::-1]
            site.emit("Transpose", (other,), turned, permutation=(1, 0))
        site.emit("Linear", (x, turned, bias))
    elif bias:
        product = site.between("product", site.shape(x)[:-1] + shape[-1:])
        site.emit("MatMul", (x, other), product)
        site.emit("Add", (product, bias))
    else:
        site.emit("MatMul", (x, other))


def addmm(site: Site) -> None:
    """``addmm(self, mat1, mat2, beta=1, alpha=1)``."""
    if site.number("beta", 1) != 1 or site.number("alpha", 1) != 1:
        site.refuse("factors alpha and beta other than 1")
    _product(site, site.tensor("mat1"), site.tensor("mat2"), site.tensor("self"))


def mm(site: Site) -> None:
    """``mm(self, mat2)``, ``bmm(self, mat2)``."""
    _product(site, site.tensor("self"), site.tensor("mat2"))


def matmul(site: Site) -> None:
    """``matmul(self, other)`` of tensors with at least two axes each."""
    x, other = site.tensor("self"), site.tensor("other")
    if min(len(site.shape(x)), len(site.shape(other))) < 2:
        site.refuse("a product with a vector: write it with matrices")
    _product(site, x, other)


def batch_norm(site: Site) -> None:
    """``batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps, cudnn_enabled)``."""
    if site.boolean("training"):
        site.refuse("batch normalization in training mode: model.eval() before the export")
    x = site.tensor("input")
    shape = site.shape(x)
    if len(shape) < 2:
        site.wrong("batch normalization needs a channel axis")
    if site.get("running_mean") is None or site.get("running_var") is None:
        site.refuse("batch normalization without running statistics depends on the batch")
    mean = site.stored(site.tensor("running_mean"))
    if mean is None or mean.shape != (shape[1],):
        site.wrong("the running statistics do not fit the channels")
    weight = site.optional("weight") or site.constant("scale", np.ones(mean.shape, np.float32))
    bias = site.optional("bias") or site.constant("bias", np.zeros(mean.shape, np.float32))
    site.emit("BatchNorm", (x, weight, bias, site.tensor("running_mean"), site.tensor("running_var")),
              epsilon=site.number("eps"))
    for output in (1, 2):
        site.unavailable(output, "it reads the statistics of a batch normalization")


OPERATORS = {
    "aten.conv1d.default": conv, "aten.conv1d.padding": conv, "aten.conv2d.default": conv, "aten.conv2d.padding": conv,
    "aten.conv_transpose1d.default": conv_transpose, "aten.conv_transpose2d.input": conv_transpose,
    "aten.convolution.default": convolution,
    "aten.linear.default": linear, "aten.addmm.default": addmm, "aten.mm.default": mm, "aten.bmm.default": mm,
    "aten.matmul.default": matmul,
    "aten.batch_norm.default": batch_norm, "aten._native_batch_norm_legit_no_training.default": batch_norm,
    "aten.native_batch_norm.default": batch_norm,
}
