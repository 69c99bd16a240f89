"""What `evaluate` can be told; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from unsam_cli.settings import Settings, setting

Protocol = Literal["whole-image", "point"]
Match = Literal["id", "file-name"]


@dataclass(frozen=True)
class EvaluateSettings(Settings):
    """What is measured."""

    protocol: Protocol = setting(
        "whole-image",
        "All masks of an image, ranked by score; or the answers to prompts.",
        choices=get_args(Protocol),
    )
    max_dets: tuple[int, ...] = setting(
        (1, 10, 100, 1000),
        "Predictions kept per image, for AR; AP is that of the largest.",
        least=1,
        metavar="N,...",
    )
    by: str | None = setting(
        None, "Metrics also for each value of a key of the ground truth.", metavar="KEY"
    )
    match: Match = setting("id", "How images of the files are matched.", choices=get_args(Match))
    score_key: str = setting(
        "score", "What ranks predictions; none: their order in the file.", metavar="KEY"
    )
    bootstrap: int = setting(
        1000,
        "With several files of predictions: draws of images for the intervals of differences.",
        least=0,
    )
    seed: int = setting(0, "Seeds the draws.", least=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "max_dets", tuple(sorted(set(self.max_dets))))

    @property
    def ranked_by(self) -> str | None:
        """The key that ranks predictions; None ranks them by their order in the file."""
        return None if self.score_key == "none" else self.score_key
