"""The launcher's connections to all parties, driven together; and who failed first when something fails."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from mpc_bridge.errors import MalformedFrame, MpcBridgeError, PeerError, PeerLost, PeerTimeout, ProtocolAbort
from mpc_bridge.runtime.config import label_of
from mpc_bridge.runtime.messages import ERROR_LIMIT, PROGRESS_SHARE, decode_error, decode_progress
from mpc_bridge.runtime.meter import CLIENT
from mpc_bridge.runtime.transport import AnyIncoming, Channel, Frame, Kind, Outgoing, Transfer, Waiter, flatten

#: A party that fails takes the others with it; for this long the launcher listens for the one with the best reason.
_GRACE_SECONDS = 1.0
#: The parties notice a silent peer themselves and know more about it, so they get to speak first: a timeout after they
#: have last heard something, which they may not have said yet.
_MARGIN_SECONDS = 5.0

#: Told about a party's progress: party, frame tag (sample and steps done), bytes it has sent so far.
OnProgress = Callable[[int, int, int], None]


class PartyLinks:
    """One authenticated channel per party.

    Args:
        channels: by party, a helper's last; their labels are what errors call their ends.
        parties: how many compute.
        limit: greatest payload that any party has reason to send.
        timeout: of the parties; the launcher waits a little longer.
        progress_limit: how many progress frames a party has reason to send once another party has answered what is
            gathered, and a helper has none. Each frame buys its sender, and nobody else, another ``timeout``. Before
            that they are free: slow links may take any time, and a party that keeps to the protocol does not wait for
            ever for one that does not. So this bounds how long the others can keep the launcher waiting after it.
        on_progress: called for every progress frame.
        obituary: one line on why a party's process ended, for a party that ended without a word.
    """

    def __init__(self, channels: Sequence[Channel], parties: int, limit: int, timeout: float, progress_limit: int,
                 on_progress: OnProgress, obituary: Callable[[int], str]) -> None:
        self._channels = tuple(channels)
        self._parties = parties
        self._limit = max(limit, ERROR_LIMIT)
        self._waiter = Waiter((1 + PROGRESS_SHARE) * timeout + _MARGIN_SECONDS)
        self._progress_left = [progress_limit if party < parties else 0 for party in range(len(self._channels))]
        self._on_progress = on_progress
        self._obituary = obituary
        self._readers = [AnyIncoming(channel, self._limit) for channel in self._channels]
        #: a party's next frame, when it came before it was asked for
        self._inbox: dict[int, Frame] = {}
        #: whether a party has answered what is gathered now
        self._answered = False

    def send(self, kind: Kind, tag: int, messages: Sequence[bytes]) -> None:
        """Send one frame to every party (where there are messages for it, to the helper), all at once.

        Raises the error of a party that failed meanwhile.
        """
        sends: list[Transfer] = [Outgoing(channel, kind, tag, flatten([message]))
                                 for channel, message in zip(self._channels, messages, strict=False)]
        while sends:
            sends = self._move(sends, frozenset())

    @property
    def members(self) -> int:
        """The parties, and the helper."""
        return len(self._channels)

    def gather(self, kind: Kind, tag: int, everybody: bool = False) -> list[bytearray]:
        """Wait for one frame of this kind and tag from every party; from ``everybody``: the helper's too, last.

        A helper says nothing while it works, so its time begins when all parties have answered.

        Raises:
            MpcBridgeError: of a party that failed meanwhile; the root cause where several did.
        """
        found: dict[int, bytearray] = {}
        members = frozenset(range(len(self._channels) if everybody else self._parties))
        parties = frozenset(range(self._parties))
        while True:
            for party in sorted((self._inbox.keys() & members) - found.keys()):
                frame = self._inbox.pop(party)
                if (frame.kind, frame.tag) != (kind, tag):
                    raise MalformedFrame(
                        f"{self._channels[party].label} sent kind {frame.kind}, tag {frame.tag} out of turn",
                        where=f"waiting for kind {int(kind)}, tag {tag}")
                found[party] = frame.payload
            if found.keys() == members:
                self._answered = False
                return [found[party] for party in sorted(members)]
            self._answered = not parties.isdisjoint(found)
            self._move([], (parties - found.keys()) or (members - found.keys()))

    def _move(self, sends: list[Transfer], due: frozenset[int]) -> list[Transfer]:
        """Wait until something can move, and move it. Parties that are not ``due`` may be silent for ever.

        A party with a frame in the inbox is not read, so it cannot fill the launcher's memory.
        """
        reading = {party: reader for party, reader in enumerate(self._readers) if party not in self._inbox}
        for party, reader in reading.items():
            if party not in due:
                reader.deadline = math.inf
            elif reader.deadline == math.inf:
                reader.deadline = 0.0
        try:
            left = self._waiter.advance([*sends, *reading.values()])
        except PeerTimeout:
            raise
        except PeerError as error:
            raise self._root_cause(error) from None
        unsent = [transfer for transfer in left if isinstance(transfer, Outgoing)]
        for party in [party for party, reader in reading.items() if reader.frame is not None]:
            self._take(party, unsent)
        return [*unsent]

    def _take(self, party: int, unsent: Sequence[Outgoing]) -> None:
        """A complete frame off its reader: progress and errors end here, others go to the inbox."""
        frame = self._readers[party].frame
        assert frame is not None
        label = self._channels[party].label
        self._readers[party] = AnyIncoming(self._channels[party], self._limit)
        if frame.kind == Kind.PROGRESS:
            if party >= self._parties or self._answered:
                self._progress_left[party] -= 1
            if self._progress_left[party] < 0:
                raise MalformedFrame(f"{label} reports more progress than there is to make", where=label)
            for transfer in unsent:
                if transfer.channel is self._channels[party]:
                    # it is at work, and takes this later
                    transfer.start_over()
            self._on_progress(party, frame.tag, decode_progress(frame.payload))
        elif frame.kind == Kind.ERROR:
            raise self._root_cause(decode_error(frame.payload, label), party)
        else:
            self._inbox[party] = frame

    def _root_cause(self, first: MpcBridgeError, speaker: int | None = None) -> MpcBridgeError:
        """The error with the best claim to be the cause: ``first``, or what other parties than ``speaker`` say."""
        verdicts = [(_rank(first), first)]
        deadline = time.monotonic() + _GRACE_SECONDS
        open_parties = set(range(len(self._channels))) - {speaker}
        while open_parties and time.monotonic() < deadline:
            for party in sorted(open_parties):
                reader = self._readers[party]
                try:
                    if not reader.advance():
                        continue
                    frame = reader.frame
                    assert frame is not None
                    self._readers[party] = AnyIncoming(self._channels[party], self._limit)
                    if frame.kind == Kind.ERROR:
                        error = decode_error(frame.payload, self._channels[party].label)
                        verdicts.append((_rank(error), error))
                        open_parties.discard(party)
                except PeerLost:
                    open_parties.discard(party)
                    died = PeerLost(self._obituary(party), where=self._channels[party].label,
                                    hint="see the system's log (out of memory?), then run again")
                    verdicts.append((_DIED, died))
                except PeerError as error:
                    open_parties.discard(party)
                    verdicts.append((_rank(error), error))
            time.sleep(0.005)
        # Of two parties that wait, one may wait for the other: the one to blame is the one that says nothing. And a
        # party that waits for the launcher waits for whomever the launcher waits for.
        silent = {f"{self._channels[party].label} " for party in open_parties}
        return min(verdicts, key=lambda verdict: (
            verdict[0], not any(label in verdict[1].what for label in silent), _LAUNCHER in verdict[1].what))[1]


_LAUNCHER = label_of(CLIENT)
#: Rank of a party that ended without a word: more of a cause than what others say about its end.
_DIED = 2


def _rank(error: MpcBridgeError) -> int:
    """Smaller is nearer to the cause: a lost peer is nearly always the consequence of something else."""
    if isinstance(error, ProtocolAbort):
        return 0
    if not isinstance(error, PeerError):
        return 1
    if isinstance(error, PeerLost):
        return 5
    return 4 if isinstance(error, PeerTimeout) else 3
