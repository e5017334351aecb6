"""Small quantized models, exported by torch in the tests that read them."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as functional
from torch import nn

torch.set_num_threads(1)


def quantize(x: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
    """To uint8, as PT2E writes it."""
    return torch.ops.quantized_decomposed.quantize_per_tensor.default(x, scale, zero_point, 0, 255, torch.uint8)


def dequantize(x: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
    """From uint8, as PT2E writes it."""
    return torch.ops.quantized_decomposed.dequantize_per_tensor.default(x, scale, zero_point, 0, 255, torch.uint8)


class Between(nn.Module):
    """Any float function between quantized tensors."""

    def __init__(self, function: Callable[..., Any], *state: torch.Tensor) -> None:
        super().__init__()
        self.function = function
        for index, tensor in enumerate(state):
            self.register_buffer(f"state{index}", tensor)
        self.count = len(state)

    def forward(self, *x: torch.Tensor) -> Any:
        """Quantize, dequantize, the function with its stored tensors, quantize, dequantize."""
        inputs = [dequantize(quantize(value, 0.03125, 128), 0.03125, 128) for value in x]
        result = self.function(*inputs, *(getattr(self, f"state{index}") for index in range(self.count)))
        if isinstance(result, (tuple, list)):
            return tuple(dequantize(quantize(value, 0.0625, 120), 0.0625, 120) for value in result)
        if not result.dtype.is_floating_point:
            return result
        return dequantize(quantize(result, 0.0625, 120), 0.0625, 120)


class Digits(nn.Module):
    """Convolution with batch normalization, depthwise, residual, pooling, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.last = nn.Linear(8, 10)

    def forward(self, x):  # without annotations: TorchScript of FX cannot read them
        """Logits of images [N, 3, 12, 12]."""
        x = torch.relu(self.norm(self.first(x)))
        y = functional.max_pool2d(torch.relu(self.depthwise(x) + x), 2)
        return self.last(functional.adaptive_avg_pool2d(y, 1).flatten(1))


IMAGE = (3, 12, 12)


def digits() -> Digits:
    """With fixed random weights and statistics."""
    torch.manual_seed(5)
    model = Digits().eval()
    model.norm.running_mean.normal_()
    model.norm.running_var.uniform_(0.5, 2)
    return model


def x86_quantizer() -> Any:
    """uint8 activations, int8 weights per channel."""
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

    return x86.X86InductorQuantizer().set_global(x86.get_default_x86_inductor_quantization_config())


def xnnpack_quantizer(per_channel: bool = True, dynamic: bool = False) -> Any:
    """int8 activations and weights; the copy of executorch's quantizer that torchao tests with."""
    from torchao.testing.pt2e import _xnnpack_quantizer as xnnpack

    config = xnnpack.get_symmetric_quantization_config(is_per_channel=per_channel, is_dynamic=dynamic)
    return xnnpack.XNNPACKQuantizer().set_global(config)


def pt2e(model: nn.Module, quantizer: Any, example: tuple[torch.Tensor, ...], batch: bool = False,
         **options: Any) -> torch.export.ExportedProgram:
    """A model quantized statically and exported; ``batch``: with a symbolic batch."""
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    dynamic = ({0: torch.export.Dim("batch", min=1, max=64)},) if batch else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prepared = prepare_pt2e(torch.export.export(model, example, dynamic_shapes=dynamic).module(), quantizer)
        generator = torch.Generator().manual_seed(1)
        for _ in range(2):
            prepared(*(torch.randn(value.shape, generator=generator) for value in example))
        return torch.export.export(convert_pt2e(prepared, **options), example, dynamic_shapes=dynamic)


def saved(program: torch.export.ExportedProgram) -> bytes:
    """The bytes of a ``.pt2`` file."""
    stream = io.BytesIO()
    torch.export.save(program, stream)
    return stream.getvalue()


def exported(module: nn.Module, *example: torch.Tensor, decompose: bool = False) -> bytes:
    """The bytes of a ``.pt2`` file of any module."""
    program = torch.export.export(module.eval(), example)
    return saved(program.run_decompositions() if decompose else program)
