"""Promptable models from files of several makes, and back to files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from sam_models import make_original, make_sam, make_sam2, picture
from torch.testing import assert_close
from transformers import Sam2Model, SamModel

from unsam_cli.errors import CheckpointError, MissingInputError, UsageError
from unsam_cli.sam.loading import load_promptable, save_promptable, with_parts
from unsam_cli.sam.lora import add_lora
from unsam_cli.sam.meta import load_original
from unsam_cli.sam.model import PromptableModel
from unsam_cli.sam.promptable import Promptable
from unsam_cli.sam.prompts import Prompts
from unsam_cli.sam.settings import PromptableConfig

pytestmark = pytest.mark.torch

POINTS = torch.tensor([[[30.0, 20.0], [100.0, 70.0]], [[60.0, 80.0], [11.0, 5.0]]])
LABELS = torch.tensor([[1, 0], [1, 1]])
BOXES = torch.tensor([[10.0, 10.0, 60.0, 80.0], [5.0, 40.0, 120.0, 88.0]])
HISTORY = [{"command": "unsam finetune-sam", "version": "0"}]


@torch.no_grad()
def answers(model: Promptable) -> torch.Tensor:
    granularity = torch.tensor([0.3, 0.9]) if model.config.granularity else None
    frame = model.frame((90, 121))
    embedding = model.embed(frame.pixels(picture(90, 121))[None])
    return model.decode(embedding, Prompts(POINTS, LABELS, granularity=granularity)).logits


@pytest.mark.parametrize(
    ("size", "heads", "whole"),
    [("b", 12, [2, 5, 8, 11]), ("l", 16, [5, 11, 17, 23]), ("h", 16, [7, 15, 23, 31])],
)
def test_original_checkpoints_of_the_published_sizes(
    size: str, heads: int, whole: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names and shapes alone: the weights themselves would take gigabytes."""
    from segment_anything import sam_model_registry

    with torch.device("meta"):
        state = sam_model_registry[f"vit_{size}"]().state_dict()
        monkeypatch.setattr("unsam_cli.sam.meta.read_checkpoint", lambda path: state)
        config = load_original(Path("sam.pth")).config.vision_config
    assert (config.num_attention_heads, config.window_size) == (heads, 14)
    assert config.global_attn_indexes == whole


@pytest.mark.parametrize(("side", "hidden"), [(128, 64), (64, 32)])
@torch.no_grad()
def test_an_original_checkpoint_gives_the_masks_of_segment_anything(
    tmp_path: Path, side: int, hidden: int
) -> None:
    from segment_anything import SamPredictor

    original = make_original(side, hidden)
    torch.save(original.state_dict(), tmp_path / "sam.pth")
    model = load_promptable(str(tmp_path / "sam.pth"))
    image = picture(90, 121)
    predictor = SamPredictor(original)
    predictor.set_image(image)
    frame = model.frame((90, 121))
    embedding = model.embed(frame.pixels(image)[None])
    assert_close(embedding.image, predictor.features, rtol=1e-4, atol=1e-4)
    for points, labels, boxes in [
        (POINTS, LABELS, None),
        (None, None, BOXES),
        (POINTS, LABELS, BOXES),
    ]:
        for multimask in (True, False):
            inside = [None if x is None else frame.inwards(x) for x in (points, boxes)]
            expected = predictor.predict_torch(
                inside[0], labels, inside[1], multimask_output=multimask, return_logits=True
            )
            for fold in (False, True):
                prompts = Prompts(inside[0], labels, inside[1])
                answer = model.decode(embedding, prompts, multimask=multimask, fold=fold)
                assert_close(answer.logits, expected[2], rtol=0, atol=1e-4)
                assert_close(answer.scores, expected[1], rtol=0, atol=1e-4)
    assert answer.logits.std() > 0.1
    assert model.identity.startswith("sha256:")


WRAPPERS: dict[str, Callable[[Any], Any]] = {
    "model.": lambda s: {f"model.{k}": v for k, v in s.items()},
    "sam.": lambda s: {f"sam.{k}": v for k, v in s.items()} | {"head.weight": torch.ones(2)},
    "module.": lambda s: {"model": {f"module.{k}": v for k, v in s.items()}, "epoch": 3},
    "model_state": lambda s: {"model_state": s, "optimizer": {"state": {}}},
    "model_state_dict": lambda s: {"model_state_dict": s, "loss": 0.1},
    "Lightning": lambda s: {"state_dict": {f"model.sam.{k}": v for k, v in s.items()}},
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_an_original_checkpoint_in_a_wrapper(tmp_path: Path, name: str) -> None:
    state = make_original(64, 32).state_dict()
    torch.save(state, tmp_path / "sam.pth")
    torch.save(WRAPPERS[name](dict(state)), tmp_path / "wrapped.pth")
    wanted, found = (load_promptable(str(tmp_path / f"{n}.pth")) for n in ("sam", "wrapped"))
    assert_close(answers(found), answers(wanted), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("mistreat", "message"),
    [
        (
            lambda s: s.pop("mask_decoder.iou_token.weight"),
            r"1 missing \(mask_decoder.iou_token.weight\)",
        ),
        (lambda s: s.update(extra=torch.ones(1)), r"1 unexpected \(extra\)"),
        (
            lambda s: s.update({"mask_decoder.iou_token.weight": torch.ones(1, 7)}),
            r"1 with a different shape \(mask_decoder.iou_token.weight \(1, 7\) for \(1, 32\)\)",
        ),
        (
            lambda s: s.pop("image_encoder.pos_embed"),
            "not a SAM checkpoint, 'image_encoder.pos_embed'",
        ),
        (lambda s: (s.clear(), s.update(a=torch.ones(1))), "is missing: is it an original"),
    ],
)
def test_other_checkpoints_are_refused(
    tmp_path: Path, mistreat: Callable[[Any], Any], message: str
) -> None:
    state = dict(make_original(64, 32).state_dict())
    mistreat(state)
    torch.save(state, tmp_path / "sam.pth")
    with pytest.raises(CheckpointError, match=message) as caught:
        load_promptable(str(tmp_path / "sam.pth"))
    assert str(tmp_path / "sam.pth") in str(caught.value)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    torch.save({"a": Path("x"), "f": print}, tmp_path / "sam.pth")
    with pytest.raises(CheckpointError, match="not a file of tensors only"):
        load_promptable(str(tmp_path / "sam.pth"))


def test_a_configuration_cannot_take_the_memory(tmp_path: Path) -> None:
    make_sam().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_bytes())
    config["vision_config"]["mlp_dim"] = 10**11
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"vision_config\.mlp_dim is 100000000000"):
        load_promptable(str(tmp_path))


@pytest.mark.parametrize("name", ["nothing.pth", "./nothing", "nothing"])
def test_a_missing_checkpoint_is_named(name: str) -> None:
    with pytest.raises(MissingInputError, match="nothing"):
        load_promptable(name)


@pytest.mark.parametrize(("make", "kind"), [(make_sam, SamModel), (make_sam2, Sam2Model)])
def test_a_model_without_new_parts_is_one_of_transformers(
    tmp_path: Path, make: Callable[[], Any], kind: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    model = PromptableModel(make()).eval()
    save_promptable(model, tmp_path / "saved", history=HISTORY)
    again = load_promptable(str(tmp_path / "saved"))
    assert capfd.readouterr() == ("", "")
    assert torch.equal(answers(again), answers(model))
    assert again.history == HISTORY
    assert again.config.plain
    assert torch.equal(
        answers(PromptableModel(kind.from_pretrained(tmp_path / "saved")).eval()), answers(model)
    )


@pytest.mark.parametrize("make", [make_sam, make_sam2])
@pytest.mark.parametrize("config", [PromptableConfig(6), PromptableConfig(5, granularity=True)])
def test_new_parts_are_kept(
    tmp_path: Path, make: Callable[[], Any], config: PromptableConfig
) -> None:
    model = PromptableModel(make(), config, seed=3).eval()
    save_promptable(model, tmp_path / "saved", history=HISTORY)
    again = load_promptable(str(tmp_path / "saved"))
    assert again.config == config
    assert again.history == HISTORY
    assert again.identity.startswith("sha256:")
    assert torch.equal(answers(again), answers(model))
    assert len({path.stat().st_mode for path in (tmp_path / "saved").iterdir()}) == 1


def test_transformers_refuses_a_model_with_new_parts(tmp_path: Path) -> None:
    save_promptable(PromptableModel(make_sam(), PromptableConfig(6)), tmp_path)
    with pytest.raises(OSError, match="no file named"):
        SamModel.from_pretrained(tmp_path)


def test_adapters_are_merged_into_what_is_saved(tmp_path: Path) -> None:
    model = PromptableModel(make_sam()).eval()
    add_lora(model.network, rank=2)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(".up"):
                parameter.fill_(0.05)
    before = answers(model)
    save_promptable(model, tmp_path / "saved")
    assert torch.equal(answers(model), before)  # stays as it is
    assert_close(answers(load_promptable(str(tmp_path / "saved"))), before, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("granularity", [False, True])
def test_other_weights_can_be_saved(tmp_path: Path, granularity: bool) -> None:
    model = PromptableModel(make_sam(), PromptableConfig(granularity=granularity)).eval()
    other = {name: tensor * 0.5 for name, tensor in model.state_dict().items()}
    save_promptable(model, tmp_path / "saved", weights=other)
    saved = load_promptable(str(tmp_path / "saved")).state_dict()
    assert all(torch.equal(saved[name], tensor) for name, tensor in other.items())


@pytest.mark.parametrize(
    ("mistreat", "message"),
    [
        (lambda f: (f / "config.json").unlink(), "config.json: no such file"),
        (lambda f: (f / "config.json").write_text("{"), "config.json: cannot be read"),
        (lambda f: (f / "config.json").write_text('{"model_type": "bert"}'), "type 'bert'"),
        (
            lambda f: (f / "unsam.json").write_text('{"version": 9}'),
            "version 9, but this program reads version 1",
        ),
        (
            lambda f: (f / "unsam.json").write_text("{}"),
            "masks_per_prompt or granularity is missing",
        ),
        (lambda f: (f / "promptable.safetensors").write_bytes(b"x"), "is a text; a checkpoint"),
    ],
)
def test_a_damaged_folder_is_refused(
    tmp_path: Path, mistreat: Callable[[Path], Any], message: str
) -> None:
    save_promptable(PromptableModel(make_sam(), PromptableConfig(4)), tmp_path)
    mistreat(tmp_path)
    with pytest.raises(CheckpointError, match=message):
        load_promptable(str(tmp_path))


def test_a_folder_of_another_network_is_refused(tmp_path: Path) -> None:
    save_promptable(PromptableModel(make_sam()), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["mask_decoder_config"]["num_multimask_outputs"] = 4
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        CheckpointError, match=r"weights do not fit the model: .* with a different shape"
    ):
        load_promptable(str(tmp_path))


def test_new_parts_are_added_once() -> None:
    plain = PromptableModel(make_sam())
    plain.identity = "x"
    config = PromptableConfig(6, granularity=True)
    more = with_parts(plain, config, seed=0)
    assert more.config == config
    assert more.identity == "x"
    assert with_parts(more, config, seed=1) is more
    assert with_parts(plain, PromptableConfig(), seed=0) is plain
    with pytest.raises(UsageError, match="6 masks per prompt and granularity, not 3 masks"):
        with_parts(more, PromptableConfig(), seed=0)
