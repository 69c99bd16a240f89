"""An image gets another name between two shards: ``merge`` refuses, 65, and names it.

The other shard holds no image of that name, so nothing but the marks can tell.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
import h5py

from faults.cases import Case, copy_inputs
from faults.kinds import invoke, refused
from unsam_cli.cli import cli

BEFORE, AFTER = "1.png", "1x.png"  # the second image, before and after


def applies(case: Case) -> bool:
    """Say whether the command makes shards that can be merged."""
    command = cli.get_command(click.Context(cli), case.name.split()[0])
    assert command is not None
    shards = any(parameter.name == "shard" for parameter in command.params)
    shards &= all(option != "--plot" for option, _ in case.beside)
    return shards and case.output.endswith((".h5", ".json")) and "results" not in case.options


def check(case: Case, work: Path, folder: Path) -> str | None:
    """Make a shard, rename an image in all inputs, make the other one, merge."""
    shards = [folder / f"{k}.{case.output}" for k in range(2)]
    renamed = copy_inputs(work, case, folder / "inputs")
    for path in sorted(path for path in renamed.rglob("*") if path.is_file()):
        rename(path)
    for k, inputs in enumerate((work, renamed)):
        ran = invoke([*case.words(inputs, shards[k]), "--shard", f"{k}/2"])
        if ran.exit_code:
            return f"shard {k}: exit code {ran.exit_code}: {ran.stderr[-300:]}"
    merged = folder / "merged"
    ran = invoke(["merge", *map(str, shards), "-o", str(merged)])
    return refused(ran, {65}, AFTER) or ("there is an output" if merged.exists() else None)


def rename(path: Path) -> None:
    """Rename the image in one input, whatever it is."""
    if path.name == BEFORE:
        path.rename(path.with_name(AFTER))
    elif path.suffix == ".h5":
        with h5py.File(path, "r+") as file:
            names = file["images/file_name"]
            names[:] = [AFTER if name == BEFORE else name for name in names.asstr()[:]]
    elif path.suffix == ".tsv":
        path.write_bytes(path.read_bytes().replace(BEFORE.encode(), AFTER.encode()))
    elif path.suffix == ".json":
        content = json.loads(path.read_text())
        for image in [*content.get("images", []), content.get("image", {})]:
            if image.get("file_name") == BEFORE:
                image["file_name"] = AFTER
        path.write_text(json.dumps(content, separators=(",", ":")))
