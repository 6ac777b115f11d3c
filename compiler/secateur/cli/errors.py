"""Turns what goes wrong in a command into one line on standard error and an exit status; bugs keep their traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import typer

USAGE, FAILED, INTERRUPTED, BROKEN_PIPE = 2, 1, 130, 141
_OURS = ("secateur", "secateur_agent", "secateur_profiles")


def is_ours(error: BaseException) -> bool:
    """Whether an error is one that this project defines for bad input: a ValueError of one of its packages."""
    return isinstance(error, ValueError) and any(kind.__module__.split(".")[0] in _OURS for kind in type(error).__mro__)


def one_line(error: BaseException) -> str:
    """Return the text of an error on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def run(app: typer.Typer, arguments: Sequence[str]) -> int:
    """Run the application.

    Args:
        app: the application.
        arguments: the command line without the program's name.

    Returns:
        The exit status. An error with an attribute ``exit_code`` chooses its own.
    """
    try:
        result = app(args=list(arguments), prog_name="secateur", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except typer.Exit as ended:
        return ended.exit_code
    except BrokenPipeError:
        # Whoever read our output has gone; keep Python from complaining about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except Exception as error:
        if hasattr(error, "format_message"):  # a usage error of typer's parser, whichever module defines it
            return _usage(error)
        if not is_ours(error):
            raise
        _say(one_line(error))
        return int(getattr(error, "exit_code", FAILED))


def _usage(error: Exception) -> int:
    if type(error).__name__ == "NoArgsIsHelpError":  # its message is the whole help
        print(error.format_message(), file=sys.stderr)  # type: ignore[attr-defined]
        return USAGE
    context = getattr(error, "ctx", None)
    command = getattr(context, "command_path", "") or "secateur"
    text = " ".join(str(error.format_message()).split())  # type: ignore[attr-defined]
    _say(f"{text.rstrip('.')}; see '{command} --help'")
    return int(getattr(error, "exit_code", USAGE))


def _say(text: str) -> None:
    print(f"secateur: {text}", file=sys.stderr, flush=True)
