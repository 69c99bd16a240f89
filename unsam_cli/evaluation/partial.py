"""Parts of an evaluation, made by ``--shard``: JSON that can be merged into the whole report."""

from __future__ import annotations

import base64
import logging
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from unsam_cli.errors import DataError, MissingInputError, UsageError, counted
from unsam_cli.evaluation.matches import Contribution, FileResult, Matches, PointResult
from unsam_cli.evaluation.report import Header, build_report, write_report
from unsam_cli.evaluation.settings import EvaluateSettings
from unsam_cli.io.files import open_regular
from unsam_cli.run.one_run import ShardFile, united
from unsam_cli.run.output import check_output, publish
from unsam_cli.run.shards import Parts, parts_of

logger = logging.getLogger(__name__)

FORMAT = "unsam-evaluation-part"
VERSION = 2
_START = f'{{"format":"{FORMAT}"'.encode()


@dataclass(frozen=True)
class Part:
    """One shard of an evaluation, or several."""

    path: Path
    header: Header
    parts: Parts
    skipped: int
    images: list[Contribution]

    def named(self) -> Iterator[tuple[int, str]]:
        """Yield the id of every image, and a name that no other image has."""
        return ((i.image_id, f"image {i.image_id}, {i.file_name}") for i in self.images)


def is_partial(path: Path) -> bool:
    """Whether a file exists and is a part of an evaluation."""
    if not path.is_file():
        return False
    with open_regular(path) as stream:
        return stream.read(len(_START)) == _START


def merge_reports(
    files: Sequence[Path], *, output: str, no_clobber: bool = False, partial: bool = False
) -> None:
    """Merge the parts of one evaluation, in any order, into the report of one run.

    Parameters
    ----------
    files : sequence of Path
        The parts.
    output : str
        Path of the report; ``-`` is standard output.
    no_clobber : bool
        Refuse to replace an existing output.
    partial : bool
        Join parts although some are missing. The result is a larger part, which can be merged with
        the rest later.

    Raises
    ------
    MissingInputError
        A file does not exist.
    DataError
        Parts belong to different evaluations, or one is missing, given twice, or damaged. The
        message names it.
    """
    check_output(output, binary=False, no_clobber=no_clobber)
    found = [read_part(file) for file in files]
    shards = [ShardFile(p.path, p.header.history, p.parts, p.named) for p in found]
    marks = united(shards, partial=partial).marks
    images = sorted((i for part in found for i in part.images), key=lambda i: i.image_id)
    header, skipped = found[0].header, sum(part.skipped for part in found)
    if marks:
        lines = map(packed, images)
        publish(output, lambda path: write_part(path, header, marks, lines, skipped=skipped))
        return
    if skipped:
        logger.warning("%s skipped and not counted", counted(skipped, "image"))
    report = build_report(header, images, skipped=skipped)
    publish(output, lambda path: write_report(path, report))


def write_part(
    path: Path, header: Header, marks: Mapping[str, str], lines: Iterable[bytes], *, skipped: int
) -> None:
    """Write a part, one :func:`packed` image per line.

    Parameters
    ----------
    path : Path
        Path of the part.
    header : Header
        The evaluation.
    marks : mapping
        Marks of the part of a run, see :class:`~unsam_cli.run.shards.Parts`.
    lines : iterable of bytes
        The images as JSON.
    skipped : int
        Number of images that were left out because of an error.
    """
    own = {"format": FORMAT, "version": VERSION, **asdict(header), **marks, "skipped": skipped}
    with path.open("wb") as stream:
        stream.write(orjson.dumps(own)[:-1] + b',"images":[')
        separator = b"\n"
        for line in lines:
            stream.write(separator + line)
            separator = b",\n"
        stream.write(b"\n]}\n")


def read_part(path: Path) -> Part:
    """Read a part.

    Raises
    ------
    MissingInputError
        The file does not exist.
    DataError
        The file is not a part of an evaluation, has another version, or is damaged.
    """
    if not path.exists():
        raise MissingInputError(f"{path}: no such file; is a shard missing?")
    if not is_partial(path):
        raise DataError(f"{path}: is not part of an evaluation; evaluate --shard writes parts")
    try:
        value = orjson.loads(path.read_bytes())
        if value["version"] != VERSION:
            raise DataError(
                f"{path}: has version {value['version']}, but this program reads version "
                f"{VERSION}; run evaluate --shard again"
            )
        settings = EvaluateSettings(**value["settings"])
        header = Header(value["history"], value["names"], settings, value["seed"])
        images = [unpacked(image) for image in value["images"]]
        return Part(path, header, parts_of(value, path), value["skipped"], images)
    except DataError:
        raise
    except (ValueError, KeyError, TypeError, UsageError, zlib.error) as error:
        raise DataError(f"{path}: damaged: {error}; run evaluate --shard again") from error


def packed(image: Contribution) -> bytes:
    """Return the JSON text of one image."""
    files = [
        {
            "predictions": f.predictions,
            "category_zero": f.category_zero,
            "scores": _text(f.matches.scores),
            "all": _packed_matches(f.matches),
            "by": {value: _packed_matches(m) for value, m in f.by.items()},
            "rest": None if f.rest is None else _packed_matches(f.rest),
        }
        for f in image.files
    ]
    keys = ("image_id", "file_name", "truths", "crowds", "odd_areas", "empty")
    plain = {key: getattr(image, key) for key in keys}
    return orjson.dumps(plain | {"files": files, "points": [asdict(p) for p in image.points]})


def unpacked(entry: dict[str, Any]) -> Contribution:
    """Return the image that a JSON object made by :func:`packed` describes."""
    files = []
    for f in entry.pop("files"):
        scores = _array(f.pop("scores"), "f8")

        def matches(found: dict[str, Any], scores: NDArray[np.float64] = scores) -> Matches:
            return _unpacked_matches(found, scores)

        by = {value: matches(m) for value, m in f.pop("by").items()}
        every, rest = matches(f.pop("all")), f.pop("rest")
        files.append(FileResult(matches=every, by=by, rest=rest and matches(rest), **f))
    points = [PointResult(**p) for p in entry.pop("points")]
    return Contribution(files=files, points=points, **entry)


def _packed_matches(m: Matches) -> dict[str, Any]:
    return {
        "matched": _text(m.matched),
        "ignored": _text(m.ignored),
        "positives": m.positives.tolist(),
    }


def _unpacked_matches(entry: dict[str, Any], scores: NDArray[np.float64]) -> Matches:
    positives = np.array(entry["positives"], dtype=np.int64)
    flags = [
        _array(entry[key], "u2").reshape(len(positives), len(scores))
        for key in ("matched", "ignored")
    ]
    return Matches(scores, flags[0], flags[1], positives)


def _text(values: NDArray[Any]) -> str:
    little = values.astype(values.dtype.newbyteorder("<"), copy=False)
    return base64.b64encode(zlib.compress(little.tobytes(), 1)).decode()


def _array(text: str, dtype: str) -> NDArray[Any]:
    data = zlib.decompress(base64.b64decode(text))
    return np.frombuffer(data, dtype=f"<{dtype}").astype(dtype)
