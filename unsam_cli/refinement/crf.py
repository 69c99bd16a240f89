"""Refine masks by a dense CRF: the labels of all pairs of pixels pull at each other.

Pixels that are close to each other, and more so if their colours are alike, prefer equal labels.
The pairs of a picture do not depend on its masks, so one lattice serves all of them.

References
----------
P. Kraehenbuehl, V. Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge
Potentials", NIPS 2011: the kernels are those of equation 3, the mean field that of algorithm 1.
X. Wang et al., "Cut and Learn for Unsupervised Object Detection and Instance Segmentation", CVPR
2023: the constants.
"""

from __future__ import annotations

from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from unsam_cli.io.resizing import resize
from unsam_cli.io.windows import Pixels, Windows, reduced
from unsam_cli.refinement._lattice_kernels import advance, set_marks
from unsam_cli.refinement.lattice import Features, Lattice
from unsam_cli.refinement.masks import MapFunctor, resized
from unsam_cli.rle import Rle, RunTable, from_runs

if TYPE_CHECKING:
    from unsam_cli.refinement.crf_torch import DeviceField

ROUNDS = 10
NEAR = 3.0
"""Standard deviation of the kernel of positions alone, in pixels."""
NEAR_WEIGHT = 7.0
FAR = 50.0
"""Standard deviation of positions in the kernel of positions and colours, in pixels."""
COLOUR = 5.0
"""Standard deviation of colours in this kernel, in levels of red, green and blue, 0 to 255."""
FAR_WEIGHT = 10.0

SLICE = 64
"""Number of masks refined together. More need more memory, and are not much faster."""
_LANES = 8  # channels are padded to a multiple of this, the floats of a vector register


class DenseCrf:
    """A fully connected CRF of two labels, mask and background, over the pixels of one picture.

    Parameters
    ----------
    picture : (H, W, 3) uint8
        The photograph, RGB.
    device : str, optional
        A GPU, as torch names it, that computes the mean field; by default the CPU does.

    Raises
    ------
    ValueError
        The picture is larger than about 15 000 pixels along a side.

    Notes
    -----
    Instances do not change after construction, so threads may share one. An instance takes about
    100 bytes per pixel, and each slice of masks in work about as much again.

    With two labels, the difference of their potentials is all that matters. For a mask ``m`` of 0
    and 1, the unary potentials are the negative logarithm of softmax(1 - m, m), so their difference
    is ``u = 2 m - 1``. With ``t = Q(mask) - Q(background) = tanh(l / 2)`` a round of the mean field
    is ``l = u + sum over the kernels of w K t``, where K is normalised symmetrically, and the
    result is where ``l > 0``.
    """

    def __init__(self, picture: NDArray[np.uint8], device: str | None = None) -> None:
        self.size: tuple[int, int] = picture.shape[:2]
        near, far = _features(picture)
        self._lattice = Lattice([(far, FAR_WEIGHT), (near, NEAR_WEIGHT)])
        self._field: DeviceField | None = None
        if device is not None:
            from unsam_cli.refinement.crf_torch import DeviceField

            self._field = DeviceField(self._lattice, device)

    def refine(self, masks: RunTable, *, mapper: MapFunctor = map) -> list[Rle]:
        """Refine masks of the picture.

        Parameters
        ----------
        masks : RunTable
            Masks of the size of the picture.
        mapper : callable
            A function like the built-in `map`. That of a thread pool works on several slices of
            masks at once.

        Returns
        -------
        list of Rle
            The refined masks, which may be empty.

        Raises
        ------
        ValueError
            The masks have another size than the picture.
        """
        if len(masks) and masks.size != self.size:
            raise ValueError(f"masks are of {masks.size} pixels, the picture is of {self.size}")
        starts = range(0, len(masks), SLICE)
        return list(chain.from_iterable(mapper(partial(self._slice, masks), starts)))

    def _slice(self, masks: RunTable, start: int) -> list[Rle]:
        offsets = masks.offsets[start : start + SLICE + 1]
        count = len(offsets) - 1
        marks = np.zeros((self.size[0] * self.size[1], -count % _LANES + count), np.uint8)
        set_marks(offsets, masks.runs, marks)
        if self._field is not None:
            marks = self._field.infer(marks, ROUNDS)
        else:
            self._infer(marks)
        return [_encode(marks[:, i], self.size) for i in range(count)]

    def _infer(self, marks: NDArray[np.uint8]) -> None:
        """Replace masks (n, channels) by the labels of the mean field."""
        lattice = self._lattice
        values, other = (lattice.values(marks.shape[1]) for _ in range(2))
        for step in range(ROUNDS + 1):  # the first one only brings the masks to the lattice
            if step:
                lattice.smooth(values, other)
                other[:] = 0
            advance(lattice.vertices, lattice.weights, marks, values, other, step == ROUNDS)
            values, other = other, values


def _features(picture: NDArray[np.uint8]) -> tuple[Features, Features]:
    """Return the features (n, 2) and (n, 5) of the two kernels, in the order of runs: by column."""
    height, width, _ = picture.shape
    place = np.indices((width, height)).reshape(2, -1).T.astype(np.float64)
    colours = picture.transpose(1, 0, 2).reshape(-1, 3)
    return place / NEAR, np.concatenate((place / FAR, colours / COLOUR), axis=1)


def _encode(labels: NDArray[np.uint8], size: tuple[int, int]) -> Rle:
    """Encode labels (n,) of 0 and 1 in the order of runs."""
    edges = np.diff(labels, prepend=np.uint8(0), append=np.uint8(0))
    return from_runs(np.flatnonzero(edges).reshape(-1, 2).astype(np.int64), size)


def refine_crf(
    picture: Pixels,
    masks: RunTable,
    *,
    max_side: int,
    device: str | None = None,
    mapper: MapFunctor = map,
) -> list[Rle]:
    """Refine masks by the dense CRF of their picture, which is shrunk if it is large.

    Parameters
    ----------
    picture : (H, W, 3) uint8
        The photograph, RGB.
    masks : RunTable
        Masks of the size of the picture.
    max_side : int
        Longest side of the picture that the CRF works on, in pixels.
    device : str, optional
        See :class:`DenseCrf`.
    mapper : callable
        See :meth:`DenseCrf.refine`.

    Returns
    -------
    list of Rle
        The refined masks, which may be empty.
    """
    if not len(masks):
        return []
    height, width, _ = picture.shape
    scale = min(1.0, max_side / max(height, width))
    size = max(1, round(height * scale)), max(1, round(width * scale))
    # A gap of 3 to the means of blocks is indistinguishable from none.
    block = max(1, min(height // size[0], width // size[1]) // 3)
    whole = (0, 0, width, height)
    seen = reduced(picture, whole, block) if isinstance(picture, Windows) else picture
    found = DenseCrf(resize(seen, size), device).refine(resized(masks, size), mapper=mapper)
    return resized(RunTable.from_rles(found, size=size), (height, width)).to_rles()
