"""Checkpoints of detectron2: every weight lands once, and the network says the same."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import detectron2_reference as reference
import numpy as np
import pytest
import torch
from support import draw_scene
from torch import Tensor

from unsam_cli.errors import CheckpointError
from unsam_cli.models.detectron2 import read_detectron2, rename
from unsam_cli.models.inputs import normalise
from unsam_cli.models.loading import load_segmenter
from unsam_cli.models.networks import create_mask2former
from unsam_cli.models.settings import SegmenterConfig

pytestmark = pytest.mark.torch

State = dict[str, Any]


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return reference.make_state(queries=40)


@pytest.fixture(scope="module")
def checkpoint(state: State, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("detectron2") / "model_final.pth"
    trainer = {"iteration": 3, "_trainer": {"optimizer": {"state": {}}}}
    torch.save({"model": state, "trainer": trainer, "iteration": 3}, path)
    return path


def test_every_weight_of_the_published_checkpoint_lands_once() -> None:
    """Names and shapes are those of the published file, 558 of them and 45.03 million values."""
    shapes = reference.list_shapes()
    assert len(shapes) == 558
    assert sum(int(np.prod(s)) for s in shapes.values()) == 45_028_996
    with torch.device("meta"):
        wanted = create_mask2former(SegmenterConfig()).state_dict()
    found: dict[str, tuple[int, ...]] = {}
    for name, shape in shapes.items():
        stem, packed, kind = rename(name).partition(".self_attn.in_proj_")
        targets = [stem]
        if packed:
            targets = [f"{stem}.self_attn.{letter}_proj.{kind}" for letter in "qkv"]
            shape = (shape[0] // 3, *shape[1:])
        for target in targets:
            assert target not in found
            found[target] = shape
    counters = {name for name in wanted if name.endswith("num_batches_tracked")}
    assert found == {k: tuple(v.shape) for k, v in wanted.items() if k not in counters}


def test_the_network_says_what_the_original_says(state: State, checkpoint: Path) -> None:
    segmenter = load_segmenter(str(checkpoint)).double()
    assert segmenter.config == SegmenterConfig(queries=40, decoder_layers=9)
    image = torch.from_numpy(draw_scene(0, 64, 96)).permute(2, 0, 1)[None]
    pixels = normalise(image).double()
    with torch.no_grad():
        weights = {name: value.double() for name, value in state.items()}
        classes, masks = reference.predict(weights, pixels)
        ours = segmenter(pixels)
        segmenter.train()
        layers = segmenter(pixels)
    torch.testing.assert_close(ours.class_logits[0], classes[-1])
    torch.testing.assert_close(ours.mask_logits(), masks[-1])
    for i in range(10):
        torch.testing.assert_close(layers.class_logits[i], classes[i])
        torch.testing.assert_close(layers.mask_logits(i), masks[i])
    # Else nothing was said about the masks in attention.
    mixed = [0.02 < (m > 0).double().mean() < 0.98 for m in masks[-2][0]]
    assert sum(mixed) > len(mixed) / 2


def old_names(state: State) -> State:
    return {
        k.replace("sem_seg_head.pixel_decoder.", "sem_seg_head.").replace(
            "query_feat", "static_query"
        ): v
        for k, v in state.items()
    }


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s,
        lambda s: {"model": {f"module.{k}": v for k, v in s.items()}},
        lambda s: {"model": old_names(s)},
        lambda s: {k: v for k, v in s.items() if k != "criterion.empty_weight"},
        lambda s: {"state_dict": {f"segmenter.{k}": v for k, v in s.items()}, "epoch": 3},
        lambda s: {"checkpoint": {"net": old_names(s)}},
        lambda s: {
            "model": {f"modelStudent.{k}": v * 0 for k, v in s.items()}
            | {f"modelTeacher.{k}": v for k, v in s.items()}
        },
    ],
    ids=["bare", "distributed", "older", "weights-only", "prefix", "nested", "teacher"],
)
def test_other_forms_are_the_same(
    state: State, checkpoint: Path, tmp_path: Path, change: Callable[[State], State]
) -> None:
    path = tmp_path / "other.pth"
    torch.save(change(state), path)
    config, expected = read_detectron2(checkpoint)
    assert read_detectron2(path)[0] == config
    found = read_detectron2(path)[1]
    expected.pop("criterion.empty_weight")
    found.pop("criterion.empty_weight", None)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[k], expected[k]) for k in expected)


def test_misfits_are_listed(state: State, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    bad = {k: v for k, v in state.items() if ".transformer.encoder.layers.2.linear1" not in k}
    bad["backbone.res2.0.conv1.weight"] = torch.zeros(5)
    bad["sem_seg_head.predictor.surprise"] = torch.zeros(5)
    path = tmp_path / "bad.pth"
    torch.save({"model": bad}, path)
    with pytest.raises(CheckpointError) as caught:
        load_segmenter(str(path))
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    assert "2 missing (model.pixel_level_module.decoder.encoder.layers.2.fc1.weight, " in message
    assert "1 unexpected (sem_seg_head.predictor.surprise)" in message
    assert "1 with a different shape (model.pixel_level_module.encoder.encoder.stages.0." in message
    assert [line.split(": ")[1] for line in caplog.messages] == [
        *("missing", "missing", "unexpected", "with a different shape")
    ]


@pytest.mark.parametrize("layer", [2, 5])
def test_of_many_misfits_the_first_are_named(layer: int, state: State, tmp_path: Path) -> None:
    bad = {k: v for k, v in state.items() if f".transformer.encoder.layers.{layer}." not in k}
    path = tmp_path / "bad.pth"
    torch.save({"model": bad}, path)
    with pytest.raises(CheckpointError, match=r"16 missing \(\S+, \S+, \S+, \.\.\.; all with -"):
        load_segmenter(str(path))


def test_a_file_without_the_last_layer_is_refused(state: State, tmp_path: Path) -> None:
    bad = {k: v for k, v in state.items() if "_layers.8." not in k}
    torch.save({"model": bad}, tmp_path / "bad.pth")
    with pytest.raises(CheckpointError, match="22 missing"):
        load_segmenter(str(tmp_path / "bad.pth"))


class Hostile:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


def save_pickle(path: Path) -> None:
    """As detectron2 writes weights that were converted from elsewhere."""
    path.write_bytes(pickle.dumps({"model": {"stem.conv1.weight": np.zeros((2, 2))}}))


@pytest.mark.parametrize(
    ("save", "text"),
    [
        (lambda p: torch.save({"model": Hostile(p.with_name("made"))}, p), "not a file of tensors"),
        (lambda p: torch.save({"model": {"a": np.zeros(3)}}, p), "not a file of tensors"),
        (save_pickle, "not a file of tensors"),
        (lambda p: p.write_text('{"images": []}'), "is a JSON file; a checkpoint"),
        (lambda p: p.write_bytes(b"PK\x03\x04 and no more"), "damaged checkpoint"),
        (lambda p: torch.save({"roi_heads.weight": torch.zeros(3)}, p), "not a Mask2Former"),
        (lambda p: torch.save({"model": {}}, p), "not a Mask2Former"),
        (lambda p: torch.save([torch.zeros(3)], p), "holds a list"),
    ],
    ids=["code", "numpy", "pickle", "json", "damaged", "detector", "empty", "list"],
)
def test_other_files_are_refused(tmp_path: Path, save: Callable[[Path], object], text: str) -> None:
    path = tmp_path / "bad.pth"
    save(path)
    with pytest.raises(CheckpointError, match=text) as caught:
        load_segmenter(str(path))
    assert "\n" not in str(caught.value)
    assert "weights_only" not in str(caught.value)
    assert not (tmp_path / "made").exists()
