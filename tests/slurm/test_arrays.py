"""Array jobs: shards on nodes give the bytes of one run at home."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from slurm.site import Site

pytestmark = pytest.mark.slurm

PIPE = (
    "unsam extract-features scenes | unsam divide "
    "| unsam extract-features scenes --regions - --whole-image | unsam conquer -o local.json"
)
EVERYTHING = ("extract-features", "divide", "conquer", "--images", "scenes", "-o", "out")


def assert_equal(folder: Path, one: str, other: str) -> None:
    assert (folder / one).read_bytes() == (folder / other).read_bytes(), f"{one}, {other}"


def test_arrays_chained_task_by_task_and_merged_equal_one_run(site: Site) -> None:
    before: list[str] = []
    for stage in ("extract-features", "divide", "conquer"):
        site.script(f"{stage}.sh", stage, "--images", "scenes", "-o", "out", "--shards", "2")
        job = site.submit(*before, f"{stage}.sh")
        before = [f"--dependency=aftercorr:{job}"]
    last = site.submit(
        f"--dependency=afterok:{job}", "--wrap=unsam merge out/masks.*.json -o merged.json"
    )
    site.shell(PIPE)
    site.finish(last)
    assert site.show(last, "JobState") == "COMPLETED", site.log(last)
    assert_equal(site.folder, "merged.json", "local.json")
    site.shell("unsam extract-features scenes -o f.h5; unsam merge out/features.*.h5 -o g.h5")
    assert_equal(site.folder, "f.h5", "g.h5")


def test_one_script_for_all_stages(site: Site) -> None:
    """More shards than tasks, a container, a GPU; the merge as the script's head tells it."""
    apptainer = site.folder / "bin" / "apptainer"
    apptainer.write_text(
        '#!/bin/bash\necho "$1 $2 $4 $5 on GPU $CUDA_VISIBLE_DEVICES" >&2\n"${@:6}"\n'
    )
    apptainer.chmod(0o755)
    extra = ("--shards", "2", "--tasks", "1", "--container", "u.sif", "--gpus", "1")
    site.script("job.sh", *EVERYTHING, *extra)
    job = site.submit("job.sh")
    site.finish(job)
    log = site.log(f"{job}_0")
    assert log.count("exec --bind --nv u.sif on GPU 0\n") == 8, log
    assert re.search(r"^unsam: conquer: \d/\d images, .*/s", log, re.MULTILINE), log
    assert not re.search(r"[^\n -~]", log), f"control codes: {log!r}"
    site.shell(PIPE)
    merge = re.search(
        r"--wrap='apptainer exec --nv u.sif (.*)'", (site.folder / "job.sh").read_text()
    )
    assert merge
    site.shell(merge[1])
    assert_equal(site.folder, "out/masks.json", "local.json")
    assert sorted(p.name for p in (site.folder / "tmp").iterdir()) == [], "scratch is left"


def test_shares_come_from_the_array_and_from_srun(site: Site) -> None:
    line = (
        "srun --ntasks=2 bash -c 'unsam extract-features scenes --shard slurm "
        "-o part.$SLURM_ARRAY_TASK_ID.$SLURM_PROCID.h5'"
    )
    site.finish(site.submit("--array=3-5:2", "--ntasks=2", f"--wrap={line}"))
    site.shell("unsam merge part.*.h5 -o merged.h5; unsam extract-features scenes -o local.h5")
    assert len(list(site.folder.glob("part.*.h5"))) == 4
    assert_equal(site.folder, "merged.h5", "local.h5")
