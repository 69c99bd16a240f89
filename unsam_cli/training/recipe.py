"""Settings of whole-image training, except the training loop; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from unsam_cli.errors import UsageError
from unsam_cli.settings import Settings, crowds_setting, setting

PAPER_CROP = 1024
PAPER_MAX_MASKS = 500
PAPER_POINTS = 112 * 112

loss = partial(setting, group="Losses")
sample = partial(setting, group="Samples")
training = partial(setting, group="Training")


@dataclass(frozen=True)
class LossSettings(Settings):
    """Settings of the class-agnostic losses of Mask2Former; the defaults are the published ones.

    The costs of matching queries to masks have the same weights.

    Parameters
    ----------
    oversample, importance : float
        See :func:`~unsam_cli.training.points.uncertain_points`.
    """

    class_weight: float = loss(2.0, "Weight of the cross-entropy of classes.")
    mask_weight: float = loss(5.0, "Weight of the per-pixel cross-entropy.")
    dice_weight: float = loss(5.0, "Weight of the dice loss.")
    no_object_weight: float = loss(
        0.1, "Weight of queries without a mask in the cross-entropy of classes."
    )
    points: int = loss(
        PAPER_POINTS, "Number of sampled points per mask at which the losses are computed.", least=1
    )
    oversample: float = 3.0
    importance: float = 0.75
    drop_loss: float | None = loss(
        None,
        "Ignore the mask losses of matched pairs whose soft IoU is at most this; CutLER "
        "uses 0.01.  [default: off]",
        least=0,
        most=1,
        metavar="IOU",
    )


@dataclass(frozen=True)
class DataSettings(Settings):
    """Settings of the training samples; the defaults are the published ones.

    Parameters
    ----------
    scale : float
        Factor by which images are resized; jitter is then relative to it and not to the crop. 0 is
        off.
    """

    crop: int = sample(PAPER_CROP, "Side of the square training crops, in pixels.", least=1)
    jitter: tuple[float, float] | None = sample(
        None,
        "Large-scale jitter: resize images to fit a square of side CROP times a random "
        "factor from this range; none keeps their size. With --scale, resize by it times the "
        "factor.  [default: none]",
        metavar="MIN,MAX|none",
        above=0,
    )
    flip: float = sample(0.5, "Probability of a horizontal flip.", least=0, most=1)
    turn: float = sample(
        0.0, "Probability of a rotation by 90, 180 or 270 degrees.", least=0, most=1
    )
    colour: float = sample(
        0.0,
        "Probability of colour jitter: channels permuted, grey, negative, gamma, contrast.",
        least=0,
        most=1,
    )
    copy_paste: float = sample(
        0.0, "Probability of pasting objects from another image.", least=0, most=1
    )
    nms_iou: float = sample(
        1.0,
        "Leave out masks whose IoU with a mask of higher score exceeds this; 1 keeps all.",
        least=0,
        most=1,
        metavar="IOU",
    )
    best: int = sample(
        0,
        "Number of masks per image, those of the highest score; 0 uses all.",
        least=0,
        metavar="N",
    )
    min_area: int = sample(0, "Minimum area of a mask, in pixels.", least=0, metavar="PIXELS")
    max_area: float = sample(
        1.0,
        "Maximum area of a mask, as a fraction of the image.",
        above=0,
        most=1,
        metavar="FRACTION",
    )
    max_masks: int = sample(
        PAPER_MAX_MASKS, "Maximum number of masks per image, drawn at random; 0 uses all.", least=0
    )
    crowds: str = crowds_setting(group="Samples")
    empty_images: Literal["skip", "background"] = sample(
        "skip",
        "skip: ignore images without masks. background: train on them as empty images.",
        choices=("skip", "background"),
    )
    on_error: Literal["fail", "skip"] = setting(
        "fail",
        "fail: stop at the first bad image. skip: replace bad images by others, leave out bad "
        "masks, list both in OUTPUT.errors.jsonl, and exit with 3.",
        choices=("fail", "skip"),
        group="Run",
        results=False,
    )

    scale: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.jitter is not None and self.jitter[0] > self.jitter[1]:
            raise UsageError(f"jitter must be two scales, the smaller first, not {self.jitter}")


@dataclass(frozen=True)
class ParameterSettings(Settings):
    """Learning rate of the backbone, and weight decay; the defaults are the published ones."""

    backbone_lr_scale: float = training(
        0.1, "Learning rate of the backbone, relative to the rest of the network.", above=0
    )
    weight_decay: float = training(
        0.05, "Weight decay of all weights except normalisations and embeddings.", least=0
    )


@dataclass(frozen=True)
class Recipe:
    """All settings of a training except the network and the training loop."""

    data: DataSettings = field(default_factory=DataSettings)
    losses: LossSettings = field(default_factory=LossSettings)
    parameters: ParameterSettings = field(default_factory=ParameterSettings)
