"""ADD and SUB: the sum or difference of two rescaled tensors, rounded.

Nearly always one linear form is exact on every pair of inputs. Scales in simple proportions make exact ties, though,
which the framework breaks by the rounding of its rescaled inputs, and no linear form can follow that. Then the rescaled
inputs are formed exactly: each is linear in its byte but for a rounding, which a table of that byte adds.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from mpc_bridge.circuit.fixedpoint import mbqm, quantize_multiplier
from mpc_bridge.circuit.graph import INTEGER_RANGES
from mpc_bridge.circuit.reference.operands import zero_point
from mpc_bridge.lowering.builder import Builder
from mpc_bridge.lowering.constants import search
from mpc_bridge.lowering.program import Affine, Lookup, Value
from mpc_bridge.lowering.sum_constants import search_sum
from mpc_bridge.lowering.tables import pair_table
from mpc_bridge.lowering.thresholds import Ints, find_thresholds, multiplied


def lower_add(builder: Builder, index: int) -> None:
    """Affine, Requantize; with a Lookup per input before them where no linear form is exact."""
    circuit, op = builder.circuit, builder.circuit.ops[index]
    _, (multiplier,), low, high = cast("tuple[str, tuple[float], int, int]", op.attributes["requantization"])
    base = builder.offsets[op.outputs[0]]
    zero = zero_point(circuit.tensors[op.outputs[0]])
    sources = tuple(builder.stored(tensor) for tensor in op.inputs)
    kept = []
    for source, tensor in zip(sources, op.inputs, strict=True):
        first = builder.values[source].offset - INTEGER_RANGES[circuit.tensors[tensor].dtype][0]
        kept.append(np.arange(first, first + builder.values[source].high + 1))
    table = pair_table(circuit, op)[np.ix_(*kept)] - base
    scales = cast("tuple[float, float]", op.attributes["input_multipliers"])
    left_shift = cast(int, op.attributes["left_shift"])
    slopes = (2.0**left_shift * scales[0] * multiplier, 2.0**left_shift * scales[1] * multiplier)
    sign = -1 if op.kind == "SUB" else 1
    if sign < 0:
        # of x1 and high - x2 the function is increasing, as the search wants it
        table = table[:, ::-1]
    found = search_sum(table, low - base, high - base, slopes, zero - base)
    inputs: tuple[int, ...] = sources
    coefficients: tuple[int, ...]
    constant = 0
    if found is not None:
        (first, second), constants = found.coefficients, found.constants
        coefficients = (first, sign * second)
        constant = second * builder.values[sources[1]].high if sign < 0 else 0
    else:
        terms = []
        for source, tensor, scale, factor in zip(sources, op.inputs, scales, (1, sign), strict=True):
            x = builder.values[source]
            centred = np.arange(x.high + 1, dtype=np.int64) + x.offset - zero_point(circuit.tensors[tensor])
            terms.append(factor * mbqm(centred << left_shift, *quantize_multiplier(scale)))
        inputs, coefficients, shift = _exact_terms(builder, index, sources, terms)
        least, greatest = (np.array([sum(int(end(term)) for term in terms) - shift]) for end in (np.min, np.max))
        rounding = multiplied((multiplier,), "mbqm", zero, low, high, shift)
        constants = builder.proven(index, search(find_thresholds(rounding, base, least, greatest), zero - base))
    acc = builder.accumulator(index, circuit.tensors[op.outputs[0]].shape)
    builder.steps.append(Affine(index, op.name, inputs, acc, coefficients, constant, ring=constants.bits))
    builder.finish(index, builder.requantize(index, acc, constants, None, (low - base, high - base), zero - base))


def _exact_terms(
    builder: Builder, index: int, sources: tuple[int, ...], terms: list[Ints]
) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """Values and coefficients whose sum, plus the returned integer, is the sum of ``terms[i][u_i]``.

    A term is within half a unit of a line through 256 points at most, so with the nearest integer slope it stays within
    129 of it: the table's entries are bytes.
    """
    inputs, coefficients, shift = list(sources), [], 0
    corrections = []
    for source, term in zip(sources, terms, strict=True):
        x = builder.values[source]
        slope = round(int(term[-1] - term[0]) / max(x.high, 1))
        rest = term - slope * np.arange(len(term), dtype=np.int64)
        shift += int(rest.min())
        rest = rest - rest.min()
        coefficients.append(slope)
        if rest.any():
            output = builder.new(Value(f"{x.name}/rounding", x.shape, "activation", 0, int(rest.max())))
            padded = np.pad(rest, (0, 256 - len(rest)), mode="edge")
            layer = builder.circuit.ops[index].name
            builder.steps.append(Lookup(index, layer, (source,), output, tuple(padded.tolist())))
            corrections.append(output)
    return (*inputs, *corrections), (*coefficients, *(1 for _ in corrections)), shift
