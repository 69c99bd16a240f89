"""Training promptable segmenters: what `unsam finetune-sam` does.

==============  =================================================================================
`settings`      what is asked, what learns, presets; imports nothing heavy
`questions`     prompts drawn for the masks of an image, and what would be right
`samples`       images, masks and prompts as the network takes them
`embeddings`    what a frozen image encoder sees, from a features file
`losses`        answers compared with masks
`task`          the task of the trainer
`validation`    how good answers to clicks are
`stage`         the whole of ``unsam finetune-sam``
==============  =================================================================================
"""
