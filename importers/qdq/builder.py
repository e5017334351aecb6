"""A circuit under construction: tensors and ops by number, equal ops only once, and at the end only what is needed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mpc_bridge.circuit.graph import Attribute, Circuit, Op, Quantization, Tensor
from mpc_bridge.circuit.ops import FLOAT_MOVES
from mpc_bridge.circuit.verify import MAX_OPS
from mpc_bridge.importers.base import printable
from mpc_bridge.importers.qdq.graph import EMITTED, Graph
from mpc_bridge.importers.qdq.refusals import UnsupportedNodeError
from mpc_bridge.importers.qdq.shapes import MAX_RANK, Shape

#: Files end at 2 GiB; biases take twice what they do there.
MAX_CONSTANT_BYTES = 2**32


class Builder:
    """Emits ops. :attr:`layer` is the name that the next ones get."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.layer = ""
        self.tensors: list[Tensor] = []
        self._ops: list[Op] = []
        self._inputs: list[int] = []
        self._constants: dict[int, npt.NDArray[np.generic]] = {}
        #: tensor → the op that computes it
        self._producers: dict[int, Op] = {}
        self._known: dict[tuple[object, ...], int] = {}
        self._spent = 0
        #: what a region became: (region, format) → result
        self.quantized: dict[tuple[object, object], object] = {}

    def shape(self, tensor: int) -> Shape:
        """As it is stored."""
        return self.tensors[tensor].shape

    def quantization(self, tensor: int) -> tuple[float, int]:
        """Scale and zero point of an activation."""
        quantization = self.tensors[tensor].quantization
        assert quantization is not None
        return quantization.scale[0], quantization.zero_point[0]

    def _tensor(self, shape: Sequence[int], dtype: str, quantization: Quantization | None) -> int:
        if len(shape) > MAX_RANK:
            raise UnsupportedNodeError(f"more than {MAX_RANK} axes", "reshape it to fewer axes")
        self.tensors.append(Tensor(self.layer, tuple(int(extent) for extent in shape), dtype, quantization))
        return len(self.tensors) - 1

    def input(self, name: str, shape: Shape, dtype: str, quantization: Quantization | None) -> int:
        """An input of the model."""
        self.layer = printable(name, "input")
        self._inputs.append(self._tensor(shape, dtype, quantization))
        return self._inputs[-1]

    def spend(self, size: int) -> None:
        """Count bytes of constants: a small file may name a stored tensor very often.

        Raises:
            UnsupportedNodeError: there are more than any file holds.
        """
        self._spent += size
        if self._spent > MAX_CONSTANT_BYTES:
            raise UnsupportedNodeError("more than 4 GiB of constants", "store every weight once, and use it once")

    def constant(self, array: npt.NDArray[np.generic], quantization: Quantization | None = None) -> int:
        """A secret constant."""
        self.spend(array.nbytes)
        index = self._tensor(array.shape, array.dtype.name, quantization)
        self._constants[index] = np.ascontiguousarray(array)
        return index

    def placeholder(self, shape: Shape, dtype: str, quantization: Quantization) -> int:
        """A tensor that nothing computes, in a conversion that has failed."""
        return self._tensor(shape, dtype, quantization)

    def op(self, kind: str, inputs: tuple[int, ...], shape: Shape, dtype: str,
           quantization: Quantization | None = None, **attributes: Attribute) -> int:
        """An op and its output; one that is already there is used again."""
        if dtype == "float32" and self.tensors[inputs[0]].dtype == "float32" and not (
                kind.startswith("FLOAT_") or kind in FLOAT_MOVES):
            raise UnsupportedNodeError("an op on floating point numbers after the last quantized value",
                                       "quantize its input, or let the model end before it")
        assert kind in EMITTED, f"{kind} is not among the kinds that are emitted: add it there"
        key = (kind, inputs, shape, dtype, quantization, tuple(sorted(attributes.items())))
        if key not in self._known:
            if len(self._ops) >= MAX_OPS:
                raise UnsupportedNodeError(f"more than {MAX_OPS} ops", "split the model")
            output = self._known[key] = self._tensor(shape, dtype, quantization)
            self._producers[output] = Op(kind, self.layer or kind, inputs, (output,), attributes)
            self._ops.append(self._producers[output])
        return self._known[key]

    def move(self, kind: str, source: int, shape: Shape, **attributes: Attribute) -> int:
        """An op on one tensor that keeps type and quantization."""
        tensor = self.tensors[source]
        return self.op(kind, (source,), shape, tensor.dtype, tensor.quantization, **attributes)

    def reshape(self, source: int, shape: Shape) -> int:
        """Another shape; of a reshape, of what that one reads."""
        producer = self._producers.get(source)
        while producer and producer.kind == "RESHAPE" and self._alike(producer.inputs[0], source):
            source = producer.inputs[0]
            producer = self._producers.get(source)
        return source if self.shape(source) == shape else self.move("RESHAPE", source, shape)

    def _alike(self, a: int, b: int) -> bool:
        return self.tensors[a].quantization == self.tensors[b].quantization

    def relabel(self, source: int, quantization: Quantization) -> int:
        """The same integers with another scale and zero point."""
        tensor = self.tensors[source]
        if tensor.quantization == quantization:
            return source
        return self.op("RESHAPE", (source,), tensor.shape, tensor.dtype, quantization)

    def finish(self, outputs: Sequence[tuple[str, int]]) -> Circuit:
        """The circuit: what the outputs need, and every input."""
        needed = {tensor for _, tensor in outputs}
        ops = []
        for op in reversed(self._ops):
            if op.outputs[0] in needed:
                ops.append(op)
                needed.update(index for index in op.inputs if index >= 0)
        kept = sorted(needed | set(self._inputs))
        number = {index: position for position, index in enumerate(kept)} | {-1: -1}
        names = {tensor: printable(name, "output") for name, tensor in reversed(outputs)
                 if tensor not in self._inputs}
        constants = {number[index]: array for index, array in self._constants.items() if index in needed}
        tensors = [self.tensors[index] for index in kept]
        return Circuit(
            name=printable(self.graph.name, "model"), source=self.graph.source, profile=self.graph.profile,
            tensors=tuple(Tensor(names.get(index, tensor.name), tensor.shape, tensor.dtype, tensor.quantization)
                          for index, tensor in zip(kept, tensors, strict=True)),
            ops=tuple(Op(op.kind, op.name, tuple(number[index] for index in op.inputs), (number[op.outputs[0]],),
                         op.attributes) for op in reversed(ops)),
            inputs=tuple(number[index] for index in self._inputs),
            outputs=tuple(number[tensor] for _, tensor in outputs),
            constants=constants, sha256=self.graph.sha256, constant_tensors=tuple(sorted(constants)))
