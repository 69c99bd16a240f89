"""A named pipe into which nobody writes, in the place of an input: nobody waits for it.

Named directly it is refused, with 65; in a folder it is left out, with a warning.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from unittest import mock

from faults.cases import Case
from faults.kinds import invoke, refused


def applies(case: Case) -> bool:
    """Say whether the command names a file or photographs."""
    return any("." in name or name == "photos" for name in case.inputs)


def check(case: Case, work: Path, folder: Path) -> str | None:
    """Let each of the inputs be a pipe, and one of the photographs."""
    output = folder / case.output
    for name in case.inputs:
        pipe = folder / f"pipe-{name}"
        words = [
            str(pipe) if word == str(work / name) else word for word in case.words(work, output)
        ]
        if name == "photos":
            shutil.copytree(work / name, pipe)
            os.mkfifo(pipe / "pipe.jpg")
            ran = invoke(words)
            if ran.exit_code or "ignored 1" not in ran.stderr or case.result(output) is None:
                return f"pipe among photographs: {ran.exit_code}, {ran.stderr[-300:]}"
        elif "." in name:
            os.mkfifo(pipe)
            with mock.patch("unsam_cli.io.files._PATIENCE", 0.1):
                if wrong := refused(invoke(words), {65}, pipe.name, "named pipe"):
                    return f"{name}: {wrong}"
            if output.exists():
                return f"{name}: writes {output.name}"
    return None
