"""Dataclasses to JSON and back: one declaration is the schema, and the reader trusts nothing.

A field whose name in the file is a word of Python's says so: ``field(metadata={"json": "class"})``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import UnionType
from typing import Any, Literal, NoReturn, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from mpc_bridge.errors import ResultsError

Record = TypeVar("Record")

#: Of an integer: beyond any count, and a float can still hold it.
_LARGEST = 1 << 63


def encode(value: object) -> Any:
    """What :func:`json.dumps` takes."""
    if is_dataclass(value) and not isinstance(value, type):
        return {_key(item): encode(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {key: encode(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(item) for item in value]
    return value


def line(value: object) -> str:
    """One line of JSON. A number that is none is our own bug: ValueError."""
    return json.dumps(encode(value), ensure_ascii=False, allow_nan=False)


def parse(text: str | bytes) -> Any:
    """JSON, with finite numbers only and no key twice. Raises ResultsError."""
    try:
        return json.loads(text, parse_constant=_no_number, parse_float=_finite, parse_int=_integer,
                          object_pairs_hook=_unique)
    except RecursionError:
        raise ResultsError("the JSON is nested too deeply") from None
    except ValueError as error:
        raise ResultsError("not a complete JSON file", hint=str(error)[:200]) from None


def decode(kind: type[Record], value: object, where: str = "", exact: bool = True) -> Record:
    """A dataclass from parsed JSON: every field there, of its type. Raises ResultsError with the place.

    Types: str, int, float, bool, ``Any`` (JSON as it is), None, unions, Literal, tuples and string-keyed dicts of
    these, dataclasses. An integer serves as a float. A field with a default may be absent; with ``exact``, no other
    key may be there.
    """
    return cast(Record, _decode(kind, value, where, exact))


def _decode(kind: Any, value: Any, where: str, exact: bool) -> Any:
    if kind is Any:
        return value
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        if value is None and type(None) in arguments:
            return None
        return _decode(next(one for one in arguments if one is not type(None)), value, where, exact)
    if origin is Literal:
        if not any(type(value) is type(one) and value == one for one in arguments):
            _refuse(where, f"one of {', '.join(map(str, arguments))}")
        return value
    if origin is tuple:
        if not isinstance(value, list):
            _refuse(where, "a list")
        return tuple(_decode(arguments[0], item, f"{where}[{index}]", exact) for index, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            _refuse(where, "an object")
        return {key: _decode(arguments[1], item, f"{where}.{key[:50]}", exact) for key, item in value.items()}
    if is_dataclass(kind):
        return _fields(kind, value, where, exact)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or isinstance(value, bool) and kind is not bool:
        _refuse(where, {str: "a text", int: "an integer", float: "a number", bool: "true or false"}[kind])
    return value


def _fields(kind: Any, value: Any, where: str, exact: bool) -> Any:
    if not isinstance(value, dict):
        _refuse(where, "an object")
    hints = get_type_hints(kind)
    declared = {_key(item): item for item in fields(kind)}
    for key in value:
        if exact and key not in declared:
            _refuse(where, f"without {key[:50]!r}")
    found = {}
    for key, item in declared.items():
        if key in value:
            found[item.name] = _decode(hints[item.name], value[key], f"{where}.{key}".lstrip("."), exact)
        elif item.default is MISSING:
            _refuse(where, f"with {key!r}")
    return kind(**found)


def _key(item: Any) -> str:
    return str(item.metadata.get("json", item.name))


def _refuse(where: str, wanted: str) -> NoReturn:
    raise ResultsError("not a results file of this version", where=where or "the file",
                       hint=f"it should be {wanted}; was the file edited?")


def _no_number(word: str) -> NoReturn:
    raise ResultsError(f"a number is {word}", hint="no measurement is; was the file edited?")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        _no_number("infinite")
    return number


def _integer(text: str) -> int:
    number = int(text) if len(text) < 30 else _LARGEST
    if not -_LARGEST < number < _LARGEST:
        _no_number("too large")
    return number


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ResultsError("an object holds a key twice", hint="was the file edited?")
    return found
