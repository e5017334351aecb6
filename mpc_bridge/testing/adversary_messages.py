"""What can be done to one message on its way out: its value, and when and how often it arrives."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from mpc_bridge.testing.adversary import Interference, MessageType, frame

#: What becomes of a payload; the least significant bit of its first element is its lowest bit.
Change = Callable[[bytes], bytes]


def flip_bit(payload: bytes) -> bytes:
    """The lowest bit."""
    return bytes([payload[0] ^ 1]) + payload[1:]


def add_constant(payload: bytes) -> bytes:
    """An odd random constant more."""
    return _number(payload, _value(payload) + (secrets.randbits(8 * len(payload)) | 1))


def replace(payload: bytes) -> bytes:
    """Fresh random bytes."""
    return secrets.token_bytes(len(payload))


def zero(payload: bytes) -> bytes:
    """Nothing but zeros."""
    return bytes(len(payload))


def _value(payload: bytes) -> int:
    return int.from_bytes(payload, "little")


def _number(payload: bytes, value: int) -> bytes:
    return (value % (1 << (8 * len(payload)))).to_bytes(len(payload), "little")


#: Changes that leave no message as it was, and change bits that matter.
CERTAIN: dict[str, Change] = {"flip": flip_bit, "add": add_constant}
#: Changes that may leave a message as it was.
POSSIBLE: dict[str, Change] = {"replace": replace, "zero": zero}


class OneMessage(Interference):
    """Interferes with one message.

    Attributes:
        met: whether the message came by.
    """

    def __init__(self, target: MessageType) -> None:
        super().__init__()
        self.target = target
        self.met = False

    def frames(self, message: MessageType, tag: int, payload: bytes) -> list[bytes]:
        if message == self.target:
            self.met = True
            return self.attack(tag, payload)
        return self.other(message, super().frames(message, tag, payload))

    def attack(self, tag: int, payload: bytes) -> list[bytes]:
        """What goes out instead of the target."""
        return [frame(tag, payload)]

    def other(self, message: MessageType, frames: list[bytes]) -> list[bytes]:
        """What goes out instead of another message."""
        return frames


class Changed(OneMessage):
    """The payload changes."""

    def __init__(self, target: MessageType, change: Change) -> None:
        super().__init__(target)
        self._change = change

    def attack(self, tag: int, payload: bytes) -> list[bytes]:
        return [frame(tag, self._change(payload))]


class Delivered(OneMessage):
    """Comes differently; then there is nothing left to do."""

    def frames(self, message: MessageType, tag: int, payload: bytes) -> list[bytes]:
        frames = super().frames(message, tag, payload)
        self.struck = self.met
        return frames


class Dropped(Delivered):
    """It never comes."""

    def attack(self, tag: int, payload: bytes) -> list[bytes]:
        return []


class Duplicated(Delivered):
    """It comes twice."""

    def attack(self, tag: int, payload: bytes) -> list[bytes]:
        return [frame(tag, payload)] * 2


class Shortened(Delivered):
    """A frame of its own right, a byte shorter."""

    def attack(self, tag: int, payload: bytes) -> list[bytes]:
        return [frame(tag, payload[:-1])]


class Truncated(Delivered):
    """The header announces all, the last byte is missing: what follows takes its place."""

    def attack(self, tag: int, payload: bytes) -> list[bytes]:
        return [frame(tag, payload)[:-1]]


class Swapped(Delivered):
    """The next message on the same link comes first."""

    def __init__(self, target: MessageType) -> None:
        super().__init__(target)
        self._held: list[bytes] = []

    def attack(self, tag: int, payload: bytes) -> list[bytes]:
        self._held = [frame(tag, payload)]
        return []

    def other(self, message: MessageType, frames: list[bytes]) -> list[bytes]:
        if self._held and message.direction == self.target.direction:
            frames, self._held = frames + self._held, []
        return frames

    def waited(self) -> dict[int, list[bytes]]:
        held, self._held = self._held, []
        return {self.target.direction: held} if held else {}


class Silent(OneMessage):
    """Nothing comes any more, and the connection stays."""

    def attack(self, tag: int, payload: bytes) -> list[bytes]:
        return []

    def other(self, message: MessageType, frames: list[bytes]) -> list[bytes]:
        return [] if self.met else frames


#: Steps whose messages show something: nothing may be opened to a party that holds back what others wait for.
OPENINGS = ("coin", "open", "mac check")
#: Held back, these keep nobody from an opening: the receiver has what the opened value depends on.
UNGUARDED = ("barrier", *OPENINGS)


class Withheld(OneMessage):
    """It and everything after it on its link wait until nothing moves any more; then they come, in order.

    Attributes:
        openings: labels of openings that arrived meanwhile.
    """

    def __init__(self, target: MessageType, change: Change = bytes) -> None:
        super().__init__(target)
        self._change = change
        self._queue: list[bytes] = []
        self.openings: list[str] = []

    def attack(self, tag: int, payload: bytes) -> list[bytes]:
        self._queue = [frame(tag, self._change(payload))]
        return []

    def other(self, message: MessageType, frames: list[bytes]) -> list[bytes]:
        if self._queue and message.direction == self.target.direction:
            self._queue += frames
            return []
        return frames

    def waited(self) -> dict[int, list[bytes]]:
        queue, self._queue = self._queue, []
        return {self.target.direction: queue} if queue else {}

    def received(self, label: str, direction: int) -> None:
        if self._queue and label.startswith(OPENINGS):
            self.openings.append(label)


#: What may happen to a message as a whole, but for :class:`Withheld`.
DELIVERIES: dict[str, type[Delivered]] = {
    "drop": Dropped, "duplicate": Duplicated, "shorten": Shortened, "truncate": Truncated, "reorder": Swapped,
}
