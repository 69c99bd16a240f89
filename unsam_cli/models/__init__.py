"""Whole-image segmenters: networks from an image to masks and scores.

===================  ============================================================================
`settings`           what a segmenter is made of; no torch
`segmenter`          the one interface: pixels in, predictions out
`predictions`        classes and masks of all queries, the masks in factors
`inputs`             sizes, statistics and padding of pictures
`mask2former`        the forward pass of Mask2Former: `pixel_decoder`, then `query_decoder`
`eomt`               the forward pass of EoMT
`condinst`           CondInst: `cells` as queries, `candidates` for masks, `condinst_files`
`precision`          what a device computes fastest in
`loading` `folders`  new segmenters, checkpoints, and back to files that appear at once
`networks`           networks of Hugging Face from our settings
`backbone_weights`   pretrained backbones of Mask2Former
`vit_to_eomt`        pretrained vision transformers for EoMT
`detectron2`         names of weights in UnSAM's own checkpoints
===================  ============================================================================
"""
