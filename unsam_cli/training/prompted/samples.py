"""Samples for fine-tuning a promptable segmenter: an image, its masks and its prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unsam_cli.errors import DataError
from unsam_cli.found_masks import CONTAINED, granularity
from unsam_cli.io.annotations import Annotation
from unsam_cli.rle import RunTable, parents
from unsam_cli.sam.embedding import Embedding
from unsam_cli.sam.frame import Frame
from unsam_cli.sam.settings import PromptableConfig
from unsam_cli.training.augment import CropView, view_masks
from unsam_cli.training.bitmasks import BitMasks
from unsam_cli.training.dataset import AnnotatedImages
from unsam_cli.training.prompted.embeddings import KeptEmbeddings
from unsam_cli.training.prompted.questions import Questions, draw_questions
from unsam_cli.training.prompted.settings import PromptSettings
from unsam_cli.training.samples import read_or_replace


@dataclass(frozen=True)
class PromptedSample:
    """One image to learn from.

    Attributes
    ----------
    name : str
        Of the image's file.
    pixels : (3, S, S) float32 tensor or None
        As :meth:`Frame.pixels` makes them.
    embedding : Embedding or None
        What the encoder sees in them, if it is known: then there are no pixels.
    masks : BitMasks
        In the network's input, none of them empty.
    questions : tuple of Questions
        About them.
    corrections : int
        Further clicks of every prompt.
    seed : int
        All that chance depends on.
    skipped : tuple of (str, str)
        Other images that were wanted in its place, and why they could not be read.
    """

    name: str
    pixels: Tensor | None
    embedding: Embedding | None
    masks: BitMasks
    questions: tuple[Questions, ...]
    corrections: int
    seed: int
    skipped: tuple[tuple[str, str], ...] = ()

    @property
    def pairs(self) -> int:
        """Number of answers that are compared with a mask."""
        return sum(questions.pairs(self.corrections) for questions in self.questions)

    def to(self, device: str) -> PromptedSample:
        """Move all tensors to a device."""
        return replace(
            self,
            pixels=None if self.pixels is None else self.pixels.to(device, non_blocking=True),
            embedding=None if self.embedding is None else self.embedding.to(device),
            masks=self.masks.to(device),
            questions=tuple(questions.to(device) for questions in self.questions),
        )

    def pin_memory(self) -> PromptedSample:
        """Copy what is large, all but the questions, to memory that a GPU copies from fastest."""
        return replace(
            self,
            pixels=None if self.pixels is None else self.pixels.pin_memory(),
            embedding=None if self.embedding is None else self.embedding.pin_memory(),
            masks=self.masks.pin_memory(),
        )


@dataclass(frozen=True)
class PromptedBatch:
    """B samples."""

    samples: list[PromptedSample]

    @property
    def names(self) -> list[str]:
        """Names of the images."""
        return [sample.name for sample in self.samples]

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """Images that could not be read, and why."""
        return [image for sample in self.samples for image in sample.skipped]

    def to(self, device: str) -> PromptedBatch:
        """Move all tensors to a device."""
        return PromptedBatch([sample.to(device) for sample in self.samples])

    def pin_memory(self) -> PromptedBatch:
        """Copy all samples to memory that a GPU copies from fastest."""
        return PromptedBatch([sample.pin_memory() for sample in self.samples])


@dataclass(frozen=True)
class PromptedSamples:
    """Makes samples of annotated images.

    Parameters
    ----------
    images : AnnotatedImages
        What is learnt from.
    side : int
        Of the network's input, pixels.
    square : bool
        Whether the network ignores the aspect ratio, see :class:`Frame`.
    parts : PromptableConfig
        How many masks a click is answered with, and whether granularity is learnt.
    settings : PromptSettings
        What is asked.
    kept : KeptEmbeddings, optional
        What the encoder sees in the images, which are then neither read nor mirrored.
    """

    images: AnnotatedImages
    side: int
    square: bool
    parts: PromptableConfig
    settings: PromptSettings
    kept: KeptEmbeddings | None = None

    def __len__(self) -> int:
        return len(self.images)

    def make(self, index: int, seed: int) -> PromptedSample:
        """Read an image and draw its prompts; all randomness comes from `seed`.

        With ``on_error`` "skip", another image takes the place of one that cannot be read.

        Raises
        ------
        UnsamError
            The image cannot be read, or is not what its annotations are for.
        """

        def read(chosen: int, rng: np.random.Generator) -> PromptedSample:
            return self._read(chosen, rng, seed)

        on_error = self.settings.on_error
        sample, skipped = read_or_replace(read, self.images, index, seed, on_error)
        return replace(sample, skipped=skipped)

    def _read(self, index: int, rng: np.random.Generator, seed: int) -> PromptedSample:
        info = self.images.info(index)
        annotations = self.images.annotations(index, rng)
        mirror = rng.random() < self.settings.flip and self.kept is None
        frame = Frame.of((info.height, info.width), self.side, square=self.square)
        masks, kept = _seen(annotations, frame, mirror)
        fineness = _fineness(annotations)[kept] if self.parts.granularity else None
        questions = draw_questions(masks, fineness, self.parts, self.settings, rng)
        corrections = int(rng.integers(self.settings.corrections + 1))
        embedding = pixels = None
        if self.kept is not None:
            embedding = self.kept.read(info)
        else:
            image = self.images.pixels(index)
            pixels = frame.pixels(np.ascontiguousarray(image[:, ::-1]) if mirror else image)
        return PromptedSample(
            info.file_name, pixels, embedding, masks, questions, corrections, seed
        )


def _seen(
    annotations: Sequence[Annotation], frame: Frame, mirror: bool
) -> tuple[BitMasks, NDArray[np.int64]]:
    """Masks in the network's input, and which they are: some may be too small to be seen."""
    (height, width), (h, w) = frame.size, frame.inner
    view = CropView(x=0, y=0, w=width, h=height, width=w, height=h, flip=mirror)
    found = [view_masks([a.rle], view, frame.side).bits for a in annotations]
    empty = BitMasks.pack([], (frame.side, frame.side)).bits
    kept = np.flatnonzero([len(bits) for bits in found])
    return BitMasks(torch.cat([empty, *found]), frame.side), kept


def _fineness(annotations: Sequence[Annotation]) -> NDArray[np.float32]:
    """Granularity of masks, (n,): as annotated, or of their hierarchy where one has none."""
    said = [a.granularity for a in annotations if a.granularity is not None]
    for a in annotations:
        if a.granularity is not None and not 0 < a.granularity <= 1:
            raise DataError(
                f"annotation {a.id} (image {a.image_id}): granularity is {a.granularity:g}, "
                "not from 0.1 to 1; fix it, or remove it from all masks of the image"
            )
    if len(said) < len(annotations):
        table = RunTable.from_rles([a.rle for a in annotations])
        return granularity(table.areas, parents(table, CONTAINED)).astype(np.float32)
    return np.array(said, dtype=np.float32)
