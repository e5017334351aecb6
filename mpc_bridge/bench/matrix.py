"""The settings that a benchmark compares: every threat model that an installed backend serves."""

from __future__ import annotations

from dataclasses import dataclass

from mpc_bridge.security import Adversary, Majority, Preprocessing, ThreatModel


@dataclass(frozen=True)
class Setting:
    """One column of the matrix: a backend, what it is to guarantee, and where its correlated randomness comes from.

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

    def describe(self) -> str:
        """A few words for people: ``malicious, honest majority, 3 parties: rep3-mac``."""
        source = f", {self.preprocessing}" if self.preprocessing else ""
        place = f" on {self.device}" if self.device != "cpu" else ""
        if self.threat_model.guarantee == "none":
            return f"no guarantee: {self.backend}{place}"
        return f"{self.adversary}, {self.majority} majority, {self.parties} parties: {self.backend}{source}{place}"
