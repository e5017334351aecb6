"""A public table on 8 shared bits, by the table's algebraic normal form split into two halves.

All monomials of the low four bits and of the high four bits (11 ANDs each, two rounds), then every output bit is one
DOT: ``sum over high monomials of monomial * (a XOR of low monomials)``. 22 + 8 messages and three rounds, whatever
the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from mpc_bridge.backends.sharing.circuit import Circuit

_HALF = 4
_SIZE = 256


def _monomials(circuit: Circuit, bits: Sequence[int]) -> dict[int, int]:
    """Set of positions (a mask) → shared wire, for every non-empty subset of four bits."""
    wires = {1 << i: bit for i, bit in enumerate(bits)}
    for mask in sorted(range(1, 1 << _HALF), key=int.bit_count):
        if mask in wires:
            continue
        # the two halves of a monomial are themselves monomials of at most half the degree
        lowest = mask & -mask
        if mask.bit_count() == _HALF:
            lowest = 0b0011
        wires[mask] = circuit.conjunction(wires[lowest], wires[mask ^ lowest])
    return wires


def _normal_form(bits: Sequence[int]) -> list[int]:
    """Coefficients of the algebraic normal form of a truth table (Moebius transform)."""
    form = np.array(bits, dtype=np.uint8)
    step = 1
    while step < len(form):
        pairs = form.reshape(-1, 2, step)
        pairs[:, 1] ^= pairs[:, 0]
        step *= 2
    return [int(x) for x in form]


def lookup(circuit: Circuit, x: Sequence[int], table: Sequence[int], width: int) -> list[int]:
    """``width`` shared bits of ``table[x]``; x has 8 shared bits, the table 256 entries below ``2**width``."""
    low = _monomials(circuit, x[:_HALF])
    high = _monomials(circuit, x[_HALF:])
    zero = circuit.xor(x[0], x[0])
    result = []
    for position in range(width):
        form = _normal_form([entry >> position & 1 for entry in table])
        pairs, total = [], zero
        for upper in range(1 << _HALF):
            coefficients = form[upper << _HALF : (upper + 1) << _HALF]
            wires = [low[mask] for mask in range(1, 1 << _HALF) if coefficients[mask]]
            if upper == 0:
                total = circuit.xor(total, *wires)
                total = circuit.negate(total) if coefficients[0] else total
                continue
            if wires:
                factor = circuit.xor(*wires)
                pairs.append((high[upper], circuit.negate(factor) if coefficients[0] else factor))
            elif coefficients[0]:
                total = circuit.xor(total, high[upper])
        result.append(circuit.xor(total, circuit.dot(pairs)) if pairs else total)
    return result


@lru_cache(maxsize=64)
def lookup_circuit(table: tuple[int, ...]) -> Circuit:
    """Shared inputs: 8 planes. Shared outputs: 8 planes."""
    if len(table) != _SIZE:
        raise ValueError(f"a table has {_SIZE} entries, not {len(table)}")
    circuit = Circuit()
    circuit.shared_outputs = lookup(circuit, circuit.shared(8), table, 8)
    return circuit
