"""What a file is that is not read, and how to make one that is."""

from __future__ import annotations

from typing import NoReturn

from mpc_bridge.errors import ModelFormatError, MpcBridgeError, UnsupportedModelError
from mpc_bridge.importers.base import printable
from mpc_bridge.importers.pytorch.archive import Archive

#: The recipe that every refusal ends in.
RECIPE = ("quantize statically with torchao.quantization.pt2e (prepare_pt2e, calibrate, convert_pt2e) and save with "
          "torch.export.save(torch.export.export(model, inputs), 'model.pt2')")

FLOAT = "a floating-point model: nothing in it is quantized"
DYNAMIC = "dynamic quantization: the scales depend on the secret input"
WEIGHT_ONLY = "weight-only quantization"
REFERENCE = "integer reference representation (use_reference_representation=True)"
TORCHSCRIPT = "a TorchScript file: loading it runs what the file says"
STATE_DICT = "a file of torch.save: a state_dict (weights without their graph) or a pickled module"
OLD = "a .pt2 file of torch before 2.9: its weights are pickled, and pickles stay closed"
COMPILED = "an AOTInductor package: compiled code instead of a graph"

#: For people: what is refused, and what to do instead.
REFUSALS = (
    (FLOAT, "quantize statically: torchao.quantization.pt2e (prepare_pt2e, calibrate, convert_pt2e)"),
    (DYNAMIC, "quantize statically (is_dynamic=False) with calibration data"),
    (WEIGHT_ONLY, "quantize activations too, statically"),
    (REFERENCE, "call convert_pt2e without use_reference_representation"),
    (TORCHSCRIPT, "save with torch.export.save; or --trust and --input-shape, if you trust whoever made the file"),
    (STATE_DICT, "build the model in Python, load the weights, quantize, torch.export.save"),
    (OLD, "load it where you trust it, and save it again with torch 2.9 or later"),
    (COMPILED, "torch.export.save instead"),
)

_ZIP = b"PK\x03\x04"
_PICKLE = b"\x80"
_LEGACY_TORCH = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."


def unsupported(what: str, source: str, hint: str = RECIPE) -> UnsupportedModelError:
    """The error for a sound file that is not read."""
    return UnsupportedModelError(what, where=source, hint=hint)


def is_torchscript(data: bytes) -> bool:
    """Whether a zip file looks like what torch.jit.save writes."""
    return data[:4] == _ZIP and b"/constants.pkl" in data and b"/code/" in data


def not_a_zip(data: bytes, source: str) -> MpcBridgeError:
    """The error for a file that is no zip archive at all."""
    if data[:1] == _PICKLE:
        legacy = "of an old torch.save" if _LEGACY_TORCH in data[:64] else "of a Python object"
        return unsupported(f"a pickle {legacy}: weights without their graph, or code that would run on loading", source,
                           f"build the model in Python and load the weights into it; then {RECIPE}")
    if data[4:8] == b"ET12":
        return unsupported("an ExecuTorch program (.pte): its weights are compiled for one runtime", source,
                           f"start from the model it was made of: {RECIPE}")
    return ModelFormatError("not a .pt2 file: no zip archive", where=source,
                            hint=f"the file is damaged, or something else; to make one: {RECIPE}")


def check_archive(archive: Archive) -> None:
    """Refuse archives of other kinds, by what is in them.

    Raises:
        UnsupportedModelError: TorchScript, a state_dict, an AOTInductor package, a ``.pt2`` of torch before 2.9.
        ModelFormatError: none of those and no ``.pt2`` either.
    """
    names, source = archive.entries.keys(), archive.source
    raw = any(name.endswith("_weights_config.json") for name in names)
    if any(name.startswith("models/") for name in names) and raw:
        return
    if not raw and any(name.endswith("serialized_exported_program.json") or name.startswith("models/")
                       for name in names):
        raise unsupported(OLD, source,
                          "load it where you trust it, torch.export.load, and save it again with torch 2.9 or later")
    if any(name.startswith("data/aotinductor/") for name in names):
        raise unsupported(COMPILED, source)
    if "constants.pkl" in names and any(name.startswith("code/") for name in names):
        raise torchscript(source)
    if "data.pkl" in names:
        raise unsupported(STATE_DICT, source, f"build the model in Python and load the weights into it; then {RECIPE}")
    raise archive.error("there is no models/ in the archive: not a .pt2 file")


def torchscript(source: str) -> UnsupportedModelError:
    """The error for TorchScript that nobody vouched for."""
    return unsupported(TORCHSCRIPT, source,
                       "if you trust whoever made it: --trust and --input-shape (trust=True, input_shapes=), with "
                       f"mpc-bridge[torch] installed. Better: {RECIPE}")


def pickled(name: str, source: str) -> NoReturn:
    """Refuse a tensor that is stored as a pickle."""
    raise unsupported(f"the tensor {name} is a pickled subclass: {WEIGHT_ONLY} (torchao's quantize_), and "
                      "pickles stay closed", source)


def signature(kind: str, source: str) -> NoReturn:
    """Refuse an input or output of the graph that is more than a tensor."""
    shown = printable(kind, "?", 64)
    if shown.endswith("mutation"):
        raise unsupported(f"the graph changes a stored tensor or an input ({shown})", source,
                          f"switch batch normalization and dropout to evaluation (model.eval()); then {RECIPE}")
    raise unsupported(f"the graph has an input or output of kind {shown}", source,
                      "export a model whose inputs and outputs are tensors")


def symbolic(name: str, axis: int, source: str) -> NoReturn:
    """Refuse a size that is not known, other than the batch."""
    place = f"input {name}, axis {axis}" if axis >= 0 else f"tensor {name}"
    raise unsupported(f"a size that is open until the model runs, other than the batch: {place}", source,
                      "export with fixed sizes; only the first axis may be dynamic (it is read as 1)")


def argument(kind: str, source: str) -> NoReturn:
    """Refuse an argument that is neither tensor nor number."""
    shown = printable(kind, "?", 64)
    if shown == "as_graph":
        raise unsupported("a graph within the graph (control flow)", source,
                          "export a model without torch.cond, map, scan or autograd blocks")
    raise unsupported(f"an argument of kind {shown}", source, "express the model in tensors and numbers")


def check_target(target: str, index: int, source: str) -> None:
    """Refuse operators that say what kind of model this is.

    Raises:
        UnsupportedModelError: dynamic or weight-only quantization, integer reference graphs, higher-order operators.
    """
    name = target.removeprefix("torch.ops.")
    place = f"{source}\nnode {index}: {printable(target, '?', 96)}"
    if "choose_qparams" in name or "per_token" in name or "_dynamic" in name:
        raise unsupported(DYNAMIC, place,
                          f"quantize statically (is_dynamic=False) with calibration data: {RECIPE}")
    if name.startswith("torchao.") or "_affine" in name or "_int8pack_mm" in name or "_int4pack" in name or (
            "channel_group" in name):
        raise unsupported(f"{WEIGHT_ONLY} (torchao's quantize_): activations stay in floating point", place)
    if name.startswith("higher_order.out_dtype") or "out_dtype" in name.split(".")[0:2]:
        raise unsupported(REFERENCE, place,
                          "call convert_pt2e without use_reference_representation: quantize and dequantize are read")
    if name.startswith("higher_order.") or name == "call_module":
        raise unsupported("a graph within the graph (control flow, autograd blocks or submodules)", place,
                          "export a model without torch.cond, map, scan or no_grad blocks; "
                          "export the quantized model as a whole")


def check_quantized(kinds: set[str], activations: bool, source: str) -> None:
    """Refuse graphs in which activations are not quantized.

    Args:
        kinds: the kinds of nodes in the graph.
        activations: whether some Quantize works on what depends on the input.
    """
    if activations:
        return
    if "Dequantize" in kinds:
        raise unsupported(f"{WEIGHT_ONLY}: weights are integers, activations stay in floating point", source)
    raise unsupported(FLOAT, source)
