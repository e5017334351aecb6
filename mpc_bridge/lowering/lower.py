"""Circuit → Program: divide, choose offsets, lower op by op, reveal."""

from __future__ import annotations

from collections import Counter
from typing import Literal

from mpc_bridge.circuit.graph import Circuit
from mpc_bridge.errors import UnsupportedModelError
from mpc_bridge.lowering.builder import Builder, with_forms
from mpc_bridge.lowering.layers import LOWERINGS
from mpc_bridge.lowering.offsets import stored_offsets
from mpc_bridge.lowering.program import Linear, Lookup, Maximum, Output, Program, Requantize, Tail, Value
from mpc_bridge.lowering.scope import divide


def lower(circuit: Circuit, reveal: Literal["output", "argmax"] = "output") -> Program:
    """The Program of a verified circuit: a function of its public part alone, the same for every party.

    Args:
        circuit: with or without its constants, which are not looked at.
        reveal: ``"argmax"`` reveals only the index of the first greatest element of each output, before any trailing
            op of the receiver (a softmax keeps the order, though its rounding may make ties).

    Raises:
        UnsupportedModelError: an op that cannot be evaluated exactly here, or an arg-max of something else than
            ``[batch, classes]``.
    """
    public = circuit.public()
    scope = divide(public)
    builder = Builder(public, stored_offsets(public, scope.secure))
    for tensor in scope.entries:
        builder.enter(tensor)
    for index in scope.secure:
        kind = public.ops[index].kind
        if kind not in LOWERINGS:
            raise UnsupportedModelError(f"{kind} is not supported", where=f"op {public.ops[index].name}")
        LOWERINGS[kind](builder, index)
    tails = scope.tails
    if reveal == "argmax":
        tails = tuple(Tail(tail.tensor, ()) for tail in tails)
    for position, tail in enumerate(tails):
        revealed = builder.stored(tail.tensor)
        if reveal == "argmax":
            revealed = _argmax(builder, revealed)
        builder.steps.append(Output(-1, "output", (revealed,), position))
    return Program(
        name=public.name,
        values=with_forms(builder.values, builder.steps),
        steps=tuple(builder.steps),
        tails=tails,
        activations=_activations(builder),
        macs=sum(step.macs for step in builder.steps if isinstance(step, Linear)),
        reveal=reveal,
    )


def _argmax(builder: Builder, source: int) -> int:
    """Append the arg-max along the last axis, ties to the lowest index: an index per image."""
    x = builder.values[source]
    if x.kind == "accumulator":
        raise UnsupportedModelError(
            "the model ends in sums that are not quantized, whose greatest is not computed here",
            where=f"tensor {x.name}",
            hint="reveal the output instead, or quantize the model with an observer on its output as well",
        )
    if x.kind != "activation" or len(x.shape) < 2 or x.shape[-1] < 2 or x.size != x.shape[0] * x.shape[-1]:
        raise UnsupportedModelError(
            f"no class to reveal: the output has shape {x.shape}", where=f"tensor {x.name}",
            hint="an arg-max needs an output of shape [batch, classes]; reveal the output instead",
        )
    output = builder.new(Value(f"{x.name}/argmax", (x.shape[0],), "index", 0, x.shape[-1] - 1))
    builder.steps.append(Maximum(-1, "argmax", (source,), output, argmax=True, high=x.shape[-1] - 1))
    return output


def _activations(builder: Builder) -> dict[int, int]:
    """Op index → elements it requantizes, compares or looks up."""
    counts: Counter[int] = Counter()
    for step in builder.steps:
        if isinstance(step, (Requantize, Lookup, Maximum)) and step.op >= 0:
            counts[step.op] += builder.values[step.output].size
    return dict(counts)
