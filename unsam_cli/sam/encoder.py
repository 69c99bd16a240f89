"""The image encoder of SAM or SAM 2 as a backbone: embeddings for the training of a decoder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unsam_cli.backbones.soundness import check_output
from unsam_cli.backbones.vit_device import resolve_device, resolve_dtype
from unsam_cli.errors import UsageError
from unsam_cli.io.features import PROMPT
from unsam_cli.sam.frame import Frame, network_input
from unsam_cli.sam.loading import load_promptable
from unsam_cli.sam.model import PromptableModel

_OWN_MAPS = ("mask_decoder.conv_s0.", "mask_decoder.conv_s1.", "no_memory_embedding")


def create_promptable(
    checkpoint: str, *, device: str = "auto", dtype: str = "float32"
) -> PromptableBackbone:
    """Create a backbone from a promptable model.

    Parameters
    ----------
    checkpoint : str
        See :func:`~unsam_cli.sam.loading.load_promptable`.
    device, dtype : str
        See :func:`~unsam_cli.backbones.registry.create_backbone`.

    Raises
    ------
    UsageError
        The device is not available, or does not support the dtype; or the model is no SAM.
    MissingInputError, WeightsUnavailableError, CheckpointError
        See :func:`~unsam_cli.sam.loading.load_promptable`.
    """
    where = resolve_device(device)
    resolve_dtype(dtype, where)
    model = load_promptable(checkpoint, str(where))
    if not isinstance(model, PromptableModel):
        raise UsageError(
            f"{checkpoint}: features of UnSAM's promptable model cannot be stored: give a SAM"
        )
    model.dtype = dtype
    return PromptableBackbone(model)


class PromptableBackbone:
    """The image encoder of a promptable model, behind the interface of all backbones.

    Parameters
    ----------
    model : PromptableModel
        In evaluation mode.
    """

    name, facet, layer, threadsafe = "sam", PROMPT, -1, False

    def __init__(self, model: PromptableModel) -> None:
        self._model = model
        self.patch_size: int = 4 * model.side // model.low
        channels: int = model.network.config.prompt_encoder_config.hidden_size
        self.dim = channels if model.family == "sam" else 4 * channels
        self.weights = encoder_identity(model)

    def frame(self, size: tuple[int, int]) -> Frame:
        """Return where an image of `size` (H, W), in pixels, lies in the network's input."""
        return self._model.frame(size)

    @torch.inference_mode()
    def extract(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Compute the features of images of equal size.

        Parameters
        ----------
        images : (B, h, w, 3) uint8
            RGB, resized by :meth:`Frame.resized`.

        Returns
        -------
        (B, S / patch_size, S / patch_size, dim) float32
            Features on the grid of the network's S x S input, padding included; see
            :meth:`unsam_cli.sam.embedding.Embedding.to_grid`.

        Raises
        ------
        CheckpointError
            The network computes numbers that are not finite.
        """
        model, device = self._model, self._model.device
        padded = model.side, model.side
        pixels = torch.stack([network_input(image, padded) for image in images]).to(device)
        # One by one on a CPU, so that features do not depend on the rest of the batch.
        step = 1 if device.type == "cpu" else max(len(pixels), 1)
        grids = [model.embed(pixels[i : i + step]).to_grid() for i in range(0, len(pixels), step)]
        found = torch.cat(grids).float().cpu().numpy()
        check_output(found, model.dtype)
        return found


def encoder_identity(model: PromptableModel) -> str:
    """Hash all weights that the encoder's features depend on, without those of the decoder.

    Returns
    -------
    str
        ``sha256:...``; independent of the file format, and not changed by training the decoder.
    """
    digest = hashlib.sha256()
    for name, tensor in _encoder_weights(model):
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().data)
    return f"sha256:{digest.hexdigest()}"


def _encoder_weights(model: PromptableModel) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in sorted(model.network.state_dict().items()):
        if name.startswith(("vision_encoder.", *_OWN_MAPS)):
            yield name, tensor
