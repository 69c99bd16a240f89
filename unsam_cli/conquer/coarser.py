"""Patch features on a coarser grid, which shows objects that a fine one takes apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unsam_cli.jit import kernel

Floats = NDArray[np.float32]
FloatArray = NDArray[np.float64]


def coarser(features: Floats, share: float) -> Floats:
    """Average patch features over larger patches.

    Parameters
    ----------
    features : (h, w, C) float32, contiguous
        Features of a grid of patches.
    share : float
        Rows and columns of the result, as a share of h and w; at most 1.

    Returns
    -------
    (h', w', C) float32
        Means, in which a patch counts by the share of it that lies in the larger one.
    """
    h, w, channels = features.shape
    rows, columns = (max(1, round(side * share)) for side in (h, w))
    out = np.empty((rows, columns, channels), dtype=np.float32)
    _average(features, np.linspace(0, h, rows + 1), np.linspace(0, w, columns + 1), out)
    return out


@kernel()
def _average(fine: Floats, rows: FloatArray, columns: FloatArray, out: Floats) -> None:
    """Write the mean of `fine`, (h, w, C), between ascending `rows` and `columns` to `out`.

    Sums are float64, so that their order shows in no float32. `sampling.means`, axis by axis, takes
    more than ten times as long for so many channels.
    """
    total = np.empty(fine.shape[2], dtype=np.float64)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            total[:] = 0.0
            area = (rows[i + 1] - rows[i]) * (columns[j + 1] - columns[j])
            for y in range(int(rows[i]), int(np.ceil(rows[i + 1]))):
                tall = min(y + 1.0, rows[i + 1]) - max(float(y), rows[i])
                for x in range(int(columns[j]), int(np.ceil(columns[j + 1]))):
                    wide = min(x + 1.0, columns[j + 1]) - max(float(x), columns[j])
                    weight = tall * wide / area
                    for c in range(len(total)):
                        total[c] += weight * np.float64(fine[y, x, c])
            for c in range(len(total)):
                out[i, j, c] = total[c]
