"""Cheating in what a party computes, so that its messages, hashes and later steps fit together.

Each cheat is a piece of a corrupted party: a device that computes wrongly, a compiler that complements a gate's outgoing plane, a
verifier that adds an error to its summand, a :class:`Trust` that opens other coins. :func:`cheater` puts them together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Any

import numpy as np

from mpc_bridge.backends.replicated.malicious.boolean import _FIRST, _WEIGHTS, BooleanVerifier
from mpc_bridge.backends.replicated.malicious.compile import VerifiedProgram, VerifyingCompiler
from mpc_bridge.backends.replicated.malicious.linear import LinearVerifier
from mpc_bridge.backends.replicated.malicious.protocol import Rep3Mac
from mpc_bridge.backends.replicated.malicious.trust import DIGEST_BYTES, Trust
from mpc_bridge.backends.sharing.circuit import Circuit
from mpc_bridge.backends.sharing.microcode import Assembler, Microprogram, Op
from mpc_bridge.backends.sharing.shares import DeviceBuffer
from mpc_bridge.kernels import Device
from mpc_bridge.kernels.gf import PARTS, Weights
from mpc_bridge.kernels.prf import KEY_BYTES
from mpc_bridge.lowering.program import Program
from mpc_bridge.runtime.session import Session
from mpc_bridge.testing.adversary import CorruptSession, MakeProtocol, share_compiled

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
    def interactive(self) -> list[int]:
        """All gates with messages."""
        return self._interactive

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
    """

    gate: Gate | None = None
    met = False

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
    trust: Callable[[Session], Trust] = Trust,
    linear: Callable[..., LinearVerifier] = LinearVerifier,
    boolean: Callable[..., BooleanVerifier] = BooleanVerifier,
) -> MakeProtocol:
    """A corrupted party's protocol from its pieces."""

    def make(session: Session, program: Program) -> Rep3Mac:
        protocol = Cheater(session, program)
        honest = protocol._linear
        protocol.gate = gate
        protocol._trust = trust(session)
        protocol._linear = linear(session, protocol._trust, honest._ring, honest._sigma)
        protocol._boolean = boolean(session, protocol._trust)
        return share_compiled(protocol)

    return make


# Products ---------------------------------------------------------------------------------------------------------------


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

    def _coefficients(self, coin: bytes, domain: int, count: int) -> DeviceBuffer:
        result = super()._coefficients(coin, domain, count)
        self._firsts = [*getattr(self, "_firsts", []), wide_value(result[0])]
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
        # a zero share that is one in the party's own component
        with_error = _Added(self._device, np.uint64(1))
        honest, self._device = self._device, with_error
        try:
            return super()._multiply(x, y, label)
        finally:
            self._device = honest


class _Added:
    """A device whose zero shares over GF(2^64) are off."""

    def __init__(self, device: Device, error: np.uint64) -> None:
        self._device, self._error = device, error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._device, name)

    def gf_add_zero_share(self, key_a: bytes, key_b: bytes, domain: int, z: DeviceBuffer) -> DeviceBuffer:
        z[0] ^= self._error
        return self._device.gf_add_zero_share(key_a, key_b, domain, z)


# Coins and openings -----------------------------------------------------------------------------------------------------


class ForcedCoin(Trust):
    """Waits for the others' seeds and opens what makes the coin come out as it wants."""

    wanted = bytes(range(KEY_BYTES))

    def coin(self) -> bytes:
        self.barrier()
        index = self._used
        self._used += 1
        opened = {peer: bytearray(len(self._openings[index])) for peer in (self.previous, self.next)}
        assert isinstance(self._session, CorruptSession)

        def own() -> bytes:
            others = [opened[peer][:KEY_BYTES] for peer in opened]
            seed = bytes(a ^ b ^ c for a, b, c in zip(self.wanted, *others, strict=True))
            return seed + self._openings[index][KEY_BYTES:]

        self._session.rush({peer: [buffer] for peer, buffer in opened.items()}, lambda: {p: [own()] for p in opened}, "coin")
        return self.wanted


class TwoFaced(Trust):
    """Commits to one coin towards the next party and to another one towards the previous, and opens accordingly."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        assert isinstance(session, CorruptSession)
        session.rewrite = self._face

    def _face(self, label: str, peer: int, payload: bytes) -> bytes:
        if peer == self.previous and label == "coin":
            return _other(payload)
        if peer == self.previous and label == "commitments":
            others = [_other(opening) for opening in self._openings]
            return b"".join(self._commitment(self.party, self._first + i, opening) for i, opening in enumerate(others))
        return payload


def _other(opening: bytes) -> bytes:
    return bytes(byte ^ 0xA5 for byte in opening)


class _Noting(Trust):
    """Knows its last coin, and shows the next party an ``o`` that is off.

    Attributes:
        off: added to the component that it opens; the party goes on with the same o.
    """

    last = b""
    off: Callable[[], DeviceBuffer] | None = None

    def coin(self) -> bytes:
        self.last = super().coin()
        return self.last

    def open(self, own: bytes, following: bytes, label: str) -> bytes:
        if label != "open o" or self.off is None:
            return super().open(own, following, label)
        error = self.off().tobytes()
        self.barrier()
        value, digest = bytearray(len(own)), bytearray(DIGEST_BYTES)
        self._session.exchange(
            {self.next: [_xor(own, error)], self.previous: [sha256(following).digest()]},
            {self.previous: [value], self.next: [digest]},
            label=label,
        )
        return _xor(bytes(value), error)


def _xor(a: bytes, b: bytes) -> bytes:
    return bytes(x ^ y for x, y in zip(a, b, strict=True))


class ForgedOpening(BooleanVerifier):
    """Opens an o to the next party that makes up for a gate's error: ``rho v`` is zero again.

    For party 2, a program that only shows its input, and an error in all lanes of the first gate of the refresh circuit, whose
    right factors are the public one: their components 1 and 2 are zero, so nobody but party 0 computes with the wrong o. The
    error's weight in the claim is public once the coins are; ``o -> o + d`` moves v by ``d B_0``, and component 0 of B is known
    to party 2.
    """

    def _complete(self, crossed: Any, claim: Any, weights: DeviceBuffer) -> None:
        if len(weights) == PARTS:
            (record,) = self._records
            wrong = np.zeros_like(record.planes)
            wrong[record.verified.totals[0, 0]] = 0xFF
            totals = self._device.zeros(2, np.uint64)
            weight = Weights(self._noting.last, _WEIGHTS, 0, record.verified.claims)
            self._device.gf_z_sum(wrong, record.lanes, record.verified.totals, weight, weights, totals)
            self._error = totals[0:1]
        super()._complete(crossed, claim, weights)

    def _combine(self, crossed: Any, u: DeviceBuffer, v: DeviceBuffer) -> Any:
        # the error sits in the last entry of the diagonal
        self._error = self._device.gf_mul(self._error, self._device.gf_mul(u[-1:].copy(), v[-1:].copy()))
        return super()._combine(crossed, u, v)

    def _last_product(self, claim: Any, a: Any, b: Any) -> None:
        def off() -> DeviceBuffer:
            tau = self._expand(self._noting.last, _FIRST, 1)
            return self._device.gf_mul(self._device.gf_mul(self._error, tau), self._inverse(b[1]))

        self._noting.off = off
        super()._last_product(claim, a, b)

    @property
    def _noting(self) -> _Noting:
        assert isinstance(self._trust, _Noting)
        return self._trust

    def _inverse(self, x: DeviceBuffer) -> DeviceBuffer:
        """``x ** (2**64 - 2)``."""
        device, result, power = self._device, np.ones(1, np.uint64), x.copy()
        for _ in range(63):
            power = device.gf_mul(power, power)
            result = device.gf_mul(result, power)
        return result


#: What :class:`ForgedOpening` opens with.
NotingTrust = _Noting

# Anything -----------------------------------------------------------------------------------------------------------------

#: Everything a device computes: its public methods but the two that only reserve memory.
COMPUTES = frozenset(
    name for name in dir(Device) if not name.startswith("_") and callable(getattr(Device, name)) and name not in ("empty", "zeros")
)


@dataclass(frozen=True)
class Fault:
    """One call of a device, and whether its result is wrong (or, ``after`` it, one of the registers of a run of planes)."""

    method: str
    call: int


class FaultyDevice(Device):
    """Flips one bit of the result of one call.

    Attributes:
        calls: of each method so far.
    """

    def __init__(self, fault: Fault | None = None) -> None:
        super().__init__()
        self._fault = fault
        self.calls: Counter[str] = Counter()

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        return partial(self._compute, name, value) if name in COMPUTES else value

    def _compute(self, name: str, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        result = method(*arguments, **options)
        number = self.calls[name]
        self.calls[name] = number + 1
        if self._fault == Fault(name, number):
            _spoil(result if name != "planes_run" else _registers(arguments, number))
        return result


def _registers(arguments: Sequence[Any], number: int) -> DeviceBuffer:
    """A register or a message, whichever is this call's turn."""
    planes, outgoing = arguments[0], arguments[6]
    row: DeviceBuffer = outgoing if number % 2 and len(outgoing) else planes[number * 7 % len(planes)]
    return row


def _spoil(result: Any) -> None:
    for array in result if isinstance(result, tuple) else (result,):
        if isinstance(array, np.ndarray) and array.size:
            array.flat[0] ^= array.dtype.type(1)
            return
