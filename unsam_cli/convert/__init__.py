"""Other people's files: datasets into class-agnostic COCO, masks into other forms, UnSAM+.

=================  ==============================================================================
`formats`          names of all formats, and what a command line asks for
`dataset`          what every reader gives: images, and the masks of each
`coco_json`        one large JSON file: COCO, LVIS, PACO, EntitySeg, PartImageNet
`panoptic`         COCO panoptic: JSON and PNG
`sa1b` `tsv`       SA-1B's file an image; the training shards of Semantic-SAM and UnSAM
`label_maps`       pictures whose pixels are labels: any folder of them, DAVIS
`ade20k` `bsds500` the full ADE20K; BSDS500 with all its annotators
`outlines`         masks as polygons, exactly or simplified
`targets` `sinks`  what is written instead of COCO
`stage`            the whole of ``unsam convert``
`checkpoint`       weights of detectron2 into a model folder
`union`            ``unsam merge --union``
=================  ==============================================================================
"""
