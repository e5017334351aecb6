"""From a Circuit to a Program: ring widths, exact requantise constants; and what the owners do at its ends."""

from mpc_bridge.lowering.canonical import canonicalise, model_outputs, stored_inputs
from mpc_bridge.lowering.lower import lower

__all__ = ["canonicalise", "lower", "model_outputs", "stored_inputs"]
