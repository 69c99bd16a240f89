"""unsam predict with a promptable model, as a user runs it."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sam_models import discs, make_original, make_sam
from segmenters import save_tiny
from support import Invoke, draw_scene

from unsam_cli.evaluation.clicks import centre_click, clicks_needed, simulate_clicks
from unsam_cli.rle import area, boxes, decode, encode, iou
from unsam_cli.sam.automatic import automatic_masks
from unsam_cli.sam.loading import load_promptable, save_promptable
from unsam_cli.sam.model import PromptableModel
from unsam_cli.sam.session import Session
from unsam_cli.sam.settings import AutomaticConfig, Prompt, PromptableConfig

pytestmark = pytest.mark.torch

NAMES = ["1.png", "2.png", "3.png", "4.png", "more/5.png"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "sam"
    save_promptable(PromptableModel(make_sam()), folder, history=[{"command": "unsam learnt"}])
    return folder


@pytest.fixture(scope="module")
def granular(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("granular") / "sam"
    save_promptable(PromptableModel(make_sam(), PromptableConfig(granularity=True)), folder)
    return folder


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    """Return a ground truth for the scenes: two masks an image, a crowd, and an empty mask."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, name in enumerate(NAMES):
        images.append({"id": 11 + number, "file_name": name, "height": 96, "width": 128})
        disc, box = np.zeros((2, 96, 128), bool)
        y, x = np.mgrid[:96, :128]
        disc[(y - 38) ** 2 + (x - 32) ** 2 < 27**2] = True
        box[28:86, 76:115] = True
        for mask, crowd in [(disc, 0), (box, 0), (disc, 1), (disc & box, 0)]:
            rle = encode(mask)
            annotations.append(
                {
                    "id": 101 + len(annotations),
                    "image_id": 11 + number,
                    "category_id": 1,
                    "iscrowd": crowd,
                    "area": int(area([rle])[0]),
                    "bbox": boxes([rle])[0].tolist(),
                    "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
                }
            )
    path = tmp_path / "gt.json"
    categories = [{"id": 1, "name": "entity"}]
    path.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    return path


def predict(invoke: Invoke, *arguments: object, **env: str) -> dict[str, Any]:
    ran = invoke("predict", *arguments, "--device", "cpu", **env)
    assert ran.exit_code == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def session_on(model: Path, number: int) -> Session:
    session = Session(load_promptable(str(model)))
    session.set_image(draw_scene(number))
    return session


def assert_answer(annotations: list[dict[str, Any]], session: Session, prompt: Prompt) -> None:
    [answer] = session.ask([prompt])
    order = np.argsort(-answer.scores, kind="stable")
    # Scores reach about 3, and prompts that were asked together are summed in another order.
    assert [a["score"] for a in annotations] == pytest.approx(answer.scores[order], abs=1e-5)
    for a, i in zip(annotations, order, strict=True):
        np.testing.assert_array_equal(decode(a["segmentation"]), decode(answer.rles[i]))
        assert a["area"] == area([answer.rles[i]])[0]
        assert (a["stage"], a["level"], a["category_id"]) == ("predict", None, 1)


def test_points_are_one_prompt(scenes: Path, model: Path, invoke: Invoke) -> None:
    found = predict(
        invoke,
        model,
        scenes / "1.png",
        scenes / "2.png",
        "--points",
        "30,40",
        "--points",
        "90,50,0",
    )
    assert [image["file_name"] for image in found["images"]] == ["1.png", "2.png"]
    for i in (1, 2):
        mine = [a for a in found["annotations"] if a["image_id"] == i]
        prompt = Prompt(((30, 40), (90, 50)), (1, 0))
        assert_answer(mine, session_on(model, i - 1), prompt)
        for a in mine:
            assert a["prompt_id"] == 1
            assert a["prompt"] == {"points": [[30, 40], [90, 50]], "labels": [1, 0]}
            assert "target_id" not in a
    before, step = found["info"]["unsam"]["history"]
    assert before == {"command": "unsam learnt"}
    assert step["options"]["points"] == "30,40 90,50,0"
    assert step["inputs"]["checkpoint"].startswith("sha256:")


def test_points_can_come_from_the_environment_and_in_one_text(
    scenes: Path, model: Path, invoke: Invoke
) -> None:
    one = predict(invoke, model, scenes / "1.png", "--points", "30,40 90,50,0")
    two = predict(invoke, model, scenes / "1.png", UNSAM_PREDICT_POINTS="30,40 90,50,0")
    assert one == two
    assert one["annotations"][0]["prompt"]["labels"] == [1, 0]


def test_boxes_are_prompts_each_or_one_goes_with_points(
    scenes: Path, model: Path, invoke: Invoke
) -> None:
    image = scenes / "1.png"
    found = predict(invoke, model, image, "--boxes", "10,5,60,70", "--boxes", "0,0,128,96")
    session = session_on(model, 0)
    for number, box in enumerate([(10, 5, 60, 70), (0, 0, 128, 96)], start=1):
        mine = [a for a in found["annotations"] if a["prompt_id"] == number]
        assert_answer(mine, session, Prompt(box=box))
        assert mine[0]["prompt"]["box"] == list(box)
    both = predict(invoke, model, image, "--boxes", "10,5,60,70", "--points", "30,40")
    assert_answer(both["annotations"], session, Prompt(((30, 40),), (1,), box=(10, 5, 60, 70)))


def test_the_file_of_prompts(scenes: Path, granular: Path, invoke: Invoke, tmp_path: Path) -> None:
    lines = [
        {"image": "more/5.png", "points": [[30, 40], [90, 50]], "labels": [1, 0]},
        {"image": "1.png", "box": [10, 5, 60, 70], "prompt_id": "disc"},
        None,
        {"image": "more/5.png", "points": [[30.5, 40]], "granularity": 0.3},
        {"image": "1.png", "points": [[30, 40]], "box": [10, 5, 60, 70]},
    ]
    text = "\n".join("" if line is None else json.dumps(line) for line in lines)
    (tmp_path / "p.jsonl").write_text(text)
    found = predict(invoke, granular, scenes, "--prompts", tmp_path / "p.jsonl")
    assert [image["file_name"] for image in found["images"]] == NAMES
    expected = [
        (1, "disc", Prompt(box=(10, 5, 60, 70))),
        (1, 5, Prompt(((30, 40),), (1,), box=(10, 5, 60, 70))),
        (5, 1, Prompt(((30, 40), (90, 50)), (1, 0))),
        (5, 4, Prompt(((30.5, 40),), (1,), granularity=0.3)),
    ]
    groups = Counter((a["image_id"], a["prompt_id"]) for a in found["annotations"])
    assert list(groups.items()) == [((1, "disc"), 1), ((1, 5), 1), ((5, 1), 1), ((5, 4), 1)]
    sessions = {i: session_on(granular, i - 1) for i in (1, 5)}
    for image_id, prompt_id, prompt in expected:
        mine = [
            a
            for a in found["annotations"]
            if (a["image_id"], a["prompt_id"]) == (image_id, prompt_id)
        ]
        assert_answer(mine, sessions[image_id], prompt)
    assert found["annotations"][-1]["granularity"] == 0.3
    asked = {"points": [[30.5, 40]], "labels": [1], "granularity": 0.3}
    assert found["annotations"][-1]["prompt"] == asked
    assert found["info"]["unsam"]["history"][-1]["inputs"]["prompts"].startswith("sha256:")
    piped = invoke("predict", granular, scenes, "--prompts", "-", stdin=text.encode())
    assert json.loads(piped.stdout) == found


def test_granularity_is_asked_for_where_a_prompt_does_not(
    scenes: Path, granular: Path, invoke: Invoke, tmp_path: Path
) -> None:
    lines = [{"image": "1.png", "points": [[30, 40]], "granularity": g} for g in (None, 1.0)]
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, lines)))
    found = predict(
        invoke, granular, scenes, "--prompts", tmp_path / "p.jsonl", "--granularity", 0.1
    )
    assert [a["granularity"] for a in found["annotations"]] == [0.1, 1.0]
    fine, coarse = (a["segmentation"] for a in found["annotations"])
    assert fine != coarse
    session = session_on(granular, 0)
    for a in found["annotations"]:
        assert_answer([a], session, Prompt(((30, 40),), (1,), granularity=a["granularity"]))


def test_a_click_a_mask_is_evaluated(
    scenes: Path, model: Path, truth: Path, invoke: Invoke, tmp_path: Path
) -> None:
    output = tmp_path / "p.json"
    ran = invoke("predict", model, scenes, "--prompts-from", truth, "-o", output)
    assert ran.exit_code == 0, ran.stderr
    wanted = json.loads(truth.read_bytes())["annotations"]
    targets = {a["id"]: a for a in wanted if not a["iscrowd"] and a["area"]}
    found = json.loads(output.read_bytes())["annotations"]
    assert Counter(a["target_id"] for a in found) == dict.fromkeys(targets, 3)
    best, oracle = [], []
    for target_id, target in targets.items():
        mine = [a for a in found if a["target_id"] == target_id]
        assert {a["prompt_id"] for a in mine} == {target_id}
        rle = {"size": [96, 128], "counts": target["segmentation"]["counts"].encode()}
        x, y = centre_click(rle)  # type: ignore[arg-type]
        assert mine[0]["prompt"]["points"] == [[x, y]]
        masks = [{"size": [96, 128], "counts": a["segmentation"]["counts"]} for a in mine]
        ious = iou(masks, [rle])[:, 0]  # type: ignore[arg-type,list-item]
        best.append(ious[0])
        oracle.append(ious.max())
    report = tmp_path / "report.json"
    ran = invoke("evaluate", truth, output, "--protocol", "point", "-o", report)
    assert ran.exit_code == 0, ran.stderr
    metrics = json.loads(report.read_bytes())["metrics"]
    # The empty masks cannot be clicked: they are left out.
    assert metrics["1-IoU-max"] == pytest.approx(sum(best) / len(targets))
    assert metrics["1-IoU-oracle"] == pytest.approx(sum(oracle) / len(targets))
    assert metrics["1-IoU-oracle"] > metrics["1-IoU-max"] > 0
    assert metrics["NoC@80"] is None


def test_the_images_can_be_those_of_the_masks(
    scenes: Path, model: Path, truth: Path, invoke: Invoke
) -> None:
    found = predict(invoke, model, "--prompts-from", truth, "--image-root", scenes)
    assert [image["id"] for image in found["images"]] == [11, 12, 13, 14, 15]
    assert predict(invoke, model, scenes, "--prompts-from", truth) == found
    one = predict(invoke, model, scenes / "more", scenes / "3.png", "--prompts-from", truth)
    assert [image["id"] for image in one["images"]] == [13, 15]  # 5.png can only be more/5.png


def test_the_masks_can_be_a_folder_of_sa1b(
    scenes: Path, model: Path, truth: Path, invoke: Invoke, tmp_path: Path
) -> None:
    content = json.loads(truth.read_bytes())
    (tmp_path / "sa1b").mkdir()
    for image in content["images"]:
        mine = [a for a in content["annotations"] if a["image_id"] == image["id"] and a["area"]]
        record = {"image": {**image, "image_id": image["id"]}, "annotations": mine}
        (tmp_path / "sa1b" / f"{image['id']}.json").write_text(json.dumps(record))
    found = predict(invoke, model, scenes, "--prompts-from", tmp_path / "sa1b")
    whole = predict(invoke, model, scenes, "--prompts-from", truth)
    assert found["annotations"] == whole["annotations"]


def test_clicks_are_simulated_and_evaluated(
    scenes: Path, model: Path, truth: Path, invoke: Invoke, tmp_path: Path
) -> None:
    output = tmp_path / "p.json"
    ran = invoke(
        "predict", model, scenes / "1.png", scenes / "2.png", "-o", output,
        "--prompts-from", truth, "--clicks", 4,
    )  # fmt: skip
    assert ran.exit_code == 0, ran.stderr
    found = json.loads(output.read_bytes())["annotations"]
    wanted = json.loads(truth.read_bytes())["annotations"]
    needed = []
    for number in (0, 1):
        session = session_on(model, number)
        for target in wanted[4 * number : 4 * number + 2]:
            mask = decode(target["segmentation"])
            ious = simulate_clicks(session, mask, max_clicks=4, stop=0.9)
            needed.append([clicks_needed(ious, level) for level in (0.8, 0.9)])
            mine = [a for a in found if a["target_id"] == target["id"]]
            assert Counter(a["clicks"] for a in mine) == {1: 3, 2: 1, 3: 1, 4: 1}
            for click, expected in enumerate(ious, start=1):
                first = next(a for a in mine if a["clicks"] == click)
                got = decode(first["segmentation"])
                assert (got & mask).sum() / (got | mask).sum() == pytest.approx(expected)
                assert len(first["prompt"]["points"]) == click
    report = tmp_path / "report.json"
    subset = json.loads(truth.read_bytes())
    subset["images"] = subset["images"][:2]
    subset["annotations"] = [a for a in subset["annotations"][:8] if a["area"]]
    truth.write_text(json.dumps(subset))
    ran = invoke("evaluate", truth, output, "--protocol", "point", "-o", report)
    assert ran.exit_code == 0, ran.stderr
    metrics = json.loads(report.read_bytes())["metrics"]
    means = np.mean(needed, axis=0)
    assert [metrics["NoC@80"], metrics["NoC@90"]] == pytest.approx(means.tolist())


def test_one_click_is_that_of_the_centre(
    scenes: Path, model: Path, truth: Path, invoke: Invoke
) -> None:
    plain = predict(invoke, model, scenes / "1.png", "--prompts-from", truth)
    counted = predict(invoke, model, scenes / "1.png", "--prompts-from", truth, "--clicks", 1)
    for a, b in zip(plain["annotations"], counted["annotations"], strict=True):
        assert b.pop("clicks") == 1
        assert a.pop("score") == pytest.approx(b.pop("score"), abs=1e-5)
        differing = decode(a.pop("segmentation")) ^ decode(b.pop("segmentation"))
        assert differing.sum() <= 2  # batches of prompts are rounded otherwise
        assert {k: a[k] for k in ("prompt", "prompt_id", "target_id")} == {
            k: b[k] for k in ("prompt", "prompt_id", "target_id")
        }


def test_centres_can_be_those_of_the_published_evaluation(
    scenes: Path, model: Path, truth: Path, invoke: Invoke
) -> None:
    found = predict(invoke, model, scenes / "1.png", "--prompts-from", truth, "--kornia-approx")
    target = json.loads(truth.read_bytes())["annotations"][0]["segmentation"]
    rle = {"size": target["size"], "counts": target["counts"].encode()}
    x, y = centre_click(rle, approximate=True)  # type: ignore[arg-type]
    assert found["annotations"][0]["prompt"]["points"] == [[x, y]]


@dataclass(frozen=True)
class Discs:
    """Answers of a decoder that are discs, in the place of `Decoding`."""

    made: torch.Tensor
    scores: torch.Tensor

    def logits(self, rows: torch.Tensor) -> torch.Tensor:
        return self.made[rows]


def test_without_prompts_all_masks_are_searched(
    scenes: Path, model: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    def attend(self: PromptableModel, embedding: Any, prompts: Any, **options: Any) -> Discs:
        return Discs(*discs(prompts.points, self.side, self.low))

    monkeypatch.setattr(PromptableModel, "attend", attend)
    options = [
        "--points-per-side", 6, "--min-score", 0.7, "--stability", 0.8, "--nms", 0.6,
        "--crop-layers", 1, "--min-region", 5,
    ]  # fmt: skip
    found = predict(invoke, model, scenes / "1.png", *options)["annotations"]
    config = AutomaticConfig(6, 0.7, 0.8, nms_iou=0.6, crop_layers=1, min_region=5)
    masks = automatic_masks(load_promptable(str(model)), draw_scene(0), config)
    assert len(found) == len(masks) > 20
    order = np.argsort(-masks.scores, kind="stable")
    assert [a["score"] for a in found] == pytest.approx(masks.scores[order], abs=2e-6)
    for a, i in zip(found, order, strict=True):
        np.testing.assert_array_equal(decode(a["segmentation"]), decode(masks.rles[i]))
        assert a["stability_score"] == pytest.approx(masks.stability[i], abs=1e-6)
        assert a["prompt"] == {"points": [masks.points[i].tolist()], "labels": [1]}
    by_masks = predict(invoke, model, scenes / "1.png", *options, "--nms-of", "mask")
    masks = automatic_masks(load_promptable(str(model)), draw_scene(0), replace(config, nms="mask"))
    assert len(by_masks["annotations"]) == len(masks) != len(found)
    few = predict(invoke, model, scenes / "1.png", *options, "--max-masks", 3)["annotations"]
    assert [a["segmentation"] for a in few] == [a["segmentation"] for a in found[:3]]
    by_default = predict(invoke, model, scenes / "1.png")["annotations"]
    expected = automatic_masks(load_promptable(str(model)), draw_scene(0))
    assert len(by_default) == len(expected) > 20


def test_the_search_can_be_for_one_granularity(
    scenes: Path, granular: Path, invoke: Invoke
) -> None:
    options = ["--points-per-side", 4, "--min-score", 0, "--stability", 0, "--nms", 1]
    found = {
        g: predict(invoke, granular, scenes / "1.png", *options, "--granularity", g)["annotations"]
        for g in (0.1, 1.0)
    }
    for g, masks in found.items():
        assert {a["granularity"] for a in masks} == {g}
        assert 0 < len(masks) <= 16
    assert found[0.1] != found[1.0]


def test_an_original_checkpoint_is_told_from_a_segmenter(
    scenes: Path, invoke: Invoke, tmp_path: Path
) -> None:
    torch.save(make_original().state_dict(), tmp_path / "sam.pth")
    options = ["--points-per-side", 2, "--min-score", 0, "--stability", 0]
    found = predict(invoke, tmp_path / "sam.pth", scenes / "1.png", *options)
    assert found["annotations"][0]["prompt"]


@pytest.mark.parametrize("form", ["prompts-from", "automatic"])
def test_shards_merge_into_one_run_byte_for_byte(
    scenes: Path, model: Path, truth: Path, invoke: Invoke, tmp_path: Path, form: str
) -> None:
    options: list[object] = ["--prompts-from", truth]
    if form == "automatic":
        options = ["--points-per-side", 3, "--min-score", 0, "--stability", 0]
    one = tmp_path / "one.json"
    ran = invoke("predict", model, scenes, "-o", one, "--jobs", 1, *options)
    assert ran.exit_code == 0, ran.stderr
    parts = [tmp_path / f"{k}.json" for k in range(2)]
    for k, part in enumerate(parts):
        ran = invoke(
            "predict", model, scenes, "-o", part, "--shard", f"{k}/2", "--jobs", 3, *options
        )
        assert ran.exit_code == 0, ran.stderr
    merged = tmp_path / "merged.json"
    ran = invoke("merge", *parts, "-o", merged)
    assert ran.exit_code == 0, ran.stderr
    assert merged.read_bytes() == one.read_bytes()


def test_stopped_by_a_signal_and_resumed(
    scenes: Path,
    model: Path,
    truth: Path,
    invoke: Invoke,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from unsam_cli.prediction.prompted import stage as prompted_stage

    one, output = tmp_path / "one.json", tmp_path / "out.json"
    arguments = ["predict", model, scenes, "--prompts-from", truth]
    assert invoke(*arguments, "-o", one).exit_code == 0
    whole = prompted_stage._predict_images
    seen: list[str] = []

    def interrupted(items: Any, **options: Any) -> Any:
        for item, found in whole(items, **options):
            seen.append(item.file_name)
            if len(seen) == 2:
                os.kill(os.getpid(), signal.SIGTERM)
            yield item, found

    monkeypatch.setattr(prompted_stage, "_predict_images", interrupted)
    assert invoke(*arguments, "-o", output).exit_code == 75
    assert not output.exists()
    truth_text = truth.read_text()
    truth.write_text(truth_text + "\n")
    other = invoke(*arguments, "-o", output, "--resume")
    assert other.exit_code == 2
    assert "prompts-from" in other.stderr
    truth.write_text(truth_text)
    assert invoke(*arguments, "-o", output, "--resume").exit_code == 0
    assert seen == NAMES
    assert output.read_bytes() == one.read_bytes()


def test_bad_images_are_skipped_on_request(
    scenes: Path, model: Path, invoke: Invoke, tmp_path: Path
) -> None:
    (scenes / "2.png").write_bytes(b"no image")
    output = tmp_path / "p.json"
    ran = invoke("predict", model, scenes, "-o", output, "--points", "3,4", "--on-error", "skip")
    assert ran.exit_code == 3
    assert [i["id"] for i in json.loads(output.read_bytes())["images"]] == [1, 3, 4, 5]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--points", "3"], "'3' is not X,Y[,LABEL], in pixels"),
        (["--points", "3,4,2"], "a label is 1 (inside) or 0 (outside)"),
        (["--points", "3,nan"], "is not X,Y[,LABEL]"),
        (["--boxes", "3,4,5"], "is not X0,Y0,X1,Y1"),
        (["--points", "3,4", "--prompts", "p.jsonl"], "cannot be combined"),
        (["--points", "3,4", "--boxes", "1,1,2,2 3,3,4,4"], "points can be combined with one box"),
        (["-", "--prompts", "-"], "images and prompts cannot both be read from standard input"),
        (["--points", "3,4", "--clicks", "3"], "--clicks needs --prompts-from"),
        (["--points", "3,4", "--kornia-approx"], "--kornia-approx needs --prompts-from"),
        (
            ["--points", "3,4", "--min-score", "0.5"],
            "--min-score applies only to the search for all masks",
        ),
        (["--points", "3,4", "--granularity", "0.5"], "does not support granularity"),
        (["--granularity", "0.5"], "does not support granularity"),
        (["--prompts-from", "-", "--clicks", "3", "--tile", "64"], "remove --tile"),
        (["--points", "3,4", "--overlap", "9"], "--overlap needs --tile"),
    ],
)
def test_what_does_not_go_together_is_refused(
    scenes: Path, model: Path, invoke: Invoke, options: list[str], message: str
) -> None:
    ran = invoke("predict", model, scenes / "1.png", *options)
    assert ran.exit_code == 2, ran.stderr
    assert message in ran.stderr
    assert ran.stdout == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--points", "128,4"], "--points: point 128,4 is outside 1.png, which is 128 x 96"),
        (["--points", "3,-1"], "point 3,-1 is outside"),
        (["--boxes", "5,5,129,9"], "--boxes: box 5,5,129,9 is empty or outside 1.png"),
        (["--boxes", "5,5,5,9"], "box 5,5,5,9 is empty"),
    ],
)
def test_prompts_outside_of_the_image_are_refused(
    scenes: Path, model: Path, invoke: Invoke, options: list[str], message: str
) -> None:
    ran = invoke("predict", model, scenes / "1.png", *options)
    assert ran.exit_code == 65, ran.stderr
    assert message in ran.stderr
    assert ran.stderr.count("error: ") == 1
    assert ran.stderr.splitlines()[-1].startswith("unsam: error: ")


POINT = '{"image": "1.png", "points": [[1, 2]]}'


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([POINT, "{"], "p.jsonl: line 2: not JSON"),
        (['{"images": [],', "}"], "line 1: looks like a file of masks; use --prompts-from"),
        (["[1]"], "line 1: must be an object"),
        (['{"image": "1.png", "point": [1, 2]}'], "line 1: has an unknown key 'point'"),
        (['{"points": [[1, 2]]}'], "line 1: image must be a file name"),
        (['{"image": "1.png"}'], "line 1: a prompt needs points or a box"),
        (['{"image": "1.png", "points": [1, 2]}'], "line 1: a point must be two numbers"),
        (['{"image": "1.png", "points": 1}'], "line 1: points must be a list"),
        (['{"image": "1.png", "points": [[1, true]]}'], "line 1: a point must be two numbers"),
        (['{"image": "1.png", "points": [[1, 2]], "labels": [2]}'], "line 1: a label is 1"),
        (['{"image": "1.png", "points": [[1, 2]], "labels": []}'], "1 point with 0 labels"),
        (['{"image": "1.png", "points": [[1, 2]], "labels": "1"}'], "labels must be a list"),
        (['{"image": "1.png", "box": [1, 2, 3]}'], "line 1: box must be four numbers"),
        (['{"image": "1.png", "box": [1, 2, 3, 1e999]}'], "line 1: "),
        ([POINT[:-1] + ', "granularity": 2}'], "line 1: granularity must be from 0.1 to 1"),
        ([POINT[:-1] + ', "prompt_id": 1.5}'], "line 1: prompt_id must be"),
        (
            [POINT[:-1] + ', "prompt_id": 2}', POINT],
            "line 2: 1.png has an earlier prompt with prompt_id 2",
        ),
        ([POINT, POINT.replace("1.png", "x.png")], "line 2: x.png is not one of the images"),
        ([POINT.replace("[1, 2]", "[1, 200]")], "line 1: point 1,200 is outside 1.png"),
        ([], "p.jsonl: has no prompts"),
        (["\xff"], "line 1: not JSON"),
    ],
)
def test_bad_lines_are_named(
    scenes: Path, model: Path, invoke: Invoke, tmp_path: Path, lines: list[str], message: str
) -> None:
    (tmp_path / "p.jsonl").write_bytes("\n".join(lines).encode("latin-1"))
    ran = invoke("predict", model, scenes, "--prompts", tmp_path / "p.jsonl")
    assert ran.exit_code == 65, ran.stderr
    assert message in ran.stderr
    assert ran.stderr.count("error: ") == 1
    assert ran.stderr.splitlines()[-1].startswith("unsam: error: ")


def test_masks_of_other_images_are_refused(
    scenes: Path, model: Path, truth: Path, invoke: Invoke
) -> None:
    content = json.loads(truth.read_bytes())
    for image in content["images"]:
        image["file_name"] += ".jpg"
    truth.write_text(json.dumps(content))
    ran = invoke("predict", model, scenes, "--prompts-from", truth)
    assert ran.exit_code == 65
    assert "has none of the images: their names are 1.png, 2.png, ..., but 1.png.jpg" in ran.stderr
    for image in content["images"]:
        image["file_name"] = image["file_name"].removesuffix(".jpg")
        image["height"] = 97
    for annotation in content["annotations"]:
        annotation["segmentation"] = [[10, 10, 50, 10, 50, 50, 10, 50]]
    truth.write_text(json.dumps(content))
    ran = invoke("predict", model, scenes, "--prompts-from", truth)
    assert ran.exit_code == 65
    assert "annotation 101: a mask of 128 x 97 pixels does not fit 1.png" in ran.stderr
    ran = invoke("predict", model, scenes / "1.png", "--points", "100,110")
    assert "is outside 1.png, which is 128 x 96 pixels\n" in ran.stderr
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(draw_scene(0)).save(scenes / "1.png", exif=exif)
    for asked in (["--points", "110,20"], ["--boxes", "10,10,110,20"], ["--prompts-from", truth]):
        ran = invoke("predict", model, scenes / "1.png", *asked)
        assert ran.exit_code == 65
        assert "it is turned by its EXIF orientation, 6" in ran.stderr
    (scenes / "list.json").write_text(json.dumps(content["annotations"]))
    ran = invoke("predict", model, scenes, "--prompts-from", scenes / "list.json")
    assert ran.exit_code == 65


def test_a_file_that_is_read_twice_is_warned_of_once(
    scenes: Path, model: Path, truth: Path, invoke: Invoke
) -> None:
    content = json.loads(truth.read_bytes())
    for one in content["images"]:
        one["id"] = f"image-{one['id']}"
    for one in content["annotations"]:
        one["image_id"] = f"image-{one['image_id']}"
    truth.write_text(json.dumps(content))
    ran = invoke("predict", model, "--prompts-from", truth, "--image-root", scenes)
    assert ran.exit_code == 0, ran.stderr
    assert ran.stderr.count("ids of images are text") == 1


@pytest.mark.parametrize("option", ["--prompts", "--prompts-from"])
def test_files_that_do_not_exist(scenes: Path, model: Path, invoke: Invoke, option: str) -> None:
    ran = invoke("predict", model, scenes, option, "nowhere.json")
    assert ran.exit_code == 66
    assert "nowhere.json: no such file" in ran.stderr


def test_a_segmenter_takes_no_prompts(scenes: Path, invoke: Invoke, tmp_path: Path) -> None:
    save_tiny(tmp_path / "tiny")
    ran = invoke("predict", tmp_path / "tiny", scenes, "--points", "3,4")
    assert ran.exit_code == 65
    assert "is not supported as a promptable model" in ran.stderr
    ran = invoke("predict", tmp_path / "tiny", scenes, "--points-per-side", 3)
    assert ran.exit_code == 2
    assert "--points-per-side is for promptable models (SAM)" in ran.stderr


def test_the_encoder_can_compute_in_half_precision(
    scenes: Path, model: Path, invoke: Invoke
) -> None:
    arguments = [model, scenes / "1.png", "--points", "30,40"]
    half = predict(invoke, *arguments, "--dtype", "bfloat16")["annotations"]
    full = predict(invoke, *arguments)["annotations"]
    assert [a["segmentation"] for a in half] != [a["segmentation"] for a in full]
    assert [a["score"] for a in half] == pytest.approx([a["score"] for a in full], abs=0.1)


def test_a_large_image_is_searched_and_clicked_in_tiles(
    model: Path, invoke: Invoke, tmp_path: Path
) -> None:
    Image.fromarray(draw_scene(0, 150, 200)).save(tmp_path / "large.png")
    search = ["--points-per-side", 3, "--min-score", 0, "--stability", 0]
    tiles = ["--tile", 100, "--overlap", 30]
    found = predict(invoke, model, tmp_path / "large.png", *search, *tiles)
    assert found["annotations"]
    for one in found["annotations"]:
        assert one["segmentation"]["size"] == [150, 200]
        [[x, y]] = one["prompt"]["points"]
        assert 0 <= x < 200
        assert 0 <= y < 150
    points = ["--points", "140,90"]
    [whole, *_] = predict(invoke, model, tmp_path / "large.png", *points)["annotations"]
    [first, *_] = predict(invoke, model, tmp_path / "large.png", *points, *tiles)["annotations"]
    assert first["prompt"] == whole["prompt"]
    fits = predict(invoke, model, tmp_path / "large.png", *points, "--tile", 200)["annotations"]
    assert fits[0] == whole
