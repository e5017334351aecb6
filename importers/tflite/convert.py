"""From a parsed file to a circuit: every operator converted, or everything unsupported said at once."""

from __future__ import annotations

from mpc_bridge.circuit.graph import Circuit, Op, Quantization, Tensor
from mpc_bridge.errors import UnsupportedModelError
from mpc_bridge.importers.tflite.operators import CONVERSIONS
from mpc_bridge.importers.tflite.parse import FileModel, FileOperator, FileTensor
from mpc_bridge.importers.tflite.site import ACTIVATION_DTYPES, Node, Site, UnsupportedOperatorError

_FULL_INTEGER = "convert with representative_dataset and supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]"

#: For people: what is refused, in the words of the report that lists it, and what to do instead.
REFUSALS = (
    ("float32 tensors", f"float and dynamic-range models: {_FULL_INTEGER}"),
    ("int16 tensors", f"16x8 models: {_FULL_INTEGER}"),
    ("weights that are not constant", "fold them into the model before it is converted"),
    ("a shape, axis or padding that is computed when the model runs", "convert with a fixed input shape"),
)


def convert(model: FileModel, name: str, profile: str, sha256: str) -> Circuit:
    """The circuit of a parsed file, not yet verified.

    Raises:
        ModelFormatError: an operator contradicts itself.
        UnsupportedModelError: lists every operator and reason, how often, and where first.
    """
    nodes = _nodes(model, profile)
    used = set(model.inputs) | set(model.outputs)
    for operator, node in nodes:
        used.update(index for index in node.inputs if index >= 0)
        used.update(operator.outputs)
    computed = {*model.inputs, *model.outputs, *(index for operator in model.operators for index in operator.outputs)}
    for index in sorted(computed):
        if model.is_constant(index):
            raise model.reader.error(
                f"tensor {index} '{model.tensors[index].name}' is an input or a result, and has data in the file")
    kept = sorted(used)
    number = {index: position for position, index in enumerate(kept)} | {-1: -1}
    constants = {number[index]: model.constant(index) for index in kept if model.is_constant(index)}
    return Circuit(
        name=name, source="tflite", profile=profile,
        tensors=tuple(_tensor(model.tensors[index]) for index in kept),
        ops=tuple(
            Op(operator.kind, _layer(model.tensors[operator.outputs[node.output]].name),
               tuple(number[index] for index in node.inputs), (number[operator.outputs[node.output]],), node.attributes)
            for operator, node in nodes),
        inputs=tuple(number[index] for index in model.inputs),
        outputs=tuple(number[index] for index in model.outputs),
        constants=constants, sha256=sha256, constant_tensors=tuple(sorted(constants)))


def _layer(name: str) -> str:
    """The name of an op's output without what the converter appended: the names of all it fused, after semicolons."""
    return name.split(";")[0] or name


def _nodes(model: FileModel, profile: str) -> list[tuple[FileOperator, Node]]:
    nodes: list[tuple[FileOperator, Node]] = []
    #: (operator, reason) → how often, and where first
    refused: dict[tuple[str, str], tuple[int, str]] = {}

    def refuse(kind: str, reason: str, place: str) -> None:
        count, first = refused.get((kind, reason), (0, place))
        refused[kind, reason] = (count + 1, first)

    for oddity in model.oddities:
        refuse("the file", oddity, "")
    # an output of another integer type is what an ARG_MAX computes, or is refused with its operator
    for index, dtypes in (*((index, ()) for index in model.inputs),
                          *((index, ("int32", "int64")) for index in model.outputs)):
        tensor = model.tensors[index]
        if tensor.dtype not in (*ACTIVATION_DTYPES, "float32", *dtypes):
            refuse("the model's inputs and outputs", f"{tensor.dtype} tensors", f"tensor {index} '{tensor.name}'")
    for operator in model.operators:
        site = Site(model, operator, profile)
        operands = [model.tensors[index] for index in (*operator.inputs, *operator.outputs) if index >= 0]
        oddities = (*operator.oddities, *(oddity for tensor in operands for oddity in tensor.oddities))
        if operator.kind not in CONVERSIONS:
            refuse(operator.kind, "", site.place)
        elif oddities:
            for oddity in dict.fromkeys(oddities):
                refuse(operator.kind, oddity, site.place)
        else:
            try:
                converted = CONVERSIONS[operator.kind](site)
                nodes += ((operator, node) for node in (converted if isinstance(converted, tuple) else (converted,)))
            except UnsupportedOperatorError as error:
                refuse(operator.kind, str(error), site.place)
    if refused:
        raise UnsupportedModelError(
            "the model uses what this version cannot evaluate exactly", where="\n".join(
                [model.reader.source, *(_entry(*key, *value) for key, value in refused.items())]),
            hint="`mpc-bridge ops` lists what is supported; the model must be fully quantized to int8 or uint8")
    return nodes


def _entry(kind: str, reason: str, count: int, place: str) -> str:
    text = f"  {kind}: {reason}" if reason else f"  {kind}"
    return f"{text} ({count} times, first at {place})" if place else text


def _tensor(tensor: FileTensor) -> Tensor:
    quantization = None
    if tensor.dtype in ACTIVATION_DTYPES and tensor.scale:
        axis = tensor.axis if len(tensor.scale) > 1 else None
        quantization = Quantization(tensor.scale, tensor.zero_point, axis)
    # biases carry the product of two scales that are already here, and real files put nonsense into their axis
    return Tensor(tensor.name, tensor.shape, tensor.dtype, quantization)
