"""The published conquer step with its quirks: ``--preset paper``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unsam_cli.conquer.levels import Candidates, level_clusters
from unsam_cli.conquer.settings import PAPER_WINDOW, ConquerSettings
from unsam_cli.conquer.tree import MergeTree
from unsam_cli.io.features import Record
from unsam_cli.rle import Rle, RunTable, encode_window, intersections, suppress


def paper_masks(
    tree: MergeTree, record: Record, size: tuple[int, int], settings: ConquerSettings
) -> tuple[Candidates, list[Rle]]:
    """Find the masks of one region: all clusters at all thresholds, thinned by a windowed NMS.

    Parameters
    ----------
    tree : MergeTree
        Merges of the region's patches.
    record : Record
        The region.
    size : (H, W)
        Height and width of the image, in pixels.
    settings : ConquerSettings
        Thresholds and limits.

    Returns
    -------
    candidates : Candidates
        The clusters that are kept, by falling area of the mask. A cluster that exists at many
        thresholds may occur twice.
    masks : list of Rle
        Their masks at the size of the image.

    Notes
    -----
    Each mask of patches is enlarged separately, by bicubic interpolation, and cut at half of its
    maximum. The published code loses the last row and column of each box; here boxes are exact.

    References
    ----------
    Wang et al., "Segment Anything without Supervision" (2024), section 3.2 and the published code.
    """
    h, w, _ = record.features.shape
    levels = level_clusters(tree, settings.thresholds, settings.min_patches)
    nodes = np.concatenate(levels)
    level = np.repeat(np.asarray(settings.thresholds), [len(ids) for ids in levels])
    found = Candidates(nodes, level, tree.deaths()[nodes], tree.size[nodes])
    x, y, wide, tall = record.bbox
    masks: dict[int, Rle] = {}
    for theta, ids in zip(settings.thresholds, levels, strict=True):
        owner = tree.cut(theta).reshape(h, w)
        for node in ids.tolist():
            if node not in masks:
                pixels = _enlarge(owner == node, wide, tall)
                masks[node] = encode_window(pixels, x, y, size)
    rles = [masks[node] for node in found.node.tolist()]
    if not rles:
        return found, rles
    table = RunTable.from_rles(rles)
    keep = table.areas > 0
    if record.rle is not None:
        whole = RunTable.from_rles([*rles, record.rle])
        pairs = np.stack([np.arange(len(rles)), np.full(len(rles), len(rles))], axis=1)
        keep &= intersections(whole, pairs) > settings.coverage * table.areas
    order = np.argsort(-table.areas, kind="stable")
    order = order[keep[order]]
    window = settings.nms_window or PAPER_WINDOW
    stay = suppress(table, order, settings.nms_iou, window=window)
    order = order[stay[order]]
    return found.take(order), [rles[k] for k in order.tolist()]


def _enlarge(mask: NDArray[np.bool_], width: int, height: int) -> NDArray[np.bool_]:
    image = Image.fromarray(mask.astype(np.uint8) * 255)
    grey = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
    return np.asarray(grey > grey.max() / 2)
