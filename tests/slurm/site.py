"""A folder from which a test submits jobs, and what it sees of them."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from slurm.cluster import Cluster

LOG = "--output=%A_%a.log"  # a job that is no array has some large number for its task


class Site:
    """Submits jobs from a folder, and sees what becomes of them.

    Parameters
    ----------
    cluster : Cluster
        Where jobs run.
    folder : Path
        Where they are submitted; ``bin`` in it comes first on the path.
    """

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster, self.folder = cluster, folder
        (folder / "tmp").mkdir()
        path = os.pathsep.join([str(folder / "bin"), cluster.environment["PATH"]])
        self.environment = {
            **cluster.environment,
            "PATH": path,
            "TMPDIR": str(folder / "tmp"),
            "OMP_NUM_THREADS": "1",
        }

    def run(
        self, *command: str, check: bool = True, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the folder."""
        return self.cluster.run(
            *command, check=check, cwd=self.folder, env={**self.environment, **environment}
        )

    def shell(self, line: str) -> None:
        """Run a line of bash in the folder."""
        self.run("bash", "-eo", "pipefail", "-c", line)

    def script(self, name: str, *arguments: str) -> None:
        """Write what ``unsam slurm-script`` prints to a file, less greedy than by default."""
        smaller = ["--cpus", "1", "--mem", "100M", "--time", "10"]
        self.folder.joinpath(name).write_text(
            self.run("unsam", "slurm-script", *arguments, *smaller).stdout
        )

    def submit(self, *arguments: str, slow: float = 0) -> str:
        """Submit a job, in which `unsam` takes `slow` seconds longer for each image."""
        return self.run("sbatch", "--parsable", LOG, *arguments, SLOW=str(slow)).stdout.strip()

    def finish(self, *jobs: str) -> None:
        """Wait until jobs have ended."""
        self.cluster.wait_for(f"squeue -h -o %T -j {','.join(jobs)}", "", seconds=300)

    def show(self, job: str, field: str) -> str:
        """Return what Slurm says about a job, or about a task of an array."""
        said = self.run("scontrol", "show", "job", "--oneliner", job).stdout
        found = re.search(rf"\b{field}=(\S*)", said)
        assert found, said
        return found[1]

    def log(self, job: str) -> str:
        """Return what a job, or a task of an array, has said so far."""
        return "".join(
            p.read_text() for p in self.folder.glob(f"{job}{'' if '_' in job else '_*'}.log")
        )

    def until(self, happened: Callable[[], object], what: str, seconds: float = 120) -> None:
        """Wait for something."""
        deadline = time.monotonic() + seconds
        while not happened():
            logs = "".join(f"\n{p.name}\n{p.read_text()}" for p in self.folder.glob("*.log"))
            assert time.monotonic() < deadline, f"not in {seconds} s: {what}{logs}"
            time.sleep(0.05)

    def lines(self, output: str) -> int:
        """Return how many images the journal of an unfinished output has."""
        journal = self.folder / f"{output}.part" / "journal.ndjson"
        return max(journal.read_bytes().count(b"\n") - 1, 0) if journal.exists() else 0

    def images_done(self, job: str, stage: str) -> list[int]:
        """Return how many images each run of a stage has worked on, by its last line."""
        ends = re.findall(rf"{stage}: (\d+)/\d+ images, \S+/s, [\d.]+ s, peak", self.log(job))
        return [int(number) for number in ends]
