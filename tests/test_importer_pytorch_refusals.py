"""Models that cannot be evaluated: the message says what the file is, and how to make one that can."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

import mpc_bridge
from mpc_bridge.errors import ModelFormatError, MpcBridgeError, UnsupportedModelError, UsageError
from mpc_bridge.importers.pytorch import importer, load, load_trusted, read

torch = pytest.importorskip("torch", reason="files are made by torch: pip install mpc-bridge[test]")
pytest.importorskip("torchao", reason="models are quantized by torchao: pip install mpc-bridge[test]")

from torch import nn  # noqa: E402

from tests import torch_models as models  # noqa: E402

ROW = (torch.randn(1, 8),)


class Layers(nn.Module):
    """Two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))

    def forward(self, x: torch.Tensor) -> Any:
        """Logits of rows."""
        return self.layers(x)


def refusal(data: bytes, kind: type[MpcBridgeError] = UnsupportedModelError) -> MpcBridgeError:
    """The error, with its three parts."""
    with pytest.raises(kind) as caught:
        read(data)
    assert caught.value.what and caught.value.where and caught.value.hint
    return caught.value


def test_float_models() -> None:
    error = refusal(models.exported(Layers(), *ROW))
    assert "floating-point model" in error.what and "prepare_pt2e" in error.hint


def test_float_models_with_operators_that_are_not_read_are_float_models_first() -> None:
    class Sorted(Layers):
        def forward(self, x: torch.Tensor) -> Any:
            return torch.sort(self.layers(x))[0]

    assert "floating-point model" in refusal(models.exported(Sorted(), *ROW)).what


def test_dynamic_quantization() -> None:
    program = models.pt2e(Layers().eval(), models.xnnpack_quantizer(dynamic=True), ROW)
    error = refusal(models.saved(program))
    assert "dynamic quantization" in error.what and "choose_qparams" in error.where
    assert "calibration" in error.hint


def test_weight_only_quantization() -> None:
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    model = Layers().eval()
    quantize_(model, Int8WeightOnlyConfig())
    error = refusal(models.saved(torch.export.export(model, ROW)))
    assert "weight-only" in error.what and "prepare_pt2e" in error.hint

    class Stored(nn.Module):
        def forward(self, x: torch.Tensor) -> Any:
            weight = torch.ops.quantized_decomposed.dequantize_per_tensor.default(self.weight, 0.1, 0, -128, 127,
                                                                                  torch.int8)
            return nn.functional.linear(x, weight)

    stored = Stored()
    stored.register_buffer("weight", torch.ones(4, 8, dtype=torch.int8))
    assert "weight-only" in refusal(models.exported(stored, *ROW)).what


class Reference(nn.Module):
    """What use_reference_representation=True writes: products of integers, in int32."""

    def forward(self, x: torch.Tensor) -> Any:
        """A product with ones."""
        from torch._higher_order_ops.out_dtype import out_dtype

        integers = models.quantize(x, 0.1, 0)
        return out_dtype(torch.ops.aten.mm.default, torch.int32, integers, torch.ones(8, 8, dtype=torch.uint8))


def test_reference_representation() -> None:
    assert "use_reference_representation" in refusal(models.exported(Reference(), *ROW)).what


def test_weights_without_a_graph(tmp_path: Path) -> None:
    for legacy, words in [(False, "state_dict"), (True, "old torch.save")]:
        stream = io.BytesIO()
        torch.save(Layers().state_dict(), stream, _use_new_zipfile_serialization=not legacy)
        error = refusal(stream.getvalue())
        assert words in error.what and "build the model in Python" in error.hint
        # the same words for every suffix, and with trust: there is no graph to trust
        for suffix in importer.suffixes:
            path = tmp_path / f"weights{suffix}"
            path.write_bytes(stream.getvalue())
            for trust in (False, True):
                with pytest.raises(UnsupportedModelError, match=words):
                    mpc_bridge.load(path, trust=trust)


def test_torchscript_without_trust() -> None:
    stream = io.BytesIO()
    torch.jit.save(torch.jit.script(Layers()), stream)
    error = refusal(stream.getvalue())
    assert "TorchScript" in error.what and "--trust" in error.hint and "mpc-bridge[torch]" in error.hint


def test_older_layouts() -> None:
    import zipfile

    for names, words in [(("serialized_exported_program.json", "serialized_state_dict.pt", "version"), "before 2.9"),
                         (("a/models/model.json", "a/data/weights/model.pt"), "before 2.9"),
                         (("a/data/aotinductor/model/model.so", "a/archive_format"), "AOTInductor")]:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as file:
            for name in names:
                file.writestr(name, b"{}")
        error = refusal(stream.getvalue())
        assert words in error.what
    assert ".pte" in refusal(b"\x00\x00\x00\x00ET12" + bytes(100)).what
    assert "no zip" in refusal(b"TFL3" * 20, ModelFormatError).what


class Choice(nn.Module):
    """Control flow."""

    def forward(self, x: torch.Tensor) -> Any:
        """One of two branches."""
        return torch.cond(x.sum() > 0, lambda x: x + 1, lambda x: x - 1, (x,))


class Nested(nn.Module):
    """A block without gradients inside."""

    def forward(self, x: torch.Tensor) -> Any:
        """Exported as a graph within the graph."""
        y = models.dequantize(models.quantize(x, 0.1, 0), 0.1, 0)
        with torch.no_grad():
            y = y + 1
        return y * 2


class Counter(nn.Module):
    """Changes its own state."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(1))

    def forward(self, x: torch.Tensor) -> Any:
        """Adds one."""
        self.count.add_(1)
        return models.dequantize(models.quantize(x + self.count, 0.1, 0), 0.1, 0)


@pytest.mark.parametrize("module, words", [(Choice(), "graph within the graph"), (Nested(), "graph within the graph"),
                                           (Counter(), "model.eval()")], ids=["cond", "no_grad", "buffer"])
def test_graphs_that_are_no_lists_of_operators(module: nn.Module, words: str) -> None:
    example = torch.randn(2, 3, requires_grad=isinstance(module, Nested))
    assert words in str(refusal(models.exported(module, example)))
    if not isinstance(module, Nested):  # decomposition dissolves blocks without gradients
        assert words in str(refusal(models.exported(module, example, decompose=True)))


def test_training_mode() -> None:
    class Norm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(3)
            self.drop = nn.Dropout()

        def forward(self, x: torch.Tensor) -> Any:
            y = models.dequantize(models.quantize(x, 0.1, 0), 0.1, 0)
            return models.quantize(self.drop(self.norm(y)), 0.1, 0)

    program = torch.export.export(Norm().train(), (torch.randn(2, 3, 4, 4),))
    assert "model.eval()" in str(refusal(models.saved(program)))


def test_open_sizes_other_than_the_batch() -> None:
    module = models.Between(lambda x: x * 2)
    size = torch.export.Dim("rows", min=2, max=9)
    program = torch.export.export(module, (torch.randn(2, 5, 3),), dynamic_shapes=(({1: size},),))
    error = refusal(models.saved(program))
    assert "axis 1" in error.what and "batch" in error.what


def test_profiles_and_shapes() -> None:
    data = models.exported(models.Between(lambda x: x * 2), torch.randn(2, 3))
    with pytest.raises(UsageError, match="unknown profile"):
        load(data, "litert")
    with pytest.raises(UsageError, match="input shapes are taken from the file"):
        load_trusted(data, "model", "", [(2, 3)])
    with pytest.warns(match="example inputs"):
        assert load_trusted(data, "model", "", []).profile == "pytorch"
