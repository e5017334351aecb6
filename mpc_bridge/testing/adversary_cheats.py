"""Cheating in what a party computes, so that its messages, hashes and later steps fit together.

Each cheat is a piece of a corrupted party: a device that computes wrongly, a compiler that complements a gate's
outgoing plane, a verifier that adds an error to its summand. :func:`cheater` puts them together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mpc_bridge.backends.replicated.malicious.boolean import BooleanVerifier
from mpc_bridge.backends.replicated.malicious.compile import VerifiedProgram, VerifyingCompiler
from mpc_bridge.backends.replicated.malicious.linear import LinearVerifier
from mpc_bridge.backends.replicated.malicious.protocol import Rep3Mac
from mpc_bridge.backends.replicated.malicious.trust import Trust
from mpc_bridge.backends.sharing.circuit import Circuit
from mpc_bridge.backends.sharing.microcode import Assembler, Microprogram, Op
from mpc_bridge.backends.sharing.shares import DeviceBuffer
from mpc_bridge.kernels import Device
from mpc_bridge.lowering.program import Program
from mpc_bridge.runtime.session import Session
from mpc_bridge.testing.adversary import MakeProtocol, share_compiled

# Gates ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Gate:
    """An interactive wire of a circuit, in one role."""

    circuit: Circuit
    role: int
    wire: int


class _Complementing(Assembler):
    """Complements the planes it sends while :attr:`wrong`, in the register that the role goes on with."""

    wrong = False
    changed = 0

    def send(self, link: int, register: int) -> None:
        if self.wrong:
            self.update(Op.NOT, register, register)
            self.changed += 1
        super().send(link, register)


class WrongGate(VerifyingCompiler):
    """The outgoing plane of one gate is complemented in every lane, and with it the role's own share."""

    def __init__(self, gate: Gate) -> None:
        super().__init__(gate.circuit, gate.role)
        self._target = gate.wire
        self._code = _Complementing(links=2, inputs=self._code.inputs)

    @property
    def changed(self) -> int:
        """How many planes were complemented: none where the role sends nothing for this gate."""
        assert isinstance(self._code, _Complementing)
        return self._code.changed

    @property
    def interactive(self) -> tuple[int, ...]:
        """All gates with messages."""
        return tuple(self._interactive)

    def _send(self, wire: int) -> None:
        assert isinstance(self._code, _Complementing)
        # what the gate needs is computed rightly before
        self._code.wrong = wire == self._target
        super()._send(wire)
        self._code.wrong = False


class Cheater(Rep3Mac):
    """A party with any of the cheats of this module.

    Attributes:
        gate: computed wrongly; None for none.
        met: whether the program had that gate.
        errors: label of a reshare of the ring → what is added to the first element of the summand.
    """

    gate: Gate | None = None
    met = False
    errors: Mapping[str, int] = {}

    def _reshared(self, z: DeviceBuffer, ring: int, label: str) -> Any:
        if label in self.errors:
            _add_wide(z, 0, self.errors[label])
        return super()._reshared(z, ring, label)

    def _program(self, circuit: Circuit, role: int) -> Microprogram:
        if self.gate is None or (circuit, role) != (self.gate.circuit, self.gate.role):
            return super()._program(circuit, role)
        self.met = True
        if self._wrong is None:
            self._wrong = WrongGate(self.gate).verified()
            self._verified[id(self._wrong.program)] = self._wrong
        return self._wrong.program

    _wrong: VerifiedProgram | None = None


def cheater(
    *,
    gate: Gate | None = None,
    errors: Mapping[str, int] | None = None,
    trust: Callable[[Session], Trust] = Trust,
    linear: Callable[..., LinearVerifier] = LinearVerifier,
    boolean: Callable[..., BooleanVerifier] = BooleanVerifier,
) -> MakeProtocol:
    """A corrupted party's protocol from its pieces."""

    def make(session: Session, program: Program) -> Rep3Mac:
        protocol = Cheater(session, program)
        honest = protocol._linear
        protocol.gate, protocol.errors = gate, errors or {}
        protocol._trust = trust(session)
        protocol._linear = linear(session, protocol._trust, honest._ring, honest._sigma)
        protocol._boolean = boolean(session, protocol._trust)
        return share_compiled(protocol)

    return make


# Products -------------------------------------------------------------------------------------------------------------


class WrongProducts(Device):
    """Linear layers with errors in this party's summand.

    Args:
        errors: number of the layer, in order → element → what is added.
    """

    def __init__(self, errors: Mapping[int, Mapping[int, int]]) -> None:
        super().__init__()
        self._errors, self._layers = errors, 0

    def wide_conv2d(self, *arguments: Any) -> Any:
        return self._wrong(super().wide_conv2d(*arguments))

    def wide_depthwise2d(self, *arguments: Any) -> Any:
        return self._wrong(super().wide_depthwise2d(*arguments))

    def _wrong(self, z: DeviceBuffer) -> DeviceBuffer:
        for element, error in self._errors.get(self._layers, {}).items():
            _add_wide(z.reshape(-1, 2), element, error)
        self._layers += 1
        return z


def _add_wide(z: DeviceBuffer, element: int, error: int) -> None:
    value = int(z[element, 0]) + (int(z[element, 1]) << 64) + error
    z[element] = value & (2**64 - 1), value >> 64 & (2**64 - 1)


def wide_value(words: DeviceBuffer) -> int:
    """The number in two words."""
    return int(words.reshape(-1)[0]) + (int(words.reshape(-1)[1]) << 64)


class WrongSummand(LinearVerifier):
    """Adds errors to its summands before they are reshared.

    Attributes:
        errors: label of the reshare → what is added to its first element.
    """

    errors: Mapping[str, int] = {}

    def _reshare(self, local: DeviceBuffer, label: str) -> Any:
        if label in self.errors:
            _add_wide(local.reshape(-1, 2), 0, self.errors[label])
        return super()._reshare(local, label)


class Compensating(LinearVerifier):
    """Takes the effect that an error of 1 in the first product of the first layer has on c from its summand of w."""

    def __init__(self, session: Session, trust: Trust, ring: int, sigma: int) -> None:
        super().__init__(session, trust, ring, sigma)
        self._firsts: list[int] = []

    def _coefficients(self, coin: bytes, domain: int, count: int) -> DeviceBuffer:
        result = super()._coefficients(coin, domain, count)
        self._firsts.append(wide_value(result[0]))
        return result

    def _reshare(self, local: DeviceBuffer, label: str) -> Any:
        if label == "weighted sum":
            _add_wide(local.reshape(-1, 2), 0, -self._firsts[0] * self._firsts[1])
        return super()._reshare(local, label)


class WrongField(BooleanVerifier):
    """Adds errors to its summands in the verification of gates.

    Attributes:
        errors: label of the round → element of its message that is changed.
    """

    errors: Mapping[str, int] = {}

    def _reshare(self, local: DeviceBuffer, label: str) -> Any:
        if label in self.errors:
            local[: len(local) - 1][self.errors[label]] ^= np.uint64(1)
        return super()._reshare(local, label)

    def _multiply(self, x: Any, y: Any, label: str) -> Any:
        if label not in self.errors:
            return super()._multiply(x, y, label)
        # the error goes in together with the zero share
        honest, wrong = self._device, _Added(self._device)
        self._device = wrong  # type: ignore[assignment]
        try:
            return super()._multiply(x, y, label)
        finally:
            self._device = honest


class _Added:
    """A device whose zero shares over GF(2^64) are off."""

    def __init__(self, device: Device) -> None:
        self._device = device

    def __getattr__(self, name: str) -> Any:
        return getattr(self._device, name)

    def gf_add_zero_share(self, key_a: bytes, key_b: bytes, domain: int, z: DeviceBuffer) -> DeviceBuffer:
        z[0] ^= np.uint64(1)
        return self._device.gf_add_zero_share(key_a, key_b, domain, z)
