"""What the launcher and a party say to each other: the job, errors, cost reports; and the digest of a Program."""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any, Literal

import numpy as np

from mpc_bridge import errors
from mpc_bridge.errors import MalformedFrame, MpcBridgeError
from mpc_bridge.lowering.program import Program
from mpc_bridge.runtime import rounds
from mpc_bridge.runtime.meter import PHASES, SPENT, Cost, CostMeter, Work

#: Limits of frames whose length the receiver does not know beforehand.
CIRCUIT_LIMIT = 256 << 20
REPORT_LIMIT = 16 << 20
ERROR_LIMIT = 64 << 10
DIGEST_BYTES = 32
#: Of a text that a party sends; what is not printable becomes "?".
_TEXT_LIMIT = 4096
#: Kinds of correlated randomness that a party may report.
_CORRELATIONS = 64
_PROGRESS = struct.Struct("<Q")
#: Of its timeout: as long as something comes, a party that waits says to the launcher this often that it is at work.
PROGRESS_SHARE = 0.25


@dataclass(frozen=True)
class Job:
    """The public description of what to evaluate.

    Attributes:
        circuit: public part, as JSON text.
        reveal: as in ``Program``.
        digest: of the launcher's Program, hexadecimal.
        progress: whether the party reports its progress.
    """

    circuit: str
    reveal: Literal["output", "argmax"]
    digest: str
    progress: bool

    def encode(self) -> bytes:
        """Frame payload."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, payload: bytes | bytearray) -> Job:
        """Raises MalformedFrame on anything that :meth:`encode` did not make."""
        try:
            job = cls(**json.loads(payload))
            sound = (isinstance(job.circuit, str) and job.reveal in ("output", "argmax")
                     and len(bytes.fromhex(job.digest)) == DIGEST_BYTES and isinstance(job.progress, bool))
        except (ValueError, TypeError, RecursionError):
            sound = False
        if not sound:
            raise MalformedFrame("the launcher's job is not readable", where="setup",
                                 hint="run the same version of mpc-bridge at every party")
        return job


def digest(program: Program, salt: str) -> bytes:
    """SHA-256 of everything in a Program; equal at two parties exactly when they run the same steps.

    Args:
        salt: whatever else must agree (package version, backend).
    """
    state = hashlib.sha256(salt.encode())

    def feed(value: Any) -> None:
        if is_dataclass(value) and not isinstance(value, type):
            state.update(f"{type(value).__name__}(".encode())
            for item in fields(value):
                feed(getattr(value, item.name))
        elif isinstance(value, (tuple, list)):
            state.update(f"[{len(value)}:".encode())
            for element in value:
                feed(element)
        elif isinstance(value, Mapping):
            feed(tuple(sorted(value.items())))
        elif isinstance(value, np.ndarray):
            state.update(f"{value.dtype.str}{value.shape}".encode() + np.ascontiguousarray(value).tobytes())
        else:
            # str, int, float, bool, None: repr is exact for each, and the type is visible in it.
            state.update(f"{value!r};".encode())

    feed(program)
    return state.digest()


def tag_of(sample: int, step: int) -> int:
    """Tag of the frame that carries a step's input or output for one sample."""
    return (sample << 32) | step


def encode_progress(bytes_sent: int) -> bytes:
    """Payload of a progress frame, whose tag is :func:`tag_of` the sample and the number of steps done."""
    return _PROGRESS.pack(bytes_sent)


def decode_progress(payload: bytearray) -> int:
    """Bytes sent so far by that party."""
    if len(payload) != _PROGRESS.size:
        raise MalformedFrame(f"progress frame of {len(payload)} bytes", where="progress")
    return int(_PROGRESS.unpack(payload)[0])


def encode_error(error: MpcBridgeError) -> bytes:
    """Class name and message; nothing else of the error leaves the process."""
    texts = {"class": type(error).__name__, "what": error.what, "where": error.where, "hint": error.hint}
    return json.dumps({key: text[:_TEXT_LIMIT] for key, text in texts.items()}).encode()


def decode_error(payload: bytearray, label: str) -> MpcBridgeError:
    """The typed error that ``label`` ("party 2") reported; MpcBridgeError for a class this version does not know."""
    try:
        report = json.loads(payload)
        name, what, where, hint = (_printable(str(report[key])) for key in ("class", "what", "where", "hint"))
    except (ValueError, TypeError, KeyError, RecursionError):
        return MalformedFrame(f"{label} failed with an unreadable error", where=label)
    kind = getattr(errors, name, None)
    if not (isinstance(kind, type) and issubclass(kind, MpcBridgeError)):
        kind = MpcBridgeError
    return kind(what, where=where if label in where else ", ".join(filter(None, (label, where))), hint=hint)


def _printable(text: str) -> str:
    """Fit for a terminal: another machine may have written it."""
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text[:_TEXT_LIMIT])


@dataclass(frozen=True)
class PartyReport:
    """One party's cost, and its peak memory in bytes.

    Attributes:
        phases: by phase, all four.
        round_bytes: by phase, how many rounds had how many bytes (:mod:`~mpc_bridge.runtime.rounds`).
        flights: by phase, the same for flights (``CostMeter.flights``).
        layer_phases: by layer and phase, all but setup.
        soundness_bits: what its engine computed from the checks it made, None without any.
    """

    phases: Mapping[str, Cost]
    round_bytes: Mapping[str, Mapping[int, int]]
    flights: Mapping[str, Mapping[int, int]]
    layer_phases: Mapping[str, Mapping[str, Cost]]
    peak_memory_bytes: int
    soundness_bits: float | None = None

    @property
    def layers(self) -> Mapping[str, Cost]:
        """By layer, over all phases but setup."""
        found = {}
        for layer, costs in self.layer_phases.items():
            found[layer] = Cost()
            for cost in costs.values():
                found[layer].add(cost)
        return found

    @classmethod
    def of(cls, meter: CostMeter, peak_memory_bytes: int, soundness_bits: float | None = None) -> PartyReport:
        """What ``meter`` has counted."""
        return cls({phase: meter.phase_cost(phase) for phase in PHASES},
                   {phase: meter.round_bytes(phase) for phase in PHASES},
                   {phase: meter.flights(phase) for phase in PHASES},
                   {layer: {phase: meter.layer_cost(layer, phase) for phase in SPENT} for layer in meter.layers()},
                   peak_memory_bytes, soundness_bits)

    def encode(self) -> bytes:
        """Frame payload."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, payload: bytearray, party: int) -> PartyReport:
        """Raises MalformedFrame on anything that :meth:`encode` did not make."""
        try:
            report = json.loads(payload)
            return cls({phase: _cost(report["phases"][phase]) for phase in PHASES},
                       {phase: _histogram(report["round_bytes"][phase]) for phase in PHASES},
                       {phase: _histogram(report["flights"][phase]) for phase in PHASES},
                       {str(layer): {phase: _cost(costs[phase]) for phase in SPENT}
                        for layer, costs in report["layer_phases"].items()},
                       _count(report["peak_memory_bytes"]),
                       None if report["soundness_bits"] is None else _measure(report["soundness_bits"]))
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
            raise MalformedFrame(f"party {party} sent an unreadable cost report", where=f"party {party}") from error


def _count(value: Any) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError("this is no count")
    return value


def _measure(value: Any) -> float:
    # NaN would win every comparison with what honest parties say; float() takes words for it, too
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError("this is no measure")
    return float(value)


def _cost(report: Mapping[str, Any]) -> Cost:
    return Cost(_count(report["rounds"]), _count(report["messages"]), _measure(report["seconds"]),
                {int(peer): _count(count) for peer, count in report["bytes_to"].items()}, _work(report["work"]))


def _work(report: Mapping[str, Any]) -> Work:
    correlations = {str(name): _count(count) for name, count in report["correlations"].items()}
    if len(correlations) > _CORRELATIONS or not all(name.isidentifier() and len(name) < 64 for name in correlations):
        raise ValueError("these are no names of correlations")
    return Work(_count(report["and_gates"]), _count(report["ring_multiplications"]), correlations)


def _histogram(report: Mapping[str, Any]) -> dict[int, int]:
    found = {int(size): _count(count) for size, count in report.items()}
    if len(found) > rounds.SIZES or any(size < 0 or count < 1 for size, count in found.items()):
        raise ValueError("this is no histogram")
    return found
