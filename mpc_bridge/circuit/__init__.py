"""The circuit: graph, op list, verifier, file format, printer and reference semantics of a quantized model."""

from mpc_bridge.circuit.graph import Attribute, Circuit, Op, Quantization, Tensor
from mpc_bridge.circuit.ops import BY_NAME, OPS, OpKind
from mpc_bridge.circuit.printer import format_circuit
from mpc_bridge.circuit.serialize import digest, from_json, load, save, to_json
from mpc_bridge.circuit.verify import verify

__all__ = [
    "BY_NAME",
    "OPS",
    "Attribute",
    "Circuit",
    "Op",
    "OpKind",
    "Quantization",
    "Tensor",
    "digest",
    "format_circuit",
    "from_json",
    "load",
    "save",
    "to_json",
    "verify",
]
