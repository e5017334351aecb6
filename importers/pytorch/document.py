"""Checked access to the JSON of a ``.pt2`` file: every value has the type it is read as, or the file is refused."""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from mpc_bridge.importers.pytorch.calls import MAX_ELEMENTS, MAX_RANK, Meta, corrupt

#: Greatest JSON document: some ten thousand nodes with their stack traces.
MAX_JSON = 32 * 2**20
MAX_NESTING = 100
#: Brackets and quotes of a document: an empty list of two bytes takes Python thirty times as much.
MAX_TOKENS = 4 * 2**20
_MAX_DIGITS = 20

#: torch's ScalarType numbers.
DTYPES = {1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64",
          9: "complex32", 10: "complex64", 11: "complex128", 12: "bool", 13: "bfloat16", 28: "uint16",
          29: "float8_e4m3fn", 30: "float8_e5m2", 31: "float8_e4m3fnuz", 32: "float8_e5m2fnuz", 33: "float8_e8m0fnu",
          34: "uint32", 35: "uint64"}
_STRIDED = 7

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,1023}", re.ASCII)
#: Brackets, quotes, and escaped characters, which are neither.
_STRUCTURE = re.compile(rb'\\.|["\[\]{}]', re.DOTALL)
_EXPRESSION = re.compile(r"[A-Za-z0-9_ (),='+*/-]{1,256}", re.ASCII)


class _Refused(Exception):
    """A JSON value that no writer produces."""


def parse(content: memoryview, source: str, place: str) -> Any:
    """A JSON document, within limits on nesting, on values and on the digits of a number; no key twice.

    Raises:
        ModelFormatError: it is none.
    """
    _check_structure(content, source, place)
    try:
        return json.loads(content.tobytes().decode("utf-8"), parse_int=_integer, parse_constant=_constant,
                          object_pairs_hook=_object)
    except (ValueError, RecursionError, _Refused):
        raise corrupt("not the JSON that torch writes", source, place) from None


def _check_structure(content: memoryview, source: str, place: str) -> None:
    # before the parser, whose own limits are the interpreter's stack and the computer's memory
    depth, quoted = 0, False
    for count, match in enumerate(_STRUCTURE.finditer(content)):
        if count >= MAX_TOKENS:
            raise corrupt("JSON of too many values", source, place)
        token = match[0]
        if token == b'"':
            quoted = not quoted
        elif not quoted and token in b"[{":
            depth += 1
            if depth > MAX_NESTING:
                raise corrupt(f"JSON nested more than {MAX_NESTING} deep", source, place)
        elif not quoted and token in b"]}":
            depth -= 1


def _integer(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise _Refused
    return int(text)


def _constant(_text: str) -> NoReturn:
    raise _Refused


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Refused
    return found


class Fields:
    """Typed access to the fields of JSON objects in one document."""

    def __init__(self, source: str, place: str) -> None:
        self.source = source
        self.place = place

    def wrong(self, what: str) -> NoReturn:
        """Refuse the file."""
        raise corrupt(what, self.source, self.place)

    def object(self, value: Any) -> Mapping[str, Any]:
        """A JSON object."""
        if not isinstance(value, dict):
            self.wrong("a JSON object is missing")
        return value

    def field(self, value: Any, name: str) -> Any:
        """A field that has to be there."""
        found = self.object(value)
        if name not in found:
            self.wrong(f"the field {name} is missing")
        return found[name]

    def list(self, value: Any, limit: int = 1_000_000) -> list[Any]:
        """A JSON array of at most ``limit`` values."""
        if not isinstance(value, list) or len(value) > limit:
            self.wrong("a JSON array is missing or too long")
        return value

    def integer(self, value: Any, low: int = -(2**63), high: int = 2**63 - 1) -> int:
        """An integer within bounds."""
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            self.wrong("an integer is missing or out of range")
        return value

    def boolean(self, value: Any) -> bool:
        """True or false."""
        if not isinstance(value, bool):
            self.wrong("true or false is missing")
        return value

    def number(self, value: Any) -> float:
        """A float; torch writes the infinite ones as words."""
        if isinstance(value, str) and value in ("Infinity", "-Infinity", "NaN"):
            return float(value)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            self.wrong("a number is missing")
        return float(value)

    def text(self, value: Any, limit: int = 4096) -> str:
        """A short string."""
        if not isinstance(value, str) or len(value) > limit:
            self.wrong("a string is missing or too long")
        return value

    def name(self, value: Any) -> str:
        """A tensor's or node's name: a dotted identifier."""
        text = self.text(value)
        if not _NAME.fullmatch(text):
            self.wrong("a name is not an identifier")
        return text

    def variant(self, value: Any) -> tuple[str, Any]:
        """A tagged union: an object of one field."""
        found = self.object(value)
        if len(found) != 1:
            self.wrong("a value has not exactly one type")
        return next(iter(found.items()))

    def dtype(self, value: Any) -> str:
        """An element type by torch's number."""
        number = self.integer(value)
        if number not in DTYPES:
            self.wrong(f"unknown element type {number}")
        return DTYPES[number]

    def dimension(self, value: Any, symbols: Mapping[str, int]) -> int:
        """An integer or an expression of symbols whose values are known.

        Raises:
            KeyError: another symbol.
        """
        kind, content = self.variant(value)
        if kind == "as_int":
            return self.integer(content)
        if kind != "as_expr":
            self.wrong("a size is no integer")
        return evaluate(self.text(self.field(content, "expr_str")), symbols, self)

    def meta(self, value: Any, symbols: Mapping[str, int]) -> Meta:
        """Shape and element type of a tensor; sizes with other symbols than ``symbols`` raise KeyError."""
        sizes = [self.dimension(size, symbols) for size in self.list(self.field(value, "sizes"), MAX_RANK)]
        if any(not 0 <= size <= MAX_ELEMENTS for size in sizes) or math.prod(sizes) > MAX_ELEMENTS:
            self.wrong("a tensor has a size out of range")
        if self.field(value, "layout") != _STRIDED:
            self.wrong("a tensor is sparse: dense ones are read")
        return Meta(tuple(sizes), self.dtype(self.field(value, "dtype")))


def evaluate(expression: str, symbols: Mapping[str, int], fields: Fields) -> int:
    """The value of a size expression as torch writes it: sums, products and floor divisions of integers and symbols.

    Raises:
        KeyError: a symbol that is not in ``symbols``.
        ModelFormatError: anything else that is not such an expression.
    """
    if not _EXPRESSION.fullmatch(expression):
        fields.wrong("a size expression cannot be read")
    try:
        value = _evaluate(ast.parse(expression, mode="eval").body, symbols)
    except (SyntaxError, ValueError, RecursionError, MemoryError, ArithmeticError):
        fields.wrong("a size expression cannot be read")
    if abs(value) > 2**63:
        fields.wrong("a size expression is out of range")
    return value


def _evaluate(node: ast.expr, symbols: Mapping[str, int]) -> int:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    if isinstance(node, ast.Name):
        return symbols[node.id]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_evaluate(node.operand, symbols)
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub, ast.Mult, ast.FloorDiv)):
        left, right = _evaluate(node.left, symbols), _evaluate(node.right, symbols)
        if isinstance(node.op, ast.Add):
            return left + right
        if isinstance(node.op, ast.Sub):
            return left - right
        return left * right if isinstance(node.op, ast.Mult) else left // right
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
        function, first = node.func.id, node.args[0]
        if function == "Symbol" and isinstance(first, ast.Constant) and isinstance(first.value, str):
            return symbols[first.value]
        if node.keywords:
            raise ValueError
        values = [_evaluate(argument, symbols) for argument in node.args]
        if function == "Integer" and len(values) == 1:
            return values[0]
        if function == "Add":
            return sum(values)
        if function == "Mul":
            return math.prod(values)
        if function == "FloorDiv" and len(values) == 2:
            return values[0] // values[1]
        if function in ("Max", "Min"):
            return max(values) if function == "Max" else min(values)
        if function == "Mod" and len(values) == 2:
            return values[0] % values[1]
    raise ValueError
