"""Adapters: nothing at first, merged at the end, and the only ones that learn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from sam_models import SIDE, make_sam, make_sam2, picture
from torch.testing import assert_close

from unsam_cli.errors import UsageError
from unsam_cli.sam.lora import Where, add_lora, merged_state
from unsam_cli.sam.model import PromptableModel, Train, trainable
from unsam_cli.sam.prompts import Prompts
from unsam_cli.sam.settings import PromptableConfig

pytestmark = pytest.mark.torch

PROMPTS = Prompts(torch.tensor([[[20.0, 30.0]], [[90.0, 70.0]]]), torch.tensor([[1], [1]]))
MAKERS = pytest.mark.parametrize("make", [make_sam, make_sam2])


def answer(model: PromptableModel, *, fold: bool = False) -> torch.Tensor:
    pixels = model.frame((SIDE, SIDE)).pixels(picture(SIDE, SIDE))[None]
    found = model.decode(model.embed(pixels), PROMPTS, fold=fold)
    return found.logits + found.scores[:, :, None, None]


@MAKERS
@pytest.mark.parametrize("fold", [False, True])
@torch.no_grad()
def test_adapters_change_nothing_at_first_and_are_merged_in_the_end(
    make: Callable[[], Any], fold: bool
) -> None:
    model = PromptableModel(make()).eval()
    before, names = answer(model, fold=fold), set(model.state_dict())
    count = add_lora(model.network, rank=3)
    assert count > 20
    assert torch.equal(answer(model, fold=fold), before)
    for name, parameter in model.named_parameters():
        if name.endswith(".up"):
            parameter.normal_(std=0.1, generator=torch.Generator().manual_seed(0))
    changed = answer(model, fold=fold)
    assert (changed - before).std() > 0.01 * before.std()
    merged = merged_state(model.state_dict())
    assert set(merged) == names
    plain = PromptableModel(make()).eval()
    plain.load_state_dict(merged)
    assert torch.equal(answer(plain, fold=fold), changed)


@pytest.mark.parametrize("where", ["decoder", "encoder", "both"])
def test_adapters_are_where_they_are_wanted(where: Where) -> None:
    network = make_sam()
    count = add_lora(network, rank=1, where=where)
    # 4 projections in 3 attentions of 2 layers and a last one; 2 in each of the encoder's 2 layers.
    assert count == {"decoder": 28, "encoder": 4, "both": 32}[where]


@MAKERS
def test_only_what_shall_learn_gets_gradients(make: Callable[[], Any]) -> None:
    def is_decoder(name: str) -> bool:
        return "mask_decoder." in name and not any(
            part in name for part in (".conv_s", "parametrizations")
        )

    def is_adapter(name: str) -> bool:
        return name.endswith((".up", ".down"))

    def is_new(name: str) -> bool:
        return name.startswith(("levels.", "granularity."))

    cases: dict[Train, Callable[[str], bool]] = {
        "decoder": lambda name: is_decoder(name) or is_new(name),
        "lora": lambda name: is_adapter(name) or is_new(name),
        "all": lambda name: not name.endswith("positional_embedding"),
    }
    for what, expected in cases.items():
        model = PromptableModel(make(), PromptableConfig(4, granularity=True))
        if what == "lora":
            add_lora(model.network, rank=2, where="both")
        trained = trainable(model, what)
        named = dict(model.named_parameters())
        assert {n for n, p in named.items() if p.requires_grad} == {n for n in named if expected(n)}
        assert len(trained) == sum(p.requires_grad for p in named.values())
        answer(model).square().sum().backward()  # type: ignore[no-untyped-call]
        touched = {n for n, p in named.items() if p.grad is not None and p.grad.any()}
        assert touched <= {n for n in named if expected(n)}
        assert len(touched) > 20


def test_one_step_moves_the_adapters_alone() -> None:
    model = PromptableModel(make_sam())
    add_lora(model.network, rank=2)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = torch.optim.SGD(trainable(model, "lora"), lr=1e-3)
    answer(model).square().mean().backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    moved = {n for n, t in model.state_dict().items() if not torch.equal(t, before[n])}
    assert moved
    assert all(name.endswith((".up", ".down")) for name in moved)


def test_there_must_be_something_to_train() -> None:
    with pytest.raises(UsageError, match="nothing to train"):
        trainable(PromptableModel(make_sam()), "lora")


def test_the_seed_makes_the_adapters() -> None:
    states = []
    for seed in (0, 0, 1):
        network = make_sam()
        add_lora(network, rank=2, seed=seed)
        states.append(
            torch.cat([p.flatten() for n, p in network.named_parameters() if "down" in n])
        )
    assert_close(states[0], states[1])
    assert not torch.equal(states[0], states[2])
