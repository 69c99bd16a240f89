"""unsam train ANNOTATIONS.json... --images DIR -o RUN"""  # noqa: D400

from __future__ import annotations

from typing import Any

import click

from unsam_cli.cli import options
from unsam_cli.cli import train as train_options
from unsam_cli.cli.settings import settings_options
from unsam_cli.models.settings import SegmenterConfig
from unsam_cli.training.presets import DEFAULT, PRESET_HELP, PRESETS
from unsam_cli.training.recipe import DataSettings, LossSettings, Recipe
from unsam_cli.training.settings import TrainerSettings, TrainingRun, TrainInputs


@options.command("train", "Train a network that finds all masks of an image.")
@click.argument("annotations", nargs=-1, required=True, metavar="ANNOTATIONS.json...")
@settings_options("inputs", TrainInputs, build=dict)
@options.preset_option(PRESETS, DEFAULT, PRESET_HELP)
@settings_options("network", SegmenterConfig)
@settings_options("data", DataSettings)
@settings_options("losses", LossSettings)
@train_options.trainer_options
@train_options.weight_options
@options.run_option(
    "--checkpoint-activations",
    is_flag=True,
    group="Compute",
    help="Recompute activations in the backward pass to save memory.",
)
@options.pixel_options
@train_options.run_options
def command(
    annotations: tuple[str, ...],
    inputs: dict[str, Any],
    network: SegmenterConfig,
    trainer: TrainerSettings,
    checkpoint_activations: bool,
    run: TrainingRun,
    **recipe: Any,
) -> int:
    """Train a class-agnostic segmenter on masks, such as those of conquer.

    Reads COCO files and their images; writes a model folder for predict and Hugging Face.

    \b
      unsam train masks.json --images photos -o run
      unsam train shard-*.json --images photos -o run --preset paper --dtype bfloat16
      unsam train union.json --images photos -o run2 --init run
    """
    from unsam_cli.training.stage import train_whole_image

    return train_whole_image(
        TrainInputs(annotations, **inputs),
        network,
        Recipe(**recipe),
        trainer,
        run,
        checkpointing=checkpoint_activations,
    )
