"""Checks before a training starts, for settings with which it cannot learn or learns badly."""

from __future__ import annotations

import logging

from torch.nn.modules.batchnorm import _BatchNorm

from unsam_cli.errors import UsageError
from unsam_cli.models.segmenter import Segmenter
from unsam_cli.models.settings import CONDINST, RANDOM
from unsam_cli.training.recipe import DataSettings

logger = logging.getLogger(__name__)


def check_random_weights(segmenter: Segmenter) -> None:
    """Refuse a new segmenter that cannot learn from scratch; warn if it learns very slowly.

    Raises
    ------
    UsageError
        It has random weights and batch normalisation, whose statistics are never updated.
    """
    config = segmenter.config
    if config.backbone_weights != RANDOM:
        return
    if any(isinstance(module, _BatchNorm) for module in segmenter.modules()):
        raise UsageError(
            f"{config.backbone} has batch normalisation, whose statistics stay as they are: with "
            "random weights it cannot learn; give --backbone-weights, or a backbone without, such "
            "as convnext_tiny, or unet with --architecture condinst"
        )
    if config.architecture != CONDINST:
        logger.warning(
            "%s starts from random weights: its queries need very many images and steps to learn "
            "from scratch; --architecture condinst does not",
            config.architecture,
        )


def check_queries(segmenter: Segmenter, data: DataSettings) -> None:
    """Warn if all queries may be matched to masks, so that none learns the class "no mask"."""
    most = min((n for n in (data.max_masks, data.best) if n), default=0)
    config = segmenter.config
    if config.architecture != CONDINST and config.queries <= most:
        logger.warning(
            "%d queries for up to %d masks of an image: scores cannot tell masks from nothing; "
            "give more --queries, or a lower --best or --max-masks",
            config.queries,
            most,
        )
