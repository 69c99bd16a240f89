"""A folder that was interrupted, and lost a file that was finished."""

from __future__ import annotations

import json
from pathlib import Path

from support import Invoke


def test_a_file_that_was_deleted_is_written_again(tmp_path: Path, invoke: Invoke) -> None:
    whole = {
        "images": [{"id": i, "file_name": f"{i}.jpg", "height": 4, "width": 4} for i in (1, 2, 3)],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 1, "segmentation": [[0, 0, 2, 0, 2, 2, 0, 2]]}
            for i in (1, 2, 3)
        ],
    }
    source, out = tmp_path / "masks.json", tmp_path / "out"
    words = ["convert", "--to", "sa1b", source, "-o", out, "--jobs", "1"]
    broken = json.loads(json.dumps(whole))
    broken["annotations"][2]["segmentation"] = [["x"] * 6]
    source.write_text(json.dumps(broken))
    assert invoke(*words).exit_code == 65
    assert {p.name for p in out.iterdir()} == {"1.json", "2.json"}
    (out / "1.json").unlink()
    ran = invoke(*words, "--resume")  # of the same source: it stops at the same image
    assert ran.exit_code == 65
    assert (out / "1.json").exists()
