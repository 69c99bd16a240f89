"""Patch features of any timm vision transformer: DINO, DINOv2, DINOv3, MAE, CLIP, EVA."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unsam_cli.backbones import speed
from unsam_cli.backbones.base import Facet, check_facet, check_images, resolve_layer
from unsam_cli.backbones.soundness import check_output
from unsam_cli.backbones.vit_cpu import BlockedAttention, RowBlocks
from unsam_cli.backbones.vit_device import resolve_device, resolve_dtype
from unsam_cli.backbones.vit_facets import facet_dim, patch_tokens
from unsam_cli.backbones.vit_model import create_model
from unsam_cli.errors import UsageError


def create_vit(
    name: str,
    *,
    weights: str | None = None,
    facet: str = "key",
    layer: int = -1,
    device: str = "auto",
    dtype: str = "float32",
    seed: int = 0,
    **options: Any,
) -> VitBackbone:
    """Create a backbone from a timm model.

    All other parameters, and the errors, are those of
    `unsam_cli.backbones.registry.create_backbone`.

    Parameters
    ----------
    **options
        Passed on to timm, for instance ``depth=2``.
    """
    checked = check_facet(facet)
    where = resolve_device(device)
    torch_dtype = resolve_dtype(dtype, where)
    model, identity = create_model(name, weights=weights, facet=checked, seed=seed, **options)
    return VitBackbone(
        model,
        name=name,
        weights=identity,
        facet=checked,
        layer=resolve_layer(layer, len(model.blocks)),
        device=where,
        dtype=torch_dtype,
    )


class VitBackbone:
    """A timm VisionTransformer or Eva, truncated after the block that is needed.

    Parameters
    ----------
    model : timm VisionTransformer or Eva
        Model in evaluation mode; it is truncated and converted in place.
    name, weights : str
        See `unsam_cli.backbones.base.Backbone`.
    facet : {"key", "query", "value", "token"}
        Kind of the features.
    layer : int
        Index of the block, from 0.
    device : torch.device
        Device to run on.
    dtype : torch.dtype
        Number format of the weights and of the computation. Images are normalised in float32, and
        rotary positions are float32.

    Raises
    ------
    UsageError
        The patches of the model are not square.

    Notes
    -----
    On the CPU, images are processed one by one. Batches are not faster there, and so the features
    of an image do not depend on the rest of its batch, not even in the last bit.
    """

    threadsafe, frame = False, None

    def __init__(
        self,
        model: Any,
        *,
        name: str,
        weights: str,
        facet: Facet,
        layer: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.name, self.weights, self.facet, self.layer = name, weights, facet, layer
        self.device, self.dtype = device, dtype
        patch_h, patch_w = (int(p) for p in model.patch_embed.patch_size)
        if patch_h != patch_w:
            raise UsageError(f"{name} has patches of {patch_h} x {patch_w} pixels, not square ones")
        self.patch_size = patch_h
        self.dim = facet_dim(model, facet, layer)
        mean, std = model.pretrained_cfg["mean"], model.pretrained_cfg["std"]
        self._mean = 255 * torch.tensor(mean, device=device).view(1, 3, 1, 1)
        self._std = 255 * torch.tensor(std, device=device).view(1, 3, 1, 1)
        self._model = _prepare(model, layer, device, dtype)

    def extract(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Compute the features of images of equal size, see :meth:`Backbone.extract`."""
        check_images(images, self.patch_size)
        b, h, w, _ = images.shape
        out = np.empty((b, h // self.patch_size, w // self.patch_size, self.dim), np.float32)
        step = 1 if self.device.type == "cpu" else max(b, 1)
        for start in range(0, b, step):
            part = torch.from_numpy(np.ascontiguousarray(images[start : start + step]))
            out[start : start + step] = self._run(part).float().cpu().numpy()
        check_output(out, str(self.dtype).removeprefix("torch."))
        return out

    def flops(self, height: int, width: int) -> float:
        """Count the operations of matrix products for one image, see `speed.vit_flops`."""
        return speed.vit_flops(
            self._model, facet=self.facet, layer=self.layer, height=height, width=width
        )

    @torch.inference_mode()
    def _run(self, images: Tensor) -> Tensor:
        """Map (B, H, W, 3) uint8 on the CPU to features on the device."""
        if self.device.type == "cuda":
            images = images.pin_memory().to(self.device, non_blocking=True)
        pixels = images.to(self.device).permute(0, 3, 1, 2).float()
        pixels = ((pixels - self._mean) / self._std).to(self.dtype)
        with BlockedAttention():
            return patch_tokens(self._model, pixels, facet=self.facet, layer=self.layer)


def _prepare(model: Any, layer: int, device: torch.device, dtype: torch.dtype) -> Any:
    """Truncate a model after block `layer`, in place; move and convert it."""
    model.blocks = model.blocks[: layer + 1]
    model.norm = model.fc_norm = model.head = nn.Identity()
    model.attn_pool = None
    # Rotary frequencies rounded to 8 bits would rotate distant tokens by wrong angles.
    rope = getattr(model, "rope", None)
    if rope is not None:
        model.rope = None
    model.to(device, dtype)
    if rope is not None:
        model.rope = rope.to(device)
    if device.type == "cpu":
        for block in model.blocks:
            if isinstance(getattr(block, "mlp", None), nn.Module):
                block.mlp = RowBlocks(block.mlp)
    return model
