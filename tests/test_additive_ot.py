"""additive with oblivious transfers on real models: exact, two processes and no third, within promised bytes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mpc_bridge.backends.additive.backend import backend as dealt
from mpc_bridge.backends.additive.ot_backend import ObliviousAdditiveBackend, ObliviousEngine, backend
from mpc_bridge.backends.base import HelpedBackend
from mpc_bridge.errors import MalformedFrame, UnsupportedCombinationError
from mpc_bridge.kernels import cpu_device
from mpc_bridge.lowering.program import Program, Requantize
from mpc_bridge.registry import Plugins, choose_backend, load_model
from mpc_bridge.runtime.launcher import RunResult, evaluate_local
from mpc_bridge.runtime.session import Session
from mpc_bridge.testing import conformance
from mpc_bridge.testing.conformance import Case
from mpc_bridge.testing.tap import Relay
from tests.conftest import vectors_root
from tests.privacy_programs import product
from tests.test_additive_models import RESNET, assert_exact, inputs, load
from tests.test_cli_commands import INPUTS, MODEL, Run, assert_refused, run
from tests.test_privacy_shapes import extremes
from tests.test_rep3_models import windows

__all__ = ["run"]

Vector = Callable[[str], Path]

MODELS = ("ad01_int8", "kws_ref_model", "micro_speech_quantized", "person_detect")
INSTALLED = Plugins({"additive": dealt}, {})


def evaluated(folder: Path, count: int = 1, **options: object) -> RunResult:
    circuit = load(folder)
    return evaluate_local(circuit, inputs(folder, circuit, count), ObliviousAdditiveBackend(), parties=2,
                          **options)  # type: ignore[arg-type]


def sent(result: RunResult, *phases: str) -> int:
    return sum(report.phases[phase].bytes_sent for report in result.reports for phase in phases)


@pytest.mark.parametrize("name", MODELS)
def test_models_are_exact(vector: Vector, name: str) -> None:
    folder = vector(name)
    result = evaluated(folder)
    assert_exact(folder, result)
    assert len(result.reports) == 2 and result.helper is None
    # preprocessing is held in pieces, whatever the model
    assert all(report.peak_memory_bytes <= 400 << 20 for report in result.reports)


def test_keywords_within_the_promised_bytes(vector: Vector) -> None:
    """All phases but setup: a tenth of what was asked for. Online: fewer bits per activation than with a dealer."""
    folder = vector("kws_ref_model")
    result = evaluated(folder, count=2)
    assert_exact(folder, result)
    activations = 2 * sum(result.program.activations.values())
    assert sent(result, "preprocessing", "online", "verification") <= 2 * 150_000_000
    assert sent(result, "setup") <= 8_000_000
    for report in result.reports:
        assert 8 * report.phases["online"].bytes_sent <= 250 * activations


def through_a_tap(name: str) -> tuple[Path, RunResult, Relay]:
    folder = vectors_root() / name
    if not folder.is_dir():
        pytest.skip(f"no model {name}")
    with Relay() as relay:
        result = evaluated(folder, transport="tcp", tap=relay)
        relay.join()
    return folder, result, relay


def test_resnet_is_exact_every_byte_counted_and_every_round() -> None:
    """A requantise: the blocks' outputs, a logarithm of the width for the rest, open the masked bits."""
    folder, result, relay = through_a_tap(RESNET)
    assert_exact(folder, result)
    for party, report in enumerate(result.reports):
        reported = sum(cost.bytes_sent for cost in report.phases.values())
        assert abs(reported - relay.sent_by(party)) <= 0.02 * relay.sent_by(party)

    layers = {step.layer: step for step in result.program.steps if isinstance(step, Requantize)}
    assert len(layers) >= 10
    for layer, step in layers.items():
        assert result.reports[0].layers[layer].rounds <= (14 if step.tie is None else 19)


def test_party_1_receives_no_weight_and_nobody_the_input_in_the_clear() -> None:
    folder, result, relay = through_a_tap("micro_speech_quantized")
    assert_exact(folder, result)
    circuit = load(folder)
    (image,) = inputs(folder, circuit)
    def pieces(arrays: list[np.ndarray]) -> list[bytes]:
        forms = [form for a in arrays for form in (a, a.astype(np.int64), a.astype(np.int32), a.astype(np.int16) + 128)]
        forms += [(a.astype(np.int16) + 128).astype(np.uint8) for a in arrays if a.dtype.itemsize == 1]
        return [piece for form in forms for piece in windows(form, 16)]

    weights = pieces([np.asarray(array) for array in circuit.constants.values()])
    assert len(weights) > 100
    received = relay.received_by(1)
    assert not [piece for piece in weights if piece in received]
    for party in (0, 1):
        received = relay.received_by(party)
        assert not [piece for piece in pieces([np.asarray(image)]) if piece in received]


class LongBackend(ObliviousAdditiveBackend):
    """Preparation of many short rounds that takes longer than the launcher waits for a word."""

    def engine(self, session: Session, program: Program) -> ObliviousEngine:
        engine = super().engine(session, program)
        preprocess = engine.preprocess

        def longer() -> None:
            for _ in range(12):
                time.sleep(1.0)
                peer = 1 - session.party
                session.exchange({peer: [b"still here"]}, {peer: [bytearray(10)]})
            preprocess()

        engine.preprocess = longer  # type: ignore[method-assign]
        return engine


def test_long_preparation_is_no_silence() -> None:
    circuit = load_model(MODEL)
    stored = np.load(INPUTS)["in0"][:1]
    result = evaluate_local(circuit, [stored.reshape(1, *circuit.tensors[circuit.inputs[0]].shape)], LongBackend(),
                            parties=2, timeout=5.0)
    assert result.reports[0].phases["preprocessing"].seconds > 12


# Owners -------------------------------------------------------------------------------------------------------------


def test_party_1_gets_nothing_of_a_weight_and_shares_of_data() -> None:
    program = product(40)
    (weights, data), owner = extremes(program)[2], backend.owner(2)
    ((index, tensor),) = weights.items()
    first, second = owner.share(program.values[index], tensor)
    assert second == b"" and owner.share_size(program.values[index], 1) == 0
    assert len(first) == owner.share_size(program.values[index], 0)
    ((index, tensor),) = data.items()
    messages = [owner.share(program.values[index], tensor) for _ in range(2)]
    assert all(len(part) for part in messages[0]) and messages[0][0] != messages[1][0]


@pytest.mark.parametrize("outside", [-129, 128])
def test_a_weight_outside_its_type_is_refused(outside: int) -> None:
    program = product(40)
    weights, data = extremes(program)[2]
    ((index, tensor),) = weights.items()
    tensor.reshape(-1)[0] = outside
    with pytest.raises(MalformedFrame, match="holds a weight outside -128 to 127"):
        conformance.run(backend, Case("", program, {**weights, **data}), [cpu_device(), cpu_device()])


# Choosing -----------------------------------------------------------------------------------------------------------


def test_preprocessing_is_a_choice_of_one_backend() -> None:
    default = choose_backend(majority="dishonest", installed=INSTALLED)
    assert isinstance(default.backend, HelpedBackend)
    for name in (None, "additive"):
        choice = choose_backend(majority="dishonest", installed=INSTALLED, preprocessing="ot", name=name)
        assert choice.name == "additive" and choice.parties == 2 and choice.threat_model.corruptions == 1
        assert not isinstance(choice.backend, HelpedBackend)
    assert choose_backend(majority="dishonest", parties=3, installed=INSTALLED, preprocessing="dealer").parties == 3
    with pytest.raises(UnsupportedCombinationError, match="2 parties"):
        choose_backend(majority="dishonest", parties=3, installed=INSTALLED, preprocessing="ot")


def test_a_backend_with_a_dealer_alone_refuses_transfers() -> None:
    class DealerOnly(ObliviousAdditiveBackend):
        preprocessing = "dealer"

    installed = Plugins({"spdz": DealerOnly()}, {})
    with pytest.raises(UnsupportedCombinationError, match="gets its randomness from: dealer, not from: ot"):
        choose_backend(majority="dishonest", name="spdz", installed=installed, preprocessing="ot")


def test_three_parties_cannot_use_the_source() -> None:
    program: Program = product(8)
    weights, data = extremes(program)[0]
    with pytest.raises(ValueError, match="two parties"):
        conformance.run(backend, Case("", program, {**weights, **data}), [cpu_device() for _ in range(3)])


def test_the_command_line_says_whom_it_trusts(run: Run) -> None:  # noqa: F811
    words = ["--majority", "dishonest", "--preprocessing", "ot", "--model-owner", "0"]
    done = run("eval", MODEL, "--input", INPUTS, "--samples", "2", *words)
    assert done.returncode == 0, done.stderr
    assert "privacy against 1 of 2 parties" in done.stdout and "equal: every output value" in done.stdout
    text = " ".join(done.stdout.split())
    assert "oblivious transfers between the two parties; nobody else takes part" in text
    assert "Party 0 is the model's owner and holds its weights in the clear" in text
    assert "weights and biases, from all parties but party 0, who owns the model" in text
    assert "dealer" not in done.stdout
    done = run("eval", MODEL, "--input", INPUTS, "--samples", "1", "--backend", "additive", "--majority", "dishonest",
               "--preprocessing", "ot", "--json")
    report = json.loads(done.stdout)
    assert report["backend"] == "additive" and report["preprocessing"] == "ot" and report["helper"] is None
    assert report["model_owner"] == 0 and "nobody else" in report["preprocessing_trust"]
    assert report["matches_reference"] is True and sum(report["phases"]["preprocessing"]["bytes_sent"]) > 0


def test_without_transfers_no_party_owns_the_model(run: Run) -> None:  # noqa: F811
    words = ["--majority", "dishonest", "--preprocessing", "dealer", "--model-owner", "0"]
    refused = run("eval", MODEL, "--input", INPUTS, *words)
    assert_refused(refused, 3, "cannot have party 0 own the model", "use --preprocessing ot")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--majority", "dishonest", "--parties", "3"], ["additive with preprocessing ot", "2 parties"]),
        (["--backend", "additive", "--majority", "dishonest", "--parties", "5"], ["2 parties"]),
        (["--backend", "rep3"], ["rep3 needs no preprocessing"]),
        (["--majority", "dishonest", "--model-owner", "1"], ["cannot have party 1 own", "use --model-owner 0"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_refusals(run: Run, arguments: list[str], words: list[str]) -> None:  # noqa: F811
    assert_refused(run("eval", MODEL, "--input", INPUTS, *arguments, "--preprocessing", "ot"), 3, *words)
