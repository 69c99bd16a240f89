from __future__ import annotations

import errno
import multiprocessing
import os
import stat
import threading
from pathlib import Path

import pytest

from unsam_cli.errors import MachineError, OutputError, UsageError
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
    with pytest.raises(OutputError, match="create it first"):
        check_output(str(tmp_path / "none" / "out"), binary=False, no_clobber=False)
    (tmp_path / "out").touch()
    with pytest.raises(UsageError, match="--no-clobber"):
        check_output(str(tmp_path / "out"), binary=False, no_clobber=True)


@pytest.mark.parametrize("output", ["new/", "new/.", "here/../new/", ".", "..", ""])
def test_names_of_folders_are_refused(
    output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    with pytest.raises(OutputError, match="is a folder; give a file name"):
        check_output(output, binary=False, no_clobber=False)


@pytest.mark.parametrize("kind", ["link", "dangling link", "hard link", "pipe", "socket", "folder"])
def test_what_is_planted_at_the_temporary_name_is_not_touched(kind: str, tmp_path: Path) -> None:
    victim, planted = tmp_path / "victim", tmp_path / ".out.tmp"
    victim.write_bytes(b"precious")
    plant(kind, planted, victim)
    publish(str(tmp_path / "out"), write_hello)
    assert (tmp_path / "out").read_bytes() == b"hello"
    assert victim.read_bytes() == b"precious"
    assert not (tmp_path / "not there").exists()
    left = {"out", "victim"} | ({".out.tmp"} if kind == "folder" else set())
    assert set(os.listdir(tmp_path)) == left


def plant(kind: str, place: Path, victim: Path) -> None:
    if kind == "link":
        place.symlink_to(victim)
    elif kind == "dangling link":
        place.symlink_to(victim.with_name("not there"))
    elif kind == "hard link":
        place.hardlink_to(victim)
    elif kind == "pipe":
        os.mkfifo(place)
    elif kind == "socket":
        os.mknod(place, stat.S_IFSOCK | 0o600)
    else:
        place.mkdir()


def test_a_file_exchanged_while_it_is_written_is_not_published(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"old")

    def exchange(path: Path) -> None:
        path.write_bytes(b"new")
        path.unlink()
        path.symlink_to("/etc/passwd")

    with pytest.raises(OutputError, match="another process has removed"):
        publish(str(tmp_path / "out"), exchange)
    assert (tmp_path / "out").read_bytes() == b"old"


@pytest.mark.parametrize("mode", [0o640, 0o600, 0o444, 0o755])
def test_the_mode_of_an_earlier_output_is_kept(mode: int, tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.write_bytes(b"old")
    target.chmod(mode)
    seen = []

    def write(path: Path) -> None:
        seen.append(stat.S_IMODE(path.stat().st_mode))
        write_hello(path)

    publish(str(target), write)
    assert stat.S_IMODE(target.stat().st_mode) == mode
    assert seen[0] & ~mode & 0o077 == 0  # nobody else could read it meanwhile


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_a_new_output_follows_the_umask(umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        publish(str(tmp_path / "out"), write_hello)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o666 & ~umask


def test_a_link_in_a_folder_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "photo").write_bytes(b"precious")
    (tmp_path / "out").symlink_to(tmp_path / "photo")
    publish(str(tmp_path / "out"), write_hello, follow=False)
    assert (tmp_path / "photo").read_bytes() == b"precious"
    assert not (tmp_path / "out").is_symlink()


def test_a_full_folder_for_temporary_files_is_named(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(MachineError, match=r"stored in /.*: no space left; .*TMPDIR"):
        publish("-", fail)


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
    (name,) = names
    assert name != ".out.tmp"
    assert name.startswith(".out.")
    assert target.read_bytes() == b"hello"
    assert os.listdir(tmp_path) == ["out"]
