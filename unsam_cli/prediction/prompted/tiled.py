"""Large images and a promptable model: the search in tiles, and answers from tiles."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from unsam_cli.io.windows import Pixels, Windows, part
from unsam_cli.prediction import tiles
from unsam_cli.prediction.masks import Masks
from unsam_cli.prediction.prompted.settings import PromptedSettings
from unsam_cli.prediction.settings import TileSettings
from unsam_cli.prediction.views import View, plan_views
from unsam_cli.rle import Rle, RunTable, boxes
from unsam_cli.rle.geometry import paste
from unsam_cli.sam.automatic import AutomaticMasks, automatic_masks, corners, joined, suppressed
from unsam_cli.sam.promptable import Promptable
from unsam_cli.sam.session import Answer, Session
from unsam_cli.sam.settings import Prompt

Size = tuple[int, int]


def search(model: Promptable, rgb: Pixels, settings: PromptedSettings) -> AutomaticMasks:
    """Find all masks of an image, (H, W, 3) uint8, in tiles if it is larger than one.

    Returns
    -------
    AutomaticMasks
        Masks by falling score. One that was joined from pieces has the mean score and stability of
        its pieces, weighted by area, and the point of the largest.
    """
    size = rgb.shape[0], rgb.shape[1]
    views = _views(size, settings.tiles)
    found = [_in_view(model, rgb, view, settings) for view in views]
    if len(found) == 1:
        return found[0]
    parts = [Masks(one.rles, one.scores.astype(np.float64)) for one in found]
    masks, pieces = tiles.join(parts, views, size, settings.tiles.shared)
    every = joined(found)
    areas = RunTable.from_rles(every.rles, size=size).areas
    largest = np.array([one[int(areas[one].argmax())] for one in pieces], dtype=np.int64)
    stability = [np.average(every.stability[one], weights=areas[one]) for one in pieces]
    merged = AutomaticMasks(
        masks.rles,
        corners(RunTable.from_rles(masks.rles, size=size)),
        masks.scores.astype(np.float32),
        np.array(stability, np.float32),
        every.points[largest],
        every.crops[largest],
    )
    kept = suppressed(merged, merged.scores, settings.automatic.nms_iou, settings.automatic)
    return kept.take(_best(kept))


class TiledSession:
    """Answers prompts about one image, each from the tile around it.

    A mask that a border of the tile cuts comes from the whole image instead, and so do the answers
    to prompts that fit into no tile.

    Parameters
    ----------
    model : Promptable
        In evaluation mode.
    settings : TileSettings
        The tiles.
    """

    def __init__(self, model: Promptable, settings: TileSettings) -> None:
        self._session, self._settings = Session(model), settings

    def set_image(self, image: Pixels) -> None:
        """Set the image, (H, W, 3) uint8 RGB; prompts refer to it until the next call."""
        self.size = (image.shape[0], image.shape[1])
        self._image, self._views = image, _views(self.size, self._settings)

    def ask(self, prompts: Sequence[Prompt]) -> list[Answer]:
        """Answer prompts, as :meth:`~unsam_cli.sam.session.Session.ask` does."""
        whole, *parts = self._views
        asked: dict[int, list[int]] = defaultdict(list)
        for row, prompt in enumerate(prompts):
            asked[_tile_of(prompt, parts, whole)].append(row)
        nowhere = asked.pop(-1, [])
        answers: dict[int, Answer] = {}
        cut: dict[int, NDArray[np.bool_]] = {}
        for tile, rows in sorted(asked.items()):
            answers |= zip(rows, self._in_view(parts[tile], prompts, rows), strict=True)
            cut |= {row: _cut(answers[row], parts[tile], whole) for row in rows}
        again = sorted([*nowhere, *(row for row, masks in cut.items() if masks.any())])
        if again:
            found = self._in_view(whole, prompts, again)
            for row, one in zip(again, found, strict=True):
                answers[row] = _mixed(answers[row], one, cut[row]) if row in answers else one
        return [answers[row] for row in range(len(prompts))]

    def _in_view(self, view: View, prompts: Sequence[Prompt], rows: list[int]) -> list[Answer]:
        """Answer some of the prompts from a view, with masks of the image's size."""
        self._session.set_image(_cropped(self._image, view))
        found = self._session.ask([_moved(prompts[row], view) for row in rows])
        return [replace(one, rles=_pasted(one.rles, view, self.size)) for one in found]


def _views(size: Size, settings: TileSettings) -> list[View]:
    """Return the whole image, then its tiles."""
    return plan_views(*size, settings, short=min(size), longest=max(size), multiple=1)


def _in_view(
    model: Promptable, rgb: Pixels, view: View, settings: PromptedSettings
) -> AutomaticMasks:
    """Find the masks of a view, by falling score, in pixels of the image."""
    window = _cropped(rgb, view)
    found = automatic_masks(model, window, settings.automatic, granularity=settings.granularity)
    found = found.take(_best(found)[: settings.max_masks])
    corner = np.array([view.x, view.y])
    return replace(
        found,
        rles=_pasted(found.rles, view, (rgb.shape[0], rgb.shape[1])),
        boxes=found.boxes + np.tile(corner, 2),
        points=found.points + corner,
        crops=found.crops + np.tile(corner, 2),
    )


def _best(found: AutomaticMasks) -> NDArray[np.int64]:
    """Return the order by falling score; masks with equal scores keep theirs."""
    return np.argsort(-found.scores.astype(np.float64), kind="stable")


def _cropped(picture: Pixels, view: View) -> Pixels:
    found = part(picture, (view.x, view.y, view.width, view.height))
    return found if isinstance(found, Windows) else np.ascontiguousarray(found)


def _pasted(rles: list[Rle], view: View, size: Size) -> list[Rle]:
    if (view.height, view.width) == size:
        return rles
    return [paste(rle, view.x, view.y, size) for rle in rles]


def _moved(prompt: Prompt, view: View) -> Prompt:
    """Return a prompt in pixels of a view."""
    x, y = view.x, view.y
    points = tuple((px - x, py - y) for px, py in prompt.points)
    if prompt.box is None:
        return replace(prompt, points=points)
    x0, y0, x1, y1 = prompt.box
    return replace(prompt, points=points, box=(x0 - x, y0 - y, x1 - x, y1 - y))


def _tile_of(prompt: Prompt, parts: Sequence[View], whole: View) -> int:
    """Return the tile whose inner borders are farthest from a prompt; -1 if none contains it."""
    places = [*prompt.points]
    if prompt.box is not None:
        places += [prompt.box[:2], prompt.box[2:]]
    (left, top), (right, bottom) = np.min(places, axis=0), np.max(places, axis=0)
    best, widest = -1, -1.0
    for tile, view in enumerate(parts):
        end, base = view.x + view.width, view.y + view.height
        margins = [
            left - view.x if view.x else np.inf,
            top - view.y if view.y else np.inf,
            end - right if end < whole.width else np.inf,
            base - bottom if base < whole.height else np.inf,
        ]
        inside = left >= view.x and top >= view.y and right <= end and bottom <= base
        if inside and min(margins) > widest:
            best, widest = tile, float(min(margins))
    return best


def _cut(answer: Answer, tile: View, whole: View) -> NDArray[np.bool_]:
    """Return which of the M masks of an answer a border of its tile cuts, (M,) bool."""
    return np.array([any(tiles.cuts(box, tile, whole)) for box in boxes(answer.rles)], dtype=bool)


def _mixed(answer: Answer, other: Answer, instead: NDArray[np.bool_]) -> Answer:
    """Return an answer with some of its masks from another."""
    pairs = zip(answer.rles, other.rles, instead.tolist(), strict=True)
    return Answer(
        [theirs if swap else mine for mine, theirs, swap in pairs],
        np.where(instead, other.scores, answer.scores),
    )
