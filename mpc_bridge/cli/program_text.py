"""A Program as text: the steps that every party runs, with the public numbers of each."""

from __future__ import annotations

from mpc_bridge.lowering.program import (
    Affine,
    Geometry,
    Input,
    Linear,
    Lookup,
    Maximum,
    Move,
    Program,
    Requantize,
    Step,
    Value,
)

_NAME = 40


def format_program(program: Program) -> str:
    """One line per step: output, primitive, operands, what is public about it, layer. Ends with a newline."""
    head = f"program: {len(program.steps)} steps, {program.macs} multiplications, "
    head += f"{sum(program.activations.values())} activations, reveals {program.reveal}"
    rows = [_row(index, step, program) for index, step in enumerate(program.steps)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([head, *(f"  {line}" for line in lines)]) + "\n"


def _row(index: int, step: Step, program: Program) -> tuple[str, ...]:
    operands = " ".join(f"v{value}" for value in step.inputs)
    if step.primitive == "output":
        target, form = f"out{step.output}", ""
    else:
        target, form = f"v{step.output}", _form(program.values[step.output])
    layer = step.layer if len(step.layer) <= _NAME else f"{step.layer[: _NAME - 3]}..."
    return str(index), target, step.primitive, operands, form, _detail(step), layer


def _form(value: Value) -> str:
    """Shape, then what it is: ``u8`` stored integers up to ``high``, or a signed accumulator modulo ``2**ring``."""
    shape = "x".join(map(str, value.shape))
    if value.kind == "activation":
        text = f"[{shape}] 0..{value.high} offset {value.offset}"
    else:
        text = f"[{shape}] {value.kind}"
    if value.ring:
        text += f" mod 2^{value.ring}"
    return f"{text} bits" if value.bits else text


def _detail(step: Step) -> str:
    if isinstance(step, Input):
        return f"from the {step.owner} owner"
    if isinstance(step, Linear):
        kind = "depthwise" if step.depthwise else "dense"
        other = f" and {step.weight_zero}" if step.weight_zero else ""
        return f"{kind} {_window(step.geometry)}, zero {step.zero}{other}"
    if isinstance(step, Affine):
        pool = f", sum over {_window(step.geometry)}" if step.geometry is not None else ""
        axes = f", sum over axes {step.axes}" if step.axes else ""
        coefficients = ", ".join(
            str(item) if isinstance(item, int) else f"{len(item)} x {min(item)}..{max(item)}"
            for item in step.coefficients)
        return f"coefficients ({coefficients}){pool}{axes}"
    if isinstance(step, Requantize):
        tie = ""
        if step.tie is not None:
            tie = ", ties away from zero" if step.tie.parity is None else ", ties to even"
        shift = f">> {step.shift} in {step.bits} bits"
        return f"{len(step.multiplier)} multipliers, {shift}, to {step.low}..{step.high}{tie}"
    if isinstance(step, Maximum):
        what = "index of the greatest" if step.argmax else "maximum"
        return f"{what} over {_window(step.geometry)}" if step.geometry is not None else what
    if isinstance(step, Lookup):
        return f"table of {len(step.table)}"
    if isinstance(step, Move):
        return step.kind
    return f"to the {step.receiver}"


def _window(geometry: Geometry) -> str:
    (rows, columns), (down, right) = geometry.kernel, geometry.stride
    return f"{rows}x{columns} stride {down}x{right}"
