"""Networks inside training checkpoints, found by the names of their weights."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from unsam_cli.backbones.wrappers import unwrap

NAMES = ["cls_token", "patch_embed.proj.weight", "blocks.0.norm1.weight", "blocks.1.norm1.weight"]
State = dict[str, Any]


def state(value: str = "right", prefix: str = "") -> State:
    return {f"{prefix}{name}": value for name in NAMES}


def chunked(prefix: str = "") -> State:
    """Names of FSDP, as DINOv2 saves them: blocks in groups."""
    return {k.replace("blocks.", "blocks.0."): v for k, v in state(prefix=prefix).items()}


CASES: dict[str, Callable[[], State]] = {
    "plain": state,
    "model.": lambda: state(prefix="model."),
    "encoder.": lambda: state(prefix="encoder.") | {"decoder.x.weight": 1},
    "teacher.backbone. in model": lambda: {
        "model": state("wrong", "student.backbone.") | state(prefix="teacher.backbone."),
        "epoch": 3,
    },
    "teacher_backbone.": lambda: (
        state("wrong", "student_backbone.") | state(prefix="teacher_backbone.")
    ),
    "FSDP": chunked,
    "FSDP of a teacher": lambda: {"teacher": chunked("backbone._fsdp_wrapped_module.")},
    "MoCo": lambda: {
        "state_dict": state("wrong", "module.momentum_encoder.")
        | state(prefix="module.base_encoder.")
        | {"module.predictor.0.weight": 1}
    },
    "average": lambda: {"net": state("wrong"), "net_ema": state()},
    "Lightning": lambda: {"state_dict": state(prefix="model.backbone."), "optimizer": {"a": {}}},
    "compiled": lambda: state(prefix="module._orig_mod."),
    "two wrappers": lambda: {"checkpoint": {"network": state(prefix="net.vit.")}},
}


@pytest.mark.parametrize("name", CASES)
def test_the_network_is_found(name: str) -> None:
    found = unwrap(CASES[name](), NAMES)
    assert {k: found.get(k) for k in NAMES} == state()


def test_what_was_taken_is_said(caplog: pytest.LogCaptureFixture) -> None:
    unwrap({"model": state(prefix="teacher.backbone.")}, NAMES, "dino.pth")
    assert caplog.messages == [
        "dino.pth: took the network under key 'model' and prefix 'teacher.backbone.'"
    ]
    caplog.clear()
    with caplog.at_level(logging.INFO):
        unwrap({"model": state()}, NAMES)
    assert not caplog.messages


def test_what_fits_nowhere_is_left_to_the_check() -> None:
    content = {"model": {"x.weight": 1}, "epoch": 1}
    assert unwrap(content, NAMES) == {"x.weight": 1}
    recursive: State = {}
    recursive["model"] = recursive
    assert unwrap(recursive, NAMES) == {"model": recursive}
