"""The reference interpreter: a circuit's ops by the frameworks' literal formulas, in numpy.

This is what ``--check`` and every test compare with; it is itself compared with the frameworks. It shares no code with
lowering or the backends beyond the fixed-point building blocks.
"""

from mpc_bridge.circuit.reference.interpreter import KERNELS, evaluate, evaluate_ops, evaluate_samples, trace

__all__ = ["KERNELS", "evaluate", "evaluate_ops", "evaluate_samples", "trace"]
