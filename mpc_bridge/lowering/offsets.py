"""The offset of every stored activation: ``u = q - offset``.

A requantised tensor wants its own lower bound as offset, which makes the lower clamp free. Ops that only move or
compare elements hand offsets on, and those with several operands (CONCATENATION, PAD's fill) need one that serves all:
the least. Offsets only ever go down, towards the type's least value, so repeating the links until nothing changes ends.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from mpc_bridge.circuit.graph import INTEGER_RANGES, Circuit
from mpc_bridge.circuit.reference.operands import zero_point
from mpc_bridge.lowering.tables import is_copy

#: Functions of one byte that say nothing about their bounds, whose output keeps its type's least value.
_FREE = ("HARD_SWISH", "LOGISTIC", "TANH")


def stored_offsets(circuit: Circuit, secure: Iterable[int]) -> dict[int, int]:
    """Tensor index → offset, for every 8-bit tensor.

    Args:
        secure: indices of the ops that run under the protocol.
    """
    offsets = {
        index: INTEGER_RANGES[tensor.dtype][0] for index, tensor in enumerate(circuit.tensors)
        if tensor.dtype in ("int8", "uint8")
    }
    links: list[tuple[int, int, int]] = []
    for index in secure:
        op = circuit.ops[index]
        output = op.outputs[0]
        if op.kind == "TRANSPOSE_CONV":
            # the cells between its input's are filled with zero points
            offsets[op.inputs[0]] = min(offsets[op.inputs[0]], zero_point(circuit.tensors[op.inputs[0]]))
        if circuit.tensors[output].dtype not in ("int8", "uint8"):
            # bare accumulators and sums, and the index of an ARG_MAX, have no offset
            continue
        if op.kind == "RESCALE":
            offsets[output] = cast(int, op.attributes["low"])
        elif op.kind == "TABLE":
            offsets[output] = min(cast("tuple[int, ...]", op.attributes["table"]))
        elif "requantization" in op.attributes and not (op.kind == "QUANTIZE" and is_copy(circuit, op)):
            offsets[output] = cast("tuple[str, tuple[float, ...], int, int]", op.attributes["requantization"])[2]
        elif op.kind in _FREE:
            continue
        elif op.kind == "AVERAGE_POOL_2D":
            offsets[output] = cast("tuple[int, int]", op.attributes["bounds"])[0]
        else:
            bottom, top = INTEGER_RANGES[circuit.tensors[output].dtype]
            copied = [op.kind != "CONCATENATION" or is_copy(circuit, op, i) for i in range(len(op.inputs))]
            if op.kind == "PAD":
                offsets[output] = zero_point(circuit.tensors[output])
            elif op.kind == "MAX_POOL_2D":
                offsets[output] = cast("tuple[int, int]", op.attributes["bounds"])[1]
            elif all(copied):
                offsets[output] = top  # its operands bring it down
            for source, same in zip(op.inputs, copied, strict=True):
                if same:
                    links.append((source, output, bottom - INTEGER_RANGES[circuit.tensors[source].dtype][0]))
    changed = True
    while changed:
        changed = False
        for source, output, shift in links:
            least = min(offsets[source] + shift, offsets[output])
            changed |= (offsets[source], offsets[output]) != (least - shift, least)
            offsets[source], offsets[output] = least - shift, least
    return offsets
