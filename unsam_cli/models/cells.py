"""Places and sizes of the cells that may answer for a mask, and masks as quadratic forms of place.

A cell of stride s looks for masks whose size, the square root of the area, is some multiple of s.
The mask logits of a cell are the dot product of its embedding and the features of pixels; six of
these features are fixed: 1, x, y, x^2, xy and y^2. So any quadratic form of place is a dot product,
too, and an ellipse around the cell can bound its mask.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

STRIDES = (4, 8, 16, 32)
RANGES = 2
"""Of sizes, for each stride."""
FORM = 6
"""Numbers of a quadratic form: a constant, the centre (2), and a triangular matrix (3)."""
_FIRST, _RATIO = 9.0, 1.6
_RADIUS = 0.8  # of the first ellipse, in sizes
_ROUNDING = 0.1  # more than squares of places lose of a logit in single precision


@dataclass(frozen=True)
class Cells:
    """The cells of a picture: range after range of stride after stride, row by row.

    Attributes
    ----------
    centres : (T, 2) tensor
        x and y in pixels from the centre of the picture.
    sizes : (T,) tensor
        In the middle of the range of sizes that a cell looks for, pixels.
    grids : list of (int, int)
        Rows and columns of each range.
    """

    centres: Tensor
    sizes: Tensor
    grids: list[tuple[int, int]]

    @classmethod
    def of(cls, size: tuple[int, int], device: torch.device) -> Cells:
        """Return the cells of a picture of `size` (H, W), multiples of the largest stride."""
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
        """Return some of the cells, which then have no grids."""
        return Cells(self.centres[which], self.sizes[which], [])

    def embeddings(self, numbers: Tensor) -> Tensor:
        """Return what features, and then the fixed ones, are multiplied with.

        Parameters
        ----------
        numbers : (..., T, 1 + C + 6) tensor
            Of each cell a score, factors of the C features, and a form.

        Returns
        -------
        (..., T, C + 6) tensor
        """
        return torch.cat((numbers[..., 1:-FORM], self.forms(numbers[..., -FORM:])), -1)

    def forms(self, numbers: Tensor) -> Tensor:
        """Return what the fixed features are multiplied with.

        Parameters
        ----------
        numbers : (..., T, 6) tensor
            Constant; centre relative to the cell, in half sizes; logarithm of the two diagonal
            numbers of a triangular matrix L, and the one below, relative to the cell's.

        Returns
        -------
        (..., T, 6) tensor
            The logit is constant - |L (p - c)|^2.
        """
        centre, a, b, c = self._ellipses(numbers)
        xx, xy, yy = a * a + c * c, 2 * b * c, b * b
        x, y = centre.unbind(-1)
        constant = numbers[..., 0] - (xx * x * x + xy * x * y + yy * y * y)
        return torch.stack((constant, 2 * xx * x + xy * y, 2 * yy * y + xy * x, -xx, -xy, -yy), -1)

    def boxes(self, numbers: Tensor, longest: Tensor) -> Tensor:
        """Return where logits can be positive.

        Parameters
        ----------
        numbers : (T, 1 + C + 6) tensor
            As for `embeddings`.
        longest : () tensor
            The greatest length of a vector of C features.

        Returns
        -------
        (T, 4) tensor
            x0, y0, x1, y1 in pixels from the centre of the picture.

        Notes
        -----
        Outside of an ellipse a form is below minus the largest product of factors and features that
        the Cauchy-Schwarz inequality allows.
        """
        forms = numbers[:, -FORM:]
        centre, a, b, c = self._ellipses(forms)
        highest = forms[:, 0] + numbers[:, 1:-FORM].norm(dim=1) * longest
        radius = (highest + _ROUNDING).clamp(min=0).sqrt()
        reach = torch.stack((radius / a, radius / b * (1 + (c / a) ** 2).sqrt()), -1)
        return torch.cat((centre - reach, centre + reach), -1)

    def _ellipses(self, numbers: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return c (..., T, 2), and the numbers of L: diagonal, and below."""
        centre = self.centres + numbers[..., 1:3].clamp(-4, 4) * self.sizes[:, None] / 2
        scale = 1 / (_RADIUS * self.sizes)
        a = numbers[..., 3].clamp(-3, 1.5).exp() * scale
        b = numbers[..., 4].clamp(-3, 1.5).exp() * scale
        return centre, a, b, numbers[..., 5].clamp(-3, 3) * scale


def range_of(sizes: Tensor) -> Tensor:
    """Return which range, of all strides, masks of these sizes belong to."""
    count = len(STRIDES) * RANGES
    place = torch.log(sizes / _FIRST) / torch.log(torch.tensor(_RATIO))
    return (place.floor().long() + 1).clamp(0, count - 1)


def place_maps(size: tuple[int, int], stride: int, device: torch.device) -> Tensor:
    """Return the fixed features 1, x, y, x^2, xy, y^2 of pixels, (6, h, w)."""
    x, y = _places(size, stride, device).T.reshape(2, *size)
    return torch.stack((torch.ones_like(x), x, y, x * x, x * y, y * y))


def _places(size: tuple[int, int], stride: int, device: torch.device) -> Tensor:
    """Return x and y of the middle of cells, (h * w, 2), pixels from the centre of all."""
    y, x = ((torch.arange(n, device=device) + 0.5 - n / 2) * stride for n in size)
    return torch.stack((x.expand(len(y), -1), y[:, None].expand(-1, len(x))), -1).flatten(0, 1)
