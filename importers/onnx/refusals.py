"""Files that are sound ONNX and quantized in a way that has no fixed integers, or not at all: what to do instead."""

from __future__ import annotations

from mpc_bridge.errors import UnsupportedModelError
from mpc_bridge.importers.onnx.proto import FileModel, FileNode
from mpc_bridge.importers.onnx.site import ACTIVATION_DTYPES

#: Operators whose scales are computed from each input when the model runs.
_DYNAMIC = frozenset({
    "DynamicQuantizeLinear", "MatMulInteger", "ConvInteger", "DynamicQuantizeMatMul", "MatMulIntegerToFloat",
    "DynamicQuantizeLSTM", "QAttention", "ConvIntegerToFloat", "FusedMatMulInteger"})

#: Operators whose weights alone are integers.
_WEIGHT_ONLY = frozenset({"MatMulNBits", "MatMulBnb4", "MatMulFpQ4", "GatherBlockQuantized", "QMoE"})

FLOAT = "the model is not quantized: it computes with floats"
DYNAMIC = ("the model is quantized dynamically: its scales depend on each input, so that no exact integers are fixed "
           "in the file")
WEIGHT_ONLY = "the model's weights alone are quantized; it computes with floats"

#: For people: what is refused, and what to do instead.
REFUSALS = (
    (FLOAT, "quantize it with calibration data: onnxruntime.quantization.quantize_static"),
    (DYNAMIC, "quantize_static instead of quantize_dynamic"),
    (WEIGHT_ONLY, "quantize activations too: quantize_static"),
)

_STATIC = ("quantize the float model with calibration data: onnxruntime.quantization.quantize_static(float_path, "
           "new_path, calibration_data_reader, quant_format=QuantFormat.QDQ, activation_type=QuantType.QUInt8, "
           "weight_type=QuantType.QInt8, per_channel=True)")


def refuse_other_quantization(model: FileModel) -> None:
    """Refuse files without statically quantized activations.

    Raises:
        UnsupportedModelError: saying what the file is and how to make a supported one.
    """
    def refusal(what: str, kinds: list[str]) -> UnsupportedModelError:
        return UnsupportedModelError(what, where="\n".join(filter(None, [model.source, ", ".join(kinds[:8])])),
                                     hint=_STATIC)

    kinds = {node.kind for node in model.nodes}
    dynamic, weight_only = sorted(kinds & _DYNAMIC), sorted(kinds & _WEIGHT_ONLY)
    if dynamic:
        raise refusal(DYNAMIC, dynamic)
    if weight_only:
        raise refusal(WEIGHT_ONLY, weight_only)
    stored = set(model.tensors) | {name for node in model.nodes if node.kind == "Constant" for name in node.outputs}
    if any(_quantizes_activations(node, stored) for node in model.nodes) or any(
            port.dtype in ACTIVATION_DTYPES for port in model.inputs):
        return
    if "DequantizeLinear" in kinds:
        raise refusal(WEIGHT_ONLY, ["DequantizeLinear"])
    raise refusal(FLOAT, [])


def _quantizes_activations(node: FileNode, stored: set[str]) -> bool:
    if node.kind.startswith("QLinear") or node.kind == "QGemm":
        return True
    return node.kind == "QuantizeLinear" and node.inputs[:1] != () and node.inputs[0] not in stored
