"""Settings of `evaluate`; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from unsam_cli.run.output import STDOUT
from unsam_cli.run.settings import RunSettings, writing
from unsam_cli.settings import Settings, crowds_setting, setting

Protocol = Literal["whole-image", "point"]
Match = Literal["id", "file-name"]
MAX_CLICKS = 20
"""Most clicks simulated for a mask; this is its NoC if the IoU is still too low."""


@dataclass(frozen=True)
class EvaluateSettings(Settings):
    """Which metrics are computed, and how."""

    protocol: Protocol = setting(
        "whole-image",
        "whole-image: all masks of an image, ranked by score. point: answers to prompts.",
        choices=get_args(Protocol),
    )
    max_dets: tuple[int, ...] = setting(
        (1, 10, 100, 1000),
        "Numbers of predictions per image at which AR is measured; AP uses the largest.",
        least=1,
        metavar="N,...",
    )
    by: str | None = setting(
        None, "Also report metrics per value of a key of the ground truth.", metavar="KEY"
    )
    match: Match = setting("id", "How to match images between files.", choices=get_args(Match))
    crowds: str = crowds_setting()
    score_key: str = setting(
        "score", "Key that ranks predictions; none ranks by file order.", metavar="KEY"
    )
    bootstrap: int = setting(
        1000,
        "With several prediction files: bootstrap samples for confidence intervals of differences.",
        least=0,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "max_dets", tuple(sorted(set(self.max_dets))))

    @property
    def ranked_by(self) -> str | None:
        """The key that ranks predictions; None ranks them by their order in the file."""
        return None if self.score_key == "none" else self.score_key


@dataclass(frozen=True)
class ReportRun(RunSettings):
    """Settings of a run whose report is an output only if the user asks for it."""

    output: str = writing(
        STDOUT,
        "Report as JSON; - is standard output.",
        short="-o",
        metavar="PATH",
        default_text="only the table",
    )
