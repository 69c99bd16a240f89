"""From the name of a backbone to the backbone."""

from __future__ import annotations

import os

from unsam_cli.backbones.base import Backbone
from unsam_cli.errors import UsageError

BUILTIN = ("builtin",)
"""Names that need neither torch nor weights."""
PROMPTABLE = "sam"
"""The image encoder of a promptable model, for ``finetune-sam``: `unsam_cli.sam.encoder` has it."""


def usual_size(name: str) -> int:
    """Longest side in pixels at which a backbone does best.

    MaskCut's 480 for networks; more for the built-in descriptor, which sees fine texture (chosen on
    the training images of BSDS500).
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
        A checkpoint file, a hub id, or ``random`` (to try things and for tests); by default the
        model's own pretrained weights. The built-in backbone has none.
    facet : {"key", "query", "value", "token"}
        What the features are: a projection of the attention, or the output of the block.
    layer : int
        The block, from 0; negative ones count from the end.
    device : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    dtype : {"float32", "bfloat16", "float16"}
        What the network computes in. Features are float32 in any case.
    seed : int
        Of random weights and of the built-in backbone.

    Raises
    ------
    UsageError
        Unknown name, facet, layer, device or dtype.
    CheckpointError, WeightsUnavailableError
        The weights do not fit, or cannot be had.
    """
    if name in BUILTIN:
        if weights is not None:
            raise UsageError(f"--backbone {name} has no weights: remove --weights")
        from unsam_cli.backbones.builtin import create_builtin

        return create_builtin(name, seed)
    # Read when torch is loaded. Threads that spin at barriers take the cores from those that
    # decode, and from other programs: on a busy machine networks ran four times slower with it.
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
