"""Parts of an evaluation, made by ``--shard``: JSON that can be merged into the whole report."""

from __future__ import annotations

import base64
import logging
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from unsam_cli.errors import DataError, MissingInputError
from unsam_cli.evaluation.matches import FileResult, ImageResult, Matches, PointResult
from unsam_cli.evaluation.report import Header, build_report
from unsam_cli.io.files import open_regular
from unsam_cli.run.differences import first_difference
from unsam_cli.run.output import check_output, publish
from unsam_cli.run.shards import Shard

logger = logging.getLogger(__name__)

FORMAT = "unsam-evaluation-part"
VERSION = 1
_START = f'{{"format":"{FORMAT}"'.encode()


@dataclass(frozen=True)
class Part:
    """A shard of an evaluation."""

    path: Path
    header: Header
    shard: Shard
    images: list[ImageResult]
    skipped: int


def is_partial(path: Path) -> bool:
    """Whether a file exists and is a part of an evaluation."""
    if not path.is_file():
        return False
    with open_regular(path) as stream:
        return stream.read(len(_START)) == _START


def merge_reports(files: Sequence[Path], *, output: str, no_clobber: bool = False) -> None:
    """Merge the parts of one evaluation, in any order, into the report of one run.

    Raises
    ------
    MissingInputError
        A file does not exist.
    DataError
        Parts of different evaluations, or one is missing, given twice, or damaged; it is named.
    """
    check_output(output, binary=False, no_clobber=no_clobber)
    parts = [read_part(file) for file in files]
    _check_parts(parts)
    images = sorted((i for part in parts for i in part.images), key=lambda i: i.index)
    skipped = sum(part.skipped for part in parts)
    if skipped:
        logger.warning("%d images were skipped and are not counted", skipped)
    report = build_report(parts[0].header, images, skipped=skipped)
    publish(output, lambda path: write_report(path, report))


def write_report(path: Path, report: dict[str, Any]) -> None:
    """Write a report as JSON, indented by two spaces."""
    path.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2) + b"\n")


def _check_parts(parts: Sequence[Part]) -> None:
    first = parts[0]
    seen: dict[int, Path] = {}
    for part in parts:
        difference = first_difference(asdict(first.header), asdict(part.header))
        if difference is not None:
            what, mine, theirs = difference
            raise DataError(
                f"{first.path} and {part.path} are not parts of one evaluation: {what} was "
                f"{mine} for the first and {theirs} for the second; run them again with the "
                "same settings and inputs"
            )
        if part.shard.count != first.shard.count:
            raise DataError(
                f"{first.path} is one of {first.shard.count} shards and {part.path} is one "
                f"of {part.shard.count}; merge the shards of one run"
            )
        if part.shard.index in seen:
            other = seen[part.shard.index]
            raise DataError(
                f"{other} and {part.path} are both shard {part.shard.index}; merge each once"
            )
        seen[part.shard.index] = part.path
    missing = [str(k) for k in range(first.shard.count) if k not in seen]
    if missing:
        raise DataError(
            f"shard {', '.join(missing)} of {first.shard.count} is missing; merge all shards"
        )
    found = sum(len(part.images) + part.skipped for part in parts)
    if found != first.header.images:
        raise DataError(
            f"{first.path}: the shards contain {found} of {first.header.images} images; run "
            "evaluate --shard again"
        )


def write_part(
    path: Path, header: Header, shard: Shard, images: Iterable[ImageResult], *, skipped: int = 0
) -> None:
    """Write a part, one image per line."""
    own = {"shard": [shard.index, shard.count], "skipped": skipped}
    head = orjson.dumps({"header": asdict(header)} | own)
    with path.open("wb") as stream:
        stream.write(_START + f',"version":{VERSION},'.encode() + head[1:-1] + b',"images":[')
        separator = b"\n"
        for image in images:
            stream.write(separator + orjson.dumps(_packed(image)))
            separator = b",\n"
        stream.write(b"\n]}\n")


def read_part(path: Path) -> Part:
    """Read a part.

    Raises
    ------
    MissingInputError
        No such file.
    DataError
        Not a part of an evaluation, of another version, or damaged.
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
        images = [_unpacked(image) for image in value["images"]]
        header, shard = Header(**value["header"]), Shard(*value["shard"])
        return Part(path, header, shard, images, value["skipped"])
    except DataError:
        raise
    except (ValueError, KeyError, TypeError, zlib.error) as error:
        raise DataError(f"{path}: damaged: {error}; run evaluate --shard again") from error


def _packed(image: ImageResult) -> dict[str, Any]:
    files = [
        {
            "predictions": f.predictions,
            "scores": _text(f.matches.scores),
            "all": _packed_matches(f.matches),
            "by": {value: _packed_matches(m) for value, m in f.by.items()},
            "rest": None if f.rest is None else _packed_matches(f.rest),
        }
        for f in image.files
    ]
    keys = ("index", "image_id", "file_name", "truths", "crowds")
    plain = {key: getattr(image, key) for key in keys}
    return plain | {"files": files, "points": [asdict(p) for p in image.points]}


def _unpacked(entry: dict[str, Any]) -> ImageResult:
    files = []
    for f in entry.pop("files"):
        scores = _array(f["scores"], "f8")

        def matches(packed: dict[str, Any], scores: NDArray[np.float64] = scores) -> Matches:
            return _unpacked_matches(packed, scores)

        by = {value: matches(m) for value, m in f["by"].items()}
        rest = None if f["rest"] is None else matches(f["rest"])
        files.append(FileResult(f["predictions"], matches(f["all"]), by, rest))
    points = [PointResult(**p) for p in entry.pop("points")]
    return ImageResult(files=files, points=points, **entry)


def _packed_matches(m: Matches) -> dict[str, Any]:
    return {
        "matched": _text(m.matched),
        "ignored": _text(m.ignored),
        "positives": m.positives.tolist(),
    }


def _unpacked_matches(packed: dict[str, Any], scores: NDArray[np.float64]) -> Matches:
    positives = np.array(packed["positives"], dtype=np.int64)
    flags = [
        _array(packed[key], "u2").reshape(len(positives), len(scores))
        for key in ("matched", "ignored")
    ]
    return Matches(scores, flags[0], flags[1], positives)


def _text(values: NDArray[Any]) -> str:
    little = values.astype(values.dtype.newbyteorder("<"), copy=False)
    return base64.b64encode(zlib.compress(little.tobytes(), 1)).decode()


def _array(text: str, dtype: str) -> NDArray[Any]:
    data = zlib.decompress(base64.b64decode(text))
    return np.frombuffer(data, dtype=f"<{dtype}").astype(dtype)
