"""From images to records of patch features: what `unsam extract-features` does.

============  ===================================================================================
`plan`        which rectangles of an image become records, at which size
`prepare`     decoding, cropping and resizing one image; and the finished features of one image
`project`     fewer channels with the same inner products, as nearly as can be
`pipeline`    many images at once: decoding threads, batches, results in order
============  ===================================================================================
"""

from __future__ import annotations

from unsam_cli.extraction.pipeline import ExtractSettings, Meter, extract
from unsam_cli.extraction.plan import PlanSettings, RecordPlan, fit_size, plan_records
from unsam_cli.extraction.prepare import ImageFeatures, RecordFeatures
from unsam_cli.extraction.project import project

__all__ = [
    "ExtractSettings",
    "ImageFeatures",
    "Meter",
    "PlanSettings",
    "RecordFeatures",
    "RecordPlan",
    "extract",
    "fit_size",
    "plan_records",
    "project",
]
