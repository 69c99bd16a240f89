"""Conquer an image: merge the patches of its regions into masks and rank them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, groupby, islice
from typing import Any

import numpy as np

from unsam_cli.conquer.drawing import Drawn, best, draw
from unsam_cli.conquer.forest import Grown, grow
from unsam_cli.conquer.guide import Guide, Picture
from unsam_cli.conquer.merge import grid_edges, merge_tree
from unsam_cli.conquer.order import as_found, own_mask, regions_first
from unsam_cli.conquer.packed import draw_packed, packed_masks
from unsam_cli.conquer.paper import paper_masks
from unsam_cli.conquer.ranking import prominence, separation
from unsam_cli.conquer.settings import ConquerSettings, Rule
from unsam_cli.found_masks import FoundMask, FoundMasks
from unsam_cli.io.features import Record, Region
from unsam_cli.rle import RunTable, suppress, to_runs

MapFunctor = Callable[[Callable[..., Any], Iterable[Any]], Iterable[Any]]
PACKED = 2**21
"""Pixels of an image from which on its clusters are compressed until they are compared."""
SPARE = 8
"""Clusters drawn as pixels per mask that can be kept, since many clusters repeat others."""
FIRST = 3
"""Of these, the best ones per mask whose runs are compared first; they nearly always suffice."""
AT_ONCE = 16
"""Most regions whose features are held at once: an image may have thousands of tiles."""
LEAST_POOL = 1000
"""Least number of clusters drawn as pixels: the best ones of several trees often agree."""


def conquer_image(
    records: Iterable[Record],
    preview: Picture | None,
    size: tuple[int, int],
    settings: ConquerSettings | None = None,
    *,
    mapper: MapFunctor = map,
) -> FoundMasks:
    """Find the parts of all regions of an image, at all scales.

    Parameters
    ----------
    records : iterable of Record
        The image's regions and tiles with their patch features. Only a few are held at a time.
    preview : (h, w, 3) uint8 or Windows, optional
        The image at any size. Borders of masks follow its edges; without it they follow patches.
    size : (H, W)
        Height and width of the image and of the masks, in pixels.
    settings : ConquerSettings, optional
        How to conquer. The defaults are those of the command.
    mapper : callable
        A function like the built-in `map`. That of a thread pool works on several regions at once.

    Returns
    -------
    FoundMasks
        The regions' own masks, then their parts, the best first.

    Raises
    ------
    DataError
        Features are not finite.
    """
    settings = settings or ConquerSettings()
    if settings.preset == "paper":
        return _paper(list(records), size, settings)
    guide = None if preview is None or settings.refine == "none" else Guide.of(preview)
    return _default(records, guide, size, settings, mapper)


def _default(
    records: Iterable[Record],
    guide: Guide | None,
    size: tuple[int, int],
    settings: ConquerSettings,
    mapper: MapFunctor,
) -> FoundMasks:
    whole = False

    def plant(record: Record) -> list[Grown]:
        rules = _rules(record, whole, size, settings)
        return grow(record, rules, guide, size, settings)

    regions: list[Region] = []
    forest: list[Grown] = []
    for some in _batches(records, AT_ONCE):
        whole = whole or any(_is_whole(record, size) for record in some)
        regions += [Region(one.bbox, one.rle, one.score) for one in some if not one.is_tile(*size)]
        forest += chain.from_iterable(mapper(plant, some))
    if not forest:
        return FoundMasks.of([], size)
    if settings.max_masks:
        forest = best(forest, max(SPARE * settings.max_masks, LEAST_POOL))
    trees = [list(group) for _, group in groupby(forest, key=lambda grown: id(grown.region))]
    if size[0] * size[1] >= PACKED:
        packed = mapper(partial(draw_packed, guide=guide, size=size), trees)
        return packed_masks(regions, list(chain.from_iterable(packed)), size, settings)
    drawn = list(chain.from_iterable(mapper(partial(draw, guide=guide, size=size), trees)))
    most = FIRST * settings.max_masks
    found = _distinct(regions, best(drawn, most), size, settings, mapper)
    if len(found) < settings.max_masks and most < sum(len(part.score) for part in drawn):
        found = _distinct(regions, drawn, size, settings, mapper)
    return found


def _is_whole(record: Record, size: tuple[int, int]) -> bool:
    return record.rle is None and not record.is_tile(*size)


def _rules(
    record: Record, whole: bool, size: tuple[int, int], settings: ConquerSettings
) -> Sequence[Rule]:
    """Choose the rules for a record; `whole` says whether the whole image is a record, too."""
    if record.is_tile(*size):
        return [rule for rule in settings.rules if rule.grid == 1.0]
    return settings.region_rules if whole and record.rle is not None else settings.rules


def _distinct(
    regions: Sequence[Region],
    drawn: Sequence[Drawn],
    size: tuple[int, int],
    settings: ConquerSettings,
    mapper: MapFunctor,
) -> FoundMasks:
    """Return the masks of regions, then clusters, the best first, without near-duplicates."""
    own = [to_runs(own_mask(region, size)) for region in regions]
    parts = list(mapper(partial(Drawn.runs, size=size), drawn))
    counts = [
        np.array([len(runs) for runs in own], dtype=np.int64),
        *(np.diff(offsets) for offsets, _ in parts),
    ]
    offsets = np.concatenate([[0], *counts]).cumsum()
    runs = np.concatenate([*own, *(runs for _, runs in parts)])
    table = RunTable.from_runs(offsets, runs, size)
    first = [region.score for region in regions]
    score = np.concatenate([first, *(part.score for part in drawn)])
    level = np.concatenate([np.zeros(len(own)), *(part.candidates.level for part in drawn)])
    order = regions_first(len(own), score, table.areas)
    stay = suppress(
        table, order, settings.nms_iou, window=settings.nms_window, most=settings.max_masks
    )
    order = order[stay[order]]
    return as_found(table.take(order), order.tolist(), len(own), score, level)


def _batches(records: Iterable[Record], count: int) -> Iterator[list[Record]]:
    rest = iter(records)
    while some := list(islice(rest, count)):
        yield some


def _paper(
    records: Sequence[Record], size: tuple[int, int], settings: ConquerSettings
) -> FoundMasks:
    regions, parts = [], []
    for record in records:
        h, w, channels = record.features.shape
        tree = merge_tree(record.features.reshape(-1, channels), grid_edges(h, w))
        candidates, masks = paper_masks(tree, record, size, settings)
        if not record.is_tile(*size):
            regions.append(FoundMask(own_mask(record, size), float(record.score), "divide"))
        score = prominence(candidates, separation(candidates, Rule()))
        parts += [
            FoundMask(rle, score, "conquer", level)
            for rle, score, level in zip(
                masks, score.tolist(), candidates.level.tolist(), strict=True
            )
        ]
    return FoundMasks.of(regions + sorted(parts, key=lambda part: -part.score), size)
