"""The ``unsam`` program: runs its commands, and turns errors into exit codes.

This is the only place where an error is printed.
"""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import click

from unsam_cli import __version__
from unsam_cli.cli.group import EPILOG, CommandGroup, rearranged
from unsam_cli.cli.log import configure
from unsam_cli.errors import (
    EXIT_DATA,
    EXIT_FAILURE,
    EXIT_IO,
    EXIT_SIGINT,
    EXIT_SIGPIPE,
    EXIT_STOPPED,
    EXIT_USAGE,
    InterruptError,
    UnsamError,
    machine_error,
)
from unsam_cli.run.signals import SignalExit, StopRequest, exit_on_signals

logger = logging.getLogger(__name__)


class UnsamGroup(CommandGroup):
    """The program: whatever a command raises becomes one line and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        return guarded(lambda: super(UnsamGroup, self).invoke(ctx), ctx.obj)

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        """Run the program and exit."""
        open_missing_streams()
        words = rearranged(sys.argv[1:] if args is None else args)
        # For errors in the options themselves; each command configures logging again.
        configure(as_json="--log-json" in words)
        extra["standalone_mode"] = False
        run = super().main
        with exit_on_signals() as request:
            extra["obj"] = request
            sys.exit(guarded(lambda: run(words, prog_name or "unsam", **extra), request) or 0)


def guarded(run: Callable[[], Any], request: StopRequest) -> Any:
    """Return what `run` returns, or raise SystemExit with the exit code."""
    try:
        return run()
    except click.exceptions.Exit as e:
        raise SystemExit(e.exit_code) from None
    except click.exceptions.NoArgsIsHelpError as e:
        e.show()  # on stderr, in lines
        raise SystemExit(EXIT_USAGE) from None
    except (KeyboardInterrupt, click.Abort):
        raise SystemExit(EXIT_SIGINT) from None
    except BrokenPipeError:
        silence_stdout()
        raise SystemExit(EXIT_SIGPIPE) from None
    except (Exception, SignalExit) as e:
        if request.signal_name == "SIGINT" and not isinstance(e, InterruptError):
            raise SystemExit(EXIT_SIGINT) from None
        signalled = request and not isinstance(e, InterruptError)
        text, code = explained(SignalExit(request.signal_name) if signalled else e)
        fail(text, code, e)


def explained(e: BaseException) -> tuple[str, int]:
    """Return the message of an error and the exit code."""
    match machine_error(e) or e:
        case click.UsageError() as e:
            where = e.ctx.command_path if e.ctx else "unsam"
            return f"{e.format_message()} (see {where} --help)", EXIT_USAGE
        case click.ClickException() as e:
            return e.format_message(), e.exit_code
        case UnsamError() as e:
            return str(e), e.exit_code
        case SignalExit():
            return f"stopped by {e}; run again, with --resume where there is one", EXIT_STOPPED
        case IsADirectoryError(filename=str(name)):
            return f"{name}: is a folder; a file is needed", EXIT_DATA
        case OSError() as e:  # only what is written to standard output has no name
            return f"{e.filename or 'standard output'}: {e.strerror or e}", EXIT_IO
    text = f"internal error, please report it: {type(e).__name__}: {e} (--debug shows where)"
    return text, EXIT_FAILURE


def fail(text: str, code: int, e: BaseException) -> NoReturn:
    """Log one line, with a traceback only under ``--debug``, and exit."""
    one_line = " ".join(text.split("\n"))
    context = click.get_current_context(silent=True)
    debug = bool(context and context.find_root().meta.get("unsam.debug"))
    logger.error(one_line, exc_info=e if debug else None, extra={"fields": {"exit_code": code}})
    try:
        sys.stdout.flush()
    except OSError:  # at exit the interpreter would try again, and replace the exit code
        silence_stdout()
    raise SystemExit(code) from None


def silence_stdout() -> None:
    """Let the interpreter flush into nothing at exit: nobody can read what is left."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def open_missing_streams() -> None:
    """Open the standard streams that the caller closed (``>&-``); else files take their place.

    Standard output is opened for reading, so that writing to it is an error, as it should be.
    """
    flags = {"stdin": os.O_RDONLY, "stdout": os.O_RDONLY, "stderr": os.O_WRONLY}
    for number, name in enumerate(flags):
        if getattr(sys, name) is None:
            os.dup2(os.open(os.devnull, flags[name]), number)
            raw = io.FileIO(number, "w" if number else "r", closefd=False)
            setattr(sys, name, io.TextIOWrapper(raw, write_through=True))  # nothing left to flush


@click.group(
    "unsam",
    cls=UnsamGroup,
    epilog=EPILOG,
    context_settings={"auto_envvar_prefix": "UNSAM", "help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="unsam", allow_from_autoenv=False)
def cli() -> None:
    """Segment images into everything they contain, from scenes to small parts, without labels.

    The whole pipeline is one pipe:

    \b
      unsam extract-features photo.jpg | unsam divide |
        unsam extract-features photo.jpg --regions - --whole-image |
        unsam conquer > masks.json
    """


def note_leftover(failed: sys.UnraisableHookArgs) -> None:
    """Log an error in a finalizer at debug level only.

    It is harmless: a signal may have arrived while the object was being created.
    """
    logger.debug("ignored in %r: %r", failed.object, failed.exc_value)


def main() -> NoReturn:
    """Run ``unsam``."""
    sys.unraisablehook = note_leftover
    cli.main()
