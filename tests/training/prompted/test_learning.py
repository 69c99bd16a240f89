"""A small random SAM learns what is in what, and to tell it by granularity."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from prompted_scenes import GRANULARITY, nested_scene, write_nested
from sam_models import make_sam

from unsam_cli.rle import encode, iou
from unsam_cli.run.provenance import Step
from unsam_cli.sam.loading import load_promptable
from unsam_cli.sam.promptable import Promptable
from unsam_cli.sam.session import Session
from unsam_cli.sam.settings import Prompt
from unsam_cli.training.prompted.settings import PromptSettings, TuneInputs, TuneSettings
from unsam_cli.training.prompted.stage import finetune_sam
from unsam_cli.training.prompted.validation import PromptedValidation
from unsam_cli.training.recipe import ParameterSettings
from unsam_cli.training.settings import TrainerSettings, TrainingRun

pytestmark = [pytest.mark.torch, pytest.mark.slow]

STEPS = 120
NEW = range(1000, 1008)
"""Scenes that were not trained on."""


def levels_by_granularity(model: Promptable) -> float:
    """Click where three masks lie on each other, ask for each; how often the right one is meant."""
    session, right = Session(model), []
    for seed in NEW:
        picture, masks = nested_scene(seed)
        session.set_image(picture)
        truth = [encode(mask) for mask in masks]
        rng = np.random.default_rng(seed)
        for finest in (2, 5):
            y, x = rng.choice(np.argwhere(masks[finest]), 4).T
            for place in zip(x.tolist(), y.tolist(), strict=True):
                asked = [Prompt((place,), (1,), granularity=g) for g in GRANULARITY]
                for level, answer in enumerate(session.ask(asked)):
                    (rle,) = answer.rles
                    right.append(int(iou([rle], truth)[0].argmax()) == finest - 2 + level)
    return float(np.mean(right))


def test_it_learns_a_hierarchy(tmp_path: Path) -> None:
    masks = write_nested(tmp_path, range(48))
    truth = write_nested(tmp_path, NEW, name="truth.json")
    make_sam(gain=1, frequency=0.5).save_pretrained(tmp_path / "sam")
    validation = PromptedValidation(truth, tmp_path / "images")
    assert validation(load_promptable(str(tmp_path / "sam"))).values["oracle"] < 0.3
    code = finetune_sam(
        TuneInputs([str(masks)], tmp_path / "images", str(tmp_path / "sam")),
        TuneSettings(granularity=True, train="all"),
        # Many clicks on few images: an image costs more than a click.
        PromptSettings(clicks=24, points=256, flip=0.0, chunk=24),
        ParameterSettings(backbone_lr_scale=1.0, weight_decay=0.0),
        TrainerSettings(
            steps=STEPS,
            batch_size=2,
            lr=5e-3,
            schedule="cosine",
            warmup=10,
            clip=1.0,
            device="cpu",
            jobs=0,
        ),
        TrainingRun(Step("finetune-sam", {}), tmp_path / "run"),
    )
    assert code == 0
    model = load_promptable(str(tmp_path / "run"))
    found = validation(model).values
    assert found["oracle"] >= 0.8
    assert found["graded"] >= 0.8
    assert levels_by_granularity(model) >= 0.8
