"""Kinds of mistakes: each is tried on every command of :mod:`faults.cases`.

A kind is a module here, and is found by being here. It has two functions::

    def applies(case: Case) -> bool
        Whether a command can make the mistake.
    def check(case: Case, work: Path, folder: Path) -> str | None
        Let the command make it, with the inputs of `work`, in a `folder` of its own; say what
        was wrong with how it took it, None if nothing was.

The docstring of the module says what the mistake is, and what is the right answer to it. A kind
that changes inputs works on a copy of them, see :func:`faults.cases.copy_inputs`.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

from click.testing import CliRunner, Result

from unsam_cli.cli import cli


def invoke(words: list[str], stdin: bytes | None = None) -> Result:
    """Run a command in this process: no program has to start, which takes seconds."""
    return CliRunner().invoke(cli, words, input=stdin)


def refused(ran: Result, codes: set[int], *texts: str) -> str | None:
    """Say what is wrong with a refusal: one clear line, with each of the texts in it."""
    errors = [line for line in ran.stderr.splitlines() if "error:" in line]
    if ran.exit_code not in codes:
        return f"exit code {ran.exit_code} instead of {codes}: {ran.stderr[-300:]}"
    if len(errors) != 1 or "Traceback" in ran.stderr or "internal error" in ran.stderr:
        return f"no single clear line: {ran.stderr[-300:]}"
    missing = [text for text in texts if text not in errors[0]]
    return f"{missing} is not in: {errors[0]}" if missing else None


KINDS: dict[str, Any] = {
    module.name: importlib.import_module(f"{__name__}.{module.name}")
    for module in pkgutil.iter_modules(__path__)
}
"""The modules, by name."""
