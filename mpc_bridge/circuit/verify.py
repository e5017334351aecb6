"""The verifier: every circuit that was imported, loaded or received passes it before anything else looks at it.

It checks the graph (indices, order, one producer per tensor), every tensor, every attribute, all shapes by inference,
the type and quantization rules of :mod:`mpc_bridge.circuit.ops`, and that the constants held are exactly the constants
declared. The first thing wrong raises :class:`~mpc_bridge.errors.CircuitError`, naming the op and the tensor.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping

import numpy as np

from mpc_bridge.circuit.attributes import check_attributes, is_integer, is_real
from mpc_bridge.circuit.graph import DTYPES, INTEGER_RANGES, Circuit, Op, Quantization, Tensor
from mpc_bridge.circuit.ops import BY_NAME, FLOAT_MOVES, FLOAT_RULES, LINEAR_AXIS
from mpc_bridge.circuit.shapes import infer_shape
from mpc_bridge.errors import CircuitError

MAX_TENSORS = 65_536
MAX_OPS = 65_536
MAX_RANK = 8
#: Elements of one tensor. A 1024 x 1024 image with 256 channels has as many.
MAX_ELEMENTS = 2**28
MAX_NAME = 1024

_ACTIVATIONS = ("int8", "uint8")
#: Greatest magnitude of a RESCALE's bias: with everything it is added to, it stays within 63 bits.
MAX_BIAS = 2**61
#: Kinds whose input and output may be of any two 8-bit types; so may all with the rule "half_even".
_RETYPING = ("QUANTIZE", "RESCALE", "TABLE")
#: Kinds of which an input may be a constant.
_BROADCASTING = ("ADD", "SUB", "MAXIMUM", "MINIMUM", "MUL", "BATCH_MATMUL", "PRELU")


def verify(circuit: Circuit) -> None:
    """Check a circuit, with or without its constants.

    Args:
        circuit: any value of that class; its fields may come from a stranger.

    Raises:
        CircuitError: the first thing that is wrong: what, and in which op and tensor.
    """
    _Verifier(circuit).run()


class _Verifier:
    def __init__(self, circuit: Circuit) -> None:
        self.circuit = circuit
        #: tensors that exist at the current op: model inputs, constants, outputs of earlier ops
        self.defined: set[int] = set()
        self.constants: frozenset[int] = frozenset()
        #: bare accumulators of rule "none", and int64 sums of a RESCALE
        self.accumulators: set[int] = set()
        self.sums: set[int] = set()

    def run(self) -> None:
        circuit = self.circuit
        for field in ("name", "source", "profile", "sha256"):
            if not _is_name(getattr(circuit, field)):
                raise _error(f"the circuit's {field} is not a printable string of at most {MAX_NAME} characters")
        for what, items, most in (("tensors", circuit.tensors, MAX_TENSORS), ("ops", circuit.ops, MAX_OPS)):
            if not isinstance(items, tuple) or len(items) > most:
                raise _error(f"the circuit's {what} are not a tuple of at most {most}")
        for index, tensor in enumerate(circuit.tensors):
            try:
                _check_tensor(tensor)
            except ValueError as error:
                raise _error(str(error), where=_label(index, tensor)) from None
        self._constants()
        self._interface()
        for index, op in enumerate(circuit.ops):
            self._op(index, op)
        for tensor_index in circuit.outputs:
            if tensor_index not in self.defined or tensor_index in self.constants:
                raise _error("an output of the model that no op computes", where=self._tensor_label(tensor_index))
            if tensor_index in self.accumulators | self.sums:
                raise _error("an output of the model that is a bare sum", where=self._tensor_label(tensor_index))

    def _tensor_label(self, index: int) -> str:
        return _label(index, self.circuit.tensors[index])

    def _check_indices(self, what: str, indices: object, distinct: bool) -> None:
        if not isinstance(indices, tuple) or not all(is_integer(i, 0, len(self.circuit.tensors) - 1) for i in indices):
            raise _error(f"{what} are not indices of the circuit's {len(self.circuit.tensors)} tensors")
        if distinct and len(set(indices)) != len(indices):
            raise _error(f"{what} name a tensor twice")

    def _constants(self) -> None:
        circuit = self.circuit
        self._check_indices("the constant tensors", circuit.constant_tensors, distinct=True)
        self.constants = frozenset(circuit.constant_tensors)
        if not isinstance(circuit.constants, Mapping):
            raise _error("the circuit's constants are not a mapping")
        if circuit.constants and set(circuit.constants) != self.constants:
            raise _error("the constants held are not the constants declared",
                         where=f"tensors {sorted(set(circuit.constants) ^ self.constants, key=str)[:8]}")
        for index, array in circuit.constants.items():
            tensor = circuit.tensors[index]
            expected = (np.dtype(tensor.dtype), tensor.shape)
            if not isinstance(array, np.ndarray) or (array.dtype, array.shape) != expected:
                held = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
                raise _error(f"a constant {held} for a {tensor.dtype} tensor of shape {tensor.shape}",
                             where=self._tensor_label(index))
            if tensor.dtype == "int64" and (int(array.max()) > MAX_BIAS or int(array.min()) < -MAX_BIAS):
                raise _error("a bias beyond 2**61", where=self._tensor_label(index))
        for index in self.constants:
            if circuit.tensors[index].dtype not in (*_ACTIVATIONS, "int32", "int64"):
                raise _error(f"a constant of type {circuit.tensors[index].dtype}", where=self._tensor_label(index))

    def _interface(self) -> None:
        circuit = self.circuit
        self._check_indices("the model's inputs", circuit.inputs, distinct=True)
        self._check_indices("the model's outputs", circuit.outputs, distinct=False)
        if not circuit.inputs or not circuit.outputs:
            raise _error("a circuit without inputs or without outputs")
        for index in circuit.inputs:
            if index in self.constants:
                raise _error("an input of the model that is a constant", where=self._tensor_label(index))
            if circuit.tensors[index].dtype not in (*_ACTIVATIONS, "float32"):
                raise _error(f"an input of type {circuit.tensors[index].dtype}", where=self._tensor_label(index))
        self.defined = set(circuit.inputs) | self.constants

    def _op(self, index: int, op: Op) -> None:
        where = f"op {index}"
        if not isinstance(op, Op) or not isinstance(op.kind, str) or op.kind not in BY_NAME:
            raise _error("an op of an unknown kind", where=where)
        where = f"op {index} {op.kind}"
        if not _is_name(op.name):
            raise _error(f"its name is not a printable string of at most {MAX_NAME} characters", where=where)
        where = f"op {index} {op.kind} '{op.name}'"
        try:
            self._check_operands(op)
            self._check_types(op)
            names = BY_NAME[op.kind].attributes
            if not isinstance(op.attributes, Mapping) or set(op.attributes) != set(names):
                raise ValueError(f"its attributes are not exactly {', '.join(names) or 'none'}")
            output = self.circuit.tensors[op.outputs[0]]
            check_attributes(op, output.dtype, output.shape[-1] if output.shape else 1)
            shapes = [self.circuit.tensors[i].shape if i >= 0 else () for i in op.inputs]
            inferred = infer_shape(op, shapes, output.shape)
            if inferred != output.shape:
                raise ValueError(f"its output is declared with shape {output.shape} and has shape {inferred}: "
                                 f"{self._tensor_label(op.outputs[0])}")
        except ValueError as error:
            raise _error(str(error), where=where) from None
        self.defined.add(op.outputs[0])

    def _check_operands(self, op: Op) -> None:
        least, most = BY_NAME[op.kind].inputs
        last = len(self.circuit.tensors) - 1
        if not isinstance(op.inputs, tuple) or not least <= len(op.inputs) <= most:
            raise ValueError(f"its inputs are not a tuple of {least} to {most} tensors")
        for position, index in enumerate(op.inputs):
            optional = (op.kind in LINEAR_AXIS and position == 2
                        or op.kind == "RESCALE" and position == len(op.inputs) - 1)
            if not is_integer(index, -1 if optional else 0, last):
                raise ValueError(f"input {position} is not one of the circuit's {last + 1} tensors")
            if index >= 0 and index not in self.defined:
                raise ValueError(f"input {position} is used before any op computes it: {self._tensor_label(index)}")
        if not isinstance(op.outputs, tuple) or len(op.outputs) != 1 or not is_integer(op.outputs[0], 0, last):
            raise ValueError(f"its outputs are not one of the circuit's {last + 1} tensors")
        if op.outputs[0] in self.defined:
            raise ValueError(f"its output already has a value: {self._tensor_label(op.outputs[0])}")

    def _check_types(self, op: Op) -> None:
        tensors = self.circuit.tensors
        output = tensors[op.outputs[0]]
        if self._is_float(op):
            self._check_float(op)
            return
        rule = self._rule(op)
        if rule in FLOAT_RULES:
            raise ValueError(f"requantization rule {rule!r} on integers")
        if op.kind == "RESCALE":
            self._check_rescale(op)
            return
        activations = op.inputs[:1] if op.kind in LINEAR_AXIS else op.inputs
        if op.kind == "DEQUANTIZE":
            if output.dtype != "float32":
                raise ValueError(f"its output is {output.dtype}, not float32")
            if op.inputs[0] in self.sums:
                return
        for index in activations:
            self._need_activation(index)
            if index in self.constants and op.kind not in _BROADCASTING:
                raise ValueError(f"a constant in place of an activation: {self._tensor_label(index)}")
        if op.kind == "DEQUANTIZE":
            return
        if op.kind == "ARG_MAX":
            if output.dtype not in ("int32", "int64") or output.quantization is not None:
                raise ValueError(f"its output is {output.dtype}, not plain int32 or int64")
            return
        if op.kind in LINEAR_AXIS:
            self._check_constants_of(op, rule)
        if rule == "none":
            if output.dtype != "int32" or output.quantization is not None:
                raise ValueError(f"its output is {output.dtype}, not a plain int32 accumulator")
            self.accumulators.add(op.outputs[0])
            return
        self._need_activation(op.outputs[0])
        if op.kind in _RETYPING or rule == "half_even":
            return
        if any(tensors[index].dtype != output.dtype for index in activations):
            raise ValueError("its inputs and output are of different types")
        if op.kind == "CONCATENATION" and output.dtype == "int8" and any(
                tensors[index].quantization != output.quantization for index in activations):
            raise ValueError("int8 inputs quantized differently from the output")
        lowest = Quantization((1 / 256,), (INTEGER_RANGES[output.dtype][0],))
        if op.kind in ("SOFTMAX", "LOGISTIC") and output.quantization != lowest:
            raise ValueError("its output is not quantized with scale 1/256 and the lowest zero point")

    def _is_float(self, op: Op) -> bool:
        """Whether it is one of the data owner's or receiver's ops on float32."""
        moved = op.kind in (*FLOAT_MOVES, "QUANTIZE") and self.circuit.tensors[op.inputs[0]].dtype == "float32"
        return moved or op.kind in ("FLOAT_SOFTMAX", "FLOAT_UNARY")

    def _check_float(self, op: Op) -> None:
        source, output = (self.circuit.tensors[index] for index in (op.inputs[0], op.outputs[0]))
        if source.dtype != "float32":
            raise ValueError(f"it reads {source.dtype}, not float32")
        if op.kind == "QUANTIZE":
            self._need_activation(op.outputs[0])
            if self._rule(op) not in FLOAT_RULES:
                raise ValueError(f"requantization rule {self._rule(op)!r} on float32")
            return
        if op.inputs[0] in self.circuit.inputs:
            raise ValueError("it reads float32 that is an input of the model, which only a QUANTIZE may")
        if output.dtype != "float32":
            raise ValueError(f"its output is {output.dtype}, not float32")

    def _check_rescale(self, op: Op) -> None:
        output = self.circuit.tensors[op.outputs[0]]
        for index in op.inputs[:-1]:
            if index < 0 or index in self.constants:
                raise ValueError("a term that is no activation")
            if index not in self.accumulators:
                self._need_activation(index)
        if op.inputs[-1] >= 0:
            bias = self.circuit.tensors[op.inputs[-1]]
            if op.inputs[-1] not in self.constants or bias.dtype != "int64" or len(bias.shape) != 1:
                raise ValueError(f"a bias that is not a constant int64 vector: {self._tensor_label(op.inputs[-1])}")
        if output.dtype != "int64":
            self._need_activation(op.outputs[0])
            return
        quantization = output.quantization
        if quantization is None or any(quantization.zero_point) or quantization.axis not in (
                None, len(output.shape) - 1):
            raise ValueError("an int64 sum that is not quantized along its last axis with zero points 0")
        self.sums.add(op.outputs[0])

    def _rule(self, op: Op) -> str:
        """The rule of its requantization, ``""`` without one."""
        value = op.attributes.get("requantization") if isinstance(op.attributes, Mapping) else None
        return str(value[0])[:40] if isinstance(value, tuple) and value else ""

    def _need_activation(self, index: int) -> None:
        tensor = self.circuit.tensors[index]
        if tensor.dtype not in _ACTIVATIONS:
            raise ValueError(f"a {tensor.dtype} tensor in place of an activation: {self._tensor_label(index)}")
        if tensor.quantization is None or len(tensor.quantization.scale) != 1:
            raise ValueError(f"an activation without exactly one scale: {self._tensor_label(index)}")

    def _check_constants_of(self, op: Op, rule: str) -> None:
        weights = self.circuit.tensors[op.inputs[1]]
        label = self._tensor_label(op.inputs[1])
        if op.inputs[1] not in self.constants:
            raise ValueError(f"weights that are not constant: {label}")
        free = rule in ("half_even", "none")
        if weights.dtype not in (_ACTIVATIONS if free else (self.circuit.tensors[op.inputs[0]].dtype,)):
            raise ValueError(f"{weights.dtype} weights: {label}")
        quantization = weights.quantization
        if quantization is None:
            raise ValueError(f"weights without a scale: {label}")
        if len(quantization.scale) > 1 and (
                weights.dtype != "int8" and not free or quantization.axis != LINEAR_AXIS[op.kind]):
            raise ValueError(f"{weights.dtype} weights quantized along axis {quantization.axis}: {label}")
        if weights.dtype == "int8" and any(quantization.zero_point) and not free:
            raise ValueError(f"int8 weights with a zero point: {label}")
        if len(op.inputs) == 3 and op.inputs[2] >= 0:
            if rule == "none":
                raise ValueError("a bare accumulator with a bias")
            bias = self.circuit.tensors[op.inputs[2]]
            if op.inputs[2] not in self.constants or bias.dtype != "int32" or len(bias.shape) != 1:
                raise ValueError(f"a bias that is not a constant int32 vector: {self._tensor_label(op.inputs[2])}")


def _error(what: str, *, where: str = "") -> CircuitError:
    return CircuitError(what, where=where, hint="the circuit is damaged or its importer has a fault: import it again")


def _label(index: int, tensor: object) -> str:
    name = tensor.name if isinstance(tensor, Tensor) and _is_name(tensor.name) else "?"
    return f"tensor {index} '{name}'"


def _is_name(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MAX_NAME and value.isprintable()


def _check_tensor(tensor: object) -> None:
    if not isinstance(tensor, Tensor):
        raise ValueError(f"a {type(tensor).__name__} in place of a tensor")
    if not _is_name(tensor.name):
        raise ValueError(f"its name is not a printable string of at most {MAX_NAME} characters")
    shape = tensor.shape
    if not isinstance(shape, tuple) or len(shape) > MAX_RANK or not all(is_integer(n, 1, MAX_ELEMENTS) for n in shape):
        raise ValueError(f"its shape is not a tuple of at most {MAX_RANK} extents of at least 1")
    if math.prod(shape) > MAX_ELEMENTS:
        raise ValueError(f"its shape {shape} has more than {MAX_ELEMENTS} elements")
    if not isinstance(tensor.dtype, str) or tensor.dtype not in DTYPES:
        raise ValueError("its type is unknown")
    if tensor.quantization is not None:
        _check_quantization(tensor, tensor.quantization)


def _check_quantization(tensor: Tensor, quantization: object) -> None:
    if not isinstance(quantization, Quantization) or tensor.dtype not in INTEGER_RANGES:
        raise ValueError(f"a quantization that a {tensor.dtype} tensor cannot have")
    scale, zero_point, axis = quantization.scale, quantization.zero_point, quantization.axis
    if not isinstance(scale, tuple) or not isinstance(zero_point, tuple) or not 1 <= len(scale) == len(zero_point):
        raise ValueError("its scales and zero points are not tuples of one length")
    if not all(is_real(item) and _is_float32(item) for item in scale):
        raise ValueError("a scale that is not a positive float32")
    if not all(is_integer(item, *INTEGER_RANGES[tensor.dtype]) for item in zero_point):
        raise ValueError(f"a zero point outside {tensor.dtype}")
    if axis is None:
        if len(scale) != 1:
            raise ValueError(f"{len(scale)} scales without an axis")
    elif not is_integer(axis, 0, len(tensor.shape) - 1) or tensor.shape[axis] != len(scale):
        raise ValueError(f"{len(scale)} scales along axis {axis} of shape {tensor.shape}")


def _is_float32(value: float) -> bool:
    try:
        return bool(struct.unpack("<f", struct.pack("<f", value))[0] == value)
    except OverflowError:
        return False
