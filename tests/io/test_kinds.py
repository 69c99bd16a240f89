"""What a file is, and which command makes what was wanted instead."""

from __future__ import annotations

import io
import os
import pickle
import socket
import zipfile
from pathlib import Path

import pytest

from unsam_cli.errors import DataError, MissingInputError
from unsam_cli.io.files import chunks, files_below, open_regular
from unsam_cli.io.kinds import kind_of, mistaken


def zipped(name: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, b"x")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("head", "family", "words"),
    [
        (b"", "empty", "empty"),
        (b" \n", "empty", "blank"),
        (bytes(99), "empty", "full of zeros"),
        (b"\xff\xd8\xff\xe0", "picture", "a JPEG picture"),
        (b"II*\0", "picture", "a TIFF picture"),
        (b"\x89PNG\n\x1a\n", "picture", "a damaged PNG picture"),
        ("\ufffdPNG\r\n".encode(), "picture", "a damaged PNG picture"),
        (b"\x89\xd0\xfa pixels\n", "binary", "a file of an unknown kind"),
        ("\xe4rger/1.jpg\n".encode(), "text", "a text"),
        (("\xe4" * 3000).encode()[:4096], "text", "a text"),
        (b"\x89HDF\r\n\x1a\n", "hdf5", "an HDF5 file"),
        (b"\x1f\x8b", "packed", "a gzip file"),
        (zipped("archive/data.pkl"), "weights", "a PyTorch checkpoint"),
        (zipped("a.txt"), "zip", "a zip file"),
        (pickle.dumps({"a": 1}), "weights", "a pickled file"),
        (b'\x10\0\0\0\0\0\0\0{"a":{}}', "weights", "a safetensors file"),
        (b'\xef\xbb\xbf {"a": 1}', "json", "a JSON file"),
        (b"[\n", "json", "a JSON file"),
        (b"[1].jpg\n", "text", "a text"),
        (b"[divide]\n", "text", "a text"),
        (b"<html>", "other", "an HTML page"),
        (b"a,b,c\n1,2,3", "table", "a table (CSV)"),
        (b"\xff\xfe{\0", "other", "text in UTF-16, not in UTF-8"),
        (b"version https://git-lfs.github.com/spec/v1", "other", "a Git LFS pointer, not"),
        (bytes(range(256)), "binary", "a file of an unknown kind"),
    ],
)
def test_a_file_is_told_by_its_first_bytes(head: bytes, family: str, words: str) -> None:
    kind = kind_of(head)
    assert (kind.family, kind.words[: len(words)]) == (family, words)


def test_the_command_that_makes_the_right_one_is_named() -> None:
    said = mistaken(b"\xff\xd8\xff", "features")
    assert said is not None
    assert "is a JPEG picture" in said
    assert "unsam extract-features makes them" in said
    said = mistaken(b"\x89HDF\r\n\x1a\n", "masks")
    assert said is not None
    assert "unsam divide" in said
    assert mistaken(b"\x89HDF\r\n\x1a\n damaged", "features") is None


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
    (tmp_path / "link").symlink_to("pipe")
    for name, kind in (("pipe", "named pipe"), ("socket", "socket"), ("link", "named pipe")):
        with pytest.raises(DataError, match=f"{name}: is a {kind}"):
            open_regular(tmp_path / name)
    with pytest.raises(DataError, match="/dev/zero: is a device"):
        open_regular("/dev/zero")
    with pytest.raises(DataError, match="is a folder"):
        open_regular(tmp_path)
    with pytest.raises(MissingInputError, match="no such file"):
        open_regular(tmp_path / "pipe" / "below")


def test_what_is_no_file_is_left_out_of_a_folder_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a" / ".hidden").mkdir(parents=True)
    for name in ("1.JPG", "a/2.jpg", "a/3.txt", "a/.4.jpg", "a/.hidden/5.jpg"):
        (tmp_path / name).touch()
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "linked.jpg").symlink_to(tmp_path / "1.JPG")
    (tmp_path / "nowhere.jpg").symlink_to(tmp_path / "none")
    (tmp_path / "there.jpg").symlink_to(tmp_path / "a")
    os.mkfifo(tmp_path / "a" / "pipe.jpg")
    found = sorted(files_below(tmp_path, (".jpg",)))
    assert found == ["1.JPG", "a/2.jpg", "linked.jpg", "nowhere.jpg"]
    assert "ignored 1 entry other than regular files, such as" in caplog.text
    assert "a/pipe.jpg" in caplog.text


def test_a_pipe_is_read_to_its_end() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"a" * 5000)
    os.close(writer)
    assert b"".join(chunks(f"/dev/fd/{reader}")) == b"a" * 5000
    os.close(reader)
