"""``mpc-bridge bench``: what each threat model costs on each network, measured, compared with the reference, stored."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from mpc_bridge import errors, registry
from mpc_bridge.bench.matrix import Wanted, settings
from mpc_bridge.bench.records import Cell
from mpc_bridge.bench.runner import Runner
from mpc_bridge.bench.store import Store
from mpc_bridge.cli import options
from mpc_bridge.cli.bench_plan import Plan, names_of, plan
from mpc_bridge.cli.bench_progress import telling
from mpc_bridge.cli.bench_table import print_results
from mpc_bridge.cli.console import note
from mpc_bridge.cli.failures import EXIT_INTERNAL, EXIT_INTERRUPTED, EXIT_USAGE
from mpc_bridge.cli.files import check_writable
from mpc_bridge.errors import MpcBridgeError, UsageError
from mpc_bridge.runtime.session import DEFAULT_TIMEOUT
from mpc_bridge.security import parse_adversary, parse_majority, parse_preprocessing

#: Exit codes of failed cells, the one that matters most first.
_SEVEREST = (1, 4, 5, 3, 2, EXIT_INTERNAL)


def bench(
    models: Annotated[
        list[Path],
        typer.Argument(metavar="MODEL...", help="Model files, as for mpc-bridge eval.", show_default=False),
    ],
    security: Annotated[
        list[str] | None,
        typer.Option(metavar="WORD", help="semi-honest (passive) or malicious (active).", show_default="both"),
    ] = None,
    majority: Annotated[
        list[str] | None, typer.Option(metavar="WORD", help="honest or dishonest.", show_default="both")
    ] = None,
    parties: options.Parties = None,
    backend: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="One of: mpc-bridge backends.", show_default="all that guarantee something"),
    ] = None,
    preprocessing: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WORD",
            help="Only what gets its correlated randomness from there: dealer or ot.",
            show_default="all, and what needs none",
        ),
    ] = None,
    device: options.Device = "auto",
    profile: options.Profile = None,
    network: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="local; lan (1 ms, 1 Gbit/s), wan (40 ms, 100 Mbit/s), or RTT/BANDWIDTH such as 10ms/300mbit. What is "
            "not local is compared with local, which is measured then too.",
            show_default="local",
        ),
    ] = None,
    network_mode: Annotated[
        str,
        typer.Option(
            metavar="WORD",
            help="Networks that are not local: measure them (needs root and netem), predict them from local runs, or "
            "auto: measure where that can be done.",
        ),
    ] = "auto",
    repeat: Annotated[int, typer.Option(min=1, max=1000, metavar="N", help="Repetitions that count, per cell.")] = 5,
    inputs: Annotated[
        list[Path] | None,
        typer.Option(
            "--input",
            metavar="FILE",
            help="One per MODEL, as for mpc-bridge eval; .npz files hold in0, in1, ….",
            show_default="random, the same every time",
        ),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, metavar="N", help="Evaluate the first N, per run.")] = 1,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="Silence after which a party that is due counts as lost.")
    ] = DEFAULT_TIMEOUT,
    max_minutes: Annotated[
        float | None, typer.Option(min=0.0, metavar="M", help="Start no run after so long.", show_default="no limit")
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Forget what the file holds, and begin anew.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o",
            metavar="FILE.json",
            help="Where results are kept, and taken up again.",
            show_default="results/MODEL.json, results/bench.json for several",
        ),
    ] = None,
) -> None:
    """Measure what every threat model costs for each MODEL, on each network.

    A cell is one model on one network in one setting: a threat model, the backend that serves it, and where its
    correlated randomness comes from. Options choose settings and may be repeated; without any, all are measured. Each
    setting is warmed up once, then the repetitions of all take turns. A run counts only if its outputs are the
    reference interpreter's, and is in the file from then on: the same command goes on where the last one stopped,
    however it ended, tries failed cells again, and may name more models, networks or settings.

    Exit codes: 0 every cell is done, predicted or refused with a reason, or waits because of --max-minutes; 1 an
    output differed from the reference; 2 usage, bad input, or a file of another revision or machine; 4 cheating was
    detected; 5 a party was lost or timed out; 130 interrupted. The other cells are measured all the same.
    """
    wanted = Wanted([parse_adversary(word) for word in security or ()],
                    [parse_majority(word) for word in majority or ()], backend or (),
                    [parse_preprocessing(word) for word in preprocessing or ()], parties, device)
    if not timeout > 0:
        raise UsageError(f"timeout {timeout!r} is not positive", where="--timeout", hint="give seconds, such as 60")
    path = _destination(output, models)
    installed = registry.backends()
    for name, why in installed.broken.items():
        note(f"note: backend {name} cannot be loaded: {why}")
    chosen = settings(wanted, installed)
    deadline = None if max_minutes is None else time.monotonic() + 60 * max_minutes
    planned = plan(models, inputs or (), samples, repeat, profile, chosen, network or (), network_mode, installed)
    if planned.unmeasured is not None:
        note(f"note: networks that are not local are predicted from local runs: {planned.unmeasured}")
    if output is None:
        path.parent.mkdir(exist_ok=True)
        check_writable(path, "--output", ".json")
    with Store(path, planned.fresh, restart) as store:
        note(f"results: {path}")
        try:
            with telling() as teller:
                Runner(store, planned.workloads, planned.lanes, planned.settings, teller, timeout, deadline).run()
        except KeyboardInterrupt:
            _tell_where_it_stands(planned, store, path, "interrupted")
            raise typer.Exit(EXIT_INTERRUPTED) from None
        cells = _cells(planned, store)
        if any(cell.status == "waiting" for cell in cells):
            why = "networks cannot be measured here" if max_minutes is None else f"{max_minutes:g} minutes are over"
            _tell_where_it_stands(planned, store, path, why)
        print_results(store.results, cells)
    code = exit_code(cells)
    if code:
        raise typer.Exit(code)


def exit_code(cells: Sequence[Cell]) -> int:
    """Of the failure that matters most; 0 without any."""
    codes = {_code_of(cell.reason.kind) for cell in cells if cell.status == "failed" and cell.reason is not None}
    return next((code for code in _SEVEREST if code in codes), 0)


def _code_of(kind: str) -> int:
    if kind == "MemoryError":
        return EXIT_USAGE
    found = getattr(errors, kind, None)
    if isinstance(found, type) and issubclass(found, MpcBridgeError):
        return found.exit_code
    return EXIT_INTERNAL


def _cells(planned: Plan, store: Store) -> list[Cell]:
    """The plan's, as they are now: the file may hold others."""
    return [store.cell(cell.key) for cell in planned.fresh.cells]


def _tell_where_it_stands(planned: Plan, store: Store, path: Path, why: str) -> None:
    cells = _cells(planned, store)
    settled = sum(cell.status not in ("waiting", "failed") for cell in cells)
    kept = sum(len(cell.repetitions) for cell in cells)
    note(f"{why}: {settled} of {len(cells)} cells are settled, {kept} repetitions are kept in {path}; the same command "
         "goes on from there")


def _destination(output: Path | None, models: Sequence[Path]) -> Path:
    if output is not None:
        check_writable(output, "--output", ".json")
        return output
    names = names_of(models)
    return Path("results") / (f"{names[0].replace('/', '-')}.json" if len(names) == 1 else "bench.json")
