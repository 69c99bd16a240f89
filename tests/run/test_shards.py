from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unsam_cli.errors import DataError, UsageError
from unsam_cli.run.shards import WHOLE, Parts, Shard, parse_shard, parts_of


@given(st.integers(0, 50), st.integers(1, 9))
def test_shards_partition_the_list(length: int, count: int) -> None:
    items = list(range(length))
    parts = [Shard(k, count).take(items) for k in range(count)]
    assert sorted(i for part in parts for i in part) == items
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_interleaves() -> None:
    assert list(parse_shard("1/3", {}).take("abcdefgh")) == ["b", "e", "h"]


@pytest.mark.parametrize("text", ["3/3", "-1/2", "1", "a/b", "1/0", "0/-1", "1/2/3", ""])
def test_refuses_what_is_not_a_part(text: str) -> None:
    with pytest.raises(UsageError, match="0 <= K < N"):
        parse_shard(text, {})


def test_slurm_array_with_offset_and_step() -> None:
    environ = {
        "SLURM_ARRAY_TASK_ID": "14",
        "SLURM_ARRAY_TASK_MIN": "10",
        "SLURM_ARRAY_TASK_STEP": "2",
        "SLURM_ARRAY_TASK_COUNT": "5",
    }
    assert parse_shard("slurm", environ) == Shard(2, 5)


def test_slurm_step_splits_the_share_of_its_array_task() -> None:
    array = {"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_COUNT": "2"}
    shards = []
    for task in range(3):
        step = {"SLURM_STEP_ID": "0", "SLURM_PROCID": str(task), "SLURM_NTASKS": "3"}
        shards.append(parse_shard("slurm", {**array, **step}))
    assert shards == [Shard(3, 6), Shard(4, 6), Shard(5, 6)]


def test_slurm_batch_shell_without_srun_is_not_a_step() -> None:
    with pytest.raises(UsageError, match="SLURM_ARRAY_TASK_ID"):
        parse_shard("slurm", {"SLURM_NTASKS": "4", "SLURM_PROCID": "0"})


def test_slurm_nonsense_is_named() -> None:
    with pytest.raises(UsageError, match="SLURM_ARRAY_TASK_COUNT"):
        parse_shard("slurm", {"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_TASK_COUNT": "x"})


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 40))
def test_the_parts_of_parts_are_parts(outer: int, inner: int, length: int) -> None:
    """A shard of a shard holds what the shard that it is marked as would hold."""
    items = list(range(length))
    marks: set[int] = set()
    for k in range(outer):
        mine = WHOLE.cut(Shard(k, outer))
        for j in range(inner):
            cut = mine.cut(Shard(j, inner))
            (index,) = cut.indices
            assert Shard(index, cut.count).take(items) == Shard(k, outer).take(items)[j::inner]
            marks |= cut.indices
    assert marks == set(range(outer * inner))


@given(st.sets(st.integers(0, 8), min_size=1), st.integers(10, 12))
def test_marks_are_read_as_they_are_written(indices: set[int], count: int) -> None:
    parts = Parts(frozenset(indices), count)
    assert parts_of(parts.marks, "file") == parts


def test_a_whole_run_has_no_mark() -> None:
    assert WHOLE.marks == Parts(frozenset({0, 1, 2}), 3, "7:").marks == {}
    assert parts_of({}, "file") == parts_of({"shard": ""}, "file") == WHOLE


@pytest.mark.parametrize("mark", ["2/2", "1", 3, "a/b", "0,/2", "0,5/4", "1/0"])
def test_a_strange_mark_is_refused(mark: object) -> None:
    with pytest.raises(DataError, match=r"a\.json: its shard is .*, not K/N"):
        parts_of({"shard": mark}, "a.json")
