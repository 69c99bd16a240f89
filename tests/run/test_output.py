from __future__ import annotations

import errno
import multiprocessing
import os
import stat
import threading
from pathlib import Path

import pytest

from unsam_cli.errors import OutputError, UsageError
from unsam_cli.run.output import check_output, output_path, publish


def write_hello(path: Path) -> None:
    path.write_bytes(b"hello")


def test_a_failing_writer_leaves_the_old_output(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.write_bytes(b"old")

    def fail(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match="no space left"):
        publish(str(target), fail)
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["out"]


def test_a_device_is_written_to_and_not_replaced() -> None:
    before = os.stat(os.devnull)
    assert output_path(os.devnull) is None
    publish(os.devnull, write_hello)
    after = os.stat(os.devnull)
    assert stat.S_ISCHR(after.st_mode)
    assert (after.st_ino, after.st_rdev) == (before.st_ino, before.st_rdev)


def test_a_named_pipe_is_written_to(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()))
    reader.start()
    publish(str(pipe), write_hello)
    reader.join(timeout=10)
    assert received == [b"hello"]
    assert pipe.is_fifo()


def test_a_symbolic_link_stays_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    publish(str(link), write_hello)
    assert link.is_symlink()
    assert target.read_bytes() == b"hello"


def test_outputs_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is a folder"):
        check_output(str(tmp_path), binary=False, no_clobber=False)
    with pytest.raises(OutputError, match="make it first"):
        check_output(str(tmp_path / "none" / "out"), binary=False, no_clobber=False)
    (tmp_path / "out").touch()
    with pytest.raises(UsageError, match="--no-clobber"):
        check_output(str(tmp_path / "out"), binary=False, no_clobber=True)


def test_what_a_killed_process_has_left_is_taken_over(tmp_path: Path) -> None:
    target = tmp_path / "out"

    def die(path: Path) -> None:
        path.write_bytes(b"half of a long text")
        os._exit(9)

    child = multiprocessing.get_context("fork").Process(target=publish, args=(str(target), die))
    child.start()
    child.join()
    assert os.listdir(tmp_path) == [".out.tmp"]
    publish(str(target), write_hello)
    assert target.read_bytes() == b"hello"
    assert os.listdir(tmp_path) == ["out"]


def test_two_processes_cannot_write_one_output(tmp_path: Path) -> None:
    target = tmp_path / "out"

    def write_twice(path: Path) -> None:
        path.write_bytes(b"first")
        with pytest.raises(OutputError, match="out: another process is writing it"):
            publish(str(target), write_hello)

    publish(str(target), write_twice)
    assert target.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["out"]


def test_without_locks_each_process_has_a_file_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    target = tmp_path / "out"
    names = []

    def write(path: Path) -> None:
        names.append(path.name)
        write_hello(path)

    publish(str(target), write)
    assert names == [f".out.{os.getpid()}.tmp"]
    assert target.read_bytes() == b"hello"
    assert os.listdir(tmp_path) == ["out"]
