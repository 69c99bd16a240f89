"""Records of an image with many tiles: few are in memory, and nothing else changes."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from support import Invoke, draw_scene

from unsam_cli.io.features import FeatureFile, Region
from unsam_cli.run import spooled
from unsam_cli.run.journal import Journal, part_folder
from unsam_cli.run.spooled import SpooledRecords

TILED = ("--size", 64, "--tile", 32, "--jobs", 2)


def regions(count: int) -> list[Region]:
    return [Region((i, 0, 9, 9), None, i / 8) for i in range(count)]


def grid(index: int) -> NDArray[np.float16]:
    return np.full((index + 1, 2, 3), index, dtype=np.float16)


@pytest.mark.parametrize("held", [0, 40, 2**25])
def test_records_come_in_any_order_and_leave_in_theirs(
    held: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spooled, "HELD", held)
    records = SpooledRecords(regions(6), tmp_path)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: records.put(i, grid(i)), [3, 0, 5, 1, 4, 2]))
    for _ in range(2):
        for i, record in enumerate(records):
            assert (record.bbox, record.score) == ((i, 0, 9, 9), i / 8)
            assert record.features.dtype == np.float16
            np.testing.assert_array_equal(record.features, grid(i))
    assert [r.bbox for r in records[4:]] == [(4, 0, 9, 9), (5, 0, 9, 9)]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("backbone", ["builtin", pytest.param("test_vit", marks=pytest.mark.torch)])
def test_outputs_are_the_same_wherever_records_are_held(
    backbone: str, scenes: Path, invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = ("--weights", "random", "--batch-size", "3") if backbone != "builtin" else ()
    words = ("extract-features", scenes, "--backbone", backbone, *network, *TILED)
    whole, parts = tmp_path / "whole.h5", tmp_path / "parts.h5"
    assert invoke(*words, "-o", whole).exit_code == 0
    monkeypatch.setattr(spooled, "HELD", 0)
    assert invoke(*words, "-o", parts).exit_code == 0
    assert parts.read_bytes() == whole.read_bytes()
    with FeatureFile(whole) as file:
        assert len(list(file.image_rows(0))) > 10
    assert sorted(path.name for path in tmp_path.iterdir()) == ["parts.h5", "scenes", "whole.h5"]
    piped = invoke(*words)
    assert piped.stdout_bytes == whole.read_bytes()


def test_memory_does_not_grow_with_the_number_of_tiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spooled, "HELD", 2**20)
    peaks = []
    for count in (4, 40):
        tracemalloc.start()
        records = SpooledRecords([Region((0, 0, 9, 9), None, 1.0)] * count, tmp_path)
        for i in range(count):
            records.put(i, np.full((64, 64, 128), i, dtype=np.float16))
        journal = Journal(tmp_path / "out", {}, resume=False)
        parts = (record.features.tobytes() for record in records)
        journal.append_parts(1, {}, parts, count * 2**20)
        assert sum(map(len, journal.blob_parts(1))) == count * 2**20
        journal.close(discard=True)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 2**20


def test_a_full_disk_ends_the_run_and_names_the_folder(
    scenes: Path, invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spooled, "HELD", 0)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(spooled, "write_all", full)
    out = tmp_path / "out.h5"
    ran = invoke("extract-features", scenes, *TILED, "--on-error", "skip", "-o", out)
    assert ran.exit_code == 74, ran.stderr
    assert f"{part_folder(out)}: no space left; free disk space" in ran.stderr


KILLED = """
import os, signal, sys, time
from pathlib import Path
from unsam_cli.run import spooled
from unsam_cli.cli import main
spooled.HELD, put, left = 0, spooled.SpooledRecords.put, [int(sys.argv.pop(1))]
finished, journal = int(sys.argv.pop(1)), Path(sys.argv.pop(1))
def killed(*record):
    left[0] -= 1
    if left[0] == 0:
        until = time.monotonic() + 60  # another thread may still write the image before this one
        while journal.read_bytes().count(b"\\n") <= finished and time.monotonic() < until:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)
    put(*record)
spooled.SpooledRecords.put = killed
main()
"""


@pytest.mark.parametrize(("records", "finished"), [(3, 0), (30, 1)])
def test_an_image_that_is_half_done_is_computed_again(
    records: int, finished: int, invoke: Invoke, tmp_path: Path
) -> None:
    folder, out = tmp_path / "scenes", tmp_path / "out.h5"
    folder.mkdir()
    for i in range(2):
        Image.fromarray(draw_scene(i)).save(folder / f"{i}.png")
    words = ["extract-features", str(folder), *map(str, TILED[:-1]), "1"]
    journal = part_folder(out) / "journal.ndjson"
    chosen = [str(records), str(finished), str(journal)]
    ran = subprocess.run(
        [sys.executable, "-c", KILLED, *chosen, *words, "-o", str(out)],
        stderr=subprocess.PIPE,
        check=False,
    )
    assert ran.returncode == -9, ran.stderr
    assert not out.exists()
    left = sorted(path.name for path in part_folder(out).iterdir())
    assert left == ["blob.bin", "journal.ndjson"]
    lines = journal.read_bytes().splitlines()
    assert [json.loads(line)["id"] for line in lines[1:]] == [1][:finished]
    assert invoke(*words, "--resume", "-o", out).exit_code == 0
    assert invoke(*words, "-o", tmp_path / "fresh.h5").exit_code == 0
    assert out.read_bytes() == (tmp_path / "fresh.h5").read_bytes()
