"""RESCALE: a sum of terms times integers, rounded once.

One term without a bias is a function of one integer, and gets the cheapest constants that the search finds; so do two
activations with one multiplier each. Anything else is formed at product scale: an Affine of all terms and the bias,
whose sum is only shifted.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from mpc_bridge.circuit.fixedpoint import rounded_half_even
from mpc_bridge.circuit.reference.operands import zero_point
from mpc_bridge.circuit.verify import MAX_BIAS
from mpc_bridge.errors import UnsupportedModelError
from mpc_bridge.lowering import rescale_bounds
from mpc_bridge.lowering.builder import Builder
from mpc_bridge.lowering.byte_functions import lower_elementwise
from mpc_bridge.lowering.constants import TOP_BITS, Constants, Parity, search, signed_bits, tie_of
from mpc_bridge.lowering.convolutions import bare_sum
from mpc_bridge.lowering.program import Affine, Value
from mpc_bridge.lowering.rescale_bounds import Term
from mpc_bridge.lowering.sum_constants import search_sum
from mpc_bridge.lowering.thresholds import find_thresholds, rational


def lower_rescale(builder: Builder, index: int) -> None:
    """RESCALE, in the cheapest of its forms.

    Raises:
        UnsupportedModelError: sums of more than 61 bits; a bias that serves several ops.
    """
    circuit, op = builder.circuit, builder.circuit.ops[index]
    bias, terms = op.inputs[-1], op.inputs[:-1]
    if bias >= 0 and sum(bias in other.inputs for other in circuit.ops) > 1:
        raise UnsupportedModelError(
            "a bias that serves several ops", where=f"op {op.name}, tensor {circuit.tensors[bias].name}")
    if circuit.tensors[op.outputs[0]].dtype == "int64":
        _bare(builder, index)
        return
    multipliers = cast("tuple[tuple[int, ...], ...]", op.attributes["multipliers"])
    alike = all(len(set(term)) == 1 for term in multipliers)
    narrow = all(circuit.tensors[tensor].quantization is not None for tensor in terms)
    if bias < 0 and len(terms) == 1 and narrow and alike:
        lower_elementwise(builder, index)
    elif bias < 0 and len(terms) == 1 and min(multipliers[0]) >= 0:
        _one_term(builder, index)
    elif not (bias < 0 and len(terms) == 2 and narrow and alike and all(term[0] for term in multipliers)
              and _two_bytes(builder, index)):
        _at_product_scale(builder, index)


def _values(builder: Builder, index: int) -> list[Value]:
    """Per term what :func:`~mpc_bridge.lowering.rescale_bounds.ranges` wants."""
    circuit, op = builder.circuit, builder.circuit.ops[index]
    producers = {other.outputs[0]: other for other in circuit.ops}
    stored = (
        tensor if circuit.tensors[tensor].quantization is not None else producers[tensor].inputs[0]
        for tensor in op.inputs[:-1])
    return [builder.values[builder.stored(tensor)] for tensor in stored]


def _sources(builder: Builder, index: int, ring: int) -> list[int]:
    """The terms' values; bare accumulators are computed modulo ``2**ring`` here, for this consumer."""
    circuit = builder.circuit
    producers = {op.outputs[0]: position for position, op in enumerate(circuit.ops)}
    return [
        builder.stored(tensor) if circuit.tensors[tensor].quantization is not None
        else bare_sum(builder, producers[tensor], ring) for tensor in circuit.ops[index].inputs[:-1]]


def _levels(builder: Builder, index: int) -> tuple[int, int, int]:
    """Zero point, least and greatest output, all in stored units."""
    op = builder.circuit.ops[index]
    base = builder.offsets[op.outputs[0]]
    zero = zero_point(builder.circuit.tensors[op.outputs[0]])
    return zero - base, cast(int, op.attributes["low"]) - base, cast(int, op.attributes["high"]) - base


def _one_term(builder: Builder, index: int) -> None:
    """A bare accumulator, or an activation with a multiplier per channel: its steps, and constants for them."""
    circuit, op = builder.circuit, builder.circuit.ops[index]
    ((least, greatest),) = rescale_bounds.ranges(circuit, op, _values(builder, index))
    (row,) = rescale_bounds.multipliers(op, rescale_bounds.channels(circuit, op))
    rescale_bounds.summed([Term(row, least, greatest)], f"op {op.name}")
    distinct, rows = np.unique(np.array(row, np.int64), return_inverse=True)
    zero, low, high = _levels(builder, index)
    whole = np.full(len(distinct), 1 << cast(int, op.attributes["shift"]), np.int64)
    shifts = np.zeros(len(distinct), np.int64)
    if circuit.tensors[op.inputs[0]].quantization is not None:
        # of the stored integer
        shifts, least, greatest = shifts + least, 0, greatest - least
    rounding = rational(distinct, whole, zero, low, high, shifts)
    ends = [np.full(len(distinct), end, np.int64) for end in (least, greatest)]
    tie = tie_of("half_even", zero)
    found = builder.proven(index, search(find_thresholds(rounding, 0, *ends), tie))
    (source,) = _sources(builder, index, found.bits)
    if builder.values[source].kind == "activation":
        acc = builder.accumulator(index, builder.values[source].shape)
        builder.steps.append(Affine(index, op.name, (source,), acc, ring=found.bits))
        source = acc
    builder.finish(index, builder.requantize(index, source, found, rows.tolist(), (low, high), tie))


def _two_bytes(builder: Builder, index: int) -> bool:
    """Two activations, one multiplier each: the cheapest linear form exact on every pair; False where there is none."""
    op = builder.circuit.ops[index]
    values = _values(builder, index)
    zero, low, high = _levels(builder, index)
    shift = cast(int, op.attributes["shift"])
    (first,), (second,) = (set(term) for term in cast("tuple[tuple[int, ...], ...]", op.attributes["multipliers"]))
    axes = [
        multiplier * np.arange(least, greatest + 1, dtype=np.int64)
        for multiplier, (least, greatest) in zip(
            (first, second), rescale_bounds.ranges(builder.circuit, op, values), strict=True)
    ]
    # increasing in both, as the search wants it
    signs = (1 if first > 0 else -1, 1 if second > 0 else -1)
    sums = axes[0][:: signs[0], None] + axes[1][None, :: signs[1]]
    table = np.clip(rounded_half_even(sums, np.int64(1 << shift)) + zero, low, high)
    tie = tie_of("half_even", zero)
    slopes = (abs(first) / 2.0**shift, abs(second) / 2.0**shift)
    found = search_sum(table, low, high, slopes, tie)
    if found is None:
        return False
    coefficients = tuple(sign * m for sign, m in zip(signs, found.coefficients, strict=True))
    constant = sum(
        m * value.high for sign, m, value in zip(signs, found.coefficients, values, strict=True) if sign < 0)
    shape = builder.circuit.tensors[op.outputs[0]].shape
    acc = builder.accumulator(index, shape)
    sources = tuple(_sources(builder, index, found.constants.bits))
    builder.steps.append(Affine(index, op.name, sources, acc, coefficients, constant, ring=found.constants.bits))
    builder.finish(index, builder.requantize(index, acc, found.constants, None, (low, high), tie))
    return True


def _at_product_scale(builder: Builder, index: int) -> None:
    """Affine with a coefficient per channel, and a Requantize that only shifts."""
    circuit, op = builder.circuit, builder.circuit.ops[index]
    values = _values(builder, index)
    rescale = rescale_bounds.bounded(circuit, op, values)
    zero, low, high = _levels(builder, index)
    # stored integers lack their distance from the zero point
    lacking = [
        sum(term.multipliers[channel] * distance for term, distance in zip(rescale.terms, _distances(
            builder, index, values), strict=True)) for channel in range(len(rescale.least))]
    rounded = zero << rescale.shift
    delta: tuple[int, ...] = ()
    if rescale.bias is None:
        rounded += 1 << rescale.shift - 1
        delta = (1,) if rescale_bounds.ties_occur(rescale) else ()
    first, last = (end + rounded for end in rescale.ends)
    bits = max(rescale.shift + TOP_BITS, signed_bits(first - len(delta)), signed_bits(last))
    constants = tuple(rounded + lack for lack in lacking)
    if len(set(constants)) == 1:
        constants = constants[:1]
    count = len(constants)
    found = builder.proven(
        index, Constants((1,) * count, constants, rescale.shift, bits, delta * count) if bits <= 64 else None)
    inputs = _sources(builder, index, bits)
    coefficients = [_alike(term.multipliers) for term in rescale.terms]
    if rescale.bias is not None:
        limits = (min(rescale.bias[0]), max(rescale.bias[1]))
        inputs.append(builder.constant(index, op.inputs[-1], (len(rescale.least),), limits))
        coefficients.append(1)
    acc = builder.accumulator(index, circuit.tensors[op.outputs[0]].shape)
    builder.steps.append(Affine(index, op.name, tuple(inputs), acc, tuple(coefficients), ring=bits))
    rows = range(count)
    parity = Parity((zero + 1) % 2) if delta else None
    builder.finish(index, builder.requantize(index, acc, found, rows, (low, high), parity))


def _distances(builder: Builder, index: int, values: list[Value]) -> list[int]:
    """Per term, the stored integer 0 less the zero point; 0 for a bare accumulator."""
    tensors = (builder.circuit.tensors[tensor] for tensor in builder.circuit.ops[index].inputs[:-1])
    return [
        0 if tensor.quantization is None else value.offset - zero_point(tensor)
        for tensor, value in zip(tensors, values, strict=True)]


def _alike(row: tuple[int, ...]) -> int | tuple[int, ...]:
    """One coefficient for all where they are equal."""
    return row[0] if len(set(row)) == 1 else row


def _bare(builder: Builder, index: int) -> None:
    """An int64 output: the sum itself, to be revealed.

    Raises:
        UnsupportedModelError: activations with a multiplier per channel and no bias to hide their zero points in.
    """
    circuit, op = builder.circuit, builder.circuit.ops[index]
    values = _values(builder, index)
    limits = rescale_bounds.sum_limits(circuit, op, values)
    ring = max(1 + TOP_BITS, *map(signed_bits, limits))
    lacking = rescale_bounds.shifts(circuit, op, values)
    count = len(lacking)
    inputs = _sources(builder, index, ring)
    coefficients = [_alike(term) for term in rescale_bounds.multipliers(op, count)]
    constant = 0
    if op.inputs[-1] >= 0:
        ends = (min(lacking) - MAX_BIAS, max(lacking) + MAX_BIAS)
        inputs.append(builder.constant(index, op.inputs[-1], (count,), ends))
        coefficients.append(1)
    elif len(set(lacking)) == 1:
        constant = lacking[0]
    else:
        raise UnsupportedModelError(
            "a sum of activations with a multiplier per channel and no bias", where=f"op {op.name}",
            hint="quantize the model's output per tensor")
    acc = builder.new(Value(
        circuit.tensors[op.outputs[0]].name, circuit.tensors[op.outputs[0]].shape, "accumulator"))
    builder.steps.append(Affine(index, op.name, tuple(inputs), acc, tuple(coefficients), constant, ring=ring))
    builder.finish(index, acc)
