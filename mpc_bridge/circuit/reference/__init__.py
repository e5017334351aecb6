"""The reference interpreter: a circuit's ops by the frameworks' literal formulas, in numpy.

This is what ``--check`` and every test compare with; it is itself compared with the frameworks. It uses nothing of
lowering or the backends; lowering asks it for the tables of functions of one or two bytes, and shares the fixed-point
building blocks with it, so those rest on the comparison with the frameworks alone.
"""

from mpc_bridge.circuit.reference.interpreter import KERNELS, evaluate, evaluate_ops, evaluate_samples, trace

__all__ = ["KERNELS", "evaluate", "evaluate_ops", "evaluate_samples", "trace"]
