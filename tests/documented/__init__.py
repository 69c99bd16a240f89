"""What the pages of the documentation tell users to type, and a folder where that works.

A block of shell or Python on a page is run as it stands, unless the line above it is a comment
``<!-- not run: REASON -->``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_BLOCK = re.compile(r"^(?:<!-- not run: ([^\n]+) -->\n)?```(\w+)\n(.*?)^```$", re.M | re.S)

TINY = {
    "UNSAM_EXTRACT_FEATURES_SIZE": "128",
    "UNSAM_EXTRACT_FEATURES_REGION_SIZE": "64",
    "UNSAM_CONQUER_MAX_MASKS": "8",
    "UNSAM_TRAIN_PRESET": "tiny",
    "UNSAM_TRAIN_STEPS": "2",
    "UNSAM_TRAIN_QUERIES": "4",
    "UNSAM_TRAIN_HIDDEN": "32",
    "UNSAM_TRAIN_CROP": "64",
    "UNSAM_TRAIN_JOBS": "0",
    "UNSAM_FINETUNE_SAM_PRESET": "tiny",
    "UNSAM_FINETUNE_SAM_STEPS": "2",
    "UNSAM_FINETUNE_SAM_CLICKS": "2",
}
"""Sizes for commands that would take long."""

SHELL = r"""
set -eEu
trap 'echo "in: $BASH_COMMAND" >&2' ERR
make() { command make -n -C "$ROOT" "$@" > /dev/null; }
sbatch() { for word; do case $word in *.sh) bash -n "$word" ;; esac; done; echo 7; }
"""
"""``make`` only looks whether it has the target, and ``sbatch`` whether the script is one."""


@dataclass(frozen=True)
class Block:
    """A block of code.

    Attributes
    ----------
    language : str
        ``sh``, ``python``...
    code : str
    not_run : str
        Why it is not run; empty if it is.
    """

    language: str
    code: str
    not_run: str


def blocks(page: Path, *languages: str) -> list[Block]:
    """Return the blocks of a page in some languages."""
    found = _BLOCK.findall(page.read_text(encoding="utf-8"))
    return [Block(kind, code, why) for why, kind, code in found if kind in languages]


def pages(*languages: str, run: bool = False) -> list[Path]:
    """Return the pages that have blocks in some languages, or blocks of them that are run."""
    return [p for p in PAGES if any(not (run and b.not_run) for b in blocks(p, *languages))]


def inline(page: Path) -> Iterator[str]:
    """Yield the commands in the text of a page, and in the examples of its help."""
    text = page.read_text(encoding="utf-8")
    yield from re.findall(r"`(unsam [a-z][^`\n]*)`", text)
    for block in blocks(page, "text"):
        joined = re.sub(r"(\\|(?<=\|))\n\s+", " ", block.code)
        yield from re.findall(r"^    (unsam [a-z].*)", joined, re.M)
