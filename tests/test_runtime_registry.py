"""Choosing a backend by guarantee, and plugins that cannot be used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

import mpc_bridge
from mpc_bridge import registry
from mpc_bridge.backends.base import API_VERSION
from mpc_bridge.circuit import serialize
from mpc_bridge.errors import ModelFormatError, UnsupportedCombinationError, UsageError
from mpc_bridge.importers.tflite import load
from mpc_bridge.lowering import lower
from mpc_bridge.lowering.program import Program, Requantize, Step
from mpc_bridge.registry import Plugins, check_supported, choose_backend
from mpc_bridge.security import ThreatModel

DEMO = Path(mpc_bridge.__file__).parent / "demo" / "digits.tflite"


@dataclass
class Fake:
    """What the registry asks a backend before any party starts."""

    name: str
    threat_models: tuple[ThreatModel, ...]
    counts: tuple[int, int]
    devices: tuple[str, ...] = ("cpu",)
    refuses: str = ""
    api_version: int = API_VERSION

    def parties(self) -> tuple[int, int]:
        return self.counts

    def supports(self, step: Step, program: Program) -> str | None:
        return self.refuses if self.refuses and isinstance(step, Requantize) else None


CLEAR = Fake("clear", (ThreatModel("semi-honest", "honest", 1, 0, "none"),), (1, 1))
HONEST = Fake("three", (ThreatModel("semi-honest", "honest", 3, 1, "privacy"),), (3, 3), ("cpu", "cuda"))
ACTIVE = Fake("three-active", (ThreatModel("malicious", "honest", 3, 1, "security with abort"),), (3, 3))
MANY = Fake("many", (ThreatModel("semi-honest", "dishonest", 0, 0, "privacy"),), (2, 5))


def of(*backends: Fake) -> Plugins:
    return Plugins({backend.name: backend for backend in backends}, {})


ALL = of(CLEAR, HONEST, ACTIVE, MANY)


@pytest.mark.parametrize("installed, options, name, parties, guarantee", [
    (ALL, {}, "three-active", 3, "security with abort"),
    (of(CLEAR, HONEST, MANY), {}, "three", 3, "privacy"),
    (ALL, {"adversary": "semi-honest"}, "three", 3, "privacy"),
    (ALL, {"adversary": "malicious"}, "three-active", 3, "security with abort"),
    (of(CLEAR, ACTIVE), {"adversary": "semi-honest"}, "three-active", 3, "security with abort"),
    (ALL, {"majority": "dishonest"}, "many", 2, "privacy"),
    (ALL, {"majority": "dishonest", "parties": 4}, "many", 4, "privacy"),
    (ALL, {"adversary": "semi-honest", "parties": 5, "name": "many"}, "many", 5, "privacy"),
    (ALL, {"name": "three-active", "adversary": "semi-honest"}, "three-active", 3, "security with abort"),
    (ALL, {"name": "clear"}, "clear", 1, "none"),
    (ALL, {"device": "cuda"}, "three", 3, "privacy"),
])
def test_choice(installed: Plugins, options: dict[str, Any], name: str, parties: int, guarantee: str) -> None:
    choice = choose_backend(installed=installed, **options)
    assert (choice.name, choice.parties, choice.threat_model.guarantee) == (name, parties, guarantee)
    assert choice.threat_model.parties == parties
    assert choice.device == options.get("device", "cpu")


def test_corruptions_follow_the_number_of_parties() -> None:
    assert choose_backend(majority="dishonest", parties=4, installed=ALL).threat_model.corruptions == 3


@pytest.mark.parametrize("installed, options, words", [
    (of(HONEST), {"adversary": "malicious"}, ["malicious", "three (semi-honest, honest majority, 3 parties)"]),
    (of(HONEST), {"majority": "dishonest"}, ["dishonest majority", "three"]),
    (of(HONEST), {"parties": 4}, ["4 parties"]),
    # a dishonest majority's backend is for who asks for it, by threat model or by name
    (ALL, {"adversary": "semi-honest", "parties": 5}, ["5 parties", "many (semi-honest, dishonest majority"]),
    (of(ACTIVE), {"device": "cuda"}, ["cuda"]),
    (of(CLEAR), {}, ["available: none"]),
    (ALL, {"name": "three", "adversary": "malicious"}, ["three does not give", "three-active (malicious"]),
    (ALL, {"name": "three", "majority": "dishonest"}, ["three does not give", "many"]),
    (ALL, {"name": "three", "parties": 2}, ["2 parties"]),
    (ALL, {"name": "many", "parties": 6, "majority": "dishonest"}, ["6 parties"]),
    (ALL, {"name": "clear", "adversary": "semi-honest"}, ["clear does not give"]),
    (ALL, {"name": "clear", "parties": 3}, ["1 to 1 parties"]),
    (ALL, {"name": "three-active", "device": "cuda"}, ["does not run on cuda"]),
])
def test_what_nobody_serves(installed: Plugins, options: dict[str, Any], words: Sequence[str]) -> None:
    with pytest.raises(UnsupportedCombinationError) as caught:
        choose_backend(installed=installed, **options)
    for word in words:
        assert word in str(caught.value)


def test_names_that_are_not_there() -> None:
    with pytest.raises(UsageError, match="no backend called four"):
        choose_backend(name="four", installed=ALL)
    with pytest.raises(UsageError, match="no such library"):
        choose_backend(name="gpu", installed=Plugins({}, {"gpu": "ImportError: no such library"}))


def test_unsupported_steps_are_all_named() -> None:
    program = lower(load(DEMO))
    count = sum(isinstance(step, Requantize) for step in program.steps)
    picky = Fake("picky", HONEST.threat_models, (3, 3), refuses="no requantise here")
    installed = of(HONEST, picky)
    check_supported(choose_backend(name="three", installed=installed), program, installed)
    with pytest.raises(UnsupportedCombinationError) as caught:
        check_supported(choose_backend(name="picky", installed=installed), program, installed)
    assert caught.value.where.count("no requantise here") == count > 1
    assert caught.value.hint == "backends that can: three"


def test_plugins_that_fail_are_kept_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [EntryPoint("good", "tests.test_runtime_registry:HONEST", "g"),
             EntryPoint("missing", "tests.no_such_module:backend", "g"),
             EntryPoint("nothing", "tests.test_runtime_registry:NOTHING", "g"),
             EntryPoint("foreign", "tests.test_runtime_registry:DEMO", "g")]
    monkeypatch.setattr(registry, "entry_points", lambda group: found)
    loaded = registry.plugins("g", API_VERSION)
    assert list(loaded.usable) == ["good"] and set(loaded.broken) == {"missing", "nothing", "foreign"}
    assert "no_such_module" in loaded.broken["missing"]
    newer = registry.plugins("g", API_VERSION + 1)
    assert not newer.usable and f"version {API_VERSION}" in newer.broken["good"]


def test_load_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "entry_points", lambda group: [
        EntryPoint("tflite", "mpc_bridge.importers.tflite:importer", "g")])
    circuit = registry.load_model(DEMO)
    assert circuit.profile == "litert" and registry.load_model(DEMO, "tflite").profile == "tflite"
    for name in ("model.bin", "model"):
        (tmp_path / name).write_bytes(DEMO.read_bytes())
        assert registry.load_model(tmp_path / name).sha256 == circuit.sha256
    for name in ("saved.circuit", "saved.other"):
        serialize.save(circuit, tmp_path / name)
        assert registry.load_model(tmp_path / name, "litert") == circuit
        with pytest.raises(UsageError, match="imported with profile litert"):
            registry.load_model(tmp_path / name, "tflite")
    (tmp_path / "letter.txt").write_text("Dear party,")
    with pytest.raises(ModelFormatError, match="not a model"):
        registry.load_model(tmp_path / "letter.txt")
    with pytest.raises(UsageError, match="unknown profile"):
        registry.load_model(DEMO, "onnx")
