"""Three lines of Python: the same masks as the pipe of commands, and what they offer."""

from __future__ import annotations

import doctest
import inspect
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from support import Invoke, draw_scene

import unsam_cli as unsam
from unsam_cli.cli import cli
from unsam_cli.divide.maskcut import maskcut
from unsam_cli.errors import UsageError

SMALL: dict[str, Any] = {"size": 128, "region_size": 128}
PARTS = ["stages", "patches", "files", "reports", "mask", "masks"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("api")
    Image.fromarray(draw_scene()).save(found / "photo.jpg")
    Image.fromarray(draw_scene()).save(found / "photo.png")
    return found


@pytest.fixture(scope="module")
def piped(folder: Path) -> dict[str, Any]:
    """Return what the pipe of commands writes."""
    small = ["--size", "128"]
    place = {name: str(folder / name) for name in ("photo.jpg", "f.h5", "d.json", "r.h5", "c.json")}
    regions = ["--regions", place["d.json"], "--whole-image", "--region-size", "128"]
    for words in [
        ["extract-features", place["photo.jpg"], *small, "-o", place["f.h5"]],
        ["divide", place["f.h5"], "-o", place["d.json"]],
        ["extract-features", place["photo.jpg"], *small, *regions, "-o", place["r.h5"]],
        ["conquer", place["r.h5"], "-o", place["c.json"]],
    ]:
        ran = CliRunner().invoke(cli, words)
        assert ran.exit_code == 0, ran.stderr
    found: dict[str, Any] = json.loads((folder / "c.json").read_bytes())
    return found


@pytest.fixture(scope="module")
def masks(folder: Path) -> unsam.Masks:
    return unsam.segment(folder / "photo.jpg", **SMALL)


def without_nulls(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the annotations; a file of divide says `level: null`, one of filter says nothing."""
    kept = ("parent_id",)
    return [
        {k: v for k, v in a.items() if v is not None or k in kept} for a in found["annotations"]
    ]


def test_segment_finds_the_masks_of_the_pipe(masks: unsam.Masks, piped: dict[str, Any]) -> None:
    found = masks.to_coco()
    assert len(masks) > 100
    assert found["images"] == piped["images"]
    assert without_nulls(found) == without_nulls(piped)
    assert found["info"] == piped["info"]
    filtered = masks.filter(max_masks=5).to_coco()["info"]["unsam"]["history"]
    assert filtered[:-1] == piped["info"]["unsam"]["history"]
    assert filtered[-1]["command"].startswith("unsam filter --min-area 0")


def test_with_tiles_borders_follow_the_image(folder: Path, invoke: Invoke) -> None:
    found = unsam.segment(folder / "photo.png", tile="64", **SMALL).to_coco()
    words = [f"--extract-features.{word}=128" for word in ("size", "region-size")]
    tiled = ["--extract-features.tile", "64", "--no-report", "-o", folder / "out"]
    ran = invoke("run", folder / "photo.png", *words, *tiled)
    assert ran.exit_code == 0, ran.stderr
    piped = json.loads((folder / "out" / "masks.json").read_bytes())
    assert "guide" in piped["info"]["unsam"]["history"][-1]["inputs"]
    assert found["info"] == piped["info"]
    assert without_nulls(found) == without_nulls(piped)


def test_the_stages_one_by_one_are_segment(folder: Path, masks: unsam.Masks) -> None:
    image = np.array(Image.open(folder / "photo.jpg"))
    objects = unsam.divide(unsam.features(image, **SMALL))
    regions = unsam.features(Image.fromarray(image), regions=objects, whole_image=True, **SMALL)
    parts = unsam.conquer(regions)
    assert len(regions.records) == len(objects) + 1
    assert without_nulls(parts.to_coco()) == without_nulls(masks.to_coco())


def test_options_have_the_names_of_the_commands(folder: Path) -> None:
    found = unsam.features(folder / "photo.png", size=128)
    assert len(unsam.divide(found, max_masks=1)) == 1
    assert len(unsam.conquer(found, max_masks=7)) == 7
    with pytest.raises(UsageError, match=r"no option 'tua'; choose from .*tau"):
        unsam.divide(found, tua=0.3)
    with pytest.raises(UsageError, match="tau is 3"):
        unsam.divide(found, tau=3)
    with pytest.raises(UsageError, match="no option 'sise'"):
        unsam.segment(folder / "photo.png", sise=128)
    with pytest.raises(UsageError, match="divide takes Features, not str"):
        unsam.divide("photo.png")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="conquer takes Features, not str"):
        unsam.conquer("photo.png")  # type: ignore[arg-type]


def test_a_mask_has_pixels_and_a_place_in_the_tree(masks: unsam.Masks) -> None:
    for mask in masks[:40]:
        assert mask.mask.shape == masks.size == (96, 128)
        assert mask.mask.sum() == mask.area
        assert all(child.parent is not None for child in mask.children)
        assert mask.depth == (0 if mask.parent is None else mask.parent.depth + 1)
    assert [m.depth for m in masks.tree] == [0] * len(masks.tree)
    below = {mask.annotation.id for mask in masks if mask.parent is not None}
    assert len(below) + len(masks.tree) == len(masks)


def test_at_keeps_what_is_coarse_and_the_tree_of_what_is_kept(masks: unsam.Masks) -> None:
    coarse = masks.at(granularity=0.4)
    assert 1 < len(coarse) < len(masks)
    assert min(m.granularity or 0 for m in coarse) >= 0.4
    assert all(m.parent is None or m.parent.area > m.area for m in coarse)
    assert len(masks.at(granularity=0.1)) == len(masks)
    assert len(masks.filter(max_masks=5)) == 5


def test_a_label_map_paints_parts_over_wholes(masks: unsam.Masks) -> None:
    few = masks.filter(nms_iou=0.5, max_masks=8)
    labels = few.label_map()
    assert labels.dtype == np.int32
    for index in set(np.unique(labels).tolist()) - {0}:
        assert few[index - 1].mask[labels == index].all()


def test_files_are_those_that_the_commands_read(
    folder: Path, masks: unsam.Masks, piped: dict[str, Any]
) -> None:
    masks.save(folder / "saved.json")
    ran = CliRunner().invoke(cli, ["evaluate", str(folder / "c.json"), str(folder / "saved.json")])
    assert ran.exit_code == 0, ran.stderr
    [again] = unsam.read(folder / "saved.json", images=folder)
    assert without_nulls(again.to_coco()) == without_nulls(masks.to_coco())
    assert again.history == masks.history
    assert again.draw().tobytes() == masks.draw().tobytes()
    [on_white] = unsam.read(folder / "saved.json")
    assert on_white.pixels.min() == 255


def test_notebooks_and_windows_show_a_picture(
    masks: unsam.Masks, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Image.Image] = []
    monkeypatch.setattr(Image.Image, "show", lambda picture: shown.append(picture))
    masks.show(depth=0)
    assert shown[0].size == (128, 96)
    assert masks._repr_png_().startswith(b"\x89PNG")
    assert f"{len(masks)} masks of a 96 x 128 image" in masks._repr_html_()
    cutout = masks[3].cutout()
    assert (np.asarray(cutout)[..., 3] > 0).sum() == masks[3].area
    assert masks[3]._repr_png_().startswith(b"\x89PNG")


def test_features_of_another_network_are_divided(folder: Path) -> None:
    grid = np.zeros((24, 32, 8), np.float32)
    grid[..., 0] = 1
    grid[4:20, 6:18] = np.eye(8)[1]
    found = unsam.divide(unsam.Features.of(grid, folder / "photo.png"), tau=0.5, refine="none")
    assert found[0].mask[16:80, 24:72].mean() == found[0].area / (64 * 48) == 1
    with pytest.raises(UsageError, match=r"features are \(h, w, C\)"):
        unsam.Features.of(grid[0], folder / "photo.png")


def test_a_ready_backbone_serves_many_images(folder: Path, masks: unsam.Masks) -> None:
    from unsam_cli.backbones import create_backbone

    again = unsam.segment(folder / "photo.jpg", backbone=create_backbone(), **SMALL)
    assert again.to_coco() == masks.to_coco()
    with pytest.raises(UsageError, match="already"):
        unsam.features(folder / "photo.jpg", backbone=create_backbone(), weights="x.pth")


@pytest.mark.parametrize(
    ("image", "what"),
    [
        (np.zeros((4, 4, 3)), "float64"),
        (np.zeros((2, 4, 4, 3), np.uint8), r"\(2, 4, 4, 3\)"),
        (7, "not int"),
    ],
)
def test_what_is_no_image_is_refused(image: Any, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        unsam.segment(image)


def test_grey_and_transparent_images_are_images() -> None:
    grey = draw_scene()[..., 0]
    clear = np.dstack([grey, grey, grey, np.full_like(grey, 255)])
    [a, b, c] = [unsam.features(i, size=64).grid for i in (grey, clear, clear[..., :3].copy())]
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(a, c)


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_maskcut_refuses_a_picture(kind: type) -> None:
    rgb: Any = np.zeros((200, 300, 3), kind)
    with pytest.raises(ValueError, match=r"is a picture, not a grid of features"):
        maskcut(rgb)


def test_evaluate_takes_arrays_masks_and_files(folder: Path, masks: unsam.Masks) -> None:
    masks.save(folder / "all.json")
    few = masks.filter(max_masks=10)
    arrays = np.stack([mask.mask for mask in few])
    pairs: list[tuple[Any, Any]] = [(few, few), (arrays, few), ([arrays], arrays)]
    reports = [unsam.evaluate(a, b) for a, b in pairs]
    assert [r["metrics"]["AR@100"] for r in reports] == [1.0, 1.0, 1.0]
    two = unsam.evaluate(folder / "all.json", masks, few, match="id")
    first, second = (f["metrics"]["AR@1000"] for f in two["files"])
    assert (first, second) == (1.0, pytest.approx(10 / len(masks), abs=1e-3))
    assert "AR@1000" in str(two)
    assert "<pre>" in two._repr_html_()
    with pytest.raises(UsageError, match="bool or Masks"):
        unsam.evaluate(arrays.astype(int), few)
    with pytest.raises(UsageError, match="needs predictions"):
        unsam.evaluate(arrays)


@pytest.mark.parametrize("part", PARTS)
def test_examples_in_docstrings_run(
    part: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    module = import_module(f"unsam_cli.api.{part}")
    failed, tried = doctest.testmod(module)
    assert failed == 0
    assert tried


@pytest.mark.parametrize(
    "before",
    [
        "",
        "import unsam_cli.divide, unsam_cli.conquer",
        "from unsam_cli.divide import settings; from unsam_cli.conquer import settings",
        "from unsam_cli import divide, conquer",
    ],
)
def test_rooms_are_functions_in_any_order_of_imports(before: str) -> None:
    code = f"""
{before}
import unsam_cli as unsam
import unsam_cli.divide.settings as module
assert unsam.divide.settings is module
print(type(unsam.divide).__name__, type(unsam.conquer).__name__)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["CallableRoom", "CallableRoom"]


def test_importing_the_package_imports_nothing_else() -> None:
    code = (
        "import sys, unsam_cli; assert 'segment' in dir(unsam_cli);"
        "print(sorted(m for m in sys.modules if m.startswith('unsam_cli.') or m == 'numpy'))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
    with pytest.raises(AttributeError, match="no attribute 'segmant'"):
        unsam.segmant  # noqa: B018


def test_all_names_are_documented_and_signatures_are_known() -> None:
    for name in unsam.__all__:
        assert getattr(unsam, name).__doc__
    assert list(inspect.signature(unsam.divide).parameters)[:2] == ["features", "settings"]
    assert set(unsam.__all__) == set(import_module("unsam_cli.api").__all__)
