"""Threat models: who may be corrupted, how, and what is guaranteed; the words of the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mpc_bridge.errors import UsageError

Adversary = Literal["semi-honest", "malicious"]
Majority = Literal["honest", "dishonest"]
#: Where correlated randomness comes from.
Preprocessing = Literal["dealer", "ot"]

_ADVERSARY_WORDS: dict[str, Adversary] = {
    "semi-honest": "semi-honest",
    "passive": "semi-honest",
    "malicious": "malicious",
    "active": "malicious",
}


@dataclass(frozen=True)
class ThreatModel:
    """What an adversary may do and what still holds.

    Attributes:
        adversary: ``"semi-honest"`` follows the protocol and looks; ``"malicious"`` does anything.
        majority: whether fewer than half of the parties are corrupted (``"honest"``) or all but one may be.
        parties: number of computing parties; 0 when a backend serves any number.
        corruptions: how many of them the guarantee survives.
        guarantee: ``"privacy"``, ``"security with abort"``.
    """

    adversary: Adversary
    majority: Majority
    parties: int
    corruptions: int
    guarantee: str

    def describe(self) -> str:
        """One line for people."""
        return (
            f"{self.adversary}, {self.majority} majority: {self.guarantee} against "
            f"{self.corruptions} of {self.parties} parties"
        )


def parse_adversary(word: str) -> Adversary:
    """``semi-honest``/``passive`` or ``malicious``/``active``. Raises UsageError on anything else."""
    try:
        return _ADVERSARY_WORDS[word]
    except KeyError:
        raise UsageError(
            f"unknown security {word!r}", where="--security", hint=f"use one of: {', '.join(_ADVERSARY_WORDS)}"
        ) from None


def parse_majority(word: str) -> Majority:
    """``honest`` or ``dishonest``. Raises UsageError on anything else."""
    if word == "honest":
        return "honest"
    if word == "dishonest":
        return "dishonest"
    raise UsageError(f"unknown majority {word!r}", where="--majority", hint="use honest or dishonest")


def parse_preprocessing(word: str) -> Preprocessing:
    """``dealer`` or ``ot``. Raises UsageError on anything else."""
    if word == "dealer":
        return "dealer"
    if word == "ot":
        return "ot"
    raise UsageError(f"unknown preprocessing {word!r}", where="--preprocessing", hint="use dealer or ot")
