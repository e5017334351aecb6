"""What protocols say they work off: the same at every party, and as many as the program's shapes say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mpc_bridge.backends.additive.backend import backend as additive
from mpc_bridge.backends.additive.ot_backend import backend as additive_ot
from mpc_bridge.backends.base import Backend
from mpc_bridge.backends.ot.extension import Chooser
from mpc_bridge.backends.plaintext import backend as plaintext
from mpc_bridge.backends.replicated.backend import backend as rep3
from mpc_bridge.backends.replicated.malicious.backend import backend as rep3_mac
from mpc_bridge.backends.replicated.malicious.protocol import refresh_circuit
from mpc_bridge.backends.sharing.circuit import ONE, Circuit, Kind, and_gates
from mpc_bridge.backends.sharing.compare import maximum_circuit
from mpc_bridge.backends.sharing.engine import requantize_shape
from mpc_bridge.backends.sharing.lookup import lookup_circuit
from mpc_bridge.backends.sharing.requantize import requantize_circuit, to_ring_circuit
from mpc_bridge.backends.spdz2k.backend import backend as spdz2k
from mpc_bridge.kernels import cpu_device
from mpc_bridge.lowering.program import Geometry, Linear, Lookup, Maximum, Program, Requantize, TieRule
from mpc_bridge.runtime.meter import PHASES, SPENT, CostMeter, Work
from mpc_bridge.testing import conformance
from mpc_bridge.testing.conformance import Builder, Case

RING = 36
#: A comparison of two 8-bit numbers: 8 generates, a tree of 7 nodes of which 4 need a propagate; then 8 selections.
DUEL = 8 + 7 + 4 + 8
#: A table on 8 bits: 11 monomials of either half, and a sum of products per bit of the result.
TABLE = 2 * 11 + 8
#: 8 bits to a ring: 8 products with the mask, the borrow chain's 12 nodes of which 5 need a propagate, and a product
#: per high bit; the first of these is one with a constant.
CONVERSION = 8 + 12 + 5 + (RING - 8) - 1

PIXELS, CHANNELS, POOLED = 16, 8, 4
#: Layer → ring multiplications: every output of the convolution has 3 x 3 x 2 terms, cells of padding included.
MULTIPLICATIONS = {"convolution": PIXELS * CHANNELS * 18, "square": PIXELS * CHANNELS}
SHIFT = RING - 14


def every_kind() -> Case:
    """A convolution, a product of two computed tensors, a pooling, a table: all numbers of lanes are whole bytes."""
    b = Builder(np.random.default_rng(3))
    image, wide, small = (1, 4, 4, 2), (1, 4, 4, CHANNELS), (1, 2, 2, CHANNELS)

    def requantize(layer: str, acc: int, ring: int, tie: TieRule | None) -> int:
        out = b.activation(wide, ring)
        step = Requantize(0, layer, (acc,), out, (1 << SHIFT - 8,), (100 << SHIFT,), SHIFT, RING, 0, 255, tie)
        return b.add(step)

    x = b.input(image, RING)
    w = b.weight((CHANNELS, 3, 3, 2), RING, -127, 127)
    g = Geometry(1, 4, 4, 2, 4, 4, CHANNELS, (3, 3), pad_top=1, pad_left=1)
    acc = b.add(Linear(0, "convolution", (x, w), b.accumulator(wide, RING), g, False, 7, RING))
    y = requantize("convolution", acc, RING, TieRule(SHIFT - 5, 120, (5 << SHIFT - 5,)))
    g = Geometry(1, 1, 1, PIXELS * CHANNELS, 1, 1, PIXELS * CHANNELS)
    acc = b.add(Linear(0, "square", (y, y), b.accumulator(wide, RING), g, True, 3, RING, 130))
    z = requantize("square", acc, 0, None)
    g = Geometry(1, 4, 4, CHANNELS, 2, 2, CHANNELS, (2, 2), (2, 2))
    m = b.add(Maximum(0, "pool", (z,), b.activation(small), g))
    table = tuple(int(v) for v in b.rng.integers(0, 256, 256))
    return b.finish("every kind", b.add(Lookup(0, "table", (m,), b.activation(small, RING), table)))


CASE = every_kind()


def count(circuit: Circuit, *kinds: Kind) -> int:
    """Gates of these kinds that an output needs."""
    todo, seen = [*circuit.shared_outputs, *circuit.left_outputs], set()
    while todo:
        wire = todo.pop()
        if wire != ONE and wire not in seen:
            seen.add(wire)
            gate = circuit.gates[wire]
            todo += [*gate.operands, *(end for pair in gate.pairs for end in pair)]
    return sum(circuit.gates[wire].kind in kinds for wire in seen)


def requantizing(program: Program, layer: str, *kinds: Kind) -> int:
    """Gates of these kinds per element of a layer, conversion not included."""
    step = next(step for step in program.steps if isinstance(step, Requantize) and step.layer == layer)
    shape = requantize_shape(step, program.values[step.output])
    return count(requantize_circuit(replace(shape, ring=0, planes=True)), *kinds)


def gates(kinds: tuple[Kind, ...], conversion: int) -> dict[str, int]:
    """By layer: a maximum of four is three comparisons."""
    size, small = PIXELS * CHANNELS, POOLED * CHANNELS
    return {
        "convolution": size * (requantizing(CASE.program, "convolution", *kinds) + conversion),
        "square": size * requantizing(CASE.program, "square", *kinds),
        "pool": small * 3 * DUEL,
        "table": small * (TABLE + conversion),
    }


REPLICATED = gates((Kind.DOT, Kind.INNER), CONVERSION)
DEALT = gates((Kind.DOT,), 0)
TRANSFERRED = gates((Kind.DOT, Kind.INNER), 0)
INPUTS = PIXELS * 2
WEIGHTS = CHANNELS * 18


def meters(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> list[CostMeter]:
    """Every party's, of one inference."""
    found, engine = [], backend.engine

    def noting(session: Any, program: Program) -> Any:
        found.append(session.meter)
        return engine(session, program)

    with monkeypatch.context() as patch:
        patch.setattr(backend, "engine", noting)
        outputs = conformance.run(backend, CASE, [cpu_device() for _ in range(backend.parties()[0])])
    for output, expected in zip(outputs, conformance.run(plaintext, CASE, [cpu_device()]), strict=True):
        np.testing.assert_array_equal(output, expected)
    return found


def works(meter: CostMeter) -> dict[tuple[str, str], Work]:
    """By phase and layer, what is not nothing; and by phase."""
    found = {(phase, layer): meter.layer_cost(layer, phase).work for phase in SPENT for layer in meter.layers()}
    found |= {(phase, ""): meter.phase_cost(phase).work for phase in PHASES}
    return {key: work for key, work in found.items() if work != Work()}


def checked(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], Work]:
    """One party's work, which is all parties'; and every round is in the histograms."""
    found = meters(backend, monkeypatch)
    assert len(found) == backend.parties()[0]
    for meter in found:
        assert works(meter) == works(found[0])
        for phase in PHASES:
            cost, histogram = meter.phase_cost(phase), meter.round_bytes(phase)
            assert sum(histogram.values()) == cost.rounds
            assert sum(size * times for size, times in histogram.items()) == cost.bytes_sent
    work = works(found[0])
    # what an inference works off belongs to a layer
    for phase in ("online", "verification"):
        total = Work()
        for (where, layer), part in work.items():
            if where == phase and layer:
                total.add(part)
        assert total == work.get((phase, ""), Work())
    return work


def by_layer(work: dict[tuple[str, str], Work], key: str) -> dict[str, Any]:
    return {layer: getattr(part, key) for (phase, layer), part in work.items()
            if phase == "online" and layer and getattr(part, key)}


def test_three_parties(monkeypatch: pytest.MonkeyPatch) -> None:
    work = checked(rep3, monkeypatch)
    assert by_layer(work, "and_gates") == REPLICATED
    assert by_layer(work, "ring_multiplications") == MULTIPLICATIONS
    assert all(not part.correlations for part in work.values())
    assert {phase for phase, _ in work} == {"online"}


def test_checked_parties_do_the_same_and_convert_what_comes_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inputs and weights come as bits; that outputs get fresh components is no product of two secrets."""
    work = checked(rep3_mac, monkeypatch)
    assert by_layer(work, "and_gates") == {"input": INPUTS * CONVERSION, **REPLICATED}
    assert by_layer(work, "ring_multiplications") == MULTIPLICATIONS
    assert work["setup", ""] == Work(and_gates=WEIGHTS * CONVERSION)
    assert all(not part.correlations for part in work.values())
    assert {phase for phase, _ in work} == {"setup", "online"}


@pytest.mark.parametrize("backend", [additive, spdz2k], ids=lambda backend: backend.name)
def test_a_dealers_randomness(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    work = checked(backend, monkeypatch)
    size, small = PIXELS * CHANNELS, POOLED * CHANNELS
    assert by_layer(work, "and_gates") == DEALT
    assert by_layer(work, "ring_multiplications") == MULTIPLICATIONS
    ends = {"input": {"input_masks": INPUTS}, "output": {"output_masks": small}} if backend is spdz2k else {}
    assert by_layer(work, "correlations") == ends | {
        "convolution": {"matrix_triples": 1, "edabits": size, "and_triples": DEALT["convolution"], "dabits": 8 * size},
        "square": {"matrix_triples": 1, "edabits": size, "and_triples": DEALT["square"]},
        "pool": {"and_triples": DEALT["pool"]},
        "table": {"and_triples": DEALT["table"], "dabits": 8 * small},
    }
    setup = work.get(("setup", ""), Work())
    assert setup == Work(correlations={"input_masks": WEIGHTS} if backend is spdz2k else {})
    assert ("preprocessing", "") not in work


def test_transfers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every transfer that is extended is counted where it is used; lanes are whole bytes here, so none is padding."""
    extended, extend = [0], Chooser.extend

    def counted(self: Chooser, choices: Any) -> Any:
        extended[0] += 8 * choices.size
        return extend(self, choices)

    monkeypatch.setattr(Chooser, "extend", counted)
    work = checked(additive_ot, monkeypatch)
    size, small = PIXELS * CHANNELS, POOLED * CHANNELS
    assert by_layer(work, "and_gates") == TRANSFERRED
    assert by_layer(work, "ring_multiplications") == MULTIPLICATIONS
    assert by_layer(work, "correlations") == {
        "convolution": {"matrix_triples": 1, "and_triples": TRANSFERRED["convolution"], "dabits": 8 * size},
        "square": {"matrix_triples": 1, "and_triples": TRANSFERRED["square"]},
        "pool": {"and_triples": TRANSFERRED["pool"]},
        "table": {"and_triples": TRANSFERRED["table"], "dabits": 8 * small},
    }
    setup, made = work["setup", ""], work["preprocessing", ""]
    # four transfers for each of a weight's two digits; base transfers in both directions, as computed values are
    # multiplied
    assert setup == Work(correlations={"base_ot": 2 * 128, "ot": 4 * 2 * WEIGHTS})
    # a computed factor has nine digits of four bits, and either party's mask of it meets the other's of the operand
    assert made.correlations["vole"] == 2 * MULTIPLICATIONS["convolution"] + 2 * 9 * MULTIPLICATIONS["square"]
    assert made == Work(correlations={"vole": made.correlations["vole"], "ot": extended[0] - 4 * 2 * WEIGHTS})


def test_in_the_clear_nothing_is_secure(monkeypatch: pytest.MonkeyPatch) -> None:
    assert checked(plaintext, monkeypatch) == {}


def test_gates_of_circuits() -> None:
    assert and_gates(maximum_circuit(8)) == and_gates(maximum_circuit(8), right_is_public=True) == DUEL
    assert and_gates(maximum_circuit(8, 3)) == DUEL + 3
    assert and_gates(to_ring_circuit(RING)) == CONVERSION
    # the borrows under a public mask are products of shared bits
    assert and_gates(to_ring_circuit(RING), right_is_public=True) == 12 + 5
    assert and_gates(lookup_circuit(tuple(range(256)))) == 0
    # a product with a constant is none
    assert count(refresh_circuit(8), Kind.DOT) == 8 and and_gates(refresh_circuit(8)) == 0
