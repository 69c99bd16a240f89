"""Settings of prediction with a promptable model; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from unsam_cli.errors import UsageError
from unsam_cli.evaluation.settings import MAX_CLICKS
from unsam_cli.prediction.settings import TileSettings
from unsam_cli.sam.settings import AutomaticConfig
from unsam_cli.settings import Settings, crowds_setting, setting

Click = tuple[float, float, int]
Box = tuple[float, float, float, float]

prompt = partial(setting, group="Prompts")


@dataclass(frozen=True)
class PromptedSettings(Settings):
    """Prompts for every image; without prompts, the model searches for all masks.

    Parameters
    ----------
    points : tuple of (x, y, label)
        Clicks in pixels that are one prompt for every image; combined with the box, if any.
    boxes : tuple of (x0, y0, x1, y1)
        Boxes in pixels; each is a prompt for every image.
    prompts : str, optional
        File of prompts, one JSON object per line; ``-`` is standard input.
    prompts_from : str, optional
        Masks file; each of its masks is clicked at its centre. ``-`` is standard input.
    automatic : AutomaticConfig
        The search for all masks.
    tiles : TileSettings
        Tiles of large images, for the search and for prompts.
    max_masks : int
        Maximum number of masks that the search keeps, the best first; per tile, if there are any.
    dtype : {"float32", "bfloat16", "float16"}
        Precision of the image encoder; prompts and masks are always computed in float32.

    Raises
    ------
    UsageError
        Options cannot be combined.
    """

    points: tuple[Click, ...] = ()
    boxes: tuple[Box, ...] = ()
    prompts: str | None = None
    prompts_from: str | None = None
    clicks: int | None = prompt(
        None,
        "With --prompts-from: place further clicks where the mask is most wrong, until its "
        "IoU reaches 0.9 or the number of clicks reaches this limit.  [default: one click, "
        "no count of clicks]",
        least=1,
        most=MAX_CLICKS,
    )
    approximate: bool = prompt(
        False,
        "With --prompts-from: find mask centres with the approximate distance transform of "
        "UnSAM's evaluation.",
        option="kornia-approx",
    )
    crowds: str = crowds_setting(group="Prompts")
    granularity: float | None = prompt(
        None,
        "Granularity of the masks, from 0.1 (finest) to 1 (coarsest); one mask per prompt. "
        "The checkpoint must be trained with --granularity.",
        least=0.1,
        most=1,
    )
    automatic: AutomaticConfig = field(default_factory=AutomaticConfig)
    tiles: TileSettings = field(default_factory=TileSettings)
    max_masks: int = 1000
    dtype: str = "float32"

    def __post_init__(self) -> None:
        super().__post_init__()
        given = {
            "--points and --boxes": bool(self.points or self.boxes),
            "--prompts": self.prompts is not None,
            "--prompts-from": self.prompts_from is not None,
        }
        named = [name for name, there in given.items() if there]
        if len(named) > 1:
            raise UsageError(f"{' and '.join(named)} cannot be combined; give prompts in one way")
        if self.points and len(self.boxes) > 1:
            raise UsageError(
                "points can be combined with one box only: write several prompts to a "
                "--prompts FILE"
            )
        needing = {
            "--clicks": self.clicks,
            "--kornia-approx": self.approximate,
            "--crowds": self.crowds != "ignore",
        }
        for name, there in needing.items():
            if there and self.prompts_from is None:
                raise UsageError(f"{name} needs --prompts-from")
        if self.clicks and self.approximate:
            raise UsageError("--clicks uses exact centres: remove --kornia-approx")
        if self.clicks and self.tiles.tile is not None:
            raise UsageError("--clicks improves a mask of the whole image: remove --tile")

    @property
    def prompted(self) -> bool:
        """Whether there are prompts."""
        return bool(self.points or self.boxes or self.prompts or self.prompts_from)
