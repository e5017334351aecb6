"""The public part of a circuit as text for people: what every party learns, and never a weight."""

from __future__ import annotations

from mpc_bridge.circuit.graph import Attribute, Circuit, Op, Quantization, Tensor

#: Per-channel lists longer than this are shortened to their range.
_LIST = 4
#: Names longer than this lose their middle.
_NAME = 48


def format_circuit(circuit: Circuit) -> str:
    """Readable text: the model, its inputs and outputs, one line per op, one line per constant (type and shape only).

    Args:
        circuit: verified; its constants are not looked at.

    Returns:
        Lines with aligned columns, the last one ended.
    """
    heading = f"{circuit.name}: {circuit.source} model, profile {circuit.profile}"
    sections = [
        [heading],
        _table("inputs", [_tensor_row(circuit, index) for index in circuit.inputs]),
        _table("outputs", [_tensor_row(circuit, index) for index in circuit.outputs]),
        _table("ops", [_op_row(circuit, index, op) for index, op in enumerate(circuit.ops)]),
        _table("secret constants", [_tensor_row(circuit, index) for index in circuit.constant_tensors]),
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def _table(title: str, rows: list[tuple[str, ...]]) -> list[str]:
    """Rows under a title, columns as wide as their widest cell."""
    if not rows:
        return []
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [title, *("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
                     for row in rows)]


def _tensor_row(circuit: Circuit, index: int) -> tuple[str, ...]:
    tensor = circuit.tensors[index]
    return (f"%{index}", _type(tensor), _quantization(tensor.quantization), _name(tensor.name))


def _op_row(circuit: Circuit, index: int, op: Op) -> tuple[str, ...]:
    output = circuit.tensors[op.outputs[0]]
    operands = " ".join(f"%{operand}" if operand >= 0 else "-" for operand in op.inputs)
    attributes = " ".join(f"{name}={_attribute(value)}" for name, value in sorted(op.attributes.items()))
    return (str(index), f"%{op.outputs[0]}", "=", op.kind, operands, _type(output), _quantization(output.quantization),
            _name(op.name), attributes)


def _name(name: str) -> str:
    half = (_NAME - 3) // 2
    return name if len(name) <= _NAME else f"{name[:half]}...{name[-half:]}"


def _type(tensor: Tensor) -> str:
    return f"{tensor.dtype}[{'x'.join(map(str, tensor.shape))}]"


def _quantization(quantization: Quantization | None) -> str:
    if quantization is None:
        return ""
    text = f"scale {_attribute(quantization.scale)} zero {_attribute(quantization.zero_point)}"
    return text if quantization.axis is None else f"{text} axis {quantization.axis}"


def _attribute(value: Attribute) -> str:
    """One attribute, its numbers to six digits; a long list of numbers as its length and range."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if not isinstance(value, tuple):
        return str(value).lower() if isinstance(value, bool) else str(value)
    numbers = [item for item in value if isinstance(item, int | float)]
    if len(value) > _LIST and len(numbers) == len(value):
        least, greatest = _attribute(min(numbers)), _attribute(max(numbers))
        return f"{len(value)} x {least}" if least == greatest else f"{len(value)} x {least}..{greatest}"
    if len(value) == 1:
        return _attribute(value[0])
    return f"({', '.join(_attribute(item) for item in value)})"
