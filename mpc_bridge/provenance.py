"""Where a measurement comes from: the machine, the versions of what computes, the clone's commit."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterator
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import mpc_bridge

#: Of a clone: nothing that runs.
_NO_CODE = ("results", "tests", "docs", "README.md", "CONTRIBUTING.md")


def machine() -> dict[str, Any]:
    """Processor, cores this process may use, memory in bytes, operating system and its kernel.

    ``virtual``: whether a hypervisor runs beneath; None where the processor does not say.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    facts = dict(_processor_facts())
    flags = facts.get("flags")
    return {"cpu": facts.get("model name") or platform.processor() or platform.machine(), "cores": cores,
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), "system": platform.platform(),
            "kernel": platform.release(), "virtual": None if flags is None else "hypervisor" in flags.split()}


def _processor_facts() -> Iterator[tuple[str, str]]:
    """What Linux says of the first core, name and value."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if not line.strip():
                    return
                name, _, value = line.partition(":")
                yield name.strip(), value.strip()
    except OSError:
        return


def versions() -> dict[str, str]:
    """Of this package, Python and what computes."""
    found = {"mpc-bridge": mpc_bridge.__version__, "python": platform.python_version()}
    for package in ("numpy", "cffi"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def revision() -> str | None:
    """The clone's commit; None outside a clone; behind it, when files were changed, a plus sign and a hash of how.

    What is no code does not count: a measurement is written to ``results/``, and the documents are made from that.
    """
    here = Path(mpc_bridge.__file__).parent
    try:
        # an installed package may lie in the folder of somebody else's clone
        _git(here, "ls-files", "--error-unmatch", "__init__.py")
        # of one length: git's own grows with the clone, and the same commit would be another one
        commit = _git(here, "describe", "--always", "--exclude=*", "--abbrev=12").decode().strip()
        changed = _git(here, "diff", "HEAD", "--binary", "--no-color", "--no-ext-diff", "--no-textconv", "--", ":/",
                       *(f":(top,exclude){name}" for name in _NO_CODE))
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + (f"+{sha256(changed).hexdigest()[:8]}" if changed else "")


def _git(folder: Path, *words: str) -> bytes:
    """What a git command prints. Raises OSError without git, CalledProcessError outside a clone."""
    return subprocess.run(["git", *words], cwd=folder, capture_output=True, check=True).stdout
