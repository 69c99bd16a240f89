"""Losses at random points instead of at all pixels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def sample_maps(maps: Tensor, points: Tensor) -> Tensor:
    """Interpolate maps bilinearly at points; maps are zero outside.

    Parameters
    ----------
    maps : (n, C, h, w) float tensor
    points : (n, P, 2) float tensor
        x and y as fractions of the map: 0 and 1 are the outer borders of the outer pixels.

    Returns
    -------
    (n, C, P) float tensor
    """
    return functional.grid_sample(maps, 2 * points[:, :, None] - 1, align_corners=False)[..., 0]


def uniform_points(n: int, count: int, generator: torch.Generator) -> Tensor:
    """Draw `count` uniform points for each of `n` maps: (n, count, 2) float32, x and y, 0 to 1."""
    return torch.rand((n, count, 2), generator=generator, device=generator.device)


@torch.no_grad()
def uncertain_points(
    logits: Tensor,
    count: int,
    generator: torch.Generator,
    *,
    oversample: float = 3.0,
    importance: float = 0.75,
) -> Tensor:
    """Draw points, most of them where masks are least certain.

    Parameters
    ----------
    logits : (n, h, w) float tensor
        Mask logits.
    count : int
        Number of points per mask.
    generator : torch.Generator
        Source of randomness, on the device of the logits.
    oversample : float
        Number of uniform candidates, as a multiple of `count`.
    importance : float
        Fraction of `count` that is filled with the candidates of the smallest absolute logit. The
        rest is uniform.

    Returns
    -------
    (n, count, 2) float32 tensor
        x and y, 0 to 1, see `sample_maps`.

    References
    ----------
    Kirillov et al., "PointRend" (2020), section 3.1; Cheng et al., "Mask2Former" (2022), section
    3.3, with its numbers as defaults.
    """
    n, chosen = len(logits), int(importance * count)
    candidates = uniform_points(n, int(oversample * count), generator)
    certainty = sample_maps(logits[:, None], candidates)[:, 0].abs()
    best = certainty.topk(chosen, dim=1, largest=False).indices
    uncertain = candidates.gather(1, best[..., None].expand(-1, -1, 2))
    return torch.cat([uncertain, uniform_points(n, count - chosen, generator)], dim=1)
