"""Checks on files that people name on the command line, before anything is allocated for them."""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from pathlib import Path

from mpc_bridge.errors import InputError

#: Refuse larger files.
LARGEST_FILE = 1 << 31
#: What numpy and zipfile raise for a damaged .npy or .npz: an encrypted or oddly compressed member is a RuntimeError.
DAMAGED = (ValueError, OSError, EOFError, MemoryError, LookupError, RuntimeError, SyntaxError, TypeError, OverflowError,
           struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error)


def check_file(path: Path, what: str = "the input") -> None:
    """Raises InputError: the file is missing, something else than a file, or larger than :data:`LARGEST_FILE`."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise InputError(f"cannot open {what}", where=str(path), hint=error.strerror or str(error)) from None
    if not path.is_file():
        raise InputError(f"{what} is not a file", where=str(path), hint="give a file")
    if size > LARGEST_FILE:
        raise InputError(
            f"{what} has {size} bytes, more than {LARGEST_FILE}", where=str(path), hint="give fewer samples"
        )


def unreadable(path: Path, error: Exception, what: str = "the input") -> InputError:
    """The error for a file whose reader gave up."""
    return InputError(
        f"cannot read {what}: it is damaged, or not what its name says",
        where=str(path),
        hint=f"save it again; the reader says: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
    )
