"""unsam slurm-script STAGE... -o FOLDER"""  # noqa: D400

from __future__ import annotations

from typing import Any

import click
from click.core import ParameterSource

from unsam_cli.cli import options
from unsam_cli.errors import UsageError
from unsam_cli.slurm import Job, Resources, Stage, batch_script, parse_stage

# What the script itself says to stages. Only a COCO object can be resumed and merged.
TAKEN = ("output", "resume", "shard", "jobs", "format")
TAKEN_OF = {
    "extract-features": ("images", "regions", "whole_image"),
    "divide": ("features",),
    "conquer": ("features",),
}


@options.command("slurm-script", "Print a batch script that runs the pipeline on Slurm.")
@click.argument("stages", nargs=-1, required=True, metavar="STAGE...")
@options.run_option(
    "--images",
    metavar="FOLDER|@LIST",
    group="Input",
    help="The images, for stages that read images and have no --coco or --prompts-from.",
)
@options.run_option(
    "-o",
    "--output",
    required=True,
    metavar="FOLDER",
    group="Output",
    help="Folder for the results of all tasks and stages.",
)
@options.run_option(
    "--shards",
    type=click.IntRange(1),
    default=64,
    help="Number of shards of the list of images; an interruption loses the features of one "
    "shard at most.",
)
@options.run_option(
    "--tasks",
    type=click.IntRange(1),
    help="Number of tasks in the array; each works on every TASKS-th shard.  [default: SHARDS]",
)
@options.run_option(
    "--cpus", type=click.IntRange(1), default=4, group="Compute", help="CPUs per process."
)
@options.run_option(
    "--gpus",
    type=click.IntRange(0),
    default=0,
    group="Compute",
    help="GPUs per task; for a training, GPUs per node, with one process each.",
)
@options.run_option(
    "--nodes",
    type=click.IntRange(1),
    default=1,
    group="Compute",
    help="Number of nodes for a training.",
)
@options.run_option(
    "--mem",
    default="8G",
    metavar="SIZE",
    group="Compute",
    help="Memory per task; for a training, memory per node.",
)
@options.run_option(
    "--time",
    default="4:00:00",
    metavar="TIME",
    help="Time limit; a job that exceeds it is requeued and continues.",
)
@options.run_option("--partition", metavar="NAME", help="Slurm partition.  [default: the site's]")
@options.run_option(
    "--container",
    metavar="IMAGE",
    help="Container image to run in, with Apptainer.  [default: none]",
)
def command(
    stages: tuple[str, ...],
    time: str,
    mem: str,
    cpus: int,
    gpus: int,
    partition: str | None,
    **job: Any,
) -> None:
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
    resources = Resources(time, mem, cpus, gpus, partition)
    click.echo(batch_script(chosen, resources, Job(**job)), nl=False)


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
