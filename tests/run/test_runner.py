from __future__ import annotations

import itertools
import json
import os
import re
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unsam_cli.errors import DataError, OutputError, StoppedError, UnsamError, UsageError
from unsam_cli.io.features import FeatureAttributes, FeatureFile, Record
from unsam_cli.run.feature_sink import FeatureResult, FeatureSink
from unsam_cli.run.merging import merge
from unsam_cli.run.parallel import ItemError, ordered_map
from unsam_cli.run.progress import LineReporter
from unsam_cli.run.provenance import Step
from unsam_cli.run.runner import run_items
from unsam_cli.run.settings import RunSettings
from unsam_cli.run.shards import Parts, Shard
from unsam_cli.run.sinks import MaskResult, MaskSink


@dataclass(frozen=True)
class Item:
    id: int
    file_name: str


ITEMS = [Item(i, f"{i}.jpg") for i in (2, 3, 5, 8, 13, 21)]
STEP = Step("divide", {"tau": 0.15})


def settings(output: Path, **changes: Any) -> RunSettings:
    return replace(RunSettings(STEP, output=str(output), jobs=2), **changes)


def masks_of(item: Item) -> MaskResult:
    annotations = [
        {"image_id": item.id, "area": item.id * k, "score": 1 / 3, "parent": k - 1 if k else None}
        for k in range(item.id % 3)
    ]
    return MaskResult(10, item.id, annotations)


def features_of(item: Item) -> FeatureResult:
    grids = [(1, item.id % 4 + 1), (2, 2)][: item.id % 3]
    arrays = [np.full((*grid, 4), item.id, np.float32) for grid in grids]
    return FeatureResult(9, 9, b"preview", [Record((0, 0, 9, 9), None, 1.0, a) for a in arrays])


def attributes(history: list[dict[str, Any]]) -> FeatureAttributes:
    return FeatureAttributes("b", "none", "key", -1, 8, 4, 0, 0, "unsam", "0", history)


Make = Callable[[RunSettings], Any]
KINDS = [
    pytest.param(lambda s: MaskSink(s, []), masks_of, id="masks"),
    pytest.param(
        lambda s: FeatureSink(s, [], attributes=attributes, dtype="float16"),
        features_of,
        id="features",
    ),
]


def run(make: Make, function: Callable[[Item], Any], run_settings: RunSettings) -> int:
    work = partial(ordered_map, function, jobs=run_settings.jobs)
    return run_items(ITEMS, work, make(run_settings), run_settings)


@pytest.mark.parametrize(("make", "function"), KINDS)
@pytest.mark.parametrize("count", [2, 3, 7])
def test_merged_shards_equal_one_run(
    make: Make, function: Callable[[Item], Any], count: int, tmp_path: Path
) -> None:
    run(make, function, settings(tmp_path / "one"))
    shards = []
    for k in range(count):
        shards.append(tmp_path / f"shard{k}")
        run(make, function, settings(shards[-1], shard=Shard(k, count), jobs=1 + k % 2))
    merge(shards[::-1], output=str(tmp_path / "merged"))
    assert (tmp_path / "merged").read_bytes() == (tmp_path / "one").read_bytes()


@pytest.mark.parametrize(("make", "function"), KINDS)
def test_an_interrupted_run_resumed_equals_one_run(
    make: Make, function: Callable[[Item], Any], tmp_path: Path
) -> None:
    run(make, function, settings(tmp_path / "one"))
    calls = itertools.count()

    def interrupted(item: Item) -> Any:
        if next(calls) == 3:
            raise DataError("bad luck")
        return function(item)

    out = tmp_path / "out"
    with pytest.raises(DataError, match="bad luck"):
        run(make, interrupted, settings(out))
    assert not out.exists()
    done: list[int] = []

    def counted(item: Item) -> Any:
        done.append(item.id)
        return function(item)

    assert run(make, counted, settings(out, resume=True)) == 0
    assert 0 < len(done) < len(ITEMS)
    assert out.read_bytes() == (tmp_path / "one").read_bytes()
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".part"] == []


@pytest.mark.parametrize(("make", "function"), KINDS)
def test_what_was_made_of_other_content_is_made_again(
    make: Make,
    function: Callable[[Item], Any],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    content: dict[int, int | None] = {item.id: item.id for item in ITEMS}
    content[5] = None  # cannot be had
    done: list[int] = []

    def counted(item: Item) -> Any:
        if len(done) == 4:
            raise DataError("bad luck")
        done.append(item.id)
        return function(item)

    def again(**changes: Any) -> int:
        run_settings = settings(tmp_path / "out", jobs=1, **changes)
        work = partial(ordered_map, counted, jobs=1)
        sink = make(run_settings)
        return run_items(ITEMS, work, sink, run_settings, content=lambda item: content[item.id])

    with pytest.raises(DataError, match="bad luck"):
        again()
    assert done == [2, 3, 5, 8]
    done.clear()
    content.update({3: 4, 5: 6, 8: None, 2: 0})
    assert again(resume=True) == 0
    assert done == [2, 3, 13, 21]
    assert "2 images changed after the earlier run" in caplog.text
    run(make, function, settings(tmp_path / "one"))
    assert (tmp_path / "out").read_bytes() == (tmp_path / "one").read_bytes()


@pytest.mark.parametrize(("make", "function"), KINDS)
def test_a_stream_cannot_be_resumed(
    make: Make,
    function: Callable[[Item], Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    run(make, function, settings(Path("/dev/null")))
    assert "--resume" not in caplog.text
    run(make, function, settings(Path("/dev/null"), resume=True))
    assert "--resume has no effect without a file as output: give -o FILE" in caplog.text


def test_a_resumed_run_says_what_it_keeps(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger=LineReporter.logger_name)
    make, function = KINDS[0].values
    out = tmp_path / "out"

    def interrupted(item: Item) -> Any:
        if item.id == 8:
            raise DataError("bad luck")
        return masks_of(item)

    with pytest.raises(DataError, match="bad luck"):
        run(make, interrupted, settings(out, jobs=1))  # type: ignore[arg-type]
    assert "kept" not in caplog.text
    caplog.clear()
    run(make, function, settings(out, resume=True))  # type: ignore[arg-type]
    first, last = caplog.records
    assert first.getMessage() == "divide: keeping 3 of 6 images of an earlier run"
    assert re.fullmatch("divide: 3/3 images, .*, 3 kept from before", last.getMessage())
    assert (last.fields["done"], last.fields["kept"]) == (3, 3)  # type: ignore[attr-defined]
    caplog.clear()
    run(make, function, settings(out, resume=True))  # type: ignore[arg-type]
    (only,) = caplog.records
    assert only.getMessage() == "divide: complete, all 6 images were already done"
    assert only.fields["kept"] == 6  # type: ignore[attr-defined]


@pytest.mark.parametrize(("make", "function"), KINDS)
def test_a_complete_output_that_is_older_than_its_source_is_told(
    make: Make,
    function: Callable[[Item], Any],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    out, photo = tmp_path / "out", tmp_path / "photo"
    photo.touch()

    def again(**changes: Any) -> None:
        run_settings = settings(out, **changes)
        work = partial(ordered_map, function, jobs=2)
        items, sink = ITEMS, make(run_settings)
        run_items(items, work, sink, run_settings, content=lambda _: 7, sources=lambda _: [photo])

    again()
    os.utime(photo, ns=(0, 0))
    again(resume=True)
    assert "older than" not in caplog.text
    before = out.stat().st_mtime_ns
    os.utime(photo, ns=(0, before + 1))
    for _ in range(2):
        caplog.clear()
        again(resume=True)
        assert f"{out}: is complete and is kept, but is older than {photo}; delete" in caplog.text
        assert out.stat().st_mtime_ns == before


@pytest.mark.parametrize(("make", "function"), KINDS)
def test_skipped_items_are_listed_and_made_up_for(
    make: Make, function: Callable[[Item], Any], tmp_path: Path
) -> None:
    run(make, function, settings(tmp_path / "one"))

    def sometimes(item: Item) -> Any:
        if item.id in (3, 21):
            raise DataError(f"{item.file_name}: cannot be read")
        return function(item)

    out = tmp_path / "out"
    assert run(make, sometimes, settings(out, on_error="skip")) == 3
    listed = [json.loads(line) for line in Path(f"{out}.errors.jsonl").read_text().splitlines()]
    assert listed == [
        {"file_name": n, "stage": "divide", "error": f"{n}: cannot be read"}
        for n in ("3.jpg", "21.jpg")
    ]
    assert run(make, function, settings(out, resume=True, on_error="skip")) == 0
    assert out.read_bytes() == (tmp_path / "one").read_bytes()
    assert not Path(f"{out}.errors.jsonl").exists()


@pytest.mark.parametrize(("make", "function"), KINDS)
def test_a_complete_output_of_other_settings_is_not_resumed(
    make: Make, function: Callable[[Item], Any], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(make, function, settings(out))
    before = out.read_bytes()
    with pytest.raises(UsageError, match=r"tau was 0.15 and is now 0.2"):
        run(make, function, settings(out, resume=True, step=Step("divide", {"tau": 0.2})))
    assert out.read_bytes() == before


def test_a_signal_stops_after_the_item_at_hand(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def work(items: Sequence[Item]) -> Any:
        for item in items:
            if item.id == 5:
                os.kill(os.getpid(), signal.SIGTERM)
            yield item, masks_of(item)

    run_settings = settings(out)
    with pytest.raises(StoppedError, match="SIGTERM with 3 images left; run again with --resume"):
        run_items(ITEMS, work, MaskSink(run_settings, []), run_settings)
    assert not out.exists()
    run(KINDS[0].values[0], masks_of, settings(out, resume=True))  # type: ignore[arg-type]
    run(KINDS[0].values[0], masks_of, settings(tmp_path / "one"))  # type: ignore[arg-type]
    assert out.read_bytes() == (tmp_path / "one").read_bytes()


def test_no_clobber(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("precious")
    with pytest.raises(UsageError, match="--no-clobber"):
        MaskSink(settings(tmp_path / "out", no_clobber=True), [])
    assert (tmp_path / "out").read_text() == "precious"


def test_output_into_a_missing_folder_fails_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="create it first"):
        MaskSink(settings(tmp_path / "none" / "out"), [])


def shards_of(make: Make, function: Callable[[Item], Any], folder: Path, count: int) -> list[Path]:
    shards = [folder / f"{k}-{count}" for k in range(count)]
    for k, shard in enumerate(shards):
        run(make, function, settings(shard, shard=Shard(k, count)))
    return shards


@pytest.mark.parametrize(("make", "function"), KINDS)
def test_merge_names_shards_that_are_missing_or_doubled(
    make: Make, function: Callable[[Item], Any], tmp_path: Path
) -> None:
    a, b, c, d = shards_of(make, function, tmp_path, 4)
    run(make, function, settings(tmp_path / "one"))
    out = tmp_path / "m"
    for files, message in [
        ([a, b, d], r"shard 2 of 4 is missing"),
        ([d], r"shard 0, 1, 2 of 4 is missing"),
        ([a, b, a, c, d], r"0-4 and .*0-4 both hold shard 0 of 4; merge each once"),
        ([a, b, c, tmp_path / "one"], r"0-4 is a shard of 4 and .*one is no shard"),
        ([tmp_path / "one", tmp_path / "one"], r"image 2 is in both"),
    ]:
        with pytest.raises(DataError, match=message):
            merge(files, output=str(out))
    other = shards_of(make, function, tmp_path, 3)
    with pytest.raises(DataError, match=r"a shard of 4 and .* a shard of 3"):
        merge([a, other[1]], output=str(out))
    assert not out.exists()


def test_merge_refuses_other_settings(tmp_path: Path) -> None:
    make, function = KINDS[0].values
    run(make, function, settings(tmp_path / "a", shard=Shard(0, 2)))  # type: ignore[arg-type]
    run(make, function, settings(tmp_path / "b", step=Step("divide", {"tau": 0.2})))  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"not shards of one run: --tau was 0.15 for .* 0.2 for"):
        merge([tmp_path / "a", tmp_path / "b"], output=str(tmp_path / "m"))


@pytest.mark.parametrize(("make", "function"), KINDS)
def test_a_partial_merge_can_be_completed(
    make: Make, function: Callable[[Item], Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    a, b, c, d = shards_of(make, function, tmp_path, 4)
    run(make, function, settings(tmp_path / "one"))
    merge([d, a], output=str(tmp_path / "some"), partial=True)
    assert "shard 1, 2 of 4 is missing; the output is marked as 0,3/4" in caplog.text
    with pytest.raises(DataError, match="shard 2 of 4 is missing"):
        merge([tmp_path / "some", b], output=str(tmp_path / "m"))
    with pytest.raises(DataError, match=r"some and .*3-4 both hold shard 3 of 4"):
        merge([tmp_path / "some", b, c, d], output=str(tmp_path / "m"))
    merge([tmp_path / "some", b, c], output=str(tmp_path / "m"))
    assert (tmp_path / "m").read_bytes() == (tmp_path / "one").read_bytes()


@pytest.mark.parametrize(("make", "function"), KINDS)
def test_a_shard_of_a_shard_is_one_of_more(
    make: Make, function: Callable[[Item], Any], tmp_path: Path
) -> None:
    """As when a stage is run with ``--shard`` on a file that is itself a shard."""
    run(make, function, settings(tmp_path / "one"))
    shards = []
    for outer, inner in itertools.product(range(2), range(3)):
        shards.append(tmp_path / f"{outer}{inner}")
        nested = settings(shards[-1], shard=Shard(inner, 3)).within(Parts(frozenset({outer}), 2))
        mine = Shard(outer, 2).take(ITEMS)
        run_items(mine, partial(ordered_map, function, jobs=1), make(nested), nested)
    with pytest.raises(DataError, match=r"shard 5 of 6 is missing"):
        merge(shards[:-1], output=str(tmp_path / "m"))
    merge(shards[::-1], output=str(tmp_path / "m"))
    assert (tmp_path / "m").read_bytes() == (tmp_path / "one").read_bytes()


def test_a_shard_can_be_resumed_and_keeps_its_mark(tmp_path: Path) -> None:
    make, function = KINDS[1].values
    (shard, _) = shards_of(make, function, tmp_path, 2)  # type: ignore[arg-type]
    before = shard.read_bytes()
    run(make, function, settings(shard, shard=Shard(0, 2), resume=True))  # type: ignore[arg-type]
    assert shard.read_bytes() == before
    with FeatureFile(shard) as file:
        assert file.attributes.shard == "0/2"


def test_ordered_map_keeps_order_and_looks_only_a_little_ahead() -> None:
    started: list[int] = []
    lock = threading.Lock()

    def square(i: int) -> int:
        with lock:
            started.append(i)
        return i * i

    results = ordered_map(square, range(100), jobs=3)
    assert [next(results)[1] for _ in range(5)] == [0, 1, 4, 9, 16]
    assert len(started) <= 5 + 2 * 3 + 1
    assert [r for _, r in results] == [i * i for i in range(5, 100)]


def test_an_unforeseen_failure_becomes_an_error_of_its_item() -> None:
    def fail(i: int) -> int:
        raise IndexError("oops")

    ((item, error),) = ordered_map(fail, [7], jobs=1)
    assert item == 7
    assert isinstance(error, ItemError)
    assert isinstance(error, UnsamError)
    assert "IndexError: oops" in str(error)
