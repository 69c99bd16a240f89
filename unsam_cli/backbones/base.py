"""What every backbone offers, and the checks that all of them share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from unsam_cli.errors import UsageError

Facet = Literal["key", "query", "value", "token"]
FACETS: tuple[Facet, ...] = get_args(Facet)


class InputFrame(Protocol):
    """Position of an image in the input of a network with a fixed size."""

    def resized(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Resize an image, (H, W, 3) uint8 RGB, to that place."""
        ...


FrameOf = Callable[[tuple[int, int]], InputFrame]
"""From the size (H, W) of an image to its frame."""


@runtime_checkable
class Backbone(Protocol):
    """From images to a grid of patch features."""

    @property
    def name(self) -> str:
        """What `--backbone` was."""
        ...

    @property
    def weights(self) -> str:
        """Identity of the weights: ``sha256:...`` of a file, a hub id, or ``random:SEED``."""
        ...

    @property
    def patch_size(self) -> int:
        """Side of a patch in pixels."""
        ...

    @property
    def dim(self) -> int:
        """Channels of a feature."""
        ...

    @property
    def facet(self) -> str:
        """What the features are taken from: one of `FACETS` for a transformer."""
        ...

    @property
    def layer(self) -> int:
        """The block they are taken from, counted from 0."""
        ...

    @property
    def threadsafe(self) -> bool:
        """True when `extract` may run in several threads at once and gains from it."""
        ...

    @property
    def frame(self) -> FrameOf | None:
        """Where an image lies in the input, if that has one size; None if images have any size."""
        ...

    def extract(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Compute the features of equally large images.

        Parameters
        ----------
        images : (B, H, W, 3) uint8
            RGB; H and W multiples of `patch_size`.

        Returns
        -------
        (B, H / patch_size, W / patch_size, C) float32

        Raises
        ------
        UsageError
            The images are not as described.
        """
        ...


def check_images(images: NDArray[Any], patch_size: int) -> None:
    """Raise `UsageError` unless `images` is what `Backbone.extract` takes."""
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
    """Return `facet` as one of `FACETS`; raise `UsageError` otherwise."""
    for known in FACETS:
        if facet == known:
            return known
    raise UsageError(f"unknown facet {facet!r}: choose one of {', '.join(FACETS)}")


def resolve_layer(layer: int, depth: int) -> int:
    """Return the block number `layer` of `depth`, negative ones counted from the end.

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
