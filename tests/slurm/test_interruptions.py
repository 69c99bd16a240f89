"""Killed, requeued, out of time, pushed out: what is missing is made, and nothing else."""

from __future__ import annotations

import re
import shutil

import pytest
from slurm.site import LOG, Site

pytestmark = pytest.mark.slurm

EXTRACT = ("extract-features", "--images", "scenes", "-o", "out")


def assert_as_at_home(site: Site, output: str) -> None:
    site.shell("unsam extract-features scenes -o home.h5")
    assert (site.folder / output).read_bytes() == (site.folder / "home.h5").read_bytes()


def test_a_task_killed_and_requeued_redoes_what_is_missing(site: Site) -> None:
    site.script("job.sh", *EXTRACT, "--shards", "2")
    job = site.submit("job.sh", slow=1.5)
    site.until(lambda: site.lines("out/features.0.h5") >= 2, "two images of shard 0")
    site.run("scancel", "--signal=KILL", f"{job}_0.0")
    site.finish(job)
    assert site.show(f"{job}_0", "ExitCode") == "137:0"
    assert site.show(f"{job}_1", "JobState") == "COMPLETED"
    site.run("scontrol", "requeue", f"{job}_0")
    site.finish(job)
    assert site.show(f"{job}_0", "Restarts") == "1"
    assert site.images_done(f"{job}_0", "extract-features") == [1]  # of three
    assert site.images_done(f"{job}_1", "extract-features") == [2]
    site.shell("unsam merge out/features.*.h5 -o merged.h5")
    assert_as_at_home(site, "merged.h5")


def test_a_signal_ends_a_bare_command_with_75(site: Site) -> None:
    plain = "unsam extract-features scenes -o plain.h5"
    job = site.submit(f"--wrap=srun {plain}", slow=1)
    site.until(lambda: site.lines("plain.h5") >= 1, "an image")
    site.run("scancel", "--signal=USR1", f"{job}.0")
    site.finish(job)
    assert site.show(job, "ExitCode") == "75:0"
    site.shell(f"{plain} --resume")
    assert_as_at_home(site, "plain.h5")


def test_out_of_time_and_back_into_the_queue(site: Site) -> None:
    """Slurm looks at the time every 30 s; with these options it signals at its first look."""
    for k in range(30):
        shutil.copytree(site.folder / "scenes" / "more", site.folder / "scenes" / f"copy{k}")
    site.script("job.sh", *EXTRACT, "--shards", "1")
    job = site.submit("--time=1", "--signal=USR1@40", "job.sh", slow=1)
    site.finish(job)
    assert site.show(job, "JobState") == "COMPLETED"
    assert int(site.show(job, "Restarts")) >= 1
    log = site.log(f"{job}_0")
    assert "stopped by SIGUSR1" in log
    assert re.search(r"^unsam: extract-features: \d+/35 images, .* left, ", log, re.MULTILINE), log
    assert not re.search(r"[^\n -~]", log), f"control codes: {log!r}"
    assert sum(site.images_done(f"{job}_0", "extract-features")) == 35
    assert_as_at_home(site, "out/features.0.h5")


@pytest.mark.parametrize("style", ["requeue", "cancel", "suspend"])
def test_pushed_out_by_a_more_urgent_job(site: Site, style: str) -> None:
    site.script("job.sh", *EXTRACT, "--shards", "1", "--partition", style)
    job = site.submit("job.sh", slow=1.5)
    site.until(lambda: site.lines("out/features.0.h5") >= 1, "an image")
    urgent = site.submit(
        "--partition=urgent", "--nodes=2", "--exclusive", "--wrap=squeue -h -o '%i %t'; sleep 3"
    )
    site.finish(urgent, job)
    assert f"{job}_0 {'S' if style == 'suspend' else 'PD'}" in site.log(urgent)
    done = site.images_done(f"{job}_0", "extract-features")
    assert sum(done) == 5, site.log(f"{job}_0")
    assert len(done) == (1 if style == "suspend" else 2)
    assert_as_at_home(site, "out/features.0.h5")


def test_a_job_that_its_user_cancels_stays_cancelled(site: Site) -> None:
    site.script("job.sh", *EXTRACT, "--shards", "1")
    job = site.submit("job.sh", slow=1)
    site.until(lambda: site.lines("out/features.0.h5") >= 1, "an image")
    assert list((site.folder / "tmp").iterdir())
    site.run("scancel", job)
    site.finish(job)
    assert site.show(job, "JobState") == "CANCELLED"
    assert not list((site.folder / "tmp").iterdir()), "scratch is left"


def test_the_exit_code_of_sbatch_tells_of_the_worst_task(site: Site) -> None:
    (site.folder / "scenes" / "2.png").write_bytes(b"no image")
    site.script("job.sh", "extract-features --on-error skip", *EXTRACT[1:], "--shards", "2")
    ran = site.run("sbatch", "--wait", LOG, "job.sh", check=False)
    assert ran.returncode == 3, ran
    listed = (site.folder / "out" / "features.1.h5.errors.jsonl").read_text()
    assert "2.png" in listed
