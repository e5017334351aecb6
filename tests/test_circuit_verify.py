"""The verifier: it accepts every circuit that importers make, and names what is wrong with every kind of damage."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mpc_bridge.circuit import BY_NAME, OPS, Circuit, Op, Quantization, Tensor, verify
from mpc_bridge.circuit.ops import RULES
from mpc_bridge.errors import CircuitError
from mpc_bridge.importers.tflite import load
from tests.circuits import ACTIVATION, small_circuit
from tests.models import oneop

CASES = dict(oneop.cases())
SMALL = small_circuit()
CONV, POOL, RESHAPE, DENSE, SOFTMAX, REAL = range(6)
MBQM = ("mbqm", (0.1,), -128, 127)


def tensor(index: int, **changes: Any) -> Circuit:
    tensors = list(SMALL.tensors)
    tensors[index] = replace(tensors[index], **changes)
    return replace(SMALL, tensors=tuple(tensors))


def op(index: int, **changes: Any) -> Circuit:
    ops = list(SMALL.ops)
    ops[index] = replace(ops[index], **changes)
    return replace(SMALL, ops=tuple(ops))


def attribute(index: int, **changes: Any) -> Circuit:
    return op(index, attributes={**SMALL.ops[index].attributes, **changes})


def without(index: int, name: str) -> Circuit:
    return op(index, attributes={key: value for key, value in SMALL.ops[index].attributes.items() if key != name})


def scales(index: int, *arguments: Any) -> Circuit:
    return tensor(index, quantization=Quantization(*arguments))


#: damage → (the circuit, what the message says, where it points)
DAMAGE: dict[str, tuple[Circuit, str, str]] = {
    "name": (replace(SMALL, name="a\x1b[31mb"), "name is not a printable string", ""),
    "source": (replace(SMALL, source=7), "source is not a printable string", ""),  # type: ignore[arg-type]
    "tensors": (replace(SMALL, tensors=[]), "tensors are not a tuple", ""),  # type: ignore[arg-type]
    "tensor name": (tensor(3, name="x" * 2000), "its name is not a printable string", "tensor 3 '?'"),
    "no tensor": (replace(SMALL, tensors=("x", *SMALL.tensors[1:])), "in place of a tensor", "tensor 0"),  # type: ignore[arg-type]
    "rank": (tensor(0, shape=(1,) * 9), "its shape is not", "tensor 0 'image'"),
    "extent": (tensor(0, shape=(0, 4, 4, 2)), "its shape is not", "tensor 0 'image'"),
    "extent type": (tensor(0, shape=(1, 4, 4.0, 2)), "its shape is not", "tensor 0 'image'"),
    "extent bool": (tensor(0, shape=(True, 4, 4, 2)), "its shape is not", "tensor 0 'image'"),
    "elements": (tensor(0, shape=(2**14, 2**15)), "more than", "tensor 0 'image'"),
    "dtype": (tensor(0, dtype="int4"), "its type is unknown", "tensor 0 'image'"),
    "scale": (scales(0, (0.0,), (3,)), "not a positive float32", "tensor 0 'image'"),
    "scale nan": (scales(0, (math.nan,), (3,)), "not a positive float32", "tensor 0 'image'"),
    "scale double": (scales(0, (0.1,), (3,)), "not a positive float32", "tensor 0 'image'"),
    "scale huge": (scales(0, (1e300,), (3,)), "not a positive float32", "tensor 0 'image'"),
    "scale int": (scales(0, (1,), (3,)), "not a positive float32", "tensor 0 'image'"),
    "zero point": (scales(0, (0.5,), (200,)), "a zero point outside int8", "tensor 0 'image'"),
    "zero points": (scales(1, (0.5, 0.5, 0.5), (0, 0), 0), "not tuples of one length", "tensor 1 'kernel'"),
    "no axis": (scales(1, (0.5, 0.5, 0.5), (0, 0, 0)), "3 scales without an axis", "tensor 1 'kernel'"),
    "axis": (scales(1, (0.5, 0.5, 0.5), (0, 0, 0), 4), "3 scales along axis 4", "tensor 1 'kernel'"),
    "axis extent": (scales(1, (0.5, 0.5, 0.5), (0, 0, 0), 3), "3 scales along axis 3", "tensor 1 'kernel'"),
    "float scale": (scales(9, (0.5,), (0,)), "a float32 tensor cannot have", "tensor 9 'answer'"),
    "constant index": (replace(SMALL, constant_tensors=(1, 2, 6, 11)), "the constant tensors are not indices", ""),
    "constant twice": (replace(SMALL, constant_tensors=(1, 2, 6, 6)), "name a tensor twice", ""),
    "constant missing": (
        replace(SMALL, constants={1: SMALL.constants[1]}),
        "the constants held are not",
        "tensors [10, 2, 6]",
    ),
    "constant extra": (
        replace(SMALL, constants={**SMALL.constants, 5: SMALL.constants[1]}),
        "the constants held are not",
        "tensors [5]",
    ),
    "constant dtype": (
        replace(SMALL, constants={**SMALL.constants, 2: np.zeros(3, np.int64)}),
        "constant int64 (3,)",
        "tensor 2 'bias'",
    ),
    "constant shape": (
        replace(SMALL, constants={**SMALL.constants, 2: np.zeros(4, np.int32)}),
        "constant int32 (4,)",
        "tensor 2 'bias'",
    ),
    "constant order": (
        replace(SMALL, constants={**SMALL.constants, 2: np.zeros(3, ">i4")}),
        "constant >i4 (3,)",
        "tensor 2 'bias'",
    ),
    "constant list": (
        replace(SMALL, constants={**SMALL.constants, 2: [1, 2, 3]}),
        "a constant list",
        "tensor 2 'bias'",
    ),  # type: ignore[dict-item]
    "constant float": (tensor(2, dtype="float32"), "constant int32 (3,) for a float32", "tensor 2 'bias'"),
    "no inputs": (replace(SMALL, inputs=()), "without inputs", ""),
    "no outputs": (replace(SMALL, outputs=()), "without outputs", ""),
    "input index": (replace(SMALL, inputs=(-1,)), "the model's inputs are not indices", ""),
    "input twice": (replace(SMALL, inputs=(0, 0)), "the model's inputs name a tensor twice", ""),
    "input constant": (replace(SMALL, inputs=(0, 1)), "an input of the model that is a constant", "tensor 1 'kernel'"),
    "input computed": (replace(SMALL, inputs=(0, 3)), "already has a value: tensor 3", "op 0 CONV_2D 'conv'"),
    "input type": (tensor(0, dtype="int16"), "an input of type int16", "tensor 0 'image'"),
    "output index": (replace(SMALL, outputs=(11,)), "the model's outputs are not indices", ""),
    "output constant": (replace(SMALL, outputs=(1,)), "that no op computes", "tensor 1 'kernel'"),
    "output missing": (replace(SMALL, ops=SMALL.ops[:-1]), "that no op computes", "tensor 9 'answer'"),
    "kind": (op(CONV, kind="CONV_4D"), "unknown kind", "op 0"),
    "kind type": (op(CONV, kind=["CONV_2D"]), "unknown kind", "op 0"),
    "op name": (op(CONV, name="\n"), "its name is not", "op 0 CONV_2D"),
    "order": (
        replace(SMALL, ops=(SMALL.ops[1], SMALL.ops[0], *SMALL.ops[2:])),
        "before any op computes it: tensor 3 'features'",
        "op 0 AVERAGE_POOL_2D 'pool'",
    ),
    "cycle": (op(CONV, inputs=(3, 1, 2)), "before any op computes it: tensor 3", "op 0 CONV_2D 'conv'"),
    "operand count": (op(POOL, inputs=(3, 3)), "not a tuple of 1 to 1 tensors", "op 1 AVERAGE_POOL_2D 'pool'"),
    "operand index": (op(POOL, inputs=(99,)), "input 0 is not one of the circuit's 11 tensors", "op 1 "),
    "operand missing": (op(POOL, inputs=(-1,)), "input 0 is not one of", "op 1 "),
    "operand bool": (op(RESHAPE, inputs=(True,)), "input 0 is not one of", "op 2 "),
    "weights missing": (op(CONV, inputs=(0, -1, 2)), "input 1 is not one of", "op 0 "),
    "two outputs": (op(POOL, outputs=(4, 5)), "its outputs are not one of", "op 1 "),
    "output twice": (op(POOL, outputs=(3,)), "already has a value: tensor 3 'features'", "op 1 "),
    "output is constant": (op(POOL, outputs=(2,)), "already has a value: tensor 2 'bias'", "op 1 "),
    "attribute missing": (without(CONV, "stride"), "its attributes are not exactly stride", "op 0 CONV_2D 'conv'"),
    "attribute extra": (attribute(RESHAPE, axis=1), "its attributes are not exactly none", "op 2 RESHAPE 'flatten'"),
    "stride": (attribute(CONV, stride=(0, 1)), "attribute stride is (0, 1)", "op 0 CONV_2D 'conv'"),
    "stride list": (attribute(CONV, stride=[1, 1]), "attribute stride is [1, 1]", "op 0 "),
    "stride float": (attribute(CONV, stride=(1.0, 1)), "attribute stride", "op 0 "),
    "stride huge": (attribute(CONV, stride=(2**40, 1)), "attribute stride", "op 0 "),
    "dilation": (attribute(CONV, dilation=(1, -1)), "attribute dilation", "op 0 "),
    "padding": (attribute(CONV, padding=((-1, 1), (1, 1))), "attribute padding", "op 0 "),
    "padding rank": (attribute(CONV, padding=((1, 1), (1, 1), (0, 0))), "attribute padding", "op 0 "),
    "padding flat": (attribute(CONV, padding=(1, 1)), "attribute padding", "op 0 "),
    "output shape": (attribute(CONV, padding=((0, 1), (1, 1))), "has shape (1, 3, 4, 3): tensor 3 'features'", "op 0 "),
    "window fits": (attribute(CONV, dilation=(9, 1)), "a window of 19 cells does not fit into 6", "op 0 "),
    "empty window": (attribute(POOL, padding=((2, 2), (0, 0))), "covers no cell", "op 1 "),
    "empty last window": (attribute(POOL, padding=((0, 2), (0, 0))), "covers no cell", "op 1 "),
    "bounds order": (attribute(POOL, bounds=(15, 3)), "bounds (15, 3)", "op 1 "),
    "bounds range": (attribute(POOL, bounds=(3, 255)), "bounds (3, 255) of a int8", "op 1 "),
    "keep_num_dims": (attribute(DENSE, keep_num_dims=0), "attribute keep_num_dims is 0", "op 3 "),
    "beta": (attribute(SOFTMAX, beta=0.0), "attribute beta is 0.0", "op 4 SOFTMAX 'softmax'"),
    "beta int": (attribute(SOFTMAX, beta=1), "attribute beta is 1", "op 4 "),
    "rule": (attribute(CONV, requantization=("floor", (0.1,), -128, 127)), "rule 'floor'", "op 0 "),
    "rule of another": (attribute(CONV, requantization=("float64_half_away", (0.1,), -128, 127)), "rule", "op 0 "),
    "rule of floats": (
        attribute(CONV, requantization=("float32_divide", (0.1,), -128, 127)),
        "on integers",
        "op 0 ",
    ),
    "requantization": (attribute(CONV, requantization=MBQM[:3]), "not (rule, multipliers, low, high)", "op 0 "),
    "requantization none": (attribute(CONV, requantization=None), "not (rule, multipliers, low, high)", "op 0 "),
    "multipliers": (attribute(CONV, requantization=("mbqm", (0.1, 0.2), -128, 127)), "2 multipliers for 3", "op 0 "),
    "no multipliers": (attribute(CONV, requantization=("mbqm", (), -128, 127)), "0 multipliers for 3", "op 0 "),
    "multiplier": (attribute(DENSE, requantization=("mbqm", (0.0,), -128, 127)), "the multiplier 0.0", "op 3 "),
    "multiplier negative": (attribute(DENSE, requantization=("mbqm", (-0.1,), -128, 127)), "the multiplier", "op 3 "),
    "multiplier inf": (attribute(DENSE, requantization=("mbqm", (math.inf,), -128, 127)), "the multiplier", "op 3 "),
    "multiplier nan": (attribute(DENSE, requantization=("mbqm", (math.nan,), -128, 127)), "the multiplier", "op 3 "),
    "multiplier int": (attribute(DENSE, requantization=("mbqm", (1,), -128, 127)), "the multiplier 1", "op 3 "),
    "multiplier huge": (attribute(DENSE, requantization=("mbqm", (2.0**30,), -128, 127)), "the multiplier", "op 3 "),
    "low above high": (attribute(DENSE, requantization=("mbqm", (0.1,), 5, 4)), "bounds (5, 4)", "op 3 "),
    "low range": (attribute(DENSE, requantization=("mbqm", (0.1,), -129, 4)), "bounds (-129, 4)", "op 3 "),
    "activation type": (tensor(4, dtype="int32", quantization=None), "int32 tensor in place of an activation", "op 1 "),
    "activation scale": (tensor(4, quantization=None), "without exactly one scale: tensor 4 'pooled'", "op 1 "),
    "mixture": (tensor(3, dtype="uint8"), "different types", "op 0 "),
    "constant activation": (op(RESHAPE, inputs=(6,)), "a constant in place of an activation: tensor 6", "op 2 "),
    "weights computed": (op(DENSE, inputs=(5, 5, 10)), "weights that are not constant: tensor 5 'flat'", "op 3 "),
    "weights type": (op(DENSE, inputs=(5, 10, 10)), "int32 weights: tensor 10", "op 3 "),
    "weights scale": (tensor(6, quantization=None), "weights without a scale: tensor 6 'matrix'", "op 3 "),
    "weights axis": (scales(6, (0.5,) * 12, (0,) * 12, 1), "quantized along axis 1: tensor 6 'matrix'", "op 3 "),
    "weights zero": (scales(6, (0.5,), (1,)), "int8 weights with a zero point: tensor 6 'matrix'", "op 3 "),
    "bias type": (op(DENSE, inputs=(5, 6, 6)), "not a constant int32 vector: tensor 6", "op 3 "),
    "bias extent": (op(DENSE, inputs=(5, 6, 2)), "bias of shape (3,) for 5 channels", "op 3 "),
    "weights shape": (op(DENSE, inputs=(5, 1, 10)), "weights of shape (3, 3, 3, 2) should have 2 axes", "op 3 "),
    "elements differ": (tensor(5, shape=(1, 11)), "the number of elements differs", "op 2 "),
    "softmax output": (scales(8, (0.5,), (-128,)), "scale 1/256 and the lowest zero point", "op 4 "),
    "dequantize output": (tensor(9, dtype="int8", quantization=ACTIVATION), "not float32", "op 5 "),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_named(damage: str) -> None:
    circuit, what, where = DAMAGE[damage]
    with pytest.raises(CircuitError) as caught:
        verify(circuit)
    assert what in caught.value.what
    assert caught.value.where.startswith(where) if where else caught.value.where == ""


@pytest.mark.parametrize("name", CASES)
def test_importer_circuits_pass_with_and_without_constants(name: str) -> None:
    circuit = load(CASES[name])
    verify(circuit)
    verify(circuit.public())
    assert circuit.public().is_public == bool(circuit.constant_tensors)


def test_optional_bias_and_wide_values_pass() -> None:
    verify(replace(op(DENSE, inputs=(5, 6)), constants={}))
    verify(op(DENSE, inputs=(5, 6, -1)))
    verify(attribute(CONV, requantization=MBQM))


def one(kind: str, shapes: list[tuple[int, ...]], output: tuple[int, ...], attributes: dict[str, Any]) -> Circuit:
    tensors = [Tensor(f"t{i}", shape, "int8", ACTIVATION) for i, shape in enumerate((*shapes, output))]
    last = len(shapes)
    return Circuit(
        "one",
        "tflite",
        "litert",
        tuple(tensors),
        (Op(kind, "op", tuple(range(last)), (last,), attributes),),
        tuple(range(last)),
        (last,),
    )


ADD = {"left_shift": 20, "input_multipliers": (0.5, 0.25), "requantization": MBQM}



def up(weights: tuple[int, ...], origin: tuple[int, int]) -> Circuit:
    """A TRANSPOSE_CONV whose weights are a secret constant."""
    attributes = {"stride": (2, 2), "origin": origin, "requantization": MBQM}
    circuit = one("TRANSPOSE_CONV", [(1, 2, 2, 3), weights], (1, 5, 5, 4), attributes)
    kernel = replace(circuit.tensors[1], quantization=Quantization((0.5,), (0,)))
    tensors = (circuit.tensors[0], kernel, circuit.tensors[2])
    return replace(circuit, tensors=tensors, inputs=(0,), constant_tensors=(1,))


BOX = {"begin": (6, 2), "size": (3, 1), "strides": (-2, 1), "dropped": (1,)}
NEAREST = {"align_corners": False, "half_pixel_centers": True}
SHAPES: dict[str, tuple[Circuit, str]] = {
    "add": (one("ADD", [(1, 4), (3, 1)], (3, 4), ADD), ""),
    "add mismatch": (one("ADD", [(1, 4), (1, 3)], (1, 4), ADD), "broadcast"),
    "add shift": (one("ADD", [(4,), (4,)], (4,), {**ADD, "left_shift": 15}), "left_shift"),
    "add inputs": (one("ADD", [(4,), (4,)], (4,), {**ADD, "input_multipliers": (0.5, 1.0)}), "input_multipliers"),
    "add output": (
        one("ADD", [(4,), (4,)], (4,), {**ADD, "requantization": ("mbqm", (1.0,), -128, 127)}),
        "multiplier 1.0",
    ),
    "mean": (one("MEAN", [(2, 3, 4)], (2, 4), {"axes": (1,), "keep_dims": False, "requantization": MBQM}), ""),
    "mean kept": (one("MEAN", [(2, 3, 4)], (1, 1, 4), {"axes": (0, 1), "keep_dims": True, "requantization": MBQM}), ""),
    "mean axis": (one("MEAN", [(2, 3)], (2,), {"axes": (2,), "keep_dims": False, "requantization": MBQM}), "axes (2,)"),
    "mean order": (one("MEAN", [(2, 3)], (), {"axes": (1, 0), "keep_dims": False, "requantization": MBQM}), "axes"),
    "mean empty": (one("MEAN", [(2, 3)], (2, 3), {"axes": (), "keep_dims": False, "requantization": MBQM}), "axes"),
    "pad": (one("PAD", [(2, 3)], (5, 3), {"paddings": ((1, 2), (0, 0))}), ""),
    "pad rank": (one("PAD", [(2, 3)], (5, 3), {"paddings": ((1, 2),)}), "paddings of 1 axes"),
    "pad negative": (one("PAD", [(2,)], (1,), {"paddings": ((-1, 0),)}), "attribute paddings"),
    "concatenate": (one("CONCATENATION", [(2, 3), (2, 1)], (2, 4), {"axis": 1}), ""),
    "concatenate axis": (one("CONCATENATION", [(2, 3)], (2, 3), {"axis": 2}), "axis 2"),
    "concatenate shapes": (one("CONCATENATION", [(2, 3), (3, 1)], (2, 4), {"axis": 1}), "along axis 1"),
    "concatenate none": (one("CONCATENATION", [], (2, 4), {"axis": 1}), "without inputs"),
    "up": (up((4, 3, 3, 3), (0, 2)), ""),
    "up origin": (up((4, 3, 3, 3), (3, 0)), "origin (3, 0)"),
    "up channels": (up((4, 3, 3, 2), (0, 0)), "weights for 2 channels"),
    "transpose": (one("TRANSPOSE", [(2, 3, 4)], (4, 2, 3), {"permutation": (2, 0, 1)}), ""),
    "transpose rank": (one("TRANSPOSE", [(2, 3)], (2, 3), {"permutation": (0, 1, 2)}), "permutation of 3 axes"),
    "transpose twice": (one("TRANSPOSE", [(2, 3)], (2, 2), {"permutation": (0, 0)}), "attribute permutation"),
    "slice": (one("SLICE", [(4, 5)], (2, 5), {"begin": (2, 0), "size": (2, 5)}), ""),
    "slice beyond": (one("SLICE", [(4, 5)], (3, 5), {"begin": (2, 0), "size": (3, 5)}), "cells 2 to 4 along axis 0"),
    "slice negative": (one("SLICE", [(4,)], (2,), {"begin": (-1,), "size": (2,)}), "attribute begin"),
    "slice empty": (one("SLICE", [(4,)], (1,), {"begin": (0,), "size": (0,)}), "attribute size"),
    "slice rank": (one("SLICE", [(4, 5)], (2,), {"begin": (2,), "size": (2,)}), "begin of 1 axes"),
    "backwards": (one("STRIDED_SLICE", [(7, 5)], (3,), {**BOX, "begin": (6, 2)}), ""),
    "backwards beyond": (one("STRIDED_SLICE", [(7, 5)], (3,), {**BOX, "begin": (3, 2)}), "cells 3 to -1 along axis 0"),
    "stride 0": (one("STRIDED_SLICE", [(7, 5)], (3,), {**BOX, "strides": (0, 1)}), "attribute strides"),
    "dropped": (one("STRIDED_SLICE", [(7, 5)], (1,), {**BOX, "dropped": (0,)}), "dropped axes (0,)"),
    "split": (one("SPLIT", [(2, 6)], (2, 3), {"axis": 1, "start": 3, "extent": 3}), ""),
    "split beyond": (one("SPLIT_V", [(2, 6)], (2, 4), {"axis": 1, "start": 3, "extent": 4}), "cells 3 to 6"),
    "unpack": (one("UNPACK", [(2, 6)], (2,), {"axis": 1, "start": 5}), ""),
    "unpack axis": (one("UNPACK", [(2, 6)], (2,), {"axis": 2, "start": 0}), "along axis 2"),
    "pack": (one("PACK", [(2, 3), (2, 3)], (2, 3, 2), {"axis": 2}), ""),
    "pack shapes": (one("PACK", [(2, 3), (3, 2)], (2, 2, 3), {"axis": 0}), "shapes (2, 3), (3, 2)"),
    "pack axis": (one("PACK", [(2, 3)], (2, 3, 1), {"axis": 3}), "a new axis 3"),
    "blocks": (one("SPACE_TO_DEPTH", [(1, 4, 6, 2)], (1, 2, 3, 8), {"block": 2}), ""),
    "blocks uneven": (one("SPACE_TO_DEPTH", [(1, 4, 5, 2)], (1, 2, 2, 8), {"block": 2}), "blocks of 2 in an image"),
    "blocks channels": (one("DEPTH_TO_SPACE", [(1, 2, 2, 6)], (1, 4, 4, 2), {"block": 2}), "blocks of 2 from 6"),
    "blocks none": (one("DEPTH_TO_SPACE", [(1, 2, 2, 4)], (1, 2, 2, 4), {"block": 0}), "attribute block"),
    "mirror": (one("MIRROR_PAD", [(3,)], (9,), {"paddings": ((3, 3),), "symmetric": True}), ""),
    "mirror beyond": (one("MIRROR_PAD", [(3,)], (7,), {"paddings": ((1, 3),), "symmetric": False}), "a mirror of 3"),
    "tile": (one("TILE", [(2, 3)], (4, 3), {"multiples": (2, 1)}), ""),
    "tile never": (one("TILE", [(2, 3)], (4, 3), {"multiples": (2, 0)}), "attribute multiples"),
    "squeeze": (one("SQUEEZE", [(1, 3)], (4,), {}), "number of elements"),
    "resize": (one("RESIZE_NEAREST_NEIGHBOR", [(1, 3, 3, 2)], (1, 6, 5, 2), NEAREST), ""),
    "resize channels": (one("RESIZE_NEAREST_NEIGHBOR", [(1, 3, 3, 2)], (1, 6, 5, 4), NEAREST), "shape (1, 6, 5, 2)"),
    "resize rank": (one("RESIZE_NEAREST_NEIGHBOR", [(3, 3)], (6, 5), NEAREST), "should have 4 axes"),
    "relu": (one("RELU", [(3,)], (3,), {"requantization": MBQM}), ""),
    "relu shape": (one("RELU", [(3,)], (3, 1), {"requantization": MBQM}), "declared with shape (3, 1)"),
    "leaky": (one("LEAKY_RELU", [(3,)], (3,), {"alpha_multiplier": 0.0, "requantization": MBQM}), ""),
    "leaky negative": (
        one("LEAKY_RELU", [(3,)], (3,), {"alpha_multiplier": -0.1, "requantization": MBQM}),
        "attribute alpha_multiplier",
    ),
    "hard swish": (one("HARD_SWISH", [(3,)], (3,), {"multipliers": (0.5, 1.0)}), ""),
    "hard swish coarse": (one("HARD_SWISH", [(3,)], (3,), {"multipliers": (1.0, 1.0)}), "attribute multipliers"),
    "maximum": (one("MAXIMUM", [(1, 4), (3, 1)], (3, 4), {}), ""),
    "minimum mismatch": (one("MINIMUM", [(2, 4), (3, 1)], (3, 4), {}), "broadcast"),
    "reduce axis": (one("REDUCE_MAX", [(2, 3)], (2,), {"axes": (2,), "keep_dims": False}), "axes (2,)"),
    "arg max": (one("ARG_MAX", [(2, 3)], (2,), {"axis": 1}), "its output is int8"),
    "logistic scale": (one("LOGISTIC", [(3,)], (3,), {}), "scale 1/256"),
    "quantize float rule": (
        one("QUANTIZE", [(3,)], (3,), {"requantization": ("float32_divide", (0.5,), 0, 1)}),
        "on integers",
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes(name: str) -> None:
    circuit, what = SHAPES[name]
    if not what:
        verify(circuit)
        return
    with pytest.raises(CircuitError) as caught:
        verify(circuit)
    assert what in caught.value.what


def test_float32_quantize_reads_model_inputs_and_what_the_receiver_computes() -> None:
    circuit = one("QUANTIZE", [(3,)], (3,), {"requantization": ("float32_divide", (0.5,), -128, 127)})
    floats = replace(circuit, tensors=(Tensor("x", (3,), "float32"), circuit.tensors[1]))
    verify(floats)
    chained = replace(
        floats,
        tensors=(*floats.tensors, Tensor("real", (3,), "float32"), circuit.tensors[1]),
        ops=(floats.ops[0], Op("DEQUANTIZE", "d", (1,), (2,)), replace(floats.ops[0], inputs=(2,), outputs=(3,))),
        outputs=(3,),
    )
    verify(chained)
    integers = replace(chained, ops=(*chained.ops[:2], replace(
        chained.ops[2], attributes={"requantization": ("half_even", (0.5,), -128, 127)})))
    with pytest.raises(CircuitError, match="on float32"):
        verify(integers)
    moved = replace(
        chained, ops=(Op("RESHAPE", "r", (0,), (2,)), replace(floats.ops[0], inputs=(2,), outputs=(1,))), outputs=(1,))
    with pytest.raises(CircuitError, match="float32 that is an input of the model"):
        verify(moved)


def test_op_table_is_consistent() -> None:
    assert len(BY_NAME) == len(OPS)
    assert set().union(*map(set, RULES.values())) == {kind.name for kind in OPS if "requantization" in kind.attributes}
