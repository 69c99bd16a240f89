from __future__ import annotations

import errno
import gc
import json
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from unsam_cli.errors import (
    DataError,
    MachineError,
    OutputError,
    UnsamError,
    UsageError,
    machine_error,
)
from unsam_cli.run.error_list import ErrorList
from unsam_cli.run.parallel import ordered_map
from unsam_cli.run.provenance import Step
from unsam_cli.run.runner import run_items
from unsam_cli.run.settings import RunSettings
from unsam_cli.run.shards import Shard
from unsam_cli.run.sinks import MaskResult, MaskSink


@dataclass(frozen=True)
class Item:
    id: int
    file_name: str


ITEMS = [Item(i, f"{i}.jpg") for i in range(1, 9)]


def settings(output: Path, shard: Shard | None = None, *, resume: bool = False) -> RunSettings:
    return RunSettings(
        Step("divide"), output=str(output), shard=shard or Shard(), jobs=2, resume=resume
    )


def masks_of(item: Item) -> MaskResult:
    return MaskResult(1, 1, [])


def test_an_error_names_its_item_once(tmp_path: Path) -> None:
    errors = ErrorList(str(tmp_path / "out"), "divide", "fail")
    with pytest.raises(DataError, match=r"^1\.jpg: mask 0: damaged$"):
        errors.add(ITEMS[0], DataError("mask 0: damaged"))
    with pytest.raises(DataError, match=r"^photos/1\.jpg: damaged$"):
        errors.add(ITEMS[0], DataError("photos/1.jpg: damaged"))


def test_names_that_are_no_utf8_can_be_listed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "unsam_cli.run.error_list")  # xdist cannot send such names
    errors = ErrorList(str(tmp_path / "out"), "divide", "skip")
    errors.add(ITEMS[0], DataError(os.fsdecode(b"fold\xffer/1.jpg: damaged")))
    (line,) = (tmp_path / "out.errors.jsonl").read_text("utf-8").splitlines()
    assert json.loads(line)["error"].endswith("er/1.jpg: damaged")


def test_a_list_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "out.errors.jsonl").mkdir()
    with pytest.raises(OutputError, match=r"out\.errors\.jsonl"):
        ErrorList(str(tmp_path / "out"), "divide", "skip")


def test_a_pipe_planted_in_the_place_of_the_list_is_not_waited_for(tmp_path: Path) -> None:
    errors = ErrorList(str(tmp_path / "out"), "divide", "skip")
    os.mkfifo(tmp_path / "out.errors.jsonl")
    with pytest.raises(OutputError, match=r"out\.errors\.jsonl is a named pipe; remove it"):
        errors.add(ITEMS[0], DataError("damaged"))


def test_a_link_in_the_place_of_the_list_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "out.errors.jsonl").symlink_to(tmp_path / "victim")
    ErrorList(str(tmp_path / "out"), "divide", "skip").add(ITEMS[0], DataError("damaged"))
    assert (tmp_path / "victim").read_text() == "precious"
    assert "damaged" in (tmp_path / "out.errors.jsonl").read_text()


def raised(error: OSError, item: Item) -> None:
    raise error


def test_what_the_machine_is_short_of_is_no_fault_of_an_item(tmp_path: Path) -> None:
    """Skipped, every image would be listed as damaged."""
    errors = ErrorList(str(tmp_path / "out"), "divide", "skip")
    cause = OSError(errno.EMFILE, "Too many open files", "/photos/1.jpg")
    error = DataError("/photos/1.jpg: cannot be read (Too many open files); copy it again")
    error.__cause__ = cause
    with pytest.raises(MachineError, match=r"^/photos/1\.jpg: too many open files; .*ulimit -n"):
        errors.add(ITEMS[0], error)
    full = OSError(errno.ENOSPC, "No space left on device", "/scratch")
    [(_, found)] = ordered_map(partial(raised, full), ITEMS[:1], jobs=1)
    assert isinstance(found, UnsamError)
    with pytest.raises(MachineError, match="/scratch: no space left"):
        errors.add(ITEMS[0], found)
    cause.errno = errno.EIO  # of this file
    errors.add(ITEMS[0], error)
    assert "check the disk" in (tmp_path / "out.errors.jsonl").read_text()


def test_workers_have_ended_when_an_error_ends_the_run(tmp_path: Path) -> None:
    """Left to the garbage collector, a worker could collect its own pool, and wait for itself."""

    def bad(item: Item) -> MaskResult:
        raise DataError("damaged")

    run = settings(tmp_path / "out")
    before = threading.active_count()
    gc.disable()
    try:
        with pytest.raises(DataError):
            run_items(ITEMS, partial(ordered_map, bad, jobs=2), MaskSink(run, []), run)
        assert threading.active_count() == before
    finally:
        gc.enable()


def test_what_is_done_is_asked_for_a_few_times_only(tmp_path: Path) -> None:
    """The answer is as large as the run: asking for every image would be quadratic."""
    asked = 0

    class Counting(MaskSink):
        @property
        def done(self) -> frozenset[int]:
            nonlocal asked
            asked += 1
            return super().done

    run = settings(tmp_path / "out")
    assert run_items(ITEMS, partial(ordered_map, masks_of, jobs=1), Counting(run, []), run) == 0
    assert asked <= 3


def test_resuming_another_shard_drops_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def go(run: RunSettings) -> int:
        return run_items(ITEMS, partial(ordered_map, masks_of, jobs=1), MaskSink(run, []), run)

    go(settings(out, Shard(0, 2)))
    before = out.read_bytes()
    with pytest.raises(
        UsageError, match=r"contains image 1 \(1\.jpg\), which is not in this shard"
    ):
        go(settings(out, Shard(1, 2), resume=True))
    assert out.read_bytes() == before
    assert go(settings(out, Shard(0, 2), resume=True)) == 0
    assert out.read_bytes() == before


def test_an_error_of_the_work_itself_is_kept_apart(tmp_path: Path) -> None:
    def work(items: Sequence[Item]) -> Iterator[tuple[Item, MaskResult | UnsamError]]:
        yield items[0], masks_of(items[0])
        raise ValueError("not an item's")

    run = settings(tmp_path / "out")
    with pytest.raises(ValueError, match="not an item's"):
        run_items(ITEMS, work, MaskSink(run, []), run)
    resumed = MaskSink(settings(tmp_path / "out", resume=True), [])
    assert resumed.done == {1}
    resumed.suspend()


@pytest.mark.parametrize(
    "text",
    [
        "unable to open file </run/m.safetensors> in read-only mode: Too many open files (24)",
        "Too many open files (os error 24)",
        "Unable to open file (errno = 24, error message = 'Too many open files')",
    ],
)
def test_libraries_that_tell_a_number_in_their_text(text: str) -> None:
    error = DataError("/run/m.safetensors: damaged")
    error.__cause__ = RuntimeError(text)
    assert str(machine_error(error)).startswith("/run/m.safetensors: too many open files")
