"""unsam predict, as a user runs it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from segmenters import save_tiny, segment_naively
from support import Invoke, draw_scene

from unsam_cli.prediction.pipeline import predict_images
from unsam_cli.rle import decode

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "tiny"
    save_tiny(folder)
    return folder


def masks_of(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_bytes())
    return found


def test_masks_are_those_of_the_naive_way_and_coco(
    scenes: Path, model: Path, invoke: Invoke, tmp_path: Path
) -> None:
    from unsam_cli.models.loading import load_segmenter

    ran = invoke("predict", model, scenes, "-o", tmp_path / "p.json", "--device", "cpu")
    assert ran.exit_code == 0, ran.stderr
    assert ran.stdout == ""
    found = masks_of(tmp_path / "p.json")
    assert [image["file_name"] for image in found["images"]] == [
        *(f"{i}.png" for i in range(1, 5)),
        "more/5.png",
    ]
    segmenter = load_segmenter(str(model))
    for image_id in range(1, 6):
        annotations = [a for a in found["annotations"] if a["image_id"] == image_id]
        masks, scores, _ = segment_naively(segmenter, draw_scene(image_id - 1), 64, 128)
        order = [i for i in np.argsort(-scores, kind="stable") if masks[i].any()]
        assert len(annotations) == len(order) > 3
        assert [a["score"] for a in annotations] == pytest.approx(scores[order], abs=2e-6)
        for a, i in zip(annotations, order, strict=True):
            np.testing.assert_array_equal(decode(a["segmentation"]), masks[i])
            assert (a["stage"], a["level"], a["area"]) == ("predict", None, masks[i].sum())
            assert 0.1 <= a["granularity"] <= 1


def test_the_history_says_what_made_the_weights_and_which_they_are(
    scenes: Path, model: Path, invoke: Invoke, tmp_path: Path
) -> None:
    for name, options in [("a", ["--nms", "0.8"]), ("b", ["--nms", "0.8", "--batch-size", "3"])]:
        ran = invoke("predict", model, scenes, "-o", tmp_path / f"{name}.json", *options)
        assert ran.exit_code == 0, ran.stderr
    trained, step = masks_of(tmp_path / "a.json")["info"]["unsam"]["history"]
    assert trained == {"command": "unsam train"}
    assert step["options"]["nms"] == 0.8
    assert step["inputs"]["checkpoint"].startswith("sha256:")
    assert str(model) not in json.dumps(step)
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_shards_merge_into_one_run_byte_for_byte(
    scenes: Path, model: Path, invoke: Invoke, tmp_path: Path
) -> None:
    one = tmp_path / "one.json"
    assert invoke("predict", model, scenes, "-o", one, "--jobs", 1).exit_code == 0
    parts = [tmp_path / f"{k}.json" for k in range(2)]
    for k, part in enumerate(parts):
        ran = invoke("predict", model, scenes, "-o", part, "--shard", f"{k}/2", "--jobs", 3)
        assert ran.exit_code == 0, ran.stderr
    merged = tmp_path / "merged.json"
    ran = invoke("merge", parts[1], parts[0], "-o", merged)
    assert ran.exit_code == 0, ran.stderr
    assert merged.read_bytes() == one.read_bytes()


def test_stopped_by_a_signal_and_resumed(
    scenes: Path, model: Path, invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from unsam_cli.prediction import stage

    one, output = tmp_path / "one.json", tmp_path / "out.json"
    assert invoke("predict", model, scenes, "-o", one).exit_code == 0
    computed: list[str] = []

    def interrupted(items: Any, *args: Any, **options: Any) -> Iterator[Any]:
        for item, found in predict_images(items, *args, **options):
            computed.append(item.file_name)
            if len(computed) == 2:
                os.kill(os.getpid(), signal.SIGTERM)
            yield item, found

    monkeypatch.setattr(stage, "predict_images", interrupted)
    ran = invoke("predict", model, scenes, "-o", output)
    assert ran.exit_code == 75, ran.stderr
    assert not output.exists()
    other = invoke("predict", model, scenes, "-o", output, "--resume", "--nms", "0.5")
    assert other.exit_code == 2
    assert "nms" in other.stderr
    assert invoke("predict", model, scenes, "-o", output, "--resume").exit_code == 0
    assert computed == ["1.png", "2.png", "3.png", "4.png", "more/5.png"]
    assert output.read_bytes() == one.read_bytes()


def test_other_weights_are_not_resumed(
    scenes: Path, model: Path, invoke: Invoke, tmp_path: Path
) -> None:
    save_tiny(tmp_path / "other", seed=1)
    output = tmp_path / "out.json"
    assert invoke("predict", model, scenes / "1.png", "-o", output).exit_code == 0
    ran = invoke("predict", tmp_path / "other", scenes / "1.png", "-o", output, "--resume")
    assert ran.exit_code == 2
    assert "checkpoint" in ran.stderr


def test_bad_images_are_skipped_on_request(
    scenes: Path, model: Path, invoke: Invoke, tmp_path: Path
) -> None:
    (scenes / "2.png").write_bytes(b"no image")
    output = tmp_path / "p.json"
    ran = invoke("predict", model, scenes, "-o", output)
    assert ran.exit_code == 65
    assert "2.png" in ran.stderr
    ran = invoke("predict", model, scenes, "-o", output, "--on-error", "skip")
    assert ran.exit_code == 3
    lines = Path(f"{output}.errors.jsonl").read_text().splitlines()
    errors = [json.loads(line) for line in lines]
    assert [(e["file_name"], e["stage"]) for e in errors] == [("2.png", "predict")]
    assert [image["id"] for image in masks_of(output)["images"]] == [1, 3, 4, 5]


def test_checkpoints_that_are_none(scenes: Path, invoke: Invoke, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "config.json").write_text('{"model_type": "bert"}')
    ran = invoke("predict", foreign, scenes, "-o", tmp_path / "p.json")
    assert ran.exit_code == 65
    assert "bert" in ran.stderr
    missing = invoke("predict", tmp_path / "none", scenes, "-o", tmp_path / "p.json")
    assert missing.exit_code == 66
    assert "none" in missing.stderr
    assert not (tmp_path / "p.json").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        ["--score-window", "0.5"],
        ["--score-window", "0.9,0.5"],
        ["--size", "64.5,100"],
        ["--size", "100,64"],
        ["--nms", "2"],
        ["--overlap", "5"],
        ["--tile", "100", "--overlap", "100"],
        ["--max-masks", "0"],
        ["--device", "tpu"],
    ],
)
def test_options_that_cannot_be(
    wrong: list[str], scenes: Path, model: Path, invoke: Invoke
) -> None:
    ran = invoke("predict", model, scenes, *wrong)
    assert ran.exit_code == 2, ran.output
    assert ran.stdout == ""


def test_options_reach_the_prediction(
    scenes: Path, model: Path, invoke: Invoke, tmp_path: Path
) -> None:
    def scores(*options: object) -> list[float]:
        ran = invoke("predict", model, scenes / "1.png", "--format", "results", *options)
        assert ran.exit_code == 0, ran.stderr
        return [a["score"] for a in json.loads(ran.stdout)]

    every = scores()
    assert scores("--max-masks", 3) != every
    assert len(scores("--max-masks", 3)) == 3
    assert scores("--min-score", every[2]) == every[:3]
    assert scores("--score-window", "0,0.000001") == []
    assert len(scores("--nms", "0.3")) < len(every)
    assert scores("--size", "32,64") != every
    assert scores("--tile", "64", "--overlap", "24") != every


def test_images_of_a_coco_file_keep_their_ids(
    scenes: Path, model: Path, invoke: Invoke, tmp_path: Path
) -> None:
    images = [{"id": 70 + i, "file_name": f"{i}.png", "height": 96, "width": 128} for i in (3, 1)]
    coco = tmp_path / "coco.json"
    coco.write_text(json.dumps({"images": images, "annotations": [], "categories": []}))
    ran = invoke("predict", model, "--coco", coco, "--image-root", scenes)
    assert ran.exit_code == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert [image["id"] for image in found["images"]] == [71, 73]


def test_an_image_larger_than_its_tiles(model: Path, invoke: Invoke, tmp_path: Path) -> None:
    Image.fromarray(draw_scene(0, 300, 420)).save(tmp_path / "large.png")
    ran = invoke("predict", model, tmp_path / "large.png", "--tile", 128, "--overlap", 48)
    assert ran.exit_code == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert all(a["segmentation"]["size"] == [300, 420] for a in found["annotations"])
    scores = [a["score"] for a in found["annotations"]]
    assert scores == sorted(scores, reverse=True)
