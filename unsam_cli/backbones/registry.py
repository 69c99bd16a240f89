"""From the name of a backbone to the backbone."""

from __future__ import annotations

import os

from unsam_cli.backbones.base import Backbone
from unsam_cli.errors import UsageError

BUILTIN = ("builtin",)
"""Names that need neither torch nor weights."""
PROMPTABLE = "sam"
"""Name of the image encoder of a promptable model, see `unsam_cli.sam.encoder`."""


def usual_size(name: str) -> int:
    """Return the default longest side of images for a backbone, in pixels.

    480 for networks, as in MaskCut; 640 for the built-in descriptor, which uses fine texture
    (chosen on the training images of BSDS500).
    """
    return 640 if name in BUILTIN else 480


def create_backbone(
    name: str = "builtin",
    *,
    weights: str | None = None,
    facet: str = "key",
    layer: int = -1,
    device: str = "auto",
    dtype: str = "float32",
    seed: int = 0,
) -> Backbone:
    """Create a backbone.

    Parameters
    ----------
    name : str
        ``builtin``, or the name of any timm vision transformer with patch tokens.
    weights : str, optional
        A checkpoint file, a hub id, or ``random`` (for trials and tests); by default the model's
        own pretrained weights. The built-in backbone has none.
    facet : {"key", "query", "value", "token"}
        Kind of the features: a projection of the attention, or the output of the block.
    layer : int
        Index of the block, from 0; negative values count from the end.
    device : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    dtype : {"float32", "bfloat16", "float16"}
        Number format in which the network computes; features are always float32.
    seed : int
        Seed of random weights, and of the built-in backbone.

    Raises
    ------
    UsageError
        The name, facet, layer, device or dtype is unknown or unsuitable, or `weights` are given for
        the built-in backbone.
    CheckpointError, MissingInputError, WeightsUnavailableError
        The weights do not fit, do not exist, or cannot be downloaded.
    """
    if name in BUILTIN:
        if weights is not None:
            raise UsageError(f"--backbone {name} has no weights: remove --weights")
        from unsam_cli.backbones.builtin import create_builtin

        return create_builtin(name, seed)
    # torch reads this when it is loaded. By default, threads that spin at barriers take the cores
    # from other work: on a busy machine, networks ran four times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from unsam_cli.backbones.vit import create_vit

    return create_vit(
        name,
        weights=weights,
        facet=facet,
        layer=layer,
        device=device,
        dtype=dtype,
        seed=seed,
    )
