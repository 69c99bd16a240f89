"""One image: pixels in, masks out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from unsam_cli.found_masks import FoundMasks
from unsam_cli.io.windows import Pixels
from unsam_cli.models.inputs import batch_pixels
from unsam_cli.models.precision import AUTO, precision
from unsam_cli.models.predictions import Predictions
from unsam_cli.models.segmenter import Segmenter
from unsam_cli.models.settings import CONDINST
from unsam_cli.prediction import tiles
from unsam_cli.prediction.masks import Masks, concatenate, draw, slices
from unsam_cli.prediction.settings import PredictSettings
from unsam_cli.prediction.views import View, plan_views, see
from unsam_cli.rle import RunTable, suppress

STAGE = "predict"


@dataclass(frozen=True)
class Place:
    """Where an input of the network lies.

    Attributes
    ----------
    view : View
        The rectangle of the image, and its size as input.
    size : (H, W)
        Height and width of the image, in pixels.
    """

    view: View
    size: tuple[int, int]


@dataclass(frozen=True)
class Input(Place):
    """A view of an image for the network.

    Attributes
    ----------
    view, size
        See :class:`Place`.
    pixels : (h, w, 3) uint8
        RGB of the view, resized to its `inner` size.
    """

    pixels: NDArray[np.uint8]


class Predictor:
    """A whole-image segmenter, and how it is used.

    Parameters
    ----------
    segmenter : Segmenter
        The network, in evaluation mode.
    settings : PredictSettings
        How to predict.
    """

    def __init__(self, segmenter: Segmenter, settings: PredictSettings) -> None:
        self.segmenter, self.settings = segmenter, settings
        self.device = next(segmenter.parameters()).device
        wanted = settings.dtype
        if wanted == AUTO and segmenter.config.architecture != CONDINST:
            wanted = "float32"
        self.dtype = getattr(torch, precision(wanted, str(self.device)))

    def views(self, size: tuple[int, int]) -> list[View]:
        """Return the views of an image of `size` (H, W) that become inputs of the network."""
        config = self.segmenter.config
        short, longest = self.settings.size or (config.short_side, config.longest_side)
        scale = self.settings.scale or (0 if self.settings.size else config.scale)
        return plan_views(
            *size,
            self.settings,
            short=short,
            longest=longest,
            scale=scale,
            multiple=self.segmenter.multiple,
            least=config.least_side,
        )

    def prepare(self, picture: Pixels) -> list[Input]:
        """Return the inputs of the network for an image (H, W, 3) uint8."""
        size = picture.shape[0], picture.shape[1]
        return [Input(view, size, see(picture, view)) for view in self.views(size)]

    @torch.inference_mode()
    def forward(self, inputs: Sequence[Input]) -> Predictions:
        """Run the network on inputs whose padded sizes are equal."""
        # Copied, since arrays of Pillow are read-only, which torch does not support.
        images = [torch.tensor(one.pixels, device=self.device).permute(2, 0, 1) for one in inputs]
        pixels = batch_pixels(images, self.segmenter.multiple, self.segmenter.config.least_side)
        half = self.dtype != torch.float32
        with torch.autocast(self.device.type, dtype=self.dtype, enabled=half):
            predictions: Predictions = self.segmenter(pixels)
        return predictions

    def finish(self, inputs: Sequence[Place], parts: Sequence[Sequence[Masks]]) -> FoundMasks:
        """Put together the masks of all inputs of an image, by falling score.

        Masks of equal scores keep the order of the queries.
        """
        views, size = [one.view for one in inputs], inputs[0].size
        found = [concatenate(part) for part in parts]
        if len(found) == 1:
            masks = found[0]
        else:
            masks, _ = tiles.join(found, views, size, self.settings.shared)
        order = np.argsort(-masks.scores, kind="stable")
        masks = masks.take(order[masks.scores[order] >= self.settings.min_score])
        table, n = RunTable.from_rles(masks.rles, size=size), len(masks)
        scores = masks.scores
        if self.settings.nms is not None:
            kept = np.flatnonzero(suppress(table, np.arange(n), self.settings.nms))
            table, scores, n = table.take(kept), scores[kept], len(kept)
        return FoundMasks(table, scores, [STAGE] * n, [None] * n)


def predict_image(
    segmenter: Segmenter, rgb: NDArray[np.uint8], settings: PredictSettings | None = None
) -> FoundMasks:
    """Find the masks of an image.

    Parameters
    ----------
    segmenter : Segmenter
        The network, in evaluation mode.
    rgb : (H, W, 3) uint8
        The image in full size.
    settings : PredictSettings, optional
        How to predict. The default is as published: the best 1000 queries, no suppression.

    Returns
    -------
    FoundMasks
        Masks at the size of the image, by falling score.

    References
    ----------
    B. Cheng et al., "Masked-attention Mask Transformer for Universal Image Segmentation", CVPR
    2022: the score is the class score times the mean probability inside the mask.
    """
    settings = settings or PredictSettings()
    predictor = Predictor(segmenter, settings)
    inputs = predictor.prepare(rgb)
    parts = []
    for one in inputs:
        predictions = predictor.forward([one])
        parts.append([draw(part, one.view, one.size) for part in slices(predictions, 0, settings)])
    return predictor.finish(inputs, parts)
