"""Settings of figures; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

from unsam_cli.errors import UsageError
from unsam_cli.settings import Settings, setting

BEST, WORST, RANDOM = "best", "worst", "random"


@dataclass(frozen=True)
class FigureSettings(Settings):
    """Which photographs a figure shows, and how many beside each other.

    Raises
    ------
    UsageError
        `select` is neither a way to choose nor a list of ids.
    """

    columns: int = setting(
        6, "Number of photographs per row of the figure.", group="Method", least=1, results=False
    )
    select: str = setting(
        RANDOM,
        "Photographs in the figure: as many as columns, or those with these ids. best and worst "
        "rank by the recall at an IoU over 0.5, or by the mean score without --ground-truth.",
        group="Method",
        metavar="best|worst|random|ID,...",
        results=False,
    )

    def __post_init__(self) -> None:
        """Check the values."""
        Settings.__post_init__(self)
        _ = self.ids

    @property
    def ids(self) -> list[int] | None:
        """Ids of the chosen images; None for a way to choose."""
        if self.select in (BEST, WORST, RANDOM):
            return None
        try:
            return [int(word) for word in self.select.split(",")]
        except ValueError:
            raise UsageError(
                f"--select {self.select}: give {BEST}, {WORST}, {RANDOM}, or ids of images with "
                "commas between them"
            ) from None
