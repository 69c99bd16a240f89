"""unsam finetune-sam ANNOTATIONS.json... --images DIR --checkpoint SAM -o RUN"""  # noqa: D400

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from unsam_cli.cli import options
from unsam_cli.cli import train as train_options
from unsam_cli.cli.settings import settings_options
from unsam_cli.cli.train_log import training_reporter_factory
from unsam_cli.training.prompted.settings import DEFAULT, PRESETS, PromptSettings, TuneSettings

FOLDER = click.Path(file_okay=False, path_type=Path)


@options.command("finetune-sam", "Fine-tune SAM on masks of all granularities.")
@click.argument("annotations", nargs=-1, required=True, metavar="ANNOTATIONS.json...")
@options.run_option(
    "--images", type=FOLDER, required=True, group="Input", help="Folder of the images."
)
@options.files_option(
    "--checkpoint",
    required=True,
    metavar="SAM",
    help="Model to start from: a folder or hub id of SAM or SAM 2, an original checkpoint, or "
    "an earlier run.",
)
@options.files_option(
    "--ground-truth", metavar="GT.json", help="Also train on these masks (UnSAM+)."
)
@options.option(
    "--union-iou",
    type=click.FloatRange(0, 1),
    default=0.02,
    group="Input",
    help="With --ground-truth: drop masks of ANNOTATIONS whose IoU with it is higher.",
)
@options.files_option(
    "--features",
    type=click.Path(path_type=Path),
    metavar="FEATURES.h5",
    help="Precomputed image embeddings from extract-features --backbone sam; the image encoder "
    "must stay frozen.",
)
@options.files_option(
    "--validate", metavar="GT.json", help="Validate on these masks and keep the best checkpoint."
)
@options.run_option(
    "--validate-images",
    type=FOLDER,
    group="Input",
    help="Folder of the images of --validate.  [default: --images]",
)
@train_options.preset_option(PRESETS, DEFAULT)
@settings_options("tune", TuneSettings)
@settings_options("prompts", PromptSettings)
@train_options.trainer_options
@train_options.weight_options
@train_options.folder_options
def command(output: Path, resume: bool, **chosen: Any) -> int:
    """Fine-tune a promptable segmenter on masks and their parts, such as those of conquer.

    Reads COCO files and their images; writes a model folder for predict. Hugging Face can open the
    folder, too, if no parts were added to the network.

    \b
      unsam finetune-sam masks.json --images photos --checkpoint facebook/sam-vit-base -o run
      unsam finetune-sam masks.json --images photos --checkpoint sam2 --granularity -o run
      unsam finetune-sam masks.json --images photos --checkpoint sam --preset paper -o run
    """
    from unsam_cli.training.prompted.stage import TuneInputs, finetune_sam

    context = click.get_current_context()
    settings = [chosen.pop(key) for key in ("tune", "prompts", "parameters", "trainer")]
    return finetune_sam(
        TuneInputs(**chosen),
        *settings,
        folder=output,
        step=options.step_of(context),
        resume=resume,
        report=training_reporter_factory(plain=context.find_root().meta["unsam.plain"]),
    )
