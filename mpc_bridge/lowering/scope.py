"""Which ops run under the protocol, which the data owner and the receiver run in the clear, and what is revealed."""

from __future__ import annotations

from dataclasses import dataclass

from mpc_bridge.circuit.graph import Circuit, Op
from mpc_bridge.circuit.ops import BY_NAME, FLOAT_MOVES
from mpc_bridge.errors import UnsupportedModelError
from mpc_bridge.lowering.program import Tail

#: What may follow a receiver's op in a tail.
_AFTER = (*FLOAT_MOVES, "QUANTIZE")


@dataclass(frozen=True)
class Scope:
    """How a circuit is divided.

    Attributes:
        secure: indices of the ops under the protocol, in order; ops that no output needs are left out.
        entries: tensors the data owner shares, in order.
        tails: per model output, the revealed tensor and what the receiver computes from it.
    """

    secure: tuple[int, ...]
    entries: tuple[int, ...]
    tails: tuple[Tail, ...]


def divide(circuit: Circuit) -> Scope:
    """Divide a circuit among data owner, parties and receiver.

    Raises:
        UnsupportedModelError: an op that only a receiver can compute is needed before the reveal.
    """
    producer = {output: index for index, op in enumerate(circuit.ops) for output in op.outputs}
    tails = tuple(_tail(circuit, producer, output) for output in circuit.outputs)
    needed: set[int] = {tail.tensor for tail in tails}
    secure: list[int] = []
    entries: set[int] = {tensor for tensor in needed if tensor in circuit.inputs}
    for index in range(len(circuit.ops) - 1, -1, -1):
        op = circuit.ops[index]
        wanted = [output for output in op.outputs if output in needed]
        if not wanted:
            continue
        if enters(circuit, op):
            entries.update(wanted)
            continue
        if BY_NAME[op.kind].receiver:
            raise UnsupportedModelError(
                f"{op.kind} in the middle of a model is not supported", where=f"op {op.name}",
                hint="it is computed by the receiver, so it must come last, and nothing else may use its result",
            )
        secure.append(index)
        needed.update(source for source in op.inputs if source >= 0)
        entries.update(source for source in op.inputs if source in circuit.inputs)
    for tensor in entries:
        if circuit.tensors[tensor].dtype not in ("int8", "uint8"):
            raise UnsupportedModelError(
                f"a {circuit.tensors[tensor].dtype} tensor cannot be shared",
                where=f"tensor {circuit.tensors[tensor].name}",
                hint="float inputs must go through a QUANTIZE first",
            )
    return Scope(tuple(reversed(secure)), tuple(sorted(entries)), tails)


def enters(circuit: Circuit, op: Op) -> bool:
    """Whether the data owner runs this op before sharing: float to integer, on a model input."""
    return op.kind == "QUANTIZE" and circuit.tensors[op.inputs[0]].dtype == "float32" and op.inputs[0] in circuit.inputs


def _tail(circuit: Circuit, producer: dict[int, int], output: int) -> Tail:
    """The longest run of trailing ops that starts with a receiver's op."""
    tensor, walked = output, []
    tail = Tail(output, ())
    while tensor in producer:
        index = producer[tensor]
        op = circuit.ops[index]
        if not BY_NAME[op.kind].receiver and op.kind not in _AFTER:
            break
        walked.append(index)
        tensor = op.inputs[0]
        if BY_NAME[op.kind].receiver:
            tail = Tail(tensor, tuple(reversed(walked)))
    return tail
