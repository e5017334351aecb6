"""Finds importers and backends by entry point, and chooses among them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from mpc_bridge.backends import base as backend_contract
from mpc_bridge.backends.base import Backend, ConfigurableBackend
from mpc_bridge.circuit import serialize
from mpc_bridge.circuit.graph import Circuit
from mpc_bridge.errors import ModelFormatError, UnsupportedCombinationError, UsageError
from mpc_bridge.importers import base as importer_contract
from mpc_bridge.importers.base import Importer, TrustedImporter, read_model_file
from mpc_bridge.lowering.program import Output, Program, Step
from mpc_bridge.security import Adversary, Majority, Preprocessing, ThreatModel

IMPORTERS = "mpc_bridge.importers"
BACKENDS = "mpc_bridge.backends"
CIRCUIT_SUFFIX = ".circuit"


@dataclass(frozen=True)
class Plugins:
    """What is installed in one group.

    Attributes:
        usable: name → plugin object, in the order of names.
        broken: name → one line on why it cannot be used.
    """

    usable: Mapping[str, Any]
    broken: Mapping[str, str]


def plugins(group: str, api_version: int) -> Plugins:
    """Load every entry point of ``group``; what fails to load, or was made for another contract, is kept as broken."""
    usable: dict[str, Any] = {}
    broken: dict[str, str] = {}
    found: tuple[EntryPoint, ...] = tuple(entry_points(group=group))
    for entry in sorted(found, key=lambda entry: entry.name):
        try:
            loaded = entry.load()
            plugin = loaded() if isinstance(loaded, type) else loaded
            version = plugin.api_version
        except Exception as error:  # somebody else's code: it may raise anything
            broken[entry.name] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            continue
        if version != api_version:
            broken[entry.name] = f"made for version {version} of the contract, this is version {api_version}"
        else:
            usable[entry.name] = plugin
    return Plugins(usable, broken)


def backends() -> Plugins:
    """Installed backends."""
    return plugins(BACKENDS, backend_contract.API_VERSION)


def importers() -> Plugins:
    """Installed importers."""
    return plugins(IMPORTERS, importer_contract.API_VERSION)


def load_model(path: str | Path, profile: str | None = None, trust: bool = False,
               input_shapes: Sequence[tuple[int, ...]] = ()) -> Circuit:
    """A model file as a Circuit: by its suffix, else by what its first bytes say.

    Args:
        path: ``.circuit`` or any installed importer's format.
        profile: which reference runtime; None for the format's default. A ``.circuit`` keeps the one it came with.
        trust: also read formats whose loading runs what the file says (TorchScript). Files that need no trust are read
            as ever.
        input_shapes: of the model's inputs, for such formats, which do not hold them.

    Raises:
        InputError: it cannot be read. ModelFormatError: it is nothing that an installed importer reads.
        UnsupportedModelError: it cannot be evaluated exactly. UsageError: an unknown profile.
    """
    path = Path(path)
    data = read_model_file(path)
    if path.suffix.lower() == CIRCUIT_SUFFIX or serialize.is_circuit_file(data):
        circuit = serialize.load(path)
        if profile is not None and profile != circuit.profile:
            raise UsageError(f"this circuit was imported with profile {circuit.profile}", where=f"--profile {profile}",
                             hint="import the model again with the other profile")
        return circuit
    importer = _importer(path, data, importers())
    if trust and isinstance(importer, TrustedImporter):
        return importer.load_trusted(data, path.stem, profile or "", input_shapes)
    if input_shapes:
        raise UsageError("input shapes are taken from the file", where=str(path),
                         hint="give them with trust, for TorchScript files alone")
    return importer.load(data, path.stem, importer.profiles[0] if profile is None else profile)


def _importer(path: Path, data: bytes, installed: Plugins) -> Importer:
    candidates: list[Importer] = list(installed.usable.values())
    for importer in candidates:
        if path.suffix.lower() in importer.suffixes:
            return importer
    for importer in candidates:
        if importer.sniff(data):
            return importer
    suffixes = sorted({CIRCUIT_SUFFIX, *(suffix for importer in candidates for suffix in importer.suffixes)})
    problems = "".join(f"; importer {name} is broken: {why}" for name, why in installed.broken.items())
    raise ModelFormatError("not a model that an installed importer reads", where=str(path),
                           hint=f"give one of: {', '.join(suffixes)}{problems}")


@dataclass(frozen=True)
class Choice:
    """A backend and what was chosen for it. ``parties`` and ``device`` are concrete."""

    name: str
    backend: Backend
    threat_model: ThreatModel
    parties: int
    device: str


def choose_backend(adversary: Adversary | None = None, majority: Majority = "honest", parties: int | None = None,
                   device: str = "auto", name: str | None = None, installed: Plugins | None = None,
                   preprocessing: Preprocessing | None = None) -> Choice:
    """The backend for a threat model, or the named one if it gives the asked guarantee.

    Args:
        adversary: None: ``"malicious"`` if an installed backend serves it with this majority and number of parties,
            else ``"semi-honest"``; with ``name``, the strongest that backend has (for one without any guarantee: that).
        majority: a backend for a dishonest majority serves an honest one too, if it is named.
        parties: None for the backend's own number.
        device: ``"auto"`` or a backend's device.
        name: of a backend.
        installed: to choose from; None for what entry points say.
        preprocessing: where correlated randomness is to come from; None for the backend's own choice.

    Raises:
        UnsupportedCombinationError: nothing fits; the message names what is available.
        UsageError: no backend of that name.
    """
    installed = backends() if installed is None else installed
    if preprocessing is not None:
        serving = _serving(installed, preprocessing)
        try:
            return choose_backend(adversary, majority, parties, device, name, serving)
        except (UnsupportedCombinationError, UsageError):
            # the error is about the backend that comes nearest: the named one, or one for this threat model
            near = [key for key, backend in serving.usable.items() for model in backend.threat_models
                    if model.majority == majority and adversary in (None, model.adversary)]
            choice = choose_backend(adversary, majority, parties, device, name or next(iter(near), None), installed)
        raise _not_from(choice, preprocessing)
    if name is not None:
        return _named(name, adversary, majority, parties, device, installed)
    wanted: tuple[Adversary, ...] = ("malicious", "semi-honest") if adversary is None else (adversary,)
    for kind in wanted:
        for exact in (True, False):
            for key, backend in installed.usable.items():
                for model in _models(backend, kind, majority, parties, exact):
                    # a dishonest majority's backend may trust somebody else instead, so it is for who asks for it
                    if model.majority == majority and (device == "auto" or device in backend.devices):
                        return _choice(key, backend, model, parties, device)
    asked = ", ".join([*([adversary] if adversary else []), f"{majority} majority",
                       *([f"{parties} parties"] if parties else []), *([device] if device != "auto" else [])])
    raise UnsupportedCombinationError(f"no installed backend serves: {asked}",
                                      where="--security, --majority, --parties, --device",
                                      hint=f"available: {_available(installed)}")


def _named(name: str, adversary: Adversary | None, majority: Majority, parties: int | None, device: str,
           installed: Plugins) -> Choice:
    if name in installed.broken:
        raise UsageError(f"backend {name} cannot be loaded", where="--backend", hint=installed.broken[name])
    if name not in installed.usable:
        raise UsageError(f"no backend called {name}", where="--backend",
                         hint=f"installed: {', '.join(installed.usable) or 'none'}")
    backend: Backend = installed.usable[name]
    if device != "auto" and device not in backend.devices:
        raise UnsupportedCombinationError(f"backend {name} does not run on {device}", where="--device",
                                          hint=f"use one of: {', '.join(backend.devices)}")
    if adversary is None and not any(_guarantees(model) for model in backend.threat_models):
        least, most = backend.parties()
        if parties is not None and not least <= parties <= most:
            raise UnsupportedCombinationError(f"backend {name} has {least} to {most} parties", where="--parties")
        none = ThreatModel("semi-honest", "honest", parties or least, 0, "none")
        return _choice(name, backend, none, parties, device)
    for kind in ("malicious", "semi-honest") if adversary is None else (adversary,):
        for exact in (True, False):
            for model in _models(backend, kind, majority, parties, exact):
                return _choice(name, backend, model, parties, device)
    gives = "; ".join(_in_words(model, backend) for model in backend.threat_models if _guarantees(model))
    asked = " ".join(filter(None, (adversary, f"{majority} majority", f"{parties} parties" if parties else "")))
    raise UnsupportedCombinationError(f"backend {name} does not give the asked guarantee: {asked}", where="--backend",
                                      hint=f"it gives: {gives or 'no guarantee'}. Available: {_available(installed)}")


def _models(backend: Backend, adversary: str, majority: Majority, parties: int | None,
            exact: bool) -> Iterator[ThreatModel]:
    """The backend's threat models that serve a wish: exactly, or by being stronger."""
    least, most = backend.parties()
    for model in backend.threat_models:
        if not _guarantees(model):
            continue
        count = parties or model.parties or least
        if model.parties not in (0, count) or not least <= count <= most:
            continue
        same = model.adversary == adversary and model.majority == majority
        enough = (model.adversary == "malicious" or adversary == "semi-honest") and (
            model.majority == "dishonest" or majority == "honest")
        if same if exact else enough and not same:
            yield model


def _choice(name: str, backend: Backend, model: ThreatModel, parties: int | None, device: str) -> Choice:
    count = parties or model.parties or backend.parties()[0]
    if not model.parties:
        corruptions = count - 1 if model.majority == "dishonest" else (count - 1) // 2
        model = ThreatModel(model.adversary, model.majority, count, corruptions, model.guarantee)
    if device == "auto":
        device = "cpu" if "cpu" in backend.devices else backend.devices[0]
    return Choice(name, backend, model, count, device)


def _guarantees(model: ThreatModel) -> bool:
    """False for a backend in the clear."""
    return model.guarantee != "none"


def _in_words(model: ThreatModel, backend: Backend) -> str:
    least, most = backend.parties()
    count = str(model.parties) if model.parties else f"{least} to {most}"
    return f"{model.adversary}, {model.majority} majority, {count} parties"


def _available(installed: Plugins) -> str:
    lines = [f"{name} ({_in_words(model, backend)})" for name, backend in installed.usable.items()
             for model in backend.threat_models if _guarantees(model)]
    lines += [f"{name} (broken: {why})" for name, why in installed.broken.items()]
    return "; ".join(lines) or "none"


def _serving(installed: Plugins, wanted: Preprocessing) -> Plugins:
    """The backends that get their correlated randomness from there, so configured."""
    usable = {}
    for name, backend in installed.usable.items():
        if isinstance(backend, ConfigurableBackend):
            configured = backend.with_preprocessing(wanted)
            if configured is not None:
                usable[name] = configured
        elif getattr(backend, "preprocessing", None) == wanted:
            usable[name] = backend
    return Plugins(usable, installed.broken)


def _not_from(choice: Choice, wanted: Preprocessing) -> UnsupportedCombinationError:
    """Why a choice does not get its correlated randomness from where it was asked for."""
    backend, has = choice.backend, getattr(choice.backend, "preprocessing", None)
    other = backend.with_preprocessing(wanted) if isinstance(backend, ConfigurableBackend) else None
    if other is not None:
        return UnsupportedCombinationError(
            f"backend {choice.name} with preprocessing {wanted} does not give what was asked for",
            where="--preprocessing",
            hint="it gives: " + "; ".join(_in_words(model, other) for model in other.threat_models))
    what = f"gets its randomness from: {has}" if has else "needs no preprocessing"
    return UnsupportedCombinationError(f"backend {choice.name} {what}, not from: {wanted}", where="--preprocessing",
                                       hint=f"use --preprocessing {has}" if has else "leave --preprocessing out")


def check_supported(choice: Choice, program: Program, installed: Plugins | None = None) -> None:
    """Ask the backend about every step, before any party starts.

    Raises:
        UnsupportedCombinationError: naming every step it cannot run, and backends that can run them all.
    """
    refused = [(step, why) for step in program.steps if (why := choice.backend.supports(step, program)) is not None]
    if not refused:
        return
    others = []
    for name, other in (backends() if installed is None else installed).usable.items():
        if name != choice.name and all(other.supports(step, program) is None for step in program.steps):
            others.append(name)
    lines = "\n".join(f"{step.primitive} in {step.layer}, tensor {_tensor(step, program)}: {why}"
                      for step, why in refused)
    raise UnsupportedCombinationError(f"backend {choice.name} cannot run {len(refused)} of {len(program.steps)} steps",
                                      where=lines, hint=f"backends that can: {', '.join(others) or 'none installed'}")


def _tensor(step: Step, program: Program) -> str:
    index = step.inputs[0] if isinstance(step, Output) else step.output
    return program.values[index].name


