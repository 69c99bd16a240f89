"""Normalised cuts of many images at once, on an accelerator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from unsam_cli.divide.affinity import EPS, affinity
from unsam_cli.divide.ncut import first_largest, ncut

if TYPE_CHECKING:
    from torch import Tensor

_BLOCK = 4  # vectors iterated together; the wanted one converges first
_DEPTH = 12  # number of blocks in a basis
_RESTARTS = 12
_ANGLE = 1e-3  # bound on the angle to the eigenvector, radians; its cosine is over 1 - 1e-6


def ncut_batch(
    features: NDArray[np.float32],
    *,
    tau: float = 0.15,
    eps: float = EPS,
    seed: int = 0,
    device: str = "cpu",
) -> NDArray[np.float32]:
    """Solve the normalised cuts of a batch of grids of one size.

    Parameters
    ----------
    features : (B, n, C) float32
        Features of the n patches of B images. A patch with a zero vector is joined with nothing.
    tau, eps : float
        Threshold and weight, as in :func:`unsam_cli.divide.affinity.affinity`.
    seed : int
        Seed of the start vectors, the same for every image.
    device : str
        Device to compute on, such as ``cpu`` or ``cuda:0``. It takes 8 n^2 bytes per image.

    Returns
    -------
    (B, n) float32
        Eigenvectors of length 1 whose entry of largest magnitude is positive, as from
        :func:`unsam_cli.divide.ncut.ncut`.

    Raises
    ------
    ValueError
        The features are not (B, n, C) with n at least 2, or not finite.

    Notes
    -----
    The method is block Krylov iteration in float32. If float32 does not resolve the gap between
    eigenvalues of an image, as in a graph of separate parts, the float64 solver does this image.
    """
    if features.ndim != 3 or features.shape[1] < 2 or not features.shape[2]:
        raise ValueError(f"features must be (B, n, C) with n at least 2, not {features.shape}")
    if not np.isfinite(features).all():
        raise ValueError("features hold NaN or infinity; extract them again")
    batch, n, _ = features.shape
    vectors = np.empty((batch, n), np.float32)
    converged = np.zeros(batch, np.bool_)
    if batch and n > 2 * _BLOCK * _DEPTH:
        vectors, converged = _iterate(features, tau, eps, seed, device)
    for i in np.flatnonzero(~converged):
        vectors[i] = ncut(affinity(features[i], tau=tau, eps=eps), seed=seed).vector
    for v in vectors:
        v *= np.sign(v[first_largest(np.abs(v))]) / np.linalg.norm(v)
    return vectors


def _iterate(
    features: NDArray[np.float32], tau: float, eps: float, seed: int, device: str
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Compute eigenvectors (B, n) float32, up to scale, and which are accurate, (B,) bool."""
    import torch

    x = torch.from_numpy(np.ascontiguousarray(features, dtype=np.float32)).to(device)
    x = x / x.abs().amax(dim=2, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny)
    x = torch.nn.functional.normalize(x, dim=2)
    weights = torch.bmm(x, x.mT)
    # Zero vectors have cosine 0 with everything, which a negative tau would join.
    joined = (weights > tau) & (weights.diagonal(dim1=1, dim2=2) > 0.5)[:, :, None]
    weights = joined.to(x.dtype).mul_(1 - eps).add_(eps)
    # Pairs are counted: a sum of weights would need float64, which MPS does not have.
    counts = joined.sum(dim=2).to(x.dtype)
    root = ((1 - eps) * counts + eps * len(joined[0])).sqrt()[:, :, None]
    weights.div_(root).div_(root.mT)
    trivial = torch.nn.functional.normalize(root, dim=1)
    start = np.random.default_rng(seed).standard_normal((features.shape[1], _BLOCK))
    block = torch.from_numpy(start.astype(np.float32)).to(x).expand(len(x), -1, -1)
    for _ in range(_RESTARTS):
        block, accurate = _expand(weights, trivial, block)
        if bool(accurate.all()):
            break
    vectors = (block[:, :, :1] / root)[:, :, 0]
    return vectors.cpu().numpy(), accurate.cpu().numpy()


def _expand(weights: Tensor, trivial: Tensor, block: Tensor) -> tuple[Tensor, Tensor]:
    """Rayleigh-Ritz over the Krylov space of a block: its best vectors, and which are accurate."""
    import torch

    basis, images = trivial, []
    for _ in range(_DEPTH):
        for _ in range(2):  # the second time removes rounding errors of the first
            block = torch.linalg.qr(block - basis @ (basis.mT @ block)).Q
        basis = torch.cat([basis, block], dim=2)
        block = torch.bmm(weights, block)
        images.append(block)
    basis, image = basis[:, :, 1:], torch.cat(images, dim=2)
    projected = basis.mT @ image
    theta, s = torch.linalg.eigh((projected + projected.mT) / 2)
    s = s[:, :, -_BLOCK:].flip(2)
    ritz = basis @ s
    residual = image @ s - ritz * theta[:, None, -_BLOCK:].flip(2)
    residual = torch.linalg.vector_norm(residual, dim=1)
    gap = theta[:, -1] - theta[:, -2] - residual[:, 1]
    return ritz, residual[:, 0] < _ANGLE * gap
