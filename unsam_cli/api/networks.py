"""Masks by a trained network, of one image or of many."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from unsam_cli.api.masks import Masks
from unsam_cli.api.options import settings_from, split, step_from
from unsam_cli.errors import UnsamError, UsageError
from unsam_cli.found_masks import FoundMasks, annotate
from unsam_cli.io.pictures import ImageLike, Picture, as_picture, entry_of, pixels_of
from unsam_cli.prediction.prompted.settings import Box, PromptedSettings
from unsam_cli.prediction.settings import PredictSettings
from unsam_cli.run.provenance import plain
from unsam_cli.run.resources import usable_cpus
from unsam_cli.sam.settings import AutomaticConfig

if TYPE_CHECKING:
    from unsam_cli.models.segmenter import Segmenter
    from unsam_cli.sam.promptable import Promptable

Point = Sequence[float]


@dataclass(frozen=True)
class _Item:
    path: Picture


@overload
def predict(image: ImageLike, checkpoint: Any, **options: Any) -> Masks: ...


@overload
def predict(image: Iterable[ImageLike], checkpoint: Any, **options: Any) -> Iterator[Masks]: ...


def predict(
    image: ImageLike | Iterable[ImageLike],
    checkpoint: str | Segmenter | Promptable,
    *,
    points: Sequence[Point] = (),
    boxes: Sequence[Box] = (),
    device: str = "auto",
    **options: Any,
) -> Masks | Iterator[Masks]:
    """Segment an image, or many of them, with a trained network, as ``unsam predict``.

    Parameters
    ----------
    image : path, (H, W, 3) uint8 array, or PIL.Image.Image; or an iterable of them
        The image, RGB. Of an iterable only a few images are read ahead, and on an accelerator
        inputs of one size share batches.
    checkpoint : str, Segmenter or Promptable
        A folder, a file or a hub id: of ``unsam train`` or UnSAM, a Mask2Former or EoMT of Hugging
        Face, or a promptable model such as SAM. A loaded model
        (:func:`~unsam_cli.models.loading.load_segmenter`,
        :func:`~unsam_cli.sam.loading.load_promptable`) is used as it is.
    points : sequence of (x, y) or (x, y, label)
        Clicks in pixels, which are one prompt of a promptable model. Label 1, the default, is on
        the object, and 0 is off it.
    boxes : sequence of (x0, y0, x1, y1)
        Boxes in pixels; each is a prompt. Without points and boxes, the model finds all masks.
    device : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    **options
        Options of ``unsam predict`` by name: `max_masks`, `min_score`, `nms`, `tile`, `size`, ...
        for whole-image segmenters; `granularity`, `max_masks`, and those of the search for
        promptable models.

    Returns
    -------
    Masks, or iterator of Masks
        The masks of the image, the best first; of an iterable, those of each image, in order.

    Raises
    ------
    UnsamError
        An image, the checkpoint or an option is not usable.

    Examples
    --------
    >>> import unsam_cli as unsam
    >>> masks = unsam.predict("photo.jpg", "run", max_masks=2)
    >>> masks
    <Masks: 2 masks of a 96 x 128 image>
    >>> [m.size for m in unsam.predict(["photo.jpg", "photo.jpg"], "run")]
    [(96, 128), (96, 128)]
    """
    pictures = _pictures(image)
    found = _found(pictures, checkpoint, points, boxes, device, options)
    return next(found) if _is_one(image) else found


def _is_one(image: object) -> bool:
    return (
        isinstance(image, str)
        or hasattr(image, "__fspath__")
        or hasattr(image, "__array_interface__")
    )


def _pictures(image: Any) -> Iterator[Picture]:
    return map(as_picture, [image] if _is_one(image) else image)


def _found(
    pictures: Iterator[Picture],
    checkpoint: Any,
    points: Sequence[Point],
    boxes: Sequence[Box],
    device: str,
    options: dict[str, Any],
) -> Iterator[Masks]:
    from unsam_cli.backbones import accelerator
    from unsam_cli.models.loading import load_segmenter
    from unsam_cli.prediction.checkpoints import is_promptable
    from unsam_cli.sam.loading import load_promptable
    from unsam_cli.sam.promptable import Promptable

    model, place = checkpoint, accelerator(device) or "cpu"
    if isinstance(model, str | Path):
        load = load_promptable if points or boxes or is_promptable(str(model)) else load_segmenter
        model = load(str(model), place)
    if isinstance(model, Promptable):
        yield from _prompted(pictures, model, points, boxes, options)
    elif points or boxes:
        raise UsageError(
            "points and boxes need a promptable model; this is a whole-image segmenter"
        )
    else:
        yield from _whole(pictures, model, settings_from(PredictSettings, options))


def _whole(
    pictures: Iterator[Picture], segmenter: Segmenter, settings: PredictSettings
) -> Iterator[Masks]:
    from unsam_cli.prediction.pipeline import predict_images
    from unsam_cli.prediction.predict import Predictor

    def use(item: _Item, masks: FoundMasks) -> Masks:
        entry = entry_of(item.path, masks.table.size)
        return Masks(annotate(entry.id, masks), entry, item.path, [step])

    step = step_from("predict", settings, inputs={"checkpoint": segmenter.identity})
    items = map(_Item, pictures)
    predictor = Predictor(segmenter, settings)
    for _, found in predict_images(items, predictor, use, jobs=usable_cpus()):
        if isinstance(found, UnsamError):
            raise found
        yield found


def _prompted(
    pictures: Iterator[Picture],
    model: Promptable,
    points: Sequence[Point],
    boxes: Sequence[Box],
    options: dict[str, Any],
) -> Iterator[Masks]:
    from unsam_cli.prediction.prompted.answers import answer, find_all
    from unsam_cli.prediction.prompted.sources import GivenPrompts, fit
    from unsam_cli.prediction.prompted.stage import refuse_unsuitable

    clicks = tuple((p[0], p[1], int(p[2]) if len(p) > 2 else 1) for p in points)
    said, search = split(options, PromptedSettings, AutomaticConfig)
    settings = PromptedSettings(
        points=clicks,
        boxes=tuple(boxes),
        **{"automatic": AutomaticConfig(**search), **said},
    )
    if settings.prompts or settings.prompts_from:
        raise UsageError("prompts of files are for the command: give points or boxes here")
    source = GivenPrompts(settings) if settings.prompted else None
    refuse_unsuitable(model, source, settings)
    model.dtype = settings.dtype
    prompts = {"points": clicks, "boxes": boxes}
    step = step_from(
        "predict",
        *(settings, settings.automatic),
        inputs={"checkpoint": model.identity},
        **{name: " ".join(map(plain, given)) or None for name, given in prompts.items()},
    )
    for picture in pictures:
        rgb = pixels_of(picture)
        size = (rgb.shape[0], rgb.shape[1])
        entry = entry_of(picture, size)
        if source is None:
            found = find_all(model, rgb, entry.id, settings)
        else:
            asked = [fit(q, entry, picture, size, settings.granularity) for q in source.every]
            found = answer(model, rgb, entry.id, asked)
        yield Masks(found, entry, picture, [step])
