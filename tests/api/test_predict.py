"""`unsam_cli.predict`: the masks of the command, of one image or of many."""

from __future__ import annotations

import doctest
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image
from sam_models import make_sam
from segmenters import save_tiny
from support import draw_scene

import unsam_cli as unsam
from unsam_cli.api import networks
from unsam_cli.cli import cli
from unsam_cli.errors import DataError, UsageError
from unsam_cli.models.loading import load_segmenter
from unsam_cli.sam.loading import load_promptable, save_promptable
from unsam_cli.sam.model import PromptableModel

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("predict")
    (found / "photos").mkdir()
    for i in range(2):
        Image.fromarray(draw_scene(i)).save(found / "photos" / f"{i}.png")
    save_tiny(found / "tiny")
    save_promptable(PromptableModel(make_sam()), found / "sam")
    return found


def of_command(folder: Path, *words: str) -> list[list[tuple[Any, ...]]]:
    """Return the masks of each image, as the command writes them."""
    out = folder / "out.json"
    ran = CliRunner().invoke(
        cli, ["predict", *(str(folder / w) for w in words[:2]), *words[2:], "-o", str(out)]
    )
    assert ran.exit_code == 0, ran.stderr
    found = json.loads(out.read_bytes())
    return [
        [
            (a["segmentation"]["counts"], a["score"])
            for a in found["annotations"]
            if a["image_id"] == image["id"]
        ]
        for image in found["images"]
    ]


def said(masks: unsam.Masks) -> list[tuple[Any, ...]]:
    return [(m.rle["counts"].decode(), m.score) for m in masks]


def test_one_image_and_many_give_the_masks_of_the_command(folder: Path) -> None:
    expected = of_command(folder, "tiny", "photos", "--nms", "0.9")
    paths = [folder / "photos" / f"{i}.png" for i in range(2)]
    assert said(unsam.predict(paths[0], str(folder / "tiny"), nms=0.9)) == expected[0]
    segmenter = load_segmenter(str(folder / "tiny"))
    many = unsam.predict((draw_scene(i) for i in range(2)), segmenter, nms=0.9)
    assert next(many)[0].stage == "predict"
    assert [said(masks) for masks in unsam.predict(paths, segmenter, nms=0.9)] == expected


def test_prompts_and_the_search_of_a_promptable_model(folder: Path) -> None:
    model = load_promptable(str(folder / "sam"), "cpu")
    expected = of_command(folder, "sam", "photos/0.png", "--points", "40,50", "--points", "1,1,0")
    image = folder / "photos" / "0.png"
    found = unsam.predict(image, model, points=[(40, 50), (1, 1, 0)])
    assert said(found) == expected[0]
    assert "--points '40,50,1 1,1,0'" in found.history[0]["command"]
    assert found.history[0]["inputs"] == {"checkpoint": model.identity}
    expected = of_command(folder, "sam", "photos/0.png", "--points-per-side", "3")
    assert said(unsam.predict(image, model, points_per_side=3)) == expected[0]


def test_the_example_in_the_docstring_runs(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run").symlink_to(folder / "tiny")
    (tmp_path / "photo.jpg").symlink_to(folder / "photos" / "0.png")
    monkeypatch.chdir(tmp_path)
    assert doctest.testmod(networks) == (0, 4)


def test_what_does_not_fit_is_refused(folder: Path) -> None:
    image = draw_scene()
    with pytest.raises(UsageError, match="need a promptable model"):
        unsam.predict(image, load_segmenter(str(folder / "tiny")), points=[(1, 2)])
    with pytest.raises(DataError, match="outside image"):
        unsam.predict(image, load_promptable(str(folder / "sam"), "cpu"), points=[(500, 2)])
    with pytest.raises(UsageError, match="no option 'nmss'"):
        unsam.predict(image, load_segmenter(str(folder / "tiny")), nmss=1)
