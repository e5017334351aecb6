"""Base oblivious transfers: endemic OT of Masny and Rindal (CCS 2019) from Diffie-Hellman, one round.

For each transfer the chooser, who wants key c, sends two group elements: ``r_{1-c}`` at random and
``r_c = tG - H_c(r_{1-c})``. The offerer sends one ``B = bG`` for all of them and has the keys of
``b(r_j + H_j(r_{1-j}))``, j = 0, 1; the chooser has the one of ``tB``. Both elements are uniform, whatever c is; the
other key needs the discrete logarithm of a sum that contains a fresh output of the random oracle.

The group is the subgroup of prime order of edwards25519, by libsodium through PyNaCl: that has no ristretto255, and the
full check of every element that arrives (canonical, on the curve, of prime order: ``is_valid_point``) does the same
service. H hashes to the group as RFC 9380 does: the sum of two Elligator points, cofactor cleared. Keys are hashed with
the session's identity, both messages and the transfer's number.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

from nacl import bindings as sodium

from mpc_bridge.errors import MalformedFrame, UnsupportedCombinationError
from mpc_bridge.kernels.prf import KEY_BYTES
from mpc_bridge.runtime.session import Session

#: Bytes of a group element.
POINT_BYTES = 32
_HINT = "run the same version of mpc-bridge at both parties"


@dataclass(frozen=True)
class Offered:
    """The offerer's outcome: per transfer both keys; ``transcript`` is a hash of all messages."""

    keys: tuple[tuple[bytes, bytes], ...]
    transcript: bytes


@dataclass(frozen=True)
class Chosen:
    """The chooser's outcome: per transfer the key it chose."""

    keys: tuple[bytes, ...]
    transcript: bytes


def offer(session: Session, peer: int, count: int) -> Offered:
    """The side with both keys. One round.

    Raises:
        MalformedFrame: the chooser sent something that is no element of the group.
        UnsupportedCombinationError: this libsodium lacks the group.
    """
    _need_group()
    secret = _scalar()
    point = sodium.crypto_scalarmult_ed25519_base_noclamp(secret)
    received = bytearray(2 * POINT_BYTES * count)
    session.exchange({peer: [point]}, {peer: [received]}, label="base transfers")
    context = _context(session, peer, point, received)
    keys = []
    for number in range(count):
        pair = [bytes(received[at : at + POINT_BYTES]) for at in _places(number)]
        for element in pair:
            check_element(element, session.party)
        found = []
        for j in (0, 1):
            total = sodium.crypto_core_ed25519_add(pair[j], hash_to_group(context.sid, number, j, pair[1 - j]))
            found.append(context.key(number, _multiply(secret, total, session.party)))
        keys.append((found[0], found[1]))
    return Offered(tuple(keys), context.transcript)


def choose(session: Session, peer: int, choices: Sequence[int]) -> Chosen:
    """The side that gets one key of each two. One round.

    Args:
        choices: 0 or 1 per transfer.

    Raises:
        MalformedFrame: the offerer sent something that is no element of the group.
        UnsupportedCombinationError: this libsodium lacks the group.
    """
    _need_group()
    sid = _sid(session, peer, offers=False)
    secrets = []
    sent = bytearray()
    for number, choice in enumerate(choices):
        secret = _scalar()
        secrets.append(secret)
        other = sodium.crypto_scalarmult_ed25519_base_noclamp(_scalar())
        masked = sodium.crypto_core_ed25519_sub(
            sodium.crypto_scalarmult_ed25519_base_noclamp(secret), hash_to_group(sid, number, choice, other))
        sent += other + masked if choice else masked + other
    received = bytearray(POINT_BYTES)
    session.exchange({peer: [sent]}, {peer: [received]}, label="base transfers")
    point = bytes(received)
    check_element(point, session.party)
    context = _Context(sid, hashlib.sha256(sid + point + bytes(sent)).digest())
    keys = [context.key(number, _multiply(secret, point, session.party)) for number, secret in enumerate(secrets)]
    return Chosen(tuple(keys), context.transcript)


def hash_to_group(sid: bytes, number: int, which: int, element: bytes) -> bytes:
    """``H_which(element)`` of one transfer: a random oracle into the group."""
    digest = hashlib.sha512(b"mpc-bridge base ot" + sid + number.to_bytes(4, "big") + bytes([which]) + element).digest()
    halves = (sodium.crypto_core_ed25519_from_uniform(half) for half in (digest[:32], digest[32:]))
    return sodium.crypto_core_ed25519_add(*halves)


def check_element(element: bytes, party: int) -> None:
    """Raises MalformedFrame unless ``element`` encodes a point of prime order."""
    if not sodium.crypto_core_ed25519_is_valid_point(element):
        raise MalformedFrame("a base transfer holds no element of the group", where=f"party {party}", hint=_HINT)


@dataclass(frozen=True)
class _Context:
    sid: bytes
    transcript: bytes

    def key(self, number: int, element: bytes) -> bytes:
        return hashlib.sha256(
            b"mpc-bridge base key" + self.transcript + number.to_bytes(4, "big") + element).digest()[:KEY_BYTES]


def _context(session: Session, peer: int, point: bytes, received: bytearray) -> _Context:
    sid = _sid(session, peer, offers=True)
    return _Context(sid, hashlib.sha256(sid + point + bytes(received)).digest())


def _sid(session: Session, peer: int, offers: bool) -> bytes:
    """The session, and who offers: both directions of one session differ."""
    return session.identity + bytes([session.party if offers else peer])


def _places(number: int) -> tuple[int, int]:
    first = 2 * POINT_BYTES * number
    return first, first + POINT_BYTES


def _need_group() -> None:
    if not sodium.has_crypto_core_ed25519:
        raise UnsupportedCombinationError("this PyNaCl was built with a libsodium without edwards25519",
                                          where="--preprocessing ot",
                                          hint="install PyNaCl's own wheel: pip install pynacl")


def _scalar() -> bytes:
    """Uniform modulo the group's order, from the operating system's generator."""
    return sodium.crypto_core_ed25519_scalar_reduce(os.urandom(64))


def _multiply(scalar: bytes, element: bytes, party: int) -> bytes:
    try:
        return sodium.crypto_scalarmult_ed25519_noclamp(scalar, element)
    except RuntimeError as error:  # the neutral element
        raise MalformedFrame("a base transfer yields the neutral element", where=f"party {party}",
                             hint=_HINT) from error
