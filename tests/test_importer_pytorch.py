"""Real exports, read without torch, mean what torch computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import mpc_bridge
from mpc_bridge.errors import UnsupportedModelError, UsageError
from mpc_bridge.importers.base import ModelWarning
from mpc_bridge.importers.pytorch import load, read
from mpc_bridge.importers.pytorch.operators import OPERATORS

torch = pytest.importorskip("torch", reason="exports are made by torch: pip install mpc-bridge[test]")
pytest.importorskip("torchao", reason="models are quantized by torchao: pip install mpc-bridge[test]")

import torch.nn.functional as functional  # noqa: E402
from torch import nn  # noqa: E402

from tests import torch_models as models  # noqa: E402
from tests.torch_evaluator import evaluate  # noqa: E402

#: An output may land on the other side of a rounding: kernels sum in another order than the plain functions.
STEP = 0.0625


def check(data: bytes, module: Any, *inputs: torch.Tensor, steps: float = 0.0) -> Any:
    """Read a file and compare what its graph computes with the module."""
    graph, _ = read(data)
    assert all(node.kind for node in graph.nodes)
    with torch.no_grad():
        wanted = module(*inputs)
    wanted = list(wanted) if isinstance(wanted, (tuple, list)) else [wanted]
    found = evaluate(graph, *inputs)
    assert len(found) == len(wanted)
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.shape == theirs.shape
        if theirs.dtype.is_floating_point:
            assert float((ours - theirs).abs().max()) <= steps + 1e-5
        else:
            assert torch.equal(ours, theirs)
    return graph


@pytest.fixture(scope="module")
def digits() -> dict[str, Any]:
    """One model, quantized for each engine."""
    example = (torch.randn(2, *models.IMAGE),)
    model = models.digits()
    return {"x86": models.pt2e(model, models.x86_quantizer(), example, batch=True),
            "x86 static": models.pt2e(model, models.x86_quantizer(), (torch.randn(1, *models.IMAGE),)),
            "xnnpack": models.pt2e(model, models.xnnpack_quantizer(), example, batch=True),
            "xnnpack per tensor": models.pt2e(model, models.xnnpack_quantizer(False), example, batch=True),
            "float weights": models.pt2e(model, models.xnnpack_quantizer(), example, batch=True, fold_quantize=False)}


@pytest.mark.parametrize("decompose", [False, True], ids=["as exported", "decomposed"])
@pytest.mark.parametrize("name", ["x86", "x86 static", "xnnpack", "xnnpack per tensor", "float weights"])
def test_quantized_networks(digits: dict[str, Any], name: str, decompose: bool) -> None:
    program = digits[name]
    module = program.module()
    if decompose:
        program = program.run_decompositions()
    x = torch.randn(1, *models.IMAGE, generator=torch.Generator().manual_seed(3))
    graph = check(models.saved(program), module, x, steps=0.1)
    kinds = [node.kind for node in graph.nodes]
    assert graph.inputs[0].shape == (1, *models.IMAGE)
    assert kinds.count("Conv") == 2 and kinds.count("Linear") == 1 and kinds.count("MaxPool") == 1
    assert "BatchNorm" not in kinds and "Transpose" not in kinds
    weights = {array.dtype.name for array in graph.constants.values() if array.ndim > 1}
    assert weights == {"int8"}, "float weights stay in the file"
    axes = {node.attributes["axis"] for node in graph.nodes
            if node.kind == "Dequantize" and node.inputs[0] in graph.constants}
    assert axes == ({None} if name.endswith("per tensor") else {0})


def test_weights_quantized_here_and_by_torchao_are_the_same(digits: dict[str, Any]) -> None:
    """A file with float weights and a Quantize, and one with integers: the same integers."""
    folded, _ = read(models.saved(digits["xnnpack"]))
    plain, _ = read(models.saved(digits["float weights"]))

    def integers(graph: Any) -> list[bytes]:
        return sorted(array.tobytes() for array in graph.constants.values() if array.dtype == np.int8)

    assert integers(folded) == integers(plain) and len(integers(plain)) == 3


def _random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


ImageCase = tuple[str, Callable[..., Any], tuple[int, ...], tuple[torch.Tensor, ...]]
_IMAGE = (1, 4, 7, 6)
CASES: list[ImageCase] = [
    ("conv2d", lambda x, w, b: functional.conv2d(x, w, b, 2, 1), _IMAGE, (_random(3, 4, 3, 3), _random(3))),
    ("conv2d groups", lambda x, w: functional.conv2d(x, w, None, 1, (0, 1), (2, 1), 2), _IMAGE, (_random(6, 2, 3, 3),)),
    ("conv2d same", lambda x, w: functional.conv2d(x, w, padding="same"), _IMAGE, (_random(2, 4, 2, 4),)),
    ("conv2d valid", lambda x, w: functional.conv2d(x, w, padding="valid"), _IMAGE, (_random(2, 4, 2, 4),)),
    ("conv1d", lambda x, w, b: functional.conv1d(x, w, b, 2, 1), (1, 4, 9), (_random(3, 4, 3), _random(3))),
    ("conv_transpose2d", lambda x, w, b: functional.conv_transpose2d(x, w, b, 2, 1, 1, 2), _IMAGE,
     (_random(4, 3, 3, 3), _random(6))),
    ("conv_transpose1d", lambda x, w: functional.conv_transpose1d(x, w, None, 2, dilation=2), (1, 4, 9),
     (_random(4, 3, 3),)),
    ("linear", functional.linear, (2, 5), (_random(3, 5), _random(3))),
    ("linear 3d", functional.linear, (1, 4, 5), (_random(3, 5), _random(3))),
    ("matmul weights", lambda x, w: x @ w.t(), (2, 5), (_random(3, 5),)),
    ("matmul", lambda x: x @ x.transpose(1, 2), (2, 4, 5), ()),
    ("batch_norm", lambda x, m, v, w, b: functional.batch_norm(x, m, v, w, b), _IMAGE,
     (_random(4), _random(4).abs() + 0.5, _random(4), _random(4))),
    ("batch_norm plain", lambda x, m, v: functional.batch_norm(x, m, v), _IMAGE, (_random(4), _random(4).abs() + 0.5)),
    ("add", lambda x: x + x, _IMAGE, ()),
    ("add scalar", lambda x: x + 0.5, _IMAGE, ()),
    ("add alpha", lambda x, c: torch.add(x, c, alpha=-1), _IMAGE, (_random(6),)),
    ("rsub", lambda x: 1 - x, _IMAGE, ()),
    ("sub", lambda x, c: x - c, _IMAGE, (_random(4, 1, 1),)),
    ("mul", lambda x: x * x, _IMAGE, ()),
    ("mul scalar", lambda x: 0.3 * x, _IMAGE, ()),
    ("div", lambda x: x / 3, _IMAGE, ()),
    ("maximum", lambda x, c: torch.maximum(x, c), _IMAGE, (_random(6),)),
    ("minimum", lambda x, c: torch.minimum(x, c), _IMAGE, (_random(6),)),
    ("relu", torch.relu, _IMAGE, ()),
    ("relu_", lambda x: functional.relu(x * 2, inplace=True), _IMAGE, ()),
    ("relu6", functional.relu6, _IMAGE, ()),
    ("hardtanh", lambda x: functional.hardtanh(x, -0.5, 0.75), _IMAGE, ()),
    ("clamp", lambda x: torch.clamp(x, min=-0.3), _IMAGE, ()),
    ("clamp_max", lambda x: torch.clamp_max(x, 0.3), _IMAGE, ()),
    ("sigmoid", torch.sigmoid, _IMAGE, ()),
    ("tanh", torch.tanh, _IMAGE, ()),
    ("hardswish", functional.hardswish, _IMAGE, ()),
    ("silu", functional.silu, _IMAGE, ()),
    ("gelu", functional.gelu, _IMAGE, ()),
    ("gelu tanh", lambda x: functional.gelu(x, approximate="tanh"), _IMAGE, ()),
    ("leaky_relu", lambda x: functional.leaky_relu(x, 0.2), _IMAGE, ()),
    ("elu", lambda x: functional.elu(x, 0.7), _IMAGE, ()),
    ("hardsigmoid", functional.hardsigmoid, _IMAGE, ()),
    ("neg abs exp", lambda x: torch.exp(-torch.abs(x)), _IMAGE, ()),
    ("sqrt", lambda x: torch.sqrt(torch.relu(x)), _IMAGE, ()),
    ("softmax", lambda x: functional.softmax(x, 1), _IMAGE, ()),
    ("log_softmax", lambda x: functional.log_softmax(x, -1), _IMAGE, ()),
    ("max_pool2d", lambda x: functional.max_pool2d(x, 3, 2, 1, ceil_mode=True), _IMAGE, ()),
    ("max_pool1d", lambda x: functional.max_pool1d(x, 2), (1, 4, 9), ()),
    ("avg_pool2d", lambda x: functional.avg_pool2d(x, 3, 2, 1, count_include_pad=False), _IMAGE, ()),
    ("avg_pool2d divisor", lambda x: functional.avg_pool2d(x, 2, divisor_override=3), _IMAGE, ()),
    ("avg_pool1d", lambda x: functional.avg_pool1d(x, 2, 1), (1, 4, 9), ()),
    ("adaptive_avg_pool2d", lambda x: functional.adaptive_avg_pool2d(x, (3, 2)), _IMAGE, ()),
    ("adaptive_avg_pool2d 1", lambda x: functional.adaptive_avg_pool2d(x, 1), _IMAGE, ()),
    ("adaptive_avg_pool1d", lambda x: functional.adaptive_avg_pool1d(x, 3), (1, 4, 9), ()),
    ("adaptive_max_pool2d", lambda x: functional.adaptive_max_pool2d(x, (3, 2)), _IMAGE, ()),
    ("mean", lambda x: x.mean((2, 3), keepdim=True), _IMAGE, ()),
    ("mean all", lambda x: x.mean(), _IMAGE, ()),
    ("amax", lambda x: torch.amax(x, (1, -1)), _IMAGE, ()),
    ("amin", lambda x: torch.amin(x, 2, keepdim=True), _IMAGE, ()),
    ("max", lambda x: torch.max(x, 1).values, _IMAGE, ()),
    ("argmax", lambda x: torch.argmax(x, 1), _IMAGE, ()),
    ("argmax all", lambda x: torch.argmax(x), _IMAGE, ()),
    ("max indices", lambda x: torch.max(x, 1).indices, _IMAGE, ()),
    ("view", lambda x: x.view(1, -1, 6), _IMAGE, ()),
    ("reshape", lambda x: x.transpose(1, 2).reshape(7, 24), _IMAGE, ()),
    ("flatten", lambda x: x.flatten(1, 2), _IMAGE, ()),
    ("unflatten", lambda x: x.unflatten(1, (2, -1)), _IMAGE, ()),
    ("permute", lambda x: x.permute(0, 2, 3, 1).contiguous(), _IMAGE, ()),
    ("t", lambda x: x.t(), (2, 5), ()),
    ("squeeze", lambda x: x.squeeze().unsqueeze(-1).squeeze(-1), _IMAGE, ()),
    ("select", lambda x: x[:, -1], _IMAGE, ()),
    ("slice", lambda x: x[:, 1:, ::2, :-1], _IMAGE, ()),
    ("split", lambda x: torch.split(x, 3, 2), _IMAGE, ()),
    ("split sizes", lambda x: torch.split(x, [1, 3], 1), _IMAGE, ()),
    ("chunk", lambda x: torch.chunk(x, 3, -1), _IMAGE, ()),
    ("unbind", lambda x: torch.unbind(x, 1)[1:3], _IMAGE, ()),
    ("cat", lambda x: torch.cat([x, x * 2], 1), _IMAGE, ()),
    ("stack", lambda x: torch.stack([x, x * 2], -1), _IMAGE, ()),
    ("expand", lambda x: x[:, :1].expand(-1, 3, -1, -1), _IMAGE, ()),
    ("repeat", lambda x: x.repeat(2, 1, 1, 1, 2), _IMAGE, ()),
    ("dropout", lambda x: functional.dropout(x, 0.5, training=False).clone(), _IMAGE, ()),
    ("pad", lambda x: functional.pad(x, (1, 2, 0, 1), value=0.5), _IMAGE, ()),
    ("reflect", lambda x: functional.pad(x, (1, 2, 0, 1), mode="reflect"), _IMAGE, ()),
    ("nearest", lambda x: functional.interpolate(x, scale_factor=2.0, mode="nearest"), _IMAGE, ()),
    ("nearest size", lambda x: functional.interpolate(x, (5, 9), mode="nearest"), _IMAGE, ()),
    ("bilinear", lambda x: functional.interpolate(x, (5, 9), mode="bilinear"), _IMAGE, ()),
    ("bilinear corners", lambda x: functional.interpolate(x, (5, 9), mode="bilinear", align_corners=True), _IMAGE, ()),
    ("pixel_shuffle", lambda x: functional.pixel_shuffle(x, 2), _IMAGE, ()),
    ("pixel_unshuffle", lambda x: functional.pixel_unshuffle(x, 2), (1, 4, 6, 6), ()),
    ("prelu", lambda x, w: functional.prelu(x, w), _IMAGE, (_random(4),)),
    ("prelu one", lambda x, w: functional.prelu(x, w), _IMAGE, (_random(1),)),
    ("two inputs and outputs", lambda x: (x * 2, x + 1), _IMAGE, ()),
]
#: Decompositions that end in gathers: the message says to export without them.
GATHERED = {"reflect"}


class Together(nn.Module):
    """Several cases on one input: one export for all of them."""

    def __init__(self, cases: list[ImageCase]) -> None:
        super().__init__()
        self.names = [name for name, *_ in cases]
        self.parts = nn.ModuleList([models.Between(function, *state) for _, function, _, state in cases])

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The outputs of all, in their order."""
        results = [part(x) for part in self.parts]
        return tuple(value for result in results for value in (result if isinstance(result, tuple) else (result,)))


@pytest.mark.parametrize("decompose", [False, True], ids=["as exported", "decomposed"])
@pytest.mark.parametrize("shape", sorted({case[2] for case in CASES}), ids=str)
def test_operators(shape: tuple[int, ...], decompose: bool) -> None:
    """Every operator, as exported and after decomposition, on random numbers."""
    module = Together([case for case in CASES if case[2] == shape and not (decompose and case[0] in GATHERED)]).eval()
    x = _random(*shape)
    program = torch.export.export(module, (x,))
    check(models.saved(program.run_decompositions() if decompose else program), module, x, steps=STEP)


def test_decompositions_into_gathers_are_refused() -> None:
    module = models.Between(lambda x: functional.pad(x, (1, 1, 1, 1), mode="reflect")).eval()
    with pytest.raises(UnsupportedModelError) as refusal:
        read(models.exported(module, _random(*_IMAGE), decompose=True))
    assert "aten.index.Tensor" in refusal.value.where and "without run_decompositions()" in refusal.value.hint


def test_every_operator_is_one_of_torch() -> None:
    for target in OPERATORS:
        namespace, operator, overload = target.split(".")
        assert getattr(getattr(getattr(torch.ops, namespace), operator), overload) is not None


class Shared(nn.Module):
    """Changes a tensor in place that it also reads through a view, or not."""

    def __init__(self, through_view: bool) -> None:
        super().__init__()
        self.through_view = through_view

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """A view, a ReLU in place, and a sum."""
        y = models.dequantize(models.quantize(x, 0.03, 128), 0.03, 128)
        view = y.view(-1)
        y.relu_()
        total = view.view(2, 3) + 1 if self.through_view else y + 1
        return models.dequantize(models.quantize(total, 0.03, 128), 0.03, 128)


def test_changes_in_place() -> None:
    x = _random(2, 3)
    module = Shared(False)
    check(models.exported(module, x), module, x)
    with pytest.raises(UnsupportedModelError) as refusal:
        read(models.exported(Shared(True), x))
    assert "changed in place" in refusal.value.where
    # functional graphs have no such problem
    module = Shared(True)
    check(models.exported(module, x, decompose=True), module, x)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.int64])
def test_stored_tensors_of_other_types_are_read_or_refused(dtype: torch.dtype) -> None:
    """A stored view with strides and an offset into shared storage."""
    base = torch.arange(24).reshape(4, 6).to(dtype)
    module = models.Between(lambda x, c: x + c.to(torch.float32), base[1:, ::2].t())
    with pytest.raises(UnsupportedModelError) as refusal:
        read(models.exported(module, _random(3, 3)))
    assert "a cast to float32" in refusal.value.where


def test_stored_views() -> None:
    """Strides and offsets into one storage that two tensors share."""
    base = torch.randn(6, 8)
    module = models.Between(lambda x, c, d: x * c + d, base[1:5:2, 2:].t(), base[2, 3])
    x = _random(6, 2)
    check(models.exported(module, x), module, x)


def test_from_torch_is_what_the_file_says(digits: dict[str, Any]) -> None:
    circuit = mpc_bridge.from_torch(digits["xnnpack"], name="digits")
    with pytest.warns(ModelWarning, match="example inputs"):
        assert load(models.saved(digits["xnnpack"]), name="digits") == circuit
    assert circuit.source == "pytorch" and circuit.profile == "pytorch" and circuit.name == "digits"
    assert mpc_bridge.from_torch(digits["xnnpack"], profile="qnnpack").profile == "qnnpack"
    with pytest.raises(UsageError, match="unknown profile"):
        mpc_bridge.from_torch(digits["xnnpack"], profile="tflite")


@pytest.mark.parametrize("thing, words", [
    (nn.Linear(2, 2), "torch.export.export"), ("model.pt2", "torch.export.export"), (None, "torch.export.export"),
    ({"weight": torch.zeros(1)}, "torch.export.export")])
def test_from_torch_refuses_other_things(thing: Any, words: str) -> None:
    with pytest.raises(UsageError) as refusal:
        mpc_bridge.from_torch(thing)
    assert words in refusal.value.hint


def test_circuits_compute_what_torch_computes(digits: dict[str, Any]) -> None:
    """Through the converter, on the digits model: logits within one step of the output's scale, mostly equal."""
    program = digits["xnnpack"]
    circuit = mpc_bridge.from_torch(program)
    x = torch.randn(1, *models.IMAGE, generator=torch.Generator().manual_seed(9))
    quantized = circuit.tensors[circuit.inputs[0]]
    with torch.no_grad():
        wanted = program.module()(x).numpy()
    result = mpc_bridge.evaluate(circuit, x.numpy(), backend="plaintext")
    assert quantized.shape[0] == 1 and result.matches_reference
    assert np.abs(result.outputs[0] - wanted).max() < 0.05


class Sizes(nn.Module):
    """Arithmetic on the batch, constants of every kind, an input that is no tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kept", torch.randn(3), persistent=True)
        self.register_buffer("left", torch.randn(3), persistent=False)
        self.plain = torch.randn(3)

    def forward(self, x: torch.Tensor, factor: float = 2.0, extra: None = None) -> torch.Tensor:
        """[N, 2, 3] to [2 N, 3], there and back."""
        assert extra is None
        y = models.dequantize(models.quantize(x, 0.03125, 128), 0.03125, 128)
        y = y.reshape(x.shape[0] * 2, -1) * factor + self.kept + self.left * self.plain + torch.tensor(0.5)
        y = y.view(-1, 2, 3)[: x.size(0)]
        return models.dequantize(models.quantize(y, 0.0625, 120), 0.0625, 120)


@pytest.mark.parametrize("decompose", [False, True], ids=["as exported", "decomposed"])
def test_sizes_and_constants(decompose: bool) -> None:
    module = Sizes()
    batch = torch.export.Dim("batch", min=1, max=32)
    program = torch.export.export(module, (torch.randn(4, 2, 3), 3.0), dynamic_shapes=({0: batch}, None))
    if decompose:
        program = program.run_decompositions()
    x = _random(1, 2, 3)
    graph, _ = read(models.saved(program))
    found = evaluate(graph, x)[0]
    assert float((found - module(x, 3.0)).abs().max()) <= STEP + 1e-5


def test_several_inputs() -> None:
    module = models.Between(lambda x, y: (x + y, x * y))
    inputs = (_random(2, 3), _random(3, 3)[:1])
    graph = check(models.exported(module, *inputs), module, *inputs)
    assert [port.shape for port in graph.inputs] == [(2, 3), (1, 3)] and len(graph.outputs) == 2
