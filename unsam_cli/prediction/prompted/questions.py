"""Prompts with their names and targets, and what a source of them can do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from unsam_cli.io.left_out import LeftOut
from unsam_cli.rle import Rle
from unsam_cli.run.items import ImageItem
from unsam_cli.sam.settings import Prompt


@dataclass(frozen=True)
class Question:
    """A prompt with its name and its target.

    Attributes
    ----------
    name : str
        Name in messages: file and line.
    prompt : Prompt
        The prompt, in pixels of the image.
    prompt_id : int or str
        Id that distinguishes the prompts of an image.
    target_id : int, optional
        Id of the annotation that the prompt is for.
    target : Rle, optional
        Mask of this annotation.
    """

    name: str
    prompt: Prompt
    prompt_id: int | str
    target_id: int | None = None
    target: Rle | None = None


class PromptSource(Protocol):
    """Prompts by image."""

    def select(self, items: Sequence[ImageItem]) -> list[ImageItem]:
        """Return the images to process, with the ids of the output.

        Raises
        ------
        DataError
            Prompts and images do not belong together.
        """
        ...

    def questions(self, item: ImageItem) -> list[Question]:
        """Return the prompts of an image, in order; an empty list for an unknown image."""
        ...

    @property
    def prompts(self) -> Iterable[Prompt]:
        """All prompts that were given; none of those that are clicks on given masks."""
        ...

    def left_out(self, item: ImageItem) -> list[LeftOut]:
        """Return the annotations of an image that make no prompt."""
        return []

    @property
    def strays(self) -> Sequence[tuple[str, LeftOut]]:
        """Annotations that belong to no image, with the id of the image that they name."""
        return ()


def some(names: Iterable[str]) -> str:
    """Return the first names of many."""
    ordered = sorted(names)
    return ", ".join(ordered[:2]) + (", ..." if len(ordered) > 2 else "")
