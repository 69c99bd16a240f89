"""unsam finetune-sam ANNOTATIONS.json... --images DIR --checkpoint SAM -o RUN"""  # noqa: D400

from __future__ import annotations

from typing import Any

import click

from unsam_cli.cli import options
from unsam_cli.cli import train as train_options
from unsam_cli.cli.settings import settings_options
from unsam_cli.training.presets import PRESET_HELP
from unsam_cli.training.prompted.settings import (
    DEFAULT,
    PRESETS,
    PromptSettings,
    TuneInputs,
    TuneSettings,
)
from unsam_cli.training.recipe import ParameterSettings
from unsam_cli.training.settings import TrainerSettings, TrainingRun


@options.command("finetune-sam", "Fine-tune SAM on masks of all granularities.")
@click.argument("annotations", nargs=-1, required=True, metavar="ANNOTATIONS.json...")
@settings_options("inputs", TuneInputs, build=dict)
@options.preset_option(PRESETS, DEFAULT, PRESET_HELP)
@settings_options("tune", TuneSettings)
@settings_options("prompts", PromptSettings)
@train_options.trainer_options
@train_options.weight_options
@options.pixel_options
@train_options.run_options
def command(
    annotations: tuple[str, ...],
    inputs: dict[str, Any],
    tune: TuneSettings,
    prompts: PromptSettings,
    parameters: ParameterSettings,
    trainer: TrainerSettings,
    run: TrainingRun,
) -> int:
    """Fine-tune a promptable segmenter on masks and their parts, such as those of conquer.

    Reads COCO files and their images; writes a model folder for predict. Hugging Face can open the
    folder, too, if no parts were added to the network.

    \b
      unsam finetune-sam masks.json --images photos --checkpoint facebook/sam-vit-base -o run
      unsam finetune-sam masks.json --images photos --checkpoint sam2 --granularity -o run
      unsam finetune-sam masks.json --images photos --checkpoint sam --preset paper -o run
    """
    from unsam_cli.training.prompted.stage import finetune_sam

    return finetune_sam(TuneInputs(annotations, **inputs), tune, prompts, parameters, trainer, run)
