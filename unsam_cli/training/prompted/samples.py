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
from unsam_cli.training.skipped import Skipped


@dataclass(frozen=True)
class PromptedSample:
    """One image, its masks and its prompts.

    Attributes
    ----------
    name : str
        File name of the image.
    pixels : (3, S, S) float32 tensor or None
        Input of the network, see :meth:`Frame.pixels`; None if `embedding` is given.
    embedding : Embedding or None
        Precomputed output of the image encoder, with B = 1.
    masks : BitMasks
        Masks in the network's input, none of them empty.
    questions : tuple of Questions
        Prompts and their targets, by kind.
    corrections : int
        Number of correction clicks per prompt.
    seed : int
        Seed of the random numbers in the losses.
    skipped : tuple of Skipped
        Images that could not be read and were replaced, and annotations that were left out.
    """

    name: str
    pixels: Tensor | None
    embedding: Embedding | None
    masks: BitMasks
    questions: tuple[Questions, ...]
    corrections: int
    seed: int
    skipped: tuple[Skipped, ...] = ()

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
        """Copy all but the questions to page-locked memory, from which a GPU copies fastest."""
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
        """File names of the images."""
        return [sample.name for sample in self.samples]

    @property
    def skipped(self) -> list[Skipped]:
        """Images that could not be read and were replaced, and annotations that were left out."""
        return [one for sample in self.samples for one in sample.skipped]

    def to(self, device: str) -> PromptedBatch:
        """Move all tensors to a device."""
        return PromptedBatch([sample.to(device) for sample in self.samples])

    def pin_memory(self) -> PromptedBatch:
        """Copy large tensors to page-locked memory, from which a GPU copies fastest."""
        return PromptedBatch([sample.pin_memory() for sample in self.samples])


@dataclass(frozen=True)
class PromptedSamples:
    """Creates samples from annotated images.

    Parameters
    ----------
    images : AnnotatedImages
        Images and masks.
    side : int
        Side of the network's input, in pixels.
    square : bool
        Whether the network ignores the aspect ratio, see :class:`Frame`.
    parts : PromptableConfig
        Number of masks per click, and whether granularity is learnt.
    settings : PromptSettings
        Number and kinds of prompts.
    kept : KeptEmbeddings, optional
        Precomputed embeddings of the images, which are then neither read nor flipped.
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
        """Read the image at `index` and draw its prompts; all randomness comes from `seed`.

        If ``settings.on_error`` is "skip", an image that cannot be read is replaced by another one.

        Raises
        ------
        UnsamError
            The image cannot be read, or does not fit its annotations.
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
    """Return the masks in the network's input, and their indices; masks can become empty."""
    (height, width), (h, w) = frame.size, frame.inner
    view = CropView(x=0, y=0, w=width, h=height, width=w, height=h, flip=mirror)
    side = frame.padded[0]
    found = [view_masks([a.rle], view, side).bits for a in annotations]
    empty = BitMasks.pack([], frame.padded).bits
    kept = np.flatnonzero([len(bits) for bits in found])
    return BitMasks(torch.cat([empty, *found]), side), kept


def _fineness(annotations: Sequence[Annotation]) -> NDArray[np.float32]:
    """Return the granularity of masks, (n,): as annotated, or of the hierarchy if one lacks it."""
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
