"""Settings of prediction; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

from unsam_cli.errors import UsageError
from unsam_cli.run.settings import DTYPES, Compute
from unsam_cli.settings import Settings, setting


@dataclass(frozen=True)
class PredictCompute(Compute):
    """Where and how a network of `predict` computes."""

    dtype: str = setting(
        "auto",
        "Precision of the network; auto is float32, but for CondInst bfloat16 where the device "
        "has it.",
        choices=("auto", *DTYPES),
        group="Compute",
    )


@dataclass(frozen=True)
class KeptMasks(Settings):
    """Which masks are kept."""

    max_masks: int = setting(
        1000,
        "Maximum number of masks, those with the best class scores; per tile with --tile.",
        least=1,
    )
    min_score: float | None = setting(
        None,
        "Minimum score of a mask.  [default: 0; 0.88 for promptable models without prompts]",
        least=0,
        most=1,
    )
    nms: float | None = setting(
        None,
        "Drop masks whose IoU with a better mask is higher.  [default: keep all; 0.7 "
        "between boxes for promptable models without prompts]",
        metavar="IOU",
        least=0,
        most=1,
    )


@dataclass(frozen=True)
class TileSettings(Settings):
    """Tiles that large images are cut into.

    Raises
    ------
    UsageError
        A number is outside its range.
    """

    tile: int | None = setting(
        None,
        "Split larger images into tiles of SIZE x SIZE pixels at full resolution and merge "
        "the masks.",
        metavar="SIZE",
        least=1,
    )
    overlap: int | None = setting(
        None,
        "Overlap of neighbouring tiles, in pixels.  [default: a quarter of a tile]",
        metavar="PIXELS",
        least=1,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.overlap is not None and self.tile is None:
            raise UsageError("--overlap needs --tile")
        if self.tile is not None and not 0 < self.shared < self.tile:
            raise UsageError(
                f"tiles of {self.tile} pixels cannot overlap by {self.shared}; give at "
                "least 1 and less than a tile"
            )

    @property
    def shared(self) -> int:
        """Least number of pixels that neighbouring tiles share, along one axis."""
        return (self.tile or 0) // 4 if self.overlap is None else self.overlap


@dataclass(frozen=True)
class PredictSettings(KeptMasks, TileSettings):
    """Settings of prediction with a whole-image segmenter.

    Parameters
    ----------
    min_score : float
        See `KeptMasks`.
    dtype, batch_size
        See `PredictCompute`. A CPU takes one input at a time.

    Raises
    ------
    UsageError
        A number is outside its range.
    """

    min_score: float = 0.0
    score_window: tuple[float, float] | None = setting(
        None,
        "Keep only queries whose class score is above LOW and at most HIGH, for self-training.",
        metavar="LOW,HIGH",
    )
    size: tuple[int, int] | None = setting(
        None,
        "Size of the network's input: the short side, and the limit of the long side, in "
        "pixels.  [default: the checkpoint's, usually 1024,2048]",
        metavar="SHORT,LONGEST",
        least=1,
    )
    scale: float | None = setting(
        None,
        "Factor by which images are resized for the network, up to LONGEST.  [default: the "
        "checkpoint's, if it has one]",
        metavar="F",
        above=0,
    )
    # Compute declares them as options.
    dtype: str = PredictCompute.dtype
    batch_size: int = PredictCompute.batch_size

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.score_window is not None and not self.score_window[0] < self.score_window[1]:
            raise UsageError(
                f"a score window of {self.score_window[0]},{self.score_window[1]} is empty; "
                "give LOW,HIGH"
            )
        if self.size is not None and self.size[0] > self.size[1]:
            raise UsageError(
                f"a size of {self.size[0]},{self.size[1]} is not SHORT,LONGEST; give the "
                "shorter side first"
            )
