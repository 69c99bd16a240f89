"""A file of another kind in the place of an input: 65, and it is said what it is."""

from __future__ import annotations

from pathlib import Path

from faults.cases import Case
from faults.kinds import invoke, refused

PAGE = b"<!DOCTYPE html><html><body>Not found</body></html>"


def applies(case: Case) -> bool:
    """Say whether the command reads a file; folders hold many kinds."""
    return any("." in name for name in case.inputs)


def check(case: Case, work: Path, folder: Path) -> str | None:
    """Give a picture, a web page, features for JSON and JSON for features."""
    (folder / "page").write_bytes(PAGE)
    strangers = {
        next((work / "photos").glob("*.png")): "is a PNG picture",
        folder / "page": "is an HTML page",
        work / "features.h5": "is an HDF5 file",
        work / "masks.json": "is a JSON file",
    }
    for name in case.inputs:
        for stranger, said in strangers.items():
            if stranger.suffix == Path(name).suffix or "." not in name:
                continue
            output = folder / case.output
            words = [
                str(stranger) if word == str(work / name) else word
                for word in case.words(work, output)
            ]
            if case.name == "merge" and stranger.suffix in (".h5", ".json"):
                said = "cannot be merged"  # each is one that merge takes
            if wrong := refused(invoke(words), {65}, said):
                return f"{stranger.name} as {name}: {wrong}"
            if output.exists():
                return f"{stranger.name} as {name}: writes {output.name}"
    return None
