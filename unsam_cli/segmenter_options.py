"""Options of what segmenters are made of and learn from; see :mod:`unsam_cli.options`.

``@network_options``   ``network``: a :class:`~unsam_cli.models.settings.SegmenterConfig`
``@sample_options``    ``data``: a :class:`~unsam_cli.training.recipe.DataSettings`
``@loss_options``      ``losses``: a :class:`~unsam_cli.training.recipe.LossSettings`
"""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from unsam_cli.models.settings import ARCHITECTURES, SegmenterConfig
from unsam_cli.options import bundle, option, parse_floats, run_option
from unsam_cli.training.recipe import DataSettings, LossSettings

_POSITIVE, _FROM_ZERO = click.IntRange(1), click.IntRange(0)
_FRACTION = click.FloatRange(0, 1)
_network_option = partial(option, group="Network")
_sample_option = partial(option, group="Samples")
_loss_option = partial(option, group="Losses")


def _network(**values: Any) -> SegmenterConfig:
    return SegmenterConfig(**values, image_size=values["short_side"])


network_options = bundle(
    "network",
    _network,
    _network_option(
        "--architecture",
        type=click.Choice(ARCHITECTURES),
        default="mask2former",
        help="A feature pyramid with a masked decoder; or a plain vision transformer.",
    ),
    _network_option(
        "--backbone",
        default="resnet50",
        metavar="NAME",
        help="Any timm feature network, or a Hugging Face backbone by its hub id or ./FOLDER; with "
        "eomt a timm vision transformer.",
    ),
    _network_option(
        "--backbone-weights",
        metavar="PATH|ID|random",
        help="A checkpoint or a hub id.  [default: DINO's for resnet50, else the backbone's own]",
    ),
    _network_option("--queries", type=_POSITIVE, default=2000, help="Masks that are predicted."),
    _network_option("--hidden", type=_POSITIVE, default=256, help="Channels of the decoders."),
    _network_option("--pixel-layers", type=_POSITIVE, default=6, help="Of the pixel decoder."),
    _network_option(
        "--decoder-layers",
        type=_POSITIVE,
        help="Layers that see queries.  [default: 9; of eomt 4]",
    ),
    _network_option(
        "--short-side",
        type=_POSITIVE,
        default=1024,
        help="At inference images are resized to it, in pixels.",
    ),
    _network_option(
        "--longest-side", type=_POSITIVE, default=2048, help="Limit of the other side, in pixels."
    ),
    _network_option(
        "--least-side",
        type=_POSITIVE,
        default=1,
        help="At inference shorter sides are padded to it, in pixels: CROP where training pads "
        "all images.",
    ),
)


def _range(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[float, ...] | None:
    """Read a range of scales; ``none`` is none."""
    if value is None or value == "none":
        return None
    numbers = parse_floats(context, parameter, value)
    if len(numbers) != 2:
        raise click.BadParameter(f"{value!r} is not a range such as 0.1,2")
    return numbers


sample_options = bundle(
    "data",
    DataSettings,
    _sample_option(
        "--crop", type=_POSITIVE, default=1024, help="Side of the square that is seen, in pixels."
    ),
    _sample_option(
        "--jitter",
        default="none",
        metavar="MIN,MAX|none",
        callback=_range,
        help="Resize images to fit into CROP times a random number of this range; none keeps "
        "their size.",
    ),
    _sample_option("--flip", type=_FRACTION, default=0.5, help="Probability of mirroring."),
    _sample_option(
        "--copy-paste",
        type=_FRACTION,
        default=0.0,
        help="Probability of pasting objects of another image.",
    ),
    _sample_option(
        "--max-masks",
        type=_FROM_ZERO,
        default=500,
        help="Most masks of an image, drawn at random; 0 takes all.",
    ),
    _sample_option(
        "--empty-images",
        type=click.Choice(["skip", "background"]),
        default="skip",
        help="Leave out images without masks, or learn that nothing is there.",
    ),
    run_option(
        "--on-error",
        type=click.Choice(["fail", "skip"]),
        default="fail",
        help="Stop at a bad image; or take another in its place, list it (in "
        "OUTPUT.errors.jsonl) and exit with 3.",
    ),
)


loss_options = bundle(
    "losses",
    LossSettings,
    _loss_option("--class-weight", type=float, default=2.0, help="Of the cross entropy."),
    _loss_option("--mask-weight", type=float, default=5.0, help="Of that of pixels."),
    _loss_option("--dice-weight", type=float, default=5.0, help="Of the dice loss."),
    _loss_option(
        "--no-object-weight", type=float, default=0.1, help="Of queries without a mask, among all."
    ),
    _loss_option(
        "--points", type=_POSITIVE, default=12544, help="Pixels at which masks are compared."
    ),
    _loss_option(
        "--drop-loss",
        type=_FRACTION,
        metavar="IOU",
        help="No mask loss for queries that overlap their mask no more than this; CutLER has "
        "0.01.  [default: off]",
    ),
)
