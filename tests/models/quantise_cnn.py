"""Quantizes a trained PyTorch model by every route that an importer reads; the route tests and people run this.

    python -m tests.models.quantise_cnn FOLDER [ROUTE ...]

A route calibrates on real images, writes one model file, and returns how the framework itself runs that model: its
oracle.

``pt2e-xnnpack`` needs executorch's quantizer, whose dependencies are many; its file is kept as ``cnn_xnnpack.pt2``
(``pip install --no-deps executorch==1.5.0 && pip install ruamel.yaml tabulate``, then the command above). The tests
load that file, and make the other forms of it from there.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from tests.models.cnn import HERE, digits, real, trained

Floats = npt.NDArray[np.float32]
#: Logits ``[N, classes]`` of inputs ``[N, ...]``, as the framework computes them.
Oracle = Callable[[Floats], Floats]

XNNPACK = HERE / "cnn_xnnpack.pt2"


@contextmanager
def quiet() -> Iterator[None]:
    """The frameworks' deprecation notes are known; what they compute is what matters here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def oracle(module: Callable[[torch.Tensor], torch.Tensor], batch: int | None = None) -> Oracle:
    """PyTorch's own answers; ``batch`` where the module takes a fixed number of rows."""

    def run(x: Floats) -> Floats:
        rows = torch.from_numpy(np.ascontiguousarray(x))
        with torch.no_grad(), quiet():
            parts = [module(part) for part in rows.split(batch or len(rows))]
        return torch.cat([part.dequantize() if part.is_quantized else part for part in parts]).numpy()

    return run


def pt2e(network: nn.Module, calibration: torch.Tensor, quantizer: object, symbolic: bool = True) -> nn.Module:
    """A network with quantize and dequantize nodes as PyTorch 2 Export quantization makes it."""
    from torchao.quantization.pt2e import allow_exported_model_train_eval
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    # an example of two rows: of one row, export would make the batch static
    shapes = ({0: torch.export.Dim("batch", max=4096)},) if symbolic else None
    example = torch.zeros_like(calibration[: 2 if symbolic else 1])
    exported = torch.export.export(network, (example,), dynamic_shapes=shapes)
    prepared = prepare_pt2e(exported.module(), quantizer)
    with torch.no_grad():
        for part in calibration.split(50 if symbolic else 1):
            prepared(part)
    return allow_exported_model_train_eval(convert_pt2e(prepared))


def save_pt2(module: nn.Module, example: torch.Tensor, path: Path, symbolic: bool, decomposed: bool) -> None:
    """``torch.export.save``, after ``run_decompositions`` where asked; without the paths of this machine."""
    shapes = ({0: torch.export.Dim("batch", max=4096)},) if symbolic else None
    program = torch.export.export(module, (torch.zeros_like(example[: 2 if symbolic else 1]),), dynamic_shapes=shapes)
    if decomposed:
        program = program.run_decompositions()
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    torch.export.save(program, path)


def x86_quantizer() -> object:
    """What ``torch.compile`` on x86 uses: uint8 activations, int8 weights per channel, float logits."""
    from torchao.quantization.pt2e.quantizer.x86_inductor_quantizer import (
        X86InductorQuantizer,
        get_default_x86_inductor_quantization_config,
    )

    return X86InductorQuantizer().set_global(get_default_x86_inductor_quantization_config())


def xnnpack_quantizer() -> object:
    """What executorch uses for XNNPACK: int8 activations, int8 weights per channel, int8 logits."""
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )

    return XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))


def _calibration() -> torch.Tensor:
    return real(digits("calibration")[0])


def _x86(symbolic: bool, decomposed: bool) -> Callable[[Path], Oracle]:
    def make(path: Path) -> Oracle:
        module = pt2e(trained(), _calibration(), x86_quantizer(), symbolic)
        save_pt2(module, _calibration(), path, symbolic, decomposed)
        return oracle(module, None if symbolic else 1)

    return make


def _xnnpack_form(symbolic: bool, decomposed: bool) -> Callable[[Path], Oracle]:
    def make(path: Path) -> Oracle:
        import torchao.quantization.pt2e.quantize_pt2e  # noqa: F401  registers quantized_decomposed

        module = torch.export.load(XNNPACK).module()
        save_pt2(module, _calibration(), path, symbolic, decomposed)
        return oracle(module)

    return make


def make_xnnpack(path: Path) -> Oracle:
    """By executorch's quantizer: what ``cnn_xnnpack.pt2`` is."""
    module = pt2e(trained(), _calibration(), xnnpack_quantizer())
    save_pt2(module, _calibration(), path, symbolic=True, decomposed=False)
    return oracle(module)


def _fx(engine: str) -> Callable[[Path], Oracle]:
    def make(path: Path) -> Oracle:
        from torch.ao.quantization import get_default_qconfig_mapping
        from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

        torch.backends.quantized.engine = engine
        with quiet():
            prepared = prepare_fx(trained(), get_default_qconfig_mapping(engine), (_calibration()[:1],))
            with torch.no_grad():
                prepared(_calibration())
            module = convert_fx(prepared)
            torch.jit.save(torch.jit.script(module), path)
        return oracle(module)

    return make


def onnx_oracle(path: Path) -> Oracle:
    """onnxruntime's answers, without the optimizations that change the arithmetic."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: np.asarray(session.run(None, {name: x})[0], np.float32)


def _export_onnx(module: nn.Module, path: Path) -> None:
    with quiet():
        torch.onnx.export(module, (_calibration()[:2],), str(path), dynamo=True, external_data=False, verbose=False,
                          dynamic_shapes=({0: torch.export.Dim("batch", max=4096)},))


def _onnxruntime(operators: bool) -> Callable[[Path], Oracle]:
    def make(path: Path) -> Oracle:
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process

        whole, prepared = path.with_suffix(".float.onnx"), path.with_suffix(".prepared.onnx")
        _export_onnx(trained(), whole)
        quant_pre_process(str(whole), str(prepared))

        class Reader(CalibrationDataReader):  # type: ignore[misc]
            def __init__(self) -> None:
                self.rows = iter(_calibration().numpy())

            def get_next(self) -> dict[str, Floats] | None:
                row = next(self.rows, None)
                return None if row is None else {"x": row[None]}

        quantize_static(
            str(prepared), str(path), Reader(),
            quant_format=QuantFormat.QOperator if operators else QuantFormat.QDQ,
            per_channel=not operators, activation_type=QuantType.QUInt8 if operators else QuantType.QInt8,
            weight_type=QuantType.QInt8)
        whole.unlink()
        prepared.unlink()
        return onnx_oracle(path)

    return make


def _pt2e_onnx(path: Path) -> Oracle:
    _export_onnx(pt2e(trained(), _calibration(), x86_quantizer()), path)
    return onnx_oracle(path)


#: Name → file suffix, and what writes the file and returns its oracle.
ROUTES: dict[str, tuple[str, Callable[[Path], Oracle]]] = {
    "pt2e-x86": (".pt2", _x86(symbolic=True, decomposed=False)),
    "pt2e-x86-static-decomposed": (".pt2", _x86(symbolic=False, decomposed=True)),
    "pt2e-xnnpack-file": (".pt2", _xnnpack_form(symbolic=True, decomposed=False)),
    "pt2e-xnnpack-static-decomposed": (".pt2", _xnnpack_form(symbolic=False, decomposed=True)),
    "onnx-qdq": (".onnx", _onnxruntime(operators=False)),
    "onnx-qoperator": (".onnx", _onnxruntime(operators=True)),
    "onnx-pt2e": (".onnx", _pt2e_onnx),
    "fx-fbgemm": (".pt", _fx("fbgemm")),
    "fx-qnnpack": (".pt", _fx("qnnpack")),
}


def main() -> None:
    """Writes the asked routes, all but executorch's when none is named, and prints each one's accuracy."""
    folder, names = Path(sys.argv[1]), sys.argv[2:] or list(ROUTES)
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    images, labels = digits("held_out")
    for name in names:
        suffix, make = (".pt2", make_xnnpack) if name == "pt2e-xnnpack" else ROUTES[name]
        path = folder / f"{name}{suffix}"
        classes = make(path)(real(images).numpy()).argmax(axis=1)
        right = np.mean(classes == labels)
        print(f"{path} {path.stat().st_size} bytes, top-1 {right:.4f} of {len(labels)}", flush=True)


if __name__ == "__main__":
    main()
