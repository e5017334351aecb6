"""The command line: one module per command, plus what they share.

``inputs`` (files to integers), ``files`` (results to files), ``console``, ``summary`` and ``program_text`` (text for
people), ``progress``, ``failures`` (errors to lines and exit codes), ``options``, ``models``, ``support`` and
``tables`` (what is supported), ``evaluation`` (what eval and demo share), and ``bench_*`` (the parts of bench).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from mpc_bridge.cli.backends import backends
from mpc_bridge.cli.bench import bench
from mpc_bridge.cli.demo import demo
from mpc_bridge.cli.eval import evaluate
from mpc_bridge.cli.failures import run
from mpc_bridge.cli.import_ import import_model
from mpc_bridge.cli.ops import ops
from mpc_bridge.cli.report import report
from mpc_bridge.cli.show import show

app = typer.Typer(
    name="mpc-bridge",
    help="Secure inference of real int8 networks: the framework's own answer, bit for bit, and what it costs.",
    add_completion=False,
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("eval", short_help="Evaluate a model on secrets, and say what it cost.")(evaluate)
app.command("import", short_help="Turn a model file into a .circuit.")(import_model)
app.command("show", short_help="Print exactly what every party learns about a model.")(show)
app.command("bench", short_help="Measure what every threat model costs, on every network.")(bench)
app.command("backends", short_help="List installed backends: against whom, on what.")(backends)
app.command("demo", short_help="The bundled model on bundled images, three parties.")(demo)
app.command("report", short_help="Results of a benchmark as a page, Markdown or CSV.")(report)
app.command("ops", short_help="List ops: who reads each, who computes it.")(ops)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(version("mpc-bridge"))
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
    debug: bool = typer.Option(False, "--debug", help="Show tracebacks. May stand anywhere on the line."),
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``mpc-bridge``; exits the process."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = words[: words.index("--")] if "--" in words else words
    debug = "--debug" in options
    if debug:
        words = [word for word in options if word != "--debug"] + words[len(options) :]

    def command(line: Sequence[str]) -> int | None:
        try:
            result: int | None = app(list(line), standalone_mode=False, prog_name="mpc-bridge")
        except SystemExit:
            # The argument parser leaves like this, with a code that means something else here, in one case only.
            raise BrokenPipeError from None
        return result

    sys.exit(run(command, words or ["--help"], debug))
