"""What only the page and the pictures need, imported when they are made."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from mpc_bridge.errors import UsageError


def needs(module: str) -> Any:
    """The module. Raises UsageError when the extra ``report`` is not installed."""
    try:
        return import_module(module)
    except ImportError:
        raise UsageError(f"the package {module} is not installed: pages and pictures need it",
                         where="mpc-bridge report",
                         hint='pip install "mpc-bridge[report]", or use --format md or csv') from None
