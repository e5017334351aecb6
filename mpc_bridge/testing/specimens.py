"""The smallest circuit of every kind of op: what ``mpc-bridge ops`` asks every backend about, and what tests run on it.

A kind's specimen holds one op of that kind and what such an op needs around it; weights are arbitrary. Whoever adds a
kind to the op list adds its specimen here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from mpc_bridge.circuit import Circuit, Op, Quantization, Tensor, verify
from mpc_bridge.circuit.graph import Attribute
from mpc_bridge.circuit.ops import LINEAR_AXIS
from mpc_bridge.circuit.shapes import infer_shape

Shape = tuple[int, ...]

_ACTIVATION = Quantization((0.0625,), (3,))
_LOWEST = Quantization((1 / 256,), (-128,))
_IMAGE: Shape = (1, 4, 4, 4)
_LINEAR: Mapping[str, Attribute] = {"requantization": ("mbqm", (0.01,), -128, 127)}
_REQUANTIZE: Mapping[str, Attribute] = {"requantization": ("mbqm", (0.5,), -128, 127)}
_HALF_EVEN: Mapping[str, Attribute] = {"requantization": ("half_even", (0.5,), -128, 127)}
_WINDOW: Mapping[str, Attribute] = {"window": (2, 2), "stride": (2, 2), "padding": ((0, 0), (0, 0))}
_STEPS: Mapping[str, Attribute] = {"stride": (1, 1), "dilation": (1, 1), "padding": ((1, 1), (1, 1))}
_BOUNDS: Mapping[str, Attribute] = {"bounds": (-128, 127)}
_SUM: Mapping[str, Attribute] = {
    "left_shift": 20, "input_multipliers": (0.5, 0.5), "requantization": ("mbqm", (2.0**-19,), -128, 127)}
_RESIZE: Mapping[str, Attribute] = {"align_corners": False, "half_pixel_centers": True}

#: Kind → shapes of its inputs (activations first, then constants of a linear op), the output's shape where it is not
#: inferred, attributes.
_ONE_OP: Mapping[str, tuple[tuple[Shape, ...], Shape, Mapping[str, Attribute]]] = {
    "CONV_2D": ((_IMAGE, (3, 3, 3, 4), (3,)), (), {**_STEPS, **_LINEAR}),
    "DEPTHWISE_CONV_2D": ((_IMAGE, (1, 3, 3, 4), (4,)), (), {**_STEPS, "depth_multiplier": 1, **_LINEAR}),
    "FULLY_CONNECTED": (((1, 8), (3, 8), (3,)), (), {"keep_num_dims": False, **_LINEAR}),
    "TRANSPOSE_CONV": ((_IMAGE, (3, 2, 2, 4), (3,)), (1, 8, 8, 3), {"stride": (2, 2), "origin": (0, 0), **_LINEAR}),
    "ADD": ((_IMAGE, _IMAGE), (), _SUM),
    "SUB": ((_IMAGE, _IMAGE), (), _SUM),
    "MUL": ((_IMAGE, _IMAGE), (), _REQUANTIZE),
    "BATCH_MATMUL": (((1, 2, 3), (1, 3, 4)), (), {"adj_x": False, "adj_y": False, **_LINEAR}),
    "AVERAGE_POOL_2D": ((_IMAGE,), (), {**_WINDOW, **_BOUNDS}),
    "MAX_POOL_2D": ((_IMAGE,), (), {**_WINDOW, **_BOUNDS}),
    "MEAN": ((_IMAGE,), (), {"axes": (1, 2), "keep_dims": False, **_REQUANTIZE}),
    "MAXIMUM": ((_IMAGE, _IMAGE), (), {}),
    "MINIMUM": ((_IMAGE, _IMAGE), (), {}),
    "REDUCE_MAX": ((_IMAGE,), (), {"axes": (1, 2), "keep_dims": False}),
    "REDUCE_MIN": ((_IMAGE,), (), {"axes": (1, 2), "keep_dims": False}),
    "ARG_MAX": (((1, 8),), (), {"axis": 1}),
    "RESHAPE": ((_IMAGE,), (1, 64), {}),
    "SQUEEZE": (((1, 1, 8),), (1, 8), {}),
    "EXPAND_DIMS": (((1, 8),), (1, 1, 8), {}),
    "TRANSPOSE": ((_IMAGE,), (), {"permutation": (0, 3, 1, 2)}),
    "SLICE": ((_IMAGE,), (), {"begin": (0, 1, 1, 0), "size": (1, 2, 2, 4)}),
    "STRIDED_SLICE": ((_IMAGE,), (), {"begin": (0, 0, 0, 1), "size": (1, 2, 2, 1), "strides": (1, 2, 2, 1),
                                      "dropped": (3,)}),
    "SPLIT": ((_IMAGE,), (), {"axis": 3, "start": 2, "extent": 2}),
    "SPLIT_V": ((_IMAGE,), (), {"axis": 3, "start": 1, "extent": 3}),
    "UNPACK": ((_IMAGE,), (), {"axis": 1, "start": 2}),
    "PACK": (((1, 8), (1, 8)), (), {"axis": 1}),
    "TILE": (((1, 8),), (), {"multiples": (1, 2)}),
    "RESIZE_NEAREST_NEIGHBOR": ((_IMAGE,), (1, 8, 8, 4), _RESIZE),
    "RESIZE_BILINEAR": ((_IMAGE,), (1, 8, 8, 4), _RESIZE),
    "SPACE_TO_DEPTH": ((_IMAGE,), (), {"block": 2}),
    "DEPTH_TO_SPACE": ((_IMAGE,), (), {"block": 2}),
    "MIRROR_PAD": ((_IMAGE,), (), {"paddings": ((0, 0), (1, 1), (1, 1), (0, 0)), "symmetric": False}),
    "PAD": ((_IMAGE,), (), {"paddings": ((0, 0), (1, 1), (1, 1), (0, 0))}),
    "CONCATENATION": ((_IMAGE, _IMAGE), (), {"axis": 3}),
    "QUANTIZE": ((_IMAGE,), (), _REQUANTIZE),
    "SOFTMAX": (((1, 8),), (), {"beta": 1.0}),
    "RELU": ((_IMAGE,), (), _REQUANTIZE),
    "RELU6": ((_IMAGE,), (), _REQUANTIZE),
    "RELU_N1_TO_1": ((_IMAGE,), (), _REQUANTIZE),
    "LEAKY_RELU": ((_IMAGE,), (), {"alpha_multiplier": 0.125, **_REQUANTIZE}),
    "PRELU": ((_IMAGE, (4,)), (), {"alpha_multiplier": 0.125, **_REQUANTIZE}),
    "HARD_SWISH": ((_IMAGE,), (), {"multipliers": (0.5, 8.0)}),
    "LOGISTIC": ((_IMAGE,), (), {}),
    "TANH": ((_IMAGE,), (), {}),
    "TABLE": ((_IMAGE,), (), {"table": tuple(range(127, -129, -1))}),
    "AVERAGE": ((_IMAGE,), (1, 2, 2, 4), {**_WINDOW, "count_include_pad": True, "divisor": 0, **_HALF_EVEN}),
}


def specimen(kind: str) -> Circuit:
    """The smallest circuit with an op of that kind, verified, with weights.

    Raises:
        KeyError: no such kind.
    """
    made = _Specimen()
    if kind in _ONE_OP:
        made.one_op(kind, *_ONE_OP[kind])
    else:
        _MORE[kind](made)
    return made.finish(kind)


class _Specimen:
    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.tensors: list[Tensor] = []
        self.ops: list[Op] = []
        self.inputs: list[int] = []
        self.constants: dict[int, npt.NDArray[np.generic]] = {}

    def tensor(self, shape: Shape, dtype: str = "int8", quantization: Quantization | None = _ACTIVATION) -> int:
        self.tensors.append(Tensor(f"t{len(self.tensors)}", shape, dtype, quantization))
        return len(self.tensors) - 1

    def input(self, shape: Shape) -> int:
        self.inputs.append(self.tensor(shape))
        return self.inputs[-1]

    def constant(self, shape: Shape, dtype: str, quantization: Quantization | None = None) -> int:
        index = self.tensor(shape, dtype, quantization)
        self.constants[index] = self.rng.integers(-100, 100, shape).astype(dtype)
        return index

    def op(self, kind: str, inputs: tuple[int, ...], attributes: Mapping[str, Attribute], declared: Shape = (),
           dtype: str = "int8", quantization: Quantization | None = _ACTIVATION) -> int:
        op = Op(kind, kind.lower(), inputs, (len(self.tensors),), attributes)
        shapes = [self.tensors[index].shape if index >= 0 else () for index in inputs]
        self.ops.append(op)
        return self.tensor(infer_shape(op, shapes, declared), dtype, quantization)

    def one_op(self, kind: str, shapes: tuple[Shape, ...], declared: Shape,
               attributes: Mapping[str, Attribute]) -> None:
        operands: tuple[int, ...]
        if kind in LINEAR_AXIS:
            weights = self.constant(shapes[1], "int8", Quantization((0.0078125,), (0,)))
            operands = self.input(shapes[0]), weights, self.constant(shapes[2], "int32")
        elif kind == "PRELU":
            operands = self.input(shapes[0]), self.constant(shapes[1], "int8", Quantization((0.0078125,), (0,)))
        else:
            operands = tuple(self.input(shape) for shape in shapes)
        if kind == "ARG_MAX":
            self.op(kind, operands, attributes, declared, "int64", None)
        elif kind in ("SOFTMAX", "LOGISTIC"):
            self.op(kind, operands, attributes, declared, quantization=_LOWEST)
        else:
            self.op(kind, operands, attributes, declared)

    def real(self, shape: Shape) -> int:
        """Floats that the receiver has, after one op of the parties."""
        moved = self.op("RESHAPE", (self.input(shape),), {}, shape)
        return self.op("DEQUANTIZE", (moved,), {}, dtype="float32", quantization=None)

    def finish(self, kind: str) -> Circuit:
        circuit = Circuit(kind.lower(), "tflite", "litert", tuple(self.tensors), tuple(self.ops), tuple(self.inputs),
                          (self.ops[-1].outputs[0],), self.constants, constant_tensors=tuple(sorted(self.constants)))
        verify(circuit)
        return circuit


def _dequantize(made: _Specimen) -> None:
    made.real((1, 8))


def _rescale(made: _Specimen) -> None:
    """A linear op's bare accumulator and an activation, with a bias."""
    weights = made.constant((4, 1, 1, 4), "int8", Quantization((0.0078125,), (0,)))
    bare: dict[str, Attribute] = {**_STEPS, "padding": ((0, 0), (0, 0)), "requantization": ("none", (), 0, 0)}
    x = made.input(_IMAGE)
    accumulator = made.op("CONV_2D", (x, weights), bare, dtype="int32", quantization=None)
    made.op("RESCALE", (accumulator, x, made.constant((4,), "int64")),
            {"multipliers": ((3, 5, 7, 9), (1 << 10,)), "shift": 12, "low": -128, "high": 127})


def _float_softmax(made: _Specimen) -> None:
    made.op("FLOAT_SOFTMAX", (made.real((1, 8)),), {"axis": 1, "log": False}, dtype="float32", quantization=None)


def _float_unary(made: _Specimen) -> None:
    made.op("FLOAT_UNARY", (made.real((1, 8)),), {"function": "sigmoid"}, dtype="float32", quantization=None)


_MORE: Mapping[str, Callable[[_Specimen], None]] = {
    "DEQUANTIZE": _dequantize, "RESCALE": _rescale, "FLOAT_SOFTMAX": _float_softmax, "FLOAT_UNARY": _float_unary}

#: Kinds that have a specimen: all.
KINDS = frozenset(_ONE_OP) | frozenset(_MORE)
