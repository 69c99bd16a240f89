"""Sources of prompts: the command line, a file of prompts, or masks to be clicked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from unsam_cli.errors import DataError
from unsam_cli.io.files import file_identity
from unsam_cli.io.masks import read_masks
from unsam_cli.io.names import canonical, paired
from unsam_cli.io.pictures import Picture
from unsam_cli.io.sizes import turn_hint
from unsam_cli.prediction.prompted.centres import MaskCentres
from unsam_cli.prediction.prompted.lines import read_lines
from unsam_cli.prediction.prompted.questions import PromptSource, Question, some
from unsam_cli.prediction.prompted.settings import PromptedSettings
from unsam_cli.run.inputs import local_file, name_of
from unsam_cli.run.items import ImageItem, Item
from unsam_cli.run.provenance import masks_identity
from unsam_cli.sam.settings import Prompt

Size = tuple[int, int]


class GivenPrompts(PromptSource):
    """The same prompts for every image."""

    def __init__(self, settings: PromptedSettings) -> None:
        points = tuple((x, y) for x, y, _ in settings.points)
        labels = tuple(label for *_, label in settings.points)
        boxes = settings.boxes or (None,)
        self.every = [
            Question("--points" if points else "--boxes", Prompt(points, labels, box=box), number)
            for number, box in enumerate(boxes, start=1)
        ]

    @property
    def prompts(self) -> Iterable[Prompt]:
        """All prompts."""
        return [question.prompt for question in self.every]

    def select(self, items: Sequence[ImageItem]) -> list[ImageItem]:
        """Return all images."""
        return list(items)

    def questions(self, item: ImageItem) -> list[Question]:
        """Return all prompts."""
        return self.every


class PromptLines(PromptSource):
    """Prompts of a file, one JSON object per line.

    Parameters
    ----------
    path : Path
        The file.
    name : str
        Name of the file in messages.

    Raises
    ------
    DataError
        A line is not a prompt; the message says which and why.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._name = name
        self._by_image: dict[str, list[Question]] = defaultdict(list)
        taken: set[tuple[str, str]] = set()
        for line in read_lines(path, name):
            key = canonical(line.image), str(line.prompt_id)
            if key in taken:
                raise DataError(
                    f"{line.name}: {line.image} has an earlier prompt with prompt_id "
                    f"{line.prompt_id}; use another prompt_id, or none"
                )
            taken.add(key)
            question = Question(line.name, line.prompt, line.prompt_id)
            self._by_image[line.image].append(question)
        self._of_item: dict[str, list[Question]] = defaultdict(list)

    @property
    def prompts(self) -> Iterable[Prompt]:
        """All prompts."""
        every = (question for found in self._by_image.values() for question in found)
        return (question.prompt for question in every)

    def select(self, items: Sequence[ImageItem]) -> list[ImageItem]:
        """Return all images; raise a DataError if a prompt is for another image."""
        known = {item.file_name for item in items}
        called = paired(self._by_image, known)
        for image, questions in self._by_image.items():
            if image not in called:
                raise DataError(
                    f"{questions[0].name}: {image} is not one of the images, whose names "
                    f"are {some(known)}; write the file_name of the output, or add the "
                    "image to the command"
                )
            self._of_item[called[image]] += questions
        if not self._by_image:
            raise DataError(f"{self._name}: has no prompts; remove it to find all masks")
        return list(items)

    def questions(self, item: ImageItem) -> list[Question]:
        """Return the prompts of an image."""
        return self._of_item.get(item.file_name, [])


@contextmanager
def open_prompts(
    settings: PromptedSettings, on_error: str
) -> Iterator[tuple[PromptSource | None, dict[str, str]]]:
    """Open the prompts that settings name, and return the identity of their file.

    If `on_error` is 'skip', invalid masks of ``prompts_from`` are left out.

    Raises
    ------
    MissingInputError, DataError
        The file is missing or invalid.
    """
    if settings.points or settings.boxes:
        yield GivenPrompts(settings), {}
    elif settings.prompts is not None:
        with local_file(settings.prompts) as path:
            source = PromptLines(path, name_of(settings.prompts))
            yield source, {"prompts": file_identity(path)}
    elif settings.prompts_from is not None:
        with local_file(settings.prompts_from) as path:
            name = name_of(settings.prompts_from)
            masks = read_masks(path, name=name, on_error=on_error, crowds=settings.crowds)
            centres = MaskCentres(masks, name, approximate=settings.approximate)
            yield centres, {"prompts-from": masks_identity(path)}
    else:
        yield None, {}


def fit(
    question: Question, item: Item, picture: Picture, size: Size, granularity: float | None
) -> Question:
    """Check a prompt against its image, and set the default granularity if it has none.

    Parameters
    ----------
    question : Question
        The prompt.
    item : Item
        The image.
    picture : Path or (H, W, 3) uint8
        Its file or pixels.
    size : (H, W)
        Height and width of the image, in pixels.
    granularity : float, optional
        Default granularity.

    Returns
    -------
    Question
        The prompt with a granularity, if there is one.

    Raises
    ------
    DataError
        The prompt is outside of the image, or belongs to an image of another size.
    """
    prompt, (height, width) = question.prompt, size
    described = f"{item.file_name}, which is {width} x {height} pixels"
    for x, y in prompt.points:
        if not (0 <= x < width and 0 <= y < height):
            raise DataError(
                f"{question.name}: point {x:g},{y:g} is outside {described}{turn_hint(picture)}"
            )
    if prompt.box is not None:
        x0, y0, x1, y1 = prompt.box
        if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
            raise DataError(
                f"{question.name}: box {x0:g},{y0:g},{x1:g},{y1:g} is empty or outside "
                f"{described}; boxes are X0,Y0,X1,Y1{turn_hint(picture)}"
            )
    if question.target is not None and tuple(question.target["size"]) != size:
        rows, columns = question.target["size"]
        raise DataError(
            f"{question.name}: a mask of {columns} x {rows} pixels does not fit {described}"
            f"{turn_hint(picture)}"
        )
    if granularity is None or prompt.granularity is not None:
        return question
    return replace(question, prompt=replace(prompt, granularity=granularity))
