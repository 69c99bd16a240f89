"""CascadePSP: crops in batches give what its package gives for each alone."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support import Invoke, draw_scene
from torch import Tensor, nn

from unsam_cli.errors import (
    CheckpointError,
    ImageFileError,
    UsageError,
    WeightsUnavailableError,
)
from unsam_cli.io.images import read_image
from unsam_cli.io.windows import read
from unsam_cli.refinement import cascadepsp_files
from unsam_cli.refinement.cascadepsp import CascadePsp, Crop
from unsam_cli.refinement.masks import MaskTask, Refined, begin, refine_masks
from unsam_cli.refinement.pipeline import refine_images
from unsam_cli.refinement.settings import RefineSettings
from unsam_cli.rle import Rle, RunTable, decode_window, encode

pytestmark = pytest.mark.torch
SMALL = RefineSettings(method="cascadepsp", min_side=48, max_side=96)


class Tiny(nn.Module):
    """Like the real network, it sees the whole input, its padding, and colours apart."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(4, 1, 3, padding=1)

    def forward(self, image: Tensor, mask: Tensor, *none: None) -> dict[str, Tensor]:
        assert image.shape[2] % 8 == image.shape[3] % 8 == 0
        mixed = self.mix(torch.cat([image, mask], 1)) + image.mean(dim=(1, 2, 3), keepdim=True)
        found = torch.sigmoid(mixed + 2 * mask)
        return dict.fromkeys(("pred_224", "pred_28_3", "pred_56_2"), found)


@pytest.fixture
def tiny() -> Tiny:
    torch.manual_seed(0)
    return Tiny()


def boxes() -> RunTable:
    """Return masks whose crops are of many sizes, smaller and larger than those of the network."""
    masks = np.zeros((8, 96, 128), bool)
    places = "40 60 8 10, 40 30 8 10, 10 10 30 24, 10 20 60 70, 0 0 20 90, 90 120 6 8, 30 30 21 24"
    for i, place in enumerate(f"{places}, 33 41 19 24".split(", ")):
        y, x, h, w = map(int, place.split())
        masks[i, y : y + h, x : x + w] = True
    return RunTable.from_rles([encode(mask) for mask in masks])


def alone(network: nn.Module, crop: Crop) -> NDArray[np.uint8]:
    """Refine one crop with the package's own code and this network."""
    package = pytest.importorskip("segmentation_refinement")
    from torchvision import transforms

    refiner: Any = object.__new__(package.Refiner)
    refiner.model, refiner.device = network.eval(), "cpu"
    refiner.im_transform = transforms.Compose(
        [
            transforms.ToTensor(),
            transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
        ]
    )
    refiner.seg_transform = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize(mean=[0.5], std=[0.5])]
    )
    picture = np.ascontiguousarray(read(crop.picture, crop.box))
    mask = decode_window(crop.mask, *crop.box).astype(np.uint8) * 255
    found: NDArray[np.uint8] = refiner.refine(picture, mask, fast=True, L=crop.side)
    return found


def compare(network: nn.Module, chosen: list[int]) -> None:
    refiner = CascadePsp(network, SMALL)
    crops = [refiner.crops(draw_scene(0), boxes())[i] for i in chosen]
    for crop in crops:
        same = [other for other in crops if other.padded == crop.padded]
        levels = refiner.forward(same)[[other is crop for other in same].index(True)]
        exact = alone(network, crop)
        assert levels.shape == exact.shape == crop.box[3:1:-1]
        assert np.abs(levels.astype(int) - exact).max() <= 1


def test_batches_equal_the_package(tiny: Tiny) -> None:
    compare(tiny, list(range(8)))


@pytest.mark.slow
def test_its_own_network_in_batches_equals_the_package() -> None:
    pytest.importorskip("segmentation_refinement")
    torch.manual_seed(0)
    compare(cascadepsp_files._create(), [0, 1, 2, 5])


def test_crops_are_those_of_the_paper(tiny: Tiny) -> None:
    crops = CascadePsp(tiny, RefineSettings()).crops(draw_scene(0), boxes())
    assert crops[0].box == (55, 34, 20, 20)  # twice the longer side, around the centre
    assert crops[5].box == (116, 85, 12, 11)  # cut at the border of the image
    assert (crops[0].side, crops[0].padded) == (100, (104, 104))
    assert crops[3].box == (0, 0, 125, 96)
    assert (crops[3].side, crops[3].padded) == (125, (104, 128))  # both sides grow


def test_masks_do_not_depend_on_the_batch(tiny: Tiny) -> None:
    one, many = CascadePsp(tiny, SMALL), CascadePsp(tiny, SMALL)
    many.batch_size = 3
    picture = draw_scene(0)
    assert one(picture, boxes()) == many(picture, boxes())
    kept = refine_masks(picture, boxes(), SMALL, one).kept
    assert len(kept) > 0
    bgr = CascadePsp(tiny, replace(SMALL, colours="bgr"))
    turned = np.ascontiguousarray(picture[..., ::-1])
    assert bgr(picture, boxes()) == one(turned, boxes()) != one(picture, boxes())


def test_batches_are_of_crops_of_several_images(tiny: Tiny) -> None:
    one, many = CascadePsp(tiny, SMALL), CascadePsp(tiny, SMALL)
    many.batch_size = 4
    sizes: list[int] = []
    tiny.register_forward_hook(lambda module, given, found: sizes.append(len(given[0])))

    def read(seed: int) -> tuple[int, MaskTask]:
        if seed == 2:
            raise ImageFileError("2.png: damaged")
        return seed, begin(draw_scene(seed), boxes())

    def use(seed: int, refined: Refined) -> tuple[int, list[Rle]]:
        return seed, refined.table.to_rles()

    found = dict(refine_images(range(4), many, read, use, jobs=2))
    assert isinstance(found.pop(2), ImageFileError)
    assert len(sizes) < len(boxes()) * 3 / 2  # the crops of one image are of five sizes
    assert max(sizes) == 4
    for seed, result in found.items():
        alone = refine_masks(draw_scene(seed), boxes(), SMALL, one)
        assert result == (seed, alone.table.to_rles())


def test_the_command_refines_with_a_network(
    tiny: Tiny, scenes: Path, invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cascadepsp_files, "_create", Tiny)
    torch.save(tiny.state_dict(), tmp_path / "weights")
    images = [{"id": i, "file_name": f"{i}.png", "height": 96, "width": 128} for i in (1, 2)]
    rles = [{**rle, "counts": rle["counts"].decode()} for rle in boxes().to_rles()]
    annotations = [
        {"id": 10 * i + k, "image_id": i, "category_id": 1, "segmentation": rle}
        for i in (1, 2)
        for k, rle in enumerate(rles)
    ]
    masks = {"images": images, "annotations": annotations, "categories": []}
    options = ("--method", "cascadepsp", "--weights", tmp_path / "weights", "--max-side", 100)
    ran = invoke("refine", "--images", scenes, *options, stdin=json.dumps(masks).encode())
    assert ran.exit_code == 0, ran.stderr
    assert "not label-free" in ran.stderr
    written = json.loads(ran.stdout)
    settings = RefineSettings(method="cascadepsp", max_side=100)
    for i in (1, 2):
        alone = refine_masks(
            read_image(scenes / f"{i}.png"), boxes(), settings, CascadePsp(tiny, settings)
        )
        found = [a for a in written["annotations"] if a["image_id"] == i]
        assert [a["id"] for a in found] == [10 * i + k for k in alone.kept.tolist()]
        rles = [
            {**a["segmentation"], "counts": a["segmentation"]["counts"].encode()} for a in found
        ]
        assert rles == alone.table.to_rles()


def load(weights: Path | None) -> tuple[CascadePsp, str]:
    name = None if weights is None else str(weights)
    return cascadepsp_files.load_cascadepsp(name, SMALL, device="cpu", batch_size=1)


def test_weights_are_checked(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cascadepsp_files, "_create", Tiny)
    path = tmp_path / "model"
    torch.save({f"module.{k}": v for k, v in tiny.state_dict().items()}, path)  # as published
    refiner, identity = load(path)
    assert re.fullmatch(r"sha256:[0-9a-f]+ \(trained with labels\)", identity)
    for mine, theirs in zip(refiner.network.parameters(), tiny.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    torch.save({"other.weight": torch.zeros(3)}, path)
    with pytest.raises(CheckpointError, match="do not fit"):
        load(path)
    with pytest.raises(WeightsUnavailableError, match="no such file"):
        load(tmp_path / "none")


def test_without_the_package_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "segmentation_refinement.models.psp.pspnet", None)
    with pytest.raises(UsageError, match="pip install segmentation-refinement"):
        load(None)
