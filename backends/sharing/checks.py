"""Places where a party may find that another one cheated, by name; and what it does then.

A check that fails raises ProtocolAbort. Each protocol registers its own, so that the tests can switch each of them off
in turn and show that some attack then succeeds or goes unnoticed; nothing but a test can switch one off.
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
            hint="nothing unverified was revealed; find the cheater before these inputs are used again",
        )


_switched_off: set[str] = set()

#: What coins and commitments rest on, in every protocol that has them.
COMMITMENT_ECHO = Check("commitment-echo", "the parties hold different commitments")
COIN_OPENING = Check("coin-opening", "a party opened a coin that it had not committed to")


class Registry(dict[str, Check]):
    """The checks of one protocol by name."""

    def register(self, name: str, finding: str) -> Check:
        """A new one."""
        check = self[name] = Check(name, finding)
        return check

    @contextmanager
    def switched_off(self, name: str) -> Iterator[None]:
        """For tests only: inside, the named check finds nothing. Raises KeyError for an unknown name."""
        _switched_off.add(self[name].name)
        try:
            yield
        finally:
            _switched_off.discard(name)
