"""From a neutral float graph with quantizers to a circuit: the one place that decides what its regions compute.

The graph is walked once, forwards. Every tensor becomes a value (:mod:`mpc_bridge.importers.qdq.values`): a stored
tensor, integers, or a float tensor in normal form (:mod:`mpc_bridge.importers.qdq.regions`), which costs nothing until
a Quantize makes integers of it. What the last quantized values become is the receiver's
(:mod:`mpc_bridge.importers.qdq.epilogue`).

What is secret: weights, biases, and whatever a region adds or limits per channel. What is public with the circuit:
scales, and with them every constant that a region multiplies with (a batch norm that was not folded into weights, the
slopes of a PRelu), since they become multipliers; and the constants of functions of one integer, which become tables.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable

import numpy as np

from mpc_bridge.circuit.graph import Circuit, Quantization
from mpc_bridge.circuit.verify import verify
from mpc_bridge.errors import CircuitError, ModelFormatError, UnsupportedModelError
from mpc_bridge.importers.base import printable
from mpc_bridge.importers.qdq.builder import Builder
from mpc_bridge.importers.qdq.constants import Constant, fold
from mpc_bridge.importers.qdq.epilogue import Epilogue, ending
from mpc_bridge.importers.qdq.formats import ACTIVATIONS, Format, activation_format
from mpc_bridge.importers.qdq.graph import Graph, Node, Port
from mpc_bridge.importers.qdq.layout import laid, plain
from mpc_bridge.importers.qdq.moves import MOVES
from mpc_bridge.importers.qdq.nodes import KINDS, convert_node
from mpc_bridge.importers.qdq.refusals import Report, UnsupportedNodeError
from mpc_bridge.importers.qdq.regions import Entry, Region
from mpc_bridge.importers.qdq.shapes import Shape, infer
from mpc_bridge.importers.qdq.site import Site
from mpc_bridge.importers.qdq.values import Indices, Integers, Opaque, OpaqueError, Value, span

PROFILES = ("pytorch", "qnnpack", "onnx")

_HOW = {
    "pytorch": "quantize activations and weights statically with PT2E (prepare_pt2e, calibrate, convert_pt2e) and "
               "export again",
    "onnx": "quantize activations and weights statically with onnxruntime.quantization.quantize_static and its QDQ "
            "format",
}


def convert(graph: Graph) -> Circuit:
    """The verified circuit of a neutral graph.

    Args:
        graph: its profile decides the rounding: ``"pytorch"`` (fbgemm, onednn, PT2E: float bias at product scale),
            ``"qnnpack"`` or ``"onnx"`` (int32 bias at the accumulator's scale).

    Raises:
        ModelFormatError: the graph contradicts itself.
        UnsupportedModelError: something has no exact integers; all of it is listed.
    """
    nodes = _needed(graph)
    shapes = infer(graph, nodes)
    _refuse_other_models(graph, nodes)
    circuit = _Conversion(graph, nodes, shapes).run()
    try:
        verify(circuit)
    except CircuitError as error:
        raise ModelFormatError(error.what, where="\n".join(filter(None, (graph.name, error.where))),
                               hint="the file is corrupt, or its shapes depend on its input: export it") from error
    return circuit


def _needed(graph: Graph) -> list[Node]:
    """The nodes that the outputs depend on, in order."""
    wanted, nodes = set(graph.outputs), []
    for node in reversed(graph.nodes):
        if wanted.intersection(node.outputs):
            nodes.append(node)
            wanted.update(node.inputs)
    return nodes[::-1]


def _refuse_other_models(graph: Graph, nodes: Iterable[Node]) -> None:
    """Models that are not quantized statically, by what is missing."""
    stored, activations, weights = set(graph.constants), False, False
    for node in nodes:
        constant = all(name in stored for name in node.inputs if name)
        if constant:
            stored.update(node.outputs)
        if node.kind in ("Quantize", "Dequantize"):
            activations |= not constant
            weights |= constant
    if not activations:
        raise UnsupportedModelError(
            "the model's weights are quantized and its activations are float32" if weights
            else "the model is not quantized: its tensors are float32",
            where=graph.name, hint=_HOW.get(graph.source, _HOW["onnx"]))


class _Conversion:
    def __init__(self, graph: Graph, nodes: list[Node], shapes: dict[str, Shape]) -> None:
        self._graph = graph
        self._nodes = nodes
        self._shapes = shapes
        self._builder = Builder(graph)
        self._report = Report(graph)
        self._values: dict[str, Value] = {name: Constant(array) for name, array in graph.constants.items()}
        self._producers = {name: node for node in nodes for name in node.outputs}
        #: a tensor → the nodes that read it, by number, ascending
        self._readers: dict[str, list[int]] = {}
        for index, node in enumerate(nodes):
            for name in dict.fromkeys(node.inputs):
                self._readers.setdefault(name, []).append(index)
        #: by identity: nodes hold dictionaries
        self._ending = ending(nodes)
        #: refused tensors that have been reported
        self._reported: set[int] = set()

    def run(self) -> Circuit:
        for port in self._graph.inputs:
            self._values[port.name] = self._input(port)
        for node in self._nodes:
            # a Quantize is the end of the op before it
            named = self._producers.get(node.inputs[0], node) if node.kind == "Quantize" else node
            self._builder.layer = printable(named.name, named.kind)
            values = self._convert(node)
            for name, value in zip(node.outputs, values, strict=True):
                self._values[name] = value
        epilogue = Epilogue(self._builder, self._values, self._shapes, self._producers)
        outputs = []
        for name in self._graph.outputs:
            if name not in self._values or isinstance(self._values[name], Constant):
                raise ModelFormatError(f"nothing computes the output '{printable(name, '?')}'", where=self._graph.name,
                                       hint="the file is corrupt: export it again")
            try:
                outputs.append((name, self._output(epilogue, name)))
            except OpaqueError as error:
                self._refuse(error.value)
            except UnsupportedNodeError as error:
                self._report.refuse(self._producers.get(name, Node("Output", name, (), (name,))), error)
        self._report.close()
        return self._builder.finish(outputs)

    def _output(self, epilogue: Epilogue, name: str) -> int:
        value = self._values[name]
        if isinstance(value, Indices):
            return value.tensor
        if isinstance(value, Integers):
            return plain(self._builder, value.tensor)
        return epilogue.reveal(name)

    def _input(self, port: Port) -> Value:
        if port.dtype == "float32":
            tensor = self._builder.input(port.name, port.shape, "float32", None)
            return Region(Entry(laid(tensor, port.shape)), port.shape)
        if port.dtype not in ACTIVATIONS:
            raise UnsupportedModelError(f"an input of type {port.dtype}", where=printable(port.name, "?"),
                                        hint="inputs are float32, int8 or uint8")
        form = self._format_of(port)
        quantization = Quantization((1.0,), (0,)) if form is None else form.quantization
        tensor = self._builder.input(port.name, port.shape, port.dtype, quantization)
        low, high = {"int8": (-128, 127), "uint8": (0, 255)}[port.dtype]
        return Integers(laid(tensor, port.shape), (low, high))

    def _format_of(self, port: Port) -> Format | None:
        """How an integer input is quantized: what the first Dequantize behind it says."""
        waiting = list(self._readers.get(port.name, ()))
        while waiting:
            node = self._nodes[heapq.heappop(waiting)]
            if node.kind == "Dequantize":
                try:
                    return activation_format(node, self._graph.source, self._shapes[node.outputs[0]])
                except UnsupportedNodeError:
                    return None
            if node.kind in MOVES or node.kind == "Split":
                for name in node.outputs:
                    for reader in self._readers.get(name, ()):
                        heapq.heappush(waiting, reader)
        return None

    def _convert(self, node: Node) -> list[Value]:
        inputs = tuple(self._values[name] if name else None for name in node.inputs)
        shapes = tuple(self._shapes[name] for name in node.outputs)
        try:
            stored = tuple(value for value in inputs if isinstance(value, Constant))
            if len(stored) == len([value for value in inputs if value is not None]):
                folded = fold(node, self._graph.source, stored, shapes[0])
                if all(not np.shares_memory(folded.array, value.array) for value in stored):
                    self._builder.spend(folded.array.nbytes)
                return [folded]
            if node.kind not in KINDS and node.kind != "Split":
                raise UnsupportedNodeError("it has no exact integers", "`mpc-bridge ops` lists what is supported")
            return convert_node(Site(self._builder, node, inputs, tuple(
                self._shapes[name] if name else () for name in node.inputs), shapes))
        except OpaqueError as error:
            refused = error.value
        except UnsupportedNodeError as error:
            refused = Opaque(node, error)
        # quantizers write a softmax's result as integers too; what other functions of sums would reveal is more
        if node.kind != "Quantize" or (refused.node.kind == "Softmax" and id(node) in self._ending):
            return [refused] * len(shapes)
        self._refuse(refused)
        return [self._placeholder(node, shapes[0])]

    def _refuse(self, value: Opaque) -> None:
        if id(value) not in self._reported:
            self._reported.add(id(value))
            self._report.refuse(value.node, value.error)

    def _placeholder(self, node: Node, shape: Shape) -> Value:
        """Integers in place of refused ones, so that what follows is looked at too; no circuit comes of it."""
        try:
            form = activation_format(node, self._graph.source, shape)
        except UnsupportedNodeError as error:
            return Opaque(node, error)
        tensor = self._builder.placeholder(shape, form.dtype, form.quantization)
        return Integers(laid(tensor, shape), span(form))
