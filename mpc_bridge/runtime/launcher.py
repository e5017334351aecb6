"""A local run from start to end: the launcher is model owner, data owner and receiver; the parties are processes.

It shares weights and inputs to the party processes and puts their output shares together. No party process ever holds a
weight, an input or an output in the clear.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from mpc_bridge import __version__
from mpc_bridge.backends.base import Backend, HelpedBackend, MaskedOwner, Owner, PreparedBackend
from mpc_bridge.circuit.graph import Circuit
from mpc_bridge.circuit.serialize import to_json
from mpc_bridge.errors import InputError, MpcBridgeError
from mpc_bridge.lowering import canonicalise, lower, model_outputs, stored_inputs
from mpc_bridge.lowering.program import Input, Output, Program
from mpc_bridge.runtime.links import PartyLinks
from mpc_bridge.runtime.messages import REPORT_LIMIT, Job, PartyReport, digest, tag_of
from mpc_bridge.runtime.meter import PHASES, Cost, CostMeter
from mpc_bridge.runtime.processes import Network, PartyProcesses, Tap, Transport
from mpc_bridge.runtime.session import DEFAULT_TIMEOUT
from mpc_bridge.runtime.transport import HEADER_BYTES, Kind

Array = npt.NDArray[np.generic]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ProgressEvent:
    """Where a run is.

    Attributes:
        phase: ``"start"`` (processes), ``"setup"`` (weights) or ``"online"``.
        sample, samples: current sample, 0-based, and how many there are.
        step, steps: steps of the phase that are done, and how many there are.
        layer: name of the layer the step belongs to.
        bytes_sent: by all parties so far, as they last reported it.
    """

    phase: Literal["start", "setup", "online"]
    sample: int
    samples: int
    step: int
    steps: int
    layer: str
    bytes_sent: int


OnProgress = Callable[[ProgressEvent], None]


@dataclass(frozen=True)
class RunResult:
    """What came out, and what it cost.

    Attributes:
        outputs: one per program output, sample axis first: shape ``(S,) + output shape``, the model's own dtype
            (int64 indices with ``reveal="argmax"``).
        reports: by party; totals over all samples.
        helper: of the backend's helper process, None without one.
        launcher: by phase, what the launcher sent to whom; its rounds are how often the parties waited for its answer.
    """

    outputs: tuple[Array, ...]
    program: Program
    reports: tuple[PartyReport, ...]
    helper: PartyReport | None = None
    launcher: Mapping[str, Cost] = field(default_factory=dict)


class PartyTraceback(Exception):
    """What the parties wrote to standard error: the cause of the error that the launcher raises, for ``--debug``."""


def evaluate_local(circuit: Circuit, inputs: Sequence[Array], backend: Backend, *, parties: int, device: str = "cpu",
                   reveal: Literal["output", "argmax"] = "output", transport: Transport = "unix",
                   timeout: float = DEFAULT_TIMEOUT, progress: OnProgress | None = None, tap: Tap | None = None,
                   program: Program | None = None, on_start: Callable[[list[int]], None] | None = None,
                   network: Network | None = None) -> RunResult:
    """Evaluate ``circuit`` on ``inputs`` with all parties on this machine.

    Args:
        circuit: with its weights.
        inputs: one per model input, shape ``(S,) + input shape``, the input's dtype.
        backend: its class must be importable; the parties make their own instance.
        parties: how many; the backend has to serve that number.
        timeout: seconds without a byte from whoever is due, everywhere.
        tap: relay in front of every party (tests).
        program: of this circuit and ``reveal``, where the caller has lowered it already.
        on_start: told the process ids once all are started.
        network: what to run on in place of this machine's own; always by TCP, whatever ``transport`` says.

    Raises:
        PeerError: a party ended, hung or misbehaved. ProtocolAbort: a party detected cheating.
        Whatever else a party reports. No process is left in any case, also after KeyboardInterrupt.
    """
    program = lower(circuit.public(), reveal=reveal) if program is None else program
    transport = transport if network is None else "tcp"
    run = _Run(circuit, program, backend.owner(parties), parties, _sample_count(circuit, inputs), progress,
               isinstance(backend, PreparedBackend))
    job = Job(to_json(circuit.public()), reveal, digest(program, f"{__version__}/{backend.name}").hex(),
              progress is not None)
    run.tell("start", 0, 0)
    path = f"{type(backend).__module__}:{type(backend).__qualname__}"
    helper = backend.helper_name if isinstance(backend, HelpedBackend) else None
    with PartyProcesses(path, parties, device, transport, timeout, tap, helper, network) as processes:
        try:
            if on_start is not None:
                on_start(processes.pids())
            links = PartyLinks(processes.connect(), parties, run.frame_limit(), timeout,
                               (run.samples + 1) * len(program.steps), run.on_progress, processes.obituary)
            run.set_up(links, job)
            outputs = [run.sample(links, sample, [array[sample] for array in inputs])
                       for sample in range(run.samples)]
            links.send(Kind.FINISH, 0, [b""] * links.members)
            reports = tuple(PartyReport.decode(payload, party)
                            for party, payload in enumerate(links.gather(Kind.REPORT, 0, everybody=True)))
        except MpcBridgeError as error:
            complaints = processes.complaints()
            raise error from (PartyTraceback(complaints) if complaints else None)
    return RunResult(tuple(np.stack(arrays) for arrays in zip(*outputs, strict=True)), program, reports[:parties],
                     reports[parties] if helper else None, {phase: run.meter.phase_cost(phase) for phase in PHASES})


def _sample_count(circuit: Circuit, inputs: Sequence[Array]) -> int:
    if len(inputs) != len(circuit.inputs):
        raise InputError(f"the model has {len(circuit.inputs)} inputs, {len(inputs)} given", where="inputs",
                         hint="give one array per model input")
    counts = {array.shape[0] if array.ndim else 0 for array in inputs}
    if len(counts) != 1 or counts == {0}:
        raise InputError(f"different or no numbers of samples: {sorted(counts)}", where="inputs",
                         hint="give the same number of samples, at least one, for every input")
    for index, array in zip(circuit.inputs, inputs, strict=True):
        tensor = circuit.tensors[index]
        if array.shape[1:] != tensor.shape or array.dtype != np.dtype(tensor.dtype):
            raise InputError(f"{array.dtype}{array.shape[1:]} given, {tensor.dtype}{tensor.shape} expected",
                             where=f"input {tensor.name}", hint="convert it to the model's input type and shape")
    return counts.pop()


class _Run:
    """The owners' and the receiver's work for one program."""

    def __init__(self, circuit: Circuit, program: Program, owner: Owner, parties: int, samples: int,
                 progress: OnProgress | None, prepares: bool) -> None:
        self.samples = samples
        self.meter = CostMeter()
        self._prepares = prepares
        #: in which phase a party is while it waits for the first byte of such a message (``Party._read``)
        self._waiting = {Kind.WEIGHT: "setup", Kind.INPUT: "preprocessing" if prepares else "online"}
        self._circuit = circuit
        self._program = program
        self._owner = owner
        self._parties = parties
        self._progress = progress
        self._sent = [0] * parties
        self._inputs = {kind: [(index, step) for index, step in enumerate(program.steps)
                               if isinstance(step, Input) and step.owner == kind] for kind in ("model", "data")}
        self._outputs = [(index, step) for index, step in enumerate(program.steps) if isinstance(step, Output)]

    def frame_limit(self) -> int:
        """Greatest payload that a party has reason to send."""
        sizes = [self._owner.output_size(self._program.values[step.inputs[0]], party)
                 for _, step in self._outputs for party in range(self._parties)]
        if isinstance(self._owner, MaskedOwner):
            sizes += [self._owner.mask_size(self._program.values[step.output], party)
                      for steps in self._inputs.values() for _, step in steps for party in range(self._parties)]
        return max([REPORT_LIMIT, *sizes])

    def set_up(self, links: PartyLinks, job: Job) -> None:
        """The job, then the weights: one tensor at a time, in program order, so that never more than one tensor's
        shares are held here.
        """
        with self.meter.phase("setup"):
            self._send(links, Kind.CIRCUIT, 0, [job.encode()] * links.members)
            weights = canonicalise(self._circuit, self._program)
            steps = self._inputs["model"]
            for done, (index, step) in enumerate(steps):
                self.tell("setup", done, len(steps), step.layer)
                self._share(links, Kind.WEIGHT, tag_of(0, index), step, weights[step.source])
            links.gather(Kind.READY, 0, everybody=True)
        self.tell("setup", len(steps), len(steps))

    def sample(self, links: PartyLinks, sample: int, inputs: Sequence[Array]) -> list[Array]:
        """Share one sample's inputs, put its outputs together, and do the receiver's own work after the reveal."""
        stored = stored_inputs(self._circuit, self._program, inputs)
        self.tell("online", 0, len(self._program.steps), sample=sample)
        with self.meter.phase(self._waiting[Kind.INPUT]):
            self._send(links, Kind.SAMPLE, sample, [b""] * links.members)
            if self._prepares:
                # preprocessing is over before an input share is on its way
                links.gather(Kind.READY, sample)
                if not isinstance(self._owner, MaskedOwner):
                    self.meter.count_round()
        with self.meter.phase("online"):
            for index, entering in self._inputs["data"]:
                self._share(links, Kind.INPUT, tag_of(sample, index), entering, stored[entering.source])
        revealed: dict[int, IntArray] = {}
        for index, step in self._outputs:
            gathered = [bytes(payload) for payload in links.gather(Kind.OUTPUT, tag_of(sample, index))]
            revealed[step.output] = self._owner.reconstruct(self._program.values[step.inputs[0]], gathered)
        self.tell("online", len(self._program.steps), len(self._program.steps), sample=sample)
        return model_outputs(self._circuit, self._program, [revealed[position] for position in sorted(revealed)])

    def _share(self, links: PartyLinks, kind: Kind, tag: int, step: Input, tensor: IntArray) -> None:
        """Send the parties' messages for one value, once they have said how to mask it where they have to."""
        value = self._program.values[step.output]
        if isinstance(self._owner, MaskedOwner):
            with self.meter.phase(self._waiting[kind]):
                masks = [bytes(payload) for payload in links.gather(Kind.MASK, tag)]
                self.meter.count_round()
            self._send(links, kind, tag, self._owner.share(value, tensor, masks))
        else:
            self._send(links, kind, tag, self._owner.share(value, tensor))

    def _send(self, links: PartyLinks, kind: Kind, tag: int, messages: Sequence[bytes]) -> None:
        links.send(kind, tag, messages)
        for member, message in enumerate(messages):
            self.meter.count_message(member, HEADER_BYTES + len(message))

    def on_progress(self, party: int, tag: int, bytes_sent: int) -> None:
        """A party's progress frame; party 0 speaks for all but for the bytes."""
        self._sent[party] = bytes_sent
        sample, done = tag >> 32, tag & 0xFFFFFFFF
        if party == 0 and 0 < done <= len(self._program.steps):
            self.tell("online", done, len(self._program.steps), self._program.steps[done - 1].layer, sample)

    def tell(self, phase: Literal["start", "setup", "online"], step: int, steps: int, layer: str = "",
             sample: int = 0) -> None:
        """Call the caller's progress function, if there is one."""
        if self._progress is not None:
            self._progress(ProgressEvent(phase, sample, self.samples, step, steps, layer, sum(self._sent)))
