"""The built-in backbone: colour and texture as a kernel mean embedding. No weights, no torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unsam_cli.backbones.base import check_images
from unsam_cli.backbones.descriptor import (
    COSINE,
    ORIENTATIONS,
    SINE,
    blur,
    gaussian,
    mean_embedding,
    oriented_energy,
)
from unsam_cli.colour import rgb_to_lab

Floats = NDArray[np.float32]

PATCH = 4
FREQUENCIES = 128
LIGHTNESS = 0.5
"""Weight of lightness against the two axes of colour: shading changes lightness most."""
BANDWIDTH = 5.0
"""Distance in CIELAB at which the similarity of two plain colours has fallen to 1/e."""
SCALES = (1.0, 2.0)
"""Scales of texture: standard deviations of the Gaussian before derivatives, in pixels."""
TEXTURE = 0.7
"""Weight of a gradient of one unit of lightness per pixel against a unit of colour."""


class BuiltinBackbone:
    """Dense descriptor of colour, texture and orientation.

    A pixel is described by its CIELAB colour and by the energy of oriented derivatives of lightness
    at two scales, averaged around it. Random Fourier features turn that description into a vector
    such that the dot product of two pixels is about ``exp(-distance / BANDWIDTH)``. The feature of
    a patch is the mean over its pixels, the kernel mean embedding of their distribution. The cosine
    of sums, which `conquer` compares, is therefore a similarity of the distributions of two
    regions.

    Parameters
    ----------
    seed : int
        Seed of the random frequencies.

    Notes
    -----
    The kernel is an isotropic Laplacian. Its heavy-tailed spectrum distinguishes similar colours
    and still orders dissimilar ones, so one bandwidth serves many scales of similarity. The
    constants were chosen on the training images of BSDS500.

    References
    ----------
    Rahimi and Recht, "Random Features for Large-Scale Kernel Machines" (2007), algorithm 1.
    Smola et al., "A Hilbert Space Embedding for Distributions" (2007).
    Malik et al., "Contour and Texture Analysis for Image Segmentation" (2001): oriented energy.
    """

    name = "builtin"
    weights = "none"
    facet = "token"
    layer = 0
    patch_size = PATCH
    dim = 2 * FREQUENCIES
    threadsafe, frame = True, None

    def __init__(self, seed: int = 0) -> None:
        depth = 3 + ORIENTATIONS * len(SCALES)
        self._frequencies = _laplacian_frequencies(depth, FREQUENCIES, BANDWIDTH, seed)

    def extract(self, images: NDArray[np.uint8]) -> Floats:
        """Compute the features of images of equal size, see :meth:`Backbone.extract`."""
        check_images(images, PATCH)
        count, h, w, _ = images.shape
        out = np.empty((count, h // PATCH, w // PATCH, self.dim), dtype=np.float32)
        for image, features in zip(images, out, strict=True):
            mean_embedding(_describe(image), self._frequencies, PATCH, SINE, COSINE, features)
        return out


def create_builtin(name: str = "builtin", seed: int = 0) -> BuiltinBackbone:
    """Create the built-in backbone; the only `name` is ``builtin``."""
    assert name == BuiltinBackbone.name
    return BuiltinBackbone(seed)


def _describe(image: NDArray[np.uint8]) -> Floats:
    """Return the weighted colour and texture of every pixel, (D, H, W) float32."""
    lab = rgb_to_lab(image).transpose(2, 0, 1)
    light = np.ascontiguousarray(lab[0])
    energies = [oriented_energy(blur(light, gaussian(scale))) for scale in SCALES]
    order = _ordered(np.sum(energies, axis=(0, 2, 3), dtype=np.float64))
    planes = [LIGHTNESS * light, lab[1], lab[2]]
    for scale, energy in zip(SCALES, energies, strict=True):
        planes += [TEXTURE * blur(energy[k], gaussian(2 * scale + 1)) for k in order]
    return np.stack(planes).astype(np.float32, copy=False)


def _ordered(totals: NDArray[np.float64]) -> list[int]:
    """Order orientations so that, of two at right angles, the one with less energy comes first.

    In a mirrored or rotated image, orientations are exchanged. The kernel is invariant to that, but
    its random approximation is not. With this order, the same texture has the same place.
    """
    half = ORIENTATIONS // 2
    swap = totals[half:] < totals[:half]
    first = np.arange(half) + half * swap
    return [*first.tolist(), *((first + half) % ORIENTATIONS).tolist()]


def _laplacian_frequencies(depth: int, count: int, bandwidth: float, seed: int) -> Floats:
    """Draw frequencies (D, F), in turns, of ``exp(-distance / bandwidth)``: multivariate Cauchy.

    Directions are drawn in orthogonal sets and lengths from even quantiles, which lowers the
    variance of the estimate.
    """
    rng = np.random.default_rng(seed)
    sets = -(-count // depth)
    normal = [_orthogonal(rng, depth) for _ in range(sets)]
    spread = np.abs(rng.standard_normal(4096))
    widths = np.quantile(spread, (np.arange(count) + 0.5) / count)
    frequencies = np.concatenate(normal, axis=1)[:, :count] / rng.permutation(widths)
    return np.asarray(frequencies / (2 * np.pi * bandwidth), dtype=np.float32)


def _orthogonal(rng: np.random.Generator, depth: int) -> NDArray[np.float64]:
    """Draw orthogonal columns with the lengths of Gaussian vectors, (D, D)."""
    basis, _ = np.linalg.qr(rng.standard_normal((depth, depth)))
    lengths = np.linalg.norm(rng.standard_normal((depth, depth)), axis=0)
    result: NDArray[np.float64] = basis * lengths
    return result
