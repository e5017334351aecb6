"""Checks of single op attributes: types, ranges and sizes, as :mod:`mpc_bridge.circuit.ops` states them.

Every function raises ValueError, in words, and is safe on any Python value: circuits arrive over the network.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

from mpc_bridge.circuit.graph import INTEGER_RANGES, Op
from mpc_bridge.circuit.ops import FLOAT_FUNCTIONS, LINEAR_AXIS, RULES

#: Greatest stride, dilation, window extent, or number of padded cells on one side.
MAX_STEP = 2**16

#: Greatest position or extent along an axis: no tensor has more elements.
MAX_EXTENT = 2**28

#: Multipliers from here on make the framework shift an int32 by more than 30 bits.
MAX_MULTIPLIER = 2.0**30

#: Greatest shift of a RESCALE.
MAX_SHIFT = 62

#: Checked by functions that know the output's type.
_TYPED = ("requantization", "bounds", "table", "low", "high")


def is_integer(value: object, low: int, high: int) -> bool:
    """Whether ``value`` is an int (not a bool) in ``[low, high]``."""
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def is_real(value: object) -> bool:
    """Whether ``value`` is a finite, positive float."""
    return isinstance(value, float) and math.isfinite(value) and value > 0


def check_attributes(op: Op, output_dtype: str, channels: int) -> None:
    """Check every attribute of an op whose names are already known to be right.

    Args:
        output_dtype: type of the op's output.
        channels: extent of the output's last axis (1 without axes).

    Raises:
        ValueError: which attribute is wrong, and how.
    """
    for name, value in op.attributes.items():
        if name in _TYPED:
            continue
        if not (_rescale_multipliers(value, channels) if op.kind == "RESCALE" and name == "multipliers"
                else _CHECKS[name](value)):
            raise ValueError(f"attribute {name} is {_short(value)}")
    if "bounds" in op.attributes:
        _check_bounds(op.attributes["bounds"], output_dtype)
    if "table" in op.attributes:
        table = op.attributes["table"]
        if not (isinstance(table, tuple) and len(table) == 256
                and all(is_integer(item, *INTEGER_RANGES[output_dtype]) for item in table)):
            raise ValueError(f"attribute table is {_short(table)}, not 256 integers of type {output_dtype}")
    if op.kind == "RESCALE":
        _check_rescale(op, output_dtype)
    if "requantization" in op.attributes:
        _check_requantization(op, op.attributes["requantization"], output_dtype, channels)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _pair(value: object, low: int, high: int) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(is_integer(item, low, high) for item in value)


def _steps(value: object) -> bool:
    return _pair(value, 1, MAX_STEP)


def _padding(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and _paddings(value)


def _paddings(value: object) -> bool:
    return isinstance(value, tuple) and all(_pair(item, 0, MAX_STEP) for item in value)


def _input_multipliers(value: object) -> bool:
    return (isinstance(value, tuple) and len(value) == 2
            and all(isinstance(item, float) and is_real(item) and item < 1 for item in value))


def _ascending_axes(value: object) -> bool:
    return (isinstance(value, tuple) and all(is_integer(item, 0, 7) for item in value)
            and list(value) == sorted(set(value)))


def _axes(value: object) -> bool:
    return _ascending_axes(value) and value != ()


def _permutation(value: object) -> bool:
    return (isinstance(value, tuple) and all(is_integer(item, 0, 7) for item in value)
            and sorted(value) == list(range(len(value))))


def _extents(value: object, low: int, high: int = MAX_EXTENT) -> bool:
    return isinstance(value, tuple) and all(is_integer(item, low, high) for item in value)


def _strides(value: object) -> bool:
    return _extents(value, -MAX_EXTENT) and 0 not in cast("tuple[int, ...]", value)


def _alpha_multiplier(value: object) -> bool:
    return isinstance(value, float) and 0 <= value < MAX_MULTIPLIER


def _hard_swish_multipliers(value: object) -> bool:
    return (isinstance(value, tuple) and len(value) == 2 and all(isinstance(item, float) for item in value)
            and 2.0**-16 <= value[0] < 1 and 2.0**-16 <= value[1] < MAX_MULTIPLIER)


def _rescale_multipliers(value: object, channels: int) -> bool:
    return isinstance(value, tuple) and all(
        isinstance(term, tuple) and len(term) in (1, channels)
        and all(is_integer(item, 1 - 2**31, 2**31 - 1) for item in term) for term in value)


def _boolean(value: object) -> bool:
    return isinstance(value, bool)


_CHECKS: dict[str, Callable[[object], bool]] = {
    "stride": _steps,
    "dilation": _steps,
    "origin": lambda value: _pair(value, 0, MAX_STEP),
    "window": _steps,
    "padding": _padding,
    "paddings": _paddings,
    "depth_multiplier": lambda value: is_integer(value, 1, 2**20),
    "keep_num_dims": _boolean,
    "keep_dims": _boolean,
    "axes": _axes,
    "axis": lambda value: is_integer(value, 0, 7),
    "permutation": _permutation,
    "begin": lambda value: _extents(value, 0),
    "size": lambda value: _extents(value, 1),
    "strides": _strides,
    "dropped": _ascending_axes,
    "start": lambda value: is_integer(value, 0, MAX_EXTENT),
    "extent": lambda value: is_integer(value, 1, MAX_EXTENT),
    "multiples": lambda value: _extents(value, 1),
    "block": lambda value: is_integer(value, 1, MAX_STEP),
    "symmetric": _boolean,
    "adj_x": _boolean,
    "adj_y": _boolean,
    "align_corners": _boolean,
    "half_pixel_centers": _boolean,
    "left_shift": lambda value: value == 20 and is_integer(value, 20, 20),
    "input_multipliers": _input_multipliers,
    "beta": is_real,
    "alpha_multiplier": _alpha_multiplier,
    "multipliers": _hard_swish_multipliers,
    "shift": lambda value: is_integer(value, 0, MAX_SHIFT),
    "count_include_pad": _boolean,
    "divisor": lambda value: is_integer(value, 0, MAX_EXTENT),
    "log": _boolean,
    "function": lambda value: isinstance(value, str) and value in FLOAT_FUNCTIONS,
}


def _check_rescale(op: Op, dtype: str) -> None:
    multipliers, bounds = op.attributes["multipliers"], (op.attributes["low"], op.attributes["high"])
    if len(cast("tuple[object, ...]", multipliers)) != len(op.inputs) - 1:
        raise ValueError(f"multipliers for another number of terms than {len(op.inputs) - 1}")
    if dtype != "int64":
        _check_bounds(bounds, dtype)
    elif not _pair(bounds, 0, 0) or op.attributes["shift"] != 0:
        raise ValueError("an int64 sum with a shift or bounds other than 0")


def _check_bounds(value: object, dtype: str) -> None:
    low, high = INTEGER_RANGES[dtype]
    if not (isinstance(value, tuple) and _pair(value, low, high) and value[0] <= value[1]):
        raise ValueError(f"bounds {_short(value)} of a {dtype} output")


def _check_requantization(op: Op, value: object, dtype: str, channels: int) -> None:
    if not (isinstance(value, tuple) and len(value) == 4 and isinstance(value[0], str) and isinstance(value[1], tuple)):
        raise ValueError(f"attribute requantization is {_short(value)}, not (rule, multipliers, low, high)")
    rule, multipliers, low, high = value
    if op.kind not in RULES.get(rule, ()):
        raise ValueError(f"requantization rule {_short(rule)}")
    if rule == "none":
        if multipliers or not _pair((low, high), 0, 0):
            raise ValueError("requantization rule 'none' with multipliers or bounds")
        return
    per_channel = op.kind in LINEAR_AXIS
    if len(multipliers) != 1 and not (per_channel and len(multipliers) == channels):
        raise ValueError(f"requantization with {len(multipliers)} multipliers for {channels} channels")
    limit = 1.0 if op.kind in ("ADD", "SUB") else MAX_MULTIPLIER
    for multiplier in multipliers:
        if not (isinstance(multiplier, float) and is_real(multiplier) and multiplier < limit):
            raise ValueError(f"requantization with the multiplier {_short(multiplier)}")
    both = (*multipliers, cast(float, op.attributes.get("alpha_multiplier", 0.0)))
    for multiplier in both if rule == "half_even" else ():
        if not (math.frexp(multiplier)[0] * 2**31).is_integer():
            raise ValueError(f"requantization with the multiplier {multiplier!r}, of more than 31 significant bits")
    _check_bounds((low, high), dtype)
