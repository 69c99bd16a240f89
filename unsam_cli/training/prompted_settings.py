"""How a promptable segmenter is fine-tuned, apart from the loop; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from unsam_cli.errors import UsageError
from unsam_cli.sam.settings import SAM_MASKS, PromptableConfig

LOSS_WEIGHTS = {"bce": (5.0, 5.0), "focal": (20.0, 1.0)}
"""Weights of the loss of pixels and of the dice loss: of UnSAM, and of SAM."""


@dataclass(frozen=True)
class TuneSettings:
    """What is trained of which network.

    Parameters
    ----------
    masks_per_prompt, granularity
        See :class:`~unsam_cli.sam.settings.PromptableConfig`.
    train : {"decoder", "lora", "all"}
        The mask decoder, low-rank adapters, or everything; and always the new parts.
    lora_rank : int
        Of the adapters.
    lora_in : {"decoder", "both"}
        Where there are adapters: in the mask decoder alone, or in the image encoder, too.
    """

    masks_per_prompt: int = SAM_MASKS
    granularity: bool = False
    train: Literal["decoder", "lora", "all"] = "decoder"
    lora_rank: int = 8
    lora_in: Literal["decoder", "both"] = "both"

    @property
    def parts(self) -> PromptableConfig:
        """What is added to SAM."""
        return PromptableConfig(self.masks_per_prompt, self.granularity)

    @property
    def encoder_learns(self) -> bool:
        """Whether the image encoder changes."""
        return self.train == "all" or (self.train == "lora" and self.lora_in == "both")


@dataclass(frozen=True)
class PromptSettings:
    """What is asked about an image, and how answers are judged; the defaults are UnSAM's.

    Parameters
    ----------
    clicks : int
        Prompts of an image. Its masks are shuffled and repeated until there are so many.
    boxes : float
        Fraction of prompts that are boxes around the mask, a little off, instead of clicks.
    corrections : int
        Most further clicks of a prompt, each where the answer before was wrong.
    single_mask : bool
        The target of a click is the mask that was clicked, as SAM has it, not all that contain it.
    mask_loss : {"bce", "focal"}
        Loss of pixels beside the dice loss.
    points : int
        Points at which masks are compared.
    chunk : int
        Prompts that are answered together: memory grows with it.
    flip : float
        Probability of exchanging left and right.
    max_masks : int
        Most masks of an image, a uniform sample of them; 0 takes all.
    on_error : {"fail", "skip"}
        What an image that cannot be read does: end the run, or be replaced by another.

    References
    ----------
    X. Wang et al., "Segment Anything without Supervision" (2024), section 3.3; Kirillov et al.,
    "Segment Anything" (2023), appendix A, for boxes, corrections and the focal loss.
    """

    clicks: int = 60
    boxes: float = 0.0
    corrections: int = 0
    single_mask: bool = False
    mask_loss: Literal["bce", "focal"] = "bce"
    points: int = 112 * 112
    chunk: int = 16
    flip: float = 0.5
    max_masks: int = 0
    on_error: Literal["fail", "skip"] = "fail"

    def __post_init__(self) -> None:
        if self.clicks < 1 or self.points < 1 or self.chunk < 1:
            raise UsageError("clicks, points and chunk are at least 1")
        if self.corrections < 0 or self.max_masks < 0:
            raise UsageError("corrections and max_masks cannot be negative")
        if not 0 <= self.boxes <= 1 or not 0 <= self.flip <= 1:
            raise UsageError("boxes and flip are fractions, from 0 to 1")
        if self.mask_loss not in LOSS_WEIGHTS:
            raise UsageError(f"unknown loss {self.mask_loss!r}; one of {', '.join(LOSS_WEIGHTS)}")


DEFAULT = "small"

PRESETS: dict[str, dict[str, Any]] = {
    # 60 clicks an image, each with all masks that contain it, as published for UnSAM.
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
