"""Runs a Program on one Engine: what every party process does, and the in-process plaintext backend too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mpc_bridge.lowering.program import (
    Affine,
    Input,
    Linear,
    Lookup,
    Maximum,
    Move,
    Output,
    Program,
    Requantize,
    Step,
)
from mpc_bridge.runtime.meter import CostMeter

if TYPE_CHECKING:
    from mpc_bridge.backends.base import Engine, Share

#: Gives the owner's message for an input step.
ReadMessage = Callable[[int, Input], bytes]
#: Takes this party's message for an output step.
WriteOutput = Callable[[int, Output, bytes], None]
#: Told after each step: steps done, steps in all, name of the layer.
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Prepared:
    """What setup leaves for every later run: packed weights by step, and shares of other model values by value."""

    packed: dict[int, Share]
    constants: dict[int, Share]


def weight_steps(program: Program) -> dict[int, tuple[int, ...]]:
    """Step index of each linear step with weights → its weight and bias values.

    A linear step whose second operand is an activation, a product of two, is not one of them.
    """
    return {index: step.inputs[1:] for index, step in enumerate(program.steps)
            if isinstance(step, Linear) and program.values[step.inputs[1]].kind == "weight"}


def run_setup(engine: Engine, program: Program, read_message: ReadMessage, meter: CostMeter) -> Prepared:
    """Prepare the engine and take in the weights, packing each linear step's as soon as they are all there.

    Args:
        read_message: called with step index and step for every input step the model's owner holds, in program order.
    """
    with meter.phase("setup"):
        engine.prepare(program)
        wanting = weight_steps(program)
        packed: dict[int, Share] = {}
        shares: dict[int, Share] = {}
        elsewhere = {value for index, step in enumerate(program.steps) if not isinstance(step, Input)
                     for value in (step.inputs[:1] if index in wanting else step.inputs)}
        for index, step in enumerate(program.steps):
            if not (isinstance(step, Input) and step.owner == "model"):
                continue
            shares[step.output] = engine.load(step, read_message(index, step))
            for target, values in list(wanting.items()):
                if step.output in values and all(value in shares for value in values):
                    linear = program.steps[target]
                    assert isinstance(linear, Linear)
                    with meter.layer(linear.layer):
                        packed[target] = engine.weights(linear, [shares[value] for value in values])
                    del wanting[target]
            # Only what some step still wants stays: a big model's weights are held once, packed.
            needed = elsewhere.union(*wanting.values())
            shares = {value: share for value, share in shares.items() if value in needed}
        engine.finish_setup()
        return Prepared(packed, shares)


def run_online(engine: Engine, program: Program, prepared: Prepared, read_message: ReadMessage,
               write_output: WriteOutput, meter: CostMeter, progress: Progress | None = None) -> None:
    """One inference, in the meter's current phase. A value's share is dropped after its last use.

    Args:
        read_message: called with step index and step for every input step the data's owner holds, in program order.
        write_output: called with step index, step and this party's message for every output step, in program order.
        progress: called after each step.
    """
    last_use = {value: index for index, step in enumerate(program.steps) for value in step.inputs}
    shares: dict[int, Share] = dict(prepared.constants)
    total = len(program.steps)
    for index, step in enumerate(program.steps):
        with meter.layer(step.layer):
            if isinstance(step, Input):
                if step.owner == "data":
                    shares[step.output] = engine.load(step, read_message(index, step))
            elif isinstance(step, Output):
                write_output(index, step, engine.output(step, shares[step.inputs[0]]))
            elif isinstance(step, Linear):
                if index in prepared.packed:
                    packed = prepared.packed[index]
                else:
                    packed = engine.weights(step, [shares[value] for value in step.inputs[1:]])
                shares[step.output] = engine.linear(step, shares[step.inputs[0]], packed)
            else:
                shares[step.output] = _compute(engine, step, [shares[value] for value in step.inputs])
        for value in step.inputs:
            if last_use[value] == index:
                shares.pop(value, None)
        if progress is not None:
            progress(index + 1, total, step.layer)


def _compute(engine: Engine, step: Step, inputs: list[Share]) -> Share:
    if isinstance(step, Requantize):
        return engine.requantize(step, inputs[0])
    if isinstance(step, Affine):
        return engine.affine(step, inputs)
    if isinstance(step, Maximum):
        return engine.maximum(step, inputs[0])
    if isinstance(step, Lookup):
        return engine.lookup(step, inputs[0])
    if isinstance(step, Move):
        return engine.move(step, inputs)
    raise TypeError(f"{step.primitive} step in the middle of a program")
