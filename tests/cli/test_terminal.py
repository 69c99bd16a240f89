"""What a terminal shows: a line that says what starts, a bar, a last line; nothing garbled."""

from __future__ import annotations

import fcntl
import logging
import os
import pty
import re
import subprocess
import sys
import threading
from collections import defaultdict
from pathlib import Path

import numba
import pytest
from numba.core import event

from unsam_cli.cli.log import configure
from unsam_cli.jit import Notice

UNSAM = f'unsam() {{ "{sys.executable}" -m unsam_cli "$@"; }}; set -o pipefail; '
EXTRACT = "unsam extract-features scenes/1.png scenes/2.png --size 64"
PIPE = f"{EXTRACT} | unsam divide > d.json"


def shown(line: str, folder: Path, *, lock: bool = False) -> tuple[str, list[str]]:
    """Run a line with a terminal on stderr; return what was written, and what remains on screen."""
    master, slave = pty.openpty()
    if lock:
        fcntl.flock(slave, fcntl.LOCK_EX)
    written: list[bytes] = []

    def read() -> None:
        try:
            while data := os.read(master, 4096):
                written.append(data)
        except OSError:  # the other end is closed
            pass

    reader = threading.Thread(target=read)
    reader.start()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    ran = subprocess.run(
        ["bash", "-c", UNSAM + line],
        cwd=folder,
        env=env,
        stderr=slave,
        stdout=subprocess.DEVNULL,
        check=False,
    )
    os.close(slave)
    reader.join()
    os.close(master)
    text = b"".join(written).decode()
    assert ran.returncode == 0, text
    # The cache of kernels may be cold.
    return text, [line for line in on_screen(text) if "compiling" not in line]


def on_screen(text: str) -> list[str]:
    """Return the lines of a terminal after `text`: enough of one for a bar."""
    lines, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[[?\d;]*[a-zA-Z]|[\r\n]|[^\x1b\r\n]+", text):
        if part == "\r":
            column = 0
        elif part == "\n":
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        elif part.endswith("A"):
            row -= int(part[2:-1] or 1)
        elif part.endswith("K"):
            lines[row] = ""
        elif not part.startswith("\x1b"):
            lines[row] = lines[row][:column].ljust(column) + part + lines[row][column + len(part) :]
            column += len(part)
    return [line.rstrip() for line in lines if line.strip()]


def test_a_pipe_draws_bars_and_leaves_lines(scenes: Path) -> None:
    text, screen = shown(PIPE, scenes.parent)
    assert "━" in text
    assert [re.sub(r", .*", "", line) for line in screen] == [
        "unsam: extract-features: 2 images to do",
        "unsam: extract-features: 2/2 images",
        "unsam: divide: 2 images to do",
        "unsam: divide: 2/2 images",
    ]


def test_one_bar_per_terminal_and_none_when_quiet(scenes: Path) -> None:
    text, screen = shown(f"{EXTRACT} -o f.h5", scenes.parent, lock=True)
    assert "━" not in text
    assert len(screen) == 2
    text, screen = shown(f"{EXTRACT} -q -o g.h5", scenes.parent)
    assert (text, screen) == ("", [])


def test_a_first_run_says_once_why_it_is_slow(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(event, "_registered", defaultdict(list, {"numba:compile": [Notice()]}))
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    add = numba.njit(lambda x: x + 1)
    configure()
    assert add(1) == 2
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert add(1) == 2
    assert "compiling" not in capsys.readouterr().err
    assert (add(1.0), add(1j)) == (2, 1 + 1j)
    assert capsys.readouterr().err.count("unsam: compiling kernels") == 1
