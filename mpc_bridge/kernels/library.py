"""Finds and loads the native library, and checks that it is the one this package was written for."""

from __future__ import annotations

import re
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
        declarations = _declarations(HEADER.read_text(encoding="utf-8"))
    except OSError as error:
        raise KernelError("the kernel library's header is missing", where=str(error), hint=_REINSTALL) from error
    ffi.cdef(declarations)
    if not LIBRARY.exists():
        raise KernelError("the native kernel library has not been built", where=str(LIBRARY), hint=_REBUILD)
    try:
        lib = ffi.dlopen(str(LIBRARY))
    except OSError as error:
        raise KernelError("the native kernel library cannot be loaded", where=str(error), hint=_REBUILD) from error
    # cffi looks symbols up at first use; a library older than the header shall fail here, with advice
    missing = [name for name in re.findall(r"\b(mpcb_\w+)\(", declarations) if not hasattr(lib, name)]
    if missing:
        raise KernelError(f"the native kernel library has no {missing[0]}", where=str(LIBRARY), hint=_REBUILD)
    wanted, found = int(lib.MPCB_ABI_VERSION), int(lib.mpcb_version())
    if found != wanted:
        raise KernelError(
            f"the native kernel library has version {found}, this package needs {wanted}",
            where=str(LIBRARY),
            hint=_REBUILD,
        )
    return ffi, lib
