"""From the words of ``mpc-bridge bench`` to what its runner takes: models with inputs, networks, an empty file."""

from __future__ import annotations

import hashlib
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from mpc_bridge.bench import netem
from mpc_bridge.bench.matrix import Setting, refusal
from mpc_bridge.bench.records import (
    MAX_NAME,
    Cell,
    InputRecord,
    ModelRecord,
    NetworkRecord,
    Reason,
    Results,
    readable,
)
from mpc_bridge.bench.runner import Lane, Workload
from mpc_bridge.bench.shapes import LOCAL, parse_shape
from mpc_bridge.cli.inputs import load_inputs
from mpc_bridge.cli.models import load_with_weights
from mpc_bridge.errors import UnsupportedModelError, UsageError
from mpc_bridge.importers.base import read_model_file
from mpc_bridge.lowering import lower
from mpc_bridge.provenance import machine, revision, versions
from mpc_bridge.registry import Plugins

Array = npt.NDArray[np.generic]
Mode = Literal["auto", "measure", "predict"]
#: Stems that say nothing: such a model is called like its folder.
_NAMELESS = ("model",)


@dataclass(frozen=True)
class Plan:
    """What to run.

    Attributes:
        workloads: the models that can be evaluated at all.
        fresh: a results file in which everything waits, or is refused.
        unmeasured: why shaped networks cannot be run here; None when they are, or none was asked for.
    """

    workloads: tuple[Workload, ...]
    lanes: tuple[Lane, ...]
    settings: tuple[Setting, ...]
    fresh: Results
    unmeasured: str | None


def names_of(paths: Sequence[Path]) -> list[str]:
    """What models are called in results: by file, without suffix where that is enough. Raises UsageError."""
    spellings: tuple[Callable[[Path], str], ...] = (
        lambda path: path.absolute().parent.name if path.stem in _NAMELESS else path.stem,
        lambda path: path.name,
        lambda path: f"{path.absolute().parent.name}/{path.name}",
    )
    for spell in spellings:
        names = [spell(path) for path in paths]
        if len(set(names)) == len(names):
            break
    else:
        raise UsageError("two models have the same name", where=" ".join(map(str, paths)),
                         hint="give each model once, and rename what else has the same folder and name")
    for name in names:
        if not name.isprintable() or len(name) > MAX_NAME:
            raise UsageError("not a name to call a model by in results", where=readable(repr(name)),
                             hint=f"rename its file: at most {MAX_NAME} characters that can be printed")
    return names


def lanes_of(words: Sequence[str], mode: str) -> tuple[tuple[Lane, ...], str | None]:
    """Networks in order, this machine's own first whether named or not; and why shaped ones are not run.

    Raises:
        UsageError: an unknown word. NetworkError: they are to be run, and cannot.
    """
    if mode not in ("auto", "measure", "predict"):
        raise UsageError(f"unknown mode {mode!r}", where="--network-mode", hint="use auto, measure or predict")
    shapes = {shape.name: shape for shape in map(parse_shape, words) if shape is not None}
    lanes = [Lane(NetworkRecord(LOCAL, None, None), None, None)]
    reason = None
    if shapes:
        reason = "as asked" if mode == "predict" else netem.available()
    for shape in shapes.values():
        network = netem.shaped(shape) if reason is None or mode == "measure" else None
        lanes.append(Lane(NetworkRecord(shape.name, shape.rtt, shape.bandwidth), shape, network))
    return tuple(lanes), reason


def plan(models: Sequence[Path], inputs: Sequence[Path], samples: int, repeat: int, profile: str | None,
         settings: Sequence[Setting], networks: Sequence[str], mode: str, installed: Plugins) -> Plan:
    """Loads every model; asks every backend about every step.

    Raises:
        UsageError, InputError, ModelFormatError, NetworkError: a word or a file. A model that is well-formed and
            unsupported is refused in the file instead.
    """
    if inputs and len(inputs) != len(models):
        raise UsageError(f"{len(models)} models and {len(inputs)} inputs", where="--input",
                         hint="repeat --input once per model, in their order, or leave it out for random inputs")
    lanes, unmeasured = lanes_of(networks, mode)
    workloads, records, cells = [], [], []
    for index, (name, path) in enumerate(zip(names_of(models), models, strict=True)):
        refusals: list[Reason | None]
        try:
            work, refusals = _workload(name, path, inputs[index] if inputs else None, samples, profile, settings,
                                       installed)
        except UnsupportedModelError as error:
            nothing = InputRecord("", "")
            records.append(ModelRecord(name, readable(str(path)), _file_digest(path), "", profile or "", 0, 0, nothing,
                                       samples))
            refusals = [Reason.of(error)] * len(settings)
        else:
            workloads.append(work)
            records.append(work.record)
        cells += [_cell(name, lane, setting, reason)
                  for lane in lanes for setting, reason in zip(settings, refusals, strict=True)]
    command = readable(shlex.join(["mpc-bridge", *sys.argv[1:]]))
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    fresh = Results(command, started, revision(), machine(), dict(versions()), repeat, tuple(records),
                    tuple(lane.record for lane in lanes), tuple(cells))
    return Plan(tuple(workloads), lanes, tuple(settings), fresh, unmeasured)


def _workload(name: str, path: Path, given: Path | None, samples: int, profile: str | None,
              settings: Sequence[Setting], installed: Plugins) -> tuple[Workload, list[Reason | None]]:
    circuit = load_with_weights(path, profile)
    program = lower(circuit.public())
    digest = _file_digest(path)
    loaded = load_inputs(circuit, [] if given is None else [given], samples, Stream(digest).draw)
    fed = InputRecord("random" if given is None else readable(str(given)), _input_digest(loaded.arrays))
    activations = sum(program.activations.values())
    record = ModelRecord(name, readable(str(path)), digest, circuit.source, circuit.profile, program.macs, activations,
                         fed, loaded.samples)
    errors = [refusal(setting, program, installed) for setting in settings]
    return Workload(record, circuit, loaded.arrays), [None if error is None else Reason.of(error) for error in errors]


def _cell(model: str, lane: Lane, setting: Setting, reason: Reason | None) -> Cell:
    return Cell(model, lane.record.name, setting.threat_model, setting.backend, setting.preprocessing, setting.device,
                "waiting" if reason is None else "refused", reason=reason)


class Stream:
    """Random bytes that are the same every time, so that a benchmark can be taken up again: SHAKE-256 of a seed."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._drawn = 0

    def draw(self, count: int) -> bytes:
        """The next draw: ``count`` bytes."""
        self._drawn += 1
        return hashlib.shake_256(f"{self._seed} {self._drawn}".encode()).digest(count)


def _file_digest(path: Path) -> str:
    return hashlib.sha256(read_model_file(path)).hexdigest()


def _input_digest(arrays: Sequence[Array]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str} {array.shape} ".encode() + array.tobytes())
    return digest.hexdigest()
