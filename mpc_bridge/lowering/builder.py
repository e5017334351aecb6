"""The Program under construction: values by tensor, steps in order, then the forms every value is needed in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mpc_bridge.circuit.graph import INTEGER_RANGES, Circuit
from mpc_bridge.errors import UnsupportedModelError
from mpc_bridge.lowering.constants import Constants, Parity, Tie
from mpc_bridge.lowering.program import (
    Affine,
    Input,
    Linear,
    Lookup,
    Maximum,
    Move,
    Output,
    Owner,
    Requantize,
    Step,
    TieRule,
    Value,
)


class Builder:
    """Collects values and steps while the ops are lowered one by one.

    Args:
        circuit: public facts are all that is used.
        offsets: of every stored tensor.
    """

    def __init__(self, circuit: Circuit, offsets: dict[int, int]) -> None:
        self.circuit = circuit
        self.offsets = offsets
        self.values: list[Value] = []
        self.steps: list[Step] = []
        self._stored: dict[int, int] = {}

    def new(self, value: Value) -> int:
        """Index of a new value."""
        self.values.append(value)
        return len(self.values) - 1

    def stored(self, tensor: int) -> int:
        """Index of the activation that carries a tensor; a constant one becomes an input of the model's owner."""
        if tensor not in self._stored:
            self._stored[tensor] = self.enter(tensor)
        return self._stored[tensor]

    def enter(self, tensor: int) -> int:
        """An owner shares an activation."""
        facts = self.circuit.tensors[tensor]
        low, high = INTEGER_RANGES[facts.dtype]
        index = self.new(Value(facts.name, facts.shape, "activation", low, high - low))
        owner: Owner = "model" if tensor in self.circuit.constant_tensors else "data"
        self.steps.append(Input(-1, facts.name if owner == "model" else "input", (), index, owner, tensor))
        self._stored[tensor] = index
        return index

    def constant(self, op: int, tensor: int, shape: tuple[int, ...], limits: tuple[int, int]) -> int:
        """The model's owner shares weights or a bias, within ``limits``, in the layout its linear step reads.

        Raises:
            UnsupportedModelError: the tensor is not a constant, or is used in another layout too.
        """
        facts = self.circuit.tensors[tensor]
        layer = self.circuit.ops[op].name
        if tensor not in self.circuit.constant_tensors:
            raise UnsupportedModelError(
                "weights or a bias that the model computes", where=f"op {layer}, tensor {facts.name}",
                hint="only constant weights are supported",
            )
        if tensor in self._stored:
            known = self.values[self._stored[tensor]]
            if (known.kind, known.shape) != ("weight", shape):
                raise UnsupportedModelError(
                    "a constant that is used in two different ways", where=f"op {layer}, tensor {facts.name}"
                )
            return self._stored[tensor]
        index = self.new(Value(facts.name, shape, "weight", 0, limits[1], low=limits[0]))
        self.steps.append(Input(op, layer, (), index, "model", tensor))
        self._stored[tensor] = index
        return index

    def accumulator(self, op: int, shape: tuple[int, ...]) -> int:
        """A new accumulator of an op."""
        name = self.circuit.tensors[self.circuit.ops[op].outputs[0]].name
        return self.new(Value(f"{name}/sum", shape, "accumulator"))

    def activation(self, op: int, high: int, shape: tuple[int, ...] | None = None) -> int:
        """A new activation that carries an op's output, or a part of it."""
        tensor = self.circuit.ops[op].outputs[0]
        facts = self.circuit.tensors[tensor]
        kept = facts.shape if shape is None else shape
        return self.new(Value(facts.name, kept, "activation", self.offsets[tensor], high))

    def finish(self, op: int, value: int) -> None:
        """``value`` carries the op's output from here on."""
        self._stored[self.circuit.ops[op].outputs[0]] = value

    def proven(self, op: int, found: Constants | None) -> Constants:
        """What a search found.

        Raises:
            UnsupportedModelError: it found nothing. Double rounding always has a form; ``float64_half_away`` may have
                none when the multiplier is a small fraction, 0.7 say: floats then break exact ties either way.
        """
        if found is None:
            raise UnsupportedModelError(
                f"no exact constants in 64 bits for this {self.circuit.ops[op].kind}",
                where=f"op {self.circuit.ops[op].name}",
                hint="its scales are extreme, or small fractions that round irregularly; calibrate them on data",
            )
        return found

    def requantize(
        self, op: int, source: int, found: Constants, rows: Sequence[int] | None, bounds: tuple[int, int],
        levels: Tie | None, shape: tuple[int, ...] | None = None,
    ) -> int:
        """Append a Requantize and return its output.

        Args:
            rows: per channel, which of the constants' rows it uses; None or all equal: one row for all.
            bounds: least and greatest stored output.
            levels: which ones the tie rule chooses, where ``found`` has one.
        """
        low, high = bounds
        chosen = [0] if rows is None or len(found.multiplier) == 1 else [int(row) for row in rows]
        tie = None
        if found.delta:
            assert levels is not None
            zero, parity = (0, levels.value) if isinstance(levels, Parity) else (levels, None)
            tie = TieRule(found.tie_bit, zero, tuple(found.delta[row] for row in chosen), parity)
        output = self.activation(op, high, shape=shape)
        self.steps.append(Requantize(
            op, self.circuit.ops[op].name, (source,), output, tuple(found.multiplier[row] for row in chosen),
            tuple(found.constant[row] for row in chosen), found.shift, found.bits, low, high, tie,
        ))
        return output


def with_forms(values: Sequence[Value], steps: Sequence[Step]) -> tuple[Value, ...]:
    """Values with ``ring`` and ``bits`` set to what their consumers need; moves pass on what their output needs.

    A sum is known modulo its step's ring only, and protocols that verify check no more of it: a consumer that reads
    more bits is a mistake here, and raises ValueError.
    """
    rings = [0] * len(values)
    bits = [False] * len(values)
    for step in reversed(steps):
        if isinstance(step, (Linear, Affine)):
            for source in step.inputs:
                rings[source] = max(rings[source], step.ring)
            if rings[step.output] > step.ring:
                raise ValueError(f"{step.layer}: {rings[step.output]} bits are read of a sum modulo 2**{step.ring}")
            rings[step.output] = step.ring
        elif isinstance(step, Requantize):
            rings[step.inputs[0]] = max(rings[step.inputs[0]], step.bits)
        elif isinstance(step, Move):
            for source in step.inputs:
                rings[source] = max(rings[source], rings[step.output])
                bits[source] |= bits[step.output]
        elif isinstance(step, (Maximum, Lookup, Output)):
            for source in step.inputs:
                # a revealed accumulator stays one
                bits[source] |= values[source].kind != "accumulator"
    return tuple(replace(value, ring=ring, bits=bit) for value, ring, bit in zip(values, rings, bits, strict=True))
