"""A list of torch calls becomes the neutral graph of :mod:`mpc_bridge.importers.qdq.graph`."""

from __future__ import annotations

from collections import Counter

from mpc_bridge.errors import UnsupportedModelError
from mpc_bridge.importers.base import printable
from mpc_bridge.importers.pytorch import refusals
from mpc_bridge.importers.pytorch.calls import Argument, Call, Program, Ref, corrupt
from mpc_bridge.importers.pytorch.operators import OPERATORS
from mpc_bridge.importers.pytorch.site import COPIES, FREE_COPIES, VIEWS, Site, State, UnsupportedOperatorError
from mpc_bridge.importers.qdq.graph import Graph, Node, Port

#: Refused operators that a report lists; the rest is counted.
MAX_REPORT = 20

_INPUT_DTYPES = ("float32", "int8", "uint8")


def translate(program: Program, name: str, profile: str, sha256: str) -> Graph:
    """The neutral graph of a program.

    What depends on no input is computed, what nothing reads is left out.

    Args:
        program: from a ``.pt2`` or a TorchScript file.
        name: of the model, for people.
        profile: whose integers, see the importer.
        sha256: of the file.

    Raises:
        ModelFormatError: the program contradicts itself.
        UnsupportedModelError: operators that are not read, all listed; or nothing in it is quantized.
    """
    uses = Counter(reference for call in program.calls for reference in references(call))
    uses.update(program.outputs)
    stored = sum(array.nbytes for array in program.constants.values())
    state = State(program, uses, constants=dict(program.constants), left=FREE_COPIES + COPIES * stored)
    ports = tuple(_port(program, tensor) for tensor in program.inputs)
    refused: list[str] = []
    for call in program.calls:
        convert = OPERATORS.get(call.target)
        try:
            if convert is None:
                raise UnsupportedOperatorError("this operator is not read")
            convert(Site(state, call))
            _follow_storage(state, call)
        except UnsupportedOperatorError as error:
            refused.append(f"{call.place}: {printable(str(error), 'it is not read')}")
            for index in range(len(call.outputs)):
                state.renamed[call.outputs[index]] = call.outputs[index]
    if refused:
        more = [f"and {len(refused) - MAX_REPORT} more"] if len(refused) > MAX_REPORT else []
        _check_kind(program, state)
        raise UnsupportedModelError("the model uses operators that cannot be evaluated exactly",
                                    where="\n".join([program.source, *refused[:MAX_REPORT], *more]),
                                    hint="replace them in the model, or export it without run_decompositions(); "
                                         "mpc-bridge ops lists what is read")
    outputs = tuple(_output(program, state, tensor) for tensor in program.outputs)
    nodes = _live(state.nodes, outputs)
    refusals.check_quantized({node.kind for node in nodes}, any(node.kind == "Quantize" for node in nodes),
                             program.source)
    made = {port.name for port in ports} | {tensor for node in nodes for tensor in node.outputs}
    used = {tensor for node in nodes for tensor in node.inputs if tensor}
    constants = {tensor: array for tensor, array in state.constants.items() if tensor in used and tensor not in made}
    for tensor in [*used, *outputs]:
        if tensor not in made and tensor not in constants:
            raise corrupt(f"{tensor} is made by no node", program.source)
    return Graph(name, "pytorch", profile, ports, outputs, tuple(nodes), constants, sha256)


def references(call: Call) -> list[str]:
    """The tensors that a call reads."""
    found: list[str] = []
    for argument in call.arguments.values():
        values: list[Argument] = argument if isinstance(argument, list) else [argument]
        found += [value.name for value in values if isinstance(value, Ref)]
    return found


def _check_kind(program: Program, state: State) -> None:
    """A float model with operators that are not read is a float model first."""
    kinds = {node.kind for node in state.nodes}
    if not any("quantize" in call.target for call in program.calls):
        refusals.check_quantized(kinds - {"Dequantize"}, False, program.source)


def _port(program: Program, tensor: str) -> Port:
    if tensor not in program.metas:
        raise corrupt(f"the shape of the input {tensor} is missing", program.source)
    meta = program.metas[tensor]
    if meta.dtype not in _INPUT_DTYPES:
        raise UnsupportedModelError(f"the input {tensor} is of type {meta.dtype}", where=program.source,
                                    hint=f"inputs are {', '.join(_INPUT_DTYPES)}")
    return Port(tensor, meta.shape, meta.dtype)


def _output(program: Program, state: State, tensor: str) -> str:
    if tensor in state.missing or tensor in state.stale:
        raise UnsupportedModelError(f"the output {tensor} cannot be evaluated exactly", where=program.source,
                                    hint="it holds indices, statistics, or was changed through another tensor")
    name = state.renamed.get(tensor, tensor)
    if name in state.constants:
        raise UnsupportedModelError(f"the output {tensor} does not depend on the input", where=program.source,
                                    hint="export the model without it")
    return name


def _follow_storage(state: State, call: Call) -> None:
    """Views share storage: a change in place shows in the tensor it is made on, and makes its other views stale."""
    operator = call.target.split(".")[1] if call.target.count(".") else ""
    first = call.arguments.get("self", call.arguments.get("input"))
    if not isinstance(first, Ref):
        return
    root = state.origin.get(first.name, first.name)
    if call.target in VIEWS:
        state.origin.update({output: root for output in call.outputs})
        state.families.setdefault(root, {root}).update(call.outputs)
    elif operator.endswith("_") and not operator.startswith("_"):
        if root in state.program.constants:
            raise UnsupportedOperatorError("it changes a stored tensor: model.eval() before the export")
        state.stale |= state.families.get(root, {root}) - {first.name}
        # what is stale stays so
        state.families[root] = {first.name, call.outputs[0]}
        state.renamed[first.name] = state.renamed.get(call.outputs[0], call.outputs[0])
        state.origin[call.outputs[0]] = root


def _live(nodes: list[Node], outputs: tuple[str, ...]) -> list[Node]:
    """The nodes that the outputs depend on."""
    needed = set(outputs)
    kept: list[Node] = []
    for node in reversed(nodes):
        if needed.intersection(node.outputs):
            kept.append(node)
            needed.update(node.inputs)
    return kept[::-1]
