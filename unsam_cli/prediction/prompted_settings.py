"""How to ask a promptable model; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field

from unsam_cli.errors import UsageError
from unsam_cli.sam.settings import AutomaticConfig

Click = tuple[float, float, int]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class PromptedSettings:
    """What a promptable model is asked about every image; without prompts, for all its masks.

    Parameters
    ----------
    points : tuple of (x, y, label)
        One prompt of these clicks for every image, in pixels; with a box, they belong to it.
    boxes : tuple of (x0, y0, x1, y1)
        A prompt each, for every image.
    prompts : str, optional
        A file of prompts, one JSON object a line; ``-`` is standard input.
    prompts_from : str, optional
        A masks file; its masks are clicked, each at its centre. ``-`` is standard input.
    granularity : float, optional
        How fine the masks shall be, where a prompt does not say so itself.
    clicks : int, optional
        Click on with `prompts_from`, as a user would, until a mask is good or so many clicks are
        made.
    approximate : bool
        Find the centres with the distance that UnSAM's evaluation took.
    automatic : AutomaticConfig
        The search for all masks.
    max_masks : int
        Most masks that the search keeps, the best.
    dtype : {"float32", "bfloat16", "float16"}
        Precision of the image encoder; prompts and masks are always computed in float32.

    Raises
    ------
    UsageError
        What does not go together.
    """

    points: tuple[Click, ...] = ()
    boxes: tuple[Box, ...] = ()
    prompts: str | None = None
    prompts_from: str | None = None
    granularity: float | None = None
    clicks: int | None = None
    approximate: bool = False
    automatic: AutomaticConfig = field(default_factory=AutomaticConfig)
    max_masks: int = 1000
    dtype: str = "float32"

    def __post_init__(self) -> None:
        given = {
            "--points and --boxes": bool(self.points or self.boxes),
            "--prompts": self.prompts is not None,
            "--prompts-from": self.prompts_from is not None,
        }
        named = [name for name, there in given.items() if there]
        if len(named) > 1:
            raise UsageError(f"{' or '.join(named)}: prompts come from one place only")
        if self.points and len(self.boxes) > 1:
            raise UsageError("points go with one box: write several prompts into a --prompts FILE")
        for name, there in (("--clicks", self.clicks), ("--kornia-approx", self.approximate)):
            if there and self.prompts_from is None:
                raise UsageError(f"{name} needs --prompts-from, masks to click")
        if self.clicks and self.approximate:
            raise UsageError("--clicks takes exact centres: leave out --kornia-approx")

    @property
    def prompted(self) -> bool:
        """Whether there are prompts."""
        return bool(self.points or self.boxes or self.prompts or self.prompts_from)
