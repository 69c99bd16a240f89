"""Settings of fine-tuning a promptable model, except the loop; imports nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from unsam_cli.sam.settings import PromptableConfig
from unsam_cli.settings import REQUIRED, Settings, crowds_setting, setting
from unsam_cli.training.settings import (
    images_setting,
    reading,
    validate_images_setting,
    validate_setting,
)

LOSS_WEIGHTS = {"bce": (5.0, 5.0), "focal": (20.0, 1.0)}
"""Weights of the per-pixel loss and of the dice loss, as in UnSAM and in SAM."""

network = partial(setting, group="Network")
sample = partial(setting, group="Samples")
loss = partial(setting, group="Losses")


@dataclass(frozen=True)
class TuneInputs(Settings):
    """Input files of `finetune-sam`.

    Parameters
    ----------
    annotations : sequence of str
        Masks files with disjoint sets of images; one may be ``-``, standard input.
    """

    annotations: Sequence[str]
    images: Path = images_setting()
    checkpoint: str = reading(
        REQUIRED,
        "Model to start from: a folder or hub id of SAM or SAM 2, an original checkpoint, or "
        "an earlier run.",
        metavar="SAM",
    )
    ground_truth: str | None = reading(
        None, "Also train on these masks (UnSAM+).", metavar="GT.json"
    )
    union_iou: float = setting(
        0.02,
        "With --ground-truth: drop masks of ANNOTATIONS whose IoU with it is higher.",
        group="Input",
        least=0,
        most=1,
    )
    features: Path | None = reading(
        None,
        "Precomputed image embeddings from extract-features --backbone sam; the image encoder "
        "must stay frozen.",
        metavar="FEATURES.h5",
    )
    validate: str | None = validate_setting()
    validate_images: Path | None = validate_images_setting()


@dataclass(frozen=True)
class TuneSettings(PromptableConfig):
    """Parts added to SAM, and which parts are trained; new parts are always trained."""

    train: Literal["decoder", "lora", "all"] = network(
        "decoder",
        "What to train besides new parts: the mask decoder, low-rank adapters of the "
        "attention layers (lora), or everything.",
        choices=("decoder", "lora", "all"),
    )
    lora_rank: int = network(8, "Rank of the low-rank adapters.", least=1)
    lora_in: Literal["decoder", "both"] = network(
        "both",
        "Put adapters in the mask decoder only, or also in the image encoder.",
        choices=("decoder", "both"),
    )

    @property
    def parts(self) -> PromptableConfig:
        """The parts that are added to SAM."""
        return PromptableConfig(self.masks_per_prompt, self.granularity)

    @property
    def encoder_learns(self) -> bool:
        """Whether the image encoder is trained."""
        return self.train == "all" or (self.train == "lora" and self.lora_in == "both")


@dataclass(frozen=True)
class PromptSettings(Settings):
    """Settings of the prompts per image and of the losses; the defaults are UnSAM's.

    The masks of an image are shuffled and repeated until there are `clicks` of them.

    References
    ----------
    X. Wang et al., "Segment Anything without Supervision" (2024), section 3.3; Kirillov et al.,
    "Segment Anything" (2023), appendix A, for boxes, corrections and the focal loss.
    """

    crowds: str = crowds_setting(group="Samples")
    clicks: int = sample(60, "Number of prompts per image.", least=1)
    boxes: float = sample(
        0.0,
        "Fraction of prompts that are boxes (with small random shifts) instead of clicks.",
        least=0,
        most=1,
    )
    corrections: int = sample(
        0,
        "Maximum number of correction clicks per prompt, each where the previous mask was wrong.",
        least=0,
    )
    single_mask: bool = sample(
        False,
        "Accept only the clicked mask as the answer, as SAM does, not every mask that "
        "contains the click.",
    )
    flip: float = sample(
        0.5, "Probability of a horizontal flip; never with --features.", least=0, most=1
    )
    max_masks: int = sample(
        0, "Maximum number of masks per image, drawn at random; 0 uses all.", least=0
    )
    mask_loss: Literal["bce", "focal"] = loss(
        "bce",
        "Per-pixel loss beside the dice loss; their weights are 5 and 5 with bce, 20 and 1 "
        "with focal.",
        choices=tuple(LOSS_WEIGHTS),
    )
    points: int = loss(
        112 * 112, "Number of sampled points per mask at which the losses are computed.", least=1
    )
    chunk: int = setting(
        16,
        "Prompts computed together; more need more memory.",
        group="Compute",
        least=1,
    )
    on_error: Literal["fail", "skip"] = setting(
        "fail",
        "fail: stop at the first bad image. skip: replace bad images by others, leave out bad "
        "masks, list both in OUTPUT.errors.jsonl, and exit with 3.",
        choices=("fail", "skip"),
        group="Run",
        results=False,
    )


DEFAULT = "small"

PRESETS: dict[str, dict[str, Any]] = {
    # 60 clicks per image, each with all masks that contain it, as published for UnSAM.
    "paper": {"masks_per_prompt": 6, "train": "all", "epochs": 8},
    # LR, schedule, decay, epochs, batch and numbers of prompts as published for UnSAMv2.
    "small": {
        "train": "lora",
        "lora_in": "decoder",
        "clicks": 30,
        "corrections": 3,
        "epochs": 5,
        "batch_size": 2,
        "lr": 1e-4,
        "schedule": "cosine",
        "lr_floor": 0.1,
        "weight_decay": 1e-5,
        "clip": 0.1,
    },
    "tiny": {
        "train": "decoder",
        "clicks": 16,
        "points": 1024,
        "steps": 300,
        "batch_size": 2,
        "lr": 1e-3,
        "schedule": "cosine",
        "warmup": 10,
        "clip": 1.0,
        "checkpoint_every": 100,
    },
}
"""Presets of ``unsam finetune-sam``: values of options by the names of their parameters."""
