"""Masks as GeoJSON: polygons in the coordinates of a map, or in pixels."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from unsam_cli.convert.dataset import SourceImage
from unsam_cli.convert.outlines import PointArray, pieces
from unsam_cli.errors import DataError, UsageError
from unsam_cli.io.geo import Georeference, georeference
from unsam_cli.io.images import image_size
from unsam_cli.io.masks_writer import number_annotations, write_list
from unsam_cli.io.names import Pictures
from unsam_cli.io.sizes import check_size
from unsam_cli.rle import Rle
from unsam_cli.run.settings import RunSettings
from unsam_cli.run.sinks import MaskResult, MaskSink

logger = logging.getLogger(__name__)

_WGS84 = 4326  # what GeoJSON has without a `crs`
_PIXELS = Georeference((1.0, 0.0, 0.0, 0.0, 1.0, 0.0))
_NOT_PROPERTIES = ("id", "geometry")
Place = tuple[Georeference, Path | None]
"""Where an image lies, and the picture whose tags say so; None if the masks file does."""


def to_geojson(
    image: SourceImage, result: MaskResult, places: Mapping[int, Place], tolerance: float
) -> MaskResult:
    """Replace masks by geometries.

    Parameters
    ----------
    image : SourceImage
        The image.
    result : MaskResult
        Its masks.
    places : mapping of int to Place
        Where images lie, by id; others are described in pixels.
    tolerance : float
        See :func:`~unsam_cli.convert.outlines.pieces`.

    Returns
    -------
    MaskResult
        Annotations with `geometry` and `file_name` in the place of `segmentation` and `bbox`. A
        geometry is JSON in a text, since its numbers as objects would take ten times the memory.

    Raises
    ------
    ImageFileError
        The picture has another size than its masks, which would lie elsewhere.
    """
    place, path = places.get(image.id, (_PIXELS, None))
    if path is not None:
        check_size(path, image_size(path), (result.height, result.width))
    changed = []
    for a in result.annotations:
        coded = a["segmentation"]
        rle: Rle = {"size": coded["size"], "counts": coded["counts"].encode()}
        kept = {k: v for k, v in a.items() if k not in ("segmentation", "bbox")}
        shape = geometry_text(pieces(rle, tolerance=tolerance), place)
        changed.append({"file_name": image.file_name, **kept, "geometry": shape})
    return MaskResult(result.height, result.width, changed)


def geometry_text(found: list[list[PointArray]], place: Georeference) -> str:
    """Return pieces of a mask as a geometry of GeoJSON, in JSON; ``null`` if there are none.

    Outer rings go counterclockwise and holes clockwise, as RFC 7946, section 3.1.6, wants.
    """
    a, b, _, d, e, _ = place.transform
    step = 1 if a * e - b * d > 0 else -1

    def ring(loop: PointArray) -> NDArray[np.float64]:
        points = place.places(np.concatenate([loop, loop[:1]]))
        return np.ascontiguousarray(points[::step])

    polygons = [[ring(loop) for loop in piece] for piece in found]
    shape: dict[str, Any] | None = None
    if len(polygons) == 1:
        shape = {"type": "Polygon", "coordinates": polygons[0]}
    elif polygons:
        shape = {"type": "MultiPolygon", "coordinates": polygons}
    return orjson.dumps(shape, option=orjson.OPT_SERIALIZE_NUMPY).decode()


def places_of(
    images: Iterable[SourceImage], pictures: Pictures | None
) -> tuple[dict[int, Place], int | None]:
    """Find where images lie, and the code of their coordinate system.

    The tags of `pictures` come before what the masks file says of its images.

    Returns
    -------
    dict of Place
        By id, for all images or for none.
    int or None
        The EPSG code, if it is known.

    Raises
    ------
    DataError
        Some images have no georeference, or another coordinate system.
    MissingInputError
        An image does not exist.
    """
    found: dict[int, Place] = {}
    first: tuple[str, Georeference | None] | None = None
    for image in images:
        place, path = image.georeference, None
        if pictures is not None:
            picture = pictures.find(image.file_name)
            if (tagged := georeference(picture)) is not None:
                place, path = tagged, picture
        first = first or (image.file_name, place)
        if _system(place) != _system(first[1]):
            raise DataError(
                f"{image.file_name}: {_described(place)}, but {first[0]}: {_described(first[1])}; "
                "convert them one by one, or bring the images into one coordinate system"
            )
        if place is not None:
            found[image.id] = place, path
    if not found:
        logger.warning(
            "coordinates are pixels, from the top left corner: %s",
            "give the GeoTIFFs as --images DIR"
            if pictures is None
            else "the images have no georeference",
        )
    return found, first[1].epsg if first and first[1] else None


def _system(place: Georeference | None) -> object:
    return place if place is None else (place.epsg,)


def _described(place: Georeference | None) -> str:
    if place is None:
        return "has no georeference"
    return "has an unnamed coordinate system" if place.epsg is None else f"is in EPSG:{place.epsg}"


class GeoJsonSink(MaskSink):
    """Geometries as one collection, a feature per line.

    Parameters
    ----------
    settings : RunSettings
        The settings of the run.
    history : list of dict
        The steps that made the input.
    epsg : int, optional
        Code of the coordinate system. Only other systems than WGS 84 are named in the file, by the
        member `crs` of GeoJSON 2008, which RFC 7946 has no more, but GIS programs read.
    """

    def __init__(
        self, settings: RunSettings, history: list[dict[str, Any]], epsg: int | None
    ) -> None:
        self.epsg = epsg
        super().__init__(settings, history)

    def write(self, stream: Any, ids: list[int]) -> None:
        """Write the features of the given images."""
        named = self.epsg not in (None, _WGS84)
        system = {"type": "name", "properties": {"name": f"urn:ogc:def:crs:EPSG::{self.epsg}"}}
        head = {
            "type": "FeatureCollection",
            **({"crs": system} if named else {}),
            "unsam": {"history": self.history},
        }
        stream.write(orjson.dumps(head)[:-1] + b',\n"features":')
        write_list(stream, map(_feature, number_annotations(map(self._annotations, ids))))
        stream.write(b"}\n")

    def _restore(self, path: Path) -> None:
        raise UsageError(
            f"{path}: a geojson file does not list its images, so --resume cannot tell which are "
            "done; remove it"
        )


def _feature(annotation: dict[str, Any]) -> dict[str, Any]:
    properties = {k: v for k, v in annotation.items() if k not in _NOT_PROPERTIES}
    return {
        "type": "Feature",
        "id": annotation["id"],
        "geometry": orjson.Fragment(annotation["geometry"]),
        "properties": properties,
    }
