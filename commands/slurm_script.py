"""unsam slurm-script STAGE... -o FOLDER"""  # noqa: D400

from __future__ import annotations

import click
from click.core import ParameterSource

from unsam_cli.cli import options
from unsam_cli.cli.settings import settings_options
from unsam_cli.errors import UsageError
from unsam_cli.slurm import Job, Stage, batch_script, parse_stage

# What the script itself says to stages. Only a COCO object can be resumed and merged.
TAKEN = ("output", "resume", "shard", "jobs", "format")
TAKEN_OF = {
    "extract-features": ("images", "regions", "whole_image"),
    "divide": ("features",),
    "conquer": ("features",),
}


@options.command("slurm-script", "Print a batch script that runs the pipeline on Slurm.")
@click.argument("stages", nargs=-1, required=True, metavar="STAGE...")
@settings_options("job", Job)
def command(stages: tuple[str, ...], job: Job) -> None:
    """Print a batch script: an array job for stages of the pipeline, or a training job.

    STAGE is one or more consecutive stages of extract-features, divide and conquer; or predict, or
    train, or finetune-sam. Quote a stage together with its options. An interrupted job is requeued
    and continues. The command only prints the script; submit it with sbatch.

    \b
      unsam slurm-script extract-features divide conquer --images photos -o out > job.sh
      unsam slurm-script "extract-features --size 640" --images photos -o out --shards 500
      unsam slurm-script "train out/masks.json" --images photos -o run --gpus 8
      sbatch job.sh
    """
    chosen = [parse_stage(text) for text in stages]
    for stage in chosen:
        _check_options(stage)
    click.echo(batch_script(chosen, job), nl=False)


def _check_options(stage: Stage) -> None:
    """Refuse now what would stop the job after hours in the queue."""
    group = click.get_current_context().find_root()
    known = group.command.get_command(group, stage.command)  # type: ignore[attr-defined]
    needed = {"images": ".", "output": "."}
    said = known.make_context(stage.command, list(stage.options), group, default_map=needed)
    for name in (*TAKEN, *TAKEN_OF.get(stage.command, ("images",))):
        if said.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise UsageError(
                f"{stage.command}: remove {name.replace('_', '-')}, which the script sets"
            )
