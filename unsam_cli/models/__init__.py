"""Whole-image segmenters: networks from an image to masks and scores.

===================  ============================================================================
`settings`           the configuration of a segmenter; imports no torch
`segmenter`          the common interface: pixels in, predictions out
`predictions`        classes and masks of all queries, the masks as factors
`inputs`             sizes, normalisation and padding of images
`mask2former`        the forward pass of Mask2Former: `pixel_decoder`, then `query_decoder`
`eomt`               the forward pass of EoMT
`condinst`           CondInst: `cells` are the queries, `candidates` selects masks
`condinst_files`     folders of CondInst
`precision`          the number format that a device computes fastest in
`loading` `folders`  create, load and save segmenters; files are replaced atomically
`networks`           Hugging Face networks built from our settings
`backbone_weights`   pretrained backbones of Mask2Former
`vit_to_eomt`        pretrained vision transformers for EoMT
`detectron2`         UnSAM's own checkpoints, renamed for Hugging Face
===================  ============================================================================
"""
