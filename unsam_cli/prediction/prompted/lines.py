"""Files of prompts: one JSON object per line."""

from __future__ import annotations

import codecs
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from unsam_cli.errors import DataError
from unsam_cli.io.files import open_regular
from unsam_cli.io.kinds import HEAD, mistaken
from unsam_cli.sam.settings import Prompt

_KEYS = ("image", "points", "labels", "box", "granularity", "prompt_id")
_LEAST_GRANULARITY = 0.1
_COCO = (b'{"info"', b'{"images"', b'{"annotations"', b'{"categories"', b'{"licenses"')


@dataclass(frozen=True)
class PromptLine:
    """A prompt of a file.

    Attributes
    ----------
    name : str
        File and number of the line.
    image : str
        File name of the image.
    prompt : Prompt
        The prompt, in pixels of the image.
    prompt_id : int or str
        Id as given, or the number of the line.
    """

    name: str
    image: str
    prompt: Prompt
    prompt_id: int | str


def read_lines(path: Path, name: str) -> Iterator[PromptLine]:
    """Yield the prompts of a file; empty lines are skipped.

    Raises
    ------
    DataError
        A line is not a prompt; the message names it.
    """
    with open_regular(path, name) as stream:
        if wrong := mistaken(stream.read(HEAD), "prompts"):
            raise DataError(f"{name}: {wrong}")
        stream.seek(0)
        for number, line in enumerate(stream, start=1):
            text = line.removeprefix(codecs.BOM_UTF8)
            if not text.strip():
                continue
            try:
                yield _parse(text, f"{name}: line {number}", number)
            except ValueError as error:
                raise DataError(f"{name}: line {number}: {error}; fix or remove it") from error


def _parse(text: bytes, name: str, number: int) -> PromptLine:
    if text.lstrip().startswith(_COCO):
        raise ValueError("looks like a file of masks; use --prompts-from for masks")
    try:
        record = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error})") from error
    if not isinstance(record, dict):
        raise ValueError("must be an object with image, and points or box")
    for key in record:
        if key not in _KEYS:
            raise ValueError(f"has an unknown key {key!r:.40}, not one of {', '.join(_KEYS)}")
    image, prompt_id = record.get("image"), record.get("prompt_id", number)
    if not isinstance(image, str) or not image:
        raise ValueError(f"image must be a file name, got {image!r:.40}")
    if not isinstance(prompt_id, int | str) or isinstance(prompt_id, bool):
        raise ValueError(f"prompt_id must be a whole number or text, got {prompt_id!r:.40}")
    return PromptLine(name, image, _prompt(record), prompt_id)


def _prompt(record: dict[str, Any]) -> Prompt:
    points = record.get("points") or []
    if not isinstance(points, list):
        raise ValueError(f"points must be a list [[x, y], ...], got {points!r:.40}")
    labels, box = record.get("labels"), record.get("box")
    if labels is None:
        labels = [1] * len(points)
    if not isinstance(labels, list) or not all(type(label) is int for label in labels):
        raise ValueError(f"labels must be a list of 1 and 0, got {labels!r:.40}")
    granularity = record.get("granularity")
    if granularity is not None and not (
        _is_number(granularity) and _LEAST_GRANULARITY <= granularity <= 1
    ):
        raise ValueError(f"granularity must be from 0.1 to 1, got {granularity!r:.40}")
    x0y0x1y1 = None if box is None else _numbers(box, 4, "box must be four numbers x0, y0, x1, y1")
    return Prompt(
        tuple(_numbers(point, 2, "a point must be two numbers x, y") for point in points),
        tuple(labels),
        box=x0y0x1y1,
        granularity=granularity,
    )


def _numbers(values: Any, count: int, wanted: str) -> Any:
    """Return a tuple of `count` numbers."""
    right = isinstance(values, list) and len(values) == count and all(map(_is_number, values))
    if not right:
        raise ValueError(f"{wanted}, got {values!r:.60}")
    return tuple(map(float, values))


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)
