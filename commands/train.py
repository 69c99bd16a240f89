"""unsam train ANNOTATIONS.json... --images DIR -o RUN"""  # noqa: D400

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from unsam_cli.cli import options
from unsam_cli.cli import train as train_options
from unsam_cli.cli.settings import settings_options
from unsam_cli.cli.train_log import training_reporter_factory
from unsam_cli.models.settings import SegmenterConfig
from unsam_cli.training.presets import DEFAULT, PRESETS
from unsam_cli.training.recipe import DataSettings, LossSettings, Recipe

FOLDER = click.Path(file_okay=False, path_type=Path)


@options.command("train", "Train a network that finds all masks of an image.")
@click.argument("annotations", nargs=-1, required=True, metavar="ANNOTATIONS.json...")
@options.run_option(
    "--images", type=FOLDER, required=True, group="Input", help="Folder of the images."
)
@options.files_option(
    "--init",
    metavar="CHECKPOINT",
    help="Start from the network of a run or checkpoint; the options of the network are ignored.",
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
@train_options.folder_options
def command(output: Path, resume: bool, checkpoint_activations: bool, **chosen: Any) -> int:
    """Train a class-agnostic segmenter on masks, such as those of conquer.

    Reads COCO files and their images; writes a model folder for predict and Hugging Face.

    \b
      unsam train masks.json --images photos -o run
      unsam train shard-*.json --images photos -o run --preset paper --dtype bfloat16
      unsam train union.json --images photos -o run2 --init run
    """
    from unsam_cli.training.stage import TrainInputs, train_whole_image

    context = click.get_current_context()
    recipe = Recipe(**{key: chosen.pop(key) for key in ("data", "losses", "parameters")})
    network, trainer = chosen.pop("network"), chosen.pop("trainer")
    return train_whole_image(
        TrainInputs(**chosen),
        network,
        recipe,
        trainer,
        checkpointing=checkpoint_activations,
        folder=output,
        step=options.step_of(context),
        resume=resume,
        report=training_reporter_factory(plain=context.find_root().meta["unsam.plain"]),
    )
