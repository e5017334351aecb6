"""Secure inference of real int8 networks: the framework's own answer bit for bit, under a threat model, with its cost.

>>> import mpc_bridge
>>> circuit = mpc_bridge.load("model.tflite")
>>> result = mpc_bridge.evaluate(circuit, x, security="semi-honest")
>>> result.outputs, result.cost, result.matches_reference
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mpc_bridge.evaluation import evaluate as evaluate
    from mpc_bridge.importers.pytorch import from_torch as from_torch
    from mpc_bridge.registry import load_model as load
    from mpc_bridge.result import Result as Result

__version__ = "0.1.0"
__all__ = ["Result", "__version__", "evaluate", "from_torch", "load"]

_WHERE = {"Result": ("result", "Result"), "evaluate": ("evaluation", "evaluate"),
          "from_torch": ("importers.pytorch", "from_torch"), "load": ("registry", "load_model")}


def __getattr__(name: str) -> Any:
    # Lazily: a party process imports the package too, and wants none of the launcher's modules.
    if name not in _WHERE:
        raise AttributeError(f"module 'mpc_bridge' has no attribute {name!r}")
    import importlib

    module, attribute = _WHERE[name]
    return getattr(importlib.import_module(f"mpc_bridge.{module}"), attribute)
