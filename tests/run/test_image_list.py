"""Shards of different lists of images: found out, and the first difference named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unsam_cli.errors import DataError
from unsam_cli.io.features import FeatureAttributes, FeatureFile, Record
from unsam_cli.io.masks_lines import MaskLines
from unsam_cli.run.feature_sink import FeatureResult, FeatureSink
from unsam_cli.run.image_list import is_list_identity, list_identity, where_lists_differ
from unsam_cli.run.merging import merge
from unsam_cli.run.parallel import ordered_map
from unsam_cli.run.provenance import Step
from unsam_cli.run.runner import run_items
from unsam_cli.run.settings import RunSettings
from unsam_cli.run.shards import Parts, Shard, parts_of
from unsam_cli.run.sinks import MaskResult, MaskSink


@dataclass(frozen=True)
class Item:
    id: int
    file_name: str


def listed(*names: str) -> list[Item]:
    return [Item(i, name) for i, name in enumerate(names, start=1)]


def numbered(count: int) -> list[Item]:
    return listed(*(f"{i:05d}.jpg" for i in range(count)))


@pytest.mark.parametrize("count", [0, 1, 64, 65, 1000])
def test_equal_lists_have_one_identity(count: int) -> None:
    identity = list_identity(numbered(count))
    assert identity == list_identity(numbered(count))
    assert is_list_identity(identity)
    assert len(identity) < 1200


@pytest.mark.parametrize("text", ["", "3", "3:", "2:0123456789abcdef", "x:0123456789abcdef", 3])
def test_what_is_no_identity(text: object) -> None:
    assert not is_list_identity(text)


@given(st.integers(1, 300), st.integers(0, 300), st.sampled_from(["add", "remove", "rename"]))
def test_the_first_difference_is_found(count: int, place: int, change: str) -> None:
    names = [item.file_name for item in numbered(count)]
    place = min(place, count - 1)
    changed = names[:place] + names[place + (change != "add") :]
    if change != "remove":
        changed.insert(place, "new.jpg")
    start, stop = where_lists_differ(list_identity(listed(*names)), list_identity(listed(*changed)))
    assert start <= place < stop
    assert stop - start <= max(1, (count + 1) // 32)


def masks_of(item: Item) -> MaskResult:
    return MaskResult(9, 9, [{"image_id": item.id, "area": item.id, "parent": None}])


def features_of(item: Item) -> FeatureResult:
    features = np.full((1, 2, 4), item.id, np.float32)
    return FeatureResult(9, 9, b"", [Record((0, 0, 9, 9), None, 1.0, features)])


def attributes(history: list[dict[str, Any]]) -> FeatureAttributes:
    return FeatureAttributes("b", "none", "key", -1, 8, 4, 0, 0, "unsam", "0", history)


Make = Callable[[RunSettings], Any]
KINDS = pytest.mark.parametrize(
    ("make", "function"),
    [
        pytest.param(lambda s: MaskSink(s, []), masks_of, id="masks"),
        pytest.param(
            lambda s: FeatureSink(s, [], attributes=attributes, dtype="float16"),
            features_of,
            id="features",
        ),
    ],
)


def run(
    make: Make, function: Callable[[Item], Any], items: Sequence[Item], out: Path, **changes: Any
) -> Path:
    settings = replace(RunSettings(Step("divide"), output=str(out), jobs=1), **changes)
    run_items(items, partial(ordered_map, function, jobs=1), make(settings), settings)
    return out


BEFORE = ["a.png", "b.png", "c.png", "d.png", "e.png", "f.png"]


@KINDS
@pytest.mark.parametrize(
    ("after", "message"),
    [
        (
            BEFORE[:1] + BEFORE[2:],
            r"c\.png is image 2 in .*1\.out and image 3 in .*0\.out;",
        ),
        (["0.png", *BEFORE], r"a\.png is image 1 in .*0\.out and image 2 in .*1\.out"),
        (BEFORE[:5], r"lists of images, of 6 and 5: the lists first differ at image 6;"),
        ([*BEFORE, "g.png"], r"of 6 and 7: the lists first differ at image 7;"),
        ([*BEFORE, *"gh"], r"of 6 and 8: the lists first differ at image 7;"),
        ([*BEFORE[:3], "x.png", *BEFORE[4:]], r"image 4 \(x\.png in .*1\.out\);"),
        ([*BEFORE[:4], "x.png", BEFORE[5]], r"image 5 \(e\.png in .*0\.out\);"),
    ],
)
def test_a_list_that_changed_between_shards_is_refused(
    make: Make, function: Any, after: list[str], message: str, tmp_path: Path
) -> None:
    one = run(make, function, listed(*BEFORE), tmp_path / "0.out", shard=Shard(0, 2))
    two = run(make, function, listed(*after), tmp_path / "1.out", shard=Shard(1, 2))
    for is_partial in (False, True):
        with pytest.raises(DataError, match=message):
            merge([one, two], output=str(tmp_path / "merged"), partial=is_partial)
    assert not (tmp_path / "merged").exists()


@KINDS
def test_the_identity_goes_from_stage_to_stage(make: Make, function: Any, tmp_path: Path) -> None:
    """Also of a shard of a shard, and of shards that were merged in part."""
    lists = [listed(*BEFORE), listed(*BEFORE[:5])]
    outs = []
    for k, inner in [(0, 0), (0, 1), (1, 0), (1, 1)]:
        whole = lists[inner]
        source = Parts(frozenset({k}), 2, list_identity(whole))
        mine = Shard(k, 2).take(whole)
        out = tmp_path / f"{k}{inner}"
        outs.append(run(make, function, mine, out, source=source, shard=Shard(inner, 2)))
    merge([outs[0], outs[2]], output=str(tmp_path / "some"), partial=True)
    with pytest.raises(DataError, match="different lists of images, of 6 and 5"):
        merge([tmp_path / "some", outs[1], outs[3]], output=str(tmp_path / "merged"))


@KINDS
def test_shards_without_an_identity_are_merged(make: Make, function: Any, tmp_path: Path) -> None:
    """As earlier versions wrote them; but an image with two ids is refused in any case."""
    run(make, function, listed(*BEFORE), tmp_path / "one")

    def old(items: list[Item], k: int, name: str) -> Path:
        mine, source = Shard(k, 2).take(items), Parts(frozenset({k}), 2)
        return run(make, function, mine, tmp_path / name, source=source)

    shards = [old(listed(*BEFORE), k, f"{k}") for k in range(2)]
    merge(shards, output=str(tmp_path / "merged"))
    assert (tmp_path / "merged").read_bytes() == (tmp_path / "one").read_bytes()
    other = old(listed(*BEFORE[1:]), 1, "other")
    with pytest.raises(DataError, match=r"c\.png is image 2 in .*other and image 3 in .*0"):
        merge([shards[0], other], output=str(tmp_path / "merged"))


@KINDS
def test_one_name_under_two_ids_is_refused_without_marks(
    make: Make, function: Any, tmp_path: Path
) -> None:
    one = run(make, function, [Item(1, "a.png"), Item(2, "b.png")], tmp_path / "1")
    two = run(make, function, [Item(3, "c.png"), Item(4, "b.png")], tmp_path / "2")
    with pytest.raises(DataError, match=r"b\.png is image 2 in .*1 and image 4 in .*2"):
        merge([one, two], output=str(tmp_path / "merged"))


def test_a_whole_run_says_nothing_of_its_list(tmp_path: Path) -> None:
    out = run(lambda s: MaskSink(s, []), masks_of, listed(*BEFORE), tmp_path / "out")
    assert MaskLines(out).marks.keys() == {"history"}


def test_a_damaged_identity_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.json: its image_list is '3:oh'"):
        parts_of({"shard": "0/2", "image_list": "3:oh"}, "a.json")


def test_features_keep_the_identity(tmp_path: Path) -> None:
    def make(s: RunSettings) -> FeatureSink:
        return FeatureSink(s, [], attributes=attributes, dtype="float16")

    out = run(make, features_of, listed(*BEFORE), tmp_path / "out", shard=Shard(1, 3))
    with FeatureFile(out) as file:
        assert file.attributes.image_list == list_identity(listed(*BEFORE))
