"""Moves: every kind as a gather against numpy, the program they become, and on the shares of three parties."""

from __future__ import annotations

import numpy as np
import pytest

from mpc_bridge.backends.base import Backend
from mpc_bridge.backends.plaintext import backend as plaintext
from mpc_bridge.backends.replicated.backend import backend as rep3
from mpc_bridge.backends.replicated.malicious.backend import backend as rep3_mac
from mpc_bridge.importers.tflite import load
from mpc_bridge.kernels import cpu_device
from mpc_bridge.lowering import lower
from mpc_bridge.lowering.program import Affine, Move, Requantize
from mpc_bridge.testing import conformance
from tests.models.oneop_moves import cases

X = np.arange(2 * 3 * 4).reshape(2, 3, 4)


@pytest.mark.parametrize(
    "move, expected",
    [
        (Move(0, "m", (0,), 1, "transpose", permutation=(2, 0, 1)), X.transpose(2, 0, 1)),
        (Move(0, "m", (0,), 1, "take", taken=((1,), range(2, -1, -2), range(4))), X[1:, 2::-2]),
        (Move(0, "m", (0,), 1, "take", taken=(range(2), range(3), (0, 1, 2, 3) * 2)), np.tile(X, (1, 1, 2))),
    ],
)
def test_index_is_numpys(move: Move, expected: np.ndarray) -> None:
    np.testing.assert_array_equal(move.index((X.shape,)), expected)


def test_unknown_move() -> None:
    with pytest.raises(ValueError, match="unknown move 'shuffle'"):
        Move(0, "m", (0,), 1, "shuffle").index((X.shape,))


def test_moves_stay_local() -> None:
    for name, data in cases():
        primitives = {step.primitive for step in lower(load(data, name=name)).steps}
        assert primitives == {"input", "move", "output"}, name


def program(ring: int) -> conformance.Case:
    """A transpose and a take, one after the other, in the forms that shares of activations have."""
    b = conformance.Builder(np.random.default_rng(ring))
    x = b.input((2, 5, 3, 4), ring, True)
    turned = b.add(Move(0, "m", (x,), b.activation((4, 2, 5, 3), ring), "transpose", permutation=(3, 0, 1, 2)))
    taken = (range(3, 0, -1), (0, 1, 1), range(0, 5, 2), (2, 0, 2, 2, 1))
    drawn = b.add(Move(0, "m", (turned,), b.activation((3, 3, 3, 5), ring), "take", taken=taken))
    outputs = [turned, drawn]
    if ring:
        total = b.add(Affine(0, "sum", (drawn, drawn), b.accumulator((3, 3, 3, 5), ring), (1, 2), 5, ring=ring))
        out = b.activation((3, 3, 3, 5))
        outputs.append(b.add(Requantize(0, "q", (total,), out, (1,), (0,), 2, ring)))
    return b.finish(f"moves-{ring}", *outputs)


@pytest.mark.parametrize("backend", [rep3, rep3_mac], ids=lambda backend: backend.name)
@pytest.mark.parametrize("ring", [0, 33])
def test_on_shares(backend: Backend, ring: int) -> None:
    case = program(ring)
    wanted = conformance.run(plaintext, case, [cpu_device()])
    outputs = conformance.run(backend, case, [cpu_device() for _ in range(3)])
    for output, expected in zip(outputs, wanted, strict=True):
        np.testing.assert_array_equal(output, expected)
