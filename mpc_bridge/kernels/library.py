"""Finds and loads the native library, and checks that it is the one this package was written for."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import cffi

from mpc_bridge.errors import KernelError

_FOLDER = Path(__file__).resolve().parent
LIBRARY = _FOLDER / "libmpcb.so"
HEADER = _FOLDER / "include" / "mpcb.h"

_REBUILD = "rebuild it: pip install -e .  (or, in a clone: cmake -S . -B build -G Ninja && cmake --build build)"
_REINSTALL = "reinstall mpc-bridge"


def _declarations(header: str) -> str:
    """The part of ``mpcb.h`` that cffi parses."""
    _, begin, rest = header.partition("/* <cdef> */")
    body, end, _ = rest.partition("/* </cdef> */")
    if not begin or not end:
        raise KernelError("the kernel library's header is damaged", where=str(HEADER), hint=_REINSTALL)
    return body


@lru_cache(maxsize=1)
def load() -> tuple[Any, Any]:
    """The cffi ``(ffi, lib)`` pair. Loaded once per process.

    Raises:
        KernelError: the library is missing, cannot be loaded, or was built from another version of the header.
    """
    ffi = cffi.FFI()
    try:
        ffi.cdef(_declarations(HEADER.read_text(encoding="utf-8")))
    except OSError as error:
        raise KernelError("the kernel library's header is missing", where=str(error), hint=_REINSTALL) from error
    if not LIBRARY.exists():
        raise KernelError("the native kernel library has not been built", where=str(LIBRARY), hint=_REBUILD)
    try:
        lib = ffi.dlopen(str(LIBRARY))
    except OSError as error:
        raise KernelError("the native kernel library cannot be loaded", where=str(error), hint=_REBUILD) from error
    wanted = int(lib.MPCB_ABI_VERSION)
    try:
        found = int(lib.mpcb_version())
    except AttributeError as error:
        raise KernelError("this is not a kernel library of mpc-bridge", where=str(LIBRARY), hint=_REBUILD) from error
    if found != wanted:
        raise KernelError(
            f"the native kernel library has version {found}, this package needs {wanted}",
            where=str(LIBRARY),
            hint=_REBUILD,
        )
    return ffi, lib
