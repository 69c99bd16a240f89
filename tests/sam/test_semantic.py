"""UnSAM's promptable model: every weight lands once, and the network says what it should."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import semantic_reference as reference
import torch
from sam_models import picture
from torch import Tensor
from torch.testing import assert_close

from unsam_cli.errors import CheckpointError, UsageError
from unsam_cli.prediction.checkpoints import is_promptable
from unsam_cli.rle import decode
from unsam_cli.sam.automatic import automatic_masks
from unsam_cli.sam.loading import load_promptable, save_promptable
from unsam_cli.sam.promptable import Promptable
from unsam_cli.sam.prompts import Prompts
from unsam_cli.sam.semantic.model import SemanticModel, click_boxes
from unsam_cli.sam.semantic.network import SemanticNetwork
from unsam_cli.sam.semantic.weights import extras, repeats, to_published
from unsam_cli.sam.session import Session
from unsam_cli.sam.settings import AutomaticConfig, Prompt

pytestmark = pytest.mark.torch

State = dict[str, Any]
SIZES = reference.Sizes()
SIZE = (40, 70)


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return reference.make_state()


@pytest.fixture(scope="module")
def checkpoint(state: State, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("semantic") / "unsam_promptable.pth"
    save(state, path)
    return path


def save(state: State, path: Path) -> None:
    torch.save({"model": {f"model.{k}": v for k, v in state.items()}, "iteration": 3}, path)


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> SemanticModel:
    found = load_promptable(str(checkpoint))
    assert isinstance(found, SemanticModel)
    assert found.limits == (800, 1333)
    found.limits = 96, 160  # smaller inputs, so that tests are fast
    return found


def test_every_weight_of_the_published_checkpoint_lands_once() -> None:
    """Names and shapes are those of the published files: 649, of which 526 are distinct weights."""
    shapes = reference.list_shapes(reference.PUBLISHED)
    assert len(shapes) == 649
    with torch.device("meta"):
        network = SemanticNetwork()
    own = to_published(network.state_dict())
    again, others = repeats(own, network.config), extras(network.config)
    assert len(again) == 110
    wanted = own | {name: own[first] for name, first in again.items()} | others
    found = {name: tuple(tensor.shape) for name, tensor in wanted.items()}
    assert found | {"criterion.empty_weight": (2,)} == shapes
    values = sum(math.prod(shapes[name]) for name in own.keys() | others.keys())
    indices = sum(math.prod(s) for n, s in shapes.items() if n.endswith("_index"))
    assert round((values - indices) / 1e6, 1) == 53.0


@pytest.mark.parametrize(("apart", "kind"), [(False, 0), (True, 0), (True, 1)])
@pytest.mark.parametrize("size", [(64, 96), (256, 32)])
def test_the_network_says_what_the_description_says(
    state: State, model: SemanticModel, size: tuple[int, int], apart: bool, kind: int
) -> None:
    """Also on maps that are smaller than a window, where other Swin transformers differ."""
    pixels = torch.randn(3, *size, generator=torch.Generator().manual_seed(1))
    boxes = torch.tensor([[0.2, 0.3, 0.05, 0.06], [0.6, 0.9, 0.01, 0.02], [0.0, 1.0, 0.2, 0.1]])
    with torch.inference_mode():
        expected = reference.answer(state, SIZES, pixels, boxes, apart=apart, kind=kind)
        pyramid = model.network.encode(pixels[None])
        found = model.network.answer(pyramid, boxes, apart=apart, kind=kind)
        masks = found.masks(pyramid)
    for ours, theirs in zip((masks, found.scores, found.boxes), expected, strict=True):
        assert_close(ours, theirs, rtol=2e-4, atol=2e-4)
    assert pyramid.size == size
    # Else nothing was said about what makes tokens and clicks different.
    assert float((masks[0, 0] - masks[0, 1]).abs().mean()) > 0.05
    assert float((masks[0, 0] - masks[1, 0]).abs().mean()) > 0.05
    assert float((found.boxes[0, 0] - boxes[0]).abs().max()) > 0.05


def test_clicks_see_each_other_only_if_they_are_not_apart(model: SemanticModel) -> None:
    boxes = torch.rand(4, 4, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        pyramid = model.network.encode(torch.randn(1, 3, 64, 64))
        alone = model.network.answer(pyramid, boxes[:1], apart=False)
        apart = model.network.answer(pyramid, boxes)
        together = model.network.answer(pyramid, boxes, apart=False)
    assert_close(apart.scores[:1], alone.scores)
    assert float((together.scores[:1] - alone.scores).abs().max()) > 1e-3


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s,
        lambda s: {"model": {f"module.model.{k}": v for k, v in s.items()}},
        lambda s: {"model": {k: v.half() if v.is_floating_point() else v for k, v in s.items()}},
        lambda s: {k: v for k, v in s.items() if k != "criterion.empty_weight"},
        lambda s: {"state_dict": {f"segmenter.{k}": v for k, v in s.items()}, "epoch": 3},
        lambda s: {"checkpoint": {"net": {f"_orig_mod.{k}": v for k, v in s.items()}}},
        lambda s: {"model_ema": s, "model": {k: v * 0 for k, v in s.items()}},
    ],
    ids=["bare", "distributed", "half", "weights-only", "prefix", "nested", "average"],
)
def test_other_forms_are_the_same(
    state: State, model: SemanticModel, tmp_path: Path, change: Callable[[State], State]
) -> None:
    torch.save(change(state), tmp_path / "other.pth")
    found = load_promptable(str(tmp_path / "other.pth")).state_dict()
    for name, tensor in model.state_dict().items():
        assert_close(found[name], tensor, rtol=1e-3, atol=1e-3)


def test_the_place_in_a_wrapper_is_said_once(
    state: State, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "wrapped.pth"
    torch.save({"net": {f"model.{k}": v for k, v in state.items()}}, path)
    assert is_promptable(str(path))
    load_promptable(str(path))
    assert caplog.messages == [f"{path}: took the network under key 'net' and prefix 'model.'"]


def test_the_published_form_is_not_worth_a_word(
    checkpoint: Path, caplog: pytest.LogCaptureFixture
) -> None:
    load_promptable(str(checkpoint))
    assert not caplog.messages


def without(part: str) -> Callable[[State], State]:
    return lambda s: {k: v for k, v in s.items() if part not in k}


def changed(name: str, value: Callable[[Tensor], object]) -> Callable[[State], State]:
    return lambda s: {**s, name: value(s[name])}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (without("decoder.layers.8."), r"22 missing \(sem_seg_head.predictor.decoder.layers.8."),
        (without("backbone.layers.2.blocks.5."), r"14 missing \(backbone.layers.2.blocks.5."),
        (without("mask_tokens"), r"1 missing \(sem_seg_head.predictor.mask_tokens.weight\)"),
        (without("predictor.bbox_embed.3.layers.1.bias"), r"1 missing \(sem_seg_head.predictor.b"),
        (without("lang_mapper"), "1 missing"),
        (without("backbone."), r"189 missing \(backbone.patch_embed.proj.weight, "),
        (lambda s: {**s, "surprise": torch.zeros(2)}, r"1 unexpected \(surprise\)"),
        (changed("backbone.norm2.bias", lambda t: t[:5]), r"1 with a different shape \(backbone."),
        (changed("backbone.norm2.bias", lambda t: t / 0), "not finite"),
        (changed("backbone.norm2.bias", lambda t: t.long()), "not floating-point"),
        (changed("backbone.norm2.bias", lambda t: "x"), "a str, not a tensor"),
        (
            changed("sem_seg_head.predictor.bbox_embed.3.layers.1.bias", lambda t: t + 1),
            "differs from sem_seg_head.predictor._bbox_embed.layers.1.bias",
        ),
        (
            changed("backbone.layers.0.blocks.1.attn.relative_position_index", lambda t: t.T),
            "relative_position_index is not that",
        ),
        (
            changed("sem_seg_head.predictor.mask_tokens.weight", lambda t: t[:2]),
            "masks_per_prompt is 2",
        ),
    ],
)
def test_misfits_are_listed(
    state: State, tmp_path: Path, change: Callable[[State], State], text: str
) -> None:
    save(change(state), tmp_path / "bad.pth")
    with pytest.raises(CheckpointError, match=text) as caught:
        load_promptable(str(tmp_path / "bad.pth"))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "bad.pth"))


def test_a_folder_gives_the_same_weights(model: SemanticModel, tmp_path: Path) -> None:
    save_promptable(model, tmp_path / "saved", history=[{"command": "unsam convert"}])
    again = load_promptable(str(tmp_path / "saved"))
    assert again.history == [{"command": "unsam convert"}]
    assert again.config == model.config
    found = again.state_dict()
    assert all(torch.equal(found[k], v) for k, v in model.state_dict().items())
    (tmp_path / "saved" / "config.json").write_text(
        '{"model_type": "unsam-promptable", "base": {"model_type": "semantic-sam"}}'
    )
    with pytest.raises(CheckpointError, match=r"config\.json: sizes of the network are missing"):
        load_promptable(str(tmp_path / "saved"))


def ask(model: Promptable, points: Any, labels: Any) -> Any:
    clicks, said = torch.tensor(points), torch.tensor(labels)
    with torch.inference_mode():
        embedding = model.embed(model.frame(SIZE).pixels(picture(*SIZE))[None])
        many = model.decode(embedding, Prompts(clicks[0, :, None], said[0, :, None]))
        return many, model.decode(embedding, Prompts(clicks, said), multimask=False)


def test_several_clicks_choose_among_the_masks_of_each(model: SemanticModel) -> None:
    points, labels = [[[20.0, 12.0], [120.0, 60.0], [60.0, 80.0]]], [[1, 1, 0]]
    many, one = ask(model, points, labels)
    assert one.logits.shape == (1, 1, *many.logits.shape[2:])
    # Of the masks for both clicks on the object, at the places of all three:
    candidates, scores = many.logits[:2].flatten(0, 1), many.scores[:2].flatten()
    whole = torch.nn.functional.interpolate(candidates[None], scale_factor=4, mode="bilinear")[0]
    right = (whole[:, [12, 60, 80], [20, 120, 60]] > 0) == torch.tensor([True, True, False])
    best = max(range(12), key=lambda i: (int(right[i].sum()), float(scores[i])))
    assert_close(one.logits[0, 0], candidates[best])
    assert_close(one.scores[0, 0], scores[best])


def test_what_it_cannot_answer_is_refused(model: SemanticModel) -> None:
    session = Session(model)
    session.set_image(picture(*SIZE))
    click = Prompt(((30.0, 20.0),), (1,))
    for wrong in (Prompt(box=(0.0, 0.0, 9.0, 9.0)), replace(click, box=(0.0, 0.0, 9.0, 9.0))):
        with pytest.raises(UsageError, match="not boxes"):
            session.ask([wrong])
    with pytest.raises(UsageError, match="does not support granularity"):
        session.ask([replace(click, granularity=0.5)])
    with pytest.raises(UsageError, match="a point with label 1"):
        session.ask([Prompt(((30.0, 20.0), (31.0, 20.0)), (0, 0))])


def test_a_click_is_a_box_of_six_pixels_of_the_input() -> None:
    found = click_boxes(torch.tensor([[60.0, 80.0]]), (256, 320))
    assert_close(found, torch.tensor([[60 / 320, 80 / 256, 6 / 320, 6 / 256]]))


def test_masks_have_the_size_of_the_image(model: SemanticModel) -> None:
    """Logits are enlarged to the padded input, cut, and resized to the image."""
    session = Session(model)
    session.set_image(picture(*SIZE))
    assert session.frame.inner == (91, 160)  # the short side would be 96
    assert session.frame.padded == (96, 160)
    [answer] = session.ask([Prompt(((30.0, 20.0),), (1,))])
    assert len(answer.rles) == len(answer.scores) == 6
    many, _ = ask(model, [[[30 * 160 / 70, 20 * 91 / 40]]], [[1]])
    padded = torch.nn.functional.interpolate(many.logits, (96, 160), mode="bilinear")
    whole = torch.nn.functional.interpolate(padded[..., :91, :], SIZE, mode="bilinear")
    for rle, logits in zip(answer.rles, whole[0], strict=True):
        assert ((logits > 0).numpy() ^ decode(rle)).sum() <= 2


def test_all_masks_are_searched(model: SemanticModel) -> None:
    config = AutomaticConfig(3, 0, 0, nms_iou=1.0)
    found = automatic_masks(model, picture(*SIZE), config)
    assert len(found) == 9 * 6
    session = Session(model)
    session.set_image(picture(*SIZE))
    x, y = found.points[0].tolist()
    [asked] = session.ask([Prompt(((x, y),), (1,))])
    assert float(found.scores[0]) in [pytest.approx(s, abs=1e-4) for s in asked.scores.tolist()]


def test_half_precision_is_that_of_the_encoder(model: SemanticModel) -> None:
    click = [[[20.0, 12.0]]], [[1]]
    single = ask(model, *click)[0]
    model.dtype = "bfloat16"
    half = ask(model, *click)[0]
    model.dtype = "float32"
    assert half.logits.dtype == torch.float32
    difference = float((half.logits - single.logits).abs().mean())
    assert 0 < difference < 0.3 * float(single.logits.std())


def test_in_training_every_layer_answers_and_learns_boxes(model: SemanticModel) -> None:
    frame = model.frame(SIZE)
    embedding = model.embed(frame.pixels(picture(*SIZE))[None])
    points = torch.tensor([[[9.0, 7.0]], [[30.0, 20.0]]])
    prompts = Prompts(points, torch.ones(2, 1, dtype=torch.int64))
    plain = model.decode(embedding, prompts)
    assert plain.earlier == ()
    model.train()
    try:
        found = model.decode(embedding, prompts)
    finally:
        model.eval()
    layers = [*found.earlier, found]
    assert len(layers) == model.sizes.click_layers
    assert_close(found.logits, plain.logits)
    assert found.boxes is not None
    assert plain.boxes is not None
    assert_close(found.boxes, plain.boxes)
    for layer in layers:
        assert layer.boxes is not None
        box_head = model.network.clicks._bbox_embed.layers[0].weight
        assert isinstance(box_head, Tensor)
        (grad,) = torch.autograd.grad(layer.boxes.sum(), box_head, retain_graph=True)
        assert grad.any()
