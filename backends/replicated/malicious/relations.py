"""What has to hold between the shared wires of a circuit: products, whatever computed them.

Every claim is ``sum x*y = total`` on shared wires. A product gate claims itself; a monomial of A claims the product
of two smaller ones; a block output claims the sum of its monomials times its coefficients; an arithmetic sum ``a + b
= t`` claims its carries ``c = a ^ b ^ t``: ``c_0 = 0`` and ``c_{i+1} ^ c_i = (a_i ^ c_i)(b_i ^ c_i)``. No claim needs
a message: all wires are shared.

Every AND is claimed, also those whose result goes into another claim: an error on a propagate node would otherwise be
visible or not depending on a secret.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from mpc_bridge.backends.replicated.compile import needed_messages
from mpc_bridge.backends.sharing.circuit import ONE, Circuit, Kind, Pair, Sum


@dataclass(frozen=True)
class Claim:
    """``sum x*y over pairs = total``; a total of None is zero."""

    pairs: tuple[Pair, ...]
    total: int | None


@lru_cache(maxsize=512)
def claims(circuit: Circuit) -> tuple[Claim, ...]:
    """All claims of a finished circuit.

    Raises:
        ValueError: a message that no claim would bind.
    """
    interactive = needed_messages(circuit)
    result: list[Claim] = []
    for wire in interactive:
        gate = circuit.gates[wire]
        if gate.kind is Kind.DOT:
            result.append(Claim(gate.pairs, wire))
        elif gate.kind is Kind.INNER:
            result.append(_inner(circuit, wire))
        elif gate.kind is Kind.SHARE:
            result += _monomial(circuit, wire)
    for total in circuit.sums:
        result += _carries(circuit, total)
    _require_bound(circuit, interactive)
    return tuple(result)


def factored(claimed: Sequence[Claim]) -> list[Pair]:
    """The products of all claims in order, the wire that more of them have in common second.

    ``sum weight x * y`` over the products of one y is ``(sum weight x) * y``: verification's vectors are then as long
    as there are different y, and mean the same.
    """
    products = [pair for claim in claimed for pair in claim.pairs]
    uses = Counter(wire for pair in products for wire in pair)
    return [(y, x) if uses[x] > uses[y] else (x, y) for x, y in products]


def _require_bound(circuit: Circuit, interactive: Sequence[int]) -> None:
    """Messages that claim nothing themselves are bound by a sum: every such wire has to be in one.

    Raises:
        ValueError: a circuit whose messages would go unverified.
    """
    summed = {wire for total in circuit.sums for wire in (*total.left, *total.right, *total.total)}
    for wire in interactive:
        gate = circuit.gates[wire]
        if gate.kind is Kind.REVEAL:
            bound = gate.operands[0] in summed
        elif gate.kind is Kind.REVEAL_INNER:
            bound = circuit.opened(wire) in summed
        elif gate.kind is Kind.SHARE:
            left_input = circuit.gates[gate.operands[0]].kind is Kind.LEFT_INPUT
            bound = wire in summed if left_input else True
        else:
            continue
        if not bound:
            raise ValueError(f"wire {wire} ({gate.kind.name}) is in no sum: nothing would verify it")
    revealed = {wire for wire in interactive if circuit.gates[wire].kind in (Kind.REVEAL, Kind.REVEAL_INNER)}
    if not revealed <= set(circuit.left_outputs):
        raise ValueError("a revealed wire is used inside the circuit: nothing would verify what was made of it")


def _inner(circuit: Circuit, wire: int) -> Claim:
    gate = circuit.gates[wire]
    linear = [wire, *(circuit.lift(constant) for constant in gate.operands)]
    linear += [shared for shared, coefficient in gate.pairs if coefficient == ONE]
    pairs = tuple((shared, circuit.lift(coefficient)) for shared, coefficient in gate.pairs if coefficient != ONE)
    return Claim(pairs, circuit.xor(*linear))


def _monomial(circuit: Circuit, wire: int) -> list[Claim]:
    """Single bits are bound by the sum they are the total of; products are made of two factors that are shared too."""
    (left,) = circuit.gates[wire].operands
    clear = circuit.gates[left]
    if clear.kind is Kind.LEFT_INPUT:
        return []
    assert clear.kind is Kind.CLEAR_AND, "only products of left inputs are shared"
    first, second = clear.operands
    return [Claim(((circuit.share(first), circuit.share(second)),), wire)]


def _carries(circuit: Circuit, claim: Sum) -> list[Claim]:
    carries = []
    for left, right, total in zip(claim.left, claim.right, claim.total, strict=True):
        carries.append(circuit.xor(left, right) if total is None else circuit.xor(left, right, total))
    result = [Claim((), carries[0])]
    for i in range(len(carries) - 1):
        factors = (circuit.xor(claim.left[i], carries[i]), circuit.xor(claim.right[i], carries[i]))
        result.append(Claim((factors,), circuit.xor(carries[i + 1], carries[i])))
    return result
