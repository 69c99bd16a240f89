"""Training promptable segmenters: what `unsam finetune-sam` does.

==============  =================================================================================
`settings`      settings of prompts, losses and trained parts; presets; imports nothing heavy
`questions`     draw prompts for the masks of an image, and their target masks
`samples`       training samples: images, masks and prompts
`embeddings`    precomputed embeddings of a frozen image encoder, from a features file
`losses`        match answers to masks and compute their losses
`task`          the task for the trainer
`validation`    IoU of the answers to clicks
`stage`         all of ``unsam finetune-sam``
==============  =================================================================================
"""
