"""How values enter a protocol that checks what owners give, and what the shared circuits cannot run."""

from __future__ import annotations

from mpc_bridge.kernels import packed_bytes
from mpc_bridge.lowering.program import Input, Program, Requantize, Step, Value

#: The saturation circuit needs a sign bit and at least one more bit above the eight it keeps.
_HEADROOM = 10


def unsupported_shape(step: Step) -> str | None:
    """What no shared circuit has: None for every step that can be run, else why not."""
    if isinstance(step, Requantize) and (step.shift < 1 or step.bits < step.shift + _HEADROOM):
        return f"requantise needs 1 <= shift and bits >= shift + {_HEADROOM}, not {step.shift} and {step.bits}"
    return None


def unsupported_entry(step: Step, program: Program) -> str | None:
    """:func:`unsupported_shape`, and data whose range is no number of bits, where everything enters as bits.

    Weights and biases may be whatever the bits of their range hold: that is a model too.
    """
    if isinstance(step, Input):
        value = program.values[step.output]
        if value.kind != "weight" and value.high - value.low + 1 != 1 << input_width(value):
            return f"inputs are checked in whole bits, and {value.low}..{value.high} is no number of them"
    return unsupported_shape(step)


def input_width(value: Value) -> int:
    """Bits per element with which a value enters: as many as its range has, 8 at least and 64 at most."""
    return 8 if value.high - value.low <= 0xFF else (value.high - value.low).bit_length()


def component_size(value: Value) -> int:
    """Bytes of one component of an input."""
    return packed_bytes(value.size, input_width(value))
