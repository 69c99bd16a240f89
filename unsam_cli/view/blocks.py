"""What a report holds of one image: small texts that cannot break out of the page."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unsam_cli.errors import UnsamError
from unsam_cli.io.images import encode_preview
from unsam_cli.io.masks import Annotation, ImageMasks
from unsam_cli.rle import Rle
from unsam_cli.view.colours import hierarchy_colours
from unsam_cli.view.hierarchy import forest
from unsam_cli.view.overlays import fitted

LoadImage = Callable[[dict[str, Any]], NDArray[np.uint8]]
OnError = Callable[[dict[str, Any], UnsamError], None]


def image_blocks(
    entry: ImageMasks,
    load_image: LoadImage,
    longest: int,
    thumbnail: int,
    *,
    on_error: OnError | None = None,
) -> dict[str, str]:
    """Prepare one image for the page.

    Parameters
    ----------
    entry : ImageMasks
        The image entry and its annotations.
    load_image : callable
        Gives the picture, (H, W, 3) uint8, for the image entry; it may be smaller than the masks.
    longest, thumbnail : int
        Longest sides of the two pictures in pixels; the masks get the size of the first.
    on_error : callable, optional
        Takes the image entry and what is wrong with its picture; by default that is raised.

    Returns
    -------
    dict
        ``meta`` (JSON: what lists and search need), ``thumb`` and ``picture`` (JPEG in base64,
        empty without a picture), ``masks`` (JSON). All ASCII, without ``<``.
    """
    image, rles = entry.image, [annotation.rle for annotation in entry.annotations]
    picture, thumb, problem = b"", b"", ""
    size = rles[0]["size"] if rles else (image.get("height"), image.get("width"))
    try:
        rgb = load_image(image)
        height, width = (size[0] or rgb.shape[0]), (size[1] or rgb.shape[1])
        picture = encode_preview(rgb, longest=longest)
        thumb = encode_preview(rgb, longest=thumbnail)
        w, h = _jpeg_size(picture)
        resized = fitted(rles, (h, w))
    except UnsamError as error:
        if on_error is None:
            raise
        on_error(image, error)
        picture, thumb, problem = b"", b"", str(error)
        height, width = (size[0] or 3), (size[1] or 4)
        scale = min(1.0, longest / max(height, width))
        h, w = max(1, round(height * scale)), max(1, round(width * scale))
        resized = fitted(rles, (h, w))
    masks = _mask_records(entry.annotations, resized)
    meta = {
        "id": image.get("id"),
        "name": str(image.get("file_name", image.get("id", ""))),
        "width": int(width),
        "height": int(height),
        "count": len(masks),
        "ids": _ranges([mask["id"] for mask in masks]),
        "thumb": _jpeg_size(thumb) if thumb else (4, 3),
        "picture": bool(picture),
        "problem": problem,
    }
    return {
        "meta": _json(meta),
        "thumb": base64.b64encode(thumb).decode(),
        "picture": base64.b64encode(picture).decode(),
        "masks": _json({"w": w, "h": h, "masks": masks}),
    }


def _mask_records(annotations: Sequence[Annotation], rles: Sequence[Rle]) -> list[dict[str, Any]]:
    """Collect what the page knows of the masks, from the largest to the smallest."""
    tree = forest(annotations)
    colours = hierarchy_colours(tree.parents, tree.depths)
    place = np.full(len(annotations) + 1, -1, dtype=np.int64)  # the last one: no parent
    place[tree.order] = np.arange(len(annotations))
    return [
        _facts(annotations[i])
        | {
            "rle": rles[i]["counts"].decode("ascii"),
            "parent": int(place[tree.parents[i]]),
            "depth": int(tree.depths[i]),
            "color": "#" + colours[i].tobytes().hex(),
        }
        for i in tree.order.tolist()
    ]


def _facts(annotation: Annotation) -> dict[str, Any]:
    """Collect what the file says of one mask; what it does not say is left out."""
    facts = {
        "id": annotation.id,
        "area": annotation.area,
        "bbox": [round(float(side), 1) for side in annotation.bbox],
        "score": annotation.score,
        "stage": annotation.stage,
        "level": annotation.level,
        "granularity": annotation.granularity,
    }
    return {
        name: value
        for name, value in facts.items()
        if value is not None and not (isinstance(value, float) and not math.isfinite(value))
    }


def _ranges(ids: list[int]) -> list[list[int]]:
    """Group ids into runs of consecutive numbers as [first, last]."""
    runs: list[list[int]] = []
    for number in sorted(ids):
        if runs and number <= runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return runs


def _json(value: Any) -> str:
    """JSON that can stand inside an HTML script element."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels."""
    with Image.open(io.BytesIO(data)) as image:
        return image.size
