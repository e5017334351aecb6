"""Every check of rep3-mac, by name."""

from __future__ import annotations

from mpc_bridge.backends.sharing.checks import COIN_OPENING, COMMITMENT_ECHO, Check, Registry

__all__ = ["BOOLEAN", "CHECKS", "COIN_OPENING", "COMMITMENT_ECHO", "INPUT_AGREEMENT", "LINEAR", "OPENING", "OUTPUT",
           "Check", "switched_off"]

CHECKS = Registry({check.name: check for check in (COMMITMENT_ECHO, COIN_OPENING)})
INPUT_AGREEMENT = CHECKS.register(
    "input-agreement", "an owner, or a party that holds its share, gave another component")
OPENING = CHECKS.register("opening", "the two holders of an opened component disagree")
LINEAR = CHECKS.register("linear-mac", "the products of the linear layers do not pass their MAC check")
BOOLEAN = CHECKS.register("boolean-gates", "the boolean gates do not pass verification")
OUTPUT = CHECKS.register("output-agreement", "two parties gave the receiver different components of an output")

switched_off = CHECKS.switched_off
