"""The party process: ``python -m mpc_bridge.runtime.party``, configured by one JSON object on standard input.

It connects to the other parties and accepts the launcher, lowers the public circuit itself, agrees with everybody on
the Program's digest, takes in shares and gives out shares. It never sees an input or an output in the clear, and no
weight either, unless its backend makes it the model's owner.
Its end, for whatever reason, closes its connections, which ends the others.
"""

from __future__ import annotations

import ctypes
import math
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mpc_bridge import __version__
from mpc_bridge.backends.base import HelpedBackend, MaskingEngine, PreparedBackend, PreparedEngine
from mpc_bridge.circuit.serialize import from_json
from mpc_bridge.errors import (
    CircuitError,
    MalformedFrame,
    ModelFormatError,
    MpcBridgeError,
    PeerError,
    PeerLost,
    UnsupportedCombinationError,
)
from mpc_bridge.kernels import cpu_device
from mpc_bridge.lowering import lower
from mpc_bridge.lowering.program import Input, Output, Program
from mpc_bridge.runtime import handshake
from mpc_bridge.runtime.config import PartyConfig, label_of, load_backend
from mpc_bridge.runtime.executor import Prepared, run_online, run_setup
from mpc_bridge.runtime.limits import check_shares
from mpc_bridge.runtime.messages import (
    CIRCUIT_LIMIT,
    PROGRESS_SHARE,
    Job,
    PartyReport,
    digest,
    encode_error,
    encode_progress,
    tag_of,
)
from mpc_bridge.runtime.meter import CLIENT, CostMeter
from mpc_bridge.runtime.session import Session
from mpc_bridge.runtime.transport import Channel, Frame, Incoming, Kind, Transfer, Waiter, receive_frame, send_frame

if TYPE_CHECKING:
    from mpc_bridge.backends.base import Backend, Engine

_PROGRESS_SECONDS = 0.1
_PR_SET_PDEATHSIG = 1
_DEVICES = {"cpu": cpu_device}


def join(config: PartyConfig, meter: CostMeter) -> dict[int, Channel]:
    """Connect to lower members, accept higher ones and the launcher. Raises PeerError."""
    credentials = config.credentials()
    channels: dict[int, Channel] = {}
    with socket.socket(fileno=config.listener) as listener:
        for peer in range(config.party):
            channels[peer] = handshake.connect(config.addresses[peer], credentials, peer, config.label(peer),
                                               Waiter(config.timeout))
        higher = {CLIENT, *range(config.party + 1, len(config.addresses))}
        channels.update(handshake.accept(listener, credentials, higher, config.label, config.timeout))
    for peer, channel in channels.items():
        meter.count_message(peer, channel.sent)
    return channels


class Member:
    """What a party and a helper have in common: the launcher's channel, the job, agreement on the program.

    Args:
        control: the launcher's channel.
    """

    def __init__(self, session: Session, control: Channel, backend: Backend, timeout: float) -> None:
        self._session = session
        self._meter = session.meter
        self._control = control
        self._backend = backend
        self._waiter = Waiter(timeout)

    def _job(self) -> tuple[Job, Program]:
        """The job and its program. What the launcher sends is not a file: a bad circuit is a bad frame."""
        job = Job.decode(self._receive({Kind.CIRCUIT}, CIRCUIT_LIMIT).payload)
        try:
            return job, lower(from_json(job.circuit), reveal=job.reveal)
        except (ModelFormatError, CircuitError) as error:
            raise MalformedFrame("the launcher sent a circuit that is not valid", where=error.what,
                                 hint="run the same version of mpc-bridge at every party") from error

    def _agree(self, program: Program, job: Job) -> None:
        """Everybody has the same program: the launcher, the parties, the helper."""
        own = digest(program, f"{__version__}/{self._backend.name}")
        others: dict[int, bytes | bytearray] = {CLIENT: bytes.fromhex(job.digest)}
        for session in filter(None, (self._session, self._session.helper)):
            theirs = {peer: bytearray(len(own)) for peer in session.peers}
            session.exchange({peer: [own] for peer in theirs}, {peer: [buffer] for peer, buffer in theirs.items()})
            others.update(theirs)
        for peer, other in others.items():
            if other != own:
                name = label_of(peer) if peer < self._session.parties else "the helper"
                raise PeerError(f"{name} runs another program", where=label_of(self._session.party),
                                hint="run the same version of mpc-bridge with the same options at every party")

    def _finish(self, soundness_bits: float | None) -> None:
        """Report what everything cost, and stay until the launcher hangs up: who ends earlier is one that failed."""
        report = PartyReport.of(self._meter, peak_memory_bytes(), soundness_bits)
        send_frame(self._control, Kind.REPORT, 0, [report.encode()], self._waiter)
        try:
            self._receive(set(), 0)
        except PeerLost:
            pass

    def _receive(self, kinds: set[Kind], limit: int) -> Frame:
        frame = receive_frame(self._control, limit, self._waiter)
        if frame.kind not in kinds:
            raise MalformedFrame(f"the launcher sent a frame of kind {frame.kind} out of turn", where="control")
        return frame

    def _send(self, kind: Kind, tag: int, message: bytes) -> None:
        self._meter.count_message(CLIENT, send_frame(self._control, kind, tag, [message], self._waiter))


class HelperMember(Member):
    """A backend's helper: a job, then its part of any number of samples. It gets no share."""

    def serve(self) -> None:
        """Everything from the job to the cost report. Raises MpcBridgeError."""
        backend = self._backend
        assert isinstance(backend, HelpedBackend)
        with self._meter.phase("setup"):
            job, program = self._job()
            self._agree(program, job)
            helper = backend.helper(self._session, program)
            helper.setup()
            self._send(Kind.READY, 0, b"")
        while self._receive({Kind.SAMPLE, Kind.FINISH}, 0).kind != Kind.FINISH:
            with self._meter.phase("preprocessing"):
                helper.sample()
        self._finish(None)


class Party(Member):
    """One session: a job, its weights, any number of samples."""

    def __init__(self, session: Session, control: Channel, backend: Backend, timeout: float) -> None:
        super().__init__(session, control, backend, timeout)
        self._owner = backend.owner(session.parties)
        self._said = time.monotonic()
        self._timeout = self._interval = timeout

    def serve(self) -> None:
        """Everything from the job to the cost report. Raises MpcBridgeError."""
        with self._meter.phase("setup"):
            job, program = self._job()
            check_shares(program, self._owner, self._session.party)
            self._agree(program, job)
            engine = self._backend.engine(self._session, program)
            self._interval = _PROGRESS_SECONDS if job.progress else PROGRESS_SHARE * self._timeout
            for session in filter(None, (self._session, self._session.helper)):
                session.on_round = self._stay_alive
            prepared = run_setup(engine, program, self._read(engine, program, Kind.WEIGHT, 0), self._meter)
            self._send(Kind.READY, 0, b"")
        while True:
            frame = self._receive({Kind.SAMPLE, Kind.FINISH}, 0)
            if frame.kind == Kind.FINISH:
                break
            if isinstance(self._backend, PreparedBackend):
                with self._meter.phase("preprocessing"):
                    if isinstance(engine, PreparedEngine):
                        engine.preprocess()
                    self._send(Kind.READY, frame.tag, b"")
            with self._meter.phase("online"):
                self._sample(engine, program, prepared, frame.tag)
        self._finish(getattr(engine, "soundness_bits", None))

    def _sample(self, engine: Engine, program: Program, prepared: Prepared, sample: int) -> None:
        def write(index: int, step: Output, message: bytes) -> None:
            self._send(Kind.OUTPUT, tag_of(sample, index), message)

        def report(done: int, total: int, layer: str) -> None:
            self._report(tag_of(sample, done))

        read = self._read(engine, program, Kind.INPUT, sample)
        run_online(engine, program, prepared, read, write, self._meter, report)

    def _report(self, tag: int) -> None:
        """Tell the launcher now and then: that this party works, how far it is, and what it has sent."""
        now = time.monotonic()
        if now - self._said >= self._interval:
            self._said = now
            sent = self._meter.total().bytes_sent
            send_frame(self._control, Kind.PROGRESS, tag, [encode_progress(sent)], self._waiter)

    def _stay_alive(self) -> None:
        """During long rounds and preparations, no more often than the launcher's patience needs."""
        if time.monotonic() - self._said >= PROGRESS_SHARE * self._timeout:
            self._report(tag_of(0, 0))

    def _read(self, engine: Engine, program: Program, kind: Kind, sample: int) -> Any:
        def read(index: int, step: Input) -> bytes:
            if isinstance(engine, MaskingEngine):
                self._send(Kind.MASK, tag_of(sample, index), engine.mask(step))
            size = self._owner.share_size(program.values[step.output], self._session.party)
            buffer = bytearray(size)
            views = [memoryview(buffer)] if size else []
            incoming: list[Transfer] = [Incoming(self._control, kind, tag_of(sample, index), views)]
            if kind == Kind.INPUT and isinstance(self._backend, PreparedBackend):
                # The launcher sends no input before every party is ready: what this one waits for is preprocessing.
                with self._meter.phase("preprocessing"):
                    incoming = self._waiter.advance(incoming)
            self._waiter.run(incoming)
            if kind == Kind.WEIGHT:
                self._report(tag_of(0, 0))
            return bytes(buffer)

        return read


def peak_memory_bytes() -> int:
    """Greatest resident memory of this process so far, as the operating system counted it."""
    try:
        # getrusage would count the launcher's memory too: the kernel keeps its maximum across fork and exec.
        with open("/proc/self/status", encoding="ascii") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def die_with_parent(parent: int) -> None:
    """Ask Linux to kill this process when its parent dies; elsewhere the closed connection has to do."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        raise PeerError("the launcher ended before this party started", where="start")


def run(config: PartyConfig) -> int:
    """The whole life of a party; returns its exit code."""
    die_with_parent(config.parent)
    # Standard output is the launcher's sign of life, and nothing else.
    sys.stdout = sys.stderr
    meter = CostMeter()
    control: Channel | None = None
    session: Session | None = None
    try:
        with meter.phase("setup"):
            backend = load_backend(config.backend)
            if config.device not in backend.devices or config.device not in _DEVICES:
                raise UnsupportedCombinationError(f"backend {backend.name} does not run on {config.device}",
                                                  where="--device", hint=f"use one of: {', '.join(backend.devices)}")
            channels = join(config, meter)
            control = channels.pop(CLIENT)
            helper = {peer: channels.pop(peer) for peer in list(channels) if peer >= config.parties}
            # A helper is idle while the parties work, however long that is; the launcher's end ends it.
            serves = config.party >= config.parties
            patience = math.inf if serves else config.timeout
            session = _session(config, channels, control, meter, patience)
            if helper:
                session.helper = _session(config, helper, control, meter, patience)
        role = HelperMember if serves else Party
        role(session, control, backend, patience).serve()
        return 0
    except MpcBridgeError as error:
        _report(control, error, config.timeout)
        return error.exit_code
    except Exception as error:
        # A bug. The launcher gets its kind alone: the text of a foreign exception may hold data.
        traceback.print_exc()
        _report(control, MpcBridgeError(f"internal error: {type(error).__name__}", where=label_of(config.party),
                                        hint="run with --debug and report it"), config.timeout)
        return MpcBridgeError.exit_code
    finally:
        # Only after the report: the peers' loss of this party must not reach the launcher first.
        if session is not None:
            session.close()


def _session(config: PartyConfig, channels: Mapping[int, Channel], control: Channel, meter: CostMeter,
             timeout: float) -> Session:
    return Session(config.party, config.parties, _DEVICES[config.device](), channels, control=control, meter=meter,
                   timeout=timeout, identity=bytes.fromhex(config.identity))


def _report(control: Channel | None, error: MpcBridgeError, timeout: float) -> None:
    print(f"{type(error).__name__}: {error}", file=sys.stderr)
    if control is not None:
        try:
            send_frame(control, Kind.ERROR, 0, [encode_error(error)], Waiter(min(timeout, 1.0)))
        except PeerError:
            print("the launcher is gone", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(run(PartyConfig.decode(sys.stdin.buffer.read())))
