"""The results file of a benchmark that runs: locked, saved after every change, taken up where the last run stopped."""

from __future__ import annotations

import contextlib
import fcntl
import os
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from mpc_bridge.bench.matrix import setting_order
from mpc_bridge.bench.records import Cell, ModelRecord, Results, load, save
from mpc_bridge.errors import ResultsError, UsageError

#: What of a machine may change while it stays the same one: a virtual one's memory does by a few pages.
_FLEETING = ("memory_bytes",)
_RESTART = "name another file with -o, or begin this one anew with --restart"

Key = tuple[Any, ...]


class Store:
    """The one writer of a results file, as a context manager.

    Args:
        path: of the file; it may be there already, from an earlier run of the same benchmark.
        fresh: what it is to hold: models, networks, and cells that wait or are refused.
        restart: forget what is there.

    Raises:
        UsageError: another run writes to it; what is there was measured by another revision, machine, versions, number
            of repetitions, or of another model or input of the same name. ResultsError: it is not a results file.
    """

    def __init__(self, path: Path, fresh: Results, restart: bool = False) -> None:
        self._path = path.resolve()
        self._fresh = fresh
        self._restart = restart
        self._lock: IO[bytes] | None = None
        self._results = fresh
        self._cells: dict[Key, Cell] = {}

    def __enter__(self) -> Store:
        self._lock = _locked(self._path)
        try:
            if not self._restart and self._path.exists():
                self._results = merged(self._load(), self._fresh)
            self._cells = {cell.key: cell for cell in self._results.cells}
            self._save()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if self._lock is not None:
            with contextlib.suppress(OSError):
                _lock_of(self._path).unlink()
            self._lock.close()
            self._lock = None

    @property
    def results(self) -> Results:
        """What the file holds."""
        return replace(self._results, cells=tuple(self._cells.values()))

    def cell(self, key: Key) -> Cell:
        """One cell. KeyError: it is not planned."""
        return self._cells[key]

    def put(self, cell: Cell) -> None:
        """Replace a cell; it is on the disk when this returns. Raises UsageError when the disk refuses."""
        if self._cells[cell.key] != cell:
            self._cells[cell.key] = cell
            self._save()

    def _load(self) -> Results:
        try:
            return load(self._path)
        except ResultsError as error:
            error.hint = f"{error.hint}; {_RESTART}"
            raise

    def _save(self) -> None:
        save(self._path, self.results)


def merged(old: Results, new: Results) -> Results:
    """What is there and what is to come, by model, then network. Raises UsageError where they may not be mixed."""
    for what, before, now in (
        ("revision", old.revision, new.revision), ("machine", _lasting(old.machine), _lasting(new.machine)),
        ("versions", old.versions, new.versions), ("--repeat", old.repeat, new.repeat),
    ):
        if before != now:
            raise UsageError(f"the file was made with another {what.removeprefix('--')}",
                             where=f"{what}: {_difference(before, now)}", hint=_RESTART)
    for name, (is_there, comes) in _common(old, new).items():
        if _identity(is_there) != _identity(comes):
            raise UsageError(f"the file holds another model, input or number of samples called {name}",
                             where=_difference(_identity(is_there), _identity(comes)), hint=_RESTART)
    models = {model.name: model for model in (*old.models, *new.models)}
    networks = {network.name: network for network in (*old.networks, *new.networks)}
    cells = {cell.key: cell for cell in new.cells}
    # a refusal costs nothing to find again, and today's is the one that holds
    cells.update({cell.key: cell for cell in old.cells if cell.key not in cells or cell.repetitions
                  or "refused" not in (cell.status, cells[cell.key].status)})
    places = {name: index for index, name in enumerate(models)}, {name: index for index, name in enumerate(networks)}
    ordered = sorted(cells.values(),
                     key=lambda cell: (places[0][cell.model], places[1][cell.network], setting_order(cell.setting)))
    commands = dict.fromkeys([*old.command.split("\n"), new.command])
    return replace(old, command="\n".join(commands), models=tuple(models.values()), networks=tuple(networks.values()),
                   cells=tuple(ordered))


def _common(old: Results, new: Results) -> dict[str, tuple[ModelRecord, ModelRecord]]:
    comes = {model.name: model for model in new.models}
    return {model.name: (model, comes[model.name]) for model in old.models if model.name in comes}


def _identity(model: ModelRecord) -> dict[str, Any]:
    return {"sha256": model.sha256, "profile": model.profile, "samples": model.samples, "input": model.input.sha256}


def _lasting(machine: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in machine.items() if key not in _FLEETING}


def _difference(before: object, now: object) -> str:
    if isinstance(before, dict) and isinstance(now, dict):
        key = next(key for key in (*before, *now) if before.get(key) != now.get(key))
        before, now = f"{key} {before.get(key)}", now.get(key)
    return f"{before} in the file, {now} now"


def _lock_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def _locked(path: Path) -> IO[bytes]:
    """An open file that nobody else has locked. The system lets go of it however this process ends."""
    lock = _lock_of(path)
    try:
        while True:
            file = open(lock, "ab")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # its owner may have removed it between the two calls above: then a lock on it keeps nobody out
                with contextlib.suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(file.fileno()), os.stat(lock)):
                        return file
                file.close()
            except BaseException:
                file.close()
                raise
    except BlockingIOError:
        raise UsageError("another run writes to this file", where=str(path),
                         hint="wait for it, or name another file with -o") from None
    except OSError as error:
        raise UsageError("cannot write the results", where=str(path), hint=error.strerror or str(error)) from None
