"""A setting that means nothing, in a file or in the environment: 2, with the name that is meant."""

from __future__ import annotations

import os
from pathlib import Path
from unittest import mock

from faults.cases import Case
from faults.kinds import invoke, refused


def applies(case: Case) -> bool:
    """Every command takes settings."""
    return True


def check(case: Case, work: Path, folder: Path) -> str | None:
    """Misspell a table, a key and a variable; give a list as a value, and a key without a table."""
    name, config = case.name.split()[0], folder / "config.toml"
    for text, said in (
        (f"[{name}s]\n", f"did you mean {name}?"),
        (f"[{name}]\nverbos = 1\n", "did you mean verbose?"),
        (f"[{name}]\nverbose = [1]\n", "verbose is a list"),
        (f"[{name}]\nverbose = 1.5\n", "verbose is 1.5"),
        (f"[{name}]\nverbose = 1979-05-27\n", "verbose is a date"),
        ("verbose = 1\n", "outside a table"),
    ):
        config.write_text(text)
        words = [*case.words(work, folder / case.output), "--config", str(config)]
        if wrong := refused(invoke(words), {2}, config.name, said):
            return f"{text!r}: {wrong}"
    variable = f"UNSAM_{name.upper().replace('-', '_')}_VERBOS"
    with mock.patch.dict(os.environ, {variable: "1"}):
        ran = invoke(case.words(work, folder / case.output))
    config.unlink()
    return refused(ran, {2}, variable, f"did you mean {variable}E?")
