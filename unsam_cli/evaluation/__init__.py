"""Numbers that can be trusted: class-agnostic COCO evaluation of masks, and of prompts.

======================  =========================================================================
`pairing`               ground truth and predictions, image by image; refuses what would mislead
`matching`              the greedy matching of COCO, on exact intersections
`matches`               what one image contributes, in a few bytes a prediction
`metrics`               precision and recall over all images: AP and AR
`bootstrap`             how sure the difference of two sets of predictions is
`points` `clicks`       masks from prompts: 1-IoU; where to click, until a mask is good: NoC
`report` `partial`      the JSON report; parts of it that can be merged
`sinks`                 both as outputs that can be interrupted and resumed
`table` `files` `plot`  the report as text, as CSV, as a picture
`images` `stage`        the whole of ``unsam evaluate``
======================  =========================================================================
"""
