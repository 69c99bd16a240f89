"""unsam predict CHECKPOINT [IMAGES...] -o PREDICTIONS.json"""  # noqa: D400

from __future__ import annotations

from typing import Any

import click

from unsam_cli.cli import options
from unsam_cli.cli import predict as predict_options
from unsam_cli.cli.settings import settings_options
from unsam_cli.prediction.prompted.settings import PromptedSettings
from unsam_cli.prediction.settings import PredictCompute, PredictSettings, TileSettings
from unsam_cli.run.inputs import ImageQuery
from unsam_cli.run.settings import RunSettings
from unsam_cli.sam.settings import AutomaticConfig


@options.command("predict", "Segment images with a trained network.")
@click.argument("checkpoint", metavar="CHECKPOINT")
@options.images_argument
@predict_options.kept_options
@settings_options("whole", PredictSettings, unset=True, leave_out=predict_options.ELSEWHERE)
@settings_options("tiles", TileSettings)
@predict_options.prompt_options
@settings_options("prompted", PromptedSettings, unset=True)
@settings_options("search", AutomaticConfig, unset=True)
@settings_options("compute", PredictCompute)
@options.pixel_options
@options.mask_run_options
def command(
    checkpoint: str,
    images: ImageQuery,
    compute: PredictCompute,
    run: RunSettings,
    **said: Any,
) -> int:
    """Segment images with a whole-image segmenter or a promptable model (SAM).

    Reads a checkpoint and images; writes masks as COCO JSON, the best first. Whole-image
    segmenters find all masks at once: checkpoints of `unsam train` and of UnSAM, and any
    Mask2Former or EoMT of Hugging Face. Promptable models answer prompts, or find all masks with a
    grid of points: checkpoints of `unsam finetune-sam`, UnSAM's promptable ones, and any SAM or
    SAM 2.

    \b
      unsam predict run/ photos/ -o predictions.json
      unsam predict unsam.pth satellite.tif --tile 1024 > predictions.json
      unsam predict sam_vit_b.pth photo.jpg --points 120,80 > masks.json
      unsam predict sam/ --prompts-from gt.json --image-root photos/ -o answers.json
    """
    from unsam_cli.prediction.checkpoints import is_promptable
    from unsam_cli.prediction.prompted.stage import predict_prompted
    from unsam_cli.prediction.stage import predict

    asked = predict_options.PredictOptions(**said)
    if asked.asks or is_promptable(checkpoint):
        prompted = asked.of_promptable(compute)
        return predict_prompted(checkpoint, images, prompted, compute, run)
    return predict(checkpoint, images, asked.of_whole_image(compute), compute, run)
