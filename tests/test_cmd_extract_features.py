"""extract-features as a user runs it: images and masks in, features out; stopped and resumed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from support import Invoke, draw_scene


def test_resume_is_refused_with_the_differing_setting_named(
    scenes: Path, invoke: Invoke, tmp_path: Path
) -> None:
    out = tmp_path / "f.h5"
    assert invoke("extract-features", scenes, "-o", out).exit_code == 0
    ran = invoke("extract-features", scenes, "-o", out, "--resume", "--size", "320")
    assert ran.exit_code == 2
    assert "size was 640 and is now 320" in ran.stderr


def test_resume_takes_in_new_images(scenes: Path, invoke: Invoke, tmp_path: Path) -> None:
    from PIL import Image

    out = tmp_path / "f.h5"
    invoke("extract-features", scenes, "-o", out)
    Image.fromarray(draw_scene(7)).save(scenes / "more" / "6.png")
    assert invoke("extract-features", scenes, "-o", out, "--resume").exit_code == 0
    invoke("extract-features", scenes, "-o", tmp_path / "one.h5")
    assert out.read_bytes() == (tmp_path / "one.h5").read_bytes()


def test_a_list_that_changed_is_not_resumed(scenes: Path, invoke: Invoke, tmp_path: Path) -> None:
    out = tmp_path / "f.h5"
    invoke("extract-features", scenes, "-o", out)
    (scenes / "0.png").write_bytes((scenes / "1.png").read_bytes())
    ran = invoke("extract-features", scenes, "-o", out, "--resume")
    assert ran.exit_code == 65
    assert "image 1 was 1.png and is now 0.png" in ran.stderr


def test_regions_of_another_list_are_refused(scenes: Path, invoke: Invoke, tmp_path: Path) -> None:
    invoke("extract-features", scenes, "-o", tmp_path / "f.h5")
    invoke("divide", tmp_path / "f.h5", "-o", tmp_path / "d.json")
    ran = invoke(
        "extract-features",
        scenes / "more",
        "--regions",
        tmp_path / "d.json",
        "-o",
        tmp_path / "r.h5",
    )
    assert ran.exit_code == 65
    assert "image 1 is 1.png there and 5.png here" in ran.stderr


def test_masks_of_another_size_name_the_image(scenes: Path, invoke: Invoke, tmp_path: Path) -> None:
    from PIL import Image

    invoke("extract-features", scenes, "-o", tmp_path / "f.h5")
    invoke("divide", tmp_path / "f.h5", "-o", tmp_path / "d.json")
    Image.fromarray(draw_scene(0, height=90)).save(scenes / "1.png")
    ran = invoke(
        "extract-features", scenes, "--regions", tmp_path / "d.json", "-o", tmp_path / "r.h5"
    )
    assert ran.exit_code == 65
    assert "1.png: has 128 x 90 pixels, but its annotations are for 128 x 96" in ran.stderr
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(draw_scene(0)).save(scenes / "1.png", exif=exif)
    regions = ("--regions", tmp_path / "d.json", "-o", tmp_path / "r.h5")
    ran = invoke("extract-features", scenes, *regions)
    assert ran.exit_code == 65
    assert "turned by its EXIF orientation, 6: if the masks were drawn on the" in ran.stderr
    ran = invoke("extract-features", scenes, *regions, "--exif", "ignore")
    assert ran.exit_code == 0, ran.stderr


def test_missing_images_of_a_list_are_skipped_on_request(
    scenes: Path, invoke: Invoke, tmp_path: Path
) -> None:
    features, listed = tmp_path / "f.h5", tmp_path / "list.txt"
    listed.write_text(f"{scenes}/1.png\n{scenes}/none.png\n")
    assert invoke("extract-features", f"@{listed}", "-o", features).exit_code == 66
    ran = invoke("extract-features", f"@{listed}", "-o", features, "--on-error", "skip")
    assert ran.exit_code == 3
    errors = Path(f"{features}.errors.jsonl").read_text().splitlines()
    assert [json.loads(line)["file_name"] for line in errors] == ["none.png"]


# Sends itself a signal as soon as the first image is done: no test has to find the moment.
SIGNALLED = """
import os, signal
from unsam_cli.cli import main
from unsam_cli.run.progress import LineReporter

advance = LineReporter.advance

def and_signal(self, skipped=False):
    advance(self, skipped)
    if self.done == 1:
        os.kill(os.getpid(), signal.SIGUSR1)

LineReporter.advance = and_signal
main()
"""


def test_a_signal_stops_with_75_and_the_state_saved(
    scenes: Path, invoke: Invoke, tmp_path: Path
) -> None:
    out = tmp_path / "f.h5"
    extract = ["extract-features", str(scenes), "--jobs", "1"]
    ran = subprocess.run(
        [sys.executable, "-c", SIGNALLED, *extract, "-o", str(out)],
        capture_output=True,
        check=False,
    )
    assert ran.returncode == 75
    assert b"stopped by SIGUSR1" in ran.stderr
    assert b"run again with --resume" in ran.stderr
    assert not out.exists()
    assert (tmp_path / "f.h5.part" / "journal.ndjson").stat().st_size > 0
    assert invoke(*extract, "-o", out, "--resume").exit_code == 0
    assert invoke(*extract, "-o", tmp_path / "g.h5").exit_code == 0
    assert out.read_bytes() == (tmp_path / "g.h5").read_bytes()


INTERRUPTED = """
import os, signal, sys
from unsam_cli.cli import main

class Stdin:
    def __init__(self):
        self.buffer = self

    def isatty(self):
        return False

    def read(self):
        os.kill(os.getpid(), signal.SIGINT)
        return b"1.png"

sys.stdin = Stdin()
main()
"""


def test_ctrl_c_is_130_and_silent(tmp_path: Path) -> None:
    """Pressed while the command waits for the list of images."""
    interrupted = [sys.executable, "-c", INTERRUPTED, "extract-features", "-", "-o", "f.h5"]
    ran = subprocess.run(interrupted, cwd=tmp_path, capture_output=True, check=False)
    assert (ran.returncode, ran.stderr) == (130, b"")


def test_binary_output_to_a_terminal_is_refused(scenes: Path) -> None:
    import pty

    master, slave = pty.openpty()
    ran = subprocess.run(
        [sys.executable, "-m", "unsam_cli", "extract-features", str(scenes)],
        stdout=slave,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(slave)
    os.close(master)
    assert ran.returncode == 2
    assert b"the output is binary, and standard output is a terminal" in ran.stderr
