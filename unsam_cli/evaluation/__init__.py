"""Numbers that can be trusted: class-agnostic COCO evaluation of masks, and of prompts.

======================  =========================================================================
`pairing`               ground truth and predictions, image by image; refuses what would mislead
`overlap`               which masks can match at all, from areas, boxes and runs
`engine`                the greedy matching of COCO, by hotcoco
`matches`               what one image contributes, in a few bytes a prediction
`metrics`               precision and recall over all images: AP and AR
`bootstrap`             how sure the difference of two sets of predictions is
`points` `clicks`       masks from prompts: 1-IoU; clicks simulated until a mask is good: NoC
`report` `partial`      the JSON report; parts of it that can be merged
`table` `files` `plot`  the report as text, as CSV, as a picture
`images` `stage`        the whole of ``unsam evaluate``
======================  =========================================================================
"""

from __future__ import annotations

from unsam_cli.evaluation.clicks import Promptable, clicks_needed, next_click, simulate_clicks
from unsam_cli.evaluation.images import EvaluateSettings
from unsam_cli.evaluation.partial import is_partial, merge_reports
from unsam_cli.evaluation.stage import EvaluateOutputs, Evaluation, evaluate

__all__ = [
    "EvaluateOutputs",
    "EvaluateSettings",
    "Evaluation",
    "Promptable",
    "clicks_needed",
    "evaluate",
    "is_partial",
    "merge_reports",
    "next_click",
    "simulate_clicks",
]
