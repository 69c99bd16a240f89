"""Guided filter with a colour guide: smooth a mask so that its borders follow the image.

Divide refines the soft map of one object at a time against the photograph, with this filter, and
:mod:`unsam_cli.refinement.guided_masks` any mask. Conquer assigns all pixels of a partition to
clusters at once, so that neighbours share their borders.

The statistics of the guide are computed once and serve any number of masks. Every box sum is a
running sum in registers (in an array: a third slower); its cost does not depend on the radius.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unsam_cli.jit import kernel

Array = NDArray[Any]


class GuidedFilter:
    """Edge-aware smoothing of soft masks under one RGB image.

    In every box of side ``2 * radius + 1`` an affine function of the guide's colour is fitted to
    the input by ridge regression. The output at a pixel is the average of the functions of all
    boxes that contain it. Boxes are clipped at the image border.

    Parameters
    ----------
    guide : (H, W, 3) uint8
        The image.
    radius : int
        Half side of the boxes in pixels, 1 to 1024.
    eps : float
        Regularisation, as a variance of colour (channels in [0, 1]): a box with a smaller variance
        counts as flat and is only averaged. 1e-2 smooths strongly, 1e-6 follows faint edges.

    Raises
    ------
    ValueError
        The guide is not (H, W, 3) uint8 or is empty; `radius` or `eps` is out of range.

    Notes
    -----
    Instances do not change after construction, so threads may share one. An instance takes 39
    bytes per pixel.

    References
    ----------
    K. He, J. Sun, X. Tang, "Guided Image Filtering", PAMI 2013: equations 19 to 21.
    """

    def __init__(self, guide: NDArray[np.uint8], radius: int, eps: float) -> None:
        if guide.dtype != np.uint8 or guide.ndim != 3 or guide.shape[2] != 3 or not guide.size:
            raise ValueError(f"guide must be (H, W, 3) uint8, not {guide.shape} {guide.dtype}")
        if not 1 <= radius <= 1024:  # beyond, the box sums of uint8 would overflow int32
            raise ValueError(f"radius must be from 1 to 1024 pixels, not {radius}")
        if not eps > 0:
            raise ValueError(f"eps must be positive, not {eps}")
        self.shape: tuple[int, int] = guide.shape[:2]
        self.radius = int(radius)
        self.eps = float(eps)
        self._guide = np.ascontiguousarray(guide)
        self._sums, self._inverse = _guide_statistics(self._guide, self.radius, self.eps)

    def filter(self, mask: ArrayLike) -> NDArray[np.float32]:
        """Filter a mask of the guide's size.

        Parameters
        ----------
        mask : (H, W) float32
            Any finite values; bool and integers are converted.

        Returns
        -------
        (H, W) float32
            The filtered mask. Its values may leave the range of the input a little.

        Raises
        ------
        ValueError
            The mask has another size than the guide, or a value is not finite.
        """
        p = np.ascontiguousarray(mask, dtype=np.float32)
        if p.shape != self.shape:
            raise ValueError(f"mask has shape {p.shape}, the guide has {self.shape}")
        if not np.isfinite(p).all():
            raise ValueError("mask holds values that are not finite")
        return _filter(self._guide, self._sums, self._inverse, p, self.radius)

    @property
    def margin(self) -> int:
        """Distance in pixels to a mask from which on the filtered mask is zero, and boxes, too."""
        return 3 * self.radius

    def filter_window(self, mask: ArrayLike, x: int, y: int) -> NDArray[np.float32]:
        """Filter a mask that is zero outside a window; time depends on the window only.

        Parameters
        ----------
        mask : (h, w) float32
            The window of the mask. Within `margin` of its sides it must be zero, except at the
            sides of the guide: otherwise the result is wrong there.
        x, y : int
            Column and row of the upper left pixel of the window.

        Returns
        -------
        (h, w) float32
            The window of what :meth:`filter` returns.
        """
        p = np.ascontiguousarray(mask, dtype=np.float32)
        window = slice(y, y + p.shape[0]), slice(x, x + p.shape[1])
        guide, sums, inverse = (
            np.ascontiguousarray(a[window]) for a in (self._guide, self._sums, self._inverse)
        )
        return _filter(guide, sums, inverse, p, self.radius)


@kernel()
def _guide_statistics(guide: Array, radius: int, eps: float) -> tuple[Array, Array]:
    """Box sums of the colours (H, W, 3) int32 and inverse covariances (H, W, 6) float32.

    The sums are integers and therefore exact: no variance is lost to cancellation.
    """
    height, width, _ = guide.shape
    sums = np.empty((height, width, 3), np.int32)
    inverse = np.empty((height, width, 6), np.float32)
    columns = np.zeros((width, 9), np.int64)  # r g b rr rg rb gg gb bb over the box's rows
    for y in range(-radius, height):
        if y + radius < height:
            _add_colours(columns, guide[y + radius], int(np.int64(1)))
        if y - radius - 1 >= 0:
            _add_colours(columns, guide[y - radius - 1], int(np.int64(-1)))
        if y < 0:
            continue
        rows = _length(y, radius, height)
        _row_statistics(columns, rows, radius, eps, sums[y], inverse[y])
    return sums, inverse


@kernel()
def _row_statistics(
    columns: Array, rows: int, radius: int, eps: float, sums: Array, inverse: Array
) -> None:
    """Slide the box along one row: fill that row of the sums and of the inverses."""
    width = columns.shape[0]
    box = np.zeros(9, np.int64)
    for x in range(-radius, width):
        if x + radius < width:
            for k in range(9):
                box[k] += columns[x + radius, k]
        if x - radius - 1 >= 0:
            for k in range(9):
                box[k] -= columns[x - radius - 1, k]
        if x >= 0:
            n = rows * _length(x, radius, width)
            for k in range(3):
                sums[x, k] = box[k]
            _invert(box, float(n), eps, inverse[x])


@kernel()
def _length(x: int, radius: int, width: int) -> int:
    """Length of a box around x inside the image, in pixels along one axis."""
    return min(x + radius, width - 1) - max(x - radius, 0) + 1


@kernel()
def _invert(box: Array, n: float, eps: float, out: Array) -> None:
    """Invert the regularised covariance of one box; `out` gets rr rg rb gg gb bb, float32."""
    scale = 1.0 / (n * n * 65025.0)  # colours in [0, 1]
    rr = (n * box[3] - box[0] * box[0]) * scale + eps
    rg = (n * box[4] - box[0] * box[1]) * scale
    rb = (n * box[5] - box[0] * box[2]) * scale
    gg = (n * box[6] - box[1] * box[1]) * scale + eps
    gb = (n * box[7] - box[1] * box[2]) * scale
    bb = (n * box[8] - box[2] * box[2]) * scale + eps
    c0 = gg * bb - gb * gb
    c1 = gb * rb - rg * bb
    c2 = rg * gb - gg * rb
    det = 1.0 / (rr * c0 + rg * c1 + rb * c2)
    out[0] = c0 * det
    out[1] = c1 * det
    out[2] = c2 * det
    out[3] = (rr * bb - rb * rb) * det
    out[4] = (rb * rg - rr * gb) * det
    out[5] = (rr * gg - rg * rg) * det


@kernel()
def _add_colours(columns: Array, row: Array, sign: int) -> None:
    """Add the colours of one image row and their products to the column sums, or subtract them."""
    for x in range(row.shape[0]):
        r = np.int64(row[x, 0])
        g = np.int64(row[x, 1])
        b = np.int64(row[x, 2])
        columns[x, 0] += sign * r
        columns[x, 1] += sign * g
        columns[x, 2] += sign * b
        columns[x, 3] += sign * r * r
        columns[x, 4] += sign * r * g
        columns[x, 5] += sign * r * b
        columns[x, 6] += sign * g * g
        columns[x, 7] += sign * g * b
        columns[x, 8] += sign * b * b


@kernel()
def _filter(guide: Array, sums: Array, inverse: Array, p: Array, radius: int) -> Array:
    """Fit an affine function of the colours to `p` in every box, and average the functions.

    `guide` is (H, W, 3) uint8, `sums` and `inverse` come from `_guide_statistics`, `p` and the
    result are (H, W) float32.
    """
    height, width = p.shape
    coefficients = np.empty((height, width, 4), np.float32)
    columns = np.zeros((width, 4), np.float64)  # p, r p, g p, b p over the box's rows
    for y in range(-radius, height):
        if y + radius < height:
            _add_products(columns, guide[y + radius], p[y + radius], 1.0)
        if y - radius - 1 >= 0:
            _add_products(columns, guide[y - radius - 1], p[y - radius - 1], -1.0)
        if y < 0:
            continue
        rows = _length(y, radius, height)
        s0 = s1 = s2 = s3 = 0.0
        for x in range(-radius, width):
            enters, leaves = x + radius, x - radius - 1
            if enters < width:
                s0 += columns[enters, 0]
                s1 += columns[enters, 1]
                s2 += columns[enters, 2]
                s3 += columns[enters, 3]
            if leaves >= 0:
                s0 -= columns[leaves, 0]
                s1 -= columns[leaves, 1]
                s2 -= columns[leaves, 2]
                s3 -= columns[leaves, 3]
            if x < 0:
                continue
            scale = 1.0 / (rows * _length(x, radius, width))
            mean = s0 * scale
            r = sums[y, x, 0] * (scale / 255.0)
            g = sums[y, x, 1] * (scale / 255.0)
            b = sums[y, x, 2] * (scale / 255.0)
            cr = s1 * scale - r * mean
            cg = s2 * scale - g * mean
            cb = s3 * scale - b * mean
            m = inverse[y, x]
            ar = m[0] * cr + m[1] * cg + m[2] * cb
            ag = m[1] * cr + m[3] * cg + m[4] * cb
            ab = m[2] * cr + m[4] * cg + m[5] * cb
            out = coefficients[y, x]
            out[0] = ar
            out[1] = ag
            out[2] = ab
            out[3] = mean - ar * r - ag * g - ab * b
    return _average(guide, coefficients, radius)


@kernel()
def _add_products(columns: Array, colours: Array, p: Array, sign: float) -> None:
    """Add one row of p and of colour times p to the column sums, or subtract it."""
    for x in range(p.shape[0]):
        value = sign * p[x]
        scaled = value / 255.0
        columns[x, 0] += value
        columns[x, 1] += scaled * colours[x, 0]
        columns[x, 2] += scaled * colours[x, 1]
        columns[x, 3] += scaled * colours[x, 2]


@kernel()
def _average(guide: Array, coefficients: Array, radius: int) -> Array:
    """Average the affine functions of all boxes around each pixel, and apply them."""
    height, width, _ = coefficients.shape
    columns = np.zeros((width, 4), np.float64)
    result = np.empty((height, width), np.float32)
    for y in range(-radius, height):
        if y + radius < height:
            _add_row(columns, coefficients[y + radius], 1.0)
        if y - radius - 1 >= 0:
            _add_row(columns, coefficients[y - radius - 1], -1.0)
        if y < 0:
            continue
        rows = _length(y, radius, height)
        s0 = s1 = s2 = s3 = 0.0
        for x in range(-radius, width):
            enters, leaves = x + radius, x - radius - 1
            if enters < width:
                s0 += columns[enters, 0]
                s1 += columns[enters, 1]
                s2 += columns[enters, 2]
                s3 += columns[enters, 3]
            if leaves >= 0:
                s0 -= columns[leaves, 0]
                s1 -= columns[leaves, 1]
                s2 -= columns[leaves, 2]
                s3 -= columns[leaves, 3]
            if x < 0:
                continue
            n = rows * _length(x, radius, width)
            colour = guide[y, x]
            fitted = (s0 * colour[0] + s1 * colour[1] + s2 * colour[2]) / 255.0
            result[y, x] = (fitted + s3) / n
    return result


@kernel()
def _add_row(columns: Array, row: Array, sign: float) -> None:
    """Add one row of coefficients to the column sums, or subtract it."""
    for x in range(row.shape[0]):
        for k in range(4):
            columns[x, k] += sign * row[x, k]
