"""Convert masks to formats other than COCO, one image at a time, in worker threads."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import orjson
from PIL import Image

from unsam_cli.convert.dataset import SourceImage
from unsam_cli.convert.outlines import join, outlines
from unsam_cli.convert.settings import WriteSettings
from unsam_cli.errors import DataError
from unsam_cli.io.drawings import save_drawing
from unsam_cli.io.images import read_image
from unsam_cli.io.sizes import check_size
from unsam_cli.rle import Rle, area, to_runs
from unsam_cli.run.sinks import MaskResult

_JPEG = b"\xff\xd8\xff"
_RESULT_KEYS = ("image_id", "category_id", "segmentation", "score")


def to_results(image: SourceImage, result: MaskResult, settings: WriteSettings) -> MaskResult:
    """Keep the keys of a result, without `bbox`, from which pycocotools would take the area."""
    kept = [
        {key: {"score": 1.0, **a}[key] for key in _RESULT_KEYS}
        for a in result.annotations
        if not a["iscrowd"]
    ]
    return MaskResult(result.height, result.width, kept)


def to_polygons(image: SourceImage, result: MaskResult, settings: WriteSettings) -> MaskResult:
    """Replace RLE by polygons, except for crowd regions, as in COCO, and for empty masks."""
    changed = []
    for a in result.annotations:
        loops = [] if a["iscrowd"] else outlines(_rle(a), tolerance=settings.tolerance)
        polygons = [loop.ravel().tolist() for loop in loops]
        changed.append({**a, "segmentation": polygons} if polygons else a)
    return MaskResult(result.height, result.width, changed)


def to_sa1b(image: SourceImage, result: MaskResult, settings: WriteSettings) -> bytes:
    """Write one file of SA-1B, with all keys of the masks."""
    return orjson.dumps(_record(image, result))


def to_tsv(image: SourceImage, result: MaskResult, settings: WriteSettings) -> bytes:
    """Write one row of a training shard: name, JSON, base64 of a JPEG.

    Raises
    ------
    DataError
        No folder of images is given, or the image has another size than its masks.
    """
    if settings.pictures is None:
        raise DataError(f"{image.file_name}: a training shard contains images; give --images DIR")
    path = settings.pictures.find(image.file_name)
    rgb = read_image(path)  # JPEGs are decoded, too, so that no shard has a damaged one
    check_size(path, rgb.shape, (result.height, result.width))
    data = path.read_bytes()
    if not data.startswith(_JPEG):
        buffer = io.BytesIO()
        Image.fromarray(rgb).save(buffer, "JPEG", quality=95, subsampling=0)
        data = buffer.getvalue()
    name = image.file_name.replace("\t", " ").replace("\n", " ").encode()
    return b"\t".join((name, orjson.dumps(_record(image, result)), base64.b64encode(data))) + b"\n"


def to_label_map(image: SourceImage, result: MaskResult, settings: WriteSettings) -> bytes:
    """Render one PNG: the k-th mask of the image, from 1, has the value k where it is on top.

    Raises
    ------
    DataError
        There are more masks than values of a label map.
    """
    found = result.annotations
    if len(found) > 65535:
        raise DataError(
            f"{image.file_name}: has {len(found)} masks; a label map can hold at most 65535"
        )
    kind = np.uint8 if len(found) < 256 else np.uint16
    flat = np.zeros(result.height * result.width, dtype=kind)
    rles = [_rle(a) for a in found]
    for k in painting_order(found, area(rles).tolist(), settings.order):
        for start, end in to_runs(rles[k]):
            flat[start:end] = k + 1
    buffer = io.BytesIO()
    save_drawing(Image.fromarray(flat.reshape(result.width, result.height).T.copy()), buffer)
    return buffer.getvalue()


def painting_order(annotations: list[dict[str, Any]], areas: list[int], order: str) -> list[int]:
    """Order masks from the bottom to the top; ties keep the order of the file."""
    places = range(len(annotations))
    if order == "area":
        return sorted(places, key=lambda k: -areas[k])
    if order == "score":
        return sorted(places, key=lambda k: annotations[k].get("score") or 0.0)
    return list(places)


def to_yolo(image: SourceImage, result: MaskResult, settings: WriteSettings) -> bytes:
    """Write a line per mask: class 0 and its outline, in fractions of width and height."""
    lines = []
    for a in result.annotations:
        loops = [] if a["iscrowd"] else outlines(_rle(a), tolerance=settings.tolerance)
        if loops:
            points = join(loops) / (result.width, result.height)
            lines.append("0 " + " ".join(f"{v:.6g}" for v in points.ravel()) + "\n")
    return "".join(lines).encode()


def _rle(annotation: dict[str, Any]) -> Rle:
    found = annotation["segmentation"]
    return {"size": found["size"], "counts": found["counts"].encode()}


def _record(image: SourceImage, result: MaskResult) -> dict[str, Any]:
    """Describe an image as in SA-1B, and with `id`, which readers of UnSAM's shards need."""
    entry = {
        "image_id": image.id,
        "id": image.id,
        "width": result.width,
        "height": result.height,
        "file_name": image.file_name,
    }
    rows = [
        _sa1b_annotation(number, a, result) for number, a in enumerate(result.annotations, start=1)
    ]
    return {"image": entry, "annotations": rows}


def _sa1b_annotation(number: int, annotation: dict[str, Any], result: MaskResult) -> dict[str, Any]:
    """Add the keys of SA-1B to an annotation."""
    kept = {k: v for k, v in annotation.items() if k not in ("image_id", "parent")}
    score = annotation.get("score", 1.0)
    parent = annotation["parent"]
    defaults = {
        "predicted_iou": score,
        "stability_score": score,
        "point_coords": [_inner_point(_rle(annotation))],
        "crop_box": [0.0, 0.0, float(result.width), float(result.height)],
        "parent_id": None if parent is None else parent + 1,
    }
    return {"id": number, **defaults, **kept}


def _inner_point(rle: Rle) -> list[float]:
    """Return x, y of the middle of the longest run, a point of the mask; 0, 0 if it is empty."""
    runs = to_runs(rle)
    if not len(runs):
        return [0.0, 0.0]
    height = rle["size"][0]
    longest = runs[(runs[:, 1] - runs[:, 0]).argmax()]
    middle = int(longest.sum() - 1) // 2
    return [float(middle // height), float(middle % height)]
