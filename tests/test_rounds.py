"""docs/rounds.sh: rounds of self-training, which end when one is worse than the one before."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import click
import pytest

from unsam_cli.cli import cli

SCRIPT = Path(__file__).parent.parent / "docs" / "rounds.sh"

STANDIN = """#!/usr/bin/env bash
echo "$*" >> "$LOG"
while [ $# -gt 0 ]; do [ "$1" = -o ] && out=$2; shift; done
case $out in
  *report-*) n=${out##*report-}; n=${n%%[.-]*}
    echo "{\\"metrics\\": {" > "$out"
    printf '    "AP": %s,\\n    "AR@100": %s\\n' "$(cut -d' ' -f"$n" <<<"$AP")" 0.$n >> "$out";;
  *round-*) mkdir -p "$out";;
  *) touch "$out";;
esac
"""


@pytest.fixture
def unsam(tmp_path: Path) -> Path:
    """A stand-in for the program: writes down how it is called, and makes the outputs."""
    program = tmp_path / "unsam"
    program.write_text(STANDIN)
    program.chmod(0o755)
    return program


def run(unsam: Path, *rounds: str, **environment: str) -> tuple[str, list[str]]:
    log = unsam.parent / "log"
    log.unlink(missing_ok=True)
    done = subprocess.run(
        [SCRIPT, "photos", unsam.parent / "out", *rounds],
        env={**os.environ, "CLI": str(unsam), "LOG": str(log), "AP": "0 0 0 0", **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout, log.read_text().splitlines() if log.exists() else []


def test_each_round_learns_from_the_one_before(unsam: Path) -> None:
    out = unsam.parent / "out"
    said, calls = run(unsam)
    assert [call.split()[0] for call in calls] == [
        *("extract-features", "divide", "extract-features", "conquer"),
        *("train", "predict", "filter", "predict", "evaluate"),
        *("merge", "train", "predict", "filter", "predict", "evaluate"),
    ]
    for call in calls:
        name, *words = call.split()
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        command.make_parser(click.Context(command)).parse_args(words)  # raises
    assert f"merge --snap 0.6 {out}/sure-1.json {out}/masks.json" in "\n".join(calls)
    assert (
        f"train {out}/snapped-2.json --images photos --preset tiny --init {out}/round-1"
        in calls[10]
    )
    assert said.splitlines() == [
        "round 1: 0.1",
        "round 2: 0.2",
        f"The best segmenter is {out}/round-2, its masks are {out}/found-2.json.",
    ]


def test_a_worse_round_ends_them(unsam: Path) -> None:
    out = unsam.parent / "out"
    said, calls = run(unsam, "4", LABELS="few.json", AP="0.31 0.33 0.325 0.5")
    assert said.splitlines() == [
        "round 1: 0.31",
        "round 2: 0.33",
        "round 3: 0.325",
        "round 3 is worse than round 2; stopped",
        f"The best segmenter is {out}/round-2, its masks are {out}/found-2.json.",
    ]
    assert not any("round-4" in call for call in calls)
    assert any(call.startswith(f"evaluate few.json {out}/found-3.json") for call in calls)


def test_labels_that_come_later_count(unsam: Path) -> None:
    run(unsam)
    said, calls = run(unsam, LABELS="few.json", AP="0.31 0.33 0 0")
    assert said.splitlines()[:2] == ["round 1: 0.31", "round 2: 0.33"]
    assert [call.split()[0] for call in calls] == ["train", "evaluate"] * 2


def test_what_is_finished_is_kept(unsam: Path) -> None:
    run(unsam, "2", TRAIN="--steps 5")
    said, calls = run(unsam, "2", TRAIN="--steps 5")
    assert [call.split()[0] for call in calls] == ["train", "train"]  # which find their checkpoint
    assert all("--steps 5 --resume" in call for call in calls)
    assert "round 2: 0.2" in said
