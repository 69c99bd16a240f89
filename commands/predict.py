"""unsam predict CHECKPOINT [IMAGES...] -o PREDICTIONS.json"""  # noqa: D400

from __future__ import annotations

from typing import Any

import click

from unsam_cli import options, predict_options
from unsam_cli.run.inputs import ImageQuery
from unsam_cli.run.runner import RunSettings


def _pair(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[float, float] | None:
    if value is None:
        return None
    numbers = options.parse_floats(context, parameter, value)
    if len(numbers) != 2:
        raise click.BadParameter(f"{value!r} is not two numbers, {parameter.metavar}")
    return numbers[0], numbers[1]


def _whole_pair(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[int, int] | None:
    pair = _pair(context, parameter, value)
    if pair is None:
        return None
    if any(number != int(number) for number in pair):
        raise click.BadParameter(f"{value!r} is not two whole numbers, {parameter.metavar}")
    return int(pair[0]), int(pair[1])


@options.command("predict", "Segment images with a trained network.")
@click.argument("checkpoint", metavar="CHECKPOINT")
@options.images_argument
@options.option(
    "--max-masks",
    default=1000,
    type=click.IntRange(1),
    help="Most queries that become masks, those of the best class score; of every tile.",
)
@options.option(
    "--min-score",
    type=click.FloatRange(0, 1),
    help="Least score of a mask.  [default: 0; of a promptable model without prompts 0.88]",
)
@options.option(
    "--score-window",
    metavar="LOW,HIGH",
    callback=_pair,
    help="Take queries with a class score over LOW and up to HIGH, at most --max-masks: for "
    "self-training.",
)
@options.option(
    "--nms",
    metavar="IOU",
    type=click.FloatRange(0, 1),
    help="Drop a mask whose IoU with a better one is higher.  [default: keep all; of a promptable "
    "model without prompts 0.7, of boxes]",
)
@options.option(
    "--size",
    metavar="SHORT,LONGEST",
    callback=_whole_pair,
    help="Sides of the network's input in pixels.  [default: the checkpoint's, 1024,2048]",
)
@options.option(
    "--tile",
    type=click.IntRange(1),
    metavar="SIZE",
    help="Cut larger images into tiles of so many pixels at full resolution, and join the masks.",
)
@options.option(
    "--overlap",
    type=click.IntRange(1),
    metavar="PIXELS",
    help="What neighbouring tiles share.  [default: a quarter of a tile]",
)
@predict_options.prompt_options
@options.format_option
@options.compute_options
@options.run_options
def command(
    checkpoint: str,
    images: ImageQuery,
    compute: options.Compute,
    run: RunSettings,
    kind: str,
    asked: dict[str, Any],
    **method: Any,
) -> int:
    """Segment images with a whole-image segmenter, or with a promptable one (SAM).

    Reads a checkpoint and photographs; writes masks as COCO JSON, the best first. Checkpoints of
    `unsam train` and of UnSAM, and any Mask2Former or EoMT of Hugging Face, find all masks at once;
    those of `unsam finetune-sam`, and any SAM or SAM 2, answer prompts, or search for all masks
    with a grid of points.

    \b
      unsam predict run/ photos/ -o predictions.json
      unsam predict unsam.pth satellite.tif --tile 1024 > predictions.json
      unsam predict sam_vit_b.pth photo.jpg --points 120,80 > masks.json
      unsam predict sam/ --prompts-from gt.json --image-root photos/ -o answers.json
    """
    from unsam_cli.prediction import prompted_stage, stage
    from unsam_cli.prediction.checkpoints import is_promptable

    if predict_options.asks(asked) or is_promptable(checkpoint):
        prompted = predict_options.prompted_settings(method, asked, compute)
        return prompted_stage.predict(
            checkpoint, images, prompted, run, device=compute.device, kind=kind
        )
    whole = predict_options.whole_image_settings(method, asked, compute)
    return stage.predict(checkpoint, images, whole, run, device=compute.device, kind=kind)
