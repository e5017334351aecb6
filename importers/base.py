"""The importer contract: what a plugin in the entry point group ``mpc_bridge.importers`` provides.

An importer turns the bytes of a model file into a verified :class:`~mpc_bridge.circuit.graph.Circuit` that carries the
exact integer semantics of the framework the file comes from. It parses; it never executes what a file contains.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from mpc_bridge.circuit.graph import Circuit
from mpc_bridge.errors import InputError, ModelFormatError

#: Version of this contract. A plugin states the version it was written for; another major number is refused.
API_VERSION = 1

#: Greatest model file that is read: flatbuffers and protocol buffers both end at 2 GiB.
MAX_FILE_BYTES = 2**31 - 1


@runtime_checkable
class Importer(Protocol):
    """One file format. The entry point names an object of this shape."""

    #: :data:`API_VERSION` at the time the importer was written
    api_version: int
    #: of the format, as in ``Circuit.source``
    name: str
    #: file name endings, lower case, with the dot
    suffixes: tuple[str, ...]
    #: reference runtimes this importer knows; the first is the default
    profiles: tuple[str, ...]

    def sniff(self, data: bytes) -> bool:
        """Whether the first bytes of a file (at least 16 where the file has them) say that it is of this format."""
        ...

    def load(self, data: bytes, name: str, profile: str) -> Circuit:
        """The circuit of a file.

        Args:
            data: the whole file. It may be hostile.
            name: of the model, for people.
            profile: one of :attr:`profiles`.

        Raises:
            ModelFormatError: the file is corrupt, truncated or not of this format.
            UnsupportedModelError: the file is sound, and cannot be evaluated exactly by this version.
            UsageError: an unknown profile.
        """
        ...


@runtime_checkable
class TrustedImporter(Importer, Protocol):
    """An importer that can also read files whose loading runs what they say, for people who trust them."""

    def load_trusted(self, data: bytes, name: str, profile: str, input_shapes: Sequence[tuple[int, ...]]) -> Circuit:
        """As :meth:`Importer.load`, for a file that may run anything in this process.

        Args:
            data: the whole file.
            name: of the model, for people.
            profile: one of :attr:`profiles`; ``""`` for what the file says.
            input_shapes: of the model's inputs, for formats that do not hold them.

        Raises:
            UsageError: shapes are missing or too many, or what the format's loading needs is not installed.
        """
        ...


@runtime_checkable
class DescribedImporter(Importer, Protocol):
    """An importer that says what it reads: for ``mpc-bridge ops`` and the documents."""

    #: kinds of the op list that its circuits can hold
    kinds: frozenset[str]
    #: what it reads, in its files' own words, sorted
    operators: tuple[str, ...]
    #: what it refuses, and what to do instead
    refusals: tuple[tuple[str, str], ...]


class ModelWarning(UserWarning):
    """What the owner of a model file should know about it."""


def read_model_file(path: str | Path) -> bytes:
    """The bytes of a model file.

    Raises:
        InputError: it cannot be read.
        ModelFormatError: it is larger than :data:`MAX_FILE_BYTES`.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise InputError(f"cannot read the model: {error.strerror or error}", where=str(path),
                         hint="check the path and its permissions") from error
    if len(data) > MAX_FILE_BYTES:
        raise ModelFormatError("the model file is larger than 2 GiB", where=str(path),
                               hint="model formats end at 2 GiB: this is something else")
    return data


def printable(text: str, fallback: str, limit: int = 256) -> str:
    """A name from a file, fit for a terminal: unprintable characters become ``?``, the middle of a long one ``...``."""
    text = "".join(character if character.isprintable() else "?" for character in text[: 2 * limit])
    if len(text) > limit:
        half = math.floor((limit - 3) / 2)
        text = f"{text[:half]}...{text[-half:]}"
    return text or fallback
