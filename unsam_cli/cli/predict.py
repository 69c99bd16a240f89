"""Options of ``unsam predict``, and the models they apply to; see :mod:`unsam_cli.cli.options`.

``@kept_options``     ``kept``: ``--max-masks --min-score --nms``, for all models
``@prompt_options``   ``prompts``: ``--points --boxes --prompts --prompts-from``
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import click

from unsam_cli.cli.bundle import bundle
from unsam_cli.cli.command import option
from unsam_cli.cli.options import files_option
from unsam_cli.cli.settings import settings_options
from unsam_cli.errors import UsageError
from unsam_cli.prediction.prompted.settings import PromptedSettings
from unsam_cli.prediction.settings import KeptMasks, PredictSettings, TileSettings
from unsam_cli.run.settings import Compute
from unsam_cli.sam.settings import AutomaticConfig
from unsam_cli.settings import declared_fields

ELSEWHERE = ["max_masks", "min_score", "nms", "tile", "overlap"]
"""Fields of `PredictSettings` that are options of promptable models, too."""
_SEARCHED = {"min_score": "min_score", "nms": "nms_iou"}
"""Options that the search for all masks shares, as its settings call them."""


def _lists(least: int, most: int) -> Any:
    """Make a callback that checks lists of numbers and joins them to one text."""

    def check(
        context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
    ) -> str | None:
        texts = " ".join(values).split()
        for text in texts:
            try:
                numbers = [float(part) for part in text.split(",")]
            except ValueError:
                numbers = []
            if not least <= len(numbers) <= most or not all(map(math.isfinite, numbers)):
                raise click.BadParameter(f"{text!r} is not {parameter.metavar}, in pixels")
            if least < len(numbers) and numbers[-1] not in (0, 1):
                raise click.BadParameter(f"{text!r}: a label is 1 (inside) or 0 (outside)")
        return " ".join(texts) or None

    return check


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


kept_options = settings_options("kept", KeptMasks, build=_given)
prompt_options = bundle(
    "prompts",
    _given,
    option(
        "--points",
        multiple=True,
        metavar="X,Y[,LABEL]",
        group="Prompts",
        callback=_lists(2, 3),
        help="A click in every image, in pixels; LABEL is 1 (default) on the object and 0 "
        "outside it. All clicks form one prompt.",
    ),
    option(
        "--boxes",
        multiple=True,
        metavar="X0,Y0,X1,Y1",
        group="Prompts",
        callback=_lists(4, 4),
        help="A box in every image, in pixels. Each box is one prompt; a single box can be "
        "combined with --points.",
    ),
    files_option(
        "--prompts", group="Prompts", help="File of prompts per image, one JSON object per line."
    ),
    files_option(
        "--prompts-from",
        group="Prompts",
        help="Click the centre of every mask of a COCO file. Without IMAGES, the file also "
        "names the images.",
    ),
)


@dataclass(frozen=True)
class PredictOptions:
    """The given options, by purpose.

    Attributes
    ----------
    kept, whole, prompts, prompted, search : dict
        Which masks are kept; options of whole-image segmenters; prompts; how promptable models
        answer them; how they search for all masks without prompts.
    tiles : TileSettings
        Tiles of large images.
    """

    kept: dict[str, Any]
    whole: dict[str, Any]
    tiles: TileSettings
    prompts: dict[str, Any]
    prompted: dict[str, Any]
    search: dict[str, Any]

    @property
    def asks(self) -> bool:
        """Whether prompts are given: only a promptable model can answer."""
        return bool(self.prompts)

    def of_whole_image(self, compute: Compute) -> PredictSettings:
        """Return the settings of a whole-image segmenter.

        Raises
        ------
        UsageError
            An option is given that is for promptable models.
        """
        for_prompts = _options(PromptedSettings, self.prompted)
        for_prompts += _options(AutomaticConfig, self.search)
        _refuse(for_prompts, "is for promptable models (SAM), but this is a whole-image segmenter")
        return PredictSettings(
            **self.kept,
            **self.whole,
            **vars(self.tiles),
            dtype=compute.dtype,
            batch_size=compute.batch_size,
        )

    def of_promptable(self, compute: Compute) -> PromptedSettings:
        """Return the settings of a promptable model.

        Raises
        ------
        UsageError
            An option is given that is for whole-image segmenters, or one of the search for all
            masks beside prompts.
        """
        whole = _options(PredictSettings, self.whole)
        _refuse(whole, "is for whole-image segmenters, but this is a promptable model")
        shared = {_SEARCHED[name]: self.kept[name] for name in _SEARCHED if name in self.kept}
        if self.asks:
            searching = [name for name in _SEARCHED if name in self.kept]
            searching += _options(AutomaticConfig, self.search)
            _refuse(
                searching, "applies only to the search for all masks: remove it, or the prompts"
            )
        points = tuple((p[0], p[1], int(p[2]) if p[2:] else 1) for p in self._numbers("points"))
        return PromptedSettings(
            points=points,
            boxes=tuple((b[0], b[1], b[2], b[3]) for b in self._numbers("boxes")),
            prompts=self.prompts.get("prompts"),
            prompts_from=self.prompts.get("prompts_from"),
            **self.prompted,
            automatic=AutomaticConfig(**shared, **self.search),
            tiles=self.tiles,
            max_masks=self.kept["max_masks"],
            dtype="float32" if compute.dtype == "auto" else compute.dtype,
        )

    def _numbers(self, name: str) -> list[tuple[float, ...]]:
        texts = self.prompts.get(name, "").split()
        return [tuple(float(part) for part in text.split(",")) for text in texts]


def _options(settings: type[Any], given: Iterable[str]) -> list[str]:
    """Return the names of the options of some fields."""
    return [d.option or f.name for f, d in declared_fields(settings) if f.name in given]


def _refuse(names: Iterable[str], why: str) -> None:
    for name in names:
        raise UsageError(f"--{name.replace('_', '-')} {why}")
