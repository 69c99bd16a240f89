"""Images of one name, or of names that become one: each has a file of its own in a folder.

Told is what became of the others, and shards and a second run choose the same names.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from faults.cases import Case, copy_inputs
from faults.kinds import invoke

NAMES = ("a.png", "a.jpg", "A.png", "a.png", "a.png.png", "e\u0301.png", "\u00e9.png")


def applies(case: Case) -> bool:
    """Say whether a command writes a file for each image of a masks file."""
    return case.output in ("as-sa1b", "as-labels", "as-yolo", "overlays")


def check(case: Case, work: Path, folder: Path) -> str | None:
    """Give the images such names."""
    inputs = copy_inputs(work, case, folder / "inputs")
    path = inputs / case.inputs[0]
    content = json.loads(path.read_text())
    picture = work / "photos" / content["images"][0]["file_name"]
    for image, name in zip(content["images"], NAMES, strict=False):
        image["file_name"] = name
        if (inputs / "photos").is_dir():
            shutil.copy(picture, inputs / "photos" / name)
    path.write_text(json.dumps(content))
    shared = folder / "shared"
    once = folder / case.output
    runs = [invoke(case.words(inputs, once))]
    if case.resumes:
        runs += [invoke([*case.words(inputs, shared), "--shard", f"{k}/2"]) for k in range(2)]
    else:
        runs.append(invoke(case.words(inputs, shared)))
    if case.output == "as-yolo":  # which pairs images and labels by the name without its suffix
        refused = all(r.exit_code == 65 and "only in their suffix" in r.stderr for r in runs)
        return None if refused else f"not refused: {runs[0].stderr[-300:]}"
    for ran in runs:
        if ran.exit_code != 0:
            return f"exit code {ran.exit_code}: {ran.stderr[-300:]}"
    if case.result(once) != case.result(shared):
        return "shards, or a second run, choose other names"
    files = [p for p in once.rglob("*") if p.is_file() and p.name != "data.yaml"]
    if len(files) != len(content["images"]):
        return f"{len(content['images'])} images became {sorted(p.name for p in files)}"
    return None if "a.jpg, becomes a.jpg." in runs[0].stderr else "nobody is told"
