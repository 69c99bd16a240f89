"""unsam evaluate as a command: outputs, refusals, shards."""

from __future__ import annotations

import csv
import gzip
import json
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from coco_scenes import Scene, box, oracle, random_scene
from support import Invoke, RunProgram

from unsam_cli.errors import DataError, MissingInputError, OutputError
from unsam_cli.evaluation.partial import is_partial, merge_reports
from unsam_cli.run.journal import Journal


@pytest.fixture
def scene() -> Scene:
    return random_scene(1, images=6)


def load(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(path.read_text())
    return value


def coco(scene: Scene, path: Path, **changes: Any) -> Path:
    """Write the predictions as a full COCO object."""
    value = scene.truth_object() | {"annotations": scene.found} | changes
    path.write_text(json.dumps(value))
    return path


def test_prints_a_plain_table_and_writes_a_report(
    scene: Scene, tmp_path: Path, invoke: Invoke
) -> None:
    truth, found = scene.write(tmp_path)
    ran = invoke("evaluate", truth, found, "-o", tmp_path / "r.json", "-q")
    assert ran.exit_code == 0, ran.stderr
    report = load(tmp_path / "r.json")
    expected = oracle(scene)
    assert report["metrics"] == expected
    assert expected["AP"] is not None
    assert report["protocol"] == "whole-image"
    assert report["images"] == 6
    assert report["ground_truths"] + report["crowds"] == len(scene.truth)
    assert report["predictions"] == len(scene.found)
    lines = dict(line.split() for line in ran.stdout.splitlines() if line.startswith("A"))
    assert lines["AP"] == f"{100 * expected['AP']:.2f}"
    assert "\x1b" not in ran.stdout
    history = report["unsam"]["history"][-1]
    assert history["inputs"]["ground-truth"].startswith("sha256:")
    assert str(tmp_path) not in json.dumps(report)


def test_report_on_stdout_is_only_json(scene: Scene, tmp_path: Path, invoke: Invoke) -> None:
    truth, found = scene.write(tmp_path)
    ran = invoke("evaluate", truth, found, "-o", "-")
    assert json.loads(ran.stdout)["metrics"] == oracle(scene)
    assert "6/6 images" in ran.stderr


def test_reads_pipes_and_compressed_files(
    scene: Scene, tmp_path: Path, program: RunProgram
) -> None:
    _, found = scene.write(tmp_path)
    (tmp_path / "dt.json.gz").write_bytes(gzip.compress(found.read_bytes()))
    ran = program(
        "unsam evaluate gt.json dt.json.gz -o a.json && unsam evaluate gt.json - -o - <dt.json"
    )
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout[ran.stdout.index(b"{") :])
    assert report["metrics"] == load(tmp_path / "a.json")["metrics"] == oracle(scene)


def test_forms_of_predictions_agree(scene: Scene, tmp_path: Path, invoke: Invoke) -> None:
    truth, found = scene.write(tmp_path)
    full = coco(scene, tmp_path / "full.json")
    lines = tmp_path / "lines.ndjson"
    lines.write_text("".join(json.dumps(a) + "\n" for a in scene.found))
    ran = invoke("evaluate", truth, found, full, lines, "-o", "-", "--bootstrap", 20)
    report = json.loads(ran.stdout)
    assert [f["metrics"] for f in report["files"]] == [oracle(scene)] * 3
    for difference in report["differences"]:
        assert {v for m in difference["metrics"].values() for v in m.values()} <= {0.0, None}


def test_a_terminal_gets_a_drawn_table() -> None:
    from unsam_cli.evaluation.table import as_text

    report = {"protocol": "whole-image", "images": 1, "ground_truths": 2, "predictions": 3}
    text = as_text(report | {"metrics": {"AP": 0.5, "AR@1": None}}, terminal=True)
    assert "50.00" in text
    assert "┃" in text


def test_reads_lvis_as_it_is(scene: Scene, tmp_path: Path, invoke: Invoke) -> None:
    """Its images have an address instead of a name, its masks no iscrowd."""
    scene.truth = [t for t in scene.truth if not t["iscrowd"]]
    expected = oracle(scene)
    full = coco(scene, tmp_path / "full.json")
    for image in scene.images:
        image["coco_url"] = f"http://images.cocodataset.org/val2017/{image.pop('file_name')}"
    for entry in scene.truth:
        del entry["iscrowd"]
    truth, _ = scene.write(tmp_path)
    for match in ("id", "file-name"):
        ran = invoke("evaluate", truth, full, "--match", match, "-o", "-")
        assert json.loads(ran.stdout)["metrics"] == expected
        assert "a different file name" not in ran.stderr


# What would mislead is refused


def refused(invoke: Invoke, *arguments: object) -> str:
    ran = invoke("evaluate", *arguments, "-q")
    assert ran.exit_code == 65, ran.output
    assert ran.stdout == ""
    assert len(ran.stderr.strip().splitlines()) == 1, ran.stderr
    return ran.stderr


def test_no_image_in_common(scene: Scene, tmp_path: Path, invoke: Invoke) -> None:
    truth, _ = scene.write(tmp_path)
    for entry in scene.found:
        entry["image_id"] += 1000
    bare = tmp_path / "bare.json"
    bare.write_text(json.dumps(scene.found))
    assert "no image id in common" in refused(invoke, truth, bare)
    images = [i | {"id": i["id"] + 1000} for i in scene.images]
    full = coco(scene, tmp_path / "full.json", images=images)
    assert "--match file-name" in refused(invoke, truth, full)
    ran = invoke("evaluate", truth, full, "--match", "file-name", "-o", "-")
    assert json.loads(ran.stdout)["metrics"]["AR@1000"] == oracle_after(scene)["AR@1000"]
    assert "lists no images" in refused(invoke, truth, bare, "--match", "file-name")


def oracle_after(scene: Scene) -> dict[str, float | None]:
    for entry in scene.found:
        entry["image_id"] -= 1000
    return oracle(scene)


def test_ids_of_other_images(scene: Scene, tmp_path: Path, invoke: Invoke) -> None:
    truth, _ = scene.write(tmp_path)
    names = [i["file_name"] for i in scene.images]
    turned = [i | {"file_name": f"x/{n}"} for i, n in zip(scene.images, names[::-1], strict=True)]
    full = coco(scene, tmp_path / "full.json", images=turned)
    assert "the ids differ" in refused(invoke, truth, full)
    assert invoke("evaluate", truth, full, "--match", "file-name").exit_code == 0


def test_other_names_under_the_same_ids_are_counted(
    scene: Scene, tmp_path: Path, invoke: Invoke
) -> None:
    truth, _ = scene.write(tmp_path)
    renamed = [i | {"file_name": f"renamed_{i['id']}.jpg"} for i in scene.images]
    ran = invoke("evaluate", truth, coco(scene, tmp_path / "full.json", images=renamed))
    assert ran.exit_code == 0
    assert "different file names for 6 of 6 images" in ran.stderr


def test_two_images_of_one_name(scene: Scene, tmp_path: Path, invoke: Invoke) -> None:
    truth, _ = scene.write(tmp_path)
    doubled = [i | {"file_name": "a.png"} for i in scene.images]
    full = coco(scene, tmp_path / "full.json", images=doubled)
    assert "both called a.png" in refused(invoke, truth, full, "--match", "file-name")


def test_images_of_another_size(scene: Scene, tmp_path: Path, invoke: Invoke) -> None:
    truth, _ = scene.write(tmp_path)
    larger = [i | {"height": 400} for i in scene.images]
    full = coco(scene, tmp_path / "full.json", images=larger, annotations=[])
    assert "200 x 400 pixels" in refused(invoke, truth, full)


def test_masks_of_another_size(tmp_path: Path, invoke: Invoke) -> None:
    scene = Scene()
    scene.add_truth(scene.image(), box(0, 0, 50, 50))
    scene.add_found(1, box(0, 0, 50, 50), 0.5)
    scene.add_found(1, box(0, 0, 50, 50, height=100), 0.6)
    message = refused(invoke, *scene.write(tmp_path))
    assert "record 2 of the annotations (image 1)" in message
    assert "100x200 differs from the image's 200x200" in message


@pytest.mark.parametrize("counts", ["~~~", "0", "é"])
def test_malformed_masks(counts: str, tmp_path: Path, invoke: Invoke) -> None:
    scene = Scene()
    scene.add_truth(scene.image(), box(0, 0, 50, 50))
    scene.add_found(1, box(0, 0, 9, 9), 0.1)
    scene.add_found(1, {"size": [200, 200], "counts": counts}, 0.5)
    assert "record 2 of the annotations" in refused(invoke, *scene.write(tmp_path))


def test_predictions_without_scores(scene: Scene, tmp_path: Path, invoke: Invoke) -> None:
    for entry in scene.found:
        entry["predicted_iou"] = entry.pop("score")
    truth, found = scene.write(tmp_path)
    assert "has no score" in refused(invoke, truth, found)
    ran = invoke("evaluate", truth, found, "--score-key", "predicted_iou", "-o", "-")
    for entry in scene.found:
        entry["score"] = entry.pop("predicted_iou")
    assert json.loads(ran.stdout)["metrics"] == oracle(scene)
    ran = invoke("evaluate", truth, found, "--score-key", "none", "-o", "-")
    for entry in scene.found:
        entry["score"] = 0.0
    assert json.loads(ran.stdout)["metrics"] == oracle(scene)


def test_repeated_annotation_ids(scene: Scene, tmp_path: Path, invoke: Invoke) -> None:
    scene.truth[1]["id"] = scene.truth[0]["id"]
    assert "ids must be unique" in refused(invoke, *scene.write(tmp_path))


def test_repeated_image_ids(scene: Scene, tmp_path: Path, invoke: Invoke) -> None:
    scene.images[1]["id"] = scene.images[0]["id"]
    assert "image id 1 is taken" in refused(invoke, *scene.write(tmp_path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"score": float("nan")}, "has no score, which ranks the masks"),
        ({"score": float("inf")}, "score must be a finite number"),
        ({"score": "high"}, "score must be a finite number"),
    ],
)
def test_records_that_cannot_be_measured(
    changes: dict[str, Any], message: str, scene: Scene, tmp_path: Path, invoke: Invoke
) -> None:
    scene.found[-1] |= changes
    assert message in refused(invoke, *scene.write(tmp_path))


def test_ground_truth_must_list_images_and_have_masks(
    scene: Scene, tmp_path: Path, invoke: Invoke
) -> None:
    _, found = scene.write(tmp_path)
    assert "lists no images" in refused(invoke, found, found)
    scene.truth.clear()
    assert "has no masks" in refused(invoke, *scene.write(tmp_path))


def test_category_zero_and_missing_images_are_counted(tmp_path: Path, invoke: Invoke) -> None:
    scene = Scene()
    for _ in range(3):
        scene.add_truth(scene.image(), box(0, 0, 50, 50))
    scene.add_found(1, box(0, 0, 50, 50), 0.5, category_id=0)
    scene.add_found(77, box(0, 0, 50, 50), 0.5)
    ran = invoke("evaluate", *scene.write(tmp_path), "-o", tmp_path / "r.json")
    assert ran.exit_code == 0
    assert "1 prediction of" in ran.stderr
    assert "category 0" in ran.stderr
    assert "no predictions for 2 of 3 images" in ran.stderr
    assert "1 prediction in 1 image that the ground truth does not list" in ran.stderr
    assert load(tmp_path / "r.json")["metrics"]["AR@1"] == pytest.approx(1 / 3)


def test_a_shard_of_predictions_is_told(scene: Scene, tmp_path: Path, invoke: Invoke) -> None:
    truth, _ = scene.write(tmp_path)
    scene.found = [e for e in scene.found if e["image_id"] == 1]
    shard = coco(scene, tmp_path / "0.json", info={"unsam": {"history": [], "shard": "0/6"}})
    assert "it is shard 0/6 of a run" in invoke("evaluate", truth, shard).stderr


def test_odd_areas_of_the_ground_truth_are_counted(tmp_path: Path, invoke: Invoke) -> None:
    scene = Scene()
    scene.add_truth(scene.image(), box(0, 0, 50, 50), area=40000)
    scene.add_found(1, box(0, 0, 50, 50), 0.5)
    ran = invoke("evaluate", *scene.write(tmp_path))
    assert "1 mask of the ground truth with an area that differs by more than 10 %" in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--max-dets", "1,x"], "is not a list of numbers, such as 1,10,100,1000"),
        (["--max-dets", "none"], "is not a list of numbers, such as 1,10,100,1000"),
        (["--max-dets", "0,5"], "it must be at least 1"),
        (["--plot", "a.pdf"], ".png or .svg"),
        (["--plot", "a.png", "--shard", "0/2"], "remove --shard"),
        (["--protocol", "point", "--by", "level"], "--by needs"),
        (["-"], "only one file"),
    ],
)
def test_usage(
    arguments: list[str], message: str, scene: Scene, tmp_path: Path, invoke: Invoke
) -> None:
    truth, _ = scene.write(tmp_path)
    ran = invoke("evaluate", truth, "-", *arguments)
    assert ran.exit_code == 2
    assert message in ran.stderr


def test_nothing_is_replaced_on_request(scene: Scene, tmp_path: Path, invoke: Invoke) -> None:
    truth, found = scene.write(tmp_path)
    ran = invoke("evaluate", truth, found, "-o", found, "--no-clobber")
    assert ran.exit_code == 2
    assert json.loads(found.read_text()) == scene.found


# Splits, tables, plots


def test_by_a_key_counts_only_its_masks(tmp_path: Path, invoke: Invoke) -> None:
    scene = random_scene(4, images=6)
    for i, entry in enumerate(scene.truth):
        if i % 5:
            entry["annotator"] = i % 3
    ran = invoke("evaluate", *scene.write(tmp_path), "--by", "annotator", "-o", "-")
    by = json.loads(ran.stdout)["by"]
    assert by["key"] == "annotator"
    assert list(by["values"]) == ["0", "1", "2"]
    for value, entry in by["values"].items():
        # Ignored by their area, as masks of another size are.
        other = random_scene(4, images=6)
        for i, mask in enumerate(other.truth):
            if i % 5 == 0 or i % 3 != int(value):
                mask["area"] = -1
        assert entry["metrics"] == oracle(other)
        counted = [m for m in other.truth if m["area"] >= 0 and not m["iscrowd"]]
        assert entry["ground_truths"] == len(counted)


def test_by_a_key_that_nobody_has(scene: Scene, tmp_path: Path, invoke: Invoke) -> None:
    assert (
        "has the key depth"
        in invoke("evaluate", *scene.write(tmp_path), "--by", "depth", "-q").stderr
    )


def test_per_image_csv(scene: Scene, tmp_path: Path, invoke: Invoke) -> None:
    truth, found = scene.write(tmp_path)
    out = tmp_path / "images.csv"
    assert invoke("evaluate", truth, found, "--per-image", out).exit_code == 0
    with out.open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["file_name"] for row in rows] == [i["file_name"] for i in scene.images]
    right = sum(float(r["AR@1000"] or 0) * int(r["ground_truths"]) for r in rows)
    total = sum(int(r["ground_truths"]) for r in rows)
    assert right / total == pytest.approx(oracle(scene)["AR@1000"])


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_plots_are_drawn_and_reproducible(
    kind: str, scene: Scene, tmp_path: Path, invoke: Invoke
) -> None:
    pytest.importorskip("matplotlib")
    truth, found = scene.write(tmp_path)
    pictures = []
    for name in ("a", "b"):
        out = tmp_path / f"{name}.{kind}"
        ran = invoke("evaluate", truth, found, coco(scene, tmp_path / "c.json"), "--plot", out)
        assert ran.exit_code == 0, ran.stderr
        pictures.append(out.read_bytes())
    assert pictures[0] == pictures[1]
    assert pictures[0].startswith(b"\x89PNG" if kind == "png" else b"<?xml")


def test_plot_without_matplotlib(
    scene: Scene, tmp_path: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr("unsam_cli.run.charts.find_spec", lambda name: None)
    ran = invoke("evaluate", *scene.write(tmp_path), "--plot", tmp_path / "a.png")
    assert ran.exit_code == 2
    assert "pip install matplotlib" in ran.stderr


def spoil(scene: Scene, image_id: int) -> None:
    """Give a mask of the ground truth a value that metrics cannot be split by."""
    for entry in scene.truth:
        entry["kind"] = "a"
    next(e for e in scene.truth if e["image_id"] == image_id)["kind"] = [1]


BY = ("--by", "kind")


def test_bad_images_can_be_skipped(scene: Scene, tmp_path: Path, invoke: Invoke) -> None:
    bad = scene.truth[0]["image_id"]
    spoil(scene, bad)
    truth, found = scene.write(tmp_path)
    out = tmp_path / "r.json"
    arguments = ("evaluate", truth, found, *BY, "-o", out)
    assert invoke(*arguments).exit_code == 65
    assert not out.exists()
    ran = invoke(*arguments, "--on-error", "skip")
    assert ran.exit_code == 3, ran.stderr
    (line,) = (tmp_path / "r.json.errors.jsonl").read_text().splitlines()
    entry = json.loads(line)
    assert entry["stage"] == "evaluate"
    assert "kind is [1]; --by needs" in entry["error"]
    assert "(1 skipped)" in ran.stdout
    report = load(out)
    assert (report["images"], report["skipped"]) == (5, 1)
    # The numbers are those of the other images alone.
    for name in ("images", "truth", "found"):
        key = "id" if name == "images" else "image_id"
        setattr(scene, name, [e for e in getattr(scene, name) if e[key] != bad])
    (tmp_path / "others").mkdir()
    rest = invoke("evaluate", *scene.write(tmp_path / "others"), *BY, "-o", "-")
    assert json.loads(rest.stdout)["metrics"] == report["metrics"]


def test_parts_with_skipped_images_are_merged(scene: Scene, tmp_path: Path, invoke: Invoke) -> None:
    spoil(scene, scene.truth[0]["image_id"])
    truth, found = scene.write(tmp_path)
    whole = tmp_path / "whole.json"
    skip = (*BY, "--on-error", "skip")
    assert invoke("evaluate", truth, found, *skip, "-o", whole).exit_code == 3
    paths = [tmp_path / f"part.{k}.json" for k in range(2)]
    codes = [
        invoke("evaluate", truth, found, *skip, "--shard", f"{k}/2", "-o", path).exit_code
        for k, path in enumerate(paths)
    ]
    assert sorted(codes) == [0, 3]
    assert len(list(tmp_path.glob("part.*.errors.jsonl"))) == 1
    ran = invoke("merge", *paths, "-o", tmp_path / "merged.json")
    assert (tmp_path / "merged.json").read_bytes() == whole.read_bytes()
    assert "1 image skipped and not counted" in ran.stderr


def test_nothing_is_left_to_measure(tmp_path: Path, invoke: Invoke) -> None:
    scene = Scene()
    scene.add_truth(scene.image(), box(0, 0, 50, 50), kind=[1])
    scene.add_found(1, box(0, 0, 50, 50), 0.5)
    ran = invoke("evaluate", *scene.write(tmp_path), *BY, "--on-error", "skip")
    assert ran.exit_code == 65
    assert "no image is left, 1 skipped" in ran.stderr


@pytest.mark.parametrize(("name", "code"), [("TERM", 75), ("USR1", 75), ("INT", 130)])
def test_stopped_by_a_signal_nothing_is_half_written(
    name: str, code: int, scene: Scene, tmp_path: Path, program: RunProgram
) -> None:
    scene.write(tmp_path)
    (tmp_path / "r.json").write_text("old")
    # The signal comes while the first image is read.
    (tmp_path / "stop.py").write_text(
        "import os, signal, sys, time\n"
        "from unsam_cli.evaluation import images\n"
        "from unsam_cli.cli import main\n"
        "real = images.prediction_set\n"
        "def read(*arguments, **how):\n"
        f"    os.kill(os.getpid(), signal.SIG{name})\n"
        "    time.sleep(0.5)\n"
        "    return real(*arguments, **how)\n"
        "images.prediction_set = read\n"
        "sys.argv[0] = 'unsam'\n"
        "main()\n"
    )
    arguments = "evaluate gt.json dt.json -o r.json --plot p.png --per-image i.csv"
    ran = program(f'"{sys.executable}" stop.py {arguments}')
    assert ran.returncode == code, ran.stderr
    assert b"Traceback" not in ran.stderr
    line = ran.stderr.decode().splitlines()[-1]
    who = "Ctrl-C" if name == "INT" else f"SIG{name}"
    assert line.startswith(f"unsam: error: evaluate: stopped by {who} with ")
    assert line.endswith(" images left; run again with --resume")
    assert (tmp_path / "r.json").read_text() == "old"
    names = {"gt.json", "dt.json", "r.json", "r.json.part", "stop.py"}
    assert {p.name for p in tmp_path.iterdir()} == names


def interrupted(words: tuple[object, ...], after: int, invoke: Invoke) -> None:
    """Run a command whose disk is full after some images."""
    append, calls = Journal.append, iter(range(after))

    def failing(self: Journal, *args: Any) -> None:
        if next(calls, None) is None:
            raise OutputError("no space left")
        append(self, *args)

    with mock.patch.object(Journal, "append", failing):
        assert invoke(*words).exit_code == 74


@pytest.mark.parametrize("extra", [[], ["--by", "category_id"], ["--shard", "1/2"]])
def test_resumed_equals_one_run(
    extra: list[str], scene: Scene, tmp_path: Path, invoke: Invoke
) -> None:
    scene.truth[0]["area"] = 1e6  # of a mask that is done before
    truth, found = scene.write(tmp_path)
    words = ("evaluate", truth, found, *extra, "--resume")
    once, again = tmp_path / "once.json", tmp_path / "again.json"
    tables = [tmp_path / "once.csv", tmp_path / "again.csv"]
    ran = invoke(*words, "-o", once, "--per-image", tables[0])
    interrupted((*words, "-o", again), 2, invoke)
    assert not again.exists()
    resumed = invoke(*words, "-o", again, "--per-image", tables[1])
    assert resumed.exit_code == 0, resumed.stderr
    assert "2 kept from before" in resumed.stderr
    assert again.read_bytes() == once.read_bytes()
    assert tables[1].read_bytes() == tables[0].read_bytes()
    assert resumed.stdout == ran.stdout
    odd = [line for line in ran.stderr.splitlines() if "have an area" in line]
    assert [line for line in resumed.stderr.splitlines() if "have an area" in line] == odd
    assert not (tmp_path / "again.json.part").exists()


def test_resuming_with_other_settings_or_inputs_is_refused(
    scene: Scene, tmp_path: Path, invoke: Invoke
) -> None:
    truth, found = scene.write(tmp_path)
    words = ("evaluate", truth, found, "-o", tmp_path / "r.json", "--resume")
    interrupted(words, 2, invoke)
    ran = invoke(*words, "--max-dets", 5)
    assert ran.exit_code == 2
    assert "--max-dets was 1,10,100,1000 and is now 5" in ran.stderr
    found.write_text(json.dumps(scene.found[1:]))
    ran = invoke(*words)
    assert ran.exit_code == 2
    assert "file 1 of the predictions was sha256:" in ran.stderr


def test_a_complete_report_is_kept(scene: Scene, tmp_path: Path, invoke: Invoke) -> None:
    truth, found = scene.write(tmp_path)
    out = tmp_path / "r.json"
    words = ("evaluate", truth, found, "-o", out)
    first = invoke(*words)
    before = out.read_bytes(), out.stat().st_mtime_ns
    with mock.patch("unsam_cli.evaluation.images.match", side_effect=AssertionError):
        ran = invoke(*words, "--resume")
    assert "complete, all 6 images" in ran.stderr
    assert ran.stdout == first.stdout
    assert (out.read_bytes(), out.stat().st_mtime_ns) == before
    # What it does not hold is computed again.
    assert invoke(*words, "--resume", "--per-image", tmp_path / "i.csv").exit_code == 0
    assert len((tmp_path / "i.csv").read_text().splitlines()) == 7
    assert out.read_bytes() == before[0]
    out.write_text("{}")
    ran = invoke(*words, "--resume")
    assert ran.exit_code == 65
    assert "is no report of evaluate" in ran.stderr


def test_a_report_of_renamed_files_has_their_names(
    scene: Scene, tmp_path: Path, invoke: Invoke
) -> None:
    truth, found = scene.write(tmp_path)
    other, out = tmp_path / "other.json", tmp_path / "r.json"
    other.write_text(json.dumps(scene.found[1:]))
    assert invoke("evaluate", truth, found, other, "-o", out).exit_code == 0
    renamed = other.rename(tmp_path / "theirs.json")
    ran = invoke("evaluate", truth, found, renamed, "-o", out, "--resume")
    assert ran.exit_code == 0, ran.stderr
    assert "theirs.json" in ran.stdout
    assert "other.json" not in ran.stdout + out.read_text()


def test_resuming_without_a_file_is_told(scene: Scene, tmp_path: Path, invoke: Invoke) -> None:
    ran = invoke("evaluate", *scene.write(tmp_path), "--resume")
    assert ran.exit_code == 0
    assert "warning: --resume has no effect without a file as output" in ran.stderr


@pytest.mark.parametrize("option", ["--per-image=i.csv", "--plot=p.svg", "--by=annotator"])
def test_points_have_no_such_output(
    option: str, scene: Scene, tmp_path: Path, invoke: Invoke
) -> None:
    ran = invoke("evaluate", *scene.write(tmp_path), "--protocol", "point", option)
    assert ran.exit_code == 2
    assert f"{option.partition('=')[0]} needs --protocol whole-image" in ran.stderr


def test_several_files_with_intervals(tmp_path: Path, invoke: Invoke) -> None:
    scene = random_scene(8, images=12)
    truth, found = scene.write(tmp_path)
    worse = [a for i, a in enumerate(scene.found) if i % 2]
    (tmp_path / "worse.json").write_text(json.dumps(worse))
    arguments = ("evaluate", truth, found, tmp_path / "worse.json", "--bootstrap", 200)
    ran = invoke(*arguments, "-o", tmp_path / "r.json", "-q")
    report = load(tmp_path / "r.json")
    assert [f["name"] for f in report["files"]] == ["dt.json", "worse.json"]
    recall = report["differences"][0]["metrics"]["AR@1000"]
    assert recall["low"] < recall["difference"] < recall["high"] <= 0
    assert "worse.json - dt.json" in ran.stdout
    again = invoke(*arguments, "-o", "-", "-q")
    assert json.loads(again.stdout) == report


# Shards


def parts_of(scene: Scene, folder: Path, invoke: Invoke, count: int, *extra: object) -> list[Path]:
    truth, found = scene.write(folder)
    paths = [folder / f"part.{k}.json" for k in range(count)]
    for k, path in enumerate(paths):
        ran = invoke("evaluate", truth, found, *extra, "--shard", f"{k}/{count}", "-o", path)
        assert ran.exit_code == 0, ran.stderr
        assert ran.stdout == ""
    return paths


@pytest.mark.parametrize("count", [2, 3, 9])  # nine shards of six images: some are empty
@pytest.mark.parametrize("extra", [[], ["--by", "category_id"], ["full.json", "--bootstrap", 30]])
def test_merged_parts_equal_one_run(
    count: int, extra: list[Any], scene: Scene, tmp_path: Path, invoke: Invoke
) -> None:
    extra = [coco(scene, tmp_path / e) if e == "full.json" else e for e in extra]
    paths = parts_of(scene, tmp_path, invoke, count, *extra)
    truth, found = scene.write(tmp_path)
    whole = tmp_path / "whole.json"
    assert invoke("evaluate", truth, found, *extra, "-o", whole).exit_code == 0
    assert all(is_partial(path) for path in paths)
    assert not is_partial(whole)
    merged = tmp_path / "merged.json"
    merge_reports(paths[::-1], output=str(merged))
    assert merged.read_bytes() == whole.read_bytes()


def test_parts_that_do_not_fit(scene: Scene, tmp_path: Path, invoke: Invoke) -> None:
    paths = parts_of(scene, tmp_path, invoke, 3)
    out = str(tmp_path / "merged.json")
    with pytest.raises(DataError, match="shard 1 of 3 is missing"):
        merge_reports([paths[0], paths[2]], output=out)
    with pytest.raises(DataError, match="both hold shard 0"):
        merge_reports([paths[0], paths[0]], output=out)
    with pytest.raises(MissingInputError):
        merge_reports([paths[0], tmp_path / "no.json"], output=out)
    (tmp_path / "other").mkdir()
    other = parts_of(scene, tmp_path / "other", invoke, 3, "--max-dets", "5")
    with pytest.raises(DataError, match="not shards of one run: --max-dets"):
        merge_reports([*paths[:2], other[2]], output=out)
    paths[0].write_bytes(paths[0].read_bytes()[:-20])
    with pytest.raises(DataError, match="damaged"):
        merge_reports(paths, output=out)
    assert not Path(out).exists()


def test_merge_joins_parts(scene: Scene, tmp_path: Path, invoke: Invoke) -> None:
    paths = parts_of(scene, tmp_path, invoke, 2)
    truth, found = scene.write(tmp_path)
    whole = tmp_path / "whole.json"
    assert invoke("evaluate", truth, found, "-o", whole).exit_code == 0
    ran = invoke("merge", *paths, "-o", tmp_path / "merged.json")
    assert ran.exit_code == 0, ran.stderr
    assert (tmp_path / "merged.json").read_bytes() == whole.read_bytes()


def test_parts_are_merged_in_turn(scene: Scene, tmp_path: Path, invoke: Invoke) -> None:
    for image in scene.images:
        image["file_name"] = "one.png"  # ids tell them apart
    paths = parts_of(scene, tmp_path, invoke, 3)
    ran = invoke("merge", paths[2], paths[0], "-o", tmp_path / "two.json")
    assert ran.exit_code == 65
    ran = invoke("merge", "--partial", paths[2], paths[0], "-o", tmp_path / "two.json")
    assert ran.exit_code == 0, ran.stderr
    assert "marked as 0,2/3" in ran.stderr
    ran = invoke("merge", tmp_path / "two.json", paths[1], "-o", tmp_path / "all.json")
    assert ran.exit_code == 0, ran.stderr
    assert invoke("evaluate", *scene.write(tmp_path), "-o", tmp_path / "whole.json").exit_code == 0
    assert (tmp_path / "all.json").read_bytes() == (tmp_path / "whole.json").read_bytes()


def test_standard_input_is_called_so(scene: Scene, tmp_path: Path, invoke: Invoke) -> None:
    truth, found = scene.write(tmp_path)
    broken = found.read_bytes().replace(b'"score"', b'"xcore"', 1)
    ran = invoke("evaluate", truth, "-", "-q", stdin=broken)
    assert ran.exit_code == 65
    assert "standard input: record" in ran.stderr
