"""An outside tool that flips one bit of what passes between parties and launcher.

It knows no key and no protocol: what a faulty or hostile network can do with the least effort. Give it to
:func:`mpc_bridge.runtime.launcher.evaluate_local` as ``tap``.
"""

from __future__ import annotations

from dataclasses import dataclass

from mpc_bridge.testing.tap import Relay


@dataclass(frozen=True)
class Flip:
    """One bit of one direction of one connection.

    Attributes:
        sender, receiver: parties; -1 is the launcher.
        byte: position in everything that is sent in this direction, from the first byte of the handshake on.
        bit: 0 (lowest) to 7.
    """

    sender: int
    receiver: int
    byte: int
    bit: int


class FlippingRelay(Relay):
    """A relay that changes one bit on its way; :attr:`streams` keeps what was sent, before the change.

    Attributes:
        flipped: whether the bit has passed.
    """

    def __init__(self, flip: Flip) -> None:
        super().__init__()
        self.flip = flip
        self.flipped = False

    def pass_on(self, sender: int, receiver: int, data: bytes) -> bytes:
        """What the receiver gets."""
        flip, first = self.flip, len(self.streams[sender, receiver])
        super().pass_on(sender, receiver, data)
        if (sender, receiver) != (flip.sender, flip.receiver) or not first <= flip.byte < first + len(data):
            return data
        changed = bytearray(data)
        changed[flip.byte - first] ^= 1 << flip.bit
        self.flipped = True
        return bytes(changed)
