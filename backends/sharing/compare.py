"""Comparisons, maxima and clamps on shared unsigned bits, lowest bit first."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from mpc_bridge.backends.sharing.circuit import Circuit


def at_most(circuit: Circuit, x: Sequence[int], bound: int) -> int:
    """``[x <= bound]`` for a public ``0 <= bound < 2**len(x) - 1``."""

    def compare(low: int, high: int) -> tuple[int | None, int]:
        # (less, equal) of bits low..high-1; None: less is impossible
        if high - low == 1:
            inverted = circuit.negate(x[low])
            return (inverted, x[low]) if bound >> low & 1 else (None, inverted)
        middle = (low + high) // 2
        less_low, equal_low = compare(low, middle)
        less, equal = compare(middle, high)
        if less_low is not None:
            reached = circuit.conjunction(equal, less_low)
            less = reached if less is None else circuit.xor(less, reached)
        return less, circuit.conjunction(equal, equal_low)

    less, equal = compare(0, len(x))
    return equal if less is None else circuit.xor(less, equal)


def greater(circuit: Circuit, a: Sequence[int], b: Sequence[int]) -> int:
    """``[a > b]``: a borrow tree over ``b - a``."""
    # generate: a_i and not b_i; propagate: a_i equals b_i
    layer = [
        (circuit.conjunction(x, circuit.negate(y)), circuit.negate(circuit.xor(x, y)))
        for x, y in zip(a, b, strict=True)
    ]
    lowest = True
    while len(layer) > 1:
        merged = []
        for i in range(0, len(layer) - 1, 2):
            (low_generate, low_propagate), (generate, propagate) = layer[i], layer[i + 1]
            needs_propagate = not (lowest and i == 0)
            merged.append(
                (
                    circuit.xor(generate, circuit.conjunction(propagate, low_generate)),
                    circuit.conjunction(propagate, low_propagate) if needs_propagate else low_propagate,
                )
            )
        layer = merged + layer[len(layer) - len(layer) % 2 :]
    return layer[0][0]


def select(circuit: Circuit, condition: int, chosen: Sequence[int], otherwise: Sequence[int]) -> list[int]:
    """``chosen`` where the condition holds, else ``otherwise``."""
    return [
        circuit.xor(no, circuit.conjunction(condition, circuit.xor(yes, no)))
        for yes, no in zip(chosen, otherwise, strict=True)
    ]


def _replace(circuit: Circuit, condition: int, x: Sequence[int], constant: int) -> list[int]:
    """The public ``constant`` where the condition holds, else x."""
    keep = circuit.negate(condition)
    result = []
    for i, bit in enumerate(x):
        kept = circuit.conjunction(keep, bit)
        result.append(circuit.xor(kept, condition) if constant >> i & 1 else kept)
    return result


def clamp(circuit: Circuit, x: Sequence[int], low: int, high: int) -> list[int]:
    """``min(max(x, low), high)`` for public ``0 <= low <= high < 2**len(x)``.

    A bound at the end of the range is free.
    """
    above = circuit.negate(at_most(circuit, x, high)) if high < (1 << len(x)) - 1 else None
    below = at_most(circuit, x, low - 1) if low > 0 else None
    result = list(x)
    if above is not None:
        result = _replace(circuit, above, result, high)
    if below is not None:
        result = _replace(circuit, below, result, low)
    return result


def maximum_circuit(width: int, payload: int = 0) -> Circuit:
    """Two operands → the one with the greater low ``width`` bits, the first on a tie.

    Each has ``width + payload`` shared bits.

    Rounds: 1 + ceil(log2(width)) + 1. Inputs: operand a's planes, then operand b's.
    """
    circuit = Circuit()
    a = circuit.shared(width + payload)
    b = circuit.shared(width + payload)
    circuit.shared_outputs = select(circuit, greater(circuit, b[:width], a[:width]), b, a)
    return circuit


@lru_cache(maxsize=64)
def clamp_circuit(width: int, low: int, high: int) -> Circuit:
    """One operand of ``width`` shared bits → its clamp to public bounds."""
    circuit = Circuit()
    circuit.shared_outputs = clamp(circuit, circuit.shared(width), low, high)
    return circuit
