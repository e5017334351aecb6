"""The settings that a benchmark compares: every threat model that an installed backend serves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

from mpc_bridge.backends.base import Backend, ConfigurableBackend
from mpc_bridge.errors import MpcBridgeError, UnsupportedCombinationError, UsageError
from mpc_bridge.lowering.program import Program
from mpc_bridge.registry import Choice, Plugins, check_supported, choose_backend
from mpc_bridge.security import Adversary, Majority, Preprocessing, ThreatModel

#: Of a backend that computes in the clear.
NO_GUARANTEE = "none"


@dataclass(frozen=True)
class Setting:
    """A backend, what it is to guarantee, and where its correlated randomness comes from.

    Attributes:
        threat_model: concrete: its number of parties is not 0.
        preprocessing: None for a backend that needs none.
        device: one of the backend's.
    """

    threat_model: ThreatModel
    backend: str
    preprocessing: Preprocessing | None
    device: str

    @property
    def adversary(self) -> Adversary:
        """Of the threat model."""
        return self.threat_model.adversary

    @property
    def majority(self) -> Majority:
        """Of the threat model."""
        return self.threat_model.majority

    @property
    def parties(self) -> int:
        """Of the threat model."""
        return self.threat_model.parties

    @property
    def security(self) -> Adversary | None:
        """What to ask the registry for: None of a backend without a guarantee."""
        return None if self.threat_model.guarantee == NO_GUARANTEE else self.adversary

    def describe(self) -> str:
        """A few words for people: ``malicious, dishonest majority, 2 parties: spdz2k, dealer``."""
        source = f", {self.preprocessing}" if self.preprocessing else ""
        place = f" on {self.device}" if self.device != "cpu" else ""
        if self.security is None:
            return f"no guarantee: {self.backend}{place}"
        return f"{self.adversary}, {self.majority} majority, {self.parties} parties: {self.backend}{source}{place}"

    def choice(self, installed: Plugins) -> Choice:
        """The backend, so configured. Raises UnsupportedCombinationError, UsageError: there is no such thing."""
        return choose_backend(self.security, self.majority, self.parties, self.device, self.backend, installed,
                              self.preprocessing)


@dataclass(frozen=True)
class Wanted:
    """Which settings: words of the command line; an empty sequence and None for all.

    Attributes:
        backends: those without a guarantee have to be named.
        preprocessing: leaves backends out that need none.
        device: ``auto`` for each backend's own.
    """

    adversaries: Sequence[Adversary] = ()
    majorities: Sequence[Majority] = ()
    backends: Sequence[str] = ()
    preprocessing: Sequence[Preprocessing] = ()
    parties: int | None = None
    device: str = "auto"


def settings(wanted: Wanted, installed: Plugins) -> tuple[Setting, ...]:
    """Every threat model of every wanted backend, from every source; honest majority first, semi-honest first.

    A wanted number of parties, device or source that a backend does not have gives a setting that :func:`refusal`
    refuses: the answer belongs into the matrix.

    Raises:
        UsageError: no backend of that name. UnsupportedCombinationError: no backend serves any of this.
    """
    for name in wanted.backends:
        if name not in installed.usable:
            raise UsageError(f"no backend called {name}", where="--backend",
                             hint=installed.broken.get(name, f"installed: {', '.join(installed.usable)}"))
    found = {setting: None for name, backend in installed.usable.items()
             if name in wanted.backends or not wanted.backends
             for setting in _of_backend(name, backend, wanted)}
    if not found:
        raise UnsupportedCombinationError(
            "no installed backend serves any of the asked settings",
            where="--security, --majority, --backend, --preprocessing", hint="see: mpc-bridge backends")
    return tuple(sorted(found, key=setting_order))


def refusal(setting: Setting, program: Program, installed: Plugins) -> MpcBridgeError | None:
    """Why a model cannot be evaluated in a setting, before any party starts; None where it can."""
    try:
        check_supported(setting.choice(installed), program, installed)
    except (UnsupportedCombinationError, UsageError) as error:
        return error
    return None


def setting_order(setting: Setting) -> tuple[object, ...]:
    """Sorts settings: no guarantee, honest majority, dishonest majority; semi-honest before malicious."""
    return (setting.security is not None, setting.majority == "dishonest", setting.adversary == "malicious",
            setting.backend, setting.preprocessing or "", setting.parties, setting.device)


def _of_backend(name: str, backend: Backend, wanted: Wanted) -> Iterator[Setting]:
    for source, variant in _sources(backend, wanted):
        device = wanted.device
        if device == "auto":
            device = "cpu" if "cpu" in variant.devices else variant.devices[0]
        models = [model for model in variant.threat_models if model.guarantee != NO_GUARANTEE]
        if not models and name in wanted.backends:
            parties = wanted.parties or variant.parties()[0]
            yield Setting(ThreatModel("semi-honest", "honest", parties, 0, NO_GUARANTEE), name, source, device)
        for model in models:
            if wanted.adversaries and model.adversary not in wanted.adversaries:
                continue
            if wanted.majorities and model.majority not in wanted.majorities:
                continue
            parties = wanted.parties or model.parties or variant.parties()[0]
            corruptions = parties - 1 if model.majority == "dishonest" else (parties - 1) // 2
            if parties == model.parties:
                corruptions = model.corruptions
            concrete = ThreatModel(model.adversary, model.majority, parties, corruptions, model.guarantee)
            yield Setting(concrete, name, source, device)


def _sources(backend: Backend, wanted: Wanted) -> Iterator[tuple[Preprocessing | None, Backend]]:
    """Where a backend's correlated randomness can come from, and the backend so configured."""
    own: Preprocessing | None = getattr(backend, "preprocessing", None)
    has: dict[Preprocessing | None, Backend] = {own: backend}
    if isinstance(backend, ConfigurableBackend):
        variants = {source: backend.with_preprocessing(source) for source in get_args(Preprocessing)}
        has = {source: variant for source, variant in variants.items() if variant is not None}
    if not wanted.preprocessing:
        yield from has.items()
    elif own is not None:
        yield from ((source, has.get(source, backend)) for source in wanted.preprocessing)
