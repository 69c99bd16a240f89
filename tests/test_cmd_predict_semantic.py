"""``unsam predict`` and ``finetune-sam`` with UnSAM's promptable model, as a user types it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import semantic_reference
import torch
from coco_scenes import box
from prompted_scenes import write_nested
from support import Invoke, draw_scene

from unsam_cli.rle import decode
from unsam_cli.sam.loading import load_promptable
from unsam_cli.sam.semantic.model import SemanticModel
from unsam_cli.sam.session import Session
from unsam_cli.sam.settings import Prompt

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("semantic") / "unsam_promptable.pth"
    state = semantic_reference.make_state()
    torch.save({"model": {f"model.{k}": v for k, v in state.items()}}, path)
    return path


@pytest.fixture(autouse=True)
def _small_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SemanticModel, "limits", (96, 160))
    monkeypatch.setattr("unsam_cli.sam.semantic.model._SIDE", 128)


def predict(invoke: Invoke, *arguments: object) -> list[dict[str, Any]]:
    ran = invoke("predict", *arguments, "--device", "cpu")
    assert ran.exit_code == 0, ran.stderr
    found: list[dict[str, Any]] = json.loads(ran.stdout)["annotations"]
    return found


def test_a_click_has_six_masks(scenes: Path, model: Path, invoke: Invoke) -> None:
    found = predict(invoke, model, scenes / "1.png", "--points", "30,40")
    session = Session(load_promptable(str(model)))
    session.set_image(draw_scene(0))
    [answer] = session.ask([Prompt(((30, 40),), (1,))])
    order = np.argsort(-answer.scores, kind="stable")
    assert [a["score"] for a in found] == pytest.approx(answer.scores[order], abs=1e-5)
    for a, i in zip(found, order, strict=True):
        np.testing.assert_array_equal(decode(a["segmentation"]), decode(answer.rles[i]))
    half = predict(invoke, model, scenes / "1.png", "--points", "30,40", "--dtype", "bfloat16")
    assert len(half) == 6


def test_prompts_of_a_file_are_answered(
    scenes: Path, model: Path, invoke: Invoke, tmp_path: Path
) -> None:
    lines = [
        {"image": "1.png", "points": [[30, 40]]},
        {"image": "1.png", "points": [[30, 40], [90, 50], [5, 5]], "labels": [1, 1, 0]},
        {"image": "2.png", "points": [[20, 20]]},
    ]
    prompts = tmp_path / "p.jsonl"
    prompts.write_text("\n".join(map(json.dumps, lines)))
    images = [scenes / "1.png", scenes / "2.png"]
    found = predict(invoke, model, *images, "--prompts", prompts)
    assert Counter(a["prompt_id"] for a in found) == {1: 6, 2: 1, 3: 6}


def test_clicks_are_counted(scenes: Path, model: Path, invoke: Invoke, tmp_path: Path) -> None:
    masks = [box(20, 20, 40, 50, height=96, width=128), box(70, 10, 30, 30, height=96, width=128)]
    truth = {
        "images": [{"id": 7, "file_name": "1.png", "height": 96, "width": 128}],
        "categories": [{"id": 1, "name": "entity"}],
        "annotations": [
            {"id": i, "image_id": 7, "category_id": 1, "iscrowd": 0, "area": 1, "segmentation": m}
            | {"bbox": [0, 0, 1, 1]}
            for i, m in enumerate(masks, start=1)
        ],
    }
    (tmp_path / "gt.json").write_text(json.dumps(truth))
    from_truth = ["--prompts-from", tmp_path / "gt.json", "--image-root", scenes]
    for more, counted in (([], None), (["--clicks", 3], 20.0)):
        found = tmp_path / "found.json"
        ran = invoke("predict", model, *from_truth, *more, "-o", found, "--device", "cpu")
        assert ran.exit_code == 0, ran.stderr
        ran = invoke("evaluate", tmp_path / "gt.json", found, "--protocol", "point", "-o", "-")
        assert ran.exit_code == 0, ran.stderr
        metrics = json.loads(ran.stdout)["metrics"]
        assert 0 < metrics["1-IoU-max"] <= metrics["1-IoU-oracle"] < 1
        assert metrics["NoC@90"] == counted
    clicks = Counter(
        (a["target_id"], a["clicks"]) for a in json.loads(found.read_text())["annotations"]
    )
    assert clicks == {(t, n): 6 if n == 1 else 1 for t in (1, 2) for n in (1, 2, 3)}


def test_all_masks_are_found(scenes: Path, model: Path, invoke: Invoke) -> None:
    options = ["--points-per-side", 2, "--min-score", 0, "--stability", 0, "--nms", 1]
    found = predict(invoke, model, scenes / "1.png", *options)
    assert len(found) == 2 * 2 * 6


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--boxes", "1,2,30,40"], "answers clicks, not boxes: give points"),
        (["--points", "5,5", "--boxes", "1,2,30,40"], "answers clicks, not boxes: give points"),
        (["--points", "5,5,0"], "needs a click on the object in every prompt"),
        (["--points", "5,5", "--granularity", "0.5"], "does not support granularity"),
    ],
)
def test_what_it_cannot_answer_is_refused(
    scenes: Path, model: Path, invoke: Invoke, options: list[str], text: str
) -> None:
    ran = invoke("predict", model, scenes / "1.png", *options, "--device", "cpu")
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert text in ran.stderr
    assert ran.stderr.count("\n") == 1


def test_an_incomplete_file_is_refused(
    scenes: Path, model: Path, invoke: Invoke, tmp_path: Path
) -> None:
    """Also without prompts, where the kind of the checkpoint is found first."""
    state = torch.load(model)["model"]
    short = {k: v for k, v in state.items() if "mask_tokens" not in k and "backbone" not in k}
    torch.save({"model": short}, tmp_path / "short.pth")
    ran = invoke("predict", tmp_path / "short.pth", scenes / "1.png", "--device", "cpu")
    assert ran.exit_code == 65
    assert "missing (backbone.patch_embed.proj.weight, " in ran.stderr


def test_it_is_fine_tuned(model: Path, tmp_path: Path, invoke: Invoke) -> None:
    masks = write_nested(tmp_path, range(2), side=96)
    tune = ["finetune-sam", masks, "--images", tmp_path / "images", "--checkpoint", model]
    small = ["--preset", "tiny", "--clicks", 4, "--points", 32, "--jobs", 0, "--device", "cpu"]
    six = ["--masks-per-prompt", 6, "--steps", 1]
    before = load_promptable(str(model)).state_dict()
    for train, part in (("decoder", "network.clicks."), ("all", "network.")):
        run = tmp_path / train
        ran = invoke(*tune, "-o", run, *small, *six, "--train", train)
        assert ran.exit_code == 0, ran.stderr
        after = load_promptable(str(run)).state_dict()
        moved = {name for name in after if not torch.equal(after[name], before[name])}
        assert moved
        assert all(name.startswith(part) for name in moved)
        assert any("sampling_offsets" in name for name in moved)
        assert any("backbone" in name for name in moved) == (train == "all")
    assert "mask" in json.loads((run / "metrics.jsonl").read_text().splitlines()[0])
    for wrong, text in (
        (["--train", "lora"], "--train lora is for SAM"),
        (["--boxes", 0.5], "--boxes is for SAM"),
        (["--corrections", 1], "--corrections is for SAM"),
        (["--masks-per-prompt", 3], "the checkpoint has 6 masks per prompt"),
    ):
        ran = invoke(*tune, "-o", tmp_path / "no", *small, *six, *wrong)
        assert (ran.exit_code, ran.stderr.count("\n")) == (2, 1)
        assert text in ran.stderr
