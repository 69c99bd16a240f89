"""The Python API: images and masks as objects; what notebooks and scripts need.

================  ===============================================================================
`stages`          `segment`: everything in an image, by `divide` and `conquer`
`patches`         `features` of an image, or of regions of it
`networks`        `predict`: masks by a trained network, of one image or of many
`reports`         `evaluate`: AP and AR of masks against a ground truth
`masks` `mask`    `Masks`, the result of all of them, and each `Mask`
`files`           `read`: masks files as `Masks`
`display`         how they look in a notebook
`options`         options of the commands as keywords
================  ===============================================================================

All names are also those of :mod:`unsam_cli`, which imports this room when one is first used. The
commands call the same functions below, so a path gives the masks that the commands write.
"""

from __future__ import annotations

from unsam_cli.api.files import read
from unsam_cli.api.mask import Mask
from unsam_cli.api.masks import Masks
from unsam_cli.api.networks import predict
from unsam_cli.api.patches import Features, features
from unsam_cli.api.reports import Report, evaluate
from unsam_cli.api.stages import conquer, divide, segment

__all__ = [
    "Features",
    "Mask",
    "Masks",
    "Report",
    "conquer",
    "divide",
    "evaluate",
    "features",
    "predict",
    "read",
    "segment",
]
