"""Files from strangers: what they can do to a terminal, and which files they may point to.

What single readers refuse is tested where they are: lying headers in ``io/test_features_file.py``,
sizes and runs in ``rle/``, code in checkpoints in ``backbones/``, ``sam/`` and ``models/``, names
that climb out in ``convert/`` and ``io/``, markup in ``view/``.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from support import Invoke

EVIL = "a\x1b]0;owned\x07\n\x9b31m.png"


@pytest.fixture
def features(tmp_path: Path, invoke: Invoke) -> Path:
    Image.fromarray(np.zeros((40, 50, 3), np.uint8)).save(tmp_path / "a.png")
    path = tmp_path / "features.h5"
    ran = invoke("extract-features", tmp_path / "a.png", "--size", 64, "-o", path)
    assert ran.exit_code == 0, ran.stderr
    return path


def test_names_cannot_reach_the_terminal(tmp_path: Path, invoke: Invoke) -> None:
    """Neither codes, of seven bits or eight, nor a second line that looks like one of ours."""
    images = [{"id": 1, "file_name": EVIL, "height": 5, "width": 6}]
    (tmp_path / "m.json").write_text(json.dumps({"images": images, "annotations": []}))
    ran = invoke("view", tmp_path / "m.json", "--images", tmp_path, "-o", tmp_path / "r.html")
    assert ran.exit_code == 66
    assert "owned" in ran.stderr
    assert all(line.isprintable() for line in ran.stderr.splitlines())
    assert sum("error:" in line for line in ran.stderr.splitlines()) == 1


def test_a_record_that_unpacks_to_more_than_a_record_is_not_parsed(
    tmp_path: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers take several times the room of their text."""
    monkeypatch.setattr("unsam_cli.io.json_text.LONGEST", 10**5)
    images = [{"id": 1, "file_name": "a.png", "height": 5, "width": 6}]
    mask = {"size": [5, 6], "counts": [0] * 10**6}
    masks = {"images": images, "annotations": [{"id": 1, "image_id": 1, "segmentation": mask}]}
    path = tmp_path / "m.json.gz"
    path.write_bytes(gzip.compress(json.dumps(masks).encode()))
    ran = invoke("evaluate", path, path)
    assert ran.exit_code == 65
    assert "bytes exceeds the limit of 100000" in ran.stderr


def linked(file: h5py.File) -> None:
    del file["features"]
    file["features"] = h5py.ExternalLink("/etc/passwd", "x")


def stored_elsewhere(file: h5py.File) -> None:
    shape, kind = file["features"].shape, file["features"].dtype
    del file["features"]
    file.create_dataset("features", shape, kind, external=[("/dev/zero", 0, 2**40)])


def virtual(file: h5py.File) -> None:
    shape, kind = file["features"].shape, file["features"].dtype
    del file["features"]
    layout = h5py.VirtualLayout(shape, kind)
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", shape)
    file.create_virtual_dataset("features", layout)


def linked_softly(file: h5py.File) -> None:
    del file["images/id"]
    file["images/id"] = h5py.SoftLink("/regions/image_id")


def group_elsewhere(file: h5py.File) -> None:
    del file["images"]
    file["images"] = h5py.ExternalLink("/dev/stdin", "images")


def no_dataset(file: h5py.File) -> None:
    del file["features"]
    file.create_group("features")


def large_chunk(file: h5py.File) -> None:
    """Two gigabytes have to be unpacked to read one number."""
    heights = file["images/height"][()]
    del file["images/height"]
    chunked = file.create_dataset(
        "images/height", heights.shape, heights.dtype, maxshape=(None,), chunks=(2**29,),
        compression="gzip",
    )  # fmt: skip
    chunked.id.write_direct_chunk((0,), zlib.compress(heights.tobytes()))


def packed(file: h5py.File) -> None:
    """A chunk that unpacks to more than it should."""
    heights = file["images/height"][()]
    del file["images/height"]
    chunked = file.create_dataset(
        "images/height", heights.shape, heights.dtype, chunks=heights.shape, compression="gzip"
    )
    chunked.id.write_direct_chunk((0,), zlib.compress(bytes(2**26)))


def numbers_for_bytes(file: h5py.File) -> None:
    """``bytes(n)`` are n bytes."""
    del file["images/preview"]
    file["images/preview"] = np.array([2**40])


def long_attribute(file: h5py.File) -> None:
    """Many references to one long text."""
    del file.attrs["command"]
    file.attrs.create("command", ["a" * 1000] * 50, dtype=h5py.string_dtype())


def long_history(file: h5py.File) -> None:
    """Three bytes become an object."""
    file.attrs["history"] = "[" + "[]," * 2**23 + "[]]"


@pytest.mark.parametrize(
    "change",
    [
        *(linked, linked_softly, group_elsewhere, stored_elsewhere, virtual),
        *(no_dataset, large_chunk, packed, numbers_for_bytes, long_attribute, long_history),
    ],
)
def test_features_come_from_the_file_alone(
    change: Callable[[h5py.File], None], features: Path, tmp_path: Path, invoke: Invoke
) -> None:
    with h5py.File(features, "r+") as file:
        change(file)
    ran = invoke("conquer", features, "-o", tmp_path / "masks.json")
    assert ran.exit_code == 65
    assert "run extract-features again" in ran.stderr
    assert not (tmp_path / "masks.json").exists()


def test_a_chunked_file_is_told_how_to_be_read(
    features: Path, tmp_path: Path, invoke: Invoke
) -> None:
    with h5py.File(features, "r+") as file:
        values = file["features"][()]
        del file["features"]
        file.create_dataset("features", data=values, chunks=True, compression="gzip")
    ran = invoke("conquer", features, "-o", tmp_path / "masks.json")
    assert ran.exit_code == 65
    assert "/features is chunked; convert it with h5repack -f NONE -l CONTI" in ran.stderr


def test_a_long_text_counts_as_often_as_it_is_referred_to(
    features: Path, tmp_path: Path, invoke: Invoke
) -> None:
    count = 1000
    with h5py.File(features, "r+") as file:
        for name, values in {"id": np.arange(1, count + 1), "height": 40, "width": 50}.items():
            kind = file["images"][name].dtype
            del file["images"][name]
            file["images"][name] = np.full(count, values, kind)
        del file["images/file_name"], file["images/preview"]
        names = file.create_dataset("images/file_name", (count,), h5py.string_dtype())
        names[0], names[1:] = "a" * 10**5, "b"
        place = names.id.get_offset()
    content = bytearray(features.read_bytes())
    content[place : place + 16 * count] = content[place : place + 16] * count
    features.write_bytes(content)
    ran = invoke("conquer", features, "-o", tmp_path / "masks.json")
    assert ran.exit_code == 65
    assert "/images/file_name should have 100000000 bytes, but the file has" in ran.stderr
