"""A look at an ONNX file's protocol buffer before it is parsed: how many parts it asks a parser to allocate.

Two bytes of a file can be an empty message, which takes a parser a hundred. Counting them first, without allocating
anything, bounds what a hostile file costs. Field numbers are those of ``onnx.proto``; what is not a message there
counts as one part, whatever its length.
"""

from __future__ import annotations

from collections.abc import Mapping

#: Parts of one file. The largest models in use have a few hundred thousand.
MAX_PARTS = 2_000_000
#: Nesting; the parser of protocol buffers itself ends at 100.
MAX_DEPTH = 100

#: Message → field → message.
_MESSAGES: Mapping[str, Mapping[int, str]] = {
    "Model": {7: "Graph", 8: "Entry", 14: "Entry", 20: "Training", 25: "Function", 26: "Entry"},
    "Training": {1: "Graph", 2: "Graph", 3: "Entry", 4: "Entry"},
    "Function": {7: "Node", 9: "Entry", 11: "Attribute", 12: "Value", 14: "Entry"},
    "Graph": {1: "Node", 5: "Tensor", 11: "Value", 12: "Value", 13: "Value", 14: "Annotation", 15: "Sparse",
              16: "Entry"},
    "Node": {5: "Attribute", 9: "Entry", 10: "Devices"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 14: "Type", 15: "Type", 22: "Sparse",
                  23: "Sparse"},
    "Tensor": {3: "Entry", 13: "Entry", 16: "Entry"},
    "Sparse": {1: "Tensor", 2: "Tensor"},
    "Value": {2: "Type", 4: "Entry"},
    "Type": {1: "TensorType", 4: "Element", 5: "Map", 7: "Entry", 8: "TensorType", 9: "Element"},
    "Element": {1: "Type"},
    "Map": {2: "Type"},
    "TensorType": {2: "Shape"},
    "Shape": {1: "Entry"},
    "Annotation": {2: "Entry"},
    "Devices": {2: "Sharding"},
    "Sharding": {3: "Entry", 4: "ShardedDim"},
    "ShardedDim": {2: "Entry"},
    "Entry": {},
}


class WireError(ValueError):
    """The bytes are no protocol buffer of this schema, or one with too many parts."""


def count_parts(data: bytes) -> int:
    """The number of fields of all messages of a ModelProto.

    Raises:
        WireError: the bytes do not parse, or the number is beyond :data:`MAX_PARTS`.
    """
    parts = 0
    #: message, position, end
    stack: list[tuple[str, int, int]] = [("Model", 0, len(data))]
    while stack:
        message, position, end = stack.pop()
        fields = _MESSAGES[message]
        while position < end:
            parts += 1
            if parts > MAX_PARTS:
                raise WireError(f"more than {MAX_PARTS} parts")
            key, position = _varint(data, position, end)
            kind = key & 7
            if kind == 0:
                _, position = _varint(data, position, end)
            elif kind == 2:
                size, position = _varint(data, position, end)
                if size > end - position:
                    raise WireError("a part beyond the end")
                inner = fields.get(key >> 3)
                if inner is not None and size:
                    if len(stack) >= MAX_DEPTH:
                        raise WireError("messages nested too deep")
                    stack.append((message, position + size, end))
                    stack.append((inner, position, position + size))
                    break
                position += size
            elif kind in (1, 5):
                position += 8 if kind == 1 else 4
                if position > end:
                    raise WireError("a part beyond the end")
            else:
                raise WireError("groups, which ONNX does not have")
    return parts


def _varint(data: bytes, position: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while position < end and shift < 70:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise WireError("a number that does not end")
