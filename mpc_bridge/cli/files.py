"""Result files: checked before any work starts, written together at the end, or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

from mpc_bridge.errors import UsageError


def check_writable(path: Path, option: str, suffix: str) -> None:
    """Refuse a destination that cannot be written, before minutes of work are spent on it.

    Raises:
        UsageError: wrong suffix, a folder, or a folder that is missing or read-only.
    """
    if path.suffix.lower() != suffix:
        raise UsageError(
            f"{option} has to end in {suffix}", where=str(path), hint=f"use {path.with_suffix(suffix).name}"
        )
    if path.is_dir():
        raise UsageError(f"{option} names a folder", where=str(path), hint="name a file in it")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise UsageError(f"the folder of {option} does not exist", where=str(folder), hint="make it first")
    if not os.access(folder, os.W_OK):
        raise UsageError(f"the folder of {option} cannot be written to", where=str(folder), hint="choose another one")


def write_together(writers: Mapping[Path, Callable[[BinaryIO], None]]) -> None:
    """Write every file under a temporary name beside its destination, then move all into place.

    A failure before the moves leaves nothing behind; files from earlier runs keep their content until then.

    Raises:
        UsageError: the disk refused.
    """
    staged: dict[Path, Path] = {}
    try:
        for path, write in writers.items():
            handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.absolute().parent)
            staged[path] = Path(name)
            with os.fdopen(handle, "wb") as stream:
                write(stream)
            # mkstemp makes private files; results are ordinary ones.
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(name, 0o666 & ~mask)
        for path in list(staged):
            os.replace(staged.pop(path), path)
    except OSError as error:
        raise UsageError(
            "cannot write the result", where=error.filename or "", hint=error.strerror or str(error)
        ) from None
    finally:
        for leftover in staged.values():
            with contextlib.suppress(OSError):
                leftover.unlink()
