"""RESCALE in exact integers: what each term and the bias can be, and where half to even meets a tie.

``z + b`` with ``z = sum m_i x_i``; everything here follows from public facts. A common power of two of all multipliers
is divided out first: ``(z + b + half) >> s = (z / 2**k + ((b + half) >> k)) >> (s - k)`` for z a multiple of ``2**k``.
A bias so far out that the output is constant is as good as the nearest one for which it is, so the model's owner shares
that one instead (:mod:`mpc_bridge.lowering.canonical`), and every sum lies within a public bound whatever the bias.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from mpc_bridge.circuit.graph import Circuit, Op
from mpc_bridge.circuit.reference.operands import zero_point
from mpc_bridge.circuit.reference.rescale import MAX_SUM
from mpc_bridge.circuit.verify import MAX_BIAS
from mpc_bridge.errors import UnsupportedModelError
from mpc_bridge.lowering.linear import reach
from mpc_bridge.lowering.program import Value
from mpc_bridge.lowering.thresholds import Ints

#: Different channels of one op whose sums are listed to see whether a tie is among them.
_LISTED = 64


@dataclass(frozen=True)
class Term:
    """One term less its zero point: it lies in ``[least, greatest]``.

    Attributes:
        multipliers: one per channel, a common power of two divided out.
    """

    multipliers: tuple[int, ...]
    least: int
    greatest: int


@dataclass(frozen=True)
class Rescale:
    """A RESCALE with an 8-bit output: ``clamp(((z + B) >> shift) + zero_point)``, or half to even of ``z / 2**shift``.

    Attributes:
        terms: in order; one entry per channel in each.
        shift: at least 1.
        dropped: bits of the op's own shift that were divided out.
        least, greatest: per channel, the bounds of z.
        bias: per channel, the least and the greatest B worth sharing; None without a bias.
    """

    terms: tuple[Term, ...]
    shift: int
    dropped: int
    least: tuple[int, ...]
    greatest: tuple[int, ...]
    bias: tuple[tuple[int, ...], tuple[int, ...]] | None

    @property
    def ends(self) -> tuple[int, int]:
        """Least and greatest sum, the bias included, over all channels."""
        if self.bias is None:
            return min(self.least), max(self.greatest)
        return min(map(sum, zip(self.least, self.bias[0], strict=True))), max(
            map(sum, zip(self.greatest, self.bias[1], strict=True)))


def ranges(circuit: Circuit, op: Op, values: Sequence[Value]) -> list[tuple[int, int]]:
    """Per term, the least and greatest of ``x - zero_point``.

    Args:
        values: per term, the stored activation, or for a bare accumulator the stored input of its linear op.
    """
    producers = {other.outputs[0]: other for other in circuit.ops}
    result = []
    for tensor, value in zip(op.inputs[:-1], values, strict=True):
        if circuit.tensors[tensor].quantization is None:
            furthest = reach(circuit, producers[tensor], value)
            result.append((-furthest, furthest))
        else:
            least = value.offset - zero_point(circuit.tensors[tensor])
            result.append((least, least + value.high))
    return result


def channels(circuit: Circuit, op: Op) -> int:
    """Extent of the output's last axis."""
    shape = circuit.tensors[op.outputs[0]].shape
    return shape[-1] if shape else 1


def multipliers(op: Op, count: int) -> list[tuple[int, ...]]:
    """Per term, one multiplier per channel."""
    given = cast("tuple[tuple[int, ...], ...]", op.attributes["multipliers"])
    return [term if len(term) == count else term * count for term in given]


def summed(terms: Sequence[Term], where: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Per channel, the least and greatest ``sum m_i x_i``.

    Raises:
        UnsupportedModelError: it may have more than 61 bits.
    """
    least, greatest = [], []
    for row in zip(*(term.multipliers for term in terms), strict=True):
        ends = [sorted((m * term.least, m * term.greatest)) for m, term in zip(row, terms, strict=True)]
        least.append(sum(low for low, _ in ends))
        greatest.append(sum(high for _, high in ends))
    if max(-min(least), max(greatest)) >= MAX_SUM:
        raise UnsupportedModelError(
            "sums of more than 61 bits", where=where, hint="a layer with so many inputs needs coarser multipliers")
    return tuple(least), tuple(greatest)


def bounded(circuit: Circuit, op: Op, values: Sequence[Value]) -> Rescale:
    """What a RESCALE with an 8-bit output is, from public facts alone.

    Args:
        values: as :func:`ranges`.
    """
    count = channels(circuit, op)
    given = multipliers(op, count)
    shift, low, high = (cast(int, op.attributes[name]) for name in ("shift", "low", "high"))
    trailing = min((_power(m) for term in given for m in term if m), default=shift)
    dropped = min(trailing, shift - 1)
    if dropped < 0:
        # without a shift, twice everything is shifted by one
        scaled = [tuple(2 * m for m in term) for term in given]
    else:
        scaled = [tuple(m >> dropped for m in term) for term in given]
    left = shift - dropped
    terms = tuple(Term(term, *ends) for term, ends in zip(scaled, ranges(circuit, op, values), strict=True))
    least, greatest = summed(terms, f"op {op.name}")
    bias = None
    if op.inputs[-1] >= 0:
        zero = zero_point(circuit.tensors[op.outputs[0]])
        # below: every sum gives low; beyond: every sum gives high
        first = tuple(((low + 1 - zero) << left) - 1 - most for most in greatest)
        last = tuple(((high - zero) << left) - most for most in least)
        bias = (first, last) if low < high else ((0,) * count, (0,) * count)
    return Rescale(terms, left, dropped, least, greatest, bias)


def stored_bias(circuit: Circuit, op: Op, values: Sequence[Value], bias: Ints) -> Ints:
    """The bias as the model's owner shares it: with the half, in the units that are left, within the public bound.

    Args:
        values: as :func:`ranges`.
        bias: int64 [C], as in the circuit.
    """
    if circuit.tensors[op.outputs[0]].dtype == "int64":
        return bias + np.array(shifts(circuit, op, values), np.int64)
    rescale = bounded(circuit, op, values)
    assert rescale.bias is not None, "there is a bias"
    if rescale.dropped < 0:
        moved = [2 * int(b) for b in bias]
    else:
        half = 1 << cast(int, op.attributes["shift"]) - 1
        moved = [int(b) + half >> rescale.dropped for b in bias]
    first, last = rescale.bias
    return np.array([min(max(b, least), most) for b, least, most in zip(moved, first, last, strict=True)], np.int64)


def shifts(circuit: Circuit, op: Op, values: Sequence[Value]) -> list[int]:
    """Per channel, what ``sum m_i u_i`` of stored integers lacks to ``sum m_i x_i``."""
    count = channels(circuit, op)
    total = [0] * count
    for tensor, value, term in zip(op.inputs[:-1], values, multipliers(op, count), strict=True):
        if circuit.tensors[tensor].quantization is not None:
            distance = value.offset - zero_point(circuit.tensors[tensor])
            total = [t + m * distance for t, m in zip(total, term, strict=True)]
    return total


def sum_limits(circuit: Circuit, op: Op, values: Sequence[Value]) -> tuple[int, int]:
    """Least and greatest ``z + b`` of a RESCALE with an int64 output, from public facts alone."""
    count = channels(circuit, op)
    terms = [Term(term, *ends) for term, ends in zip(
        multipliers(op, count), ranges(circuit, op, values), strict=True)]
    least, greatest = summed(terms, f"op {op.name}")
    beyond = MAX_BIAS if op.inputs[-1] >= 0 else 0
    return min(least) - beyond, max(greatest) + beyond


def ties_occur(rescale: Rescale) -> bool:
    """Whether some sum may lie exactly between two outputs: ``z = 2**(shift - 1)`` modulo ``2**shift``.

    Exact for up to four terms of which none is wide, and for a wide one with up to two others, in :data:`_LISTED`
    channels; otherwise a tie is assumed wherever the multipliers' powers of two and the bounds allow one.
    """
    columns = set(zip(*(term.multipliers for term in rescale.terms), strict=True))
    return any(_tie_occurs(
        [Term((m,), term.least, term.greatest) for m, term in zip(column, rescale.terms, strict=True) if m],
        rescale.shift, len(columns) <= _LISTED) for column in columns)


def _tie_occurs(terms: list[Term], shift: int, listed: bool) -> bool:
    half, modulus = 1 << shift - 1, 1 << shift
    power = min((_power(term.multipliers[0]) for term in terms), default=shift)
    if power >= shift:
        return False
    (least,), (greatest,) = summed(terms, "")
    if least + (half - least) % modulus > greatest:
        return False
    wide = [term for term in terms if term.greatest - term.least > 255]
    narrow = [term for term in terms if term.greatest - term.least <= 255]
    mask = np.uint64(modulus - 1)
    if not listed or len(wide) > 1 or len(narrow) > (2 if wide else 4):
        return True
    first, second = _residues(narrow[:2], mask), _residues(narrow[2:], mask)
    missing = (np.uint64(half) - first) & mask
    if not wide:
        return bool(np.isin(missing, second).any())
    # m x = r modulo 2**s: the power of two in m divides r, and the odd rest has an inverse
    multiplier, bottom, top = wide[0].multipliers[0], wide[0].least, wide[0].greatest
    power = _power(multiplier)
    if power >= shift:
        return bool((missing == 0).any())
    missing = missing[(missing & np.uint64((1 << power) - 1)) == 0] >> np.uint64(power)
    modulus >>= power
    inverse = pow(multiplier >> power, -1, modulus)
    x = (missing * np.uint64(inverse)) & np.uint64(modulus - 1)
    beyond = (x - np.uint64(bottom % modulus)) & np.uint64(modulus - 1)
    return bool((beyond <= np.uint64(top - bottom)).any())


def _power(m: int) -> int:
    """The greatest power of two that divides m, as its exponent."""
    return (m & -m).bit_length() - 1


def _residues(terms: list[Term], mask: np.uint64) -> npt.NDArray[np.uint64]:
    """Every sum of up to two narrow terms, modulo a power of two."""
    sums = np.zeros(1, np.uint64)
    for term in terms:
        multiples = [term.multipliers[0] * x & int(mask) for x in range(term.least, term.greatest + 1)]
        sums = np.unique((sums[:, None] + np.array(multiples, np.uint64)) & mask)
    return sums
