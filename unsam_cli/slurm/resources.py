"""Resources that a job requests from Slurm."""

from __future__ import annotations

from dataclasses import dataclass

from unsam_cli.errors import UsageError


@dataclass(frozen=True)
class Resources:
    """Resources of an array task, or of a training process, in Slurm's notation.

    Parameters
    ----------
    time : str
        Time limit, such as ``4:00:00`` or ``1-0``.
    mem : str
        Memory of a node, such as ``8G``.
    cpus : int
        Processors.
    gpus : int
        GPUs of a node.
    partition : str, optional
        Where to queue.
    """

    time: str = "4:00:00"
    mem: str = "8G"
    cpus: int = 4
    gpus: int = 0
    partition: str | None = None

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
