"""TorchScript of FX and eager quantization: read by running it once, only with trust."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import pytest

import mpc_bridge
from mpc_bridge.errors import ModelFormatError, UnsupportedModelError, UsageError
from mpc_bridge.importers.pytorch import load_trusted
from mpc_bridge.importers.pytorch.torchscript import read_trusted
from mpc_bridge.importers.pytorch.translate import translate
from tests import pt2_files

torch = pytest.importorskip("torch", reason="TorchScript is torch's: pip install mpc-bridge[torch]")
pytest.importorskip("torchao", reason="models are quantized by torchao: pip install mpc-bridge[test]")

import torch.nn.functional as functional  # noqa: E402
from torch import nn  # noqa: E402

from tests import torch_models as models  # noqa: E402
from tests.torch_evaluator import evaluate  # noqa: E402

SHAPE = (1, 3, 12, 12)
pytestmark = pytest.mark.filterwarnings("ignore")


class Many(nn.Module):
    """The quantized operators of TorchScript, one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.other = nn.BatchNorm2d(8)
        self.up = nn.ConvTranspose2d(8, 8, 2, stride=2)
        self.row = nn.Conv1d(8, 6, 3, dilation=2)
        self.last = nn.Linear(6, 10)

    def forward(self, x):  # without annotations: TorchScript of FX cannot read them
        """Logits of images."""
        x = torch.relu(self.norm(self.first(x)))
        y = torch.relu(self.depthwise(x) + x) * x
        y = functional.hardswish(functional.max_pool2d(y, 2, 2, 0, 1, True))
        y = functional.leaky_relu(self.other(y + 0.5), 0.1)
        y = torch.cat([y, torch.sigmoid(y)], 1)[:, 4:12]
        y = functional.relu6(self.up(y)) * 0.5
        y = functional.avg_pool2d(y, 2).permute(0, 2, 3, 1).reshape(1, -1, 8).transpose(1, 2)
        y = functional.relu(self.row(y).mean(2))
        return functional.softmax(self.last(y), 1)


def fx(model: nn.Module, engine: str) -> Any:
    """Statically quantized by FX."""
    from torch.ao.quantization import get_default_qconfig, get_default_qconfig_mapping
    from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

    torch.manual_seed(3)
    mapping = get_default_qconfig_mapping(engine).set_object_type(nn.ConvTranspose2d, get_default_qconfig("qnnpack"))
    prepared = prepare_fx(model.eval(), mapping, (torch.randn(SHAPE),))
    for _ in range(3):
        prepared(torch.randn(SHAPE))
    return convert_fx(prepared)


def scripted(module: nn.Module) -> bytes:
    stream = io.BytesIO()
    torch.jit.save(torch.jit.script(module), stream)
    return stream.getvalue()


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> Any:
    """A quantization engine of torch's, for one test."""
    before = torch.backends.quantized.engine
    if request.param not in torch.backends.quantized.supported_engines:
        pytest.skip(f"this torch has no {request.param}")
    torch.backends.quantized.engine = request.param
    yield request.param
    torch.backends.quantized.engine = before


@pytest.mark.parametrize("engine, profile", [("x86", "pytorch"), ("fbgemm", "pytorch"), ("onednn", "pytorch"),
                                             ("qnnpack", "qnnpack")], indirect=["engine"])
def test_fx_models(engine: str, profile: str) -> None:
    """Every operator read; the float meaning within two steps of the last scale of what torch's kernels give."""
    torch.manual_seed(2)
    model = fx(Many(), engine)
    data = scripted(model)
    program = read_trusted(data, "model", profile, [SHAPE])
    graph = translate(program, "model", profile, "")
    kinds = {node.kind for node in graph.nodes}
    assert kinds >= {"Conv", "ConvTranspose", "Linear", "Add", "Mul", "Relu", "MaxPool", "AvgPool", "HardSwish",
                     "LeakyRelu", "Sigmoid", "Concat", "Clip", "BatchNorm", "Mean", "Transpose", "Reshape", "Softmax"}
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(4))
    (found,) = evaluate(graph, x)
    with torch.no_grad():
        wanted = model(x)
    assert found.shape == wanted.shape and float((found - wanted).abs().max()) < 0.03
    assert load_trusted(data, "model", "", [SHAPE]).profile == profile


def test_eager_models() -> None:
    from torch.ao.quantization import DeQuantStub, QuantStub, convert, get_default_qconfig, prepare

    class Eager(models.Digits):
        def __init__(self) -> None:
            super().__init__()
            self.begin, self.end, self.plus = QuantStub(), DeQuantStub(), nn.quantized.FloatFunctional()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.norm(self.first(self.begin(x)))
            y = self.plus.add_relu(self.depthwise(x), x)
            y = functional.adaptive_avg_pool2d(functional.relu(y, inplace=True), 1)
            return self.end(self.last(y.flatten(1)))

    torch.manual_seed(2)
    model = Eager().eval()
    model.qconfig = get_default_qconfig("x86")
    prepared = prepare(torch.ao.quantization.fuse_modules(model, [["first", "norm"]]))
    for _ in range(3):
        prepared(torch.randn(SHAPE))
    done = convert(prepared)
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(4))
    for data in (scripted(done), _traced(done, x)):
        graph = translate(read_trusted(data, "model", "pytorch", [SHAPE]), "model", "pytorch", "")
        with torch.no_grad():
            assert float((evaluate(graph, x)[0] - done(x)).abs().max()) < 0.03


def _traced(module: nn.Module, x: torch.Tensor) -> bytes:
    stream = io.BytesIO()
    torch.jit.save(torch.jit.trace(module, x), stream)
    return stream.getvalue()


def test_files_load_with_trust(tmp_path: Path) -> None:
    path = tmp_path / "digits.pt"
    path.write_bytes(scripted(fx(models.digits(), "x86")))
    with pytest.raises(UnsupportedModelError, match="TorchScript"):
        mpc_bridge.load(path)
    circuit = mpc_bridge.load(path, trust=True, input_shapes=[SHAPE])
    assert circuit.source == "pytorch" and circuit.name == "digits"
    # a file that needs no trust is read as ever
    with pytest.warns(match="example inputs"):
        assert mpc_bridge.load(pt2_files.SMALL, trust=True).source == "pytorch"


class Data(nn.Module):
    """Looks at the values of its input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One of two results."""
        if bool(x.sum() > 0):
            return x + 1
        return x - 1


class Dynamic(nn.Module):
    """Scales computed from the input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Quantized by its own greatest value."""
        scale = x.abs().max() / 127 + 0.1
        return torch.dequantize(torch.quantize_per_tensor(x, scale, torch.zeros(1, dtype=torch.int64), torch.qint8))


class Overwritten(nn.Module):
    """Reads a view of what it changed in place."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """A view, a ReLU in place, the view."""
        y = torch.quantize_per_tensor(x, 0.1, 64, torch.quint8)
        view = y.view(-1)
        torch.relu_(y)
        return torch.dequantize(view)


@pytest.mark.parametrize("module, words", [
    (Data(), "values of its input"), (Dynamic(), "dynamic quantization"), (Overwritten(), "changed in place"),
    (models.Digits(), "floating-point model")], ids=["branch", "scale", "overwritten", "float"])
def test_models_that_are_refused(module: nn.Module, words: str) -> None:
    with pytest.raises(UnsupportedModelError) as refusal:
        load_trusted(scripted(module.eval()), "model", "", [SHAPE])
    assert words in refusal.value.what and refusal.value.hint


def test_dynamic_layers_are_refused() -> None:
    from torch.ao.quantization import quantize_dynamic

    model = quantize_dynamic(nn.Sequential(nn.Linear(4, 4)).eval(), {nn.Linear}, torch.qint8)
    with pytest.raises(UnsupportedModelError, match="dynamic quantization"):
        load_trusted(scripted(model), "model", "", [(1, 4)])


@pytest.mark.parametrize("shapes, words", [
    ([], "--input-shape"), ([(1, 3)], "do not run|does not run"), ([SHAPE, SHAPE], "does not run"),
    ([(0, 3, 12, 12)], "out of range"), ([()], "out of range"), ([(1,) * 20], "out of range")])
def test_shapes(shapes: list[tuple[int, ...]], words: str) -> None:
    with pytest.raises(UsageError) as refusal:
        load_trusted(scripted(models.Digits()), "model", "", shapes)
    assert any(word in str(refusal.value) for word in words.split("|"))


def test_damaged_files() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = scripted(models.Digits())
    with pytest.raises(ModelFormatError, match="cannot load"):
        load_trusted(data[:-100], "model", "", [SHAPE])
