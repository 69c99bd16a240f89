from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from unsam_cli.errors import FeatureFileError, MissingInputError
from unsam_cli.io.features import FeatureAttributes, FeatureFile, ImageEntry, RegionEntry
from unsam_cli.io.features_writer import FeatureTotals, write_features
from unsam_cli.rle import encode_window

DIM = 5
COUNTS = encode_window(np.ones((6, 5), bool), 3, 4, (40, 40))["counts"]
ATTRIBUTES = FeatureAttributes(
    backbone="builtin",
    weights="none",
    facet="key",
    layer=-1,
    patch_size=4,
    dim=DIM,
    project=0,
    seed=0,
    command="unsam extract-features",
    unsam_version="0",
    history=[{"command": "unsam extract-features"}],
)
IMAGES = [
    (ImageEntry(1, "a.jpg", 20, 30, b"jpeg"), [RegionEntry((0, 0, 30, 20), b"", 1.0, (2, 3))]),
    (ImageEntry(4, "ünï/b.jpg", 8, 9), []),
    (
        ImageEntry(9, "c.jpg", 40, 40, b"x" * 1000),
        [
            RegionEntry((0, 0, 40, 40), b"", 1.0, (4, 4)),
            RegionEntry((3, 4, 5, 6), COUNTS, 0.5, (1, 2)),
        ],
    ),
]
TOTALS = FeatureTotals(images=3, regions=3, patches=24, dim=DIM, dtype="float16")
ROWS = np.arange(24 * DIM, dtype="<f2").reshape(24, DIM)


def write(path: Path, **changes: Any) -> Path:
    attributes = replace(ATTRIBUTES, **changes)
    write_features(path, attributes, TOTALS, iter(IMAGES), [ROWS[:7].tobytes(), ROWS[7:].tobytes()])
    return path


def test_reads_back_what_was_written(tmp_path: Path) -> None:
    with FeatureFile(write(tmp_path / "f.h5")) as file:
        assert file.attributes == ATTRIBUTES
        assert [file.image(i) for i in range(3)] == [image for image, _ in IMAGES]
        assert [file.regions(i) for i in range(3)] == [regions for _, regions in IMAGES]
        assert file.file_names() == ["a.jpg", "ünï/b.jpg", "c.jpg"]
        records = file.records(2)
        np.testing.assert_array_equal(records[0].features, ROWS[6:22].reshape(4, 4, DIM))
        np.testing.assert_array_equal(records[1].features, ROWS[22:].reshape(1, 2, DIM))
        assert records[0].rle is None
        assert records[1].rle == {"size": [40, 40], "counts": COUNTS}
        assert file.dtype == np.float16


def test_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    assert write(tmp_path / "a.h5").read_bytes() == write(tmp_path / "b.h5").read_bytes()


def test_layout_is_the_documented_one(tmp_path: Path) -> None:
    with h5py.File(write(tmp_path / "f.h5")) as file:
        kinds = {name: file[name].dtype for name in ("images/id", "regions/bbox", "features")}
        assert kinds == {"images/id": "int64", "regions/bbox": "int32", "features": "float16"}
        assert file["regions/offset"][()].tolist() == [0, 6, 22, 24]
        assert file.attrs["complete"]
        assert file.attrs["format"] == "unsam-features"
        assert file.attrs["version"] == 1
        assert file["features"].chunks is None


def test_no_images(tmp_path: Path) -> None:
    totals = FeatureTotals(0, 0, 0, DIM, "float32")
    write_features(tmp_path / "f.h5", ATTRIBUTES, totals, [], [])
    with FeatureFile(tmp_path / "f.h5") as file:
        assert len(file) == 0
        assert file.file_names() == []


def test_the_checksum_covers_every_row(tmp_path: Path) -> None:
    """A local descriptor of a picture that was changed at the bottom differs there alone."""
    image = IMAGES[0][0], [RegionEntry((0, 0, 30, 20), b"", 1.0, (10, 10))]
    totals = FeatureTotals(images=1, regions=1, patches=100, dim=DIM, dtype="float16")
    rows, found = np.zeros((100, DIM), "<f2"), set()
    for changed in (None, 0, 63, 64, 99):
        rows[:] = 0
        if changed is not None:
            rows[changed] = 1
        write_features(tmp_path / "f.h5", ATTRIBUTES, totals, iter([image]), [rows.tobytes()])
        with FeatureFile(tmp_path / "f.h5") as file:
            found.add(file.checksum(0))
    assert len(found) == 5


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"none\.h5"):
        FeatureFile(tmp_path / "none.h5")


def set_attribute(name: str, value: object) -> Callable[[h5py.File], None]:
    return lambda file: file.attrs.__setitem__(name, value)


def set_item(name: str, index: int | slice, value: object) -> Callable[[h5py.File], None]:
    return lambda file: file[name].__setitem__(index, value)


def claim(name: str, shape: tuple[int, ...], kind: str) -> Callable[[h5py.File], None]:
    """Put a dataset there that says it is huge and takes no room."""

    def damage(file: h5py.File) -> None:
        del file[name]
        file.create_dataset(name, shape=shape, dtype=kind)

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (set_attribute("format", "other"), "not a features file"),
        (set_attribute("version", 2), "version 2"),
        (set_attribute("complete", False), "incomplete"),
        (set_attribute("dim", 7), "5 channels, but dim is 7"),
        (
            set_item("regions/image_id", 1, 77),
            r"record 1 \(image 77\) belongs to an image that is not",
        ),
        (set_item("regions/bbox", 1, (0, 0, 41, 40)), "record 1 .*box outside"),
        (set_item("regions/grid", 2, (0, 2)), "record 2 .*empty grid"),
        (set_item("regions/score", 2, np.nan), "record 2 .*score"),
        (set_item("regions/offset", 1, 5), "record 0 .*offsets"),
        (set_item("images/id", 1, 1), "occurs twice"),
        (set_item("images/height", 0, 0), "image 1 has no pixels"),
        (set_item("images/width", slice(None), 2**31 - 1), "image 1 has more than"),
        (set_attribute("history", "[1]"), "not a list of steps"),
        (claim("images/id", (2**40,), "<i8"), r"/images/id should have 8796093022208 bytes"),
        (claim("regions/bbox", (2**33, 4), "<i4"), r"/regions/bbox should have"),
        (claim("features", (2**40, DIM), "<f2"), r"/features should have"),
        (lambda file: file.__delitem__("features"), "damaged HDF5"),
        (lambda file: file["images"].__delitem__("width"), "damaged HDF5"),
    ],
)
def test_names_the_first_damage(
    tmp_path: Path, damage: Callable[[h5py.File], None], message: str
) -> None:
    path = write(tmp_path / "f.h5")
    with h5py.File(path, "r+") as file:
        damage(file)
    with pytest.raises(FeatureFileError, match=message):
        FeatureFile(path)


def test_features_that_are_not_numbers_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "f.h5")
    with h5py.File(path, "r+") as file:
        file["features"][8, 2] = np.inf
    with FeatureFile(path) as file:
        file.records(0)
        with pytest.raises(FeatureFileError, match=r"record 1 \(image 9\)"):
            file.records(2)


def test_a_damaged_mask_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "f.h5")
    with h5py.File(path, "r+") as file:
        file["regions/rle"][2] = np.frombuffer(b"T1", np.uint8)
    with (
        FeatureFile(path, name="standard input") as file,
        pytest.raises(FeatureFileError, match=r"standard input: record 2 \(image 9\): counts"),
    ):
        file.records(2)


def read_everything(path: Path) -> None:
    with FeatureFile(path) as file:
        for i in range(len(file)):
            file.image(i)
            file.records(i)


def test_truncated_and_scrambled_files_never_give_a_traceback(tmp_path: Path) -> None:
    whole = write(tmp_path / "f.h5").read_bytes()
    rng = random.Random(0)
    path = tmp_path / "bad.h5"
    refused = 0
    for _ in range(150):
        data = bytearray(whole[: rng.randrange(len(whole))] if rng.random() < 0.3 else whole)
        for _ in range(rng.choice([0, 1, 4, 32])):
            data[rng.randrange(len(data))] = rng.randrange(256) if data else 0
        path.write_bytes(data)
        try:
            read_everything(path)
        except FeatureFileError:
            refused += 1
    assert refused > 40  # a flipped bit in the features themselves cannot be noticed


def test_reads_while_another_process_holds_no_lock(tmp_path: Path) -> None:
    path = write(tmp_path / "f.h5")
    copy = shutil.copy(path, tmp_path / "read-only.h5")
    Path(copy).chmod(0o444)
    read_everything(Path(copy))
