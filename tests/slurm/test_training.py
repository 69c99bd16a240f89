"""Training in two processes, on two nodes: interrupted, it goes on as if nothing had been."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from slurm.site import Site

pytestmark = [pytest.mark.slurm, pytest.mark.torch]

TINY = (
    "train objects.json --preset tiny --steps 12 --batch-size 2 --crop 64 --hidden 32 "
    "--log-every 1 --warmup 0"
)


def losses(run: Path) -> dict[int, float]:
    metrics = run / "metrics.jsonl"
    lines = metrics.read_text().splitlines() if metrics.exists() else []
    return {entry["step"]: entry["loss"] for entry in map(json.loads, lines)}


def test_a_training_survives_requeues_with_the_same_losses(site: Site) -> None:
    site.shell("unsam extract-features scenes | unsam divide -o objects.json")
    site.script("job.sh", TINY, "--images", "scenes", "-o", "run", "--nodes", "2")
    # The nodes have names that nothing here can resolve.
    job = site.submit("--export=ALL,MASTER_ADDR=localhost", "job.sh")
    site.until(lambda: len(losses(site.folder / "run")) >= 3, "three steps")
    site.run("scancel", "--signal=USR1", f"{job}.0")
    torchrun = f"{sys.executable} -m torch.distributed.run --standalone --nproc-per-node 2"
    line = f"{torchrun} --no-python unsam {TINY} --images scenes --jobs 0 --resume -o"
    other = site.submit("--cpus-per-task=2", f"--wrap=srun {line} other")
    site.until(lambda: len(losses(site.folder / "other")) >= 3, "three steps")
    site.run("scancel", "--signal=USR1", f"{other}.0")
    site.finish(job, other)
    assert site.show(other, "JobState") == "FAILED", site.log(other)  # torchrun hides the 75
    site.run("scontrol", "requeue", other)
    site.finish(other)
    for interrupted in (job, other):
        log = site.log(interrupted)
        assert site.show(interrupted, "JobState") == "COMPLETED", log
        assert site.show(interrupted, "Restarts") == "1"
        assert not re.search(r"[^\n -~]", log), f"control codes: {log!r}"
    assert "stopped by" in site.log(job)
    site.shell(f"{line} straight")
    straight = losses(site.folder / "straight")
    assert list(straight) == list(range(1, 13))
    assert losses(site.folder / "run") == pytest.approx(straight, rel=1e-5)
    assert losses(site.folder / "other") == pytest.approx(straight, rel=1e-5)
