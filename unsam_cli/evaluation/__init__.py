"""Class-agnostic COCO evaluation of masks, and evaluation of masks from prompts.

======================  =========================================================================
`pairing`               ground truth and predictions, image by image; refuses wrong combinations
`matching`              the greedy matching of COCO, on exact intersections
`matches`               the contribution of one image, in a few bytes per prediction
`metrics`               precision and recall over all images: AP and AR
`bootstrap`             confidence intervals for the difference of two sets of predictions
`points` `clicks`       masks from prompts: 1-IoU; simulated clicks and their number: NoC
`report` `partial`      the JSON report; parts of it that can be merged
`sinks`                 report and parts as outputs that can be interrupted and resumed
`table` `files` `plot`  the report as text, as CSV, and as a picture
`images` `stage`        the whole of ``unsam evaluate``
======================  =========================================================================
"""
