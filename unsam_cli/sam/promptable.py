"""What a promptable segmenter can do, whatever its network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from unsam_cli.rle import Axis
from unsam_cli.sam.frame import Frame
from unsam_cli.sam.prompts import Prompts
from unsam_cli.sam.settings import PromptableConfig


@dataclass(frozen=True)
class MaskLogits:
    """Answers to P prompts.

    Attributes
    ----------
    logits : (P, M, h, w) tensor
        Logits of M masks per prompt, positive inside the mask, at a quarter of the resolution of
        the network's input, padding included.
    scores : (P, M) tensor
        Predicted IoU of each mask.
    boxes : (P, M, 4) tensor, optional
        Of a network that predicts boxes, too: x and y of the centre, width and height of each mask,
        as fractions of the network's input.
    earlier : tuple of MaskLogits
        In training, the answers of the earlier layers of such a network, which learn as well.
    """

    logits: Tensor
    scores: Tensor
    boxes: Tensor | None = None
    earlier: tuple[MaskLogits, ...] = ()

    def float(self) -> MaskLogits:
        """Return the same in float32."""
        return MaskLogits(
            self.logits.float(),
            self.scores.float(),
            None if self.boxes is None else self.boxes.float(),
            tuple(one.float() for one in self.earlier),
        )


class Attended(Protocol):
    """Answers to P prompts whose masks are computed on request."""

    @property
    def scores(self) -> Tensor:
        """Predicted IoU of each mask, (P, M)."""
        ...

    def logits(self, rows: Tensor | None = None) -> Tensor:
        """Compute the masks (Q, M, h, w) of the prompts at indices `rows`, by default of all."""
        ...


class Promptable(nn.Module, ABC):
    """A network that encodes images and answers prompts.

    Parameters
    ----------
    network : nn.Module
    config : PromptableConfig
        Number of masks per ambiguous prompt, and whether granularity is supported.
    family : {"sam", "sam2", "semantic-sam"}
        Kind of the network.
    side : int
        Side S of the network's square input in training, in pixels.

    Attributes
    ----------
    history : list of dict
        Steps that led to the weights, see `unsam_cli.run.provenance`.
    identity : str
        Identity of the weights: a hash, or a hub id with its commit.
    dtype : str
        Number format in which the image encoder computes. The decoder always computes in float32,
        because positions of prompts need its precision.
    granularity : nn.Module or None
        The part that embeds a requested granularity.
    """

    granularity: nn.Module | None
    encoder: tuple[str, ...]
    """Prefixes of the names of the image encoder's weights in `network`."""
    pretrained: tuple[str, ...]
    """Prefixes of those that ``--backbone-lr-scale`` is for."""
    decoder: tuple[str, ...]
    """Prefixes of the names of the weights that ``--train decoder`` trains."""
    boxes: bool
    """Whether boxes can be prompts."""
    predicts_boxes = False
    """Whether answers have boxes, and those of earlier layers, in training."""

    def __init__(self, network: Any, config: PromptableConfig, *, family: str, side: int) -> None:
        super().__init__()
        self.network = network
        self.config, self.family, self.side = config, family, side
        self.history: list[dict[str, Any]] = []
        self.identity = ""
        self.dtype = "float32"

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next(self.parameters()).device

    @property
    def batch(self) -> int:
        """Number of prompts to decode together; on a CPU few, so that they fit into its caches.

        This is not an option, because it changes the last bits of the masks.
        """
        return 4 if self.device.type == "cpu" else 64

    @abstractmethod
    def frame(self, size: tuple[int, int]) -> Frame:
        """Return where an image of `size` (H, W), in pixels, lies in the network's input."""

    @abstractmethod
    def axes(self, frame: Frame) -> tuple[Axis, Axis]:
        """Return the resampling of rows and columns from logits to the image."""

    @abstractmethod
    def embed(self, pixels: Tensor) -> Any:
        """Run the image encoder on B images, (B, 3, H, W), each from :meth:`Frame.pixels`.

        The result has the length B, and its elements are the features of one image.
        """

    @abstractmethod
    def attend(
        self, embedding: Any, prompts: Prompts, *, multimask: bool = True, fold: bool = False
    ) -> Attended:
        """Answer prompts of one image; masks are computed from the result.

        Parameters
        ----------
        embedding : object
            Features of one image, see :meth:`embed`.
        prompts : Prompts
            P prompts. Memory grows with P, so pass a few dozen at a time.
        multimask : bool
            Whether to answer with `masks_per_prompt` masks, for ambiguous prompts, or with one.
            Prompts with a granularity always get one.
        fold : bool
            Use the faster computation, equal up to rounding.

        Raises
        ------
        UsageError
            The prompts have a granularity, and the model does not support it.
        """

    @abstractmethod
    def decode(
        self, embedding: Any, prompts: Prompts, *, multimask: bool = True, fold: bool = False
    ) -> MaskLogits:
        """Answer prompts of one image; parameters and errors are those of :meth:`attend`."""

    def precision(self) -> AbstractContextManager[Any]:
        """Return a context that computes in `dtype`; float32 leaves the caller's autocast on."""
        if self.dtype == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, getattr(torch, self.dtype))
