"""Errors as people see them: what, where, what to do; one exit code per class; a traceback only when asked."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Sequence

from mpc_bridge.errors import MpcBridgeError

EXIT_DIFFERS = 1
EXIT_USAGE = 2
#: An error of ours: not one of the documented outcomes (EX_SOFTWARE).
EXIT_INTERNAL = 70
EXIT_INTERRUPTED = 130


def run(command: Callable[[Sequence[str]], int | None], arguments: Sequence[str], debug: bool) -> int:
    """Run ``command(arguments)`` and turn whatever it raises into lines on standard error and an exit code."""
    try:
        code = command(arguments) or 0
        # Here, so that a full disk or a reader that has gone is met here and not in the interpreter's own shutdown.
        sys.stdout.flush()
        return code
    except MpcBridgeError as error:
        if debug:
            traceback.print_exc()
        _say(error.what, error.where, error.hint)
        return error.exit_code
    except KeyboardInterrupt:
        _say("interrupted", "", "")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone (as in `| head`); keep the interpreter's own flush from complaining.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MemoryError:
        if debug:
            traceback.print_exc()
        _say("out of memory", "", "use fewer --samples or a smaller model")
        return EXIT_USAGE
    except OSError as error:
        if debug:
            traceback.print_exc()
        _say(f"the system refused: {error.strerror or error}", str(error.filename or ""), "")
        return EXIT_USAGE
    except Exception as error:
        usage = getattr(error, "format_message", None)
        if debug:
            traceback.print_exc()
        if usage is not None:
            # The argument parser's own errors; its class lives in different modules across versions.
            context = getattr(error, "ctx", None)
            path = context.command_path if context is not None else "mpc-bridge"
            _say(usage().rstrip("."), path, f"see {path} --help")
            return EXIT_USAGE
        if type(error).__name__ == "Abort":
            _say("interrupted", "", "")
            return EXIT_INTERRUPTED
        _say(f"internal error: {type(error).__name__}", "", "run again with --debug and report the traceback")
        return EXIT_INTERNAL


def _say(what: str, where: str, hint: str) -> None:
    labels = (("error", what), ("where", where), ("hint", hint))
    print("\n".join(f"{label}: {_printable(text)}" for label, text in labels if text), file=sys.stderr)


def _printable(text: str) -> str:
    """On one line; what a terminal may obey is spelled out: an error may quote a file."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in " ".join(text.split()))
