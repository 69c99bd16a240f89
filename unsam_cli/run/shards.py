"""Split a list of images over several processes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from unsam_cli.errors import DataError, UsageError
from unsam_cli.run.image_list import is_list_identity

T = TypeVar("T")


@dataclass(frozen=True)
class Shard:
    """Part `index` of `count`: items index, index + count, index + 2 count...

    Since shards are interleaved, their length and cost are about equal for any order of the list.
    """

    index: int = 0
    count: int = 1

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def take(self, items: Sequence[T]) -> Sequence[T]:
        """Return this shard's items, in order."""
        return items[self.index :: self.count]


@dataclass(frozen=True)
class Parts:
    """Which of the `count` shards of a run a file holds.

    An incomplete file stores this as a mark, such as ``0/4``. Each stage copies the mark to its
    output, and ``merge`` removes it when no shard is missing. The file also stores the identity of
    the complete list of images, see :func:`~unsam_cli.run.image_list.list_identity`; files of
    earlier versions have none.
    """

    indices: frozenset[int] = frozenset({0})
    count: int = 1
    image_list: str = ""

    @property
    def missing(self) -> list[int]:
        """The shards that the file does not hold."""
        return [k for k in range(self.count) if k not in self.indices]

    @property
    def mark(self) -> str:
        """The mark, such as ``0/4`` or ``0,2/4``; empty for a complete run."""
        return f"{','.join(map(str, sorted(self.indices)))}/{self.count}" if self.missing else ""

    @property
    def marks(self) -> dict[str, str]:
        """The marks of the file by key; empty for a complete run."""
        found = {"shard": self.mark, "image_list": self.image_list if self.missing else ""}
        return {key: value for key, value in found.items() if value}

    def cut(self, shard: Shard) -> Parts:
        """Return the parts of the complete run that a shard of this file holds.

        If a file holds the items K, K + N, K + 2 N... of a list, its item k + n j is item
        K + N k + N n j of the list. For several K, the same numbers still identify all parts.
        """
        cut = frozenset(k + self.count * shard.index for k in self.indices)
        return Parts(cut, self.count * shard.count, self.image_list)


WHOLE = Parts()
MOST_SHARDS = 2**20
"""Largest number of shards that the mark of a file may have; more are refused."""


def parts_of(marks: Mapping[str, object], file: Path | str) -> Parts:
    """Read the marks of a part of a run, ``shard`` and ``image_list``; no marks mean a whole run.

    Raises
    ------
    DataError
        The marks do not have the form that this program writes.
    """
    mark, image_list = marks.get("shard"), marks.get("image_list") or ""
    if mark in (None, ""):
        return WHOLE
    match = re.fullmatch(r"(\d+(?:,\d+)*)/(\d+)", mark) if isinstance(mark, str) else None
    indices = frozenset(map(int, match[1].split(","))) if match else frozenset[int]()
    if not match or not max(indices) < int(match[2]) <= MOST_SHARDS:
        raise DataError(f"{file}: its shard is {mark!r:.60}, not K/N; write the file again")
    if image_list and not is_list_identity(image_list):
        raise DataError(f"{file}: its image_list is {image_list!r:.60}; write the file again")
    return Parts(indices, int(match[2]), str(image_list))


def parse_shard(text: str, environ: Mapping[str, str]) -> Shard:
    """Read ``K/N`` or ``slurm``.

    Under ``slurm`` an array task takes its share by ``SLURM_ARRAY_TASK_ID``, and each task of a
    step started by ``srun`` takes its share of that.

    Raises
    ------
    UsageError
        Not ``K/N`` with 0 <= K < N, or no Slurm variables.
    """
    if text == "slurm":
        return _from_slurm(environ)
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match or int(match[1]) >= int(match[2]):
        raise UsageError(f"--shard {text}: give K/N with 0 <= K < N (such as 0/4), or slurm")
    return Shard(int(match[1]), int(match[2]))


def _from_slurm(environ: Mapping[str, str]) -> Shard:
    def number(name: str, default: int | None = None) -> int:
        try:
            return int(environ[name]) if name in environ or default is None else default
        except (KeyError, ValueError) as e:
            raise UsageError(f"--shard slurm: {name} is not a number") from e

    array = "SLURM_ARRAY_TASK_ID" in environ
    step = "SLURM_STEP_ID" in environ and "SLURM_PROCID" in environ
    if not array and not step:
        raise UsageError(
            "--shard slurm: neither SLURM_ARRAY_TASK_ID nor SLURM_PROCID is set; "
            "start the command in an array job or by srun, or give --shard K/N"
        )
    index, count = 0, 1
    if array:
        first, stride = number("SLURM_ARRAY_TASK_MIN", 0), number("SLURM_ARRAY_TASK_STEP", 1)
        index = (number("SLURM_ARRAY_TASK_ID") - first) // max(stride, 1)
        count = number("SLURM_ARRAY_TASK_COUNT")
    if step:
        tasks = number("SLURM_NTASKS", 1)
        index, count = index * tasks + number("SLURM_PROCID"), count * tasks
    if not 0 <= index < count:
        raise UsageError(
            f"--shard slurm: the Slurm variables give the invalid shard {index}/{count}"
        )
    return Shard(index, count)
