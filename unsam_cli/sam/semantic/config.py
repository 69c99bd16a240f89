"""Sizes of UnSAM's promptable network; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

HEADS, LEVELS, POINTS, GROUPS = 8, 4, 4, 32
"""Heads, levels and points of deformable attention; groups of normalisation. Never varied."""


@dataclass(frozen=True)
class SemanticConfig:
    """Sizes of the network; the defaults are those of the published checkpoints (Swin-T).

    Parameters
    ----------
    embed : int
        Width of the backbone's first stage; each further stage doubles it.
    depths, heads : tuple of int
        Blocks, and heads of attention, of the backbone's four stages.
    window : int
        Side of the backbone's windows, in patches.
    hidden, feedforward : int
        Width C of all that follows the backbone, and of its feed-forward networks.
    pixel_layers, click_layers : int
        Layers of the pixel decoder, and of the decoder of clicks.
    masks : int
        Masks per click.
    """

    embed: int = 96
    depths: tuple[int, ...] = (2, 2, 6, 2)
    heads: tuple[int, ...] = (3, 6, 12, 24)
    window: int = 7
    hidden: int = 256
    feedforward: int = 2048
    pixel_layers: int = 6
    click_layers: int = 9
    masks: int = 6

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of the backbone's maps at strides 4, 8, 16 and 32."""
        return tuple(self.embed * 2**i for i in range(4))
