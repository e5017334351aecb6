"""One party's place among the others: rounds of messages, the device it computes on, fresh PRF domains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from mpc_bridge.errors import PeerError, PeerLost, PeerTimeout, ProtocolAbort
from mpc_bridge.runtime.meter import CostMeter
from mpc_bridge.runtime.transport import (
    Channel,
    Incoming,
    Kind,
    Outgoing,
    Transfer,
    Waiter,
    encode_header,
    flatten,
    stopped,
)

if TYPE_CHECKING:
    from mpc_bridge.kernels import Device
    from mpc_bridge.runtime.transport import Buffer

#: Default seconds without a byte from a peer that is due before it counts as lost.
DEFAULT_TIMEOUT = 60.0


class Session:
    """What an engine gets: who it is, where it computes, and how it talks.

    Args:
        party: own index, 0-based.
        parties: how many compute.
        device: owns this party's buffers and kernels.
        channels: peer index → authenticated channel, one for every other party.
        control: the launcher's channel; its end interrupts every wait.
        meter: counts what is sent.
        timeout: seconds without a byte from a peer that is due.
        identity: public bytes, the same at every party of this session and of no other: what commitments bind to.
    """

    def __init__(self, party: int, parties: int, device: Device, channels: Mapping[int, Channel], *,
                 control: Channel | None = None, meter: CostMeter | None = None,
                 timeout: float = DEFAULT_TIMEOUT, identity: bytes = b"") -> None:
        self.identity = identity
        self.party = party
        self.parties = parties
        self.device = device
        self.meter = meter if meter is not None else CostMeter()
        self.timeout = timeout
        self._channels = dict(channels)
        self._waiter = Waiter(timeout, {control.fileno(): control.label} if control is not None else {})
        self._round = 0
        self._domain = 0
        #: the session with the process that helps the parties, where the backend has one; its number is ``parties``
        self.helper: Session | None = None
        #: called once a round fails, and at the end: what must not outlive the protocol is forgotten here
        self.on_end: Callable[[], None] | None = None
        #: called as the bytes of a round move and after it, for who wants to tell somebody that this party is at work
        self.on_round: Callable[[], None] | None = None

    @property
    def peers(self) -> tuple[int, ...]:
        """Who this session talks to."""
        return tuple(sorted(self._channels))

    @property
    def rounds(self) -> int:
        """Rounds so far; the same at every party that is in step."""
        return self._round

    def exchange(self, sends: Mapping[int, Sequence[Buffer]], receives: Mapping[int, Sequence[Buffer]],
                 label: str = "") -> None:
        """One round: send to and receive from any subset of the peers, all at once.

        Every party calls it in lockstep, also a party that neither sends nor receives. Each peer's buffers travel as
        one frame, without a copy; a peer whose buffers hold no byte gets no frame, and its receiver expects none.

        Args:
            sends: peer → buffers (C-contiguous). They are free again on return.
            receives: peer → writable buffers (C-contiguous) whose sizes are what that peer sends this round.
            label: what the protocol calls this step, for errors; it is not sent.

        Raises:
            ProtocolAbort: a peer said that it detected cheating.
            PeerLost, PeerTimeout: a peer ended, or sent nothing for :attr:`timeout` seconds.
            MalformedFrame: a peer is out of step or does not speak the protocol. What ``receives`` holds is not to be
                used.
        """
        tag = self._round
        self._round = tag + 1
        meter = self.meter
        transfers: list[Transfer] = []
        total = 0
        for peer, buffers in sends.items():
            views = flatten(buffers)
            if views:
                outgoing = Outgoing(self._channels[peer], Kind.ROUND, tag, views)
                meter.count_message(peer, outgoing.size)
                total += outgoing.size
                transfers.append(outgoing)
        largest = 0
        for peer, buffers in receives.items():
            views = flatten(buffers)
            if views:
                incoming = Incoming(self._channels[peer], Kind.ROUND, tag, views)
                largest = max(largest, incoming.size)
                transfers.append(incoming)
        meter.count_round(total, largest)
        try:
            self._waiter.run(transfers, self.on_round)
        except (PeerError, ProtocolAbort) as error:
            if self.on_end is not None:
                self.on_end()
            cause = self._cause(error)
            cause.where = f"party {self.party}, round {tag}{f' ({label})' if label else ''}, {cause.where}"
            raise cause from (None if cause is error else error)
        if self.on_round is not None:
            self.on_round()

    def _cause(self, error: PeerError | ProtocolAbort) -> PeerError | ProtocolAbort:
        """Why a peer is lost or silent, if it or another one said so."""
        if isinstance(error, (PeerLost, PeerTimeout)):
            for channel in self._channels.values():
                if channel.told_to_stop():
                    return stopped(channel.label)
        return error

    def domain(self, count: int = 1) -> int:
        """First of ``count`` consecutive PRF counter domains that no other call of this session returned.

        The same at every party as long as all parties ask in the same order with the same counts.
        """
        if count < 1:
            raise ValueError("count must be at least 1")
        first = self._domain
        self._domain = first + count
        return first

    def abort(self) -> None:
        """Tell every peer that cheating was detected, as far as their connections take it now."""
        for channel in self._channels.values():
            try:
                channel.write_some([memoryview(encode_header(Kind.ABORT, 0, 0))])
            except PeerError:
                continue  # it is gone already
        if self.helper is not None:
            self.helper.abort()

    def close(self) -> None:
        """Close every peer's channel; they see the end of the stream.

        Whatever ended the protocol, an owner's frame for example, what must not outlive it is forgotten.
        """
        if self.on_end is not None:
            self.on_end()
        for channel in self._channels.values():
            channel.close()
        if self.helper is not None:
            self.helper.close()
