"""Cells of a feature pyramid, each of which can predict one mask near it.

A cell of stride s predicts masks whose size (the square root of the area) is a certain multiple of
s. The mask logits of a cell are the dot product of its embedding with the pixel features. Six of
these features are fixed: 1, x, y, x^2, xy and y^2. A quadratic form of the position is therefore
also a dot product, and an ellipse around the cell can bound its mask.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

STRIDES = (4, 8, 16, 32)
RANGES = 2
"""Size ranges per stride."""
FORM = 6
"""Parameters of a quadratic form: a constant, the centre (2) and a triangular matrix (3)."""
_FIRST, _RATIO = 9.0, 1.6
_RADIUS = 0.8  # radius of the initial ellipse, in sizes
_ROUNDING = 0.1  # bound on the rounding error of a logit: squared positions in single precision


@dataclass(frozen=True)
class Cells:
    """The T cells of an image, ordered by stride, then by size range, then row by row.

    Attributes
    ----------
    centres : (T, 2) float32 tensor
        x and y of each cell, in pixels from the centre of the image.
    sizes : (T,) float32 tensor
        Middle of the size range of each cell, in pixels.
    grids : list of (int, int)
        Rows and columns of each size range of each stride.
    """

    centres: Tensor
    sizes: Tensor
    grids: list[tuple[int, int]]

    @classmethod
    def of(cls, size: tuple[int, int], device: torch.device) -> Cells:
        """Return the cells of an image of `size` (H, W), multiples of the largest stride."""
        height, width = size
        centres, sizes, grids = [], [], []
        for i in range(len(STRIDES) * RANGES):
            stride = STRIDES[i // RANGES]
            h, w = height // stride, width // stride
            centres.append(_places((h, w), stride, device))
            middle = _FIRST * _RATIO ** (i - 0.5)
            sizes.append(torch.full((h * w,), middle, device=device))
            grids.append((h, w))
        return cls(torch.cat(centres), torch.cat(sizes), grids)

    def take(self, which: Tensor) -> Cells:
        """Return the cells at the indices `which`, (n,) int64; the result has no grids."""
        return Cells(self.centres[which], self.sizes[which], [])

    def embeddings(self, numbers: Tensor) -> Tensor:
        """Return the mask embeddings: coefficients of the learnt and of the fixed features.

        Parameters
        ----------
        numbers : (..., T, 1 + C + 6) float tensor
            Per cell: the logit of the score, the coefficients of the C learnt features, and the 6
            parameters of the quadratic form (see `forms`).

        Returns
        -------
        (..., T, C + 6) float tensor
        """
        return torch.cat((numbers[..., 1:-FORM], self.forms(numbers[..., -FORM:])), -1)

    def forms(self, numbers: Tensor) -> Tensor:
        """Return the coefficients of the fixed features.

        Parameters
        ----------
        numbers : (..., T, 6) float tensor
            Per cell: the constant; x and y of the centre c relative to the cell, in half sizes; the
            logarithms of the two diagonal elements of a lower triangular matrix L, and its element
            below the diagonal. L is relative to 1 / (0.8 size) times the identity.

        Returns
        -------
        (..., T, 6) float tensor
            Coefficients of 1, x, y, x^2, xy and y^2. Their sum at the position p is
            constant - |L (p - c)|^2.
        """
        centre, a, b, c = self._ellipses(numbers)
        xx, xy, yy = a * a + c * c, 2 * b * c, b * b
        x, y = centre.unbind(-1)
        constant = numbers[..., 0] - (xx * x * x + xy * x * y + yy * y * y)
        return torch.stack((constant, 2 * xx * x + xy * y, 2 * yy * y + xy * x, -xx, -xy, -yy), -1)

    def boxes(self, numbers: Tensor, longest: Tensor) -> Tensor:
        """Return boxes outside of which no mask logit is positive.

        Parameters
        ----------
        numbers : (T, 1 + C + 6) float tensor
            As for `embeddings`.
        longest : () float tensor
            Largest Euclidean norm of the C learnt features of a pixel.

        Returns
        -------
        (T, 4) float tensor
            x0, y0, x1, y1 in pixels from the centre of the image.

        Notes
        -----
        By the Cauchy-Schwarz inequality, the learnt features add at most the norm of their
        coefficients times `longest`. Outside of an ellipse, the quadratic form is below minus that.
        """
        forms = numbers[:, -FORM:]
        centre, a, b, c = self._ellipses(forms)
        highest = forms[:, 0] + numbers[:, 1:-FORM].norm(dim=1) * longest
        radius = (highest + _ROUNDING).clamp(min=0).sqrt()
        reach = torch.stack((radius / a, radius / b * (1 + (c / a) ** 2).sqrt()), -1)
        return torch.cat((centre - reach, centre + reach), -1)

    def _ellipses(self, numbers: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return c (..., T, 2), and the elements of L, (..., T): both diagonal ones, then below."""
        centre = self.centres + numbers[..., 1:3].clamp(-4, 4) * self.sizes[:, None] / 2
        scale = 1 / (_RADIUS * self.sizes)
        a = numbers[..., 3].clamp(-3, 1.5).exp() * scale
        b = numbers[..., 4].clamp(-3, 1.5).exp() * scale
        return centre, a, b, numbers[..., 5].clamp(-3, 3) * scale


def range_of(sizes: Tensor) -> Tensor:
    """Return the indices of the size ranges that contain `sizes`, counted over all strides.

    Parameters
    ----------
    sizes : (n,) float tensor
        Square roots of the areas of masks, in pixels.

    Returns
    -------
    (n,) int64 tensor
        0 to ``len(STRIDES) * RANGES - 1``, in the order of `Cells`.
    """
    count = len(STRIDES) * RANGES
    place = torch.log(sizes / _FIRST) / torch.log(torch.tensor(_RATIO))
    return (place.floor().long() + 1).clamp(0, count - 1)


def place_maps(size: tuple[int, int], stride: int, device: torch.device) -> Tensor:
    """Return the fixed features 1, x, y, x^2, xy and y^2 of an image, (6, h, w) float32.

    `size` is (h, w), the size of the features; x and y are in pixels of the image, `stride` times
    as many, from its centre.
    """
    x, y = _places(size, stride, device).T.reshape(2, *size)
    return torch.stack((torch.ones_like(x), x, y, x * x, x * y, y * y))


def _places(size: tuple[int, int], stride: int, device: torch.device) -> Tensor:
    """Return x and y of the centres of cells, (h * w, 2), in pixels from the centre of all."""
    y, x = ((torch.arange(n, device=device) + 0.5 - n / 2) * stride for n in size)
    return torch.stack((x.expand(len(y), -1), y[:, None].expand(-1, len(x))), -1).flatten(0, 1)
