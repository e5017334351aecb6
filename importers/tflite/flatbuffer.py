"""A bounds-checked reader of the flatbuffer wire format, for files that may be hostile.

The official Python runtime follows offsets without checks (negative slices wrap around, lengths are trusted). Here
every access is checked against the file, and every vector is charged to a budget proportional to the file's size, so a
small file whose vectors overlap cannot make the reader work or allocate without bound. Wire format:
https://flatbuffers.dev/internals/ (little endian; a table starts with a signed offset back to its vtable; a vtable
holds its own size, the table's size and one 16-bit field offset per slot, 0 meaning absent; references are unsigned and
forward).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from mpc_bridge.errors import ModelFormatError

#: struct letters of the scalar types of the schema, and their sizes
_SIZES = {"b": 1, "B": 1, "?": 1, "h": 2, "H": 2, "i": 4, "I": 4, "f": 4, "q": 8, "Q": 8}

#: Bytes of vectors that may be read per byte of file. Writers share equal vectors and strings, so 1 is too few.
_BUDGET_FACTOR = 8


class Reader:
    """The file and what is left of the budget.

    Args:
        data: the whole file.
        source: name of the file, for errors.
    """

    def __init__(self, data: bytes, source: str) -> None:
        self.data = memoryview(data)
        self.source = source
        self._budget = _BUDGET_FACTOR * len(data) + 4096

    def error(self, what: str) -> ModelFormatError:
        """The error to raise for this file."""
        return ModelFormatError(what, where=self.source, hint="the file is corrupt or truncated: export it again")

    def charge(self, size: int) -> None:
        """Account for ``size`` bytes about to be read or copied."""
        self._budget -= size
        if self._budget < 0:
            raise self.error("parts of the file overlap so much that reading it would not end")

    def scalar(self, position: int, letter: str) -> int | float:
        """The scalar of type ``letter`` (see :mod:`struct`) at ``position``."""
        if not 0 <= position <= len(self.data) - _SIZES[letter]:
            raise self.error(f"offset {position} is outside the file of {len(self.data)} bytes")
        value: int | float = struct.unpack_from("<" + letter, self.data, position)[0]
        return value

    def integer(self, position: int, letter: str) -> int:
        """The integer of type ``letter`` at ``position``."""
        return int(self.scalar(position, letter))

    def follow(self, position: int) -> int:
        """The position that the 32-bit reference at ``position`` points to."""
        return position + self.integer(position, "I")

    def root(self) -> Table:
        """The file's root table."""
        return Table(self, self.follow(0), "the model")


class Table:
    """One table. ``label`` says which, for errors."""

    __slots__ = ("_fields", "_size", "_vtable", "label", "position", "reader")

    def __init__(self, reader: Reader, position: int, label: str) -> None:
        self.reader = reader
        self.position = position
        self.label = label
        self._vtable = position - reader.integer(position, "i")
        bytes_in_vtable = reader.integer(self._vtable, "H")
        self._size = reader.integer(self._vtable + 2, "H")
        if bytes_in_vtable < 4 or self._vtable + bytes_in_vtable > len(reader.data):
            raise reader.error(f"{label}: its vtable is outside the file")
        if self._size < 4 or position + self._size > len(reader.data):
            raise reader.error(f"{label}: it reaches outside the file")
        self._fields = (bytes_in_vtable - 4) // 2

    def _field(self, slot: int, size: int) -> int:
        """Position of a field of ``size`` bytes; 0 when the table does not have it."""
        if slot >= self._fields:
            return 0
        offset = self.reader.integer(self._vtable + 4 + 2 * slot, "H")
        if offset == 0:
            return 0
        if offset + size > self._size:
            raise self.reader.error(f"{self.label}: field {slot} is outside its table")
        return self.position + offset

    def has(self, slot: int) -> bool:
        """Whether the field is present."""
        return self._field(slot, 1) != 0

    def integer(self, slot: int, letter: str, default: int = 0) -> int:
        """An integer (or boolean) field."""
        position = self._field(slot, _SIZES[letter])
        return self.reader.integer(position, letter) if position else default

    def real(self, slot: int) -> float:
        """A float32 field; 0 when absent."""
        position = self._field(slot, 4)
        return float(self.reader.scalar(position, "f")) if position else 0.0

    def table(self, slot: int, label: str) -> Table | None:
        """A child table."""
        position = self._field(slot, 4)
        return Table(self.reader, self.reader.follow(position), label) if position else None

    def _vector(self, slot: int, item_size: int) -> tuple[int, int] | None:
        """Position of the first item and number of items."""
        position = self._field(slot, 4)
        if not position:
            return None
        start = self.reader.follow(position)
        count = self.reader.integer(start, "I")
        if count * item_size > len(self.reader.data) - start - 4:
            raise self.reader.error(f"{self.label}: a vector of {count} items reaches outside the file")
        return start + 4, count

    def numbers(self, slot: int, letter: str, limit: int) -> tuple[int | float, ...]:
        """A vector of scalars; empty when absent.

        Raises:
            ModelFormatError: it has more than ``limit`` items.
        """
        found = self._vector(slot, _SIZES[letter])
        if found is None:
            return ()
        start, count = found
        if count > limit:
            raise self.reader.error(f"{self.label}: a vector of {count} items, at most {limit} make sense")
        self.reader.charge(count * _SIZES[letter])
        return struct.unpack_from(f"<{count}{letter}", self.reader.data, start)

    def integers(self, slot: int, letter: str, limit: int) -> tuple[int, ...]:
        """A vector of integers; empty when absent. Raises as :meth:`numbers` does."""
        return tuple(int(number) for number in self.numbers(slot, letter, limit))

    def tables(self, slot: int, label: str, limit: int) -> Iterator[Table]:
        """The tables of a vector. Raises as :meth:`numbers` does."""
        found = self._vector(slot, 4)
        if found is None:
            return
        start, count = found
        if count > limit:
            raise self.reader.error(f"{self.label}: {count} of {label}, at most {limit} make sense")
        self.reader.charge(4 * count)
        for index in range(count):
            yield Table(self.reader, self.reader.follow(start + 4 * index), f"{label} {index}")

    def count(self, slot: int) -> int:
        """Number of items of a vector of tables; 0 when absent."""
        found = self._vector(slot, 4)
        return 0 if found is None else found[1]

    def text(self, slot: int, limit: int) -> str:
        """A string, at most its first ``limit`` bytes, invalid UTF-8 replaced; empty when absent."""
        found = self._vector(slot, 1)
        if found is None:
            return ""
        start, count = found
        count = min(count, limit)
        self.reader.charge(count)
        return bytes(self.reader.data[start : start + count]).decode("utf-8", errors="replace")

    def data(self, slot: int) -> memoryview:
        """A vector of bytes, not copied; empty when absent."""
        found = self._vector(slot, 1)
        if found is None:
            return self.reader.data[:0]
        start, count = found
        return self.reader.data[start : start + count]
