"""The mean field of the dense CRF in torch, on a GPU; the lattice comes from the CPU."""

from __future__ import annotations

import threading
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unsam_cli.refinement.lattice import Lattice

_DEVICE = threading.Lock()
"""Held while masks are on a device, so that its memory is that of one slice of masks."""


class DeviceField:
    """The mean field on a lattice, as :class:`~unsam_cli.refinement.crf.DenseCrf` has it.

    Parameters
    ----------
    lattice : Lattice
        The kernels of a picture of n pixels.
    device : str
        Device that computes, as torch names it.

    Notes
    -----
    A GPU adds what several pixels give a vertex in any order. So the last bits of logits differ
    between runs, and with them, rarely, a pixel whose logit is almost zero.
    """

    def __init__(self, lattice: Lattice, device: str) -> None:
        self._count, self._device = lattice.count, device
        self._vertices = _indices(lattice.vertices.T, device)
        self._weights = torch.from_numpy(np.ascontiguousarray(lattice.weights.T)).to(device)
        self._near = [_indices(near.transpose(0, 2, 1), device) for near in lattice.near]
        self._spans = list(pairwise([*lattice.starts, lattice.count]))

    def infer(self, marks: NDArray[np.uint8], rounds: int) -> NDArray[np.uint8]:
        """Return the labels of the mean field.

        Parameters
        ----------
        marks : (n, channels) uint8
            Masks, 0 or 1.
        rounds : int
            Rounds of the mean field.

        Returns
        -------
        (n, channels) uint8
            Refined masks, 0 or 1.
        """
        with _DEVICE, torch.inference_mode():
            unary = torch.from_numpy(marks).to(self._device).float() * 2 - 1
            logit = unary
            for _ in range(rounds):
                logit = unary + self._filtered(torch.tanh(logit / 2))
            labels: NDArray[np.uint8] = (logit > 0).to(torch.uint8).cpu().numpy()
        return labels

    def _filtered(self, given: Tensor) -> Tensor:
        """Return the weighted sums (n, channels) of the Gaussian filters of `given`."""
        values = torch.zeros(self._count + 1, given.shape[1], device=self._device)
        for vertices, weights in zip(self._vertices, self._weights, strict=True):
            values.index_add_(0, vertices, weights[:, None] * given)
        for near, (start, end) in zip(self._near, self._spans, strict=True):
            own = values[start:end]
            for before, after in near:
                own += 0.5 * (values[before] + values[after])
        found = torch.zeros_like(given)
        for vertices, weights in zip(self._vertices, self._weights, strict=True):
            found.addcmul_(weights[:, None], values[vertices])
        return found


def _indices(array: NDArray[np.uint32], device: str) -> Tensor:
    return torch.from_numpy(array.astype(np.int64)).to(device)
