"""A complete output is resumed: it is as it was, and the command says that it is complete.

Of a training the model has been deleted in the meantime: it is written again.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from faults.cases import Case
from faults.kinds import invoke


def applies(case: Case) -> bool:
    """Say whether the command tells from its output what is done."""
    whole = case.output.endswith((".h5", ".json")) and "results" not in case.options
    # A report does not hold what --per-image lists.
    return case.resumes and (whole or bool(case.weights)) and not case.beside


def check(case: Case, work: Path, folder: Path) -> str | None:
    """Run the command once more on a copy of what it has made."""
    output = folder / case.output
    if case.weights:
        shutil.copytree(work / case.output, output)
        (output / case.weights).unlink()
    else:
        shutil.copy(work / case.output, output)
    ran = invoke(case.words(work, output, again=True))
    if ran.exit_code:
        return f"exit code {ran.exit_code}: {ran.stderr[-300:]}"
    if case.result(output) != case.expected:
        return "the output is another one"
    return None if "complete, all 6 " in ran.stderr else f"is not said: {ran.stderr[-300:]}"
