"""What a party process is told when it starts."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from mpc_bridge.errors import UsageError
from mpc_bridge.runtime.handshake import Address, Credentials
from mpc_bridge.runtime.meter import CLIENT

if TYPE_CHECKING:
    from mpc_bridge.backends.base import Backend


@dataclass(frozen=True)
class PartyConfig:
    """What a party is told on standard input.

    Attributes:
        party: own index; a backend's helper process comes after the parties.
        parties: how many compute.
        listener: descriptor of the inherited, listening socket.
        addresses: per party, the helper's last: a path (Unix socket), or host and port.
        identity: of the session, public, hexadecimal.
        keys: peer → the key of this party and that peer, hexadecimal; -1 is the launcher. Nobody else's keys.
        timeout: seconds without a byte from whoever is due.
        backend: ``module:name``.
        device: one of the backend's.
        parent: process id of the launcher; the party ends when its parent is another one.
        helper: what the helper process is called, empty without one.
    """

    party: int
    parties: int
    listener: int
    addresses: tuple[Address, ...]
    identity: str
    timeout: float
    backend: str
    device: str
    parent: int
    keys: Mapping[int, str] = field(repr=False)
    helper: str = ""

    def encode(self) -> bytes:
        """JSON for standard input."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, text: bytes) -> PartyConfig:
        """Raises UsageError on anything that :meth:`encode` did not make."""
        try:
            values: dict[str, Any] = json.loads(text)
            values["addresses"] = tuple(
                address if isinstance(address, str) else (str(address[0]), int(address[1]))
                for address in values["addresses"])
            values["keys"] = {int(peer): key for peer, key in values["keys"].items()}
            config = cls(**values)
            config.credentials()
            return config
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise UsageError("unreadable party configuration", where="standard input",
                             hint="parties are started by mpc-bridge itself") from error

    def label(self, member: int) -> str:
        """How messages call a member of this session."""
        return f"the {self.helper}" if member >= self.parties else label_of(member)

    def credentials(self) -> Credentials:
        """What this party proves itself with. Raises ValueError for keys of the wrong length."""
        return Credentials(self.party, bytes.fromhex(self.identity),
                           {peer: bytes.fromhex(key) for peer, key in self.keys.items()})


def load_backend(path: str) -> Backend:
    """The backend at ``module:name``, an object or a class that needs no arguments. Raises UsageError."""
    module, _, name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
        backend: Backend = found() if isinstance(found, type) else found
        return backend
    except (ImportError, AttributeError) as error:
        raise UsageError(f"cannot load the backend {path}", where="--backend", hint=str(error)) from error


def label_of(party: int) -> str:
    """How messages call a party."""
    return "the launcher" if party == CLIENT else f"party {party}"
