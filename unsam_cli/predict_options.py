"""Options of ``unsam predict`` for promptable models; see :mod:`unsam_cli.options`.

``@prompt_options``   ``asked``: a dict from ``--points --boxes --prompts --prompts-from`` and what
                      goes with them, and the options of the search for all masks
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import click

from unsam_cli.errors import UsageError
from unsam_cli.options import Compute, bundle, files_option, option

if TYPE_CHECKING:
    from unsam_cli.prediction.prompted_settings import PromptedSettings
    from unsam_cli.prediction.settings import PredictSettings

_MOST_CLICKS = 20  # as evaluation counts them
_SEARCH = {
    "points_per_side": "points_per_side",
    "crop_layers": "crop_layers",
    "stability": "min_stability",
    "min_region": "min_region",
    "min_score": "min_score",
    "nms": "nms_iou",
    "nms_of": "nms",
}
"""Options of the search for all masks, as its settings call them."""


def _lists(least: int, most: int) -> Any:
    """Make a callback that checks lists of numbers, and joins them as they can be given again."""

    def check(
        context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
    ) -> str | None:
        texts = " ".join(values).split()
        for text in texts:
            try:
                numbers = [float(part) for part in text.split(",")]
            except ValueError:
                numbers = []
            if not least <= len(numbers) <= most or not all(map(math.isfinite, numbers)):
                raise click.BadParameter(f"{text!r} is not {parameter.metavar}, in pixels")
            if least < len(numbers) and numbers[-1] not in (0, 1):
                raise click.BadParameter(f"{text!r}: a label is 1 (inside) or 0 (outside)")
        return " ".join(texts) or None

    return check


def _numbers(text: str | None) -> list[tuple[float, ...]]:
    return [tuple(float(part) for part in one.split(",")) for one in (text or "").split()]


prompt_options = bundle(
    "asked",
    dict,
    option(
        "--points",
        multiple=True,
        metavar="X,Y[,LABEL]",
        group="Prompts",
        callback=_lists(2, 3),
        help="A click in every image, in pixels: on what is meant, or, with LABEL 0, beside it. "
        "All clicks make one prompt.",
    ),
    option(
        "--boxes",
        multiple=True,
        metavar="X0,Y0,X1,Y1",
        group="Prompts",
        callback=_lists(4, 4),
        help="A box in every image, in pixels. Each is a prompt; a single one may go with clicks.",
    ),
    files_option("--prompts", group="Prompts", help="Prompts by image: one JSON object a line."),
    files_option(
        "--prompts-from",
        group="Prompts",
        help="Click the centre of every mask of a COCO file, which also names the images where no "
        "others are given.",
    ),
    option(
        "--clicks",
        type=click.IntRange(1, _MOST_CLICKS),
        group="Prompts",
        help="With --prompts-from: click on where the mask is most wrong, until its IoU is 0.9 or "
        "so many clicks are made.  [default: one click, not counted]",
    ),
    option(
        "--kornia-approx",
        is_flag=True,
        group="Prompts",
        help="With --prompts-from: find centres with the approximate distance of UnSAM's "
        "evaluation.",
    ),
    option(
        "--granularity",
        type=click.FloatRange(0.1, 1),
        group="Prompts",
        help="How fine masks shall be, from 0.1 to 1 for the coarsest; one a prompt. For "
        "checkpoints that were trained with it.",
    ),
    option(
        "--points-per-side",
        type=click.IntRange(1),
        group="Prompts",
        help="Without prompts: points of the grid along a side.  [default: 32]",
    ),
    option(
        "--crop-layers",
        type=click.IntRange(0, 4),
        group="Prompts",
        help="Without prompts: search crops, too, 2^i x 2^i of them in layer i.  [default: 0]",
    ),
    option(
        "--nms-of",
        type=click.Choice(["box", "mask"]),
        group="Prompts",
        help="Without prompts: whether --nms compares boxes, as SAM does, or masks, so that parts "
        "are kept that fill the box of a whole.  [default: box]",
    ),
    option(
        "--stability",
        type=click.FloatRange(0, 1),
        group="Prompts",
        help="Without prompts: least IoU of a mask cut higher and lower.  [default: 0.95]",
    ),
    option(
        "--min-region",
        type=click.IntRange(0),
        metavar="PIXELS",
        group="Prompts",
        help="Without prompts: fill smaller holes, drop smaller islands.  [default: 0]",
    ),
)


def asks(asked: dict[str, Any]) -> bool:
    """Whether prompts are given: only a promptable model can answer."""
    return bool(asked["points"] or asked["boxes"] or asked["prompts"] or asked["prompts_from"])


def whole_image_settings(
    method: dict[str, Any], asked: dict[str, Any], compute: Compute
) -> PredictSettings:
    """Return the settings of a whole-image segmenter.

    Raises
    ------
    UsageError
        An option is given that is for promptable models.
    """
    from unsam_cli.prediction.settings import PredictSettings

    _refuse(asked, "is for promptable models (SAM), and this is a whole-image segmenter")
    given = {name: value for name, value in method.items() if value is not None}
    return PredictSettings(**given, dtype=compute.dtype, batch_size=compute.batch_size)


def prompted_settings(
    method: dict[str, Any], asked: dict[str, Any], compute: Compute
) -> PromptedSettings:
    """Return the settings of a promptable model.

    Raises
    ------
    UsageError
        An option is given that is for whole-image segmenters, or one of the search for all masks
        beside prompts.
    """
    from unsam_cli.prediction.prompted_settings import PromptedSettings
    from unsam_cli.sam.settings import AutomaticConfig

    values = {**method, **asked}
    whole = {n: v for n, v in method.items() if n not in (*_SEARCH, "max_masks")}
    _refuse(whole, "is for whole-image segmenters, and this is a promptable model")
    search = {n: values[n] for n in _SEARCH if values[n] is not None}
    if asks(asked):
        _refuse(search, "is for the search for all masks: leave it out, or the prompts")
    points = tuple((p[0], p[1], int(p[2]) if p[2:] else 1) for p in _numbers(asked["points"]))
    return PromptedSettings(
        points=points,
        boxes=tuple((b[0], b[1], b[2], b[3]) for b in _numbers(asked["boxes"])),
        prompts=asked["prompts"],
        prompts_from=asked["prompts_from"],
        granularity=asked["granularity"],
        clicks=asked["clicks"],
        approximate=asked["kornia_approx"],
        automatic=AutomaticConfig(**{_SEARCH[name]: value for name, value in search.items()}),
        max_masks=method["max_masks"],
        dtype=compute.dtype,
    )


def _refuse(values: dict[str, Any], why: str) -> None:
    for name, value in values.items():
        if value is not None and value is not False:
            raise UsageError(f"--{name.replace('_', '-')} {why}")
