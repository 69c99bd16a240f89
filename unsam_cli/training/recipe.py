"""How a whole-image segmenter is trained, apart from the loop; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from unsam_cli.errors import UsageError

PAPER_CROP = 1024
PAPER_MAX_MASKS = 500
PAPER_POINTS = 112 * 112


@dataclass(frozen=True)
class LossSettings:
    """Losses of Mask2Former, class-agnostic; the defaults are the published ones.

    Parameters
    ----------
    class_weight, mask_weight, dice_weight : float
        Weights of the losses, and of the costs by which masks are matched to queries.
    no_object_weight : float
        Weight of a query without a mask in the cross entropy of classes.
    points : int
        Points at which masks are compared.
    oversample, importance : float
        See :func:`~unsam_cli.training.points.uncertain_points`.
    drop_loss : float, optional
        Matched pairs whose soft IoU is not above it have no mask loss (DropLoss).
    """

    class_weight: float = 2.0
    mask_weight: float = 5.0
    dice_weight: float = 5.0
    no_object_weight: float = 0.1
    points: int = PAPER_POINTS
    oversample: float = 3.0
    importance: float = 0.75
    drop_loss: float | None = None


@dataclass(frozen=True)
class DataSettings:
    """How samples are made; the defaults are the published ones.

    Parameters
    ----------
    crop : int
        Side of the square that the network sees, pixels.
    max_masks : int
        Most masks of an image, a uniform sample of them; 0 takes all.
    flip : float
        Probability of exchanging left and right.
    jitter : (float, float), optional
        Large-scale jitter: an image is resized to fit into a square of `crop` times a uniform
        random number of this range. Without it, images keep their size.
    copy_paste : float
        Probability of pasting objects of another image.
    empty_images : {"skip", "background"}
        Images without masks are left out, or all of them is background.
    on_error : {"fail", "skip"}
        What an image that cannot be read does: end the run, or be replaced by another.
    """

    crop: int = PAPER_CROP
    max_masks: int = PAPER_MAX_MASKS
    flip: float = 0.5
    jitter: tuple[float, float] | None = None
    copy_paste: float = 0.0
    empty_images: Literal["skip", "background"] = "skip"
    on_error: Literal["fail", "skip"] = "fail"

    def __post_init__(self) -> None:
        if self.crop < 1 or self.max_masks < 0:
            raise UsageError("crop must be positive and max_masks not negative")
        if self.jitter is not None and not 0 < self.jitter[0] <= self.jitter[1]:
            raise UsageError(f"jitter must be two scales, the smaller first, not {self.jitter}")


@dataclass(frozen=True)
class ParameterSettings:
    """How fast which weights learn; the defaults are the published ones.

    Parameters
    ----------
    backbone_lr_scale : float
        Learning rate of the backbone, relative to that of the rest.
    weight_decay : float
        Of all weights but those of normalisations and embeddings.
    """

    backbone_lr_scale: float = 0.1
    weight_decay: float = 0.05


@dataclass(frozen=True)
class Recipe:
    """Everything about a training but the network and the loop."""

    data: DataSettings = field(default_factory=DataSettings)
    losses: LossSettings = field(default_factory=LossSettings)
    parameters: ParameterSettings = field(default_factory=ParameterSettings)
