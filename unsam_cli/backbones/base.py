"""The interface of backbones, and the checks that all of them share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from unsam_cli.errors import UsageError
from unsam_cli.io.windows import Pixels

Facet = Literal["key", "query", "value", "token"]
FACETS: tuple[Facet, ...] = get_args(Facet)


class InputFrame(Protocol):
    """Position of an image in the input of a network with a fixed size."""

    def resized(self, image: Pixels) -> NDArray[np.uint8]:
        """Resize an image, (H, W, 3) uint8 RGB, to its size in the input, (h, w, 3) uint8."""
        ...


FrameOf = Callable[[tuple[int, int]], InputFrame]
"""Maps the size (H, W) of an image, in pixels, to its frame."""


@runtime_checkable
class Backbone(Protocol):
    """Computes a grid of patch features of images."""

    @property
    def name(self) -> str:
        """Name as given to `--backbone`."""
        ...

    @property
    def weights(self) -> str:
        """Identity of the weights: ``sha256:...``, a hub id, ``random:SEED`` or ``none``."""
        ...

    @property
    def patch_size(self) -> int:
        """Side of a patch, in pixels."""
        ...

    @property
    def dim(self) -> int:
        """Number of channels C of a feature."""
        ...

    @property
    def facet(self) -> str:
        """Kind of the features: one of `FACETS` for a transformer."""
        ...

    @property
    def layer(self) -> int:
        """Index of the block that features are taken from, from 0."""
        ...

    @property
    def threadsafe(self) -> bool:
        """Whether `extract` may run in several threads at once, and gets faster by it."""
        ...

    @property
    def frame(self) -> FrameOf | None:
        """Position of images in an input of fixed size; None if images may have any size."""
        ...

    def extract(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Compute the features of images of equal size.

        Parameters
        ----------
        images : (B, H, W, 3) uint8
            RGB; H and W are multiples of `patch_size`.

        Returns
        -------
        (B, H / patch_size, W / patch_size, C) float32
            Features of the patches, C = `dim`.

        Raises
        ------
        UsageError
            The shape or dtype of `images` is wrong.
        CheckpointError
            A network computes numbers that are not finite.
        """
        ...


def check_images(images: NDArray[Any], patch_size: int) -> None:
    """Raise `UsageError` unless `images` are valid input of `Backbone.extract`."""
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise UsageError(
            f"images must be (B, H, W, 3) uint8, not {images.shape} {images.dtype}: "
            "stack RGB images of one size"
        )
    _, h, w, _ = images.shape
    if h == 0 or w == 0 or h % patch_size or w % patch_size:
        raise UsageError(
            f"image size {h} x {w} is not a multiple of the patch size {patch_size}: "
            "resize the images first"
        )


def check_facet(facet: str) -> Facet:
    """Return `facet` if it is one of `FACETS`; raise `UsageError` otherwise."""
    for known in FACETS:
        if facet == known:
            return known
    raise UsageError(f"unknown facet {facet!r}: choose one of {', '.join(FACETS)}")


def resolve_layer(layer: int, depth: int) -> int:
    """Return the index of a block, from 0; a negative `layer` counts from the end of `depth`.

    Raises
    ------
    UsageError
        There is no such block.
    """
    if not -depth <= layer < depth:
        raise UsageError(
            f"there is no layer {layer}: the model has {depth} blocks, so choose "
            f"0 to {depth - 1}, or -1 (the last) to {-depth}"
        )
    return layer % depth
