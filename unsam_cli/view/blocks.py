"""The data of one image in a report: texts that are safe to embed in the page."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unsam_cli.errors import UnsamError
from unsam_cli.io.masks import Annotation
from unsam_cli.io.previews import encode_small
from unsam_cli.view.agreement import Layer, layers_of, shared
from unsam_cli.view.hierarchy import fitted
from unsam_cli.view.prompts import asked
from unsam_cli.view.sets import Photograph

LoadImage = Callable[[dict[str, Any]], NDArray[np.uint8]]
OnError = Callable[[dict[str, Any], UnsamError], None]

_LONGEST_TEXT = 200  # characters shown of a key or value that is not part of the format


def image_blocks(
    entry: Photograph,
    load_image: LoadImage,
    longest: int,
    thumbnail: int,
    *,
    on_error: OnError | None = None,
) -> dict[str, str]:
    """Prepare one image for the page.

    Parameters
    ----------
    entry : Photograph
        The image entry and its masks in every file.
    load_image : callable
        Returns the picture of an image entry, (H, W, 3) uint8; it may be smaller than the masks.
    longest, thumbnail : int
        Longest sides of the picture and of the thumbnail, in pixels. Masks are resized to the size
        of the picture.
    on_error : callable, optional
        Called with the image entry and the error of its picture. By default the error is raised.

    Returns
    -------
    dict
        ``meta`` (JSON for lists and search), ``thumb`` and ``picture`` (JPEG in base64, empty
        without a picture), ``masks`` (JSON). All values are ASCII without ``<``.

    Raises
    ------
    UnsamError
        The picture cannot be read, and `on_error` is not given.
    """
    try:
        scene = _with_picture(entry, load_image(entry.image), longest, thumbnail)
    except UnsamError as error:
        if on_error is None:
            raise
        on_error(entry.image, error)
        scene = _without_picture(entry, longest, str(error))
    image = entry.image
    meta = {
        "id": _exact(image.get("id", 0)),
        "name": str(image.get("file_name", image.get("id", ""))),
        "width": scene.size[1],
        "height": scene.size[0],
        "counts": [len(masks) for masks in scene.sets],
        "shared": scene.shared,
        "ids": [_ranges([mask["id"] for mask in masks]) for masks in scene.sets],
        "thumb": _jpeg_size(scene.thumb) if scene.thumb else (4, 3),
        "picture": bool(scene.picture),
        "problem": scene.problem,
    }
    h, w = scene.shown
    return {
        "meta": as_json(meta),
        "thumb": base64.b64encode(scene.thumb).decode(),
        "picture": base64.b64encode(scene.picture).decode(),
        "masks": as_json({"w": w, "h": h, "sets": scene.sets}),
    }


@dataclass(frozen=True, slots=True)
class _Scene:
    """An image to embed: its size (H, W), the size on the page, masks, and pictures as JPEG.

    `shared` counts the masks of each set that show an object of the first set.
    """

    size: tuple[int, int]
    shown: tuple[int, int]
    sets: list[list[dict[str, Any]]]
    shared: list[int]
    picture: bytes = b""
    thumb: bytes = b""
    problem: str = ""


def _with_picture(
    entry: Photograph, rgb: NDArray[np.uint8], longest: int, thumbnail: int
) -> _Scene:
    height, width, _ = rgb.shape
    picture = encode_small(rgb, longest=longest)
    w, h = _jpeg_size(picture)
    masks = _mask_records(entry.sets, (h, w))
    size = _size(entry, default=(height, width))
    return _Scene(size, (h, w), *masks, picture, encode_small(rgb, longest=thumbnail))


def _without_picture(entry: Photograph, longest: int, problem: str) -> _Scene:
    """Show only the masks; if their sizes differ, show nothing."""
    height, width = size = _size(entry, default=(3, 4))
    scale = min(1.0, longest / max(height, width))
    shown = max(1, round(height * scale)), max(1, round(width * scale))
    try:
        masks = _mask_records(entry.sets, shown)
    except UnsamError:
        masks = [[] for _ in entry.sets], [0 for _ in entry.sets]
    return _Scene(size, shown, *masks, problem=problem)


def _size(entry: Photograph, *, default: tuple[int, int]) -> tuple[int, int]:
    """Height and width of the original: those of the masks, or else those of the image entry."""
    for masks in entry.sets:
        if masks:
            height, width = masks[0].rle["size"]
            return height, width
    return entry.image.get("height", default[0]), entry.image.get("width", default[1])


def _mask_records(
    sets: Sequence[list[Annotation]], size: tuple[int, int]
) -> tuple[list[list[dict[str, Any]]], list[int]]:
    """Collect the data of the masks of each set, and count those that the first set shares."""
    layers = layers_of(sets)
    return [_layer_records(layer, size, alone=len(sets) == 1) for layer in layers], shared(layers)


def _layer_records(layer: Layer, size: tuple[int, int], *, alone: bool) -> list[dict[str, Any]]:
    """Collect the data of the masks for the page, from the largest to the smallest."""
    annotations, tree = layer.annotations, layer.tree
    rles = fitted([annotation.rle for annotation in annotations], size)
    place = np.full(len(annotations) + 1, -1, dtype=np.int64)  # the last one: no parent
    place[tree.order] = np.arange(len(annotations))
    return [
        _facts(annotations[i])
        | _prompt(annotations[i], size)
        | {
            "rle": rles[i]["counts"].decode("ascii"),
            "parent": int(place[tree.parents[i]]),
            "depth": int(tree.depths[i]),
            "color": "#" + layer.colours[i].tobytes().hex(),
        }
        | ({} if alone else {"object": int(layer.objects[i])})
        for i in tree.order.tolist()
    ]


def _facts(annotation: Annotation) -> dict[str, Any]:
    """Collect the metadata of one mask; values that the file does not have are left out."""
    facts = {
        "area": annotation.area,
        "score": annotation.score,
        "stage": annotation.stage,
        "level": annotation.level,
        "granularity": annotation.granularity,
        "crowd": annotation.iscrowd or None,
    }
    extra = {
        name[:_LONGEST_TEXT]: value[:_LONGEST_TEXT] if isinstance(value, str) else _exact(value)
        for name, value in annotation.extra.items()
        if _is_fact(value) and isinstance(value, str | int | float)
    }
    return {
        "id": _exact(annotation.id),
        "bbox": [round(float(side), 1) for side in annotation.bbox],
        **{name: value for name, value in facts.items() if _is_fact(value)},
        **({"extra": extra} if extra else {}),
    }


def _prompt(annotation: Annotation, size: tuple[int, int]) -> dict[str, Any]:
    """Collect the prompt of a mask, in pixels of a picture of `size` (H, W)."""
    prompt = asked(annotation, size)
    return {} if prompt is None else {"prompt": asdict(prompt)}


def _is_fact(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and not math.isfinite(value))


def _exact(number: Any) -> Any:
    """Turn whole numbers beyond the 53 bits of JavaScript into text."""
    return str(number) if isinstance(number, int) and abs(number) >= 2**53 else number


def _ranges(ids: list[int | str]) -> list[list[int]]:
    """Group ids into runs of consecutive numbers as [first, last]."""
    runs: list[list[int]] = []
    for number in sorted(map(int, ids)):
        if runs and number <= runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return runs


def as_json(value: Any) -> str:
    """Encode a value as JSON that is safe inside an HTML script element."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Width and height of a JPEG, in pixels."""
    with Image.open(io.BytesIO(data)) as image:
        return image.size
