"""Conversion: datasets into class-agnostic COCO, masks into other forms, and UnSAM+.

=================  ==============================================================================
`formats`          names of all formats, and the request of a command line
`dataset`          the interface of all readers: images, and the masks of each
`coco_json`        one large JSON file: COCO, LVIS, PACO, EntitySeg, PartImageNet
`panoptic`         COCO panoptic: JSON and PNG
`sa1b` `tsv`       SA-1B, one file per image; training shards of Semantic-SAM and UnSAM
`label_maps`       pictures whose pixels are labels: any folder of them, DAVIS
`ade20k` `bsds500` the full ADE20K; BSDS500 with all its annotators
`outlines`         masks as polygons, exactly or simplified
`targets` `sinks`  outputs other than COCO
`stage`            the whole of ``unsam convert``
`checkpoint`       weights of detectron2 into a model folder
`union` `snap`     ``unsam merge --union`` and ``--snap``; `pairs` of files, which they combine
=================  ==============================================================================
"""
