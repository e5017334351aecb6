"""Every place where a party may find that another one cheated, by name; and what it does then.

A check that fails raises ProtocolAbort. It is registered here so that the tests can switch each of them off in turn
and show that some attack then succeeds or goes unnoticed; nothing but a test can switch one off.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mpc_bridge.errors import ProtocolAbort


@dataclass(frozen=True)
class Check:
    """One kind of check.

    Attributes:
        name: stable, for tests and documents.
        finding: what a party says when it fails; names no secret.
    """

    name: str
    finding: str

    def holds(self, condition: bool) -> bool:
        """Whether to go on."""
        return condition or self.name in _switched_off

    def error(self, finder: str) -> ProtocolAbort:
        """What the party or receiver raises that found it."""
        return ProtocolAbort(
            f"cheating detected: {self.finding}",
            where=f"{finder}, check {self.name}",
            hint="nothing was revealed; find the cheater before these inputs are used again",
        )


CHECKS: dict[str, Check] = {}
_switched_off: set[str] = set()


def _register(name: str, finding: str) -> Check:
    check = CHECKS[name] = Check(name, finding)
    return check


COMMITMENT_ECHO = _register("commitment-echo", "the parties hold different commitments")
COIN_OPENING = _register("coin-opening", "a party opened a coin that it had not committed to")
INPUT_AGREEMENT = _register("input-agreement", "an owner, or a party that holds its share, gave another component")
OPENING = _register("opening", "the two holders of an opened component disagree")
LINEAR = _register("linear-mac", "the products of the linear layers do not pass their MAC check")
BOOLEAN = _register("boolean-gates", "the boolean gates do not pass verification")
OUTPUT = _register("output-agreement", "two parties gave the receiver different components of an output")


@contextmanager
def switched_off(name: str) -> Iterator[None]:
    """For tests only: inside, the named check finds nothing. Raises KeyError for an unknown name."""
    _switched_off.add(CHECKS[name].name)
    try:
        yield
    finally:
        _switched_off.discard(name)
