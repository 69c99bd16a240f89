"""Divide: find the objects of an image, as coarse masks on the grid of its features.

Only numpy and numba are imported; every function takes and returns arrays.
"""

from __future__ import annotations

from unsam_cli.divide.detections import select_detections
from unsam_cli.divide.maskcut import Cut, maskcut
from unsam_cli.divide.upsample import to_pixels

__all__ = ["Cut", "maskcut", "select_detections", "to_pixels"]
