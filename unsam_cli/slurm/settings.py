"""Settings of a job; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from unsam_cli.errors import UsageError
from unsam_cli.settings import REQUIRED, Settings, setting

running = partial(setting, group="Run", results=False)
computing = partial(setting, group="Compute", results=False)


@dataclass(frozen=True, kw_only=True)
class Job(Settings):
    """Inputs and outputs of a job, its size, and what it requests from Slurm, in its notation."""

    images: str | None = setting(
        None,
        "The images, for stages that read images and have no --coco or --prompts-from.",
        group="Input",
        results=False,
        metavar="FOLDER|@LIST",
    )
    output: str = setting(
        REQUIRED,
        "Folder for the results of all tasks and stages.",
        group="Output",
        results=False,
        short="-o",
        metavar="FOLDER",
    )
    shards: int = running(
        64,
        "Number of shards of the list of images; an interruption loses the features of one "
        "shard at most.",
        least=1,
    )
    tasks: int | None = running(
        None,
        "Number of tasks in the array; each works on every TASKS-th shard.  [default: SHARDS]",
        least=1,
    )
    cpus: int = computing(4, "CPUs per process.", least=1)
    gpus: int = computing(
        0, "GPUs per task; for a training, GPUs per node, with one process each.", least=0
    )
    nodes: int = computing(1, "Number of nodes for a training.", least=1)
    mem: str = computing("8G", "Memory per task; for a training, memory per node.", metavar="SIZE")
    time: str = running(
        "4:00:00",
        "Time limit; a job that exceeds it is requeued and continues.",
        metavar="TIME",
    )
    partition: str | None = running(None, "Slurm partition.  [default: the site's]", metavar="NAME")
    container: str | None = running(
        None, "Container image to run in, with Apptainer.  [default: none]", metavar="IMAGE"
    )

    def options(self) -> list[str]:
        """Return options of sbatch.

        Raises
        ------
        UsageError
            A value has a space or a newline, which would end its option.
        """
        found = [f"--time={self.time}", f"--cpus-per-task={self.cpus}", f"--mem={self.mem}"]
        if self.gpus:
            found.append(f"--gpus-per-node={self.gpus}")
        if self.partition:
            found.append(f"--partition={self.partition}")
        for option in found:
            if len(option.split()) != 1:
                raise UsageError(f"{option!r}: Slurm options cannot contain spaces")
        return found
